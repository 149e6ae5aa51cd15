//! Server-sent events (WHATWG HTML section 9.2.6).

use std::{borrow::Cow, ops::Range};

use super::{has_too_many, text_at};
use crate::diff::tree::Tree;

/// The events of a stream, each with its fields; the lines of its data are one text. Comments say nothing. `None` for
/// what is not UTF-8, or has too many lines.
///
/// A field that stands before the end of the stream without the empty line that ends its event is told as a field of an
/// event that is `unfinished`.
pub(super) fn read(content: &[u8], depth: usize) -> Option<Tree<'static>> {
    let mut lines = Lines::of(content)?;
    let mut events = Vec::new();
    let mut event = Event::default();
    for Line { text, .. } in lines.by_ref() {
        match text.split_once(':').unwrap_or((text, "")) {
            ("", "") if text.is_empty() => events.extend(std::mem::take(&mut event).finish(depth)),
            ("", _) => {}
            (name, value) => event.field(name, value.strip_prefix(' ').unwrap_or(value)),
        }
    }
    if !lines.rest.is_empty() {
        event.others.push((Cow::Borrowed("cut"), Tree::Raw(Cow::Owned(lines.rest.as_bytes().to_vec()))));
    }
    if event.data.is_some() || !event.others.is_empty() {
        event.others.push((Cow::Borrowed("unfinished"), Tree::Bool(true)));
    }
    events.extend(event.finish(depth));
    Some(Tree::Array(events))
}

/// Where each event that [`read`] tells and that is finished ends: behind its empty line.
pub(super) fn ends(content: &[u8]) -> Option<Vec<usize>> {
    let mut ends = Vec::new();
    let mut has_fields = false;
    for Line { text, end } in Lines::of(content)? {
        if text.is_empty() && std::mem::take(&mut has_fields) {
            ends.push(end);
        }
        has_fields |= !text.is_empty() && !text.starts_with(':');
    }
    Some(ends)
}

/// Where each event that is finished stands, with the comments before it and the empty line behind it.
pub(in crate::diff) fn spans(content: &[u8]) -> Option<Vec<Range<usize>>> {
    let ends = ends(content)?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    Some(starts.zip(ends.iter().copied()).map(|(start, end)| start..end).collect())
}

/// A line of an event as written.
pub(in crate::diff) struct EventLine<'a> {
    /// The field's name; empty for a comment and for the empty line.
    pub name: &'a str,
    /// All of it, its line end included.
    pub raw: &'a [u8],
    /// Where in it the value stands.
    pub value: Range<usize>,
}

/// The lines of an event.
pub(in crate::diff) fn lines(content: &[u8]) -> Option<Vec<EventLine<'_>>> {
    let mut at = 0;
    let line = |Line { text, end }: Line<'_>| (text.len(), end);
    let lengths: Vec<(usize, usize)> = Lines::of(content)?.map(line).collect();
    let lines = lengths.into_iter().map(|(length, end)| {
        let raw = &content[at..end];
        at = end;
        let text = std::str::from_utf8(&raw[..length]).ok()?;
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        Some(EventLine { name, raw, value: length - value.len()..length })
    });
    lines.collect()
}

/// The lines that are ended, in CRLF, LF or CR.
struct Lines<'a> {
    /// What was not read yet; in the end what stands behind the last line.
    rest: &'a str,
    at: usize,
}

struct Line<'a> {
    text: &'a str,
    /// Where it ends in the stream, its line end included.
    end: usize,
}

impl<'a> Lines<'a> {
    fn of(content: &'a [u8]) -> Option<Lines<'a>> {
        if has_too_many(b'\n', content) || has_too_many(b'\r', content) {
            return None;
        }
        let text = std::str::from_utf8(content).ok()?;
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Some(Lines { rest, at: text.len() - rest.len() })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let length = self.rest.find(['\r', '\n'])?;
        let (text, after) = self.rest.split_at(length);
        let width = if after.starts_with("\r\n") { 2 } else { 1 };
        self.rest = &after[width..];
        self.at += length + width;
        Some(Line { text, end: self.at })
    }
}

#[derive(Default)]
struct Event {
    data: Option<String>,
    others: Vec<(Cow<'static, str>, Tree<'static>)>,
}

impl Event {
    fn field(&mut self, name: &str, value: &str) {
        match (&mut self.data, name) {
            (Some(data), "data") => {
                data.push('\n');
                data.push_str(value);
            }
            (none, "data") => *none = Some(value.to_owned()),
            _ => {
                let value = Tree::Raw(Cow::Owned(value.as_bytes().to_vec()));
                self.others.push((Cow::Owned(name.to_owned()), value));
            }
        }
    }

    fn finish(self, depth: usize) -> Option<Tree<'static>> {
        let mut fields = self.others;
        fields.extend(self.data.map(|data| (Cow::Borrowed("data"), text_at(Cow::Owned(data.into_bytes()), depth - 1))));
        (!fields.is_empty()).then(|| Tree::object(fields))
    }
}
