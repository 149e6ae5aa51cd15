//! Rows, as text and in binary
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>).

use super::{
    column::Column,
    data::{Reader, put_string},
    types::{self, Type},
};
use crate::Value;

/// A value of a row as text that is NULL.
const NULL: u8 = 0xfb;
/// The first bit of the map of NULLs in a row; those before it mean nothing.
const OFFSET: usize = 2;

/// Reads a row of texts.
pub(super) fn read_text(payload: &[u8], columns: usize) -> Option<Value> {
    let mut reader = Reader(payload);
    let mut row = Vec::with_capacity(columns.min(payload.len()));
    for _ in 0..columns {
        if reader.0.first() == Some(&NULL) {
            reader.u8()?;
            row.push(Value::Null);
        } else {
            row.push(Value::data(reader.string()?));
        }
    }
    reader.0.is_empty().then_some(Value::List(row))
}

/// Writes a row of texts.
pub(super) fn write_text(row: &[Value], to: &mut Vec<u8>) {
    for value in row {
        match value.as_data() {
            Some(data) => put_string(data, to),
            None => to.push(NULL),
        }
    }
}

/// Reads a row of binary values.
pub(super) fn read_binary(payload: &[u8], columns: &[Column]) -> Option<Value> {
    let mut reader = Reader(payload);
    if reader.u8()? != 0 {
        return None;
    }
    let nulls = reader.take((columns.len() + OFFSET).div_ceil(8))?;
    let mut row = Vec::with_capacity(columns.len());
    for (number, column) in columns.iter().enumerate() {
        row.push(if is_null(nulls, number + OFFSET) { Value::Null } else { types::read(column.kind, &mut reader)? });
    }
    reader.0.is_empty().then_some(Value::List(row))
}

/// Whether a bit of a map of NULLs is set.
pub(super) fn is_null(nulls: &[u8], bit: usize) -> bool {
    nulls.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

/// Writes a row of binary values of those types; what is no value of its type is written as NULL.
pub(super) fn write_binary(row: &[Value], kinds: &[Type], to: &mut Vec<u8>) {
    let mut nulls = vec![0u8; (row.len() + OFFSET).div_ceil(8)];
    let mut values = Vec::new();
    for (number, value) in row.iter().enumerate() {
        let code = kinds.get(number).map_or(0xfd, |kind| kind.code);
        if *value == Value::Null || types::write(code, value, &mut values).is_none() {
            nulls[(number + OFFSET) / 8] |= 1 << ((number + OFFSET) % 8);
        }
    }
    to.push(0);
    to.extend_from_slice(&nulls);
    to.extend_from_slice(&values);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(codes: &[u8]) -> Vec<Column> {
        let column = |code| Column { value: Value::Null, kind: Type { code, unsigned: false } };
        codes.iter().copied().map(column).collect()
    }

    #[test]
    fn rows_come_back() {
        let text = b"\x01a\xfb\x00\x02\xff\xfe";
        let row = read_text(text, 4).unwrap();
        assert_eq!(row.as_list().unwrap()[..3], [Value::text("a"), Value::Null, Value::text("")]);
        let mut again = Vec::new();
        write_text(row.as_list().unwrap(), &mut again);
        assert_eq!(again, text);
        assert_eq!((read_text(text, 3), read_text(text, 5)), (None, None));

        let columns = columns(&[3, 0xfd, 5, 1, 1, 1, 1]);
        let kinds: Vec<Type> = columns.iter().map(|column| column.kind).collect();
        let binary = b"\x00\x08\x01\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf8\x3f\x01\x02\x03";
        let row = read_binary(binary, &columns).unwrap();
        assert_eq!(row.as_list().unwrap()[0], Value::number(5));
        assert_eq!((&row.as_list().unwrap()[1], &row.as_list().unwrap()[6]), (&Value::Null, &Value::Null));
        let mut again = Vec::new();
        write_binary(row.as_list().unwrap(), &kinds, &mut again);
        assert_eq!(again, binary);
    }
}
