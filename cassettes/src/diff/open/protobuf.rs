//! Protocol Buffers; without their schema, fields by their numbers, as far as the bytes tell.
//!
//! Only what says all of the bytes is opened: whoever knows what is inside can write the same bytes again. So two messages
//! are equal inside exactly when their bytes are.

use std::borrow::Cow;

use prost_reflect::MessageDescriptor;

use super::{
    typed,
    wire::{self, Coded, MOST},
};
use crate::diff::tree::{Form, Member, Tree};

/// How deep messages in messages are opened.
pub(super) const DEEPEST: usize = 32;

/// A message, opened where it can be: by its schema where that is known, else by the numbers of its fields.
pub(super) fn message(bytes: &[u8], schema: Option<&MessageDescriptor>) -> Tree<'static> {
    let from = Tree::Raw(Cow::Owned(bytes.to_vec()));
    let left = &mut { MOST };
    let inside = match schema {
        Some(schema) => typed::fields(bytes, schema, DEEPEST, left),
        None => fields(bytes, DEEPEST, left),
    };
    match inside {
        Some(inside) => Tree::opened(Form::Protobuf, from, inside),
        None => from,
    }
}

/// The fields of a message, which is an object where they stand in the order of their numbers, as they do by every common
/// library, else a list of objects with one field. `None` for bytes that are no message.
fn fields(bytes: &[u8], depth: usize, left: &mut usize) -> Option<Tree<'static>> {
    let fields = wire::fields(bytes, left)?;
    let is_in_order = fields.is_sorted_by_key(|field| field.number);
    let members = fields
        .into_iter()
        .map(|field| -> Member<'static> { (Cow::Owned(field.number.to_string()), value(field.value, depth, left)) });
    Some(match is_in_order {
        true => Tree::object(members.collect()),
        false => Tree::Array(members.map(|member| Tree::Object(vec![member])).collect()),
    })
}

/// A value of which nothing is known but how it was written.
pub(super) fn value(coded: Coded<'_>, depth: usize, left: &mut usize) -> Tree<'static> {
    let fixed = |text: String| Tree::Raw(Cow::Owned(text.into_bytes()));
    match coded {
        Coded::Varint(value) => Tree::Number(Cow::Owned(value.to_string())),
        Coded::Fixed64(bits) => fixed(format!("fixed64 {bits:#018x} ({:?})", f64::from_bits(bits))),
        Coded::Fixed32(bits) => fixed(format!("fixed32 {bits:#010x} ({:?})", f32::from_bits(bits))),
        Coded::Delimited(bytes) => delimited(bytes, depth, left),
    }
}

/// A string, a message or bytes: what reads as a text without control characters is one, what reads as a message another.
fn delimited(bytes: &[u8], depth: usize, left: &mut usize) -> Tree<'static> {
    let is_plain = |text: &&str| !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(is_plain) {
        return Tree::Text(Cow::Owned(text.to_owned()));
    }
    let from = Tree::Raw(Cow::Owned(bytes.to_vec()));
    match if depth > 0 { fields(bytes, depth - 1, left) } else { None } {
        Some(inside) => Tree::opened(Form::Protobuf, from, inside),
        None => from,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(bytes: &[u8]) -> Tree<'static> {
        super::message(bytes, None)
    }

    #[test]
    fn what_is_no_message_or_is_written_otherwise_is_not_opened() {
        for bad in [
            &b"\x08"[..],
            b"\x08\x80\x00",
            b"\x00\x01",
            b"\x0b",
            b"\x0a\x05ab",
            b"\x09\0\0",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        ] {
            assert_eq!(message(bad), Tree::Raw(Cow::Borrowed(bad)), "{bad:x?}");
        }
    }

    #[test]
    fn kinds_of_fields_are_never_equal() {
        let same_number =
            [&b"\x08\x05"[..], b"\x0d\x05\0\0\0", b"\x09\x05\0\0\0\0\0\0\0", b"\x0a\x01\x35", b"\x0a\x01\x05"];
        for (index, one) in same_number.iter().enumerate() {
            for other in &same_number[index + 1..] {
                assert_ne!(message(one).to_canonical(), message(other).to_canonical(), "{one:x?} {other:x?}");
            }
        }
    }

    /// Bytes that are often messages.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![any::<u8>(), Just(8), Just(10), Just(0x10), Just(0x12), Just(2), Just(0), Just(0x80)];
        prop::collection::vec(byte, 0..12)
    }

    proptest! {
        #[test]
        fn messages_are_equal_inside_exactly_when_their_bytes_are(one in bytes(), other in bytes()) {
            prop_assert_eq!(one == other, message(&one).to_canonical() == message(&other).to_canonical());
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            message(&bytes);
        }
    }
}
