//! What goes into the correlator, and what comes out.

use regress_cassettes::Cause;
use regress_ebpf::{SocketId, Unit};
use regress_protocols::Mark;
use serde::{Deserialize, Serialize};

use super::{Clue, EntrySet};

/// An entry of this recording, numbered in order of beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct EntryKey(pub u64);

/// A downstream exchange of this recording, numbered in order of beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct CallKey(pub u64);

/// What identifies the kind of a call: a hash of downstream name, method and path.
pub(crate) type OperationHash = u64;

/// When and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// The event that carried it.
    pub mark: Mark,
    /// Monotonic nanoseconds.
    pub at: u64,
    /// The thread, where it is known.
    pub unit: Option<Unit>,
}

/// What a call tells of the transaction on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InTransaction {
    /// It begins one, and asks for nothing else.
    pub begins: bool,
    /// It says how the transaction goes, and asks for nothing else.
    pub frames: bool,
    /// It throws it away, or a part of it, and asks for nothing else.
    pub drops: bool,
    /// Whether one is open when it is over; `None` where that is not told.
    pub goes_on: Option<bool>,
}

/// Something that bears on owners. Facts come in the order of the events that completed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fact {
    /// The first byte of an entry was read.
    EntryBegan { entry: EntryKey, connection: SocketId },
    /// The last byte of an entry's request was read.
    EntryRead { entry: EntryKey },
    /// It is in a protocol that is not understood.
    EntryUnreadable { entry: EntryKey },
    /// Whoever it was made for waits for its response, though others read that.
    CallAwaited { call: CallKey },
    /// What its request says is known, at the latest before it ends.
    EntrySays { entry: EntryKey, ids: Vec<Clue>, values: Vec<Clue> },
    /// The first byte of its response was written.
    AnswerBegan { entry: EntryKey },
    /// The exchange is over: the last byte of its response was written, or there will be none.
    EntryEnded { entry: EntryKey },
    /// A connection is being opened.
    Connecting { connection: SocketId },
    /// A call's first byte was written (or its connection begun, where there never was one).
    CallBegan {
        call: CallKey,
        /// Its connection; `first` on it.
        connection: SocketId,
        first: bool,
        /// Set where the protocol is not understood: the call may last as long as its connection.
        opaque: Option<OperationHash>,
    },
    /// What its request says is known, at the latest before it ends.
    CallSays { call: CallKey, ids: Vec<Clue>, values: Vec<Clue> },
    /// What its response says, before it ends.
    CallHears { call: CallKey, values: Vec<Clue> },
    /// The first byte of its response was read.
    CallAnswered { call: CallKey },
    /// The call is over.
    CallEnded {
        call: CallKey,
        operation: OperationHash,
        /// Where its protocol knows transactions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transaction: Option<InTransaction>,
    },
    /// The end of what the peer sends was read on the connection of this call, the last one there.
    CallsEndRead { call: CallKey },
    /// Bytes were written to a connection whose content is not cut into exchanges, after its `call` had begun; `None`
    /// where that was before the recording.
    OpaqueUsed { call: Option<CallKey> },
    /// The call turned out to last as long as its connection.
    CallIsOpaque { call: CallKey, operation: OperationHash },
    /// The call turned out not to be one.
    CallDropped { call: CallKey },
    /// The entry turned out not to be one.
    EntryDropped { entry: EntryKey },
    /// The entry has begun, and came from a process that is recorded as well.
    HopBegan { entry: EntryKey },
    /// It is this call of that process.
    HopIs { entry: EntryKey, call: CallKey },
    /// Whether the process of the moment's unit takes one entry at a time; told where it changes.
    Serves { one_by_one: bool },
    /// A thread, process or task was born of the moment's unit.
    Born { child: Unit },
    /// The moment's unit ended.
    Gone,
    /// Whoever read the latest response on the connection has woken the moment's unit.
    Returned {
        connection: SocketId,
        /// It had connected, which is all that says for whom the request had been written.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        connected: bool,
    },
    /// A connection is gone.
    ConnectionGone { connection: SocketId },
    /// A connection into the service was found open: an entry may be under way on it.
    Joined { connection: SocketId },
    /// Nothing was under way on it.
    JoinedIdle { connection: SocketId },
    /// An entry was under way on it, unseen until now.
    JoinedBusy { connection: SocketId },
}

/// What the correlator decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The owner of a call.
    Call { call: CallKey, verdict: Verdict },
    /// Nothing more can come to an entry. `ambiguous`: it may lack calls whose owner is unknown.
    Finished { entry: EntryKey, ambiguous: bool },
    /// Nothing more can come to an entry that came from a recorded process; what it owns is `of` whoever that is.
    Passed { hop: EntryKey, of: Verdict },
    /// What was ruled for these entries relied on something that proved false; they may be finished already.
    Doubt { entries: EntrySet },
}

/// Whose call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This entry caused it.
    Owner { entry: EntryKey, cause: Cause },
    /// No entry did.
    Ambient,
    /// One of these did, or none.
    Ambiguous { among: Vec<EntryKey> },
}

/// Bounds on waiting and on memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Nanoseconds of event time after an entry's end in which it may still receive calls.
    pub settle: u64,
    /// Nanoseconds after an entry's end when what is undecided is ruled ambiguous.
    pub decide: u64,
    /// How many entries may wait for a decision at once.
    pub entries: usize,
    /// How many bytes of finished exchanges may wait for one.
    pub waiting: u64,
    /// How many bytes of exchanges that are not finished may be kept; what moves beyond that is a gap.
    pub under_way: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { settle: 500_000_000, decide: 30_000_000_000, entries: 4096, waiting: 256 << 20, under_way: 1 << 30 }
    }
}
