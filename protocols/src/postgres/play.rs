//! A PostgreSQL server on one connection, as clients know it.

mod tell;

use std::{collections::VecDeque, sync::Arc};

use self::tell::{Status, Teller};
use super::{
    column::Column,
    key::{self, Setup},
    message::{write, write_string},
    notice,
    session::{End, Session, Step as Asked},
};
use crate::{
    Value,
    wire::{Ask, Handshakes, Heard, Inbox, Server, Step},
};

/// What a server tells of itself where nothing is recorded.
const SETTINGS: &[(&str, &str)] = &[
    ("server_version", "15.0"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("is_superuser", "off"),
    ("session_authorization", "regress"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];
/// The process that serves a connection, where nothing is recorded.
const PROCESS: i32 = 1;
/// Settings that clients are told when they change, by their names in lower case.
const TOLD: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("intervalstyle", "IntervalStyle"),
    ("names", "client_encoding"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];
/// SQLSTATE of what is asked in a transaction that failed (`in_failed_sql_transaction`).
const FAILED_TRANSACTION: &str = "25P02";
/// SQLSTATE of what nothing recorded answers (`system_error`).
const REFUSED: &str = "58000";

/// A server that lets everybody in. What concerns the connection is answered at once, of statements that are prepared by what recorded
/// servers told of them; all that is executed is left to be judged.
#[derive(Debug)]
pub struct Player {
    session: Session,
    handshakes: Arc<Handshakes>,
    said: Inbox,
    /// What was asked and not answered.
    asked: Vec<Asked>,
    teller: Teller,
    steps: VecDeque<Step>,
}

impl Player {
    /// A server that says of itself, and of statements, what recorded ones did.
    pub fn new(handshakes: Arc<Handshakes>) -> Player {
        Player {
            session: Session::default(),
            teller: Teller::new(Arc::clone(&handshakes)),
            handshakes,
            said: Inbox::default(),
            asked: Vec::new(),
            steps: VecDeque::new(),
        }
    }

    /// What concerns the connection is answered, all else is to be judged.
    fn decide(&mut self, ask: Ask) {
        let Ask { value, setup, answered } = ask;
        if !answered {
            return;
        }
        if !setup {
            // Data that come although nothing is to be copied mean nothing to a server.
            let is_lost = matches!(self.asked[..], [Asked::Copied { .. }, ..]) && !self.teller.takes_data();
            if is_lost {
                self.asked.remove(0);
            }
            self.steps.push_back(if is_lost { Step::Note(value) } else { Step::Judge(value) });
            return;
        }
        let unknown = |step: &Asked| match step {
            Asked::DescribeStatement(statement) => self.teller.description(statement).is_none(),
            _ => false,
        };
        if self.asked.iter().any(unknown) {
            // Somebody may know better; else it says what is not known.
            self.steps.push_back(Step::Judge(value));
            return;
        }
        match &self.asked[..] {
            [Asked::Encryption { gss }] => {
                let accepted = self.handshakes.response(&value).and_then(|told| told.get("accepted"));
                let secure = !gss && (self.handshakes.inside_tls() || accepted == Some(&Value::Bool(true)));
                self.asked.clear();
                self.steps.push_back(match secure {
                    true => Step::Secure { say: b"S".to_vec(), heard: self.said.take_all() },
                    false => Step::Say(b"N".to_vec()),
                });
            }
            // Another database than any that was recorded: what it would answer is not known.
            [Asked::Startup] if !self.knows_database(&value) => {
                self.steps.extend([Step::Judge(value), Step::Close]);
            }
            [Asked::Startup] => {
                self.asked.clear();
                let greeting = self.let_in(&value);
                self.steps.push_back(Step::Say(greeting));
            }
            _ => {
                let response = self.own_response(&value);
                let said = self.tell(&response);
                self.steps.push_back(Step::Say(said));
            }
        }
    }

    /// Whether some recorded connection was for the database that a start-up names, or none was seen from its beginning.
    fn knows_database(&self, startup: &Value) -> bool {
        let mut recorded = self.handshakes.iter().filter_map(|(request, _)| database(request)).peekable();
        recorded.peek().is_none() || recorded.any(|known| Some(known) == database(startup))
    }

    /// The answer to what concerns the connection.
    fn own_response(&self, request: &Value) -> Value {
        let setup = request.get("query").and_then(Value::as_text).and_then(key::setup);
        if self.teller.status() == Status::Failed && !matches!(setup, None | Some(Setup::Empty)) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            let error = notice::error(FAILED_TRANSACTION, message, "", "");
            return Value::map([("error", error), ("failed", Value::text("parse"))]);
        }
        if let Some(recorded) = self.handshakes.response(request) {
            return recorded.clone();
        }
        let result = |result: Value| Value::map([("results", Value::List(vec![result]))]);
        let tag = |tag: &str| Value::map([("tag", Value::text(tag))]);
        match setup {
            None => Value::map([]),
            Some(Setup::Empty) => result(Value::map([("empty", Value::Bool(true))])),
            Some(Setup::Alive) => result(Value::map([
                ("columns", Value::List(vec![Column::computed("?column?", 23).value()])),
                ("rows", Value::List(vec![Value::List(vec![Value::text("1")])])),
                ("tag", Value::text("SELECT 1")),
            ])),
            Some(Setup::Done(word)) => result(tag(word)),
            Some(Setup::Set(name, value)) => {
                let told = TOLD.iter().find(|(lower, _)| *lower == name).map(|(_, told)| *told).zip(value);
                let settings = told.map(|(name, value)| Value::List(vec![Value::text(name), Value::text(value)]));
                Value::map([
                    ("results", Value::List(vec![tag("SET")])),
                    ("settings", Value::List(settings.into_iter().collect())),
                ])
            }
        }
    }

    /// Lets a client in, and tells it what a recorded server told to the same request, or else to the first.
    fn let_in(&mut self, request: &Value) -> Vec<u8> {
        let mut said = Vec::new();
        let minor = request.get("version").and_then(Value::as_text).and_then(|version| version.strip_prefix("3."));
        let options = request.get("startup").and_then(Value::as_list).unwrap_or_default();
        let unknown = options
            .iter()
            .filter_map(|pair| pair.as_list()?.first()?.as_text())
            .filter(|name| name.starts_with("_pq_."));
        let unknown: Vec<&str> = unknown.collect();
        if minor != Some("0") || !unknown.is_empty() {
            write(b'v', &mut said, |to| {
                to.extend_from_slice(&0_u32.to_be_bytes());
                to.extend_from_slice(&u32::try_from(unknown.len()).unwrap_or(0).to_be_bytes());
                unknown.iter().for_each(|name| write_string(name.as_bytes(), to));
            });
        }
        write(b'R', &mut said, |to| to.extend_from_slice(&0_u32.to_be_bytes()));
        let is_told = |response: &&Value| response.get("settings").is_some();
        let recorded = self.handshakes.response(request).filter(is_told).or_else(|| {
            let all = self.handshakes.iter().filter(|(request, _)| request.get("startup").is_some());
            all.map(|(_, response)| response).find(is_told)
        });
        let pair = |name: &str, value: &str| Value::List(vec![Value::text(name), Value::text(value)]);
        let settings = recorded.and_then(|told| told.get("settings")?.as_list()).map(<[Value]>::to_vec);
        let settings = settings.unwrap_or_else(|| {
            let asked = |name: &str| {
                let found = options.iter().filter_map(Value::as_list).find(|pair| {
                    pair.first().and_then(Value::as_text).is_some_and(|asked| asked.eq_ignore_ascii_case(name))
                });
                found
                    .and_then(|pair| pair.get(1)?.as_text())
                    .filter(|_| matches!(name, "application_name" | "TimeZone"))
            };
            SETTINGS.iter().map(|(name, value)| pair(name, asked(name).unwrap_or(value))).collect()
        });
        settings.iter().for_each(|setting| tell::setting(setting, &mut said));
        // Who cancels a query with this changes nothing.
        let process = recorded.and_then(|told| told.get("process")?.as_number()).unwrap_or(PROCESS);
        write(b'K', &mut said, |to| {
            to.extend_from_slice(&process.to_be_bytes());
            to.extend_from_slice(&0_u32.to_be_bytes());
        });
        self.teller.ready(&mut said);
        said
    }

    /// Answers all that was asked.
    fn tell(&mut self, response: &Value) -> Vec<u8> {
        let asked = std::mem::take(&mut self.asked);
        let mut said = Vec::new();
        self.teller.tell(&asked, response, &mut said);
        let left = asked.iter().any(|step| matches!(step, Asked::Copied { left: true, .. }));
        if let Some((sql, simple)) = self.teller.copies().filter(|_| !left) {
            self.session.copy(sql, simple);
        }
        said
    }
}

/// The database that a start-up is for.
fn database(request: &Value) -> Option<&Value> {
    key::database(request.get("startup")?.as_list()?)
}

impl Server for Player {
    fn hear(&mut self, said: &[u8]) {
        self.said.push(said);
    }

    fn step(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Some(step);
            }
            let unit = match self.said.take(|said| self.session.cut(said))? {
                Ok(unit) => unit,
                Err(_) => {
                    self.steps.push_back(Step::Garbage);
                    continue;
                }
            };
            self.asked.extend(unit.steps);
            if let Heard::Request(ask) = unit.heard {
                self.decide(ask);
            }
            match unit.end {
                End::Open => {}
                End::Flush if self.asked.is_empty() => {}
                End::Flush => {
                    let said = self.tell(&Value::map([]));
                    self.steps.push_back(Step::Say(said));
                }
                End::Farewell => self.steps.push_back(Step::Close),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.said.is_empty() && self.asked.is_empty()
    }

    fn answer(&mut self, _request: &Value, response: &Value) -> Vec<u8> {
        self.tell(response)
    }

    fn refuse(&mut self, request: &Value, why: &str) -> Vec<u8> {
        let (first, rest) = why.split_once('\n').unwrap_or((why, ""));
        let hint = if request.get("prepare").is_some() {
            "No recorded exchange describes this statement."
        } else {
            "regress answers from recordings alone: if the new request is meant, record again or accept the difference."
        };
        let error = notice::error(REFUSED, &format!("regress: {first}"), rest.trim(), hint);
        self.tell(&Value::map([("error", error), ("failed", Value::text("parse"))]))
    }
}

#[cfg(test)]
mod tests;
