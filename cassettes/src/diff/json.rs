//! JSON (RFC 8259) as a tree that keeps what matters for comparison: number texts and repeated names.

use std::borrow::Cow;

use super::tree::Tree;

/// The deepest nesting that is read as JSON; a deeper text is compared as text.
const DEEPEST: usize = 200;

/// The most values that are read as JSON; a text with more is compared as text.
const MOST: usize = 4_000_000;

/// Reads a whole text that is a JSON object or array; `None` for anything else.
pub(super) fn read(text: &[u8]) -> Option<Tree<'_>> {
    let first = text.iter().find(|byte| !is_space(**byte))?;
    matches!(first, b'{' | b'[').then(|| any(text))?
}

/// Reads a whole text that is any JSON value.
pub(super) fn any(text: &[u8]) -> Option<Tree<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader { text, at: 0, left: MOST };
    let tree = reader.value(0)?;
    reader.space();
    (reader.at == text.len()).then_some(tree)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// How many more values are read.
    left: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn space(&mut self) {
        self.skip(is_space);
    }

    /// Steps over bytes while `wanted` says so and tells how many there were.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
        self.at += count;
        count
    }

    fn word(&mut self, word: &str, tree: Tree<'a>) -> Option<Tree<'a>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            tree
        })
    }

    fn value(&mut self, depth: usize) -> Option<Tree<'a>> {
        if depth > DEEPEST {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.space();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Tree::Text),
            b'n' => self.word("null", Tree::Null),
            b't' => self.word("true", Tree::Bool(true)),
            b'f' => self.word("false", Tree::Bool(false)),
            _ => self.number().map(|text| Tree::Number(Cow::Borrowed(text))),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Tree<'a>> {
        self.take(b'[')?;
        let mut items = Vec::new();
        self.space();
        if self.take(b']').is_some() {
            return Some(Tree::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Tree::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Tree<'a>> {
        self.take(b'{')?;
        let mut members = Vec::new();
        self.space();
        if self.take(b'}').is_some() {
            return Some(Tree::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.take(b':')?;
            members.push((name, self.value(depth + 1)?));
            self.space();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(Tree::object(members));
            }
        }
    }

    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        let _minus = self.take(b'-');
        let zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        if zero && digits > 1 {
            return None;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Option<usize> {
        Some(self.skip(|byte| byte.is_ascii_digit())).filter(|count| *count > 0)
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.take(b'"')?;
        let mut unescaped: Option<String> = None;
        loop {
            let start = self.at;
            self.skip(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
            let piece = &self.text[start..self.at];
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(match unescaped {
                        None => Cow::Borrowed(piece),
                        Some(before) => Cow::Owned(before + piece),
                    });
                }
                b'\\' => {
                    self.at += 1;
                    let text = unescaped.get_or_insert_default();
                    text.push_str(piece);
                    text.push(self.escape()?);
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.code_point(),
            _ => return None,
        })
    }

    /// The character of `\uXXXX`, or of two of them that are a surrogate pair. A lone surrogate is no text.
    fn code_point(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.take(b'\\')?;
        self.take(b'u')?;
        let second = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return None;
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Vec<u8> {
        read(text.as_bytes()).unwrap_or_else(|| panic!("{text} is JSON")).to_canonical()
    }

    #[test]
    fn only_whole_objects_and_arrays_are_json() {
        for text in ["{}", " [ ] \n", r#"{"a":[1,-0.5e+3,true,false,null,"x"]}"#, r#"["\ud83d\ude00\/\b\f\n\r\t"]"#] {
            assert!(read(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "",
            "1",
            "\"a\"",
            "null",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[1e]",
            "[\"\\x\"]",
            "[\"\\ud800\"]",
            "[\"\\udc00\"]",
            "[\"\\ud800\\u0041\"]",
            "[\"a\nb\"]",
            "[1] x",
            "[",
            "[nul]",
            "{\"a\":1,}",
            "\u{feff}[]",
            "[\"",
            "[\"\\u12\"]",
            "[-]",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"[\"\xff\"]"), None);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(DEEPEST + 1).as_bytes()).is_some());
        assert_eq!(read(nested(DEEPEST + 2).as_bytes()), None);
        assert_eq!(read("[".repeat(10_000_000).as_bytes()), None);
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let items = |count: usize| format!("[1{}]", ",1".repeat(count - 1));
        assert!(read(items(MOST - 1).as_bytes()).is_some());
        assert_eq!(read(items(MOST).as_bytes()), None);
    }

    #[test]
    fn what_does_not_matter_and_what_does() {
        assert_eq!(canonical(r#"{"a":1,"b":[2,"A"]}"#), canonical("{ \"b\" : [2 ,\"\\u0041\"],\n\"a\":1}"));
        for (a, b) in [
            (r#"{"a":1}"#, r#"{"a":1.0}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"a":1,"a":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"[1,2]"#, r#"[2,1]"#),
            (r#"[1,[2]]"#, r#"[[1],2]"#),
            (r#"[12]"#, r#"[1,2]"#),
            (r#"{}"#, r#"[]"#),
            (r#"["",""]"#, r#"[""]"#),
            (r#"[123456789012345678901]"#, r#"[123456789012345678902]"#),
        ] {
            assert_ne!(canonical(a), canonical(b), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn reading_agrees_with_serde_json(text in "[\\[\\]{}:, \"a\\\\u0-9dD.eE+nultrfs-]{0,24}") {
            let whole: Result<serde_json::Value, _> = serde_json::from_str(&text);
            let is_json = whole.is_ok_and(|value| value.is_array() || value.is_object());
            prop_assert_eq!(read(text.as_bytes()).is_some(), is_json, "{}", text);
        }
    }
}
