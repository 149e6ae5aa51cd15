//! Tasks: lines of execution of which each birth is told, as contexts of Python and jobs of its thread pools.
//!
//! Whoever writes an entry's response works for that entry, and so does what was started meanwhile by whoever does. A call is
//! therefore of the entry that is answered by the caller or one of its ancestors, and that was open when the line of
//! descent left the one who answers; that shows only with the response.
//!
//! It is false where a task serves many at once: one that answers an entry which began before it had answered that of another
//! connection refutes it for the process. (Threads of Python 3.14 run in one context each, and serve one after the other.)
//! A task that was started for an entry and goes on to take jobs of others shows itself by calls after that entry, which
//! make the kinds of calls that it makes uncertain.

use std::collections::{HashMap, VecDeque};

use regress_ebpf::{SocketId, Unit};
use regress_protocols::Mark;

use super::{Call, CallKey, Correlator, EntryKey, OperationHash, threads::Shape};

/// Tasks that are remembered; beyond them the oldest is forgotten.
const MOST_TASKS: usize = 64 << 10;

/// How far back a line of descent is looked at.
const MOST_GENERATIONS: usize = 16;

/// The caller, or one of its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ancestor {
    unit: Unit,
    /// When the next in the line was born of it; `None` for the caller itself.
    left: Option<Mark>,
}

/// What is known of a call by its line of descent; nothing where no task made it.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The caller and its ancestors, nearest first.
    ancestors: Vec<Ancestor>,
    /// Entries that were open, are answered by one of them, and cover the line.
    answered: Vec<EntryKey>,
    /// How many of the entries that were open are not answered yet.
    to_be_answered: usize,
}

impl Line {
    pub fn is_of_task(&self) -> bool {
        !self.ancestors.is_empty()
    }
}

/// Who was born of whom, and who answers.
#[derive(Default)]
pub(super) struct Tasks {
    births: Bounded<(Unit, Mark)>,
    answers: Bounded<Answered>,
}

/// What a unit has answered last.
#[derive(Clone, Copy)]
struct Answered {
    connection: SocketId,
    /// When it began to.
    at: Mark,
}

impl Tasks {
    pub fn born(&mut self, parent: Unit, child: Unit, mark: Mark) {
        self.births.insert(child, (parent, mark));
    }

    /// The task and those that it descends from, nearest first; empty where it is none.
    fn line(&self, task: Unit) -> Vec<Ancestor> {
        if !task.is_task() {
            return Vec::new();
        }
        let next = |last: &Ancestor| {
            let &(parent, born) = self.births.get(last.unit)?;
            Some(Ancestor { unit: parent, left: Some(born) })
        };
        std::iter::successors(Some(Ancestor { unit: task, left: None }), next).take(MOST_GENERATIONS).collect()
    }

    /// It answers an entry that began at this mark. False where it had that of another connection at the same time.
    fn answers(&mut self, task: Unit, now: Answered, began: Mark) -> bool {
        let before = self.answers.get(task).copied();
        self.answers.insert(task, now);
        before.is_none_or(|before| before.connection == now.connection || before.at < began)
    }
}

/// A map that forgets what was put in first.
struct Bounded<T> {
    values: HashMap<Unit, T>,
    oldest: VecDeque<Unit>,
}

impl<T> Default for Bounded<T> {
    fn default() -> Bounded<T> {
        Bounded { values: HashMap::new(), oldest: VecDeque::new() }
    }
}

impl<T> Bounded<T> {
    fn get(&self, unit: Unit) -> Option<&T> {
        self.values.get(&unit)
    }

    fn insert(&mut self, unit: Unit, value: T) {
        if self.values.insert(unit, value).is_some() {
            return;
        }
        self.oldest.push_back(unit);
        if self.oldest.len() > MOST_TASKS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

/// What a task's line says of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Descent {
    /// An open entry is not answered yet: it may be that one's.
    Open,
    /// It works for this entry.
    Of(EntryKey),
    /// For none that was open, or for several.
    Unknown,
}

impl Correlator {
    /// The line of a caller, when it calls.
    pub(super) fn line(&self, caller: Option<Unit>, open: &[EntryKey]) -> Line {
        let ancestors = caller.map(|caller| self.tasks.line(caller)).unwrap_or_default();
        let answered = open.iter().copied().filter(|entry| self.is_answered_in(*entry, &ancestors)).collect();
        let to_be_answered = open.iter().filter(|entry| self.is_to_be_answered(**entry)).count();
        Line { ancestors, answered, to_be_answered }
    }

    /// Calls of tasks that wait for this entry, which has just been answered, or ended without that: those that can be
    /// ruled now.
    pub(super) fn told_by_answer(&mut self, key: EntryKey, waiting: &[CallKey]) -> Vec<CallKey> {
        let mut told = Vec::new();
        for &key_of_call in waiting {
            let Some(call) = self.calls.get(&key_of_call).filter(|call| call.line.is_of_task()) else { continue };
            if !call.open.contains(&key) {
                continue;
            }
            let is_of = self.is_answered_in(key, &call.line.ancestors);
            let Some(call) = self.calls.get_mut(&key_of_call) else { continue };
            call.line.to_be_answered = call.line.to_be_answered.saturating_sub(1);
            if is_of {
                call.line.answered.push(key);
            }
            if is_of || call.line.to_be_answered == 0 {
                told.push(key_of_call);
            }
        }
        told
    }

    /// A task or thread began to answer. A task that serves several at once works for nobody in particular; of threads that is
    /// known otherwise (`threads.rs`).
    pub(super) fn answers(&mut self, key: EntryKey, task: Unit, at: Mark) {
        let Some(entry) = self.entries.get(&key) else { return };
        let now = Answered { connection: entry.connection, at };
        if !self.tasks.answers(task, now, entry.began) && task.is_task() {
            self.refute_children(task.process);
        }
    }

    /// Whether the entry could be the caller's as far as births tell: it was open when the line left this ancestor.
    fn covers(&self, entry: EntryKey, ancestor: &Ancestor) -> bool {
        let Some(entry) = self.entries.get(&entry) else { return false };
        !entry.pipelined && ancestor.left.is_none_or(|left| entry.began <= left)
    }

    fn is_answered_in(&self, entry: EntryKey, line: &[Ancestor]) -> bool {
        let Some(answers) = self.entries.get(&entry).and_then(|entry| entry.answered_by) else { return false };
        line.iter().any(|ancestor| ancestor.unit == answers && self.covers(entry, ancestor))
    }

    pub(super) fn descent(&self, call: &Call) -> Descent {
        // A thread that works for several at once shows it, and then says nothing.
        let counts = |entry: &EntryKey| {
            let Some(entry) = self.entries.get(entry) else { return false };
            let keeps = |unit: Unit| !entry.passed_on && self.shape(unit.process) != Shape::Refuted;
            entry.answered_by.is_some_and(|unit| unit.is_task() || keeps(unit))
        };
        match call.line.answered[..] {
            [entry] if counts(&entry) => Descent::Of(entry),
            [] if call.line.to_be_answered > 0 => Descent::Open,
            _ => Descent::Unknown,
        }
    }

    fn is_to_be_answered(&self, entry: EntryKey) -> bool {
        self.entries.get(&entry).is_some_and(|entry| entry.answered_by.is_none() && entry.ended.is_none())
    }

    /// The entry that the task's call is of, where its kind does not happen outside of entries.
    pub(super) fn tasks_entry(&self, call: &Call) -> Option<EntryKey> {
        let Descent::Of(entry) = self.descent(call) else { return None };
        let is_loose = call.operation.is_none_or(|operation| self.task_operations.is_loose(operation));
        (!is_loose).then_some(entry)
    }

    /// Whether a task called that answers entries, or was started by one that does, while none of them was open.
    pub(super) fn is_late(&self, call: &Call) -> bool {
        let answering = |ancestor: &Ancestor| Some((*ancestor, self.tasks.answers.get(ancestor.unit)?.connection));
        let Some((nearest, connection)) = call.line.ancestors.iter().find_map(answering) else { return false };
        // One that was never answered may have been its.
        let may_be_of = |entry: &EntryKey| {
            self.entries.get(entry).is_some_and(|e| e.connection == connection || e.answered_by.is_none())
        };
        !call.open.iter().any(|entry| may_be_of(entry) && self.covers(*entry, &nearest))
    }

    /// Entries that are over, and during which the line of the caller left the one who answers them.
    pub(super) fn origins(&self, line: &Line) -> Vec<EntryKey> {
        let mut origins = Vec::new();
        for ancestor in &line.ancestors {
            let (Some(left), Some(answered)) = (ancestor.left, self.tasks.answers.get(ancestor.unit)) else {
                continue;
            };
            let since = self.ended.iter().rev().take_while(|(ended, _)| *ended >= left).map(|(_, key)| *key);
            origins.extend(since.filter(|key| {
                self.entries
                    .get(key)
                    .is_some_and(|entry| entry.connection == answered.connection && entry.began <= left)
            }));
        }
        origins
    }

    /// An entry waited for the call of a task that works for it, while others were open: one bit.
    pub(super) fn prove_tasks(&mut self, key: CallKey) {
        let Some(call) = self.calls.get(&key).filter(|call| call.line.is_of_task() && call.open.len() > 1) else {
            return;
        };
        let (Some(unit), true, false) = (call.unit, call.answered, call.unawaited) else { return };
        let Some(entry) = self.tasks_entry(call) else { return };
        self.prove_by(entry, unit.process);
    }

    /// Calls of this kind are made by tasks that worked for an entry, when it is over.
    pub(super) fn loosen_tasks(&mut self, operation: Option<OperationHash>) {
        let Some(operation) = operation else { return };
        let relied = self.task_operations.loosen(operation);
        self.doubt(relied);
    }

    /// Whether tasks of this process work for the entry that their line answers.
    pub(super) fn task_shape(&self, call: &Call) -> Shape {
        match call.unit {
            Some(unit) if call.line.is_of_task() => self.child_shape(unit),
            _ => Shape::Refuted,
        }
    }
}

#[cfg(test)]
mod tests {
    use regress_ebpf::Strand;

    use super::*;

    fn context(number: u64) -> Unit {
        Unit { process: 1, strand: Strand::Context(number) }
    }

    #[test]
    fn a_line_goes_from_the_caller_to_its_ancestors() {
        let mut tasks = Tasks::default();
        tasks.born(Unit::thread(1, 1), context(1), 5);
        tasks.born(context(1), context(2), 9);
        let line: Vec<_> = tasks.line(context(2)).into_iter().map(|ancestor| (ancestor.unit, ancestor.left)).collect();
        assert_eq!(line, [(context(2), None), (context(1), Some(9)), (Unit::thread(1, 1), Some(5))]);
        assert_eq!(tasks.line(context(7)).len(), 1);
        assert_eq!(tasks.line(Unit::thread(1, 1)), []);
    }

    #[test]
    fn lines_and_memory_are_bounded() {
        let mut tasks = Tasks::default();
        for number in 0..2 * MOST_TASKS as u64 {
            tasks.born(context(number), context(number + 1), number);
        }
        assert_eq!((tasks.births.values.len(), tasks.births.oldest.len()), (MOST_TASKS, MOST_TASKS));
        assert_eq!(tasks.line(context(2 * MOST_TASKS as u64)).len(), MOST_GENERATIONS);
    }

    #[test]
    fn who_has_entries_of_two_connections_at_once_serves_many() {
        let mut tasks = Tasks::default();
        let on = |connection, at| Answered { connection: SocketId(connection), at };
        assert!(tasks.answers(context(1), on(1, 20), 10), "the first");
        assert!(tasks.answers(context(1), on(1, 30), 15), "of the same connection");
        assert!(tasks.answers(context(1), on(2, 50), 40), "one after the other");
        assert!(tasks.answers(context(2), on(1, 60), 45), "another task");
        assert!(!tasks.answers(context(1), on(1, 60), 45), "began before the other was answered");
    }
}
