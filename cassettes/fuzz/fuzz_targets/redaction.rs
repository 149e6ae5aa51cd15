//! A secret that is known by its place is nowhere in what is left of a request, whatever stands around it in the body, and what
//! was redacted once is redacted. The first byte picks the type of the body, the second where in it the secret stands.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use regress_cassettes::{
    Connection, Content, Ended, Exchange, HttpExchange,
    redact::{Key, Policy, Redactor},
};
use regress_protocols::http1::Message;

const SECRET: &str = "xK7qT2vPz9LmR4wB8nYc";
const TYPES: [&str; 8] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "text/html",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/x-ndjson",
    "application/octet-stream",
];

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    let key = Key::of(b"a key that anybody may know").expect("it is long enough");
    Redactor::new(key, Policy { email: true, ..Policy::default() })
});

fuzz_target!(|input: &[u8]| {
    let [pick, at, around @ ..] = input else { return };
    let (before, after) = around.split_at(usize::from(*at).min(around.len()));
    let body = [before, b" ", SECRET.as_bytes(), b" ", after].concat();
    let authorization = format!("Bearer {SECRET}");
    let headers =
        [("Authorization", authorization.as_str()), ("Content-Type", TYPES[usize::from(*pick) % TYPES.len()])];
    let request = Message::request("POST", "/orders", &headers, body);
    let redacted = REDACTOR.exchange(exchange(request)).into_inside();
    let left = redacted.http().expect("it stays HTTP").request.wire();
    let is_there = left.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!is_there, "{}", String::from_utf8_lossy(&left));
    let again = REDACTOR.exchange(redacted.clone()).into_inside();
    assert_eq!(again, redacted);
});

fn exchange(request: Message) -> Exchange {
    Exchange {
        downstream: None,
        connection: Connection { id: 1, local: None, peer: "127.0.0.1:80".parse().expect("an address"), tls: false },
        at: 0,
        took: None,
        content: Content::Http1(HttpExchange::new(request, None)),
        ended: Ended::Ok,
        cause: None,
        defects: Vec::new(),
    }
}
