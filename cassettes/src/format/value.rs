//! What messages of protocols other than HTTP say, in a cassette.

use std::borrow::Cow;

use bytes::Bytes;
use regress_protocols::Value;

use super::{
    Flaw,
    fields::Fields,
    json::{self, Document, Kind, Node},
    payload::{self, BodyFiles, INLINE, ReadBody},
    writer::{self, Object},
};

/// Write a value: text, numbers, lists and maps as JSON has them, other bytes as `{"base64": ".."}`, what is big as
/// `{"file": .., "size": ..}`.
pub fn write(out: &mut String, value: &Value, files: &mut BodyFiles) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(text) => out.push_str(text),
        Value::Text(text) if text.len() <= INLINE => writer::string(out, text),
        Value::Text(text) => data(out, &Bytes::copy_from_slice(text.as_bytes()), files),
        Value::Bytes(bytes) => data(out, bytes, files),
        Value::List(items) => writer::list(out, items, |out, item| write(out, item, files)),
        Value::Map(members) => Object::write(out, |object| {
            members.iter().for_each(|(name, value)| write(object.field(name), value, files));
        }),
    }
}

fn data(out: &mut String, bytes: &Bytes, files: &mut BodyFiles) {
    Object::write(out, |object| match bytes.len() > INLINE {
        true => payload::write(object, bytes, files),
        false => payload::write_base64(object, bytes),
    });
}

/// A value for reading, as it stands in a cassette.
pub fn shown(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, &mut BodyFiles::new());
    json::pretty(&Document::parse(&out, usize::MAX).expect("what was just written is JSON"))
}

/// Read what [`write`] wrote.
pub fn read(node: Node<'_>, read_body: &mut ReadBody<'_>) -> Result<Value, Flaw> {
    Ok(match node.kind() {
        Kind::String => Value::Text(node.string()?),
        Kind::Number => Value::Number(node.token_text().to_owned()),
        Kind::Word => match node.token_text() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::Null,
        },
        Kind::ArrayOpen => {
            let items = node.items()?.into_iter().map(|item| read(item, read_body));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        _ => {
            let members = node.members()?;
            let names: Vec<String> = members.iter().map(|(name, _)| name.string()).collect::<Result<_, _>>()?;
            match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["base64"] => Value::Bytes(payload::read(&mut Fields::of(node)?, read_body)?),
                ["file", "size"] | ["size", "file"] => Value::data(&payload::read(&mut Fields::of(node)?, read_body)?),
                _ => {
                    Fields::of(node)?;
                    let values = members.into_iter().map(|(_, value)| read(value, read_body));
                    let values = values.collect::<Result<Vec<_>, _>>()?;
                    Value::Map(names.into_iter().map(Cow::Owned).zip(values).collect())
                }
            }
        }
    })
}
