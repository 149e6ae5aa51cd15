//! Bodies: content coding removed, and compared by what they turn out to be.

use std::{borrow::Cow, io::Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use regress_protocols::http1::Message;

use super::{
    excerpt,
    found::{Difference, Found, Kind},
    json::{self, Tree},
};

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
    decode(message).unwrap_or(Cow::Borrowed(&message.body))
}

/// A body as it is compared.
pub(super) struct Body<'a> {
    raw: &'a [u8],
    decoded: Option<Cow<'a, [u8]>>,
}

impl<'a> Body<'a> {
    /// The body of a message.
    pub(super) fn of(message: &'a Message) -> Body<'a> {
        Body { raw: &message.body, decoded: decode(message) }
    }

    fn content(&self) -> &[u8] {
        self.decoded.as_deref().unwrap_or(self.raw)
    }

    /// Appends bytes that are equal exactly for bodies that [`compare`] calls equal, given equal headers.
    ///
    /// A body that could be decoded and one that could not are never equal: the same bytes under the same coding
    /// would have met the same end.
    pub(super) fn canonical(&self, to: &mut Vec<u8>) {
        to.push(if self.decoded.is_some() { b'd' } else { b'r' });
        match json::read(self.content()) {
            Some(tree) => {
                to.push(b'j');
                tree.canonical(to);
            }
            None => {
                to.push(b'b');
                to.extend_from_slice(self.content());
            }
        }
    }
}

/// Notes where two bodies differ.
pub(super) fn compare(expected: &Message, actual: &Message, found: &mut Found) {
    if expected.body == actual.body {
        return;
    }
    let (expected, actual) = (Body::of(expected), Body::of(actual));
    if expected.decoded.is_some() != actual.decoded.is_some() {
        return compare_bytes(expected.raw, actual.raw, found);
    }
    match (json::read(expected.content()), json::read(actual.content())) {
        (Some(expected), Some(actual)) => compare_trees(&mut String::from("body"), &expected, &actual, found),
        _ => compare_bytes(expected.content(), actual.content(), found),
    }
}

/// Notes that two bodies that are not both JSON differ, if they do.
fn compare_bytes(old: &[u8], new: &[u8], found: &mut Found) {
    if old == new {
        return;
    }
    found.note(|| {
        let path = "body".to_owned();
        if old.is_empty() {
            return Difference { path, kind: Kind::Added, expected: None, actual: Some(excerpt::any(new)) };
        }
        if new.is_empty() {
            return Difference { path, kind: Kind::Removed, expected: Some(excerpt::any(old)), actual: None };
        }
        let (expected, actual) = match (std::str::from_utf8(old), std::str::from_utf8(new)) {
            (Ok(old), Ok(new)) => excerpt::texts(old, new),
            _ => excerpt::bytes(old, new),
        };
        Difference { path, kind: Kind::Changed, expected: Some(expected), actual: Some(actual) }
    });
}

/// Notes where two JSON values differ; `path` is where they stand and is given back as it was.
fn compare_trees(path: &mut String, expected: &Tree<'_>, actual: &Tree<'_>, found: &mut Found) {
    match (expected, actual) {
        (Tree::Object(expected), Tree::Object(actual)) => {
            for (name, expected, actual) in json::side_by_side(expected, actual) {
                below(path, &name.replace('~', "~0").replace('/', "~1"), expected, actual, found);
            }
        }
        (Tree::Array(expected), Tree::Array(actual)) => {
            for index in 0..expected.len().max(actual.len()) {
                below(path, &index.to_string(), expected.get(index), actual.get(index), found);
            }
        }
        _ if expected == actual => {}
        _ => found.note(|| {
            let kind = if expected.same_type(actual) { Kind::Changed } else { Kind::Type };
            let (expected, actual) = excerpt::texts(&expected.compact(), &actual.compact());
            Difference { path: path.clone(), kind, expected: Some(expected), actual: Some(actual) }
        }),
    }
}

fn below(path: &mut String, step: &str, expected: Option<&Tree<'_>>, actual: Option<&Tree<'_>>, found: &mut Found) {
    let length = path.len();
    path.push('/');
    path.push_str(step);
    match (expected, actual) {
        (Some(expected), Some(actual)) => compare_trees(path, expected, actual, found),
        _ => found.note(|| Difference {
            path: path.clone(),
            kind: if expected.is_some() { Kind::Removed } else { Kind::Added },
            expected: expected.map(|value| excerpt::text(&value.compact())),
            actual: actual.map(|value| excerpt::text(&value.compact())),
        }),
    }
    path.truncate(length);
}

/// The body with all its content codings removed; `None` without a coding, or when that cannot be done.
fn decode(message: &Message) -> Option<Cow<'_, [u8]>> {
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
    body.map(Cow::Owned)
}

fn gunzip(coded: &[u8], most: usize) -> Option<Vec<u8>> {
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
