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
//!   A process that is known to take one entry at a time is believed at once, and more ([`turns`]).
//! * **Lineage**: a thread or process born of one that holds an entry, and gone again when the entry has settled,
//!   worked for that entry. A worker that stays may take anyone's job, so its birth says nothing. Goroutines
//!   ([`children`]) and tasks ([`tasks`]) have rules of their own for it.
//! * **Alone**: exactly one entry is open when the call begins. Refuted for operations that are also seen while no
//!   entry is open (timers, late work), or that an entry which was alone did not wait for before it answered (late work
//!   of another one), and by an entry that turns out to have been open unseen.
//!
//! * **Propagated id**: a call belongs to the entry whose request brought the id that it carries ([`ids`]).
//! * **Values**: where nothing else tells, rare values may, with less than certainty ([`values`]).
//!
//! The first request on a connection that a thread opened for an entry (**connect**) says who opened it, but pools
//! hand a new connection to whoever waits, so this rule names a cause and never decides alone.
//!
//! A ruling waits until the call is over and its holder answered. Where an assumption of an earlier ruling breaks,
//! the entries that relied on it come back as [`Ruling::Doubt`].

mod children;
mod entry_set;
mod fact;
mod hops;
mod ids;
mod loops;
mod operations;
mod readers;
mod returns;
mod rule;
mod sightings;
mod tasks;
mod threads;
mod transactions;
mod turns;
mod values;

#[cfg(test)]
mod simulation;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use children::Children;
pub(crate) use entry_set::EntrySet;
pub(crate) use fact::{CallKey, EntryKey, Fact, InTransaction, Moment, OperationHash, Patience, Ruling, Verdict};
use hops::Hop;
use ids::Said;
use loops::{Link, Read};
use operations::Operations;
use regress_ebpf::{SocketId, Unit};
use regress_protocols::Mark;
use returns::{Return, Returns};
pub(crate) use sightings::Clue;
use sightings::Sightings;
use tasks::{Descent, Line, Tasks};
use threads::{Lineage, Process, Thread, thread_of};
use transactions::Transactions;

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
    /// What its request says is known, or never will be.
    has_said: bool,
    is_unreadable: bool,
    /// How many values of responses to its calls are known.
    heard: usize,
    /// Calls that may be its own and are not ruled yet.
    waiting: Vec<CallKey>,
    /// It served as evidence for the shape of its process.
    proof: bool,
    /// The same for the goroutines of its process.
    proof_of_children: bool,
    /// And for its ids.
    proof_of_ids: bool,
    ambiguous: bool,
    /// It came from a recorded process, see `hops.rs`; hops that may be part of it and are not finished.
    hop: Option<Hop>,
    hops: Vec<EntryKey>,
}

struct Call {
    connection: SocketId,
    began: Mark,
    at: u64,
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
    /// The entry that its process works for, and nothing else, see `turns.rs`; that process has gone on to another one.
    turn: Option<EntryKey>,
    turn_over: bool,
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
    /// The caller waits for the response that others read.
    awaited: bool,
    back: Return,
    /// The only entry that was open when it began, or that of the caller's parent, did not wait for it.
    unawaited: bool,
    /// Connections on which an entry might have been under way unseen.
    relies_on_joined: bool,
    unseen_entry: bool,
    operation: Option<OperationHash>,
    /// The transaction that it begins, ends or divides, see `transactions.rs`.
    frame_of: Option<u64>,
    /// The entry that it is for another recorded process.
    hop: Option<EntryKey>,
    said: Said,
}

impl Call {
    /// Entries that are kept until it is ruled.
    fn candidates(&self) -> impl Iterator<Item = EntryKey> {
        let told = self.family.iter().chain(&self.said.of).chain(&self.turn).copied();
        self.open.iter().copied().chain(self.lineage.map(|l| l.entry)).chain(told)
    }

    /// The most likely owner, before the ruling.
    fn provisional(&self) -> Option<EntryKey> {
        self.turn.or(self.holder).or(self.parent_holds).or(if let [one] = self.open[..] { Some(one) } else { None })
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
    transactions: Transactions,
    /// Kinds of calls that event loops make otherwise than for who they have read for last.
    loop_operations: Operations,
    /// Ids that entries brought, and values.
    ids: Sightings,
    values: Sightings,
    /// Entries that relied on ids which are not believed any more, and when that is to be said.
    doubted_ids: EntrySet,
    doubt_ids_at: u64,
    /// Entries that relied on joined connections being idle.
    relied_on_joined: EntrySet,
    /// Threads of calls that were ruled before they were over.
    running: HashMap<CallKey, Unit>,
    /// How many entries may lie between a hop and the one that it is part of.
    reach: u64,
    /// What it was told, where that is kept.
    kept: Option<Vec<(Moment, Fact)>>,
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
            transactions: Transactions::default(),
            loop_operations: Operations::default(),
            ids: Sightings::default(),
            values: Sightings::default(),
            doubted_ids: EntrySet::default(),
            doubt_ids_at: 0,
            relied_on_joined: EntrySet::default(),
            running: HashMap::new(),
            reach: 0,
            kept: None,
            rulings: VecDeque::new(),
        }
    }

    /// The next decision.
    pub(crate) fn next(&mut self) -> Option<Ruling> {
        self.rulings.pop_front()
    }

    /// From now on, keep what it is told.
    pub(crate) fn keep_facts(&mut self) {
        self.kept = Some(Vec::new());
    }

    /// What it was told since it was asked last.
    pub(crate) fn take_facts(&mut self) -> Vec<(Moment, Fact)> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Take in one fact.
    pub(crate) fn fact(&mut self, moment: Moment, fact: Fact) {
        if let Some(kept) = &mut self.kept {
            kept.push((moment, fact.clone()));
        }
        match fact {
            Fact::EntryBegan { entry, connection } => self.entry_began(moment, entry, connection),
            Fact::EntryRead { entry } => self.entry_read(moment, entry),
            Fact::EntryUnreadable { entry } => {
                if let Some(entry) = self.entries.get_mut(&entry) {
                    entry.is_unreadable = true;
                }
            }
            Fact::EntrySays { entry, ids, values } => self.entry_says(entry, &ids, &values),
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
            Fact::CallAwaited { call } => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.awaited = true;
                }
            }
            Fact::CallSays { call, ids, values } => self.call_says(call, ids, values),
            Fact::CallHears { call, values } => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.said.heard = values;
                }
            }
            Fact::CallAnswered { call } => self.call_answered(moment, call),
            Fact::CallEnded { call, operation, transaction } => self.call_ended(moment, call, operation, transaction),
            Fact::CallsEndRead { call } => self.response_read(moment, call),
            Fact::OpaqueUsed { call } => self.opaque_used(moment, call),
            Fact::CallIsOpaque { call, operation } => self.is_opaque(call, operation),
            Fact::CallDropped { call } => self.forget_call(call),
            Fact::EntryDropped { entry } => self.forget_entry(moment, entry),
            Fact::HopBegan { entry } => self.hop_began(entry),
            Fact::HopIs { entry, call } => self.hop_is(entry, call),
            Fact::Serves { one_by_one } => self.serves(moment, one_by_one),
            Fact::Born { child } => self.born(moment, child),
            Fact::Gone => self.gone(moment.unit),
            Fact::Returned { connection, connected } => self.returned(moment, connection, connected),
            Fact::ConnectionGone { connection } => {
                self.joined.remove(&connection);
                self.connected_for.remove(&connection);
                self.forget_return(connection);
                self.forget_transaction(connection);
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
            Fact::JoinedBusy { connection } => self.joined_busy(moment, connection),
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
        self.doubt_ids(at);
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
        // What came last may be part of what came before.
        let mut hops: Vec<EntryKey> =
            self.entries.iter().filter(|(_, entry)| entry.hop.is_some()).map(|(key, _)| *key).collect();
        hops.sort();
        for entry in hops.into_iter().rev().chain(std::mem::take(&mut self.due).into_iter().map(|(_, entry)| entry)) {
            self.finish(entry);
        }
        self.doubt_ids(u64::MAX);
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
                has_said: false,
                is_unreadable: false,
                heard: 0,
                waiting: Vec::new(),
                proof: false,
                proof_of_children: false,
                proof_of_ids: false,
                ambiguous: false,
                hop: None,
                hops: Vec::new(),
            },
        );
        self.takes_turn(moment, entry);
    }

    fn entry_read(&mut self, moment: Moment, key: EntryKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.read = Some(moment.mark);
        entry.read_by = moment.unit;
        let (connection, Some(unit)) = (entry.connection, moment.unit) else { return };
        if unit.is_task() {
            return;
        }
        self.takes_turn(moment, key);
        self.stays_adrift(unit);
        let one_by_one = self.is_one_by_one(unit.process);
        let thread = thread_of(&mut self.threads, &mut self.processes, unit);
        if unit.is_goroutine() {
            self.readers.insert(connection, unit);
            thread.read.retain(|entry| self.entries.contains_key(entry));
            thread.read.push(key);
        }
        let is_other = |held: &EntryKey| self.entries.get(held).is_some_and(|entry| entry.connection != connection);
        thread.is_loop |= thread.holds.iter().any(is_other);
        let interleaves = (thread.holds.iter().any(is_other) && !(unit.is_thread() && thread.may_be_reader()))
            || (!thread.outstanding.is_empty() && !thread.is_for_one(unit) && !one_by_one);
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
        if is_answered {
            self.waited_for(key, &waiting);
        } else {
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

    /// An entry has its whole response, which it may have begun long before, where that is a stream: it did not wait for those
    /// of its calls that are not answered.
    fn waited_for(&mut self, key: EntryKey, waiting: &[CallKey]) {
        for call in waiting {
            let Some(own) = self.calls.get(call) else { continue };
            let waits = own.open[..] == [key]
                || own.parent_holds == Some(key)
                || self.descent(own) == Descent::Of(key)
                || own.said.of.contains(&key)
                || self.is_lone_in_process(own, key);
            if let Some(call) = self.calls.get_mut(call) {
                call.unawaited |= waits && !call.opaque && !call.answered;
            }
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
            connection,
            began: moment.mark,
            at: moment.at,
            unit: moment.unit,
            opaque: opaque.is_some(),
            holder: None,
            is_adrift: false,
            line: self.line(moment.unit, &open),
            parent_holds: None,
            family: Vec::new(),
            turn: self.turn(moment),
            turn_over: false,
            last_read: None,
            connected_for: opened.and_then(|opened| opened.context),
            link: opened.map_or_else(|| self.link(moment), |opened| opened.link),
            evidence: 0.0,
            lineage: None,
            thread_gone: false,
            lineage_over: false,
            answered: false,
            answered_by: None,
            awaited: false,
            back: Return::None,
            unawaited: false,
            relies_on_joined: !self.joined.is_empty(),
            unseen_entry: false,
            operation: opaque,
            frame_of: None,
            hop: None,
            said: Said::default(),
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
            let one_by_one = self.is_one_by_one(unit.process);
            call.is_adrift = !one_by_one && self.is_adrift(&call);
            let thread = thread_of(&mut self.threads, &mut self.processes, unit);
            thread.active = true;
            scattered = !thread.is_for_one(unit)
                && !one_by_one
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

    fn call_answered(&mut self, mut moment: Moment, key: CallKey) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.awaited {
            // One that has gone on to another entry has given up.
            let still = |unit: &Unit| self.threads.get(unit).and_then(Thread::held) == call.holder;
            moment.unit = call.unit.filter(|_| call.holder.is_some()).filter(still);
        }
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

    fn call_ended(
        &mut self,
        moment: Moment,
        key: CallKey,
        operation: OperationHash,
        transaction: Option<InTransaction>,
    ) {
        self.response_read(moment, key);
        self.opaque_owner.remove(&key);
        self.release(key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.operation = Some(operation);
        let over = transaction.and_then(|told| self.in_transaction(key, operation, told));
        if let Some(call) = self.calls.get(&key).filter(|call| call.unawaited) {
            self.loosen_kinds(call.operation, call.frame_of);
        }
        over.into_iter().for_each(|over| self.transaction_over(over));
        self.rule(key, false);
    }

    fn is_opaque(&mut self, key: CallKey, operation: OperationHash) {
        self.release(key);
        if let Some(call) = self.calls.get_mut(&key) {
            call.opaque = true;
            call.operation = Some(operation);
            self.rule(key, false);
        }
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

    fn joined_busy(&mut self, moment: Moment, connection: SocketId) {
        moment.unit.into_iter().for_each(|unit| self.turn_ends(unit));
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
        self.frame_ruled(call.frame_of);
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
        if self.is_through(at, key, force) && self.entries.get(&key).is_some_and(|entry| entry.waiting.is_empty()) {
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
        match entry.hop {
            Some(hop) => self.hop_finished(key, hop, entry.ambiguous),
            None => self.rulings.push_back(Ruling::Finished { entry: key, ambiguous: entry.ambiguous }),
        }
    }

    fn doubt(&mut self, entries: EntrySet) {
        if !entries.is_empty() {
            self.rulings.push_back(Ruling::Doubt { entries: self.with_roots(entries) });
        }
    }
}
