//! Wire protocols without I/O: bytes become messages, messages become the same bytes again.
//!
//! A leaf of the workspace: nothing here knows about sockets, clocks, files or the rest of regress.
//! One folder a protocol. HTTP/1 has `message` (what it says), `parse` (bytes to messages), `pair` (two directions to
//! exchanges), `key` (what identifies an operation), `play` (answering as a server). The others say [`Value`]s and implement what
//! [`wire`] asks for.

pub mod dns;
pub mod fastcgi;
pub mod http1;
pub mod http2;
pub mod mysql;
mod operation;
mod pair;
mod pairer;
pub mod postgres;
mod raw;
pub mod redis;
mod request;
pub mod sql;
mod value;
pub mod wire;

pub use operation::Operation;
pub use pair::{PairEnd, PairEvent, Paired, PairedContent, Problem};
pub use pairer::{Limits, Pairer};
pub use request::Request;
pub use value::Value;

/// A point of a recording: the number of the event that carried the bytes. Marks only ever grow, so they
/// order things of one recording; what they mean in time is known to whoever handed them out.
pub type Mark = u64;

/// The side of a connection that produced some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The side that opened the connection and speaks first in a request/response protocol.
    Client,
    /// The side that accepted the connection.
    Server,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}
