//! Responses, read packet by packet
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>).
//!
//! - done: `{"affected_rows": 1, "last_insert_id": 7, "status": ["autocommit"], "info": "…", "session": […]}`
//! - rows: `{"columns": [{"name": "id", "type": "long", …}], "rows": [["1"]], "status": […]}`
//! - an error: `{"error": {"code": 1064, "state": "42000", "message": "…"}}`, behind the rows that were told before it
//! - several of these: `{"results": […]}`
//! - a file of the client is asked for: `{"infile": "name"}`
//! - a prepared statement: `{"params": […], "columns": […]}`
//! - words: `{"text": "…"}`

use std::sync::Arc;

use super::{
    bits::status,
    column::{self, Column},
    data::Reader,
    end::{EOF, End, is_end, read_error},
    row,
    value::Members,
};
use crate::{Value, wire::Unreadable};

/// The code of an error that is none: MariaDB tells how far it is.
const PROGRESS: u16 = 0xffff;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whatever it takes to prove who one is, until that is done.
    Login,
    /// Results as text, or that it is done.
    Text,
    /// Results in binary, or that it is done.
    Binary,
    /// Some more rows in binary.
    Fetched,
    /// A prepared statement.
    Prepared,
    /// The columns of a table.
    Columns,
    /// A text.
    Words,
}

/// What the capabilities of both sides say of responses; `None` where the beginning of the connection was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Formats {
    /// Nothing ends definitions, and rows are ended by what says that something is done.
    pub(super) deprecate_eof: Option<bool>,
    /// What says that something is done says what changed of the connection's state.
    pub(super) session_track: Option<bool>,
}

/// A response in the making.
#[derive(Debug)]
pub(super) struct Response {
    kind: Kind,
    known: Arc<[Column]>,
    stage: Stage,
    results: Vec<Value>,
    /// The number of the statement that was prepared, and of its parameters.
    pub(super) statement: Option<(u32, usize)>,
}

#[derive(Debug)]
enum Stage {
    /// A result begins.
    Begin,
    /// Definitions of columns, of which so many are still to come.
    Columns { left: u64, columns: Vec<Column> },
    /// Rows. Behind definitions there may be an end of those.
    Rows { count: usize, columns: Arc<[Column]>, rows: Vec<Value>, fresh: bool },
    /// Definitions of so many parameters and of so many columns, each followed by its end.
    Prepared { params: usize, columns: usize, read: Vec<Column>, ends: usize },
}

impl Response {
    /// A response of which nothing came. `known` are the columns that the client has of its statement.
    pub(super) fn new(kind: Kind, known: Arc<[Column]>) -> Response {
        let stage = match kind {
            Kind::Fetched => {
                Stage::Rows { count: known.len(), columns: Arc::clone(&known), rows: Vec::new(), fresh: false }
            }
            Kind::Columns => Stage::Columns { left: u64::MAX, columns: Vec::new() },
            _ => Stage::Begin,
        };
        Response { kind, known, stage, results: Vec::new(), statement: None }
    }

    /// Takes the next packet; gives the response when it is whole.
    ///
    /// # Errors
    /// When it is none that can come here.
    pub(super) fn take(&mut self, payload: &[u8], formats: &mut Formats) -> Result<Option<Value>, Unreadable> {
        self.read(payload, formats).ok_or(Unreadable::Garbage)
    }

    /// The response where all that came may be whole: it is not known whether definitions have an end, and none came.
    pub(super) fn as_it_is(&mut self, formats: Formats) -> Option<Value> {
        match &self.stage {
            Stage::Prepared { params, columns, read, .. }
                if formats.deprecate_eof.is_none() && read.len() == params + columns =>
            {
                self.prepared()
            }
            _ => None,
        }
    }

    fn read(&mut self, payload: &[u8], formats: &mut Formats) -> Option<Option<Value>> {
        let first = *payload.first()?;
        if first == 0xff {
            let error = read_error(payload)?;
            if error.get("code") == Some(&Value::number(PROGRESS)) {
                return Some(None);
            }
            let told = match std::mem::replace(&mut self.stage, Stage::Begin) {
                Stage::Rows { columns, rows, .. } => rows_of(&columns, rows),
                _ => Members::new(),
            };
            return Some(Some(self.last(told.with("error", error).into())));
        }
        match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => self.begin(first, payload, formats),
            Stage::Columns { columns, .. } if self.kind == Kind::Columns && is_end(payload) => {
                let end = End::read(payload, formats.session_track)?;
                let told = Members::new().with("columns", shown(&columns));
                Some(self.over(end.show(told, false), &end))
            }
            Stage::Columns { left, mut columns } => {
                columns.push(column::read(payload)?);
                self.stage = match left - 1 {
                    0 => Stage::Rows { count: columns.len(), columns: columns.into(), rows: Vec::new(), fresh: true },
                    left => Stage::Columns { left, columns },
                };
                Some(None)
            }
            Stage::Rows { count, columns, rows, fresh } => self.row(count, columns, rows, fresh, payload, formats),
            Stage::Prepared { params, columns, mut read, mut ends } => {
                if is_end(payload) {
                    formats.deprecate_eof = Some(false);
                    ends += 1;
                } else {
                    if read.len() == params && params > 0 && ends == 0 {
                        formats.deprecate_eof = Some(true);
                    }
                    if read.len() == params + columns {
                        return None;
                    }
                    read.push(column::read(payload)?);
                }
                self.stage = Stage::Prepared { params, columns, read, ends };
                Some(self.prepared_if_whole(*formats))
            }
        }
    }

    /// The first packet of a result.
    fn begin(&mut self, first: u8, payload: &[u8], formats: &mut Formats) -> Option<Option<Value>> {
        match (self.kind, first) {
            (Kind::Words, _) => return Some(Some(Value::map([("text", Value::data(payload))]))),
            (Kind::Prepared, 0) => return self.begin_prepared(payload, *formats),
            (Kind::Login, 0) => {}
            (Kind::Login, _) => return Some(None),
            (Kind::Text | Kind::Binary, 0 | 0xfe) if first == 0 || is_end(payload) => {}
            (Kind::Text | Kind::Binary, 0xfb) => {
                let asked = Value::map([("infile", Value::data(&payload[1..]))]);
                return Some(Some(self.last(asked)));
            }
            (Kind::Text | Kind::Binary, _) => return self.begin_rows(payload),
            _ => return None,
        }
        let end = End::read(payload, formats.session_track)?;
        Some(self.over(end.show(Members::new(), true), &end))
    }

    fn begin_rows(&mut self, payload: &[u8]) -> Option<Option<Value>> {
        let mut reader = Reader(payload);
        let count = reader.length()?;
        // A byte more says whether definitions follow.
        let follow = reader.u8() != Some(0);
        if !reader.0.is_empty() || count == 0 {
            return None;
        }
        self.stage = if follow {
            Stage::Columns { left: count, columns: Vec::new() }
        } else {
            let count = usize::try_from(count).ok()?;
            if self.known.len() != count && self.kind != Kind::Text {
                return None;
            }
            Stage::Rows { count, columns: Arc::clone(&self.known), rows: Vec::new(), fresh: true }
        };
        Some(None)
    }

    fn begin_prepared(&mut self, payload: &[u8], formats: Formats) -> Option<Option<Value>> {
        let mut reader = Reader(payload.get(1..)?);
        let statement = reader.u32()?;
        let (columns, params) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let _filler = reader.u8();
        let _warnings = reader.u16();
        let follow = reader.u8() != Some(0);
        self.statement = Some((statement, params));
        let (read, ends) = (Vec::new(), 0);
        let (params, columns) = if follow { (params, columns) } else { (0, 0) };
        self.stage = Stage::Prepared { params, columns, read, ends };
        Some(self.prepared_if_whole(formats))
    }

    fn prepared_if_whole(&mut self, formats: Formats) -> Option<Value> {
        let Stage::Prepared { params, columns, read, ends } = &self.stage else { return None };
        let groups = usize::from(*params > 0) + usize::from(*columns > 0);
        let ended = groups == *ends || formats.deprecate_eof == Some(true);
        if read.len() == params + columns && ended { self.prepared() } else { None }
    }

    fn prepared(&mut self) -> Option<Value> {
        let Stage::Prepared { params, mut read, .. } = std::mem::replace(&mut self.stage, Stage::Begin) else {
            return None;
        };
        let columns = read.split_off(params.min(read.len()));
        Some(Value::map([("params", shown(&read)), ("columns", shown(&columns))]))
    }

    fn row(
        &mut self,
        count: usize,
        columns: Arc<[Column]>,
        mut rows: Vec<Value>,
        fresh: bool,
        payload: &[u8],
        formats: &mut Formats,
    ) -> Option<Option<Value>> {
        if is_end(payload) {
            let end = End::read(payload, formats.session_track)?;
            if fresh && payload.len() <= EOF && formats.deprecate_eof != Some(true) {
                formats.deprecate_eof = Some(false);
                if end.status & status::CURSOR_EXISTS == 0 {
                    self.stage = Stage::Rows { count, columns, rows, fresh: false };
                    return Some(None);
                }
            }
            return Some(self.over(end.show(rows_of(&columns, rows), false), &end));
        }
        if fresh {
            formats.deprecate_eof.get_or_insert(true);
        }
        let row = match self.kind {
            Kind::Text => row::read_text(payload, count)?,
            _ => row::read_binary(payload, &columns)?,
        };
        rows.push(row);
        self.stage = Stage::Rows { count, columns, rows, fresh: false };
        Some(None)
    }

    /// A result is over; so is the response unless more follow.
    fn over(&mut self, told: Members, end: &End) -> Option<Value> {
        if end.status & status::MORE_RESULTS == 0 {
            return Some(self.last(told.into()));
        }
        self.results.push(told.into());
        None
    }

    fn last(&mut self, result: Value) -> Value {
        if self.results.is_empty() {
            return result;
        }
        self.results.push(result);
        Value::map([("results", Value::List(std::mem::take(&mut self.results)))])
    }
}

fn shown(columns: &[Column]) -> Value {
    Value::List(columns.iter().map(|column| column.value.clone()).collect())
}

fn rows_of(columns: &[Column], rows: Vec<Value>) -> Members {
    Members::new().with("columns", shown(columns)).with("rows", Value::List(rows))
}
