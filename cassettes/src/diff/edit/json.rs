//! Edits of JSON text that leave every other byte as it was.

use std::ops::Range;

use super::{Grain, Places, text};

/// Deeper nesting is not edited in place (serde_json refuses it as well).
const DEEPEST: usize = 128;

/// `old` with what `new` has at the given places: a value there is replaced by the text it has in `new`, removed where `new`
/// has none, added after its siblings where `old` has none. A place inside of a string is put into the string, or means the
/// string, by the grain; with the coarsest one arrays that a place leads into are replaced as well. Order of members, white
/// space and the writing of numbers and strings stay as they are in `old` everywhere else.
///
/// `None` when one of the two is not JSON.
pub(super) fn take(old: &[u8], new: &[u8], places: &Places, grain: Grain) -> Option<Vec<u8>> {
    let (old, new) = (std::str::from_utf8(old).ok()?, std::str::from_utf8(new).ok()?);
    let (old_root, new_root) = (parse(old)?, parse(new)?);
    let mut merged = Rewriter { old, new, grain }.value(&old_root, &new_root, places);
    merged.insert_str(0, &old[..old_root.span.start]);
    merged.push_str(&old[old_root.span.end..]);
    Some(merged.into_bytes())
}

/// A value and where it stands in its text.
pub(super) struct Node {
    pub span: Range<usize>,
    pub inside: Inside,
}

pub(super) enum Inside {
    Scalar,
    Array(Vec<Item>),
    Object(Vec<Item>),
}

/// An element of an array or a member of an object, from the bracket or comma before it to the one after it.
pub(super) struct Item {
    /// The member's name, unescaped; empty in arrays.
    pub name: String,
    /// From the bracket or comma to the first byte of the name or value.
    lead: Range<usize>,
    /// The name, the colon and the space around it; empty in arrays.
    label: Range<usize>,
    pub value: Node,
    /// From the value to the comma or bracket.
    trail: Range<usize>,
}

struct Rewriter<'a> {
    old: &'a str,
    new: &'a str,
    grain: Grain,
}

impl Rewriter<'_> {
    fn value(&self, old: &Node, new: &Node, places: &Places) -> String {
        let (as_old, as_new) = (&self.old[old.span.clone()], &self.new[new.span.clone()]);
        if places.is_empty() {
            return as_old.to_owned();
        }
        if places.are_whole() {
            return as_new.to_owned();
        }
        match (&old.inside, &new.inside) {
            (Inside::Object(olds), Inside::Object(news)) => format!("{{{}}}", self.items(olds, news, places, true)),
            (Inside::Scalar, Inside::Scalar) => {
                let inside = if self.grain == Grain::Value { in_string(as_old, as_new, places) } else { None };
                inside.unwrap_or_else(|| as_new.to_owned())
            }
            (Inside::Array(_), Inside::Array(_)) if self.grain == Grain::Array => as_new.to_owned(),
            (Inside::Array(olds), Inside::Array(news)) => format!("[{}]", self.items(olds, news, places, false)),
            _ => as_old.to_owned(),
        }
    }

    fn items(&self, olds: &[Item], news: &[Item], places: &Places, named: bool) -> String {
        let child = |item: &Item, index: usize| match named {
            true => places.below(&item.name),
            false => places.at(index),
        };
        let counterpart = |item: &Item, index: usize, others: &[Item]| match named {
            true => others.iter().position(|other| other.name == item.name),
            false => (index < others.len()).then_some(index),
        };
        let mut kept: Vec<(&str, String, &str)> = Vec::with_capacity(olds.len());
        for (index, item) in olds.iter().enumerate() {
            let below = child(item, index);
            let text = match counterpart(item, index, news) {
                Some(other) => self.value(&item.value, &news[other].value, &below),
                None if below.are_whole() => continue,
                None => self.old[item.value.span.clone()].to_owned(),
            };
            let text = format!("{}{text}", &self.old[item.label.clone()]);
            let trail = if index + 1 == olds.len() { "" } else { &self.old[item.trail.clone()] };
            kept.push((&self.old[item.lead.clone()], text, trail));
        }
        for (index, item) in news.iter().enumerate() {
            if counterpart(item, index, olds).is_some() || !child(item, index).are_whole() {
                continue;
            }
            let lead = olds.first().map_or("", |first| &self.old[first.lead.clone()]);
            let text = format!("{}{}", &self.new[item.label.clone()], &self.new[item.value.span.clone()]);
            kept.push((lead, text, ""));
        }
        // The white space before the closing bracket stays with the bracket.
        let closing = olds.last().map_or("", |last| &self.old[last.trail.clone()]);
        let count = kept.len();
        let mut out = String::new();
        for (index, (lead, text, trail)) in kept.into_iter().enumerate() {
            let last = index + 1 == count;
            out += lead;
            out += &text;
            out += if last { closing } else { trail };
            out += if last { "" } else { "," };
        }
        out
    }
}

/// A string in JSON with what is inside of it edited.
fn in_string(old: &str, new: &str, places: &Places) -> Option<String> {
    let unescaped = |literal| serde_json::from_str::<String>(literal).ok();
    serde_json::to_string(&text(&unescaped(old)?, &unescaped(new)?, places)?).ok()
}

/// A text that is JSON, taken apart.
pub(super) fn parse(text: &str) -> Option<Node> {
    // The scanner below only finds where things are; what is JSON is decided here.
    serde_json::from_str::<&serde_json::value::RawValue>(text).ok()?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    scanner.value(0)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) -> Range<usize> {
        let start = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        start..self.at
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        let start = self.at;
        let inside = match self.peek()? {
            b'{' => Inside::Object(self.items(b'}', true, depth + 1)?),
            b'[' => Inside::Array(self.items(b']', false, depth + 1)?),
            b'"' => self.string().map(|()| Inside::Scalar)?,
            _ => {
                while self.peek().is_some_and(|b| !matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')) {
                    self.at += 1;
                }
                Inside::Scalar
            }
        };
        Some(Node { span: start..self.at, inside })
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            match self.peek()? {
                b'"' => return self.expect(b'"'),
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    fn items(&mut self, close: u8, named: bool, depth: usize) -> Option<Vec<Item>> {
        if depth > DEEPEST {
            return None;
        }
        self.at += 1;
        let mut items = Vec::new();
        loop {
            let lead = self.space();
            if items.is_empty() && self.peek()? == close {
                self.at += 1;
                return Some(items);
            }
            let label_start = self.at;
            let mut name = String::new();
            if named {
                self.string()?;
                name = serde_json::from_str(&self.text[label_start..self.at]).ok()?;
                self.space();
                self.expect(b':')?;
                self.space();
            }
            let label = label_start..self.at;
            let value = self.value(depth)?;
            let trail = self.space();
            items.push(Item { name, lead, label, value, trail });
            let next = self.peek()?;
            self.at += 1;
            if next == close {
                return Some(items);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(old: &str, new: &str, pointers: &[&str]) -> String {
        let places = Places::new(pointers.iter().copied());
        String::from_utf8(take(old.as_bytes(), new.as_bytes(), &places, Grain::Value).unwrap()).unwrap()
    }

    #[test]
    fn a_replaced_value_leaves_the_rest_as_it_was_written() {
        let old = "{ \"b\":1.50 ,\n  \"a\" : [1, 2,3],\"c\":\"\\u0041\" }\n";
        let new = r#"{"a":[1,9.90,3],"b":2,"c":"B"}"#;
        assert_eq!(taken(old, new, &["/a/1"]), "{ \"b\":1.50 ,\n  \"a\" : [1, 9.90,3],\"c\":\"\\u0041\" }\n");
        assert_eq!(taken(old, new, &[]), old);
    }

    #[test]
    fn members_and_elements_come_and_go() {
        let old = "{\n  \"a\": 1,\n  \"b\": 2\n}";
        assert_eq!(taken(old, r#"{"a": 1}"#, &["/b"]), "{\n  \"a\": 1\n}");
        assert_eq!(taken(old, r#"{"b": 2}"#, &["/a"]), "{\n  \"b\": 2\n}");
        assert_eq!(taken(old, "{}", &["/a", "/b"]), "{}");
        assert_eq!(
            taken(old, r#"{"a":1,"b":2,"c":{"d": 3}}"#, &["/c"]),
            "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\":{\"d\": 3}\n}"
        );
        assert_eq!(taken("[1, 2]", "[1,2,3,4]", &["/2", "/3"]), "[1, 2,3,4]");
        assert_eq!(taken("[1, 2, 3]", "[1]", &["/1", "/2"]), "[1]");
        assert_eq!(taken("{}", r#"{"x":null}"#, &["/x"]), r#"{"x":null}"#);
    }

    #[test]
    fn names_are_escaped_as_json_pointers_have_it() {
        let old = r#"{"a/b":1,"c~d":2,"e\"f":3,"":4}"#;
        let new = r#"{"a/b":10,"c~d":20,"e\"f":30,"":40}"#;
        assert_eq!(taken(old, new, &["/a~1b"]), r#"{"a/b":10,"c~d":2,"e\"f":3,"":4}"#);
        assert_eq!(taken(old, new, &["/c~0d"]), r#"{"a/b":1,"c~d":20,"e\"f":3,"":4}"#);
        assert_eq!(taken(old, new, &["/e\"f", "/"]), r#"{"a/b":1,"c~d":2,"e\"f":30,"":40}"#);
    }

    #[test]
    fn the_root_and_changed_types_are_replaced_whole() {
        assert_eq!(taken(" [1] ", r#"{"a":1}"#, &[""]), r#" {"a":1} "#);
        assert_eq!(taken(r#"{"a":[1,{"b":2}]}"#, r#"{"a":"x"}"#, &["/a"]), r#"{"a":"x"}"#);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let take = |old: &str, new: &str| take(old.as_bytes(), new.as_bytes(), &Places::default(), Grain::Value);
        assert_eq!(take("{", "{}"), None);
        assert_eq!(take("{}", "plain"), None);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(take(&deep, &deep), None);
    }
}
