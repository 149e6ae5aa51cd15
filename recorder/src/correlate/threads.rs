//! What threads hold, and whether a process gives a thread one entry at a time.

use std::collections::BTreeSet;

use regress_ebpf::Unit;

use super::{CallKey, Correlator, EntryKey};

/// How many entries must keep to one thread, with others open beside them and a call of their own to show for it,
/// before the threads of a process are believed.
///
/// An event loop that hands work to another loop looks the same with probability 1/2 an entry at best (two loops,
/// two entries, each call lands here or there), and every later sign takes back what was believed.
const PROOFS: u32 = 8;

/// One thread.
#[derive(Default)]
pub(super) struct Thread {
    /// Entries whose last byte it read and that are not answered.
    pub holds: Vec<EntryKey>,
    /// It has read an entry once.
    pub handles_entries: bool,
    /// The entry it read last, or the one whose call's response it read last.
    pub last_read: Option<EntryKey>,
    /// Calls it began that are not over.
    pub outstanding: Vec<CallKey>,
    /// For whom it was born.
    pub lineage: Option<Lineage>,
    /// Calls it began while it had a lineage.
    pub inherited: Vec<CallKey>,
}

impl Thread {
    /// The one entry it holds.
    pub fn held(&self) -> Option<EntryKey> {
        if let [one] = self.holds[..] { Some(one) } else { None }
    }

    /// The entry it works for, as far as its own reads say.
    pub fn context(&self) -> Option<EntryKey> {
        self.held().or(self.lineage.map(|lineage| lineage.entry))
    }
}

/// The birth of a thread out of the work for an entry.
#[derive(Clone, Copy)]
pub(super) struct Lineage {
    /// The entry that the parent held.
    pub entry: EntryKey,
    /// The parent's process.
    pub process: u32,
    /// No other entry was open.
    pub alone: bool,
}

/// Whether a thread of a process works on one entry from its request to its response.
///
/// Refuted for good by any of these: an entry is read by one thread and answered by another; a thread reads an
/// entry while it holds another or while a call of its own is under way; it begins a call while one of its own is
/// under way; a thread that handles entries calls while it holds none and others are open; one thread writes a
/// request and another reads the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many entries kept to their thread.
    Unproven(u32),
    /// Enough of them did.
    Trusted,
    /// Work moves between threads.
    Refuted,
}

/// One process.
pub(super) struct Process {
    pub shape: Shape,
    /// Calls that wait for the shape to be proved.
    pub waiting: BTreeSet<CallKey>,
    /// Entries for which something was ruled because the process was trusted.
    pub relied: Vec<EntryKey>,
}

impl Default for Process {
    fn default() -> Process {
        Process { shape: Shape::Unproven(0), waiting: BTreeSet::new(), relied: Vec::new() }
    }
}

impl Process {
    pub fn is_trusted(&self) -> bool {
        self.shape == Shape::Trusted
    }
}

impl Correlator {
    pub(super) fn shape(&self, process: u32) -> Shape {
        self.processes.get(&process).map_or(Shape::Unproven(0), |process| process.shape)
    }

    /// Work moves between the threads of this process.
    pub(super) fn refute(&mut self, process: u32) {
        let process = self.processes.entry(process).or_default();
        if process.shape == Shape::Refuted {
            return;
        }
        process.shape = Shape::Refuted;
        let (waiting, relied) = (std::mem::take(&mut process.waiting), std::mem::take(&mut process.relied));
        self.doubt(relied);
        for call in waiting {
            self.rule(call, false);
        }
    }

    /// An entry kept to its thread while it could have strayed.
    pub(super) fn prove(&mut self, unit: Unit, entry: EntryKey) {
        match self.entries.get_mut(&entry) {
            Some(entry) if !entry.proof => entry.proof = true,
            _ => return,
        }
        let process = self.processes.entry(unit.process).or_default();
        let Shape::Unproven(so_far) = process.shape else { return };
        if so_far + 1 < PROOFS {
            process.shape = Shape::Unproven(so_far + 1);
            return;
        }
        process.shape = Shape::Trusted;
        for call in std::mem::take(&mut process.waiting) {
            self.rule(call, false);
        }
    }
}
