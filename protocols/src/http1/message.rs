//! One HTTP message that remembers how it was written.

use std::borrow::Cow;

use bytes::Bytes;

use super::grammar;

/// One line of a message head as it stood on the wire, without its CRLF.
///
/// A line that ended in a bare LF keeps that LF as its last byte, so that a `Line` always says exactly which
/// bytes it stands for (RFC 9112 section 2.2 lets a recipient accept a bare LF). A field with obsolete line
/// folding is one `Line` that holds the line breaks inside the field as they were.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Line(pub Bytes);

/// How the end of the body was known (RFC 9112 section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body: a request without length, a response to HEAD, 1xx, 204, 304.
    Empty,
    /// `Content-Length` bytes.
    Length,
    /// Chunked transfer coding, with the chunks as they were cut.
    Chunked {
        /// The chunks in order, the last one being the zero chunk unless the message is truncated.
        chunks: Vec<Chunk>,
        /// Trailer lines after the zero chunk.
        trailers: Vec<Line>,
        /// The empty line that closes the trailers (non-empty only when it was a bare LF).
        end: Line,
    },
    /// Everything until the connection closed (responses only).
    Close,
}

/// One chunk of a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The size line: hexadecimal size and any extensions, as written.
    pub line: Line,
    /// How many body bytes it holds.
    pub size: u64,
}

/// One HTTP message, request or response. One of HTTP/1 can be written back byte for byte; one of HTTP/2 is told in the
/// same form (see [`crate::http2`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Empty lines before the start line (RFC 9112 section 2.2), as written. Almost always empty.
    pub lead: Bytes,
    /// Request line or status line.
    pub start: Line,
    /// Header lines in order, case and repeats kept, obsolete folding included as continued lines.
    pub headers: Vec<Line>,
    /// The empty line that ends the head (non-empty only when it was a bare LF).
    pub end: Line,
    /// The body, transfer coding removed, content coding kept.
    pub body: Bytes,
    /// How the body was framed.
    pub framing: Framing,
    /// Set when the connection ended before the message did. `body` then holds what came, and the bytes here are
    /// what came after the last whole element (a piece of a chunk line or of a trailer).
    ///
    /// A head that was cut has [`Framing::Empty`] (a whole message of that framing ends with its head), and its
    /// `end` stands for nothing; `start` is empty when not even the start line came whole. After the data of the
    /// last chunk, the line break that closes the chunk is here too, as far as it came.
    pub truncated: Option<Bytes>,
}

impl Line {
    /// A line that ends in CRLF.
    pub fn new(text: impl Into<Bytes>) -> Line {
        Line(text.into())
    }

    /// The line without its line break.
    pub fn text(&self) -> &[u8] {
        self.0.strip_suffix(b"\n").unwrap_or(&self.0)
    }

    /// Appends the line as it stood on the wire, line break included.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0);
        if !self.0.ends_with(b"\n") {
            to.extend_from_slice(b"\r\n");
        }
    }
}

impl Message {
    /// One of which nothing is known.
    pub(crate) fn blank() -> Message {
        Message {
            lead: Bytes::new(),
            start: Line::default(),
            headers: Vec::new(),
            end: Line::default(),
            body: Bytes::new(),
            framing: Framing::Empty,
            truncated: None,
        }
    }

    /// Exactly the bytes that the message was parsed from.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(256 + self.body.len());
        self.write(&mut wire);
        wire
    }

    /// Appends [`Message::wire`].
    pub(super) fn write(&self, wire: &mut Vec<u8>) {
        self.write_head(wire);
        if let Framing::Chunked { chunks, trailers, end } = &self.framing {
            self.write_chunks(chunks, wire);
            trailers.iter().for_each(|trailer| trailer.write(wire));
            if self.is_complete() {
                end.write(wire);
            }
        } else {
            wire.extend_from_slice(&self.body);
        }
        wire.extend_from_slice(self.truncated.as_deref().unwrap_or_default());
    }

    /// Appends start line, headers and the empty line after them, as far as they came.
    pub(super) fn write_head(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.lead);
        if self.start.0.is_empty() {
            return;
        }
        self.start.write(to);
        self.headers.iter().for_each(|header| header.write(to));
        if self.has_whole_head() {
            self.end.write(to);
        }
    }

    fn write_chunks(&self, chunks: &[Chunk], to: &mut Vec<u8>) {
        let mut rest = &self.body[..];
        for (index, chunk) in chunks.iter().enumerate() {
            chunk.line.write(to);
            let (data, after) = rest.split_at(usize::try_from(chunk.size).unwrap_or(usize::MAX).min(rest.len()));
            to.extend_from_slice(data);
            rest = after;
            let cut = self.truncated.is_some() && index + 1 == chunks.len();
            if chunk.size > 0 && !cut {
                to.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Whether the empty line after the headers came.
    pub fn has_whole_head(&self) -> bool {
        self.is_complete() || self.framing != Framing::Empty
    }

    /// Whether the whole message came.
    pub fn is_complete(&self) -> bool {
        self.truncated.is_none()
    }

    /// Whether this is a request; a message cut inside its start line counts by what came of it.
    pub fn is_request(&self) -> bool {
        let start = if self.start.0.is_empty() { self.truncated.as_deref().unwrap_or_default() } else { &self.start.0 };
        !start.starts_with(b"HTTP/")
    }

    /// The method of a request; empty in a response.
    pub fn method(&self) -> &str {
        grammar::request_line(self.start.text()).map(|line| line.method).unwrap_or_default()
    }

    /// The request target as written (bytes that are not UTF-8 replaced); empty in a response.
    pub fn target(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(grammar::request_line(self.start.text()).map(|line| line.target).unwrap_or_default())
    }

    /// The target without its query, and without scheme and authority where it is in absolute form. The target of
    /// a CONNECT is given as it is.
    pub fn path(&self) -> Cow<'_, str> {
        split_target(self.method(), self.target(), |path, _| Some(path)).unwrap_or_default()
    }

    /// What follows the first `?` of the target.
    pub fn query(&self) -> Option<Cow<'_, str>> {
        split_target(self.method(), self.target(), |_, query| query)
    }

    /// The status code of a response; 0 in a request.
    pub fn status(&self) -> u16 {
        grammar::status_line(self.start.text()).map(|line| line.status).unwrap_or_default()
    }

    /// The reason phrase of a response as written; empty in a request.
    pub fn reason(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(grammar::status_line(self.start.text()).map(|line| line.reason).unwrap_or_default())
    }

    /// The HTTP version, major and minor; (0, 0) when not even the start line came whole.
    pub fn version(&self) -> (u8, u8) {
        let text = self.start.text();
        let of_request = grammar::request_line(text).map(|line| line.version);
        of_request.or_else(|| Some(grammar::status_line(text)?.version)).unwrap_or_default()
    }

    /// Whether the message came in HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.version().0 == 2
    }

    /// The header fields in order: name, and value without the white space around it. Obsolete line folding is left
    /// in the value as written.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().filter_map(|line| grammar::field(line.text()))
    }

    /// The trailer fields in order, as [`Message::fields`] gives those of the head.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let trailers = match &self.framing {
            Framing::Chunked { trailers, .. } => &trailers[..],
            Framing::Empty | Framing::Length | Framing::Close => &[],
        };
        trailers.iter().filter_map(|line| grammar::field(line.text()))
    }

    /// The value of the first field of that name (case does not matter), as [`Message::fields`] gives it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.header_values(name).next()
    }

    /// The value of the first field of that name as text: obsolete folding is one space (RFC 9112 section 5.2),
    /// bytes that are not UTF-8 are replaced.
    pub fn header_text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.header(name).map(grammar::unfolded)
    }

    /// The values of all fields of that name, in order.
    pub fn header_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Whether one of the comma-separated members of the fields of that name is `member` (case does not matter).
    pub fn header_lists(&self, name: &str, member: &str) -> bool {
        self.header_values(name).flat_map(grammar::list).any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    }

    /// Whether the connection may be used again after this message (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        self.is_complete()
            && self.framing != Framing::Close
            && !self.header_lists("connection", "close")
            && (self.version() >= (1, 1) || self.header_lists("connection", "keep-alive"))
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.is_request() && self.version() >= (1, 1) && self.header_lists("expect", "100-continue")
    }

    /// Whether a request asks to leave HTTP on this connection: CONNECT, or Upgrade (RFC 9110 section 7.8).
    pub fn asks_to_switch(&self) -> bool {
        self.is_request()
            && (self.method() == "CONNECT"
                || (self.header("upgrade").is_some() && self.header_lists("connection", "upgrade")))
    }
}

fn split_target<'a, T>(
    method: &str,
    target: Cow<'a, str>,
    pick: impl Fn(Cow<'a, str>, Option<Cow<'a, str>>) -> T,
) -> T {
    match target {
        Cow::Borrowed(target) => {
            let (path, query) = path_and_query(method, target);
            pick(path.into(), query.map(Into::into))
        }
        Cow::Owned(target) => {
            let (path, query) = path_and_query(method, &target);
            pick(path.to_owned().into(), query.map(|query| query.to_owned().into()))
        }
    }
}

fn path_and_query<'a>(method: &str, target: &'a str) -> (&'a str, Option<&'a str>) {
    if method == "CONNECT" {
        return (target, None);
    }
    let (before, query) = match target.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (target, None),
    };
    let path = match before.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => before,
    };
    (path, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_of_every_target_form() {
        let parts = |target| {
            let message = Message::request("GET", target, &[], "");
            (message.path().into_owned(), message.query().map(Cow::into_owned))
        };
        assert_eq!(parts("/a/b?c=d?e"), ("/a/b".into(), Some("c=d?e".into())));
        assert_eq!(parts("/a?u=http://x/"), ("/a".into(), Some("u=http://x/".into())));
        assert_eq!(parts("http://host:80/a?b"), ("/a".into(), Some("b".into())));
        assert_eq!(parts("http://host"), ("/".into(), None));
        assert_eq!(parts("*"), ("*".into(), None));
        assert_eq!(parts("/a?"), ("/a".into(), Some(String::new())));
        let connect = Message::request("CONNECT", "host:443", &[], "");
        assert_eq!((connect.path().as_ref(), connect.query()), ("host:443", None));
    }

    #[test]
    fn target_that_is_not_utf8_is_still_split() {
        let mut message = Message::request("GET", "/", &[], "");
        message.start = Line::new(&b"GET /\xff?\xfe HTTP/1.1"[..]);
        assert_eq!(message.path(), "/\u{fffd}");
        assert_eq!(message.query().unwrap(), "\u{fffd}");
    }

    #[test]
    fn a_status_line_has_no_request_parts_and_the_other_way_round() {
        let response = Message::response(404, "Not Found", &[], "");
        assert_eq!((response.method(), response.target().as_ref()), ("", ""));
        assert_eq!((response.status(), response.reason().as_ref(), response.version()), (404, "Not Found", (1, 1)));
        assert!(!response.is_request());
        let request = Message::request("GET", "/", &[], "");
        assert_eq!((request.status(), request.reason().as_ref()), (0, ""));
        assert!(request.is_request());
    }

    #[test]
    fn fields_are_trimmed_and_found_in_any_case() {
        let message = Message::request("GET", "/", &[("X-A", " 1\t"), ("x-a", "2")], "");
        assert_eq!(message.header("x-A"), Some(&b"1"[..]));
        assert_eq!(message.header_values("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(message.header("x-b"), None);
    }

    #[test]
    fn connection_reuse_follows_version_and_connection_field() {
        let keeps = |start: &str, connection: &str| {
            let mut message = Message::request("GET", "/", &[("Connection", connection)], "");
            message.start = Line::new(start.to_owned());
            message.keeps_alive()
        };
        assert!(keeps("GET / HTTP/1.1", ""));
        assert!(!keeps("GET / HTTP/1.1", "foo, Close"));
        assert!(!keeps("GET / HTTP/1.0", ""));
        assert!(keeps("GET / HTTP/1.0", "Keep-Alive"));
    }

    #[test]
    fn a_bare_line_feed_stays_what_it_was() {
        let mut wire = Vec::new();
        Line::new("a").write(&mut wire);
        Line::new("b\n").write(&mut wire);
        assert_eq!(wire, b"a\r\nb\n");
        assert_eq!(Line::new("b\n").text(), b"b");
    }
}
