//! What was said, side by side: the messages of an entry that is not the same, in bounded space, for reading.

use std::fmt::Write;

use regress_cassettes::{
    Cassette, Exchange, Turn,
    diff::{Applied, decoded_body, decoded_messages},
    shown,
};
use regress_mockserver::mock::{Attempted, Call};
use regress_protocols::{self as protocols, Request, http1::Message};

use crate::{judge::Seen, pairing::Pairing, rules::EntryRules};

/// The most bytes kept of one body.
const MOST_BODY: usize = 32 << 10;

/// The most bytes kept of one head.
const MOST_HEAD: usize = 8 << 10;

/// The most bytes shown of a body that is no text.
const MOST_BINARY: usize = 512;

/// What stands above bytes of no recognised protocol.
const UNRECOGNISED: &str = "bytes of no recognised protocol";

/// The most messages kept of one entry.
const MOST_SIDES: usize = 16;

/// One message as recorded and as replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// The path above its fields: `response`, `downstream/2/request`.
    pub path: String,
    /// As recorded; `None` = it was not.
    pub expected: Option<Side>,
    /// As replayed; `None` = it did not come.
    pub actual: Option<Side>,
}

/// A message for reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Start line and headers, one a line.
    pub head: String,
    /// The body, its content coding removed; messages of Protocol Buffers as JSON, in hexadecimal what is no text.
    pub body: String,
    /// How many bytes of head and body are not shown.
    pub left_out: usize,
}

impl Sides {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let side = |side: &Option<Side>| side.as_ref().map_or(0, |side| side.head.len() + side.body.len());
        side(&self.expected) + side(&self.actual)
    }
}

/// The response, and the request of each call that was not made as recorded.
pub(crate) fn sides(cassette: &Cassette, seen: &Seen, pairing: &Pairing, rules: &EntryRules<'_>) -> Vec<Sides> {
    let came = match seen {
        Seen::Response(message) => Some(message),
        Seen::Nothing { part, .. } => part.as_ref(),
    };
    let recorded = cassette.entry.as_ref().and_then(Exchange::http).and_then(|http| http.response.as_ref());
    let answer = rules.response().rules;
    let answered = |message: Option<&Message>| message.map(|message| side(message, &answer));
    let mut all = vec![Sides { path: "response".to_owned(), expected: answered(recorded), actual: answered(came) }];
    let recorded = |number: usize| cassette.downstream.get(number).and_then(|exchange| said(exchange, rules));
    let came_in = |call| came_in(call, rules);
    let path = |number: usize| format!("downstream/{number}/request");
    let changed =
        pairing.changed.iter().map(|changed| (changed.number, recorded(changed.number), came_in(changed.call)));
    let omitted = pairing.omitted.iter().map(|&number| (number, recorded(number), None));
    let novel = pairing.novel.iter().enumerate();
    let novel = novel.map(|(index, call)| (cassette.downstream.len() + index, None, came_in(call)));
    let calls = changed.chain(omitted).chain(novel).take(MOST_SIDES);
    all.extend(calls.map(|(number, expected, actual)| Sides { path: path(number), expected, actual }));
    all
}

/// What a recorded exchange asked.
fn said(exchange: &Exchange, rules: &EntryRules<'_>) -> Option<Side> {
    let turns = |turns: &[Turn]| {
        let mut body = String::new();
        for turn in turns {
            let who = if turn.from == protocols::Side::Client { "client" } else { "server" };
            let _ = writeln!(body, "{who}: {}", turn.bytes.escape_ascii());
            if body.len() > MOST_BODY {
                break;
            }
        }
        cut(UNRECOGNISED.to_owned(), body.as_bytes())
    };
    exchange.request().map(|request| asked(request, rules)).or_else(|| exchange.conversation().map(turns))
}

/// What a call asked.
fn came_in(call: &Call, rules: &EntryRules<'_>) -> Option<Side> {
    match &call.what {
        Attempted::Opaque(first) => {
            Some(cut(UNRECOGNISED.to_owned(), format!("client: {}\n", first.escape_ascii()).as_bytes()))
        }
        what => what.request().map(|request| asked(request, rules)),
    }
}

fn asked(request: Request<'_>, rules: &EntryRules<'_>) -> Side {
    match request {
        Request::Http(message) => side(message, &rules.schema(request)),
        Request::Wire(_, value) => cut(request.line(), shown(value).as_bytes()),
    }
}

fn side(message: &Message, applied: &Applied) -> Side {
    let mut head = String::from_utf8_lossy(message.start.text()).into_owned();
    for line in &message.headers {
        head.push('\n');
        head += &String::from_utf8_lossy(line.text());
    }
    match decoded_messages(message, applied) {
        Some(messages) => cut(head, messages.as_bytes()),
        None => cut(head, &decoded_body(message)),
    }
}

/// Both in bounded space.
fn cut(mut head: String, content: &[u8]) -> Side {
    let (body, shown) = match std::str::from_utf8(content) {
        Ok(text) => {
            let end = text.floor_char_boundary(MOST_BODY);
            (text[..end].to_owned(), end)
        }
        Err(_) => binary(content),
    };
    let end = head.floor_char_boundary(MOST_HEAD);
    let left_out = head.len() - end + content.len() - shown;
    head.truncate(end);
    Side { head, body, left_out }
}

/// Sixteen bytes a line, and how many of them are shown.
fn binary(bytes: &[u8]) -> (String, usize) {
    let shown = &bytes[..bytes.len().min(MOST_BINARY)];
    let mut out = String::new();
    for (number, line) in shown.chunks(16).enumerate() {
        let _ = write!(out, "{:06x} ", number * 16);
        for byte in line {
            let _ = write!(out, " {byte:02x}");
        }
        out.push('\n');
    }
    (out, shown.len())
}

#[cfg(test)]
mod tests {
    use regress_cassettes::diff::Rules;
    use regress_mockserver::mock::Attempted;

    use super::*;
    use crate::testing::{cassette, created, hit, miss, reserve, unanswered};

    #[test]
    fn the_response_and_each_call_that_differs_have_two_sides() {
        let cassette = cassette();
        let journal = [
            miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(3)), unanswered()),
            miss("audit", "10.0.0.10:80", Attempted::Name("db".to_owned()), unanswered()),
        ];
        let rules = Rules::default();
        let rules = EntryRules::of(&rules, &cassette);
        let pairing = Pairing::of(&cassette, &journal, &rules);
        let all = sides(&cassette, &Seen::Response(created("13")), &pairing, &rules);
        let shape: Vec<_> =
            all.iter().map(|one| (one.path.as_str(), one.expected.is_some(), one.actual.is_some())).collect();
        assert_eq!(
            shape,
            [
                ("response", true, true),
                ("downstream/0/request", true, true),
                ("downstream/1/request", true, false),
                ("downstream/2/request", false, false),
            ]
        );
        assert_eq!(all[0].actual.as_ref().unwrap().body, r#"{"id": 7, "total": 13}"#);
        assert!(all[1].actual.as_ref().unwrap().head.starts_with("POST /reserve HTTP/1.1\nHost: inventory"));
        let hits = [hit(&cassette, 0), hit(&cassette, 1)];
        let pairing = Pairing::of(&cassette, &hits, &rules);
        let same = sides(&cassette, &Seen::Response(created("13")), &pairing, &rules);
        assert_eq!(same.len(), 1);
    }

    #[test]
    fn what_is_long_or_no_text_is_cut() {
        let long = side(&Message::response(200, "OK", &[], "é".repeat(MOST_BODY)), &Applied::none());
        assert_eq!((long.body.len(), long.left_out), (MOST_BODY, MOST_BODY));
        let binary = side(&Message::response(200, "OK", &[], vec![0xff; 600]), &Applied::none());
        assert!(binary.body.starts_with("000000  ff ff"), "{}", binary.body);
        assert_eq!(binary.left_out, 600 - MOST_BINARY);
    }
}
