//! XML: attributes, and texts of elements that hold nothing else.

use super::Places;
use crate::diff::open;

/// `None` where a place is something else, or is not on both sides.
pub(super) fn take(old: &[u8], new: &[u8], places: &Places) -> Option<Vec<u8>> {
    let (old, new) = (std::str::from_utf8(old).ok()?, std::str::from_utf8(new).ok()?);
    let pointers: Vec<&str> = places.pointers().collect();
    let spans = open::xml_spans(old, &pointers)?.into_iter().zip(open::xml_spans(new, &pointers)?);
    let mut edits: Vec<_> = spans.collect();
    edits.sort_by_key(|(span, _)| span.start);
    let mut edited = String::with_capacity(old.len());
    let mut at = 0;
    for (span, from) in edits {
        edited += old.get(at..span.start)?;
        edited += &new[from];
        at = span.end;
    }
    edited += old.get(at..)?;
    Some(edited.into_bytes())
}
