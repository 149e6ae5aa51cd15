//! Protocol Buffers without their schema: fields by their numbers, as far as the bytes tell.
//!
//! Only what says all of the bytes is opened: whoever knows what is inside can write the same bytes again. So two messages
//! are equal inside exactly when their bytes are.

use std::borrow::Cow;

use crate::diff::tree::{Form, Member, Tree};

/// How deep messages in messages are opened.
const DEEPEST: usize = 32;

/// The most fields of one body that are told apart.
const MOST: usize = 1_000_000;

/// The highest number of a field.
const HIGHEST: u64 = (1 << 29) - 1;

/// A message, opened where it can be.
pub(super) fn message(bytes: &[u8]) -> Tree<'static> {
    let from = Tree::Raw(Cow::Owned(bytes.to_vec()));
    match fields(bytes, DEEPEST, &mut { MOST }) {
        Some(inside) => Tree::opened(Form::Protobuf, from, inside),
        None => from,
    }
}

/// The fields of a message, which is an object where they stand in the order of their numbers, as they do by every common
/// library, else a list of objects with one field. `None` for bytes that are no message, or are written otherwise than
/// libraries do.
fn fields(mut rest: &[u8], depth: usize, left: &mut usize) -> Option<Tree<'static>> {
    let mut fields: Vec<(u64, Tree<'static>)> = Vec::new();
    while !rest.is_empty() {
        *left = left.checked_sub(1)?;
        let key = varint(&mut rest)?;
        let number = key >> 3;
        if !(1..=HIGHEST).contains(&number) {
            return None;
        }
        let value = match key & 7 {
            0 => Tree::Number(Cow::Owned(varint(&mut rest)?.to_string())),
            1 => {
                let bits = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
                fixed(format!("fixed64 {bits:#018x} ({:?})", f64::from_bits(bits)))
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                delimited(take(&mut rest, length)?, depth, left)
            }
            5 => {
                let bits = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
                fixed(format!("fixed32 {bits:#010x} ({:?})", f32::from_bits(bits)))
            }
            _ => return None,
        };
        fields.push((number, value));
    }
    let is_in_order = fields.is_sorted_by_key(|(number, _)| *number);
    let members =
        fields.into_iter().map(|(number, value)| -> Member<'static> { (Cow::Owned(number.to_string()), value) });
    Some(match is_in_order {
        true => Tree::object(members.collect()),
        false => Tree::Array(members.map(|member| Tree::Object(vec![member])).collect()),
    })
}

/// A string, a message or bytes: what reads as a text without control characters is one, what reads as a message another.
fn delimited(bytes: &[u8], depth: usize, left: &mut usize) -> Tree<'static> {
    let is_plain = |text: &&str| !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(is_plain) {
        return Tree::Text(Cow::Owned(text.to_owned()));
    }
    let from = Tree::Raw(Cow::Owned(bytes.to_vec()));
    let before = *left;
    match if depth > 0 { fields(bytes, depth - 1, left) } else { None } {
        Some(inside) => Tree::opened(Form::Protobuf, from, inside),
        None => {
            *left = before;
            from
        }
    }
}

fn fixed(text: String) -> Tree<'static> {
    Tree::Raw(Cow::Owned(text.into_bytes()))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

/// A number of 64 bits, written in no more bytes than it needs.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return (bits > 0 || place == 0).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
