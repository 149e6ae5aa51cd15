//! Secrets of clients and of the service itself: in no file, and replayed as if they had never been replaced.

use std::path::PathBuf;

use super::{Expected, Expected::Bound, Expected::Different, Service, postgres, redis, says};
use crate::{
    harness::{Answer, Client, Corpus, Downstream, Finished, Need, regress, require, tools},
    services::source,
};

const PASSWORD: &str = "h0rse&battery staple";
const BEARER: &str = "0paque.bearer-of_the~client";
const API_KEY: &str = "key of/the+client-17";
const SERVICE_TOKEN: &str = "t0ken-of-the-service-itself";

/// All of them, also as they stand in URLs, in base64 and in what is said in JSON.
const SECRETS: &[&str] = &[
    PASSWORD,
    "h0rse",
    BEARER,
    "0paque",
    API_KEY,
    "key%20of",
    "key+of",
    "the+client-17",
    SERVICE_TOKEN,
    "t0ken-of",
    "4111111111111111",
];

const TABLES: &str = "
    CREATE TABLE members (id serial PRIMARY KEY, name text, password text);
    INSERT INTO members (name, password) VALUES ('ann', 'h0rse&battery staple');
";

const BUILDS: &[(&str, Expected)] = &[
    ("none", Bound),
    ("forgets-authorization", Different("changed downstream/2/request/header/authorization")),
    ("changes-password", Different("changed downstream/0/request/params/1")),
];

fn answer(_: &str, target: &str, _: &[u8]) -> Answer {
    let status = if target.starts_with("/rights?api_key=key%20of/the%2Bclient-17") { 200 } else { 403 };
    Answer(status, "application/json", r#"{"pay":true,"card":"4111111111111111"}"#.to_owned())
}

fn drive(client: &Client) {
    let login = format!(r#"{{"user": "ann", "password": "{PASSWORD}"}}"#);
    let bearer = format!("Bearer {BEARER}");
    let target = "/login?api_key=key+of%2Fthe%2Bclient-17";
    let (status, cookies) = client.send("POST", target, &[("Authorization", &bearer)], &login);
    assert_eq!((status, cookies.len()), (200, 1));
    let cookie = cookies[0].split(';').next().expect("it has a value").to_owned();
    assert_eq!(client.send("GET", "/me", &[("Cookie", &cookie)], "").0, 200);
    assert_eq!(client.send("GET", "/me", &[], "").0, 401);
    let wrong = format!(r#"{{"user": "ann", "password": "not {PASSWORD}"}}"#);
    assert_eq!(client.send("POST", target, &[("Authorization", &bearer)], &wrong).0, 401);
}

/// The files below the service's folder that have any of the secrets.
fn leaks(service: &Service) -> Vec<(PathBuf, &'static str)> {
    let folder = service.folder.path();
    SECRETS.iter().flat_map(|secret| says(folder, secret).into_iter().map(move |file| (file, *secret))).collect()
}

fn assert_tells_none(finished: &Finished) {
    for secret in SECRETS {
        assert!(!finished.stdout.contains(secret), "{secret}: {}", finished.stdout);
        assert!(!finished.stderr.contains(secret), "{secret}: {}", finished.stderr);
    }
}

struct Setting {
    service: Service,
    corpus: Corpus,
}

fn record(test: &str, via: &str, needs: &[Need], own: &str) -> Option<Setting> {
    if !require(test, &[needs, &[Need::Postgres, Need::Redis, Need::Sandbox]].concat()) {
        return None;
    }
    let (database, cache) = (postgres::Server::start(), redis::Server::start());
    database.psql(&["-c", TABLES]).expect_code(0);
    let rights = Downstream::start(answer);
    let command = vec![tools().join("venv/bin/python").display().to_string(), source("members.py")];
    let mut service = Service::new(command, "MEMBERS_CHANGE", "members listens")
        .with("MEMBERS", database.url())
        .with("SESSIONS", format!("127.0.0.1:{}", cache.port))
        .with("RIGHTS", format!("http://{}", rights.address))
        .with("SERVICE_TOKEN", SERVICE_TOKEN);
    service.own = own.to_owned();
    let corpus = service.record(via, drive);
    database.stop();
    cache.stop();
    Some(Setting { service, corpus })
}

#[test]
fn no_secret_is_written_and_the_build_is_the_same() {
    let Some(Setting { service, corpus }) =
        record("stores::secrets::no_secret_is_written_and_the_build_is_the_same", "ebpf", &[Need::Ebpf], "")
    else {
        return;
    };
    assert_eq!(leaks(&service), []);
    let kinds: Vec<&str> = corpus.cassettes[0].redacted.iter().map(String::as_str).collect();
    assert_eq!(kinds, ["api-key", "authorization", "card", "cookie", "password", "token"]);
    service.expect(BUILDS);
    for _ in 0..3 {
        service.expect(&[("none", Bound)]);
    }
    tells_none(&service);
}

#[test]
fn through_the_proxy_with_a_key_of_the_project() {
    let test = "stores::secrets::through_the_proxy_with_a_key_of_the_project";
    let key = tempfile::NamedTempFile::new().expect("there is a temporary folder");
    std::fs::write(key.path(), "a key that the project keeps for itself").expect("the file can be written");
    let own = format!("[redact]\nkey_file = {:?}\n", key.path().display().to_string());
    let Some(Setting { service, .. }) = record(test, "proxy", &[], &own) else { return };
    assert_eq!(leaks(&service), []);
    service.expect(BUILDS);
    tells_none(&service);
}

/// Neither reports nor proposals nor errors tell what the build under test was given by its environment.
fn tells_none(service: &Service) {
    let folder = service.folder.path();
    for change in ["forgets-authorization", "changes-password"] {
        let mut command = regress();
        command.arg("replay").arg(service.cassettes()).arg("--config").arg(service.settings(""));
        for (format, name) in
            [("text", "a.txt"), ("json", "a.json"), ("html", "a.html"), ("junit", "a.xml"), ("markdown", "a.md")]
        {
            command.arg("--report").arg(format!("{format}={}", folder.join(name).display()));
        }
        command.arg("--").args(&service.command).envs(service.builds(change));
        let finished = crate::harness::Process::start(&mut command).finish();
        finished.expect_code(1);
        assert_tells_none(&finished);
        assert!(!says(folder, "redacted").is_empty());
        assert_eq!(leaks(service), [], "{change}");
    }
    let pending = walkdir::WalkDir::new(service.cassettes()).into_iter().filter_map(Result::ok);
    assert!(pending.into_iter().any(|file| file.path().extension().is_some_and(|end| end == "new")));
}

#[test]
fn what_was_recorded_as_it_is_is_redacted_later() {
    let test = "stores::secrets::what_was_recorded_as_it_is_is_redacted_later";
    let Some(Setting { service, .. }) = record(test, "proxy --no-redact", &[], "") else { return };
    assert!(!leaks(&service).is_empty());
    service.expect(&[("none", Bound)]);
    let redact = |arguments: &[&str]| {
        let mut command = regress();
        command.args(["cassette", "redact"]).args(arguments).arg(service.cassettes());
        crate::harness::Process::start(&mut command).finish()
    };
    let dry = redact(&["--dry-run"]);
    dry.expect_code(1);
    assert_tells_none(&dry);
    assert!(!leaks(&service).is_empty());
    let done = redact(&[]);
    done.expect_code(0);
    assert!(done.stdout.contains("authorization    header"), "{}", done.stdout);
    assert_eq!(leaks(&service), []);
    let again = redact(&["--dry-run"]);
    again.expect_code(0);
    assert_eq!(again.stdout, "");
    service.expect(BUILDS);
}
