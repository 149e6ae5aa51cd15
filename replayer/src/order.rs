//! In which order the writes of an entry were made. Pure.
//!
//! Calls run side by side in most services, so that an order means something only where the recording shows it: of calls
//! that change something, each made while no other call of the entry was under way, and before its answer. A call that
//! ran beside another may have come first by chance, and so may whatever else was done by those who made it. Calls that
//! say the same have no order between them: which of them was left out or made once more cannot be told.

use std::collections::{HashMap, HashSet, VecDeque};

use regress_cassettes::{
    Cassette, Exchange,
    diff::{Difference, Kind, Noise, canonical_request},
};
use regress_protocols::Request;
use similar::{Algorithm, DiffOp};

use crate::{judge, rules::EntryRules};

/// The field of a call that its place among the others is told as: `downstream/1/request/order`.
pub(crate) const FIELD: &str = "order";

/// A recorded write that was made, among the others in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its number.
    pub number: usize,
    /// That it stands at another place than recorded; it may be noise. `None` = it does not.
    pub moved: Option<Difference>,
}

impl Made {
    /// Whether it stands at another place, and no rule lets that pass.
    pub(crate) fn counts(&self) -> bool {
        self.moved.as_ref().is_some_and(Difference::counts)
    }
}

/// Whether a call may change something where it goes, as far as its protocol says.
fn is_write(exchange: &Exchange) -> bool {
    exchange.request().is_some_and(Request::is_write)
}

/// The writes of an entry in the order in which they were `made`: the numbers of the recorded calls that the calls of a
/// replay stand for, or say the same as. As few as can be have moved. Those whose order a rule says not to matter are set
/// against what has not, and each of them that does not fit in is noise.
pub(crate) fn of(cassette: &Cassette, made: &[usize], rules: &EntryRules<'_>) -> Vec<Made> {
    let recorded = one_by_one(cassette);
    let calls: Vec<&Exchange> = recorded.iter().map(|number| &cassette.downstream[*number]).collect();
    let ranks: HashMap<usize, usize> = recorded.iter().enumerate().map(|(rank, number)| (*number, rank)).collect();
    let made: Vec<usize> = made.iter().filter_map(|number| ranks.get(number).copied()).collect();
    if made.is_sorted_by(|a, b| a < b) {
        return made.into_iter().map(|rank| Made { number: recorded[rank], moved: None }).collect();
    }
    let said = Said::of(&calls, rules);
    let (free, judged): (Vec<usize>, Vec<usize>) = (0..calls.len()).partition(|rank| said.free[*rank].is_some());
    let mut places = said.places(&judged, &made);
    for rank in free {
        places.extend(said.beside(&places, rank, &made));
    }
    places.sort_by_key(|place| place.at);

    let name = |rank: usize| {
        let call = calls[rank];
        format!("downstream/{} ({} {})", recorded[rank], judge::downstream(call), judge::operation(call))
    };
    let moved = |rank: usize, past: usize| {
        let [before, after] = ["before", "after"].map(|word| Some(format!("{word} {}", name(past))));
        let (expected, actual) = if rank < past { (before, after) } else { (after, before) };
        let noise = said.free[rank].map(Noise::Rule);
        Difference { path: FIELD.to_owned(), kind: Kind::Moved, expected, actual, noise }
    };
    let one =
        |place: Place| Made { number: recorded[place.rank], moved: place.past.map(|past| moved(place.rank, past)) };
    places.into_iter().map(one).collect()
}

/// Give the calls of `order` (numbers in `downstream`) that `takes` says yes to the times that they would have had in that
/// order, and sort all calls by time. What lies between the old place of a call and its new one makes room, as a whole.
pub(crate) fn arrange(downstream: &mut [Exchange], order: &[Made], takes: impl Fn(&Made) -> bool) {
    let takes = |made: &Made| made.moved.is_some() && takes(made);
    if !order.iter().any(takes) {
        return;
    }
    let mut before: Option<usize> = None;
    for (place, made) in order.iter().enumerate() {
        if takes(made) {
            let next = order[place..].iter().find(|other| other.moved.is_none());
            let gap = before.map(|number| end(&downstream[number]));
            if let Some(gap) = gap.or_else(|| next.map(|next| downstream[next.number].at.saturating_sub(1))) {
                put(downstream, made.number, gap);
            }
        }
        if takes(made) || made.moved.is_none() {
            before = Some(made.number);
        }
    }
    downstream.sort_by_key(|call| call.at);
}

/// Move a call, beside which no other was made, to a moment at which none was under way.
fn put(downstream: &mut [Exchange], number: usize, moment: i64) {
    let (from, until) = (downstream[number].at, end(&downstream[number]));
    let room = until.saturating_sub(from).saturating_add(1);
    if moment < from {
        let later = downstream.iter_mut().filter(|call| moment < call.at && call.at < from);
        let mut first = from;
        for call in later {
            first = first.min(call.at);
            call.at = call.at.saturating_add(room);
        }
        downstream[number].at = first;
    } else {
        let earlier = downstream.iter_mut().filter(|call| from < call.at && call.at <= moment);
        earlier.for_each(|call| call.at = call.at.saturating_sub(room));
        downstream[number].at = moment.saturating_sub(room - 1);
    }
}

/// The numbers of the writes that were made one by one, in the order in which they were.
fn one_by_one(cassette: &Cassette) -> Vec<usize> {
    let calls = &cassette.downstream;
    let mut by_time: Vec<usize> = (0..calls.len()).collect();
    by_time.sort_by_key(|number| calls[*number].at);
    let mut alone = Vec::new();
    let mut until = i64::MIN;
    for (place, number) in by_time.iter().enumerate() {
        let call = &calls[*number];
        let end = end(call);
        let next = by_time.get(place + 1).map_or(i64::MAX, |next| calls[*next].at);
        let is_late = call.cause.as_ref().is_some_and(|cause| cause.after_response);
        if until < call.at && end < next && !is_late && is_write(call) {
            alone.push(*number);
        }
        until = until.max(end);
    }
    alone
}

/// When a call was over, from the start of the entry; never, where that is not known: it had no whole response.
fn end(call: &Exchange) -> i64 {
    let took = call.took.map_or(i64::MAX, |took| i64::try_from(took).unwrap_or(i64::MAX));
    call.at.saturating_add(took)
}

/// What the writes of an entry say. They are known by their ranks: their places in the recorded order.
struct Said {
    /// Equal for those that say the same.
    words: Vec<usize>,
    /// The rule by which the order of one does not matter.
    free: Vec<Option<usize>>,
}

/// Where a recorded write was made.
#[derive(Clone, Copy, Debug)]
struct Place {
    rank: usize,
    /// Its place among those that were made.
    at: usize,
    /// One that has not moved, and on the other side of which this one was recorded. `None` = this one has not moved.
    past: Option<usize>,
}

impl Said {
    fn of(calls: &[&Exchange], rules: &EntryRules<'_>) -> Said {
        let mut known = HashMap::new();
        let mut said = Said { words: Vec::new(), free: Vec::new() };
        for call in calls {
            let name = judge::downstream(call);
            let rules = call.request().map(|request| rules.call(&name, request).rules).unwrap_or_default();
            said.free.push(rules.of_order());
            let request = call.request().map(|request| canonical_request(request, &rules));
            let to = (name, call.connection.peer.inet().map(|peer| peer.port()), call.connection.tls);
            let next = known.len();
            said.words.push(*known.entry((to, request)).or_insert(next));
        }
        said
    }

    /// Where those of `recorded` that were made were: in the longest run that keeps its order, or out of it.
    fn places(&self, recorded: &[usize], made: &[usize]) -> Vec<Place> {
        let word = |rank: &usize| self.words[*rank];
        let wanted: HashSet<usize> = recorded.iter().map(word).collect();
        let mut new: Vec<(usize, usize)> = made.iter().map(word).enumerate().collect();
        new.retain(|(_, word)| wanted.contains(word));
        let mut old: Vec<(usize, usize)> = recorded.iter().map(|rank| (*rank, word(rank))).collect();
        let came: HashSet<usize> = new.iter().map(|(_, word)| *word).collect();
        old.retain(|(_, word)| came.contains(word));

        let [old_words, new_words] = [&old, &new].map(|all| all.iter().map(|(_, word)| *word).collect::<Vec<_>>());
        let mut run: Vec<(usize, usize)> = Vec::new();
        let mut left: HashMap<usize, VecDeque<usize>> = HashMap::new();
        let mut others = Vec::new();
        for op in similar::capture_diff_slices(Algorithm::Myers, &old_words, &new_words) {
            if let DiffOp::Equal { old_index, new_index, len } = op {
                run.extend((0..len).map(|step| (old[old_index + step].0, new[new_index + step].0)));
                continue;
            }
            let (_, olds, news) = op.as_tag_tuple();
            old[olds].iter().for_each(|(rank, word)| left.entry(*word).or_default().push_back(*rank));
            others.extend_from_slice(&new[news]);
        }
        // Those for which nothing is left were made more often than recorded.
        let moved = others.into_iter().filter_map(|(at, said)| {
            let left = left.get_mut(&said)?;
            let own = left.iter().position(|rank| *rank == made[at]).unwrap_or(0);
            let rank = left.remove(own)?;
            let (before, after) = run.split_at(run.partition_point(|(_, other)| *other < at));
            let passed = before.iter().rev().take_while(|(other, _)| *other > rank);
            let mut passed = passed.chain(after.iter().take_while(|(other, _)| *other < rank));
            // There is one, or the run would be longer with this one.
            let (past, _) = passed.find(|(other, _)| word(other) != said)?;
            Some(Place { rank, at, past: Some(*past) })
        });
        let moved: Vec<Place> = moved.collect();
        run.into_iter().map(|(rank, at)| Place { rank, at, past: None }).chain(moved).collect()
    }

    /// Where the one with this rank was made, beside those of `places` that have not moved.
    fn beside(&self, places: &[Place], rank: usize, made: &[usize]) -> Option<Place> {
        let mut ranks: Vec<usize> =
            places.iter().filter(|place| place.past.is_none()).map(|place| place.rank).chain([rank]).collect();
        ranks.sort_unstable();
        let found = self.places(&ranks, made);
        let own = *found.iter().find(|place| place.rank == rank)?;
        // Where it is another one that has moved, that is on the other side of this one.
        let past = found.iter().find(|place| place.past.is_some());
        let past = past.and_then(|place| if place.rank == rank { place.past } else { Some(place.rank) });
        Some(Place { past, ..own })
    }
}

#[cfg(test)]
mod tests;
