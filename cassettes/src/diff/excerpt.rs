//! Values made short enough to read.

use std::{fmt::Write, ops::Range};

use super::{
    align::{Fate, align},
    compare::hash,
    tree::Tree,
};

/// The most characters (or bytes shown in hexadecimal, times three) of one value.
const MOST: usize = 240;

/// How many equal words are shown around those of two long texts that differ.
const AROUND: usize = 6;

/// The most words of texts that are compared word by word.
const MOST_WORDS: usize = 2_000;

/// How much of what is equal is shown before the first difference of two long values.
const BEFORE: usize = 40;

/// Two values that differ.
pub(super) fn values(expected: &Tree<'_>, actual: &Tree<'_>) -> (String, String) {
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    match (expected.readable(), actual.readable()) {
        (Tree::Raw(old), Tree::Raw(new)) if !is_text(old) || !is_text(new) => bytes(old, new),
        (old, new) => texts(&old.shown(), &new.shown()),
    }
}

/// One value.
pub(super) fn value(value: &Tree<'_>) -> String {
    match value.readable() {
        Tree::Raw(bytes) => any(bytes),
        value => text(&value.shown()),
    }
}

/// The beginning of `text`, with its whole length said where that is not all of it.
fn text(text: &str) -> String {
    from(text, 0)
}

/// Two texts, shortened so that the differences between them are seen in both: the words that differ with some around
/// them, or all from the first difference on where the words are too long for that.
fn texts(expected: &str, actual: &str) -> (String, String) {
    let longest = expected.len().max(actual.len());
    if longest > MOST
        && let Some(shown) = words_apart(expected, actual)
    {
        return shown;
    }
    let equal = expected.bytes().zip(actual.bytes()).take_while(|(a, b)| a == b).count();
    let start = if longest <= MOST { 0 } else { equal.saturating_sub(BEFORE) };
    (from(expected, start), from(actual, start))
}

/// The words of two texts that differ, each with [`AROUND`] equal ones before and after; `None` where that is more than
/// [`MOST`], or the texts are longer than [`MOST_WORDS`].
fn words_apart(expected: &str, actual: &str) -> Option<(String, String)> {
    let words = |text: &'_ str| -> Vec<Range<usize>> {
        let mut end = 0;
        let word = |word: &str| {
            end += word.len();
            end - word.len()..end
        };
        text.split_inclusive(|c: char| !c.is_alphanumeric()).map(word).collect()
    };
    let (old, new) = (words(expected), words(actual));
    if old.len().max(new.len()) > MOST_WORDS {
        return None;
    }
    let identities = |text: &str, words: &[Range<usize>]| -> Vec<u64> {
        words.iter().map(|word| hash(&text.as_bytes()[word.clone()])).collect()
    };
    let mut seen = [vec![false; old.len()], vec![false; new.len()]];
    let mut next = [0, 0];
    let kept = align(&identities(expected, &old), &identities(actual, &new), |_, _| 0);
    let kept = kept.into_iter().filter_map(|fate| if let Fate::Kept(i, j) = fate { Some([i, j]) } else { None });
    for kept in kept.chain([[old.len(), new.len()]]) {
        if kept != next {
            for (seen, (from, to)) in seen.iter_mut().zip(next.into_iter().zip(kept)) {
                let (from, to) = (from.saturating_sub(AROUND), (to + AROUND).min(seen.len()));
                seen[from..to].fill(true);
            }
        }
        next = kept.map(|at| at + 1);
    }
    let shown = |text: &str, words: &[Range<usize>], seen: &[bool]| {
        let mut shown = String::new();
        let mut at = 0;
        for run in seen.chunk_by(|a, b| a == b) {
            match run[0] {
                true => shown.push_str(&text[words[at].start..words[at + run.len() - 1].end]),
                false => shown.push('…'),
            }
            at += run.len();
        }
        (shown.len() <= MOST).then(|| format!("{shown} ({} bytes)", text.len()))
    };
    Some((shown(expected, &old, &seen[0])?, shown(actual, &new, &seen[1])?))
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
    fn long_texts_show_all_words_that_differ() {
        let text = |first: &str, last: &str| {
            let many = "the same words again and again, ".repeat(40);
            format!("once {first} upon a time {many} in the {last} end")
        };
        let (expected, actual) = texts(&text("upon", "very"), &text("more", "bitter"));
        assert_eq!(expected, "once upon upon a time the same words again …and again,  in the very end (1318 bytes)");
        assert_eq!(actual, "once more upon a time the same words again …and again,  in the bitter end (1320 bytes)");
        let (expected, actual) = texts(&text("upon", "end"), &text("upon", "end, the"));
        assert!(expected.ends_with(" in the end end (1317 bytes)"), "{expected}");
        assert!(actual.ends_with(" in the end, the end (1322 bytes)"), "{actual}");
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
