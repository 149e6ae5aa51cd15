use std::process::Command;

use super::{
    Expected,
    Expected::Different,
    Expected::Same,
    Service, called,
    clients::{go_client, java_client, rust_client},
};
use crate::{
    harness::{Answer, Client, Downstream, Need, Process, free_port, require, tools},
    services::source,
};

/// A Redis server that keeps nothing.
pub(super) struct Server {
    process: Process,
    pub(super) port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    pub(super) fn start() -> Server {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("there is a temporary folder"));
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--bind", "127.0.0.1", "--logfile", "/dev/stderr", "--port"]).arg(port.to_string());
        let process = Process::start(command.arg("--dir").arg(folder.path()));
        process.wait_for_line("Ready to accept connections");
        Server { process, port, folder }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn cli(&self, arguments: &[&str]) {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(arguments);
        Process::start(&mut command).finish().expect_code(0);
    }

    pub(super) fn stop(self) {
        self.process.stop();
        drop(self.folder);
    }
}

/// Builds of `keep`, and how they have to be judged.
const BUILDS: &[(&str, Expected)] = &[
    ("small-pool", Same),
    ("reconnects", Same),
    ("other-key", Different("changed downstream/1/request/args/0")),
    ("other-value", Different("changed downstream/1/request/args/1/length")),
    ("dropped-command", Different("omitted downstream/2")),
    ("dropped-call", Different("omitted downstream/4")),
    ("extra-command", Different("novel downstream/6")),
    ("other-range", Different("changed downstream/0/request/args/2")),
];

fn keep(
    test: &str,
    needs: &[Need],
    via: &str,
    command: impl FnOnce() -> Vec<String>,
    own: &[(&'static str, Expected)],
) {
    if !require(test, &[needs, &[Need::Redis, Need::Sandbox]].concat()) {
        return;
    }
    let server = Server::start();
    server.cli(&["-n", "1", "SET", "picture", "\u{1}"]);
    let service = Service::new(command(), "KEEP_CHANGE", "keep listens")
        .with("STORE", server.address())
        .with("MODULES", tools().display());
    let corpus = service.record(via, |client| {
        assert_eq!(client.post("/tea", "green").status, 201);
        assert_eq!(client.post("/milk", "oat\r\n\"cold\"").status, 201);
        assert_eq!(client.get("/tea").status, 200);
        assert_eq!(client.get("/wine").status, 404);
        assert_eq!(client.get("/wrong").status, 409);
        assert_eq!(client.get("/all").status, 200);
    });
    server.stop();
    assert_eq!(called(&corpus, 0), ["MULTI", "SET", "INCRBY", "EXEC", "LPUSH", "GET"]);
    assert_eq!(called(&corpus, 4), ["INCRBY"]);
    service.expect(&[BUILDS, own].concat());
    service.expect_same();
}

#[test]
fn python() {
    let command = || vec![tools().join("venv/bin/python").display().to_string(), source("keep.py")];
    keep("stores::redis::python", &[Need::Ebpf], "ebpf", command, &[("resp3", Same)]);
}

/// The pool's connection had selected its database before the recording began, so that nobody saw which.
#[test]
fn attached() {
    if !require("stores::redis::attached", &[Need::Redis, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let command = vec![tools().join("venv/bin/python").display().to_string(), source("keep.py")];
    let service = Service::new(command, "KEEP_CHANGE", "keep listens").with("STORE", server.address());
    let corpus = service.attach(
        |client| assert_eq!(client.post("/coffee", "black").status, 201),
        |client| {
            assert_eq!(client.post("/tea", "green").status, 201);
            assert_eq!(client.get("/tea").status, 200);
        },
    );
    server.stop();
    assert_eq!(called(&corpus, 1), ["GET"]);
    service.expect(&[
        ("none", Same),
        ("other-key", Different("changed downstream/1/request/args/0")),
        ("dropped-call", Different("omitted downstream/4")),
    ]);
}

#[test]
fn python_through_the_proxy() {
    let command = || vec![tools().join("venv/bin/python").display().to_string(), source("keep.py")];
    keep("stores::redis::python_through_the_proxy", &[], "proxy", command, &[]);
}

fn python_async() -> Vec<String> {
    vec![tools().join("venv/bin/python").display().to_string(), source("keep_async.py")]
}

/// redis.asyncio, served by aiohttp.
#[test]
fn python_asyncio() {
    keep("stores::redis::python_asyncio", &[Need::Aiohttp, Need::Ebpf], "ebpf", python_async, &[("resp3", Same)]);
}

/// The same service's calls over HTTP, by aiohttp's client.
#[test]
fn aiohttp() {
    if !require("stores::redis::aiohttp", &[Need::Aiohttp, Need::Redis, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let prices = Downstream::start(|_, target, _| {
        let cents = target.len() * 100;
        Answer(200, "application/json", format!(r#"{{"of":"{target}","cents":{cents}}}"#))
    });
    let service = Service::new(python_async(), "KEEP_CHANGE", "keep listens");
    let service = service.with("STORE", server.address()).with("PRICES", prices.url());
    let corpus = service.record("ebpf", |client| {
        for target in ["/price/tea", "/price/rice", "/price/tea"] {
            assert_eq!(client.get(target).status, 200);
        }
    });
    server.stop();
    let mut calls = called(&corpus, 0);
    calls[..2].sort();
    assert_eq!(calls, ["GET /cost/tea", "GET /tax/tea", "POST /totals/tea"]);
    service.expect_same();
    service.expect(&[
        ("small-pool", Same),
        ("reconnects", Same),
        ("other-value", Different("changed downstream/2/request/body/cents")),
        ("dropped-call", Different("omitted downstream/2")),
        ("other-target", Different("novel downstream/3")),
    ]);
}

#[test]
fn node() {
    keep("stores::redis::node", &[Need::Node, Need::Ebpf], "ebpf", || vec!["node".to_owned(), source("keep.mjs")], &[]);
}

#[test]
fn go() {
    keep("stores::redis::go", &[Need::Go, Need::Ebpf], "ebpf", || go_client("keep"), &[("resp2", Same)]);
}

#[test]
fn jedis() {
    let needs = [Need::JavaClients, Need::Ebpf];
    keep("stores::redis::jedis", &needs, "ebpf", || java_client("keep-jedis"), &[("resp3", Same)]);
}

#[test]
fn lettuce() {
    let needs = [Need::JavaClients, Need::Ebpf];
    keep("stores::redis::lettuce", &needs, "ebpf", || java_client("keep-lettuce"), &[("resp2", Same)]);
}

#[test]
fn rust() {
    keep("stores::redis::rust", &[Need::RustClients, Need::Ebpf], "ebpf", || rust_client("keep"), &[]);
}

/// What people type, in both versions of the protocol.
const SESSION: &str = r#"
SET note:tea "green, not black"
GET note:tea
INCR count
RPUSH list a b c
LRANGE list 0 -1
HSET shelf tea 3 milk 1
HGETALL shelf
MULTI
INCR count
LLEN list
EXEC
GET nosuch
NOSUCH 1
BLPOP nothing 0.1
XADD news 7-1 of today
HELLO 3
HGETALL shelf
XRANGE news - +
EVAL "return {1, {'two', false}}" 0
SELECT 3
DBSIZE
"#;

#[test]
fn redis_cli() {
    if !require("stores::redis::redis_cli", &[Need::Redis, Need::Python, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let (terminal, port) = (source("terminal.py"), server.port.to_string());
    let command = ["python3", &terminal, "redis-cli", "--no-raw", "-p", &port].map(str::to_owned).to_vec();
    let service = Service::new(command, "TERMINAL_CHANGE", "terminal listens");
    service.record("ebpf", |client| {
        let printed = client.post("/", SESSION).response;
        let printed = String::from_utf8_lossy(&printed);
        for expected in [
            "\"green, not black\"",
            "(integer) 2",
            "QUEUED",
            "ERR unknown command 'NOSUCH'",
            "1# \"tea\" => \"3\"",
            "\"7-1\"",
            "\"two\"",
            "(integer) 0",
        ] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    });
    server.stop();
    service.expect(&[("none", Same)]);
}

/// A client in C with a pool that is opened at its start.
#[test]
fn webdis() {
    if !require("stores::redis::webdis", &[Need::Redis, Need::Webdis, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let mut service = Service::new(Vec::new(), "WEBDIS_CHANGE", "Webdis");
    let settings = |database: u8| {
        format!(
            r#"{{"redis_host": "127.0.0.1", "redis_port": {}, "http_host": "127.0.0.1", "http_port": {}, "daemonize": false,
                "threads": 2, "pool_size": 3, "database": {database}, "verbosity": 4, "logfile": "/dev/stderr"}}"#,
            server.port, service.port
        )
    };
    let write = |name: &str, text: String| {
        let path = service.folder.path().join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path.display().to_string()
    };
    let (own, other) = (write("webdis.json", settings(0)), write("other.json", settings(3)));
    service.command = vec!["webdis".to_owned(), own];
    let corpus = service.record("ebpf", drive_webdis);
    assert_eq!(called(&corpus, 0), ["SET"]);
    service.expect(&[("none", Same)]);
    service.command[1] = other;
    service.expect(&[("another database", Different("added downstream/0/request/db"))]);
    server.stop();
}

fn drive_webdis(client: &Client) {
    for target in ["/SET/hello/world", "/GET/hello", "/GET/nothing", "/LPUSH/list/a/b", "/LRANGE/list/0/-1.json"] {
        assert_eq!(client.get(target).status, 200);
    }
}

/// A client in Go that opens a connection for each entry.
#[test]
fn redis_exporter() {
    let needs = [Need::Redis, Need::RedisExporter, Need::Ebpf, Need::Sandbox];
    if !require("stores::redis::redis_exporter", &needs) {
        return;
    }
    let server = Server::start();
    let mut service = Service::new(Vec::new(), "EXPORTER_CHANGE", "Providing metrics");
    let address = format!("127.0.0.1:{}", service.port);
    let command = ["prometheus-redis-exporter", "-web.listen-address", &address];
    service.command = command.map(str::to_owned).to_vec();
    let target = format!("/scrape?target=redis://{}", server.address());
    service.record("ebpf", |client| assert_eq!(client.get(&target).status, 200));
    server.stop();
    let (finished, report) = service.replay("none");
    let calls =
        report.outcomes.iter().flat_map(|outcome| &outcome.differences).filter(|found| found.place != "response");
    assert_eq!(calls.count(), 0, "{}", finished.stdout);
    service.command.extend(["-check-single-keys".to_owned(), "db0=greeting".to_owned()]);
    service.expect(&[("asks for a key", Different("novel downstream/5"))]);
}
