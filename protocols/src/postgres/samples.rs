//! Messages for tests.

use super::message::{write, write_count, write_string, write_value};

pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(tag, &mut bytes, |to| to.extend_from_slice(body));
    bytes
}

fn made(tag: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(tag, &mut bytes, body);
    bytes
}

pub(super) fn startup() -> Vec<u8> {
    b"\0\0\0\x16\0\x03\0\0user\0regress\0\0".to_vec()
}

pub(super) fn query(sql: &str) -> Vec<u8> {
    made(b'Q', |to| write_string(sql.as_bytes(), to))
}

pub(super) fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    made(b'P', |to| {
        write_string(name.as_bytes(), to);
        write_string(sql.as_bytes(), to);
        write_count(types.len(), to);
        types.iter().for_each(|oid| to.extend_from_slice(&oid.to_be_bytes()));
    })
}

/// With results in text.
pub(super) fn bind(portal: &str, statement: &str, formats: &[i16], params: &[Option<&[u8]>]) -> Vec<u8> {
    bind_for(portal, statement, formats, params, &[])
}

pub(super) fn bind_for(
    portal: &str,
    statement: &str,
    formats: &[i16],
    params: &[Option<&[u8]>],
    results: &[i16],
) -> Vec<u8> {
    let many = |numbers: &[i16], to: &mut Vec<u8>| {
        write_count(numbers.len(), to);
        numbers.iter().for_each(|number| to.extend_from_slice(&number.to_be_bytes()));
    };
    made(b'B', |to| {
        write_string(portal.as_bytes(), to);
        write_string(statement.as_bytes(), to);
        many(formats, to);
        write_count(params.len(), to);
        params.iter().for_each(|param| write_value(*param, to));
        many(results, to);
    })
}

pub(super) fn describe_statement(name: &str) -> Vec<u8> {
    message(b'D', format!("S{name}\0").as_bytes())
}

pub(super) fn describe_portal(name: &str) -> Vec<u8> {
    message(b'D', format!("P{name}\0").as_bytes())
}

pub(super) fn close_statement(name: &str) -> Vec<u8> {
    message(b'C', format!("S{name}\0").as_bytes())
}

pub(super) fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    made(b'E', |to| {
        write_string(portal.as_bytes(), to);
        to.extend_from_slice(&max_rows.to_be_bytes());
    })
}

pub(super) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub(super) fn parsed() -> Vec<u8> {
    message(b'1', b"")
}

pub(super) fn bound() -> Vec<u8> {
    message(b'2', b"")
}

pub(super) fn closed() -> Vec<u8> {
    message(b'3', b"")
}

pub(super) fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

pub(super) fn done(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub(super) fn setting(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

pub(super) fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0C{code}\0M{text}\0\0").as_bytes())
}

pub(super) fn parameters(oids: &[u32]) -> Vec<u8> {
    made(b't', |to| {
        write_count(oids.len(), to);
        oids.iter().for_each(|oid| to.extend_from_slice(&oid.to_be_bytes()));
    })
}

pub(super) fn columns(columns: &[(&str, u32)], format: i16) -> Vec<u8> {
    let columns: Vec<_> = columns.iter().map(|(name, oid)| super::column::Column::computed(name, *oid)).collect();
    let mut bytes = Vec::new();
    super::column::write_columns(&columns, |_| format, &mut bytes);
    bytes
}

pub(super) fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    made(b'D', |to| {
        write_count(values.len(), to);
        values.iter().for_each(|value| write_value(*value, to));
    })
}
