use std::process::Command;

use regress_cassettes::Content;

use super::{Expected, Expected::Different, Expected::Same, Service};
use crate::{
    harness::{Need, Process, free_port, require},
    services::{python, source},
};

/// Builds of the service, and how they have to be judged. What deviates is closed, which the service tells in its response.
fn builds(greets: bool) -> [(&'static str, Expected); 5] {
    let (first, second) = match greets {
        false => ("changed downstream/0/request/turns/0", "changed downstream/0/request/turns/2"),
        true => ("changed downstream/0/request/turns/1", "changed downstream/0/request/turns/3"),
    };
    [
        ("none", Same),
        ("other-byte", Different(first)),
        ("dropped-line", Different(second)),
        ("dropped-call", Different("omitted downstream/1")),
        ("extra-call", Different("novel downstream/2")),
    ]
}

fn ledger(test: &str, needs: &[Need], via: &str, greets: bool) {
    if !require(test, &[needs, &[Need::Python, Need::Sandbox]].concat()) {
        return;
    }
    let port = free_port();
    let environment = [
        ("LEDGER_PORT", port.to_string()),
        ("GREET", u8::from(greets).to_string()),
        ("LEDGER_HOST", "127.0.0.1".into()),
    ];
    let mut server = Command::new(python());
    let server = Process::start(server.args([source("ledger_lines.py"), "server".into()]).envs(environment.clone()));
    server.wait_for_line("ledger listens");
    let command = vec![python(), source("ledger_lines.py"), "service".into()];
    let mut service = Service::new(command, "LEDGER_CHANGE", "ledger listens");
    service.environment.extend(environment);
    let corpus = service.record(via, |client| {
        for (name, amount) in [("tea", "3"), ("milk", "5"), ("tea", "4"), ("tea", "4")] {
            assert_eq!(client.post(&format!("/{name}"), amount).status, 201);
        }
    });
    server.stop();
    for (cassette, first) in corpus.cassettes.iter().zip(["ADD tea 3\n", "ADD milk 5\n", "ADD tea 4\n", "ADD tea 4\n"])
    {
        let [call, audit] = &cassette.downstream[..] else { panic!("{cassette:#?}") };
        assert!(call.conversation().is_some() && audit.conversation().is_some(), "{call:#?}");
        let Content::Opaque(turns) = &call.content else { panic!("{call:#?}") };
        let turns: Vec<_> = turns.iter().map(|turn| String::from_utf8_lossy(&turn.bytes)).collect();
        let said = &turns[usize::from(greets)..];
        assert_eq!((said.len(), &*said[0], &*said[5]), (6, first, "BYE\n"));
        assert_eq!(greets, turns[0] == "LEDGER 1 READY\n");
    }
    service.expect(&builds(greets));
    let (_, report) = service.replay("none");
    for outcome in &report.outcomes {
        assert_eq!(outcome.notes.len(), 2, "{:?}", outcome.notes);
        assert!(outcome.notes[0].contains("no protocol was recognised"), "{:?}", outcome.notes);
    }
}

#[test]
fn a_client_that_speaks_first() {
    ledger("stores::turns::client_first", &[Need::Ebpf], "ebpf", false);
}

#[test]
fn a_server_that_speaks_first() {
    ledger("stores::turns::server_first", &[Need::Ebpf], "ebpf", true);
}

#[test]
fn through_the_proxy() {
    ledger("stores::turns::proxy", &[], "proxy", true);
}
