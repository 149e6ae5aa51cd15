//! Values made short enough to read.

use std::fmt::Write;

use super::tree::Tree;

/// The most characters (or bytes shown in hexadecimal, times three) of one value.
const MOST: usize = 240;

/// How much of what is equal is shown before the first difference of two long values.
const BEFORE: usize = 40;

/// Two values that differ.
pub(super) fn values(expected: &Tree<'_>, actual: &Tree<'_>) -> (String, String) {
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    match (expected.unopened(), actual.unopened()) {
        (Tree::Raw(old), Tree::Raw(new)) if !is_text(old) || !is_text(new) => bytes(old, new),
        (old, new) => texts(&old.shown(), &new.shown()),
    }
}

/// One value.
pub(super) fn value(value: &Tree<'_>) -> String {
    match value.unopened() {
        Tree::Raw(bytes) => any(bytes),
        value => text(&value.shown()),
    }
}

/// The beginning of `text`, with its whole length said where that is not all of it.
fn text(text: &str) -> String {
    from(text, 0)
}

/// Two texts, shortened so that the first difference between them is seen in both.
fn texts(expected: &str, actual: &str) -> (String, String) {
    let equal = expected.bytes().zip(actual.bytes()).take_while(|(a, b)| a == b).count();
    let longest = expected.len().max(actual.len());
    let start = if longest <= MOST { 0 } else { equal.saturating_sub(BEFORE) };
    (from(expected, start), from(actual, start))
}

/// Two byte strings in hexadecimal, from their first difference on.
fn bytes(expected: &[u8], actual: &[u8]) -> (String, String) {
    let at = expected.iter().zip(actual).take_while(|(a, b)| a == b).count();
    (hex(expected, at), hex(actual, at))
}

/// One byte string in hexadecimal.
fn any(value: &[u8]) -> String {
    std::str::from_utf8(value).map_or_else(|_| hex(value, 0), text)
}

fn from(text: &str, start: usize) -> String {
    let start = text.floor_char_boundary(start);
    let end = text.floor_char_boundary(start.saturating_add(MOST));
    if start == 0 && end == text.len() {
        return text.to_owned();
    }
    let before = if start > 0 { "…" } else { "" };
    let after = if end < text.len() { "…" } else { "" };
    format!("{before}{}{after} ({} bytes)", &text[start..end], text.len())
}

fn hex(bytes: &[u8], at: usize) -> String {
    let rest = &bytes[at.min(bytes.len())..];
    let mut shown = format!("at {at}:");
    for byte in rest.iter().take(MOST / 3) {
        write!(shown, " {byte:02x}").expect("writing to a String does not fail");
    }
    let after = if rest.len() > MOST / 3 { " …" } else { "" };
    shown + &format!("{after} ({} bytes)", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_whole() {
        assert_eq!(texts("abc", "abd"), ("abc".into(), "abd".into()));
        assert_eq!(text(""), "");
    }

    #[test]
    fn long_texts_show_the_place_where_they_part() {
        let same = "é".repeat(4000);
        let (expected, actual) = texts(&format!("{same}left"), &format!("{same}right"));
        assert!(expected.starts_with('…') && expected.ends_with("left (8004 bytes)"), "{expected}");
        assert!(actual.ends_with("right (8005 bytes)"), "{actual}");
        let (expected, actual) = texts(&"a".repeat(5000), "aab");
        assert!(expected.ends_with("a… (5000 bytes)"), "{expected}");
        assert_eq!(actual, "aab");
    }

    #[test]
    fn bytes_say_where_they_part() {
        assert_eq!(
            bytes(b"\xff\x00\x01", b"\xff\x00\x02\x03"),
            ("at 2: 01 (3 bytes)".into(), "at 2: 02 03 (4 bytes)".into())
        );
        assert!(bytes(&[0xff; 500], b"").0.ends_with("ff … (500 bytes)"));
    }
}
