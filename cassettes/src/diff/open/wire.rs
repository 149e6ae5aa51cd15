//! The fields of a message of Protocol Buffers as they stand, of which nothing is known but their numbers.
//!
//! Only what is written as libraries write it is read, so that number and value of each field give the same bytes again.

/// The most fields of one body that are told apart.
pub(super) const MOST: usize = 1_000_000;

/// The highest number of a field.
const HIGHEST: u64 = (1 << 29) - 1;

/// A field as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub number: u32,
    pub value: Coded<'a>,
}

/// A value as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coded<'a> {
    Varint(u64),
    Fixed64(u64),
    Delimited(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, of which there may be as many as are `left`. `None` for bytes that are no message, or are written
/// otherwise than libraries do, and for groups.
pub(super) fn fields<'a>(mut rest: &'a [u8], left: &mut usize) -> Option<Vec<Field<'a>>> {
    let before = *left;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let Some(field) = left.checked_sub(1).and_then(|fewer| {
            *left = fewer;
            field(&mut rest)
        }) else {
            *left = before;
            return None;
        };
        fields.push(field);
    }
    Some(fields)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let key = varint(rest)?;
    let number = Some(key >> 3).filter(|number| (1..=HIGHEST).contains(number))?;
    let value = match key & 7 {
        0 => Coded::Varint(varint(rest)?),
        1 => Coded::Fixed64(fixed64(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Coded::Delimited(take(rest, length)?)
        }
        5 => Coded::Fixed32(fixed32(rest)?),
        _ => return None,
    };
    Some(Field { number: u32::try_from(number).ok()?, value })
}

pub(super) fn fixed64(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

pub(super) fn fixed32(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

/// A number of 64 bits, written in no more bytes than it needs.
pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
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
