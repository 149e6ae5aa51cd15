//! Requests from one recorded process to another, *hops*: a call for the one, an entry for the other, and neither for the
//! recording. What is called for such an entry belongs to the owner of the call that it is.
//!
//! Both ends follow the rules that hold for their processes, each on its own. Here they are put together: an entry is not
//! finished while a hop may be part of it, and what is not known of the hop is not known of the entry.

use super::{Call, CallKey, Correlator, EntryKey, EntrySet, Ruling, Verdict};

/// The entry at the far end.
#[derive(Default)]
pub(super) struct Hop {
    /// Whose call it is, as soon as that is ruled.
    of: Option<Verdict>,
    /// Entries that wait until it is finished.
    kept_waiting: Vec<EntryKey>,
}

/// The only entry for which a call can have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lone {
    /// This one, and others at most that it is part of or that are part of it.
    Entry(EntryKey),
    /// That depends on hops whose owner is still to be ruled.
    Open,
    /// There are several, or none.
    None,
}

impl Correlator {
    /// An entry came from a recorded process: it is a part of one of those that are open, if of any.
    pub(super) fn hop_began(&mut self, key: EntryKey) {
        let Some(began) = self.entries.get(&key).map(|entry| entry.began) else { return };
        let kept_waiting: Vec<EntryKey> = self.open_at(began).into_iter().filter(|entry| *entry < key).collect();
        if let Some(first) = kept_waiting.first() {
            self.reach = self.reach.max(key.0 - first.0);
        }
        for entry in &kept_waiting {
            if let Some(entry) = self.entries.get_mut(entry) {
                entry.hops.push(key);
            }
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.hop = Some(Hop { of: None, kept_waiting });
        }
    }

    /// Which call it is.
    pub(super) fn hop_is(&mut self, key: EntryKey, call: CallKey) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.hop = Some(key);
        }
    }

    /// The call that the hop is has been ruled.
    pub(super) fn hop_ruled(&mut self, key: EntryKey, verdict: &Verdict) {
        let Some(hop) = self.entries.get_mut(&key).and_then(|entry| entry.hop.as_mut()) else { return };
        hop.of = Some(verdict.clone());
        let owner = match verdict {
            Verdict::Owner { entry, .. } => Some(*entry),
            Verdict::Ambient | Verdict::Ambiguous { .. } => None,
        };
        let (released, kept) = std::mem::take(&mut hop.kept_waiting).into_iter().partition(|kept| Some(*kept) != owner);
        hop.kept_waiting = kept;
        self.release_from_hop(key, released);
        if let Some(owner) = owner.and_then(|owner| self.entries.get_mut(&owner))
            && !owner.hops.contains(&key)
        {
            owner.hops.push(key);
        }
    }

    fn release_from_hop(&mut self, key: EntryKey, entries: Vec<EntryKey>) {
        for entry in entries {
            if let Some(entry) = self.entries.get_mut(&entry) {
                entry.hops.retain(|hop| *hop != key);
            }
        }
    }

    /// Whether the entry can be finished as far as hops go: its own owner is known, and so is all that it was part of.
    /// `force`: they cannot be waited for any longer.
    pub(super) fn is_through(&mut self, at: u64, key: EntryKey, force: bool) -> bool {
        if force {
            for hop in self.entries.get(&key).map(|entry| entry.hops.clone()).unwrap_or_default() {
                if self.entries.get(&hop).is_some_and(|hop| hop.ended.is_some()) {
                    self.settle(at, hop, true);
                }
            }
            // Of those that go on nobody knows what is still to come.
            if let Some(entry) = self.entries.get_mut(&key)
                && !std::mem::take(&mut entry.hops).is_empty()
            {
                entry.ambiguous = true;
            }
        }
        let Some(entry) = self.entries.get(&key) else { return false };
        entry.hops.is_empty() && (force || entry.hop.as_ref().is_none_or(|hop| hop.of.is_some()))
    }

    /// Nothing more can come to a hop: hand on what it was part of.
    pub(super) fn hop_finished(&mut self, key: EntryKey, hop: Hop, is_ambiguous: bool) {
        let is_known = hop.of.is_some();
        let of = hop.of.unwrap_or_else(|| Verdict::Ambiguous { among: hop.kept_waiting.clone() });
        let uncertain = match &of {
            Verdict::Owner { entry, .. } if is_ambiguous => vec![*entry],
            Verdict::Ambiguous { among } if !is_known => among.clone(),
            Verdict::Owner { .. } | Verdict::Ambiguous { .. } | Verdict::Ambient => Vec::new(),
        };
        for entry in uncertain {
            if let Some(entry) = self.entries.get_mut(&entry) {
                entry.ambiguous = true;
            }
        }
        let owner = if let Verdict::Owner { entry, .. } = &of { Some(*entry) } else { None };
        self.release_from_hop(key, hop.kept_waiting.into_iter().chain(owner).collect());
        self.rulings.push_back(Ruling::Passed { hop: key, of });
    }

    /// Who it can have been made for, if there is only one.
    pub(super) fn lone(&self, call: &Call) -> Lone {
        if let [one] = call.open[..] {
            return Lone::Entry(one);
        }
        let is_hop = |entry: &&EntryKey| self.entries.get(entry).is_some_and(|entry| entry.hop.is_some());
        let mut roots = call.open.iter().filter(|entry| !is_hop(entry));
        let (Some(&root), None) = (roots.next(), roots.next()) else { return Lone::None };
        let mut is_open = false;
        for &hop in call.open.iter().filter(is_hop) {
            match self.root(hop) {
                Some(of) if of == Some(root) => {}
                Some(_) => return Lone::None,
                None => is_open = true,
            }
        }
        if is_open {
            return Lone::Open;
        }
        let of_its_process = call.open.iter().rev().find(|entry| self.is_read_in(**entry, call)).copied();
        Lone::Entry(of_its_process.unwrap_or(root))
    }

    /// The entry that a hop is part of in the end, itself for any other: `None` where that is not ruled yet.
    pub(super) fn root(&self, mut key: EntryKey) -> Option<Option<EntryKey>> {
        while let Some(hop) = &self.entries.get(&key)?.hop {
            match hop.of.as_ref()? {
                // Entries are numbered in order, so that this comes to an end.
                Verdict::Owner { entry, .. } if *entry < key => key = *entry,
                _ => return Some(None),
            }
        }
        Some(Some(key))
    }

    /// Whether an entry was the only one that could wait for the call, in the caller's process at least.
    pub(super) fn is_lone_in_process(&self, call: &Call, key: EntryKey) -> bool {
        let hops = call.open.iter().filter(|entry| self.entries.get(entry).is_some_and(|entry| entry.hop.is_some()));
        hops.count() + 1 >= call.open.len() && call.open.contains(&key) && self.is_read_in(key, call)
    }

    fn is_read_in(&self, key: EntryKey, call: &Call) -> bool {
        let reader = self.entries.get(&key).and_then(|entry| entry.read_by);
        reader.zip(call.unit).is_some_and(|(reader, caller)| reader.process == caller.process)
    }

    /// These entries, and those that they may have been part of.
    pub(super) fn with_roots(&self, entries: EntrySet) -> EntrySet {
        if self.reach == 0 { entries } else { entries.reaching_back(self.reach) }
    }
}
