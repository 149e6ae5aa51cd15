use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Command,
};

use regress_cassettes::{Address, Exchange};
use tempfile::TempDir;

use crate::{
    harness::{Corpus, Need, Process, Recording, Replay, free_port, http, require, tools},
    services::{python, source},
};

/// Requests as they are sent, to the byte, and the answers that [`Place::downstream`] gives.
const ASKED: [(&str, &str); 2] = [
    (
        "POST /orders?a=%20b HTTP/1.1\r\nHost: any\r\nX-Odd:  two \r\nx-odd: x\r\ncontent-length: 9\r\n\r\n{\"id\": 7}",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"id\": 7}",
    ),
    ("GET /second HTTP/1.1\r\nhost: any\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nnothing"),
];

/// Where a test has its sockets and its cassettes.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("there is a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// As cassettes have it.
    fn address(&self, name: &str) -> Address {
        format!("unix:{}", self.text(name)).parse().expect("an address")
    }

    /// Whoever answers on the socket file `down`, with what was asked.
    fn downstream(&self) -> Process {
        let process = Process::start(Command::new(python()).args([source("relay.py"), self.text("down")]));
        process.wait_for_line("relay listens");
        process
    }

    fn record(&self, via: &str, arguments: &[String]) -> Recording {
        let arguments = ["--via", via].map(str::to_owned).into_iter().chain(arguments.iter().cloned());
        Recording::start(&self.path("cassettes"), arguments, [])
    }

    fn corpus(&self) -> Corpus {
        Corpus::read(&self.path("cassettes"))
    }

    /// curl on the socket file; gives what it got.
    fn curl(&self, name: &str, arguments: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--unix-socket"]).arg(self.path(name)).args(arguments);
        Process::start(&mut curl).finish().expect_code(0).stdout.clone()
    }

    /// What a replay says of the one call of each entry.
    fn not_played(&self) -> String {
        format!("downstream/0 ({}) went over a Unix socket, which cannot be played", self.address("down"))
    }

    /// Replays the cassettes against the service as it was recorded.
    fn assert_inconclusive(&self, command: &[String], doubts: &[String]) {
        let settings = self.path("regress.toml");
        std::fs::write(&settings, "[replay]\nready_timeout = 60.0\nsettle = 0.1\n").expect("the folder can be written");
        let cassettes = self.path("cassettes");
        let replay =
            Replay { cassettes: &cassettes, settings: &settings, command, environment: Vec::new(), arguments: &[] };
        let (finished, report) = replay.run();
        finished.expect_code(2);
        let report = report.expect("a report");
        assert_eq!((report.summary.total, report.summary.inconclusive), (ASKED.len(), ASKED.len()));
        for outcome in report.outcomes {
            assert_eq!(outcome.doubts, doubts);
        }
    }
}

/// One connection, one exchange after the other.
fn ask(mut client: impl Read + Write) {
    for (request, response) in ASKED {
        client.write_all(request.as_bytes()).expect("the service reads");
        let mut answer = vec![0; response.len()];
        client.read_exact(&mut answer).expect("the service answers");
        assert_eq!(String::from_utf8(answer).as_deref(), Ok(response));
    }
}

/// An exchange says what was really sent, to the byte.
#[track_caller]
fn assert_said(exchange: &Exchange, (request, response): (&str, &str)) {
    let said = http(exchange);
    assert_eq!(String::from_utf8_lossy(&said.request.wire()), request);
    let answer = said.response.as_ref().expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer.wire()), response);
}

#[test]
fn entries_and_downstreams_to_the_byte() {
    if !require("unix::entries_and_downstreams", &[Need::Python, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    for probed in regress_ebpf::probe().sources.iter().filter(|probed| probed.result.is_ok()) {
        to_the_byte(probed.source);
    }
}

fn to_the_byte(kernel: regress_ebpf::Source) {
    let place = Place::new();
    let downstream = place.downstream();
    let command = [python(), source("relay.py"), place.text("service"), place.text("down")];
    let recording = place.record(kernel.name(), &[&["--".to_owned()], &command[..]].concat());
    recording.wait_for_line("relay listens");
    ask(UnixStream::connect(place.path("service")).expect("the service listens"));
    recording.stop().expect_code(0);
    downstream.stop();

    let corpus = place.corpus();
    assert_eq!(corpus.losses(), Vec::<&_>::new(), "{kernel}");
    assert_eq!((corpus.cassettes.len(), corpus.ambient.len()), (ASKED.len(), 0), "{kernel}");
    for (cassette, said) in corpus.cassettes.iter().zip(ASKED) {
        let entry = cassette.entry.as_ref().expect("an entry");
        assert_said(entry, said);
        assert_eq!(entry.connection.local, Some(place.address("service")));
        assert_eq!(entry.connection.peer.to_string(), "unix:");
        let [call] = &cassette.downstream[..] else { panic!("{cassette:?}") };
        assert_said(call, said);
        assert_eq!(call.downstream, Some(place.address("down").to_string()));
        assert_eq!((&call.connection.local, &call.connection.peer), (&None, &place.address("down")));
    }
    std::fs::remove_file(place.path("service")).expect("the service left it");
    let not_driven = "the entry came over a Unix socket, which is not driven".to_owned();
    place.assert_inconclusive(&command, &[not_driven, place.not_played()]);
}

#[test]
fn a_downstream_of_entries_by_tcp() {
    if !require("unix::a_downstream_of_entries_by_tcp", &[Need::Python, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let place = Place::new();
    let downstream = place.downstream();
    let port = free_port();
    let command = [python(), source("relay.py"), port.to_string(), place.text("down")];
    let ports = ["--port".to_owned(), port.to_string(), "--".to_owned()];
    let recording = place.record("ebpf", &[&ports, &command[..]].concat());
    recording.wait_for_line("relay listens");
    ask(std::net::TcpStream::connect(("127.0.0.1", port)).expect("the service listens"));
    recording.stop().expect_code(0);
    downstream.stop();

    let corpus = place.corpus();
    assert_eq!(corpus.cassettes.len(), ASKED.len());
    for (cassette, said) in corpus.cassettes.iter().zip(ASKED) {
        let [call] = &cassette.downstream[..] else { panic!("{cassette:?}") };
        assert_said(call, said);
        assert_eq!(call.connection.peer, place.address("down"));
    }
    place.assert_inconclusive(&command, &[place.not_played()]);
}

#[test]
fn node_on_both_sides() {
    if !require("unix::node", &[Need::Node, Need::Python, Need::Curl, Need::Ebpf]) {
        return;
    }
    let place = Place::new();
    let downstream = place.downstream();
    let command = ["--".into(), "node".into(), source("unix_relay.mjs"), place.text("service"), place.text("down")];
    let recording = place.record("ebpf", &command);
    recording.wait_for_line("relay listens");
    let body: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
    std::fs::write(place.path("body"), &body).expect("the folder can be written");
    let data = format!("@{}", place.text("body"));
    let url = "http://service/echo";
    // Two requests on one connection.
    assert_eq!(place.curl("service", &[url, "http://service/again"]), "nothingnothing");
    assert!(place.curl("service", &[url, "--data-binary", &data]) == body);
    let finished = recording.stop();
    downstream.stop();

    let corpus = place.corpus();
    assert_eq!(corpus.losses(), Vec::<&_>::new(), "{}", finished.stderr);
    finished.expect_code(0);
    let expected = [("/echo", "nothing"), ("/again", "nothing"), ("/echo", &body)];
    assert_eq!(corpus.cassettes.len(), expected.len());
    for (cassette, (target, response)) in corpus.cassettes.iter().zip(expected) {
        let [call] = &cassette.downstream[..] else { panic!("{cassette:?}") };
        for exchange in [cassette.entry.as_ref().expect("an entry"), call] {
            let said = http(exchange);
            assert_eq!(said.request.target(), target);
            assert!(said.response.as_ref().expect("an answer").body == response);
        }
    }
    assert!(http(corpus.cassettes[2].entry.as_ref().expect("an entry")).request.body == body);
}

/// Workers that accept on a socket which their parent opened.
#[test]
fn gunicorn() {
    if !require("unix::gunicorn", &[Need::Httpbin, Need::Curl, Need::Ebpf]) {
        return;
    }
    let place = Place::new();
    let program = tools().join("venv/bin/gunicorn").display().to_string();
    let bind = format!("unix:{}", place.text("service"));
    let command = ["--".into(), program, "--workers".into(), "2".into(), "--bind".into(), bind, "httpbin:app".into()];
    let recording = place.record("ebpf", &command);
    recording.wait_for_line("Booting worker");
    let answers: Vec<String> = (0..10)
        .map(|number| place.curl("service", &[&format!("http://service/anything/{number}"), "--data", "x=1"]))
        .collect();
    let finished = recording.stop();
    let corpus = place.corpus();
    assert_eq!(corpus.losses(), Vec::<&_>::new(), "{}", finished.stderr);
    finished.expect_code(0);
    let recorded: Vec<String> = corpus
        .cassettes
        .iter()
        .map(|cassette| {
            let entry = cassette.entry.as_ref().expect("an entry");
            assert_eq!(entry.connection.local, Some(place.address("service")));
            let response = http(entry).response.as_ref().expect("an answer");
            String::from_utf8_lossy(&response.body).into_owned()
        })
        .collect();
    assert_eq!(recorded, answers);
}

/// A connection that was open before goes on as a joined one.
#[test]
fn a_connection_opened_before() {
    if !require("unix::a_connection_opened_before", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let place = Place::new();
    let downstream = place.downstream();
    let relay = [source("relay.py"), place.text("service"), place.text("down")];
    let service = Process::start(Command::new(python()).args(relay));
    service.wait_for_line("relay listens");
    let client = UnixStream::connect(place.path("service")).expect("the service listens");
    ask(&client);
    let recording = place.record("ebpf", &["--pid".into(), service.id().to_string()]);
    ask(&client);
    recording.stop().expect_code(0);
    service.stop();
    downstream.stop();

    let corpus = place.corpus();
    assert_eq!((corpus.losses(), corpus.cassettes.len()), (Vec::new(), ASKED.len()));
    for (cassette, said) in corpus.cassettes.iter().zip(ASKED) {
        assert_said(cassette.entry.as_ref().expect("an entry"), said);
        let [call] = &cassette.downstream[..] else { panic!("{cassette:?}") };
        assert_said(call, said);
    }
}

/// What is in no protocol that is read is told, and a socketpair to somebody else is left out and told as well.
#[test]
fn other_protocols_are_counted() {
    if !require("unix::other_protocols", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let place = Place::new();
    let listener = UnixListener::bind(place.path("database")).expect("a new socket file");
    let script = "import socket, sys\n\
        database = socket.socket(socket.AF_UNIX)\n\
        database.connect(sys.argv[1])\n\
        database.sendall(b'QUERY 1\\n' * 10)\n\
        assert database.recv(2) == b'OK'\n";
    let summary = place.path("summary.json");
    let arguments = ["--summary".into(), format!("json={}", summary.display()), "--".into(), python(), "-c".into()];
    let recording = place.record("ebpf", &[&arguments[..], &[script.to_owned(), place.text("database")]].concat());
    let (mut accepted, _) = listener.accept().expect("the service connects");
    accepted.read_exact(&mut [0; 80]).expect("the service asks");
    accepted.write_all(b"OK").expect("the service reads");
    let finished = recording.finish();
    assert!(finished.stderr.contains("1 Unix connection was in no protocol that is read"), "{}", finished.stderr);
    finished.expect_code(2);
    let summary = std::fs::read_to_string(summary).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!((&summary["unix_not_http"], &summary["complete"]), (&1.into(), &false.into()));
    let [call] = &place.corpus().ambient[..] else { panic!("one conversation") };
    assert_eq!(call.downstream, Some(place.address("database").to_string()));
}
