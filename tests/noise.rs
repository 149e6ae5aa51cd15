use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    harness::{
        Answer, Client, Corpus, Downstream, Finished, Need, Outcome, Process, Recording, Replay, Report, free_port,
        regress, require,
    },
    services::{Language, RecordedShop, Source, python, source},
};

#[test]
fn rules_for_a_service_in_python() {
    hold("noise::python", Need::Python, || vec![python(), source("noisy.py")]);
}

#[test]
fn rules_for_a_service_in_node() {
    hold("noise::node", Need::Node, || vec!["node".into(), source("noisy.mjs")]);
}

/// What varies in the service: path, and as what. The UUID in its call is bound without a rule.
const NOISE: [(&str, &str); 6] = [
    ("request/header/x-request-key", "pattern"),
    ("response/body/created_at", "time"),
    ("response/body/id", "pattern"),
    ("response/body/lottery", "type"),
    ("response/body/tags", "unordered"),
    ("response/header/x-request-id", "pattern"),
];

fn hold(test: &str, language: Need, command: fn() -> Vec<String>) {
    if !require(test, &[language, Need::Sandbox]) {
        return;
    }
    let noisy = Recorded::new(command());
    noisy.record(&[]).expect_code(0);
    assert_eq!(noisy.labels().concat(), Vec::<String>::new());
    noisy.replay("none", &[]).0.expect_code(1);

    // A build with a wrong value that is the same every time: told, and covered by no rule.
    let (finished, wrong) = noisy.noise("elsewhere", &["--runs", "3"]);
    finished.expect_code(1);
    assert_eq!(rules(&wrong), BTreeSet::from(NOISE));
    let [change] = wrong["changes"].as_array().expect("a list").as_slice() else { panic!("one change: {wrong:#}") };
    assert!(change["at"].as_str().expect("text").contains("response/body/region"), "{change}");
    assert_eq!((&change["expected"], &change["actual"]), (&"\"here\"".into(), &"\"elsewhere\"".into()));
    assert!(!noisy.settings().exists(), "no rule is written unasked");

    let (finished, learned) = noisy.noise("here", &["--accept"]);
    finished.expect_code(0);
    assert_eq!(rules(&learned), BTreeSet::from(NOISE));
    assert_eq!((&learned["changes"], &learned["unruled"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert_eq!(learned["written"], NOISE.len());
    noisy.replay("none", &[]).0.expect_code(0);

    // What is wrong beside what varies is still seen, and so is what varies as it should not.
    let wrong = [("total", "body/total"), ("quantity", "body/quantity"), ("id", "body/id"), ("tags", "body/tags")];
    for (change, path) in wrong {
        let (finished, report) = noisy.replay(change, &["--no-pending"]);
        finished.expect_code(1);
        let report = report.expect("a replay that began has a report");
        let shows = |outcome: &&Outcome| outcome.differences.iter().any(|it| it.path.contains(path));
        let different = report.outcomes.iter().filter(|outcome| outcome.verdict == "different");
        assert_eq!(different.filter(shows).count(), 2, "{change}: {report:#?}");
    }

    // Nothing new is learned, and nothing is written twice.
    let before = fs::read_to_string(noisy.settings()).expect("rules were written");
    let (finished, learned) = noisy.noise("here", &["--accept", "--runs", "2"]);
    finished.expect_code(0);
    assert_eq!(rules(&learned), BTreeSet::new());
    assert_eq!(fs::read_to_string(noisy.settings()).expect("it is still there"), before);
}

#[test]
fn what_varies_inside_of_items_shows_once_their_order_is_no_matter() {
    if !require("noise::items", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let noisy = Recorded::new(vec![python(), source("noisy.py")]);
    let recording = noisy.start(&[]);
    let client = Client::new(noisy.port);
    assert_eq!(client.get("/parcels").status, 200);
    drop(client);
    recording.stop().expect_code(0);

    let (finished, first) = noisy.noise("here", &["--accept"]);
    finished.expect_code(1);
    assert_eq!(rules(&first), BTreeSet::from([("response/body/parcels", "keyed")]));
    assert!(first["unruled"][0]["hint"].as_str().expect("text").contains("run noise again"), "{first:#}");
    let (finished, second) = noisy.noise("here", &["--accept"]);
    finished.expect_code(0);
    assert_eq!(rules(&second), BTreeSet::from([("response/body/parcels/*/label", "pattern")]));
    noisy.replay("none", &[]).0.expect_code(0);
}

#[test]
fn writes_in_any_order_get_a_rule() {
    if !require("noise::order", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let noisy = Recorded::new(vec![python(), source("noisy.py")]);
    let recording = noisy.start(&[]);
    let client = Client::new(noisy.port);
    assert_eq!(client.get("/told").status, 200);
    drop(client);
    recording.stop().expect_code(0);

    let (finished, learned) = noisy.noise("here", &["--accept"]);
    finished.expect_code(0);
    assert_eq!(rules(&learned), BTreeSet::from([("request/order", "unordered")]));
    assert_eq!(learned["proposals"][0]["rule"]["operation"], "POST /shelves/*");
    let (finished, report) = noisy.replay("none", &[]);
    finished.expect_code(0);
    let excused = &report.expect("a replay that began has a report").outcomes[0].differences;
    assert!(excused.iter().all(|one| one.kind == "moved" && one.path.ends_with("/request/order")), "{excused:?}");
}

#[test]
fn nothing_is_learned_from_a_service_that_does_not_vary() {
    if !require("noise::steady", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let shop = RecordedShop::record(Language::Python, Source::Proxy);
    let mut command = regress();
    command.arg("noise").arg(shop.cassettes()).args(["--json", "--accept", "--runs", "2", "--"]);
    let finished =
        Process::start(command.args(shop.shop.language.command()).envs(shop.shop.environment("none"))).finish();
    finished.expect_code(0);
    let learned: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    for list in ["proposals", "unruled", "changes", "unjudged"] {
        assert_eq!(learned[list], Value::Array(vec![]), "{list}");
    }
    assert!(!shop.cassettes().join("regress.toml").exists());
}

#[test]
fn a_recording_checks_itself() {
    if !require("noise::self_check", &[Need::Python, Need::Sandbox]) {
        return;
    }
    let noisy = Recorded::new(vec![python(), source("noisy.py")]);
    let finished = noisy.record(&["--self-check"]);
    finished.expect_code(1);
    assert!(finished.stderr.contains("self-check: 1 entry replayed as recorded, 2 not, 0"), "{}", finished.stderr);
    let labels = noisy.labels();
    let varies = |path: &str| format!("{path} varies from replay to replay");
    let expected = NOISE.iter().map(|(path, _)| match path.starts_with("request") {
        true => varies(&format!("downstream/0/{path}")),
        false => varies(path),
    });
    let expected: Vec<String> = expected.collect();
    assert_eq!(labels[..2], [expected.clone(), expected]);
    assert_eq!(labels[2], Vec::<String>::new());

    // A label excuses nothing.
    let (finished, _) = noisy.replay("none", &[]);
    finished.expect_code(1);
    assert_eq!(finished.stderr.matches("(non-deterministic when it was recorded)").count(), 2, "{}", finished.stderr);

    // Where rules cover what varies there is nothing to label; what was recorded before is left as it is.
    noisy.noise("here", &["--accept"]).0.expect_code(0);
    let finished = noisy.record(&["--self-check"]);
    finished.expect_code(0);
    assert!(finished.stderr.contains("self-check: 3 entries replayed as recorded, 0 not, 0"), "{}", finished.stderr);
    assert_eq!(noisy.labels()[3..].concat(), Vec::<String>::new());
    assert_eq!(noisy.labels()[..3], labels);
}

#[test]
fn a_recording_of_a_running_service_checks_itself() {
    if !require("noise::running", &[Need::Python, Need::Sandbox, Need::Ebpf]) {
        return;
    }
    let noisy = Recorded::new(vec![python(), source("noisy.py")]);
    let mut service = Command::new(&noisy.command[0]);
    let service = Process::start(service.args(&noisy.command[1..]).envs(noisy.environment("here", "none")));
    service.wait_for_line("noisy listens");
    let pid = service.id().to_string();
    let settings = noisy.folder.path().join("service.toml");
    // The second time with a command that does not exist: what was recorded is kept.
    let missing = vec!["/no/such/service".to_owned()];
    for (command, code, cassettes) in [(&noisy.command, 1, 3), (&missing, 2, 6)] {
        fs::write(&settings, format!("[service]\ncommand = {command:?}\n"))
            .expect("the temporary folder can be written");
        let config = settings.display().to_string();
        let words = ["--via", "ebpf", "--pid", &pid, "--config", &config, "--self-check"];
        let recording = Recording::start(&noisy.cassettes(), words, noisy.environment("here", "none"));
        noisy.visit();
        let finished = recording.stop();
        finished.expect_code(code);
        assert_eq!(noisy.labels().len(), cassettes);
        assert_eq!(noisy.labels().iter().filter(|label| !label.is_empty()).count(), 2);
        let is_kept = finished.stderr.contains("the recording is kept in") && finished.stderr.contains("hint: ");
        assert_eq!(is_kept, code == 2, "{}", finished.stderr);
    }
    service.stop();
}

#[test]
fn a_check_that_cannot_start_the_service_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let mut command = regress();
    command.arg("record").arg("-o").arg(folder.path().join("cassettes"));
    let pid = std::process::id().to_string();
    let finished = Process::start(command.args(["--self-check", "--pid", &pid])).finish();
    finished.expect_code(2);
    assert!(
        finished.stderr.contains("error: --self-check") && finished.stderr.contains("hint: "),
        "{}",
        finished.stderr
    );
    assert!(!folder.path().join("cassettes").exists());
}

/// The proposed rules: path and `as`.
fn rules(learned: &Value) -> BTreeSet<(&str, &str)> {
    let proposals = learned["proposals"].as_array().expect("a list").iter();
    let text = |value: &'static str, proposal: &Value| {
        proposal["rule"][value].as_str().expect("text").to_owned().leak() as &str
    };
    proposals.map(|proposal| (text("path", proposal), text("as", proposal))).collect()
}

/// A recording of the service.
struct Recorded {
    folder: TempDir,
    command: Vec<String>,
    port: u16,
    inventory: Downstream,
}

impl Recorded {
    fn new(command: Vec<String>) -> Recorded {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        Recorded { folder, command, port: free_port(), inventory: Downstream::start(inventory) }
    }

    /// Start to record the service, and wait until it listens.
    fn start(&self, arguments: &[&str]) -> Recording {
        let port = self.port.to_string();
        let command = self.command.iter().map(String::as_str);
        let words = [&["--via", "proxy", "--port", &port], arguments, &["--"]].concat().into_iter().chain(command);
        let recording = Recording::start(&self.cassettes(), words, self.environment("here", "none"));
        recording.wait_for_service("noisy listens", self.port);
        recording
    }

    /// Record two orders and a question after the service's health.
    fn record(&self, arguments: &[&str]) -> Finished {
        let recording = self.start(arguments);
        self.visit();
        recording.stop()
    }

    fn visit(&self) {
        let client = Client::new(self.port);
        assert_eq!(client.post("/orders", r#"{"sku":"tea","quantity":2}"#).status, 201);
        assert_eq!(client.post("/orders", r#"{"sku":"mug","quantity":1}"#).status, 201);
        assert_eq!(client.get("/health").status, 200);
    }

    /// Why entries are non-deterministic, in recorded order.
    fn labels(&self) -> Vec<Vec<String>> {
        Corpus::read(&self.cassettes()).cassettes.into_iter().map(|cassette| cassette.nondeterministic).collect()
    }

    fn cassettes(&self) -> PathBuf {
        self.folder.path().join("cassettes")
    }

    fn settings(&self) -> PathBuf {
        self.cassettes().join("regress.toml")
    }

    fn environment(&self, region: &str, change: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PORT", self.port.to_string()),
            ("INVENTORY_URL", self.inventory.url()),
            ("NOISY_REGION", region.to_owned()),
            ("NOISY_CHANGE", change.to_owned()),
        ]
    }

    /// `regress noise --json`, and what it printed.
    fn noise(&self, region: &str, arguments: &[&str]) -> (Finished, Value) {
        let mut command = regress();
        command.arg("noise").arg(self.cassettes()).arg("--json").args(arguments).arg("--").args(&self.command);
        let finished = Process::start(command.envs(self.environment(region, "none"))).finish();
        let learned = serde_json::from_str(&finished.stdout);
        let learned = learned.unwrap_or_else(|error| panic!("{error}\n{}\n{}", finished.stdout, finished.stderr));
        (finished, learned)
    }

    fn replay(&self, change: &str, arguments: &[&str]) -> (Finished, Option<Report>) {
        let settings = match self.settings() {
            written if written.exists() => written,
            _ => {
                let empty = self.folder.path().join("empty.toml");
                fs::write(&empty, "").expect("the temporary folder can be written");
                empty
            }
        };
        let environment = self.environment("here", change);
        Replay { cassettes: &self.cassettes(), settings: &settings, command: &self.command, environment, arguments }
            .run()
    }
}

fn inventory(_: &str, _: &str, _: &[u8]) -> Answer {
    Answer(200, "application/json", r#"{"reserved": true}"#.into())
}
