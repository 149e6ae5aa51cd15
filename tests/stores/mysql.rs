use std::process::Command;

use regress_protocols::Request;

use super::{Expected, Expected::Different, Expected::Same, Service};
use crate::{
    harness::{Corpus, Need, Process, free_port, require, tools},
    services::source,
};

/// A MariaDB server that is thrown away, with the user `app` and a schema `shop`.
struct Server {
    process: Process,
    port: u16,
    folder: tempfile::TempDir,
}

/// What `shop` is at the beginning.
const SHOP: &str = "
    CREATE DATABASE shop CHARACTER SET utf8mb4;
    CREATE USER app@'%' IDENTIFIED BY 'secret';
    GRANT ALL ON shop.* TO app@'%';
    USE shop;
    CREATE TABLE orders (number INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50), quantity INT, price DECIMAL(8,2) DEFAULT 1.5,
        ordered DATETIME(3) DEFAULT '2024-02-29 01:02:03.004');
    CREATE TABLE stock (name VARCHAR(50) PRIMARY KEY, left_over INT);
    INSERT INTO stock VALUES ('tea', 100), ('milk', 50);
";

impl Server {
    fn start() -> Server {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("there is a temporary folder"));
        let path = folder.path().display();
        let user = if nix::unistd::geteuid().is_root() { "root" } else { "" };
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user", user]);
        Process::start(install.arg(format!("--datadir={path}"))).finish().expect_code(0);
        let mut command = Command::new("mariadbd");
        command.args(["--no-defaults", "--bind-address=127.0.0.1", "--user", user, &format!("--port={port}")]);
        command.args(["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"]);
        let process = Process::start(command.args([format!("--datadir={path}"), format!("--socket={path}/socket")]));
        process.wait_for_line("ready for connections");
        let server = Server { process, port, folder };
        server.run(SHOP);
        server
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs SQL as the one who may do everything.
    fn run(&self, sql: &str) {
        let mut command = Command::new("mariadb");
        let socket = format!("--socket={}/socket", self.folder.path().display());
        command.args(["--no-defaults", "--user=root", &socket, "--execute", sql]);
        Process::start(&mut command).finish().expect_code(0);
    }

    fn stop(self) {
        self.process.stop();
        drop(self.folder);
    }
}

/// A build that is judged, and how.
type Builds<'a> = &'a [(&'a str, Expected)];

/// Records `orders` and judges its builds; `calls` are those of an order.
fn orders(mut service: Service, via: &str, calls: &[&str], builds: Builds<'_>) {
    let server = Server::start();
    service = service.with("STORE", server.address()).with("MODULES", tools().display());
    let corpus = service.record(via, |client| {
        assert_eq!(client.get("/nothing").status, 404);
        for quantity in ["5", "7"] {
            assert_eq!(client.post("/tea", quantity).status, 201);
        }
        assert_eq!(client.get("/tea").status, 200);
        assert_eq!(client.get("/wrong").status, 409);
    });
    server.stop();
    assert_eq!(called(&corpus, 1), calls);
    service.expect(builds);
}

/// The operations that an entry led to.
fn called(corpus: &Corpus, entry: usize) -> Vec<String> {
    let calls = corpus.cassettes[entry].downstream.iter().filter_map(|call| call.request());
    calls.map(Request::operation).map(|operation| operation.to_string()).collect()
}

/// Builds of the service in Python, which asks by text.
const PYTHON: Builds<'_> = &[
    ("none", Same),
    ("small-pool", Same),
    ("reconnects", Same),
    ("other-parameter", Different("changed downstream/0/request/sql")),
    ("other-sql", Different("changed downstream/0/request/sql")),
    ("dropped-query", Different("omitted downstream/1")),
];
const PYTHON_CALLS: &[&str] = &["INSERT orders", "UPDATE stock", "COMMIT", "SELECT orders", "ROLLBACK"];

fn python_service() -> Service {
    let command = vec![tools().join("venv/bin/python").display().to_string(), source("orders.py")];
    Service::new(command, "ORDERS_CHANGE", "orders listen")
}

#[test]
fn python() {
    if require("stores::mysql::python", &[Need::Mysql, Need::Ebpf, Need::Sandbox]) {
        orders(python_service(), "ebpf", PYTHON_CALLS, PYTHON);
    }
}

#[test]
fn python_through_the_proxy() {
    if require("stores::mysql::python_through_the_proxy", &[Need::Mysql, Need::Sandbox]) {
        orders(python_service(), "proxy", PYTHON_CALLS, PYTHON);
    }
}

/// A pool of connections whose statements are prepared once on each.
#[test]
fn node() {
    if !require("stores::mysql::node", &[Need::Mysql, Need::Node, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let service = Service::new(vec!["node".to_owned(), source("orders.mjs")], "ORDERS_CHANGE", "orders listen");
    let calls = ["START", "INSERT orders", "UPDATE stock", "COMMIT", "SELECT orders"];
    let builds = [
        ("none", Same),
        ("small-pool", Same),
        ("reconnects", Same),
        ("other-parameter", Different("changed downstream/1/request/params/1")),
        ("other-sql", Different("changed downstream/0/request/sql")),
        ("dropped-query", Different("omitted downstream/2")),
    ];
    orders(service, "ebpf", &calls, &builds);
}

/// Two clients, of which each connects for each request.
#[test]
fn php() {
    if !require("stores::mysql::php", &[Need::Mysql, Need::PhpMysql, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let mut service = Service::new(Vec::new(), "ORDERS_CHANGE", "Development Server");
    let address = format!("127.0.0.1:{}", service.port);
    service.command = ["php", "-S", &address, &source("orders.php")].map(str::to_owned).to_vec();
    let calls = ["START", "INSERT orders", "UPDATE stock", "COMMIT", "SELECT orders"];
    let builds = [
        ("none", Same),
        ("persistent", Same),
        ("other-parameter", Different("changed downstream/1/request/params/1")),
        ("other-sql", Different("changed downstream/0/request/sql")),
        ("dropped-query", Different("omitted downstream/2")),
    ];
    orders(service, "ebpf", &calls, &builds);
}
