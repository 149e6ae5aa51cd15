//! What the values seen at one place have in common, as the narrowest allowance that covers them.

use std::fmt;

use jiff::Timestamp;
use regress_cassettes::diff::{self, Drawn, Keys, Lens, Number, RuleText, Rules};
use regress_protocols::http1::Message;

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
    /// A time of the same form, within this many seconds; `None` = any.
    Time(Option<u32>),
    /// Text that this regular expression matches from start to end.
    Pattern(String),
    /// The value, not its JSON type.
    Type,
    /// A value that is drawn anew, and is the same wherever the recorded one is.
    Generated,
}

impl Allowance {
    /// The rule with `as` and what belongs to it.
    pub(super) fn in_rule(&self, rule: RuleText) -> RuleText {
        let (effect, rule) = match self {
            Allowance::Ignore => ("ignore", rule),
            Allowance::Unordered => ("unordered", rule),
            Allowance::Keyed(key) => ("keyed", RuleText { key: Some(Keys::One(key.clone())), ..rule }),
            Allowance::Tolerance(distance) => {
                ("tolerance", RuleText { tolerance: Some(Number::Fraction(*distance)), ..rule })
            }
            Allowance::Time(within) => ("time", RuleText { within: within.map(|within| format!("{within}s")), ..rule }),
            Allowance::Pattern(pattern) => ("pattern", RuleText { pattern: Some(pattern.clone()), ..rule }),
            Allowance::Type => ("type", rule),
            Allowance::Generated => ("generated", rule),
        };
        RuleText { effect: effect.to_owned(), ..rule }
    }

    /// Whether a rule with it lets pass every value that was observed where another was expected.
    fn covers(&self, observed: &[Observed]) -> bool {
        observed.iter().all(|one| one.actual.iter().all(|(_, _, value)| self.lets_pass(&one.expected, value, None)))
    }

    /// Whether a rule with it lets one value pass where another was expected, under what is `drawn` anew: asked of those who
    /// apply rules.
    pub(super) fn lets_pass(&self, expected: &Value, actual: &Value, drawn: Option<&dyn Drawn>) -> bool {
        let rule = self.in_rule(RuleText { path: "response/body/it".to_owned(), ..RuleText::default() });
        let Ok(rules) = Rules::new(vec![rule]) else { return false };
        if [expected, actual].contains(&&Value::Shortened) {
            return false;
        }
        let lens = Lens { drawn, ..Lens::of(rules.for_response("GET /")) };
        let answer = |value: &Value| {
            let body = value.json().map_or_else(|| "{}".to_owned(), |value| format!("{{\"it\":{value}}}"));
            Message::response(200, "OK", &[("Content-Type", "application/json")], body)
        };
        let differences = diff::responses(&answer(expected), &answer(actual), &lens);
        differences.iter().all(|difference| !difference.counts())
    }
}

/// As a rule says it: `tolerance 0.01`, `time within 5s`.
impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowance::Ignore => f.write_str("ignore"),
            Allowance::Unordered => f.write_str("unordered"),
            Allowance::Keyed(key) => write!(f, "keyed by {key}"),
            Allowance::Tolerance(distance) => write!(f, "tolerance {distance}"),
            Allowance::Time(None) => f.write_str("time"),
            Allowance::Time(Some(seconds)) => write!(f, "time within {seconds}s"),
            Allowance::Pattern(pattern) => write!(f, "pattern {pattern}"),
            Allowance::Type => f.write_str("type"),
            Allowance::Generated => f.write_str("generated"),
        }
    }
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

impl Allowed {
    /// That one value is drawn anew for all its places.
    pub(super) fn generated() -> Allowed {
        Allowed::new(Allowance::Generated, "a value drawn anew, the same wherever the entry has it")
    }

    fn new(allowance: Allowance, what: impl Into<String>) -> Allowed {
        Allowed { allowance, what: what.into(), broad: None, is_loose: false }
    }

    fn broad(self, why: impl Into<String>) -> Allowed {
        Allowed { broad: Some(why.into()), ..self }
    }
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

/// How far from its own now a time may have moved to be one that is told from now, in seconds.
const NOW: f64 = 60.0;

/// The distances of times that are offered, in seconds.
const WITHIN: [u32; 3] = [5, 60, 600];

/// The narrowest allowance that covers all that was observed at a place. Each that is tried is tried on every value.
pub(super) fn narrowest(observed: &[Observed]) -> Allowed {
    let is_header = observed.iter().all(|one| !one.expected.is_json());
    let candidates = [time(observed), tolerance(observed), pattern(observed), any_of_type(observed, is_header)];
    let fits = |allowed: &Allowed| allowed.allowance.covers(observed);
    candidates.into_iter().flatten().find(fits).unwrap_or_else(|| anything(observed))
}

impl Observed {
    fn values(&self) -> impl Iterator<Item = &Value> {
        [&self.expected].into_iter().chain(self.actual.iter().map(|(_, _, value)| value))
    }
}

/// Times that lie near each other, or each as far from its own now.
fn time(observed: &[Observed]) -> Option<Allowed> {
    let (mut apart, mut moved): (f64, f64) = (0.0, 0.0);
    for one in observed {
        let recorded_at = one.recorded_at?;
        let expected = one.expected.time(recorded_at)?;
        let offset = seconds(recorded_at, expected);
        for (from, to, value) in &one.actual {
            let actual = value.time(*from)?;
            apart = apart.max(seconds(expected, actual).abs());
            // The entry was driven at some moment between the two.
            let (since_begin, since_end) = (seconds(*from, actual) - offset, seconds(*to, actual) - offset);
            moved = moved.max(if since_begin < 0.0 { -since_begin } else { since_end.max(0.0) });
        }
    }
    if let Some(within) = WITHIN.into_iter().find(|within| apart * 2.0 <= f64::from(*within) && moved > NOW) {
        return Some(Allowed::new(Allowance::Time(Some(within)), "times near each other"));
    }
    let any = "any time of the same form passes: a rule does not know when the recording was";
    (moved <= NOW).then(|| Allowed::new(Allowance::Time(None), "a time that is told from now").broad(any))
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    from.duration_until(to).as_secs_f64()
}

/// Numbers of one magnitude: twice the distance that they lie apart, rounded up to one digit, as another run goes a
/// little farther.
fn tolerance(observed: &[Observed]) -> Option<Allowed> {
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
    let scale = 10f64.powf((farthest * 2.0).log10().floor());
    let distance: f64 = format!("{:.12}", (farthest * 2.0 / scale).ceil() * scale).parse().ok()?;
    let is_one = distance > 0.0 && distance.is_finite();
    is_one.then(|| Allowed::new(Allowance::Tolerance(distance), format!("numbers that lie within {distance}")))
}

/// Texts of one shape.
fn pattern(observed: &[Observed]) -> Option<Allowed> {
    let texts: Vec<Vec<&str>> =
        observed.iter().map(|one| one.values().map(Value::text).collect()).collect::<Option<_>>()?;
    let shape = shape::of(&texts)?;
    let allowed = Allowed {
        is_loose: shape.is_loose,
        ..Allowed::new(Allowance::Pattern(shape.pattern), shape.varies.join(" and "))
    };
    let loose = "it leaves open a part that differs from entry to entry only";
    Some(if shape.is_loose { allowed.broad(loose) } else { allowed })
}

/// Values of one JSON type. Of numbers nothing narrower can be said; of other types it is broad.
fn any_of_type(observed: &[Observed], is_header: bool) -> Option<Allowed> {
    let mut kinds = observed.iter().flat_map(Observed::values).map(Value::kind);
    let kind = kinds.next()?;
    if is_header || kinds.any(|other| other != kind) {
        return None;
    }
    let allowed = Allowed::new(Allowance::Type, format!("any {kind}"));
    Some(if kind == "number" { allowed } else { allowed.broad(format!("any {kind} passes")) })
}

fn anything(observed: &[Observed]) -> Allowed {
    let kinds: Vec<&str> = observed.iter().flat_map(Observed::values).map(Value::kind).collect();
    let kind = kinds.first().copied().unwrap_or("nothing");
    let what = match kind {
        _ if kinds.contains(&"nothing") => "something that is there in some runs only".to_owned(),
        _ if kinds.contains(&"long value") => "long values".to_owned(),
        _ if kinds.iter().any(|other| *other != kind) => "values of several types".to_owned(),
        _ => format!("{kind}s without a common shape"),
    };
    Allowed::new(Allowance::Ignore, what).broad("anything passes")
}
