//! Content coding removed from bodies.

use std::{borrow::Cow, io::Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use regress_protocols::http1::Message;

use super::{open, rules::Applied};

/// The most bytes that a body is decoded to.
const MOST_DECODED: usize = 64 << 20;

/// How many times its size a body may grow when it is decoded.
const MOST_GROWTH: usize = 200;

/// A body that decodes to no more than this is decoded whatever its growth.
const ALWAYS_DECODED: usize = 1 << 20;

/// The body of a message with its content coding removed (RFC 9110 section 8.4: gzip, x-gzip, deflate, and
/// sequences of them). The body as it is where there is no coding, or one that is unknown or broken, or where more
/// than 64 MiB or 200 times the coded size (1 MiB is always allowed) would come out.
pub fn decoded_body(message: &Message) -> Cow<'_, [u8]> {
    decode(message).map_or(Cow::Borrowed(&message.body[..]), Cow::Owned)
}

/// The messages of Protocol Buffers in a body, as compact JSON: in gRPC a list, each message an object of its fields, by name
/// where `applied` knows the schema, else by their numbers, as far as the bytes tell. `None` for other bodies.
pub fn decoded_messages(message: &Message, applied: &Applied) -> Option<String> {
    open::grpc_shown(&message.body, &message.header_text("content-type")?, applied.schema())
}

/// Where each event of a stream ends (`text/event-stream`) or each value (a stream of JSON), in bytes of the body. `None` for
/// other bodies, and for those with a content coding.
pub fn event_ends(message: &Message) -> Option<Vec<usize>> {
    event_ends_in(message, &message.body)
}

/// The same of a body, or of what follows an event in it, that comes after this head.
pub fn event_ends_in(head: &Message, body: &[u8]) -> Option<Vec<usize>> {
    let is_coded = head.header_values("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    if is_coded { None } else { open::ends(body, &head.header_text("content-type")?) }
}

/// The body with all its content codings removed; `None` without a coding, or when that cannot be done.
pub(super) fn decode(message: &Message) -> Option<Vec<u8>> {
    let codings = message.header_values("content-encoding").flat_map(|value| value.split(|byte| *byte == b','));
    let codings: Vec<&[u8]> = codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty()).collect();
    let coded = codings.iter().rev().filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let most = (message.body.len().saturating_mul(MOST_GROWTH)).clamp(ALWAYS_DECODED, MOST_DECODED);
    let mut body: Option<Vec<u8>> = None;
    for coding in coded {
        let from = body.as_deref().unwrap_or(&message.body);
        body = Some(match coding.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => gunzip(from, most)?,
            // RFC 9110 section 8.4.1.2: the zlib format, though some send the bare deflate stream.
            b"deflate" => inflate(from, most)?,
            _ => return None,
        });
    }
    body
}

pub(super) fn gunzip(coded: &[u8], most: usize) -> Option<Vec<u8>> {
    all(MultiGzDecoder::new(coded), most)
}

fn inflate(coded: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut rest = coded;
    if let Some(decoded) = all(ZlibDecoder::new(&mut rest), most) {
        return rest.is_empty().then_some(decoded);
    }
    let mut rest = coded;
    let decoded = all(DeflateDecoder::new(&mut rest), most)?;
    rest.is_empty().then_some(decoded)
}

fn all(decoder: impl Read, most: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    decoder.take(most as u64 + 1).read_to_end(&mut decoded).ok()?;
    (decoded.len() <= most).then_some(decoded)
}
