//! Texts of several lines, and JSON line by line.

use std::borrow::Cow;

use super::{has_too_many, open_texts};
use crate::diff::{
    json,
    tree::{Form, Tree},
};

/// The lines of a text that has several: as JSON where each is a JSON object or array, else as they stand (with a
/// carriage return that ends them, without the line feed).
pub(super) fn read(content: &[u8], depth: usize) -> Option<(Form, Tree<'_>)> {
    if !content.contains(&b'\n') || has_too_many(b'\n', content) || std::str::from_utf8(content).is_err() {
        return None;
    }
    let lines: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
    let (records, is_ended) = match lines.as_slice() {
        [records @ .., b""] => (records, true),
        records => (records, false),
    };
    let records: Option<Vec<Tree<'_>>> = records.iter().map(|record| json::read(record)).collect();
    Some(match records {
        Some(mut records) => {
            records.iter_mut().for_each(|record| open_texts(record, depth - 1));
            (Form::JsonLines(is_ended), Tree::Array(records))
        }
        None => {
            let lines = lines.into_iter().map(|line| Tree::Raw(Cow::Borrowed(line)));
            (Form::Lines, Tree::Array(lines.collect()))
        }
    })
}
