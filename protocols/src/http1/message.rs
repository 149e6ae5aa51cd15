//! One HTTP/1 message that remembers how it was written.

use bytes::Bytes;

/// One line of a message head as it stood on the wire, without its CRLF.
///
/// A line that ended in a bare LF keeps that LF as its last byte, so that a `Line` always says exactly which
/// bytes it stands for (RFC 9112 section 2.2 lets a recipient accept a bare LF).
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

/// One HTTP/1 message, request or response, that can be written back byte for byte.
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
    pub truncated: Option<Bytes>,
}
