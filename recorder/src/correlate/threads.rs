//! What threads hold, and whether a process gives a thread one entry at a time.

use std::collections::{BTreeSet, HashMap, VecDeque};

use regress_ebpf::{SocketId, Unit};

use regress_protocols::Mark;

use super::{CallKey, Correlator, EntryKey, EntrySet, Moment, loops::Read, readers::Work, turns::Turn};

/// How much evidence it takes to believe the threads of a process, in nats: by chance alone, work that is handed
/// between threads would look like this once in `e^7` (about 1100) recordings; and every later sign takes back what
/// was believed.
const BELIEF: f64 = 7.0;

/// One thread.
#[derive(Default)]
pub(super) struct Thread {
    /// Entries whose last byte it read and that are not answered.
    pub holds: Vec<EntryKey>,
    /// A goroutine: entries that it read, as far as they are not finished.
    pub read: Vec<EntryKey>,
    /// It has read an entry once.
    pub handles_entries: bool,
    /// It has made a call or read an entry once.
    pub active: bool,
    /// Its birth was seen, and all its entries came over this one connection.
    pub born_for: BornFor,
    /// Of a process that takes one entry at a time: the one that it works for, and since when.
    pub turn: Option<Turn>,
    /// The entry it read last, or the one whose call's response it read last.
    pub last_read: Option<EntryKey>,
    /// It has read an entry while it had that of another connection to answer.
    pub is_loop: bool,
    /// Whether it works for entries or only reads them, see `readers.rs`.
    pub work: Work,
    /// What it has read, see `loops.rs`.
    pub reads: VecDeque<(Mark, Read)>,
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

    /// It is a goroutine, and all its entries came over one connection: what it does meanwhile it does for them, in whatever
    /// order calls begin and end. Goroutines are made for their work, and cost so little that nobody lends them.
    pub fn is_for_one(&self, unit: Unit) -> bool {
        unit.is_goroutine() && matches!(self.born_for, BornFor::One(_))
    }

    /// It works for nobody and waits for nothing.
    pub fn is_idle(&self) -> bool {
        self.holds.is_empty() && self.outstanding.is_empty() && self.inherited.is_empty()
    }

    /// The entry it works for, as far as its own reads say.
    pub fn context(&self) -> Option<EntryKey> {
        self.held().or(self.lineage.map(|lineage| lineage.entry))
    }
}

/// For which connection a thread was born, as far as its entries tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BornFor {
    /// Its birth was not seen, or it serves many.
    #[default]
    Many,
    /// It has read no entry yet.
    Unknown,
    /// This one.
    One(SocketId),
}

impl BornFor {
    /// It read an entry that came over this connection.
    pub fn reads(&mut self, connection: SocketId) {
        *self = match *self {
            BornFor::Unknown => BornFor::One(connection),
            BornFor::One(one) if one == connection => BornFor::One(one),
            BornFor::One(_) | BornFor::Many => BornFor::Many,
        };
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
/// Refuted for good by any of these: an entry is read by one thread and answered by another, unless the former only reads
/// (`readers.rs`); a thread that does more reads an entry while it holds another or while a call of its own is under way;
/// it begins a call while one of its own is under way; a thread that handles entries calls while it holds none and
/// others are open; one thread writes a request and another reads the response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// The evidence so far that entries keep to their threads.
    Unproven(f64),
    /// Enough of them did.
    Trusted,
    /// Work moves between threads.
    Refuted,
}

impl Shape {
    /// Adds evidence, in nats; true when that made it trusted.
    pub fn believe(&mut self, evidence: f64) -> bool {
        let Shape::Unproven(so_far) = *self else { return false };
        *self = if so_far + evidence < BELIEF { Shape::Unproven(so_far + evidence) } else { Shape::Trusted };
        *self == Shape::Trusted
    }
}

/// One process.
pub(super) struct Process {
    pub shape: Shape,
    /// It takes one entry at a time, as is known of its program, see `turns.rs`; the thread that reads them.
    pub one_by_one: bool,
    pub reader: Option<Unit>,
    /// Whether goroutines or tasks work for the one that started them, see `children.rs` and `tasks.rs`.
    pub children: Shape,
    /// Entries for which something was ruled because they do.
    pub relied_on_children: EntrySet,
    /// Whether its threads work for whom they have read last, see `loops.rs`.
    pub loops: Shape,
    /// Entries for which something was ruled because they do.
    pub relied_on_loops: EntrySet,
    /// Whether calls carry the ids of their entries, see `ids.rs`.
    pub ids: Shape,
    /// Threads that had read entries have ended in it.
    pub handlers_end: bool,
    /// Calls that wait for the shape to be proved.
    pub waiting: BTreeSet<CallKey>,
    /// Entries for which something was ruled because the process was trusted.
    pub relied: EntrySet,
    /// Its threads that were seen and are not gone; the first thread is gone.
    pub threads: u32,
    pub leader_gone: bool,
}

impl Default for Process {
    fn default() -> Process {
        Process {
            shape: Shape::Unproven(0.0),
            one_by_one: false,
            reader: None,
            children: Shape::Unproven(0.0),
            relied_on_children: EntrySet::default(),
            loops: Shape::Unproven(0.0),
            relied_on_loops: EntrySet::default(),
            ids: Shape::Unproven(0.0),
            handlers_end: false,
            waiting: BTreeSet::new(),
            relied: EntrySet::default(),
            threads: 0,
            leader_gone: false,
        }
    }
}

impl Process {
    pub fn is_trusted(&self) -> bool {
        self.shape == Shape::Trusted
    }

    /// No thread of it is left, and no call waits for its shape.
    pub fn is_over(&self) -> bool {
        self.leader_gone && self.threads == 0 && self.waiting.is_empty()
    }
}

impl Correlator {
    pub(super) fn shape(&self, process: u32) -> Shape {
        self.processes.get(&process).map_or(Shape::Unproven(0.0), |process| process.shape)
    }

    /// The evidence, in nats, of a call that keeps to this thread: how improbable that is where work is handed to
    /// whatever thread is at hand. It shows by landing on a thread that handles entries and holds none, so the evidence
    /// is as strong as those are many; where all are busy with entries of their own there is none. Threads that are made
    /// for one connection and end with it, goroutines that serve one, or the only thread of a process, take no work of
    /// others: one bit.
    pub(super) fn evidence(&self, unit: Unit) -> f64 {
        let Some(process) = self.processes.get(&unit.process) else { return 0.0 };
        if !matches!(process.shape, Shape::Unproven(_)) {
            return 0.0;
        }
        let others = self.threads.iter().filter(|(other, _)| other.process == unit.process && **other != unit);
        let (mut free, mut at_hand, mut active, mut has_reader) = (0.0, 1.0, 0, false);
        for (_, other) in others {
            active += u32::from(other.active);
            has_reader |= other.is_reader();
            if other.handles_entries && other.outstanding.is_empty() {
                at_hand += 1.0;
                free += f64::from(u8::from(other.holds.is_empty() && !other.is_reader()));
            }
        }
        let free = (free - self.passed_on(unit.process) as f64).max(0.0);
        let own = self.threads.get(&unit).map_or(BornFor::Many, |thread| thread.born_for);
        let is_lasting = !unit.is_goroutine() && !process.handlers_end;
        let takes_no_other = active == 0 || (matches!(own, BornFor::One(_)) && !is_lasting);
        let by_chance: f64 = 1.0 - free / at_hand;
        let evidence = if takes_no_other { std::f64::consts::LN_2 } else { -by_chance.ln() };
        // Signs are fewer where a call may be for what a thread answers next.
        if has_reader { evidence / 4.0 } else { evidence }
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

    /// An entry kept to its thread while others were open, which says this much.
    pub(super) fn prove(&mut self, unit: Unit, entry: EntryKey, evidence: f64) {
        match self.entries.get_mut(&entry) {
            Some(entry) if !entry.proof => entry.proof = true,
            _ => return,
        }
        let process = self.processes.entry(unit.process).or_default();
        if !process.shape.believe(evidence) {
            return;
        }
        for call in std::mem::take(&mut process.waiting) {
            self.rule(call, false);
        }
    }

    pub(super) fn born(&mut self, moment: Moment, child: Unit) {
        let parent = moment.unit;
        if child.is_task() {
            if let Some(parent) = parent {
                self.tasks.born(parent, child, moment.mark);
            }
            return;
        }
        if child.is_goroutine() {
            if let Some(parent) = parent.filter(|parent| self.children.parent(child) != Some(*parent)) {
                self.children.born(parent, child);
                self.awaited(child);
            }
            return;
        }
        let lineage = parent.and_then(|unit| {
            let thread = self.threads.get(&unit)?;
            let inherited = thread.lineage.filter(|l| self.entries.contains_key(&l.entry));
            match thread.held() {
                Some(entry) if !self.entries.get(&entry)?.pipelined => Some(Lineage {
                    entry,
                    process: unit.process,
                    alone: self.open.len() == 1 && self.joined.is_empty(),
                }),
                Some(_) => None,
                None => inherited.filter(|_| thread.holds.is_empty()),
            }
        });
        *thread_of(&mut self.threads, &mut self.processes, child) =
            Thread { lineage, born_for: BornFor::Unknown, ..Thread::default() };
    }

    pub(super) fn gone(&mut self, unit: Option<Unit>) {
        unit.into_iter().for_each(|unit| self.stays_adrift(unit));
        let Some(unit) = unit else { return };
        self.turn_ends(unit);
        let thread = self.threads.remove(&unit);
        let was_known = thread.is_some();
        let thread = thread.unwrap_or_default();
        for key in thread.inherited {
            if let Some(call) = self.calls.get_mut(&key) {
                call.thread_gone = true;
                self.rule(key, false);
            }
        }
        let Some(process) = self.processes.get_mut(&unit.process) else { return };
        process.handlers_end |= thread.handles_entries;
        process.threads = process.threads.saturating_sub(u32::from(was_known));
        process.leader_gone |= unit == Unit::thread(unit.process, unit.process);
        self.forget_process(unit.process);
    }

    /// Nothing that is still to come can bear on a process that is gone.
    pub(super) fn forget_process(&mut self, process: u32) {
        if self.processes.get(&process).is_some_and(Process::is_over) {
            self.processes.remove(&process);
            self.threads.retain(|unit, _| unit.process != process);
        }
    }

    /// A goroutine whose end is not told: nothing that it does later needs what is known of it.
    pub(super) fn forget_idle(&mut self, unit: Unit) {
        if unit.is_goroutine() && self.threads.get(&unit).is_some_and(Thread::is_idle) {
            self.threads.remove(&unit);
        }
    }
}

/// A thread that may be new; its process then has one more.
pub(super) fn thread_of<'t>(
    threads: &'t mut HashMap<Unit, Thread>,
    processes: &mut HashMap<u32, Process>,
    unit: Unit,
) -> &'t mut Thread {
    threads.entry(unit).or_insert_with(|| {
        let process = processes.entry(unit.process).or_default();
        if unit.is_goroutine() {
            // It was made for what it does first; the runtime gives it nothing else.
            return Thread { born_for: BornFor::Unknown, ..Thread::default() };
        }
        process.threads += 1;
        Thread::default()
    })
}
