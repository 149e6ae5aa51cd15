//! A response in the making.
//!
//! It is a map of what there was of: `results` (a list: `{"columns": [...], "rows": [[...]], "tag": "SELECT 1"}`), `error` and where it
//! came up (`failed`), `notices`, `notifications`, `settings` that changed, `parameters` (the types of a statement's),
//! `columns` (of a statement that was described), and `status`, the state of the transaction.

use std::borrow::Cow;

use super::column::{Column, read_row, type_value};
use crate::{Value, wire::Unreadable};

/// More than these bytes of a response are not kept.
const HEAVIEST: usize = 64 << 20;

/// What was answered so far.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Of the results that are done.
    results: Vec<Value>,
    result: Open,
    members: Vec<(Cow<'static, str>, Value)>,
    notices: Vec<Value>,
    notifications: Vec<Value>,
    settings: Vec<Value>,
    weight: usize,
}

/// A result that is not done.
#[derive(Debug, Default)]
struct Open {
    /// `None` where nobody saw a description.
    columns: Option<Vec<Column>>,
    rows: Vec<Value>,
    /// How data are copied out, and what of them came.
    copy: Option<(Value, Vec<Value>)>,
}

impl Reply {
    /// Whether something is there that is there once.
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| member == name)
    }

    /// Whether data are copied out.
    pub fn is_copying(&self) -> bool {
        self.result.copy.is_some()
    }

    fn weigh(&mut self, value: &Value) -> Result<(), Unreadable> {
        self.weight += value.weight();
        if self.weight > HEAVIEST { Err(Unreadable::TooLarge) } else { Ok(()) }
    }

    /// The result that follows has these columns.
    pub fn columns(&mut self, columns: Vec<Column>) {
        self.result.columns = Some(columns);
    }

    /// A row, whose columns may be known from elsewhere.
    pub fn row(
        &mut self,
        body: &[u8],
        columns: Option<&[Column]>,
        formats: &dyn Fn(usize) -> i16,
    ) -> Result<(), Unreadable> {
        let known = self.result.columns.as_deref().or(columns);
        let row = read_row(body, known, formats).ok_or(Unreadable::Garbage)?;
        self.weigh(&row)?;
        self.result.rows.push(row);
        Ok(())
    }

    /// The columns of the result in the making that a simple query told.
    pub fn described(&self) -> Option<&[Column]> {
        self.result.columns.as_deref()
    }

    /// The result in the making is over: `last` says how.
    pub fn result(&mut self, last: (&'static str, Value), columns: Option<&[Column]>, is_known: bool) {
        let Open { columns: told, rows, copy } = std::mem::take(&mut self.result);
        let mut members: Vec<(Cow<'static, str>, Value)> = Vec::new();
        let columns = told.as_deref().or(columns);
        match columns {
            Some([]) => {}
            Some(columns) => members.push(("columns".into(), Value::List(columns.iter().map(Column::value).collect()))),
            // It says so: nobody can tell the rows from this.
            None if !is_known => members.push(("columns".into(), Value::Null)),
            None => {}
        }
        if columns.is_some_and(|columns| !columns.is_empty()) || !rows.is_empty() {
            members.push(("rows".into(), Value::List(rows)));
        }
        if let Some((copy, data)) = copy {
            members.push(("copy-out".into(), copy));
            members.push(("data".into(), Value::List(data)));
        }
        members.push((last.0.into(), last.1));
        self.results.push(Value::Map(members));
    }

    /// Data are copied out from here on.
    pub fn copy_out(&mut self, how: Value) {
        self.result.copy = Some((how, Vec::new()));
    }

    /// A piece of them.
    pub fn copied(&mut self, data: &[u8]) -> Result<(), Unreadable> {
        let data = Value::data(data);
        self.weigh(&data)?;
        let (_, all) = self.result.copy.as_mut().ok_or(Unreadable::Garbage)?;
        all.push(data);
        Ok(())
    }

    /// Something that is there once.
    pub fn member(&mut self, name: &'static str, value: Value) {
        if !self.has(name) {
            self.members.push((name.into(), value));
        }
    }

    /// The types of a statement's parameters.
    pub fn parameters(&mut self, oids: &[u32]) {
        self.member("parameters", Value::List(oids.iter().map(|oid| type_value(*oid)).collect()));
    }

    pub fn notice(&mut self, fields: Value) -> Result<(), Unreadable> {
        self.weigh(&fields)?;
        self.notices.push(fields);
        Ok(())
    }

    pub fn notification(&mut self, value: Value) -> Result<(), Unreadable> {
        self.weigh(&value)?;
        self.notifications.push(value);
        Ok(())
    }

    pub fn setting(&mut self, name: Value, value: Value) -> Result<(), Unreadable> {
        let pair = Value::List(vec![name, value]);
        self.weigh(&pair)?;
        self.settings.push(pair);
        Ok(())
    }

    /// All of it; a new one begins.
    pub fn finish(&mut self) -> Value {
        let mut reply = std::mem::take(self);
        // Rows before an error.
        if !reply.result.rows.is_empty() || reply.result.copy.is_some() {
            reply.result(("cut", Value::Bool(true)), None, false);
        }
        let mut members = Vec::new();
        for (name, list) in [
            ("results", reply.results),
            ("notices", reply.notices),
            ("notifications", reply.notifications),
            ("settings", reply.settings),
        ] {
            if !list.is_empty() {
                members.push((name.into(), Value::List(list)));
            }
        }
        members.extend(reply.members);
        Value::Map(members)
    }
}
