//! Server-sent events (WHATWG HTML section 9.2.6).

use std::borrow::Cow;

use super::{has_too_many, text_at};
use crate::diff::tree::Tree;

/// The events of a stream, each with its fields; the lines of its data are one text. Comments say nothing. `None` for
/// what is not UTF-8, or has too many lines.
///
/// A field that stands before the end of the stream without the empty line that ends its event is told as a field of an
/// event that is `unfinished`.
pub(super) fn read(content: &[u8], depth: usize) -> Option<Tree<'static>> {
    if has_too_many(b'\n', content) || has_too_many(b'\r', content) {
        return None;
    }
    let text = std::str::from_utf8(content).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut events = Vec::new();
    let mut event = Event::default();
    // Lines end in CRLF, LF or CR.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (whole, rest) = text.rsplit_once('\n').map_or(("", text.as_str()), |(whole, rest)| (whole, rest));
    let has_lines = text.contains('\n');
    for line in whole.split('\n').filter(|_| has_lines) {
        match line.split_once(':').unwrap_or((line, "")) {
            ("", "") if line.is_empty() => events.extend(std::mem::take(&mut event).finish(depth)),
            ("", _) => {}
            (name, value) => event.field(name, value.strip_prefix(' ').unwrap_or(value)),
        }
    }
    if !rest.is_empty() {
        event.others.push((Cow::Borrowed("cut"), Tree::Raw(Cow::Owned(rest.as_bytes().to_vec()))));
    }
    if event.data.is_some() || !event.others.is_empty() {
        event.others.push((Cow::Borrowed("unfinished"), Tree::Bool(true)));
    }
    events.extend(event.finish(depth));
    Some(Tree::Array(events))
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
