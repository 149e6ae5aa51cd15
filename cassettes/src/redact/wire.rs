//! Secrets in values of protocols other than HTTP.

use regress_protocols::{Value, wire::Protocol};

use super::{
    names,
    pass::{DEEPEST, Pass, applied},
    report::{Kind, Place},
};
use crate::model::WireExchange;

/// Members that are SQL.
const SQL: &[&str] = &["sql", "query", "prepare", "copy"];

impl Pass<'_> {
    /// Replaces what has to be in an exchange.
    pub(super) fn wire(&mut self, wire: &mut WireExchange) {
        self.place = Place::Value;
        let asked = wire.request.clone();
        self.request(wire.protocol, &mut wire.request);
        if let Some(response) = &mut wire.response {
            if wire.protocol == Protocol::Redis {
                redis_reply(&asked, response, &mut |value, kind| self.value(value, Some(kind)));
            }
            self.rows(response);
            self.value(response, None);
            self.by_rules(response, "response");
        }
    }

    /// Replaces what has to be in a request.
    pub(super) fn request(&mut self, protocol: Protocol, request: &mut Value) {
        match protocol {
            Protocol::Redis => self.redis(request),
            Protocol::Mysql => self.statement(request, false),
            Protocol::Postgres => self.statement(request, true),
            Protocol::Dns => {}
        }
        self.value(request, None);
        self.by_rules(request, "request");
    }

    /// Looks through a value; behind the name of a secret, all that it holds is one.
    fn value(&mut self, value: &mut Value, kind: Option<Kind>) {
        let made = match value {
            Value::Text(text) => self.leaf(text.as_bytes(), kind, DEEPEST),
            Value::Bytes(bytes) => self.leaf(bytes, kind, DEEPEST),
            Value::Number(text) => {
                let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
                let kind = kind.filter(|kind| matches!(kind, Kind::Password | Kind::Rule));
                let kind = kind.or_else(|| super::forms::card(text.as_bytes()).map(|_| Kind::Card));
                let made = kind.filter(|_| is_plain).and_then(|kind| self.token(kind, text.as_bytes()));
                if let Some(made) = made.and_then(|made| String::from_utf8(made).ok()) {
                    *text = made;
                }
                None
            }
            Value::List(items) => {
                items.iter_mut().for_each(|item| self.value(item, kind));
                None
            }
            Value::Map(members) => {
                members.iter_mut().for_each(|(_, member)| self.value(member, kind));
                None
            }
            Value::Null | Value::Bool(_) => None,
        };
        if let Some(made) = made {
            *value = Value::data(&made);
        }
    }

    /// What rules say of places.
    fn by_rules(&mut self, value: &mut Value, side: &str) {
        if self.rules.has_values() {
            self.at_places(value, &mut vec![side.to_owned()]);
        }
    }

    fn at_places(&mut self, value: &mut Value, path: &mut Vec<String>) {
        if let Some(kind) = self.rules.value(path) {
            return self.value(value, Some(kind));
        }
        let mut inside = |step: String, inner: &mut Value| {
            path.push(step);
            self.at_places(inner, path);
            path.pop();
        };
        match value {
            Value::List(items) => {
                items.iter_mut().enumerate().for_each(|(index, item)| inside(index.to_string(), item))
            }
            Value::Map(members) => members.iter_mut().for_each(|(name, member)| inside(name.to_string(), member)),
            _ => {}
        }
    }

    /// A statement with its parameters, and those within it.
    fn statement(&mut self, request: &mut Value, quotes_names: bool) {
        let Value::Map(members) = request else { return };
        let mut parameters = Vec::new();
        for (name, member) in members.iter_mut() {
            match member {
                Value::Text(text) if SQL.contains(&name.as_ref()) => {
                    let statement = self.sql(text.as_bytes(), quotes_names, DEEPEST);
                    if let Some(made) = applied(text.as_bytes(), &statement.edits) {
                        *text = String::from_utf8_lossy(&made).into_owned();
                    }
                    parameters.extend(statement.parameters);
                }
                Value::Map(_) => self.statement(member, quotes_names),
                _ => {}
            }
        }
        for (name, member) in members.iter_mut() {
            if let ("params", Value::List(items)) = (name.as_ref(), member) {
                for (number, kind) in &parameters {
                    if let Some(item) = items.get_mut(*number) {
                        self.value(item, Some(*kind));
                    }
                }
            }
        }
    }

    /// Rows, in columns that are named like secrets.
    fn rows(&mut self, response: &mut Value) {
        match response {
            Value::List(items) => items.iter_mut().for_each(|item| self.rows(item)),
            Value::Map(members) => {
                let find = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, member)| member);
                let columns = find("columns").and_then(Value::as_list).unwrap_or_default();
                let kind = |column: &Value| {
                    let name = column.get("name")?.as_data()?;
                    self.rules.field(name).or_else(|| names::secret(name))
                };
                let kinds: Vec<Option<Kind>> = columns.iter().map(kind).collect();
                for (name, member) in members {
                    match member {
                        Value::List(rows) if name == "rows" => {
                            for row in rows {
                                let Value::List(values) = row else { continue };
                                for (value, kind) in values.iter_mut().zip(&kinds).filter(|(_, kind)| kind.is_some()) {
                                    self.value(value, *kind);
                                }
                            }
                        }
                        other => self.rows(other),
                    }
                }
            }
            _ => {}
        }
    }

    /// A command of Redis: what stands behind a field, or under a key, that is named like a secret.
    fn redis(&mut self, request: &mut Value) {
        let Some(command) = request.get("command").and_then(Value::as_text).map(str::to_owned) else { return };
        let Value::Map(members) = request else { return };
        let Some((_, Value::List(args))) = members.iter_mut().find(|(name, _)| name == "args") else { return };
        let word = |args: &[Value], at: usize| {
            args.get(at).and_then(Value::as_text).map(str::to_ascii_uppercase).unwrap_or_default()
        };
        let secrets: Vec<(usize, Kind)> = match &*command {
            "AUTH" => args.len().checked_sub(1).map(|last| (last, Kind::Password)).into_iter().collect(),
            "HELLO" | "MIGRATE" => {
                let auth = (0..args.len()).find(|at| word(args, *at).starts_with("AUTH"));
                let offset = |at: usize| if word(args, at) == "AUTH" && command == "MIGRATE" { 1 } else { 2 };
                auth.map(|at| (at + offset(at), Kind::Password)).into_iter().collect()
            }
            "SET" | "GETSET" | "SETNX" | "APPEND" => under_key(args, 0, 1),
            "SETEX" | "PSETEX" => under_key(args, 0, 2),
            "MSET" | "MSETNX" => (0..args.len()).step_by(2).flat_map(|at| under_key(args, at, at + 1)).collect(),
            "HSET" | "HMSET" | "HSETNX" => self.behind_fields(args, 1),
            "XADD" => self.behind_fields(args, 2),
            "CONFIG" if word(args, 0) == "SET" => self.behind_fields(args, 1),
            "ACL" => {
                for rule in args.iter_mut().skip(2) {
                    let Some([sign @ (b'>' | b'<' | b'#' | b'!'), password @ ..]) = rule.as_data() else { continue };
                    let sign = *sign;
                    if let Some(made) = self.token(Kind::Password, password) {
                        *rule = Value::data(&[&[sign][..], &made].concat());
                    }
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        for (at, kind) in secrets {
            if let Some(arg) = args.get_mut(at) {
                self.value(arg, Some(kind));
            }
        }
    }

    fn behind_fields(&self, args: &[Value], from: usize) -> Vec<(usize, Kind)> {
        let kind = |at: usize| {
            let name = args[at].as_data()?;
            Some((at + 1, self.rules.field(name).or_else(|| names::secret(name))?))
        };
        (from..args.len()).step_by(2).filter_map(kind).collect()
    }
}

/// What the parts of a key say of its value.
fn key_kind(key: &Value) -> Option<Kind> {
    let key = key.as_data()?;
    key.split(|byte| matches!(byte, b':' | b'/' | b'|')).find_map(names::secret)
}

fn under_key(args: &[Value], key: usize, value: usize) -> Vec<(usize, Kind)> {
    args.get(key).and_then(key_kind).map(|kind| (value, kind)).into_iter().collect()
}

/// What a reply has of fields and under keys that are named like secrets.
fn redis_reply(request: &Value, reply: &mut Value, replace: &mut dyn FnMut(&mut Value, Kind)) {
    let Some(command) = request.get("command").and_then(Value::as_text) else { return };
    let args = request.get("args").and_then(Value::as_list).unwrap_or_default();
    let field = |value: &Value| value.as_data().and_then(names::secret);
    let kinds: Vec<Option<Kind>> = match command {
        "GET" | "GETSET" | "GETDEL" | "GETEX" => vec![args.first().and_then(key_kind)],
        "MGET" => args.iter().map(key_kind).collect(),
        "HGET" => vec![args.get(1).and_then(field)],
        "HMGET" => args.iter().skip(1).map(field).collect(),
        "HGETALL" | "CONFIG" | "XRANGE" | "XREVRANGE" | "XREAD" | "XREADGROUP" => return pairs(reply, replace),
        _ => return,
    };
    match reply {
        Value::List(items) => {
            for (item, kind) in items.iter_mut().zip(kinds) {
                if let Some(kind) = kind {
                    replace(item, kind);
                }
            }
        }
        single => {
            if let Some(kind) = kinds.first().copied().flatten() {
                replace(single, kind);
            }
        }
    }
}

/// Names and values one after the other, or in pairs, at any depth.
fn pairs(reply: &mut Value, replace: &mut dyn FnMut(&mut Value, Kind)) {
    match reply {
        Value::List(items) => {
            let is_flat = items.iter().all(|item| item.as_data().is_some());
            if is_flat {
                for pair in items.chunks_mut(2) {
                    if let [name, value] = pair
                        && let Some(kind) = name.as_data().and_then(names::secret)
                    {
                        replace(value, kind);
                    }
                }
            } else {
                items.iter_mut().for_each(|item| pairs(item, replace));
            }
        }
        Value::Map(members) => members.iter_mut().for_each(|(_, member)| pairs(member, replace)),
        _ => {}
    }
}
