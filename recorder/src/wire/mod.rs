//! What a server on the host and the agents that it serves say to each other, over a Unix socket.
//!
//! Each begins with a [`Hello`], whose form never changes, so that versions that do not understand each other can say so.
//! Then each side sends frames: a length (4 bytes, little-endian, at most [`FRAME`]), a kind (1 byte) and that many bytes.
//! Neither believes what the other says of sizes: a frame that is larger is an error before it is read, and lists are read
//! until their frame ends.

mod frame;
mod message;

pub use frame::{FRAME, Hello, Kind, Received, Receiver, Sender};
pub use message::{EVENTS, FromAgent, FromServer, PROTOCOL, Refusal, Target, Wanted, events_of, put_event};

/// Something that is not of the protocol, or of another version of it.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The other side is no server or agent of regress.
    #[error("it does not speak as regress does")]
    Foreign,
    /// It is of another version.
    #[error("it speaks version {theirs} of the protocol (regress {release}), and this regress version {PROTOCOL}")]
    Version {
        /// Theirs.
        theirs: u16,
        /// The version of their program.
        release: String,
    },
    /// A frame is larger than any may be.
    #[error("a frame of {length} bytes, of which there may be {FRAME}")]
    Length {
        /// As it says.
        length: u64,
    },
    /// A frame of a kind that there is not, or that is cut off, or has more than its message.
    #[error("a frame that cannot be read")]
    Frame,
    /// It came when another was due.
    #[error("a message that was not due")]
    NotDue,
}

impl From<Malformed> for std::io::Error {
    fn from(malformed: Malformed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, malformed)
    }
}
