use std::{os::unix::process::CommandExt as _, process::Command};

use regress_cassettes::{Confidence, Rule};

use crate::{
    harness::{
        Answer, Authority, Client, Corpus, Downstream, Finished, Need, Process, Recording, free_port, http, require,
    },
    services::{go_program, python, source},
};

/// Each of two clients makes so many: enough to believe ids.
const REQUESTS: u32 = 20;
const ENTRIES: usize = 2 * REQUESTS as usize;

/// What is recorded of workers that make the calls of two requests at a time, which only an id or a value tells apart.
/// The requests have a number in this header, and their calls the same path.
fn record(header: &str, arguments: &[&str]) -> (Finished, Corpus) {
    let downstream = Downstream::start(|_, target, _| Answer(200, "text/plain", target.to_owned()));
    let port = free_port();
    let mut command = Command::new(python());
    command.arg(source("workers.py")).arg(header).env("PORT", port.to_string());
    let service = Process::start(command.env("DOWNSTREAM", downstream.address.to_string()));
    service.wait_for_line("workers listen");

    let out = tempfile::tempdir().expect("there is a temporary folder");
    let pid = service.id().to_string();
    let arguments = ["--via", "ebpf", "--pid", &pid].into_iter().chain(arguments.iter().copied());
    let recording = Recording::start(out.path(), arguments, []);
    std::thread::scope(|scope| {
        for first in [100, 200] {
            scope.spawn(move || {
                let client = Client::new(port);
                for number in first..first + REQUESTS {
                    let reply = client.get_with(header, &format!("request-{number}"), &format!("/orders/{number}"));
                    assert_eq!(reply.response, format!("/orders/{number}"));
                }
            });
        }
    });
    let finished = recording.stop();
    service.stop();
    (finished, Corpus::read(out.path()))
}

/// All calls are with their entries, for this reason.
#[track_caller]
fn assert_owned((finished, corpus): &(Finished, Corpus), rule: Rule, confidence: Confidence) {
    assert_eq!((corpus.cassettes.len(), corpus.ambient.len()), (ENTRIES, 0), "{}", finished.stderr);
    for cassette in &corpus.cassettes {
        let entry = cassette.entry.as_ref().expect("not the ambient cassette");
        let [call] = &cassette.downstream[..] else { panic!("{cassette:#?}\n{}", finished.stderr) };
        assert_eq!(http(entry).request.target(), http(call).request.target());
        let cause = call.cause.as_ref().expect("it has an owner");
        assert_eq!((cause.rule, cause.confidence, cassette.has_defects()), (rule, confidence, false));
    }
}

/// It is not known whose any of them is.
#[track_caller]
fn assert_unknown((finished, corpus): &(Finished, Corpus)) {
    assert_eq!((corpus.cassettes.len(), corpus.ambient.len()), (ENTRIES, ENTRIES), "{}", finished.stderr);
    assert!(corpus.cassettes.iter().all(|cassette| cassette.downstream.is_empty() && cassette.has_defects()));
}

#[test]
fn an_id_that_is_passed_on_tells_what_nothing_else_does() {
    if !require("owners::ids", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let known = record("X-Request-Id", &[]);
    assert_owned(&known, Rule::PropagatedId, Confidence::Certain);
    known.0.expect_code(0);
    let unknown = record("X-Request-Id", &["--no-id-evidence"]);
    assert_unknown(&unknown);
    unknown.0.expect_code(2);
    assert_unknown(&record("X-Order-Key", &[]));
    assert_owned(&record("X-Order-Key", &["--id-header", "x-order-key"]), Rule::PropagatedId, Confidence::Certain);
}

#[test]
fn values_tell_what_is_likely_where_that_is_asked_for() {
    if !require("owners::values", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let likely = record("X-Order-Key", &["--value-evidence"]);
    assert_owned(&likely, Rule::Values, Confidence::Likely);
    assert!(likely.0.stderr.contains(&format!("{ENTRIES} exchanges are likely of an entry")), "{}", likely.0.stderr);
    likely.0.expect_code(2);
    let (finished, corpus) = record("X-Order-Key", &["--value-evidence", "--only-certain"]);
    assert!(
        corpus.cassettes.is_empty() && finished.stderr.contains(&format!("{ENTRIES} entries were left out")),
        "{}",
        finished.stderr
    );
}

/// Few requests, at once in several processes of which each takes one at a time.
#[test]
fn what_php_calls_side_by_side_and_after_the_response_is_known_from_the_first_request_on() {
    if !require("owners::php", &[Need::Php, Need::Ebpf]) {
        return;
    }
    const CLIENTS: u32 = 3;
    const EACH: u32 = 2;
    let downstream = Downstream::start(|_, target, _| Answer(200, "text/plain", target.to_owned()));
    let port = free_port();
    // Its workers do not end with it.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "trap - TERM; kill 0" TERM; php -S "$0" "$1" & wait"#, &format!("127.0.0.1:{port}")]);
    command.arg(source("parallel.php")).env("PHP_CLI_SERVER_WORKERS", "4").process_group(0);
    let service = Process::start(command.env("DOWNSTREAM", downstream.address.to_string()));
    service.wait_for_line("started");

    let out = tempfile::tempdir().expect("there is a temporary folder");
    let recording = Recording::start(out.path(), ["--via", "ebpf", "--pid", &service.id().to_string()], []);
    std::thread::scope(|scope| {
        for first in (0..CLIENTS).map(|client| 100 * client) {
            scope.spawn(move || {
                for number in first..first + EACH {
                    let path = format!("/orders/{number}");
                    assert_eq!(Client::new(port).get(&path).response, path);
                }
            });
        }
    });
    let finished = recording.stop();
    service.stop();
    let corpus = Corpus::read(out.path());
    let entries = (CLIENTS * EACH) as usize;
    assert_eq!((corpus.cassettes.len(), corpus.ambient.len()), (entries, 0), "{}", finished.stderr);
    for cassette in &corpus.cassettes {
        let entry = cassette.entry.as_ref().expect("not the ambient cassette");
        assert_eq!((cassette.downstream.len(), cassette.has_defects()), (3, false), "{}", finished.stderr);
        for call in &cassette.downstream {
            assert_eq!(http(entry).request.target(), http(call).request.target());
            assert_eq!(call.cause.as_ref().map(|cause| cause.rule), Some(Rule::LastRead));
        }
    }
    finished.expect_code(0);
}

/// Eight clients at once, whose calls share one connection on which nobody writes or reads for one entry alone.
#[test]
fn streams_of_go_are_of_whoever_waits_for_them() {
    if !require("owners::streams", &[Need::Go, Need::Ebpf]) {
        return;
    }
    const CLIENTS: u32 = 8;
    let authority = Authority::new();
    let file = |name: &str| authority.file(name);
    let [port, stock] = [free_port(), free_port()];
    let start = |what: &str, port: u16| {
        let mut command = Command::new(go_program("streams"));
        command.args([what, &port.to_string()]).env("DOWNSTREAM", format!("127.0.0.1:{stock}"));
        command.env("CERTIFICATE", file("server.pem")).env("KEY", file("server.key"));
        let started = Process::start(command.env("AUTHORITY", file("authority.pem")));
        started.wait_for_line(&format!("{what} listens"));
        started
    };
    let (downstream, service) = (start("downstream", stock), start("service", port));
    // Before the recording nothing is called, so that the connection is seen from its start.
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let recording = Recording::start(out.path(), ["--via", "ebpf", "--pid", &service.id().to_string()], []);
    // The connection is made for this one, and all others share it.
    assert_eq!(Client::new(port).get("/orders/10000").response, "/orders/10000");
    std::thread::scope(|scope| {
        for first in (0..CLIENTS).map(|client| 100 * client) {
            scope.spawn(move || {
                let client = Client::new(port);
                for path in (first..first + REQUESTS).map(|number| format!("/orders/{number}")) {
                    assert_eq!(client.get(&path).response, path);
                }
            });
        }
    });
    let finished = recording.stop();
    service.stop();
    downstream.stop();
    finished.expect_code(0);
    let corpus = Corpus::read(out.path());
    let entries = (CLIENTS * REQUESTS + 1) as usize;
    assert_eq!((corpus.cassettes.len(), corpus.ambient.len()), (entries, 0), "{}", finished.stderr);
    for cassette in &corpus.cassettes {
        let entry = http(cassette.entry.as_ref().expect("not the ambient cassette")).request.target().into_owned();
        let mut called: Vec<String> =
            cassette.downstream.iter().map(|call| http(call).request.target().into_owned()).collect();
        called.sort();
        assert_eq!(called, ["/price/", "/stock/"].map(|kind| entry.replace("/orders/", kind)));
        assert!(cassette.downstream.iter().all(|call| call.connection.tls && http(call).is_http2()));
    }
}
