//! Readers: threads that read entries, and do nothing else.
//!
//! A server may have a thread that waits for all idle connections, reads what comes, and passes it on to threads that work (the
//! reactor of Ruby's puma). Who answers such an entry has had it: it is one whose reader has never called or answered, and
//! what the answering thread called since the entry was read belongs to it. A call of a thread that holds nothing is *adrift*
//! until that thread answers.
//!
//! When it took the entry cannot be seen, so that work for others before that looks like work for it. Therefore only threads
//! are believed that also read entries themselves, between whose answers and next reads such work would show; the evidence
//! is of these. Refuted, as whatever moves work between threads, by a call adrift whose thread reads an entry next, ends, or
//! answers one that was not there yet; by one that is adrift when all that it could be for are answered by others;
//! by one without a response when its thread answers; by a thread that answers what was passed on while it holds another;
//! and by a reader that works after all. Those signs are fewer than where every entry is read by who works for it, so that such a
//! process needs four times the evidence.

use regress_ebpf::Unit;
use regress_protocols::Mark;

use super::{
    Call, CallKey, Correlator, EntryKey, Moment,
    threads::{BornFor, Shape, Thread, thread_of},
};

/// What tells readers from threads that work.
#[derive(Default)]
pub(super) struct Work {
    /// It has called or answered.
    works: bool,
    /// An entry that it read was answered by another thread.
    passes_on: bool,
    /// It has answered an entry that it had read.
    keeps: bool,
    /// When it began to answer the last time.
    answered: Option<Mark>,
    /// Calls that wait for its next answer, and when they began.
    adrift: Vec<(CallKey, Mark)>,
}

impl Thread {
    /// It only reads.
    pub fn is_reader(&self) -> bool {
        self.work.passes_on
    }

    /// It reads for others as far as can be seen.
    pub fn may_be_reader(&self) -> bool {
        !self.work.works
    }
}

impl Correlator {
    /// A thread calls or answers. One that had several entries, or passed one on, is no reader then.
    pub(super) fn works(&mut self, unit: Unit) {
        let thread = thread_of(&mut self.threads, &mut self.processes, unit);
        if !std::mem::replace(&mut thread.work.works, true) && (thread.work.passes_on || thread.is_loop) {
            self.refute(unit.process);
        }
    }

    /// Whether a call that this thread begins while it holds nothing may be for an entry that a reader has read.
    pub(super) fn is_adrift(&self, call: &Call) -> bool {
        let Some(unit) = call.unit.filter(|unit| unit.is_thread()) else { return false };
        let Some(thread) = self.threads.get(&unit) else { return false };
        // What a new thread does first may be its own.
        thread.holds.is_empty()
            && thread.born_for != BornFor::Unknown
            && thread.work.answered.is_none_or(|answered| answered < call.began)
            && self.may_be_passed_on(call)
    }

    /// Whether its thread may answer yet.
    pub(super) fn may_drift(&self, call: &Call) -> bool {
        call.is_adrift && call.unit.is_some_and(|unit| self.shape(unit.process) != Shape::Refuted)
    }

    /// Whether it waits for the answer of an entry that a reader has read.
    fn may_be_passed_on(&self, call: &Call) -> bool {
        call.open.iter().any(|entry| {
            self.entries.get(entry).is_some_and(|entry| {
                entry.read.is_some_and(|read| read <= call.began)
                    && entry.answered_by.is_none()
                    && entry.ended.is_none()
                    && entry.read_by.zip(call.unit).is_some_and(|(reader, unit)| self.may_pass_on(reader, unit))
            })
        })
    }

    fn may_pass_on(&self, reader: Unit, to: Unit) -> bool {
        reader != to && reader.process == to.process && self.may_be_reader(reader)
    }

    /// Whether it reads for others as far as can be seen.
    pub(super) fn may_be_reader(&self, unit: Unit) -> bool {
        unit.is_thread() && self.threads.get(&unit).is_some_and(Thread::may_be_reader)
    }

    /// How many entries of this process are at work on threads that do not show it.
    pub(super) fn passed_on(&self, process: u32) -> usize {
        let by_reader =
            |reader: Unit| reader.process == process && self.threads.get(&reader).is_some_and(Thread::is_reader);
        let entries = self.open.iter().filter_map(|entry| self.entries.get(entry));
        entries.filter(|entry| entry.read_by.is_some_and(by_reader)).count()
    }

    pub(super) fn set_adrift(&mut self, unit: Unit, call: CallKey, began: Mark) {
        if let Some(thread) = self.threads.get_mut(&unit) {
            thread.work.adrift.push((call, began));
        }
    }

    /// A thread answers what it read itself.
    pub(super) fn answers_own(&mut self, moment: Moment, unit: Unit) {
        self.works(unit);
        let Some(thread) = self.threads.get_mut(&unit) else { return };
        thread.work.answered = Some(moment.mark);
        if !std::mem::replace(&mut thread.work.keeps, true) && self.shape(unit.process) == Shape::Trusted {
            self.rule_waiting(unit.process);
        }
    }

    /// A thread answers what another one read. False where that one is no reader, or the thread has worked for others since.
    pub(super) fn answers_passed_on(&mut self, moment: Moment, key: EntryKey, reader: Unit, unit: Unit) -> bool {
        self.works(unit);
        let is_passed_on = self.may_pass_on(reader, unit);
        let calls = self.take_adrift(unit);
        let (Some(entry), Some(thread)) = (self.entries.get_mut(&key), self.threads.get_mut(&unit)) else {
            return false;
        };
        let since = entry.read.unwrap_or(entry.began);
        let is_awaited = |call: &CallKey| self.calls.get(call).is_none_or(|call| call.answered || call.opaque);
        let is_its = thread.holds.is_empty()
            && !entry.pipelined
            && calls.iter().all(|(call, began)| *began >= since && is_awaited(call));
        thread.work.answered = Some(moment.mark);
        thread.handles_entries = true;
        thread.born_for.reads(entry.connection);
        thread.lineage = None;
        entry.passed_on = is_passed_on && is_its;
        let holder = entry.passed_on.then_some(key);
        for (call, _) in calls {
            if let Some(call) = self.calls.get_mut(&call) {
                call.is_adrift = false;
                call.holder = holder;
            }
        }
        let is_new =
            self.threads.get_mut(&reader).is_some_and(|reader| !std::mem::replace(&mut reader.work.passes_on, true));
        if is_new && let Shape::Unproven(evidence) = &mut self.processes.entry(unit.process).or_default().shape {
            // What it had passed on counted for nothing.
            *evidence = 0.0;
        }
        holder.is_some()
    }

    fn take_adrift(&mut self, unit: Unit) -> Vec<(CallKey, Mark)> {
        self.threads.get_mut(&unit).map(|thread| std::mem::take(&mut thread.work.adrift)).unwrap_or_default()
    }

    /// A thread reads an entry, or ends: its calls adrift were for none that it answers.
    pub(super) fn stays_adrift(&mut self, unit: Unit) {
        let calls: Vec<CallKey> = self.take_adrift(unit).into_iter().map(|(call, _)| call).collect();
        self.lose(unit, &calls, true);
    }

    /// An entry is answered, or over without that: calls adrift that may have been for no other one.
    pub(super) fn lose_adrift(&mut self, waiting: &[CallKey], is_answered: bool) {
        for &key in waiting {
            let Some(call) = self.calls.get(&key).filter(|call| call.is_adrift) else { continue };
            let Some(unit) = call.unit.filter(|_| !self.may_be_passed_on(call)) else { continue };
            if let Some(thread) = self.threads.get_mut(&unit) {
                thread.work.adrift.retain(|(call, _)| *call != key);
            }
            self.lose(unit, &[key], is_answered);
        }
    }

    fn lose(&mut self, unit: Unit, calls: &[CallKey], is_sign: bool) {
        for key in calls {
            if let Some(call) = self.calls.get_mut(key) {
                call.is_adrift = false;
            }
        }
        let handles_entries = self.threads.get(&unit).is_some_and(|thread| thread.handles_entries);
        if is_sign && handles_entries && !calls.is_empty() {
            self.refute(unit.process);
        }
        for key in calls {
            self.rule(*key, false);
        }
    }

    /// The call turned out not to be one.
    pub(super) fn forget_adrift(&mut self, unit: Option<Unit>, key: CallKey) {
        if let Some(thread) = unit.and_then(|unit| self.threads.get_mut(&unit)) {
            thread.work.adrift.retain(|(call, _)| *call != key);
        }
    }

    /// Whether the threads of its process keep to their entries, as far as that says something of this call.
    pub(super) fn shape_for(&self, call: &Call, unit: Unit) -> Shape {
        let entry = call.holder.and_then(|holder| self.entries.get(&holder));
        let keeps = self.threads.get(&unit).is_some_and(|thread| thread.work.keeps);
        match self.shape(unit.process) {
            Shape::Trusted if entry.is_some_and(|entry| entry.passed_on) && !keeps => Shape::Unproven(0.0),
            shape => shape,
        }
    }
}
