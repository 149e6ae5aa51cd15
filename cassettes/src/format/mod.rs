//! Cassettes as text: `encode` and `decode` are exact inverses.

mod coding;
mod decode;
mod encode;
mod fields;
mod json;
mod layout;
mod payload;
mod value;
mod words;
mod writer;

pub use decode::{Decoded, decode};
pub use encode::{encode, lowest, version};
pub use json::Fault;
pub use payload::{BodyFiles, hash, is_hash};
pub use value::shown;

/// Why a text is not a cassette that can be read.
#[derive(Debug)]
pub enum Flaw {
    /// It is not JSON: cut off, or damaged.
    Syntax(Fault),
    /// It is JSON that the format does not allow.
    Format(Fault),
    /// It was written in a newer format.
    Newer((u16, u16)),
    /// A body file beside it failed.
    Error(crate::Error),
}

impl From<Fault> for Flaw {
    fn from(fault: Fault) -> Flaw {
        Flaw::Format(fault)
    }
}
