//! The result of one entry, and of a whole replay. Values only: the renderers under `report` decide nothing.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use regress_cassettes::{CassetteId, diff::Difference};
use regress_mockserver::mock::{Bound, Rung};
use serde::{Deserialize, Serialize};

use crate::{RuleUse, Selected, latency::Recorded, sides::Sides};

/// What was found out about an entry or about a whole replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The response and every call were what was recorded.
    Same,
    /// The response or a call was not.
    Different,
    /// It could not be told.
    Inconclusive,
}

impl Verdict {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Different => "different",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// The result of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The cassette's id.
    pub cassette: CassetteId,
    /// The cassette's file.
    #[serde(skip)]
    pub file: PathBuf,
    /// The entry's method and target, or what kind of entry it is.
    pub entry: String,
    /// What was found out.
    pub verdict: Verdict,
    /// What differs, the response first. Not empty = different.
    pub findings: Vec<Finding>,
    /// What differs and is noise: a rule lets it pass. It changes nothing of the verdict.
    pub excused: Vec<Finding>,
    /// Where calls missed: what would still differ had each been answered as the recorded call most like it. The rest
    /// of `findings` follows from the misses. `None` where no call missed, or nobody looked.
    pub if_answered: Option<Vec<Finding>>,
    /// Why it could not be told, or not wholly. Not empty = never the same.
    pub doubts: Vec<String>,
    /// What to know of the recording, whatever the verdict.
    pub notes: Vec<String>,
    /// The calls the service made meanwhile, in order, and what answered them.
    pub calls: Vec<Served>,
    /// The end of what the service printed, where it died or never answered.
    pub last_output: Option<String>,
    /// From the first request byte sent to the last response byte read.
    pub took: Option<Duration>,
    /// How long it took when it was recorded.
    pub recorded: Option<Recorded>,
    /// What was said, where the verdict is not *same*. `None` where nothing was, or where all of the replay's messages
    /// would take too much space, or an interrupted replay drove it.
    #[serde(skip)]
    pub sides: Option<Vec<Sides>>,
    /// The proposal that waits for review.
    #[serde(skip)]
    pub pending: Option<PathBuf>,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// A field of the response; the path is relative to the response (`status`, `body/total`).
    Response(Difference),
    /// A response came where none was recorded, or none where one was, or it ended otherwise.
    Ended {
        /// What was recorded.
        expected: String,
        /// What happened.
        actual: String,
    },
    /// A call to a downstream.
    Call(CallFinding),
    /// The service's process ended; how.
    Exited(String),
}

impl Finding {
    /// The paths that differ, as reports and `regress review --accept` have them.
    pub fn paths(&self) -> Vec<String> {
        self.spots().into_iter().map(|spot| spot.path).collect()
    }
}

/// A call that was not made as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFinding {
    /// Its number: the index in the cassette; calls that are not recorded are numbered on after the last recorded one.
    pub number: usize,
    /// The downstream's logical name.
    pub downstream: String,
    /// The address the service called, or had called in the recording.
    pub destination: Option<SocketAddr>,
    /// What was called: method and target, or the kind of attempt.
    pub request: String,
    /// What identifies its operation, as rules name it; empty for an attempt that is no request.
    pub operation: String,
    /// What is wrong with it.
    pub change: CallChange,
}

impl CallFinding {
    /// The call's path in reports and for `regress review --accept`.
    pub fn path(&self) -> String {
        format!("downstream/{}", self.number)
    }
}

/// What is wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallChange {
    /// It was recorded and not made.
    Omitted,
    /// It was made with other content, or (`order`) at another place among the writes of the entry; the fields of the
    /// request that differ, also those that are noise.
    Changed(Vec<Difference>),
    /// It was made and not recorded.
    Novel {
        /// Why no recorded call answers it.
        reason: String,
        /// The recorded call that is most like it.
        nearest: Option<Nearest>,
    },
}

/// The recorded call that is most like one that missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// The cassette it is in.
    pub cassette: CassetteId,
    /// Its index there.
    pub number: usize,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// A call the service made, and what answered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The downstream's logical name.
    pub downstream: String,
    /// The address the service called.
    pub destination: SocketAddr,
    /// What was called: method and target, or the kind of attempt.
    pub request: String,
    /// The recorded exchange that answered; `None` = a miss.
    pub by: Option<ServedBy>,
}

/// The recorded exchange that answered a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedBy {
    /// The cassette it is in.
    pub cassette: CassetteId,
    /// Its index there.
    pub number: usize,
    /// It is one that no entry caused.
    pub ambient: bool,
    /// How well the recorded request fits.
    pub rung: Rung,
    /// The index of the exchange that fits as well and would have answered otherwise.
    pub runner_up: Option<usize>,
    /// It had answered before.
    pub again: bool,
    /// Values that the service made anew, which the request bound to the recorded ones.
    pub bound: Vec<Bound>,
    /// How long it took when it was recorded; `None` where that is unknown. The mock answers at once.
    pub took: Option<Duration>,
}

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The results, in recorded order.
    pub outcomes: Vec<Outcome>,
    /// Cassettes that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Calls that missed while the service started, before its first entry.
    pub startup: Vec<CallFinding>,
    /// Why proposals could not be written, where that was asked for. It changes nothing of what was found.
    pub not_proposed: Option<String>,
    /// The rules in order, and what each was good for.
    pub rules: Vec<RuleUse>,
    /// Which part of the corpus this is; `None` = all of it.
    pub selected: Option<Selected>,
    /// Entries of it that were not driven, because the replay stopped at the first that is different.
    pub not_driven: Vec<NotDriven>,
}

/// An entry that was not driven, and of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDriven {
    /// The cassette's id.
    pub cassette: CassetteId,
    /// The cassette's file.
    pub file: PathBuf,
}

/// A cassette that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its file.
    pub file: PathBuf,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How many entries had which verdict. Unreadable cassettes count as inconclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All of them.
    pub total: usize,
    /// The same.
    pub same: usize,
    /// Different.
    pub different: usize,
    /// Could not tell.
    pub inconclusive: usize,
}

impl Report {
    /// Count the verdicts.
    pub fn summary(&self) -> Summary {
        let count = |verdict| self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        Summary {
            total: self.outcomes.len() + self.unreadable.len(),
            same: count(Verdict::Same),
            different: count(Verdict::Different),
            inconclusive: count(Verdict::Inconclusive) + self.unreadable.len(),
        }
    }

    /// The verdict on the whole: different when any entry is, else inconclusive when anything could not be told
    /// (an entry, an unreadable cassette, an unrecorded call at start-up, an entry that was not driven, nothing replayed
    /// at all), else same. That nothing is in a shard, or nothing changed, is the same.
    pub fn verdict(&self) -> Verdict {
        let summary = self.summary();
        if summary.different > 0 {
            Verdict::Different
        } else if summary.inconclusive > 0
            || (summary.total == 0 && self.selected.is_none())
            || !self.startup.is_empty()
            || !self.not_driven.is_empty()
        {
            Verdict::Inconclusive
        } else {
            Verdict::Same
        }
    }
}
