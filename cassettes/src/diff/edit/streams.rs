//! Lines, values of a stream, events: each by its number, as long as there are as many.

use std::ops::Range;

use super::{
    Grain, Places,
    fields::{Named, named, numbered},
    json, text,
};
use crate::diff::open::{self, Between};

/// Lines; in one that is JSON what is inside is edited.
pub(super) fn lines(old: &[u8], new: &[u8], places: &Places, grain: Grain) -> Option<Vec<u8>> {
    let lines = |content: &[u8]| -> Vec<Range<usize>> {
        let mut at = 0;
        let line = |line: &[u8]| {
            at += line.len() + 1;
            at - 1 - line.len()..at - 1
        };
        content.split(|byte| *byte == b'\n').map(line).collect()
    };
    spliced([old, new], [lines(old), lines(new)], places, |old, new, below| json::take(old, new, below, grain))
}

/// Values of a stream.
pub(super) fn records(old: &[u8], new: &[u8], by: Between, places: &Places, grain: Grain) -> Option<Vec<u8>> {
    let spans = [open::record_spans(old, by)?, open::record_spans(new, by)?];
    spliced([old, new], spans, places, |old, new, below| json::take(old, new, below, grain))
}

/// Events; in the data of one what is inside is edited, other fields are taken whole.
pub(super) fn events(old: &[u8], new: &[u8], places: &Places) -> Option<Vec<u8>> {
    spliced([old, new], [open::event_spans(old)?, open::event_spans(new)?], places, event)
}

/// `old` with what is at its spans edited by what is at those of `new`.
fn spliced(
    [old, new]: [&[u8]; 2],
    [old_spans, new_spans]: [Vec<Range<usize>>; 2],
    places: &Places,
    inside: impl Fn(&[u8], &[u8], &Places) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let edited = numbered(&texts(&old_spans, old), &texts(&new_spans, new), places, inside)?;
    let mut spliced = Vec::with_capacity(old.len());
    let mut at = 0;
    for (span, text) in old_spans.into_iter().zip(edited) {
        spliced.extend_from_slice(&old[at..span.start]);
        spliced.extend_from_slice(&text);
        at = span.end;
    }
    spliced.extend_from_slice(&old[at..]);
    Some(spliced)
}

fn texts<'a>(spans: &[Range<usize>], content: &'a [u8]) -> Vec<&'a [u8]> {
    spans.iter().map(|span| &content[span.clone()]).collect()
}

/// One event with its comments and its empty line.
fn event(old: &[u8], new: &[u8], places: &Places) -> Option<Vec<u8>> {
    const DATA: &str = "data";
    let (old_lines, new_lines) = (open::event_lines(old)?, open::event_lines(new)?);
    let of_data = places.below(DATA);
    let mut edited = old.to_vec();
    let mut others = places.clone();
    if !of_data.is_empty() && !of_data.are_whole() {
        let (old_data, new_data) = (data(&old_lines), data(&new_lines));
        let data = text(&old_data, &new_data, &of_data)?;
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut is_written = false;
        for line in &old_lines {
            if line.name != DATA {
                lines.push(line.raw.to_vec());
            } else if !std::mem::replace(&mut is_written, true) {
                let (label, end) = (&line.raw[..line.value.start], &line.raw[line.value.end..]);
                lines.extend(data.split('\n').map(|data| [label, data.as_bytes(), end].concat()));
            }
        }
        edited = lines.concat();
        others = places.without(DATA);
    }
    // The empty line stays the last.
    let mut lines = open::event_lines(&edited)?;
    let last = lines.pop()?.raw;
    let edited = named(&by_name(&lines), &by_name(&new_lines), &others, |_, _, _| None)?;
    Some([edited.concat(), last.to_vec()].concat())
}

fn by_name<'a>(lines: &[open::EventLine<'a>]) -> Vec<Named<'a>> {
    lines.iter().map(|line| Named { name: line.name.to_owned(), text: line.raw }).collect()
}

/// The data of an event: the values of its lines.
fn data(lines: &[open::EventLine<'_>]) -> String {
    let data = lines.iter().filter(|line| line.name == "data");
    let values: Vec<_> = data.map(|line| String::from_utf8_lossy(&line.raw[line.value.clone()])).collect();
    values.join("\n")
}
