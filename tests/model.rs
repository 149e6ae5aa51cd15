use crate::{
    harness::{Need, Outcome, Report, require},
    services::{Language, PATIENT, RecordedShop, Source, Waits},
};

/// What a change of the shop must lead to.
struct Row {
    /// The name in `SHOP_CHANGE`.
    change: &'static str,
    /// What replay must say.
    verdict: Verdict,
    /// How long replay waits for this build.
    waits: Waits,
}

enum Verdict {
    /// Exit code 0, every entry the same.
    Same,
    /// Exit code 1, exactly these entries different, and each of them at this place (among others).
    Different { entries: &'static [&'static str], place: &'static str, kind: &'static str, path: &'static str },
    /// Exit code 1, these entries different as a whole: there was no answer. The others may be anything but wrong:
    /// the build may have died.
    NoAnswer { entries: &'static [&'static str] },
    /// Exit code 2.
    CouldNotTell,
}

const ORDERS: &[&str] = &["GET /orders/7", "GET /orders/9"];
const NEW_ORDER: &[&str] = &["POST /orders"];
const ANY_ORDER: &[&str] = &["GET /orders/7", "GET /orders/9", "POST /orders"];
const EVERY: &[&str] = &["GET /broken", "GET /health", "GET /orders/7", "GET /orders/9", "GET /report", "POST /orders"];

const IN_RESPONSE: &str = "response";
const IN_CALLS: &str = "downstream";

#[rustfmt::skip]
const MODEL: &[Row] = &[
    same("none"),
    same("key-order"),
    same("whitespace"),
    same("log-line"),
    same("header-case"),
    same("connection-per-call"),
    different("value", ORDERS, IN_RESPONSE, "changed", "response/body/currency"),
    different("type", ORDERS, IN_RESPONSE, "type", "response/body/available"),
    different("missing-field", ORDERS, IN_RESPONSE, "removed", "response/body/currency"),
    different("rounding", ANY_ORDER, IN_RESPONSE, "changed", "response/body/total"),
    different("status", NEW_ORDER, IN_RESPONSE, "changed", "response/status"),
    different("header-dropped", EVERY, IN_RESPONSE, "removed", "response/header/cache-control"),
    different("swallowed-error", &["GET /broken"], IN_RESPONSE, "changed", "response/status"),
    different("changed-argument", ANY_ORDER, IN_CALLS, "changed", "/request/body/quantity"),
    different("omitted-call", NEW_ORDER, IN_CALLS, "omitted", ""),
    different("extra-call", ORDERS, IN_CALLS, "novel", ""),
    different("wrong-downstream", ANY_ORDER, IN_CALLS, "novel", ""),
    different("wrong-path", ORDERS, IN_CALLS, "novel", ""),
    Row { change: "crash", verdict: Verdict::NoAnswer { entries: &["GET /report"] }, waits: PATIENT },
    Row { change: "hang", verdict: Verdict::NoAnswer { entries: &["GET /report"] }, waits: Waits { entry: 3.0, ..PATIENT } },
    Row { change: "exits-early", verdict: Verdict::CouldNotTell, waits: PATIENT },
    Row { change: "never-listens", verdict: Verdict::CouldNotTell, waits: Waits { ready: 2.0, ..PATIENT } },
];

const fn same(change: &'static str) -> Row {
    Row { change, verdict: Verdict::Same, waits: PATIENT }
}

const fn different(
    change: &'static str,
    entries: &'static [&'static str],
    place: &'static str,
    kind: &'static str,
    path: &'static str,
) -> Row {
    Row { change, verdict: Verdict::Different { entries, place, kind, path }, waits: PATIENT }
}

#[test]
fn python_recorded_by_the_kernel() {
    hold("model::python_ebpf", Language::Python, Source::Ebpf);
}

#[test]
fn python_recorded_by_proxy() {
    hold("model::python_proxy", Language::Python, Source::Proxy);
}

#[test]
fn node_recorded_by_the_kernel() {
    hold("model::node_ebpf", Language::Node, Source::Ebpf);
}

#[test]
fn node_recorded_by_proxy() {
    hold("model::node_proxy", Language::Node, Source::Proxy);
}

#[test]
fn go_recorded_by_the_kernel() {
    hold("model::go_ebpf", Language::Go, Source::Ebpf);
}

#[test]
fn go_recorded_by_proxy() {
    hold("model::go_proxy", Language::Go, Source::Proxy);
}

/// Record the shop once, replay it with every change, and report all rows that do not hold.
fn hold(test: &str, language: Language, source: Source) {
    let mut needs = vec![language.need(), Need::Sandbox];
    if source == Source::Ebpf {
        needs.push(Need::Ebpf);
    }
    if !require(test, &needs) {
        return;
    }
    let recorded = RecordedShop::record(language, source);
    let mut broken = Vec::new();
    for row in MODEL {
        let (finished, report) = recorded.replay(row.change, row.waits, &["--no-pending"]);
        if let Err(why) = row.verdict.judge(finished.code, report.as_ref()) {
            broken
                .push(format!("{}: {why}\n--- stdout\n{}--- stderr\n{}", row.change, finished.stdout, finished.stderr));
        }
    }
    assert!(broken.is_empty(), "{} of {} rows do not hold\n{}", broken.len(), MODEL.len(), broken.join("\n"));
}

impl Verdict {
    fn judge(&self, code: i32, report: Option<&Report>) -> Result<(), String> {
        let expected = match self {
            Verdict::Same => 0,
            Verdict::Different { .. } | Verdict::NoAnswer { .. } => 1,
            Verdict::CouldNotTell => 2,
        };
        if code != expected {
            return Err(format!("exit code {code}, expected {expected}"));
        }
        let outcomes = report.map(|report| report.outcomes.as_slice());
        let different = outcomes.map(|outcomes| entries(outcomes, "different"));
        let same = outcomes.map(|outcomes| entries(outcomes, "same"));
        match self {
            Verdict::Same if same.as_deref() == Some(EVERY) => Ok(()),
            Verdict::Same => Err(format!("not all the same: {same:?}")),
            Verdict::Different { entries, .. } if different.as_deref() != Some(*entries) => {
                Err(format!("different: {different:?}, expected {entries:?}"))
            }
            Verdict::Different { place, kind, path, .. } => {
                let mut outcomes = outcomes.unwrap_or_default().iter();
                let lacks = |outcome: &&Outcome| outcome.verdict == "different" && !shows(outcome, place, kind, path);
                match outcomes.find(lacks) {
                    None => Ok(()),
                    Some(outcome) => Err(format!("no {place} {kind} {path} in {outcome:?}")),
                }
            }
            Verdict::NoAnswer { entries }
                if entries.iter().all(|entry| different.iter().flatten().any(|e| e == entry)) =>
            {
                Ok(())
            }
            Verdict::NoAnswer { entries } => Err(format!("different: {different:?}, expected {entries:?}")),
            Verdict::CouldNotTell if same.is_none_or(|same| same.is_empty()) => Ok(()),
            Verdict::CouldNotTell => Err("a build that never answered is the same".into()),
        }
    }
}

/// The entries with this verdict, sorted.
fn entries<'a>(outcomes: &'a [Outcome], verdict: &str) -> Vec<&'a str> {
    let mut entries: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.verdict == verdict).map(|outcome| outcome.entry.as_str()).collect();
    entries.sort_unstable();
    entries
}

fn shows(outcome: &Outcome, place: &str, kind: &str, path: &str) -> bool {
    outcome
        .differences
        .iter()
        .any(|difference| difference.place == place && difference.kind == kind && difference.path.ends_with(path))
}
