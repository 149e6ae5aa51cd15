//! Transactions of databases.
//!
//! `BEGIN` and `COMMIT` look alike for everybody, so that their kind says nothing: where a job in the background begins transactions,
//! those of an entry would never be known to be its own because it was alone. But a connection is lent to one piece of work for
//! as long as a transaction goes on, and what frames it is of whoever asks for what is in it. So a frame is of the
//! kinds of all that its transaction has, each of which may show that it happens without an entry.
//!
//! Refuted for all of these kinds where a frame is nobody's, or was not waited for, and where two frames of one
//! transaction would be of two entries by each of them having been alone: then it was the work of neither.

use std::collections::{BTreeSet, HashMap};

use regress_ebpf::SocketId;

use super::{Call, CallKey, Correlator, EntryKey, EntrySet, InTransaction, OperationHash};

/// Kinds of calls in one transaction, and its frames, that are remembered; one with more is known by its frames' own kinds.
const MOST: usize = 64;

/// Those of a recording.
#[derive(Default)]
pub(super) struct Transactions {
    /// Of connections whose state is known: the one that is open there, if any.
    open: HashMap<SocketId, Option<u64>>,
    all: HashMap<u64, Transaction>,
    next: u64,
}

#[derive(Default)]
struct Transaction {
    /// Kinds of what is in it.
    kinds: BTreeSet<OperationHash>,
    /// `BEGIN`, `COMMIT` and the like, which may be ruled already.
    frames: Vec<CallKey>,
    /// It was seen from its beginning, and had no more than can be remembered.
    is_whole: bool,
    is_over: bool,
    /// Who has a frame of it because of being alone.
    owner: Option<EntryKey>,
    /// A frame was of no entry, or contradicted another one.
    is_nobodys: bool,
}

impl Transaction {
    /// What it has is all that its frames are known by.
    fn tells(&self) -> bool {
        self.is_over && self.is_whole && !self.kinds.is_empty()
    }

    fn has_room(&mut self) -> bool {
        let has_room = self.kinds.len() < MOST && self.frames.len() < MOST;
        self.is_whole &= has_room;
        has_room
    }
}

impl Transactions {
    /// The one that is open on the connection; a new one where a call says that it begins or goes on, and there is none.
    fn of(&mut self, connection: SocketId, told: InTransaction) -> Option<u64> {
        let state = self.open.get(&connection).copied();
        if let Some(open) = state.flatten() {
            return Some(open);
        }
        if told.goes_on == Some(false) {
            self.open.insert(connection, None);
        }
        if told.goes_on != Some(true) && !(told.begins && told.goes_on.is_none()) {
            return None;
        }
        self.next += 1;
        let is_whole = told.begins || state.is_some();
        self.all.insert(self.next, Transaction { is_whole, ..Transaction::default() });
        self.open.insert(connection, Some(self.next));
        Some(self.next)
    }

    fn of_frame(&self, call: &Call) -> Option<&Transaction> {
        self.all.get(&call.frame_of?)
    }
}

impl Correlator {
    /// A call is over whose protocol knows transactions; gives the one that is over with it.
    pub(super) fn in_transaction(
        &mut self,
        key: CallKey,
        operation: OperationHash,
        told: InTransaction,
    ) -> Option<u64> {
        let call = self.calls.get_mut(&key)?;
        let connection = call.connection;
        let open = self.transactions.of(connection, told)?;
        let transaction = self.transactions.all.get_mut(&open)?;
        let is_over = told.goes_on == Some(false);
        // What throws it away is of its own kind alone: libraries do so when they take the connection back, after the response.
        let is_part = transaction.has_room() && !(is_over && told.drops);
        if is_part && told.frames {
            transaction.frames.push(key);
            call.frame_of = Some(open);
        } else if is_part {
            transaction.kinds.insert(operation);
            if transaction.is_nobodys {
                self.loosen(Some(operation));
            }
        }
        is_over.then(|| self.transactions.open.insert(connection, None));
        is_over.then_some(open)
    }

    /// The connection is gone, and with it what was open there.
    pub(super) fn forget_transaction(&mut self, connection: SocketId) {
        if let Some(open) = self.transactions.open.remove(&connection).flatten() {
            self.transaction_over(open);
        }
    }

    pub(super) fn transaction_over(&mut self, open: u64) {
        let Some(transaction) = self.transactions.all.get_mut(&open) else { return };
        transaction.is_over = true;
        for frame in transaction.frames.clone() {
            self.rule(frame, false);
        }
        self.frame_ruled(Some(open));
    }

    /// A frame of this transaction has been ruled; after the last one nobody asks for it.
    pub(super) fn frame_ruled(&mut self, frame_of: Option<u64>) {
        let Some((key, transaction)) = frame_of.and_then(|key| Some((key, self.transactions.all.get(&key)?))) else {
            return;
        };
        if transaction.is_over && !transaction.frames.iter().any(|frame| self.calls.contains_key(frame)) {
            self.transactions.all.remove(&key);
        }
    }

    /// It frames a transaction that is still open.
    pub(super) fn frames_open_one(&self, call: &Call) -> bool {
        self.transactions.of_frame(call).is_some_and(|transaction| !transaction.is_over)
    }

    /// The kinds that a call is of: whoever makes one of these without an entry may have made it.
    pub(super) fn kinds(&self, call: &Call) -> Vec<OperationHash> {
        let transaction = self.transactions.of_frame(call);
        let own = call.operation.filter(|_| !transaction.is_some_and(Transaction::tells));
        own.into_iter().chain(transaction.iter().flat_map(|transaction| transaction.kinds.iter().copied())).collect()
    }

    /// Whether such calls happen without an entry, or nobody knows.
    pub(super) fn is_loose(&self, call: &Call) -> bool {
        call.operation.is_none() || self.kinds(call).into_iter().any(|kind| self.operations.is_loose(kind))
    }

    /// A call is this entry's because none of its kinds happens without one.
    pub(super) fn rely_on_kinds(&mut self, call: &Call, owner: EntryKey) {
        for kind in self.kinds(call) {
            self.operations.rely(kind, owner);
        }
    }

    /// A call of this kind, which is a frame where a transaction is named, happens without an entry: so may all that are like it.
    pub(super) fn loosen_kinds(&mut self, operation: Option<OperationHash>, frame_of: Option<u64>) {
        self.loosen(operation);
        let Some(transaction) = frame_of.and_then(|key| self.transactions.all.get_mut(&key)) else { return };
        transaction.is_nobodys = true;
        for kind in transaction.kinds.clone() {
            self.loosen(Some(kind));
        }
    }

    /// A frame is this entry's because that was alone.
    pub(super) fn owns_frame(&mut self, frame: &Call, owner: EntryKey) {
        let Some(transaction) = frame.frame_of.and_then(|key| self.transactions.all.get_mut(&key)) else { return };
        let other = *transaction.owner.get_or_insert(owner);
        if other != owner {
            self.doubt(EntrySet::from_iter([other, owner]));
            self.loosen_kinds(frame.operation, frame.frame_of);
        }
    }
}
