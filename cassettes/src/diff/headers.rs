//! Header and trailer fields: which of them count, and where two messages differ in them.

use std::{borrow::Cow, collections::BTreeMap};

use regress_protocols::http1::{Framing, Line, Message};

use super::{
    excerpt,
    found::{Difference, Found, Kind},
};

/// Request headers that are not compared: they describe the connection, the way the body was framed, the client
/// program, or a trace. A name that ends in `*` stands for every name that begins so. `host` is among them because
/// the downstream that a request is for is judged by itself.
pub const VOLATILE_REQUEST_HEADERS: &[&str] = &[
    "accept-encoding",
    "b3",
    "baggage",
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "uber-trace-id",
    "user-agent",
    "x-amzn-trace-id",
    "x-b3-*",
];

/// Response headers that are not compared: they describe the connection, the way the body was framed, or the time.
pub const VOLATILE_RESPONSE_HEADERS: &[&str] =
    &["connection", "content-length", "date", "keep-alive", "transfer-encoding"];

/// Whether the field `name` (in any case) is one of `list`.
pub fn is_volatile(list: &[&str], name: &[u8]) -> bool {
    list.iter().any(|listed| match listed.strip_suffix('*') {
        Some(prefix) => name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
        None => name.eq_ignore_ascii_case(listed.as_bytes()),
    })
}

/// The fields of one section: lower-case name to values, repeats in order.
pub(super) type Fields<'a> = BTreeMap<Vec<u8>, Vec<&'a [u8]>>;

/// The header fields of a message without those in `volatile`.
pub(super) fn headers<'a>(message: &'a Message, volatile: &[&str]) -> Fields<'a> {
    group(message.fields().filter(|(name, _)| !is_volatile(volatile, name)))
}

/// The trailer fields of a message.
pub(super) fn trailers(message: &Message) -> Fields<'_> {
    match &message.framing {
        Framing::Chunked { trailers, .. } => group(trailers.iter().map(split)),
        Framing::Empty | Framing::Length | Framing::Close => Fields::new(),
    }
}

fn group<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Fields<'a> {
    let mut grouped = Fields::new();
    for (name, value) in fields {
        grouped.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    grouped
}

/// Name and trimmed value of a trailer line; a line without a colon is all name.
fn split(line: &Line) -> (&[u8], &[u8]) {
    let text = line.text();
    let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    (text[..colon].trim_ascii(), text.get(colon + 1..).unwrap_or_default().trim_ascii())
}

/// Notes where two sections differ; `section` begins the paths.
pub(super) fn compare(section: &str, expected: &Fields<'_>, actual: &Fields<'_>, found: &mut Found) {
    let path = |name: &[u8]| format!("{section}/{}", String::from_utf8_lossy(name));
    for (name, values) in expected {
        let others = actual.get(name).map_or(&[][..], Vec::as_slice);
        compare_values(&|| path(name), values, others, found);
    }
    for (name, values) in actual.iter().filter(|(name, _)| !expected.contains_key(*name)) {
        compare_values(&|| path(name), &[], values, found);
    }
}

/// Compares the values of one name: what is equal at both ends is left out, what remains is paired in order.
fn compare_values(path: &dyn Fn() -> String, expected: &[&[u8]], actual: &[&[u8]], found: &mut Found) {
    let (expected, actual) = without_common_ends(expected, actual);
    for index in 0..expected.len().max(actual.len()) {
        let (expected, actual) = (expected.get(index).copied(), actual.get(index).copied());
        if expected == actual {
            continue;
        }
        found.note(|| match (expected, actual) {
            (Some(expected), Some(actual)) => {
                let (expected, actual) = shown(expected, actual);
                Difference { path: path(), kind: Kind::Changed, expected: Some(expected), actual: Some(actual) }
            }
            _ => Difference {
                path: path(),
                kind: if expected.is_some() { Kind::Removed } else { Kind::Added },
                expected: expected.map(excerpt::any),
                actual: actual.map(excerpt::any),
            },
        });
    }
}

fn without_common_ends<'s, 'a>(mut a: &'s [&'a [u8]], mut b: &'s [&'a [u8]]) -> (&'s [&'a [u8]], &'s [&'a [u8]]) {
    while let ([first, rest @ ..], [other, others @ ..]) = (a, b)
        && first == other
    {
        (a, b) = (rest, others);
    }
    while let ([rest @ .., last], [others @ .., other]) = (a, b)
        && last == other
    {
        (a, b) = (rest, others);
    }
    (a, b)
}

/// Two values that differ, for reading.
fn shown(expected: &[u8], actual: &[u8]) -> (String, String) {
    match (String::from_utf8_lossy(expected), String::from_utf8_lossy(actual)) {
        (Cow::Borrowed(expected), Cow::Borrowed(actual)) => excerpt::texts(expected, actual),
        _ => excerpt::bytes(expected, actual),
    }
}
