//! Some of what one message says put into another that is written in the same way, everything else as it was: the way back
//! from what was opened up (`open`).
//!
//! Nothing here is sure to be exact: items of arrays go by their number, repeated names go together. Whoever edits
//! compares afterwards.

mod drawn;
mod fields;
mod json;
mod parts;
mod places;
mod streams;
mod tokens;
mod value;
mod xml;

use std::borrow::Cow;

pub use drawn::{Recorded, restored, restored_value};
pub use places::Places;
pub use value::value;

use super::{
    open,
    schema::Schema,
    tree::{Form, Tree},
};

/// Whether what is inside of texts is put into them, or the texts are taken whole; and whether arrays are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// As little as can be.
    Value,
    /// Texts in which something is taken are taken whole.
    Text,
    /// Arrays likewise.
    Array,
}

/// `old` with what `new` has at these places; `None` where they cannot be put into it. Both are bodies of these media types,
/// without a content coding.
pub fn body(old: Typed<'_>, new: Typed<'_>, places: &Places, grain: Grain) -> Option<Vec<u8>> {
    content(old, new, places, grain)
}

/// A content and its media type.
#[derive(Clone, Copy, Debug)]
pub struct Typed<'a> {
    /// The bytes.
    pub content: &'a [u8],
    /// What `Content-Type` says.
    pub media_type: Option<&'a str>,
}

/// The values of the lines of a header field with what others have at these places, seen from the field: what is in JSON, in
/// base64, in a token; a pair of `Cookie`; a `Set-Cookie`, its value and its attributes.
pub fn field(name: &str, olds: &[&[u8]], news: &[&[u8]], places: &Places) -> Option<Vec<Vec<u8>>> {
    if name == "set-cookie" {
        return fields::set_cookies(olds, news, places);
    }
    let ([old], [new]) = (olds, news) else { return None };
    if name == "cookie" {
        return Some(vec![fields::cookies(old, new, places)?]);
    }
    let tree = |value| open::field(Cow::Borrowed(value));
    Some(vec![opened(&tree(old), &tree(new), None, places, Grain::Value)?])
}

/// The target of a request: segments of its path, as long as there are as many, and parameters of its query.
pub fn target(old: &str, new: &str, places: &Places) -> Option<String> {
    fields::target(old, new, places)
}

fn content(old: Typed<'_>, new: Typed<'_>, places: &Places, grain: Grain) -> Option<Vec<u8>> {
    if places.are_whole() {
        return Some(new.content.to_vec());
    }
    // Nothing is put into messages that have a schema.
    let tree = |side: &Typed<'_>| open::body(Cow::Owned(side.content.to_vec()), side.media_type, &Schema::default());
    opened(&tree(&old)?, &tree(&new)?, Some([old.media_type, new.media_type]), places, grain)
}

/// A text found in something else.
fn text(old: &str, new: &str, places: &Places) -> Option<String> {
    if places.are_whole() {
        return Some(new.to_owned());
    }
    let tree = |text: &str| {
        let mut tree = Tree::Text(Cow::Owned(text.to_owned()));
        open::texts(&mut tree);
        tree
    };
    String::from_utf8(opened(&tree(old), &tree(new), None, places, Grain::Value)?).ok()
}

fn opened(
    old: &Tree<'_>,
    new: &Tree<'_>,
    media_types: Option<[Option<&str>; 2]>,
    places: &Places,
    grain: Grain,
) -> Option<Vec<u8>> {
    let (Tree::Opened(old), Tree::Opened(new)) = (old, new) else { return None };
    if old.form != new.form {
        return None;
    }
    let (from, to) = (bytes(&old.from)?, bytes(&new.from)?);
    let [old_type, new_type] = media_types.unwrap_or_default();
    match &old.form {
        Form::Json => json::take(from, to, places, grain),
        Form::JsonLines(_) | Form::Lines => streams::lines(from, to, places, grain),
        Form::Records => streams::records(from, to, open::Between::named(old_type?)?, places, grain),
        Form::Events => streams::events(from, to, places),
        Form::Fields => fields::form(from, to, places),
        Form::Parts => {
            let (old, new) =
                (Typed { content: from, media_type: old_type }, Typed { content: to, media_type: new_type });
            parts::take(old, new, places, grain)
        }
        Form::Xml => xml::take(from, to, places),
        Form::Base64 { prefix, url, unpadded } => tokens::base64(prefix, [from, to], *url, *unpadded, places),
        Form::Token { prefix } => tokens::token(prefix, [from, to], places),
        Form::Coded | Form::List | Form::Grpc | Form::GrpcText | Form::Protobuf => None,
    }
}

fn bytes<'t>(text: &'t Tree<'_>) -> Option<&'t [u8]> {
    match text {
        Tree::Text(text) => Some(text.as_bytes()),
        Tree::Raw(bytes) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
