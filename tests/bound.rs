use std::path::Path;

use crate::{
    harness::{Answer, Client, Downstream, Need, Recording, Replay, Report, free_port, require},
    services::{python, source},
};

/// A build of the ledger, and where it must differ: the part of the report and the end of the path.
const BUILDS: &[(&str, &[(&str, &str)])] = &[
    ("none", &[]),
    ("other-id", &[("downstream", "downstream/1/request/body/of")]),
    ("one-key", &[("downstream", "downstream/0/request/body/key")]),
    ("lasts-longer", &[("downstream", "downstream/0/request/body/expires")]),
    ("amount", &[("downstream", "downstream/0/request/body/amount")]),
    ("wrong-answer", &[("response", "response/body/booking")]),
];

#[test]
fn what_a_service_makes_anew_is_the_same_and_what_it_confuses_is_not() {
    if !require("bound::ledger", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let store = Downstream::start(|_, _, _| Answer(200, "application/json", r#"{"kept":true}"#.into()));
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let ledger = Ledger { port: free_port(), store: &store, folder: folder.path() };
    ledger.record();
    for (change, expected) in BUILDS {
        let report = ledger.replay(change, &[], if expected.is_empty() { 0 } else { 1 });
        for outcome in &report.outcomes {
            let found = outcome.differences.iter();
            let found: Vec<_> = found.map(|found| (found.place.as_str(), found.path.as_str())).collect();
            let lacks = expected.iter().find(|place| !found.contains(place));
            assert_eq!(lacks, None, "{change}: {found:?}");
            assert_eq!(outcome.verdict == "same", expected.is_empty(), "{change}: {found:?}");
        }
    }
    ledger.replay("none", &["--max-rung", "exact"], 1);

    // Every entry has the tenant, which is therefore no value that was made for one of them.
    let report = ledger.replay("other-tenant", &[], 1);
    let different = report.outcomes.iter().filter(|outcome| outcome.verdict == "different");
    assert!(different.count() >= report.outcomes.len() - 1, "{report:?}");

    ledger.accept("amount");
    assert_eq!(ledger.replay("amount", &[], 0).summary.same, 3, "what was accepted is no value of one run");
    ledger.replay("none", &[], 1);
}

/// The ledger, its store, and where it is recorded.
struct Ledger<'a> {
    port: u16,
    store: &'a Downstream,
    folder: &'a Path,
}

impl Ledger<'_> {
    fn command(&self) -> Vec<String> {
        vec![python(), source("ledger.py")]
    }

    fn environment(&self, change: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PORT", self.port.to_string()),
            ("STORE", self.store.address.to_string()),
            ("LEDGER_CHANGE", change.to_owned()),
        ]
    }

    /// Three bookings, two of them alike.
    fn record(&self) {
        let settings = format!("[service]\nname = \"ledger\"\nports = [{}]\n\n[replay]\nsettle = 0.5\n", self.port);
        std::fs::write(self.folder.join("regress.toml"), settings).expect("the folder can be written");
        let mut arguments = vec!["--via".to_owned(), "proxy".to_owned(), "--config".to_owned()];
        arguments.extend([self.folder.join("regress.toml").display().to_string(), "--".to_owned()]);
        arguments.extend(self.command());
        let recording = Recording::start(&self.folder.join("cassettes"), arguments, self.environment("none"));
        recording.wait_for_service("ledger listens", self.port);
        let client = Client::new(self.port);
        for amount in [100, 9900, 100] {
            assert_eq!(client.post("/bookings", &format!(r#"{{"amount":{amount}}}"#)).status, 201);
        }
        recording.stop().expect_code(0);
        self.store.take_served();
    }

    /// Accepts what a build does otherwise.
    fn accept(&self, change: &str) {
        self.run(change, &["--update"], 1);
    }

    fn replay(&self, change: &str, arguments: &[&str], code: i32) -> Report {
        let mut all = vec!["--no-pending"];
        all.extend(arguments);
        self.run(change, &all, code)
    }

    fn run(&self, change: &str, arguments: &[&str], code: i32) -> Report {
        let (finished, report) = Replay {
            cassettes: &self.folder.join("cassettes"),
            settings: &self.folder.join("regress.toml"),
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
