//! What a rule lets pass.

use std::time::Duration;

use regex::Regex;

use super::{decimal::Decimal, time::Time};
use crate::diff::tree::Tree;

/// What may differ at a place.
#[derive(Clone, Debug)]
pub(in crate::diff) enum Effect {
    /// Everything, also whether there is anything.
    Ignore,
    /// The order of an array's items.
    Unordered,
    /// The order of an array's items, which are told apart by these members.
    Keyed(Vec<String>),
    /// A number, by so much.
    Tolerance(Tolerance),
    /// A time, by so much; `None` = by any.
    Time(Option<Duration>),
    /// A text, as long as it matches.
    Pattern(Regex),
    /// The value, as long as its JSON type is the same.
    Type,
    /// A text or a number that the service draws anew: it stands for the recorded one, everywhere in the entry.
    Generated,
}

/// By how much numbers may differ.
#[derive(Clone, Copy, Debug)]
pub(in crate::diff) enum Tolerance {
    /// By this.
    Absolute(Decimal),
    /// By this many percent of what was expected.
    Percent(Decimal),
}

impl Effect {
    /// Whether it is about single values: it lets one pass for another, by what both are.
    pub(in crate::diff) fn is_of_values(&self) -> bool {
        matches!(self, Effect::Tolerance(_) | Effect::Time(_) | Effect::Pattern(_) | Effect::Type | Effect::Generated)
    }

    /// Whether it lets `actual` pass where `expected` was, by what both are. Of what is drawn anew that is not known
    /// from the two alone: whoever compares asks [`Drawn`](crate::diff::Drawn).
    pub(in crate::diff) fn lets_pass(&self, expected: &Tree<'_>, actual: &Tree<'_>) -> bool {
        if !expected.same_type(actual) {
            return false;
        }
        let texts = || Some((expected.scalar()?, actual.scalar()?));
        match self {
            Effect::Ignore => true,
            Effect::Unordered | Effect::Keyed(_) | Effect::Generated => false,
            Effect::Type => true,
            Effect::Pattern(pattern) => texts().is_some_and(|(a, b)| pattern.is_match(a) && pattern.is_match(b)),
            Effect::Time(within) => texts()
                .and_then(|(a, b)| Some((Time::read(a)?, Time::read(b)?)))
                .is_some_and(|(a, b)| a.is_near(&b, *within)),
            Effect::Tolerance(most) => {
                let numbers = texts().and_then(|(a, b)| Some((Decimal::read(a)?, Decimal::read(b)?)));
                numbers.is_some_and(|(expected, actual)| match most {
                    Tolerance::Absolute(most) => most.covers(expected, actual),
                    Tolerance::Percent(most) => most.covers_percent(expected, actual),
                })
            }
        }
    }

    /// What all values have in common with `value` that it could let pass for it; `None` when it lets none pass.
    pub(in crate::diff) fn class(&self, value: &Tree<'_>) -> Option<String> {
        let class = match self {
            Effect::Ignore | Effect::Unordered | Effect::Keyed(_) => None,
            Effect::Type => Some("any".to_owned()),
            Effect::Pattern(pattern) => value.scalar().filter(|text| pattern.is_match(text)).map(|_| "text".to_owned()),
            Effect::Time(_) => value.scalar().and_then(Time::read).map(|time| time.form),
            Effect::Tolerance(_) => value.scalar().and_then(Decimal::read).map(|_| "number".to_owned()),
            Effect::Generated => value.drawn().map(|_| "drawn".to_owned()),
        };
        class.map(|class| format!("{} {class}", value.type_name()))
    }
}
