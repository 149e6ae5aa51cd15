//! Recorded responses as messages.

use std::sync::Arc;

use super::super::{
    client::format,
    column::{Column, columns_of, is_binary, type_oid, write_columns, write_row},
    message::{write, write_count, write_string, write_value},
    notice,
    session::{Statement, Step},
};
use super::REFUSED;
use crate::{Value, wire::Handshakes};

/// The state of a transaction, as clients are told whenever the server is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Status {
    #[default]
    Idle,
    Transaction,
    Failed,
}

/// Where something failed: nothing behind it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Parse,
    Bind,
    Describe,
    Execute,
    Sync,
}

/// Tells responses on one connection.
#[derive(Debug)]
pub(super) struct Teller {
    handshakes: Arc<Handshakes>,
    status: Status,
    /// After an error everything is passed over up to the next Sync.
    skipping: bool,
    /// The client is to send data for that SQL: in a simple query or not.
    copies: Option<(Value, bool)>,
    /// It was told so, and not yet what became of them.
    takes_data: bool,
}

/// What a recorded server told of a statement.
pub(super) struct Description {
    parameters: Vec<u32>,
    columns: Vec<Column>,
}

impl Teller {
    pub fn new(handshakes: Arc<Handshakes>) -> Teller {
        Teller { handshakes, status: Status::Idle, skipping: false, copies: None, takes_data: false }
    }

    pub fn status(&self) -> Status {
        self.status
    }

    /// The COPY that began, once.
    pub fn copies(&mut self) -> Option<(Value, bool)> {
        self.copies.take()
    }

    /// Whether the client may send data.
    pub fn takes_data(&self) -> bool {
        self.takes_data
    }

    /// What a statement looks like, an error included.
    pub fn description(&self, statement: &Statement) -> Option<&Value> {
        self.handshakes.response(&statement.prepare())
    }

    fn columns(&self, statement: &Statement) -> Option<Vec<Column>> {
        Some(described(self.description(statement)?)?.columns)
    }

    /// That it waits for the next request.
    pub fn ready(&self, to: &mut Vec<u8>) {
        let status = match self.status {
            Status::Idle => b'I',
            Status::Transaction => b'T',
            Status::Failed => b'E',
        };
        write(b'Z', to, |to| to.push(status));
    }

    /// Answers what was asked, step by step, with a response.
    pub fn tell(&mut self, asked: &[Step], response: &Value, to: &mut Vec<u8>) {
        let mut told = Told::new(response);
        if self.skipping {
            told.error = None;
        }
        for step in asked {
            if self.skipping && !matches!(step, Step::Sync) {
                continue;
            }
            if stage(step).is_some_and(|stage| told.fails_at(stage)) {
                self.fail(&mut told, to);
                self.skipping = true;
                continue;
            }
            let done = match step {
                Step::Parse => bare(b'1', to),
                Step::Bind => bare(b'2', to),
                Step::Close => bare(b'3', to),
                Step::DescribeStatement(statement) => self.describe(statement, response, to),
                Step::DescribePortal(portal) => {
                    let first = told.results.first().map(|result| result.get("columns"));
                    let columns = match first.or_else(|| portal.is_unknown().then(|| response.get("columns"))) {
                        Some(None) => Some(Vec::new()),
                        Some(Some(Value::List(columns))) => columns.iter().map(Column::of).collect(),
                        _ => self.columns(&portal.statement),
                    };
                    columns.map(|columns| write_description(&columns, &portal.formats, to)).ok_or_else(unknown)
                }
                Step::Execute(portal) => {
                    told.before(to);
                    match told.results.first() {
                        Some(result) => self.result(
                            result,
                            &portal.statement.sql,
                            Some((&portal.statement, &portal.formats)),
                            told.status,
                            to,
                        ),
                        None => Err(unknown()),
                    }
                }
                Step::Sync => {
                    self.skipping = false;
                    told.after(to);
                    if told.fails_at(Stage::Sync) {
                        self.fail(&mut told, to);
                    }
                    self.ready(to);
                    Ok(())
                }
                Step::Query(_) | Step::Function | Step::Copied { .. } => {
                    self.all(step, &mut told, to);
                    Ok(())
                }
                Step::Startup => {
                    self.fail(&mut told, to);
                    return;
                }
                Step::Encryption { .. } => Ok(()),
            };
            if let Err(error) = done {
                told.error = Some(error);
                self.fail(&mut told, to);
                self.skipping = true;
            }
        }
        told.after(to);
    }

    /// Answers what is answered as a whole.
    fn all(&mut self, step: &Step, told: &mut Told<'_>, to: &mut Vec<u8>) {
        told.before(to);
        let sql = if let Step::Query(sql) = step { sql } else { &Value::Null };
        let simple = !matches!(step, Step::Copied { simple: false, .. });
        if matches!(step, Step::Copied { .. }) {
            self.takes_data = false;
        }
        let failed_before = told.error.is_some() && told.stage < Stage::Execute;
        let results = if failed_before { &[] } else { told.results };
        for result in results {
            if let Err(error) = self.result(result, sql, None, told.status, to) {
                told.error = Some(error);
                break;
            }
            if self.copies.is_some() {
                return;
            }
        }
        if results.is_empty() && told.error.is_none() {
            told.error = Some(unknown());
        }
        if told.error.is_some() {
            self.fail(told, to);
            self.skipping = !simple;
        }
        if simple {
            told.after(to);
            self.ready(to);
        }
    }

    /// Tells an error, once.
    fn fail(&mut self, told: &mut Told<'_>, to: &mut Vec<u8>) {
        if let Some(error) = told.error.take() {
            told.before(to);
            notice::write_fields(b'E', &error, to);
        }
        if self.status == Status::Transaction {
            self.status = Status::Failed;
        }
    }

    fn describe(&self, statement: &Statement, response: &Value, to: &mut Vec<u8>) -> Result<(), Value> {
        let own = described(response);
        let known = own.or_else(|| described(self.description(statement)?));
        let Description { parameters, columns } = known.ok_or_else(unknown)?;
        write(b't', to, |to| {
            write_count(parameters.len(), to);
            parameters.iter().for_each(|oid| to.extend_from_slice(&oid.to_be_bytes()));
        });
        write_description(&columns, &[], to);
        let _ = statement.parameters.set(parameters);
        Ok(())
    }

    /// Tells a result: to a simple query, or to the execution of a statement with the formats that it asked for.
    fn result(
        &mut self,
        result: &Value,
        sql: &Value,
        executed: Option<(&Statement, &[i16])>,
        status: Option<Status>,
        to: &mut Vec<u8>,
    ) -> Result<(), Value> {
        let rows = result.get("rows").and_then(Value::as_list).unwrap_or_default();
        let columns = match result.get("columns") {
            None => Some(Vec::new()),
            Some(Value::Null) => match executed {
                Some((statement, _)) => self.columns(statement),
                None => self
                    .handshakes
                    .response(&Value::map([("prepare", sql.clone())]))
                    .and_then(|told| Some(described(told)?.columns)),
            },
            Some(columns) => columns_of(columns),
        };
        // Without columns rows can be told as they are, if nobody asks for another format.
        let columns = match columns {
            Some(columns) => columns,
            None if executed.is_some() => Vec::new(),
            None => return Err(unknown()),
        };
        let own_formats: Vec<i16>;
        let formats = match executed {
            Some((_, formats)) => formats,
            None => {
                own_formats = (0..columns.len()).map(|at| i16::from(is_binary(rows, at))).collect();
                if !columns.is_empty() {
                    write_columns(&columns, |at| own_formats[at], to);
                }
                &own_formats
            }
        };
        for row in rows {
            write_row(row, &columns, formats, to).map_err(|at| other_format(at, format(formats, at)))?;
        }
        self.last(result, sql, executed.is_none(), status, to);
        Ok(())
    }

    /// Tells how a result ends.
    fn last(&mut self, result: &Value, sql: &Value, simple: bool, status: Option<Status>, to: &mut Vec<u8>) {
        if let Some(how) = result.get("copy-in") {
            write_copy(b'G', how, to);
            (self.copies, self.takes_data) = (Some((sql.clone(), simple)), true);
            return;
        }
        if let Some(how) = result.get("copy-out") {
            write_copy(b'H', how, to);
            for data in result.get("data").and_then(Value::as_list).unwrap_or_default() {
                write(b'd', to, |to| to.extend_from_slice(data.as_data().unwrap_or_default()));
            }
            if result.get("tag").is_some() {
                write(b'c', to, |_| {});
            }
        }
        if let Some(tag) = result.get("tag").and_then(Value::as_data) {
            write(b'C', to, |to| write_string(tag, to));
            self.ran(tag, sql, status);
        } else if result.get("empty").is_some() {
            write(b'I', to, |_| {});
        } else if result.get("suspended").is_some() {
            write(b's', to, |_| {});
        } else if let Some(value) = result.get("value") {
            let data = value.as_data().or_else(|| value.get("binary")?.as_data());
            write(b'V', to, |to| write_value(data, to));
        }
    }

    /// What becomes of the transaction on this connection. What was recorded counts where the tag leaves it open.
    fn ran(&mut self, tag: &[u8], sql: &Value, recorded: Option<Status>) {
        let has = |word: &str| {
            sql.as_text().is_some_and(|sql| {
                sql.to_ascii_uppercase().split(|c: char| !c.is_alphanumeric()).any(|found| found == word)
            })
        };
        self.status = match tag {
            b"BEGIN" | b"START TRANSACTION" => Status::Transaction,
            // `ROLLBACK TO` and `AND CHAIN` go on with one.
            b"COMMIT" | b"ROLLBACK" | b"PREPARE TRANSACTION" => recorded.unwrap_or_else(|| {
                let goes_on = has("TO") || (has("CHAIN") && !has("NO"));
                if goes_on { Status::Transaction } else { Status::Idle }
            }),
            _ => return,
        };
    }
}

/// A response that is being told.
struct Told<'r> {
    results: &'r [Value],
    error: Option<Value>,
    stage: Stage,
    status: Option<Status>,
    notices: &'r [Value],
    /// Notifications and settings.
    rest: Option<&'r Value>,
}

impl<'r> Told<'r> {
    fn new(response: &'r Value) -> Told<'r> {
        let list = |name| response.get(name).and_then(Value::as_list).unwrap_or_default();
        let results = list("results");
        let is_done = results.last().is_some_and(|last| last.get("cut").is_none());
        let mut error = response.get("error").cloned();
        let mut stage = match response.get("failed").and_then(Value::as_text) {
            Some("parse") => Stage::Parse,
            Some("bind") => Stage::Bind,
            Some("describe") => Stage::Describe,
            _ if is_done => Stage::Sync,
            _ => Stage::Execute,
        };
        if response.get("skipped").is_some() {
            let message = "regress: the recorded server passed over this, as something before it had failed";
            error.get_or_insert_with(|| {
                notice::error(REFUSED, message, "", "Here nothing before it failed, so that its answer is not known.")
            });
            stage = Stage::Parse;
        }
        let status = match response.get("status").and_then(Value::as_text) {
            Some("idle") => Some(Status::Idle),
            Some("transaction") => Some(Status::Transaction),
            Some("failed") => Some(Status::Failed),
            _ => None,
        };
        Told { results, error, stage, status, notices: list("notices"), rest: Some(response) }
    }

    fn fails_at(&self, stage: Stage) -> bool {
        self.error.is_some() && self.stage <= stage
    }

    /// What is told before results, once.
    fn before(&mut self, to: &mut Vec<u8>) {
        std::mem::take(&mut self.notices).iter().for_each(|fields| notice::write_fields(b'N', fields, to));
    }

    /// What is told behind them, once.
    fn after(&mut self, to: &mut Vec<u8>) {
        self.before(to);
        let Some(response) = self.rest.take() else { return };
        let list = |name| response.get(name).and_then(Value::as_list).unwrap_or_default();
        list("settings").iter().for_each(|pair| setting(pair, to));
        for said in list("notifications") {
            let data = |name| said.get(name).and_then(Value::as_data).unwrap_or_default();
            write(b'A', to, |to| {
                let process = said.get("process").and_then(Value::as_number).unwrap_or(super::PROCESS);
                to.extend_from_slice(&process.to_be_bytes());
                write_string(data("channel"), to);
                write_string(data("payload"), to);
            });
        }
    }
}

/// The stage at which a step may fail by what was recorded.
fn stage(step: &Step) -> Option<Stage> {
    match step {
        Step::Parse => Some(Stage::Parse),
        Step::Bind => Some(Stage::Bind),
        Step::DescribeStatement(_) | Step::DescribePortal(_) => Some(Stage::Describe),
        Step::Execute(_) => Some(Stage::Execute),
        _ => None,
    }
}

/// What a response says of a statement.
fn described(response: &Value) -> Option<Description> {
    let parameters = response.get("parameters")?.as_list()?.iter().map(type_oid).collect::<Option<_>>()?;
    let columns = response.get("columns").map_or(Some(Vec::new()), columns_of)?;
    Some(Description { parameters, columns })
}

/// A message that says nothing but what it is.
fn bare(tag: u8, to: &mut Vec<u8>) -> Result<(), Value> {
    write(tag, to, |_| {});
    Ok(())
}

fn write_description(columns: &[Column], formats: &[i16], to: &mut Vec<u8>) {
    if columns.is_empty() {
        write(b'n', to, |_| {});
    } else {
        write_columns(columns, |at| format(formats, at), to);
    }
}

fn write_copy(tag: u8, how: &Value, to: &mut Vec<u8>) {
    let is_binary = |value: &Value| value.as_text() == Some("binary");
    let columns = how.get("columns").and_then(Value::as_list).unwrap_or_default();
    write(tag, to, |to| {
        to.push(u8::from(how.get("format").is_some_and(is_binary)));
        write_count(columns.len(), to);
        columns.iter().for_each(|column| to.extend_from_slice(&u16::from(is_binary(column)).to_be_bytes()));
    });
}

/// A setting that the client is told.
pub(super) fn setting(pair: &Value, to: &mut Vec<u8>) {
    if let Some([name, value]) = pair.as_list() {
        write(b'S', to, |to| {
            write_string(name.as_data().unwrap_or_default(), to);
            write_string(value.as_data().unwrap_or_default(), to);
        });
    }
}

fn unknown() -> Value {
    let hint = "Record it with the driver that is used now, from where its connections begin.";
    notice::error(REFUSED, "regress: what this looks like was not recorded", "", hint)
}

fn other_format(column: usize, format: i16) -> Value {
    let asked = if format == 0 { "text" } else { "binary" };
    let message = format!(
        "regress: column {} was recorded in another format than {asked}, which cannot be made of it",
        column + 1
    );
    notice::error(REFUSED, &message, "", "Record it with the driver that is used now.")
}
