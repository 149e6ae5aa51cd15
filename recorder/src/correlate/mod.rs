//! Which entry caused a downstream call. Pure: facts in their order, rulings out.
//!
//! A wrong owner would make a cassette that lies, an unknown one only makes it inconclusive, so every rule here is
//! one that can be *refuted*, and what a later fact refutes is taken back:
//!
//! * **Last read**: a thread that read an entry and has not answered it holds it, and what it calls meanwhile
//!   belongs to that entry. True where a thread works on one entry from its request to its response, false wherever
//!   work moves between threads (goroutines, event loops, executors). [`threads::Shape`] watches for any sign of the
//!   latter; while several entries are open the rule decides only in a process that has proved its shape.
//!   Event loops hold many, and have a rule of their own ([`loops`]); what a thread reads that does nothing else is held by
//!   who answers it ([`readers`]).
//! * **Lineage**: a thread or process born of one that holds an entry, and gone again when the entry has settled,
//!   worked for that entry. A worker that stays may take anyone's job, so its birth says nothing. Goroutines
//!   ([`children`]) and tasks ([`tasks`]) have rules of their own for it.
//! * **Alone**: exactly one entry is open when the call begins. Refuted for operations that are also seen while no
//!   entry is open (timers, late work), or that an entry which was alone did not wait for before it answered (late work
//!   of another one), and by an entry that turns out to have been open unseen.
//!
//! The first request on a connection that a thread opened for an entry (**connect**) says who opened it, but pools
//! hand a new connection to whoever waits, so this rule names a cause and never decides alone.
//!
//! A ruling waits until the call is over and its holder answered. Where an assumption of an earlier ruling breaks,
//! the entries that relied on it come back as [`Ruling::Doubt`].

mod children;
mod entry_set;
mod loops;
mod operations;
mod readers;
mod returns;
mod rule;
mod tasks;
mod threads;

#[cfg(test)]
mod simulation;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use children::Children;
pub(crate) use entry_set::EntrySet;
use loops::{Link, Read};
use operations::Operations;
use regress_cassettes::Cause;
use regress_ebpf::{SocketId, Unit};
use regress_protocols::Mark;
use returns::{Return, Returns};
use tasks::{Descent, Line, Tasks};
use threads::{Lineage, Process, Thread, thread_of};

/// An entry of this recording, numbered in order of beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryKey(pub u64);

/// A downstream exchange of this recording, numbered in order of beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallKey(pub u64);

/// What identifies the kind of a call: a hash of downstream name, method and path.
pub(crate) type OperationHash = u64;

/// When and by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The event that carried it.
    pub mark: Mark,
    /// Monotonic nanoseconds.
    pub at: u64,
    /// The thread, where it is known.
    pub unit: Option<Unit>,
}

/// Something that bears on owners. Facts come in the order of the events that completed them.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// The first byte of an entry was read.
    EntryBegan { entry: EntryKey, connection: SocketId },
    /// The last byte of an entry's request was read.
    EntryRead { entry: EntryKey },
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
    /// The first byte of its response was read.
    CallAnswered { call: CallKey },
    /// The call is over.
    CallEnded { call: CallKey, operation: OperationHash },
    /// Bytes were written to a connection whose content is not cut into exchanges, after its `call` had begun; `None`
    /// where that was before the recording.
    OpaqueUsed { call: Option<CallKey> },
    /// The call turned out not to be one.
    CallDropped { call: CallKey },
    /// The entry turned out not to be one.
    EntryDropped { entry: EntryKey },
    /// A thread, process or task was born of the moment's unit.
    Born { child: Unit },
    /// The moment's unit ended.
    Gone,
    /// Whoever read the latest response on the connection has woken the moment's unit.
    Returned { connection: SocketId },
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

struct Entry {
    began: Mark,
    connection: SocketId,
    /// When the last byte of its request was read.
    read: Option<Mark>,
    read_by: Option<Unit>,
    answered_by: Option<Unit>,
    /// Mark and time of its end.
    ended: Option<(Mark, u64)>,
    /// It shared its connection with another open entry (HTTP/1 pipelining), so that a reader held both.
    pipelined: bool,
    /// A reader passed it on to who answered it, see `readers.rs`.
    passed_on: bool,
    /// Calls that may be its own and are not ruled yet.
    waiting: Vec<CallKey>,
    /// It served as evidence for the shape of its process.
    proof: bool,
    /// The same for the goroutines of its process.
    proof_of_children: bool,
    ambiguous: bool,
}

struct Call {
    began: Mark,
    unit: Option<Unit>,
    opaque: bool,
    /// Entries that were open when it began.
    open: Vec<EntryKey>,
    /// The one entry that its thread held.
    holder: Option<EntryKey>,
    /// Its thread held none, and has yet to answer the one that it may be for, see `readers.rs`.
    is_adrift: bool,
    line: Line,
    /// The one entry that the goroutine held which had started the caller, and all entries that came over its connection;
    /// for a task, those that are over and that it may be left of.
    parent_holds: Option<EntryKey>,
    family: Vec<EntryKey>,
    /// What its thread had read last, and for whom its connection was opened: these name a cause.
    last_read: Option<EntryKey>,
    connected_for: Option<EntryKey>,
    /// What its thread had read before it wrote, or opened the connection for it.
    link: Option<Link>,
    /// What it says about the shape of its process to keep to its thread.
    evidence: f64,
    lineage: Option<Lineage>,
    thread_gone: bool,
    /// The entry of `lineage` has settled while the thread lived on.
    lineage_over: bool,
    answered: bool,
    answered_by: Option<Unit>,
    back: Return,
    /// The only entry that was open when it began, or that of the caller's parent, did not wait for it.
    unawaited: bool,
    /// Connections on which an entry might have been under way unseen.
    relies_on_joined: bool,
    unseen_entry: bool,
    operation: Option<OperationHash>,
}

impl Call {
    /// Entries that are kept until it is ruled.
    fn candidates(&self) -> impl Iterator<Item = EntryKey> {
        self.open.iter().copied().chain(self.lineage.map(|l| l.entry)).chain(self.family.iter().copied())
    }

    /// The most likely owner, before the ruling.
    fn provisional(&self) -> Option<EntryKey> {
        self.holder.or(self.parent_holds).or(if let [one] = self.open[..] { Some(one) } else { None })
    }
}

/// Who opened a connection: the entry that the thread held, and what it had read.
#[derive(Clone, Copy)]
struct Opened {
    context: Option<EntryKey>,
    link: Option<Link>,
}

/// The engine.
pub(crate) struct Correlator {
    patience: Patience,
    entries: HashMap<EntryKey, Entry>,
    open: BTreeSet<EntryKey>,
    /// Ended entries in order of their end, for calls that are reported after it.
    ended: VecDeque<(Mark, EntryKey)>,
    /// When to look at an ended entry again.
    due: BTreeSet<(u64, EntryKey)>,
    latest_on: HashMap<SocketId, EntryKey>,
    /// Goroutines that read entries, by the connection that the latest came over.
    readers: HashMap<SocketId, Unit>,
    children: Children,
    returns: Returns,
    tasks: Tasks,
    /// Kinds of calls that tasks make outside of the entries they work for.
    task_operations: Operations,
    calls: HashMap<CallKey, Call>,
    threads: HashMap<Unit, Thread>,
    processes: HashMap<u32, Process>,
    connected_for: HashMap<SocketId, Opened>,
    /// Owners of opaque calls that are not over.
    opaque_owner: HashMap<CallKey, EntryKey>,
    joined: HashSet<SocketId>,
    operations: Operations,
    /// Kinds of calls that event loops make otherwise than for who they have read for last.
    loop_operations: Operations,
    /// Entries that relied on joined connections being idle.
    relied_on_joined: EntrySet,
    /// Threads of calls that were ruled before they were over.
    running: HashMap<CallKey, Unit>,
    rulings: VecDeque<Ruling>,
}

impl Correlator {
    pub(crate) fn new(patience: Patience) -> Correlator {
        Correlator {
            patience,
            entries: HashMap::new(),
            open: BTreeSet::new(),
            ended: VecDeque::new(),
            due: BTreeSet::new(),
            latest_on: HashMap::new(),
            readers: HashMap::new(),
            children: Children::default(),
            returns: Returns::default(),
            tasks: Tasks::default(),
            task_operations: Operations::default(),
            calls: HashMap::new(),
            threads: HashMap::new(),
            processes: HashMap::new(),
            connected_for: HashMap::new(),
            opaque_owner: HashMap::new(),
            joined: HashSet::new(),
            operations: Operations::default(),
            loop_operations: Operations::default(),
            relied_on_joined: EntrySet::default(),
            running: HashMap::new(),
            rulings: VecDeque::new(),
        }
    }

    /// The next decision.
    pub(crate) fn next(&mut self) -> Option<Ruling> {
        self.rulings.pop_front()
    }

    /// Take in one fact.
    pub(crate) fn fact(&mut self, moment: Moment, fact: Fact) {
        match fact {
            Fact::EntryBegan { entry, connection } => self.entry_began(moment, entry, connection),
            Fact::EntryRead { entry } => self.entry_read(moment, entry),
            Fact::AnswerBegan { entry } => self.answer_began(moment, entry),
            Fact::EntryEnded { entry } => self.entry_ended(moment, entry),
            Fact::Connecting { connection } => {
                let context = moment.unit.and_then(|unit| self.threads.get(&unit)).and_then(Thread::context);
                self.connected_for.insert(connection, Opened { context, link: self.link(moment) });
            }
            Fact::CallBegan { call, connection, first, opaque } => {
                let connected_for = self.connected_for.remove(&connection).filter(|_| first);
                self.call_began(moment, call, connection, connected_for, opaque);
            }
            Fact::CallAnswered { call } => self.call_answered(moment, call),
            Fact::CallEnded { call, operation } => self.call_ended(moment, call, operation),
            Fact::OpaqueUsed { call } => self.opaque_used(moment, call),
            Fact::CallDropped { call } => self.forget_call(call),
            Fact::EntryDropped { entry } => self.forget_entry(moment, entry),
            Fact::Born { child } => self.born(moment, child),
            Fact::Gone => self.gone(moment.unit),
            Fact::Returned { connection } => self.returned(moment, connection),
            Fact::ConnectionGone { connection } => {
                self.joined.remove(&connection);
                self.connected_for.remove(&connection);
                self.forget_return(connection);
                if let Some(reader) = self.readers.remove(&connection) {
                    self.forget_idle(reader);
                }
            }
            Fact::Joined { connection } => {
                self.joined.insert(connection);
            }
            Fact::JoinedIdle { connection } => {
                self.joined.remove(&connection);
            }
            Fact::JoinedBusy { connection } => self.joined_busy(connection),
        }
    }

    /// Event time went on: finish what has settled.
    pub(crate) fn advance(&mut self, at: u64) {
        while let Some(&(due, _)) = self.due.first() {
            if due > at && self.entries.len() <= self.patience.entries {
                break;
            }
            self.settle_first(at);
        }
    }

    /// Finish the entry that would settle first, before its time; `false` where none has ended.
    pub(crate) fn settle_first(&mut self, at: u64) -> bool {
        let Some((due, entry)) = self.due.pop_first() else { return false };
        self.settle(at, entry, due > at);
        true
    }

    /// The recording ends: rule on everything, finish everything.
    pub(crate) fn stop(&mut self, mark: Mark, at: u64) {
        for entry in self.open.clone() {
            self.entry_ended(Moment { mark, at, unit: None }, entry);
        }
        let mut calls: Vec<CallKey> = self.calls.keys().copied().collect();
        calls.sort();
        // First what can be ruled in good order, then what has to be.
        for force in [false, true] {
            for &call in &calls {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.lineage_over = true;
                }
                self.rule(call, force);
            }
        }
        while let Some((_, entry)) = self.due.pop_first() {
            self.finish(entry);
        }
    }

    fn entry_began(&mut self, moment: Moment, entry: EntryKey, connection: SocketId) {
        let pipelined = match self.latest_on.insert(connection, entry) {
            Some(before) if self.open.contains(&before) => {
                if let Some(before) = self.entries.get_mut(&before) {
                    before.pipelined = true;
                }
                true
            }
            _ => false,
        };
        self.joined.remove(&connection);
        self.open.insert(entry);
        self.entries.insert(
            entry,
            Entry {
                began: moment.mark,
                connection,
                read: None,
                read_by: None,
                answered_by: None,
                ended: None,
                pipelined,
                passed_on: false,
                waiting: Vec::new(),
                proof: false,
                proof_of_children: false,
                ambiguous: false,
            },
        );
    }

    fn entry_read(&mut self, moment: Moment, key: EntryKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.read = Some(moment.mark);
        entry.read_by = moment.unit;
        let (connection, Some(unit)) = (entry.connection, moment.unit) else { return };
        if unit.is_task() {
            return;
        }
        self.stays_adrift(unit);
        let thread = thread_of(&mut self.threads, &mut self.processes, unit);
        if unit.is_goroutine() {
            self.readers.insert(connection, unit);
            thread.read.retain(|entry| self.entries.contains_key(entry));
            thread.read.push(key);
        }
        let is_other = |held: &EntryKey| self.entries.get(held).is_some_and(|entry| entry.connection != connection);
        thread.is_loop |= thread.holds.iter().any(is_other);
        let interleaves = (thread.holds.iter().any(is_other) && !(unit.is_thread() && thread.may_be_reader()))
            || (!thread.outstanding.is_empty() && !thread.is_for_one(unit));
        thread.handles_entries = true;
        thread.active = true;
        thread.born_for.reads(connection);
        thread.lineage = None;
        thread.holds.push(key);
        thread.last_read = Some(key);
        if unit.is_thread() {
            thread.reads(moment.mark, Read::Entry(key));
        }
        self.processes.entry(unit.process).or_default();
        if interleaves {
            self.refute(unit.process);
        }
    }

    fn answer_began(&mut self, moment: Moment, key: EntryKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.answered_by = moment.unit;
        let (reader, waiting) = (entry.read_by, entry.waiting.clone());
        let told = self.told_by_answer(key, &waiting);
        for call in &waiting {
            let Some(own) = self.calls.get(call) else { continue };
            let waits = own.open[..] == [key] || own.parent_holds == Some(key) || self.descent(own) == Descent::Of(key);
            if let Some(call) = self.calls.get_mut(call) {
                call.unawaited |= waits && !call.opaque && !call.answered;
            }
        }
        match (reader, moment.unit) {
            (Some(reader), Some(writer)) if reader == writer && writer.is_thread() => self.answers_own(moment, writer),
            (Some(reader), Some(writer))
                if reader != writer
                    && !reader.is_task()
                    && !writer.is_task()
                    && reader.is_goroutine() == writer.is_goroutine()
                    && !(writer.is_thread() && self.answers_passed_on(moment, key, reader, writer)) =>
            {
                self.refute(reader.process);
                self.refute(writer.process);
            }
            _ => {}
        }
        self.lose_adrift(&waiting, true);
        if let Some(unit) = moment.unit.filter(|unit| !unit.is_goroutine()) {
            self.answers(key, unit, moment.mark);
        }
        self.close_chain(moment, key);
        for call in told {
            self.rule(call, false);
        }
    }

    fn entry_ended(&mut self, moment: Moment, key: EntryKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.ended.is_some() {
            return;
        }
        entry.ended = Some((moment.mark, moment.at));
        let (reader, waiting, is_answered) = (entry.read_by, entry.waiting.clone(), entry.answered_by.is_some());
        if !is_answered {
            self.told_by_answer(key, &waiting);
            self.lose_adrift(&waiting, false);
        }
        self.open.remove(&key);
        self.ended.push_back((moment.mark, key));
        self.due.insert((moment.at.saturating_add(self.patience.settle), key));
        if let Some(thread) = reader.and_then(|unit| self.threads.get_mut(&unit)) {
            thread.holds.retain(|held| *held != key);
        }
        for call in waiting {
            self.rule(call, false);
        }
    }

    fn call_began(
        &mut self,
        moment: Moment,
        key: CallKey,
        connection: SocketId,
        opened: Option<Opened>,
        opaque: Option<OperationHash>,
    ) {
        let open = self.open_at(moment.mark);
        let mut call = Call {
            began: moment.mark,
            unit: moment.unit,
            opaque: opaque.is_some(),
            holder: None,
            is_adrift: false,
            line: self.line(moment.unit, &open),
            parent_holds: None,
            family: Vec::new(),
            last_read: None,
            connected_for: opened.and_then(|opened| opened.context),
            link: opened.map_or_else(|| self.link(moment), |opened| opened.link),
            evidence: 0.0,
            lineage: None,
            thread_gone: false,
            lineage_over: false,
            answered: false,
            answered_by: None,
            back: Return::None,
            unawaited: false,
            relies_on_joined: !self.joined.is_empty(),
            unseen_entry: false,
            operation: opaque,
            open,
        };
        call.family = self.origins(&call.line);
        call.back = self.expect_return(connection, key, &call);
        let mut scattered = false;
        if let Some(unit) = moment.unit.filter(|unit| !unit.is_task()) {
            if unit.is_thread() {
                self.works(unit);
            }
            call.evidence = self.evidence(unit);
            call.is_adrift = self.is_adrift(&call);
            let thread = thread_of(&mut self.threads, &mut self.processes, unit);
            thread.active = true;
            scattered = !thread.is_for_one(unit)
                && ((!thread.outstanding.is_empty() && (thread.handles_entries || !unit.is_of_tokio()))
                    || (thread.handles_entries && thread.holds.is_empty() && !call.open.is_empty() && !call.is_adrift));
            // A call is sometimes reported later than its first byte: its thread must have held the entry then.
            call.holder = thread.held().filter(|held| {
                self.entries.get(held).is_some_and(|e| !e.pipelined && e.read.is_some_and(|read| read <= moment.mark))
            });
            call.last_read = thread.last_read;
            call.lineage = thread.lineage.filter(|l| self.entries.contains_key(&l.entry));
            if call.lineage.is_some() {
                thread.inherited.push(key);
            }
            if opaque.is_none() {
                thread.outstanding.push(key);
            }
        }
        let works_for_several = self.ask_parent(&mut call);
        self.wait(key, &call);
        if let (true, Some(unit)) = (call.is_adrift, call.unit) {
            self.set_adrift(unit, key, call.began);
        }
        self.calls.insert(key, call);
        if let (true, Some(unit)) = (scattered, moment.unit) {
            self.refute(unit.process);
        }
        if let (true, Some(unit)) = (works_for_several, moment.unit) {
            self.refute_children(unit.process);
        }
        if opaque.is_some() {
            if let Some(unit) = moment.unit.filter(|unit| self.threads.get(unit).is_some_and(|t| !t.handles_entries)) {
                self.forget_idle(unit);
            }
            // It may last for ever: nothing more is awaited but the holder's end.
            self.rule(key, false);
        }
    }

    fn call_answered(&mut self, moment: Moment, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.answered = true;
        call.answered_by = moment.unit;
        let (writer, provisional) = (call.unit, call.provisional());
        match moment.unit {
            Some(unit) if unit.is_task() => {}
            Some(unit) if provisional.is_some() && unit.is_goroutine() => {
                if let Some(goroutine) = self.threads.get_mut(&unit) {
                    goroutine.last_read = provisional;
                }
            }
            Some(unit) if provisional.is_some() => {
                thread_of(&mut self.threads, &mut self.processes, unit).last_read = provisional;
            }
            _ => {}
        }
        self.response_read(moment, key);
        // A goroutine may have a helper that reads for all; its own work stays with it.
        if let (Some(writer), Some(reader)) = (writer, moment.unit)
            && writer != reader
            && [writer, reader].iter().all(|unit| unit.is_thread())
        {
            self.refute(writer.process);
            self.refute(reader.process);
        }
    }

    fn call_ended(&mut self, moment: Moment, key: CallKey, operation: OperationHash) {
        self.response_read(moment, key);
        self.opaque_owner.remove(&key);
        self.release(key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.operation = Some(operation);
        if call.unawaited {
            self.loosen(Some(operation));
        }
        self.rule(key, false);
    }

    /// A conversation that is not cut into exchanges serves whoever holds it: those entries lack their share of it.
    fn opaque_used(&mut self, moment: Moment, key: Option<CallKey>) {
        let held = moment.unit.and_then(|unit| {
            let trusted = self.processes.get(&unit.process).is_some_and(Process::is_trusted);
            self.threads.get(&unit).and_then(Thread::held).filter(|_| trusted)
        });
        let owner = key.and_then(|key| match self.calls.get(&key) {
            Some(call) => call.provisional(),
            None => self.opaque_owner.get(&key).copied(),
        });
        let users: Vec<EntryKey> = match held {
            Some(held) => vec![held],
            None => self.open.iter().copied().collect(),
        };
        if users.iter().any(|user| Some(*user) != owner) {
            for user in users.into_iter().chain(owner) {
                if let Some(entry) = self.entries.get_mut(&user) {
                    entry.ambiguous = true;
                }
            }
        }
    }

    fn joined_busy(&mut self, connection: SocketId) {
        self.joined.remove(&connection);
        for call in self.calls.values_mut().filter(|call| call.relies_on_joined) {
            call.unseen_entry = true;
        }
        let entries = std::mem::take(&mut self.relied_on_joined);
        self.doubt(entries);
    }

    fn forget_call(&mut self, key: CallKey) {
        self.release(key);
        self.opaque_owner.remove(&key);
        let Some(call) = self.calls.remove(&key) else { return };
        self.forget_adrift(call.unit, key);
        self.unwait(key, &call);
    }

    fn forget_entry(&mut self, moment: Moment, key: EntryKey) {
        self.entry_ended(moment, key);
        // Calls ruled its own would go with it: none of them is certain.
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.ambiguous = true;
        }
    }

    /// The thread of a call is free of it.
    fn release(&mut self, key: CallKey) {
        let unit = self.running.remove(&key).or_else(|| self.calls.get(&key)?.unit);
        let Some((unit, thread)) = unit.and_then(|unit| Some((unit, self.threads.get_mut(&unit)?))) else { return };
        thread.outstanding.retain(|call| *call != key);
        if !thread.handles_entries {
            self.forget_idle(unit);
        }
    }

    fn wait(&mut self, key: CallKey, call: &Call) {
        for entry in call.candidates() {
            if let Some(entry) = self.entries.get_mut(&entry)
                && !entry.waiting.contains(&key)
            {
                entry.waiting.push(key);
            }
        }
    }

    fn unwait(&mut self, key: CallKey, call: &Call) {
        for entry in call.candidates() {
            if let Some(entry) = self.entries.get_mut(&entry) {
                entry.waiting.retain(|waiting| *waiting != key);
            }
        }
    }

    fn open_at(&self, mark: Mark) -> Vec<EntryKey> {
        let began_by = |key: &EntryKey| self.entries.get(key).is_some_and(|entry| entry.began <= mark);
        let since = self.ended.iter().rev().take_while(|(ended, _)| *ended > mark).map(|(_, key)| *key);
        let mut open: Vec<EntryKey> = self.open.iter().copied().chain(since).filter(began_by).collect();
        open.sort();
        open
    }

    fn settle(&mut self, at: u64, key: EntryKey, crowded: bool) {
        let Some(entry) = self.entries.get(&key) else { return };
        let ended = entry.ended.map_or(at, |(_, ended)| ended);
        let force = crowded || at.saturating_sub(ended) >= self.patience.decide;
        for call in entry.waiting.clone() {
            if let Some(call) = self.calls.get_mut(&call)
                && call.lineage.is_some_and(|l| l.entry == key)
            {
                call.lineage_over = true;
            }
            self.rule(call, force);
        }
        if self.entries.get(&key).is_some_and(|entry| entry.waiting.is_empty()) {
            self.finish(key);
        } else {
            self.due.insert((at.saturating_add(self.patience.settle), key));
        }
    }

    fn finish(&mut self, key: EntryKey) {
        let Some(entry) = self.entries.remove(&key) else { return };
        if self.latest_on.get(&entry.connection) == Some(&key) {
            self.latest_on.remove(&entry.connection);
        }
        while self.ended.front().is_some_and(|(_, key)| !self.entries.contains_key(key)) {
            self.ended.pop_front();
        }
        self.rulings.push_back(Ruling::Finished { entry: key, ambiguous: entry.ambiguous });
    }

    fn doubt(&mut self, entries: EntrySet) {
        if !entries.is_empty() {
            self.rulings.push_back(Ruling::Doubt { entries });
        }
    }
}
