use std::{collections::BTreeSet, process::Command};

use regress_cassettes::Exchange;
use regress_protocols::wire::Protocol;

use super::{Expected::Different, Expected::Same, Service, redis::Server};
use crate::{
    harness::{Answer, Client, Corpus, Downstream, Need, Process, regress, require, wait_for_port},
    services::{python, source},
};

/// Runs a command with another `/etc/resolv.conf`.
const WITH_RESOLVER: &str = r#"mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;

fn rate(_: &str, _: &str, _: &[u8]) -> Answer {
    Answer(200, "application/json", r#"{"rate": 12}"#.to_owned())
}

fn names(test: &str, needs: &[Need], via: &str, resolver: &str) {
    if !require(test, &[needs, &[Need::Python, Need::Redis, Need::Sandbox, Need::Root]].concat()) {
        return;
    }
    let resolves = Process::start(Command::new(python()).args([source("resolver.py"), resolver.to_owned()]));
    resolves.wait_for_line("resolver listens");
    let (store, web) = (Server::start(), Downstream::start(rate));
    store.cli(&["SET", "tea", "green"]);
    let service = Service::new(vec![python(), source("names.py")], "NAMES_CHANGE", "names listen")
        .with("CACHE_PORT", store.port)
        .with("WEB_PORT", web.address.port());
    let settings = service.folder.path().join("resolv.conf");
    std::fs::write(&settings, format!("nameserver {resolver}\n")).expect("the folder can be written");

    let mut record = Command::new("unshare");
    record.args(["--mount", "sh", "-c", WITH_RESOLVER, "sh"]).arg(&settings).arg(regress().get_program());
    record.args(["record", "--via", via, "-o"]).arg(service.cassettes()).arg("--config").arg(service.settings(""));
    record.arg("--").args(&service.command).envs(service.builds("none"));
    let recording = Process::start(&mut record);
    recording.wait_for_line("names listen");
    wait_for_port(service.port);
    let client = Client::new(service.port);
    for target in ["/first", "/second", "/web", "/names", "/first"] {
        assert_eq!(client.get(target).status, 200, "{target}");
    }
    recording.signal(nix::sys::signal::Signal::SIGINT);
    recording.finish().expect_code(0);
    store.stop();
    resolves.stop();
    drop(web);

    let corpus = Corpus::read(&service.cassettes());
    assert_eq!(corpus.losses(), Vec::<&_>::new());
    let called: Vec<Vec<&str>> = corpus.cassettes.iter().map(|cassette| called(&cassette.downstream)).collect();
    let port = |name: &str| format!("{name}:{}", service.environment[usize::from(name == "web.internal")].1);
    let expected = ["cache.internal", "second.internal", "web.internal"].map(port);
    assert_eq!(called, [vec![&*expected[0]], vec![&expected[1]], vec![&expected[2]], vec![], vec![&expected[0]]]);
    for call in corpus.cassettes.iter().flat_map(|cassette| &cassette.downstream) {
        assert_eq!(call.connection.peer.inet().map(|peer| peer.ip().to_string()).as_deref(), Some("127.0.0.1"));
    }
    let asked: BTreeSet<String> = corpus.ambient.iter().filter_map(question).collect();
    for question in ["A cache.internal", "A second.internal", "SRV _cache._tcp.internal", "TXT long.internal"] {
        assert!(asked.contains(question), "{question} is not among {asked:?}");
    }

    service.expect(&[
        ("none", Same),
        ("other-name", Different("omitted downstream/0")),
        ("other-name", Different("novel downstream/1")),
        ("swapped", Different("omitted downstream/0")),
        ("asks-more", Different("novel downstream/0")),
    ]);
    let (_, report) = service.replay("swapped");
    let different: Vec<_> = report.outcomes.iter().filter(|outcome| outcome.verdict == "different").collect();
    assert_eq!(different.len(), 2, "{different:?}");
    assert!(different.iter().all(|outcome| outcome.entry == "GET /first"), "{different:?}");
}

fn called(exchanges: &[Exchange]) -> Vec<&str> {
    exchanges.iter().filter_map(|call| call.downstream.as_deref()).collect()
}

/// What a resolver was asked.
fn question(exchange: &Exchange) -> Option<String> {
    let wire = exchange.wire().filter(|wire| wire.protocol == Protocol::Dns)?;
    Some(wire.protocol.line(&wire.request))
}

#[test]
fn downstreams_have_the_names_that_were_resolved() {
    names("stores::names::ebpf", &[Need::Ebpf], "ebpf", "127.0.53.36");
}

#[test]
fn downstreams_have_the_names_that_were_resolved_through_the_proxy() {
    names("stores::names::proxy", &[], "proxy", "127.0.53.37");
}
