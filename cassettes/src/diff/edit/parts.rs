//! Bodies in parts.

use super::{
    Grain, Places, Typed, content,
    fields::{Named, named},
};
use crate::diff::{
    headers::split,
    open::{self, Part},
};

/// Parts by their names, between the boundaries of the old body. Of one part its body is edited, and its header lines are taken
/// whole.
pub(super) fn take(old: Typed<'_>, new: Typed<'_>, places: &Places, grain: Grain) -> Option<Vec<u8>> {
    let boundary = open::boundary(old.media_type?)?;
    let olds = open::split_parts(old.content, old.media_type?)?;
    let news = open::split_parts(new.content, new.media_type?)?;
    let inside = |i: usize, j: usize, below: &Places| part(&olds[i], &news[j], below, grain);
    let edited = named(&by_name(&olds), &by_name(&news), places, inside)?;
    let (opening, closing) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--"));
    let between = format!("\r\n--{boundary}\r\n");
    let after: &[u8] = if old.content.ends_with(b"\r\n") { b"\r\n" } else { b"" };
    Some([opening.as_bytes(), &edited.join(between.as_bytes()), closing.as_bytes(), after].concat())
}

fn by_name<'a>(parts: &[Part<'a>]) -> Vec<Named<'a>> {
    parts.iter().map(|part| Named { name: part.name.clone(), text: part.whole }).collect()
}

fn part(old: &Part<'_>, new: &Part<'_>, places: &Places, grain: Grain) -> Option<Vec<u8>> {
    let (of_body, of_header) = (places.below("body"), places.below("header"));
    fn typed<'a>(part: &'a Part<'_>) -> Typed<'a> {
        Typed { content: part.body, media_type: part.media_type.as_deref() }
    }
    let body = if of_body.is_empty() { old.body.to_vec() } else { content(typed(old), typed(new), &of_body, grain)? };
    let mut head = named(&lines(old), &lines(new), &of_header, |_, _, _| None)?.join(&b"\r\n"[..]);
    if !head.is_empty() {
        head.extend_from_slice(b"\r\n");
    }
    Some([head, b"\r\n".to_vec(), body].concat())
}

fn lines<'a>(part: &'a Part<'_>) -> Vec<Named<'a>> {
    let name = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    part.lines.iter().map(|line| Named { name: name(split(line).0), text: line.text() }).collect()
}
