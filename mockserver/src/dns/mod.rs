//! The name server of a sandbox: answers from a recording, or from the host's resolver while recording.

mod answers;
mod forward;
mod message;
mod names;
mod recorded;
mod server;

pub use answers::Answers;
pub use forward::Forward;
pub use message::{A, AAAA, Outcome, PTR};
pub use names::{Names, Query};
pub use recorded::RecordedNames;
pub(crate) use server::{serve_stream, serve_udp};
