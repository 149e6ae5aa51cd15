//! What is known of the kinds of calls.

use std::collections::{HashMap, HashSet};

use super::{EntryKey, OperationHash, entry_set::EntrySet};

/// Kinds of calls that are told apart. A service whose paths hold ids has no end of kinds.
const MOST_OPERATIONS: usize = 16 << 10;

/// Which kinds of calls happen without an entry, and which entries relied on the opposite.
#[derive(Default)]
pub(super) struct Operations {
    /// Seen while no entry was open.
    loose: HashSet<OperationHash>,
    /// Too many kinds are loose to remember them: any may be.
    all_loose: bool,
    /// Entries that relied on a kind not being loose.
    relied: HashMap<OperationHash, EntrySet>,
    /// The same for all kinds that have no place of their own.
    relied_on_others: EntrySet,
}

impl Operations {
    /// Whether calls of this kind happen without an entry.
    pub(super) fn is_loose(&self, operation: OperationHash) -> bool {
        self.all_loose || self.loose.contains(&operation)
    }

    /// An entry was given a call because calls of this kind do not happen without one.
    pub(super) fn rely(&mut self, operation: OperationHash, entry: EntryKey) {
        if self.relied.len() < MOST_OPERATIONS || self.relied.contains_key(&operation) {
            self.relied.entry(operation).or_default().insert(entry);
        } else {
            self.relied_on_others.insert(entry);
        }
    }

    /// A call of this kind happened without an entry: gives the entries that relied on the opposite.
    pub(super) fn loosen(&mut self, operation: OperationHash) -> EntrySet {
        if self.is_loose(operation) {
            return EntrySet::default();
        }
        if self.loose.len() == MOST_OPERATIONS {
            self.all_loose = true;
            self.loose = HashSet::new();
            let mut all = std::mem::take(&mut self.relied_on_others);
            self.relied.drain().for_each(|(_, relied)| all.append(relied));
            return all;
        }
        self.loose.insert(operation);
        let mut taken = std::mem::take(&mut self.relied_on_others);
        taken.append(self.relied.remove(&operation).unwrap_or_default());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_its_own_entries_back() {
        let mut operations = Operations::default();
        operations.rely(1, EntryKey(10));
        operations.rely(2, EntryKey(20));
        assert_eq!(operations.loosen(1), EntrySet::from_iter([EntryKey(10)]));
        assert!(operations.loosen(1).is_empty() && operations.is_loose(1) && !operations.is_loose(2));
    }

    #[test]
    fn kinds_without_end_take_back_too_much_rather_than_too_little() {
        let mut operations = Operations::default();
        let kinds = 2 * MOST_OPERATIONS as u64;
        (0..kinds).for_each(|kind| operations.rely(kind, EntryKey(kind)));
        assert_eq!(operations.relied.len(), MOST_OPERATIONS);
        let taken = operations.loosen(kinds - 1);
        assert!(taken.contains(kinds - 1) && !taken.contains(5));
        let taken: Vec<EntrySet> = (kinds..2 * kinds).map(|kind| operations.loosen(kind)).collect();
        assert!(taken.iter().any(|set| set.contains(5)));
        assert!(operations.is_loose(3 * kinds) && operations.loose.is_empty() && operations.relied.is_empty());
    }
}
