//! Secrets in SQL: literals and parameters that a column or a word before them names. Read by words alone, as far as both dialects
//! write them alike, so that nothing depends on whether a statement can be parsed.

use std::ops::Range;

use super::{
    names,
    pass::{Edit, Edits, Pass, in_order},
    report::Kind,
};

/// Statements with more words are searched for forms alone.
const MOST: usize = 200_000;
/// How far behind `IDENTIFIED` its literal stands, in words.
const NEAR: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// A name or a keyword.
    Name(Range<usize>),
    /// A literal: what is between its quotes.
    Literal(Range<usize>),
    /// A parameter, from 0.
    Parameter(usize),
    Sign(u8),
}

/// What is secret in a statement.
#[derive(Debug, Default)]
pub(super) struct Statement {
    pub edits: Edits,
    /// Parameters that are secrets, from 0.
    pub parameters: Vec<(usize, Kind)>,
}

impl Pass<'_> {
    /// `quotes_names`: whether double quotes are around names, as in standard SQL, or around literals, as in MySQL.
    pub(super) fn sql(&mut self, text: &[u8], quotes_names: bool, depth: usize) -> Statement {
        let words = words(text, quotes_names);
        let named = self.named_words(text, &words);
        let mut statement = Statement::default();
        for (index, word) in words.iter().enumerate() {
            let kind = named.iter().find(|(at, _)| *at == index).map(|(_, kind)| *kind);
            match word {
                Word::Literal(at) => {
                    let written = &text[at.clone()];
                    let plain = unquoted(written);
                    if let Some(made) = self.leaf(&plain, kind, depth) {
                        let with = if plain == written { made } else { requoted(&made) };
                        statement.edits.push(Edit { at: at.clone(), with });
                    }
                }
                Word::Parameter(number) => statement.parameters.extend(kind.map(|kind| (*number, kind))),
                Word::Name(_) | Word::Sign(_) => {}
            }
        }
        // What stands elsewhere, in comments too.
        statement.edits.extend(self.scan(text, depth));
        statement.edits = in_order(statement.edits);
        statement
    }

    /// Literals and parameters that something names, by their places among the words.
    fn named_words(&self, text: &[u8], words: &[Word]) -> Vec<(usize, Kind)> {
        let name = |index: usize| match words.get(index) {
            Some(Word::Name(at)) => &text[at.clone()],
            _ => b"",
        };
        let is = |index: usize, word: &[u8]| name(index).eq_ignore_ascii_case(word);
        let sign =
            |index: usize, signs: &[u8]| matches!(words.get(index), Some(Word::Sign(sign)) if signs.contains(sign));
        let is_value = |index: usize| matches!(words.get(index), Some(Word::Literal(_) | Word::Parameter(_)));
        let mut named = Vec::new();
        for index in 0..words.len() {
            if name(index).is_empty() {
                continue;
            }
            if is(index, b"identified") {
                named.extend((index..index + NEAR).find(|at| is_value(*at)).map(|at| (at, Kind::Password)));
            } else if is(index, b"into") {
                self.inserted(text, words, index, &mut named);
            }
            let Some(kind) = self.rules.field(name(index)).or_else(|| names::secret(name(index))) else { continue };
            let mut at = index + 1;
            let mut compared = false;
            while sign(at, b"=<>!~:") || is(at, b"like") || is(at, b"ilike") || is(at, b"not") || is(at, b"in") {
                (at, compared) = (at + 1, true);
            }
            // `password = crypt($1, salt)`, `PASSWORD('x')`, `PASSWORD 'x'`
            if compared && !name(at).is_empty() && sign(at + 1, b"(") {
                at += 2;
            } else if sign(at, b"(") {
                at += 1;
            }
            if is_value(at) {
                named.push((at, kind));
            }
        }
        named
    }

    /// `INTO table (columns) VALUES (values), ..`
    fn inserted(&self, text: &[u8], words: &[Word], from: usize, named: &mut Vec<(usize, Kind)>) {
        let sign = |index: usize| if let Some(Word::Sign(sign)) = words.get(index) { *sign } else { 0 };
        let Some(open) = (from..from + NEAR).find(|at| sign(*at) == b'(') else { return };
        let mut columns = Vec::new();
        let mut at = open + 1;
        while let Some(Word::Name(name)) = words.get(at) {
            let name = &text[name.clone()];
            columns.push(self.rules.field(name).or_else(|| names::secret(name)));
            at += if sign(at + 1) == b',' { 2 } else { 1 };
        }
        let is_values =
            matches!(words.get(at + 1), Some(Word::Name(name)) if text[name.clone()].eq_ignore_ascii_case(b"values"));
        if sign(at) != b')' || !is_values || columns.iter().all(Option::is_none) {
            return;
        }
        at += 2;
        while sign(at) == b'(' {
            let (mut depth, mut column, mut taken) = (1, 0, false);
            at += 1;
            while depth > 0 && at < words.len() {
                match &words[at] {
                    Word::Sign(b'(') => depth += 1,
                    Word::Sign(b')') => depth -= 1,
                    Word::Sign(b',') if depth == 1 => (column, taken) = (column + 1, false),
                    Word::Literal(_) | Word::Parameter(_) if !taken => {
                        taken = true;
                        named.extend(columns.get(column).copied().flatten().map(|kind| (at, kind)));
                    }
                    _ => {}
                }
                at += 1;
            }
            at += usize::from(sign(at) == b',');
        }
    }
}

fn words(text: &[u8], quotes_names: bool) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0;
    let mut parameters = 0;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    while at < text.len() && words.len() < MOST {
        let rest = &text[at..];
        match rest[0] {
            b'-' if rest.starts_with(b"--") => at += memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
            b'/' if rest.starts_with(b"/*") => {
                at += memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2)
            }
            quote @ (b'\'' | b'"' | b'`') => {
                let end = closing(text, at + 1, quote);
                let inside = at + 1..end;
                let is_literal = quote == b'\'' || (quote == b'"' && !quotes_names);
                words.push(if is_literal { Word::Literal(inside) } else { Word::Name(inside) });
                at = end + 1;
            }
            b'$' if rest.get(1).is_some_and(u8::is_ascii_digit) => {
                let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let number =
                    std::str::from_utf8(&rest[1..=digits]).ok().and_then(|digits| digits.parse::<usize>().ok());
                words.extend(number.and_then(|number| number.checked_sub(1)).map(Word::Parameter));
                at += 1 + digits;
            }
            b'$' if memchr::memchr(b'$', &rest[1..])
                .is_some_and(|end| rest[1..=end].iter().all(|byte| is_name(*byte))) =>
            {
                let tag = memchr::memchr(b'$', &rest[1..]).map_or(1, |end| end + 2);
                let end = memchr::memmem::find(&rest[tag..], &rest[..tag]).map_or(text.len(), |end| at + tag + end);
                words.push(Word::Literal(at + tag..end));
                at = (end + tag).min(text.len());
            }
            b'?' => {
                words.push(Word::Parameter(parameters));
                parameters += 1;
                at += 1;
            }
            byte if is_name(byte) => {
                let length = rest.iter().take_while(|byte| is_name(**byte)).count();
                words.push(Word::Name(at..at + length));
                at += length;
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            sign => {
                words.push(Word::Sign(sign));
                at += 1;
            }
        }
    }
    words
}

/// Where the quote is that closes a literal; the end of the text without one.
fn closing(text: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < text.len() {
        match text[at] {
            b'\\' if quote != b'`' => at += 2,
            byte if byte == quote && text.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// A literal without the quotes that are doubled in it.
fn unquoted(written: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(written.len());
    let mut at = 0;
    while let Some(byte) = written.get(at) {
        plain.push(*byte);
        at += if *byte == b'\'' && written.get(at + 1) == Some(&b'\'') { 2 } else { 1 };
    }
    plain
}

fn requoted(plain: &[u8]) -> Vec<u8> {
    plain
        .iter()
        .flat_map(|byte| if *byte == b'\'' { &b"''"[..] } else { std::slice::from_ref(byte) })
        .copied()
        .collect()
}
