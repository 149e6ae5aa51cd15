//! Replay: drive the new build with recorded entries, judge its responses and its calls, report, propose, review.

mod drive;
mod error;
mod json_edit;
mod judge;
mod kept;
mod merge;
mod outcome;
mod pairing;
mod pending;
mod plan;
pub mod report;
pub mod review;
mod rules;
mod run;
mod select;
mod target;
#[cfg(test)]
mod testing;

pub use error::Error;
pub use kept::{Keep, NotResumed};
pub use outcome::{
    CallChange, CallFinding, Finding, Nearest, NotDriven, Outcome, Report, Served, ServedBy, Summary, Unreadable,
    Verdict,
};
pub use rules::RuleUse;
pub use run::{Progress, Settings, replay};
pub use select::{Changed, Extent, Selected, Selection, Shard};
