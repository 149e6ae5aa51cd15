use std::process::Command;

use regress_cassettes::{Cassette, Defect, Ended, Exchange};

use crate::{
    harness::{
        Answer, Authority, Client, Corpus, Downstream, Finished, Need, Process, Recording, Replay, Report, free_port,
        http, regress, require,
    },
    services::{python, source},
};

/// A service, and its one downstream behind TLS.
struct Rates {
    folder: tempfile::TempDir,
    authority: Authority,
    downstream: Downstream,
    port: u16,
    command: Vec<String>,
}

impl Rates {
    fn start(command: Vec<String>) -> Rates {
        let authority = Authority::new();
        let downstream = Downstream::start_tls(rate, authority.acceptor());
        let folder = tempfile::tempdir().unwrap();
        Rates { folder, authority, downstream, port: free_port(), command }
    }

    fn cassettes(&self) -> std::path::PathBuf {
        self.folder.path().join("cassettes")
    }

    fn environment(&self, factor: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PORT", self.port.to_string()),
            // By name, which means ::1 before 127.0.0.1 to most clients.
            ("RATES_URL", format!("https://localhost:{}", self.downstream.address.port())),
            ("RATES_FACTOR", factor.to_owned()),
            ("SSL_CERT_FILE", self.authority.file("authority.pem").display().to_string()),
        ]
    }

    /// Record three requests by a source.
    fn record(&self, via: &str) -> Finished {
        let mut arguments = ["--via", via, "--port", &self.port.to_string(), "--"].map(str::to_owned).to_vec();
        arguments.extend(self.command.clone());
        let recording = Recording::start(&self.cassettes(), arguments, self.environment("1"));
        recording.wait_for_service("rates listen", self.port);
        let client = Client::new(self.port);
        for item in ["/price/1", "/price/2", "/price/1"] {
            assert_eq!(client.get(item).status, 200);
        }
        recording.stop()
    }

    fn replay(&self, factor: &str) -> (Finished, Report) {
        self.downstream.take_served();
        let settings = self.folder.path().join("regress.toml");
        std::fs::write(&settings, "").unwrap();
        let environment = self.environment(factor);
        let cassettes = self.cassettes();
        let replay =
            Replay { cassettes: &cassettes, settings: &settings, command: &self.command, environment, arguments: &[] };
        let (finished, report) = replay.run();
        assert!(self.downstream.take_served().is_empty(), "a replay reached the real downstream");
        (finished, report.expect("replay began"))
    }
}

fn python_service() -> Vec<String> {
    vec![python(), source("rates.py")]
}

fn rate(_: &str, target: &str, _: &[u8]) -> Answer {
    Answer(200, "application/json", format!(r#"{{"item":"{target}","rate":12}}"#))
}

#[test]
fn a_downstream_behind_tls_is_recorded_by_proxy_and_played() {
    if require("tls::proxy", &[Need::Python, Need::Sandbox]) {
        record_and_play("proxy");
    }
}

#[test]
fn a_downstream_behind_tls_is_recorded_by_the_kernel_and_played() {
    if require("tls::ebpf", &[Need::Python, Need::Sandbox, Need::Ebpf]) {
        record_and_play("ebpf");
    }
}

fn record_and_play(via: &str) {
    let rates = Rates::start(python_service());
    rates.record(via).expect_code(0);
    let corpus = Corpus::read(&rates.cassettes());
    // A client that tries ::1 first is refused there, which is recorded as well.
    let established = |call: &&Exchange| call.ended != Ended::Refused;
    let calls: Vec<_> = corpus.cassettes.iter().flat_map(|c| &c.downstream).filter(established).collect();
    assert_eq!(calls.len(), 3);
    let name = format!("localhost:{}", rates.downstream.address.port());
    for call in calls {
        assert!(call.connection.tls);
        assert_eq!(call.downstream.as_deref(), Some(name.as_str()));
        assert_eq!(http(call).response.as_ref().map(|response| response.status()), Some(200));
    }

    let (finished, report) = rates.replay("1");
    finished.expect_code(0);
    assert_eq!(report.outcomes.len(), 3);
    let (finished, report) = rates.replay("2");
    finished.expect_code(1);
    assert!(report.outcomes.iter().all(|outcome| outcome.verdict == "different"), "{:?}", report.outcomes);
}

/// Java has a TLS of its own.
#[test]
fn tls_that_cannot_be_read_is_never_the_same() {
    if !require("tls::java", &[Need::Java, Need::Sandbox, Need::Ebpf]) {
        return;
    }
    let rates = Rates::start(vec!["java".into(), source("Rates.java")]);
    rates.record("ebpf").expect_code(2);
    let corpus = Corpus::read(&rates.cassettes());
    let calls = corpus.cassettes.iter().flat_map(|cassette| &cassette.downstream).chain(&corpus.ambient);
    let unreadable: Vec<_> = calls.filter(|call| call.defects.contains(&Defect::Encrypted)).collect();
    assert!(!unreadable.is_empty(), "{corpus:?}");
    assert!(unreadable.iter().all(|call| !call.connection.tls));
    assert!(corpus.cassettes.iter().any(Cassette::has_defects));

    let (finished, report) = rates.replay("1");
    finished.expect_code(2);
    assert!(report.outcomes.iter().any(|outcome| outcome.verdict == "inconclusive"), "{:?}", report.outcomes);
}

#[test]
fn doctor_says_whose_tls_is_read() {
    if !require("tls::doctor", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let mut python = Command::new(python());
    let service =
        python.args(["-c", "import ssl, sys, time; print('loaded', file=sys.stderr, flush=True); time.sleep(600)"]);
    let service = Process::start(service);
    service.wait_for_line("loaded");
    let mut doctor = regress();
    doctor.args(["doctor", "--json", "--pid", &service.id().to_string()]);
    let finished = Process::start(&mut doctor).finish();
    service.stop();
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).expect("one JSON document");
    let libraries = report["processes"][0]["libraries"].as_array().expect("a list");
    assert!(libraries.iter().any(|library| library["library"] == "OpenSSL" && library["readable"] == true), "{report}");
}
