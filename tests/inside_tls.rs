use std::{path::Path, process::Command};

use regress_cassettes::{Address, Cassette, Content, Exchange};

use crate::{
    harness::{
        Answer, Authority, Corpus, Downstream, Need, Process, Recording, Replay, free_port, neutral, require, tools,
    },
    services::source,
};

#[test]
fn python_with_requests() {
    let python = tools().join("venv/bin/python").display().to_string();
    compare("inside_tls::python", &[Need::Httpbin], &[python, source("tls_relay.py")]);
}

#[test]
fn node() {
    compare("inside_tls::node", &[Need::Node], &["node".into(), source("tls_relay.mjs")]);
}

#[test]
fn php_with_streams_and_curl() {
    compare("inside_tls::php", &[Need::Php], &["php".into(), source("tls_relay.php")]);
}

#[test]
fn go() {
    compare_go("inside_tls::go", "go", &[]);
}

#[test]
fn stripped_go() {
    compare_go("inside_tls::stripped_go", "go-stripped", &["-ldflags=-s -w"]);
}

#[test]
fn stripped_position_independent_go() {
    compare_go("inside_tls::pie_go", "go-pie", &["-buildmode=pie", "-ldflags=-s -w"]);
}

/// A process that is over as soon as it has been answered.
#[test]
fn curl() {
    if !require("inside_tls::curl", &[Need::Curl, Need::Ebpf]) {
        return;
    }
    let recorded = Scheme::BOTH.map(|scheme| {
        let world = World::start(scheme);
        let out = tempfile::tempdir().expect("there is a temporary folder");
        let small = format!("{}/small", world.down());
        let large = format!("{}/large", world.down());
        let authority = world.authority.file("authority.pem").display().to_string();
        let command = ["curl", "-sS", "--cacert", &authority, &small, &large];
        let arguments = ["--via", "ebpf", "--"].into_iter().chain(command);
        // There is no entry: the calls are ambient, and the recording says that it is none.
        Recording::start(out.path(), arguments, []).finish().expect_code(2);
        let corpus = Corpus::read(out.path());
        assert_eq!(corpus.losses(), Vec::<&_>::new());
        let calls = corpus.ambient.into_iter().filter(|call| !matches!(call.content, Content::Nothing));
        calls.map(|call| world.neutral_exchange(call)).collect::<Vec<_>>()
    });
    let [plain, tls] = recorded;
    assert_eq!(plain.len(), 2);
    assert_eq!(plain, tls);
}

/// Entries are driven inside TLS as they came, whoever has signed the certificate; a build without TLS is another one.
#[test]
fn entries_are_driven() {
    if !require("inside_tls::entries_are_driven", &[Need::Httpbin, Need::Curl, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    // The relay trusts no authority but the one that it is told, and so not the sandbox's: what it calls is in the clear.
    let world = World { downstream: Downstream::start(answer), ..World::start(Scheme::Tls) };
    let down = format!("http://localhost:{}", world.downstream.address.port());
    let environment = |left_out: &str| {
        let environment = world.environment().into_iter().filter(|(name, _)| ![left_out, "DOWN"].contains(name));
        environment.chain([("DOWN", down.clone())]).collect::<Vec<_>>()
    };
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let settings = out.path().join("regress.toml");
    std::fs::write(&settings, format!("[service]\nports = [{}]\n", world.port)).expect("a folder of our own");
    let cassettes = out.path().join("cassettes");
    let command = [tools().join("venv/bin/python").display().to_string(), source("tls_relay.py")];
    let settings_text = settings.display().to_string();
    let arguments = ["--via", "ebpf", "--config", &settings_text, "--"].map(str::to_owned).into_iter();
    let recording = Recording::start(&cassettes, arguments.chain(command.clone()), environment(""));
    recording.wait_for_service("relay listens", world.port);
    world.ask();
    recording.stop().expect_code(0);
    let replay = |environment: Vec<(&'static str, String)>| {
        let arguments = &["--no-pending", "--report", "text=-"];
        Replay { cassettes: &cassettes, settings: &settings, command: &command, environment, arguments }.run()
    };
    let (finished, _) = replay(environment(""));
    finished.expect_code(0);
    let (finished, report) = replay(environment("CERT"));
    finished.expect_code(1);
    assert!(finished.stdout.contains("no response: no TLS was agreed on"), "{}", finished.stdout);
    let outcomes = report.expect("it was replayed").outcomes;
    assert!(outcomes.iter().all(|outcome| outcome.verdict == "different"), "{outcomes:?}");
}

fn compare_go(test: &str, name: &str, flags: &[&str]) {
    if !require(test, &[Need::Go]) {
        return;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("relay-{name}"));
    let mut build = Command::new("go");
    build.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local");
    if flags.is_empty() {
        build.env("CGO_ENABLED", "0");
    }
    build.arg("build").args(flags).arg("-o").arg(&program).arg(source("tls_relay.go"));
    Process::start(&mut build).finish().expect_code(0);
    compare(test, &[], &[program.display().to_string()]);
}

/// Record the same requests in the clear and inside TLS, on both sides of the service: the cassettes say the same.
fn compare(test: &str, needs: &[Need], command: &[String]) {
    if !require(test, &[needs, &[Need::Curl, Need::Ebpf]].concat()) {
        return;
    }
    let [plain, tls] = Scheme::BOTH.map(|scheme| record(scheme, command));
    assert_eq!(plain.len(), tls.len());
    for (plain, tls) in plain.iter().zip(&tls) {
        assert!(plain == tls, "in the clear: {plain:#?}\ninside TLS: {tls:#?}");
    }
}

fn record(scheme: Scheme, command: &[String]) -> Vec<Cassette> {
    let world = World::start(scheme);
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let port = world.port.to_string();
    let arguments = ["--via", "ebpf", "--port", &port, "--"].map(str::to_owned).into_iter().chain(command.to_vec());
    let recording = Recording::start(out.path(), arguments, world.environment());
    recording.wait_for_service("relay listens", world.port);
    world.ask();
    let finished = recording.stop();
    let corpus = Corpus::read(out.path());
    assert_eq!(corpus.losses(), Vec::<&_>::new(), "{scheme:?}: {}", finished.stderr);
    finished.expect_code(0);
    let mut served = world.downstream.take_served();
    served.sort();
    assert_eq!(corpus.served(), served);
    corpus.cassettes.into_iter().map(|cassette| world.neutral(cassette)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Plain,
    Tls,
}

impl Scheme {
    const BOTH: [Scheme; 2] = [Scheme::Plain, Scheme::Tls];
}

/// What a relay has around it.
struct World {
    scheme: Scheme,
    authority: Authority,
    downstream: Downstream,
    port: u16,
}

impl World {
    fn start(scheme: Scheme) -> World {
        let authority = Authority::new();
        let downstream = match scheme {
            Scheme::Plain => Downstream::start(answer),
            Scheme::Tls => Downstream::start_tls(answer, authority.acceptor()),
        };
        World { scheme, authority, downstream, port: free_port() }
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.scheme == Scheme::Tls { "https" } else { "http" };
        format!("{scheme}://localhost:{port}")
    }

    fn down(&self) -> String {
        self.url(self.downstream.address.port())
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |name| self.authority.file(name).display().to_string();
        let mut environment =
            vec![("PORT", self.port.to_string()), ("DOWN", self.down()), ("AUTHORITY", file("authority.pem"))];
        if self.scheme == Scheme::Tls {
            environment.extend([("CERT", file("server.pem")), ("KEY", file("server.key"))]);
        }
        environment
    }

    /// Requests on new connections and on used ones, small and larger than any record.
    fn ask(&self) {
        let body = "x".repeat(100_000);
        let url = |target: &str| format!("{}{target}", self.url(self.port));
        let asked = [
            vec![url("/small")],
            vec![url("/small"), url("/large"), url("/small/again")],
            vec![url("/echo"), "--data".into(), body],
        ];
        for arguments in asked {
            let mut curl = Command::new("curl");
            // One address: a refused one would be recorded as well.
            curl.args(["-sS4f", "--output", "/dev/null", "--output", "/dev/null", "--output", "/dev/null", "--cacert"]);
            curl.arg(self.authority.file("authority.pem")).args(arguments);
            Process::start(&mut curl).finish().expect_code(0);
        }
    }

    /// The cassette without what differs between two recordings, and without TLS.
    fn neutral(&self, cassette: Cassette) -> Cassette {
        let mut cassette = neutral(cassette);
        // A client that tries ::1 first is refused there.
        cassette.downstream.retain(|call| !matches!(call.content, Content::Nothing));
        cassette.entry = cassette.entry.map(|entry| self.neutral_exchange(entry));
        cassette.downstream = cassette.downstream.into_iter().map(|call| self.neutral_exchange(call)).collect();
        cassette
    }

    fn neutral_exchange(&self, exchange: Exchange) -> Exchange {
        let whole = Cassette { entry: Some(exchange), ..empty() };
        let mut exchange = neutral(whole).entry.expect("as it was put in");
        assert_eq!(exchange.connection.tls, self.scheme == Scheme::Tls, "{exchange:?}");
        exchange.connection.tls = false;
        if let Address::Inet(peer) = &mut exchange.connection.peer {
            peer.set_port(0);
        }
        if let Some(name) = &mut exchange.downstream {
            assert_eq!(*name, format!("localhost:{}", self.downstream.address.port()));
            name.clear();
        }
        if let Content::Http1(http) = &mut exchange.content {
            http.request.headers.retain(|line| !line.0.to_ascii_lowercase().starts_with(b"host:"));
        }
        exchange
    }
}

fn empty() -> Cassette {
    let recorded = regress_cassettes::Recorded {
        at: String::new(),
        service: String::new(),
        by: String::new(),
        via: regress_cassettes::Via::Socket,
        kernel: String::new(),
    };
    let id = regress_cassettes::CassetteId(String::new());
    Cassette { id, recorded, nondeterministic: Vec::new(), entry: None, downstream: Vec::new(), defects: Vec::new() }
}

fn answer(_: &str, target: &str, body: &[u8]) -> Answer {
    let text = match target {
        "/large" => (0..40_000).map(|line| format!("line {line}\n")).collect(),
        "/echo" => String::from_utf8_lossy(body).into_owned(),
        _ => format!("this is {target}\n"),
    };
    Answer(200, "text/plain", text)
}
