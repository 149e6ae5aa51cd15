//! The folder that an entry's cassettes share.

use crate::model::{Content, Exchange};

/// The longest slug.
const LENGTH: usize = 80;

/// The folder name for an entry: method and path with the segments that look like an id replaced by `id`,
/// for example `get-orders-id`. At most 80 of `[a-z0-9._-]`, beginning with a letter or digit.
pub fn route_slug(entry: &Exchange) -> String {
    let http = match &entry.content {
        Content::Http1(http) => http,
        Content::Wire(wire) => return wire.protocol.word().to_owned(),
        Content::Opaque(_) => return "opaque".to_owned(),
        Content::Nothing => return "nothing".to_owned(),
    };
    let method = safe(http.request.method());
    let path = http.request.path();
    let mut slug = if method.is_empty() { "unknown".to_owned() } else { method };
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in &segments {
        let segment = if is_id(segment) { "id".to_owned() } else { safe(segment) };
        if !segment.is_empty() {
            slug.push('-');
            slug.push_str(&segment);
        }
    }
    if segments.is_empty() {
        slug.push_str("-root");
    }
    if slug.len() > LENGTH {
        // Two long routes that begin alike stay apart.
        let tail = crate::format::hash(slug.as_bytes());
        slug.truncate(LENGTH - 9);
        slug.push('-');
        slug.push_str(&tail[..8]);
    }
    slug
}

/// Lower case; every run of other characters than `[a-z0-9._]` becomes one dash, none at the ends.
fn safe(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_') {
            out.push(c);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_matches(|c| c == '-' || c == '.').to_owned()
}

/// Whether a segment of a path looks like an id: digits alone, a UUID, or hexadecimal of eight digits and more with at least one decimal digit among them.
pub fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let hex = bytes.iter().filter(|b| b.is_ascii_hexdigit()).count();
    let dashes = [8, 13, 18, 23];
    let uuid = bytes.len() == 36 && hex == 32 && dashes.iter().all(|&at| bytes[at] == b'-');
    digits == bytes.len() || uuid || (hex == bytes.len() && hex >= 8 && digits > 0)
}
