//! Ids that a service passes on: one in a well-known header of an entry's request, and in that of a call.
//!
//! A call is of the entry that brought its id, if that is exactly one: an id that several entries brought (one trace that comes
//! in more than once, a request that is tried again), or that a call had before any entry, says nothing. Nor does any
//! while an entry is open whose request cannot be read. While several entries are open, ids are believed of a process in which about
//! ten entries have waited for calls that carry theirs; a contradiction begins that anew.
//!
//! It is false where the service goes on to send an id with work for others (a default header that was set once, a context
//! that a worker has inherited). That shows when a call carries the id of an entry that was over when it began, or of another
//! entry than the one that a rule of threads, tasks or loops says and has not been refuted. The call is ambiguous then, and so
//! is whatever relied on the id; the other rule is refuted as well, since nobody knows which of both is wrong.

use regress_cassettes::Rule;

use super::{
    Call, CallKey, Correlator, EntryKey, Verdict,
    hops::Lone,
    rule::{Because, Opinion, certain},
    sightings::Clue,
    threads::Shape,
};

/// Nanoseconds of event time between two doubts of what ids had told.
const DOUBTS_APART: u64 = 1_000_000_000;

/// What a call's messages say of its owner.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Ids in its request.
    pub ids: Vec<Clue>,
    /// Entries that brought one of them and were not finished when the call was read.
    pub of: Vec<EntryKey>,
    /// Values in its request and in its response.
    pub values: Vec<Clue>,
    pub heard: Vec<Clue>,
}

/// What the requests of the entries say that a call may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rivals {
    Known,
    ToBeKnown,
    /// That of one of them cannot be read.
    Unknown,
}

/// What the ids of a call say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// Nothing.
    Nobody,
    /// An entry whose request is not known yet may have brought one of them.
    Later,
    /// This entry brought them. It may be finished.
    One(EntryKey),
    /// They contradict each other.
    Several,
}

impl Correlator {
    /// The request of an entry is known, and with it its ids and values.
    pub(super) fn entry_says(&mut self, key: EntryKey, ids: &[Clue], values: &[Clue]) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| !entry.has_said) else { return };
        entry.has_said = true;
        let (began, waiting) = (entry.began, entry.waiting.clone());
        let is_live = |entry| self.entries.contains_key(&entry);
        ids.iter().for_each(|id| self.ids.of_entry(*id, key, began, is_live));
        values.iter().for_each(|value| self.values.of_entry(*value, key, began, is_live));
        for call in waiting {
            self.rule(call, false);
        }
    }

    /// The request of a call is known.
    pub(super) fn call_says(&mut self, key: CallKey, ids: Vec<Clue>, values: Vec<Clue>) {
        let Some(call) = self.calls.get(&key).filter(|call| call.said.ids.is_empty() && call.said.values.is_empty())
        else {
            return;
        };
        let (began, mut of) = (call.began, Vec::new());
        let is_live = |entry| self.entries.contains_key(&entry);
        for &id in &ids {
            if self.ids.entry(id).and_then(|entry| self.entries.get(&entry)).is_some_and(|entry| entry.began > began) {
                // It comes back to where it was made.
                self.ids.tells_nothing(id, is_live);
            }
            self.ids.of_call(id, began, is_live);
            of.extend(self.ids.entry(id).filter(|entry| is_live(*entry)));
        }
        values.iter().for_each(|value| self.values.of_call(*value, began, is_live));
        for entry in &of {
            if let Some(entry) = self.entries.get_mut(entry)
                && !entry.waiting.contains(&key)
            {
                entry.waiting.push(key);
            }
        }
        if let Some(call) = self.calls.get_mut(&key) {
            call.said = Said { ids, of, values, heard: Vec::new() };
        }
    }

    fn named(&self, call: &Call) -> Named {
        let mut named: Vec<EntryKey> = call.said.ids.iter().filter_map(|id| self.ids.entry(*id)).collect();
        named.sort();
        named.dedup();
        match (&named[..], self.rivals(call)) {
            ([], _) | (_, Rivals::Unknown) => Named::Nobody,
            (_, Rivals::ToBeKnown) => Named::Later,
            ([one], Rivals::Known) => Named::One(*one),
            ([..], Rivals::Known) => Named::Several,
        }
    }

    /// Whether it is known what the requests of all entries say that were open when the call began.
    pub(super) fn rivals(&self, call: &Call) -> Rivals {
        let silent = call.open.iter().filter_map(|entry| self.entries.get(entry));
        // What a hop says, the entry has said that it is part of.
        let silent = silent.filter(|entry| !entry.has_said && entry.hop.is_none());
        let will_say = silent.map(|entry| !entry.is_unreadable && entry.ended.is_none());
        will_say.fold(
            if call.unseen_entry { Rivals::Unknown } else { Rivals::Known },
            |rivals, will_say| match rivals {
                Rivals::Known | Rivals::ToBeKnown if will_say => Rivals::ToBeKnown,
                _ => Rivals::Unknown,
            },
        )
    }

    /// What all rules say, and the ids.
    pub(super) fn with_ids(&self, call: &Call, opinion: Opinion, force: bool) -> Opinion {
        let ambiguous = || Verdict::Ambiguous { among: call.candidates().collect() };
        let named = match (self.named(call), &opinion) {
            (_, Opinion::Wait) | (Named::Nobody, _) => return opinion,
            (Named::Later, _) if force => return opinion,
            (Named::Later, _) => return Opinion::Wait,
            (Named::Several, _) => return Opinion::Verdict(ambiguous(), Because::Contradiction),
            (Named::One(named), _) => named,
        };
        if !force && call.candidates().any(|entry| self.root(entry).is_none()) {
            return Opinion::Wait;
        }
        match &opinion {
            Opinion::Verdict(Verdict::Owner { entry, .. }, _) if self.is_of(*entry, named) => return opinion,
            Opinion::Verdict(Verdict::Owner { entry, .. }, _) if self.is_of_another(*entry, named) => {
                return Opinion::Verdict(ambiguous(), Because::Contradiction);
            }
            _ => {}
        }
        if !call.open.contains(&named) || !self.dissent(call, named).is_empty() {
            return Opinion::Verdict(ambiguous(), Because::Contradiction);
        }
        let process = process_of(call);
        if self.processes.get(&process).is_none_or(|process| process.ids != Shape::Trusted) {
            return if force { opinion } else { Opinion::Await(process) };
        }
        let cause = certain(Rule::PropagatedId, false);
        Opinion::Verdict(Verdict::Owner { entry: named, cause }, Because::Ids)
    }

    /// Whether an entry is the one that ids name, or a part of it.
    fn is_of(&self, entry: EntryKey, named: EntryKey) -> bool {
        self.root(entry) == Some(Some(named))
    }

    /// Whether it is neither, as far as that is known.
    fn is_of_another(&self, entry: EntryKey, named: EntryKey) -> bool {
        matches!(self.root(entry), Some(Some(root)) if root != named)
    }

    /// An entry waited for a call that carries its id, while others were open: one bit.
    pub(super) fn prove_ids(&mut self, key: CallKey) {
        let Some(call) = self.calls.get(&key).filter(|call| call.open.len() > 1 && !call.said.ids.is_empty()) else {
            return;
        };
        let Named::One(named) = self.named(call) else { return };
        let is_awaited = call.answered && !call.unawaited && call.open.contains(&named);
        if !is_awaited || !self.dissent(call, named).is_empty() {
            return;
        }
        let process = process_of(call);
        match self.entries.get_mut(&named) {
            Some(entry) if entry.ended.is_some() && !entry.proof_of_ids => entry.proof_of_ids = true,
            _ => return,
        }
        if self.processes.entry(process).or_default().ids.believe(std::f64::consts::LN_2) {
            self.rule_waiting(process);
        }
    }

    /// Rules that are not refuted and say that the call is another entry's.
    fn dissent(&self, call: &Call, named: EntryKey) -> Vec<Because> {
        let mut dissent = Vec::new();
        let mut hear = |entry: Option<EntryKey>, shape: Shape, because: Because| {
            if entry.is_some_and(|entry| self.is_of_another(entry, named)) && shape != Shape::Refuted {
                dissent.push(because);
            }
        };
        if let Some(unit) = call.unit {
            let process = unit.process;
            let held = call.holder.filter(|_| self.kept_to_thread(call));
            hear(self.turns_entry(call).or(held), self.shape(process), Because::Threads(process));
            hear(self.parents_entry(call), self.child_shape(unit), Because::Children(process));
            hear(self.tasks_entry(call), self.task_shape(call), Because::Tasks(process));
            hear(self.chains_entry(call), self.loop_shape(process), Because::Loops(process));
        }
        if let Some(lineage) = call.lineage.filter(|_| call.thread_gone) {
            hear(Some(lineage.entry), self.shape(lineage.process), Because::Threads(lineage.process));
        }
        if let (Lone::Entry(one), true) = (self.lone(call), self.is_alone(call)) {
            hear(Some(one), Shape::Trusted, Because::Alone);
        }
        dissent
    }

    /// The call was ruled by its ids.
    pub(super) fn rely_on_ids(&mut self, call: &Call, owner: EntryKey) {
        for id in &call.said.ids {
            self.ids.rely(*id, [owner].into_iter().chain(call.open.iter().copied()));
        }
        if call.relies_on_joined && !self.joined.is_empty() {
            self.relied_on_joined.insert(owner);
        }
    }

    /// Say which entries relied on ids that are not believed any more: not each time, since some services go on to work for
    /// all entries when they are over.
    pub(super) fn doubt_ids(&mut self, at: u64) {
        if at >= self.doubt_ids_at && !self.doubted_ids.is_empty() {
            self.doubt_ids_at = at.saturating_add(DOUBTS_APART);
            let doubted = std::mem::take(&mut self.doubted_ids);
            self.doubt(doubted);
        }
    }

    /// Its ids say otherwise than other rules do, or than each other: none of them is believed any more.
    pub(super) fn contradicted(&mut self, call: &Call) {
        let named = self.named(call);
        self.processes.entry(process_of(call)).or_default().ids = Shape::Unproven(0.0);
        for id in &call.said.ids {
            // An entry that is finished lacks this call.
            let finished = self.ids.entry(*id).filter(|entry| !self.entries.contains_key(entry));
            self.doubted_ids.extend(finished);
            self.doubted_ids.append(self.ids.refute(*id));
        }
        let Named::One(named) = named else { return };
        for because in self.dissent(call, named) {
            match because {
                Because::Threads(process) => self.refute(process),
                Because::Children(process) | Because::Tasks(process) => self.refute_children(process),
                Because::Loops(process) => self.refute_loops(process),
                Because::Alone => self.loosen_kinds(call.operation, call.frame_of),
                Because::Ids | Because::Contradiction | Because::Nothing => {}
            }
        }
        if call.open.is_empty() {
            self.loosen_kinds(call.operation, call.frame_of);
        }
    }
}

/// The process that calls; 0 where that is not known.
fn process_of(call: &Call) -> u32 {
    call.unit.map_or(0, |unit| unit.process)
}
