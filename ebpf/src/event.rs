//! The one record that every capture source emits, whether kernel or proxy.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// One socket for as long as it lives; never reused within a recording. The kernel source uses the socket cookie
/// (`sock_gen_cookie`, unique until reboot), the proxy source a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketId(pub u64);

/// What executes code in the service: what a thread runs where that is known, else the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unit {
    /// Process (thread group) id, as the recorder's PID namespace counts.
    pub process: u32,
    /// Which of those in the process.
    pub strand: Strand,
}

/// One line of execution within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strand {
    /// A thread, by its id, which may become that of another once it is gone.
    Thread(u32),
    /// A goroutine, by its number, which never does. Its end is not told.
    Goroutine(u64),
    /// A context of Python (PEP 567): an asyncio task or callback, whatever thread runs it. By a number that is given when it
    /// is first seen, and never again. Its end is not told. Or the context of an entry, as a hook inside the program says.
    Context(u64),
    /// A task of tokio, whatever thread polls it, by its id, which never comes again in the process. Its end is not told.
    Task(u64),
    /// What a thread of a pool was given to do, by a number in the same way.
    Job(u64),
}

impl Unit {
    /// A thread of a process.
    #[must_use]
    pub const fn thread(process: u32, thread: u32) -> Unit {
        Unit { process, strand: Strand::Thread(thread) }
    }

    /// Whether it is a goroutine, or as good as one: a task of tokio.
    #[must_use]
    pub const fn is_goroutine(self) -> bool {
        matches!(self.strand, Strand::Goroutine(_) | Strand::Task(_))
    }

    /// Whether it is a task of tokio.
    #[must_use]
    pub const fn is_of_tokio(self) -> bool {
        matches!(self.strand, Strand::Task(_))
    }

    /// Whether it is a thread.
    #[must_use]
    pub const fn is_thread(self) -> bool {
        matches!(self.strand, Strand::Thread(_))
    }

    /// Whether it is made for one piece of work, and its birth is told: a context of Python, or a job.
    #[must_use]
    pub const fn is_task(self) -> bool {
        matches!(self.strand, Strand::Context(_) | Strand::Job(_))
    }
}

/// Which end of the connection the recorded service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The service accepted it: requests on it are entries.
    Server,
    /// The service opened it: requests on it go downstream.
    Client,
}

/// The way bytes went, seen from the recorded service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// The service sent them.
    Sent,
    /// The service received them.
    Received,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CloseCause {
    /// Both sides finished, or the service closed it.
    Closed,
    /// A reset was received or sent.
    Reset,
    /// The connection was never established: the peer refused it.
    Refused,
    /// The connection was never established, or died, by time-out or an unreachable peer.
    TimedOut,
}

/// What was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LossKind {
    /// The event buffer was full.
    BufferFull,
    /// Memory of the service could not be read.
    Unreadable,
    /// A table of the capture source was full, so that a socket or a process was not followed, or not in time.
    TableFull,
    /// The kernel skipped a run of a program, because the same program was running on that CPU.
    Skipped,
    /// A process gained privileges that whoever records has no right to look into.
    Privileged,
    /// The inside of TLS was read, and on which connection it passed is not known.
    UnknownConnection,
}

/// A count of what the capture source had to give up since its last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What kind of loss.
    pub kind: LossKind,
    /// How many events.
    pub events: u64,
    /// How many payload bytes, where known.
    pub bytes: u64,
}

/// One record from a capture source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Monotonic time in nanoseconds (`CLOCK_MONOTONIC`).
    pub at: u64,
    /// For whom it happened: the unit that was running, or the goroutine or task that has its request made by it. `None` where the
    /// kernel acted on its own (softirq).
    pub unit: Option<Unit>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// The service began to connect by TCP (`connect(2)`); the unit is the caller.
    Connecting {
        /// The socket.
        socket: SocketId,
        /// Where to.
        peer: SocketAddr,
    },
    /// A connection is usable, or was found open when the capture began; a Unix connection is used for the first time.
    Open {
        /// The socket.
        socket: SocketId,
        /// Which end the service has.
        role: Role,
        /// The service's address.
        local: Address,
        /// The other address.
        peer: Address,
        /// It was open before the capture began: its streams start in the middle.
        joined: bool,
    },
    /// What passes on this socket from here on is read from inside TLS: data events tell the plaintext, and positions count it
    /// behind what passed in the clear before. Comes before any data of TLS.
    InsideTls {
        /// The socket.
        socket: SocketId,
    },
    /// Bytes moved. One system call may give several events with rising positions.
    Data {
        /// The socket.
        socket: SocketId,
        /// Sent or received.
        direction: Direction,
        /// Offset in this direction's stream of the first byte, counted from the first byte seen. Advances by what
        /// the system call returned, also where bytes were lost, so that a gap shows.
        position: u64,
        /// The bytes. Empty together with a non-zero `missing` where nothing could be read.
        bytes: Bytes,
        /// How many bytes follow `bytes` that the service moved and the source could not read.
        missing: u64,
        /// How far the other direction had come when these bytes moved, as a position in its stream, where the source
        /// knows it. A call that sent bytes is reported when it returns, and the answer may have been read by then: such
        /// an event comes before data that it is behind.
        other: Option<u64>,
    },
    /// The peer finished sending (`Received`), or the service did (`Sent`, shutdown); the other way may go on.
    Finished {
        /// The socket.
        socket: SocketId,
        /// Which direction ended.
        direction: Direction,
    },
    /// The connection is gone.
    Close {
        /// The socket.
        socket: SocketId,
        /// Why.
        cause: CloseCause,
    },
    /// Whether the process of the event's unit takes one request at a time and works for nothing else until it takes the next, as
    /// is known of its program. Told where it changes; at first none does.
    Serves {
        /// It does.
        one_by_one: bool,
    },
    /// A thread, process, context or job was born; the event's unit is the parent. A goroutine had been started by the event's
    /// unit: told each time it makes a request that others write. A task of tokio is awaited by the event's unit: told each time.
    Born {
        /// The new unit.
        child: Unit,
    },
    /// A thread ended; the event's unit is the thread.
    Gone,
    /// Whoever read the response from this socket has woken the event's unit, for which the request had been written.
    Returned {
        /// The socket.
        socket: SocketId,
        /// That it had been written for that unit is known by that having connected.
        connected: bool,
    },
    /// From now on the unit of what moves on this socket is who waits for the request that begins there, by the runtime's word;
    /// nobody where none does.
    Streams {
        /// The socket.
        socket: SocketId,
    },
    /// A DNS answer that the service received, over UDP where the kernel tells of it (raw message bytes, RFC 1035).
    Name {
        /// The message.
        bytes: Bytes,
    },
    /// Something was lost.
    Lost(Loss),
}
