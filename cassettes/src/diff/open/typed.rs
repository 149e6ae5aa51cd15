//! Protocol Buffers by their schema: fields by name, values as what the schema says that they are.
//!
//! What is not written as the schema says (an unknown field, another wire type, a number out of range, a list that is packed
//! where it should not be) is there by its number, as without a schema. So two messages are equal inside exactly when their bytes
//! are, but for one thing that says nothing: the order of a map's entries, which some libraries draw anew each time.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use prost_reflect::{Kind, MessageDescriptor};

use super::{
    protobuf, well_known,
    wire::{self, Coded, Field},
};
use crate::diff::tree::{Form, Member, Tree};

/// The member that has the order of fields which are not in the order of their numbers. No field has such a name.
const ORDER: &str = "(order)";

/// The fields of a message. `None` for bytes that are no message.
pub(super) fn fields(
    bytes: &[u8],
    schema: &MessageDescriptor,
    depth: usize,
    left: &mut usize,
) -> Option<Tree<'static>> {
    let fields = wire::fields(bytes, left)?;
    let mut by_number: BTreeMap<u32, Vec<Coded<'_>>> = BTreeMap::new();
    for Field { number, value } in &fields {
        by_number.entry(*number).or_default().push(*value);
    }
    let mut names: HashMap<u32, String> = HashMap::new();
    let mut members: Vec<Member<'static>> = Vec::new();
    for (number, coded) in by_number {
        let known = Known::of(schema, number);
        let told = known.and_then(|known| Some((known.values(&coded, depth, left)?, known.name)));
        let (values, name) = told.unwrap_or_else(|| {
            let values = coded.iter().map(|coded| protobuf::value(*coded, depth, left));
            (values.collect(), number.to_string())
        });
        members.extend(values.into_iter().map(|value| (Cow::Owned(name.clone()), value)));
        names.insert(number, name);
    }
    if !fields.is_sorted_by_key(|field| field.number) {
        let order = fields.iter().map(|field| Tree::Text(Cow::Owned(names[&field.number].clone())));
        members.push((Cow::Borrowed(ORDER), Tree::Array(order.collect())));
    }
    well_known::open_any(&mut members, schema, depth, left);
    Some(Tree::object(members))
}

/// A message in a message. Whatever its bytes are, it is one.
pub(super) fn message(bytes: &[u8], schema: &MessageDescriptor, depth: usize, left: &mut usize) -> Tree<'static> {
    let Some(depth) = depth.checked_sub(1) else { return opened(bytes, None) };
    well_known::told(bytes, schema, depth, left).unwrap_or_else(|| opened(bytes, fields(bytes, schema, depth, left)))
}

/// Bytes of a message with what is inside, which is they themselves where they cannot be read.
fn opened(bytes: &[u8], inside: Option<Tree<'static>>) -> Tree<'static> {
    let from = Tree::Raw(Cow::Owned(bytes.to_vec()));
    let inside = inside.unwrap_or_else(|| from.clone());
    Tree::opened(Form::Protobuf, from, inside)
}

/// What a schema says of a field.
pub(super) struct Known {
    pub name: String,
    pub kind: Kind,
    is_list: bool,
    is_map: bool,
    is_packed: bool,
}

impl Known {
    /// The field of a message with that number; an extension is called by its whole name in brackets.
    pub(super) fn of(schema: &MessageDescriptor, number: u32) -> Option<Known> {
        if let Some(field) = schema.get_field(number) {
            let name = field.name().to_owned();
            let (is_list, is_map, is_packed) = (field.is_list(), field.is_map(), field.is_packed());
            return Some(Known { name, kind: field.kind(), is_list, is_map, is_packed });
        }
        let field = schema.get_extension(number)?;
        let (is_list, is_packed) = (field.is_list(), field.is_packed());
        Some(Known { name: format!("[{}]", field.full_name()), kind: field.kind(), is_list, is_map: false, is_packed })
    }

    /// The values of the field: an array or a map is one, a field that is there again another. `None` where any of it is not
    /// written as the schema says.
    fn values(&self, coded: &[Coded<'_>], depth: usize, left: &mut usize) -> Option<Vec<Tree<'static>>> {
        if let Some(map) = self.map(coded, depth, left) {
            return Some(vec![map]);
        }
        let values = match (self.is_packed, coded) {
            (true, [Coded::Delimited(bytes)]) => packed(bytes, &self.kind, left)?,
            (true, _) => return None,
            (false, _) if coded.iter().all(|coded| is_of(*coded, &self.kind)) => {
                coded.iter().filter_map(|coded| value(*coded, &self.kind, depth, left)).collect()
            }
            (false, _) => return None,
        };
        Some(if self.is_list || self.is_map { vec![Tree::Array(values)] } else { values })
    }

    /// The entries of a map by their keys. `None` where it is none, or an entry is written in another way than as a key with
    /// a value (which may be left out).
    pub(super) fn map(&self, coded: &[Coded<'_>], depth: usize, left: &mut usize) -> Option<Tree<'static>> {
        let Kind::Message(entry) = &self.kind else { return None };
        let kinds = self.is_map.then(|| (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind()));
        let (key_kind, value_kind) = kinds?;
        let pair = |coded| {
            let Coded::Delimited(bytes) = coded else { return None };
            // Not `left`: the bytes are read once more.
            let (key, value) = match wire::fields(bytes, &mut 2)?[..] {
                [Field { number: 1, value: key }] => (key, None),
                [Field { number: 1, value: key }, Field { number: 2, value }] => (key, Some(value)),
                _ => return None,
            };
            let key = self::value(key, &key_kind, 0, &mut 0)?;
            let name = key.scalar().map_or_else(|| key.shown(), str::to_owned);
            value.is_none_or(|value| is_of(value, &value_kind)).then_some((name, value))
        };
        let pairs: Vec<_> = coded.iter().copied().map(pair).collect::<Option<_>>()?;
        let absent = || match value_kind {
            Kind::Message(_) => opened(b"", Some(Tree::Null)),
            _ => Tree::Null,
        };
        let entries = pairs.into_iter().map(|(key, coded)| -> Member<'static> {
            let told = coded.and_then(|coded| value(coded, &value_kind, depth, left));
            (Cow::Owned(key), told.unwrap_or_else(absent))
        });
        Some(Tree::object(entries.collect()))
    }
}

/// The items of a packed list.
fn packed(mut rest: &[u8], kind: &Kind, left: &mut usize) -> Option<Vec<Tree<'static>>> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        *left = left.checked_sub(1)?;
        let coded = match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Coded::Fixed64(wire::fixed64(&mut rest)?),
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Coded::Fixed32(wire::fixed32(&mut rest)?),
            _ => Coded::Varint(wire::varint(&mut rest)?),
        };
        items.push(value(coded, kind, 0, left)?);
    }
    Some(items)
}

/// Whether a value is written as one of that kind.
fn is_of(coded: Coded<'_>, kind: &Kind) -> bool {
    match (kind, coded) {
        (Kind::Message(_), coded) => matches!(coded, Coded::Delimited(_)),
        (_, coded) => value(coded, kind, 0, &mut 0).is_some(),
    }
}

/// A value of that kind; `None` where it is written otherwise.
pub(super) fn value(coded: Coded<'_>, kind: &Kind, depth: usize, left: &mut usize) -> Option<Tree<'static>> {
    let number = |text: String| Some(Tree::Number(Cow::Owned(text)));
    let zigzag = |bits: u64| (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed();
    match (kind, coded) {
        (Kind::Int32, Coded::Varint(bits)) => number(i32::try_from(bits.cast_signed()).ok()?.to_string()),
        (Kind::Int64, Coded::Varint(bits)) => number(bits.cast_signed().to_string()),
        (Kind::Uint32, Coded::Varint(bits)) => number(u32::try_from(bits).ok()?.to_string()),
        (Kind::Uint64, Coded::Varint(bits)) => number(bits.to_string()),
        (Kind::Sint32, Coded::Varint(bits)) => number(i32::try_from(zigzag(bits)).ok()?.to_string()),
        (Kind::Sint64, Coded::Varint(bits)) => number(zigzag(bits).to_string()),
        (Kind::Bool, Coded::Varint(bits @ (0 | 1))) => Some(Tree::Bool(bits == 1)),
        (Kind::Enum(names), Coded::Varint(bits)) => {
            let bits = i32::try_from(bits.cast_signed()).ok()?;
            match names.get_value(bits) {
                Some(named) => Some(Tree::Text(Cow::Owned(named.name().to_owned()))),
                None => number(bits.to_string()),
            }
        }
        (Kind::Fixed64, Coded::Fixed64(bits)) => number(bits.to_string()),
        (Kind::Sfixed64, Coded::Fixed64(bits)) => number(bits.cast_signed().to_string()),
        (Kind::Fixed32, Coded::Fixed32(bits)) => number(bits.to_string()),
        (Kind::Sfixed32, Coded::Fixed32(bits)) => number(bits.cast_signed().to_string()),
        (Kind::Double, Coded::Fixed64(bits)) => {
            let value = f64::from_bits(bits);
            float(value, format!("{value:?}"), bits == f64::NAN.to_bits())
        }
        (Kind::Float, Coded::Fixed32(bits)) => {
            let value = f32::from_bits(bits);
            float(value.into(), format!("{value:?}"), bits == f32::NAN.to_bits())
        }
        (Kind::String, Coded::Delimited(bytes)) => {
            Some(Tree::Text(Cow::Owned(std::str::from_utf8(bytes).ok()?.to_owned())))
        }
        (Kind::Bytes, Coded::Delimited(bytes)) => Some(Tree::Raw(Cow::Owned(bytes.to_vec()))),
        (Kind::Message(schema), Coded::Delimited(bytes)) => Some(message(bytes, schema, depth, left)),
        _ => None,
    }
}

/// A floating point number, `written` as shortly as it can be read again; what is none by its name in JSON.
fn float(value: f64, written: String, is_plain_nan: bool) -> Option<Tree<'static>> {
    let name = match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ if is_plain_nan => "NaN",
        _ if value.is_nan() => return None,
        _ => return Some(Tree::Number(Cow::Owned(written))),
    };
    Some(Tree::Text(Cow::Borrowed(name)))
}

#[cfg(test)]
mod tests;
