//! A difference at one place, told the same way whether a replay found it or a proposal holds it.

use regress_cassettes::diff::{Difference, Kind};

use crate::{CallChange, CallFinding, Finding};

/// One thing that differs, at one path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    /// The path, as reports and `regress review --accept` have it.
    pub path: String,
    /// In which way.
    pub kind: SpotKind,
    /// What was recorded, readable and shortened. `None` = nothing.
    pub expected: Option<String>,
    /// What came instead, in the same form. `None` = nothing.
    pub actual: Option<String>,
    /// The call it is about. `None` = the response, or the process.
    pub call: Option<Called>,
}

/// A call: who was called, and what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Called {
    /// The downstream's logical name.
    pub downstream: String,
    /// Method and target, or the kind of attempt.
    pub request: String,
}

/// In which way something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpotKind {
    /// The process ended.
    Exited,
    /// A recorded call was not made.
    Omitted,
    /// A call was made that nobody recorded.
    Novel,
    /// A field has another JSON type.
    Type,
    /// A field is missing.
    Removed,
    /// A field is new.
    Added,
    /// A field is at another place of its array, or the items of an array are in another order.
    Moved,
    /// A field has another value, or there was an answer where none was recorded, or none where one was.
    Changed,
}

impl SpotKind {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            SpotKind::Exited => "exited",
            SpotKind::Omitted => "omitted",
            SpotKind::Novel => "novel",
            SpotKind::Type => "type",
            SpotKind::Removed => "removed",
            SpotKind::Added => "added",
            SpotKind::Moved => "moved",
            SpotKind::Changed => "changed",
        }
    }
}

impl From<Kind> for SpotKind {
    fn from(kind: Kind) -> SpotKind {
        match kind {
            Kind::Changed => SpotKind::Changed,
            Kind::Added => SpotKind::Added,
            Kind::Removed => SpotKind::Removed,
            Kind::Type => SpotKind::Type,
            Kind::Moved => SpotKind::Moved,
        }
    }
}

impl Finding {
    /// Every place where it differs: one, or one a field of a changed call, as far as it counts.
    pub fn spots(&self) -> Vec<Spot> {
        match self {
            Finding::Response(difference) if !difference.counts() => Vec::new(),
            Finding::Response(difference) => vec![field("response", difference, None)],
            Finding::Ended { expected, actual } => vec![Spot {
                path: "response".to_owned(),
                kind: SpotKind::Changed,
                expected: Some(expected.clone()),
                actual: Some(actual.clone()),
                call: None,
            }],
            Finding::Exited(how) => vec![Spot {
                path: "process".to_owned(),
                kind: SpotKind::Exited,
                expected: None,
                actual: Some(how.clone()),
                call: None,
            }],
            Finding::Call(call) => call.spots(),
        }
    }
}

impl CallFinding {
    fn spots(&self) -> Vec<Spot> {
        let called = Called { downstream: self.downstream.clone(), request: self.request.clone() };
        let whole = |kind, expected, actual| {
            vec![Spot { path: self.path(), kind, expected, actual, call: Some(called.clone()) }]
        };
        match &self.change {
            CallChange::Omitted => whole(SpotKind::Omitted, Some(self.request.clone()), None),
            CallChange::Novel { .. } => whole(SpotKind::Novel, None, Some(self.request.clone())),
            CallChange::Changed(fields) => {
                let above = format!("{}/request", self.path());
                let fields = fields.iter().filter(|difference| difference.counts());
                fields.map(|difference| field(&above, difference, Some(called.clone()))).collect()
            }
        }
    }
}

/// A field that differs, in the message at the path `above`.
fn field(above: &str, difference: &Difference, call: Option<Called>) -> Spot {
    Spot {
        path: format!("{above}/{}", difference.path),
        kind: difference.kind.into(),
        expected: difference.expected.clone(),
        actual: difference.actual.clone(),
        call,
    }
}
