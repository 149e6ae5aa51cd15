//! What a message says, as a tree: the one form in which everything is compared.

use std::{borrow::Cow, cmp::Ordering};

use super::open::write_messages;

/// A value. JSON is what it looks like; what else can be opened up becomes arrays and objects as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree<'a> {
    /// `null`, or a name without a value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written.
    Number(Cow<'a, str>),
    /// A JSON string, unescaped.
    Text(Cow<'a, str>),
    /// Bytes as they stand, often text: a header's value, a segment of a path, a line, a body.
    Raw(Cow<'a, [u8]>),
    /// An array.
    Array(Vec<Tree<'a>>),
    /// An object: members sorted by name, members of the same name in the order written.
    Object(Vec<Member<'a>>),
    /// A text or bytes that could be opened up.
    Opened(Box<Opened<'a>>),
    /// An array whose order does not matter. Only in what is masked.
    Bag(Vec<Tree<'a>>),
    /// Stands for any value of a class. Only in what is masked.
    Mark(String),
}

/// A name and its value.
pub(super) type Member<'a> = (Cow<'a, str>, Tree<'a>);

/// What was found inside of a text or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    /// How it was opened. Only what was opened in the same way is compared by what is inside: together they say all
    /// that counts of the text.
    pub form: Form,
    /// The text ([`Tree::Text`] or [`Tree::Raw`]) itself.
    pub from: Tree<'a>,
    /// What is inside.
    pub inside: Tree<'a>,
}

/// A way to open a text or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object or array.
    Json,
    /// One JSON object or array a line; whether the last line is ended.
    JsonLines(bool),
    /// JSON values of a stream.
    Records,
    /// Lines.
    Lines,
    /// Content coding removed.
    Coded,
    /// Base64 after this prefix; whether it shows the alphabet for URLs, whether it lacks the padding it should have.
    Base64 { prefix: String, url: bool, unpadded: bool },
    /// A JSON Web Token after this prefix.
    Token { prefix: String },
    /// A comma-separated list.
    List,
    /// Names and values.
    Fields,
    /// Parts with headers.
    Parts,
    /// XML.
    Xml,
    /// Server-sent events.
    Events,
    /// Messages of gRPC.
    Grpc,
    /// The same in base64.
    GrpcText,
    /// A message of Protocol Buffers.
    Protobuf,
}

impl<'a> Tree<'a> {
    /// An object with its members in order.
    pub(super) fn object(mut members: Vec<Member<'a>>) -> Tree<'a> {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Tree::Object(members)
    }

    /// `from` opened up.
    pub(super) fn opened(form: Form, from: Tree<'a>, inside: Tree<'a>) -> Tree<'a> {
        Tree::Opened(Box::new(Opened { form, from, inside }))
    }

    /// What was opened up, else the value itself.
    pub(super) fn unopened(&self) -> &Tree<'a> {
        match self {
            Tree::Opened(opened) => &opened.from,
            value => value,
        }
    }

    /// What is told of it to a reader: what was opened up, unless only what is inside can be read.
    pub(super) fn readable(&self) -> &Tree<'a> {
        match self {
            Tree::Opened(opened) if opened.form.is_of_messages() => self,
            value => value.unopened(),
        }
    }

    /// The value as a text, if it is one or a number.
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Tree::Number(text) | Tree::Text(text) => Some(text),
            Tree::Raw(bytes) => std::str::from_utf8(bytes).ok(),
            Tree::Opened(opened) => opened.from.scalar(),
            _ => None,
        }
    }

    /// Whether both are of one type, as JSON has types.
    pub(super) fn same_type(&self, other: &Tree<'_>) -> bool {
        self.type_name() == other.type_name()
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Tree::Null => "null",
            Tree::Bool(_) => "bool",
            Tree::Number(_) => "number",
            Tree::Text(_) => "string",
            Tree::Raw(_) => "text",
            Tree::Array(_) | Tree::Bag(_) => "array",
            Tree::Object(_) => "object",
            Tree::Opened(opened) => opened.from.type_name(),
            Tree::Mark(_) => "mark",
        }
    }

    /// The same tree with strings of its own.
    pub(super) fn into_owned(self) -> Tree<'static> {
        let all = |items: Vec<Tree<'_>>| items.into_iter().map(Tree::into_owned).collect();
        match self {
            Tree::Null => Tree::Null,
            Tree::Bool(value) => Tree::Bool(value),
            Tree::Number(text) => Tree::Number(Cow::Owned(text.into_owned())),
            Tree::Text(text) => Tree::Text(Cow::Owned(text.into_owned())),
            Tree::Raw(bytes) => Tree::Raw(Cow::Owned(bytes.into_owned())),
            Tree::Array(items) => Tree::Array(all(items)),
            Tree::Bag(items) => Tree::Bag(all(items)),
            Tree::Object(members) => Tree::Object(
                members.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned())).collect(),
            ),
            Tree::Opened(opened) => Tree::opened(opened.form, opened.from.into_owned(), opened.inside.into_owned()),
            Tree::Mark(class) => Tree::Mark(class),
        }
    }

    /// Appends bytes that are equal exactly for trees that say the same.
    pub(super) fn canonical(&self, to: &mut Vec<u8>) {
        match self {
            Tree::Null => to.push(b'n'),
            Tree::Bool(true) => to.push(b't'),
            Tree::Bool(false) => to.push(b'f'),
            Tree::Number(text) => sized(b'#', text.as_bytes(), to),
            Tree::Text(text) => sized(b'"', text.as_bytes(), to),
            Tree::Raw(bytes) => sized(b'r', bytes, to),
            Tree::Mark(class) => sized(b'm', class.as_bytes(), to),
            Tree::Array(items) => {
                to.push(b'[');
                items.iter().for_each(|item| item.canonical(to));
                to.push(b']');
            }
            Tree::Bag(items) => {
                let mut items: Vec<Vec<u8>> = items.iter().map(Tree::to_canonical).collect();
                items.sort_unstable();
                to.push(b'<');
                items.iter().for_each(|item| to.extend_from_slice(item));
                to.push(b'>');
            }
            Tree::Object(members) => {
                to.push(b'{');
                for (name, value) in members {
                    sized(b'"', name.as_bytes(), to);
                    value.canonical(to);
                }
                to.push(b'}');
            }
            Tree::Opened(opened) => {
                to.push(b'o');
                opened.form.canonical(to);
                opened.inside.canonical(to);
            }
        }
    }

    /// The bytes of [`Tree::canonical`].
    pub(super) fn to_canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.canonical(&mut bytes);
        bytes
    }

    /// The value for reading: bytes as they stand where they are text, everything else as compact JSON.
    pub(super) fn shown(&self) -> String {
        match self {
            Tree::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Tree::Opened(opened) if !opened.form.is_of_messages() => opened.from.shown(),
            _ => {
                let mut shown = String::new();
                self.write(&mut shown);
                shown
            }
        }
    }

    fn write(&self, to: &mut String) {
        match self {
            Tree::Null => to.push_str("null"),
            Tree::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
            Tree::Number(text) => to.push_str(text),
            Tree::Text(text) => quoted(text, to),
            Tree::Raw(bytes) => quoted(&String::from_utf8_lossy(bytes), to),
            Tree::Mark(class) => to.push_str(class),
            Tree::Opened(opened) if opened.form.is_of_messages() => write_messages(&opened.inside, to),
            Tree::Opened(opened) => opened.from.write(to),
            Tree::Array(items) | Tree::Bag(items) => {
                to.push('[');
                for (index, item) in items.iter().enumerate() {
                    to.push_str(if index > 0 { "," } else { "" });
                    item.write(to);
                }
                to.push(']');
            }
            Tree::Object(members) => {
                to.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    to.push_str(if index > 0 { "," } else { "" });
                    quoted(name, to);
                    to.push(':');
                    value.write(to);
                }
                to.push('}');
            }
        }
    }
}

impl Form {
    /// Whether nobody can read what was opened, but what is inside.
    pub(super) fn is_of_messages(&self) -> bool {
        matches!(self, Form::Grpc | Form::GrpcText | Form::Protobuf)
    }

    fn canonical(&self, to: &mut Vec<u8>) {
        match self {
            Form::Json => to.push(b'j'),
            Form::JsonLines(ended) => to.extend_from_slice(&[b'n', u8::from(*ended)]),
            Form::Records => to.push(b's'),
            Form::Lines => to.push(b'l'),
            Form::Coded => to.push(b'd'),
            Form::Base64 { prefix, url, unpadded } => {
                sized(b'6', prefix.as_bytes(), to);
                to.extend_from_slice(&[u8::from(*url), u8::from(*unpadded)]);
            }
            Form::Token { prefix } => sized(b't', prefix.as_bytes(), to),
            Form::List => to.push(b','),
            Form::Fields => to.push(b'f'),
            Form::Parts => to.push(b'p'),
            Form::Xml => to.push(b'x'),
            Form::Events => to.push(b'e'),
            Form::Grpc => to.push(b'g'),
            Form::GrpcText => to.push(b'w'),
            Form::Protobuf => to.push(b'b'),
        }
    }
}

fn sized(tag: u8, bytes: &[u8], to: &mut Vec<u8>) {
    to.push(tag);
    to.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn quoted(text: &str, to: &mut String) {
    to.push_str(&serde_json::to_string(text).expect("a string always has a JSON form"));
}

/// The members of two objects side by side: for each name, in order, those of one and those of the other.
pub(super) fn side_by_side<'s>(
    mut expected: &'s [Member<'s>],
    mut actual: &'s [Member<'s>],
) -> impl Iterator<Item = (&'s str, &'s [Member<'s>], &'s [Member<'s>])> {
    std::iter::from_fn(move || {
        let order = match (expected.first(), actual.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((expected, _)), Some((actual, _))) => expected.cmp(actual),
        };
        let take = |from: &mut &'s [Member<'s>], is_next: bool| {
            let name = from.first().map(|(name, _)| name);
            let count = if is_next { from.iter().take_while(|(other, _)| Some(other) == name).count() } else { 0 };
            let (taken, rest) = from.split_at(count);
            *from = rest;
            taken
        };
        let expected = take(&mut expected, order.is_le());
        let actual = take(&mut actual, order.is_ge());
        let (name, _) = expected.first().or(actual.first())?;
        Some((name.as_ref(), expected, actual))
    })
}
