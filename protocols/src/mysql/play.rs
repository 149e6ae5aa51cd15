//! A MySQL server on one connection, as clients know it.

use std::{collections::VecDeque, sync::Arc};

use super::{
    bits::{capability, status},
    end::{End, write_error},
    handshake::{Greeting, Login},
    key,
    packet::{Packets, file, packet},
    session::{Asked, Session, Then, command},
    settings::{self, Expression, Setting},
    tell::{self, Shape},
};
use crate::{
    Value,
    wire::{Handshakes, Server, Step},
};

/// What it is where nothing was recorded.
const VERSION: &[u8] = b"8.0.36";
/// utf8mb4_0900_ai_ci.
const CHARSET: u8 = 255;
/// What the client makes its proof of, which is believed anyway.
const CHALLENGE: &[u8; 20] = b"5gR!kT2#xQ8@wZ4%vN6&";
/// The number of the connection.
const CONNECTION: u32 = 1;
/// Plugins whose proof is believed as it comes. The one of MySQL 8 wants to hear so first.
const PLUGINS: [&[u8]; 3] = [NATIVE, SHA2, b"client_ed25519"];
const NATIVE: &[u8] = b"mysql_native_password";
const SHA2: &[u8] = b"caching_sha2_password";
/// What the client has to say about SHA-256: it is well known already.
const FAST: &[u8] = &[1, 3];
/// What is never offered: it changes how bytes look and not what is said.
const WITHHELD: u64 = capability::COMPRESS
    | capability::SSL
    | capability::OPTIONAL_RESULTSET_METADATA
    | capability::ZSTD_COMPRESSION_ALGORITHM
    | capability::MULTI_FACTOR_AUTHENTICATION
    | capability::MARIADB_PROGRESS
    | capability::MARIADB_COM_MULTI
    | capability::MARIADB_CACHE_METADATA;
/// The code of errors that have none of their own (ER_UNKNOWN_ERROR), and their state.
const REFUSED: (u16, &str) = (1105, "HY000");
/// Longer messages are cut.
const LONGEST_MESSAGE: usize = 8 << 10;

/// A server that lets everybody in. What concerns the connection is answered at once, all else is left to be judged.
#[derive(Debug)]
pub struct Player {
    known: Arc<Handshakes>,
    session: Session,
    said: Vec<u8>,
    /// Fewer bytes than these are not looked at again.
    wanted: usize,
    /// How far a file was looked at.
    file: usize,
    state: State,
    /// The number of the packet that answers.
    next: u8,
    /// The number of the statement that is prepared next.
    statement: u32,
    /// What is told to who is let in.
    welcome: End,
    /// What is told of the connection where nothing was recorded.
    status: u16,
    /// What follows from the answer to what is judged.
    then: Then,
    steps: VecDeque<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client is to say who it is.
    Greeted,
    /// It is to prove it in another way.
    Proving,
    /// It may ask.
    Ready,
    /// It says what is not understood.
    Broken,
}

impl Player {
    /// A server that introduces itself as the recorded one did, and knows which statements that had prepared.
    pub fn new(known: &Arc<Handshakes>) -> Player {
        let (mut greeting, tls) = introduction(known);
        greeting.capabilities &= !WITHHELD;
        if tls {
            greeting.capabilities |= capability::SSL;
        }
        if !PLUGINS.contains(&&greeting.plugin[..]) {
            greeting.plugin = NATIVE.to_vec();
        }
        Player {
            known: Arc::clone(known),
            session: Session::greeted(greeting),
            said: Vec::new(),
            wanted: 0,
            file: 0,
            state: State::Greeted,
            next: 0,
            statement: 1,
            welcome: End::with_status(status::AUTOCOMMIT),
            status: status::AUTOCOMMIT,
            then: Then::Nothing,
            steps: VecDeque::new(),
        }
    }

    fn capabilities(&self) -> u64 {
        self.session.capabilities.unwrap_or(capability::PROTOCOL_41)
    }

    fn say(&mut self, payloads: &[&[u8]]) {
        let mut packets = Packets::from(self.next);
        payloads.iter().for_each(|payload| packets.push(payload));
        self.steps.push_back(Step::Say(packets.bytes));
    }

    fn done(&mut self, end: &End) {
        let payload = end.write_done(self.capabilities());
        self.say(&[&payload]);
    }

    fn ok(&mut self) {
        self.done(&End::with_status(self.status));
    }

    /// Takes the next thing that was said. `None` if it is not of the protocol.
    fn take(&mut self, payload: &[u8], number: u8) -> Option<()> {
        match self.state {
            State::Greeted if Login::asks_for_tls(payload) => {
                let offered = self.session.greeting.as_ref()?.capabilities & capability::SSL != 0;
                (offered && !self.session.tls).then(|| {
                    self.session.tls = true;
                    self.steps.push_back(Step::Secure { say: Vec::new(), heard: Vec::new() });
                })
            }
            State::Greeted => {
                let (asked, login) = self.session.log_in(payload)?;
                self.welcome = welcome(&self.known, &asked.ask.value);
                self.believe(&login);
                Some(())
            }
            State::Proving => {
                self.state = State::Ready;
                self.done(&self.welcome.clone());
                Some(())
            }
            State::Ready if number != 0 => None,
            State::Ready => {
                if let Some((&command::CHANGE_USER, rest)) = payload.split_first() {
                    let (_, login) = self.session.change_user(rest)?;
                    self.welcome = End::with_status(status::AUTOCOMMIT);
                    self.believe(&login);
                    return Some(());
                }
                if let Some(asked) = self.session.ask(payload).ok()? {
                    self.decide(asked)?;
                }
                Some(())
            }
            State::Broken => None,
        }
    }

    /// Lets a client in, by its own plugin where that can be done.
    fn believe(&mut self, login: &Login) {
        self.status = status::AUTOCOMMIT;
        self.state = State::Ready;
        let plugin = login.plugin.as_deref().unwrap_or(NATIVE);
        let ok = self.welcome.write_done(self.capabilities());
        if !login.has_password || (PLUGINS.contains(&plugin) && plugin != SHA2) {
            self.say(&[&ok]);
        } else if plugin == SHA2 {
            self.say(&[FAST, &ok]);
        } else {
            self.state = State::Proving;
            self.say(&[&[b"\xfe", NATIVE, b"\0", CHALLENGE, b"\0"].concat()]);
        }
    }

    /// What concerns the connection is answered, all else is to be judged. `None` if there are too many statements.
    fn decide(&mut self, asked: Asked) -> Option<()> {
        let Asked { ask, then, .. } = asked;
        let recorded = self.known.response(&ask.value).cloned();
        let word = ask.value.get("command").and_then(Value::as_text).unwrap_or_default();
        match word {
            _ if !ask.setup => self.judge(ask.value, then),
            "quit" => self.steps.push_back(Step::Close),
            "close" => {}
            "prepare" => return self.prepare(&ask.value, recorded, then),
            "init_db" | "query" => return self.set(ask.value, recorded, then),
            "set_option" => {
                let payload = End::with_status(self.status).write_over(self.capabilities());
                self.say(&[&payload]);
            }
            "reset_connection" => {
                self.status = status::AUTOCOMMIT;
                self.ok();
            }
            _ => self.ok(),
        }
        Some(())
    }

    /// Answers what sets or shows something of the connection. What nobody can answer is to be judged.
    fn set(&mut self, request: Value, recorded: Option<Value>, then: Then) -> Option<()> {
        let word = |text: &str| Value::text(text);
        let mut changes = Vec::new();
        let shown = match setting(&request)? {
            Setting::Schema(schema) => {
                changes.push(Value::List(vec![word("schema"), Value::text(schema)]));
                None
            }
            Setting::Set { autocommit, charset } => {
                if let Some(on) = autocommit {
                    self.status = self.status & !status::AUTOCOMMIT | if on { status::AUTOCOMMIT } else { 0 };
                    changes.push(Value::List(
                        ["variable", "autocommit", if on { "ON" } else { "OFF" }].map(word).to_vec(),
                    ));
                }
                if let Some(charset) = charset {
                    for name in ["character_set_client", "character_set_connection", "character_set_results"] {
                        changes.push(Value::List(["variable", name, &charset].map(word).to_vec()));
                    }
                }
                None
            }
            Setting::Show => match recorded.clone().or_else(|| self.show(&request)) {
                None => {
                    self.judge(request, then);
                    return Some(());
                }
                shown => shown,
            },
        };
        let tells = |told: &Value| ["session", "columns", "error"].iter().any(|name| told.get(name).is_some());
        match shown.or(recorded.filter(tells)) {
            Some(told) => {
                let bytes = self.tell(&told, Shape::Text, then)?;
                self.steps.push_back(Step::Say(bytes));
            }
            None => self.done(&End::with_changes(self.status, changes)),
        }
        Some(())
    }

    fn judge(&mut self, request: Value, then: Then) {
        self.then = then;
        self.steps.push_back(Step::Judge(request));
    }

    /// Prepares a statement as it was recorded, if need be with another default schema; one that nobody knows has as many parameters as it
    /// shows, and says when it is executed what its columns are.
    fn prepare(&mut self, request: &Value, recorded: Option<Value>, then: Then) -> Option<()> {
        let sql = request.get("sql")?;
        let is_known = |(other, told): &(&Value, &Value)| is_same(other, request) && told.get("error").is_none();
        let elsewhere = || self.known.iter().find(is_known);
        let told = recorded.or_else(|| elsewhere().map(|(_, told)| told.clone())).unwrap_or_else(|| {
            let params =
                vec![Value::map([("name", Value::text("?"))]); sql.as_text().map_or(0, settings::placeholders)];
            Value::map([("params", Value::List(params)), ("columns", Value::List(Vec::new()))])
        });
        let bytes = self.tell(&told, Shape::Prepared(self.statement), then)?;
        self.steps.push_back(Step::Say(bytes));
        self.statement = self.statement.wrapping_add(1).max(1);
        Some(())
    }

    /// Rows of what is known without a database: of another default schema, or what a server has by default.
    fn show(&self, request: &Value) -> Option<Value> {
        let items = settings::asked(request.get("sql")?.as_text()?).unwrap_or_default();
        if !settings::asks_for_schema(&items)
            && let Some((_, told)) = self.known.iter().find(|(other, _)| is_same(other, request))
        {
            return Some(told.clone());
        }
        if items.is_empty() {
            return None;
        }
        let greeting = self.session.greeting.as_ref()?;
        // What MariaDB puts before its version when it greets.
        let version = Value::data(greeting.version.strip_prefix(b"5.5.5-").unwrap_or(&greeting.version));
        let mut row = Vec::with_capacity(items.len());
        for item in &items {
            row.push(match &item.expression {
                Expression::Variable(name) => match name.as_str() {
                    "version" | "innodb_version" => version.clone(),
                    "autocommit" => Value::text(if self.status & status::AUTOCOMMIT == 0 { "0" } else { "1" }),
                    name => Value::text(settings::default(name)?),
                },
                Expression::Function(name) => match name.as_str() {
                    "version" => version.clone(),
                    "database" | "schema" => self.session.schema.clone().unwrap_or_default(),
                    "connection_id" => Value::number(CONNECTION),
                    _ => Value::text("regress@localhost"),
                },
                Expression::Other => return None,
            });
        }
        let column = |(item, value): (&settings::Item, &Value)| {
            let is_number = value.as_text().is_some_and(|text| text.parse::<u64>().is_ok());
            Value::map([
                ("name", Value::text(&item.name)),
                ("type", Value::text(if is_number { "longlong" } else { "var_string" })),
                ("charset", Value::number(if is_number { 63 } else { 45 })),
                ("length", Value::number(1024)),
            ])
        };
        let columns = items.iter().zip(&row).map(column).collect();
        Some(Value::map([("columns", Value::List(columns)), ("rows", Value::List(vec![Value::List(row)]))]))
    }

    /// Writes a response and takes note of what follows from it.
    fn tell(&mut self, told: &Value, shape: Shape, then: Then) -> Option<Vec<u8>> {
        let mut packets = Packets::from(self.next);
        tell::response(told, shape, self.capabilities(), &mut packets);
        let statement = match shape {
            Shape::Prepared(number) if told.get("error").is_none() => {
                let params = told.get("params").and_then(Value::as_list).map_or(0, <[Value]>::len);
                Some((number, params))
            }
            _ => None,
        };
        self.session.answered(then, statement, told).ok()?;
        let last = told.get("results").and_then(Value::as_list).and_then(<[Value]>::last).unwrap_or(told);
        if last.get("status").is_some() {
            self.status = End::of_value(last).status & status::LASTING;
        }
        Some(packets.bytes)
    }
}

/// How the recorded server introduced itself, and whether that led to TLS.
fn introduction(known: &Handshakes) -> (Greeting, bool) {
    let logins = || known.iter().filter(|(request, _)| key::is_login(request)).map(|(_, told)| told);
    let recorded = logins().find_map(|told| Greeting::of_value(told.get("server")?));
    let tls = known.inside_tls() || logins().any(|told| told.get("tls").is_some());
    let default = || Greeting {
        version: VERSION.to_vec(),
        capabilities: 0xffff_ffff,
        charset: CHARSET,
        status: status::AUTOCOMMIT,
        plugin: NATIVE.to_vec(),
    };
    (recorded.unwrap_or_else(default), tls)
}

/// What the recorded server said to who was let in: to a login like this one, or else to any.
fn welcome(known: &Handshakes, login: &Value) -> End {
    let is_in = |told: &&Value| told.get("error").is_none();
    let others = || known.iter().filter(|(request, _)| key::is_login(request)).map(|(_, told)| told);
    let told = known.response(login).filter(is_in).or_else(|| others().find(is_in));
    told.map_or_else(|| End::with_status(status::AUTOCOMMIT), End::of_value)
}

/// Whether two requests say the same but for the default schema.
fn is_same(one: &Value, other: &Value) -> bool {
    ["command", "sql", "attributes"].iter().all(|name| one.get(name) == other.get(name))
}

/// What a request that concerns the connection sets.
fn setting(request: &Value) -> Option<Setting> {
    match request.get("schema") {
        Some(schema) => Some(Setting::Schema(schema.as_text()?.to_owned())),
        None => settings::of(request.get("sql")?.as_text()?),
    }
}

impl Server for Player {
    fn greeting(&mut self) -> Vec<u8> {
        let mut packets = Packets::from(0);
        if let Some(greeting) = &self.session.greeting {
            packets.push(&greeting.write(CONNECTION, CHALLENGE));
        }
        packets.bytes
    }

    fn hear(&mut self, said: &[u8]) {
        if self.state != State::Broken {
            self.said.extend_from_slice(said);
        }
    }

    fn step(&mut self) -> Option<Step> {
        loop {
            match self.steps.pop_front() {
                // Clients do not wait for an answer.
                Some(Step::Secure { say, .. }) => {
                    return Some(Step::Secure { say, heard: std::mem::take(&mut self.said) });
                }
                Some(step) => return Some(step),
                None => {}
            }
            if self.state == State::Broken || self.said.is_empty() || self.said.len() < self.wanted {
                return None;
            }
            let said = std::mem::take(&mut self.said);
            let is_file = self.session.infile.is_some();
            let cut = if is_file { file(&said, &mut self.file) } else { packet(&said) };
            let end = match cut {
                Err(wanted) => {
                    self.wanted = wanted;
                    self.said = said;
                    continue;
                }
                Ok(packet) => {
                    self.next = packet.next;
                    let taken = if is_file {
                        let asked = self.session.file(&packet.payload);
                        self.decide(asked)
                    } else {
                        self.take(&packet.payload, packet.number)
                    };
                    if taken.is_none() {
                        self.state = State::Broken;
                        self.steps.push_back(Step::Garbage);
                    }
                    packet.end
                }
            };
            self.said = said;
            self.said.drain(..end);
            self.wanted = 0;
        }
    }

    fn is_idle(&self) -> bool {
        self.said.is_empty()
    }

    fn answer(&mut self, request: &Value, response: &Value) -> Vec<u8> {
        let shape = match request.get("command").and_then(Value::as_text) {
            Some("execute" | "bulk_execute") => Shape::Binary,
            Some("fetch") => Shape::Fetched,
            Some("field_list") => Shape::Columns,
            _ => Shape::Text,
        };
        let then = std::mem::replace(&mut self.then, Then::Nothing);
        self.tell(response, shape, then).unwrap_or_else(|| self.refuse(request, "too many prepared statements"))
    }

    fn refuse(&mut self, _request: &Value, why: &str) -> Vec<u8> {
        self.then = Then::Nothing;
        let why: String = why.strip_prefix("regress: ").unwrap_or(why).chars().take(LONGEST_MESSAGE).collect();
        let error = Value::map([
            ("code", Value::number(REFUSED.0)),
            ("state", Value::text(REFUSED.1)),
            ("message", Value::text(format!("regress: {why}"))),
        ]);
        let mut packets = Packets::from(self.next);
        packets.push(&write_error(&error));
        packets.bytes
    }
}

#[cfg(test)]
mod tests;
