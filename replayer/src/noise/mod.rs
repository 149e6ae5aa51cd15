//! What varies when one build is replayed against itself, and the narrowest rules that say so. But for [`repeat()`] this
//! is pure: reports in, proposals out.
//!
//! A difference that is the same in every run is no noise: the build does not behave as it was recorded. One that
//! differs from run to run is, and the rule proposed for it covers every value that was seen there and as little else
//! as its kind allows. `status`, whole bodies and calls that are made in some runs only are told, never covered.

mod allow;
mod arrays;
mod gather;
mod identity;
mod label;
mod learn;
mod place;
mod repeat;
mod shape;
#[cfg(test)]
mod tests;
mod value;

use jiff::Timestamp;
use regress_cassettes::diff::RuleText;

pub use allow::Allowance;
pub use label::{Checked, check};
pub use learn::learn;
pub use place::{Callee, Place};
pub use repeat::repeat;

use crate::Report;

/// One replay of the build.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// What it found, calls that missed answered by the nearest recorded ones.
    pub report: Report,
}

/// What the runs taught.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// How many runs there were.
    pub runs: usize,
    /// How many entries were judged in at least one.
    pub entries: usize,
    /// Rules that would cover what varied, in order of their places.
    pub proposals: Vec<Proposal>,
    /// What varied and no rule is proposed for.
    pub unruled: Vec<Unruled>,
    /// What differed from the recording in the same way in every run: no noise.
    pub changes: Vec<Change>,
    /// Entries that some run could not judge, and why.
    pub unjudged: Vec<(String, String)>,
}

/// A rule, and what speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Where it applies.
    pub place: Place,
    /// What it lets vary.
    pub allows: Allowance,
    /// What the values are: `a UUID`.
    pub what: String,
    /// Why the rule covers more than it should have to, where it does.
    pub broad: Option<String>,
    /// What was seen.
    pub evidence: Evidence,
}

/// What was seen of something that varied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// In how many runs it differed from the recording.
    pub runs: usize,
    /// Of how many runs.
    pub of: usize,
    /// In how many entries.
    pub entries: usize,
    /// A few values, the recorded one first, as reports show them.
    pub examples: Vec<String>,
}

/// Something that varied and that no rule is proposed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unruled {
    /// Where: a place, or an entry and its call.
    pub at: String,
    /// What varied.
    pub what: String,
    /// What a person can do about it.
    pub hint: String,
    /// What was seen.
    pub evidence: Evidence,
}

/// A difference that was the same in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where: a place, or an entry and its call.
    pub at: String,
    /// What was recorded; `None` = nothing.
    pub expected: Option<String>,
    /// What came instead; `None` = nothing.
    pub actual: Option<String>,
    /// How many entries show it.
    pub entries: usize,
}

impl Proposal {
    /// The rule as it is written.
    pub fn rule(&self) -> RuleText {
        let Proposal { place, allows, what, evidence, .. } = self;
        let rule = RuleText {
            path: place.path.clone(),
            route: Some(place.route.clone()),
            downstream: place.call.as_ref().map(|call| call.downstream.clone()),
            operation: place.call.as_ref().map(|call| call.operation.clone()),
            why: Some(format!("{}: {what}", evidence.words())),
            ..RuleText::default()
        };
        allows.in_rule(rule)
    }
}

impl Evidence {
    /// In words: `varied in 5 of 5 runs, 12 entries`.
    pub fn words(&self) -> String {
        let entries = if self.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", self.entries) };
        format!("varied in {} of {} runs, {entries}", self.runs, self.of)
    }
}

impl Learned {
    /// Whether nothing varied and nothing is unclear.
    pub fn is_quiet(&self) -> bool {
        self.proposals.is_empty() && self.unruled.is_empty() && self.changes.is_empty() && self.unjudged.is_empty()
    }
}
