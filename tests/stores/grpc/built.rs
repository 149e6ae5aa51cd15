use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{Stock, ask_for_each, called};
use crate::{
    harness::{Authority, Corpus, Need, Process, Recording, Replay, http, regress, require, tools},
    services::source,
    stores::{
        Expected::{self, Different, Same},
        Inside, Service,
    },
};

/// Builds of the shops whose entries come by gRPC.
const BUILDS: &[(&str, Expected)] = &[
    ("channel-per-call", Same),
    ("changed-field", Different("changed downstream/0/request/body/0/1")),
    ("other-method", Different("novel downstream/1")),
    ("dropped-call", Different("omitted downstream/0")),
    ("other-price", Different("changed response/body/0/2")),
];

/// The shop in Go with grpc-go, built once a test run; Go's own cache makes that quick.
fn go() -> Vec<String> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shop-grpc-go");
        let mut build = Command::new("go");
        build.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").current_dir(source("grpc-go"));
        Process::start(build.args(["build", "-o"]).arg(&program).arg(".")).finish().expect_code(0);
        program
    });
    vec![built.display().to_string()]
}

/// The shop on tonic. `tests/install.sh` has built it, so that what is left is what changed since.
fn tonic() -> Vec<String> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = tools().join("grpc-tonic");
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--offline", "--locked", "--quiet", "--manifest-path"]);
        build.arg(source("grpc-tonic/Cargo.toml")).arg("--target-dir").arg(&target);
        Process::start(&mut build).finish().expect_code(0);
        target.join("release/grpc-tonic")
    });
    vec![built.display().to_string()]
}

/// The shop in Java with grpc-java, compiled once a test run.
fn java() -> Vec<String> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let packages = tools().join("grpc-java/*").display().to_string();
    let classes = BUILT.get_or_init(|| {
        let classes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grpc-java");
        let mut build = Command::new("javac");
        build.args(["-cp", &packages, "-d"]).arg(&classes).arg(source("grpc-java/GrpcShop.java"));
        Process::start(&mut build).finish().expect_code(0);
        classes
    });
    let path = format!("{}:{packages}", classes.display());
    ["java", "-XX:TieredStopAtLevel=1", "-cp", &path, "GrpcShop"].map(str::to_owned).to_vec()
}

/// A shop with its stock, recorded; the stock is gone.
fn recorded(
    command: Vec<String>,
    inside: Inside,
    environment: &[(&'static str, String)],
    client: &[(&str, String)],
) -> (Service, Corpus) {
    let stock = Stock::start(&[]);
    let service = Service::new(command, "SHOP_CHANGE", "shop listens").inside(inside);
    let service = environment.iter().fold(service, |service, (name, value)| service.with(name, value));
    let service = service.with("STOCK", format!("127.0.0.1:{}", stock.port));
    // Without a connection that only sees whether the port is open: it would be one without TLS.
    let is_ready = |recording: &Recording| recording.wait_for_line(service.listens);
    let corpus = service.record_after(is_ready, "ebpf", |_| ask_for_each(service.port, client));
    stock.process.stop();
    assert_eq!(called(&corpus), ["Get", "List", "Reserve", "Watch", "Get"]);
    let entries: Vec<_> = corpus.cassettes.iter().filter_map(|cassette| cassette.entry.as_ref()).collect();
    let paths: Vec<String> = entries.iter().map(|entry| http(entry).request.path().into_owned()).collect();
    assert_eq!(paths, ["Price", "Prices", "Total", "Chat", "Price"].map(|method| format!("/shop.Shop/{method}")));
    (service, corpus)
}

fn shop(test: &str, need: Need, command: fn() -> Vec<String>) {
    if !require(test, &[need, Need::Grpc, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let (service, _) = recorded(command(), Inside::Nothing, &[], &[]);
    for _ in 0..10 {
        service.expect(&[("none", Same)]);
    }
    service.expect(BUILDS);
}

#[test]
fn grpc_go() {
    shop("stores::grpc::built::grpc_go", Need::Go, go);
}

#[test]
fn tonic_shop() {
    shop("stores::grpc::built::tonic_shop", Need::Tonic, tonic);
}

#[test]
fn grpc_java() {
    shop("stores::grpc::built::grpc_java", Need::GrpcJava, java);
}

/// Entries inside TLS, where HTTP/2 is agreed on in the handshake, are recorded inside of it and driven through it.
#[test]
fn grpc_go_inside_tls() {
    if !require("stores::grpc::built::grpc_go_inside_tls", &[Need::Go, Need::Grpc, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let authority = Authority::new();
    let file = |name: &str| authority.file(name).display().to_string();
    let keys = [("CERTIFICATE", file("server.pem")), ("KEY", file("server.key"))];
    let (service, corpus) = recorded(go(), Inside::Tls, &keys, &[("AUTHORITY", file("authority.pem"))]);
    assert!(corpus.cassettes.iter().all(|cassette| cassette.entry.as_ref().is_some_and(|entry| entry.connection.tls)));
    service.expect(&[("none", Same)]);
    service.expect(BUILDS);
    // A build that takes entries without TLS.
    let in_the_clear = Service { environment: vec![service.environment[2].clone()], ..service };
    in_the_clear.expect(&[("none", Different("changed response"))]);
}

/// With a descriptor set fields have names, in differences, in rules and in what is shown.
#[test]
fn fields_by_name() {
    if !require("stores::grpc::built::fields_by_name", &[Need::Go, Need::Grpc, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let protos = source("shop.binpb");
    let (service, _) = recorded(go(), Inside::Nothing, &[("REGRESS_PROTO", protos.clone())], &[]);
    service.expect(&[
        ("none", Same),
        ("changed-field", Different("changed downstream/0/request/body/0/id")),
        ("other-price", Different("changed response/body/0/cents")),
    ]);
    let rule = "[[rules]]\npath = \"response/body/*/cents\"\nas = \"type\"\n";
    let replay = |protos: &[(&'static str, String)]| {
        let own = service.builds("other-price").into_iter().filter(|(name, _)| *name != "REGRESS_PROTO");
        let replay = Replay {
            cassettes: &service.cassettes(),
            settings: &service.settings(rule),
            command: &service.command,
            environment: own.chain(protos.iter().cloned()).collect(),
            arguments: &["--no-pending"],
        };
        replay.run().0
    };
    replay(&[("REGRESS_PROTO", protos.clone())]).expect_code(0);
    replay(&[]).expect_code(1);
    let show = |arguments: &[&str]| {
        let mut show = regress();
        let shown = Process::start(show.args(["cassette", "show"]).args(arguments).arg(service.cassettes())).finish();
        shown.expect_code(0);
        shown.stdout
    };
    let (named, numbered) = (show(&["--proto", &protos]), show(&[]));
    assert!(named.contains(r#"POST /stock.Stock/Get [{"client":"shop","id":7}] -> 200"#), "{named}");
    assert!(numbered.contains(r#"POST /stock.Stock/Get [{"1":7,"2":"shop"}] -> 200"#), "{numbered}");
}
