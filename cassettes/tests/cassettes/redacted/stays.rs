//! What looks a little like a secret and is none.

use regress_cassettes::Content;
use regress_protocols::{Value, http1::Message, wire::Protocol};

use super::{
    http, of,
    places::{PLACES, value},
    redactor,
};

/// Texts that stay wherever they stand.
const TEXTS: &[&str] = &[
    "9f8b6c1e-5d0a-4c3b-8e2f-0123456789ab",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "2026-11-28T20:41:39.123456Z",
    "1764362499123",
    "1764362499123456789",
    "d41d8cd98f00b204e9800998ecf8427e",
    "2c6a7a3f1d9e4b5c8a7f6e5d4c3b2a1908f7e6d5",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "order-20261128-000123",
    "4006381333931",
    "1234567890123456",
    "0.4111111111111111",
    "+49 170 1234567",
    "192.168.100.200:5432",
    "https://example.org/tokens/list?page=2",
    "https://user@example.org/path",
    "a.b@example.org",
    "The password must have at least eight characters",
    "Enter your password: it is the one that we sent you",
    "basic training for bearers of good news",
    "task-force risk-aware",
    "SELECT 1",
    "dGhl",
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
];

/// Bodies that stay as they are.
const JSON: &[&str] = &[
    r#"{"token_type":"bearer","expires_in":3600,"scope":"read write"}"#,
    r#"{"next_page_token":"CAUQAA==","max_tokens":512,"usage":{"total_tokens":12}}"#,
    r#"{"key":"value","primary_key":"id","sort_key":"name","author":"ann","authority":"x"}"#,
    r#"{"password_changed_at":"2026-11-28","has_password":true,"password":null,"token":"","pin":false}"#,
    r#"{"shipping":"express","compass":"north","secretary":"bob","passenger":{"name":"ann"}}"#,
    r#"{"etag":"\"33a64df551425fcc55e4d42a148795d9f25f89d4\"","sha":"2c6a7a3f1d9e4b5c8a7f6e5d4c3b2a1908f7e6d5"}"#,
    r#"{"id":4111111111111112,"at":1764362499123,"ns":1764362499123456789,"price":4111.11,"zip":"10115"}"#,
    r#"{"password":"********","secret":"[REDACTED]","token":"redacted0123456789abcd"}"#,
];

#[test]
fn ordinary_texts_stay_in_every_place() {
    let cookies = ["a cookie", "a cookie that is set"];
    for text in TEXTS {
        for place in PLACES.iter().filter(|place| !cookies.contains(&place.name)) {
            let before = of(vec![(place.put)(text)]);
            let after = redactor().cassette(before.clone());
            assert_eq!(*after, before, "{text} in {}: {}", place.name, (place.reveal)(&after));
            assert!(after.replaced().is_empty() && after.redacted.is_empty());
        }
    }
}

#[test]
fn ordinary_bodies_stay() {
    for body in JSON {
        let request = Message::request("POST", "/", &[("Content-Type", "application/json")], *body);
        let before = of(vec![Content::Http1(http(request, Message::response(200, "OK", &[], *body)))]);
        let after = redactor().cassette(before.clone());
        assert_eq!(*after, before, "{body}");
    }
}

#[test]
fn ordinary_headers_stay() {
    let headers = [
        ("Host", "shop.example:8080"),
        ("ETag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("If-None-Match", "W/\"0123456789abcdef0123456789abcdef\""),
        ("X-Request-Id", "9f8b6c1e-5d0a-4c3b-8e2f-0123456789ab"),
        ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Idempotency-Key", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("WWW-Authenticate", "Bearer realm=\"shop\", error=\"invalid_token\""),
        ("Cookie", "theme=dark; lang=en; consent=1"),
        ("Set-Cookie", "lang=; Max-Age=0"),
        ("X-RateLimit-Remaining", "4999"),
        ("Content-Security-Policy", "default-src 'self'; script-src 'nonce-abc'"),
    ];
    let request = Message::request("GET", "/orders/4711?page=2&sort=key", &headers, "");
    let before = of(vec![Content::Http1(http(request, Message::response(200, "OK", &headers, "")))]);
    assert_eq!(*redactor().cassette(before.clone()), before);
}

#[test]
fn ordinary_statements_stay() {
    let query = "SELECT id, password_hint, token_type FROM users u JOIN keys k ON u.key = k.id WHERE u.name = $1 AND k.kind = 'public' -- by key";
    let params = Value::List(vec![Value::text("ann")]);
    let redis = Value::map([
        ("command", Value::text("HMGET")),
        ("args", Value::List(["user:1", "password", "token", "name"].map(Value::text).to_vec())),
    ]);
    for request in [
        value(Protocol::Postgres, Value::map([("query", Value::text(query)), ("params", params)])),
        value(
            Protocol::Mysql,
            Value::map([("sql", Value::text("INSERT INTO notes (title, body) VALUES (?, 'password is a word')"))]),
        ),
        value(Protocol::Redis, redis),
    ] {
        let before = of(vec![request]);
        assert_eq!(*redactor().cassette(before.clone()), before);
    }
}
