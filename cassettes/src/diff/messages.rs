//! Whole messages compared.

use std::fmt;

use regress_protocols::{Request, http1::Message};

use super::{
    compare::compare,
    drawn::Drawn,
    found::{Difference, Kind},
    rules::Applied,
    view::View,
};

/// Whether two texts that differ stand for the same.
pub type Same<'a> = &'a dyn Fn(&str, &str) -> bool;

/// How two messages are looked at: what is noise between them.
#[derive(Clone, Default)]
pub struct Lens<'a> {
    /// The rules that are for them, and the schema of what they say.
    pub rules: Applied,
    /// Asked for two texts that differ and that no rule lets pass (a number or string in JSON, the value of a header or
    /// of a query's parameter, a segment of a path, a line, a body): whether both stand for the same.
    pub same: Option<Same<'a>>,
    /// What stands for the values at the places of `generated` rules; without it they are compared as they are.
    pub drawn: Option<&'a dyn Drawn>,
}

impl Lens<'_> {
    /// Nothing is noise, and no schema is known.
    pub fn exact() -> Lens<'static> {
        Lens::default()
    }

    /// What applies to them.
    pub fn of(rules: Applied) -> Lens<'static> {
        Lens { rules, ..Lens::default() }
    }

    /// Whether equal messages may differ all the same: in a value that was drawn anew and stands for another one.
    fn draws(&self) -> bool {
        self.drawn.is_some() && self.rules.draw()
    }
}

impl fmt::Debug for Lens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lens").field("rules", &self.rules).field("same", &self.same.is_some()).finish_non_exhaustive()
    }
}

/// Where two requests differ; nothing that counts when they ask for the same. At most
/// [`MOST_DIFFERENCES`](super::MOST_DIFFERENCES) that count, and one more.
pub fn requests<'m>(
    expected: impl Into<Request<'m>>,
    actual: impl Into<Request<'m>>,
    lens: &Lens<'_>,
) -> Vec<Difference> {
    let (expected, actual) = (expected.into(), actual.into());
    if expected == actual && !lens.draws() {
        return Vec::new();
    }
    if expected.protocol() != actual.protocol() {
        return vec![Difference {
            path: "protocol".to_owned(),
            kind: Kind::Changed,
            expected: Some(expected.protocol().to_owned()),
            actual: Some(actual.protocol().to_owned()),
            noise: None,
        }];
    }
    let (expected, actual) = (View::of_request(expected, &lens.rules), View::of_request(actual, &lens.rules));
    compare(&expected.0, &actual.0, lens)
}

/// Where two responses differ; nothing that counts when they answer the same. At most
/// [`MOST_DIFFERENCES`](super::MOST_DIFFERENCES) that count, and one more.
pub fn responses(expected: &Message, actual: &Message, lens: &Lens<'_>) -> Vec<Difference> {
    if expected == actual && !lens.draws() {
        return Vec::new();
    }
    let (expected, actual) = (View::of_response(expected, &lens.rules), View::of_response(actual, &lens.rules));
    compare(&expected.0, &actual.0, lens)
}

/// Bytes that are equal for two requests of one protocol between which [`requests`] finds nothing that counts under these rules.
/// Without rules they are equal exactly then; with rules also for some others ([`View::masked`]).
pub fn canonical_request<'m>(request: impl Into<Request<'m>>, rules: &Applied) -> Vec<u8> {
    let view = View::of_request(request, rules);
    if rules.is_empty() { view.canonical() } else { view.masked(rules).canonical() }
}
