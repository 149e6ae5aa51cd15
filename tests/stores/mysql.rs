use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Expected,
    Expected::Different,
    Expected::Same,
    Inside, Service, called,
    clients::{go_client, java_client, rust_client},
    expect_inside, says,
};
use crate::{
    harness::{Authority, Need, Process, Recording, free_port, require, tools},
    services::source,
};

/// It must be in no cassette.
const PASSWORD: &str = "secret";

/// A root folder with a server of MySQL, to try what is usually tried with MariaDB's.
const MYSQL: &str = "REGRESS_TEST_MYSQL";

/// A server that is thrown away, with the user `app` and a schema `shop`. It speaks TLS with those who ask for it.
struct Server {
    process: Process,
    port: u16,
    authority: Authority,
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
        let server = match std::env::var_os(MYSQL) {
            Some(root) => Server::mysql(Path::new(&root)),
            None => Server::mariadb(),
        };
        server.run(SHOP);
        server
    }

    fn mariadb() -> Server {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("there is a temporary folder"));
        let path = folder.path().display();
        let user = if nix::unistd::geteuid().is_root() { "root" } else { "" };
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user", user]);
        // A server that starts removes what others have in a folder for temporary tables.
        let temporary = format!("--tmpdir={path}");
        Process::start(install.args([&format!("--datadir={path}"), &temporary])).finish().expect_code(0);
        let mut command = Command::new("mariadbd");
        command.args(["--no-defaults", "--bind-address=127.0.0.1", "--user", user, &format!("--port={port}")]);
        command.args(["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve", &temporary]);
        let authority = Authority::new();
        let file = |name| authority.file(name).display().to_string();
        command.args([format!("--ssl-cert={}", file("server.pem")), format!("--ssl-key={}", file("server.key"))]);
        let process = Process::start(command.args([format!("--datadir={path}"), format!("--socket={path}/socket")]));
        process.wait_for_line("ready for connections");
        Server { process, port, authority, folder }
    }

    /// `usr/sbin/mysqld` below the root folder, which is that of its process, with what it has by default: its users prove who they are
    /// by `caching_sha2_password`.
    fn mysql(root: &Path) -> Server {
        let (port, authority) = (free_port(), Authority::new());
        let folder = tempfile::tempdir_in(root.join("tmp")).expect("it is a root folder");
        let data = Path::new("/").join(folder.path().strip_prefix(root).expect("it is in there"));
        for name in ["server.pem", "server.key"] {
            std::fs::copy(authority.file(name), folder.path().join(name)).expect("the folder can be written");
        }
        let data = data.display();
        let mysqld = |arguments: &[String]| {
            let mut command = Command::new("chroot");
            command.arg(root).args(["/usr/sbin/mysqld", "--no-defaults", "--user=root"]);
            command.arg(format!("--datadir={data}/data")).args(arguments);
            Process::start(&mut command)
        };
        mysqld(&["--initialize-insecure".to_owned()]).finish().expect_code(0);
        let process = mysqld(&[
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={port}"),
            format!("--socket={data}/socket"),
            format!("--ssl-cert={data}/server.pem"),
            format!("--ssl-key={data}/server.key"),
            "--mysqlx=OFF".to_owned(),
            "--secure-file-priv=NULL".to_owned(),
            "--innodb-flush-log-at-trx-commit=0".to_owned(),
        ]);
        process.wait_for_line("ready for connections");
        Server { process, port, authority, folder }
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
fn orders(mut service: Service, via: &str, inside: Inside, calls: &[&str], builds: Builds<'_>) {
    let server = Server::start();
    service = service.inside(inside).with("STORE", server.address()).with("MODULES", tools().display());
    if inside != Inside::Nothing {
        let authority = server.authority.file("authority.pem").display().to_string();
        service =
            service.with("STORE_TLS", "on").with("SSL_CERT_FILE", &authority).with("NODE_EXTRA_CA_CERTS", authority);
    }
    let corpus = service.record(via, |client| {
        assert_eq!(client.get("/nothing").status, 404);
        for quantity in ["5", "7"] {
            assert_eq!(client.post("/tea", quantity).status, 201);
        }
        assert_eq!(client.get("/tea").status, 200);
        assert_eq!(client.get("/wrong").status, 409);
    });
    server.stop();
    expect_inside(&corpus, inside);
    assert_eq!(called(&corpus, 1), calls);
    assert_eq!(says(&service.cassettes(), PASSWORD), Vec::<PathBuf>::new());
    service.expect(builds);
    service.expect_same();
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
        orders(python_service(), "ebpf", Inside::Nothing, PYTHON_CALLS, PYTHON);
    }
}

#[test]
fn python_inside_tls() {
    if require("stores::mysql::python_inside_tls", &[Need::Mysql, Need::Ebpf, Need::Sandbox]) {
        orders(python_service(), "ebpf", Inside::CheckedTls, PYTHON_CALLS, PYTHON);
    }
}

#[test]
fn python_through_the_proxy() {
    if require("stores::mysql::python_through_the_proxy", &[Need::Mysql, Need::Sandbox]) {
        orders(python_service(), "proxy", Inside::Nothing, PYTHON_CALLS, PYTHON);
    }
}

/// The recorder trusts the authority of the server, so the service, which looks at certificates, trusts the proxy's.
#[test]
fn python_inside_tls_through_the_proxy() {
    if require("stores::mysql::python_inside_tls_through_the_proxy", &[Need::Mysql, Need::Sandbox]) {
        orders(python_service(), "proxy --database-tls", Inside::CheckedTls, PYTHON_CALLS, PYTHON);
    }
}

/// The recorder does not know the authority of the server: the service, which looks at certificates, gets one that it does not know either.
#[test]
fn a_server_that_nobody_knows_is_not_trusted_through_the_proxy() {
    if !require("stores::mysql::unknown_through_the_proxy", &[Need::Mysql, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let service = python_service().with("STORE", server.address()).with("STORE_TLS", "on");
    let settings = service.settings("").display().to_string();
    let arguments = ["--via", "proxy", "--database-tls", "--config", &settings, "--"].map(str::to_owned);
    let arguments = arguments.into_iter().chain(service.command.iter().cloned());
    let recording = Recording::start(&service.cassettes(), arguments, service.builds("none"));
    recording.wait_for_service(service.listens, service.port);
    let mut client = TcpStream::connect(("127.0.0.1", service.port)).expect("it listens");
    client.write_all(b"GET /tea HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("it ends");
    assert_eq!(String::from_utf8_lossy(&answer), "", "it has no answer without its store");
    recording.wait_for_line("refuses TLS with a database through regress");
    recording.stop().expect_code(2);
    server.stop();
}

#[test]
fn node() {
    javascript("stores::mysql::node", Inside::Nothing);
}

#[test]
fn node_inside_tls() {
    javascript("stores::mysql::node_inside_tls", Inside::CheckedTls);
}

/// A pool of connections whose statements are prepared once on each.
fn javascript(test: &str, inside: Inside) {
    if !require(test, &[Need::Mysql, Need::Node, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let service = Service::new(vec!["node".to_owned(), source("orders.mjs")], "ORDERS_CHANGE", "orders listen");
    let calls = ["START", "INSERT orders", "UPDATE stock", "COMMIT", "SELECT orders"];
    orders(service, "ebpf", inside, &calls, PREPARED);
}

/// Builds of a service that begins its transactions by a statement and has the server prepare what it asks.
const PREPARED: Builds<'_> = &[
    ("none", Same),
    ("small-pool", Same),
    ("reconnects", Same),
    ("other-parameter", Different("changed downstream/1/request/params/1")),
    ("other-sql", Different("changed downstream/0/request/sql")),
    ("dropped-query", Different("omitted downstream/2")),
];

/// Builds of the service in Java, which begins transactions by a setting of the connection.
const JDBC: Builds<'_> = &[
    ("none", Same),
    ("small-pool", Same),
    ("reconnects", Same),
    ("other-parameter", Different("changed downstream/0/request/params/1")),
    ("other-sql", Different("changed downstream/0/request/sql")),
    ("dropped-query", Different("omitted downstream/1")),
];

/// A service in another language whose transactions begin by one of these operations, or by none.
fn prepared(test: &str, need: Need, command: fn() -> Vec<String>, begins: &[&str]) {
    if require(test, &[need, Need::Mysql, Need::Ebpf, Need::Sandbox]) {
        let calls = [begins, &["INSERT orders", "UPDATE stock", "COMMIT", "SELECT orders"]].concat();
        let service = Service::new(command(), "ORDERS_CHANGE", "orders listen");
        orders(service, "ebpf", Inside::Nothing, &calls, if begins.is_empty() { JDBC } else { PREPARED });
    }
}

/// `database/sql` prepares for each execution, or on each connection that it executes on.
#[test]
fn go() {
    prepared("stores::mysql::go", Need::Go, || go_client("orders"), &["START"]);
}

/// Statements that each connection keeps.
#[test]
fn sqlx() {
    prepared("stores::mysql::sqlx", Need::RustClients, || rust_client("orders"), &["BEGIN"]);
}

#[test]
fn mariadb_java_client() {
    prepared("stores::mysql::mariadb_java_client", Need::JavaClients, || java_client("orders-mariadb"), &[]);
}

#[test]
fn connector_j() {
    prepared("stores::mysql::connector_j", Need::JavaClients, || java_client("orders-mysql"), &[]);
}

/// Java's own TLS, which nothing but the proxy reads.
#[test]
fn java_inside_tls_through_the_proxy() {
    let needs = [Need::JavaClients, Need::Mysql, Need::Sandbox];
    if require("stores::mysql::java_inside_tls_through_the_proxy", &needs) {
        for client in ["orders-mysql", "orders-mariadb"] {
            let service = Service::new(java_client(client), "ORDERS_CHANGE", "orders listen");
            let calls = ["INSERT orders", "UPDATE stock", "COMMIT", "SELECT orders"];
            orders(service, "proxy --database-tls", Inside::Tls, &calls, JDBC);
        }
    }
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
    orders(service, "ebpf", Inside::Nothing, &calls, &builds);
}

/// What people type.
const SESSION: &str = r"
SHOW TABLES;
DESCRIBE orders;
INSERT INTO orders (name, quantity) VALUES ('milk', 2), ('tea', NULL);
SELECT * FROM orders;
SELECT number, name FROM orders WHERE name = 'milk'\G
UPDATE stock SET left_over = 'many' WHERE name = 'tea';
BEGIN;
DELETE FROM orders;
ROLLBACK;
SELECT nosuch;
USE information_schema
SELECT SCHEMA_NAME FROM SCHEMATA WHERE SCHEMA_NAME = 'shop';
USE nosuch
USE shop
SELECT COUNT(*) AS still FROM orders;
DELIMITER //
CREATE PROCEDURE two() BEGIN SELECT 1 AS one; SELECT 2 AS two; END//
CALL two()//
";

#[test]
fn command_line() {
    if !require("stores::mysql::command_line", &[Need::Mysql, Need::Python, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let terminal = source("terminal.py");
    let (host, port) = ("--host=127.0.0.1", format!("--port={}", server.port));
    let client =
        ["python3", &terminal, "mariadb", "--no-defaults", "--force", "--table", "--unbuffered", "--auto-rehash"];
    let login = ["--show-warnings", "--local-infile", host, &port, "--user=app", "--password=secret", "shop"];
    let command = client.into_iter().chain(login).map(str::to_owned).collect();
    let service = Service::new(command, "TERMINAL_CHANGE", "terminal listens");
    // The client asks for TLS where it can have it.
    let service = service.inside(Inside::Tls);
    service.record("ebpf", |client| {
        let printed = client.post("/", SESSION).response;
        let printed = String::from_utf8_lossy(&printed);
        for expected in
            ["auto_increment", "name: milk", "Unknown column 'nosuch'", "to database 'nosuch'", "| still |", "| two |"]
        {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    });
    server.stop();
    service.expect(&[("none", Same)]);
}

/// A client in PHP that makes up its statements, with a page of its own for each. What it answers is never the same twice.
#[test]
fn adminer() {
    let needs = [Need::Mysql, Need::PhpMysql, Need::Adminer, Need::Curl, Need::Ebpf, Need::Sandbox];
    if !require("stores::mysql::adminer", &needs) {
        return;
    }
    let server = Server::start();
    let mut service = Service::new(Vec::new(), "ADMINER_CHANGE", "Development Server");
    // It decrypts the cookie in which it remembers the login, so that a token would not do.
    service.own = "\n[[redact.rules]]\ncookie = \"adminer_permanent\"\nkeep = true\n".to_owned();
    let folder = service.folder.path().to_owned();
    let copy = |name: &str| {
        let to = folder.join(name);
        let mut command = Command::new("cp");
        Process::start(command.args(["-rL", "/usr/share/adminer"]).arg(&to)).finish().expect_code(0);
        to.join("adminer").display().to_string()
    };
    let (same, other) = (copy("same"), copy("other"));
    let limits = std::path::Path::new(&other).join("include/adminer.inc.php");
    let source = std::fs::read_to_string(&limits).expect("Adminer can be read");
    assert!(source.contains(r#": "50""#));
    std::fs::write(&limits, source.replace(r#": "50""#, r#": "51""#)).expect("the folder can be written");
    let settings = ["session.save_path", "upload_tmp_dir"].map(|name| format!("{name}={}", folder.display()));
    let address = format!("127.0.0.1:{}", service.port);
    let command = |root: &str| {
        ["php", "-d", &settings[0], "-d", &settings[1], "-S", &address, "-t", root].map(str::to_owned).to_vec()
    };
    service.command = command(&same);
    let store = server.address();
    let jar = folder.join("cookies").display().to_string();
    let ask = |more: &[&str]| {
        let mut curl = Command::new("curl");
        let asked = Process::start(curl.args(["--silent", "--show-error", "--fail"]).args(more)).finish();
        asked.expect_code(0);
        asked.stdout
    };
    let corpus = service.record("ebpf", |_| {
        let login = format!(
            "auth[driver]=server&auth[server]={store}&auth[username]=app&auth[password]=secret&auth[db]=shop&auth[permanent]=1"
        );
        ask(&["--cookie-jar", &jar, "--data", &login, &format!("http://{address}/")]);
        // Without its session, which knows what was asked before, each page is made from the beginning.
        let cookies = std::fs::read_to_string(&jar).expect("curl wrote it");
        let key = cookies.lines().find_map(|line| line.split_once("adminer_permanent\t")).expect("it remembers the login").1;
        let key = format!("adminer_permanent={key}");
        let page = |more: &str| {
            ask(&["--cookie", &key, &format!("http://{address}/?server={store}&username=app&db=shop{more}")])
        };
        assert!(page("").contains("stock"));
        assert!(page("&table=orders").contains("quantity"));
        assert!(page("&select=stock").contains("milk"));
    });
    server.stop();
    let calls = corpus.cassettes.iter().map(|cassette| cassette.downstream.len()).collect::<Vec<_>>();
    assert!(calls[1..].iter().all(|calls| *calls > 3), "{calls:?}");
    let differing = |service: &Service| {
        let (_, report) = service.replay("none");
        let found = report.outcomes.into_iter().flat_map(|outcome| outcome.differences);
        let calls = found.filter(|found| found.place != "response");
        calls.map(|found| format!("{} {}", found.kind, found.path)).collect::<Vec<_>>()
    };
    assert_eq!(differing(&service), Vec::<String>::new());
    service.command = command(&other);
    let found = differing(&service);
    assert!(found.iter().any(|found| found.starts_with("changed") && found.ends_with("/request/sql")), "{found:?}");
}
