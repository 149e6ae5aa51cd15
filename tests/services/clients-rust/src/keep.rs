//! Notes kept in Redis. KEEP_CHANGE selects a build.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use redis::{AsyncCommands, Client, RedisError, aio::ConnectionManager};

use crate::{Answer, Service, set};

/// Connections that everybody shares, in turn.
pub struct Keep {
    change: String,
    pool: Mutex<Vec<ConnectionManager>>,
    turn: AtomicUsize,
}

async fn connect(size: usize) -> Vec<ConnectionManager> {
    let client = Client::open(format!("redis://{}/1", set("STORE"))).expect("STORE is an address");
    let mut pool = Vec::new();
    for _ in 0..size {
        pool.push(client.get_connection_manager().await.expect("there is a server"));
    }
    pool
}

impl Keep {
    pub async fn new() -> Keep {
        let change = set("KEEP_CHANGE");
        let size = if change == "small-pool" { 1 } else { 4 };
        Keep { change, pool: Mutex::new(connect(size).await), turn: AtomicUsize::new(0) }
    }

    fn is(&self, build: &str) -> bool {
        self.change == build
    }

    fn store(&self) -> ConnectionManager {
        let pool = self.pool.lock().expect("nobody panicked");
        pool[self.turn.fetch_add(1, Ordering::Relaxed) % pool.len()].clone()
    }

    async fn keep(&self, name: &str, body: &str) -> Result<Answer, RedisError> {
        let key = format!("{}:{name}", if self.is("other-key") { "notes" } else { "note" });
        let note = serde_json::json!({"text": body, "length": body.len() + usize::from(self.is("other-value"))});
        let mut keeps = redis::pipe();
        keeps.atomic().set(&key, note.to_string());
        if !self.is("dropped-command") {
            keeps.cmd("INCRBY").arg("count").arg(1);
        }
        keeps.exec_async(&mut self.store()).await?;
        if self.is("extra-command") {
            let _: bool = self.store().expire(&key, 60).await?;
        }
        if !self.is("dropped-call") {
            let _: i64 = self.store().lpush("recent", name).await?;
        }
        let count: i64 = self.store().get("count").await?;
        Ok((201, format!("{name} {count}")))
    }

    async fn get(&self, name: &str) -> Result<Answer, RedisError> {
        if self.is("reconnects") {
            let pool = connect(4).await;
            *self.pool.lock().expect("nobody panicked") = pool;
        }
        let note: Option<String> = self.store().get(format!("note:{name}")).await?;
        Ok(note.map_or_else(|| (404, format!("no note {name}")), |note| (200, note)))
    }

    async fn every(&self) -> Result<Answer, RedisError> {
        let last = if self.is("other-range") { 1 } else { -1 };
        let names: Vec<String> = self.store().lrange("recent", 0, last).await?;
        let keys: Vec<String> = names.iter().map(|name| format!("note:{name}")).collect();
        let notes: Vec<Option<String>> = self.store().mget(keys).await?;
        let picture: Vec<u8> = self.store().get("picture").await?;
        Ok((200, format!("{notes:?} {picture:?}")))
    }

    async fn wrong(&self) -> Result<Answer, RedisError> {
        let count: Result<i64, RedisError> =
            redis::cmd("INCRBY").arg("recent").arg(1).query_async(&mut self.store()).await;
        Ok(count.map_or_else(|error| (409, error.to_string()), |count| (200, count.to_string())))
    }
}

fn answer(result: Result<Answer, RedisError>) -> Answer {
    result.unwrap_or_else(|error| (500, error.to_string()))
}

impl Service for Keep {
    const LISTENS: &str = "keep listens";

    async fn find(&self, name: &str) -> Answer {
        answer(match name {
            "all" => self.every().await,
            "wrong" => self.wrong().await,
            name => self.get(name).await,
        })
    }

    async fn put(&self, name: &str, body: &str) -> Answer {
        answer(self.keep(name, body).await)
    }
}
