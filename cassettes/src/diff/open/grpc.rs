//! Bodies of gRPC: messages, each behind a byte of flags and its length (gRPC over HTTP/2, "Length-Prefixed-Message").

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use prost_reflect::MessageDescriptor;

use super::{MOST, content_at, protobuf};
use crate::diff::{
    coding::gunzip,
    schema::Schema,
    tree::{Form, Tree},
};

/// The flag of a message that is compressed.
const COMPRESSED: u8 = 1;
/// The flag of what gRPC-Web sends as trailers.
const TRAILERS: u8 = 0x80;
/// A message is decompressed to no more than this.
const MOST_DECODED: usize = 16 << 20;

/// Media types of one message of Protocol Buffers.
const ONE_MESSAGE: &[&str] = &["application/protobuf", "application/x-protobuf"];

/// Whether bodies of that media type may have messages.
pub(super) fn is_of_messages(media_type: &str) -> bool {
    media_type.starts_with("application/grpc") || ONE_MESSAGE.contains(&media_type)
}

/// Opens the body of a message with that media type, if it is one of gRPC or of Protocol Buffers, with messages of that
/// schema where it is known.
pub(super) fn read(
    content: &[u8],
    media_type: &str,
    schema: Option<&MessageDescriptor>,
    depth: usize,
) -> Option<(Form, Tree<'static>)> {
    if ONE_MESSAGE.contains(&media_type) {
        return match protobuf::message(content, schema) {
            Tree::Opened(opened) => Some((opened.form, opened.inside)),
            _ => None,
        };
    }
    let kind = media_type.strip_prefix("application/grpc")?;
    if kind.starts_with("-web-text") {
        let content = STANDARD.decode(content).ok()?;
        return messages(&content, kind, schema, depth).map(|tree| (Form::GrpcText, tree));
    }
    matches!(kind.bytes().next(), None | Some(b'+' | b'-'))
        .then(|| messages(content, kind, schema, depth))?
        .map(|tree| (Form::Grpc, tree))
}

/// The messages, and what was cut behind them; `None` for what is not made of them.
fn messages(mut rest: &[u8], kind: &str, schema: Option<&MessageDescriptor>, depth: usize) -> Option<Tree<'static>> {
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let whole = rest.split_first_chunk().and_then(|([flags, length @ ..], after): (&[u8; 5], _)| {
            let (message, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            Some((*flags, message, after))
        });
        let Some((flags, message, after)) = whole else {
            messages.push(named("cut", rest));
            break;
        };
        rest = after;
        messages.push(match flags {
            0 => one(message, kind, schema, depth),
            COMPRESSED => match gunzip(message, MOST_DECODED) {
                Some(decoded) => {
                    let from = Tree::Raw(Cow::Owned(message.to_vec()));
                    Tree::opened(Form::Coded, from, one(&decoded, kind, schema, depth))
                }
                None => named("compressed", message),
            },
            TRAILERS => named("trailers", message),
            _ => return None,
        });
        if messages.len() > MOST {
            return None;
        }
    }
    Some(Tree::Array(messages))
}

fn one(message: &[u8], kind: &str, schema: Option<&MessageDescriptor>, depth: usize) -> Tree<'static> {
    match kind.ends_with("+json") {
        true => content_at(Cow::Owned(message.to_vec()), Some("application/json"), depth - 1),
        false => protobuf::message(message, schema),
    }
}

/// The messages of a body as compact JSON, for reading; `None` where it has none.
pub(in crate::diff) fn shown(content: &[u8], content_type: &str, schema: &Schema) -> Option<String> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (_, inside) = read(content, &media_type, schema.of_body(content_type).as_ref(), super::DEEPEST)?;
    let mut shown = String::new();
    write(&inside, &mut shown);
    Some(shown)
}

/// What messages say, as compact JSON: bytes that are no text in base64, the values of a field that is repeated as a list.
pub(in crate::diff) fn write(tree: &Tree<'_>, to: &mut String) {
    let text = |text: &str, to: &mut String| {
        to.push_str(&serde_json::to_string(text).expect("a string always has a JSON form"))
    };
    let list = |items: &mut dyn Iterator<Item = &Tree<'_>>, to: &mut String| {
        for (index, item) in items.enumerate() {
            to.push(if index > 0 { ',' } else { '[' });
            write(item, to);
        }
        to.push(']');
    };
    match tree {
        Tree::Opened(opened) => write(&opened.inside, to),
        Tree::Text(value) => text(value, to),
        Tree::Raw(bytes) => match std::str::from_utf8(bytes) {
            Ok(value) => text(value, to),
            Err(_) => {
                to.push_str("{\"base64\":");
                text(&STANDARD.encode(bytes), to);
                to.push('}');
            }
        },
        Tree::Array(items) if items.is_empty() => to.push_str("[]"),
        Tree::Array(items) => list(&mut items.iter(), to),
        Tree::Object(members) => {
            to.push('{');
            // The values of a name that is repeated are a list.
            for (index, values) in members.chunk_by(|(one, _), (other, _)| one == other).enumerate() {
                to.push_str(if index > 0 { "," } else { "" });
                text(&values[0].0, to);
                to.push(':');
                match values {
                    [(_, value)] => write(value, to),
                    values => list(&mut values.iter().map(|(_, value)| value), to),
                }
            }
            to.push('}');
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Bag(_) | Tree::Mark(_) => to.push_str(&tree.shown()),
    }
}

fn named(name: &'static str, bytes: &[u8]) -> Tree<'static> {
    Tree::Object(vec![(Cow::Borrowed(name), Tree::Raw(Cow::Owned(bytes.to_vec())))])
}
