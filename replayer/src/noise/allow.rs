//! What the values seen at one place have in common, as the narrowest allowance that covers them.

use jiff::Timestamp;

use super::{shape, value::Value};

/// What a rule lets vary.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowance {
    /// Anything.
    Ignore,
    /// The order of an array's items.
    Unordered,
    /// The order of an array's items, which are told apart by this member.
    Keyed(String),
    /// A number, within this distance.
    Tolerance(f64),
    /// A time, within this many seconds.
    Time(u32),
    /// Text that this regular expression matches from start to end.
    Pattern(String),
    /// The value, not its JSON type.
    Type,
}

/// An allowance and what it was made from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allowed {
    pub allowance: Allowance,
    /// What the values are.
    pub what: String,
    /// Why it is broader than one would like.
    pub broad: Option<String>,
    /// It leaves open what never varied within an entry.
    pub is_loose: bool,
}

/// One place of one entry: what was recorded, and what came in runs in which that differed.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// When the entry was recorded.
    pub recorded_at: Option<Timestamp>,
    pub expected: Value,
    /// The begin and the end of each run, and what came.
    pub actual: Vec<(Timestamp, Timestamp, Value)>,
}

/// How far numbers may lie apart, in parts of the larger one, to be taken for the same number within a tolerance.
const CLOSE: f64 = 0.1;

/// The distances of times that are offered, in seconds.
const WITHIN: [u32; 3] = [5, 60, 600];

/// The narrowest allowance that covers all that was observed at a place.
pub(super) fn narrowest(observed: &[Observed]) -> Allowed {
    let values = || observed.iter().flat_map(|one| [&one.expected].into_iter().chain(one.actual.iter().map(|a| &a.2)));
    let kinds: Vec<&str> = values().map(Value::kind).collect();
    let told = |allowance, what: String| Allowed { allowance, what, broad: None, is_loose: false };
    if let Some(within) = time(observed) {
        return told(Allowance::Time(within), "a time".to_owned());
    }
    if let Some(distance) = tolerance(observed) {
        return told(Allowance::Tolerance(distance), format!("numbers that lie within {distance}"));
    }
    let texts: Option<Vec<Vec<&str>>> = observed.iter().map(Observed::texts).collect();
    if let Some(shape) = texts.as_deref().and_then(shape::of) {
        let broad = shape.is_loose.then(|| "it leaves open a part that differs from entry to entry only".to_owned());
        let what = shape.varies.join(" and ");
        return Allowed { allowance: Allowance::Pattern(shape.pattern), what, broad, is_loose: shape.is_loose };
    }
    let kind = kinds.first().copied().unwrap_or("nothing");
    let is_one_kind = kinds.iter().all(|other| *other == kind);
    if is_one_kind && matches!(kind, "number" | "boolean") {
        let broad = (kind != "number").then(|| "both values of a boolean pass".to_owned());
        return Allowed { broad, ..told(Allowance::Type, format!("any {kind}")) };
    }
    let (what, broad) = match kind {
        _ if kinds.contains(&"nothing") => ("something that is there in some runs only".to_owned(), "anything passes"),
        _ if kinds.contains(&"long value") => ("long values".to_owned(), "anything passes"),
        _ if !is_one_kind => ("values of several types".to_owned(), "anything passes"),
        _ => (format!("{kind}s without a common shape"), "anything passes"),
    };
    Allowed { broad: Some(broad.to_owned()), ..told(Allowance::Ignore, what) }
}

impl Observed {
    fn texts(&self) -> Option<Vec<&str>> {
        [&self.expected].into_iter().chain(self.actual.iter().map(|(_, _, value)| value)).map(Value::text).collect()
    }
}

/// How many seconds apart times lie when each is seen from its own now; `None` where a value is no time, or one of them
/// lies elsewhere.
fn time(observed: &[Observed]) -> Option<u32> {
    let mut farthest: f64 = 0.0;
    for one in observed {
        let recorded_at = one.recorded_at?;
        let offset = (one.expected.time(recorded_at)? - recorded_at).total(jiff::Unit::Second).ok()?;
        for (from, to, value) in &one.actual {
            let seconds = |now: &Timestamp| value.time(*now).map(|time| (time - *now).total(jiff::Unit::Second));
            let (since_begin, since_end) = (seconds(from)?.ok()? - offset, seconds(to)?.ok()? - offset);
            // The entry was driven at some moment between the two.
            let apart = if since_begin < 0.0 { -since_begin } else { since_end.max(0.0) };
            farthest = farthest.max(apart);
        }
    }
    WITHIN.into_iter().find(|within| farthest * 2.0 <= f64::from(*within))
}

/// The distance that numbers of one magnitude lie apart, rounded up to one digit.
fn tolerance(observed: &[Observed]) -> Option<f64> {
    let mut farthest: f64 = 0.0;
    for one in observed {
        let expected = one.expected.number()?;
        for (_, _, value) in &one.actual {
            let actual = value.number()?;
            let apart = (actual - expected).abs();
            if apart > CLOSE * expected.abs().max(actual.abs()) {
                return None;
            }
            farthest = farthest.max(apart);
        }
    }
    // Twice as much as was seen: another run goes a little farther.
    let scale = 10f64.powf((farthest * 2.0).log10().floor());
    let distance = (farthest * 2.0 / scale).ceil() * scale;
    let rounded: f64 = format!("{distance:.12}").parse().ok()?;
    (rounded > 0.0 && rounded.is_finite()).then_some(rounded)
}
