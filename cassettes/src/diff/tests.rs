use std::io::Write;

use bytes::Bytes;
use proptest::prelude::*;
use regress_protocols::http1::{Framing, Line, Message};

use super::*;

fn get(headers: &[(&str, &str)]) -> Message {
    Message::request("GET", "/items?id=17", headers, "")
}

fn post(body: &str) -> Message {
    Message::request("POST", "/charge", &[("Content-Type", "application/json")], body.to_owned())
}

/// `path kind expected -> actual` of each difference.
fn told(differences: &[Difference]) -> Vec<String> {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    differences
        .iter()
        .map(|found| format!("{} {:?} {} -> {}", found.path, found.kind, value(&found.expected), value(&found.actual)))
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn coded(coding: &str, body: Vec<u8>) -> Message {
    Message::response(200, "OK", &[("Content-Encoding", coding)], body)
}

#[test]
fn method_target_and_status() {
    let old = Message::request("GET", "/u/17?a=1", &[], "");
    let new = Message::request("DELETE", "/u/18?a=1", &[], "");
    assert_eq!(
        told(&requests(&old, &new, &Lens::exact())),
        ["method Changed GET -> DELETE", "target/path/2 Changed 17 -> 18"]
    );
    let (old, new) = (Message::response(200, "OK", &[], ""), Message::response(503, "Busy", &[], ""));
    assert_eq!(told(&responses(&old, &new, &Lens::exact())), ["status Changed 200 -> 503"]);
    assert_eq!(responses(&old, &Message::response(200, "Fine", &[], ""), &Lens::exact()), []);
}

#[test]
fn targets_that_are_not_utf8_are_told_apart() {
    let target = |byte: u8| {
        let mut message = get(&[]);
        message.start = Line::new([b"GET /".as_slice(), &[byte], b" HTTP/1.1"].concat());
        message
    };
    assert_eq!(requests(&target(0xfe), &target(0xff), &Lens::exact()).len(), 1);
    assert_ne!(canonical_request(&target(0xfe), &Applied::none()), canonical_request(&target(0xff), &Applied::none()));
}

#[test]
fn headers_are_compared_without_case_order_and_volatile_ones() {
    let old = get(&[("Accept", "a"), ("X-Tenant", "t1"), ("Date", "x"), ("X-B3-TraceId", "1"), ("Host", "a")]);
    let new = get(&[("x-tenant", " t1 "), ("accept", "a"), ("User-Agent", "new/2"), ("x-b3-spanid", "2")]);
    assert_eq!(requests(&old, &new, &Lens::exact()), []);
    let new = get(&[("x-tenant", "t2"), ("cookie", "c")]);
    assert_eq!(
        told(&requests(&old, &new, &Lens::exact())),
        ["header/accept Removed a -> -", "header/cookie Added - -> c", "header/x-tenant Changed t1 -> t2"]
    );
}

#[test]
fn host_and_user_agent_count_in_responses_and_trailer_always_does() {
    let old = Message::response(200, "OK", &[("User-Agent", "a"), ("Trailer", "x"), ("Date", "1")], "");
    let new = Message::response(200, "OK", &[("User-Agent", "b"), ("Date", "2")], "");
    assert_eq!(
        told(&responses(&old, &new, &Lens::exact())),
        ["header/trailer Removed x -> -", "header/user-agent Changed a -> b"]
    );
}

#[test]
fn repeated_headers_are_compared_as_a_list() {
    let cookies = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("Set-Cookie", *value)).collect();
        Message::response(200, "OK", &headers, "")
    };
    let old = cookies(&["a", "b", "c"]);
    assert_eq!(told(&responses(&old, &cookies(&["a", "c"]), &Lens::exact())), ["header/set-cookie Removed b -> -"]);
    assert_eq!(
        told(&responses(&old, &cookies(&["a", "x", "b", "c"]), &Lens::exact())),
        ["header/set-cookie Added - -> x"]
    );
    assert_eq!(
        told(&responses(&old, &cookies(&["x", "b", "y"]), &Lens::exact())),
        ["header/set-cookie Changed a -> x", "header/set-cookie Changed c -> y"]
    );
}

#[test]
fn trailers_are_compared_and_the_cut_into_chunks_is_not() {
    let chunked = |trailers: &[&str]| {
        let mut message = Message::response(200, "OK", &[("Transfer-Encoding", "chunked")], "body");
        let Framing::Chunked { trailers: lines, .. } = &mut message.framing else { panic!("chunked was asked for") };
        lines.extend(trailers.iter().map(|line| Line::new(line.to_string())));
        message
    };
    assert_eq!(responses(&chunked(&[]), &Message::response(200, "OK", &[], "body"), &Lens::exact()), []);
    assert_eq!(
        told(&responses(&chunked(&["Checksum: 1", "X: 1"]), &chunked(&["x:1", "checksum: 2"]), &Lens::exact())),
        ["trailer/checksum Changed 1 -> 2"]
    );
}

#[test]
fn json_is_compared_by_structure() {
    let old = post(r#"{"amount":100,"items":[{"price":1},{"price":2}],"a/b~c":true,"gone":null}"#);
    let same = post("{\"items\" : [ {\"price\":1}, {\"price\":2} ], \"a\\/b~c\":true, \"gone\":null, \"amount\":100}");
    assert_eq!(requests(&old, &same, &Lens::exact()), []);
    assert_eq!(canonical_request(&old, &Applied::none()), canonical_request(&same, &Applied::none()));
    let new = post(r#"{"amount":9900,"items":[{"price":"1"},{"price":2.0},3],"a/b~c":false,"new":{"x":"y"}}"#);
    assert_eq!(
        told(&requests(&old, &new, &Lens::exact())),
        [
            "body/a~1b~0c Changed true -> false",
            "body/amount Changed 100 -> 9900",
            "body/gone Removed null -> -",
            r#"body/items/0/price Type 1 -> "1""#,
            "body/items/1/price Changed 2 -> 2.0",
            "body/items/2 Added - -> 3",
            r#"body/new Added - -> {"x":"y"}"#,
        ]
    );
}

#[test]
fn repeated_names_are_a_difference() {
    let old = post(r#"{"a":1}"#);
    assert_eq!(told(&requests(&old, &post(r#"{"a":1,"a":2}"#), &Lens::exact())), ["body/a Added - -> 2"]);
    let twice = post(r#"{"a":1,"a":2}"#);
    assert_eq!(requests(&twice, &post(r#"{"a":1, "a":2}"#), &Lens::exact()), []);
    let swapped = requests(&twice, &post(r#"{"a":2,"a":1}"#), &Lens::exact());
    assert_eq!(told(&swapped), ["body/a Moved at 0: 1 -> at 1: 1"]);
}

#[test]
fn bodies_that_are_not_both_json_are_text_or_bytes() {
    assert_eq!(told(&requests(&post("{}"), &post("{]"), &Lens::exact())), ["body Changed {} -> {]"]);
    assert_eq!(told(&requests(&post("1"), &post("1 "), &Lens::exact())), ["body Changed 1 -> 1 "]);
    assert_eq!(told(&requests(&post("a"), &post(""), &Lens::exact())), ["body Removed a -> -"]);
    assert_eq!(told(&requests(&post(""), &post("a"), &Lens::exact())), ["body Added - -> a"]);
    let bytes = Message::request("POST", "/charge", &[("Content-Type", "application/json")], &b"\x00\xff"[..]);
    assert_eq!(
        told(&requests(&post("\0x"), &bytes, &Lens::exact())),
        ["body Changed at 1: 78 (2 bytes) -> at 1: ff (2 bytes)"]
    );
}

#[test]
fn content_coding_is_removed_before_the_comparison() {
    let text = br#"{"a":1}"#;
    let expected = coded("gzip", gzip(text));
    let mut other = flate2::GzBuilder::new().mtime(77).filename("x").write(Vec::new(), flate2::Compression::none());
    other.write_all(br#"{ "a": 1 }"#).unwrap();
    assert_eq!(responses(&expected, &coded("gzip", other.finish().unwrap()), &Lens::exact()), []);
    assert_eq!(
        told(&responses(&expected, &coded("gzip", gzip(br#"{"a":2}"#)), &Lens::exact())),
        ["body/a Changed 1 -> 2"]
    );
    for message in [
        coded("x-gzip", gzip(text)),
        coded("deflate", zlib(text)),
        coded("deflate", zlib(text)[2..zlib(text).len() - 4].to_vec()),
        coded("deflate, GZIP", gzip(&zlib(text))),
        coded("identity", text.to_vec()),
        coded("br", text.to_vec()),
        coded("gzip", text.to_vec()),
    ] {
        assert_eq!(decoded_body(&message).as_ref(), text, "{:?}", message.header_text("content-encoding"));
    }
}

#[test]
fn broken_and_bursting_codings_stay_as_they_are() {
    let bomb = gzip(&vec![0; 8 << 20]);
    assert!(bomb.len() < 10_000);
    assert_eq!(decoded_body(&coded("gzip", bomb.clone())).as_ref(), bomb);
    let trailing = [zlib(b"a"), b"trailing".to_vec()].concat();
    assert_eq!(decoded_body(&coded("deflate", trailing.clone())).as_ref(), trailing);
    assert_eq!(decoded_body(&coded("gzip", gzip(&vec![7; 1 << 20]))).len(), 1 << 20);
    let whole = coded("gzip", gzip(b"text"));
    let found = responses(&whole, &coded("gzip", b"text".to_vec()), &Lens::exact());
    assert_eq!(found.len(), 1, "what came plain under a coding is not what came coded: {found:?}");
}

#[test]
fn a_message_that_was_cut_is_not_a_whole_one() {
    let mut cut = post("abc");
    cut.truncated = Some(Bytes::new());
    assert_eq!(told(&requests(&post("abc"), &cut, &Lens::exact())), ["end Added - -> cut short after 3 bytes"]);
    assert_ne!(canonical_request(&post("abc"), &Applied::none()), canonical_request(&cut, &Applied::none()));
}

#[test]
fn the_list_is_bounded_and_says_what_is_missing() {
    let array = |item: &str| post(&format!("[{}]", vec![item; 5000].join(",")));
    let found = requests(&array("1"), &array("2"), &Lens::exact());
    assert_eq!(found.len(), MOST_DIFFERENCES + 1);
    assert_eq!(found[MOST_DIFFERENCES].path, "...");
    assert_eq!(found[MOST_DIFFERENCES].actual.as_deref(), Some("4800 more differences"));
    let long = requests(&post(&format!("[\"{}\"]", "a".repeat(100_000))), &post("[\"b\"]"), &Lens::exact());
    assert!(long[0].expected.as_ref().is_some_and(|text| text.len() < 400 && text.ends_with("(100002 bytes)")));
}

#[test]
fn volatile_names() {
    for name in ["X-B3-Sampled", "x-b3-", "B3", "Host", "Traceparent"] {
        assert!(is_volatile(VOLATILE_REQUEST_HEADERS, name.as_bytes()), "{name}");
    }
    for name in ["x-b3", "b3-x", "hosts", "authorization", ""] {
        assert!(!is_volatile(VOLATILE_REQUEST_HEADERS, name.as_bytes()), "{name}");
    }
}

/// What a request is made of. A small world, so that equal, nearly equal and different requests all come up.
#[derive(Clone, Debug)]
struct Parts {
    method: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    trailer: Option<u8>,
    cut: bool,
}

impl Parts {
    fn message(&self) -> Message {
        let mut headers = self.headers.clone();
        headers.extend(self.trailer.map(|_| ("Transfer-Encoding", "chunked")));
        let mut message = Message::request(self.method, self.target, &headers, self.body.clone());
        if let (Framing::Chunked { trailers, .. }, Some(trailer @ 1..)) = (&mut message.framing, self.trailer) {
            trailers.push(Line::new(format!("t: {trailer}")));
        }
        message.truncated = self.cut.then(Bytes::new);
        message
    }

    /// These parts with one of them taken from `other`.
    fn with(&self, part: u8, other: &Parts) -> Parts {
        let (mut mixed, other) = (self.clone(), other.clone());
        match part {
            0 => mixed.method = other.method,
            1 => mixed.target = other.target,
            2 => mixed.headers = other.headers,
            3 => mixed.body = other.body,
            4 => mixed.trailer = other.trailer,
            5 => mixed.cut = other.cut,
            _ => return other,
        }
        mixed
    }
}

fn some_parts() -> impl Strategy<Value = Parts> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("post")];
    let target = prop_oneof![Just("/"), Just("/a?b"), Just("/a?c"), Just("")];
    let name = prop_oneof![Just("A"), Just("a"), Just("B"), Just("Date"), Just("Content-Encoding")];
    let value = prop_oneof![Just("1"), Just(" 1"), Just("2"), Just(""), Just("gzip"), Just("deflate")];
    let headers = prop::collection::vec((name, value), 0..3);
    let body = prop_oneof![
        some_json().prop_map(String::into_bytes),
        some_json().prop_map(|text| gzip(text.as_bytes())),
        some_json().prop_map(|text| zlib(text.as_bytes())),
        prop::collection::vec(any::<u8>(), 0..2),
    ];
    (method, target, headers, body, prop::option::of(0..3_u8), any::<bool>())
        .prop_map(|(method, target, headers, body, trailer, cut)| Parts { method, target, headers, body, trailer, cut })
}

fn some_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("1.0".to_owned()),
        Just("\"1\"".to_owned()),
        Just("\"\\u0031\"".to_owned()),
        Just("null".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let name = prop_oneof![Just("\"a\""), Just("\"b\""), Just("\"\\u0061\"")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((name, inner), 0..3).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn canonical_forms_are_equal_exactly_without_a_difference(a in some_parts(), other in some_parts(), part in 0..8_u8) {
        let (a, b) = (a.message(), a.with(part, &other).message());
        let found = requests(&a, &b, &Lens::exact());
        let equal = canonical_request(&a, &Applied::none()) == canonical_request(&b, &Applied::none());
        prop_assert_eq!(equal, found.is_empty(), "{:?}", found);
        prop_assert_eq!(requests(&b, &a, &Lens::exact()).is_empty(), equal);
    }

    #[test]
    fn so_they_are_where_only_the_body_varies(
        a in some_json(), b in some_json(), coding in prop_oneof![Just("gzip"), Just("deflate"), Just("identity")],
        code_a in any::<bool>(), code_b in any::<bool>(),
    ) {
        let message = |text: &str, code: bool| {
            let body = match (coding, code) {
                ("gzip", true) => gzip(text.as_bytes()),
                ("deflate", true) => zlib(text.as_bytes()),
                _ => text.as_bytes().to_vec(),
            };
            Message::request("POST", "/", &[("Content-Encoding", coding)], body)
        };
        let (a, b) = (message(&a, code_a), message(&b, code_b));
        prop_assert_eq!(canonical_request(&a, &Applied::none()) == canonical_request(&b, &Applied::none()), requests(&a, &b, &Lens::exact()).is_empty());
    }

    #[test]
    fn no_difference_with_itself(parts in some_parts()) {
        let message = parts.message();
        prop_assert_eq!(requests(&message, &message.clone(), &Lens::exact()), vec![]);
    }
}
