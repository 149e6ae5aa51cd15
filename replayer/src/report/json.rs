//! The report for programs; `docs/report-schema.md` describes it.

use std::{collections::BTreeMap, time::Duration};

use regress_cassettes::diff::{Difference, Kind, Noise};
use regress_mockserver::mock::Bound;
use serde_json::{Value, json};

use crate::{
    CallChange, CallFinding, Finding, Latency, Nearest, Outcome, Report, RuleUse, Served, Spread, groups::Group,
};

/// The version of the schema, MAJOR.MINOR. A new MINOR only adds keys.
///
/// - 1.0: the first one.
/// - 1.1: `notes` of an outcome.
/// - 1.2: `groups` and `latency`; `groups` and `recorded` of an outcome; `rules`, `noise` of a difference, the kind `moved`;
///   `rung`, `runner_up`, `again`, `bound` and `recorded_microseconds` of a match.
/// - 1.3: `selection` and `not_driven`, which the summary counts.
pub const VERSION: &str = "1.3";

/// The report as pretty-printed JSON with a trailing newline.
pub fn json(report: &Report) -> String {
    format!("{:#}\n", value(report))
}

/// The report as a value.
pub(super) fn value(report: &Report) -> Value {
    let summary = report.summary();
    let groups = report.groups();
    let mut groups_of: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for group in &groups {
        for entry in group.entry_numbers() {
            groups_of.entry(entry).or_default().push(&group.id);
        }
    }
    let outcome = |(number, one)| outcome(one, groups_of.get(&number).map_or(&[][..], Vec::as_slice), &report.rules);
    json!({
        "version": VERSION,
        "verdict": report.verdict().word(),
        "summary": {
            "total": summary.total,
            "same": summary.same,
            "different": summary.different,
            "inconclusive": summary.inconclusive,
            "not_driven": report.not_driven.len(),
        },
        "groups": groups.iter().map(|one| group(report, one)).collect::<Vec<_>>(),
        "latency": report.latency().map(latency),
        "outcomes": report.outcomes.iter().enumerate().map(outcome).collect::<Vec<_>>(),
        "selection": report.selected.as_ref().map(|selected| json!({
            "of": selected.of, "entries": selected.entries, "by": selected.by,
        })),
        "not_driven": report.not_driven.iter().map(|one| json!({
            "cassette": one.cassette.0,
            "file": one.file.to_string_lossy(),
        })).collect::<Vec<_>>(),
        "startup": report.startup.iter().flat_map(|one| call("startup", one, &report.rules)).collect::<Vec<_>>(),
        "rules": report.rules.iter().map(|rule| json!({
            "path": rule.path, "as": rule.effect, "why": rule.why,
            "fired": rule.fired, "selected": rule.selected, "stale": rule.is_stale(),
        })).collect::<Vec<_>>(),
        "unreadable": report.unreadable.iter().map(|unreadable| json!({
            "file": unreadable.file.to_string_lossy(),
            "why": unreadable.why,
            "hint": unreadable.hint,
        })).collect::<Vec<_>>(),
    })
}

fn group(report: &Report, group: &Group) -> Value {
    let cassette = |entry: usize| report.outcomes.get(entry).map(|outcome| &outcome.cassette.0);
    json!({
        "id": group.id,
        "severity": group.severity.word(),
        "follows": group.follows,
        "kind": group.kind.word(),
        "path": group.path,
        "call": group.call.as_ref().map(|call| json!({"downstream": call.downstream, "request": call.request})),
        "what": group.what(),
        "expected": group.expected,
        "actual": group.actual,
        "entries": group.entries(),
        "places": group.places.iter().map(|place| json!({
            "cassette": cassette(place.entry),
            "path": place.spot.path,
        })).collect::<Vec<_>>(),
    })
}

fn latency(latency: Latency) -> Value {
    let times = |one: Spread<Duration>| json!({"median": micros(one.median), "p95": micros(one.p95)});
    json!({
        "entries": latency.entries,
        "recorded_microseconds": times(latency.recorded),
        "recorded_own_microseconds": times(latency.own),
        "replayed_microseconds": times(latency.replayed),
        "ratio": latency.ratio.map(|ratio| json!({"median": rounded(ratio.median), "p95": rounded(ratio.p95)})),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// To three digits after the point.
fn rounded(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

fn outcome(outcome: &Outcome, groups: &[&str], rules: &[RuleUse]) -> Value {
    json!({
        "cassette": outcome.cassette.0,
        "file": outcome.file.to_string_lossy(),
        "entry": outcome.entry,
        "verdict": outcome.verdict.word(),
        "microseconds": outcome.took.map(micros),
        "recorded": outcome.recorded.map(|recorded| json!({
            "microseconds": micros(recorded.took),
            "own_microseconds": micros(recorded.own()),
            "ratio": outcome.time_ratio().map(rounded),
        })),
        "groups": groups,
        "doubts": outcome.doubts,
        "notes": outcome.notes,
        "differences": outcome.findings.iter().chain(&outcome.excused).flat_map(|one| finding(one, rules)).collect::<Vec<_>>(),
        "if_answered": outcome.if_answered.as_ref().map(|all| all.iter().flat_map(|one| finding(one, rules)).collect::<Vec<_>>()),
        "matches": outcome.calls.iter().map(served).collect::<Vec<_>>(),
        "last_output": outcome.last_output,
        "pending": outcome.pending.as_ref().map(|path| path.to_string_lossy()),
    })
}

fn finding(finding: &Finding, rules: &[RuleUse]) -> Vec<Value> {
    match finding {
        Finding::Response(one) => vec![difference("response", &format!("response/{}", one.path), one, rules)],
        Finding::Ended { expected, actual } => vec![json!({
            "where": "response", "kind": "changed", "path": "response",
            "expected": expected, "actual": actual, "noise": null,
        })],
        Finding::Exited(how) => vec![json!({
            "where": "response", "kind": "exited", "path": "process",
            "expected": null, "actual": how, "noise": null,
        })],
        Finding::Call(one) => call(&one.path(), one, rules),
    }
}

fn call(path: &str, call: &CallFinding, rules: &[RuleUse]) -> Vec<Value> {
    let of = json!({
        "downstream": call.downstream,
        "destination": call.destination.map(|address| address.to_string()),
        "request": call.request,
    });
    let with_call = |mut value: Value| {
        value["call"] = of.clone();
        value
    };
    match &call.change {
        CallChange::Omitted => vec![with_call(json!({
            "where": "downstream", "kind": "omitted", "path": path,
            "expected": call.request, "actual": null, "noise": null,
        }))],
        CallChange::Changed(differences) => differences
            .iter()
            .map(|one| {
                let path = format!("{path}/request/{}", one.path);
                with_call(difference("downstream", &path, one, rules))
            })
            .collect(),
        CallChange::Novel { reason, nearest } => {
            let mut value = with_call(json!({
                "where": "downstream", "kind": "novel", "path": path,
                "expected": null, "actual": call.request, "noise": null,
            }));
            value["reason"] = json!(reason);
            value["nearest"] = json!(nearest.as_ref().map(|nearest| near(nearest, rules)));
            vec![value]
        }
    }
}

fn near(nearest: &Nearest, rules: &[RuleUse]) -> Value {
    json!({
        "cassette": nearest.cassette.0,
        "exchange": nearest.number,
        "differences": nearest
            .differences
            .iter()
            .map(|one| difference("downstream", &format!("request/{}", one.path), one, rules))
            .collect::<Vec<_>>(),
    })
}

fn difference(place: &str, path: &str, difference: &Difference, rules: &[RuleUse]) -> Value {
    json!({
        "where": place, "kind": kind(difference.kind), "path": path,
        "expected": difference.expected, "actual": difference.actual,
        "noise": difference.noise.map(|why| noise(why, rules)),
    })
}

fn bound(bound: &Bound) -> Value {
    json!({"recorded": bound.recorded, "actual": bound.actual})
}

fn noise(noise: Noise, rules: &[RuleUse]) -> Value {
    match noise {
        Noise::Bound => json!({ "rule": null, "path": null, "why": "both stand for the same generated value" }),
        Noise::Rule(index) => {
            let rule = rules.get(index);
            json!({ "rule": index, "path": rule.map(|rule| &rule.path), "why": rule.and_then(|rule| rule.why.as_ref()) })
        }
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Changed => "changed",
        Kind::Added => "added",
        Kind::Removed => "removed",
        Kind::Type => "type",
        Kind::Moved => "moved",
    }
}

fn served(served: &Served) -> Value {
    let by = served.by.as_ref();
    json!({
        "match": if by.is_some() { "hit" } else { "miss" },
        "scope": by.map(|by| if by.ambient { "ambient" } else { "entry" }),
        "cassette": by.map(|by| &by.cassette.0),
        "exchange": by.map(|by| by.number),
        "rung": by.map(|by| by.rung.word()),
        "runner_up": by.and_then(|by| by.runner_up),
        "again": by.map(|by| by.again),
        "bound": by.map(|by| by.bound.iter().map(bound).collect::<Vec<_>>()),
        "recorded_microseconds": by.and_then(|by| by.took).map(micros),
        "downstream": served.downstream,
        "destination": served.destination.to_string(),
        "request": served.request,
    })
}
