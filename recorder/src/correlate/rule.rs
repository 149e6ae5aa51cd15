//! The ruling on one call.

use regress_cassettes::{Cause, Confidence, Rule};
use regress_ebpf::Unit;

use super::{
    Call, CallKey, Correlator, EntryKey, Ruling, Verdict,
    hops::Lone,
    tasks::Descent,
    threads::{Lineage, Shape},
};

/// What a verdict relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Because {
    /// The threads of this process.
    Threads(u32),
    /// The goroutines of this process.
    Children(u32),
    /// The tasks of this process.
    Tasks(u32),
    /// The event loops of this process.
    Loops(u32),
    /// The entry being the only one.
    Alone,
    /// The ids of the call.
    Ids,
    /// Its ids say otherwise than other rules.
    Contradiction,
    /// Nothing that could be refuted later.
    Nothing,
}

/// What the rules say about a call at this moment.
pub(super) enum Opinion {
    Verdict(Verdict, Because),
    /// The threads of this process would decide, if they were trusted.
    Await(u32),
    /// Something is still to come.
    Wait,
}

impl Correlator {
    /// Decide a call if that can be done; `force`: now or never.
    pub(super) fn rule(&mut self, key: CallKey, force: bool) {
        let Some(call) = self.calls.get(&key) else { return };
        if let Some((unit, entry, evidence)) = self.strayed_not(call) {
            self.prove(unit, entry, evidence);
        }
        self.prove_children(key);
        self.prove_tasks(key);
        self.prove_ids(key);
        let Some(call) = self.calls.get(&key) else { return };
        let opinion = self.with_ids(call, self.opinion(call, force), force);
        let (verdict, because) = match self.with_values(call, opinion, force) {
            Opinion::Verdict(verdict, because) => (verdict, because),
            Opinion::Wait => return,
            Opinion::Await(process) => {
                self.processes.entry(process).or_default().waiting.insert(key);
                return;
            }
        };
        let Some(call) = self.calls.remove(&key) else { return };
        self.unwait(key, &call);
        if self.is_late(&call) {
            self.loosen_tasks(call.operation);
        }
        self.loosen_loops(&call);
        for process in call.unit.map(|unit| unit.process).into_iter().chain(call.lineage.map(|l| l.process)) {
            if self.processes.get_mut(&process).is_some_and(|process| process.waiting.remove(&key)) {
                self.forget_process(process);
            }
        }
        if let (Some(unit), None, false) = (call.unit, call.operation, call.opaque) {
            self.running.insert(key, unit);
        }
        match &verdict {
            Verdict::Owner { entry, .. } => {
                if call.opaque {
                    self.opaque_owner.insert(key, *entry);
                }
                self.rely(&call, *entry, because);
            }
            Verdict::Ambient => self.loosen_kinds(call.operation, call.frame_of),
            Verdict::Ambiguous { among } => {
                if let Because::Children(process) = because
                    && let Some(process) = self.processes.get_mut(&process)
                {
                    // The others would be candidates as well if its parent said nothing of it.
                    process.relied_on_children.extend(call.open.iter().copied());
                }
                for entry in among {
                    if let Some(entry) = self.entries.get_mut(entry) {
                        entry.ambiguous = true;
                    }
                }
            }
        }
        if let Some(hop) = call.hop {
            self.hop_ruled(hop, &verdict);
        }
        self.frame_ruled(call.frame_of);
        self.hear(&call, &verdict);
        self.rulings.push_back(Ruling::Call { call: key, verdict });
        if because == Because::Contradiction {
            self.contradicted(&call);
        }
    }

    fn opinion(&self, call: &Call, force: bool) -> Opinion {
        let over = call.opaque || call.operation.is_some();
        let holder = call.holder.or(call.parent_holds).and_then(|holder| self.entries.get(&holder));
        let is_open =
            holder.is_some_and(|holder| holder.ended.is_none()) || self.may_drift(call) || self.awaits_return(call);
        let is_open = is_open || self.has_its_turn(call);
        if !force && (!over || is_open || self.frames_open_one(call)) {
            return Opinion::Wait;
        }
        if let Some(opinion) = self.by_turn(call, force) {
            return opinion;
        }
        if let Some(opinion) = self.by_descent(call, force) {
            return opinion;
        }
        if let (Some(entry), Some(unit), true) = (call.holder, call.unit, self.kept_to_thread(call)) {
            match self.shape_for(call, unit) {
                Shape::Trusted => {
                    let cause = certain(Rule::LastRead, false);
                    return Opinion::Verdict(Verdict::Owner { entry, cause }, Because::Threads(unit.process));
                }
                Shape::Unproven(_) if call.open.len() > 1 && !force => return Opinion::Await(unit.process),
                Shape::Unproven(_) | Shape::Refuted => {}
            }
        }
        if let (Some(entry), Some(unit)) = (self.parents_entry(call), call.unit) {
            match self.child_shape(unit) {
                Shape::Trusted => {
                    let cause = certain(Rule::Lineage, false);
                    return Opinion::Verdict(Verdict::Owner { entry, cause }, Because::Children(unit.process));
                }
                Shape::Unproven(_) if call.open.len() > 1 && !force => return Opinion::Await(unit.process),
                Shape::Unproven(_) | Shape::Refuted => {}
            }
        }
        if let Some(opinion) = self.by_chain(call, force) {
            return opinion;
        }
        let lineage = call.lineage.filter(|lineage| self.shape(lineage.process) != Shape::Refuted);
        if let Some(lineage) = lineage {
            match self.by_lineage(call, lineage, force) {
                Some(opinion) => return opinion,
                None if !force && !call.lineage_over && !call.thread_gone => return Opinion::Wait,
                None => {}
            }
        }
        match self.lone(call) {
            _ if call.open.is_empty() => Opinion::Verdict(Verdict::Ambient, Because::Nothing),
            Lone::Open if !force => Opinion::Wait,
            Lone::Entry(entry) if self.is_alone(call) && lineage.is_none_or(|l| l.entry == entry) => {
                let rule = if call.last_read == Some(entry) {
                    Rule::LastRead
                } else if call.connected_for == Some(entry) {
                    Rule::Connect
                } else if lineage.is_some() {
                    Rule::Lineage
                } else {
                    Rule::Alone
                };
                Opinion::Verdict(Verdict::Owner { entry, cause: certain(rule, false) }, Because::Alone)
            }
            _ if !call.family.is_empty() && call.unit.is_some_and(|unit| self.child_shape(unit) == Shape::Trusted) => {
                let process = call.unit.map_or(0, |unit| unit.process);
                Opinion::Verdict(Verdict::Ambiguous { among: call.family.clone() }, Because::Children(process))
            }
            _ => {
                let mut among = call.open.clone();
                among.extend(lineage.map(|lineage| lineage.entry).filter(|entry| !call.open.contains(entry)));
                among.extend(call.family.iter().copied().filter(|entry| !call.open.contains(entry)));
                Opinion::Verdict(Verdict::Ambiguous { among }, Because::Nothing)
            }
        }
    }

    /// A task works for the entry that it answers, or one that it descends from.
    fn by_descent(&self, call: &Call, force: bool) -> Option<Opinion> {
        let shape = self.task_shape(call);
        let process = call.unit.filter(|_| shape != Shape::Refuted)?.process;
        if self.descent(call) == Descent::Open && !force {
            return Some(Opinion::Wait);
        }
        let entry = self.tasks_entry(call);
        if entry.is_some_and(|entry| self.entries.get(&entry).is_some_and(|e| e.ended.is_none())) && !force {
            return Some(Opinion::Wait);
        }
        let is_alone = call.open.len() <= 1 && self.is_alone(call);
        match (shape, entry) {
            (Shape::Trusted, Some(entry)) => {
                let cause = certain(Rule::Lineage, false);
                Some(Opinion::Verdict(Verdict::Owner { entry, cause }, Because::Tasks(process)))
            }
            // Of none of them, as far as its line tells: not even of the only one.
            (Shape::Trusted, None) if !call.open.is_empty() => {
                Some(Opinion::Verdict(Verdict::Ambiguous { among: call.candidates().collect() }, Because::Nothing))
            }
            (Shape::Unproven(_), Some(_)) if !is_alone && !force => Some(Opinion::Await(process)),
            _ => None,
        }
    }

    /// A thread that was born for an entry and is gone again worked for nobody else.
    fn by_lineage(&self, call: &Call, lineage: Lineage, force: bool) -> Option<Opinion> {
        if !call.thread_gone {
            return None;
        }
        match self.shape(lineage.process) {
            Shape::Refuted => None,
            Shape::Unproven(_) if !lineage.alone && !force => Some(Opinion::Await(lineage.process)),
            Shape::Unproven(_) if !lineage.alone => None,
            Shape::Unproven(_) | Shape::Trusted => {
                let entry = self.entries.get(&lineage.entry)?;
                // A reader starts threads that serve many.
                if entry.passed_on || entry.read_by.is_some_and(|reader| self.may_be_reader(reader)) {
                    return (entry.ended.is_none() && !force).then_some(Opinion::Wait);
                }
                let ended = entry.ended;
                let cause = certain(Rule::Lineage, ended.is_some_and(|(mark, _)| mark < call.began));
                let verdict = Verdict::Owner { entry: lineage.entry, cause };
                Some(Opinion::Verdict(verdict, Because::Threads(lineage.process)))
            }
        }
    }

    pub(super) fn is_alone(&self, call: &Call) -> bool {
        // Of a call that is not over nobody knows whether its kind happens without an entry.
        !call.unseen_entry && !self.is_loose(call)
    }

    /// The call and its entry were read and written by one thread, from end to end.
    pub(super) fn kept_to_thread(&self, call: &Call) -> bool {
        let Some(entry) = call.holder.and_then(|holder| self.entries.get(&holder)) else { return false };
        call.unit.is_some()
            && Self::is_returned(call)
            && !entry.pipelined
            && (entry.read_by == call.unit || entry.passed_on)
            && entry.answered_by == call.unit
            && (call.answered_by.is_none() || call.answered_by == call.unit)
    }

    /// The thread and entry of a call that kept to its thread although other entries were open, and what that says.
    fn strayed_not(&self, call: &Call) -> Option<(Unit, EntryKey, f64)> {
        let (holder, unit) = (call.holder?, call.unit?);
        let entry = self.entries.get(&holder)?;
        let over = entry.ended.is_some()
            && entry.read_by == call.unit
            && call.answered_by.is_some()
            && call.operation.is_some();
        let telling = over && call.open.len() > 1 && call.evidence > 0.0 && self.kept_to_thread(call);
        telling.then_some((unit, holder, call.evidence))
    }

    fn rely(&mut self, call: &Call, owner: EntryKey, because: Because) {
        match because {
            Because::Threads(process) => {
                // The other candidates rely on it too: without it the call might be theirs.
                let relied = &mut self.processes.entry(process).or_default().relied;
                relied.insert(owner);
                relied.extend(call.open.iter().copied().filter(|entry| *entry != owner));
                if call.turn == Some(owner) && call.relies_on_joined && !self.joined.is_empty() {
                    self.relied_on_joined.insert(owner);
                }
            }
            Because::Children(process) => {
                let relied = &mut self.processes.entry(process).or_default().relied_on_children;
                relied.insert(owner);
                relied.extend(call.open.iter().copied().filter(|entry| *entry != owner));
                self.rely_on_kinds(call, owner);
            }
            Because::Tasks(process) => {
                let by_thread =
                    self.entries.get(&owner).and_then(|e| e.answered_by).is_some_and(|unit| unit.is_thread());
                let process = self.processes.entry(process).or_default();
                process.relied_on_children.extend([owner].into_iter().chain(call.open.iter().copied()));
                if by_thread {
                    process.relied.extend([owner].into_iter().chain(call.open.iter().copied()));
                }
                if let Some(operation) = call.operation {
                    self.task_operations.rely(operation, owner);
                }
            }
            Because::Loops(process) => {
                let relied = &mut self.processes.entry(process).or_default().relied_on_loops;
                relied.extend([owner].into_iter().chain(call.open.iter().copied()));
                if let Some(operation) = call.operation {
                    self.loop_operations.rely(operation, owner);
                }
                self.rely_on_kinds(call, owner);
            }
            Because::Alone => {
                self.rely_on_kinds(call, owner);
                self.owns_frame(call, owner);
                if call.relies_on_joined && !self.joined.is_empty() {
                    self.relied_on_joined.insert(owner);
                }
            }
            Because::Ids => self.rely_on_ids(call, owner),
            Because::Contradiction | Because::Nothing => {}
        }
    }

    /// An operation that happens without an entry proves nothing by happening during one.
    pub(super) fn loosen(&mut self, operation: Option<u64>) {
        let Some(operation) = operation else { return };
        let relied = self.operations.loosen(operation);
        self.doubt(relied);
    }
}

pub(super) fn certain(rule: Rule, after_response: bool) -> Cause {
    Cause { rule, confidence: Confidence::Certain, after_response }
}
