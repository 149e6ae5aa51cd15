//! Redis: RESP2 and RESP3 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! A request is `{"command": "SET", "args": ["key", "value"]}`, the command in upper case, with
//! `"db"` where another database than 0 was selected (null where nobody saw which), without passwords. A reply is a bulk string as text or
//! base64, an integer as a number, the null bulk string as `null`, an array as a list, `true` and `false`; what else RESP has is a map that
//! names it: `{"simple": "OK"}`, `{"error": "ERR no such key"}`, `{"map": [[..., ...]]}` (module `reply`). A subscription is
//! answered by all that the server says until it ends: `{"stream": [...]}`.

mod command;
mod detect;
mod pair;
mod play;
mod reply;
mod scan;
mod transaction;

pub use command::{MEMBERS, is_handshake, is_write, line, operation, unplaced};
pub use detect::detect;
pub use pair::Conversation;
pub use play::Player;
pub use transaction::transaction;
