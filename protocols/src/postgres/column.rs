//! Columns and the values in them: messages as values, and back.
//!
//! A column is `{"name": "id", "type": "int4"}`, the type by its OID where that is not fixed; where they are not what is usual
//! `"length"` (`pg_type.typlen`) and `"modifier"` (`atttypmod`), and `"table"` and `"number"` of a column that is one of a table. A value is its
//! text whatever its format was, or `{"binary": ...}` where no text can be told.

use std::borrow::Cow;

use super::{
    client::format,
    message::{Reader, write, write_count, write_string, write_value},
    types,
};
use crate::Value;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: Value,
    table: u32,
    number: i16,
    oid: u32,
    length: i16,
    modifier: i32,
    /// 0 = text, 1 = binary; of a statement that is described without being bound always 0.
    pub format: i16,
}

/// What a RowDescription says.
pub(super) fn read_columns(body: &[u8]) -> Option<Vec<Column>> {
    let mut body = Reader(body);
    let columns = body.many(|body| {
        Some(Column {
            name: Value::data(body.string()?),
            table: body.u32()?,
            number: body.i16()?,
            oid: body.u32()?,
            length: body.i16()?,
            modifier: body.i32()?,
            format: body.i16()?,
        })
    })?;
    body.is_over().then_some(columns)
}

/// A RowDescription, with the formats that were asked for.
pub(super) fn write_columns(columns: &[Column], formats: impl Fn(usize) -> i16, to: &mut Vec<u8>) {
    write(b'T', to, |to| {
        write_count(columns.len(), to);
        for (at, column) in columns.iter().enumerate() {
            write_string(column.name.as_data().unwrap_or_default(), to);
            to.extend_from_slice(&column.table.to_be_bytes());
            to.extend_from_slice(&column.number.to_be_bytes());
            to.extend_from_slice(&column.oid.to_be_bytes());
            to.extend_from_slice(&column.length.to_be_bytes());
            to.extend_from_slice(&column.modifier.to_be_bytes());
            to.extend_from_slice(&formats(at).to_be_bytes());
        }
    });
}

/// A type by its name, else by its OID.
pub(super) fn type_value(oid: u32) -> Value {
    types::name(oid).map_or_else(|| Value::number(oid), Value::text)
}

/// The OID of such a type.
pub(super) fn type_oid(value: &Value) -> Option<u32> {
    value.as_text().map_or_else(|| value.as_number(), types::oid)
}

impl Column {
    /// One that is computed.
    pub fn computed(name: &str, oid: u32) -> Column {
        let length = types::length(oid).unwrap_or(-1);
        Column { name: Value::text(name), table: 0, number: 0, oid, length, modifier: -1, format: 0 }
    }

    /// As it is kept.
    pub fn value(&self) -> Value {
        let mut members = vec![(Cow::Borrowed("name"), self.name.clone()), ("type".into(), type_value(self.oid))];
        if types::length(self.oid) != Some(self.length) {
            members.push(("length".into(), Value::number(self.length)));
        }
        if self.modifier != -1 {
            members.push(("modifier".into(), Value::number(self.modifier)));
        }
        if (self.table, self.number) != (0, 0) {
            members.push(("table".into(), Value::number(self.table)));
            members.push(("number".into(), Value::number(self.number)));
        }
        Value::Map(members)
    }

    /// Out of what was kept.
    pub fn of(value: &Value) -> Option<Column> {
        let oid = type_oid(value.get("type")?)?;
        Some(Column {
            name: value.get("name")?.clone(),
            table: value.get("table").and_then(Value::as_number).unwrap_or(0),
            number: value.get("number").and_then(Value::as_number).unwrap_or(0),
            oid,
            length: value.get("length").and_then(Value::as_number).or_else(|| types::length(oid)).unwrap_or(-1),
            modifier: value.get("modifier").and_then(Value::as_number).unwrap_or(-1),
            format: 0,
        })
    }
}

/// The columns that were kept.
pub(super) fn columns_of(value: &Value) -> Option<Vec<Column>> {
    value.as_list()?.iter().map(Column::of).collect()
}

/// A value of a type that is known or not, in a format.
pub(super) fn cell(oid: Option<u32>, format: i16, bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    if format == 0 {
        return Value::data(bytes);
    }
    let text = oid.and_then(|oid| types::to_text(oid, bytes));
    text.map_or_else(|| Value::map([("binary", Value::data(bytes))]), |text| Value::data(text.as_bytes()))
}

/// The values of a DataRow.
pub(super) fn read_row(body: &[u8], columns: Option<&[Column]>, formats: impl Fn(usize) -> i16) -> Option<Value> {
    let mut body = Reader(body);
    let values = body.many(Reader::value)?;
    let one = |(at, bytes): (usize, Option<&[u8]>)| {
        let oid = columns.and_then(|columns| columns.get(at)).map(|column| column.oid);
        cell(oid, formats(at), bytes)
    };
    body.is_over().then(|| Value::List(values.into_iter().enumerate().map(one).collect()))
}

/// A DataRow; or the number of the first value that cannot be told in the format that is asked for.
pub(super) fn write_row(row: &Value, columns: &[Column], formats: &[i16], to: &mut Vec<u8>) -> Result<(), usize> {
    let values = row.as_list().unwrap_or_default();
    let mut told = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let oid = columns.get(at).map(|column| column.oid);
        told.push(bytes_of(value, oid, format(formats, at)).ok_or(at)?);
    }
    write(b'D', to, |to| {
        write_count(told.len(), to);
        told.iter().for_each(|value| write_value(value.as_deref(), to));
    });
    Ok(())
}

/// The bytes of a value in a format, NULL as none; `None` where they cannot be told.
fn bytes_of(value: &Value, oid: Option<u32>, format: i16) -> Option<Option<Cow<'_, [u8]>>> {
    if *value == Value::Null {
        return Some(None);
    }
    if let Some(binary) = value.get("binary") {
        return (format != 0).then(|| binary.as_data()).flatten().map(|bytes| Some(bytes.into()));
    }
    let text = value.as_data()?;
    if format == 0 {
        return Some(Some(text.into()));
    }
    let binary = types::to_binary(oid?, std::str::from_utf8(text).ok()?)?;
    Some(Some(binary.into()))
}

/// Whether some value of that column has no text.
pub(super) fn is_binary(rows: &[Value], at: usize) -> bool {
    rows.iter().filter_map(|row| row.as_list()?.get(at)).any(|value| value.get("binary").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back() {
        let mut odd = Column::computed("ä", 25);
        (odd.table, odd.number, odd.modifier) = (16_400, 2, 14);
        let mut own = Column::computed("mood", 16_500);
        own.length = 4;
        let columns = [Column::computed("id", 23), odd, own];
        for column in &columns {
            assert_eq!(Column::of(&column.value()).as_ref(), Some(column));
        }
        assert_eq!(columns[0].value(), Value::map([("name", Value::text("id")), ("type", Value::text("int4"))]));
        let mut bytes = Vec::new();
        write_columns(&columns, |_| 0, &mut bytes);
        assert_eq!(read_columns(&bytes[5..]), Some(columns.to_vec()));
        assert_eq!(read_columns(&bytes[5..bytes.len() - 1]), None);
    }

    #[test]
    fn a_row_is_told_in_either_format() {
        let columns = [Column::computed("a", 23), Column::computed("b", 25)];
        let row = Value::List(vec![Value::text("7"), Value::Null]);
        for formats in [&[0_i16][..], &[1]] {
            let mut bytes = Vec::new();
            write_row(&row, &columns, formats, &mut bytes).unwrap();
            assert_eq!(read_row(&bytes[5..], Some(&columns), |at| format(formats, at)), Some(row.clone()));
        }
    }

    #[test]
    fn what_has_no_text_is_told_in_binary_alone() {
        let columns = [Column::computed("a", 869)];
        let row = read_row(b"\0\x01\0\0\0\x02\x02\x20", Some(&columns), |_| 1).unwrap();
        assert_eq!(row, Value::List(vec![Value::map([("binary", Value::data(b"\x02\x20"))])]));
        let mut bytes = Vec::new();
        assert_eq!(write_row(&row, &columns, &[0], &mut bytes), Err(0));
        assert_eq!(write_row(&row, &columns, &[1], &mut bytes), Ok(()));
        assert_eq!(bytes, b"D\0\0\0\x0c\0\x01\0\0\0\x02\x02\x20");
        let text = Value::List(vec![Value::text("::1")]);
        assert_eq!(write_row(&text, &columns, &[1], &mut bytes), Err(0));
        assert!(is_binary(&[row], 0) && !is_binary(&[text], 0));
    }
}
