//! Goroutines that work for the one that started them.
//!
//! A goroutine is started for one piece of work by whoever needs it done, so that what it calls belongs to the entry that
//! its parent holds at that moment. That is false where it was started earlier and lives on: a worker that the first
//! entry to need it started takes anybody's jobs, and late work falls into the next entry of its parent. The former
//! shows when one of them works for two entries, which refutes this for the process; the latter when such a call begins
//! while the parent holds nothing, or is not waited for, which makes calls of its kind uncertain.

use std::collections::{HashMap, VecDeque};

use regress_ebpf::Unit;

use super::{Call, CallKey, Correlator, EntryKey, threads::Shape};

/// Goroutines that are remembered; beyond them the oldest is forgotten.
const MOST_CHILDREN: usize = 64 << 10;

/// Who was started by whom, and for which entry it has worked.
#[derive(Default)]
pub(super) struct Children {
    parents: HashMap<Unit, Unit>,
    worked_for: HashMap<Unit, EntryKey>,
    oldest: VecDeque<Unit>,
}

impl Children {
    /// A goroutine had been started by this one.
    pub fn born(&mut self, parent: Unit, child: Unit) {
        if self.parents.insert(child, parent).is_some() {
            return;
        }
        self.oldest.push_back(child);
        if self.oldest.len() > MOST_CHILDREN
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.parents.remove(&oldest);
            self.worked_for.remove(&oldest);
        }
    }

    /// Who started it, where that is known.
    pub fn parent(&self, child: Unit) -> Option<Unit> {
        self.parents.get(&child).copied()
    }

    /// It works for this entry now; gives the one that it worked for before.
    fn works_for(&mut self, child: Unit, entry: EntryKey) -> Option<EntryKey> {
        self.worked_for.insert(child, entry)
    }
}

impl Correlator {
    /// What a goroutine's parent says of the call that it begins. True where it shows that such goroutines work for several
    /// entries.
    pub(super) fn ask_parent(&mut self, call: &mut Call) -> bool {
        let Some(unit) = call.unit else { return false };
        let Some(parent) = self.children.parent(unit) else { return false };
        if self.threads.get(&unit).is_some_and(|own| own.handles_entries) || self.child_shape(unit) == Shape::Refuted {
            return false;
        }
        let Some(parent) = self.threads.get(&parent).filter(|parent| parent.handles_entries) else { return false };
        let began = call.began;
        let held = parent.held().filter(|held| {
            self.entries.get(held).is_some_and(|e| !e.pipelined && e.read.is_some_and(|read| read <= began))
        });
        call.parent_holds = held;
        call.unawaited = held.is_none();
        call.family = parent.read.iter().copied().filter(|entry| self.entries.contains_key(entry)).collect();
        held.is_some_and(|held| self.children.works_for(unit, held).is_some_and(|before| before != held))
    }

    pub(super) fn child_shape(&self, unit: Unit) -> Shape {
        self.processes.get(&unit.process).map_or(Shape::Unproven(0.0), |process| process.children)
    }

    /// The entry for which a goroutine made the call: its parent's, which waited for it.
    pub(super) fn parents_entry(&self, call: &Call) -> Option<EntryKey> {
        let key = call.parent_holds?;
        let entry = self.entries.get(&key)?;
        let kept = entry.read_by.is_some() && entry.read_by == entry.answered_by && !entry.pipelined;
        (kept && call.answered && Self::is_returned(call) && !call.unawaited && !self.is_loose(call)).then_some(key)
    }

    /// An entry waited for the calls of goroutines that it had started, while others were open: one bit.
    pub(super) fn prove_children(&mut self, call: CallKey) {
        let Some(call) = self.calls.get(&call) else { return };
        let (Some(entry), Some(unit)) = (self.parents_entry(call), call.unit) else { return };
        if call.open.len() < 2 {
            return;
        }
        self.prove_by(entry, unit.process);
    }

    /// Once an entry.
    pub(super) fn prove_by(&mut self, entry: EntryKey, process: u32) {
        match self.entries.get_mut(&entry) {
            Some(entry) if entry.ended.is_some() && !entry.proof_of_children => entry.proof_of_children = true,
            _ => return,
        }
        if self.processes.entry(process).or_default().children.believe(std::f64::consts::LN_2) {
            self.rule_waiting(process);
        }
    }

    /// Goroutines or tasks of this process take jobs of others.
    pub(super) fn refute_children(&mut self, process: u32) {
        let process_state = self.processes.entry(process).or_default();
        if process_state.children == Shape::Refuted {
            return;
        }
        process_state.children = Shape::Refuted;
        let relied = std::mem::take(&mut process_state.relied_on_children);
        self.doubt(relied);
        self.rule_waiting(process);
    }

    pub(super) fn rule_waiting(&mut self, process: u32) {
        let Some(process) = self.processes.get_mut(&process) else { return };
        for call in std::mem::take(&mut process.waiting) {
            self.rule(call, false);
        }
    }
}
