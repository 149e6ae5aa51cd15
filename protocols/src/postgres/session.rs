//! What a client says, cut into requests: statements and portals by their names, and what is answered step by step.
//!
//! An execution is a request of its own, and says what was prepared and bound for it; its Sync belongs to it. A statement that is prepared
//! or described without being executed at once is a request about the connection.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use super::{
    client::{Bind, Message, Named, format},
    column::{Column, cell, type_value},
    detect::{CANCEL, GSS, LONGEST_STARTUP, TLS},
    key,
    message::{Framed, Reader, frame},
};
use crate::{
    Value,
    sql::first_word,
    wire::{Ask, Cut, Heard, Unreadable},
};

/// More prepared statements are not kept, nor more bytes of them; what goes beyond is forgotten with all others.
const MOST_STATEMENTS: usize = 1 << 16;
const HEAVIEST_STATEMENTS: usize = 64 << 20;
/// The same of portals.
const MOST_PORTALS: usize = 1 << 10;
const HEAVIEST_PORTALS: usize = 64 << 20;
/// More data of one COPY is not kept.
const HEAVIEST_COPY: usize = 64 << 20;
/// More statements that are closed one behind another do not belong to one request.
const LONGEST_RUN: usize = 16;

/// A statement that was prepared.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// Null where nobody saw it being prepared.
    pub sql: Value,
    /// By which the client calls it.
    name: Value,
    /// The types of parameters that the client gave, 0 where it left one open.
    types: Vec<u32>,
    /// The types that the server told.
    pub parameters: OnceLock<Vec<u32>>,
    /// The columns that the server told; none where it returns no rows.
    pub columns: OnceLock<Vec<Column>>,
}

impl Statement {
    /// Who asks for a description of it.
    pub fn prepare(&self) -> Value {
        let mut members = vec![(Cow::Borrowed("prepare"), self.sql.clone())];
        self.typed(&mut members);
        Value::Map(members)
    }

    fn typed(&self, members: &mut Vec<(Cow<'static, str>, Value)>) {
        if self.sql == Value::Null {
            members.push(("statement".into(), self.name.clone()));
        }
        if self.types.iter().any(|oid| *oid != 0) {
            let of = |oid: &u32| if *oid == 0 { Value::Null } else { type_value(*oid) };
            members.push(("types".into(), Value::List(self.types.iter().map(of).collect())));
        }
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        256 + self.sql.weight() + self.types.len() * size_of::<u32>()
    }

    /// The types of its parameters as far as they are known.
    pub fn parameter(&self, number: usize) -> Option<u32> {
        let given = self.types.get(number).copied().filter(|oid| *oid != 0);
        given.or_else(|| self.parameters.get()?.get(number).copied())
    }
}

/// A statement with its parameters.
#[derive(Debug, Default)]
pub(super) struct Portal {
    pub statement: Arc<Statement>,
    params: Vec<Value>,
    /// The formats of its results that were asked for.
    pub formats: Vec<i16>,
}

impl Portal {
    /// Whether nobody saw what it executes.
    pub fn is_unknown(&self) -> bool {
        self.statement.sql == Value::Null
    }

    /// About how many bytes it takes without its statement.
    fn weight(&self) -> usize {
        256 + self.params.iter().map(Value::weight).sum::<usize>() + self.formats.len() * size_of::<i16>()
    }

    /// Who executes it for the `page`th time.
    fn execute(&self, max_rows: i32, page: u32) -> Value {
        let mut members = vec![(Cow::Borrowed("query"), self.statement.sql.clone())];
        self.statement.typed(&mut members);
        if !self.params.is_empty() {
            members.push(("params".into(), Value::List(self.params.clone())));
        }
        if max_rows != 0 {
            members.push(("max-rows".into(), Value::number(max_rows)));
        }
        if page > 1 {
            members.push(("page".into(), Value::number(page)));
        }
        Value::Map(members)
    }
}

/// Something that is answered.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// By one byte.
    Encryption {
        gss: bool,
    },
    /// By all until the server is ready.
    Startup,
    /// So is this.
    Query(Value),
    /// And this.
    Function,
    Parse,
    Bind,
    DescribeStatement(Arc<Statement>),
    DescribePortal(Arc<Portal>),
    Execute(Arc<Portal>),
    Close,
    Sync,
    /// Data were copied to the server, by a simple query or by the execution of a statement; or the client left it at that.
    Copied {
        simple: bool,
        left: bool,
    },
}

/// What was cut off.
#[derive(Debug)]
pub(super) struct Unit {
    pub steps: Vec<Step>,
    pub heard: Heard,
    /// The client wants to be told what is answered so far, or that it leaves.
    pub end: End,
}

/// How a unit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it may.
    Open,
    Flush,
    Farewell,
}

impl Unit {
    fn part(step: Step) -> Unit {
        Unit { steps: vec![step], heard: Heard::Part, end: End::Open }
    }

    fn aside(end: End) -> Unit {
        Unit { steps: Vec::new(), heard: Heard::Aside, end }
    }

    fn request(steps: Vec<Step>, value: Value, setup: bool) -> Unit {
        Unit { steps, heard: Heard::Request(Ask { value, setup, answered: true }), end: End::Open }
    }
}

/// One connection's client.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The start-up is over.
    started: bool,
    /// For which database, where the start-up was seen.
    database: Option<Value>,
    statements: HashMap<Vec<u8>, Arc<Statement>>,
    statements_weight: usize,
    /// With how often each was executed.
    portals: HashMap<Vec<u8>, (Arc<Portal>, u32)>,
    portals_weight: usize,
    copying: Option<Copying>,
    /// The last thing that was said asks to copy data to the server: with what SQL, and whether as a simple query.
    may_copy: Option<(Value, bool)>,
    /// Something was said that no request ended yet.
    parts: bool,
}

/// Data on their way to the server.
#[derive(Debug)]
struct Copying {
    sql: Value,
    simple: bool,
    data: Vec<u8>,
}

/// What follows a message and belongs to its request.
struct Tail {
    end: usize,
    closed: Vec<Vec<u8>>,
    portals_closed: Vec<Vec<u8>>,
    synced: bool,
}

impl Session {
    /// Cuts off what stands in front.
    pub fn cut(&mut self, said: &[u8]) -> Result<Cut<Unit>, Unreadable> {
        if said.is_empty() {
            return Ok(Cut::Partial(1));
        }
        if !self.started && said[0] == 0 {
            return self.start(said);
        }
        if !self.started && said[0] == 0x16 {
            return Err(Unreadable::Encrypted);
        }
        self.started = true;
        let mut cut = self.typed(said)?;
        if let Cut::Whole(_, unit) = &mut cut {
            match &mut unit.heard {
                Heard::Part => self.parts = true,
                Heard::Request(ask) => {
                    self.parts = false;
                    if let (false, Value::Map(members), Some(database)) = (ask.setup, &mut ask.value, &self.database) {
                        members.push(("db".into(), database.clone()));
                    }
                }
                Heard::Aside => {}
            }
        }
        Ok(cut)
    }

    /// The server takes data for that SQL now.
    pub fn copy(&mut self, sql: Value, simple: bool) {
        self.may_copy = None;
        self.copying = Some(Copying { sql, simple, data: Vec::new() });
    }

    /// Whether data are on their way to the server.
    pub fn is_copying(&self) -> bool {
        self.copying.is_some()
    }

    /// Bytes were not seen, so that names may stand for something else.
    pub fn lost(&mut self) {
        let (started, database) = (self.started, self.database.take());
        *self = Session { started, database, ..Session::default() };
    }

    fn start(&mut self, said: &[u8]) -> Result<Cut<Unit>, Unreadable> {
        let mut head = Reader(said);
        let (Some(length), Some(code)) = (head.u32(), head.u32()) else { return Ok(Cut::Partial(8)) };
        if !(8..=LONGEST_STARTUP).contains(&length) {
            return Err(Unreadable::Garbage);
        }
        let end = length as usize;
        if said.len() < end {
            return Ok(Cut::Partial(end));
        }
        let unit = match code {
            TLS | GSS => {
                let what = Value::text(if code == TLS { "tls" } else { "gss" });
                Unit::request(vec![Step::Encryption { gss: code == GSS }], Value::map([("encryption", what)]), true)
            }
            // Which connection it means, and the secret that allows it, are of no use later.
            CANCEL => {
                let ask = Ask { value: Value::map([("cancel", Value::Bool(true))]), setup: true, answered: false };
                Unit { steps: Vec::new(), heard: Heard::Request(ask), end: End::Farewell }
            }
            version if version >> 16 == 3 => {
                let settings = settings(&said[8..end]).ok_or(Unreadable::Garbage)?;
                self.started = true;
                self.database = key::database(&settings).cloned();
                let version = Value::text(format!("3.{}", version & 0xffff));
                Unit::request(
                    vec![Step::Startup],
                    Value::map([("startup", Value::List(settings)), ("version", version)]),
                    true,
                )
            }
            _ => return Err(Unreadable::Garbage),
        };
        Ok(Cut::Whole(end, unit))
    }

    fn typed(&mut self, said: &[u8]) -> Result<Cut<Unit>, Unreadable> {
        let whole = match frame(said)? {
            Framed::Partial(wanted) => return Ok(Cut::Partial(wanted)),
            Framed::Whole(whole) => whole,
        };
        let message = Message::read(whole).ok_or(Unreadable::Garbage)?;
        let end = whole.len();
        match message {
            // Some clients do not wait until the server takes them.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) if self.copying.is_none() => {
                if let Some((sql, simple)) = self.may_copy.take() {
                    self.copy(sql, simple);
                }
            }
            Message::Sync | Message::Flush => {}
            _ => self.may_copy = None,
        }
        if self.copying.is_some() {
            return self.copied(said, end, message);
        }
        let unit = match message {
            Message::Query(sql) => {
                let sql = Value::data(sql);
                let setup = sql.as_text().is_some_and(|sql| key::setup(sql).is_some());
                self.may_copy = copies(&sql).then(|| (sql.clone(), true));
                Unit::request(vec![Step::Query(sql.clone())], Value::map([("query", sql)]), setup)
            }
            Message::Parse { name, sql, types } => return self.parse(said, end, name, sql, types),
            Message::Bind(bind) => {
                self.bind(&bind);
                Unit::part(Step::Bind)
            }
            Message::Describe(Named::Portal(name)) => {
                let portal = self.portal(name).0;
                if portal.is_unknown() && !self.parts {
                    let Cut::Whole(_, tail) = tail(said, end)? else { return Ok(Cut::Partial(said.len() + 1)) };
                    // A cursor that SQL declared.
                    let value = Value::map([("describe", Value::data(name))]);
                    return Ok(self.ended(vec![Step::DescribePortal(portal)], tail, value, false));
                }
                Unit::part(Step::DescribePortal(portal))
            }
            Message::Describe(Named::Statement(name)) => {
                let Cut::Whole(_, tail) = tail(said, end)? else { return Ok(Cut::Partial(said.len() + 1)) };
                let statement = self.statement(name);
                let value = statement.prepare();
                return Ok(self.ended(vec![Step::DescribeStatement(statement)], tail, value, true));
            }
            Message::Execute { portal, max_rows } => {
                let Cut::Whole(_, tail) = tail(said, end)? else { return Ok(Cut::Partial(said.len() + 1)) };
                let (portal, page) = self.execution(portal);
                let value = portal.execute(max_rows, page);
                self.may_copy = copies(&portal.statement.sql).then(|| (portal.statement.sql.clone(), false));
                let is_plain = portal.params.is_empty() && max_rows == 0;
                let setup = is_plain && portal.statement.sql.as_text().is_some_and(|sql| key::setup(sql).is_some());
                return Ok(self.ended(vec![Step::Execute(portal)], tail, value, setup));
            }
            Message::Close(named) => match tail(said, 0)? {
                Cut::Whole(_, tail) if tail.synced && !self.parts => {
                    return Ok(self.ended(Vec::new(), tail, Value::map([("close", Value::Bool(true))]), true));
                }
                _ => {
                    self.close(named);
                    Unit::part(Step::Close)
                }
            },
            Message::Sync => Unit::request(vec![Step::Sync], Value::map([("sync", Value::Bool(true))]), true),
            Message::Flush => Unit::aside(End::Flush),
            Message::FunctionCall { function, formats, args, result } => {
                let args = args.iter().enumerate().map(|(at, arg)| cell(None, format(&formats, at), *arg)).collect();
                let value = Value::map([
                    ("function", Value::number(function)),
                    ("args", Value::List(args)),
                    ("result", Value::text(if result == 0 { "text" } else { "binary" })),
                ]);
                Unit::request(vec![Step::Function], value, false)
            }
            Message::Terminate => Unit::aside(End::Farewell),
            // What comes of a COPY that the server gave up is passed over by it.
            Message::Password | Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {
                Unit::aside(End::Open)
            }
        };
        Ok(Cut::Whole(end, unit))
    }

    /// A statement is prepared: with its description, or with nothing else, it is a request; else a part of one.
    fn parse(
        &mut self,
        said: &[u8],
        end: usize,
        name: &[u8],
        sql: &[u8],
        types: Vec<u32>,
    ) -> Result<Cut<Unit>, Unreadable> {
        let mut described = None;
        match said.get(end) {
            None => return Ok(Cut::Partial(end + 1)),
            Some(b'D') => match frame(&said[end..])? {
                Framed::Partial(wanted) => return Ok(Cut::Partial(end + wanted)),
                Framed::Whole(next) => {
                    if Message::read(next) == Some(Message::Describe(Named::Statement(name))) {
                        described = Some(end + next.len());
                    }
                }
            },
            Some(_) => {}
        }
        let is_alone = described.is_some() || matches!(said.get(end), Some(b'S' | b'H'));
        let tail = match tail(said, described.unwrap_or(end))? {
            Cut::Whole(_, tail) => Some(tail),
            Cut::Partial(_) if is_alone => return Ok(Cut::Partial(said.len() + 1)),
            Cut::Partial(_) => None,
        };
        let sql = Value::data(sql);
        let statement = Arc::new(Statement { sql, name: Value::data(name), types, ..Statement::default() });
        self.keep(name, &statement);
        match tail {
            Some(tail) if is_alone => {
                let mut value = statement.prepare();
                let mut steps = vec![Step::Parse];
                if described.is_some() {
                    steps.push(Step::DescribeStatement(statement));
                } else if let Value::Map(members) = &mut value {
                    members.push(("described".into(), Value::Bool(false)));
                }
                Ok(self.ended(steps, tail, value, true))
            }
            _ => Ok(Cut::Whole(end, Unit::part(Step::Parse))),
        }
    }

    /// A request and what follows it.
    fn ended(&mut self, mut steps: Vec<Step>, tail: Tail, value: Value, setup: bool) -> Cut<Unit> {
        for name in &tail.closed {
            self.close(Named::Statement(name));
            steps.push(Step::Close);
        }
        for name in &tail.portals_closed {
            self.close(Named::Portal(name));
            steps.push(Step::Close);
        }
        if tail.synced {
            steps.push(Step::Sync);
        }
        Cut::Whole(tail.end, Unit::request(steps, value, setup))
    }

    /// Something is said while data are on their way.
    fn copied(&mut self, said: &[u8], end: usize, message: Message<'_>) -> Result<Cut<Unit>, Unreadable> {
        let Some(copying) = &mut self.copying else { return Ok(Cut::Partial(end + 1)) };
        let (end, outcome) = match message {
            Message::CopyData(data) => {
                if copying.data.len() + data.len() > HEAVIEST_COPY {
                    return Err(Unreadable::TooLarge);
                }
                copying.data.extend_from_slice(data);
                return Ok(Cut::Whole(end, Unit { steps: Vec::new(), heard: Heard::Part, end: End::Open }));
            }
            // They mean nothing to the server until the data are over.
            Message::Sync | Message::Flush => return Ok(Cut::Whole(end, Unit::aside(End::Open))),
            Message::CopyDone => (end, None),
            Message::CopyFail(why) => (end, Some(("failed", Value::data(why)))),
            Message::Terminate => return Ok(Cut::Whole(end, Unit::aside(End::Farewell))),
            _ => (0, Some(("left", Value::Bool(true)))),
        };
        let synced = !copying.simple && end > 0;
        let tail = if synced {
            tail(said, end)?
        } else {
            Cut::Whole(0, Tail { end, closed: Vec::new(), portals_closed: Vec::new(), synced: false })
        };
        let Cut::Whole(_, tail) = tail else { return Ok(Cut::Partial(said.len() + 1)) };
        let Some(Copying { sql, simple, data }) = self.copying.take() else { return Ok(Cut::Partial(end + 1)) };
        let mut members = vec![(Cow::Borrowed("copy"), sql), ("data".into(), Value::data(&data))];
        members.extend(outcome.map(|(name, value)| (name.into(), value)));
        Ok(self.ended(vec![Step::Copied { simple, left: end == 0 }], tail, Value::Map(members), false))
    }

    fn keep(&mut self, name: &[u8], statement: &Arc<Statement>) {
        self.statements_weight += statement.weight();
        if let Some(before) = self.statements.insert(name.to_vec(), Arc::clone(statement)) {
            self.statements_weight -= before.weight();
        }
        if self.statements.len() > MOST_STATEMENTS || self.statements_weight > HEAVIEST_STATEMENTS {
            self.statements.clear();
            self.statements_weight = 0;
        }
    }

    fn statement(&self, name: &[u8]) -> Arc<Statement> {
        let unknown = || Arc::new(Statement { name: Value::data(name), ..Statement::default() });
        self.statements.get(name).map_or_else(unknown, Arc::clone)
    }

    fn bind(&mut self, bind: &Bind<'_>) {
        let statement = self.statement(bind.statement);
        let param =
            |(at, value): (usize, &Option<&[u8]>)| cell(statement.parameter(at), format(&bind.formats, at), *value);
        let params = bind.params.iter().enumerate().map(param).collect();
        let portal = Arc::new(Portal { params, formats: bind.results.clone(), statement });
        self.portals_weight += portal.weight();
        if let Some((before, _)) = self.portals.insert(bind.portal.to_vec(), (portal, 0)) {
            self.portals_weight -= before.weight();
        }
        if self.portals.len() > MOST_PORTALS || self.portals_weight > HEAVIEST_PORTALS {
            self.portals.clear();
            self.portals_weight = 0;
        }
    }

    /// A portal, and how often it was executed.
    fn portal(&self, name: &[u8]) -> (Arc<Portal>, u32) {
        match self.portals.get(name) {
            Some((portal, executed)) => (Arc::clone(portal), *executed),
            None => (Arc::default(), 0),
        }
    }

    /// A portal that is executed, and for the how manieth time.
    fn execution(&mut self, name: &[u8]) -> (Arc<Portal>, u32) {
        if let Some((_, executed)) = self.portals.get_mut(name) {
            *executed = executed.saturating_add(1);
        }
        self.portal(name)
    }

    fn close(&mut self, named: Named<'_>) {
        match named {
            Named::Statement(name) => {
                if let Some(statement) = self.statements.remove(name) {
                    self.statements_weight -= statement.weight();
                }
            }
            Named::Portal(name) => {
                if let Some((portal, _)) = self.portals.remove(name) {
                    self.portals_weight -= portal.weight();
                }
            }
        }
    }
}

/// Whether data for it may follow.
fn copies(sql: &Value) -> bool {
    let Some(sql) = sql.as_text().filter(|sql| first_word(sql) == "COPY") else { return false };
    let mut words = sql.split_whitespace().map(str::to_ascii_lowercase);
    words.any(|word| word.ends_with("from")) && words.next().is_some_and(|word| word.starts_with("stdin"))
}

/// The names and values of a start-up message.
fn settings(body: &[u8]) -> Option<Vec<Value>> {
    let mut body = Reader(body);
    let mut settings = Vec::new();
    loop {
        let name = body.string()?;
        if name.is_empty() {
            return body.is_over().then_some(settings);
        }
        settings.push(Value::List(vec![Value::data(name), Value::data(body.string()?)]));
    }
}

/// What follows at `at`: things that are closed, and the Sync. It is not whole while there may be more of it.
fn tail(said: &[u8], at: usize) -> Result<Cut<Tail>, Unreadable> {
    let mut tail = Tail { end: at, closed: Vec::new(), portals_closed: Vec::new(), synced: false };
    for _ in 0..LONGEST_RUN {
        match said.get(tail.end) {
            None => return Ok(Cut::Partial(said.len() + 1)),
            Some(b'C' | b'S') => {}
            Some(_) => break,
        }
        let Framed::Whole(next) = frame(&said[tail.end..])? else { return Ok(Cut::Partial(said.len() + 1)) };
        match Message::read(next).ok_or(Unreadable::Garbage)? {
            Message::Close(Named::Statement(name)) => tail.closed.push(name.to_vec()),
            Message::Close(Named::Portal(name)) => tail.portals_closed.push(name.to_vec()),
            _ => tail.synced = true,
        }
        tail.end += next.len();
        if tail.synced {
            break;
        }
    }
    Ok(Cut::Whole(tail.end, tail))
}
