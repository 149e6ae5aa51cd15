//! Bodies in parts (RFC 2046 section 5.1, RFC 7578).

use std::borrow::Cow;

use bytes::Bytes;
use regress_protocols::http1::Line;

use super::content_at;
use crate::diff::{
    headers::{section, split},
    tree::Tree,
};

/// The most parts that are told apart.
const MOST: usize = 10_000;

/// The parts of a body, by the name that their Content-Disposition gives them, else by their number. `None` unless the
/// body is nothing but whole parts.
pub(super) fn read(content: &[u8], content_type: &str, depth: usize) -> Option<Tree<'static>> {
    let parts = split_parts(content, content_type)?.into_iter().map(|part| {
        let fields = part.lines.iter().map(split).map(|(name, value)| (name, Cow::Borrowed(value)));
        let header = section(fields).into_owned();
        let body = content_at(Cow::Owned(part.body.to_vec()), part.media_type.as_deref(), depth - 1);
        let members = vec![(Cow::Borrowed("body"), body), (Cow::Borrowed("header"), header)];
        (Cow::Owned(part.name), Tree::Object(members))
    });
    Some(Tree::object(parts.collect()))
}

/// A part as written.
pub(in crate::diff) struct Part<'a> {
    /// Its name, else its number.
    pub name: String,
    /// All of it.
    pub whole: &'a [u8],
    /// The lines of its head.
    pub lines: Vec<Line>,
    /// What follows.
    pub body: &'a [u8],
    /// What its Content-Type says.
    pub media_type: Option<String>,
}

/// The parts of a body in order; `None` as with [`read`].
pub(in crate::diff) fn split_parts<'a>(content: &'a [u8], content_type: &str) -> Option<Vec<Part<'a>>> {
    let boundary = boundary(content_type)?;
    let opening = format!("--{boundary}\r\n");
    let between = format!("\r\n--{boundary}");
    let mut rest = content.strip_prefix(opening.as_bytes())?;
    let mut parts = Vec::new();
    loop {
        let end = find(rest, between.as_bytes())?;
        let (part, after) = (&rest[..end], &rest[end + between.len()..]);
        let number = parts.len();
        parts.push(one(part, number)?);
        if matches!(after, b"--" | b"--\r\n") {
            return Some(parts);
        }
        if number == MOST {
            return None;
        }
        rest = after.strip_prefix(b"\r\n")?;
    }
}

fn one(part: &[u8], number: usize) -> Option<Part<'_>> {
    let (head, body) = match part.strip_prefix(b"\r\n") {
        Some(body) => (&b""[..], body),
        None => {
            let end = find(part, b"\r\n\r\n")?;
            (&part[..end], &part[end + 4..])
        }
    };
    let mut rest = head;
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        lines.push(Line::new(Bytes::copy_from_slice(&rest[..end])));
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    let value = |wanted: &str| {
        let mut fields = lines.iter().map(split);
        let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()))?;
        Some(std::str::from_utf8(value).ok()?.to_owned())
    };
    let name = value("content-disposition").and_then(|value| parameter(&value, "name"));
    let (name, media_type) = (name.unwrap_or_else(|| number.to_string()), value("content-type"));
    Some(Part { name, whole: part, lines, body, media_type })
}

/// The boundary that a media type names.
pub(in crate::diff) fn boundary(content_type: &str) -> Option<String> {
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty() && boundary.len() <= 200)
}

/// A media type without its boundary.
pub(in crate::diff) fn without_boundary(content_type: &[u8]) -> Vec<u8> {
    let is_boundary = |parameter: &[u8]| {
        parameter.trim_ascii_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"boundary="))
    };
    let kept: Vec<&[u8]> = content_type.split(|byte| *byte == b';').filter(|part| !is_boundary(part)).collect();
    kept.join(&b";"[..])
}

/// The value of a parameter (RFC 9110 section 5.6.6).
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut parameters = value.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // Boundaries begin with a carriage return, which is rare.
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|byte| *byte == wanted[0])?;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}
