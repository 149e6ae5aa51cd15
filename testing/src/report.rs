//! The JSON report of a replay (`docs/report-schema.md` of regress), as far as it is needed here.

use std::{fmt::Write, path::Path};

use serde::Deserialize;
use serde_json::Value;

/// The report.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub outcomes: Vec<Outcome>,
    pub startup: Vec<Value>,
    pub unreadable: Vec<Value>,
}

/// The result of one entry.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub cassette: String,
    pub entry: String,
    pub verdict: String,
    differences: Vec<Difference>,
}

/// One difference.
#[derive(Debug, Deserialize)]
struct Difference {
    kind: String,
    path: String,
    expected: Option<String>,
    actual: Option<String>,
    noise: Option<Value>,
    call: Option<Call>,
}

/// The call that a difference is about.
#[derive(Debug, Deserialize)]
struct Call {
    downstream: String,
    request: String,
}

impl Report {
    /// Read it.
    pub fn read(path: &Path) -> Report {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("not a report of regress: {error}"))
    }
}

impl Outcome {
    /// What differs, as a snapshot has it.
    pub fn told(&self) -> String {
        let mut out = String::new();
        for difference in self.differences.iter().filter(|difference| difference.noise.is_none()) {
            let Difference { kind, path, expected, actual, call, .. } = difference;
            let call =
                call.as_ref().map(|call| format!("  ({}  {})", call.downstream, call.request)).unwrap_or_default();
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            // Writing to a string does not fail.
            let _ = writeln!(out, "{path}  {kind}{call}");
            let _ = writeln!(out, "  expected  {}\n  actual    {}", value(expected), value(actual));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_told() {
        let outcome: Outcome = serde_json::from_str(
            r#"{"cassette": "1", "entry": "GET /", "verdict": "different", "differences": [
                {"where": "response", "kind": "type", "path": "response/body/a", "expected": "1", "actual": "\"1\"", "noise": null},
                {"where": "response", "kind": "changed", "path": "response/body/b", "expected": "1", "actual": "2", "noise": {"rule": 0}},
                {"where": "downstream", "kind": "omitted", "path": "downstream/0", "expected": "GET /x", "actual": null, "noise": null,
                 "call": {"downstream": "prices", "destination": null, "request": "GET /x"}}]}"#,
        )
        .unwrap();
        insta::assert_snapshot!(outcome.told(), @r#"
        response/body/a  type
          expected  1
          actual    "1"
        downstream/0  omitted  (prices  GET /x)
          expected  GET /x
          actual    nothing
        "#);
    }
}
