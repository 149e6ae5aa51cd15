//! One message with some of its differences to another taken over, everything else as it was written.

use std::collections::BTreeSet;

use bytes::Bytes;
use regress_cassettes::diff::{self, Difference, Lens};
use regress_protocols::http1::{Chunk, Framing, Line, Message};

use crate::{json_edit, review::covers};

/// `old` with those differences to `new` whose path `take` says yes to; what is noise to `lens` is no difference.
///
/// As little as can be is taken over with a difference: the value itself, else the array that it is in, else the body.
/// `Err` with the paths when those cannot be taken without others (a compressed body, a change of framing, some of what
/// differs in an array whose items came, went or moved); taking every difference always works, in the worst case by
/// taking `new` as it is.
pub fn merge(
    old: &Message,
    new: &Message,
    lens: &Lens<'_>,
    take: impl Fn(&str) -> bool,
) -> Result<Message, Vec<String>> {
    let is_request = old.is_request();
    let compare = |old: &Message, new: &Message| {
        let all = if is_request { diff::requests(old, new, lens) } else { diff::responses(old, new, lens) };
        all.into_iter().filter(Difference::counts)
    };
    let all = compare(old, new);
    let (taken, left): (Vec<Difference>, Vec<Difference>) = all.partition(|d| take(&d.path));
    if taken.is_empty() {
        return Ok(old.clone());
    }
    let is_exact = |merged: &Message| {
        let mut remaining: Vec<String> = compare(merged, new).map(|d| d.path).collect();
        let mut expected: Vec<String> = left.iter().map(|d| d.path.clone()).collect();
        remaining.sort_unstable();
        expected.sort_unstable();
        remaining == expected
    };
    let grains = [Grain::Value, Grain::Array, Grain::Body];
    match grains.into_iter().find_map(|grain| edit(old, new, &taken, grain).filter(is_exact)) {
        Some(merged) => Ok(merged),
        None if left.is_empty() => Ok(new.clone()),
        None => Err(taken.into_iter().map(|d| d.path).collect()),
    }
}

/// How much of a body is taken over at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grain {
    Value,
    Array,
    Body,
}

fn edit(old: &Message, new: &Message, taken: &[Difference], grain: Grain) -> Option<Message> {
    if !old.is_complete() || !new.is_complete() {
        return None;
    }
    let mut merged = old.clone();
    let mut body = BTreeSet::new();
    for Difference { path, .. } in taken {
        match path.split_once('/') {
            None if path == "status" || path == "method" => merged.start = start(old, new, taken),
            Some(("target", _)) => merged.start = start(old, new, taken),
            None if path == "body" => drop(body.insert("")),
            Some(("header", field)) => take_lines(&mut merged.headers, &new.headers, &name(field)),
            Some(("trailer", field)) => match (&mut merged.framing, &new.framing) {
                (Framing::Chunked { trailers: old, .. }, Framing::Chunked { trailers: new, .. }) => {
                    take_lines(old, new, &name(field));
                }
                _ => return None,
            },
            Some(("body", _)) => drop(body.insert(&path["body".len()..])),
            _ => return None,
        }
    }
    if !body.is_empty() {
        let text = take_body(old, new, &body, grain)?;
        if is_encoded(old) || is_encoded(new) {
            take_lines(&mut merged.headers, &new.headers, "content-encoding");
        }
        set_body(&mut merged, text, new);
    }
    Some(merged)
}

fn start(old: &Message, new: &Message, taken: &[Difference]) -> Line {
    if !old.is_request() {
        return new.start.clone();
    }
    let from = |path: &str| if taken.iter().any(|d| covers(path, &d.path)) { new } else { old };
    let version = match old.version() {
        (2, _) => "HTTP/2".to_owned(),
        (major, minor) => format!("HTTP/{major}.{minor}"),
    };
    let (method, target) = (from("method").method().to_owned(), from("target").target().into_owned());
    Line::new(format!("{method} {target} {version}"))
}

/// The name of the field that the path of a difference in it begins with, as JSON Pointers have it.
fn name(field: &str) -> String {
    field.split('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

fn take_body(old: &Message, new: &Message, pointers: &BTreeSet<&str>, grain: Grain) -> Option<Bytes> {
    if pointers.contains("") || grain == Grain::Body {
        return Some(new.body.clone());
    }
    if is_encoded(old) || is_encoded(new) {
        // Only a whole compressed body can be taken; `merge` notices when that takes too much.
        return Some(new.body.clone());
    }
    let (old, new) = (std::str::from_utf8(&old.body).ok()?, std::str::from_utf8(&new.body).ok()?);
    json_edit::take(old, new, pointers, grain == Grain::Array).map(Bytes::from)
}

fn is_encoded(message: &Message) -> bool {
    message.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Make the lines of one field what they are in `new`, where the first of them stood, else at the end.
fn take_lines(lines: &mut Vec<Line>, new: &[Line], name: &str) {
    let mut at = None;
    let mut kept = Vec::with_capacity(lines.len());
    for group in fields(lines) {
        if is_named(&group[0], name) {
            at.get_or_insert(kept.len());
        } else {
            kept.extend_from_slice(group);
        }
    }
    let at = at.unwrap_or(kept.len());
    let taken: Vec<Line> = fields(new).filter(|group| is_named(&group[0], name)).flatten().cloned().collect();
    kept.splice(at..at, taken);
    *lines = kept;
}

/// The lines in groups: a field's line with the folded lines that continue it (RFC 9112 section 5.2).
fn fields(lines: &[Line]) -> impl Iterator<Item = &[Line]> {
    lines.chunk_by(|_, next| next.text().first().is_some_and(|b| matches!(b, b' ' | b'\t')))
}

fn is_named(line: &Line, name: &str) -> bool {
    let text = line.text();
    let end = text.iter().position(|&b| b == b':').unwrap_or(text.len());
    text[..end].trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

/// Give a message another body and make its framing say so.
fn set_body(message: &mut Message, body: Bytes, new: &Message) {
    let length = body.len();
    let is_http2 = message.is_http2();
    message.body = body;
    match &mut message.framing {
        Framing::Close => {}
        Framing::Length => {
            for line in &mut message.headers {
                if is_named(line, "content-length") {
                    let name = String::from_utf8_lossy(&line.text()["content-length".len()..]).into_owned();
                    let space: String = name.chars().take_while(|c| matches!(c, ':' | ' ' | '\t')).collect();
                    let name = String::from_utf8_lossy(&line.text()[.."content-length".len()]).into_owned();
                    *line = Line::new(format!("{name}{space}{length}"));
                }
            }
        }
        Framing::Chunked { chunks, trailers, .. } => {
            chunks.clear();
            if length > 0 {
                chunks.push(Chunk { line: Line::new(format!("{length:x}")), size: length as u64 });
            }
            // In HTTP/2 the last frame or the trailers end it.
            if !is_http2 || (length == 0 && trailers.is_empty()) {
                chunks.push(Chunk { line: Line::new("0"), size: 0 });
            }
        }
        Framing::Empty => {
            message.framing = new.framing.clone();
            take_lines(&mut message.headers, &new.headers, "content-length");
            take_lines(&mut message.headers, &new.headers, "transfer-encoding");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merge(old: &Message, new: &Message, take: impl Fn(&str) -> bool) -> Result<Message, Vec<String>> {
        super::merge(old, new, &Lens::exact(), take)
    }

    #[test]
    fn http2_stays_http2() {
        use regress_protocols::http2;
        let headers = [("content-type", "application/grpc")];
        let request = |path, body: &'static [u8]| http2::request("POST", path, &headers, body);
        let (old, new) = (request("/a.B/C", b"\0\0\0\0\x02\x08\x01"), request("/a.B/D", b"\0\0\0\0\x02\x08\x02"));
        assert_eq!(merge(&old, &new, |_| true).unwrap(), new);
        let only_path = merge(&old, &new, |path| path.starts_with("target")).unwrap();
        assert_eq!((only_path.version(), only_path.target().as_ref(), &only_path.body), ((2, 0), "/a.B/D", &old.body));
        let response = |body: &'static [u8]| http2::response(200, &headers, body, &[("grpc-status", "0")]);
        let (old, new) = (response(b"\0\0\0\0\x02\x08\x01"), response(b"\0\0\0\0\x03\x08\x80\x01"));
        assert_eq!(merge(&old, &new, |_| true).unwrap(), new);
    }

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Message {
        Message::response(status, "Any", headers, body.to_owned())
    }

    fn wire(message: &Message) -> String {
        String::from_utf8(message.wire()).unwrap()
    }

    #[test]
    fn only_what_is_taken_changes() {
        let old = response(200, &[("Date", "then"), ("X-A", "1"), ("X-B", "1")], "{\n  \"a\": 1,\n  \"b\": [1.0]\n}");
        let new = response(201, &[("Date", "now"), ("x-a", "2"), ("X-C", "3")], r#"{"b":[10.0],"a":2}"#);
        let taken = merge(&old, &new, |path| matches!(path, "body/b/0" | "header/x-a")).unwrap();
        assert_eq!(
            wire(&taken),
            "HTTP/1.1 200 Any\r\nDate: then\r\nx-a: 2\r\nX-B: 1\r\nContent-Length: 27\r\n\r\n\
             {\n  \"a\": 1,\n  \"b\": [10.0]\n}"
        );
        let taken = merge(&old, &new, |path| matches!(path, "status" | "header/x-b" | "header/x-c")).unwrap();
        assert_eq!(
            wire(&taken),
            "HTTP/1.1 201 Any\r\nDate: then\r\nX-A: 1\r\nContent-Length: 26\r\nX-C: 3\r\n\r\n\
             {\n  \"a\": 1,\n  \"b\": [1.0]\n}"
        );
        assert_eq!(merge(&old, &new, |_| false).unwrap(), old);
    }

    #[test]
    fn a_request_keeps_what_of_its_line_is_not_taken() {
        let old = Message::request("GET", "/a?x=1", &[("Host", "h"), ("X", "1")], "");
        let new = Message::request("GET", "/a?x=2", &[("Host", "h"), ("X", "2")], "");
        let taken = merge(&old, &new, |path| covers("target", path)).unwrap();
        assert_eq!(wire(&taken), "GET /a?x=2 HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n");
    }

    #[test]
    fn where_items_come_go_or_move_the_array_is_taken_whole() {
        let old = response(200, &[], r#"{ "a": [1, 2, 3], "b": 1 }"#);
        let body = |new: &str, take: &[&str]| {
            let taken = merge(&old, &response(200, &[], new), |path| take.contains(&path));
            taken.map(|taken| String::from_utf8(taken.body.to_vec()).unwrap())
        };
        let inserted = r#"{"a":[0,1,2,3],"b":2}"#;
        assert_eq!(body(inserted, &["body/a/0"]).unwrap(), r#"{ "a": [0,1,2,3], "b": 1 }"#);
        assert_eq!(body(inserted, &["body/b"]).unwrap(), r#"{ "a": [1, 2, 3], "b": 2 }"#);
        assert_eq!(body(r#"{"a":[3,1,2],"b":2}"#, &["body/a/2"]).unwrap(), r#"{ "a": [3,1,2], "b": 1 }"#);
        assert_eq!(body(r#"{"a":[9,2,8],"b":1}"#, &["body/a/2"]).unwrap(), r#"{ "a": [1, 2, 8], "b": 1 }"#);
        let two = r#"{"a":[0,1,2,9],"b":2}"#;
        assert_eq!(body(two, &["body/a/0"]).unwrap_err(), ["body/a/0"], "only with the other one");
        assert_eq!(body(two, &["body/a/0", "body/a/2"]).unwrap(), r#"{ "a": [0,1,2,9], "b": 1 }"#);
    }

    #[test]
    fn what_is_inside_of_a_text_is_taken_with_the_text() {
        let body = |old: &str, new: &str, take: &[&str]| {
            let taken = merge(&response(200, &[], old), &response(200, &[], new), |path| take.contains(&path));
            taken.map(|taken| String::from_utf8(taken.body.to_vec()).unwrap())
        };
        let (old, new) = (r#"{"s":"{\"x\":1,\"y\":1}","b":1}"#, r#"{"s":"{\"x\":2,\"y\":1}","b":2}"#);
        assert_eq!(body(old, new, &["body/s/x"]).unwrap(), r#"{"s":"{\"x\":2,\"y\":1}","b":1}"#);
        let both = r#"{"s":"{\"x\":2,\"y\":2}","b":1}"#;
        assert_eq!(body(old, both, &["body/s/x"]).unwrap_err(), ["body/s/x"]);
        assert_eq!(body("a\nb\nc", "a\nx\nc", &["body/1"]).unwrap(), "a\nx\nc");
        assert_eq!(body("a\nb\nc", "y\nx\nc", &["body/1"]).unwrap_err(), ["body/1"]);
    }

    #[test]
    fn what_is_inside_of_a_field_is_taken_with_its_lines() {
        let response = |cookies: [&str; 2]| response(200, &cookies.map(|cookie| ("Set-Cookie", cookie)), "");
        let (old, one, two) = (response(["a=1", "b=1"]), response(["a=2", "b=1"]), response(["a=2", "b=2"]));
        assert_eq!(merge(&old, &one, |path| path == "header/set-cookie/a/value").unwrap(), one);
        assert!(merge(&old, &two, |path| path == "header/set-cookie/a/value").is_err());
    }

    #[test]
    fn a_chunked_body_is_cut_anew() {
        let mut reader = regress_protocols::http1::ResponseReader::new("GET", Default::default());
        let wire_old =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\nX: t\r\n\r\n";
        let old = reader.feed(wire_old).unwrap().remove(0);
        let new = response(200, &[], r#"{"a":100}"#);
        let taken = merge(&old, &new, |path| path.starts_with("body")).unwrap();
        assert_eq!(
            wire(&taken),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"a\":100}\r\n0\r\nX: t\r\n\r\n"
        );
    }

    #[test]
    fn a_compressed_body_is_taken_whole_or_not_at_all() {
        // `{"a":1,"b":1}` stored uncompressed in a gzip stream would need a compressor; an unknown coding is as opaque.
        let old = response(200, &[("Content-Encoding", "br")], "old bytes");
        let new = response(200, &[("Content-Encoding", "zstd")], "new bytes");
        assert_eq!(diff::responses(&old, &new, &Lens::exact()).len(), 2);
        let taken = merge(&old, &new, |_| true).unwrap();
        assert!(diff::responses(&taken, &new, &Lens::exact()).is_empty());
        assert_eq!(merge(&old, &new, |path| path == "body"), Err(vec!["body".to_owned()]));
    }

    #[test]
    fn a_body_that_appears_brings_its_framing() {
        let old = Message::request("POST", "/", &[("Host", "h")], "");
        let new = Message::request("POST", "/", &[("Host", "h")], "x=1");
        assert_eq!(merge(&old, &new, |_| true).unwrap().wire(), new.wire());
        assert!(diff::requests(&merge(&new, &old, |_| true).unwrap(), &old, &Lens::exact()).is_empty());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-9i64..9).prop_map(Into::into),
            "[a-c/~\"é]{0,3}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-c/~]{0,2}", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_response() -> impl Strategy<Value = Message> {
        let headers =
            prop::collection::vec((prop::sample::select(vec!["X-A", "x-a", "X-B", "Date"]), "[a-z]{0,2}"), 0..4);
        (prop::sample::select(vec![200u16, 201, 404]), headers, any_json(), any::<bool>()).prop_map(
            |(status, headers, body, pretty)| {
                let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let body = if pretty { format!("{body:#}") } else { body.to_string() };
                response(status, &headers, &body)
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_taken_is_gone_and_what_is_not_stays(old in any_response(), new in any_response(), pick in any::<u64>()) {
            let all: Vec<String> = diff::responses(&old, &new, &Lens::exact()).into_iter().map(|d| d.path).collect();
            let taken: BTreeSet<&String> =
                all.iter().enumerate().filter(|(i, _)| pick >> (i % 64) & 1 == 1).map(|(_, path)| path).collect();
            match merge(&old, &new, |path| taken.iter().any(|taken| *taken == path)) {
                Ok(merged) => {
                    let left: Vec<String> = diff::responses(&merged, &new, &Lens::exact()).into_iter().map(|d| d.path).collect();
                    let expected: Vec<String> = all.iter().filter(|path| !taken.contains(path)).cloned().collect();
                    prop_assert_eq!(left, expected);
                }
                // An array's elements cannot come or go without those after them.
                Err(paths) => {
                    let is_element = |path: &String| path.ends_with(|c: char| c.is_ascii_digit());
                    prop_assert!(paths.iter().any(is_element) && paths.len() < all.len(), "{:?}", paths);
                }
            }
            let whole = merge(&old, &new, |_| true).unwrap();
            prop_assert!(diff::responses(&whole, &new, &Lens::exact()).is_empty());
        }
    }
}
