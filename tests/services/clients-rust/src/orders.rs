//! Orders kept in MySQL. ORDERS_CHANGE selects a build.

use std::sync::Mutex;

use sqlx::{
    Error, MySqlPool,
    mysql::MySqlPoolOptions,
    types::{BigDecimal, chrono::NaiveDateTime},
};

use crate::{Answer, Service, set};

pub struct Orders {
    change: String,
    pool: Mutex<MySqlPool>,
}

fn connect(size: u32) -> MySqlPool {
    let address = format!("mysql://app:secret@{}/shop?ssl-mode=DISABLED", set("STORE"));
    MySqlPoolOptions::new().max_connections(size).connect_lazy(&address).expect("STORE is an address")
}

impl Orders {
    pub async fn new() -> Orders {
        let change = set("ORDERS_CHANGE");
        let size = if change == "small-pool" { 1 } else { 4 };
        Orders { change, pool: Mutex::new(connect(size)) }
    }

    fn is(&self, build: &str) -> bool {
        self.change == build
    }

    fn store(&self) -> MySqlPool {
        self.pool.lock().expect("nobody panicked").clone()
    }

    async fn keep(&self, name: &str, body: &str) -> Result<Answer, Error> {
        let quantity: i32 = body.parse().expect("a number");
        let store = self.store();
        let mut work = store.begin().await?;
        let made = sqlx::query("INSERT INTO orders (name, quantity) VALUES (?, ?)")
            .bind(name)
            .bind(quantity + i32::from(self.is("other-parameter")))
            .persistent(!self.is("never-keeps"))
            .execute(&mut *work)
            .await?;
        if !self.is("dropped-query") {
            sqlx::query("UPDATE stock SET left_over = left_over - ? WHERE name = ?")
                .bind(quantity)
                .bind(name)
                .execute(&mut *work)
                .await?;
        }
        work.commit().await?;
        let (count, total): (i64, BigDecimal) =
            sqlx::query_as("SELECT COUNT(*), SUM(quantity) FROM orders").fetch_one(&store).await?;
        Ok((201, format!("order {} of {count}, {total}", made.last_insert_id())))
    }

    async fn get(&self, name: &str) -> Result<Answer, Error> {
        if self.is("reconnects") {
            self.store().close().await;
            *self.pool.lock().expect("nobody panicked") = connect(4);
        }
        let sql = if self.is("other-sql") {
            "SELECT number, name, quantity, price, ordered FROM orders WHERE name = ? ORDER BY number DESC"
        } else {
            "SELECT number, name, quantity, price, ordered FROM orders WHERE name = ? ORDER BY number"
        };
        let rows: Vec<(i32, String, i32, BigDecimal, NaiveDateTime)> =
            sqlx::query_as(sql).bind(name).persistent(!self.is("never-keeps")).fetch_all(&self.store()).await?;
        Ok((if rows.is_empty() { 404 } else { 200 }, format!("{rows:?}")))
    }
}

fn answer(result: Result<Answer, Error>) -> Answer {
    result.unwrap_or_else(|error| match error {
        Error::Database(error) => (409, format!("{:?} {error}", error.code())),
        error => (500, error.to_string()),
    })
}

impl Service for Orders {
    const LISTENS: &str = "orders listen";

    async fn find(&self, name: &str) -> Answer {
        answer(match name {
            "wrong" => {
                sqlx::query("SELECT nothing FROM nowhere").execute(&self.store()).await.map(|_| (200, String::new()))
            }
            name => self.get(name).await,
        })
    }

    async fn put(&self, name: &str, body: &str) -> Answer {
        answer(self.keep(name, body).await)
    }
}
