//! Rules as they are written.

use std::{fmt, time::Duration};

use regex::RegexBuilder;
use regress_protocols::wire::Protocol;
use serde::{Deserialize, Serialize};

use super::{Effect, ORDER, Rule, STREAM, Side, decimal::Decimal, effect::Tolerance, place::Pattern};

/// The most steps of a path.
const MOST_STEPS: usize = 64;

/// The most memory that a pattern may take, in bytes.
const MOST_PATTERN: usize = 1 << 20;

/// The effects, as `as` names them.
const EFFECTS: &str = "ignore, unordered, keyed, tolerance, time, pattern, type, generated";

/// A rule as `[[rules]]` in `regress.toml` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// Which places: `response/body/items/*/price`, `request/header/x-key`.
    pub path: String,
    /// Which entries, by method and path; a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Which downstreams, by logical name; a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downstream: Option<String>,
    /// Which calls, by method and path; a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What may differ there: ignore, unordered, keyed, tolerance, time, pattern, type, generated.
    #[serde(rename = "as")]
    pub effect: String,
    /// Of `keyed`: the members that say which item is which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Keys>,
    /// Of `tolerance`: by how much numbers may differ, as a number or in percent of what was expected (`"1%"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Number>,
    /// Of `time`: how far apart two times may be (`"5s"`); any time will do without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// Of `pattern`: the regular expression that both texts must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Why this varies, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One member or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Keys {
    /// `"id"`
    One(String),
    /// `["tenant", "id"]`
    All(Vec<String>),
}

/// A number, or a text that is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// `1`
    Whole(i64),
    /// `0.01`
    Fraction(f64),
    /// `"1%"`
    Text(String),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(number) => number.fmt(f),
            Number::Fraction(number) => number.fmt(f),
            Number::Text(text) => text.fmt(f),
        }
    }
}

/// A rule that says nothing sensible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number} ({path}): {why}; {hint}")]
pub struct RuleError {
    /// Which rule, counted from 1.
    pub number: usize,
    /// Its path.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
    /// What to write instead.
    pub hint: &'static str,
}

/// What is wrong, and what to write instead.
type Wrong = (String, &'static str);

impl RuleText {
    /// What the rule means; `index` is its place in the list.
    pub(super) fn rule(self, index: usize) -> Result<Rule, RuleError> {
        match self.read() {
            Ok((side, steps, effect)) => Ok(Rule { text: self, side, steps, effect }),
            Err((why, hint)) => Err(RuleError { number: index + 1, path: self.path, why, hint }),
        }
    }

    /// What belongs to the effect, for reading.
    pub(super) fn with(&self) -> Option<String> {
        let key = self.key.as_ref().map(|key| match key {
            Keys::One(name) => name.clone(),
            Keys::All(names) => names.join("+"),
        });
        key.or_else(|| self.tolerance.as_ref().map(Number::to_string))
            .or_else(|| self.within.as_ref().map(|within| format!("within {within}")))
            .or_else(|| self.pattern.clone())
    }

    fn read(&self) -> Result<(Side, Vec<Pattern>, Effect), Wrong> {
        let (side, steps) = path(&self.path)?;
        let mut calls = [("downstream", &self.downstream), ("operation", &self.operation)].into_iter();
        if let Some((key, _)) = calls.find(|(_, value)| side == Side::Response && value.is_some()) {
            let why = format!("`{key}` goes only with a path that begins with `request/`");
            return Err((why, "take it out, or use `route` to say which entries are meant"));
        }
        let belongings = [
            ("key", "keyed", self.key.is_some()),
            ("tolerance", "tolerance", self.tolerance.is_some()),
            ("within", "time", self.within.is_some()),
            ("pattern", "pattern", self.pattern.is_some()),
        ];
        let strays = |(_, effect, there): &&(&str, &str, bool)| *there && self.effect != *effect;
        if let Some((key, effect, _)) = belongings.iter().find(strays) {
            let why = format!("`{key}` goes only with as = \"{effect}\", not with as = \"{}\"", self.effect);
            return Err((why, "take it out, or say what is meant with `as`"));
        }
        let effect = self.read_effect()?;
        let begins_with =
            |on: Side, name: &str| matches!(&steps[..], [Pattern::Named(first), ..] if side == on && first == name);
        if begins_with(Side::Request, ORDER)
            && (steps.len() > 1 || !matches!(effect, Effect::Ignore | Effect::Unordered))
        {
            let why = "of the order of calls nothing can be said but that it does not matter".to_owned();
            return Err((why, "write path = \"request/order\" and as = \"unordered\""));
        }
        if begins_with(Side::Response, STREAM) && (steps.len() > 1 || !matches!(effect, Effect::Ignore)) {
            let why = "of when events are sent nothing can be said but that it does not matter".to_owned();
            return Err((why, "write path = \"response/stream\" and as = \"ignore\""));
        }
        Ok((side, steps, effect))
    }

    fn read_effect(&self) -> Result<Effect, Wrong> {
        Ok(match self.effect.as_str() {
            "ignore" => Effect::Ignore,
            "unordered" => Effect::Unordered,
            "type" => Effect::Type,
            "generated" => Effect::Generated,
            "keyed" => Effect::Keyed(match &self.key {
                Some(Keys::One(name)) => vec![name.clone()],
                Some(Keys::All(names)) if !names.is_empty() => names.clone(),
                _ => return Err(("`keyed` needs the `key`".to_owned(), "write key = \"id\" or key = [\"a\", \"b\"]")),
            }),
            "tolerance" => Effect::Tolerance(match &self.tolerance {
                Some(number) => tolerance(&number.to_string())?,
                None => return Err(("`tolerance` needs a number".to_owned(), TOLERANCE_HINT)),
            }),
            "time" => Effect::Time(self.within.as_deref().map(duration).transpose()?),
            "pattern" => Effect::Pattern(match &self.pattern {
                Some(pattern) => RegexBuilder::new(pattern).size_limit(MOST_PATTERN).build().map_err(|error| {
                    let why = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                    (format!("{pattern:?} is not a pattern: {why}"), "write a regular expression, as ^[0-9a-f]{8}$")
                })?,
                None => {
                    let hint = "write pattern = \"^[0-9a-f]{8}$\"";
                    return Err(("`pattern` needs a regular expression".to_owned(), hint));
                }
            }),
            other => {
                let why = format!("as = {other:?} is unknown; there are {EFFECTS}");
                return Err((why, "write one of them"));
            }
        })
    }
}

/// The side and the steps of a path.
fn path(text: &str) -> Result<(Side, Vec<Pattern>), Wrong> {
    let hint = "write a path as reports print it: response/body/created_at, request/header/x-key";
    let (side, rest) = match text.split_once('/') {
        Some(("response", rest)) => (Side::Response, rest),
        Some(("request", rest)) => (Side::Request, rest),
        _ => return Err(("the path does not begin with `response/` or `request/`".to_owned(), hint)),
    };
    let steps: Vec<&str> = rest.split('/').collect();
    if steps.len() > MOST_STEPS {
        return Err((format!("the path has more than {MOST_STEPS} steps"), hint));
    }
    let fields: &[&str] = match side {
        Side::Response => &["status", "header", "trailer", "body", "end", STREAM, "*", "**"],
        Side::Request => &["method", "target", "header", "trailer", "body", "end", ORDER, "*", "**"],
    };
    let is_of_value = || Protocol::ALL.into_iter().any(|protocol| protocol.members().contains(&steps[0]));
    if !fields.contains(&steps[0]) && (side == Side::Response || !is_of_value()) {
        let why =
            format!("{:?} is no part of a message; there are {}", steps[0], fields[..fields.len() - 2].join(", "));
        return Err((why, hint));
    }
    let is_field = matches!(steps[0], "header" | "trailer");
    let steps = steps.iter().enumerate().map(|(index, step)| match *step {
        "*" => Pattern::Any,
        "**" => Pattern::Deep,
        // The names of fields have no case.
        step if is_field && index == 1 => Pattern::Named(unescaped(&step.to_lowercase())),
        step => Pattern::Named(unescaped(step)),
    });
    Ok((side, steps.collect()))
}

/// A step of a JSON Pointer (RFC 6901 section 4).
fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

const TOLERANCE_HINT: &str = "write tolerance = 0.01 or tolerance = \"1%\"";

fn tolerance(text: &str) -> Result<Tolerance, Wrong> {
    let (number, is_percent) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), true),
        None => (text, false),
    };
    match Decimal::read(number).filter(|number| !number.is_negative()) {
        Some(number) if is_percent => Ok(Tolerance::Percent(number)),
        Some(number) => Ok(Tolerance::Absolute(number)),
        None => Err((format!("{text:?} is no tolerance"), TOLERANCE_HINT)),
    }
}

/// A number and a unit: ms, s, m, h, d.
fn duration(text: &str) -> Result<Duration, Wrong> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => f64::NAN,
    };
    let seconds = number.parse().unwrap_or(f64::NAN) * seconds;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| (format!("{text:?} is no length of time"), "write a number and ms, s, m, h or d: within = \"5s\""))
}
