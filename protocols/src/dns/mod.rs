//! DNS (RFC 1035), over UDP and, each message behind its length, over TCP (section 4.2.2).
//!
//! A question is `{"name": "db.internal", "type": "A"}`, the name in lower case and without the dot at its end; with `"class"` where it is not
//! `IN`, `"recursion": false` where none is desired, and `"dnssec": true` where signatures are. A response is
//! `{"code": "NOERROR", "answers": [...]}`, with `"authorities"` and `"additionals"` where there are any, `"authoritative": true`
//! and `"truncated": true` where it says so; what EDNS (RFC 6891) agrees on is left out. A record is
//! `{"name": .., "type": .., "ttl": seconds, "data": ..}` (module `record`).
//!
//! All questions concern the connection alone ([`Ask::setup`](crate::wire::Ask)): whether a name is asked for depends on what a
//! resolver has kept, and is no work of an entry. Zone transfers, updates and notifications are not read.

mod detect;
mod message;
mod pair;
mod play;
mod record;
#[cfg(test)]
mod samples;

pub use detect::detect;
pub use message::{
    MEMBERS, NO_ERROR, NO_SUCH_NAME, SERVER_FAILURE, addresses, code, line, operation, question, read_reply, reply,
};
pub use pair::Conversation;
pub use play::Player;
