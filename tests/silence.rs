use std::net::{SocketAddr, TcpListener};

use regress_cassettes::Content;

use crate::{
    harness::{Client, Corpus, Need, Recording, Replay, free_port, require},
    services::{Source, python, source},
};

#[test]
fn a_connection_held_in_silence_is_known_from_the_kernel() {
    held("silence::ebpf", Source::Ebpf, &[Need::Python, Need::Sandbox, Need::Ebpf]);
}

#[test]
fn a_connection_held_in_silence_is_known_from_the_proxy() {
    held("silence::proxy", Source::Proxy, &[Need::Python, Need::Sandbox]);
}

/// A build that holds connections as it did is the same; one that holds them elsewhere is not.
fn held(test: &str, via: Source, needs: &[Need]) {
    if !require(test, needs) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (cassettes, settings) = (folder.path().join("cassettes"), folder.path().join("regress.toml"));
    std::fs::write(&settings, "[replay]\nsettle = 0.2\n").expect("the temporary folder can be written");
    let (port, command) = (free_port(), vec![python(), source("holder.py")]);
    // Whoever connects there waits in its queue.
    let nowhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nowhere = (nowhere.local_addr().expect("it is bound"), nowhere);
    let environment = |hold: SocketAddr| vec![("PORT", port.to_string()), ("HOLD", hold.to_string())];

    let words = ["--via", via.name(), "--port", &port.to_string(), "--"].map(str::to_owned);
    let recording = Recording::start(&cassettes, words.iter().chain(&command), environment(nowhere.0));
    recording.wait_for_service("holder listens", port);
    let client = Client::new(port);
    (0..2).for_each(|_| assert_eq!(client.get("/").status, 200));
    drop(client);
    recording.stop().expect_code(0);
    let Corpus { ambient, silent, .. } = Corpus::read(&cassettes);
    let told: Vec<_> = silent.iter().map(|one| (one.connection.peer.inet(), &one.content)).collect();
    assert_eq!(told, [(Some(nowhere.0), &Content::Opaque(Vec::new()))]);
    assert_eq!(ambient, []);

    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 9));
    for (hold, code) in [(nowhere.0, 0), (elsewhere, 1)] {
        let arguments = &["--no-pending"];
        let environment = environment(hold);
        let replay = Replay { cassettes: &cassettes, settings: &settings, command: &command, environment, arguments };
        let (finished, report) = replay.run();
        finished.expect_code(code);
        let outcomes = report.expect("a replay that began has a report").outcomes;
        let kinds: Vec<&str> =
            outcomes.iter().flat_map(|one| &one.differences).map(|difference| difference.kind.as_str()).collect();
        // One for each entry: none is told twice, whenever it was opened.
        assert_eq!(kinds, vec!["novel"; 2 * code as usize]);
        assert_eq!(outcomes.len(), 2);
    }
}
