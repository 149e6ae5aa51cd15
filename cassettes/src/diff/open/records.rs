//! Streams of JSON values: one a line (NDJSON, JSON Lines), or each behind a record separator (RFC 7464).

use std::{borrow::Cow, ops::Range};

use super::{has_too_many, media_type_is, open_texts};
use crate::diff::{json, tree::Tree};

/// Media types of streams with a value a line.
const LINES: &[&str] = &[
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/json-lines",
    "application/x-json-stream",
    "application/stream+json",
];

/// What a value of a text sequence begins with (RFC 7464 section 2.2).
const SEPARATOR: u8 = 0x1e;

/// How the values of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diff) enum Between {
    /// By line feeds.
    Lines,
    /// By record separators.
    Separators,
}

impl Between {
    /// How a media type has it; `None` = it names no stream of JSON.
    pub(in crate::diff) fn named(content_type: &str) -> Option<Between> {
        let suffix = content_type.split(';').next().unwrap_or_default().trim().rsplit(['/', '+']).next();
        if suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json-seq")) {
            return Some(Between::Separators);
        }
        let is_stream = LINES.iter().any(|wanted| media_type_is(content_type, wanted));
        // Kubernetes names the events of a watch so.
        let is_watch = media_type_is(content_type, "application/json")
            && content_type.split(';').skip(1).any(|parameter| parameter.trim() == "stream=watch");
        (is_stream || is_watch).then_some(Between::Lines)
    }
}

/// The values of a stream, each opened up. Empty lines say nothing, so that a stream that is kept alive by them is the same.
/// `None` where not every value that is ended is JSON, or there are too many.
///
/// What stands behind the last line feed is a value as well where it is one, followed by the text `unfinished`; else it is
/// told as `cut`.
pub(super) fn read(content: &[u8], by: Between, depth: usize) -> Option<Tree<'_>> {
    if has_too_many(b'\n', content) || has_too_many(SEPARATOR, content) {
        return None;
    }
    let mut values = Vec::new();
    for piece in pieces(content, by)? {
        let value = json::any(piece.text).map(|mut value| {
            open_texts(&mut value, depth - 1);
            value
        });
        match (value, piece.is_ended) {
            (Some(value), true) => values.push(value),
            (Some(value), false) => values.extend([value, Tree::Raw(Cow::Borrowed(b"unfinished"))]),
            (None, true) => return None,
            (None, false) => {
                let cut = Tree::Raw(Cow::Borrowed(piece.text));
                values.push(Tree::Object(vec![(Cow::Borrowed("cut"), cut)]));
            }
        }
    }
    Some(Tree::Array(values))
}

/// Where each value that is ended ends, its line feed included.
pub(super) fn ends(content: &[u8], by: Between) -> Option<Vec<usize>> {
    Some(pieces(content, by)?.filter(|piece| piece.is_ended).map(|piece| piece.end).collect())
}

/// Where each value stands, ended or not, without the line feed.
pub(in crate::diff) fn spans(content: &[u8], by: Between) -> Option<Vec<Range<usize>>> {
    let span = |piece: Piece<'_>| {
        let start = piece.end - piece.text.len();
        start..start + piece.text.trim_ascii_end().len()
    };
    Some(pieces(content, by)?.map(span).collect())
}

/// A text between two separators that is not empty.
struct Piece<'a> {
    text: &'a [u8],
    /// Where it ends in the content, its line feed included.
    end: usize,
    /// Whether it ends in a line feed.
    is_ended: bool,
}

/// `None` where there is something before the first separator.
fn pieces(content: &[u8], by: Between) -> Option<impl Iterator<Item = Piece<'_>>> {
    let is_separator = |byte: &u8| *byte == SEPARATOR;
    let is_line_feed = |byte: &u8| *byte == b'\n';
    let texts: Box<dyn Iterator<Item = &[u8]>> = match by {
        Between::Lines => Box::new(content.split_inclusive(is_line_feed)),
        Between::Separators if content.first().is_some_and(|first| *first != SEPARATOR) => return None,
        // Each ends with the separator of the next one, which stands before it all the same.
        Between::Separators => Box::new(content.split(is_separator)),
    };
    let mut at = 0;
    let pieces = texts.enumerate().map(move |(index, text)| {
        at += text.len() + usize::from(by == Between::Separators && index > 0);
        Piece { text, end: at, is_ended: text.ends_with(b"\n") }
    });
    Some(pieces.filter(|piece| !piece.text.trim_ascii().is_empty()))
}
