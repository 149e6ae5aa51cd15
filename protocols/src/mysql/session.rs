//! What a connection is about: what the client asked for becomes requests that are complete in themselves.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    bits::capability,
    column::{self, Column},
    data::Reader,
    handshake::{Greeting, Login},
    response::{Formats, Kind},
    row::is_null,
    settings::{self, Setting},
    types::{self, Type},
    value::Members,
};
use crate::{
    Value,
    sql::first_word,
    wire::{Ask, Unreadable},
};

/// More prepared statements are forgotten (`max_prepared_stmt_count` of servers is 16382).
const MOST_STATEMENTS: usize = 1 << 16;
/// More bytes of SQL of prepared statements, and of parameters that came in pieces, are not kept.
const HEAVIEST: usize = 64 << 20;
/// The statement that was prepared last, in MariaDB.
const LAST: u32 = u32::MAX;

/// The first byte of what a client asks for
/// (<https://dev.mysql.com/doc/dev/mysql-server/latest/my__command_8h.html>; the bulk is MariaDB's).
pub(super) mod command {
    pub(in super::super) const QUIT: u8 = 0x01;
    pub(in super::super) const INIT_DB: u8 = 0x02;
    pub(in super::super) const QUERY: u8 = 0x03;
    pub(in super::super) const FIELD_LIST: u8 = 0x04;
    pub(in super::super) const CREATE_DB: u8 = 0x05;
    pub(in super::super) const DROP_DB: u8 = 0x06;
    pub(in super::super) const REFRESH: u8 = 0x07;
    pub(in super::super) const SHUTDOWN: u8 = 0x08;
    pub(in super::super) const STATISTICS: u8 = 0x09;
    pub(in super::super) const PROCESS_INFO: u8 = 0x0a;
    pub(in super::super) const PROCESS_KILL: u8 = 0x0c;
    pub(in super::super) const DEBUG: u8 = 0x0d;
    pub(in super::super) const PING: u8 = 0x0e;
    pub(in super::super) const CHANGE_USER: u8 = 0x11;
    pub(in super::super) const REGISTER_REPLICA: u8 = 0x15;
    pub(in super::super) const STMT_PREPARE: u8 = 0x16;
    pub(in super::super) const STMT_EXECUTE: u8 = 0x17;
    pub(in super::super) const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub(in super::super) const STMT_CLOSE: u8 = 0x19;
    pub(in super::super) const STMT_RESET: u8 = 0x1a;
    pub(in super::super) const SET_OPTION: u8 = 0x1b;
    pub(in super::super) const STMT_FETCH: u8 = 0x1c;
    pub(in super::super) const RESET_CONNECTION: u8 = 0x1f;
    pub(in super::super) const STMT_BULK_EXECUTE: u8 = 0xfa;
}

/// A prepared statement.
#[derive(Clone, Debug, Default)]
struct Statement {
    sql: Value,
    /// The default schema when it was prepared.
    schema: Option<Value>,
    params: usize,
    /// The types of its parameters, as the last execution that told them had it.
    types: Option<Vec<Type>>,
    /// Parameters that came in pieces.
    long: BTreeMap<u16, Vec<u8>>,
    columns: Arc<[Column]>,
    /// The last execution, for what is fetched of it.
    executed: Option<Value>,
    fetched: u64,
}

/// What is to be done when a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The connection begins to be of use.
    LoggedIn,
    /// A statement has its number from then on.
    Prepared {
        /// Its SQL.
        sql: Value,
        /// The default schema.
        schema: Option<Value>,
    },
    /// The columns of a statement are those of its rows.
    Executed(u32),
    /// Rows of a statement were fetched.
    Fetched(u32),
    /// The server may want a file for this SQL.
    Loads(Value),
    /// The default schema is this one again if it failed.
    Schema(Option<Value>),
}

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) kind: Kind,
    pub(super) then: Then,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) greeting: Option<Greeting>,
    /// What both sides are capable of, once that is known.
    pub(super) capabilities: Option<u64>,
    pub(super) formats: Formats,
    /// The client asked for TLS.
    pub(super) tls: bool,
    /// The default schema; null where it was not seen.
    pub(super) schema: Option<Value>,
    statements: HashMap<u32, Statement>,
    /// What the client asked to prepare last; MariaDB's ones execute it before it has a number.
    last: Option<Statement>,
    /// The columns of what was prepared last.
    last_columns: Arc<[Column]>,
    /// What SQL and long parameters weigh.
    weight: usize,
    /// The statement for which the server wants a file.
    pub(super) infile: Option<Value>,
}

impl Session {
    /// A connection that the server greeted in this way.
    pub(super) fn greeted(greeting: Greeting) -> Session {
        Session { greeting: Some(greeting), ..Session::default() }
    }

    fn has(&self, capability: u64) -> Option<bool> {
        self.capabilities.map(|capabilities| capabilities & capability != 0)
    }

    /// The client says who it is. `None` if it says something else.
    pub(super) fn log_in(&mut self, payload: &[u8]) -> Option<(Asked, Login)> {
        let of_server = self.greeting.as_ref().map_or(u64::MAX, |greeting| greeting.capabilities);
        let login = Login::read(payload, of_server)?;
        self.set_capabilities(login.capabilities);
        self.schema = login.database.as_deref().map(Value::data);
        let value = login.to_value("login", self.tls);
        Some((setup(value, Kind::Login, Then::LoggedIn), login))
    }

    fn set_capabilities(&mut self, capabilities: u64) {
        self.capabilities = Some(capabilities);
        self.formats = Formats {
            deprecate_eof: Some(capabilities & capability::DEPRECATE_EOF != 0),
            session_track: Some(capabilities & capability::SESSION_TRACK != 0),
        };
    }

    /// Another user takes over. `None` if the packet says something else.
    pub(super) fn change_user(&mut self, payload: &[u8]) -> Option<(Asked, Login)> {
        let known = self.capabilities.unwrap_or(capability::SECURE_CONNECTION | capability::PLUGIN_AUTH);
        let login = Login::read_change(payload, known)?;
        self.forget();
        self.schema = login.database.as_deref().map(Value::data);
        Some((setup(login.to_value("change_user", false), Kind::Login, Then::Nothing), login))
    }

    fn forget(&mut self) {
        (self.statements, self.last, self.weight) = (HashMap::new(), None, 0);
    }

    /// Which schema was chosen was not seen.
    pub(super) fn unplaced(&mut self) {
        self.schema = Some(Value::Null);
    }

    /// Bytes were not seen: what may have been said in them is not known any more.
    pub(super) fn lost(&mut self) {
        self.unplaced();
        (self.last, self.infile) = (None, None);
        for statement in self.statements.values_mut() {
            (statement.types, statement.executed) = (None, None);
            statement.long.clear();
        }
        self.weight = self.statements.values().map(Statement::weight).sum();
    }

    /// A file that the server wanted.
    pub(super) fn file(&mut self, content: &[u8]) -> Asked {
        let sql = self.infile.take().unwrap_or_default();
        let value = Members::new()
            .with("command", Value::text("infile"))
            .with("sql", sql)
            .with("content", Value::data(content));
        self.work(value, Kind::Text, Then::Nothing)
    }

    /// A command; `None` if it asks for nothing.
    ///
    /// # Errors
    /// When it is none, or too much.
    pub(super) fn ask(&mut self, payload: &[u8]) -> Result<Option<Asked>, Unreadable> {
        use command::*;
        let (command, rest) = payload.split_first().ok_or(Unreadable::Garbage)?;
        let word = |word: &'static str| Members::new().with("command", Value::text(word));
        let asked = match *command {
            QUIT => {
                let mut asked = setup(word("quit").into(), Kind::Text, Then::Nothing);
                asked.ask.answered = false;
                asked
            }
            INIT_DB => {
                let before = self.schema.replace(Value::data(rest));
                let value = word("init_db").with("schema", Value::data(rest));
                setup(value.into(), Kind::Text, Then::Schema(before))
            }
            QUERY => return self.query(rest).map(Some),
            FIELD_LIST => {
                let mut reader = Reader(rest);
                let table = reader.until_zero().ok_or(Unreadable::Garbage)?;
                let value = word("field_list").with("table", Value::data(table));
                self.work(value.with("wildcard", Value::data(reader.rest())), Kind::Columns, Then::Nothing)
            }
            CREATE_DB => self.work(word("create_db").with("schema", Value::data(rest)), Kind::Text, Then::Nothing),
            DROP_DB => self.work(word("drop_db").with("schema", Value::data(rest)), Kind::Text, Then::Nothing),
            REFRESH => self.work(word("refresh").with("flags", Value::data(rest)), Kind::Text, Then::Nothing),
            SHUTDOWN => self.work(word("shutdown"), Kind::Text, Then::Nothing),
            STATISTICS => self.work(word("statistics"), Kind::Words, Then::Nothing),
            PROCESS_INFO => self.work(word("process_info"), Kind::Text, Then::Nothing),
            PROCESS_KILL => self.work(word("process_kill"), Kind::Text, Then::Nothing),
            DEBUG => self.work(word("debug"), Kind::Text, Then::Nothing),
            PING => setup(word("ping").into(), Kind::Text, Then::Nothing),
            CHANGE_USER => return self.change_user(rest).map(|(asked, _)| Some(asked)).ok_or(Unreadable::Garbage),
            REGISTER_REPLICA => self.work(word("register_replica"), Kind::Text, Then::Nothing),
            STMT_PREPARE => self.prepare(rest)?,
            STMT_EXECUTE => self.execute(rest)?,
            STMT_SEND_LONG_DATA => return self.long_data(rest).map(|()| None),
            STMT_CLOSE => self.close(rest)?,
            STMT_RESET => {
                let id = Reader(rest).u32().ok_or(Unreadable::Garbage)?;
                let statement = self.statements.get_mut(&id);
                let sql = statement.map_or(Value::Null, |statement| {
                    let long: usize = statement.long.values().map(Vec::len).sum();
                    self.weight = self.weight.saturating_sub(long);
                    statement.long.clear();
                    statement.executed = None;
                    statement.sql.clone()
                });
                setup(word("reset").with("sql", sql).into(), Kind::Text, Then::Nothing)
            }
            SET_OPTION => {
                let option = Reader(rest).u16().ok_or(Unreadable::Garbage)?;
                setup(word("set_option").with("option", Value::number(option)).into(), Kind::Text, Then::Nothing)
            }
            STMT_FETCH => self.fetch(rest)?,
            RESET_CONNECTION => {
                self.forget();
                setup(word("reset_connection").into(), Kind::Text, Then::Nothing)
            }
            STMT_BULK_EXECUTE => self.bulk(rest)?,
            // Of replication, or of another time.
            _ => return Err(Unreadable::Garbage),
        };
        Ok(Some(asked))
    }

    /// What is not about the connection, with the default schema.
    fn work(&self, value: Members, kind: Kind, then: Then) -> Asked {
        let value = value.maybe("db", self.schema.clone()).into();
        Asked { ask: Ask { value, setup: false, answered: true }, kind, then }
    }

    fn query(&mut self, rest: &[u8]) -> Result<Asked, Unreadable> {
        let mut reader = Reader(rest);
        let has_attributes =
            self.has(capability::QUERY_ATTRIBUTES).unwrap_or(matches!(rest, [count, 1, ..] if *count < 0x20));
        let mut attributes = Vec::new();
        if has_attributes {
            attributes = read_attributes(&mut reader).ok_or(Unreadable::Garbage)?;
        }
        let sql = Value::data(reader.rest());
        let text = sql.as_text().unwrap_or_default();
        let setting = settings::of(text);
        let then = match &setting {
            Some(Setting::Schema(name)) => Some(name.clone()),
            _ => settings::chosen_among(text),
        };
        let before = self.schema.clone();
        let then = match then {
            Some(name) => Then::Schema(self.schema.replace(Value::text(name))),
            None if first_word(text) == "LOAD" => Then::Loads(sql.clone()),
            None => Then::Nothing,
        };
        let asks_where = !matches!(setting, Some(Setting::Schema(_) | Setting::Set { .. }));
        let value = Members::new()
            .with("command", Value::text("query"))
            .with("sql", sql)
            .maybe("attributes", (!attributes.is_empty()).then_some(Value::List(attributes)))
            .maybe("db", before.filter(|_| asks_where))
            .into();
        Ok(Asked { ask: Ask { value, setup: setting.is_some(), answered: true }, kind: Kind::Text, then })
    }

    fn prepare(&mut self, sql: &[u8]) -> Result<Asked, Unreadable> {
        let sql = Value::data(sql);
        let params = sql.as_text().map_or(0, settings::placeholders);
        let schema = self.schema.clone();
        self.last = Some(Statement { sql: sql.clone(), schema: schema.clone(), params, ..Statement::default() });
        let value = Members::new().with("command", Value::text("prepare")).with("sql", sql.clone());
        let value = value.maybe("db", schema.clone()).into();
        Ok(setup(value, Kind::Prepared, Then::Prepared { sql, schema }))
    }

    fn statement(&mut self, id: u32) -> Option<&mut Statement> {
        if id == LAST { self.last.as_mut() } else { self.statements.get_mut(&id) }
    }

    fn execute(&mut self, rest: &[u8]) -> Result<Asked, Unreadable> {
        let mut reader = Reader(rest);
        let (id, flags) = head(&mut reader).ok_or(Unreadable::Garbage)?;
        reader.u32().ok_or(Unreadable::Garbage)?;
        let has_attributes = self.has(capability::QUERY_ATTRIBUTES).unwrap_or(flags & 8 != 0);
        let word = Members::new().with("command", Value::text("execute"));
        let Some(statement) = self.statement(id) else { return Ok(unknown(word, id, reader.rest())) };
        let all = reader;
        let long: usize = statement.long.values().map(Vec::len).sum();
        let (params, attributes) = statement
            .read_params(&mut reader, has_attributes, flags & 8 != 0)
            .filter(|_| reader.0.is_empty())
            .unwrap_or_else(|| (types::raw(all.0), Vec::new()));
        statement.long.clear();
        let cursor = (flags & 7 != 0).then(|| Value::number(flags & 7));
        let value: Value = word
            .with("sql", statement.sql.clone())
            .with("params", params)
            .maybe("cursor", cursor)
            .maybe("attributes", (!attributes.is_empty()).then_some(Value::List(attributes)))
            .maybe("db", statement.schema.clone())
            .into();
        (statement.executed, statement.fetched) = (Some(value.clone()), 0);
        self.weight = self.weight.saturating_sub(long);
        Ok(Asked { ask: Ask { value, setup: false, answered: true }, kind: Kind::Binary, then: Then::Executed(id) })
    }

    /// Many executions at once (<https://mariadb.com/kb/en/com_stmt_bulk_execute/>).
    fn bulk(&mut self, rest: &[u8]) -> Result<Asked, Unreadable> {
        let mut reader = Reader(rest);
        let (id, flags) = (reader.u32(), reader.u16());
        let (Some(id), Some(flags)) = (id, flags) else { return Err(Unreadable::Garbage) };
        let word = Members::new().with("command", Value::text("bulk_execute"));
        let Some(statement) = self.statement(id) else { return Ok(unknown(word, id, reader.rest())) };
        let all = reader;
        let rows = statement.read_bulk(&mut reader, flags & 128 != 0).unwrap_or_else(|| types::raw(all.0));
        let value: Value =
            word.with("sql", statement.sql.clone()).with("rows", rows).maybe("db", statement.schema.clone()).into();
        Ok(Asked { ask: Ask { value, setup: false, answered: true }, kind: Kind::Binary, then: Then::Executed(id) })
    }

    fn long_data(&mut self, rest: &[u8]) -> Result<(), Unreadable> {
        let mut reader = Reader(rest);
        let (Some(id), Some(param)) = (reader.u32(), reader.u16()) else { return Err(Unreadable::Garbage) };
        let piece = reader.rest();
        if let Some(statement) = self.statement(id) {
            statement.long.entry(param).or_default().extend_from_slice(piece);
            self.weight += piece.len();
        }
        if self.weight > HEAVIEST { Err(Unreadable::TooLarge) } else { Ok(()) }
    }

    fn close(&mut self, rest: &[u8]) -> Result<Asked, Unreadable> {
        let id = Reader(rest).u32().ok_or(Unreadable::Garbage)?;
        let closed = self.statements.remove(&id);
        if let Some(statement) = &closed {
            self.weight = self.weight.saturating_sub(statement.weight());
        }
        let sql = closed.map_or(Value::Null, |statement| statement.sql);
        let value = Members::new().with("command", Value::text("close")).with("sql", sql).into();
        let mut asked = setup(value, Kind::Text, Then::Nothing);
        asked.ask.answered = false;
        Ok(asked)
    }

    fn fetch(&mut self, rest: &[u8]) -> Result<Asked, Unreadable> {
        let mut reader = Reader(rest);
        let (Some(id), Some(rows)) = (reader.u32(), reader.u32()) else { return Err(Unreadable::Garbage) };
        let word = Members::new().with("command", Value::text("fetch")).with("rows", Value::number(rows));
        let Some(statement) = self.statement(id) else { return Ok(unknown(word, id, &[])) };
        let of = statement.executed.clone().unwrap_or_default();
        let value = word.with("after", Value::number(statement.fetched)).with("of", of).into();
        Ok(Asked { ask: Ask { value, setup: false, answered: true }, kind: Kind::Fetched, then: Then::Fetched(id) })
    }

    /// The columns that the client has of the statement of a request.
    pub(super) fn known_columns(&self, then: &Then) -> Arc<[Column]> {
        match then {
            Then::Executed(LAST) => Arc::clone(&self.last_columns),
            Then::Executed(id) | Then::Fetched(id) => {
                self.statements.get(id).map_or_else(Arc::default, |statement| Arc::clone(&statement.columns))
            }
            _ => Arc::default(),
        }
    }

    /// A request was answered: what that means for those that follow. `statement` is the number of what was prepared, and of its parameters.
    ///
    /// # Errors
    /// When it is too much.
    pub(super) fn answered(
        &mut self,
        then: Then,
        statement: Option<(u32, usize)>,
        told: &Value,
    ) -> Result<(), Unreadable> {
        let one = std::slice::from_ref(told);
        let results = told.get("results").and_then(Value::as_list).unwrap_or(one);
        for change in results.iter().filter_map(|result| result.get("session")?.as_list()).flatten() {
            if let Some([kind, schema]) = change.as_list()
                && kind.as_text() == Some("schema")
            {
                self.schema = Some(schema.clone());
            }
        }
        let columns = results.iter().rev().find_map(|result| result.get("columns")?.as_list());
        match then {
            Then::Schema(before) if told.get("error").is_some() => self.schema = before,
            Then::Prepared { sql, schema } => {
                if let Some((id, params)) = statement {
                    self.prepared(id, sql, schema, params, columns.unwrap_or_default())?;
                }
            }
            Then::Executed(id) => {
                if let (Some(statement), Some(columns)) = (self.statement(id), columns) {
                    statement.set_columns(columns);
                }
            }
            Then::Fetched(id) => {
                let rows = told.get("rows").and_then(Value::as_list).map_or(0, <[Value]>::len);
                if let Some(statement) = self.statement(id) {
                    statement.fetched += rows as u64;
                }
            }
            Then::Loads(sql) if results.last().is_some_and(|result| result.get("infile").is_some()) => {
                self.infile = Some(sql);
            }
            _ => {}
        }
        Ok(())
    }

    /// A statement has this number from here on.
    fn prepared(
        &mut self,
        id: u32,
        sql: Value,
        schema: Option<Value>,
        params: usize,
        columns: &[Value],
    ) -> Result<(), Unreadable> {
        // What was executed before it was known to be prepared has told its types.
        let types = self.last.as_ref().filter(|last| last.sql == sql).and_then(|last| last.types.clone());
        let mut statement = Statement { sql, schema, params, types, ..Statement::default() };
        statement.set_columns(columns);
        self.weight += statement.weight();
        self.last_columns = Arc::clone(&statement.columns);
        if let Some(last) = self.last.as_mut().filter(|last| last.sql == statement.sql) {
            (last.params, last.columns) = (params, Arc::clone(&statement.columns));
        }
        if let Some(before) = self.statements.insert(id, statement) {
            self.weight = self.weight.saturating_sub(before.weight());
        }
        let too_many = self.statements.len() > MOST_STATEMENTS || self.weight > HEAVIEST;
        if too_many { Err(Unreadable::TooLarge) } else { Ok(()) }
    }
}

impl Statement {
    fn set_columns(&mut self, columns: &[Value]) {
        let is_known = self.columns.iter().map(|column| &column.value).eq(columns);
        if !is_known {
            self.columns = columns.iter().map(column::of_value).collect();
        }
    }

    fn weight(&self) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.value.weight()).sum();
        self.sql.weight() + columns + self.long.values().map(Vec::len).sum::<usize>()
    }

    /// The parameters of an execution, and its attributes. `None` if they are not as told.
    fn read_params(
        &mut self,
        reader: &mut Reader<'_>,
        has_attributes: bool,
        counts: bool,
    ) -> Option<(Value, Vec<Value>)> {
        let counted = has_attributes && (counts || self.params > 0);
        let count = if counted { usize::try_from(reader.length()?).ok()? } else { self.params };
        if count < self.params {
            return None;
        }
        if count == 0 {
            // Some clients say here that there are new types of none.
            reader.rest();
            return Some((Value::List(Vec::new()), Vec::new()));
        }
        let nulls = reader.take(count.div_ceil(8))?;
        let mut names = Vec::new();
        if reader.u8()? == 1 {
            let mut types = Vec::new();
            for _ in 0..count {
                types.push(read_type(reader)?);
                if has_attributes {
                    names.push(Value::data(reader.string()?));
                }
            }
            self.types = Some(types);
        }
        let types = self.types.as_ref().filter(|types| types.len() == count)?;
        let mut names = names.into_iter();
        let (mut params, mut attributes) = (Vec::new(), Vec::new());
        for (number, kind) in types.iter().enumerate() {
            let name = names.next().unwrap_or_default();
            let long = u16::try_from(number).ok().and_then(|number| self.long.get(&number));
            let value = if let Some(long) = long {
                types::name_parameter(kind.code, Value::data(long))
            } else if is_null(nulls, number) {
                Value::Null
            } else {
                types::read_parameter(*kind, reader)?
            };
            if number < self.params { params.push(value) } else { attributes.push(Value::List(vec![name, value])) }
        }
        Some((Value::List(params), attributes))
    }

    /// The rows of a bulk. `None` if they are not as told.
    fn read_bulk(&mut self, reader: &mut Reader<'_>, tells_types: bool) -> Option<Value> {
        if tells_types {
            let types: Option<Vec<Type>> = (0..self.params).map(|_| read_type(reader)).collect();
            self.types = Some(types?);
        }
        let types = self.types.as_ref().filter(|types| types.len() == self.params && !types.is_empty())?;
        let mut rows = Vec::new();
        while !reader.0.is_empty() {
            let mut row = Vec::with_capacity(types.len());
            for kind in types {
                row.push(match reader.u8()? {
                    0 => types::read_parameter(*kind, reader)?,
                    1 => Value::Null,
                    2 => Value::map([("default", Value::Bool(true))]),
                    3 => Value::map([("ignore", Value::Bool(true))]),
                    _ => return None,
                });
            }
            rows.push(Value::List(row));
        }
        Some(Value::List(rows))
    }
}

fn setup(value: Value, kind: Kind, then: Then) -> Asked {
    Asked { ask: Ask { value, setup: true, answered: true }, kind, then }
}

/// A request for a statement of which nothing is known: it was prepared before the recording, or among bytes that nobody saw.
fn unknown(word: Members, id: u32, rest: &[u8]) -> Asked {
    let value =
        word.with("statement", Value::Null).with("id", Value::number(id)).with("params", types::raw(rest)).into();
    Asked { ask: Ask { value, setup: false, answered: true }, kind: Kind::Binary, then: Then::Nothing }
}

fn head(reader: &mut Reader<'_>) -> Option<(u32, u8)> {
    Some((reader.u32()?, reader.u8()?))
}

fn read_type(reader: &mut Reader<'_>) -> Option<Type> {
    let (code, flags) = (reader.u8()?, reader.u8()?);
    Some(Type { code, unsigned: flags & 0x80 != 0 })
}

/// Attributes of a query, as pairs of a name and a value.
fn read_attributes(reader: &mut Reader<'_>) -> Option<Vec<Value>> {
    let count = usize::try_from(reader.length()?).ok()?;
    // How many sets of them: one.
    if reader.length()? != 1 {
        return None;
    }
    if count == 0 {
        return Some(Vec::new());
    }
    let nulls = reader.take(count.div_ceil(8))?;
    if reader.u8()? != 1 {
        return None;
    }
    let head = |_| Some((read_type(reader)?, Value::data(reader.string()?)));
    let heads: Option<Vec<(Type, Value)>> = (0..count).map(head).collect();
    let mut attributes = Vec::new();
    for (number, (kind, name)) in heads?.into_iter().enumerate() {
        let value = if is_null(nulls, number) { Value::Null } else { types::read_parameter(kind, reader)? };
        attributes.push(Value::List(vec![name, value]));
    }
    Some(attributes)
}
