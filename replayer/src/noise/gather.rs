//! What several replays of one build said, sorted by place.

use std::collections::BTreeMap;

use regress_cassettes::{CassetteId, diff::Difference};

use super::{Run, place::Place};
use crate::outcome::{CallChange, CallFinding, Finding, Outcome, Verdict};

/// The place of one difference in one entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub cassette: CassetteId,
    /// The number of the recorded call; `None` in the response.
    pub call: Option<usize>,
    pub place: Place,
    /// Which of the differences at this path: a header may be there several times.
    pub repeat: usize,
}

/// What was seen at one spot, run by run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    /// The run's index, and what differed in it. Runs in which nothing did are not there.
    pub seen: BTreeMap<usize, Difference>,
    /// In how many runs it could have been seen.
    pub of: usize,
}

impl Series {
    /// Whether it was the same difference in every run. A single run cannot tell.
    pub(super) fn is_steady(&self) -> bool {
        let mut seen = self.seen.values();
        let first = seen.next();
        self.of > 1 && self.seen.len() >= self.of && seen.all(|difference| Some(difference) == first)
    }
}

/// Something that happened to an entry as a whole, or to a call as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    /// The entry's response came or ended otherwise.
    Ended { expected: String, actual: String },
    /// The service's process ended.
    Exited(String),
    /// A recorded call was not made.
    Omitted { downstream: String, request: String },
    /// A call was made that was not recorded.
    Novel { downstream: String, request: String },
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub spots: BTreeMap<Spot, Series>,
    /// By cassette: what happened, with the runs and how many times in each.
    pub happenings: BTreeMap<(CassetteId, Happening), BTreeMap<usize, usize>>,
    /// By cassette: its entry, the runs in which it was judged, and why it was not in others.
    pub entries: BTreeMap<CassetteId, Entry>,
}

/// One entry over all runs.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Method and target.
    pub line: String,
    /// The indices of the runs in which it was judged.
    pub judged: Vec<usize>,
    /// Why it was not, the first reason.
    pub doubt: Option<String>,
}

/// Sort what the runs said.
pub(super) fn gather(runs: &[Run]) -> Gathered {
    let mut gathered = Gathered::default();
    for (index, run) in runs.iter().enumerate() {
        for outcome in &run.report.outcomes {
            let entry = gathered.entries.entry(outcome.cassette.clone()).or_default();
            entry.line.clone_from(&outcome.entry);
            if outcome.verdict == Verdict::Inconclusive {
                entry.doubt = entry.doubt.take().or_else(|| outcome.doubts.first().cloned());
                continue;
            }
            entry.judged.push(index);
            gathered.outcome(index, outcome);
        }
    }
    gathered.count();
    gathered
}

impl Gathered {
    fn outcome(&mut self, run: usize, outcome: &Outcome) {
        for finding in &outcome.findings {
            let happening = match finding {
                Finding::Response(difference) => {
                    self.difference(run, outcome, None, Place::response(&outcome.entry, &difference.path), difference);
                    continue;
                }
                Finding::Call(call @ CallFinding { change: CallChange::Changed(differences), .. }) => {
                    for difference in differences.iter().filter(|difference| difference.counts()) {
                        let place = Place::request(&outcome.entry, &call.downstream, &call.operation, &difference.path);
                        self.difference(run, outcome, Some(call.number), place, difference);
                    }
                    continue;
                }
                Finding::Ended { expected, actual } => {
                    Happening::Ended { expected: expected.clone(), actual: actual.clone() }
                }
                Finding::Exited(how) => Happening::Exited(how.clone()),
                Finding::Call(CallFinding { change: CallChange::Omitted, downstream, request, .. }) => {
                    Happening::Omitted { downstream: downstream.clone(), request: request.clone() }
                }
                Finding::Call(CallFinding { change: CallChange::Novel { .. }, downstream, request, .. }) => {
                    Happening::Novel { downstream: downstream.clone(), request: request.clone() }
                }
            };
            let runs = self.happenings.entry((outcome.cassette.clone(), happening)).or_default();
            *runs.entry(run).or_default() += 1;
        }
    }

    fn difference(
        &mut self,
        run: usize,
        outcome: &Outcome,
        call: Option<usize>,
        place: Place,
        difference: &Difference,
    ) {
        let mut spot = Spot { cassette: outcome.cassette.clone(), call, place, repeat: 0 };
        while self.spots.get(&spot).is_some_and(|series| series.seen.contains_key(&run)) {
            spot.repeat += 1;
        }
        self.spots.entry(spot).or_default().seen.insert(run, difference.clone());
    }

    /// Fill in how many runs could have shown each spot: those that judged its entry and, for a call, had it.
    fn count(&mut self) {
        for (spot, series) in &mut self.spots {
            series.of = self.entries.get(&spot.cassette).map_or(0, |entry| entry.judged.len());
        }
    }
}

impl Happening {
    /// Where, what was recorded, what came instead.
    pub(super) fn words(&self, entry: &str) -> (String, Option<String>, Option<String>) {
        match self {
            Happening::Ended { expected, actual } => {
                (format!("{entry}  response"), Some(expected.clone()), Some(actual.clone()))
            }
            Happening::Exited(how) => {
                (format!("{entry}  process"), Some("it runs on".to_owned()), Some(format!("it {how}")))
            }
            Happening::Omitted { downstream, request } => {
                (format!("{entry}  {downstream}  {request}"), Some("the call is made".to_owned()), None)
            }
            Happening::Novel { downstream, request } => {
                (format!("{entry}  {downstream}  {request}"), None, Some("the call is made".to_owned()))
            }
        }
    }

    /// What varied, and what a person can do.
    pub(super) fn advice(&self) -> (&'static str, &'static str) {
        match self {
            Happening::Ended { .. } => (
                "answers end differently from run to run",
                "look for timeouts and crashes of the service; [replay] entry_timeout says how long an answer may take",
            ),
            Happening::Exited(_) => {
                ("the service ends in some runs", "look at its last output: regress replay shows it")
            }
            Happening::Omitted { .. } => (
                "the recorded call is not made in some runs",
                "where it comes late, raise [replay] settle; where a cache or a random choice decides, fix that for tests",
            ),
            Happening::Novel { .. } => (
                "a call that was not recorded is made in some runs",
                "where its path holds a value made anew each time, a rule by hand covers it (path = \"request/target/path/2\", \
                 as = \"generated\"); where a random choice or timer makes it, fix that for tests, or record until it is seen",
            ),
        }
    }

    /// In one line, for the label of a cassette.
    pub(super) fn reason(&self) -> String {
        match self {
            Happening::Ended { expected, actual } => format!("response: {actual}, not {expected}"),
            Happening::Exited(how) => format!("the service {how}"),
            Happening::Omitted { downstream, request } => format!("the call {downstream} {request} was not made"),
            Happening::Novel { downstream, request } => format!("a call {downstream} {request} was made"),
        }
    }
}
