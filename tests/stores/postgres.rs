use std::{os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use super::{
    Expected,
    Expected::Different,
    Expected::Same,
    Inside, Service, asked, called,
    clients::{go_client, java_client, rust_client},
    expect_inside, says, stays_encrypted,
};
use crate::{
    harness::{Authority, Client, Need, Process, Recording, free_port, postgres_programs, require, tools},
    services::source,
};

/// It must be in no cassette.
const PASSWORD: &str = "tell-nobody";

const TABLES: &str = "
    CREATE TABLE accounts (id serial PRIMARY KEY, name text UNIQUE, balance numeric(12, 2), changed timestamptz DEFAULT now(), tags text[], picture bytea);
    CREATE TABLE entries (account int REFERENCES accounts, amount numeric(12, 2));
    INSERT INTO accounts (name, balance, tags, picture) VALUES ('milk', 1.50, '{}', '\\x00ff');
";

/// A PostgreSQL server with a database of its own, which speaks TLS with those who ask for it.
pub(super) struct Server {
    process: Process,
    port: u16,
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(super) fn start() -> Server {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("there is a temporary folder"));
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("the folder can be written");
        let data = folder.path().join("data");
        let authority = Authority::new();
        let [certificate, key] = ["server.pem", "server.key"].map(|name| {
            let copy = folder.path().join(name);
            std::fs::copy(authority.file(name), &copy).expect("the folder can be written");
            std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o600)).expect("our own file");
            copy.display().to_string()
        });
        Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().expect("there is chown");
        let mut init = as_postgres("initdb");
        init.args([
            "--encoding",
            "UTF8",
            "--no-locale",
            "-A",
            "scram-sha-256",
            "-U",
            "postgres",
            "--no-sync",
            "--pwfile",
        ])
        .arg(&password)
        .arg("-D")
        .arg(&data);
        Process::start(&mut init).finish().expect_code(0);
        let mut command = as_postgres("postgres");
        command.args([
            "-h",
            "127.0.0.1",
            "-c",
            "fsync=off",
            "-c",
            "unix_socket_directories=",
            "-c",
            "ssl=on",
            "-c",
            &format!("ssl_cert_file={certificate}"),
            "-c",
            &format!("ssl_key_file={key}"),
            "-p",
            &port.to_string(),
            "-D",
        ]);
        let process = Process::start(command.arg(data));
        process.wait_for_line("database system is ready to accept connections");
        let server = Server { process, port, authority, _folder: folder };
        server.psql(&["-c", TABLES]).expect_code(0);
        server
    }

    pub(super) fn url(&self) -> String {
        self.url_for(Inside::Nothing)
    }

    fn url_for(&self, inside: Inside) -> String {
        let mode = match inside {
            Inside::Nothing => "disable",
            Inside::Tls => "require",
            Inside::CheckedTls => "verify-full",
        };
        format!("postgresql://postgres:{PASSWORD}@127.0.0.1:{}/postgres?sslmode={mode}", self.port)
    }

    /// Has a service connect to it.
    fn store_of(&self, service: Service, inside: Inside) -> Service {
        let service = service.inside(inside);
        let service = service.with("STORE", self.url_for(inside)).with("MODULES", tools().display());
        if inside != Inside::CheckedTls {
            return service;
        }
        let authority = self.authority.file("authority.pem").display().to_string();
        service.with("PGSSLROOTCERT", &authority).with("NODE_EXTRA_CA_CERTS", authority)
    }

    pub(super) fn psql(&self, arguments: &[&str]) -> crate::harness::Finished {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &self.url()]).args(arguments);
        Process::start(&mut command).finish()
    }

    pub(super) fn stop(self) {
        self.process.stop();
    }
}

/// A program of the server, which does not run as root.
fn as_postgres(program: &str) -> Command {
    let program = postgres_programs().expect("the server is there").join(program);
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

/// Builds of `accounts`, and how they have to be judged.
const BUILDS: &[(&str, Expected)] = &[
    ("none", Same),
    ("small-pool", Same),
    ("reconnects", Same),
    ("never-prepares", Same),
    ("other-value", Different("changed downstream/1/request/params/1")),
    ("other-sql", Different("changed downstream/2/request/query")),
    ("dropped-query", Different("omitted downstream/2")),
    ("extra-query", Different("novel downstream/4")),
];

fn accounts(
    test: &str,
    needs: &[Need],
    via: &str,
    command: Vec<String>,
    inside: Inside,
    own: &[(&'static str, Expected)],
    also: &[&str],
) {
    if require(test, &[needs, &[Need::Postgres, Need::Sandbox]].concat()) {
        record(via, command, inside, own, also);
    }
}

/// Records `accounts` and judges its builds; those of `own` stand for the ones of the same name.
fn record(via: &str, command: Vec<String>, inside: Inside, own: &[(&'static str, Expected)], also: &[&str]) {
    let server = Server::start();
    let service = server.store_of(Service::new(command, "ACCOUNTS_CHANGE", "accounts listens"), inside);
    let corpus = service.record(via, |client| drive(client, also));
    server.stop();
    expect_inside(&corpus, inside);
    assert_eq!(called(&corpus, 0), ["BEGIN", "INSERT accounts", "INSERT entries", "COMMIT"]);
    assert_eq!(says(&service.cassettes(), PASSWORD), Vec::<PathBuf>::new());
    let is_usual = |(change, _): &&(&str, Expected)| own.iter().all(|(other, _)| other != change);
    service.expect(&BUILDS.iter().filter(is_usual).chain(own).copied().collect::<Vec<_>>());
    service.expect_same();
}

/// Asks for accounts.
fn drive(client: &Client, also: &[&str]) {
    assert_eq!(client.post("/tea", "12.50").status, 201);
    for _ in 0..4 {
        assert_eq!(client.get("/tea").status, 200);
    }
    assert_eq!(client.get("/wine").status, 404);
    assert_eq!(client.get("/wrong").status, 409);
    assert_eq!(client.get("/all").status, 200);
    also.iter().for_each(|target| assert_eq!(client.get(target).status, 200, "{target}"));
}

fn javascript() -> Vec<String> {
    vec!["node".to_owned(), source("accounts.mjs")]
}

fn python() -> Vec<String> {
    vec![tools().join("venv/bin/python").display().to_string(), source("accounts.py")]
}

#[test]
fn psycopg() {
    let own = [("prepares", Same), ("other-data", Different("changed downstream/2/request/data"))];
    accounts("stores::postgres::psycopg", &[Need::Ebpf], "ebpf", python(), Inside::Nothing, &own, &["/load"]);
}

/// By a libssl that comes with the Python package, under a name of its own.
#[test]
fn psycopg_inside_tls() {
    let own = [("prepares", Same), ("other-data", Different("changed downstream/2/request/data"))];
    accounts("stores::postgres::psycopg_inside_tls", &[Need::Ebpf], "ebpf", python(), Inside::Tls, &own, &["/load"]);
}

#[test]
fn psycopg_that_checks_certificates() {
    let test = "stores::postgres::psycopg_that_checks_certificates";
    accounts(test, &[Need::Ebpf], "ebpf", python(), Inside::CheckedTls, &[], &[]);
}

#[test]
fn inside_tls_the_same_is_said_as_in_the_clear() {
    let needs = [Need::Postgres, Need::Ebpf, Need::Sandbox];
    if !require("stores::postgres::inside_tls_the_same_is_said_as_in_the_clear", &needs) {
        return;
    }
    let [clear, secret] = [Inside::Nothing, Inside::Tls].map(|inside| {
        let server = Server::start();
        let service = server.store_of(Service::new(python(), "ACCOUNTS_CHANGE", "accounts listens"), inside);
        let corpus = service.record("ebpf", |client| drive(client, &["/load"]));
        server.stop();
        asked(&corpus)
    });
    assert_eq!(clear, secret);
}

/// The proxy does so where it is asked to: the proof of a password may be bound to the certificate (SCRAM-SHA-256-PLUS).
#[test]
fn tls_that_is_not_read_is_told() {
    if !require("stores::postgres::tls_that_is_not_read_is_told", &[Need::Postgres, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    for how in [["--via", "ebpf", "--no-tls"].as_slice(), &["--via", "proxy"]] {
        let server = Server::start();
        let service = server.store_of(Service::new(python(), "ACCOUNTS_CHANGE", "accounts listens"), Inside::Tls);
        let recorded = stays_encrypted(&service, how, |client| drive(client, &[]));
        server.stop();
        let is_hinted = recorded.stderr.matches("--database-tls reads it").count();
        assert_eq!(is_hinted, usize::from(how.contains(&"proxy")), "{}", recorded.stderr);
    }
}

#[test]
fn psycopg_through_the_proxy() {
    let test = "stores::postgres::psycopg_through_the_proxy";
    accounts(test, &[], "proxy", python(), Inside::Nothing, &[], &[]);
}

/// Which does not bind its proof to the certificate, as the sandbox tells it not to.
#[test]
fn psycopg_inside_tls_through_the_proxy() {
    let test = "stores::postgres::psycopg_inside_tls_through_the_proxy";
    accounts(test, &[], "proxy --database-tls", python(), Inside::Tls, &[], &[]);
}

/// Java's own TLS, which nothing but the proxy reads.
#[test]
fn jdbc_inside_tls_through_the_proxy() {
    if require(
        "stores::postgres::jdbc_inside_tls_through_the_proxy",
        &[Need::JavaClients, Need::Postgres, Need::Sandbox],
    ) {
        record("proxy --database-tls", java_client("accounts-unbound"), Inside::Tls, &[("prepares", Same)], &[]);
    }
}

/// Whoever binds the proof of the password to the certificate, or does not trust it, gets no connection through the proxy, and is told why.
#[test]
fn clients_that_refuse_the_proxy() {
    if !require("stores::postgres::clients_that_refuse_the_proxy", &[Need::Postgres, Need::Sandbox]) {
        return;
    }
    const UNBOUND: &str = "SCRAM channel binding check failed";
    for (inside, binding, said) in [
        (Inside::Tls, "prefer", UNBOUND),
        (Inside::CheckedTls, "disable", "refuses TLS with a database through regress"),
    ] {
        let server = Server::start();
        let service = server.store_of(Service::new(python(), "ACCOUNTS_CHANGE", "accounts listens"), inside);
        let service = service.with("PGCHANNELBINDING", binding);
        let settings = service.settings("").display().to_string();
        let arguments = ["--via", "proxy", "--database-tls", "--config", &settings, "--"].map(str::to_owned);
        let arguments = arguments.into_iter().chain(service.command.iter().cloned());
        let recording = Recording::start(&service.cassettes(), arguments, service.builds("none"));
        recording.wait_for_line(said);
        recording.stop().expect_code(2);
        server.stop();
        // What the server said is recorded.
        assert_eq!(says(&service.cassettes(), UNBOUND).is_empty(), inside == Inside::CheckedTls);
    }
}

#[test]
fn attached() {
    attach("stores::postgres::attached", Inside::Nothing);
}

#[test]
fn attached_inside_tls() {
    attach("stores::postgres::attached_inside_tls", Inside::Tls);
}

/// `BEGIN` and `COMMIT` happen without an entry as well, but not with what is in the transactions of entries.
#[test]
fn transactions_beside_a_job() {
    if !require("stores::postgres::transactions_beside_a_job", &[Need::Postgres, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let service = Service::new(python(), "ACCOUNTS_CHANGE", "accounts listens").with("STORE", server.url());
    let service = service.with("ACCOUNTS_JOB", "1");
    // Records that all owners are known.
    let corpus = service.record("ebpf", |client| {
        for name in ["/tea", "/wine"] {
            assert_eq!(client.post(name, "12.50").status, 201);
        }
    });
    server.stop();
    for entry in 0..2 {
        assert_eq!(called(&corpus, entry), ["BEGIN", "INSERT accounts", "INSERT entries", "COMMIT"]);
    }
    service.expect(&[("none", Same), ("dropped-query", Different("omitted downstream/2"))]);
}

/// The pool's connections were open, and some of its statements in use, before the recording began.
fn attach(test: &str, inside: Inside) {
    if !require(test, &[Need::Postgres, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let service = server.store_of(Service::new(python(), "ACCOUNTS_CHANGE", "accounts listens"), inside);
    service.attach(
        |client| assert_eq!(client.post("/coffee", "3").status, 201),
        |client| {
            assert_eq!(client.post("/tea", "12.50").status, 201);
            for _ in 0..6 {
                assert_eq!(client.get("/tea").status, 200);
            }
        },
    );
    server.stop();
    service.expect(&[
        ("none", Same),
        ("other-value", Different("changed downstream/1/request/params/1")),
        ("dropped-query", Different("omitted downstream/2")),
    ]);
}

#[test]
fn node() {
    accounts("stores::postgres::node", &[Need::Node, Need::Ebpf], "ebpf", javascript(), Inside::Nothing, &[], &[]);
}

/// By the OpenSSL within Node.js.
#[test]
fn node_inside_tls() {
    let (test, needs) = ("stores::postgres::node_inside_tls", [Need::Node, Need::Ebpf]);
    accounts(test, &needs, "ebpf", javascript(), Inside::CheckedTls, &[], &[]);
}

/// What a build shows that asks in other words, by a driver that has statements described before it executes them: of what nobody
/// recorded there is no description.
const OTHER_SQL_DESCRIBED: (&str, Expected) = ("other-sql", Different("added downstream/2/request/prepare"));

/// A service in another language, which copies data as well.
fn client(test: &str, need: Need, command: fn() -> Vec<String>, own: &[(&'static str, Expected)]) {
    if require(test, &[need, Need::Postgres, Need::Ebpf, Need::Sandbox]) {
        record("ebpf", command(), Inside::Nothing, own, &["/load"]);
    }
}

#[test]
fn pgx() {
    let own = [OTHER_SQL_DESCRIBED, ("other-data", Different("changed downstream/1/request/data"))];
    client("stores::postgres::pgx", Need::Go, || go_client("accounts"), &own);
}

#[test]
fn jdbc() {
    let own = [("prepares", Same), ("other-data", Different("changed downstream/4/request/data"))];
    client("stores::postgres::jdbc", Need::JavaClients, || java_client("accounts"), &own);
}

#[test]
fn sqlx() {
    let own = [OTHER_SQL_DESCRIBED, ("other-data", Different("changed downstream/1/request/data"))];
    client("stores::postgres::sqlx", Need::RustClients, || rust_client("accounts"), &own);
}

/// Two clients, of which each connects for each request.
#[test]
fn php() {
    // PHP's server says that it listens in words of its own.
    let command = || {
        let serves = format!("echo accounts listens >&2; exec php -S 127.0.0.1:$PORT {}", source("accounts.php"));
        vec!["sh".to_owned(), "-c".to_owned(), serves]
    };
    let own = [("other-data", Different("changed downstream/1/request/data"))];
    client("stores::postgres::php", Need::PhpPgsql, command, &own);
}

/// What people type, with all that psql asks the catalogue for it.
const SESSION: &str = r"
\d accounts
\dt+
BEGIN;
INSERT INTO entries VALUES (1, 5), (1, NULL) RETURNING *;
SAVEPOINT a;
SELECT nosuch;
ROLLBACK TO a;
COMMIT;
COPY entries FROM STDIN (FORMAT csv);
1,7
\.
COPY entries TO STDOUT;
SELECT 2 AS two\; SELECT 3 AS three;
DO $$ BEGIN RAISE NOTICE 'look'; END $$;
LISTEN news; NOTIFY news, 'of today';
SELECT * FROM accounts \gdesc
";

#[test]
fn psql() {
    if !require("stores::postgres::psql", &[Need::Postgres, Need::Python, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let command = ["python3", &source("terminal.py"), "psql", "-X", &server.url()].map(str::to_owned).to_vec();
    let service = Service::new(command, "TERMINAL_CHANGE", "terminal listens");
    service.record("ebpf", |client| {
        let printed = client.post("/", SESSION).response;
        let printed = String::from_utf8_lossy(&printed);
        for expected in [
            "Indexes:",
            "column \"nosuch\" does not exist",
            "INSERT 0 2",
            "NOTICE:  look",
            "three",
            "1\t7.00",
            "of today",
        ] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    });
    server.stop();
    service.expect(&[("none", Same)]);
}

/// A client in Go that reads what the server says of itself.
#[test]
fn postgres_exporter() {
    let needs = [Need::Postgres, Need::PostgresExporter, Need::Ebpf, Need::Sandbox];
    if !require("stores::postgres::postgres_exporter", &needs) {
        return;
    }
    let server = Server::start();
    let service = Service::new(Vec::new(), "EXPORTER_CHANGE", "Listening on");
    let address = format!("127.0.0.1:{}", service.port);
    let mut service = service.with("DATA_SOURCE_NAME", server.url());
    // What is asked for besides what it asks for by itself.
    let queries = service.folder.path().join("queries.yaml");
    let ask_above = |balance: u32| {
        let query = format!("SELECT count(*) AS accounts FROM accounts WHERE balance > {balance}");
        let text =
            format!("rich:\n  query: {query}\n  metrics:\n    - accounts: {{usage: GAUGE, description: how many}}\n");
        std::fs::write(&queries, text).expect("the folder can be written");
    };
    ask_above(1);
    let path = queries.display().to_string();
    let command = ["prometheus-postgres-exporter", "--web.listen-address", &address, "--extend.query-path", &path];
    service.command = command.map(str::to_owned).to_vec();
    service.record("ebpf", |client: &Client| assert_eq!(client.get("/metrics").status, 200));
    server.stop();
    let calls = || {
        let (finished, report) = service.replay("none");
        let found = report.outcomes.into_iter().flat_map(|outcome| outcome.differences);
        let calls = found.filter(|found| found.place != "response");
        (calls.map(|found| format!("{} {}", found.kind, found.path)).collect::<Vec<_>>(), finished.stdout)
    };
    let (differing, printed) = calls();
    assert_eq!(differing, Vec::<String>::new(), "{printed}");
    ask_above(2);
    let (differing, _) = calls();
    let is_the_query = |found: &String| found.starts_with("changed ") && found.ends_with("/request/query");
    assert!(differing.len() == 1 && differing.iter().all(is_the_query), "{differing:?}");
}
