//! Values that the service made anew, bound to the recorded ones that stand in their places.
//!
//! A build that draws an identifier or asks the clock says something else at each run. The first time that a request is
//! like a recorded one but for such values, each is bound to the recorded value in its place; from then on, in later
//! requests and in the entry's response, the one stands for the other and for nothing else. Bound is only
//!
//! - an identifier of a form that is never made twice ([`tokens`]), that the service cannot have been given (it is in
//!   nothing that was said to it), on neither side, and that no other entry bound: what several entries have in common
//!   was not made for one of them. Where it tells when it was made, that has to be the moment of the call;
//! - a secret that was redacted on both sides (`regress_cassettes::redact`): the recording does not say what it was, so what is
//!   asked is that it is one and the same in all entries, and nothing that the service was given;
//! - a time that has moved exactly as far as the clock did between the recording and now, so that an expiry date in an
//!   hour is bound and one in two hours is not; a day likewise.
//!
//! Everything else is said as it was recorded, or it is not the same; but for what stands at the places of `generated`
//! rules ([`drawn`]).

mod drawn;
mod tokens;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use regress_cassettes::{
    Cassette, CassetteId, Exchange,
    diff::{self, Drawn},
    redact::is_token,
};
use regress_protocols::{
    Operation, Value as Said,
    http1::{Line, Message},
};
use serde::{Deserialize, Serialize};

pub use drawn::Drawing;
use drawn::Pairs;
use tokens::{Token, Value, tokens};

/// How much later than in the recording a request may be sent, counted from the entry's beginning; and how far the
/// clock of a service may be from ours. Microseconds.
const SLACK: i64 = 5_000_000;

/// How long before the call, or after it by another clock, an identifier may have been made. Microseconds.
const FRESH: i64 = 60_000_000;

const DAY: i64 = 86_400_000_000;

/// The same call in the recording and now, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub recorded: i64,
    pub now: i64,
}

/// A recorded value and what the service said in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bound {
    /// What was recorded.
    pub recorded: String,
    /// What stands for it.
    pub actual: String,
}

impl Bound {
    /// Whether a secret stood in both places.
    fn is_secret(&self) -> bool {
        is_token(&self.recorded) && is_token(&self.actual)
    }
}

/// The text with one and the same value of its kind for each that may have been made anew: equal for texts that are
/// alike but for those. `None` where there is no such value.
pub(crate) fn class(text: &str) -> Option<String> {
    let mut class = String::new();
    let mut end = 0;
    for Token { span, value } in tokens(text) {
        class.push_str(&text[end..span.start]);
        class.push_str(value.stand_in());
        end = span.end;
    }
    (end > 0).then(|| class + &text[end..])
}

/// Whether two requests are of one operation, whatever was made anew in their paths.
pub fn is_same_operation(a: &Operation, b: &Operation) -> bool {
    let alike = || class(&a.path).zip(class(&b.path)).is_some_and(|(a, b)| a == b);
    a.method == b.method && (a.path == b.path || alike())
}

/// What a service is given in a recording: the values in the entry's request and in responses, with the time of the
/// first that has each, in microseconds from the beginning of the cassette.
#[derive(Debug, Default)]
pub(crate) struct Given(HashMap<String, i64>);

impl Given {
    /// Of a cassette.
    pub(crate) fn of(cassette: &Cassette) -> Given {
        let mut given = Given::default();
        if let Some(http) = cassette.entry.as_ref().and_then(Exchange::http) {
            given.message(&http.request, i64::MIN);
        }
        for exchange in &cassette.downstream {
            let until = exchange.at.saturating_add_unsigned(exchange.took.unwrap_or_default());
            if let Some(response) = exchange.http().and_then(|http| http.response.as_ref()) {
                given.message(response, until);
            }
            if let Some(response) = exchange.wire().and_then(|wire| wire.response.as_ref()) {
                given.value(response, until);
            }
        }
        given
    }

    fn message(&mut self, message: &Message, at: i64) {
        let body = diff::decoded_body(message);
        let lines = [&*message.start.0].into_iter().chain(message.headers.iter().map(|line| &*line.0));
        for part in lines.chain([&*body]) {
            self.text(&String::from_utf8_lossy(part), at);
        }
    }

    fn value(&mut self, value: &Said, at: i64) {
        match value {
            Said::Text(text) => self.text(text, at),
            Said::List(items) => items.iter().for_each(|item| self.value(item, at)),
            Said::Map(members) => members.iter().for_each(|(_, member)| self.value(member, at)),
            Said::Null | Said::Bool(_) | Said::Number(_) | Said::Bytes(_) => {}
        }
    }

    fn text(&mut self, text: &str, at: i64) {
        for Token { span, .. } in tokens(text) {
            let first = self.0.entry(text[span].to_owned()).or_insert(at);
            *first = at.min(*first);
        }
    }

    fn has(&self, value: &str) -> bool {
        self.0.contains_key(value)
    }

    fn has_before(&self, value: &str, at: i64) -> bool {
        self.0.get(value).is_some_and(|given| *given <= at)
    }
}

/// Which entry bound which identifier, in all sandboxes of a run; and what stands for which secret in all entries.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    identifiers: Mutex<HashMap<String, CassetteId>>,
    secrets: Mutex<Bindings>,
}

impl Owners {
    fn are_free(&self, bound: &Bound, for_whom: &CassetteId) -> bool {
        if bound.is_secret() {
            let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
            return secrets.has(&bound.recorded, &bound.actual) || !secrets.knows(&bound.recorded, &bound.actual);
        }
        let owners = self.identifiers.lock().unwrap_or_else(PoisonError::into_inner);
        [&bound.recorded, &bound.actual]
            .into_iter()
            .all(|value| owners.get(value).is_none_or(|owner| owner == for_whom))
    }

    fn take(&self, bound: &Bound, whose: &CassetteId) {
        if bound.is_secret() {
            return self.secrets.lock().unwrap_or_else(PoisonError::into_inner).pair(bound);
        }
        let mut owners = self.identifiers.lock().unwrap_or_else(PoisonError::into_inner);
        for value in [&bound.recorded, &bound.actual] {
            owners.insert(value.clone(), whose.clone());
        }
    }
}

/// What was bound since an entry began (or, in the ambient scope, since the service started).
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    /// Identifiers, recorded to actual and back.
    actual: HashMap<String, String>,
    recorded: HashMap<String, String>,
    /// Times and days. Two that were recorded alike can have become two, and the other way round.
    times: HashSet<Bound>,
    /// What stands at the places of `generated` rules.
    drawn: Pairs,
    /// What stands for secrets in what the service was given.
    given: HashSet<String>,
}

impl Bindings {
    /// Whether two texts that differ say the same, as far as values were bound before. Of a secret that no call bound nothing
    /// is known but that it is one.
    pub fn same(&self, recorded: &str, actual: &str) -> bool {
        let is_free = |recorded: &str, actual: &str| {
            let was_given = [recorded, actual].into_iter().any(|value| self.given.contains(value));
            is_token(recorded) && is_token(actual) && !was_given && !self.knows(recorded, actual)
        };
        side_by_side(recorded, actual, |_, _, recorded, actual| self.has(recorded, actual) || is_free(recorded, actual))
    }

    /// Whether a value stands for a recorded one.
    pub fn is_bound(&self, actual: &str) -> bool {
        self.recorded.contains_key(actual)
    }

    /// Takes note of what a service was given.
    pub(crate) fn was_given(&mut self, given: &Given) {
        self.given.extend(given.0.keys().filter(|value| is_token(value)).cloned());
    }

    fn pair(&mut self, bound: &Bound) {
        self.recorded.insert(bound.actual.clone(), bound.recorded.clone());
        self.actual.insert(bound.recorded.clone(), bound.actual.clone());
    }

    /// The message with the recorded identifiers in the places of those that stand for them. All identifiers of a form are
    /// of one length, so that its framing holds.
    pub fn as_recorded(&self, message: &Message) -> Message {
        let mut recorded = message.clone();
        recorded.start = Line(self.restored(&message.start.0));
        recorded.headers.iter_mut().for_each(|line| line.0 = self.restored(&line.0));
        recorded.body = self.restored(&message.body);
        recorded
    }

    /// The same for a value.
    pub fn as_recorded_value(&self, value: &Said) -> Said {
        match value {
            Said::Text(text) => self.restored_text(text).map_or_else(|| value.clone(), Said::Text),
            Said::List(items) => Said::List(items.iter().map(|item| self.as_recorded_value(item)).collect()),
            Said::Map(members) => {
                Said::Map(members.iter().map(|(name, value)| (name.clone(), self.as_recorded_value(value))).collect())
            }
            Said::Null | Said::Bool(_) | Said::Number(_) | Said::Bytes(_) => value.clone(),
        }
    }

    fn restored(&self, bytes: &Bytes) -> Bytes {
        let text = std::str::from_utf8(bytes).ok().and_then(|text| self.restored_text(text));
        text.map_or_else(|| bytes.clone(), Bytes::from)
    }

    fn restored_text(&self, text: &str) -> Option<String> {
        let mut restored = String::new();
        let mut end = 0;
        for Token { span, .. } in tokens(text) {
            if let Some(recorded) = self.recorded.get(&text[span.clone()]) {
                restored.push_str(&text[end..span.start]);
                restored.push_str(recorded);
                end = span.end;
            }
        }
        (end > 0).then(|| restored + &text[end..])
    }

    /// Takes what an attempt would bind; gives it in the order of the recorded values.
    pub(crate) fn bind(&mut self, fresh: Bindings, owners: &Owners, whose: &CassetteId) -> Vec<Bound> {
        let identifiers = fresh.actual.iter();
        let mut bound: Vec<Bound> = identifiers
            .map(|(recorded, actual)| Bound { recorded: recorded.clone(), actual: actual.clone() })
            .inspect(|bound| owners.take(bound, whose))
            .collect();
        bound.extend(fresh.times.iter().cloned());
        let drawn = fresh.drawn.iter();
        bound.extend(drawn.map(|(recorded, actual)| Bound { recorded: recorded.clone(), actual: actual.clone() }));
        bound.sort_by(|a, b| (&a.recorded, &a.actual).cmp(&(&b.recorded, &b.actual)));
        self.extend(fresh);
        bound
    }

    /// The same without what stands at the places of `generated` rules.
    pub(crate) fn without_drawn(self) -> Bindings {
        Bindings { drawn: Pairs::default(), ..self }
    }

    /// Adds what `other` has.
    pub(crate) fn extend(&mut self, other: Bindings) {
        self.actual.extend(other.actual);
        self.recorded.extend(other.recorded);
        self.times.extend(other.times);
        self.drawn.extend(&other.drawn);
        self.given.extend(other.given);
    }

    fn has(&self, recorded: &str, actual: &str) -> bool {
        let pair = || Bound { recorded: recorded.to_owned(), actual: actual.to_owned() };
        self.actual.get(recorded).is_some_and(|bound| bound == actual) || self.times.contains(&pair())
    }

    fn knows(&self, recorded: &str, actual: &str) -> bool {
        self.actual.contains_key(recorded) || self.recorded.contains_key(actual)
    }
}

/// The attempt to take one request for a recorded one.
pub(crate) struct Attempt<'a> {
    /// What was bound before, the entry's and the ambient's, and what would be bound.
    pub drawing: Drawing<'a>,
    /// What the service was given by the entry and by ambient calls.
    pub given: [Option<&'a Given>; 2],
    pub owners: &'a Owners,
    /// The cassette that the recorded request is of.
    pub cassette: &'a CassetteId,
    /// When the recorded request was sent, in microseconds from the beginning of its cassette.
    pub at: i64,
    pub moment: Moment,
}

impl Attempt<'_> {
    /// Whether two texts that differ say the same, when what they made anew is bound.
    pub(crate) fn same(&self, recorded: &str, actual: &str) -> bool {
        side_by_side(recorded, actual, |was, is, recorded, actual| self.binds(was, is, recorded, actual))
    }

    fn binds(&self, was: &Value, is: &Value, recorded: &str, actual: &str) -> bool {
        if self.drawing.any(|bindings| bindings.has(recorded, actual)) {
            return true;
        }
        let [own, ambient] = self.given;
        let was_given = own.is_some_and(|given| given.has_before(recorded, self.at))
            || ambient.is_some_and(|given| given.has(recorded));
        let is_given = [own, ambient].into_iter().flatten().any(|given| given.has(actual));
        if was_given || is_given {
            return false;
        }
        let bound = Bound { recorded: recorded.to_owned(), actual: actual.to_owned() };
        let Moment { recorded: then, now } = self.moment;
        let is_free = || {
            let is_other =
                |bindings: &Bindings| bindings.knows(recorded, actual) || bindings.drawn.contradicts(recorded, actual);
            !self.drawing.any(is_other) && self.owners.are_free(&bound, self.cassette)
        };
        match (was, is) {
            _ if bound.is_secret() => {
                let is_free = is_free();
                if is_free {
                    self.drawing.bind(|fresh| fresh.pair(&bound));
                }
                is_free
            }
            (Value::Identifier { made: before, .. }, Value::Identifier { made: after, .. }) => {
                let is_fresh = |made: &Option<i64>, at: i64| made.is_none_or(|made| made.abs_diff(at) <= FRESH as u64);
                if !is_free() || !is_fresh(before, then) || !is_fresh(after, now) {
                    return false;
                }
                self.drawing.bind(|fresh| fresh.pair(&bound));
                true
            }
            (Value::Time { at: was, .. }, Value::Time { at: is, .. }) => {
                let moved = (is - now).abs_diff(was - then) <= SLACK as u64;
                moved && self.drawing.bind(|fresh| fresh.times.insert(bound))
            }
            (Value::Day(was), Value::Day(is)) => {
                let moved = is - now.div_euclid(DAY) == was - then.div_euclid(DAY);
                moved && self.drawing.bind(|fresh| fresh.times.insert(bound))
            }
            _ => false,
        }
    }

    /// Whether two texts that differ are tokens as a whole, and bound by their form.
    fn binds_whole(&self, recorded: &str, actual: &str) -> bool {
        let whole = |text: &str| tokens(text).next().filter(|token| token.span == (0..text.len()));
        let both = whole(recorded).zip(whole(actual)).filter(|(was, is)| was.value.is_like(&is.value));
        both.is_some_and(|(was, is)| {
            let is_drawn = matches!(was.value, Value::Identifier { .. } | Value::Secret);
            is_drawn && self.binds(&was.value, &is.value, recorded, actual)
        })
    }
}

/// What a form shows to be drawn anew is bound by it, as it is where no rule is.
impl Drawn for Attempt<'_> {
    fn stands(&self, recorded: &str, actual: &str) -> bool {
        let is_new = recorded != actual && self.drawing.known(recorded, actual).is_none();
        (is_new && self.binds_whole(recorded, actual)) || self.drawing.stands(recorded, actual)
    }

    fn stand_in(&self, recorded: &str) -> Option<String> {
        self.drawing.stand_in(recorded)
    }

    fn is_taken(&self, actual: &str) -> bool {
        self.drawing.is_taken(actual)
    }
}

/// Whether two texts are equal but for tokens that are written alike, each pair of which is equal or accepted.
fn side_by_side(recorded: &str, actual: &str, mut accepts: impl FnMut(&Value, &Value, &str, &str) -> bool) -> bool {
    let (mut left, mut right) = (tokens(recorded), tokens(actual));
    let (mut left_end, mut right_end) = (0, 0);
    loop {
        match (left.next(), right.next()) {
            (None, None) => return recorded[left_end..] == actual[right_end..],
            (Some(was), Some(is)) => {
                let (old, new) = (&recorded[was.span.clone()], &actual[is.span.clone()]);
                let between = recorded[left_end..was.span.start] == actual[right_end..is.span.start];
                let same = old == new || (was.value.is_like(&is.value) && accepts(&was.value, &is.value, old, new));
                if !between || !same {
                    return false;
                }
                (left_end, right_end) = (was.span.end, is.span.end);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
