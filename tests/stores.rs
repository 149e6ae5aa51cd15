//! Services that keep things in a store which does not speak HTTP/1: recorded with the real store, replayed without it.

/// Services in Go, Java and Rust, which have to be built.
mod clients;
/// gRPC, and so HTTP/2.
mod grpc;
/// MySQL and MariaDB.
mod mysql;
/// Downstreams by the names that the service resolved, and what resolvers answered.
mod names;
/// PostgreSQL.
mod postgres;
/// Redis.
mod redis;
/// Secrets in all of them.
mod secrets;
/// A protocol that nobody knows.
mod turns;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use regress_cassettes::{Defect, Exchange};
use regress_protocols::Request;

use crate::harness::{Client, Corpus, Finished, Process, Recording, Replay, Report, free_port, repeats};

/// A service with a store.
struct Service {
    /// How it is started.
    command: Vec<String>,
    /// The variable that selects a build.
    change: &'static str,
    /// What its standard error says once it listens.
    listens: &'static str,
    port: u16,
    /// Where the store listens, and whatever else its environment has.
    environment: Vec<(&'static str, String)>,
    /// Whether TLS is read. Probes that nothing passes would only have to be taken out again: the kernel takes ten a second.
    tls: bool,
    /// More settings.
    own: String,
    folder: tempfile::TempDir,
}

/// What services say to their store inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Nothing,
    Tls,
    /// Of which they look at the server's certificate.
    CheckedTls,
}

/// How a build has to be judged.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Same,
    /// The same, with values that are bound to the recorded ones.
    Bound,
    /// Different in this among others: kind and path as the report has them.
    Different(&'static str),
}

impl Service {
    fn new(command: Vec<String>, change: &'static str, listens: &'static str) -> Service {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        Service {
            command,
            change,
            listens,
            port: free_port(),
            environment: Vec::new(),
            tls: false,
            own: String::new(),
            folder,
        }
    }

    fn inside(self, inside: Inside) -> Service {
        Service { tls: inside != Inside::Nothing, ..self }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Service {
        self.environment.push((name, value.to_string()));
        self
    }

    fn cassettes(&self) -> PathBuf {
        self.folder.path().join("cassettes")
    }

    fn settings(&self, more: &str) -> PathBuf {
        let path = self.folder.path().join("regress.toml");
        let text = format!(
            "[service]\nname = \"store\"\nports = [{}]\n\n[record]\ntls = {}\n\n[replay]\nsettle = 0.5\n{more}{}",
            self.port, self.tls, self.own
        );
        std::fs::write(&path, text).expect("the folder can be written");
        path
    }

    fn builds(&self, change: &str) -> Vec<(&'static str, String)> {
        let own = [("PORT", self.port.to_string()), (self.change, change.to_owned())];
        self.environment.iter().cloned().chain(own).collect()
    }

    /// Record what a client asks for, which must be lossless and have its owners.
    fn record(&self, via: &str, drive: impl FnOnce(&Client)) -> Corpus {
        self.record_after(|recording| recording.wait_for_service(self.listens, self.port), via, drive)
    }

    /// The same, once `is_ready` returns.
    fn record_after(&self, is_ready: impl FnOnce(&Recording), via: &str, drive: impl FnOnce(&Client)) -> Corpus {
        let settings = self.settings("").display().to_string();
        // Behind the source there may be more arguments.
        let via = ["--via"].into_iter().chain(via.split(' '));
        let arguments = via.chain(["--config", &settings, "--"]).map(str::to_owned);
        let arguments = arguments.chain(self.command.iter().cloned());
        let recording = Recording::start(&self.cassettes(), arguments, self.builds("none"));
        is_ready(&recording);
        drive(&Client::new(self.port));
        let finished = recording.stop();
        finished.expect_code(0);
        let corpus = Corpus::read(&self.cassettes());
        assert_eq!(corpus.losses(), Vec::<&_>::new(), "{}", finished.stderr);
        corpus
    }

    /// Record what a client asks for of a service that was running, and did the first of it, before the recording began.
    fn attach(&self, before: impl FnOnce(&Client), drive: impl FnOnce(&Client)) -> Corpus {
        let mut command = Command::new(&self.command[0]);
        let running = Process::start(command.args(&self.command[1..]).envs(self.builds("none")));
        running.wait_for_line(self.listens);
        let client = Client::new(self.port);
        before(&client);
        let (settings, id) = (self.settings("").display().to_string(), running.id().to_string());
        let recording = Recording::start(&self.cassettes(), ["--via", "ebpf", "--config", &settings, "--pid", &id], []);
        drive(&client);
        recording.stop().expect_code(0);
        running.stop();
        Corpus::read(&self.cassettes())
    }

    fn replay(&self, change: &str) -> (Finished, Report) {
        let settings = self.settings("");
        let replay = Replay {
            cassettes: &self.cassettes(),
            settings: &settings,
            command: &self.command,
            environment: self.builds(change),
            arguments: &["--no-pending"],
        };
        let (finished, report) = replay.run();
        let report = report.unwrap_or_else(|| panic!("{change}: {}", finished.stderr));
        (finished, report)
    }

    /// Replay the recorded build several times.
    fn expect_same(&self) {
        for _ in 0..repeats() {
            self.expect(&[("none", Expected::Same)]);
        }
    }

    /// Replay each build and look at the verdict.
    fn expect(&self, builds: &[(&str, Expected)]) {
        for (change, expected) in builds {
            let (finished, report) = self.replay(change);
            let found = report.outcomes.iter().flat_map(|outcome| &outcome.differences);
            let found: Vec<String> = found.map(|found| format!("{} {}", found.kind, found.path)).collect();
            match expected {
                Expected::Same => {
                    assert_eq!((finished.code, &found[..]), (0, &[][..]), "{change}: {}", finished.stdout)
                }
                Expected::Bound => assert_eq!(finished.code, 0, "{change}: {}", finished.stdout),
                Expected::Different(place) => {
                    assert_eq!(finished.code, 1, "{change}: {}", finished.stdout);
                    assert!(found.iter().any(|found| found == place), "{change}: {place} is not among {found:#?}");
                }
            }
        }
    }
}

/// The operations that an entry led to.
fn called(corpus: &Corpus, entry: usize) -> Vec<String> {
    let calls = corpus.cassettes[entry].downstream.iter().filter_map(Exchange::request);
    calls.map(Request::operation).map(|operation| operation.to_string()).collect()
}

/// What the entries asked the store for, one by one.
fn asked(corpus: &Corpus) -> Vec<Vec<String>> {
    let said = |call: &Exchange| format!("{:?}", call.request());
    corpus.cassettes.iter().map(|cassette| cassette.downstream.iter().map(said).collect()).collect()
}

/// Look at whether the calls of a recording were inside TLS.
fn expect_inside(corpus: &Corpus, inside: Inside) {
    let calls = corpus.cassettes.iter().flat_map(|cassette| &cassette.downstream);
    assert!(calls.clone().count() > 0);
    calls.for_each(|call| assert_eq!(call.connection.tls, inside != Inside::Nothing, "{call:?}"));
}

/// The files below a folder that have that text.
fn says(folder: &Path, text: &str) -> Vec<PathBuf> {
    let files =
        walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("the folder can be read").into_path());
    let has = |path: &PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    files.filter(has).collect()
}

/// Record a service whose TLS is not read, which is told, and never the same.
fn stays_encrypted(service: &Service, how: &[&str], drive: impl FnOnce(&Client)) -> Finished {
    let settings = service.settings("").display().to_string();
    let arguments = how.iter().copied().chain(["--config", &settings, "--"]).map(str::to_owned);
    let arguments = arguments.chain(service.command.iter().cloned());
    let recording = Recording::start(&service.cassettes(), arguments, service.builds("none"));
    recording.wait_for_service(service.listens, service.port);
    drive(&Client::new(service.port));
    let recorded = recording.stop();
    recorded.expect_code(2);
    let corpus = Corpus::read(&service.cassettes());
    assert!(corpus.losses().contains(&&Defect::Encrypted), "{how:?}: {:#?}", corpus.losses());
    let (finished, report) = service.replay("none");
    finished.expect_code(2);
    assert!(report.outcomes.iter().all(|outcome| outcome.verdict == "inconclusive"), "{how:?}: {:#?}", report.outcomes);
    recorded
}
