//! What can be opened up: texts that are JSON, tokens, forms, parts, XML, events, streams of JSON, messages of gRPC, lines.
//!
//! Each way is decided by the text itself (and the body's media type), and what is inside says all that counts of it:
//! two texts opened in one way that are equal inside differ in nothing but the spelling that the way leaves out.

mod events;
mod grpc;
mod lines;
mod parts;
mod protobuf;
mod records;
mod tokens;
mod typed;
mod well_known;
mod wire;
mod xml;

use std::borrow::Cow;

use super::{
    json,
    schema::Schema,
    tree::{Form, Member, Tree},
    view::raw,
};
use crate::percent::percent_decoded;

pub(super) use events::{EventLine, lines as event_lines, spans as event_spans};
pub(super) use grpc::{shown as grpc_shown, write as write_messages};
pub(super) use parts::{Part, boundary, split_parts, without_boundary};
pub(super) use records::{Between, spans as record_spans};
pub(super) use tokens::{decode as decode_base64, encode as encode_base64};
pub(super) use xml::spans as xml_spans;

/// The longest body that is opened up; a longer one is compared as bytes.
const LONGEST: usize = 64 << 20;

/// The most lines, or fields of a form, that are told apart.
const MOST: usize = 1_000_000;

/// How deep texts are opened that were found in texts.
const DEEPEST: usize = 4;

/// A body opened up by its media type, its schema and by what it looks like; `None` when it is empty.
pub(super) fn body<'a>(content: Cow<'a, [u8]>, content_type: Option<&str>, schema: &Schema) -> Option<Tree<'a>> {
    if content.is_empty() {
        return None;
    }
    Some(opened(content, content_type, schema, DEEPEST))
}

/// What is in something else, of which there is no schema.
fn content_at<'a>(content: Cow<'a, [u8]>, content_type: Option<&str>, depth: usize) -> Tree<'a> {
    opened(content, content_type, &Schema::default(), depth)
}

fn opened<'a>(content: Cow<'a, [u8]>, content_type: Option<&str>, schema: &Schema, depth: usize) -> Tree<'a> {
    let inside = match &content {
        _ if content.len() > LONGEST || depth == 0 => None,
        Cow::Borrowed(content) => inside_of(content, content_type, schema, depth),
        Cow::Owned(content) => {
            inside_of(content, content_type, schema, depth).map(|(form, inside)| (form, inside.into_owned()))
        }
    };
    match inside {
        Some((form, inside)) => Tree::opened(form, Tree::Raw(content), inside),
        None => Tree::Raw(content),
    }
}

fn inside_of<'a>(
    content: &'a [u8],
    content_type: Option<&str>,
    schema: &Schema,
    depth: usize,
) -> Option<(Form, Tree<'a>)> {
    let content_type = content_type.unwrap_or_default();
    // Before JSON: a stream of one value is a stream as well.
    if let Some(records) = records::Between::named(content_type).and_then(|by| records::read(content, by, depth)) {
        return Some((Form::Records, records));
    }
    if let Some(mut tree) = json::read(content) {
        open_texts(&mut tree, depth - 1);
        return Some((Form::Json, tree));
    }
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let opened = match media_type.as_str() {
        "application/x-www-form-urlencoded" => fields(content, depth).map(|tree| (Form::Fields, tree)),
        grpc if grpc::is_of_messages(grpc) => grpc::read(content, grpc, schema.of_body(content_type).as_ref(), depth),
        "text/event-stream" => events::read(content, depth).map(|tree| (Form::Events, tree)),
        multipart if multipart.starts_with("multipart/") => {
            parts::read(content, content_type, depth).map(|tree| (Form::Parts, tree))
        }
        // Where white space between elements is seen.
        "text/html" | "application/xhtml+xml" => None,
        media_type if media_type.ends_with("xml") || content.starts_with(b"<?xml") => {
            xml::read(content).map(|tree| (Form::Xml, tree))
        }
        _ => None,
    };
    opened.or_else(|| lines::read(content, depth))
}

/// Where each event or value of a stream ends, in bytes from its beginning; `None` where it is no such stream.
pub(super) fn ends(content: &[u8], content_type: &str) -> Option<Vec<usize>> {
    if content.len() > LONGEST {
        return None;
    }
    match records::Between::named(content_type) {
        Some(by) => records::ends(content, by),
        None if media_type_is(content_type, "text/event-stream") => events::ends(content),
        None => None,
    }
}

/// Whether a media type is this one, whatever its parameters.
fn media_type_is(content_type: &str, wanted: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// Whether a body was opened as parts.
pub(super) fn is_in_parts(body: &Tree<'_>) -> bool {
    match body {
        Tree::Opened(opened) if opened.form == Form::Coded => is_in_parts(&opened.inside),
        Tree::Opened(opened) => opened.form == Form::Parts,
        _ => false,
    }
}

/// Opens up the texts of a message that is no body.
pub(super) fn texts(tree: &mut Tree<'_>) {
    open_texts(tree, DEEPEST);
}

/// A text found inside of something, opened up where it can be.
fn text_at(text: Cow<'_, [u8]>, depth: usize) -> Tree<'static> {
    let mut tree = Tree::Raw(Cow::Owned(text.into_owned()));
    open_text(&mut tree, depth);
    tree
}

/// Opens up the texts in a tree.
fn open_texts(tree: &mut Tree<'_>, depth: usize) {
    match tree {
        Tree::Text(_) => open_text(tree, depth),
        Tree::Array(items) => items.iter_mut().for_each(|item| open_texts(item, depth)),
        Tree::Object(members) => members.iter_mut().for_each(|(_, value)| open_texts(value, depth)),
        _ => {}
    }
}

/// Opens up a text: JSON, a token, base64.
fn open_text(tree: &mut Tree<'_>, depth: usize) {
    let Some(text) = tree.scalar().filter(|_| depth > 0) else { return };
    let opened = match json::read(text.as_bytes()) {
        Some(inside) => {
            let mut inside = inside.into_owned();
            open_texts(&mut inside, depth - 1);
            Some((Form::Json, inside))
        }
        None => tokens::read("", text, depth),
    };
    if let Some((form, inside)) = opened {
        let from = std::mem::replace(tree, Tree::Null);
        *tree = Tree::opened(form, from, inside);
    }
}

/// The value of a header field: what follows a scheme (`Bearer`, `Basic`) is opened up.
pub(super) fn field(value: Cow<'_, [u8]>) -> Tree<'_> {
    let opened = std::str::from_utf8(&value).ok().and_then(|text| {
        let (prefix, rest) = text.split_at(text.find(' ').map_or(0, |space| space + 1));
        match json::read(text.as_bytes()) {
            Some(inside) => Some((Form::Json, inside.into_owned())),
            None => tokens::read(prefix, rest, DEEPEST),
        }
    });
    match opened {
        Some((form, inside)) => Tree::opened(form, Tree::Raw(value), inside),
        None => Tree::Raw(value),
    }
}

/// The value of a Cookie field: its pairs (RFC 6265 section 4.2.1).
pub(super) fn cookies(value: Cow<'_, [u8]>) -> Tree<'_> {
    let Ok(text) = std::str::from_utf8(&value) else { return Tree::Raw(value) };
    let pairs = text.split("; ").map(|pair| match pair.split_once('=') {
        Some((name, value)) => (Cow::Owned(name.to_owned()), text_at(Cow::Borrowed(value.as_bytes()), DEEPEST)),
        None => (Cow::Owned(pair.to_owned()), Tree::Null),
    });
    let inside = Tree::object(pairs.collect());
    Tree::opened(Form::Fields, Tree::Raw(value), inside)
}

/// The parameters of a query, as written.
pub(super) fn query(query: &[u8]) -> Tree<'_> {
    let parameters = query.split(|byte| *byte == b'&').map(pair_of);
    let member = |(name, value)| -> Option<Member<'_>> {
        Some((Cow::Borrowed(std::str::from_utf8(name).ok()?), Option::map_or(value, Tree::Null, raw)))
    };
    let parameters: Option<Vec<Member<'_>>> = parameters.map(member).collect();
    match parameters {
        Some(parameters) => Tree::opened(Form::Fields, raw(query), Tree::object(parameters)),
        None => raw(query),
    }
}

/// The fields of a form (WHATWG URL section 5.1), decoded.
fn fields(content: &[u8], depth: usize) -> Option<Tree<'static>> {
    if has_too_many(b'&', content) {
        return None;
    }
    let field = |pair: &[u8]| {
        let (name, value) = pair_of(pair);
        let name = String::from_utf8(percent_decoded(name, true)?.into_owned()).ok()?;
        let value = match value {
            Some(value) => text_at(Cow::Owned(percent_decoded(value, true)?.into_owned()), depth - 1),
            None => Tree::Null,
        };
        Some((Cow::Owned(name), value))
    };
    let fields: Option<Vec<_>> = content.split(|byte| *byte == b'&').map(field).collect();
    Some(Tree::object(fields?))
}

/// Whether there is more of a separator than is told apart.
fn has_too_many(separator: u8, content: &[u8]) -> bool {
    content.iter().filter(|byte| **byte == separator).count() >= MOST
}

pub(super) fn pair_of(pair: &[u8]) -> (&[u8], Option<&[u8]>) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], Some(&pair[at + 1..])),
        None => (pair, None),
    }
}

#[cfg(test)]
mod tests;
