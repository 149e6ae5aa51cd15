//! From what was gathered to proposals, and to what no rule should cover.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use regress_cassettes::{CassetteId, diff::Difference};

use super::{
    Change, Evidence, Learned, Proposal, Run, Unruled,
    allow::{self, Allowance, Allowed, Observed},
    arrays::{Reordered, take_reordered},
    gather::{Gathered, Series, Spot, gather},
    identity::{Candidates, identities},
    place::Place,
    value::Value,
};

/// How many values are shown as examples.
const EXAMPLES: usize = 4;

/// The most bytes of an example.
const EXAMPLE: usize = 80;

/// What varies in one entry and does not in another.
const MIXED: &str = "varies in some entries and is the same other value in others";
const MIXED_HINT: &str =
    "repeat with more --runs, or write a rule by hand: one that covers both would hide the steady change";

/// What varies inside of items that come in another order.
const HIDDEN: &str = "items come in another order and differ in more than their place";
const HIDDEN_HINT: &str = "run noise again once the rule for their order is accepted: it shows what varies inside them";

/// What was seen in the only run that could judge its entry.
const ONCE: &str = "differs in the only run that could judge the entry";
const ONCE_HINT: &str = "find out why the other runs could not, and repeat: one run cannot tell what varies";

/// One spot with what was seen at it.
type Sighting<'a> = (&'a Spot, &'a Series);

/// Learn what varies from several replays of the build that was recorded.
pub fn learn(runs: &[Run]) -> Learned {
    let mut gathered = gather(runs);
    let arrays = take_reordered(&mut gathered);
    let mut learned = Learned {
        runs: runs.len(),
        entries: gathered.entries.values().filter(|entry| !entry.judged.is_empty()).count(),
        ..Learned::default()
    };
    for entry in gathered.entries.values() {
        if let Some(doubt) = &entry.doubt {
            learned.unjudged.push((entry.line.clone(), doubt.clone()));
        }
    }
    learned.unjudged.extend(aside(runs));
    let mut families: BTreeMap<Place, Vec<Sighting>> = BTreeMap::new();
    for (spot, series) in &gathered.spots {
        families.entry(spot.place.family()).or_default().push((spot, series));
    }
    let drawn = identities(candidates(&families, &arrays, runs), &gathered.entries);
    for (family, sightings) in &families {
        let (once, several): (Vec<Sighting>, Vec<Sighting>) = sightings.iter().partition(|(_, series)| series.of < 2);
        if !once.is_empty() {
            learned.unruled.push(unruled(family, &once, ONCE, ONCE_HINT, runs.len()));
        }
        let (reordered, others): (Vec<Sighting>, Vec<Sighting>) =
            several.iter().partition(|(spot, _)| arrays.contains_key(spot));
        of_arrays(&reordered, &arrays, &mut learned);
        of_family(family, &others, runs, &drawn, &mut learned);
    }
    happenings(&gathered, &mut learned);
    learned.proposals.sort_by(|a, b| a.place.cmp(&b.place));
    learned
}

/// What no entry's verdict shows: calls that nobody recorded at start-up, and cassettes that cannot be read.
fn aside(runs: &[Run]) -> BTreeSet<(String, String)> {
    let startup = runs.iter().flat_map(|run| &run.report.startup);
    let startup =
        startup.map(|call| ("start-up".to_owned(), format!("{} {} was not recorded", call.downstream, call.request)));
    let unreadable = runs.iter().flat_map(|run| &run.report.unreadable);
    startup.chain(unreadable.map(|file| (file.file.display().to_string(), file.why.clone()))).collect()
}

/// The families of places at which values may be drawn anew: each varied wherever it was seen. Times are told as times.
fn candidates<'a>(
    families: &BTreeMap<Place, Vec<Sighting<'a>>>,
    arrays: &BTreeMap<Spot, Reordered>,
    runs: &[Run],
) -> Candidates<'a> {
    let mut candidates = Candidates::new();
    for (family, sightings) in families.iter().filter(|(family, _)| !family.is_whole() && !family.is_order()) {
        let is_seen = |(spot, series): &&Sighting| series.of > 1 && !arrays.contains_key(spot);
        let varied: Vec<Sighting> = sightings.iter().filter(is_seen).copied().collect();
        let is_steady = varied.iter().any(|(_, series)| series.is_steady());
        if varied.is_empty() || is_steady {
            continue;
        }
        if !matches!(allow::narrowest(&observed(&varied, runs)).allowance, Allowance::Time(_)) {
            candidates.insert(family.clone(), varied);
        }
    }
    candidates
}

/// Learn from all sightings at places that are alike.
fn of_family(family: &Place, sightings: &[Sighting], runs: &[Run], drawn: &BTreeSet<Place>, learned: &mut Learned) {
    let (steady, varied): (Vec<Sighting>, Vec<Sighting>) = sightings.iter().partition(|(_, series)| series.is_steady());
    learned.changes.extend(changes(&steady));
    if varied.is_empty() {
        return;
    }
    if family.is_whole() {
        let hint = match family.path.as_str() {
            "response/status" => "find out what the status depends on: an outcome that varies cannot be judged",
            _ => "no rule for a whole body is proposed: write one by hand if it says nothing (docs/noise.md)",
        };
        learned.unruled.push(unruled(family, &varied, "varies from run to run", hint, runs.len()));
        return;
    }
    if steady.is_empty() {
        let allowed = match drawn.contains(family) {
            true => Allowed::generated(),
            false => allowed(family, &varied, runs),
        };
        let exact: BTreeSet<&Place> = varied.iter().map(|(spot, _)| &spot.place).collect();
        if exact.len() == 1 || !allowed.is_loose {
            let covering = Place::covering(exact.iter().copied()).unwrap_or_else(|| family.clone());
            // Items have no fixed place in their array.
            let place = Place { path: family.path.clone(), ..covering };
            learned.proposals.push(proposal(place, allowed, &varied, runs.len()));
            return;
        }
    }
    // What is the same wrong value in every run, or what tells entries apart, must not be covered by what varies beside it.
    let mut exact: BTreeMap<&Place, Vec<Sighting>> = BTreeMap::new();
    varied.iter().for_each(|sighting| exact.entry(&sighting.0.place).or_default().push(*sighting));
    for (place, varied) in exact {
        if steady.iter().any(|(spot, _)| spot.place == *place) {
            learned.unruled.push(unruled(place, &varied, MIXED, MIXED_HINT, runs.len()));
        } else {
            let allowed = allowed(family, &varied, runs);
            learned.proposals.push(proposal(place.clone(), allowed, &varied, runs.len()));
        }
    }
}

/// What may vary at a place, so that all that was seen there may.
fn allowed(family: &Place, varied: &[Sighting], runs: &[Run]) -> Allowed {
    if family.is_order() {
        return Allowed {
            allowance: Allowance::Unordered,
            what: "the order of calls".to_owned(),
            broad: None,
            is_loose: false,
        };
    }
    allow::narrowest(&observed(varied, runs))
}

/// Learn from arrays that come in another order.
fn of_arrays(sightings: &[Sighting], arrays: &BTreeMap<Spot, Reordered>, learned: &mut Learned) {
    let (steady, varied): (Vec<Sighting>, Vec<Sighting>) = sightings.iter().partition(|(_, series)| series.is_steady());
    learned.changes.extend(changes(&steady));
    // An order that is the same other one in every run must not be covered by one that varies beside it.
    let mut groups: BTreeMap<Option<&Place>, Vec<Sighting>> = BTreeMap::new();
    for sighting in varied {
        groups.entry((!steady.is_empty()).then_some(&sighting.0.place)).or_default().push(sighting);
    }
    for (place, varied) in groups {
        if let Some(place) = place.filter(|place| steady.iter().any(|(spot, _)| spot.place == **place)) {
            learned.unruled.push(unruled(place, &varied, MIXED, MIXED_HINT, learned.runs));
            continue;
        }
        let kinds: Vec<&Reordered> = varied.iter().filter_map(|(spot, _)| arrays.get(spot)).collect();
        let keys: BTreeSet<&Option<String>> = kinds.iter().map(|reordered| &reordered.key).collect();
        let (allowance, what) = match keys.first() {
            Some(Some(key)) if keys.len() == 1 => {
                (Allowance::Keyed(key.clone()), format!("the order of items, which differ in `{key}`"))
            }
            _ => (Allowance::Unordered, "the order of items".to_owned()),
        };
        if let Some((spot, _)) =
            varied.iter().find(|(spot, _)| arrays.get(spot).is_some_and(|reordered| reordered.hides))
        {
            learned.unruled.push(unruled(&spot.place, &varied, HIDDEN, HIDDEN_HINT, learned.runs));
        }
        if let Some(place) = Place::covering(varied.iter().map(|(spot, _)| &spot.place)) {
            let allowed = Allowed { allowance, what, broad: None, is_loose: false };
            learned.proposals.push(proposal(place, allowed, &varied, learned.runs));
        }
    }
}

/// The same other value in every run, told once for all entries that show it.
fn changes(steady: &[Sighting]) -> Vec<Change> {
    let mut told: Vec<(Change, BTreeSet<&CassetteId>)> = Vec::new();
    let mut known: HashMap<(&Place, &Difference), usize> = HashMap::new();
    for (spot, series) in steady {
        let Some(difference) = series.seen.values().next() else { continue };
        let index = *known.entry((&spot.place, difference)).or_insert_with(|| {
            let Difference { expected, actual, .. } = difference.clone();
            told.push((Change { at: spot.place.to_string(), expected, actual, entries: 0 }, BTreeSet::new()));
            told.len() - 1
        });
        told[index].1.insert(&spot.cassette);
    }
    told.into_iter().map(|(change, entries)| Change { entries: entries.len(), ..change }).collect()
}

fn observed(varied: &[Sighting], runs: &[Run]) -> Vec<Observed> {
    let one = |(spot, series): &Sighting| {
        let path = &spot.place.path;
        let seen = series.seen.iter();
        Observed {
            recorded_at: recorded_at(&spot.cassette),
            // A header that was there in some runs only was nothing in the recording, or in those.
            expected: Value::read(path, series.seen.values().next().and_then(|first| first.expected.as_deref())),
            actual: seen
                .map(|(run, difference)| {
                    (runs[*run].from, runs[*run].to, Value::read(path, difference.actual.as_deref()))
                })
                .collect(),
        }
    };
    varied.iter().map(one).collect()
}

/// The time that a recorder's id begins with.
fn recorded_at(id: &CassetteId) -> Option<Timestamp> {
    let (time, _) = id.0.rsplit_once('-')?;
    let civil = DateTime::strptime("%Y%m%dT%H%M%S%.fZ", time).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn proposal(place: Place, allowed: Allowed, varied: &[Sighting], of: usize) -> Proposal {
    let Allowed { allowance, what, broad, .. } = allowed;
    Proposal { place, allows: allowance, what, broad, evidence: evidence(varied, of) }
}

fn unruled(place: &Place, varied: &[Sighting], what: &str, hint: &str, of: usize) -> Unruled {
    Unruled { at: place.to_string(), what: what.to_owned(), hint: hint.to_owned(), evidence: evidence(varied, of) }
}

fn evidence(varied: &[Sighting], of: usize) -> Evidence {
    let runs: BTreeSet<usize> = varied.iter().flat_map(|(_, series)| series.seen.keys().copied()).collect();
    let entries: BTreeSet<&CassetteId> = varied.iter().map(|(spot, _)| &spot.cassette).collect();
    let mut examples: Vec<String> = Vec::new();
    let shown = |value: &Option<String>| match value {
        Some(value) if value.len() > EXAMPLE => format!("{}…", &value[..value.floor_char_boundary(EXAMPLE)]),
        Some(value) => value.clone(),
        None => "nothing".to_owned(),
    };
    for difference in varied.iter().flat_map(|(_, series)| series.seen.values()) {
        for value in [shown(&difference.expected), shown(&difference.actual)] {
            if examples.len() < EXAMPLES && !examples.contains(&value) {
                examples.push(value);
            }
        }
    }
    Evidence { runs: runs.len(), of, entries: entries.len(), examples }
}

/// What happened to entries and calls as a whole: steady is a change, the rest is told with what a person can do.
fn happenings(gathered: &Gathered, learned: &mut Learned) {
    for ((cassette, happening), runs) in &gathered.happenings {
        let Some(entry) = gathered.entries.get(cassette) else { continue };
        let first = runs.values().next().copied().unwrap_or_default();
        let is_steady =
            entry.judged.len() > 1 && runs.len() == entry.judged.len() && runs.values().all(|n| *n == first);
        let (at, expected, actual) = happening.words(&entry.line);
        if is_steady {
            let change = Change { at, expected, actual, entries: 1 };
            match learned.changes.iter_mut().find(|known| {
                (&known.at, &known.expected, &known.actual) == (&change.at, &change.expected, &change.actual)
            }) {
                Some(known) => known.entries += 1,
                None => learned.changes.push(change),
            }
            continue;
        }
        let evidence = Evidence {
            runs: runs.len(),
            of: learned.runs,
            entries: 1,
            examples: [expected, actual].into_iter().flatten().collect(),
        };
        let (what, hint) = happening.advice();
        learned.unruled.push(Unruled { at, what: what.to_owned(), hint: hint.to_owned(), evidence });
    }
}
