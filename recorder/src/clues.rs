//! What messages say of who caused them: ids in well-known headers, and values that may be rare. Of both only hashes are
//! kept, never the text.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use regress_protocols::http1::Message;
use serde_json::Value;

use crate::correlate::Clue;

/// Ids of one message beyond these are not looked at.
const MOST_IDS: usize = 16;
/// Values of one message beyond these are not looked at.
const MOST_VALUES: usize = 256;
/// Longer ones are contents, not names.
const LONGEST: usize = 256;
/// Larger bodies are not looked into.
const LARGEST_BODY: usize = 64 << 10;
/// Shorter ids are counters.
const SHORTEST_ID: usize = 8;
/// From this length on a word is a value although it has no digit.
const LONG_WORD: usize = 8;

/// Which clues are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clues {
    headers: Vec<(String, Family)>,
    values: bool,
    /// Drawn anew for each recording and kept nowhere, so that nobody finds out by trial what a clue stands for.
    key: RandomState,
}

/// How a header holds its id. Only ids of one family can be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Family {
    /// A trace id in hexadecimal, as that part of the value between dashes, colons or slashes.
    Trace(usize),
    /// `Root=` among parts that semicolons separate.
    Amazon,
    /// The second part between dashes.
    SkyWalking,
    /// The whole value; only the same header can have the same.
    Own,
}

/// Headers that carry an id from request to request.
const KNOWN: [(&str, Family); 10] = [
    ("traceparent", Family::Trace(1)),
    ("b3", Family::Trace(0)),
    ("x-b3-traceid", Family::Trace(0)),
    ("uber-trace-id", Family::Trace(0)),
    ("x-cloud-trace-context", Family::Trace(0)),
    ("x-datadog-trace-id", Family::Own),
    ("x-amzn-trace-id", Family::Amazon),
    ("sw8", Family::SkyWalking),
    ("x-request-id", Family::Own),
    ("x-correlation-id", Family::Own),
];

impl Clues {
    /// Ids in the well-known headers and in these, where they are wanted; values, where they are.
    pub(crate) fn new(ids: bool, headers: &[String], values: bool) -> Clues {
        let mut wanted: Vec<(String, Family)> = Vec::new();
        if ids {
            wanted.extend(KNOWN.map(|(name, family)| (name.to_owned(), family)));
            wanted.extend(headers.iter().map(|name| (name.to_ascii_lowercase(), Family::Own)));
        }
        Clues { headers: wanted, values, key: RandomState::new() }
    }

    /// Whether anything is looked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.values || !self.headers.is_empty()
    }

    /// The ids in the head of a request.
    pub(crate) fn ids(&self, request: &Message) -> Vec<Clue> {
        let mut ids = Vec::new();
        for (name, value) in request.fields() {
            let Some((header, family)) =
                self.headers.iter().find(|(header, _)| name.eq_ignore_ascii_case(header.as_bytes()))
            else {
                continue;
            };
            let Some(id) = std::str::from_utf8(value).ok().and_then(|value| family.id(value)) else { continue };
            let space = if matches!(family, Family::Trace(_)) { "trace" } else { header };
            let clue = self.key.hash_one((space, id));
            if ids.len() < MOST_IDS && !ids.contains(&clue) {
                ids.push(clue);
            }
        }
        ids
    }

    /// The values in the path, the query and the body of a request.
    pub(crate) fn values(&self, request: &Message) -> Vec<Clue> {
        let mut values = Values::new(&self.key);
        if self.values {
            request.path().split('/').for_each(|segment| values.add(segment));
            let query = request.query().unwrap_or_default();
            query.split('&').for_each(|pair| values.add(pair.split_once('=').map_or(pair, |(_, value)| value)));
            values.add_body(request);
        }
        values.found
    }

    /// The values in the body of a response.
    pub(crate) fn values_of_response(&self, response: &Message) -> Vec<Clue> {
        let mut values = Values::new(&self.key);
        if self.values {
            values.add_body(response);
        }
        values.found
    }
}

impl Family {
    /// The id in such a header, where it is one that tells requests apart.
    fn id<'v>(&self, value: &'v str) -> Option<Cow<'v, str>> {
        let value = value.trim();
        let id = match self {
            Family::Trace(part) => {
                let id = value.split(['-', ':', '/']).nth(*part)?;
                // The same in 64 bits and in 128, of which the upper half is zero.
                let id = id.trim_start_matches('0').to_ascii_lowercase();
                id.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(Cow::Owned(id))?
            }
            Family::Amazon => Cow::Borrowed(value.split(';').find_map(|part| part.trim().strip_prefix("Root="))?),
            Family::SkyWalking => Cow::Borrowed(value.split('-').nth(1)?),
            Family::Own => Cow::Borrowed(value),
        };
        is_telling(&id).then_some(id)
    }
}

/// Not what stands where there is none: nothing, zeros, or a word such as `undefined`.
fn is_telling(id: &str) -> bool {
    let is_word = id.bytes().all(|byte| !byte.is_ascii_digit() && byte != b'=');
    let is_zero = id.bytes().all(|byte| matches!(byte, b'0' | b'-'));
    (SHORTEST_ID..=LONGEST).contains(&id.len()) && !is_zero && !is_word
}

struct Values<'k> {
    found: Vec<Clue>,
    key: &'k RandomState,
}

impl Values<'_> {
    fn new(key: &RandomState) -> Values<'_> {
        Values { found: Vec::new(), key }
    }

    fn add(&mut self, value: &str) {
        let is_value = value.len() >= LONG_WORD || value.bytes().any(|byte| byte.is_ascii_digit());
        if !is_value || value.len() > LONGEST || self.found.len() >= MOST_VALUES {
            return;
        }
        let clue = self.key.hash_one(value);
        if !self.found.contains(&clue) {
            self.found.push(clue);
        }
    }

    /// The scalars of a body that is JSON.
    fn add_body(&mut self, message: &Message) {
        let body = &message.body;
        if body.len() > LARGEST_BODY || !matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
            return;
        }
        // Whatever is nested too deeply is refused.
        if let Ok(value) = serde_json::from_slice(body) {
            self.add_scalars(&value);
        }
    }

    fn add_scalars(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Number(number) => self.add(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.add_scalars(item)),
            Value::Object(members) => members.values().for_each(|member| self.add_scalars(member)),
            Value::Null | Value::Bool(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn request(headers: &[(&str, &str)]) -> Message {
        Message::request("GET", "/", headers, "")
    }

    fn ids(headers: &[(&str, &str)]) -> Vec<Clue> {
        static OF_ONE_RECORDING: LazyLock<Clues> =
            LazyLock::new(|| Clues::new(true, &["X-Order-Key".to_owned()], false));
        OF_ONE_RECORDING.ids(&request(headers))
    }

    #[test]
    fn what_a_clue_stands_for_is_known_to_its_recording_alone() {
        let headers = [("x-request-id", "request-1")];
        let [one, other] = [(); 2].map(|()| Clues::new(true, &[], false).ids(&request(&headers)));
        assert!(one.len() == 1 && one != other);
    }

    #[test]
    fn one_trace_is_one_id_in_whatever_header_it_stands() {
        let known = ids(&[("TraceParent", &format!("00-{TRACE}-00f067aa0ba902b7-01"))]);
        assert_eq!(known.len(), 1);
        assert_eq!(known, ids(&[("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-00"))]), "another span");
        assert_eq!(known, ids(&[("b3", &format!("{TRACE}-e457b5a2e4d86bd1-1"))]));
        assert_eq!(known, ids(&[("X-B3-TraceId", &TRACE.to_uppercase())]));
        assert_eq!(known, ids(&[("uber-trace-id", &format!("{TRACE}:1:0:1"))]));
        assert_eq!(known, ids(&[("x-cloud-trace-context", &format!("{TRACE}/1;o=1"))]));
        assert_eq!(ids(&[("b3", "a3ce929d0e0e4736-1-1")]), ids(&[("b3", "0000000000000000a3ce929d0e0e4736-1-1")]));
    }

    #[test]
    fn ids_of_other_headers_are_never_the_same() {
        let headers = ["x-request-id", "x-correlation-id", "x-b3-traceid", "x-order-key", "x-datadog-trace-id"];
        let all: Vec<Clue> = headers.iter().flat_map(|name| ids(&[(name, TRACE)])).collect();
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), headers.len());
        assert_eq!(ids(&[("x-amzn-trace-id", "Root=1-5759e988-bd862e3f;Parent=53995c3f;Sampled=1")]).len(), 1);
        assert_eq!(
            ids(&[("sw8", "1-MTIzNDU2Nzg=-MTIz-3-c2Vydg==-aQ==-cGF0aA==-YWRkcg==")]),
            ids(&[("sw8", "0-MTIzNDU2Nzg=-NDU2-4-b3RoZXI=-aQ==-cGF0aA==-YWRkcg==")])
        );
    }

    #[test]
    fn what_stands_where_there_is_no_id_is_none() {
        for value in ["", "-", "0", "00000000-0000-0000-0000-000000000000", "1234567", "undefined", "[object Object]"] {
            assert!(ids(&[("x-request-id", value)]).is_empty(), "{value:?}");
        }
        for value in ["", "00", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-not hexadecimal 1-2-3"] {
            assert!(ids(&[("traceparent", value)]).is_empty(), "{value:?}");
        }
        assert!(ids(&[("b3", "0"), ("x-amzn-trace-id", "Self=1-67891234"), ("sw8", "1"), ("host", TRACE)]).is_empty());
        let unwanted = Clues::new(false, &["x-order-key".to_owned()], false);
        assert!(unwanted.ids(&request(&[("x-order-key", TRACE)])).is_empty());
    }

    #[test]
    fn values_are_what_may_tell_one_request_from_another() {
        let clues = Clues::new(true, &[], true);
        let of = |target: &str, body: &str| clues.values(&Message::request("POST", target, &[], body.to_owned()));
        assert!(of("/api/orders", r#"{"a":true,"b":"short"}"#).is_empty());
        let path = of("/orders/17?key=blue%20moon&page=first", "");
        assert_eq!(path.len(), 2);
        let body = of("/orders", r#" {"order":{"id":17},"keys":["blue%20moon"]}"#);
        assert_eq!(body, path, "wherever they stand");
        let long = format!("[{}]", (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        assert_eq!(of("/", &long).len(), MOST_VALUES);
        assert!(of("/", &format!("[1,\"{}\"]", "x".repeat(LARGEST_BODY))).is_empty());
        assert!(Clues::new(true, &[], false).values(&Message::request("GET", "/orders/17", &[], "")).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read(name in 0..KNOWN.len(), value in "[ -~]{0,80}", target in "/[ -~]{0,40}", body in "[\\[{][ -~]{0,80}") {
            let clues = Clues::new(true, &[], true);
            let mut request = request(&[(KNOWN[name].0, &value)]);
            request.start = regress_protocols::http1::Line::new(format!("GET {target} HTTP/1.1"));
            request.body = body.into_bytes().into();
            prop_assert!(clues.ids(&request).len() <= 1);
            prop_assert!(clues.values(&request).len() <= MOST_VALUES);
            prop_assert!(clues.values_of_response(&request).len() <= MOST_VALUES);
        }
    }
}
