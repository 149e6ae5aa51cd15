//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).

mod assemble;
mod compose;
mod detect;
mod error;
mod framing;
mod grammar;
mod key;
mod message;
pub(crate) mod pair;
mod parse;
mod play;
#[cfg(test)]
mod properties;

pub use detect::{Detected, detect};
pub use error::{Fault, ParseError};
pub use message::{Chunk, Framing, Line, Message};
pub use pair::Pairer;
pub use parse::{Limits, RequestReader, ResponseReader};
pub use play::{Answer, Then, answer, answer_after};
