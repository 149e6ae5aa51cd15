//! What identifies a request, and what it concerns.

use std::fmt::Write;

use crate::{
    Operation, Value,
    sql::{self, Dialect},
};

/// What a request that is compared may be made of.
pub const MEMBERS: &[&str] = &[
    "query",
    "params",
    "types",
    "max-rows",
    "page",
    "statement",
    "copy",
    "data",
    "failed",
    "left",
    "function",
    "args",
    "result",
    "db",
];

/// How many characters of a request are shown in a line.
const LONGEST_LINE: usize = 200;

/// Settings that change how values are written, or how long something may take: not what is asked. Who sets them sets up a connection.
const SETTINGS: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "escape_string_warning",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "names",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
];

/// SQL that concerns the connection alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// Nothing: an empty text, or a comment.
    Empty,
    /// `SELECT 1`, by which pools see whether a connection lives.
    Alive,
    /// `SET` of one of [`SETTINGS`], and what it becomes where that is plain.
    Set(String, Option<String>),
    /// Something that is answered with this tag alone.
    Done(&'static str),
}

/// What of the connection a text of SQL concerns, if it concerns nothing else.
pub(super) fn setup(sql: &str) -> Option<Setup> {
    if sql.len() > 512 {
        return None;
    }
    let trimmed = sql.trim().trim_end_matches(';').trim_end();
    if trimmed.contains(';') {
        return None;
    }
    let mut words = trimmed.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
    let mut word = || words.next().map(str::to_ascii_lowercase);
    match sql::first_word(trimmed).as_str() {
        "" if trimmed.is_empty()
            || trimmed.starts_with("--")
            || (trimmed.starts_with("/*") && trimmed.ends_with("*/")) =>
        {
            return Some(Setup::Empty);
        }
        "SELECT" => return trimmed.eq_ignore_ascii_case("select 1").then_some(Setup::Alive),
        "SET" | "RESET" | "DISCARD" | "DEALLOCATE" => {}
        _ => return None,
    }
    match (word()?.as_str(), word()?.as_str()) {
        ("deallocate", _) => Some(Setup::Done("DEALLOCATE")),
        ("discard", "all") => Some(Setup::Done("DISCARD ALL")),
        ("reset", name) => (name == "all" || is_harmless(name)).then_some(Setup::Done("RESET")),
        ("set", "session") if trimmed.to_ascii_lowercase().starts_with("set session characteristics") => {
            Some(Setup::Done("SET"))
        }
        ("set", first) => {
            let name = if matches!(first, "session" | "local") { word()? } else { first.to_owned() };
            let name = if name == "time" && word()? == "zone" { "timezone".to_owned() } else { name };
            if !is_harmless(&name) {
                return None;
            }
            let rest = trimmed.rsplit(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or_default();
            let plain = rest.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(rest);
            let is_plain =
                !plain.is_empty() && !plain.contains(['\'', '"', '\\']) && !plain.eq_ignore_ascii_case("default");
            Some(Setup::Set(name, is_plain.then(|| plain.to_owned())))
        }
        _ => None,
    }
}

fn is_harmless(name: &str) -> bool {
    SETTINGS.binary_search(&name.trim_matches('"')).is_ok()
}

/// The database that the settings of a start-up are for: the one that is named like the user where they name none.
pub(super) fn database(settings: &[Value]) -> Option<&Value> {
    let named = |wanted: &str| {
        let pairs = settings.iter().filter_map(Value::as_list);
        pairs.filter(|pair| pair.first().and_then(Value::as_text) == Some(wanted)).find_map(|pair| pair.get(1))
    };
    named("database").or_else(|| named("user"))
}

/// What was recorded of such a request where nobody saw which database the connection is for: all but that.
pub fn unplaced(request: &Value) -> Option<Value> {
    let Value::Map(members) = request else { return None };
    let rest: Vec<_> = members.iter().filter(|(name, _)| name != "db").cloned().collect();
    (rest.len() < members.len()).then_some(Value::Map(rest))
}

/// The SQL that a request runs or prepares.
fn sql_of(request: &Value) -> Option<&str> {
    ["query", "copy", "prepare"].into_iter().find_map(|name| request.get(name)?.as_text())
}

/// The verb and the tables of the SQL.
pub fn operation(request: &Value) -> Operation {
    match (sql_of(request), word(request)) {
        (Some(sql), _) => sql::operation(sql, Dialect::Postgres),
        (None, Some(word)) => Operation { method: word.to_ascii_uppercase(), path: String::new() },
        (None, None) => Operation { method: String::new(), path: String::new() },
    }
}

/// Whether a transaction is open after this response.
pub fn in_transaction(response: &Value) -> Option<bool> {
    response.get("status").and_then(Value::as_text).map(|status| status != "idle")
}

/// What kind of request it is.
fn word(request: &Value) -> Option<&str> {
    let Value::Map(members) = request else { return None };
    members.first().map(|(name, _)| &**name)
}

/// Whether the response is told by players without being asked for exactly: what a server says of itself, of statements, of settings.
pub fn is_handshake(request: &Value) -> bool {
    let setup = |sql: &str| setup(sql).is_some();
    ["startup", "encryption", "prepare"].into_iter().any(|name| request.get(name).is_some())
        || request.get("query").and_then(Value::as_text).is_some_and(setup)
}

/// Whether it may change something, as far as its SQL tells.
pub fn is_write(request: &Value) -> bool {
    match sql_of(request) {
        Some(sql) => request.get("prepare").is_none() && sql::is_write(sql, Dialect::Postgres),
        // What is not known may be anything.
        None => matches!(word(request), Some("query" | "copy" | "function")),
    }
}

/// `SELECT name FROM users WHERE id = $1 [7]`
pub fn line(request: &Value) -> String {
    let mut line = match (sql_of(request), word(request)) {
        (Some(sql), Some(word)) => {
            let before = if word == "query" { "" } else { word };
            std::iter::once(before)
                .chain(sql.split_whitespace())
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        }
        (None, Some("query")) => match request.get("statement").and_then(Value::as_text) {
            Some(name) => format!("a statement that was prepared before ({name})"),
            None => "SQL that is no text".to_owned(),
        },
        (_, word) => word.unwrap_or_default().to_owned(),
    };
    if let Some(end) = line.char_indices().nth(LONGEST_LINE).map(|(at, _)| at) {
        line.truncate(end);
        line.push('…');
    }
    let params = request.get("params").and_then(Value::as_list).unwrap_or_default();
    if !params.is_empty() {
        let mut shown = String::new();
        for (number, param) in params.iter().enumerate() {
            if shown.len() > LONGEST_LINE / 2 {
                let _ = write!(shown, ", and {} more", params.len() - number);
                break;
            }
            shown.push_str(if number > 0 { ", " } else { "" });
            match (param, param.as_text()) {
                (Value::Null, _) => shown.push_str("NULL"),
                (_, Some(text)) => shown.extend(text.chars().take(LONGEST_LINE / 4)),
                _ => shown.push_str("(bytes)"),
            }
        }
        let _ = write!(line, " [{shown}]");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_of_the_transaction() {
        let with = |status| in_transaction(&Value::map([("status", Value::text(status))]));
        assert_eq!((with("idle"), with("transaction"), with("failed")), (Some(false), Some(true), Some(true)));
        assert_eq!(in_transaction(&Value::map([("skipped", Value::Bool(true))])), None);
    }

    #[test]
    fn what_concerns_the_connection_alone() {
        assert!(SETTINGS.is_sorted());
        let set = |name: &str, value: &str| Some(Setup::Set(name.to_owned(), Some(value.to_owned())));
        assert_eq!(setup(" "), Some(Setup::Empty));
        assert_eq!(setup(";"), Some(Setup::Empty));
        assert_eq!(setup("-- ping"), Some(Setup::Empty));
        assert_eq!(setup("select 1;"), Some(Setup::Alive));
        assert_eq!(setup("SET extra_float_digits = 3"), set("extra_float_digits", "3"));
        assert_eq!(setup("SET TIME ZONE 'UTC'"), set("timezone", "UTC"));
        assert_eq!(setup("set session DateStyle to 'ISO'"), set("datestyle", "ISO"));
        assert_eq!(setup("SET client_encoding TO 'UTF8'"), set("client_encoding", "UTF8"));
        assert_eq!(setup("SET datestyle TO DEFAULT"), Some(Setup::Set("datestyle".to_owned(), None)));
        assert_eq!(setup("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), Some(Setup::Done("SET")));
        assert_eq!(setup("DEALLOCATE ALL"), Some(Setup::Done("DEALLOCATE")));
        assert_eq!(setup("discard all"), Some(Setup::Done("DISCARD ALL")));
        for other in [
            "SET search_path TO x",
            "SET ROLE x",
            "RESET search_path",
            "SELECT 2",
            "SELECT 1; SELECT 2",
            "BEGIN",
            "SET",
            "/* a */ SELECT 1 /* b */",
            "SET app.user = '1'",
        ] {
            assert_eq!(setup(other), None, "{other}");
        }
    }

    #[test]
    fn a_line_shows_what_is_asked() {
        let sql = Value::text("SELECT *\n  FROM a WHERE b = $1");
        let request =
            Value::map([("query", sql.clone()), ("params", Value::List(vec![Value::text("7"), Value::Null]))]);
        assert_eq!(line(&request), "SELECT * FROM a WHERE b = $1 [7, NULL]");
        assert_eq!(operation(&request).to_string(), "SELECT a");
        assert!(!is_write(&request) && !is_handshake(&request));
        let prepare = Value::map([("prepare", sql)]);
        assert_eq!(line(&prepare), "prepare SELECT * FROM a WHERE b = $1");
        assert!(is_handshake(&prepare));
        let unknown = Value::map([("query", Value::Null), ("statement", Value::text("S_1"))]);
        assert_eq!(line(&unknown), "a statement that was prepared before (S_1)");
        assert!(is_write(&unknown));
        let long = Value::map([("query", Value::text("x".repeat(1_000)))]);
        assert!(line(&long).chars().count() <= LONGEST_LINE + 1);
        assert_eq!(operation(&Value::Null).to_string(), "");
    }
}
