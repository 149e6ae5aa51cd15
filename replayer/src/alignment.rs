//! Which call of a proposal is which call of the cassette that it was made from. Pure.

use std::collections::HashMap;

use regress_cassettes::{Cassette, Exchange};

use crate::judge;

/// A call of the original, of the proposal, or of both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aligned<'a> {
    /// Its number: the index in the original; calls that it has not are numbered on after its last one.
    pub number: usize,
    /// As it was recorded.
    pub old: Option<&'a Exchange>,
    /// As it is proposed, with its index there.
    pub new: Option<(usize, &'a Exchange)>,
}

/// Set the calls of a proposal against those of the original, in the order of their numbers. A proposal keeps connection
/// and operation of the calls that it keeps; of several that are alike in these, those go together that have the same
/// time, else those that say the same, else the first ones.
pub(crate) fn align<'a>(original: &'a Cassette, proposed: &'a Cassette) -> Vec<Aligned<'a>> {
    let mut olds: HashMap<_, Vec<usize>> = HashMap::new();
    for (number, exchange) in original.downstream.iter().enumerate() {
        olds.entry(identity(exchange)).or_default().push(number);
    }
    let mut news: HashMap<_, Vec<usize>> = HashMap::new();
    for (index, exchange) in proposed.downstream.iter().enumerate() {
        news.entry(identity(exchange)).or_default().push(index);
    }
    let mut counterparts: Vec<Option<usize>> = vec![None; original.downstream.len()];
    let mut is_novel = vec![true; proposed.downstream.len()];
    for (identity, mut olds) in olds {
        let Some(mut news) = news.remove(&identity) else { continue };
        let (old, new) = (&original.downstream, &proposed.downstream);
        let tests: [&dyn Fn(usize, usize) -> bool; 3] = [
            &|number, index| old[number].at == new[index].at,
            &|number, index| old[number].content == new[index].content,
            &|_, _| true,
        ];
        for goes_with in tests {
            olds.retain(|number| {
                let Some(found) = news.iter().position(|index| goes_with(*number, *index)) else { return true };
                let index = news.remove(found);
                (counterparts[*number], is_novel[index]) = (Some(index), false);
                false
            });
        }
    }
    let new = |index: usize| (index, &proposed.downstream[index]);
    let kept = original.downstream.iter().zip(counterparts).enumerate().map(|(number, (old, counterpart))| Aligned {
        number,
        old: Some(old),
        new: counterpart.map(new),
    });
    let first = original.downstream.len();
    let novel = (0..proposed.downstream.len()).filter(|index| is_novel[*index]).map(new);
    kept.chain(novel.enumerate().map(|(count, new)| Aligned { number: first + count, old: None, new: Some(new) }))
        .collect()
}

/// The numbers of the calls that both have, in the order of the proposal.
pub(crate) fn kept(places: &[Aligned<'_>]) -> Vec<usize> {
    let both = places.iter().filter(|place| place.old.is_some());
    let mut both: Vec<(usize, usize)> = both.filter_map(|place| Some((place.new?.0, place.number))).collect();
    both.sort_unstable();
    both.into_iter().map(|(_, number)| number).collect()
}

fn identity(exchange: &Exchange) -> (u64, String, String) {
    (exchange.connection.id, judge::downstream(exchange), judge::operation(exchange))
}
