//! MySQL and MariaDB
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>, <https://mariadb.com/kb/en/clientserver-protocol/>).
//!
//! A request is `{"command": "query", "sql": "SELECT 1", "db": "shop"}` or, of a prepared statement,
//! `{"command": "execute", "sql": "SELECT ?", "params": [5], "db": "shop"}`, with `"db"` where a default schema was chosen (null
//! where nobody saw which).
//! Responses are shown by module `response`. What was prepared has no number in them, and nothing of a password is
//! in the login.

mod bits;
mod column;
mod compression;
mod data;
mod detect;
mod end;
mod handshake;
mod key;
mod packet;
mod pair;
mod play;
mod response;
mod row;
mod session;
mod settings;
mod tell;
#[cfg(test)]
mod testing;
mod types;
mod value;

pub use detect::detect;
pub use key::{MEMBERS, in_transaction, is_handshake, is_write, line, operation, unplaced};
pub use pair::Conversation;
pub use play::Player;
