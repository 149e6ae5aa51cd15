//! Messages made from parts instead of bytes.

use bytes::Bytes;

use super::{
    framing::{self, Answering},
    message::{Chunk, Framing, Line, Message},
};

impl Message {
    /// An HTTP/1.1 request. `Content-Length` is added when there is a body and `headers` does not frame it;
    /// with `Transfer-Encoding: chunked` among the headers the body becomes one chunk.
    pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Message {
        let body = body.into();
        let length = !body.is_empty();
        compose(format!("{method} {target} HTTP/1.1"), headers, body, length, None)
    }

    /// An HTTP/1.1 response to anything but HEAD and CONNECT. `Content-Length` is added unless `headers` frames
    /// the body already; 1xx, 204 and 304 have neither length nor body (RFC 9110 section 6.4.1), whatever is given.
    pub fn response(status: u16, reason: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Message {
        let start = format!("HTTP/1.1 {status:03} {reason}");
        let bodiless = matches!(status, 100..=199 | 204 | 304);
        let body = if bodiless { Bytes::new() } else { body.into() };
        compose(start, headers, body, !bodiless, Some(Answering::default()))
    }
}

fn compose(
    start: String,
    headers: &[(&str, &str)],
    body: Bytes,
    length: bool,
    answering: Option<Answering>,
) -> Message {
    let framed = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding"));
    let mut headers: Vec<Line> =
        headers.iter().map(|(name, value)| Line::new(format!("{name}: {value}").into_bytes())).collect();
    if length && !framed {
        headers.push(Line::new(format!("Content-Length: {}", body.len()).into_bytes()));
    }
    let mut message = Message {
        lead: Bytes::new(),
        start: Line::new(start.into_bytes()),
        headers,
        end: Line::default(),
        body,
        framing: Framing::Empty,
        truncated: None,
    };
    message.framing = match framing::of(&message, answering) {
        Ok(framing::Body::Empty) => Framing::Empty,
        Ok(framing::Body::Length(_)) => Framing::Length,
        Ok(framing::Body::Chunked) => one_chunk(message.body.len()),
        Ok(framing::Body::Close) => Framing::Close,
        // Headers that contradict each other are written as given; reading them back will say so.
        Err(_) => Framing::Length,
    };
    message
}

/// The framing of a body that is sent as a single chunk.
fn one_chunk(length: usize) -> Framing {
    let sizes = if length == 0 { vec![0] } else { vec![length, 0] };
    let chunk = |size: usize| Chunk { line: Line::new(format!("{size:x}").into_bytes()), size: size as u64 };
    Framing::Chunked { chunks: sizes.into_iter().map(chunk).collect(), trailers: Vec::new(), end: Line::default() }
}
