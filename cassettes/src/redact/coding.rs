//! Content codings (RFC 9110 section 8.4) taken off bodies and put on again.

use std::io::{Read, Write};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use regress_protocols::http1::Message;

use crate::diff::{gunzip, inflate};

/// The most bytes that a body is decoded to.
const MOST: usize = 256 << 20;
/// How many times its size a body may grow when it is decoded, beyond what is always allowed.
const GROWTH: (usize, usize) = (400, 4 << 20);
/// How hard is compressed: as most servers do.
const BROTLI: (u32, u32) = (5, 22);

/// One coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// Deflate in its zlib wrapper.
    Zlib,
    /// Deflate without it, as some send it.
    Deflate,
    Brotli,
    Zstd,
}

/// What a body says.
pub(super) enum Decoded {
    /// It has no coding.
    Plain,
    /// The content, and the codings that it had, first applied first.
    Content(Vec<u8>, Vec<Coding>),
    /// It is coded in an unknown way, broken or too large.
    Unreadable,
}

/// The body of a message without its content coding.
pub(super) fn decode(message: &Message) -> Decoded {
    let named = message.header_values("content-encoding").flat_map(|value| value.split(|byte| *byte == b','));
    let named: Vec<Vec<u8>> = named
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name != b"identity")
        .collect();
    if named.is_empty() || message.body.is_empty() {
        return Decoded::Plain;
    }
    let most = message.body.len().saturating_mul(GROWTH.0).clamp(GROWTH.1, MOST);
    let mut content: Option<Vec<u8>> = None;
    let mut codings = Vec::new();
    for name in named.iter().rev() {
        let from = content.as_deref().unwrap_or(&message.body);
        let Some((coding, decoded)) = one(name, from, most) else {
            // Some write there what is no coding (`utf-8`); a text can be read whatever it says.
            let is_text = content.is_none() && std::str::from_utf8(&message.body).is_ok();
            return if is_text { Decoded::Plain } else { Decoded::Unreadable };
        };
        codings.insert(0, coding);
        content = Some(decoded);
    }
    content.map_or(Decoded::Plain, |content| Decoded::Content(content, codings))
}

fn one(name: &[u8], from: &[u8], most: usize) -> Option<(Coding, Vec<u8>)> {
    match name {
        b"gzip" | b"x-gzip" => Some((Coding::Gzip, gunzip(from, most)?)),
        b"deflate" => {
            let is_zlib =
                from.len() > 1 && from[0] & 0x0f == 8 && u16::from_be_bytes([from[0], from[1]]).is_multiple_of(31);
            Some((if is_zlib { Coding::Zlib } else { Coding::Deflate }, inflate(from, most)?))
        }
        b"br" => Some((Coding::Brotli, all(brotli::Decompressor::new(from, 4096), most)?)),
        b"zstd" => Some((Coding::Zstd, all(zstd::Decoder::new(from).ok()?, most)?)),
        _ => None,
    }
}

fn all(decoder: impl Read, most: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    decoder.take(most as u64 + 1).read_to_end(&mut decoded).ok()?;
    (decoded.len() <= most).then_some(decoded)
}

/// The content with its codings; `None` where it cannot be coded.
pub(super) fn encode(content: &[u8], codings: &[Coding]) -> Option<Vec<u8>> {
    codings.iter().try_fold(content.to_vec(), |content, coding| match coding {
        Coding::Gzip => Some(gzip(&content)),
        Coding::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&content).ok()?;
            encoder.finish().ok()
        }
        Coding::Deflate => {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&content).ok()?;
            encoder.finish().ok()
        }
        Coding::Brotli => {
            let mut encoded = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut encoded, 4096, BROTLI.0, BROTLI.1);
            encoder.write_all(&content).ok()?;
            drop(encoder);
            Some(encoded)
        }
        Coding::Zstd => zstd::encode_all(&content[..], 0).ok(),
    })
}

/// A text compressed by gzip, the same for the same text.
pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(content);
    written.and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_come_off_and_go_on() {
        let content = b"{\"a\": 1}".repeat(50);
        for codings in [
            &[Coding::Gzip][..],
            &[Coding::Zlib],
            &[Coding::Deflate],
            &[Coding::Brotli],
            &[Coding::Zstd],
            &[Coding::Gzip, Coding::Brotli],
        ] {
            let names = codings.iter().map(|coding| match coding {
                Coding::Gzip => "gzip",
                Coding::Zlib | Coding::Deflate => "deflate",
                Coding::Brotli => "br",
                Coding::Zstd => "zstd",
            });
            let named = names.collect::<Vec<_>>().join(", ");
            let coded = encode(&content, codings).unwrap();
            let message = Message::response(200, "OK", &[("Content-Encoding", &named)], coded);
            match decode(&message) {
                Decoded::Content(decoded, found) => assert_eq!((decoded, &found[..]), (content.clone(), codings)),
                Decoded::Plain | Decoded::Unreadable => panic!("{named}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let of = |coding: &str, body: &[u8]| {
            decode(&Message::response(200, "OK", &[("Content-Encoding", coding)], body.to_vec()))
        };
        assert!(matches!(of("gzip", b"\x1f\x8b\x08"), Decoded::Unreadable));
        assert!(matches!(of("lzma", b"\xff\x00"), Decoded::Unreadable));
        assert!(matches!(of("utf-8", b"text"), Decoded::Plain));
        assert!(matches!(of("identity", b"\xff"), Decoded::Plain));
        assert!(matches!(of("gzip", b""), Decoded::Plain));
    }
}
