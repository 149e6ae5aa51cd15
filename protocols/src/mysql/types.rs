//! Values of the binary protocol
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>).

use bytes::Bytes;

use super::data::{Reader, put_string};
use crate::Value;

/// Types of columns and parameters with their words (`enum_field_types`).
const WORDS: &[(u8, &str)] = &[
    (0x00, "decimal"),
    (0x01, "tiny"),
    (0x02, "short"),
    (0x03, "long"),
    (0x04, "float"),
    (0x05, "double"),
    (0x06, "null"),
    (0x07, "timestamp"),
    (0x08, "longlong"),
    (0x09, "int24"),
    (0x0a, "date"),
    (0x0b, "time"),
    (0x0c, "datetime"),
    (0x0d, "year"),
    (0x0e, "newdate"),
    (0x0f, "varchar"),
    (0x10, "bit"),
    (0xf2, "vector"),
    (0xf5, "json"),
    (0xf6, "newdecimal"),
    (0xf7, "enum"),
    (0xf8, "set"),
    (0xf9, "tiny_blob"),
    (0xfa, "medium_blob"),
    (0xfb, "long_blob"),
    (0xfc, "blob"),
    (0xfd, "var_string"),
    (0xfe, "string"),
    (0xff, "geometry"),
];

/// A type and whether its numbers have no sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) code: u8,
    pub(super) unsigned: bool,
}

/// The word for a type; a number where it has none.
pub(super) fn word(code: u8) -> Value {
    WORDS.iter().find(|(known, _)| *known == code).map_or(Value::number(code), |(_, word)| Value::text(*word))
}

/// The type of that word.
pub(super) fn of_word(word: &Value) -> Option<u8> {
    match word.as_text() {
        Some(text) => WORDS.iter().find(|(_, known)| *known == text).map(|(code, _)| *code),
        None => word.as_number(),
    }
}

/// How values of a type are written.
enum Form {
    Integer(usize),
    Float,
    Double,
    /// A date, with a time where that is not 0.
    DateTime,
    Date,
    Time,
    String,
    Nothing,
}

fn form(code: u8) -> Option<Form> {
    Some(match code {
        0x01 => Form::Integer(1),
        0x02 | 0x0d => Form::Integer(2),
        0x03 | 0x09 => Form::Integer(4),
        0x08 => Form::Integer(8),
        0x04 => Form::Float,
        0x05 => Form::Double,
        0x06 => Form::Nothing,
        0x07 | 0x0c => Form::DateTime,
        0x0a | 0x0e => Form::Date,
        0x0b => Form::Time,
        0x00 | 0x0f | 0x10 | 0xf2 | 0xf5..=0xff => Form::String,
        _ => return None,
    })
}

/// Reads a value that is not NULL: numbers as numbers, dates and times as SQL writes them, all else as data. What
/// does not come back as the same bytes is `{"raw": …}`.
pub(super) fn read(kind: Type, from: &mut Reader<'_>) -> Option<Value> {
    let before = from.0;
    let form = form(kind.code)?;
    let value = match form {
        Form::Integer(bytes) => Some(integer(from.integer(bytes)?, bytes, kind.unsigned)),
        Form::Float => number(f32::from_bits(from.u32()?)),
        Form::Double => number(f64::from_bits(from.integer(8)?)),
        Form::DateTime => moment(counted(from)?),
        Form::Date => day(counted(from)?),
        Form::Time => time(counted(from)?),
        Form::String => Some(Value::data(from.string()?)),
        Form::Nothing => Some(Value::Null),
    };
    let taken = &before[..before.len() - from.0.len()];
    let returns = |value: &Value| {
        let mut again = Vec::with_capacity(taken.len());
        write(kind.code, value, &mut again).is_some() && again == taken
    };
    Some(value.filter(returns).unwrap_or_else(|| raw(taken)))
}

/// Bytes that are kept as they came.
pub(super) fn raw(bytes: &[u8]) -> Value {
    Value::map([("raw", Value::Bytes(Bytes::copy_from_slice(bytes)))])
}

/// Writes a value that is not NULL. `None` if it is none of that type; nothing is written then.
pub(super) fn write(code: u8, value: &Value, to: &mut Vec<u8>) -> Option<()> {
    if let Some(bytes) = value.get("raw").and_then(Value::as_data) {
        to.extend_from_slice(bytes);
        return Some(());
    }
    match form(code)? {
        Form::Integer(bytes) => {
            let number: i128 = value.as_number()?;
            let range = -(1i128 << (bytes * 8 - 1))..1i128 << (bytes * 8);
            range.contains(&number).then(|| to.extend_from_slice(&number.to_le_bytes()[..bytes]))
        }
        Form::Float => {
            let Value::Number(text) = value else { return None };
            to.extend_from_slice(&text.parse::<f32>().ok()?.to_le_bytes());
            Some(())
        }
        Form::Double => {
            let Value::Number(text) = value else { return None };
            to.extend_from_slice(&text.parse::<f64>().ok()?.to_le_bytes());
            Some(())
        }
        Form::DateTime => put_moment(value.as_text()?, to),
        Form::Date => {
            let [year, month, day] = numbers(value.as_text()?, '-')?;
            put_parts(&[(year, 2), (month, 1), (day, 1)], &[], 0, to)
        }
        Form::Time => put_time(value.as_text()?, to),
        Form::String => {
            put_string(value.as_data()?, to);
            Some(())
        }
        Form::Nothing => (*value == Value::Null).then_some(()),
    }
}

fn integer(bits: u64, bytes: usize, unsigned: bool) -> Value {
    if unsigned {
        return Value::number(bits);
    }
    let unused = 64 - 8 * bytes as u32;
    Value::number((bits << unused) as i64 >> unused)
}

/// The shortest number that is read as the same; none for infinities and what is no number.
fn number(number: impl Into<f64> + Copy + std::fmt::Debug) -> Option<Value> {
    let wide: f64 = number.into();
    wide.is_finite().then(|| Value::Number(format!("{number:?}")))
}

/// A length of one byte, and what has it.
fn counted<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = from.u8()?;
    from.take(usize::from(length))
}

fn day(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader(bytes);
    let (year, month, day) = match bytes.len() {
        0 => (0, 0, 0),
        4 => (reader.u16()?, reader.u8()?, reader.u8()?),
        _ => return None,
    };
    Some(Value::text(format!("{year:04}-{month:02}-{day:02}")))
}

fn moment(bytes: &[u8]) -> Option<Value> {
    let date = &bytes[..bytes.len().min(4)];
    let mut clock = Reader(bytes.get(4..).unwrap_or_default());
    let date = day(date)?;
    let (hour, minute, second) = if bytes.len() > 4 { (clock.u8()?, clock.u8()?, clock.u8()?) } else { (0, 0, 0) };
    let mut text = format!("{} {hour:02}:{minute:02}:{second:02}", date.as_text()?);
    if bytes.len() > 7 {
        text.push_str(&format!(".{:06}", clock.u32()?));
    }
    clock.0.is_empty().then_some(Value::Text(text))
}

fn time(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader(bytes);
    if bytes.is_empty() {
        return Some(Value::text("00:00:00"));
    }
    let (negative, days) = (reader.u8()?, reader.u32()?);
    let (hour, minute, second) = (reader.u8()?, reader.u8()?, reader.u8()?);
    let hours = u64::from(days) * 24 + u64::from(hour);
    let mut text = format!("{}{hours:02}:{minute:02}:{second:02}", if negative == 1 { "-" } else { "" });
    if bytes.len() > 8 {
        text.push_str(&format!(".{:06}", reader.u32()?));
    }
    reader.0.is_empty().then_some(Value::Text(text))
}

/// Numbers with something between them.
fn numbers<const N: usize>(text: &str, between: char) -> Option<[u64; N]> {
    let numbers: Option<Vec<u64>> = text.split(between).map(|part| part.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// Seconds, and millionths of one.
fn fraction(text: &str) -> Option<(&str, u64)> {
    match text.split_once('.') {
        Some((whole, millionths)) => Some((whole, millionths.parse().ok()?)),
        None => Some((text, 0)),
    }
}

/// Writes numbers in as many bytes as told, behind their length: nothing where all are 0, without `clock` and millionths where those are.
fn put_parts(date: &[(u64, usize)], clock: &[(u64, usize)], millionths: u64, to: &mut Vec<u8>) -> Option<()> {
    let is_zero = |parts: &[(u64, usize)]| parts.iter().all(|(number, _)| *number == 0);
    let clock = if is_zero(clock) && millionths == 0 { &[] } else { clock };
    let date = if is_zero(date) && clock.is_empty() { &[] } else { date };
    let last = [(millionths, 4)];
    let last = if millionths == 0 { &[][..] } else { &last };
    let parts = [date, clock, last].concat();
    if parts.iter().any(|(number, bytes)| number >> (8 * bytes) != 0) {
        return None;
    }
    to.push(parts.iter().map(|(_, bytes)| *bytes as u8).sum());
    parts.iter().for_each(|(number, bytes)| to.extend_from_slice(&number.to_le_bytes()[..*bytes]));
    Some(())
}

fn put_moment(text: &str, to: &mut Vec<u8>) -> Option<()> {
    let (date, clock) = text.split_once(' ')?;
    let [year, month, day] = numbers(date, '-')?;
    let (clock, millionths) = fraction(clock)?;
    let [hour, minute, second] = numbers(clock, ':')?;
    put_parts(&[(year, 2), (month, 1), (day, 1)], &[(hour, 1), (minute, 1), (second, 1)], millionths, to)
}

fn put_time(text: &str, to: &mut Vec<u8>) -> Option<()> {
    let (negative, text) = text.strip_prefix('-').map_or((0, text), |text| (1, text));
    let (clock, millionths) = fraction(text)?;
    let [hours, minute, second] = numbers(clock, ':')?;
    let all = [(negative, 1), (hours / 24, 4), (hours % 24, 1), (minute, 1), (second, 1)];
    put_parts(&all, &[], millionths, to)
}

/// Reads a parameter that is not NULL, so that two which mean different things differ: whole numbers as such, floating-point
/// ones with a point or an exponent, strings as data; all else says its type: `{"date": "2024-02-29"}`.
pub(super) fn read_parameter(kind: Type, from: &mut Reader<'_>) -> Option<Value> {
    Some(name_parameter(kind.code, read(kind, from)?))
}

/// A parameter as [`read_parameter`] has it.
pub(super) fn name_parameter(code: u8, value: Value) -> Value {
    let (Some((_, word)), None) = (WORDS.iter().find(|(known, _)| *known == code), value.get("raw")) else {
        return Value::map([("type", word(code)), ("value", value)]);
    };
    match code {
        0x01 | 0x02 | 0x03 | 0x05 | 0x06 | 0x08 | 0x09 | 0x0d | 0x0f | 0xfd | 0xfe => value,
        _ => Value::map([(*word, value)]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(code: u8, unsigned: bool, bytes: &[u8]) -> Value {
        let mut reader = Reader(bytes);
        let value = read(Type { code, unsigned }, &mut reader).unwrap();
        let mut again = Vec::new();
        write(code, &value, &mut again).unwrap();
        assert_eq!(again, bytes[..bytes.len() - reader.0.len()], "{value:?}");
        value
    }

    #[test]
    fn values_are_readable_and_come_back() {
        let number = |text: &str| Value::Number(text.to_owned());
        assert_eq!(of(1, false, b"\xff"), number("-1"));
        assert_eq!(of(1, true, b"\xff"), number("255"));
        assert_eq!(of(9, false, b"\xff\xff\xff\xff"), number("-1"));
        assert_eq!(of(8, true, &[0xff; 8]), number("18446744073709551615"));
        assert_eq!(of(8, false, &i64::MIN.to_le_bytes()), number("-9223372036854775808"));
        assert_eq!(of(13, true, b"\xe8\x07"), number("2024"));
        assert_eq!(of(4, false, &0.1f32.to_le_bytes()), number("0.1"));
        assert_eq!(of(5, false, &1e300f64.to_le_bytes()), number("1e300"));
        assert_eq!(of(5, false, &(-0.0f64).to_le_bytes()), number("-0.0"));
        assert_eq!(of(0xfd, false, b"\x02ab"), Value::text("ab"));
        assert_eq!(of(0x0a, false, b"\x04\xe8\x07\x02\x1d"), Value::text("2024-02-29"));
        assert_eq!(of(0x0a, false, b"\x00"), Value::text("0000-00-00"));
        assert_eq!(of(0x0c, false, b"\x04\xe8\x07\x02\x1d"), Value::text("2024-02-29 00:00:00"));
        assert_eq!(of(0x07, false, b"\x07\xe8\x07\x02\x1d\x01\x02\x03"), Value::text("2024-02-29 01:02:03"));
        let long = b"\x0b\xe8\x07\x02\x1d\x01\x02\x03\x40\xe2\x01\x00";
        assert_eq!(of(0x0c, false, long), Value::text("2024-02-29 01:02:03.123456"));
        assert_eq!(of(0x0b, false, b"\x08\x01\x22\x00\x00\x00\x16\x3b\x3b"), Value::text("-838:59:59"));
        assert_eq!(
            of(0x0b, false, b"\x0c\x00\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00"),
            Value::text("00:00:01.000001")
        );
        assert_eq!(of(0x0b, false, b"\x00"), Value::text("00:00:00"));
    }

    #[test]
    fn what_would_not_come_back_is_raw() {
        for (code, bytes) in [
            (5, &f64::NAN.to_le_bytes()[..]),
            (4, &f32::INFINITY.to_le_bytes()),
            (0x0c, b"\x07\xe8\x07\x02\x1d\x00\x00\x00"),
            (0x0b, b"\x08\x00\x00\x00\x00\x00\x00\x00\x00"),
            (0x0b, b"\x08\x02\x00\x00\x00\x00\x01\x00\x00"),
            (0x0a, b"\x03abc"),
            (0xfd, b"\xfc\x01\x00a"),
        ] {
            assert_eq!(of(code, false, bytes), raw(bytes));
        }
        assert!(read(Type { code: 0x20, unsigned: false }, &mut Reader(b"\x01a")).is_none());
        assert!(write(1, &Value::number(256), &mut Vec::new()).is_none());
    }

    #[test]
    fn parameters_of_another_type_differ() {
        let parameter =
            |code: u8, bytes: &[u8]| read_parameter(Type { code, unsigned: false }, &mut Reader(bytes)).unwrap();
        let five = [
            parameter(8, &5i64.to_le_bytes()),
            parameter(5, &5f64.to_le_bytes()),
            parameter(4, &5f32.to_le_bytes()),
            parameter(0xfd, b"\x015"),
            parameter(0xfc, b"\x015"),
            parameter(0xf6, b"\x015"),
        ];
        for (number, one) in five.iter().enumerate() {
            assert!(five[number + 1..].iter().all(|other| one != other), "{five:?}");
        }
        assert_eq!(parameter(8, &5i64.to_le_bytes()), parameter(1, b"\x05"));
    }

    proptest! {
        #[test]
        fn whatever_is_read_comes_back(code: u8, unsigned: bool, bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            let mut reader = Reader(&bytes);
            if let Some(value) = read(Type { code, unsigned }, &mut reader) {
                let mut again = Vec::new();
                prop_assert!(write(code, &value, &mut again).is_some());
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - reader.0.len()]);
            }
        }
    }
}
