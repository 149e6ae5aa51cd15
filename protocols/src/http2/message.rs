//! Header blocks and messages in the form of HTTP/1.

use bytes::Bytes;

use super::hpack::Field;
use crate::http1::{Chunk, Framing, Line, Message};

/// A head that a block of fields makes.
#[derive(Debug)]
pub(super) struct Head {
    /// Without body. Without start line where that is not known.
    pub message: Message,
    /// Every field was known, and may be one of such a message.
    pub is_whole: bool,
}

/// A request as HTTP/2 has it, its body in one DATA frame.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Message {
    compose(format!("{method} {target} HTTP/2"), headers, body.into(), &[])
}

/// A response as HTTP/2 has it, its body in one DATA frame.
pub fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>, trailers: &[(&str, &str)]) -> Message {
    compose(format!("HTTP/2 {status}"), headers, body.into(), trailers)
}

fn compose(start: String, headers: &[(&str, &str)], body: Bytes, trailers: &[(&str, &str)]) -> Message {
    let lines = |fields: &[(&str, &str)]| -> Vec<Line> {
        fields.iter().map(|(name, value)| Line::new(format!("{name}: {value}"))).collect()
    };
    let mut message = Message::blank();
    message.start = Line::new(start);
    message.headers = lines(headers);
    message.framing = match (body.is_empty(), trailers.is_empty()) {
        (true, true) => Framing::Empty,
        (false, true) => Framing::Length,
        (is_empty, false) => {
            let chunks = if is_empty { Vec::new() } else { vec![chunk(body.len() as u64)] };
            Framing::Chunked { chunks, trailers: lines(trailers), end: Line::default() }
        }
    };
    message.body = body;
    message
}

/// Gives a message the body that came in DATA frames of these sizes, and the trailers, if there were any. One that is not
/// whole was cut behind them.
pub fn with_body(
    mut head: Message,
    body: Bytes,
    frames: &[u64],
    trailers: Option<Vec<Line>>,
    is_whole: bool,
) -> Message {
    head.body = body;
    head.framing = match (frames, trailers) {
        ([], None) if is_whole => Framing::Empty,
        ([_], None) if is_whole => Framing::Length,
        // Of a head that is not known nothing is told.
        _ if head.start.0.is_empty() => Framing::Empty,
        (frames, trailers) => Framing::Chunked {
            chunks: frames.iter().map(|size| chunk(*size)).collect(),
            trailers: trailers.unwrap_or_default(),
            end: Line::default(),
        },
    };
    head.truncated = (!is_whole || head.start.0.is_empty()).then(Bytes::new);
    head
}

/// The chunk that a DATA frame with so many bytes of content is.
fn chunk(size: u64) -> Chunk {
    Chunk { line: Line::new(format!("{size:x}")), size }
}

/// The head of a request (RFC 9113 section 8.3.1).
pub(super) fn request_head(fields: &[Field]) -> Head {
    let mut pseudo = [const { None::<&Bytes> }; 4];
    let (headers, mut is_whole) = split(fields, |name, value| {
        let Some(place) =
            [&b":method"[..], b":scheme", b":authority", b":path"].iter().position(|known| *known == name)
        else {
            return false;
        };
        pseudo[place].replace(value).is_none()
    });
    let [method, _, authority, path] = pseudo;
    let target = if method.is_some_and(|method| &method[..] == b"CONNECT") { path.or(authority) } else { path };
    let mut message = Message::blank();
    message.headers.extend(authority.map(|authority| line(b"host", authority)));
    message.headers.extend(headers);
    if let (Some(method), Some(target)) = (method, target) {
        message.start = Line::new([method, &b" "[..], target, b" HTTP/2"].concat());
    }
    if message.version() == (0, 0) {
        message.start = Line::default();
        is_whole = false;
    }
    Head { message, is_whole }
}

/// The head of a response (RFC 9113 section 8.3.2).
pub(super) fn response_head(fields: &[Field]) -> Head {
    let mut status = None::<&Bytes>;
    let (headers, mut is_whole) = split(fields, |name, value| name == b":status" && status.replace(value).is_none());
    let mut message = Message::blank();
    message.headers = headers;
    if let Some(status) = status {
        message.start = Line::new([b"HTTP/2 ", &status[..]].concat());
    }
    if message.status() == 0 {
        message.start = Line::default();
        is_whole = false;
    }
    Head { message, is_whole }
}

/// Trailer lines, and whether each was known and may be one.
pub(super) fn trailers(fields: &[Field]) -> (Vec<Line>, bool) {
    split(fields, |_, _| false)
}

/// The lines of fields that are not pseudo-header fields, which `take` is given and may refuse. Fields that are not known
/// or malformed (RFC 9113 section 8.2.1) are left out, and the second value is false.
fn split<'a>(fields: &'a [Field], mut take: impl FnMut(&[u8], &'a Bytes) -> bool) -> (Vec<Line>, bool) {
    let mut is_whole = true;
    let mut lines = Vec::with_capacity(fields.len());
    for field in fields {
        let (Some(name), Some(value)) = (&field.name, &field.value) else {
            is_whole = false;
            continue;
        };
        if name.starts_with(b":") {
            is_whole &= take(name, value);
        } else if is_name(name) && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            lines.push(line(name, value));
        } else {
            is_whole = false;
        }
    }
    (lines, is_whole)
}

fn line(name: &[u8], value: &[u8]) -> Line {
    Line::new([name, b": ", value].concat())
}

fn is_name(name: &[u8]) -> bool {
    let is_one = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> Vec<Field> {
        let known = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        fields.iter().map(|(name, value)| Field { name: known(name), value: known(value) }).collect()
    }

    #[test]
    fn requests() {
        let head = request_head(&fields(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/a.B/C?d"),
            (":authority", "x:1"),
            ("te", "trailers"),
        ]));
        assert!(head.is_whole);
        let message = head.message;
        assert_eq!((message.method(), message.path().as_ref(), message.version()), ("POST", "/a.B/C", (2, 0)));
        assert_eq!(message.headers, [Line::new("host: x:1"), Line::new("te: trailers")]);
        assert!(message.is_request());
        let connect = request_head(&fields(&[(":method", "CONNECT"), (":authority", "db:5432")])).message;
        assert_eq!(connect.target(), "db:5432");
    }

    #[test]
    fn responses() {
        let head = response_head(&fields(&[(":status", "200"), ("a", "b")]));
        assert!(head.is_whole && !head.message.is_request());
        assert_eq!((head.message.status(), head.message.version()), (200, (2, 0)));
        assert_eq!(head.message.header("a"), Some(&b"b"[..]));
    }

    #[test]
    fn what_is_malformed_or_not_known_is_said() {
        for bad in [
            &[(":method", "GET")][..],
            &[(":method", "GET"), (":path", "")],
            &[(":method", "GET"), (":path", "/a b")],
            &[(":method", "GET"), (":path", "/"), (":path", "/")],
            &[(":method", "GET"), (":path", "/"), (":protocol", "websocket")],
            &[(":method", "GET"), (":path", "/"), ("Upper", "x")],
            &[(":method", "GET"), (":path", "/"), ("a", "b\r\nc: d")],
        ] {
            assert!(!request_head(&fields(bad)).is_whole, "{bad:?}");
        }
        for bad in [&[(":status", "20")][..], &[("a", "b")], &[(":status", "200"), (":path", "/")]] {
            assert!(!response_head(&fields(bad)).is_whole, "{bad:?}");
        }
        let unknown = Field { name: None, value: None };
        let head = request_head(&[fields(&[(":method", "GET"), (":path", "/")]), vec![unknown]].concat());
        assert!(!head.is_whole);
        assert_eq!(head.message.method(), "GET");
    }
}
