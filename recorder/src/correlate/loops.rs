//! Event loops: a thread that works for whoever it has read for last.
//!
//! A loop reads from one connection, does what can be done, and reads from the next. What it writes in between it writes for
//! whoever it read for: the request of an entry, or the response to one of its calls. From read to read that makes a chain, from
//! an entry over its calls, one after the other, to an answer. A chain that comes back to the answer of its own entry is
//! *closed*, and its calls belong to that entry.
//!
//! That says something only where a thread has several entries to answer at once; one that has one at a time answers that one,
//! whatever it did before. It is false where a loop goes on for other reasons than a read: timers, queues, results of other
//! threads. Then chains come out at the answers of other entries, which refutes it for the process. What belongs to no
//! closed chain (calls side by side, or in the background) makes calls of its kind uncertain.

use regress_cassettes::Rule;
use regress_protocols::Mark;

use super::{
    Call, CallKey, Correlator, EntryKey, Moment, Verdict,
    rule::{Because, Opinion, certain},
    threads::{Shape, Thread},
};

/// Reads of one thread that are remembered: facts may come a little out of order.
const MOST_READS: usize = 32;

/// What a thread has read all of, or the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Entry(EntryKey),
    /// The response to it.
    Call(CallKey),
}

/// Where a call stands in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The entry that the chain begins with.
    root: EntryKey,
    /// The call whose response was read before.
    previous: Option<CallKey>,
    /// The thread had several entries to answer: whose chain this is was no matter of course.
    had_several: bool,
    /// The chain has come back to the answer of its entry.
    is_closed: bool,
}

impl Thread {
    /// The thread read this.
    pub fn reads(&mut self, mark: Mark, read: Read) {
        if self.reads.len() == MOST_READS {
            self.reads.pop_front();
        }
        self.reads.push_back((mark, read));
    }

    fn last_read_before(&self, mark: Mark) -> Option<Read> {
        self.reads.iter().filter(|(at, _)| *at < mark).max_by_key(|(at, _)| *at).map(|(_, read)| *read)
    }
}

impl Correlator {
    /// A thread read some of a response.
    pub(super) fn response_read(&mut self, moment: Moment, call: CallKey) {
        if let Some(thread) = moment.unit.filter(|unit| unit.is_thread()).and_then(|unit| self.threads.get_mut(&unit)) {
            thread.reads(moment.mark, Read::Call(call));
        }
    }

    /// For whom a thread writes, or opens a connection, as far as its last read says.
    pub(super) fn link(&self, moment: Moment) -> Option<Link> {
        let thread = self.threads.get(&moment.unit.filter(|unit| unit.is_thread())?)?;
        let (root, previous) = match thread.last_read_before(moment.mark)? {
            Read::Entry(root) => (root, None),
            Read::Call(call) => (self.calls.get(&call)?.link?.root, Some(call)),
        };
        let had_several = thread.holds.len() > 1;
        self.entries.contains_key(&root).then_some(Link { root, previous, had_several, is_closed: false })
    }

    /// A thread answers an entry: the chain that leads here has to be the entry's.
    pub(super) fn close_chain(&mut self, moment: Moment, key: EntryKey) {
        let Some(unit) = moment.unit.filter(|unit| unit.is_thread()) else { return };
        let Some(read) = self.threads.get(&unit).and_then(|thread| thread.last_read_before(moment.mark)) else {
            return;
        };
        let Some(entry) = self.entries.get(&key) else { return };
        let is_own = !entry.pipelined && entry.read_by == Some(unit);
        let last = match read {
            Read::Entry(read) if read == key => return,
            Read::Entry(_) => return self.refute_loops(unit.process),
            Read::Call(call) => call,
        };
        let Some(link) = self.calls.get(&last).and_then(|call| call.link) else { return };
        if link.root != key || !is_own {
            return self.refute_loops(unit.process);
        }
        let (mut next, mut had_several) = (Some(last), false);
        while let Some(call) = next.and_then(|call| self.calls.get_mut(&call)) {
            if call.unit != Some(unit) || call.answered_by != Some(unit) {
                return self.refute_loops(unit.process);
            }
            next = call.link.as_mut().and_then(|link| {
                link.is_closed = true;
                had_several |= link.had_several;
                link.previous
            });
        }
        let process = self.processes.entry(unit.process).or_default();
        if had_several && process.loops.believe(std::f64::consts::LN_2) {
            self.rule_waiting(unit.process);
        }
    }

    /// The threads of this process go on for other reasons than a read.
    pub(super) fn refute_loops(&mut self, process: u32) {
        let state = self.processes.entry(process).or_default();
        if state.loops == Shape::Refuted {
            return;
        }
        state.loops = Shape::Refuted;
        let relied = std::mem::take(&mut state.relied_on_loops);
        self.doubt(relied);
        self.rule_waiting(process);
    }

    pub(super) fn loop_shape(&self, process: u32) -> Shape {
        self.processes.get(&process).map_or(Shape::Unproven(0.0), |process| process.loops)
    }

    /// The entry in whose closed chain the call is.
    pub(super) fn chains_entry(&self, call: &Call) -> Option<EntryKey> {
        call.link.filter(|link| link.is_closed).map(|link| link.root)
    }

    /// A call in a closed chain is its entry's.
    pub(super) fn by_chain(&self, call: &Call, force: bool) -> Option<Opinion> {
        let (link, unit) = (call.link?, call.unit?);
        let process = unit.process;
        if !self.threads.get(&unit)?.is_loop {
            return None;
        }
        let shape = self.loop_shape(process);
        let may_be_closed = self.entries.get(&link.root).is_some_and(|e| e.answered_by.is_none() && e.ended.is_none());
        let is_loose =
            self.is_loose(call) || call.operation.is_none_or(|operation| self.loop_operations.is_loose(operation));
        match shape {
            Shape::Refuted => None,
            _ if !link.is_closed => (may_be_closed && !force).then_some(Opinion::Wait),
            _ if is_loose => None,
            Shape::Trusted => {
                let cause = certain(Rule::LastRead, false);
                Some(Opinion::Verdict(Verdict::Owner { entry: link.root, cause }, Because::Loops(process)))
            }
            Shape::Unproven(_) => (call.open.len() > 1 && !force).then_some(Opinion::Await(process)),
        }
    }

    /// A call that no closed chain has may be in the background: so may others of its kind.
    pub(super) fn loosen_loops(&mut self, call: &Call) {
        let is_closed = call.link.is_some_and(|link| link.is_closed) || call.unit.is_none_or(|unit| !unit.is_thread());
        if let (false, Some(operation)) = (is_closed, call.operation) {
            let relied = self.loop_operations.loosen(operation);
            self.doubt(relied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_read_is_the_latest_before_the_write_in_whatever_order_it_is_told() {
        let mut thread = Thread::default();
        for mark in [10, 30, 20] {
            thread.reads(mark, Read::Entry(EntryKey(mark)));
        }
        assert_eq!(thread.last_read_before(10), None);
        assert_eq!(thread.last_read_before(25), Some(Read::Entry(EntryKey(20))));
        assert_eq!(thread.last_read_before(99), Some(Read::Entry(EntryKey(30))));
    }

    #[test]
    fn reads_are_bounded() {
        let mut thread = Thread::default();
        for mark in 0..1000 {
            thread.reads(mark, Read::Call(CallKey(mark)));
        }
        assert_eq!(thread.reads.len(), MOST_READS);
        assert_eq!(thread.last_read_before(1000), Some(Read::Call(CallKey(999))));
    }
}
