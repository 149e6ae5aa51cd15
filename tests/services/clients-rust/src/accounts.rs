//! Accounts kept in PostgreSQL. ACCOUNTS_CHANGE selects a build.

use std::sync::Mutex;

use sqlx::{
    Connection, Error, FromRow, PgPool,
    postgres::{PgPoolCopyExt, PgPoolOptions},
    types::{
        BigDecimal,
        chrono::{DateTime, Utc},
    },
};

use crate::{Answer, Service, set};

pub struct Accounts {
    change: String,
    pool: Mutex<PgPool>,
}

/// An account as it is kept. Nobody reads the fields but `Debug`.
#[derive(Debug)]
#[expect(dead_code)]
struct Account {
    name: String,
    balance: BigDecimal,
    changed: DateTime<Utc>,
    tags: Vec<String>,
    picture: Option<Vec<u8>>,
}

impl<'row> FromRow<'row, sqlx::postgres::PgRow> for Account {
    fn from_row(row: &'row sqlx::postgres::PgRow) -> Result<Account, Error> {
        use sqlx::Row;
        Ok(Account {
            name: row.try_get(0)?,
            balance: row.try_get(1)?,
            changed: row.try_get(2)?,
            tags: row.try_get(3)?,
            picture: row.try_get(4)?,
        })
    }
}

fn connect(size: u32) -> PgPool {
    PgPoolOptions::new().max_connections(size).connect_lazy(&set("STORE")).expect("STORE is an address")
}

impl Accounts {
    pub async fn new() -> Accounts {
        let change = set("ACCOUNTS_CHANGE");
        let size = if change == "small-pool" { 1 } else { 3 };
        Accounts { change, pool: Mutex::new(connect(size)) }
    }

    fn is(&self, build: &str) -> bool {
        self.change == build
    }

    fn store(&self) -> PgPool {
        self.pool.lock().expect("nobody panicked").clone()
    }

    async fn keep(&self, name: &str, body: &str) -> Result<Answer, Error> {
        let amount: BigDecimal = body.parse().expect("an amount");
        let amount = if self.is("other-value") { amount + 1 } else { amount };
        let mut connection = self.store().acquire().await?;
        let mut work = connection.begin().await?;
        let (account,): (i32,) =
            sqlx::query_as("INSERT INTO accounts (name, balance, tags) VALUES ($1, $2, $3) RETURNING id")
                .bind(name)
                .bind(&amount)
                .bind(vec![name, "new"])
                .persistent(!self.is("never-prepares"))
                .fetch_one(&mut *work)
                .await?;
        let entry = if self.is("other-sql") {
            "INSERT INTO entries (amount, account) VALUES ($2, $1)"
        } else {
            "INSERT INTO entries (account, amount) VALUES ($1, $2)"
        };
        if !self.is("dropped-query") {
            sqlx::query(entry).bind(account).bind(&amount).execute(&mut *work).await?;
        }
        work.commit().await?;
        if self.is("extra-query") {
            sqlx::query("DELETE FROM entries WHERE amount < $1")
                .bind(BigDecimal::from(0))
                .execute(&mut *connection)
                .await?;
        }
        Ok((201, format!("account {account}")))
    }

    async fn get(&self, name: &str) -> Result<Answer, Error> {
        if self.is("reconnects") {
            self.store().close().await;
            *self.pool.lock().expect("nobody panicked") = connect(3);
        }
        let account: Option<Account> =
            sqlx::query_as("SELECT name, balance, changed, tags, picture FROM accounts WHERE name = $1")
                .bind(name)
                .persistent(!self.is("never-prepares"))
                .fetch_optional(&self.store())
                .await?;
        Ok(account.map_or_else(|| (404, format!("no account {name}")), |account| (200, format!("{account:?}"))))
    }

    async fn every(&self) -> Result<Answer, Error> {
        let all: Vec<Account> =
            sqlx::query_as("SELECT name, balance, changed, tags, picture FROM accounts ORDER BY name")
                .fetch_all(&self.store())
                .await?;
        Ok((200, format!("{all:?}")))
    }

    async fn load(&self) -> Result<Answer, Error> {
        let store = self.store();
        let mut copy = store.copy_in_raw("COPY entries (account, amount) FROM STDIN").await?;
        let data = if self.is("other-data") { "1\t8\n1\t9\n" } else { "1\t7\n1\t9\n" };
        copy.send(data.as_bytes()).await?;
        Ok((200, format!("copied {}", copy.finish().await?)))
    }
}

fn answer(result: Result<Answer, Error>) -> Answer {
    result.unwrap_or_else(|error| match error {
        Error::Database(error) if error.is_unique_violation() => (409, format!("{error} {:?}", error.constraint())),
        error => (500, error.to_string()),
    })
}

impl Service for Accounts {
    const LISTENS: &str = "accounts listens";

    async fn find(&self, name: &str) -> Answer {
        answer(match name {
            "all" => self.every().await,
            "load" => self.load().await,
            "wrong" => self.keep("tea", "7").await,
            name => self.get(name).await,
        })
    }

    async fn put(&self, name: &str, body: &str) -> Answer {
        answer(self.keep(name, body).await)
    }
}
