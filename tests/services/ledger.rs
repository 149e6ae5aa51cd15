//! A small service in Python that makes up something new at each request (`ledger.py`), recorded once and replayed many times.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::{python, source};
use crate::harness::{Answer, Client, Downstream, Process, Recording, Replay, Report, free_port, regress};

/// A build, and where it must differ: the part of the report and the path.
pub type Build = (&'static str, &'static [(&'static str, &'static str)]);

/// The ledger, its store, and the recording of some requests.
pub struct Ledger {
    folder: TempDir,
    port: u16,
    store: Downstream,
}

impl Ledger {
    /// A request to that path for each of the amounts, recorded one after the other.
    pub fn record(path: &str, amounts: &[u32]) -> Ledger {
        let store = Downstream::start(|_, _, _| Answer(200, "application/json", r#"{"kept":true}"#.into()));
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let ledger = Ledger { folder, port: free_port(), store };
        std::fs::create_dir(ledger.cassettes()).expect("the folder can be written");
        let settings = format!("[service]\nname = \"ledger\"\nports = [{}]\n\n[replay]\nsettle = 0.5\n", ledger.port);
        std::fs::write(ledger.settings(), settings).expect("the folder can be written");
        let settings = ledger.settings().display().to_string();
        let words = ["--via", "proxy", "--config", &settings, "--"].map(str::to_owned);
        let words = words.into_iter().chain(ledger.command());
        let recording = Recording::start(&ledger.cassettes(), words, ledger.environment("none"));
        recording.wait_for_service("ledger listens", ledger.port);
        let client = Client::new(ledger.port);
        for amount in amounts {
            assert_eq!(client.post(path, &format!(r#"{{"amount":{amount}}}"#)).status, 201);
        }
        drop(client);
        recording.stop().expect_code(0);
        ledger.store.take_served();
        ledger
    }

    /// Every build differs where it must, in every entry; one that need not differ is the same.
    pub fn hold(&self, builds: &[Build]) {
        for (change, expected) in builds {
            let report = self.replay(change, &["--no-pending"], i32::from(!expected.is_empty()));
            for outcome in &report.outcomes {
                let found = outcome.differences.iter();
                let found: Vec<_> = found.map(|found| (found.place.as_str(), found.path.as_str())).collect();
                let lacks = expected.iter().find(|place| !found.contains(place));
                assert_eq!(lacks, None, "{change}: {found:?}");
                assert_eq!(outcome.verdict == "same", expected.is_empty(), "{change}: {found:?}");
            }
        }
    }

    /// Replay the recording against the ledger with a change.
    pub fn replay(&self, change: &str, arguments: &[&str], code: i32) -> Report {
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

    /// Have `regress noise` find out what varies, and accept all rules that it proposes.
    pub fn learn(&self) -> Value {
        let mut command = regress();
        command.arg("noise").arg(self.cassettes()).args(["--json", "--accept", "--"]).args(self.command());
        let finished = Process::start(command.envs(self.environment("none"))).finish();
        finished.expect_code(0);
        serde_json::from_str(&finished.stdout).expect("JSON")
    }

    fn cassettes(&self) -> PathBuf {
        self.folder.path().join("cassettes")
    }

    fn settings(&self) -> PathBuf {
        self.cassettes().join("regress.toml")
    }

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
}
