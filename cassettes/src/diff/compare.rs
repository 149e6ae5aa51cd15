//! Whole messages compared, and the canonical form of a request.

use regress_protocols::http1::Message;

use super::{
    body::{self, Body},
    excerpt,
    found::{Difference, Found, Kind},
    headers::{self, Fields, VOLATILE_REQUEST_HEADERS, VOLATILE_RESPONSE_HEADERS},
};

/// Where two requests differ; empty when they ask for the same. At most [`super::MOST_DIFFERENCES`] and one more.
pub fn requests(expected: &Message, actual: &Message) -> Vec<Difference> {
    let mut found = Found::default();
    let (old, new) = (request_line(expected), request_line(actual));
    changed("method", old.method, new.method, &mut found);
    changed("target", old.target, new.target, &mut found);
    rest(expected, actual, VOLATILE_REQUEST_HEADERS, found)
}

/// Where two responses differ; empty when they answer the same. At most [`super::MOST_DIFFERENCES`] and one more.
pub fn responses(expected: &Message, actual: &Message) -> Vec<Difference> {
    let mut found = Found::default();
    let status = |message: &Message| message.status().to_string();
    changed("status", status(expected).as_bytes(), status(actual).as_bytes(), &mut found);
    rest(expected, actual, VOLATILE_RESPONSE_HEADERS, found)
}

/// Bytes that are equal for two requests exactly when [`requests`] finds no difference between them.
pub fn canonical_request(request: &Message) -> Vec<u8> {
    let mut to = Vec::with_capacity(256 + request.body.len());
    let line = request_line(request);
    sized(line.method, &mut to);
    sized(line.target, &mut to);
    section(&headers::headers(request, VOLATILE_REQUEST_HEADERS), &mut to);
    section(&headers::trailers(request), &mut to);
    to.push(if request.is_complete() { b'c' } else { b't' });
    Body::of(request).canonical(&mut to);
    to
}

fn section(fields: &Fields<'_>, to: &mut Vec<u8>) {
    count(fields.len(), to);
    for (name, values) in fields {
        sized(name, to);
        count(values.len(), to);
        values.iter().for_each(|value| sized(value, to));
    }
}

fn sized(bytes: &[u8], to: &mut Vec<u8>) {
    count(bytes.len(), to);
    to.extend_from_slice(bytes);
}

fn count(number: usize, to: &mut Vec<u8>) {
    to.extend_from_slice(&(number as u64).to_be_bytes());
}

/// Everything but the start lines.
fn rest(expected: &Message, actual: &Message, volatile: &[&str], mut found: Found) -> Vec<Difference> {
    if expected.headers != actual.headers {
        let fields = |message| headers::headers(message, volatile);
        headers::compare("header", &fields(expected), &fields(actual), &mut found);
    }
    if expected.framing != actual.framing {
        headers::compare("trailer", &headers::trailers(expected), &headers::trailers(actual), &mut found);
    }
    body::compare(expected, actual, &mut found);
    if expected.is_complete() != actual.is_complete() {
        let told = |message: &Message| {
            let end = if message.is_complete() { "whole" } else { "cut short" };
            Some(format!("{end} after {} bytes", message.body.len()))
        };
        found.note(|| Difference {
            path: "body".to_owned(),
            kind: Kind::Changed,
            expected: told(expected),
            actual: told(actual),
        });
    }
    found.finish()
}

fn changed(path: &str, expected: &[u8], actual: &[u8], found: &mut Found) {
    if expected == actual {
        return;
    }
    let (old, new) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(actual));
    let (expected, actual) = if old == new { excerpt::bytes(expected, actual) } else { excerpt::texts(&old, &new) };
    found.note(|| Difference {
        path: path.to_owned(),
        kind: Kind::Changed,
        expected: Some(expected),
        actual: Some(actual),
    });
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
}

/// Method and target of a request as written, whatever bytes they are (RFC 9112 section 3).
fn request_line(request: &Message) -> RequestLine<'_> {
    let line = request.start.text().trim_ascii();
    let first = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (method, rest) = line.split_at(first);
    let target = match rest.iter().rposition(|byte| *byte == b' ') {
        Some(last) if rest[last + 1..].starts_with(b"HTTP/") => &rest[..last],
        _ => rest,
    };
    RequestLine { method, target: target.trim_ascii() }
}
