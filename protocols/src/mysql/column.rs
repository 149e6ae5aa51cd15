//! Definitions of columns
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html>).

use super::{
    bits::{self, COLUMN_FLAGS, UNSIGNED},
    data::{Reader, put_length, put_string},
    types::{self, Type},
    value::Members,
};
use crate::Value;

/// The bytes of a definition that have a fixed length.
const FIXED: usize = 12;

/// What every definition has.
const CATALOG: &[u8] = b"def";

/// A column, or a parameter of a prepared statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// As it is shown.
    pub(super) value: Value,
    pub(super) kind: Type,
}

/// Reads a definition. `None` if it is none.
pub(super) fn read(payload: &[u8]) -> Option<Column> {
    let mut reader = Reader(payload);
    let catalog = reader.string()?;
    let schema = reader.string()?;
    let (table, org_table) = (reader.string()?, reader.string()?);
    let (name, org_name) = (reader.string()?, reader.string()?);
    // MariaDB may tell more about the type here, in words; what has a fixed length ends with two zeros.
    let is_plain = matches!(reader.0, [12, .., ] if reader.0.get(FIXED - 1..=FIXED) == Some(&[0, 0]));
    let extended = if is_plain { None } else { Some(reader.string()?) };
    if reader.length()? != FIXED as u64 {
        return None;
    }
    let charset = reader.u16()?;
    let length = reader.u32()?;
    let code = reader.u8()?;
    let flags = reader.u16()?;
    let decimals = reader.u8()?;
    reader.take(2)?;
    // Only to COM_FIELD_LIST.
    let default = reader.rest();
    let told = |bytes: &[u8]| (!bytes.is_empty()).then(|| Value::data(bytes));
    let differs = |bytes: &[u8], from: &[u8]| (bytes != from).then(|| Value::data(bytes));
    let value = Members::new()
        .with("name", Value::data(name))
        .with("type", types::word(code))
        .maybe("table", told(table))
        .maybe("schema", told(schema))
        .maybe("org_name", differs(org_name, name))
        .maybe("org_table", differs(org_table, table))
        .maybe("catalog", differs(catalog, CATALOG))
        .with("charset", Value::number(charset))
        .with("length", Value::number(length))
        .maybe("flags", (flags != 0).then(|| bits::to_value(u64::from(flags), COLUMN_FLAGS)))
        .maybe("decimals", (decimals != 0).then(|| Value::number(decimals)))
        .maybe("extended", extended.and_then(told))
        .maybe("default", told(default));
    Some(Column { value: value.into(), kind: Type { code, unsigned: flags & UNSIGNED != 0 } })
}

/// The column of such a value; one that lacks something has it empty.
pub(super) fn of_value(value: &Value) -> Column {
    let code = value.get("type").and_then(types::of_word).unwrap_or(0xfd);
    let flags = bits::of_value(value.get("flags"), COLUMN_FLAGS);
    Column { value: value.clone(), kind: Type { code, unsigned: flags & u64::from(UNSIGNED) != 0 } }
}

/// Writes a definition; `extended` for a client that wants to know more about types.
pub(super) fn write(column: &Value, extended: bool) -> Vec<u8> {
    let data = |name: &str| column.get(name).and_then(Value::as_data);
    let number = |name: &str| column.get(name).and_then(Value::as_number::<u32>).unwrap_or(0);
    let mut to = Vec::new();
    let (table, name) = (data("table").unwrap_or_default(), data("name").unwrap_or_default());
    for string in [
        data("catalog").unwrap_or(CATALOG),
        data("schema").unwrap_or_default(),
        table,
        data("org_table").unwrap_or(table),
        name,
        data("org_name").unwrap_or(name),
    ] {
        put_string(string, &mut to);
    }
    if extended {
        put_string(data("extended").unwrap_or_default(), &mut to);
    }
    put_length(FIXED as u64, &mut to);
    to.extend_from_slice(&number("charset").to_le_bytes()[..2]);
    to.extend_from_slice(&number("length").to_le_bytes());
    to.push(of_value(column).kind.code);
    to.extend_from_slice(&bits::of_value(column.get("flags"), COLUMN_FLAGS).to_le_bytes()[..2]);
    to.push(number("decimals") as u8);
    to.extend_from_slice(&[0, 0]);
    to.extend_from_slice(data("default").unwrap_or_default());
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] =
        b"\x03def\x04shop\x01o\x06orders\x02no\x02id\x0c\x3f\x00\x0b\x00\x00\x00\x03\x03\x42\x00\x00\x00";

    #[test]
    fn a_definition_comes_back() {
        let column = read(PLAIN).unwrap();
        assert_eq!(column.kind, Type { code: 3, unsigned: false });
        assert_eq!(column.value.get("name"), Some(&Value::text("no")));
        assert_eq!(column.value.get("org_name"), Some(&Value::text("id")));
        assert_eq!(write(&column.value, false), PLAIN);
        assert_eq!(of_value(&column.value), column);
        assert_eq!(column.value.get("extended"), None);
    }

    #[test]
    fn what_mariadb_tells_of_a_type_comes_back() {
        let with = |extended: &[u8]| {
            let mut bytes = PLAIN[..PLAIN.len() - 13].to_vec();
            put_string(extended, &mut bytes);
            bytes.extend_from_slice(&PLAIN[PLAIN.len() - 13..]);
            bytes
        };
        for extended in [&b""[..], b"\x01\x04json", b"\x00\x0atwelve lon"] {
            let column = read(&with(extended)).unwrap();
            assert_eq!(write(&column.value, true), with(extended));
            assert_eq!(write(&column.value, false), PLAIN);
        }
    }

    #[test]
    fn a_default_comes_back_and_too_little_is_none() {
        let with_default = [PLAIN, b"\x01" as &[u8], b"0"].concat();
        assert_eq!(write(&read(&with_default).unwrap().value, false), with_default);
        assert!((0..PLAIN.len()).all(|end| read(&PLAIN[..end]).is_none()));
    }
}
