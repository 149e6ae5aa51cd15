use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    harness::{Answer, Client, Downstream, Need, Process, Recording, Replay, Report, free_port, regress, require},
    services::{python, source},
};

/// A build of the service, and where it must differ: the part of the report and the path.
const BUILDS: [(&str, &[(&str, &str)]); 4] = [
    ("none", &[]),
    ("other-paid", &[("downstream", "downstream/1/request/body/order")]),
    ("other-told", &[("response", "response/body/number")]),
    ("amount", &[("downstream", "downstream/0/request/body/amount"), ("response", "response/body/amount")]),
];

#[test]
fn a_number_that_is_drawn_anew_is_learned_and_asserted() {
    if !require("drawn::counter", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let counter = Counter::record();
    counter.replay("none", &["--no-pending"], 1);

    let learned = counter.learn();
    let mut rules: Vec<_> = learned["proposals"].as_array().expect("a list").iter().map(rule).collect();
    rules.sort_unstable();
    let order = |operation| (operation, "request/body/order", "generated");
    assert_eq!(rules, [("", "response/body/number", "generated"), order("POST /pay"), order("POST /reserve")]);

    for (change, expected) in BUILDS {
        let report = counter.replay(change, &["--no-pending"], i32::from(!expected.is_empty()));
        for outcome in &report.outcomes {
            let found = outcome.differences.iter();
            let found: Vec<_> = found.map(|found| (found.place.as_str(), found.path.as_str())).collect();
            let lacks = expected.iter().find(|place| !found.contains(place));
            assert_eq!(lacks, None, "{change}: {found:?}");
            assert_eq!(outcome.verdict == "same", expected.is_empty(), "{change}: {found:?}");
        }
    }
    counter.replay("none", &["--no-pending", "--max-rung", "noise"], 1);

    // What is accepted beside the number leaves it as it was recorded.
    counter.replay("amount", &["--update"], 1);
    assert_eq!(counter.replay("amount", &["--no-pending"], 0).summary.same, 2);
    counter.replay("none", &["--no-pending"], 1);
}

/// Operation, path and `as` of a proposal.
fn rule(proposal: &Value) -> (&str, &str, &str) {
    let text = |name: &str| proposal["rule"][name].as_str().unwrap_or_default();
    (text("operation"), text("path"), text("as"))
}

/// A recording of two orders.
struct Counter {
    folder: TempDir,
    port: u16,
    store: Downstream,
}

impl Counter {
    fn record() -> Counter {
        let store = Downstream::start(|_, _, _| Answer(200, "application/json", r#"{"kept":true}"#.into()));
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let counter = Counter { folder, port: free_port(), store };
        std::fs::create_dir(counter.cassettes()).expect("the folder can be written");
        let settings = format!("[service]\nname = \"counter\"\nports = [{}]\n", counter.port);
        std::fs::write(counter.settings(), settings).expect("the folder can be written");
        let settings = counter.settings().display().to_string();
        let words = ["--via", "proxy", "--config", &settings, "--"].map(str::to_owned);
        let words = words.into_iter().chain(counter.command());
        let recording = Recording::start(&counter.cassettes(), words, counter.environment("none"));
        recording.wait_for_service("counter listens", counter.port);
        let client = Client::new(counter.port);
        for amount in [100, 9900] {
            assert_eq!(client.post("/orders", &format!(r#"{{"amount":{amount}}}"#)).status, 201);
        }
        drop(client);
        recording.stop().expect_code(0);
        counter.store.take_served();
        counter
    }

    fn cassettes(&self) -> PathBuf {
        self.folder.path().join("cassettes")
    }

    fn settings(&self) -> PathBuf {
        self.cassettes().join("regress.toml")
    }

    fn command(&self) -> Vec<String> {
        vec![python(), source("counter.py")]
    }

    fn environment(&self, change: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PORT", self.port.to_string()),
            ("STORE", self.store.address.to_string()),
            ("COUNTER_CHANGE", change.to_owned()),
        ]
    }

    /// Accepts all rules that are proposed.
    fn learn(&self) -> Value {
        let mut command = regress();
        command.arg("noise").arg(self.cassettes()).args(["--json", "--accept", "--"]).args(self.command());
        let finished = Process::start(command.envs(self.environment("none"))).finish();
        finished.expect_code(0);
        serde_json::from_str(&finished.stdout).expect("JSON")
    }

    fn replay(&self, change: &str, arguments: &[&str], code: i32) -> Report {
        let (finished, report) = Replay {
            cassettes: &self.cassettes(),
            settings: &self.settings(),
            command: &self.command(),
            environment: self.environment(change),
            arguments,
        }
        .run();
        finished.expect_code(code);
        assert!(self.store.take_served().is_empty(), "{change}: a replay reached the store");
        report.expect("a replay that began has a report")
    }
}
