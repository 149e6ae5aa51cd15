use std::process::Command;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use regress_cassettes::Defect;
use serde_json::Value;

use crate::{
    harness::{Client, Corpus, Need, Process, Recording, free_port, http, require},
    services::{python, source},
};

const CLIENTS: u32 = 6;
const REQUESTS: u32 = 8;
/// What the service answers to each.
const BODY: usize = 1 << 20;

/// A buffer of 64 KiB, through which more than a hundred times as much is pressed: the recording says what it lacks
/// everywhere, and what it does not call incomplete is complete.
#[test]
fn root_a_forced_overflow_is_impossible_to_miss() {
    if !require("losses::overflow", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let port = free_port();
    let service = Process::start(Command::new(python()).arg(source("flood.py")).env("PORT", port.to_string()));
    service.wait_for_line("flood listens");
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let report = out.path().with_extension("json");
    let pid = service.id().to_string();
    let summary = format!("json={}", report.display());
    let arguments = ["--pid", &pid, "--via", "ebpf", "--buffer", "64K", "--summary", &summary];
    let recording = Recording::start(out.path(), arguments, []);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let first = 100_000 * (client + 1);
                let client = Client::new(port);
                for number in first..first + REQUESTS {
                    assert_eq!(client.get(&format!("/{number}")).response, body_of(&number.to_string()));
                }
            });
        }
    });
    wait_until_closed(port);
    let finished = recording.stop();
    service.stop();

    finished.expect_code(2);
    assert!(finished.stderr.contains("LOST"), "{}", finished.stderr);
    assert!(finished.stderr.contains("events: the buffer was full"), "{}", finished.stderr);
    let text = std::fs::read_to_string(&report).expect("the summary was written");
    std::fs::remove_file(&report).expect("the summary was written");
    let summary: Value = serde_json::from_str(&text).expect("the summary is JSON");
    assert_eq!(summary["complete"], Value::Bool(false));
    let count = |kind: &str, what: &str| summary["ledger"][kind][what].as_u64().expect("a number");
    assert!(count("buffer-full", "events") > 0 && count("buffer-full", "bytes") > 0, "{text}");
    assert!(count("gap", "bytes") > 0 && count("gap", "connections") > 0, "{text}");
    // What opens and ends connections has room that payload cannot take: so every refused byte has its place in a stream.
    assert_eq!(count("gap", "bytes"), count("buffer-full", "bytes"), "{text}");
    assert_eq!(count("table-full", "events"), 0, "{text}");

    let corpus = Corpus::read(out.path());
    let mut touched = 0;
    for cassette in &corpus.cassettes {
        let entry = cassette.entry.as_ref().expect("not the ambient cassette");
        if cassette.has_defects() {
            let gap = |defect: &Defect| matches!(defect, Defect::Gap { .. } | Defect::LostEvents { .. });
            assert!(cassette.defects.iter().chain(&entry.defects).any(gap), "{cassette:?}");
            touched += 1;
            continue;
        }
        let exchange = http(entry);
        let number = exchange.request.target().trim_start_matches('/').to_owned();
        let response = exchange.response.as_ref().expect("a complete cassette has a response");
        assert!(response.body == body_of(&number), "a cassette without a defect is the truth");
    }
    assert!(touched > 0, "{text}");
    assert_eq!(summary["defective"], Value::from(touched));
}

/// A recorder that stands still, as one does whose disk does not answer: the service does not wait for it, and what did not fit
/// meanwhile is told.
#[test]
fn root_a_recorder_that_stands_still_is_not_waited_for() {
    if !require("losses::stands_still", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let port = free_port();
    let service = Process::start(Command::new(python()).arg(source("flood.py")).env("PORT", port.to_string()));
    service.wait_for_line("flood listens");
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let pid = service.id().to_string();
    let recording = Recording::start(out.path(), ["--pid", &pid, "--via", "ebpf", "--buffer", "64K"], []);
    let tell = |signal| kill(Pid::from_raw(recording.id() as i32), signal).expect("it runs");
    tell(Signal::SIGSTOP);
    let client = Client::new(port);
    for number in 100_000..100_008 {
        assert_eq!(client.get(&format!("/{number}")).response, body_of(&number.to_string()));
    }
    drop(client);
    wait_until_closed(port);
    tell(Signal::SIGCONT);
    let finished = recording.stop();
    service.stop();
    finished.expect_code(2);
    assert!(finished.stderr.contains("events: the buffer was full"), "{}", finished.stderr);
    for cassette in Corpus::read(out.path()).cassettes {
        let entry = cassette.entry.as_ref().expect("not the ambient cassette");
        let number = http(entry).request.target().trim_start_matches('/').to_owned();
        let is_whole = http(entry).response.as_ref().is_some_and(|response| response.body == body_of(&number));
        assert!(cassette.has_defects() || is_whole, "a cassette without a defect is the truth");
    }
}

/// Until the service has closed all its connections: what the buffer refused last is told then.
fn wait_until_closed(port: u16) {
    let local = format!(":{port:04X} ");
    // proc_net_tcp: local address, remote address, state; 06 waits in the kernel alone, 0A listens.
    let is_open = |line: &str| {
        let state = line.split_ascii_whitespace().nth(3);
        line.split_once(&local).is_some_and(|(before, _)| before.matches(':').count() == 1)
            && state.is_some_and(|state| state != "06" && state != "0A")
    };
    while std::fs::read_to_string("/proc/net/tcp").expect("there is TCP").lines().any(is_open) {
        std::thread::yield_now();
    }
}

fn body_of(number: &str) -> Vec<u8> {
    let body = format!("{number:>15}\n").repeat(1 << 16).into_bytes();
    assert_eq!(body.len(), BODY);
    body
}
