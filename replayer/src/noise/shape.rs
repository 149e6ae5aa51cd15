//! The shape that texts share: what is equal in all of them, and what kind of token stands between.

use regex::escape;

/// The shortest run of letters and digits that is taken for a token.
const TOKEN: usize = 8;

/// The longest text of which a shape is looked for, in bytes.
const LONGEST: usize = 1024;

/// What the texts of several series have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// A regular expression that matches each of them from start to end, and little else.
    pub pattern: String,
    /// What varies, for reading: `a UUID`, `12 hexadecimal digits`.
    pub varies: Vec<String>,
    /// A part that never varied within a series, and does between them, is left open by the pattern as well.
    pub is_loose: bool,
}

/// Find the shape of texts, series by series (one place of one entry: what was recorded and what came in each run).
/// `None` where they are not made of tokens between equal parts.
pub(super) fn of(series: &[Vec<&str>]) -> Option<Shape> {
    if series.iter().flatten().any(|text| text.len() > LONGEST) {
        return None;
    }
    in_pieces(series).or_else(|| one_token(series))
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// A UUID.
    Uuid(&'a str),
    /// Letters and digits.
    Word(&'a str),
    /// Anything else.
    Between(&'a str),
}

impl<'a> Piece<'a> {
    fn text(self) -> &'a str {
        match self {
            Piece::Uuid(text) | Piece::Word(text) | Piece::Between(text) => text,
        }
    }
}

fn in_pieces(series: &[Vec<&str>]) -> Option<Shape> {
    let cut: Vec<Vec<Vec<Piece>>> =
        series.iter().map(|texts| texts.iter().map(|text| pieces(text)).collect()).collect();
    let count = cut.iter().flatten().next()?.len();
    if count == 0 || cut.iter().flatten().any(|pieces| pieces.len() != count) {
        return None;
    }
    let mut shape = Shape { pattern: String::from("^"), varies: Vec::new(), is_loose: false };
    for at in 0..count {
        let column: Vec<Piece> = cut.iter().flatten().map(|pieces| pieces[at]).collect();
        if column.iter().all(|piece| *piece == column[0]) {
            shape.pattern += &escape(column[0].text());
            continue;
        }
        let token = token(&column)?;
        shape.pattern += &token.pattern;
        let varies_within = cut.iter().any(|texts| texts.iter().any(|pieces| pieces[at] != texts[0][at]));
        if varies_within {
            shape.varies.push(token.words);
        } else {
            shape.is_loose = true;
        }
    }
    shape.pattern.push('$');
    (!shape.varies.is_empty()).then_some(shape)
}

/// Cut a text where letters and digits begin and end; a UUID stays whole.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = if let Some(uuid) = rest.get(..36).filter(|start| is_uuid(start) && ends_there(rest, 36)) {
            (Piece::Uuid(uuid), 36)
        } else {
            let is_word = |c: char| c.is_ascii_alphanumeric();
            let begins_word = rest.starts_with(is_word);
            let end = rest.find(|c: char| is_word(c) != begins_word).unwrap_or(rest.len());
            (if begins_word { Piece::Word(&rest[..end]) } else { Piece::Between(&rest[..end]) }, end)
        };
        pieces.push(piece);
        rest = &rest[after..];
    }
    pieces
}

fn ends_there(text: &str, at: usize) -> bool {
    text.as_bytes().get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

/// 8-4-4-4-12 hexadecimal digits (RFC 9562 section 4).
fn is_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| if dashes.contains(&at) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// What the differing pieces of one place have in common.
struct Token {
    pattern: String,
    words: String,
}

fn token(column: &[Piece<'_>]) -> Option<Token> {
    if column.iter().all(|piece| matches!(piece, Piece::Uuid(_))) {
        let digit = hex_class(column.iter().map(|piece| piece.text()));
        let pattern = format!("{digit}{{8}}-{digit}{{4}}-{digit}{{4}}-{digit}{{4}}-{digit}{{12}}");
        return Some(Token { pattern, words: "a UUID".to_owned() });
    }
    let words: Vec<&str> =
        column.iter().map(|piece| matches!(piece, Piece::Word(_)).then(|| piece.text())).collect::<Option<_>>()?;
    let all = |is: fn(u8) -> bool| words.iter().all(|word| word.bytes().all(is));
    if all(|b| b.is_ascii_digit()) {
        return Some(sized("[0-9]", "digits", &words));
    }
    if words.iter().any(|word| word.len() < TOKEN) {
        return None;
    }
    // Words of a language have no digits.
    let looks_random = |word: &&&str| word.bytes().any(|b| b.is_ascii_digit());
    if words.iter().filter(looks_random).count() * 2 < words.len() {
        return None;
    }
    if all(|b| b.is_ascii_hexdigit()) {
        return Some(sized(hex_class(words.iter().copied()), "hexadecimal digits", &words));
    }
    let class = match (all(|b| !b.is_ascii_lowercase()), all(|b| !b.is_ascii_uppercase())) {
        (true, _) => "[0-9A-Z]",
        (_, true) => "[0-9a-z]",
        _ => "[0-9A-Za-z]",
    };
    Some(sized(class, "letters and digits", &words))
}

/// A token of the URL-safe or the plain base64 alphabet (RFC 4648), which the cut into pieces would tear apart.
fn one_token(series: &[Vec<&str>]) -> Option<Shape> {
    let texts: Vec<&str> = series.iter().flatten().copied().collect();
    let made_of = |others: &[u8]| {
        let is_one = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b));
        texts.iter().all(is_one)
    };
    let has_digits = texts.iter().filter(|text| text.bytes().any(|b| b.is_ascii_digit())).count() * 2 >= texts.len();
    if texts.iter().any(|text| text.len() < 2 * TOKEN) || !has_digits {
        return None;
    }
    let class = match (made_of(b"-_"), made_of(b"+/=")) {
        (true, _) => "[0-9A-Za-z_-]",
        (_, true) => "[0-9A-Za-z+/=]",
        _ => return None,
    };
    let Token { pattern, words } = sized(class, "characters of base64", &texts);
    Some(Shape { pattern: format!("^{pattern}$"), varies: vec![words], is_loose: false })
}

/// The class as often as in the words: so many times where they are long and of one length.
fn sized(class: &str, what: &str, words: &[&str]) -> Token {
    let length = words[0].len();
    if length >= TOKEN && words.iter().all(|word| word.len() == length) {
        Token { pattern: format!("{class}{{{length}}}"), words: format!("{length} {what}") }
    } else {
        Token { pattern: format!("{class}+"), words: what.to_owned() }
    }
}

fn hex_class<'a>(words: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    match (words.clone().any(has_lowercase), words.clone().any(has_uppercase)) {
        (_, false) => "[0-9a-f]",
        (false, true) => "[0-9A-F]",
        (true, true) => "[0-9A-Fa-f]",
    }
}

fn has_lowercase(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_lowercase())
}

fn has_uppercase(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    const UUIDS: [&str; 2] = ["5f0c1a3e-8d0b-4b6e-9c55-0a1b2c3d4e5f", "00000000-1111-4222-8333-444444444444"];

    fn pattern(series: &[Vec<&str>]) -> Option<String> {
        of(series).map(|shape| shape.pattern)
    }

    #[test]
    fn tokens_between_equal_parts() {
        let uuid = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
        assert_eq!(pattern(&[UUIDS.to_vec()]).as_deref(), Some(uuid));
        for (one, other, expected) in [
            ("req-0a1b2c3d", "req-ffee0011", "^req\\-[0-9a-f]{8}$"),
            ("/quote?nonce=17", "/quote?nonce=4", "^/quote\\?nonce=[0-9]+$"),
            ("A1B2C3D4", "00FF00FF", "^[0-9A-F]{8}$"),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ", "^[0-9A-Z]{26}$"),
            ("V1StGXR8_Z5jdHi6B-myT", "kf9Q-1a_b2c3d4e5f6g7h", "^[0-9A-Za-z_-]{21}$"),
            ("q83vEjRWeJq83vEj+/==", "EjRWeJq83v/q83vEjRW=", "^[0-9A-Za-z+/=]{20}$"),
        ] {
            assert_eq!(pattern(&[vec![one, other]]).as_deref(), Some(expected), "{one}");
        }
    }

    #[test]
    fn words_have_no_shape() {
        for (one, other) in [
            ("alice", "bob"),
            ("", "17"),
            ("pending", "delivered"),
            ("a1", "b2"),
            ("two words", "three whole words"),
            ("interesting-things", "understanding-much"),
            ("same", "same"),
        ] {
            assert_eq!(pattern(&[vec![one, other]]), None, "{one}");
        }
    }

    #[test]
    fn what_never_varies_within_an_entry_is_told_where_the_pattern_leaves_it_open() {
        let seven = ["order-7-0a1b2c3d", "order-7-0011ffee"];
        let nine = ["order-9-1a1b2c3d", "order-9-2011ffee"];
        assert!(!of(&[seven.to_vec()]).unwrap().is_loose);
        let both = of(&[seven.to_vec(), nine.to_vec()]).unwrap();
        assert!(both.is_loose, "{both:?}");
        assert_eq!(both.varies, ["8 hexadecimal digits"]);
    }

    proptest! {
        #[test]
        fn a_pattern_covers_every_text_it_came_from(texts in prop::collection::vec("(req-)?[0-9a-zA-Z_/=. -]{0,24}", 2..6)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            if let Some(shape) = of(std::slice::from_ref(&texts)) {
                let pattern = Regex::new(&shape.pattern).unwrap();
                prop_assert!(texts.iter().all(|text| pattern.is_match(text)), "{shape:?}");
            }
        }

        #[test]
        fn a_pattern_for_uuids_refuses_what_is_none(other in ".{0,40}") {
            let pattern = Regex::new(&of(&[UUIDS.to_vec()]).unwrap().pattern).unwrap();
            prop_assert_eq!(pattern.is_match(&other), is_uuid(&other) && !has_uppercase(&other));
        }
    }
}
