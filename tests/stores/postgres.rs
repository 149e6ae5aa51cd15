use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Expected, Expected::Different, Expected::Same, Service};
use crate::{
    harness::{Client, Corpus, Need, Process, Recording, free_port, postgres_programs, require, tools},
    services::source,
};

/// It must be in no cassette.
const PASSWORD: &str = "tell-nobody";

const TABLES: &str = "
    CREATE TABLE accounts (id serial PRIMARY KEY, name text UNIQUE, balance numeric(12, 2), changed timestamptz DEFAULT now(), tags text[], picture bytea);
    CREATE TABLE entries (account int REFERENCES accounts, amount numeric(12, 2));
    INSERT INTO accounts (name, balance, tags, picture) VALUES ('milk', 1.50, '{}', '\\x00ff');
";

/// A PostgreSQL server with a database of its own.
struct Server {
    process: Process,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("there is a temporary folder"));
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("the folder can be written");
        let data = folder.path().join("data");
        Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().expect("there is chown");
        let mut init = as_postgres("initdb");
        init.args(["-A", "scram-sha-256", "-U", "postgres", "--no-sync", "--pwfile"])
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
            "-p",
            &port.to_string(),
            "-D",
        ]);
        let process = Process::start(command.arg(data));
        process.wait_for_line("database system is ready to accept connections");
        let server = Server { process, port, _folder: folder };
        server.psql(&["-c", TABLES]).expect_code(0);
        server
    }

    fn url(&self) -> String {
        format!("postgresql://postgres:{PASSWORD}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    fn psql(&self, arguments: &[&str]) -> crate::harness::Finished {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &self.url()]).args(arguments);
        Process::start(&mut command).finish()
    }

    fn stop(self) {
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
    own: &[(&'static str, Expected)],
    also: &[&str],
) {
    if !require(test, &[needs, &[Need::Postgres, Need::Sandbox]].concat()) {
        return;
    }
    let server = Server::start();
    let service = Service::new(command, "ACCOUNTS_CHANGE", "accounts listens")
        .with("STORE", server.url())
        .with("MODULES", tools().display());
    let corpus = service.record(via, |client| {
        assert_eq!(client.post("/tea", "12.50").status, 201);
        for _ in 0..4 {
            assert_eq!(client.get("/tea").status, 200);
        }
        assert_eq!(client.get("/wine").status, 404);
        assert_eq!(client.get("/wrong").status, 409);
        assert_eq!(client.get("/all").status, 200);
        also.iter().for_each(|target| assert_eq!(client.get(target).status, 200, "{target}"));
    });
    server.stop();
    assert_eq!(called(&corpus, 0), ["BEGIN", "INSERT accounts", "INSERT entries", "COMMIT"]);
    assert_eq!(says(&service.cassettes(), PASSWORD), Vec::<PathBuf>::new());
    service.expect(&[BUILDS, own].concat());
}

/// What an entry asked for.
fn called(corpus: &Corpus, entry: usize) -> Vec<String> {
    let calls = corpus.cassettes[entry].downstream.iter().filter_map(|call| call.request());
    calls.map(|request| request.operation().to_string()).collect()
}

/// The files below a folder that have that text.
fn says(folder: &Path, text: &str) -> Vec<PathBuf> {
    let files =
        walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("the folder can be read").into_path());
    let has = |path: &PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    files.filter(has).collect()
}

fn python() -> Vec<String> {
    vec![tools().join("venv/bin/python").display().to_string(), source("accounts.py")]
}

#[test]
fn psycopg() {
    let own = [("prepares", Same), ("other-data", Different("changed downstream/2/request/data"))];
    accounts("stores::postgres::psycopg", &[Need::Ebpf], "ebpf", python(), &own, &["/load"]);
}

#[test]
fn psycopg_through_the_proxy() {
    accounts("stores::postgres::psycopg_through_the_proxy", &[], "proxy", python(), &[], &[]);
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
#[test]
fn attached() {
    if !require("stores::postgres::attached", &[Need::Postgres, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let server = Server::start();
    let service = Service::new(python(), "ACCOUNTS_CHANGE", "accounts listens").with("STORE", server.url());
    let mut command = Command::new(&service.command[0]);
    let running = Process::start(command.args(&service.command[1..]).envs(service.builds("none")));
    running.wait_for_line(service.listens);
    let client = Client::new(service.port);
    assert_eq!(client.post("/coffee", "3").status, 201);
    let (settings, id) = (service.settings("").display().to_string(), running.id().to_string());
    let recording = Recording::start(&service.cassettes(), ["--via", "ebpf", "--config", &settings, "--pid", &id], []);
    assert_eq!(client.post("/tea", "12.50").status, 201);
    for _ in 0..6 {
        assert_eq!(client.get("/tea").status, 200);
    }
    recording.stop().expect_code(0);
    running.stop();
    server.stop();
    service.expect(&[
        ("none", Same),
        ("other-value", Different("changed downstream/1/request/params/1")),
        ("dropped-query", Different("omitted downstream/2")),
    ]);
}

#[test]
fn node() {
    let command = vec!["node".to_owned(), source("accounts.mjs")];
    accounts("stores::postgres::node", &[Need::Node, Need::Ebpf], "ebpf", command, &[], &[]);
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
    let command = ["prometheus-postgres-exporter", "--web.listen-address", &address];
    service.command = command.map(str::to_owned).to_vec();
    service.record("ebpf", |client: &Client| assert_eq!(client.get("/metrics").status, 200));
    server.stop();
    let (finished, report) = service.replay("none");
    let calls =
        report.outcomes.iter().flat_map(|outcome| &outcome.differences).filter(|found| found.place != "response");
    assert_eq!(calls.count(), 0, "{}", finished.stdout);
}
