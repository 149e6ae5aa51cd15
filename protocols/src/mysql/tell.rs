//! Responses, written for the client at hand.

use super::{
    bits::{capability, status},
    column,
    data::put_length,
    end::{End, write_error},
    packet::Packets,
    row,
    types::Type,
};
use crate::Value;

/// How a response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Rows as text.
    Text,
    /// Rows in binary.
    Binary,
    /// Rows in binary, without their columns.
    Fetched,
    /// A prepared statement of that number.
    Prepared(u32),
    /// Definitions and their end.
    Columns,
}

/// Writes a response for a client of those capabilities.
pub(super) fn response(response: &Value, shape: Shape, capabilities: u64, to: &mut Packets) {
    let one = std::slice::from_ref(response);
    let results = response.get("results").and_then(Value::as_list).unwrap_or(one);
    for (number, told) in results.iter().enumerate() {
        result(told, shape, capabilities, number + 1 < results.len(), to);
    }
}

fn result(told: &Value, shape: Shape, capabilities: u64, more: bool, to: &mut Packets) {
    let mut end = End::of_value(told);
    if more {
        end.status |= status::MORE_RESULTS;
    }
    let columns = told.get("columns").and_then(Value::as_list);
    if let (Shape::Prepared(statement), Some(columns)) = (shape, columns) {
        return prepared(told, columns, statement, capabilities, to);
    }
    if let (Shape::Columns, Some(columns)) = (shape, columns) {
        definitions(columns, capabilities, to);
        return to.push(&end.write_over(capabilities));
    }
    if let Some(columns) = columns {
        rows(told, columns, shape, &end, capabilities, to);
    }
    if let Some(error) = told.get("error") {
        to.push(&write_error(error));
    } else if let Some(name) = told.get("infile").and_then(Value::as_data) {
        to.push(&[b"\xfb", name].concat());
    } else if let Some(text) = told.get("text").and_then(Value::as_data) {
        to.push(text);
    } else if columns.is_none() {
        to.push(&end.write_done(capabilities));
    }
}

/// Writes columns and rows, up to their end or an error.
fn rows(told: &Value, columns: &[Value], shape: Shape, end: &End, capabilities: u64, to: &mut Packets) {
    let rows = told.get("rows").and_then(Value::as_list).unwrap_or_default();
    let has_eof = capabilities & capability::DEPRECATE_EOF == 0;
    if shape != Shape::Fetched {
        let mut count = Vec::new();
        let of_row = || rows.first().and_then(Value::as_list).map_or(0, <[Value]>::len);
        put_length(if columns.is_empty() { of_row() } else { columns.len() } as u64, &mut count);
        to.push(&count);
        definitions(columns, capabilities, to);
        if has_eof {
            let is_cursor = end.status & status::CURSOR_EXISTS != 0 && rows.is_empty();
            to.push(&end.write_eof());
            if is_cursor {
                return;
            }
        }
    }
    let kinds: Vec<Type> = columns.iter().map(|column| column::of_value(column).kind).collect();
    let mut payload = Vec::new();
    for row in rows.iter().filter_map(Value::as_list) {
        payload.clear();
        match shape {
            Shape::Text => row::write_text(row, &mut payload),
            _ => row::write_binary(row, &kinds, &mut payload),
        }
        to.push(&payload);
    }
    if told.get("error").is_none() {
        to.push(&end.write_over(capabilities));
    }
}

fn prepared(told: &Value, columns: &[Value], statement: u32, capabilities: u64, to: &mut Packets) {
    let params = told.get("params").and_then(Value::as_list).unwrap_or_default();
    let mut payload = vec![0];
    payload.extend_from_slice(&statement.to_le_bytes());
    payload.extend_from_slice(&(columns.len() as u16).to_le_bytes());
    payload.extend_from_slice(&(params.len() as u16).to_le_bytes());
    payload.extend_from_slice(&[0, 0, 0]);
    to.push(&payload);
    for group in [params, columns] {
        definitions(group, capabilities, to);
        if !group.is_empty() && capabilities & capability::DEPRECATE_EOF == 0 {
            to.push(&End::with_status(status::AUTOCOMMIT).write_eof());
        }
    }
}

fn definitions(columns: &[Value], capabilities: u64, to: &mut Packets) {
    let extended = capabilities & capability::MARIADB_EXTENDED_METADATA != 0;
    columns.iter().for_each(|column| to.push(&column::write(column, extended)));
}
