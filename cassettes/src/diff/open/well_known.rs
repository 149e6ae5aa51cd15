//! Messages of `google.protobuf` that stand for something simple, told as JSON has them: times, durations, wrapped values, JSON,
//! and a message of any type.
//!
//! Only what is written as libraries write it is told so; else it is a message like any other.

use std::borrow::Cow;

use jiff::Timestamp;
use prost_reflect::{Kind, MessageDescriptor};

use super::{
    typed::{self, Known},
    wire::{self, Coded, Field},
};
use crate::diff::tree::{Member, Tree};

/// The seconds of the years 1 to 9999 (`google/protobuf/timestamp.proto`).
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Those of a duration (`google/protobuf/duration.proto`).
const DURATION: std::ops::RangeInclusive<i64> = -315_576_000_000..=315_576_000_000;

/// What a message stands for; `None` where that is nothing simple.
pub(super) fn told(bytes: &[u8], schema: &MessageDescriptor, depth: usize, left: &mut usize) -> Option<Tree<'static>> {
    let name = schema.full_name().strip_prefix("google.protobuf.")?;
    match name {
        "Timestamp" | "Duration" => {
            let (seconds, nanoseconds) = parts(bytes)?;
            let text = if name == "Timestamp" { time(seconds, nanoseconds) } else { duration(seconds, nanoseconds) };
            Some(Tree::Text(Cow::Owned(text?)))
        }
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value" | "BoolValue"
        | "StringValue" | "BytesValue" => wrapped(bytes, &Known::of(schema, 1)?.kind),
        "Struct" => {
            let fields = wire::fields(bytes, left)?;
            let entries: Vec<_> = fields.iter().map(|field| field.value).collect();
            let map = Known::of(schema, 1)?;
            if fields.iter().all(|field| field.number == 1) { map.map(&entries, depth, left) } else { None }
        }
        "ListValue" => {
            let fields = wire::fields(bytes, left)?;
            let Kind::Message(item) = Known::of(schema, 1)?.kind else { return None };
            let item_of = |field| match field {
                Field { number: 1, value: Coded::Delimited(bytes) } => Some(bytes),
                _ => None,
            };
            let items: Vec<_> = fields.into_iter().map(item_of).collect::<Option<_>>()?;
            Some(Tree::Array(items.into_iter().map(|bytes| typed::message(bytes, &item, depth, left)).collect()))
        }
        "Value" => {
            let [Field { number, value }] = wire::fields(bytes, left)?[..] else { return None };
            let known = Known::of(schema, number)?;
            match (&known.kind, value) {
                (Kind::Enum(_), Coded::Varint(0)) => Some(Tree::Null),
                (Kind::Enum(_), _) => None,
                (Kind::Double, Coded::Fixed64(bits)) if !f64::from_bits(bits).is_finite() => None,
                _ => typed::value(value, &known.kind, depth, left),
            }
        }
        _ => None,
    }
}

/// Seconds and nanoseconds, those that are zero left out.
fn parts(bytes: &[u8]) -> Option<(i64, i32)> {
    let nanoseconds = |bits: u64| i32::try_from(bits.cast_signed()).ok();
    match wire::fields(bytes, &mut 2)?[..] {
        [] => Some((0, 0)),
        [Field { number: 1, value: Coded::Varint(seconds @ 1..) }] => Some((seconds.cast_signed(), 0)),
        [Field { number: 2, value: Coded::Varint(bits @ 1..) }] => Some((0, nanoseconds(bits)?)),
        [
            Field { number: 1, value: Coded::Varint(seconds @ 1..) },
            Field { number: 2, value: Coded::Varint(bits @ 1..) },
        ] => Some((seconds.cast_signed(), nanoseconds(bits)?)),
        _ => None,
    }
}

/// RFC 3339 in UTC, with as many digits as it takes.
fn time(seconds: i64, nanoseconds: i32) -> Option<String> {
    if !SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanoseconds) {
        return None;
    }
    Some(Timestamp::new(seconds, nanoseconds).ok()?.to_string())
}

/// `1.5s`
fn duration(seconds: i64, nanoseconds: i32) -> Option<String> {
    let is_one_sign = seconds.signum() * i64::from(nanoseconds.signum()) >= 0;
    if !DURATION.contains(&seconds) || nanoseconds.unsigned_abs() >= 1_000_000_000 || !is_one_sign {
        return None;
    }
    let sign = if seconds < 0 || nanoseconds < 0 { "-" } else { "" };
    let fraction = format!(".{:09}", nanoseconds.unsigned_abs());
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    Some(format!("{sign}{}{fraction}s", seconds.unsigned_abs()))
}

/// The value in a wrapper, of which the default is left out.
fn wrapped(bytes: &[u8], kind: &Kind) -> Option<Tree<'static>> {
    let default = match kind {
        Kind::Double | Kind::Int64 | Kind::Uint64 | Kind::Float | Kind::Int32 | Kind::Uint32 => {
            let is_float = matches!(kind, Kind::Double | Kind::Float);
            Tree::Number(Cow::Borrowed(if is_float { "0.0" } else { "0" }))
        }
        Kind::Bool => Tree::Bool(false),
        Kind::String => Tree::Text(Cow::Borrowed("")),
        _ => Tree::Raw(Cow::Borrowed(b"")),
    };
    match wire::fields(bytes, &mut 1)?[..] {
        [] => Some(default),
        [Field { number: 1, value }] => typed::value(value, kind, 0, &mut 0).filter(|value| *value != default),
        _ => None,
    }
}

/// Opens the message in a `google.protobuf.Any`, where its type is known.
pub(super) fn open_any(members: &mut [Member<'static>], schema: &MessageDescriptor, depth: usize, left: &mut usize) {
    if schema.full_name() != "google.protobuf.Any" {
        return;
    }
    let [(_, Tree::Text(url)), (value_name, value)] = members else { return };
    let name = url.rsplit('/').next().unwrap_or_default();
    if value_name == "value"
        && let Tree::Raw(bytes) = value
        && let Some(schema) = schema.parent_pool().get_message_by_name(name)
    {
        *value = typed::message(bytes, &schema, depth, left);
    }
}
