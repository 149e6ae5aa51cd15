//! Replay: drive the new build with recorded entries, judge its responses and its calls, report, propose, review.

mod alignment;
mod drive;
mod error;
pub mod groups;
mod judge;
mod kept;
mod latency;
mod left;
mod merge;
pub mod noise;
pub mod noise_rule;
mod order;
mod outcome;
mod pairing;
mod pending;
mod plan;
mod recorded;
pub mod report;
pub mod review;
mod rules;
mod run;
mod select;
mod settings;
mod sides;
mod spot;
mod stream;
mod target;
#[cfg(test)]
mod testing;

pub use error::Error;
pub use kept::{Keep, NotResumed};
pub use latency::{Latency, Recorded, Spread};
pub use outcome::{
    CallChange, CallFinding, Finding, Nearest, NotDriven, Outcome, Report, Served, ServedBy, Summary, Unreadable,
    Verdict,
};
pub use plan::Plan;
pub use rules::RuleUse;
pub use run::replay;
pub use select::{Changed, Extent, Selected, Selection, Shard};
pub use settings::{Progress, Settings};
pub use sides::{Side, Sides};
pub use spot::{Called, Spot, SpotKind};
