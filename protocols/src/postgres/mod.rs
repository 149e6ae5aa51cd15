//! PostgreSQL: the frontend/backend protocol, version 3 (PostgreSQL manual, chapter 55).
//!
//! A request is an execution: `{"query": "SELECT name FROM users WHERE id = $1", "params": ["7"]}`, with `"types"` where the client gave
//! types, `"max-rows"` and `"page"` where it takes rows in pieces, `"db"` where the start-up was seen. A simple query with one statement is the same without parameters. Data that are copied to
//! the server are a request `{"copy": "COPY ...", "data": ...}`, a call of a function is `{"function": 1234, "args": [...]}`. What concerns the
//! connection alone is `{"encryption": ...}`, `{"startup": [[name, value]]}`, `{"prepare": "SELECT ..."}`, `{"close": true}`, `{"sync": true}`,
//! `{"cancel": true}`. Passwords are not kept. Responses: module `reply`; values and columns: module `column`.

mod client;
mod column;
mod detect;
mod key;
mod message;
mod notice;
mod pair;
mod play;
#[cfg(test)]
mod properties;
mod reply;
#[cfg(test)]
mod samples;
mod session;
mod types;

pub use detect::detect;
pub use key::{MEMBERS, in_transaction, is_handshake, is_write, line, operation, unplaced};
pub use pair::Conversation;
pub use play::Player;
