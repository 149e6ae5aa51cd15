//! Cassettes for tests.

use std::sync::Arc;

use regress_cassettes::{
    Cassette, CassetteId, Connection, Content, Ended, Exchange, HttpExchange, Recorded, Turn, Via, diff::Rules,
    downstream_name, redact::Redactor,
};
use regress_protocols::{
    Side,
    http1::{Message, RequestReader, ResponseReader},
};

use crate::{
    library::Library,
    mock::{Mock, Mode, Policy},
};

pub(crate) const ENTRY: &str = "20261122T101502.123456Z-0007";
pub(crate) const AMBIENT: &str = "ambient";

/// The address of the downstream `payments`.
pub(crate) const PAYMENTS: &str = "10.0.0.5:8080";

pub(crate) fn request(wire: &str) -> Message {
    let mut requests = RequestReader::new(Default::default()).feed(wire.as_bytes()).unwrap();
    assert_eq!(requests.len(), 1, "{wire}");
    requests.remove(0)
}

/// The response to `request`, cut where `wire` ends.
pub(crate) fn response_to(request: &Message, wire: &str) -> Message {
    let mut reader = ResponseReader::new(request.method(), Default::default());
    let mut responses = reader.feed(wire.as_bytes()).unwrap();
    responses.pop().or_else(|| reader.finish()).unwrap()
}

/// A request to `payments:8080`.
pub(crate) fn ask(method: &str, target: &str, body: &str) -> Message {
    Message::request(
        method,
        target,
        &[("Host", "payments:8080"), ("Content-Type", "application/json")],
        body.to_owned(),
    )
}

pub(crate) fn ok(body: &str) -> Message {
    Message::response(200, "OK", &[("X-Served-By", "recording")], body.to_owned())
}

pub(crate) fn exchange(peer: &str, tls: bool, content: Content, ended: Ended) -> Exchange {
    let peer = peer.parse().unwrap();
    let host = match &content {
        Content::Http1(http) => http.request.header_text("host").map(|host| host.into_owned()),
        Content::Wire(_) | Content::Opaque(_) | Content::Nothing => None,
    };
    Exchange {
        downstream: Some(downstream_name(host.as_deref(), None, peer, tls)),
        connection: Connection { id: 1, local: None, peer: peer.into(), tls },
        at: 0,
        took: None,
        content,
        ended,
        cause: None,
        defects: Vec::new(),
    }
}

/// A whole exchange with whoever the request names, at `peer`.
pub(crate) fn at(peer: &str, request: Message, response: Message) -> Exchange {
    exchange(peer, false, http(request, Some(response)), Ended::Ok)
}

/// A whole exchange with `payments`.
pub(crate) fn answered(request: Message, response: Message) -> Exchange {
    at(PAYMENTS, request, response)
}

pub(crate) fn http(request: Message, response: Option<Message>) -> Content {
    Content::Http1(HttpExchange::new(request, response))
}

pub(crate) fn turn(from: Side, bytes: &'static [u8]) -> Turn {
    Turn { from, bytes: bytes.into() }
}

pub(crate) fn cassette(id: &str, downstream: Vec<Exchange>) -> Arc<Cassette> {
    let recorded = Recorded {
        at: "2026-11-22T10:15:02.123456Z".to_owned(),
        service: "shop".to_owned(),
        by: "regress".to_owned(),
        via: Via::Socket,
        kernel: "6.12.0".to_owned(),
    };
    Arc::new(Cassette {
        id: CassetteId(id.to_owned()),
        recorded,
        nondeterministic: Vec::new(),
        redacted: Default::default(),
        entry: None,
        downstream,
        defects: Vec::new(),
    })
}

pub(crate) fn entry_id() -> CassetteId {
    CassetteId(ENTRY.to_owned())
}

/// A library of the ambient exchanges after a survey of cassettes.
pub(crate) fn library(entries: &[Arc<Cassette>], ambient: Option<Vec<Exchange>>) -> Arc<Library> {
    library_under(Rules::none(), entries, ambient)
}

/// The same under rules.
pub(crate) fn library_under(rules: Rules, entries: &[Arc<Cassette>], ambient: Option<Vec<Exchange>>) -> Arc<Library> {
    let survey = entries.iter().map(|cassette| &**cassette).collect();
    let ambient = ambient.map(|exchanges| cassette(AMBIENT, exchanges));
    Arc::new(Library::new(survey, ambient, rules, Arc::new(Redactor::off())))
}

/// A mock in the scope of the one entry.
pub(crate) fn mock(entry: Vec<Exchange>, ambient: Vec<Exchange>, mode: Mode) -> Mock {
    entered(entry, ambient, mode, Policy::default())
}

/// A mock in the scope of the one entry, with a policy.
pub(crate) fn entered(entry: Vec<Exchange>, ambient: Vec<Exchange>, mode: Mode, policy: Policy) -> Mock {
    let entry = cassette(ENTRY, entry);
    let mock = Mock::new(library(&[Arc::clone(&entry)], Some(ambient)), mode, policy);
    mock.enter(entry);
    mock
}
