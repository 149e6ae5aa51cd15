use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use regress_cassettes::{Cassette, Defect};
use serde_json::Value;

use crate::{
    harness::{Client, Corpus, Finished, Need, Process, Recording, Report, http, regress, require},
    services::{LISTENS, Language, PATIENT, RecordedShop, Shop, Waits},
};

const CLIENTS: u32 = 8;
const REQUESTS: u32 = 400;
/// Every so many requests of a client one is forced.
const FORCED: u32 = 80;
const EXAMPLES: u64 = 3;

/// A day's worth in small: thousands of requests become a few cassettes of each shape, nothing else is missing, and they
/// replay the same.
#[test]
fn thousands_of_requests_become_a_few_cassettes() {
    if !require("selection::day", &[Need::Go, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::prepare(Shop::new(Language::Go));
    let distinct = format!("--distinct={EXAMPLES}");
    let (finished, summary) = record(&recorded, &["--via", "ebpf", &distinct], || {
        std::thread::scope(|scope| {
            let port = recorded.shop.port;
            (1..=CLIENTS).for_each(|client| drop(scope.spawn(move || ask(&Client::new(port), 1000 * client))));
        });
    });
    finished.expect_code(0);

    let corpus = Corpus::read(&recorded.cassettes());
    let number = |path: &[&str]| path.iter().fold(&summary, |value, name| &value[name]).as_u64().expect("a number");
    assert_eq!(number(&["entries"]), corpus.cassettes.len() as u64);
    let left_out = summary["unselected"].as_object().expect("reasons");
    let all_left_out: u64 = left_out.values().filter_map(Value::as_u64).sum();
    assert_eq!(number(&["entries"]) + all_left_out, u64::from(CLIENTS * REQUESTS), "{summary:#}");
    assert_eq!(number(&["unselected", "health-check"]), u64::from(CLIENTS * REQUESTS / 8));
    assert_eq!(number(&["unselected", "health-check"]) + number(&["unselected", "shape"]), all_left_out);
    assert_eq!(corpus.losses(), Vec::<&Defect>::new(), "{}", finished.stderr);

    let mut kept: BTreeMap<String, u64> = BTreeMap::new();
    let forced = corpus.cassettes.iter().filter(|cassette| is_forced(cassette)).count();
    corpus.cassettes.iter().filter(|cassette| !is_forced(cassette)).for_each(|cassette| {
        *kept.entry(route(cassette)).or_default() += 1;
    });
    assert_eq!(forced as u32, CLIENTS * REQUESTS / FORCED);
    // Values make no new shape; what a failed or delayed call would change is not in this traffic.
    assert!(kept.values().all(|&count| count <= EXAMPLES), "{kept:?}");
    let routes: BTreeSet<String> = corpus.cassettes.iter().map(route).collect();
    assert!(routes.iter().eq(["GET orders", "GET report", "POST orders"]), "{routes:?}");
    // What entries caused that were left out is left out with them.
    let ambient: Vec<_> = corpus.ambient.iter().map(|call| http(call).request.target()).collect();
    assert!(ambient.iter().all(|target| target == "/config"), "{ambient:?}");

    recorded.shop.inventory.take_served();
    recorded.shop.pricing.take_served();
    let (finished, report) = recorded.replay("none", PATIENT, &["--no-pending"]);
    finished.expect_code(0);
    let report = report.expect("a replay that began has a report");
    assert_eq!(report.summary.same, corpus.cassettes.len());
    // And they catch what changed.
    recorded.replay("value", PATIENT, &["--no-pending"]).0.expect_code(1);
}

/// What is larger than wanted is missing from the files, and is never the same.
#[test]
fn a_body_beyond_the_cap_is_inconclusive() {
    if !require("selection::max_body", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::prepare(Shop::new(Language::Python));
    let (finished, summary) = record(&recorded, &["--via", "proxy", "--max-body", "40"], || {
        let client = Client::new(recorded.shop.port);
        assert_eq!(client.get_with("x-regress-record", "1", "/health").status, 200);
        assert!(client.get("/orders/7").response.len() > 40);
    });
    finished.expect_code(2);
    assert!(finished.stderr.contains("bodies beyond the size that is wanted"), "{}", finished.stderr);
    assert_eq!((&summary["defective"], &summary["complete"]), (&1.into(), &false.into()));
    assert!(summary["ledger"]["body-cap"]["bytes"].as_u64() > Some(40), "{summary:#}");
    let corpus = Corpus::read(&recorded.cassettes());
    let order = corpus.cassettes.iter().find(|cassette| route(cassette) == "GET orders").expect("it was recorded");
    let entry = order.entry.as_ref().expect("not the ambient cassette");
    assert!(matches!(entry.defects[..], [Defect::Gap { .. }]), "{entry:?}");
    assert!(http(entry).response.as_ref().is_some_and(|response| response.body.is_empty()), "{entry:?}");

    recorded.shop.inventory.take_served();
    recorded.shop.pricing.take_served();
    // What was left out never comes.
    let waits = Waits { entry: 10.0, ..PATIENT };
    let (finished, report) = recorded.replay("none", waits, &["--no-pending"]);
    finished.expect_code(2);
    assert_eq!(verdicts(&report.expect("a report")), [("GET /health", "same"), ("GET /orders/7", "inconclusive")]);
}

/// Rules of `regress.toml`, and a header that goes before them.
#[test]
fn rules_leave_routes_out_and_a_header_keeps_what_they_would() {
    if !require("selection::rules", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::prepare(Shop::new(Language::Python));
    let rules = "[record]\nforce_header = \"x-keep\"\n\
                 [[select]]\nroute = \"GET /report\"\nnever = true\n\
                 [[select]]\nroute = \"* /orders*\"\nrate = \"2/h\"\n";
    let (finished, summary) = record_with(&recorded, rules, &["--via", "proxy"], || {
        let client = Client::new(recorded.shop.port);
        for order in 1..=5 {
            client.get("/report");
            client.get(&format!("/orders/{order}"));
            client.get("/health");
        }
        client.get_with("x-keep", "1", "/report");
        client.get_with("x-keep", "1", "/orders/6");
        client.get_with("x-keep", "1", "/health");
    });
    finished.expect_code(0);
    let left_out =
        "13 entries were left out by choice (docs/selection.md): 5 health checks, 5 by a rule, 3 beyond the rate";
    assert!(finished.stderr.contains(left_out), "{}", finished.stderr);
    assert_eq!(summary["entries"], 5);
    let corpus = Corpus::read(&recorded.cassettes());
    let mut targets: Vec<_> = corpus.replies().into_iter().map(|reply| reply.target).collect();
    targets.sort();
    assert_eq!(targets, ["/health", "/orders/1", "/orders/2", "/orders/6", "/report"]);
}

/// Only what nobody wanted is no recording.
#[test]
fn a_recording_of_health_checks_alone_is_none() {
    if !require("selection::nothing", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::prepare(Shop::new(Language::Python));
    let (finished, summary) = record(&recorded, &["--via", "proxy"], || {
        Client::new(recorded.shop.port).get("/health");
    });
    finished.expect_code(2);
    assert!(finished.stderr.contains("nothing was recorded"), "{}", finished.stderr);
    assert_eq!((&summary["entries"], &summary["unselected"]["health-check"]), (&0.into(), &1.into()));
}

#[test]
fn what_says_nothing_sensible_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let settings = folder.path().join("wrong.toml");
    for (text, words) in [
        ("[[select]]\nroute = \"GET /\"\n", "[[select]] 1, route: the rule says nothing"),
        ("[[select]]\nroute = \"GET /\"\nrate = \"many\"\n", "[[select]] 1, rate: a rate is a number of entries"),
        ("[[select]]\nroute = \"GET /\"\nkeep = -1\n", "keep"),
        ("[[select]]\nroute = \"GET /\"\nsometimes = true\n", "sometimes"),
        ("[record]\nmax_body = \"big\"\n", "[record] max_body: a size is a number of bytes"),
        ("[record]\ndistinct = 0\n", "[record] distinct: "),
    ] {
        std::fs::write(&settings, text).expect("a folder of our own");
        let mut command = regress();
        command.args(["record", "-o"]).arg(folder.path().join("out")).arg("--config").arg(&settings);
        let finished = Process::start(command.args(["--", "true"])).finish();
        finished.expect_code(2);
        assert!(finished.stderr.contains("error:") && finished.stderr.contains("hint:"), "{}", finished.stderr);
        assert!(finished.stderr.contains(words), "{text}: {}", finished.stderr);
    }
    for flags in [["--sample", "10"], ["--max-body", "x"], ["--max-in-flight", "0"], ["--force-header", "a b"]] {
        let mut command = regress();
        let finished = Process::start(command.arg("record").args(flags).args(["--", "true"])).finish();
        finished.expect_code(2);
        assert!(finished.stderr.contains("error:") && finished.stderr.contains(flags[0]), "{}", finished.stderr);
    }
}

/// Orders of numbers from this one on, and what else there is to ask.
fn ask(client: &Client, first: u32) {
    for order in first..first + REQUESTS {
        let reply = match order % 8 {
            _ if order % FORCED == 1 => client.get_with("X-Regress-Record", "yes", &format!("/orders/{order}")),
            0 => client.get("/health"),
            1 => client.get("/report"),
            2 | 3 => client.post("/orders", &format!(r#"{{"id":"{order}","sku":"sku-{order}","quantity":2}}"#)),
            _ => client.get(&format!("/orders/{order}")),
        };
        assert!(reply.status < 300, "{reply:?}");
    }
}

/// Record the shop by a command while something is asked; gives the summary as well.
fn record(recorded: &RecordedShop, arguments: &[&str], asked: impl FnOnce()) -> (Finished, Value) {
    record_with(recorded, "", arguments, asked)
}

fn record_with(recorded: &RecordedShop, rules: &str, arguments: &[&str], asked: impl FnOnce()) -> (Finished, Value) {
    let settings = recorded.settings("record", PATIENT);
    let text = std::fs::read_to_string(&settings).expect("it was written just now");
    std::fs::write(&settings, format!("{text}\n{rules}")).expect("a folder of our own");
    let summary = settings.with_file_name("summary.json");
    let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    all.extend(["--config".into(), settings.display().to_string()]);
    all.extend(["--summary".into(), format!("json={}", summary.display()), "--".into()]);
    all.extend(recorded.shop.language.command());
    let mut environment = recorded.shop.environment("none");
    environment.push(("REGRESS_KEEP_HEALTH_CHECKS", "false".into()));
    let recording = Recording::start(&recorded.cassettes(), all, environment);
    recording.wait_for_service(LISTENS, recorded.shop.port);
    asked();
    let finished = recording.stop();
    (finished, json(&summary))
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the summary was written");
    serde_json::from_str(&text).expect("the summary is JSON")
}

fn is_forced(cassette: &Cassette) -> bool {
    let entry = cassette.entry.as_ref().expect("not the ambient cassette");
    http(entry).request.header("x-regress-record").is_some()
}

/// Method and first segment of the path.
fn route(cassette: &Cassette) -> String {
    let request = &http(cassette.entry.as_ref().expect("not the ambient cassette")).request;
    format!("{} {}", request.method(), request.path().split('/').nth(1).unwrap_or_default())
}

fn verdicts(report: &Report) -> Vec<(&str, &str)> {
    report.outcomes.iter().map(|outcome| (outcome.entry.as_str(), outcome.verdict.as_str())).collect()
}
