use std::{path::Path, sync::Arc};

use regress_cassettes::{Ended, Exchange};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::{
    harness::{
        Answer, Client, Corpus, Downstream, Finished, Need, Recording, Replay, Report, free_port, http, require,
    },
    services::{python, source},
};

/// An authority that nobody but these tests trusts, as companies have one, and a downstream with its certificate.
struct Rates {
    folder: tempfile::TempDir,
    downstream: Downstream,
    port: u16,
}

impl Rates {
    fn start() -> Rates {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = rcgen::Issuer::new(authority, key);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf =
            rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into()))
            .unwrap();
        let downstream = Downstream::start_tls(rate, TlsAcceptor::from(Arc::new(config)));
        Rates { folder, downstream, port: free_port() }
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
            ("SSL_CERT_FILE", self.folder.path().join("authority.pem").display().to_string()),
        ]
    }

    /// Record three requests by a source.
    fn record(&self, via: &str) -> Finished {
        let mut arguments = ["--via", via, "--port", &self.port.to_string(), "--"].map(str::to_owned).to_vec();
        arguments.extend(command());
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
        let command = command();
        let cassettes = self.cassettes();
        let replay =
            Replay { cassettes: &cassettes, settings: &settings, command: &command, environment, arguments: &[] };
        let (finished, report) = replay.run();
        assert!(self.downstream.take_served().is_empty(), "a replay reached the real downstream");
        (finished, report.expect("replay began"))
    }
}

fn command() -> Vec<String> {
    assert!(Path::new(&source("rates.py")).exists());
    vec![python(), source("rates.py")]
}

fn rate(_: &str, target: &str, _: &[u8]) -> Answer {
    Answer(200, "application/json", format!(r#"{{"item":"{target}","rate":12}}"#))
}

#[test]
fn a_downstream_behind_tls_is_recorded_by_proxy_and_played() {
    if require("tls::proxy", &[Need::Python, Need::Sandbox]) {
        recorded_and_played("proxy");
    }
}

#[test]
fn a_downstream_behind_tls_is_recorded_by_the_kernel_and_played() {
    if require("tls::ebpf", &[Need::Python, Need::Sandbox, Need::Ebpf]) {
        recorded_and_played("ebpf");
    }
}

fn recorded_and_played(via: &str) {
    let rates = Rates::start();
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
