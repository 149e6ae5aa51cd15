//! Cassettes and calls for the unit tests.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use regress_cassettes::{
    Cassette, CassetteId, Cause, Confidence, Connection, Content, Ended, Exchange, HttpExchange, Recorded, Rule, Via,
    redact::Redactor,
};
use regress_mockserver::mock::{Attempted, Call, HitScope, Match, MissReason, Rung, Scope, Told};
use regress_protocols::http1::Message;

use crate::{CallChange, CallFinding, Finding, Keep, Outcome, Selection, Settings, Verdict};

/// A replay of a folder, of which an interrupted one may be gone on with.
pub fn settings(folder: &Path) -> Settings {
    Settings {
        keys: Default::default(),
        redactor: Arc::new(Redactor::off()),
        store: folder.to_owned(),
        command: vec!["true".into()],
        env: Vec::new(),
        cwd: None,
        jobs: 1,
        selection: Selection::default(),
        fail_fast: false,
        entry_port: None,
        ready_timeout: Duration::ZERO,
        entry_timeout: Duration::ZERO,
        settle: Duration::ZERO,
        policy: Default::default(),
        rules: Default::default(),
        keep: Keep::GoOn,
        only: None,
        answer_misses: false,
        propose: false,
        helper: PathBuf::new(),
    }
}

/// An entry that is different, for a call that was not made.
pub fn outcome(cassette: &CassetteId, file: &Path) -> Outcome {
    Outcome {
        cassette: cassette.clone(),
        file: file.to_owned(),
        entry: "POST /orders".to_owned(),
        verdict: Verdict::Different,
        findings: vec![Finding::Call(omitted())],
        excused: Vec::new(),
        if_answered: None,
        doubts: Vec::new(),
        notes: Vec::new(),
        calls: Vec::new(),
        last_output: None,
        took: Some(Duration::from_micros(1234)),
        recorded: None,
        sides: None,
        pending: None,
    }
}

pub fn omitted() -> CallFinding {
    let (downstream, request) = ("config".to_owned(), "GET /flags".to_owned());
    let operation = request.clone();
    CallFinding { number: 0, downstream, destination: None, request, operation, change: CallChange::Omitted }
}

/// The id of [`cassette`].
pub fn id() -> CassetteId {
    CassetteId("20261122T101502.123456Z-0007".to_owned())
}

/// `POST /orders` answered 201 with a total, and two calls: `POST inventory /reserve`, `GET prices:9000 /sku/1`.
pub fn cassette() -> Cassette {
    let mut entry = exchange(0, None, "192.0.2.7:40000", order(), created("12.50"));
    entry.connection.local = Some(address("10.0.0.5:8080").into());
    entry.cause = None;
    Cassette {
        id: id(),
        recorded: Recorded {
            at: "2026-11-22T10:15:02.123456Z".to_owned(),
            service: "shop".to_owned(),
            by: "regress 0.1.0".to_owned(),
            via: Via::Socket,
            kernel: "6.18.0".to_owned(),
        },
        nondeterministic: Vec::new(),
        redacted: Default::default(),
        entry: Some(entry),
        downstream: vec![
            exchange(1, Some("inventory"), "10.0.0.8:80", reserve(2), json(200, r#"{"reserved": true}"#)),
            exchange(2, Some("prices:9000"), "10.0.0.9:9000", price(), json(200, r#"{"price": 6.25}"#)),
        ],
        defects: Vec::new(),
    }
}

pub fn order() -> Message {
    Message::request("POST", "/orders", &[("Host", "shop"), ("Content-Type", "application/json")], r#"{"sku":1}"#)
}

pub fn created(total: &str) -> Message {
    json(201, &format!("{{\"id\": 7, \"total\": {total}}}"))
}

pub fn reserve(qty: u32) -> Message {
    let body = format!("{{\"sku\": 1, \"qty\": {qty}}}");
    Message::request("POST", "/reserve", &[("Host", "inventory"), ("Content-Type", "application/json")], body)
}

pub fn price() -> Message {
    Message::request("GET", "/sku/1", &[("Host", "prices:9000")], "")
}

pub fn json(status: u16, body: &str) -> Message {
    let reason = if status == 201 { "Created" } else { "OK" };
    let headers = [("Content-Type", "application/json"), ("Date", "Sun, 22 Nov 2026 10:15:02 GMT")];
    Message::response(status, reason, &headers, body.to_owned())
}

pub fn exchange(number: u64, downstream: Option<&str>, peer: &str, request: Message, response: Message) -> Exchange {
    Exchange {
        downstream: downstream.map(str::to_owned),
        connection: Connection { id: number, local: None, peer: address(peer).into(), tls: false },
        at: number as i64 * 1000,
        took: Some(500),
        content: Content::Http1(HttpExchange::new(request, Some(response))),
        ended: Ended::Ok,
        cause: Some(Cause { rule: Rule::Alone, confidence: Confidence::Certain, after_response: false }),
        defects: Vec::new(),
    }
}

/// Calls as the cassette has them.
pub fn hits(cassette: &Cassette) -> Vec<Call> {
    (0..cassette.downstream.len()).map(|number| hit(cassette, number)).collect()
}

pub fn hit(cassette: &Cassette, number: usize) -> Call {
    let exchange = &cassette.downstream[number];
    let what = match (exchange.http(), exchange.conversation()) {
        (Some(http), _) => Attempted::Http(http.request.clone()),
        (None, turns) => Attempted::Opaque(turns.unwrap()[0].bytes.clone()),
    };
    Call {
        scope: Scope::Entry(cassette.id.clone()),
        destination: exchange.connection.peer.inet().unwrap(),
        downstream: exchange.downstream.clone().unwrap(),
        tls: false,
        what,
        matched: Match::Hit {
            cassette: cassette.id.clone(),
            exchange: number,
            scope: HitScope::Entry,
            rung: Rung::Exact,
            runner_up: None,
            again: false,
            bound: Vec::new(),
        },
        answered: exchange.http().and_then(|http| http.response.clone()).map(Told::Http),
    }
}

pub fn miss(downstream: &str, destination: &str, what: Attempted, answered: Message) -> Call {
    Call {
        scope: Scope::Entry(id()),
        destination: address(destination),
        downstream: downstream.to_owned(),
        tls: false,
        what,
        matched: Match::Miss { reason: MissReason::UnknownDestination, nearest: Vec::new() },
        answered: Some(Told::Http(answered)),
    }
}

/// What the mock says when nothing recorded fits.
pub fn unanswered() -> Message {
    Message::response(502, "Bad Gateway", &[("x-regress", "miss")], "nothing recorded fits")
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
