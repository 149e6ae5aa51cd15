//! Which entry brought a clue into the service, as far as it was one.

use std::collections::{HashMap, VecDeque};

use regress_protocols::Mark;

use super::{EntryKey, entry_set::EntrySet};

/// A hash of an id or of a value that stands in a message.
pub(crate) type Clue = u64;

/// Clues that are told apart; beyond them those that were not seen for longest are forgotten.
const MOST: usize = 64 << 10;

/// How exactly the entries are remembered that relied on one clue.
const MOST_RANGES: usize = 8;

/// Where clues have been seen. One that is forgotten belongs to an entry that is over.
#[derive(Default)]
pub(super) struct Sightings {
    seen: HashMap<Clue, Seen>,
    oldest: VecDeque<Clue>,
}

struct Seen {
    by: By,
    /// Seen again since it was looked at last whether to forget it.
    again: bool,
    /// Entries for which something was ruled because the clue was of one entry alone.
    relied: EntrySet,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// This one alone.
    Entry(EntryKey),
    /// A call that began then, and no entry before it: the service made it, or an entry that is still being read brought it.
    Call(Mark),
    /// More than one, or it says nothing for another reason.
    Several,
}

impl Sightings {
    /// An entry that began then brought it.
    pub fn of_entry(&mut self, clue: Clue, entry: EntryKey, began: Mark, is_live: impl Fn(EntryKey) -> bool) {
        let seen = self.see(clue, By::Entry(entry), is_live);
        seen.by = match seen.by {
            By::Entry(before) if before == entry => By::Entry(entry),
            By::Call(call) if began <= call => By::Entry(entry),
            By::Entry(_) | By::Call(_) | By::Several => By::Several,
        };
    }

    /// A call that began then carries it.
    pub fn of_call(&mut self, clue: Clue, began: Mark, is_live: impl Fn(EntryKey) -> bool) {
        let seen = self.see(clue, By::Call(began), is_live);
        if let By::Call(before) = seen.by {
            seen.by = By::Call(before.min(began));
        }
    }

    /// It tells no entry from another.
    pub fn tells_nothing(&mut self, clue: Clue, is_live: impl Fn(EntryKey) -> bool) {
        self.see(clue, By::Several, is_live).by = By::Several;
    }

    /// The one entry that brought it.
    pub fn entry(&self, clue: Clue) -> Option<EntryKey> {
        match self.seen.get(&clue)?.by {
            By::Entry(entry) => Some(entry),
            By::Call(_) | By::Several => None,
        }
    }

    /// Something was ruled for these because the clue is of one entry alone.
    pub fn rely(&mut self, clue: Clue, entries: impl IntoIterator<Item = EntryKey>) {
        if let Some(seen) = self.seen.get_mut(&clue) {
            seen.relied.extend(entries);
            seen.relied.blur(MOST_RANGES);
        }
    }

    /// It is not where it says: gives the entries that relied on it.
    pub fn refute(&mut self, clue: Clue) -> EntrySet {
        let Some(seen) = self.seen.get_mut(&clue) else { return EntrySet::default() };
        seen.by = By::Several;
        std::mem::take(&mut seen.relied)
    }

    fn see(&mut self, clue: Clue, by: By, is_live: impl Fn(EntryKey) -> bool) -> &mut Seen {
        if !self.seen.contains_key(&clue) {
            self.forget(is_live);
            self.oldest.push_back(clue);
        }
        let seen = self.seen.entry(clue);
        seen.and_modify(|seen| seen.again = true).or_insert_with(|| Seen {
            by,
            again: false,
            relied: EntrySet::default(),
        })
    }

    /// Those of entries that are not over are kept, and those that come again: there are not many of them, so that of two
    /// that are looked at one goes, sooner or later.
    fn forget(&mut self, is_live: impl Fn(EntryKey) -> bool) {
        for _ in 0..2 {
            if self.oldest.len() < MOST {
                return;
            }
            let Some(clue) = self.oldest.pop_front() else { return };
            let Some(seen) = self.seen.get_mut(&clue) else { continue };
            if std::mem::take(&mut seen.again) || matches!(seen.by, By::Entry(entry) if is_live(entry)) {
                self.oldest.push_back(clue);
            } else {
                self.seen.remove(&clue);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: EntryKey = EntryKey(1);
    const B: EntryKey = EntryKey(2);

    fn over(_: EntryKey) -> bool {
        false
    }

    #[test]
    fn what_two_entries_bring_is_of_none_for_ever() {
        let mut sightings = Sightings::default();
        sightings.of_entry(7, A, 10, over);
        sightings.of_entry(7, A, 10, over);
        assert_eq!(sightings.entry(7), Some(A));
        sightings.of_entry(7, B, 20, over);
        sightings.of_entry(7, A, 10, over);
        assert_eq!(sightings.entry(7), None);
        assert_eq!(sightings.entry(8), None);
    }

    #[test]
    fn what_the_service_made_itself_is_of_no_entry() {
        let mut sightings = Sightings::default();
        sightings.of_call(7, 10, over);
        sightings.of_entry(7, A, 20, over);
        assert_eq!(sightings.entry(7), None, "a call had it before the entry began");
        sightings.of_call(8, 30, over);
        sightings.of_call(8, 40, over);
        sightings.of_entry(8, B, 25, over);
        assert_eq!(sightings.entry(8), Some(B), "the entry was read later than it began");
    }

    #[test]
    fn refuted_clues_give_back_what_relied_on_them_once() {
        let mut sightings = Sightings::default();
        sightings.of_entry(7, A, 10, over);
        sightings.rely(7, [A, B]);
        assert_eq!(sightings.refute(7), EntrySet::from_iter([A, B]));
        assert!(sightings.refute(7).is_empty() && sightings.entry(7).is_none());
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_open_and_what_comes_again() {
        let mut sightings = Sightings::default();
        let is_live = |entry: EntryKey| entry == A;
        sightings.of_entry(0, A, 1, is_live);
        for number in 2..10 * MOST as u64 {
            sightings.of_entry(number, EntryKey(number), number, is_live);
            if number % 1000 == 0 {
                sightings.of_entry(1, EntryKey(number), number, is_live);
            }
        }
        assert!(sightings.seen.len() <= MOST + 2, "{}", sightings.seen.len());
        assert_eq!(sightings.seen.len(), sightings.oldest.len());
        assert_eq!((sightings.entry(0), sightings.entry(1), sightings.entry(2)), (Some(A), None, None));
        assert_eq!(sightings.entry(10 * MOST as u64 - 1), Some(EntryKey(10 * MOST as u64 - 1)));
    }
}
