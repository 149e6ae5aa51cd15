/// grpc-go, tonic and grpc-java, each as server and as client.
mod built;
/// gRPC-Web, which is HTTP/1.1.
mod web;

use std::{path::PathBuf, process::Command, sync::OnceLock};

use regress_cassettes::{Ended, Exchange};

use super::{
    Expected::{self, Different, Same},
    Service,
};
use crate::{
    harness::{Authority, Client, Corpus, Need, Process, free_port, http, require, tools},
    services::source,
};

/// The stock that the shops ask, by gRPC.
struct Stock {
    process: Process,
    port: u16,
}

impl Stock {
    fn start(environment: &[(&str, String)]) -> Stock {
        let port = free_port();
        let mut command = Command::new(python());
        command.arg(source("stock.py")).env("PORT", port.to_string());
        let process = Process::start(command.envs(environment.iter().map(|(name, value)| (name, value))));
        process.wait_for_line("stock listens");
        Stock { process, port }
    }
}

fn python() -> String {
    tools().join("venv/bin/python").display().to_string()
}

fn go_shop() -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("grpc-shop-go");
        let mut build = Command::new("go");
        build.env("CGO_ENABLED", "0").env("GO111MODULE", "off").env("GOTOOLCHAIN", "local");
        Process::start(build.args(["build", "-o"]).arg(&program).arg(source("grpc_shop.go"))).finish().expect_code(0);
        program
    });
    built.display().to_string()
}

/// Builds of the shop whose entries come by HTTP/1.1, and how they have to be judged.
const BUILDS: &[(&str, Expected)] = &[
    ("none", Same),
    ("channel-per-call", Same),
    ("changed-field", Different("changed downstream/0/request/body/0/1")),
    ("other-method", Different("novel downstream/1")),
    ("dropped-call", Different("omitted downstream/0")),
];

fn shop(test: &str, needs: &[Need], via: &str, command: fn() -> Vec<String>) {
    if !require(test, &[needs, &[Need::Grpc, Need::Sandbox]].concat()) {
        return;
    }
    let stock = Stock::start(&[]);
    let service = Service::new(command(), "SHOP_CHANGE", "shop listens")
        .with("STOCK", format!("127.0.0.1:{}", stock.port))
        .with("MODULES", tools().display());
    let corpus = service.record(via, drive);
    stock.process.stop();
    assert_eq!(called(&corpus), ["Get", "List", "Reserve", "Watch", "Get"]);
    for exchange in corpus.cassettes.iter().flat_map(|cassette| &cassette.downstream) {
        assert!(http(exchange).is_http2() && exchange.defects.is_empty(), "{:?}", exchange.defects);
    }
    let watched = http(&corpus.cassettes[3].downstream[0]);
    assert_eq!(watched.interleaved.last().map(|(asked, _)| *asked), Some(watched.request.body.len() as u64));
    service.expect(BUILDS);
    service.expect_same();
}

fn drive(client: &Client) {
    for (target, status) in
        [("/items/7", 200), ("/items", 200), ("/reserve/7,8", 200), ("/watch/7,9", 200), ("/items/99", 502)]
    {
        assert_eq!(client.get(target).status, status, "{target}");
    }
}

/// The methods of the stock that were called.
fn called(corpus: &Corpus) -> Vec<String> {
    let calls = corpus.cassettes.iter().flat_map(|cassette| &cassette.downstream);
    // `localhost` is tried at ::1 first.
    let calls = calls.filter(|call| call.ended != Ended::Refused);
    let method = |call: &Exchange| http(call).request.path().rsplit('/').next().unwrap_or_default().to_owned();
    calls.map(method).collect()
}

#[test]
fn python_calls() {
    let command = || vec![python(), source("grpc_shop.py")];
    shop("stores::grpc::python_calls", &[Need::Ebpf], "ebpf", command);
}

#[test]
fn python_calls_through_the_proxy() {
    let command = || vec![python(), source("grpc_shop.py")];
    shop("stores::grpc::python_calls_through_the_proxy", &[], "proxy", command);
}

#[test]
fn node_calls() {
    let command = || vec!["node".to_owned(), source("grpc_shop.mjs")];
    shop("stores::grpc::node_calls", &[Need::Node, Need::Ebpf], "ebpf", command);
}

#[test]
fn go_calls() {
    shop("stores::grpc::go_calls", &[Need::Go, Need::Ebpf], "ebpf", || vec![go_shop()]);
}

/// Asks a shop for one call of each kind.
fn ask_for_each(port: u16, environment: &[(&str, String)]) {
    let mut client = Command::new(python());
    client.arg(source("shop_client.py")).env("PORT", port.to_string());
    client.envs(environment.iter().map(|(name, value)| (name, value)));
    Process::start(&mut client).finish().expect_code(0);
}

/// Entries of each kind, by gRPC.
#[test]
fn python_is_called() {
    if !require("stores::grpc::python_is_called", &[Need::Grpc, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let stock = Stock::start(&[]);
    let service = Service::new(vec![python(), source("grpc_shop.py")], "SHOP_CHANGE", "shop listens")
        .with("STOCK", format!("127.0.0.1:{}", stock.port))
        .with("SHOP_ENTRY", "grpc");
    let corpus = service.record("ebpf", |_| {
        ask_for_each(service.port, &[]);
    });
    stock.process.stop();
    let entries: Vec<_> = corpus.cassettes.iter().filter_map(|cassette| cassette.entry.as_ref()).collect();
    let paths: Vec<String> = entries.iter().map(|entry| http(entry).request.path().into_owned()).collect();
    assert_eq!(paths, ["Price", "Prices", "Total", "Chat", "Price"].map(|method| format!("/shop.Shop/{method}")));
    assert_eq!(called(&corpus), ["Get", "List", "Get", "Get", "Get", "Get", "Get"]);
    service.expect(&[
        ("none", Same),
        ("other-price", Different("changed response/body/0/2")),
        ("other-method", Different("omitted downstream/0")),
    ]);
}

/// A stock behind TLS: HTTP/2 is agreed on in the handshake, in the recording as in the sandbox.
#[test]
fn python_calls_inside_tls() {
    if !require("stores::grpc::python_calls_inside_tls", &[Need::Grpc, Need::Sandbox]) {
        return;
    }
    let authority = Authority::new();
    let file = |name: &str| authority.file(name).display().to_string();
    let stock = Stock::start(&[("STOCK_CERTIFICATE", file("server.pem")), ("STOCK_KEY", file("server.key"))]);
    let service = Service::new(vec![python(), source("grpc_shop.py")], "SHOP_CHANGE", "shop listens")
        .with("STOCK", format!("localhost:{}", stock.port))
        .with("STOCK_TLS", "yes")
        .with("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", file("authority.pem"))
        .with("SSL_CERT_FILE", file("authority.pem"));
    let corpus = service.record("proxy", drive);
    stock.process.stop();
    assert_eq!(called(&corpus), ["Get", "List", "Reserve", "Watch", "Get"]);
    let calls = corpus.cassettes.iter().flat_map(|cassette| &cassette.downstream);
    assert!(calls.filter(|call| call.ended != Ended::Refused).all(|call| call.connection.tls));
    service.expect(&[("none", Same), ("changed-field", Different("changed downstream/0/request/body/0/1"))]);
}
