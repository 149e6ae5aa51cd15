//! Content codings (RFC 9110 section 8.4.1), removed for reading.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use regress_protocols::http1::Message;

use super::payload::INLINE;

/// What a message's body says once its `gzip` or `deflate` coding is removed: only where the whole body decodes to
/// UTF-8 text that is short enough to be shown in a cassette.
pub fn decoded_view(message: &Message) -> Option<Bytes> {
    if message.body.is_empty() || message.body.len() > INLINE || message.header_values("content-encoding").count() != 1
    {
        return None;
    }
    let body = &message.body[..];
    let coding = message.header("content-encoding")?.to_ascii_lowercase();
    let decoded = match coding.as_slice() {
        b"gzip" | b"x-gzip" => bounded(MultiGzDecoder::new(body)),
        // Named deflate, defined as zlib, and sent by some without the zlib wrapper.
        b"deflate" => bounded(ZlibDecoder::new(body)).or_else(|| bounded(DeflateDecoder::new(body))),
        _ => None,
    }?;
    std::str::from_utf8(&decoded).is_ok().then(|| decoded.into())
}

fn bounded(decoder: impl Read) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    decoder.take(INLINE as u64 + 1).read_to_end(&mut decoded).ok()?;
    (decoded.len() <= INLINE).then_some(decoded)
}
