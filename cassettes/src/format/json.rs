//! JSON (RFC 8259) as tokens that keep their exact text: numbers, escapes, member order and duplicate keys are
//! never interpreted, so that nothing of a recorded body is lost on the way through a cassette.

use std::borrow::Cow;

/// Where a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

impl Fault {
    pub fn new(at: usize, what: impl Into<String>) -> Fault {
        Fault { at, what: what.into() }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ObjectOpen,
    ObjectClose,
    ArrayOpen,
    ArrayClose,
    Comma,
    Colon,
    String,
    Number,
    /// `true`, `false` or `null`.
    Word,
}

impl Kind {
    pub fn opens(self) -> bool {
        matches!(self, Kind::ObjectOpen | Kind::ArrayOpen)
    }

    pub fn closes(self) -> bool {
        matches!(self, Kind::ObjectClose | Kind::ArrayClose)
    }
}

/// One token of a document.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub kind: Kind,
    /// Byte range in the text.
    pub start: usize,
    pub end: usize,
    /// Index of the token that ends the value which this one begins: the matching bracket, else the token itself.
    pub last: usize,
}

/// How many bytes of a cassette there are to a token, about; and the most tokens that room is made for at once.
const BYTES_A_TOKEN: usize = 12;
const ROOM: usize = 4096;

/// A text that holds exactly one JSON value.
#[derive(Debug)]
pub struct Document<'a> {
    pub text: &'a str,
    pub tokens: Vec<Token>,
}

/// What the grammar allows next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    CommaOrClose,
    Nothing,
}

impl<'a> Document<'a> {
    /// Read a text strictly. Values nested deeper than `max_depth` are refused.
    pub fn parse(text: &'a str, max_depth: usize) -> Result<Document<'a>, Fault> {
        let bytes = text.as_bytes();
        let mut tokens: Vec<Token> = Vec::with_capacity((text.len() / BYTES_A_TOKEN).min(ROOM));
        let mut open: Vec<usize> = Vec::new();
        let mut expect = Expect::Value;
        let mut at = 0;
        loop {
            while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
                at += 1;
            }
            let Some(&byte) = bytes.get(at) else {
                return match expect {
                    Expect::Nothing => Ok(Document { text, tokens }),
                    _ => Err(Fault::new(at, "the text ends in the middle of a value")),
                };
            };
            let kind = kind_of(byte).filter(|kind| allowed(*kind, expect, &open, &tokens));
            let Some(kind) = kind else { return Err(Fault::new(at, wanted(expect))) };
            let index = tokens.len();
            let start = at;
            at = match kind {
                Kind::String => string_end(bytes, at)?,
                Kind::Number => number_end(bytes, at)?,
                Kind::Word => word_end(bytes, at)?,
                _ => at + 1,
            };
            tokens.push(Token { kind, start, end: at, last: index });
            expect = match kind {
                Kind::ObjectOpen | Kind::ArrayOpen => {
                    if open.len() == max_depth {
                        return Err(Fault::new(start, format!("nested deeper than {max_depth} levels")));
                    }
                    open.push(index);
                    if kind == Kind::ObjectOpen { Expect::KeyOrClose } else { Expect::ValueOrClose }
                }
                Kind::Comma => {
                    let in_object = open.last().is_some_and(|&opener| tokens[opener].kind == Kind::ObjectOpen);
                    if in_object { Expect::Key } else { Expect::Value }
                }
                Kind::Colon => Expect::Value,
                Kind::String if matches!(expect, Expect::Key | Expect::KeyOrClose) => Expect::Colon,
                _ => {
                    if kind.closes()
                        && let Some(opener) = open.pop()
                    {
                        tokens[opener].last = index;
                    }
                    if open.is_empty() { Expect::Nothing } else { Expect::CommaOrClose }
                }
            };
        }
    }

    /// The document's value.
    pub fn root(&self) -> Node<'_> {
        Node { document: self, first: 0 }
    }

    /// A token's text.
    pub fn token_text(&self, token: &Token) -> &str {
        &self.text[token.start..token.end]
    }
}

fn kind_of(byte: u8) -> Option<Kind> {
    Some(match byte {
        b'{' => Kind::ObjectOpen,
        b'}' => Kind::ObjectClose,
        b'[' => Kind::ArrayOpen,
        b']' => Kind::ArrayClose,
        b',' => Kind::Comma,
        b':' => Kind::Colon,
        b'"' => Kind::String,
        b'-' | b'0'..=b'9' => Kind::Number,
        b't' | b'f' | b'n' => Kind::Word,
        _ => return None,
    })
}

fn allowed(kind: Kind, expect: Expect, open: &[usize], tokens: &[Token]) -> bool {
    let inside = open.last().map(|&opener| tokens[opener].kind);
    match kind {
        Kind::Colon => expect == Expect::Colon,
        Kind::Comma => expect == Expect::CommaOrClose,
        Kind::ObjectClose => {
            inside == Some(Kind::ObjectOpen) && matches!(expect, Expect::KeyOrClose | Expect::CommaOrClose)
        }
        Kind::ArrayClose => {
            inside == Some(Kind::ArrayOpen) && matches!(expect, Expect::ValueOrClose | Expect::CommaOrClose)
        }
        Kind::String => !matches!(expect, Expect::Colon | Expect::CommaOrClose | Expect::Nothing),
        Kind::ObjectOpen | Kind::ArrayOpen | Kind::Number | Kind::Word => {
            matches!(expect, Expect::Value | Expect::ValueOrClose)
        }
    }
}

fn wanted(expect: Expect) -> &'static str {
    match expect {
        Expect::Value => "expected a value",
        Expect::ValueOrClose => "expected a value or `]`",
        Expect::Key => "expected a key",
        Expect::KeyOrClose => "expected a key or `}`",
        Expect::Colon => "expected `:`",
        Expect::CommaOrClose => "expected `,` or the closing bracket",
        Expect::Nothing => "something follows the end of the value",
    }
}

fn string_end(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return Err(Fault::new(start, "a string that never ends")),
            Some(b'"') => return Ok(at + 1),
            Some(0..=0x1f) => return Err(Fault::new(at, "a control character in a string")),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') if bytes.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {
                    at += 6;
                }
                _ => return Err(Fault::new(at, "not an escape of JSON")),
            },
            Some(_) => at += 1,
        }
    }
}

fn number_end(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let digits = |mut at: usize| {
        let first = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == first { Err(Fault::new(start, "not a number of JSON")) } else { Ok(at) }
    };
    let mut at = start;
    if bytes[at] == b'-' {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    Ok(at)
}

fn word_end(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    ["true", "false", "null"]
        .iter()
        .find(|word| bytes[start..].starts_with(word.as_bytes()))
        .map(|word| start + word.len())
        .ok_or_else(|| Fault::new(start, "expected a value"))
}

/// One value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Node<'d> {
    document: &'d Document<'d>,
    first: usize,
}

impl<'d> Node<'d> {
    fn token(&self) -> &'d Token {
        &self.document.tokens[self.first]
    }

    /// Byte offset in the text.
    pub fn at(&self) -> usize {
        self.token().start
    }

    pub fn kind(&self) -> Kind {
        self.token().kind
    }

    /// The text of the value's first token: all of it, unless it is an array or an object.
    pub fn token_text(&self) -> &'d str {
        self.document.token_text(self.token())
    }

    /// The text of every token of the value, in order.
    pub fn tokens(&self) -> impl Iterator<Item = (Kind, &'d str)> + Clone + use<'d> {
        let document = self.document;
        document.tokens[self.first..=self.token().last].iter().map(|token| (token.kind, document.token_text(token)))
    }

    /// A fault at this value.
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.at(), what)
    }

    /// The string that the value is, borrowed from the document where nothing in it is escaped.
    pub fn text(&self) -> Result<Cow<'d, str>, Fault> {
        if self.kind() != Kind::String {
            return Err(self.fault("expected a string"));
        }
        let token = self.token_text();
        if !token.contains('\\') {
            return Ok(Cow::Borrowed(&token[1..token.len() - 1]));
        }
        let unescaped: Result<String, _> = serde_json::from_str(token);
        unescaped.map(Cow::Owned).map_err(|_| self.fault("a string that is not Unicode text"))
    }

    /// The same, owned.
    pub fn string(&self) -> Result<String, Fault> {
        self.text().map(Cow::into_owned)
    }

    /// The elements of the array that the value is.
    pub fn items(&self) -> Result<Vec<Node<'d>>, Fault> {
        match self.kind() {
            Kind::ArrayOpen => Ok(self.children()),
            _ => Err(self.fault("expected a list")),
        }
    }

    /// The keys and values of the object that the value is.
    pub fn members(&self) -> Result<Vec<(Node<'d>, Node<'d>)>, Fault> {
        match self.kind() {
            Kind::ObjectOpen => Ok(self.children().chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()),
            _ => Err(self.fault("expected an object")),
        }
    }

    /// The values directly inside: elements, or keys and values in turn.
    fn children(&self) -> Vec<Node<'d>> {
        let mut children = Vec::new();
        let mut index = self.first + 1;
        while index < self.token().last {
            let token = &self.document.tokens[index];
            if !matches!(token.kind, Kind::Comma | Kind::Colon) {
                children.push(Node { document: self.document, first: index });
            }
            index = token.last + 1;
        }
        children
    }
}

/// The columns that a list of numbers may take to stand on one line.
const LINE: usize = 100;

/// Write a document in the one way that cassettes are written: two spaces of indentation, lists of numbers on one
/// line where they fit, a newline at the end. Tokens keep their text.
pub fn pretty(document: &Document<'_>) -> String {
    let mut out = String::with_capacity(document.text.len() * 2);
    let mut depth = 0;
    let mut index = 0;
    while index < document.tokens.len() {
        let token = &document.tokens[index];
        if token.kind.opens() && fits_one_line(document, index) {
            for token in &document.tokens[index..=token.last] {
                out.push_str(document.token_text(token));
                if token.kind == Kind::Comma {
                    out.push(' ');
                }
            }
            index = token.last + 1;
            continue;
        }
        if token.kind.closes() {
            depth -= 1;
            new_line(&mut out, depth);
        }
        out.push_str(document.token_text(token));
        match token.kind {
            Kind::Comma => new_line(&mut out, depth),
            Kind::Colon => out.push(' '),
            kind if kind.opens() => {
                depth += 1;
                new_line(&mut out, depth);
            }
            _ => {}
        }
        index += 1;
    }
    out.push('\n');
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Whether the value is empty, or a short list of nothing but numbers.
fn fits_one_line(document: &Document<'_>, first: usize) -> bool {
    let last = document.tokens[first].last;
    if last == first + 1 {
        return true;
    }
    let numbers = document.tokens[first + 1..last].iter().take(LINE);
    document.tokens[first].kind == Kind::ArrayOpen
        && last - first <= LINE
        && numbers.clone().all(|token| matches!(token.kind, Kind::Number | Kind::Comma))
        && numbers.map(|token| token.end - token.start + usize::from(token.kind == Kind::Comma)).sum::<usize>() <= LINE
}
