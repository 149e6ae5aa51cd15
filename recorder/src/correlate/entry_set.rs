//! Sets of entries whose size does not grow with the recording.

use std::collections::BTreeMap;

use super::EntryKey;

/// Ranges that are kept apart; beyond them, those that lie close together become one.
const MOST_RANGES: usize = 256;

/// A set of entries, as ranges of their numbers. Where it would take too many ranges it also holds entries between those
/// that were put in: never fewer, sometimes more. It serves to take certainty back, where too much is no lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntrySet {
    /// First number to last.
    ranges: BTreeMap<u64, u64>,
    /// Numbers that may lie between two entries of one range.
    grain: u64,
}

impl EntrySet {
    /// Put an entry in.
    pub(crate) fn insert(&mut self, entry: EntryKey) {
        let number = entry.0;
        let before = self.ranges.range(..=number).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| number <= last) {
            return;
        }
        let after = self.ranges.range(number..).next().map(|(&first, &last)| (first, last));
        let joins = |gap: u64| gap <= self.grain + 1;
        let first = before.filter(|(_, last)| joins(number - last)).map_or(number, |(first, _)| first);
        let last = match after.filter(|(first, _)| joins(first - number)) {
            Some((first, last)) => {
                self.ranges.remove(&first);
                last
            }
            None => number,
        };
        self.ranges.insert(first, last);
        self.blur(MOST_RANGES);
    }

    /// Make it small: so many ranges, which may hold more entries than before.
    pub(crate) fn blur(&mut self, ranges: usize) {
        while self.ranges.len() > ranges.max(1) {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.grain = (self.grain * 2).max(1);
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        for (&first, &last) in &self.ranges {
            match joined.last_mut() {
                Some((_, end)) if first - *end <= self.grain + 1 => *end = last,
                _ => joined.push((first, last)),
            }
        }
        self.ranges = joined.into_iter().collect();
    }

    /// Put all entries of another set in.
    pub(crate) fn append(&mut self, other: EntrySet) {
        self.grain = self.grain.max(other.grain);
        for (first, last) in other.ranges {
            match self.ranges.get_mut(&first) {
                Some(end) => *end = last.max(*end),
                None => {
                    self.ranges.insert(first, last);
                }
            }
        }
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (&first, &last) in &self.ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(self.grain + 1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        self.ranges = joined.into_iter().collect();
        self.blur(MOST_RANGES);
    }

    /// The same with all entries that come up to this many before one of them.
    pub(crate) fn reaching_back(self, reach: u64) -> EntrySet {
        let mut wider = EntrySet { grain: self.grain, ..EntrySet::default() };
        let ranges = self.ranges.into_iter().map(|(first, last)| (first.saturating_sub(reach), last)).collect();
        wider.append(EntrySet { ranges, grain: self.grain });
        wider
    }

    /// Whether an entry is in it, or cannot be told from one that is.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lowest number in it.
    pub(crate) fn first(&self) -> Option<u64> {
        self.ranges.keys().next().copied()
    }
}

impl Extend<EntryKey> for EntrySet {
    fn extend<T: IntoIterator<Item = EntryKey>>(&mut self, entries: T) {
        entries.into_iter().for_each(|entry| self.insert(entry));
    }
}

impl FromIterator<EntryKey> for EntrySet {
    fn from_iter<T: IntoIterator<Item = EntryKey>>(entries: T) -> EntrySet {
        let mut set = EntrySet::default();
        set.extend(entries);
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(numbers: impl IntoIterator<Item = u64>) -> EntrySet {
        numbers.into_iter().map(EntryKey).collect()
    }

    #[test]
    fn a_million_entries_are_one_range() {
        let set = set((0..1_000_000).rev());
        assert_eq!((set.ranges.len(), set.grain), (1, 0));
    }

    #[test]
    fn scattered_entries_stay_bounded() {
        let set = set((0..100_000).map(|n| n * 97));
        assert!(set.ranges.len() <= MOST_RANGES);
        assert!((0..100_000).all(|n| set.contains(n * 97)));
    }

    proptest! {
        #[test]
        fn few_entries_are_exact(numbers in prop::collection::btree_set(0u64..500, 0..200), more in prop::collection::btree_set(0u64..500, 0..50)) {
            let mut all = set(numbers.iter().copied());
            all.append(set(more.iter().copied()));
            for number in 0..500 {
                prop_assert_eq!(all.contains(number), numbers.contains(&number) || more.contains(&number));
            }
            prop_assert_eq!(all.first(), numbers.union(&more).next().copied());
            prop_assert_eq!(all.is_empty(), numbers.is_empty() && more.is_empty());
        }

        #[test]
        fn what_was_put_in_stays_in(numbers in prop::collection::vec(any::<u32>(), 0..2000)) {
            let set = set(numbers.iter().map(|number| u64::from(*number)));
            prop_assert!(set.ranges.len() <= MOST_RANGES);
            prop_assert!(numbers.iter().all(|number| set.contains(u64::from(*number))));
            let mut small = set;
            small.blur(8);
            prop_assert!(small.ranges.len() <= 8 && numbers.iter().all(|number| small.contains(u64::from(*number))));
        }
    }

    #[test]
    fn reaching_back_takes_in_what_comes_before() {
        let set = EntrySet::from_iter([3, 50, 52, 100].map(EntryKey)).reaching_back(5);
        let within: Vec<u64> = (0..120).filter(|number| set.contains(*number)).collect();
        let expected: Vec<u64> = (0..=3).chain(45..=52).chain(95..=100).collect();
        assert_eq!(within, expected);
    }
}
