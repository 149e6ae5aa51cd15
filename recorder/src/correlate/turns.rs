//! Processes that take one entry at a time, as PHP's workers do: one thread reads an entry, works for it and for nothing else,
//! answers it, and then reads the next. Of which process that is known stands in the program that it runs
//! ([`Fact::Serves`](super::Fact::Serves)), so that it is believed from its first entry on: whatever the thread calls, side by side
//! or after the response, is for the entry that it has read last.
//!
//! Refuted, and with it all that is believed of the process's threads, by a second thread that reads entries, an entry that begins
//! while another one is to be answered, and one that another thread answers.

use regress_cassettes::Rule;
use regress_ebpf::Unit;

use super::{
    Call, CallKey, Correlator, EntryKey, Moment, Verdict,
    rule::{Because, Opinion, certain},
    threads::{Process, Shape, thread_of},
};

/// What a thread works for.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    entry: EntryKey,
    /// Monotonic nanoseconds.
    since: u64,
}

impl Correlator {
    /// What is known of the program that a process runs.
    pub(super) fn serves(&mut self, moment: Moment, one_by_one: bool) {
        let Some(unit) = moment.unit else { return };
        let process = self.processes.entry(unit.process).or_default();
        let was = std::mem::replace(&mut process.one_by_one, one_by_one);
        match process.shape {
            Shape::Unproven(_) if one_by_one => {
                process.shape = Shape::Trusted;
                for call in std::mem::take(&mut process.waiting) {
                    self.rule(call, false);
                }
            }
            // It has become another program.
            Shape::Trusted if was && !one_by_one => {
                (process.shape, process.reader) = (Shape::Unproven(0.0), None);
            }
            _ => {}
        }
    }

    pub(super) fn is_one_by_one(&self, process: u32) -> bool {
        self.processes.get(&process).is_some_and(|process| process.one_by_one && process.is_trusted())
    }

    /// A thread reads of an entry.
    pub(super) fn takes_turn(&mut self, moment: Moment, key: EntryKey) {
        let Some(unit) = moment.unit.filter(|unit| unit.is_thread() && self.is_one_by_one(unit.process)) else {
            return;
        };
        let reader = *self.processes.entry(unit.process).or_default().reader.get_or_insert(unit);
        let thread = thread_of(&mut self.threads, &mut self.processes, unit);
        let connection = self.entries.get(&key).map(|entry| entry.connection);
        let is_other = |held: &EntryKey| self.entries.get(held).map(|entry| entry.connection) != connection;
        let before = thread.turn.filter(|turn| turn.entry != key);
        if reader != unit || thread.holds.iter().any(is_other) || before.is_some_and(|before| before.since > moment.at)
        {
            return self.refute(unit.process);
        }
        if thread.turn.is_none_or(|turn| turn.entry != key) {
            thread.turn = Some(Turn { entry: key, since: moment.at });
        }
        if let Some(before) = before {
            self.turn_over(before.entry, unit, moment.at);
        }
    }

    /// The thread goes on to what is not seen, or is gone.
    pub(super) fn turn_ends(&mut self, unit: Unit) {
        let Some(turn) = self.threads.get_mut(&unit).and_then(|thread| thread.turn.take()) else { return };
        for call in self.turn_over(turn.entry, unit, u64::MAX) {
            // Until it is ruled its process is not forgotten.
            if self.calls.contains_key(&call) {
                self.processes.entry(unit.process).or_default().waiting.insert(call);
            }
        }
    }

    /// At that time the thread was done with the entry; the calls that it had made for it.
    fn turn_over(&mut self, key: EntryKey, unit: Unit, at: u64) -> Vec<CallKey> {
        let mut own = self.entries.get(&key).map(|entry| entry.waiting.clone()).unwrap_or_default();
        own.retain(|call| self.calls.get(call).is_some_and(|call| call.unit == Some(unit) && call.turn == Some(key)));
        for key in &own {
            if let Some(call) = self.calls.get_mut(key) {
                call.turn_over = true;
                // It was told before what its thread had read by then.
                call.turn = call.turn.filter(|_| call.at < at);
            }
            self.rule(*key, false);
        }
        own
    }

    /// What the thread of the moment works for.
    pub(super) fn turn(&self, moment: Moment) -> Option<EntryKey> {
        let unit = moment.unit.filter(|unit| self.is_one_by_one(unit.process))?;
        let turn = self.threads.get(&unit)?.turn.filter(|turn| turn.since <= moment.at)?;
        self.entries.contains_key(&turn.entry).then_some(turn.entry)
    }

    /// Whether the entry that a call is for is not over.
    pub(super) fn has_its_turn(&self, call: &Call) -> bool {
        let entry = self.turns_entry(call).and_then(|entry| self.entries.get(&entry));
        entry.is_some_and(|entry| entry.ended.is_none())
    }

    /// The entry that the caller's process worked for.
    pub(super) fn turns_entry(&self, call: &Call) -> Option<EntryKey> {
        call.turn.filter(|_| call.unit.is_some_and(|unit| self.is_one_by_one(unit.process)))
    }

    pub(super) fn by_turn(&self, call: &Call, force: bool) -> Option<Opinion> {
        let unit = call.unit.filter(|unit| self.is_one_by_one(unit.process))?;
        let Some(key) = call.turn else {
            // What it is for was not seen, or is finished: it is for no other one.
            let is_reader =
                self.processes.get(&unit.process).and_then(|process: &Process| process.reader) == Some(unit);
            return (is_reader && !call.open.is_empty()).then(|| {
                Opinion::Verdict(Verdict::Ambiguous { among: call.candidates().collect() }, Because::Nothing)
            });
        };
        let entry = self.entries.get(&key)?;
        let is_late = entry.ended.is_some_and(|(ended, _)| ended < call.began);
        if entry.pipelined || entry.answered_by.is_some_and(|by| by != unit) || (is_late && call.unseen_entry) {
            return None;
        }
        // What it has read next may still be told.
        if is_late && !call.turn_over && !force {
            return Some(Opinion::Wait);
        }
        let cause = certain(Rule::LastRead, is_late);
        Some(Opinion::Verdict(Verdict::Owner { entry: key, cause }, Because::Threads(unit.process)))
    }
}
