//! Places at which one value is drawn anew: wherever an entry has the recorded one, the same new one stands.

use std::collections::{BTreeMap, BTreeSet};

use regress_cassettes::{CassetteId, diff::Difference};
use regress_mockserver::mock::{Bindings, Drawing};

use super::{
    allow::Allowance,
    gather::{Entry, Series, Spot},
    place::Place,
    value::Value,
};

/// What may be drawn anew, by families of places: where it varied.
pub(super) type Candidates<'a> = BTreeMap<Place, Vec<(&'a Spot, &'a Series)>>;

/// A value in one run of one entry.
struct Seen<'a> {
    family: &'a Place,
    spot: &'a Spot,
    recorded: Value,
    actual: Value,
    varied: bool,
}

/// The families whose values are drawn anew, as far as can be seen: whenever one varied, the recorded value stood elsewhere
/// in the entry as well, in a call or in the response, and had become the same there; and in each run of each entry a rule
/// for all of them lets pass what was seen. Of families that contradict each other none is.
pub(super) fn identities<'a>(mut candidates: Candidates<'a>, entries: &BTreeMap<CassetteId, Entry>) -> BTreeSet<Place> {
    loop {
        let dropped = disproved(&candidates, entries);
        if dropped.is_empty() {
            return candidates.into_keys().collect();
        }
        candidates.retain(|family, _| !dropped.contains(family));
    }
}

/// Those among the candidates that are none.
fn disproved(candidates: &Candidates<'_>, entries: &BTreeMap<CassetteId, Entry>) -> BTreeSet<Place> {
    let mut runs: BTreeMap<(&CassetteId, usize), Vec<Seen<'_>>> = BTreeMap::new();
    for (family, sightings) in candidates {
        for (spot, series) in sightings {
            let judged = entries.get(&spot.cassette).map_or(&[][..], |entry| &entry.judged);
            for run in judged {
                let seen = seen(family, spot, series, *run);
                runs.entry((&spot.cassette, *run)).or_default().extend(seen);
            }
        }
    }
    runs.values().flat_map(|seen| disproved_by(seen)).cloned().collect()
}

/// What stood at a spot in a run: where nothing differed, what was recorded.
fn seen<'a>(family: &'a Place, spot: &'a Spot, series: &Series, run: usize) -> Option<Seen<'a>> {
    let read = |shown: &Option<String>| Value::read(&spot.place.path, shown.as_deref());
    let recorded = read(&series.seen.values().next()?.expected);
    let difference: Option<&Difference> = series.seen.get(&run);
    let actual = difference.map_or_else(|| recorded.clone(), |difference| read(&difference.actual));
    Some(Seen { family, spot, recorded, actual, varied: difference.is_some() })
}

/// The families that one run of one entry disproves.
fn disproved_by<'a>(seen: &[Seen<'a>]) -> BTreeSet<&'a Place> {
    let bindings = Bindings::default();
    let drawing = Drawing::after(&bindings);
    let mut disproved = BTreeSet::new();
    for one in seen {
        let is_elsewhere = |other: &Seen<'_>| other.spot != one.spot && (other.key() == one.key());
        if one.varied && !seen.iter().any(is_elsewhere) {
            disproved.insert(one.family);
        }
        if one.recorded.scalar().is_none() || one.recorded.kind() != one.actual.kind() {
            disproved.insert(one.family);
            continue;
        }
        if !Allowance::Generated.lets_pass(&one.recorded, &one.actual, Some(&drawing)) {
            let (recorded, actual) = one.key();
            let is_of_it = |other: &&Seen<'_>| other.key().0 == recorded || other.key().1 == actual;
            disproved.extend(seen.iter().filter(is_of_it).map(|other| other.family));
        }
    }
    disproved
}

impl Seen<'_> {
    /// Recorded and actual value, as rules see them: a number in a text is that number.
    fn key(&self) -> (Option<&str>, Option<&str>) {
        (self.recorded.scalar(), self.actual.scalar())
    }
}
