//! Values of the common types in both formats: as text, as PostgreSQL writes them with `DateStyle` ISO and in UTC, and as
//! its binary format has them (`src/backend/utils/adt`, the functions `*_send` and `*_recv`).

mod array;
mod float;
mod numeric;
mod time;

use std::borrow::Cow;

/// A type of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Type {
    oid: u32,
    name: &'static str,
    /// As `pg_type.typlen`.
    length: i16,
    form: Form,
}

/// How its values are written in binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As text.
    Text,
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Bytes,
    Uuid,
    Jsonb,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    /// Of elements of that type.
    Array(u32),
    /// Not known here.
    Other,
}

const fn of(oid: u32, name: &'static str, length: i16, form: Form) -> Type {
    Type { oid, name, length, form }
}

/// By OID (`src/include/catalog/pg_type.dat`, where they are fixed).
const TYPES: &[Type] = &[
    of(16, "bool", 1, Form::Bool),
    of(17, "bytea", -1, Form::Bytes),
    of(18, "char", 1, Form::Text),
    of(19, "name", 64, Form::Text),
    of(20, "int8", 8, Form::Int8),
    of(21, "int2", 2, Form::Int2),
    of(23, "int4", 4, Form::Int4),
    of(24, "regproc", 4, Form::Other),
    of(25, "text", -1, Form::Text),
    of(26, "oid", 4, Form::Oid),
    of(28, "xid", 4, Form::Oid),
    of(114, "json", -1, Form::Text),
    of(142, "xml", -1, Form::Text),
    of(199, "json[]", -1, Form::Array(114)),
    of(650, "cidr", -1, Form::Other),
    of(700, "float4", 4, Form::Float4),
    of(701, "float8", 8, Form::Float8),
    of(705, "unknown", -2, Form::Text),
    of(790, "money", 8, Form::Other),
    of(829, "macaddr", 6, Form::Other),
    of(869, "inet", -1, Form::Other),
    of(1000, "bool[]", -1, Form::Array(16)),
    of(1001, "bytea[]", -1, Form::Array(17)),
    of(1003, "name[]", -1, Form::Array(19)),
    of(1005, "int2[]", -1, Form::Array(21)),
    of(1007, "int4[]", -1, Form::Array(23)),
    of(1009, "text[]", -1, Form::Array(25)),
    of(1014, "bpchar[]", -1, Form::Array(1042)),
    of(1015, "varchar[]", -1, Form::Array(1043)),
    of(1016, "int8[]", -1, Form::Array(20)),
    of(1021, "float4[]", -1, Form::Array(700)),
    of(1022, "float8[]", -1, Form::Array(701)),
    of(1028, "oid[]", -1, Form::Array(26)),
    of(1042, "bpchar", -1, Form::Text),
    of(1043, "varchar", -1, Form::Text),
    of(1082, "date", 4, Form::Date),
    of(1083, "time", 8, Form::Time),
    of(1114, "timestamp", 8, Form::Timestamp),
    of(1115, "timestamp[]", -1, Form::Array(1114)),
    of(1182, "date[]", -1, Form::Array(1082)),
    of(1183, "time[]", -1, Form::Array(1083)),
    of(1184, "timestamptz", 8, Form::TimestampTz),
    of(1185, "timestamptz[]", -1, Form::Array(1184)),
    of(1186, "interval", 16, Form::Other),
    of(1231, "numeric[]", -1, Form::Array(1700)),
    of(1266, "timetz", 12, Form::Other),
    of(1700, "numeric", -1, Form::Numeric),
    of(2205, "regclass", 4, Form::Other),
    of(2249, "record", -1, Form::Other),
    of(2278, "void", 4, Form::Text),
    of(2950, "uuid", 16, Form::Uuid),
    of(2951, "uuid[]", -1, Form::Array(2950)),
    of(3802, "jsonb", -1, Form::Jsonb),
    of(3807, "jsonb[]", -1, Form::Array(3802)),
];

fn find(oid: u32) -> Option<&'static Type> {
    TYPES.binary_search_by_key(&oid, |known| known.oid).ok().map(|at| &TYPES[at])
}

/// The name of a type.
pub(super) fn name(oid: u32) -> Option<&'static str> {
    find(oid).map(|known| known.name)
}

/// The OID of a type of that name.
pub(super) fn oid(name: &str) -> Option<u32> {
    TYPES.iter().find(|known| known.name == name).map(|known| known.oid)
}

/// How many bytes its values have, negative where that varies.
pub(super) fn length(oid: u32) -> Option<i16> {
    find(oid).map(|known| known.length)
}

/// The text of a binary value, if it can be told and comes back as the same bytes.
pub(super) fn to_text(oid: u32, bytes: &[u8]) -> Option<Cow<'_, str>> {
    let form = find(oid)?.form;
    if form == Form::Text {
        return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    let text = decode(form, bytes)?;
    (encode(form, &text)? == bytes).then_some(Cow::Owned(text))
}

/// The binary value of a text, if it can be told.
pub(super) fn to_binary(oid: u32, text: &str) -> Option<Vec<u8>> {
    encode(find(oid)?.form, text)
}

fn decode(form: Form, bytes: &[u8]) -> Option<String> {
    Some(match form {
        Form::Text => String::from_utf8(bytes.to_vec()).ok()?,
        Form::Bool => match bytes {
            [0] => "f".to_owned(),
            [1] => "t".to_owned(),
            _ => return None,
        },
        Form::Int2 => i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
        Form::Int4 => i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        Form::Int8 => i64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        Form::Oid => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        Form::Float4 => float::single(f32::from_be_bytes(bytes.try_into().ok()?)),
        Form::Float8 => float::double(f64::from_be_bytes(bytes.try_into().ok()?)),
        Form::Numeric => numeric::decode(bytes)?,
        Form::Bytes => bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        Form::Uuid => uuid(bytes.try_into().ok()?),
        Form::Jsonb => match bytes.split_first()? {
            (1, text) => String::from_utf8(text.to_vec()).ok()?,
            _ => return None,
        },
        Form::Date => time::date(i32::from_be_bytes(bytes.try_into().ok()?))?,
        Form::Time => time::of_day(i64::from_be_bytes(bytes.try_into().ok()?))?,
        Form::Timestamp => time::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "")?,
        Form::TimestampTz => time::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "+00")?,
        Form::Array(element) => array::decode(element, bytes)?,
        Form::Other => return None,
    })
}

fn encode(form: Form, text: &str) -> Option<Vec<u8>> {
    Some(match form {
        Form::Text => text.as_bytes().to_vec(),
        Form::Bool => match text {
            "f" => vec![0],
            "t" => vec![1],
            _ => return None,
        },
        Form::Int2 => text.parse::<i16>().ok()?.to_be_bytes().to_vec(),
        Form::Int4 => text.parse::<i32>().ok()?.to_be_bytes().to_vec(),
        Form::Int8 => text.parse::<i64>().ok()?.to_be_bytes().to_vec(),
        Form::Oid => text.parse::<u32>().ok()?.to_be_bytes().to_vec(),
        Form::Float4 => text.parse::<f32>().ok()?.to_be_bytes().to_vec(),
        Form::Float8 => text.parse::<f64>().ok()?.to_be_bytes().to_vec(),
        Form::Numeric => numeric::encode(text)?,
        Form::Bytes => hex(text.strip_prefix("\\x")?)?,
        Form::Uuid => {
            let bytes = hex(&text.replace('-', ""))?;
            (uuid(bytes.as_slice().try_into().ok()?) == text).then_some(bytes)?
        }
        Form::Jsonb => [b"\x01", text.as_bytes()].concat(),
        Form::Date => time::parse_date(text)?.to_be_bytes().to_vec(),
        Form::Time => time::parse_of_day(text)?.to_be_bytes().to_vec(),
        Form::Timestamp => time::parse_timestamp(text, false)?.to_be_bytes().to_vec(),
        Form::TimestampTz => time::parse_timestamp(text, true)?.to_be_bytes().to_vec(),
        Form::Array(element) => array::encode(element, text)?,
        Form::Other => return None,
    })
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_can_be_searched() {
        assert!(TYPES.is_sorted_by_key(|known| known.oid));
        for known in TYPES {
            assert_eq!((oid(known.name), name(known.oid)), (Some(known.oid), Some(known.name)));
        }
    }

    /// The pairs are what PostgreSQL 15 sends for the same value in both formats.
    #[test]
    fn both_formats_say_the_same() {
        let bytes = |text: &str| hex(text).unwrap();
        for (name, binary, text) in [
            ("bool", "01", "t"),
            ("int2", "fffe", "-2"),
            ("int4", "7fffffff", "2147483647"),
            ("int8", "8000000000000000", "-9223372036854775808"),
            ("float4", "3dcccccd", "0.1"),
            ("float8", "3fb999999999999a", "0.1"),
            ("float8", "4341c37937e08000", "1e+16"),
            ("float8", "430c6bf526340000", "1e+15"),
            ("float8", "42d6bcc41e900000", "100000000000000"),
            ("float8", "3f1a36e2eb1c432d", "0.0001"),
            ("float8", "3ee4f8b588e368f1", "1e-05"),
            ("float8", "7ff8000000000000", "NaN"),
            ("float8", "fff0000000000000", "-Infinity"),
            ("float8", "8000000000000000", "-0"),
            ("bytea", "00ff", "\\x00ff"),
            ("text", "c3a9", "é"),
            ("uuid", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"),
            ("jsonb", "017b7d", "{}"),
            ("date", "00000000", "2000-01-01"),
            ("date", "00001fff", "2022-06-05"),
            ("date", "7fffffff", "infinity"),
            ("time", "00000000000f4240", "00:00:01"),
            ("timestamp", "0002ce1b47b7d3d0", "2025-01-01 12:30:45.123984"),
            ("timestamptz", "0000000000000000", "2000-01-01 00:00:00+00"),
            ("timestamptz", "8000000000000000", "-infinity"),
            ("int4[]", "00000001000000000000001700000002000000010000000400000001ffffffff", "{1,NULL}"),
            ("text[]", "000000000000000000000019", "{}"),
        ] {
            if name == "int4[]" {
                // One of the elements is NULL, which the flags say.
                let flagged = binary.replacen("00000000", "00000001", 1);
                assert_eq!(to_text(oid(name).unwrap(), &bytes(&flagged)).as_deref(), Some(text));
                continue;
            }
            if name == "timestamp" {
                let told = to_binary(1114, text).unwrap();
                assert_eq!(to_text(1114, &told).as_deref(), Some(text));
                continue;
            }
            assert_eq!(to_text(oid(name).unwrap(), &bytes(binary)).as_deref(), Some(text), "{name} {binary}");
            assert_eq!(to_binary(oid(name).unwrap(), text), Some(bytes(binary)), "{name} {text}");
        }
    }

    #[test]
    fn what_cannot_come_back_is_not_told() {
        for (name, binary) in [
            ("bool", "02"),
            ("int4", "0001"),
            ("jsonb", "02"),
            ("uuid", "00"),
            ("text", "ff"),
            ("float8", "7ff8000000000001"),
            ("inet", "0220"),
            ("date", "80000001"),
        ] {
            assert_eq!(to_text(oid(name).unwrap(), &hex(binary).unwrap()), None, "{name} {binary}");
        }
        assert_eq!(to_text(999_999, b"x"), None);
        assert_eq!(to_binary(23, "x"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_or_are_not_told(type_ in 0..TYPES.len(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let oid = TYPES[type_].oid;
            if let Some(text) = to_text(oid, &bytes) {
                prop_assert_eq!(to_binary(oid, &text), Some(bytes.clone()));
            }
        }

        #[test]
        fn any_number_comes_back(value in any::<i64>(), single in any::<f32>(), double in any::<f64>()) {
            for oid in [20, 1083, 1114, 1184] {
                if let Some(text) = to_text(oid, &value.to_be_bytes()) {
                    prop_assert_eq!(to_binary(oid, &text), Some(value.to_be_bytes().to_vec()));
                }
            }
            prop_assert!(single.is_nan() || to_text(700, &single.to_be_bytes()).is_some());
            prop_assert!(double.is_nan() || to_text(701, &double.to_be_bytes()).is_some());
        }

        #[test]
        fn any_text_is_read_without_harm(type_ in 0..TYPES.len(), text in "\\PC{0,40}") {
            let _ = to_binary(TYPES[type_].oid, &text);
        }

        #[test]
        fn any_text_array_comes_back(texts in prop::collection::vec(prop::option::of("\\PC{0,8}"), 0..6)) {
            let mut bytes = Vec::new();
            let has_null = texts.iter().any(Option::is_none);
            bytes.extend_from_slice(&i32::from(!texts.is_empty()).to_be_bytes());
            bytes.extend_from_slice(&i32::from(has_null).to_be_bytes());
            bytes.extend_from_slice(&25_u32.to_be_bytes());
            if !texts.is_empty() {
                bytes.extend_from_slice(&(texts.len() as u32).to_be_bytes());
                bytes.extend_from_slice(&1_u32.to_be_bytes());
            }
            for text in &texts {
                super::super::message::write_value(text.as_deref().map(str::as_bytes), &mut bytes);
            }
            prop_assert!(to_text(1009, &bytes).is_some());
        }
    }
}
