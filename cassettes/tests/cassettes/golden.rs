//! Files that were written once and must be readable for ever, one folder a format version. A file of the version
//! that is written today must also still be written the same.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use regress_cassettes::{
    Cassette, CassetteId, Cause, Confidence, Content, Defect, Ended, Exchange, HttpExchange, Rule, Store, Turn, Via,
    read, render, verify,
};
use regress_protocols::{
    Side,
    http1::{Chunk, Framing, Line, Message},
    http2::{self, Reset},
};

use crate::{call, http, order};

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

#[test]
fn files_of_format_1_0_are_read_and_still_written_the_same() {
    let store = Store::open(folder("1.0")).unwrap();
    let listed = store.list().unwrap();
    let read_back: Vec<_> = listed.iter().map(|located| store.read(located).unwrap()).collect();
    assert_eq!(read_back, [order(), everything()]);
    assert_eq!(store.ambient().unwrap(), Some(ambient()));

    let paths = listed.iter().map(|located| located.path.clone());
    for path in paths.chain([store.root().join("ambient.cassette.json")]) {
        assert!(verify(&path).is_empty(), "{:?}", verify(&path));
        assert_eq!(render(&read(&path).unwrap()), fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn files_of_format_1_1_are_read_and_still_written_the_same() {
    let store = Store::open(folder("1.1")).unwrap();
    let listed = store.list().unwrap();
    let read_back: Vec<_> = listed.iter().map(|located| store.read(located).unwrap()).collect();
    assert_eq!(read_back, [nondeterministic()]);
    let path = &listed[0].path;
    assert!(verify(path).is_empty(), "{:?}", verify(path));
    assert_eq!(render(&nondeterministic()), fs::read_to_string(path).unwrap());
}

#[test]
fn files_of_format_1_2_are_read_and_still_written_the_same() {
    let store = Store::open(folder("1.2")).unwrap();
    let listed = store.list().unwrap();
    let read_back: Vec<_> = listed.iter().map(|located| store.read(located).unwrap()).collect();
    assert_eq!(read_back, [http2()]);
    let path = &listed[0].path;
    assert!(verify(path).is_empty(), "{:?}", verify(path));
    assert_eq!(render(&http2()), fs::read_to_string(path).unwrap());
}

#[test]
fn files_of_format_1_3_are_read_and_still_written_the_same() {
    let store = Store::open(folder("1.3")).unwrap();
    let listed = store.list().unwrap();
    let read_back: Vec<_> = listed.iter().map(|located| store.read(located).unwrap()).collect();
    let kinds = ["authorization", "password"].map(str::to_owned);
    let redacted = Cassette { redacted: kinds.into(), ..order() };
    assert_eq!(read_back, std::slice::from_ref(&redacted));
    let path = &listed[0].path;
    assert!(verify(path).is_empty(), "{:?}", verify(path));
    assert_eq!(render(&redacted), fs::read_to_string(path).unwrap());
}

#[test]
fn files_of_format_1_4_are_read_and_still_written_the_same() {
    let store = Store::open(folder("1.4")).unwrap();
    let listed = store.list().unwrap();
    let read_back: Vec<_> = listed.iter().map(|located| store.read(located).unwrap()).collect();
    assert_eq!(read_back, [left()]);
    let path = &listed[0].path;
    assert!(verify(path).is_empty(), "{:?}", verify(path));
    assert_eq!(render(&left()), fs::read_to_string(path).unwrap());
}

/// What format 1.4 added: its client left while the response was under way.
fn left() -> Cassette {
    let Cassette { entry, .. } = order();
    let entry = entry.map(|entry| {
        let Content::Http1(http) = entry.content else { panic!("it is HTTP") };
        Exchange { content: Content::Http1(HttpExchange { left: true, ..http }), ..entry }
    });
    Cassette { entry, ..order() }
}

/// What format 1.2 added: HTTP/2.
fn http2() -> Cassette {
    let headers = [("host", "inventory:9000"), ("content-type", "application/grpc"), ("te", "trailers")];
    let grpc = |path: &str, body: &'static [u8]| http2::request("POST", path, &headers, body);
    let trailers = [("grpc-status", "0"), ("grpc-message", "")];
    let response = http2::response(200, &[headers[1]], &b"\0\0\0\0\x02\x08\x02"[..], &trailers);
    let answered = exchange(grpc("/shop.Inventory/Get", b"\0\0\0\0\x04\x0a\x02ab"), response);
    let mut streaming = http2::response(200, &[headers[1]], &b"\0\0\0\0\0"[..], &trailers[..1]);
    streaming.truncated = Some(Bytes::new());
    let content = HttpExchange {
        reset: Some(Reset { from: Side::Client, code: 8 }),
        interleaved: vec![(5, 5)],
        ..http(grpc("/shop.Inventory/Watch", b"\0\0\0\0\0"), streaming)
    };
    let cancelled = Exchange { ended: Ended::Reset, took: None, ..call(Content::Http1(content)) };
    Cassette { downstream: vec![answered, cancelled], ..order() }
}

/// What format 1.1 added.
fn nondeterministic() -> Cassette {
    let reasons = ["response/body/id varies from replay to replay", "response/header/x-\u{e9} \"is\" not as recorded"];
    Cassette { nondeterministic: reasons.map(str::to_owned).to_vec(), ..order() }
}

/// A cassette that uses everything that format 1.0 has.
fn everything() -> Cassette {
    Cassette {
        id: CassetteId("20261122T101503.000007Z-0002".to_owned()),
        downstream: vec![
            spelled_as_on_the_wire(),
            texts(),
            bytes(),
            compressed(),
            big(),
            chunked(),
            switched(),
            opaque(),
            refused(),
            cut(),
        ],
        defects: vec![Defect::LostEvents { events: 3, bytes: 4096 }],
        ..order()
    }
}

fn ambient() -> Cassette {
    let mut cassette = order();
    cassette.id = CassetteId(CassetteId::AMBIENT.to_owned());
    cassette.recorded.via = Via::Proxy;
    cassette.entry = None;
    cassette.downstream = vec![Exchange { cause: None, ..call(Content::Nothing) }];
    cassette
}

fn get(path: &str) -> Message {
    Message::request("GET", path, &[("Host", "inventory:9000")], "")
}

fn exchange(request: Message, response: Message) -> Exchange {
    call(Content::Http1(http(request, response)))
}

fn spelled_as_on_the_wire() -> Exchange {
    let body = "\r\n{ \"a\" : 1.0E+2,\"a\":[ ], \"\\u00e9\\/\": \"\\ud800\" }";
    let mut request = Message::request("POST", "/odd", &[("HOST", "inventory:9000"), ("host", "again")], body);
    request.lead = Bytes::from_static(b"\r\n");
    request.headers.push(Line::new("X-Folded: one\r\n  two"));
    request.headers.push(Line::new("X-Bare: lf\n"));
    request.headers.push(Line::new(&b"X-Latin: caf\xe9"[..]));
    request.end = Line::new("\n");
    exchange(request, Message::response(200, "OK", &[], "{\n\t\"tabs\": true\n}\n"))
}

fn texts() -> Exchange {
    let response = Message::response(200, "OK", &[("Content-Type", "text/plain")], "first\r\nsecond\nno newline");
    exchange(Message::request("PUT", "/text", &[], "one line, \u{1F980} and \u{0}"), response)
}

fn bytes() -> Exchange {
    let all: Vec<u8> = (0..=255).collect();
    exchange(Message::request("PUT", "/bytes", &[], &b"\xff"[..]), Message::response(200, "OK", &[], all))
}

fn compressed() -> Exchange {
    // Stored, not squeezed, so that every version of the compressor gives these bytes.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(b"{\"readable\": true}").unwrap();
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    exchange(get("/zipped"), Message::response(200, "OK", &headers, encoder.finish().unwrap()))
}

fn big() -> Exchange {
    exchange(get("/big"), Message::response(200, "OK", &[], "a line of a big body\n".repeat(3200)))
}

fn chunked() -> Exchange {
    let chunk = |line: &str, size| Chunk { line: Line::new(line.to_owned()), size };
    let mut response = Message::response(200, "OK", &[], "0123456789abcdefghijklmnopqrst");
    response.headers = vec![Line::new("Transfer-Encoding: chunked"), Line::new("Trailer: X-Sum")];
    response.framing = Framing::Chunked {
        chunks: vec![chunk("a", 10), chunk("A", 10), chunk("0a;why=not", 10), chunk("0", 0)],
        trailers: vec![Line::new("X-Sum: 1")],
        end: Line::new("\n"),
    };
    let content = HttpExchange {
        interim: vec![Message::response(103, "Early Hints", &[("Link", "</a.css>")], "")],
        streamed: vec![(0, 10), (1200, 20), (2500, 30)],
        ..http(get("/stream"), response)
    };
    call(Content::Http1(content))
}

fn switched() -> Exchange {
    let headers = [("Host", "inventory:9000"), ("Connection", "Upgrade"), ("Upgrade", "chat")];
    let request = Message::request("GET", "/chat", &headers, "");
    let content = HttpExchange {
        upgraded: vec![
            Turn { from: Side::Client, bytes: Bytes::from_static(b"hello\n") },
            Turn { from: Side::Server, bytes: Bytes::from_static(b"\x81\x05hello") },
        ],
        ..http(request, Message::response(101, "Switching Protocols", &headers[1..], ""))
    };
    call(Content::Http1(content))
}

fn opaque() -> Exchange {
    let mut exchange = call(Content::Opaque(vec![
        Turn { from: Side::Client, bytes: Bytes::from_static(b"PING\r\n") },
        Turn { from: Side::Server, bytes: Bytes::from_static(b"+PONG\r\n") },
    ]));
    exchange.downstream = Some("127.0.0.1:6379".to_owned());
    exchange.defects = vec![Defect::Garbage, Defect::JoinedMidStream];
    exchange
}

fn refused() -> Exchange {
    let mut exchange = call(Content::Nothing);
    exchange.connection.local = None;
    exchange.connection.peer = "[2001:db8::1]:443".parse().unwrap();
    exchange.connection.tls = true;
    exchange.at = -20;
    exchange.took = None;
    exchange.ended = Ended::Refused;
    exchange.cause = Some(Cause { rule: Rule::Alone, confidence: Confidence::Ambiguous, after_response: true });
    exchange.defects = vec![Defect::AmbiguousOwner, Defect::Encrypted];
    exchange
}

fn cut() -> Exchange {
    let mut response = Message::response(200, "OK", &[], "half of it");
    response.headers = vec![Line::new("Content-Length: 20")];
    response.truncated = Some(Bytes::new());
    let mut exchange = exchange(get("/cut"), response);
    exchange.ended = Ended::Reset;
    exchange.took = None;
    exchange.defects = vec![Defect::Gap { from: Side::Server, position: 80, bytes: 10 }, Defect::Unfinished];
    exchange
}
