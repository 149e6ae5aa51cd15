use std::{collections::BTreeMap, fs::File, io::Read, process::Command, sync::Barrier};

use bytes::Bytes;
use regress_cassettes::{Defect, Exchange};
use regress_protocols::{Side, http1::Message};
use sha2::{Digest, Sha256};

use crate::{
    harness::{Client, Corpus, Need, Process, Recording, free_port, http, require},
    services::{python, source},
};

/// How the service takes a request's body and sends a response's: see `tests/services/paths.py`.
struct Path {
    receive: &'static str,
    send: &'static str,
    /// What sends pages that no source can read leaves a gap of their length.
    readable: bool,
}

const PATHS: [Path; 10] = [
    Path { receive: "read", send: "write", readable: true },
    Path { receive: "recv", send: "send", readable: true },
    Path { receive: "readv", send: "writev", readable: true },
    Path { receive: "preadv2", send: "pwritev2", readable: true },
    Path { receive: "recvmsg", send: "sendmsg", readable: true },
    Path { receive: "recvmmsg", send: "sendmmsg", readable: true },
    Path { receive: "peek", send: "partial", readable: true },
    Path { receive: "waitall", send: "zerocopy", readable: true },
    Path { receive: "read", send: "sendfile", readable: false },
    Path { receive: "recv", send: "splice", readable: false },
];

/// Bytes of the bodies on the connections of each path, both ways.
const LENGTHS: [&[usize]; 5] =
    [&[1, 255, 256, 257], &[4_095, 4_097, 16_385], &[65_535, 65_537], &[1 << 20], &[4_194_301]];
/// On the last connection of the first path.
const LARGEST: usize = 64 << 20;

/// Both bodies of an exchange.
#[derive(Debug, PartialEq, Eq)]
struct Sums {
    request: [u8; 32],
    response: [u8; 32],
}

/// Fifty connections at once, bodies up to 64 MiB, every system call: both ends' SHA-256 are what the cassette holds, by
/// every source that works here.
#[test]
fn both_ends_have_what_the_cassettes_hold() {
    if !require("proof::both_ends", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let working = regress_ebpf::probe().sources.into_iter().filter(|probed| probed.result.is_ok());
    let working: Vec<_> = working.map(|probed| probed.source.to_string()).collect();
    assert!(!working.is_empty(), "the kernel has a source");
    for source in working {
        prove(&source);
    }
}

fn prove(by: &str) {
    let port = free_port();
    let service = Process::start(Command::new(python()).arg(source("paths.py")).env("PORT", port.to_string()));
    service.wait_for_line("paths listens");
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let pid = service.id().to_string();
    // More than all bodies together: what is tried here is not whether the recorder keeps up.
    let arguments = ["--pid", &pid, "--via", by, "--buffer", "512M"];
    let recording = Recording::start(out.path(), arguments, []);
    let asked = ask_all(port);
    let finished = recording.stop();
    service.stop();

    let corpus = Corpus::read(out.path());
    assert_eq!(corpus.cassettes.len(), asked.len(), "by {by}: {}", finished.stderr);
    for cassette in &corpus.cassettes {
        let entry = cassette.entry.as_ref().expect("only entries were made");
        let (path, length) = path_of(&http(entry).request);
        if path.readable {
            assert_whole(entry, &asked, by);
        } else {
            assert_gap(entry, &asked, length, by);
        }
    }
    // The gaps make the recording an incomplete one.
    finished.expect_code(2);
}

/// Every connection makes its requests one after the other, all connections at once.
fn ask_all(port: u16) -> BTreeMap<String, Sums> {
    let connections = PATHS.len() * LENGTHS.len();
    assert_eq!(connections, 50);
    let start = Barrier::new(connections);
    std::thread::scope(|scope| {
        let mut working = Vec::with_capacity(connections);
        for (number, path) in PATHS.iter().enumerate() {
            for (place, lengths) in LENGTHS.iter().enumerate() {
                let largest = number == 0 && place == LENGTHS.len() - 1;
                let lengths = if largest { &[LARGEST] } else { *lengths };
                let start = &start;
                working.push(scope.spawn(move || {
                    let client = Client::new(port);
                    start.wait();
                    let one = |length: &usize| ask(&client, path, *length);
                    lengths.iter().map(one).collect::<Vec<_>>()
                }));
            }
        }
        working.into_iter().flat_map(|client| client.join().expect("a client does not panic")).collect()
    })
}

fn ask(client: &Client, path: &Path, length: usize) -> (String, Sums) {
    let target = format!("/{}/{}/{length}/{}", path.receive, path.send, hex(random(8).as_ref()));
    let reply = client.post_bytes(&target, random(length));
    assert_eq!((reply.status, reply.response.len()), (200, length), "{target}");
    (target, Sums { request: sum(&reply.request), response: sum(&reply.response) })
}

fn random(length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length);
    let source = File::open("/dev/urandom").expect("Linux has it");
    source.take(length as u64).read_to_end(&mut bytes).expect("it has no end");
    bytes.into()
}

fn sum(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn path_of(request: &Message) -> (&'static Path, u64) {
    let target = request.target();
    let parts: Vec<&str> = target.split('/').collect();
    let path = PATHS.iter().find(|path| path.receive == parts[1] && path.send == parts[2]).expect("a path of ours");
    (path, parts[3].parse().expect("a length of ours"))
}

/// What the service said of a body in a header.
fn said(response: &Message, name: &str) -> String {
    response.header_text(name).unwrap_or_else(|| panic!("no {name}")).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_whole(entry: &Exchange, asked: &BTreeMap<String, Sums>, by: &str) {
    let content = http(entry);
    let target = content.request.target();
    assert_eq!(entry.defects, [], "{target} by {by}");
    let response = content.response.as_ref().unwrap_or_else(|| panic!("{target} by {by}: no response"));
    let held = Sums { request: sum(&content.request.body), response: sum(&response.body) };
    assert_eq!(hex(&held.request), said(response, "x-received"), "{target} by {by}");
    assert_eq!(hex(&held.response), said(response, "x-sent"), "{target} by {by}");
    assert_eq!(held, asked[target.as_ref()], "{target} by {by}");
}

/// The request is whole, and the response lacks as much as its body has.
fn assert_gap(entry: &Exchange, asked: &BTreeMap<String, Sums>, length: u64, by: &str) {
    let content = http(entry);
    let target = content.request.target();
    assert_eq!(sum(&content.request.body), asked[target.as_ref()].request, "{target} by {by}");
    let gaps = entry.defects.iter().map(|defect| match defect {
        Defect::Gap { from: Side::Server, bytes, .. } => *bytes,
        other => panic!("{target} by {by}: {other:?}"),
    });
    assert_eq!(gaps.sum::<u64>(), length, "{target} by {by}");
}
