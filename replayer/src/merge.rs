//! One message with some of its differences to another taken over, everything else as it was written.

use std::collections::BTreeMap;

use bytes::Bytes;
use regress_cassettes::diff::{
    self, Difference, Lens,
    edit::{self, Grain, Places, Typed},
};
use regress_protocols::http1::{Chunk, Framing, Line, Message};

use crate::stream::Ends;

/// Differences that cannot be taken without others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together {
    /// Their paths.
    pub taken: Vec<String>,
    /// The paths of what else differs in the same body, header or target.
    pub with: Vec<String>,
}

impl Together {
    /// What was to be taken and what was to be left, by their paths.
    pub(crate) fn of(taken: Vec<String>, left: &[String]) -> Together {
        let place = |path: &str| {
            let steps = if path.starts_with("header/") || path.starts_with("trailer/") { 2 } else { 1 };
            path.split('/').take(steps).collect::<Vec<_>>().join("/")
        };
        let is_beside = |left: &&String| taken.iter().any(|taken| place(taken) == place(left));
        let with = left.iter().filter(is_beside).cloned().collect();
        Together { taken, with }
    }
}

/// `old` with those differences to `new` whose path `take` says yes to; what is noise to `lens` is no difference.
///
/// As little as can be is taken over with a difference: the value itself, else the text or the array that it is in, else the
/// body or the lines of the header. `Err` when some cannot be taken without others (a compressed body, a change of framing, some of
/// what differs in an array whose items came, went or moved); taking every difference always works, in the worst case by
/// taking `new` as it is.
pub fn merge(old: &Message, new: &Message, lens: &Lens<'_>, take: impl Fn(&str) -> bool) -> Result<Message, Together> {
    let is_request = old.is_request();
    let compare = |old: &Message, new: &Message| {
        let all = if is_request { diff::requests(old, new, lens) } else { diff::responses(old, new, lens) };
        all.into_iter().filter(Difference::counts).map(|difference| difference.path)
    };
    let (taken, mut left): (Vec<String>, Vec<String>) = compare(old, new).partition(|path| take(path));
    if taken.is_empty() {
        return Ok(old.clone());
    }
    left.sort_unstable();
    let is_exact = |merged: &Message| {
        let mut remaining: Vec<String> = compare(merged, new).collect();
        remaining.sort_unstable();
        remaining == left
    };
    let grains = [Some(Grain::Value), Some(Grain::Text), Some(Grain::Array), None];
    match grains.into_iter().find_map(|grain| edited(old, new, &taken, grain).filter(is_exact)) {
        Some(merged) => Ok(merged),
        None if left.is_empty() => Ok(new.clone()),
        None => Err(Together::of(taken, &left)),
    }
}

/// `old` with what is taken, of its body as little as the grain says; `None` = the body whole.
fn edited(old: &Message, new: &Message, taken: &[String], grain: Option<Grain>) -> Option<Message> {
    if !old.is_complete() || !new.is_complete() {
        return None;
    }
    let mut merged = old.clone();
    let (mut body, mut target) = (Vec::new(), Vec::new());
    let mut fields: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for path in taken {
        match path.split_once('/') {
            None if path == "status" => merged.start = new.start.clone(),
            None if path == "method" => {}
            None if path == "body" => body.push(""),
            Some(("target", _)) => target.push(&path["target".len()..]),
            Some((section @ ("header" | "trailer"), field)) => {
                let length = field.find('/').unwrap_or(field.len());
                let name = field[..length].replace("~1", "/").replace("~0", "~");
                fields.entry((section, name)).or_default().push(&field[length..]);
            }
            Some(("body", _)) => body.push(&path["body".len()..]),
            _ => return None,
        }
    }
    for ((section, name), pointers) in fields {
        let places = if grain == Some(Grain::Value) { Places::new(pointers) } else { Places::new([""]) };
        match (section, &mut merged.framing, &new.framing) {
            ("header", _, _) => take_field(&mut merged.headers, &new.headers, &name, &places),
            (_, Framing::Chunked { trailers: old, .. }, Framing::Chunked { trailers: new, .. }) => {
                take_field(old, new, &name, &places);
            }
            _ => return None,
        }
    }
    if old.is_request() && (!target.is_empty() || taken.iter().any(|path| path == "method")) {
        let method = if taken.iter().any(|path| path == "method") { new.method() } else { old.method() };
        let target = match grain {
            _ if target.is_empty() => old.target().into_owned(),
            Some(Grain::Value) => edit::target(&old.target(), &new.target(), &Places::new(target))?,
            _ => new.target().into_owned(),
        };
        let version = match old.version() {
            (2, _) => "HTTP/2".to_owned(),
            (major, minor) => format!("HTTP/{major}.{minor}"),
        };
        merged.start = Line::new(format!("{method} {target} {version}"));
    }
    if !body.is_empty() {
        let text = take_body(old, new, &Places::new(body), grain)?;
        if is_encoded(old) || is_encoded(new) {
            take_lines(&mut merged.headers, &new.headers, "content-encoding");
        }
        set_body(&mut merged, text, new);
    }
    Some(merged)
}

fn take_body(old: &Message, new: &Message, places: &Places, grain: Option<Grain>) -> Option<Bytes> {
    let Some(grain) = grain.filter(|_| !places.are_whole()) else { return Some(new.body.clone()) };
    if is_encoded(old) || is_encoded(new) {
        // Only a whole compressed body can be taken; `merge` notices when that takes too much.
        return Some(new.body.clone());
    }
    let (old_type, new_type) = (old.header_text("content-type"), new.header_text("content-type"));
    let old = Typed { content: &old.body, media_type: old_type.as_deref() };
    let new = Typed { content: &new.body, media_type: new_type.as_deref() };
    edit::body(old, new, places, grain).map(Bytes::from)
}

fn is_encoded(message: &Message) -> bool {
    message.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Put what is at these places of one field into its lines, else take the lines whole.
fn take_field(lines: &mut Vec<Line>, new: &[Line], name: &str, places: &Places) {
    let edited = if places.are_whole() { None } else { edited_field(lines, new, name, places) };
    take_lines(lines, edited.as_deref().unwrap_or(new), name);
}

/// The lines of one field with what is at these places of it; `None` where it cannot be put into them.
fn edited_field(lines: &[Line], new: &[Line], name: &str, places: &Places) -> Option<Vec<Line>> {
    fn of<'l>(lines: &'l [Line], name: &str) -> Option<Vec<&'l Line>> {
        let groups = fields(lines).filter(|group| is_named(&group[0], name));
        groups.map(|group| if let [line] = group { Some(line) } else { None }).collect()
    }
    fn split(line: &Line) -> (&[u8], &[u8]) {
        let text = line.text();
        let colon = text.iter().position(|byte| *byte == b':').map_or(text.len(), |colon| colon + 1);
        let value = text[colon..].trim_ascii_start();
        (&text[..text.len() - value.len()], value.trim_ascii_end())
    }
    fn values<'l>(lines: &[&'l Line]) -> Vec<&'l [u8]> {
        lines.iter().map(|line| split(line).1).collect()
    }
    let (olds, news) = (of(lines, name)?, of(new, name)?);
    let (label, _) = split(olds.first()?);
    let line = |value: Vec<u8>| match olds.iter().find(|line| split(line).1 == value) {
        Some(line) => (*line).clone(),
        None => Line::new([label, &value].concat()),
    };
    Some(edit::field(name, &values(&olds), &values(&news), places)?.into_iter().map(line).collect())
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

/// Give a message another body and make its framing say so. Chunks of a stream of events end with the events they ended with,
/// as long as there are as many; else the body is one chunk.
pub(crate) fn set_body(message: &mut Message, body: Bytes, new: &Message) {
    let before = message.clone();
    message.body = body;
    let length = message.body.len();
    let is_http2 = message.is_http2();
    let ends = Ends::of(&before, message);
    match &mut message.framing {
        Framing::Close => {}
        Framing::Length => set_length(&mut message.headers, length),
        Framing::Chunked { chunks, trailers, .. } => {
            let mut at = 0;
            let mut cuts: Vec<u64> = chunks
                .iter()
                .filter_map(|chunk| {
                    at += chunk.size;
                    ends.as_ref()?.carried(at)
                })
                .filter(|cut| *cut < length as u64)
                .collect();
            cuts.dedup();
            *chunks = cut(&cuts, length as u64, is_http2, trailers.is_empty());
        }
        Framing::Empty => {
            message.framing = new.framing.clone();
            take_lines(&mut message.headers, &new.headers, "content-length");
            take_lines(&mut message.headers, &new.headers, "transfer-encoding");
        }
    }
}

/// Give a message the framing of one that says its length, else make it one chunk.
pub(crate) fn in_one_piece(message: &mut Message, new: &Message) {
    let length = message.body.len();
    if new.header("content-length").is_some() {
        take_lines(&mut message.headers, &new.headers, "content-length");
        set_length(&mut message.headers, length);
    }
    if new.framing == Framing::Length {
        take_lines(&mut message.headers, &new.headers, "transfer-encoding");
        message.framing = Framing::Length;
    }
    let is_http2 = message.is_http2();
    if let Framing::Chunked { chunks, trailers, .. } = &mut message.framing {
        *chunks = cut(&[], length as u64, is_http2, trailers.is_empty());
    }
}

/// The chunks of a body of that length that is cut at these places.
fn cut(at: &[u64], length: u64, is_http2: bool, ends_alone: bool) -> Vec<Chunk> {
    let chunk = |size: u64| Chunk { line: Line::new(format!("{size:x}")), size };
    let starts = std::iter::once(0).chain(at.iter().copied());
    let ends = at.iter().copied().chain([length]);
    let mut chunks: Vec<Chunk> =
        starts.zip(ends).map(|(start, end)| end - start).filter(|size| *size > 0).map(chunk).collect();
    // In HTTP/2 the last frame or the trailers end it.
    if !is_http2 || (length == 0 && ends_alone) {
        chunks.push(chunk(0));
    }
    chunks
}

/// Say the length of the body in the header, in the spelling that it has there.
fn set_length(headers: &mut [Line], length: usize) {
    const NAME: &str = "content-length";
    for line in headers.iter_mut().filter(|line| is_named(line, NAME)) {
        let (name, rest) = line.text().split_at(NAME.len());
        let (name, rest) = (String::from_utf8_lossy(name), String::from_utf8_lossy(rest));
        let space: String = rest.chars().take_while(|c| matches!(c, ':' | ' ' | '\t')).collect();
        *line = Line::new(format!("{name}{space}{length}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::review::covers;

    fn merge(old: &Message, new: &Message, take: impl Fn(&str) -> bool) -> Result<Message, Vec<String>> {
        super::merge(old, new, &Lens::exact(), take).map_err(|together| together.taken)
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
        let old = Message::request("GET", "/a/7?x=1&y=%2F&z=1", &[], "");
        let new = Message::request("PUT", "/b/8?x=2&z=2&z=3&new", &[], "");
        for (take, target) in [
            ("target/path/2", "GET /a/8?x=1&y=%2F&z=1"),
            ("target/query/x", "GET /a/7?x=2&y=%2F&z=1"),
            ("target/query/y", "GET /a/7?x=1&z=1"),
            ("target/query/new", "GET /a/7?x=1&y=%2F&z=1&new"),
            ("target/query/z", "GET /a/7?x=1&y=%2F&z=2&z=3"),
            ("method", "PUT /a/7?x=1&y=%2F&z=1"),
        ] {
            let taken = merge(&old, &new, |path| path == take).unwrap();
            assert_eq!(String::from_utf8_lossy(taken.start.text()), format!("{target} HTTP/1.1"), "{take}");
        }
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
    fn what_is_inside_of_a_text_is_put_into_it() {
        let body = |old: &str, new: &str, take: &[&str]| {
            let taken = merge(&response(200, &[], old), &response(200, &[], new), |path| take.contains(&path));
            taken.map(|taken| String::from_utf8(taken.body.to_vec()).unwrap())
        };
        let (old, new) = (r#"{"s":"{\"x\": 1,\"y\":1}","b":1}"#, r#"{"s":"{\"x\":2,\"y\":1}","b":2}"#);
        assert_eq!(body(old, new, &["body/s/x"]).unwrap(), r#"{"s":"{\"x\": 2,\"y\":1}","b":1}"#);
        let both = r#"{"s":"{\"x\":2,\"y\":2}","b":1}"#;
        assert_eq!(body(old, both, &["body/s/x"]).unwrap(), r#"{"s":"{\"x\": 2,\"y\":1}","b":1}"#);
        assert_eq!(body("a\nb\nc", "a\nx\nc", &["body/1"]).unwrap(), "a\nx\nc");
        assert_eq!(body("a\nb\nc", "y\nx\nc", &["body/1"]).unwrap(), "a\nx\nc");
    }

    #[test]
    fn what_cannot_be_taken_alone_says_with_what() {
        let (old, new) = (response(200, &[], "[1,2,3]"), response(500, &[("X", "1")], "[0,1,2,4]"));
        let error = super::merge(&old, &new, &Lens::exact(), |path| path == "body/0").unwrap_err();
        assert_eq!((error.taken, error.with), (vec!["body/0".to_owned()], vec!["body/2".to_owned()]));
    }

    #[test]
    fn what_is_inside_of_a_field_is_put_into_it() {
        let response = |cookies: [&str; 2]| response(200, &cookies.map(|cookie| ("Set-Cookie", cookie)), "");
        let (old, new) = (response(["a=1; Path=/; Secure", "b=1"]), response(["b=2; Path=/x", "a=2; path=/a"]));
        for (take, expected) in [
            ("header/set-cookie/a/value", ["a=2; Path=/; Secure", "b=1"]),
            ("header/set-cookie/a/path", ["a=1; path=/a; Secure", "b=1"]),
            ("header/set-cookie/a/secure", ["a=1; Path=/", "b=1"]),
            ("header/set-cookie/b/path", ["a=1; Path=/; Secure", "b=1; Path=/x"]),
        ] {
            assert_eq!(merge(&old, &new, |path| path == take).unwrap(), response(expected), "{take}");
        }
        let request = |fields: [&str; 2]| {
            Message::request("GET", "/", &[("cookie", fields[0]), ("Authorization", fields[1])], "")
        };
        let old = request(["a=1; b=2; c=3", "Basic dXNlcjpzZWNyZXQ6b25l"]);
        let new = request(["a=1; b=3; d=4", "Basic dXNlcjpzZWNyZXQ6dHdv"]);
        let taken = merge(&old, &new, |path| path == "header/cookie/b").unwrap();
        assert_eq!(taken, request(["a=1; b=3; c=3", "Basic dXNlcjpzZWNyZXQ6b25l"]));
        let taken = merge(&old, &new, |path| path == "header/cookie/d" || path.ends_with("authorization")).unwrap();
        assert_eq!(taken, request(["a=1; b=2; c=3; d=4", "Basic dXNlcjpzZWNyZXQ6dHdv"]));
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
