//! What protocols other than HTTP have in common: requests and responses are [`Value`]s, and responses come in the order of
//! the requests.
//!
//! A protocol is a folder with a [`Dialect`] (`pair`: how both directions are cut into requests and responses), a
//! [`Server`] (`play`: how recorded responses are told to a client), the [`Operation`] of a request (`key`), and the first bytes
//! that tell it (`detect`). [`Protocol`] lists them; nothing outside of it and of the folders knows one protocol from another.

mod dialect;
mod fifo;
mod handshakes;
mod inbox;
mod server;
mod transaction;

pub use dialect::{Ask, Cut, Dialect, Heard, Told, Unreadable};
pub use fifo::Fifo;
pub use handshakes::Handshakes;
pub use inbox::Inbox;
pub use server::{Server, Step};
pub use transaction::Transaction;

use std::sync::Arc;

use crate::{Operation, Value, dns, mysql, postgres, redis, sql};

/// A protocol whose messages are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Redis, RESP2 and RESP3.
    Redis,
    /// MySQL and MariaDB.
    Mysql,
    /// PostgreSQL, version 3 of its protocol.
    Postgres,
    /// DNS over TCP; over UDP its messages are read elsewhere.
    Dns,
}

/// What the beginning of a connection looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// This protocol.
    Yes,
    /// Another one.
    No,
    /// Too few bytes to tell; never with [`ENOUGH`] bytes of the side that speaks first.
    NeedMore,
}

/// With so many bytes of the side that speaks first every protocol is told.
pub const ENOUGH: usize = 64;

/// The first bytes of a connection. Both are empty only where nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening<'a> {
    /// Of the client; empty where the server speaks first.
    pub client: &'a [u8],
    /// Of the server, where it speaks first.
    pub server: &'a [u8],
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 4] = [Protocol::Redis, Protocol::Mysql, Protocol::Postgres, Protocol::Dns];

    /// The word for it in cassettes and reports.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Redis => "redis",
            Protocol::Mysql => "mysql",
            Protocol::Postgres => "postgresql",
            Protocol::Dns => "dns",
        }
    }

    /// The protocol of that word.
    pub fn of_word(word: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.word() == word)
    }

    /// Tells the protocol of a connection from its beginning: `None` if it is none of these, [`Detected::NeedMore`] beside the
    /// first that it may still be.
    pub fn detect(opening: Opening<'_>) -> Option<(Protocol, Detected)> {
        let looks = Protocol::ALL.map(|protocol| (protocol, protocol.looks(opening)));
        let find = |wanted| looks.into_iter().find(|(_, detected)| *detected == wanted);
        find(Detected::Yes).or_else(|| find(Detected::NeedMore))
    }

    fn looks(self, opening: Opening<'_>) -> Detected {
        match self {
            Protocol::Redis => redis::detect(opening),
            Protocol::Mysql => mysql::detect(opening),
            Protocol::Postgres => postgres::detect(opening),
            Protocol::Dns => dns::detect(opening),
        }
    }

    /// Tells the protocol of a connection that is under way from what its client said at once, which begins with a request;
    /// `None` unless it can be nothing else.
    pub fn detect_joined(said: &[u8]) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.dialect().resumes(said))
    }

    /// How it is cut into requests and responses.
    pub fn dialect(self) -> Box<dyn Dialect> {
        match self {
            Protocol::Redis => Box::<redis::Conversation>::default(),
            Protocol::Mysql => Box::<mysql::Conversation>::default(),
            Protocol::Postgres => Box::<postgres::Conversation>::default(),
            Protocol::Dns => Box::<dns::Conversation>::default(),
        }
    }

    /// A server for one connection, which knows what recorded servers answered to [`Protocol::is_handshake`].
    pub fn server(self, handshakes: &Arc<Handshakes>) -> Box<dyn Server> {
        match self {
            Protocol::Redis => Box::new(redis::Player::new(handshakes.iter().next().map(|(_, hello)| hello))),
            Protocol::Mysql => Box::new(mysql::Player::new(handshakes)),
            Protocol::Postgres => Box::new(postgres::Player::new(Arc::clone(handshakes))),
            Protocol::Dns => Box::<dns::Player>::default(),
        }
    }

    /// What identifies the operation of a request.
    pub fn operation(self, request: &Value) -> Operation {
        match self {
            Protocol::Redis => redis::operation(request),
            Protocol::Mysql => mysql::operation(request),
            Protocol::Postgres => postgres::operation(request),
            Protocol::Dns => dns::operation(request),
        }
    }

    /// Whether the response to a request is one that players tell by themselves: what the server is, as clients are told when they connect;
    /// what a statement looks like that is prepared.
    pub fn is_handshake(self, request: &Value) -> bool {
        match self {
            Protocol::Redis => redis::is_handshake(request),
            Protocol::Mysql => mysql::is_handshake(request),
            Protocol::Postgres => postgres::is_handshake(request),
            Protocol::Dns => false,
        }
    }

    /// What an exchange tells of the transaction on its connection, in a protocol that tells of them at all.
    pub fn transaction(self, request: &Value, response: Option<&Value>) -> Option<Transaction> {
        let goes_on = |told: fn(&Value) -> Option<bool>| response.and_then(told);
        let (goes_on, operation) = match self {
            Protocol::Mysql => (goes_on(mysql::in_transaction), mysql::operation(request)),
            Protocol::Postgres => (goes_on(postgres::in_transaction), postgres::operation(request)),
            Protocol::Redis => return Some(redis::transaction(request, response)),
            Protocol::Dns => return None,
        };
        Some(Transaction {
            begins: sql::begins_transaction(&operation),
            frames: sql::frames_transaction(&operation),
            drops: sql::drops_transaction(&operation),
            goes_on,
        })
    }

    /// Whether a request may change something.
    pub fn is_write(self, request: &Value) -> bool {
        match self {
            Protocol::Redis => redis::is_write(request),
            Protocol::Mysql => mysql::is_write(request),
            Protocol::Postgres => postgres::is_write(request),
            Protocol::Dns => false,
        }
    }

    /// What a request may be made of, by the names of its value.
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Protocol::Redis => redis::MEMBERS,
            Protocol::Mysql => mysql::MEMBERS,
            Protocol::Postgres => postgres::MEMBERS,
            Protocol::Dns => dns::MEMBERS,
        }
    }

    /// What was recorded of such a request where nobody saw which database the connection was for; `None` if the request is that, or
    /// no database is part of requests in this protocol.
    pub fn unplaced(self, request: &Value) -> Option<Value> {
        match self {
            Protocol::Redis => redis::unplaced(request),
            Protocol::Mysql => mysql::unplaced(request),
            Protocol::Postgres => postgres::unplaced(request),
            Protocol::Dns => None,
        }
    }

    /// A request in one line, for people.
    pub fn line(self, request: &Value) -> String {
        match self {
            Protocol::Redis => redis::line(request),
            Protocol::Mysql => mysql::line(request),
            Protocol::Postgres => postgres::line(request),
            Protocol::Dns => dns::line(request),
        }
    }
}
