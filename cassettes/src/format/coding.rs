//! Content codings (RFC 9110 section 8.4), removed for reading.

use std::borrow::Cow;

use bytes::Bytes;
use regress_protocols::http1::Message;

use super::payload::INLINE;
use crate::diff::{Applied, decoded_body, decoded_messages};

/// What a message's body says once its content coding is removed, or (in HTTP/2) the messages of gRPC in it: only where there is one,
/// and the whole body decodes to UTF-8 text that is short enough to be shown in a cassette.
pub fn decoded_view(message: &Message) -> Option<Bytes> {
    if message.body.is_empty() || message.body.len() > INLINE {
        return None;
    }
    // A cassette says the same whatever schemas are known.
    if let Some(messages) = decoded_messages(message, &Applied::none()).filter(|_| message.is_http2()) {
        return Some(messages).filter(|messages| messages.len() <= INLINE).map(Bytes::from);
    }
    match decoded_body(message) {
        Cow::Owned(decoded) if decoded.len() <= INLINE && std::str::from_utf8(&decoded).is_ok() => Some(decoded.into()),
        Cow::Owned(_) | Cow::Borrowed(_) => None,
    }
}
