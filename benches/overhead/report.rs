//! The table, and the file that programs read.

use regress_ebpf::Source;
use serde_json::{Map, Value, json};

use crate::{
    cases::{Case, Target},
    pairs::{Cost, Spread},
    recorders::{Lost, Method},
};

/// All that was measured in one case.
pub struct Results {
    pub case: Case,
    pub costs: Vec<(Method, Result<Cost, String>)>,
}

const HEAD: &str =
    "method            CPU bare/recorded      throughput rec./bare   events/s     MB/s  recorder       lost  target";

pub fn print_case(case: &Case, bare: &Cost) {
    println!(
        "\n{}: bare {:.1} us of CPU a request, {:.0} requests/s, {:.1} MB/s\n{HEAD}",
        case.name, bare.bare_microseconds, bare.bare_requests_a_second, bare.bare_megabytes_a_second
    );
}

pub fn print_cost(case: &Case, method: Method, cost: &Cost) {
    let spread = |s: Spread| format!("{:.3} [{:.3}..{:.3}]", s.median, s.least, s.most);
    let events = cost.events_a_second.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let lost = match cost.lost {
        None => "not told".to_owned(),
        Some(Lost { events: 0, bytes: 0 }) => "0".to_owned(),
        Some(Lost { events, bytes }) => format!("{events}/{bytes}B"),
    };
    let verdict = match judge(case, method, cost) {
        Some((target, true)) => format!("{target}: met"),
        Some((target, false)) => format!("{target}: NOT MET"),
        None => String::new(),
    };
    println!(
        "{:<16}  {:<21}  {:<21}  {:>8}  {:>7.1}  {:>7.0}%  {:>9}  {}",
        method.to_string(),
        spread(cost.cpu),
        spread(cost.throughput),
        events,
        cost.megabytes_a_second,
        cost.recorder_cpu * 100.0,
        lost,
        verdict
    );
}

/// The target of this method in this case, in words, and whether it is met; the socket source has one.
fn judge(case: &Case, method: Method, cost: &Cost) -> Option<(String, bool)> {
    if !matches!(method, Method::Capture(Source::Socket) | Method::Record(Source::Socket)) {
        return None;
    }
    match case.target {
        Target::None => None,
        Target::Cpu(least) => Some((format!("CPU >= {least:.2}"), cost.cpu.median >= least)),
        Target::NothingLost => {
            Some((format!("0 lost at {:.0} MB/s", cost.megabytes_a_second), cost.lost == Some(Lost::default())))
        }
    }
}

/// `{rows: [{case, metric, value, unit, limit, peers, target, met}], absent: [{name, reason}]}`. A row is one number of one
/// of our methods; `limit` is the same of programs that do nothing, `peers` that of other recorders.
pub fn json(results: &[Results], absent: &[(String, String)]) -> Value {
    let rows: Vec<Value> = results.iter().flat_map(rows).collect();
    let absent: Vec<Value> = absent.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
    json!({"rows": rows, "absent": absent})
}

fn rows(results: &Results) -> Vec<Value> {
    let known = || results.costs.iter().filter_map(|(method, cost)| Some((*method, cost.as_ref().ok()?)));
    let mut rows = Vec::new();
    for (method, cost) in known().filter(|(method, _)| !method.is_peer() && *method != Method::Noop) {
        let verdict = judge(&results.case, method, cost);
        for metric in METRICS {
            let limit = known().find(|(method, _)| *method == Method::Noop).and_then(|(_, cost)| (metric.of)(cost));
            let peers: Map<String, Value> = known()
                .filter(|(method, _)| method.is_peer())
                .map(|(method, cost)| (method.to_string(), number((metric.of)(cost))))
                .collect();
            let judged = match results.case.target {
                Target::Cpu(_) => metric.name == "cpu",
                Target::NothingLost => metric.name == "lost_events",
                Target::None => false,
            };
            let target = match results.case.target {
                Target::Cpu(least) => json!(least),
                _ => json!(0),
            };
            let verdict = verdict.as_ref().filter(|_| judged);
            rows.push(json!({
                "case": results.case.name,
                "metric": format!("{} {method}", metric.name),
                "value": number((metric.of)(cost)),
                "unit": metric.unit,
                "limit": number(limit),
                "peers": peers,
                "target": verdict.map(|_| target),
                "met": verdict.map(|(_, met)| *met),
                "pairs": cost.pairs,
            }));
        }
    }
    rows
}

struct Metric {
    name: &'static str,
    unit: &'static str,
    of: fn(&Cost) -> Option<f64>,
}

const METRICS: [Metric; 9] = [
    Metric { name: "cpu", unit: "bare/recorded", of: |cost| Some(cost.cpu.median) },
    Metric { name: "cpu_least", unit: "bare/recorded", of: |cost| Some(cost.cpu.least) },
    Metric { name: "cpu_most", unit: "bare/recorded", of: |cost| Some(cost.cpu.most) },
    Metric { name: "throughput", unit: "recorded/bare", of: |cost| Some(cost.throughput.median) },
    Metric { name: "events", unit: "1/s", of: |cost| cost.events_a_second },
    Metric { name: "payload", unit: "MB/s", of: |cost| Some(cost.megabytes_a_second) },
    Metric { name: "recorder_cpu", unit: "CPUs", of: |cost| Some(cost.recorder_cpu) },
    Metric { name: "lost_events", unit: "events", of: |cost| cost.lost.map(|lost| lost.events as f64) },
    Metric { name: "lost_bytes", unit: "bytes", of: |cost| cost.lost.map(|lost| lost.bytes as f64) },
];

/// To four places, which is more than is known.
fn number(value: Option<f64>) -> Value {
    value.filter(|value| value.is_finite()).map_or(Value::Null, |value| json!((value * 1e4).round() / 1e4))
}
