//! What can be wrong with bytes that should be HTTP/1.

/// Bytes that are not an HTTP/1 message that every reader would understand alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (before byte {offset} of the stream)")]
pub struct ParseError {
    /// How many bytes of this direction had been read when it showed.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No request line of HTTP/1.
    #[error("not an HTTP/1 request line")]
    RequestLine,
    /// No status line of HTTP/1.
    #[error("not an HTTP/1 status line")]
    StatusLine,
    /// A header or trailer line without a name, with white space before its colon, or folded where nothing is.
    #[error("malformed header line")]
    Field,
    /// CR without LF, or NUL, in a line (RFC 9112 section 2.2, RFC 9110 section 5.5).
    #[error("control character in a line")]
    ControlCharacter,
    /// A `Content-Length` that is not one number, or several that differ.
    #[error("invalid or conflicting content-length")]
    ContentLength,
    /// A `Transfer-Encoding` that does not say where the body ends, or is folded, or in HTTP/1.0.
    #[error("unusable transfer-encoding")]
    TransferEncoding,
    /// A request with both `Transfer-Encoding` and `Content-Length` (RFC 9112 section 6.3: request smuggling).
    #[error("transfer-encoding and content-length together")]
    AmbiguousLength,
    /// A malformed chunk.
    #[error("malformed chunk")]
    Chunk,
    /// Head, chunk line or trailers beyond the limit.
    #[error("message head is larger than the limit")]
    HeadTooLarge,
    /// Body beyond the limit.
    #[error("message body is larger than the limit")]
    BodyTooLarge,
}

impl ParseError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self.fault {
            Fault::AmbiguousLength => Some("the sender should give only one of the two lengths".to_owned()),
            _ => None,
        }
    }
}
