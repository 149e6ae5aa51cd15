//! What a service says inside TLS: where libraries are probed, and how their plaintext is tied to sockets.
//!
//! The programs in `bpf/tls.h` tell what passes in a [`TlsLibrary`]; [`Binder`] puts that plaintext in the place of the
//! ciphertext that passes on the socket.

use bytes::Bytes;

use crate::event::{Direction, SocketId, Unit};

mod bind;
mod conversation;
mod ledger;
mod library;
mod preamble;
mod process;
mod records;
mod state;

pub(crate) use bind::{Binder, Seen};
pub use library::TlsLibrary;
pub(crate) use library::openssl;
pub use preamble::{Preamble, Turn};
pub use process::{TlsUse, tls_of_process};
pub(crate) use records::{RecordReader, agreed, begins_record};

/// A TLS object (`SSL *`, `*tls.Conn`) for as long as it lives; never reused within a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectId(pub(crate) u64);

/// A piece of what one call moved through a TLS object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plaintext {
    /// Monotonic nanoseconds.
    pub(crate) at: u64,
    /// The thread that called.
    pub(crate) unit: Option<Unit>,
    pub(crate) object: ObjectId,
    /// The socket, where the object names it.
    pub(crate) socket: Option<SocketId>,
    pub(crate) direction: Direction,
    /// Offset in the object's plaintext of this direction.
    pub(crate) position: u64,
    pub(crate) bytes: Bytes,
    /// Bytes behind them that could not be read.
    pub(crate) missing: u64,
    /// Bytes of the same call that are still to come.
    pub(crate) left: u64,
    /// How much the call asked for.
    pub(crate) requested: u64,
}

#[cfg(test)]
mod tests;
