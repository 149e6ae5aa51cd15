//! Header and trailer fields: which of them count, and what they say.

use std::borrow::Cow;

use regress_protocols::http1::{Framing, Line, Message};

use super::{
    open,
    tree::{Form, Member, Tree},
};

/// Request headers that are not compared: they describe the connection, the way the body was framed, the client
/// program, how long it still waits, or a trace. A name that ends in `*` stands for every name that begins so. `host` is among them because
/// the downstream that a request is for is judged by itself.
pub const VOLATILE_REQUEST_HEADERS: &[&str] = &[
    "accept-encoding",
    "b3",
    "baggage",
    "connection",
    "content-length",
    "date",
    "expect",
    "grpc-accept-encoding",
    "grpc-tags-bin",
    "grpc-timeout",
    "grpc-trace-bin",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "uber-trace-id",
    "user-agent",
    "x-amzn-trace-id",
    "x-b3-*",
];

/// Response headers that are not compared: they describe the connection, the way the body was framed, or the time.
pub const VOLATILE_RESPONSE_HEADERS: &[&str] =
    &["connection", "content-length", "date", "grpc-accept-encoding", "keep-alive", "transfer-encoding"];

/// Whether the field `name` (in any case) is one of `list`.
pub fn is_volatile(list: &[&str], name: &[u8]) -> bool {
    list.iter().any(|listed| match listed.as_bytes() {
        [prefix @ .., b'*'] => name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        listed => name.eq_ignore_ascii_case(listed),
    })
}

/// Fields that are lists: several of a name say the same as one with all the members (RFC 9110 section 5.6.1).
const LISTS: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "allow",
    "cache-control",
    "content-language",
    "if-match",
    "if-none-match",
    "pragma",
    "vary",
];

/// The header fields of a message without those in `volatile`; `is_in_parts` says that its body was opened as parts,
/// whose boundary says nothing.
pub(super) fn headers<'a>(message: &'a Message, volatile: &[&str], is_in_parts: bool) -> Tree<'a> {
    let fields = message.fields().filter(|(name, _)| !is_volatile(volatile, name));
    section(fields.map(|(name, value)| match is_in_parts && name.eq_ignore_ascii_case(b"content-type") {
        true => (name, Cow::Owned(open::without_boundary(value))),
        false => (name, Cow::Borrowed(value)),
    }))
}

/// The trailer fields of a message.
pub(super) fn trailers(message: &Message) -> Tree<'_> {
    match &message.framing {
        Framing::Chunked { trailers, .. } => {
            section(trailers.iter().map(split).map(|(name, value)| (name, Cow::Borrowed(value))))
        }
        Framing::Empty | Framing::Length | Framing::Close => Tree::Object(Vec::new()),
    }
}

/// Name and trimmed value of a line; a line without a colon is all name.
pub(super) fn split(line: &Line) -> (&[u8], &[u8]) {
    let text = line.text();
    let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    (text[..colon].trim_ascii(), text.get(colon + 1..).unwrap_or_default().trim_ascii())
}

/// Fields as an object: names in lower case, the values of one name in the order they stand in.
pub(super) fn section<'a>(fields: impl Iterator<Item = (&'a [u8], Cow<'a, [u8]>)>) -> Tree<'a> {
    let mut members: Vec<Member<'a>> = Vec::new();
    for (name, value) in fields {
        let name = field_name(name);
        let is_list = LISTS.contains(&name.as_ref());
        let before = if is_list { members.iter_mut().find(|(other, _)| *other == name) } else { None };
        match (before, name.as_ref()) {
            (Some((_, list)), _) => join(list, value),
            (None, "set-cookie") => match cookie(value) {
                (Some(named), value) => {
                    let cookies = members.iter_mut().find(|(name, _)| name == "set-cookie");
                    match cookies {
                        Some((_, Tree::Object(cookies))) => cookies.push((named, value)),
                        _ => members.push((name, Tree::Object(vec![(named, value)]))),
                    }
                }
                (None, value) => members.push((name, value)),
            },
            (None, _) if is_list => members.push((name, list(value))),
            (None, "cookie") => members.push((name, open::cookies(value))),
            (None, _) => members.push((name, open::field(value))),
        }
    }
    for (_, value) in &mut members {
        if let Tree::Object(cookies) = value {
            cookies.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
    }
    Tree::object(members)
}

/// The name in lower case. What is not UTF-8 is written out in a way that no name in UTF-8 is.
fn field_name(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(name) if !name.contains('\\') => {
            let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
            if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) }
        }
        _ => Cow::Owned(name.to_ascii_lowercase().escape_ascii().to_string()),
    }
}

/// A comma-separated list; commas in quotes do not separate.
fn list(value: Cow<'_, [u8]>) -> Tree<'_> {
    let members = match &value {
        Cow::Borrowed(value) => members(value),
        Cow::Owned(value) => members(value).into_owned(),
    };
    Tree::opened(Form::List, Tree::Raw(value), members)
}

fn members(list: &[u8]) -> Tree<'_> {
    let mut quoted = false;
    let members = list.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    Tree::Array(members.map(|member| Tree::Raw(Cow::Borrowed(member))).collect())
}

/// Another field of a list.
fn join<'a>(before: &mut Tree<'a>, value: Cow<'a, [u8]>) {
    if let Tree::Opened(opened) = before
        && let (Tree::Raw(text), Tree::Array(members)) = (&mut opened.from, &mut opened.inside)
        && let Tree::Opened(more) = list(value)
        && let (Tree::Raw(value), Tree::Array(more)) = (more.from, more.inside)
    {
        text.to_mut().extend_from_slice(b", ");
        text.to_mut().extend_from_slice(&value);
        members.extend(more);
    }
}

/// Name, and value with attributes, of a Set-Cookie field (RFC 6265 section 4.1.1).
fn cookie(field: Cow<'_, [u8]>) -> (Option<Cow<'_, str>>, Tree<'_>) {
    let Ok(text) = std::str::from_utf8(&field) else { return (None, Tree::Raw(field)) };
    let mut pairs = text.split(';').map(str::trim);
    let Some((name, value)) = pairs.next().and_then(|pair| pair.split_once('=')) else {
        return (None, Tree::Raw(field));
    };
    let mut members = vec![(Cow::Borrowed("value"), open::field(Cow::Owned(value.as_bytes().to_vec())))];
    members.extend(pairs.map(|pair| match pair.split_once('=') {
        Some((name, value)) => {
            (Cow::Owned(name.to_ascii_lowercase()), Tree::Raw(Cow::Owned(value.as_bytes().to_vec())))
        }
        None => (Cow::Owned(pair.to_ascii_lowercase()), Tree::Null),
    }));
    let name = Cow::Owned(name.to_owned());
    let inside = Tree::object(members).into_owned();
    (Some(name), Tree::opened(Form::Fields, Tree::Raw(field), inside))
}
