//! Which item of one list is which of another.
//!
//! Items that are equal stay together in the longest run of them that keeps its order; an equal item outside of it has
//! moved. What remains between two items of the run is set against each other, most alike first in order. The time is
//! bounded: n log n, plus [`MOST_TRIED`] comparisons a gap.

use std::collections::{HashMap, VecDeque};

/// What became of an item; indexes of the expected and of the actual list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The same.
    Kept(usize, usize),
    /// The same at another place.
    Moved(usize, usize),
    /// Another in its place.
    Replaced(usize, usize),
    /// Only expected.
    Removed(usize),
    /// Only actual.
    Added(usize),
}

/// How many pairs between two kept items are tried for how alike they are; beyond, items are paired in order.
const MOST_TRIED: usize = 1_024;

/// Aligns two lists, of which `expected` and `actual` are the identities: equal items have equal ones. `alike` says how
/// much an expected and an actual item have in common, 0 = nothing.
pub(super) fn align(expected: &[u64], actual: &[u64], alike: impl Fn(usize, usize) -> usize) -> Vec<Fate> {
    let head = expected.iter().zip(actual).take_while(|(a, b)| a == b).count();
    let (old, new) = (&expected[head..], &actual[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);

    let counterparts = counterparts(old, new);
    let run = longest_run(&counterparts);
    let mut is_counterpart = vec![false; new.len()];
    counterparts.iter().flatten().for_each(|at| is_counterpart[*at] = true);

    let mut fates: Vec<Fate> = (0..head).map(|index| Fate::Kept(index, index)).collect();
    let (mut next_old, mut next_new) = (0, 0);
    let ends = run.into_iter().map(|at| (at, counterparts[at].expect("the run is of counterparts")));
    for (end_old, end_new) in ends.chain([(old.len(), new.len())]) {
        let mut removed = Vec::new();
        for (at, counterpart) in counterparts.iter().enumerate().take(end_old).skip(next_old) {
            match counterpart {
                Some(to) => fates.push(Fate::Moved(head + at, head + to)),
                None => removed.push(head + at),
            }
        }
        let added: Vec<usize> = (next_new..end_new).filter(|at| !is_counterpart[*at]).map(|at| head + at).collect();
        gap(&removed, &added, &alike, &mut fates);
        if end_old < old.len() {
            fates.push(Fate::Kept(head + end_old, head + end_new));
        }
        (next_old, next_new) = (end_old + 1, end_new + 1);
    }
    let kept = (0..tail).map(|index| Fate::Kept(expected.len() - tail + index, actual.len() - tail + index));
    fates.extend(kept);
    fates
}

/// For each old item the new one that is equal; of several equal ones the first is the first, the second the second.
fn counterparts(old: &[u64], new: &[u64]) -> Vec<Option<usize>> {
    let mut places: HashMap<u64, VecDeque<usize>> = HashMap::new();
    for (at, identity) in new.iter().enumerate() {
        places.entry(*identity).or_default().push_back(at);
    }
    old.iter().map(|identity| places.get_mut(identity)?.pop_front()).collect()
}

/// The longest run of old items whose counterparts are in ascending order.
fn longest_run(counterparts: &[Option<usize>]) -> Vec<usize> {
    // The last items of the best runs of each length, by their counterparts; and what comes before each item.
    let mut last: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; counterparts.len()];
    for (at, to) in counterparts.iter().enumerate().filter_map(|(at, to)| Some((at, (*to)?))) {
        let length = last.partition_point(|other| counterparts[*other].is_some_and(|other| other < to));
        before[at] = length.checked_sub(1).map(|shorter| last[shorter]);
        if length == last.len() {
            last.push(at);
        } else {
            last[length] = at;
        }
    }
    let mut run: Vec<usize> = std::iter::successors(last.last().copied(), |at| before[*at]).collect();
    run.reverse();
    run
}

/// Pairs what is left between two kept items, in order.
fn gap(old: &[usize], new: &[usize], alike: &impl Fn(usize, usize) -> usize, fates: &mut Vec<Fate>) {
    let paired = if old.len() == new.len() || old.len() * new.len() > MOST_TRIED {
        (0..old.len().min(new.len())).map(|index| (index, index)).collect()
    } else {
        most_alike(old, new, alike)
    };
    let (mut next_old, mut next_new) = (0, 0);
    for (end_old, end_new) in paired.into_iter().chain([(old.len(), new.len())]) {
        fates.extend(old[next_old..end_old].iter().map(|at| Fate::Removed(*at)));
        fates.extend(new[next_new..end_new].iter().map(|at| Fate::Added(*at)));
        if end_old < old.len() {
            fates.push(Fate::Replaced(old[end_old], new[end_new]));
        }
        (next_old, next_new) = (end_old + 1, end_new + 1);
    }
}

/// The pairs in order that have most in common, as many as there can be, the earliest of equals.
fn most_alike(old: &[usize], new: &[usize], alike: &impl Fn(usize, usize) -> usize) -> Vec<(usize, usize)> {
    // best[i][j]: the most that old[i..] and new[j..] have in common. One is for being paired at all.
    let width = new.len() + 1;
    let mut best = vec![0; (old.len() + 1) * width];
    let mut common = vec![0; old.len() * new.len()];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let both = 1 + alike(old[i], new[j]);
            common[i * new.len() + j] = both;
            let paired = both + best[(i + 1) * width + j + 1];
            best[i * width + j] = paired.max(best[(i + 1) * width + j]).max(best[i * width + j + 1]);
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < old.len() && j < new.len() {
        let here = best[i * width + j];
        if here == common[i * new.len() + j] + best[(i + 1) * width + j + 1] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if here == best[(i + 1) * width + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fate::*, *};

    fn changes(expected: &[u64], actual: &[u64]) -> Vec<Fate> {
        let all = align(expected, actual, |_, _| 0);
        all.into_iter().filter(|fate| !matches!(fate, Kept(..))).collect()
    }

    #[test]
    fn one_edit_is_one_change() {
        assert_eq!(changes(&[1, 2, 3], &[1, 2, 3]), []);
        assert_eq!(changes(&[1, 2, 3], &[1, 9, 2, 3]), [Added(1)]);
        assert_eq!(changes(&[1, 2, 3], &[1, 3]), [Removed(1)]);
        assert_eq!(changes(&[1, 2, 3], &[1, 9, 3]), [Replaced(1, 1)]);
        assert_eq!(changes(&[1, 2, 3, 4], &[2, 3, 4, 1]), [Moved(0, 3)]);
        assert_eq!(changes(&[1, 2, 3, 4], &[4, 1, 2, 3]), [Moved(3, 0)]);
        assert_eq!(changes(&[1, 1, 1], &[1, 1]), [Removed(2)]);
        assert_eq!(changes(&[], &[1]), [Added(0)]);
    }

    #[test]
    fn edits_apart_do_not_cascade() {
        assert_eq!(changes(&[1, 2, 3, 4, 5], &[9, 1, 2, 8, 4, 5, 7]), [Added(0), Replaced(2, 3), Added(6)]);
    }

    #[test]
    fn in_a_gap_the_most_alike_are_set_against_each_other() {
        let fates = align(&[1, 2], &[7, 8, 9], |i, j| if (i, j) == (0, 1) || (i, j) == (1, 2) { 5 } else { 0 });
        assert_eq!(fates, [Added(0), Replaced(0, 1), Replaced(1, 2)]);
        assert_eq!(align(&[1, 2], &[7, 8, 9], |_, _| 0), [Replaced(0, 0), Replaced(1, 1), Added(2)]);
    }

    proptest! {
        #[test]
        fn every_item_has_one_fate(
            expected in prop::collection::vec(0_u64..6, 0..20), actual in prop::collection::vec(0_u64..6, 0..20),
        ) {
            let (mut old, mut new) = (Vec::new(), Vec::new());
            for fate in align(&expected, &actual, |i, j| i ^ j) {
                match fate {
                    Kept(i, j) | Moved(i, j) => {
                        prop_assert_eq!(expected[i], actual[j]);
                        old.push(i);
                        new.push(j);
                    }
                    Replaced(i, j) => {
                        prop_assert_ne!(expected[i], actual[j]);
                        old.push(i);
                        new.push(j);
                    }
                    Removed(i) => old.push(i),
                    Added(j) => new.push(j),
                }
            }
            old.sort_unstable();
            new.sort_unstable();
            prop_assert_eq!(old, (0..expected.len()).collect::<Vec<_>>());
            prop_assert_eq!(new, (0..actual.len()).collect::<Vec<_>>());
            prop_assert_eq!(changes(&expected, &actual).is_empty(), expected == actual);
        }
    }
}
