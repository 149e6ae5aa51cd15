use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    harness::{Corpus, Need, Recording, Replay, free_port, http, require},
    services::{Source, python, source},
};

#[test]
fn a_stream_that_is_ended_behind_its_client_is_known_from_the_kernel() {
    left("left::ebpf", Source::Ebpf, &[Need::Python, Need::Sandbox, Need::Ebpf]);
}

#[test]
fn a_stream_that_is_ended_behind_its_client_is_known_from_the_proxy() {
    left("left::proxy", Source::Proxy, &[Need::Python, Need::Sandbox]);
}

/// The client has read all that was said when it closes its connection, and the service ends the stream in good order: a
/// replay does not wait for an end that comes by itself.
fn left(test: &str, via: Source, needs: &[Need]) {
    if !require(test, needs) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (cassettes, settings) = (folder.path().join("cassettes"), folder.path().join("regress.toml"));
    std::fs::write(&settings, "[replay]\nsettle = 0.2\n").expect("the temporary folder can be written");
    let (port, command) = (free_port(), vec![python(), source("farewell.py")]);
    let environment = |second: &str| vec![("PORT", port.to_string()), ("SECOND", second.to_owned())];

    let words = ["--via", via.name(), "--port", &port.to_string(), "--"].map(str::to_owned);
    let recording = Recording::start(&cassettes, words.iter().chain(&command), environment("20"));
    recording.wait_for_service("farewell listens", port);
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the service listens");
    client.write_all(b"GET / HTTP/1.1\r\nHost: farewell\r\n\r\n").expect("it reads");
    let mut said = Vec::new();
    while !said.ends_with(b"data: 20\n\n\r\n") {
        let mut some = [0; 1024];
        let length = client.read(&mut some).expect("it speaks");
        assert!(length > 0, "the stream goes on");
        said.extend(&some[..length]);
    }
    drop(client);
    recording.wait_for_line("said farewell");
    recording.stop().expect_code(0);
    let corpus = Corpus::read(&cassettes);
    let [cassette] = &corpus.cassettes[..] else { panic!("{corpus:?}") };
    let entry = http(cassette.entry.as_ref().expect("it has one"));
    assert!(entry.left && entry.response.as_ref().is_some_and(|response| response.is_complete()), "{entry:?}");

    for (second, differs) in [("20", None), ("21", Some("response/body/1/data"))] {
        let arguments = &["--no-pending"];
        let environment = environment(second);
        let replay = Replay { cassettes: &cassettes, settings: &settings, command: &command, environment, arguments };
        let (finished, report) = replay.run();
        finished.expect_code(i32::from(differs.is_some()));
        let outcomes = report.expect("a replay that began has a report").outcomes;
        let paths: Vec<&str> =
            outcomes.iter().flat_map(|one| &one.differences).map(|difference| difference.path.as_str()).collect();
        assert_eq!(paths, differs.as_slice());
    }
}
