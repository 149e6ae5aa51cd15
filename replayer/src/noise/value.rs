//! Differing values, read back from how reports show them, and the kind that they share.

use jiff::{Timestamp, fmt::rfc2822};

/// A value as a difference shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// There is none.
    Missing,
    /// A JSON string.
    Text(String),
    /// The text of a header, a path, a parameter of a query.
    Plain(String),
    /// A JSON number, as written.
    Number(String),
    /// Another JSON value: its type and how it is written.
    Json(&'static str, String),
    /// It was shortened for the report, so that nothing can be learned from it.
    Shortened,
}

impl Value {
    /// Read what a report shows at a path (`response/...` or `request/...`).
    pub(super) fn read(path: &str, shown: Option<&str>) -> Value {
        let Some(shown) = shown else { return Value::Missing };
        if shown.ends_with(" bytes)") && shown.contains('…') {
            return Value::Shortened;
        }
        // What is neither in a body nor in a part of HTTP is a member of a request in another protocol.
        let is_written =
            matches!(path.split('/').nth(1), Some("method" | "target" | "status" | "header" | "trailer" | "end"));
        match serde_json::from_str(shown).ok().filter(|_| !is_written) {
            None => Value::Plain(shown.to_owned()),
            Some(serde_json::Value::String(text)) => Value::Text(text),
            Some(serde_json::Value::Number(number)) => Value::Number(number.to_string()),
            Some(serde_json::Value::Bool(_)) => Value::Json("boolean", shown.to_owned()),
            Some(serde_json::Value::Null) => Value::Json("null", shown.to_owned()),
            Some(serde_json::Value::Array(_)) => Value::Json("array", shown.to_owned()),
            Some(serde_json::Value::Object(_)) => Value::Json("object", shown.to_owned()),
        }
    }

    /// The JSON type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Missing => "nothing",
            Value::Text(_) => "string",
            Value::Plain(_) => "text",
            Value::Number(_) => "number",
            Value::Json(kind, _) => kind,
            Value::Shortened => "long value",
        }
    }

    /// The number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Number(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// The text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// The number or text.
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Value::Number(text) | Value::Text(text) | Value::Plain(text) => Some(text),
            Value::Missing | Value::Json(..) | Value::Shortened => None,
        }
    }

    /// Whether it is a JSON value.
    pub(super) fn is_json(&self) -> bool {
        matches!(self, Value::Text(_) | Value::Number(_) | Value::Json(..))
    }

    /// The value as JSON, where it is known; `None` where there is none.
    pub(super) fn json(&self) -> Option<String> {
        match self {
            Value::Missing | Value::Shortened => None,
            Value::Text(text) | Value::Plain(text) => Some(serde_json::Value::from(text.as_str()).to_string()),
            Value::Number(text) => Some(text.clone()),
            Value::Json(_, text) => Some(text.clone()),
        }
    }

    /// The time that the value tells: RFC 3339, an HTTP date (RFC 9110 section 5.6.7), or a number of seconds,
    /// milliseconds, microseconds or nanoseconds since 1970, whichever is near `about`.
    pub(super) fn time(&self, about: Timestamp) -> Option<Timestamp> {
        match self {
            Value::Text(text) | Value::Plain(text) => {
                text.parse().ok().or_else(|| rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))
            }
            Value::Number(_) => {
                let number = self.number()?;
                let seconds = [1.0, 1e3, 1e6, 1e9].map(|unit| number / unit);
                let is_near = |seconds: &&f64| (**seconds - about.as_duration().as_secs_f64()).abs() < YEAR;
                let seconds = seconds.iter().find(is_near)?;
                Timestamp::from_millisecond((seconds * 1e3) as i64).ok()
            }
            Value::Missing | Value::Json(..) | Value::Shortened => None,
        }
    }
}

/// Seconds.
const YEAR: f64 = 366.0 * 86_400.0;
