//! What identifies a request, and how it is shown.

use std::fmt::Write;

use super::{
    bits::{self, STATUS, status},
    settings,
};
use crate::{
    Operation, Value,
    sql::{self, Dialect},
};

/// How many characters of a request are shown in a line.
const LONGEST_LINE: usize = 200;

/// What a request may be made of; those about the connection aside, which nobody compares.
pub const MEMBERS: &[&str] = &[
    "command",
    "sql",
    "params",
    "rows",
    "attributes",
    "cursor",
    "of",
    "after",
    "content",
    "table",
    "wildcard",
    "schema",
    "db",
];

fn text<'a>(request: &'a Value, name: &str) -> &'a str {
    request.get(name).and_then(Value::as_text).unwrap_or_default()
}

/// What was recorded of such a request where nobody saw which schema was chosen: `"db": null`.
pub fn unplaced(request: &Value) -> Option<Value> {
    match request.get("of") {
        Some(executed) => request.with("of", executed.with("db", Value::Null)?),
        None => request.with("db", Value::Null),
    }
}

/// The SQL of a request; of what is fetched that which was executed.
fn sql_of(request: &Value) -> Option<&str> {
    request.get("of").unwrap_or(request).get("sql")?.as_text()
}

/// Whether it is the login, which is answered with what the server is.
pub(super) fn is_login(request: &Value) -> bool {
    text(request, "command") == "login"
}

/// Whether it is the login, prepares a statement, or concerns the connection otherwise and is answered with more than that it is done.
pub fn is_handshake(request: &Value) -> bool {
    match text(request, "command") {
        "login" | "prepare" | "init_db" => true,
        "query" => settings::of(text(request, "sql")).is_some(),
        _ => false,
    }
}

/// `SELECT orders`, whether it is sent as text or was prepared; a command without SQL by its name.
pub fn operation(request: &Value) -> Operation {
    match (text(request, "command"), sql_of(request)) {
        ("query" | "execute" | "bulk_execute", Some(sql)) => sql::operation(sql, Dialect::MySql),
        ("fetch" | "infile", Some(sql)) => {
            let of = sql::operation(sql, Dialect::MySql);
            Operation { method: format!("{} of {}", text(request, "command").to_uppercase(), of.method), ..of }
        }
        ("field_list", _) => Operation { method: "FIELD_LIST".to_owned(), path: text(request, "table").to_owned() },
        (command, _) => Operation { method: command.to_uppercase(), path: String::new() },
    }
}

/// Whether a transaction is open after this response. An error does not tell.
pub fn in_transaction(response: &Value) -> Option<bool> {
    let last = response.get("results").and_then(Value::as_list).map_or(Some(response), <[Value]>::last)?;
    let status = last.get("status").filter(|_| last.get("error").is_none());
    Some(bits::of_value(Some(status?), STATUS) & u64::from(status::IN_TRANSACTION) != 0)
}

/// Whether it may change something.
pub fn is_write(request: &Value) -> bool {
    match (text(request, "command"), sql_of(request)) {
        ("query" | "execute" | "bulk_execute", Some(sql)) => sql::is_write(sql, Dialect::MySql),
        ("query" | "execute" | "bulk_execute" | "infile", _) => true,
        (command, _) => matches!(command, "create_db" | "drop_db" | "refresh" | "shutdown" | "process_kill"),
    }
}

/// `SELECT name FROM orders WHERE id = ? [5]`
pub fn line(request: &Value) -> String {
    let mut line = String::new();
    match text(request, "command") {
        "query" | "execute" => {}
        command => line.push_str(&command.to_uppercase().replace('_', " ")),
    }
    let named = ["sql", "table", "schema", "user"].iter().find_map(|name| request.get(name));
    if let Some(named) = sql_of(request).map(Value::text).as_ref().or(named) {
        if !line.is_empty() {
            line.push(' ');
        }
        push(named, &mut line);
    }
    if request.get("statement") == Some(&Value::Null) {
        line.push_str("(a statement that was prepared before the recording)");
    }
    let params = request.get("of").unwrap_or(request).get("params");
    if let Some(params) = params.and_then(Value::as_list).filter(|params| !params.is_empty()) {
        line.push_str(" [");
        for (number, param) in params.iter().enumerate() {
            if line.chars().count() > LONGEST_LINE {
                let _ = write!(line, " (and {} more)", params.len() - number);
                break;
            }
            if number > 0 {
                line.push_str(", ");
            }
            match param {
                Value::Map(members) if members.len() == 1 => push(&members[0].1, &mut line),
                param => push(param, &mut line),
            }
        }
        line.push(']');
    }
    line
}

/// A value, as much as fits in a line; white space is a blank.
fn push(value: &Value, line: &mut String) {
    match value {
        Value::Null => line.push_str("NULL"),
        Value::Number(number) => line.push_str(number),
        Value::Text(text) => {
            let mut words = text.split_whitespace();
            let mut left = LONGEST_LINE.saturating_sub(line.chars().count());
            let mut next = words.next();
            while let Some(word) = next {
                let shown: String = word.chars().take(left).collect();
                left = left.saturating_sub(shown.chars().count() + 1);
                line.push_str(&shown);
                next = words.next();
                if next.is_some() {
                    line.push(' ');
                }
                if left == 0 && next.is_some() {
                    line.push('…');
                    break;
                }
            }
        }
        other => {
            let _ = write!(line, "({} bytes)", other.as_data().map_or_else(|| other.weight(), <[u8]>::len));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &'static str, sql: &str) -> Value {
        Value::map([("command", Value::text(command)), ("sql", Value::text(sql))])
    }

    #[test]
    fn operations_are_what_is_done_to_which_tables() {
        for (command, sql, operation, writes) in [
            ("query", "SELECT * FROM orders WHERE id = 5", "SELECT orders", false),
            ("execute", "select 1 from `orders` where id = ?", "SELECT orders", false),
            ("query", "INSERT INTO lines (a) VALUES (1)", "INSERT lines", true),
            ("bulk_execute", "INSERT INTO lines (a) VALUES (?)", "INSERT lines", true),
            ("query", "BEGIN", "BEGIN", false),
            ("ping", "", "PING", false),
            ("infile", "LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "INFILE of LOAD", true),
        ] {
            let request = of(command, sql);
            assert_eq!((super::operation(&request).to_string(), is_write(&request)), (operation.to_owned(), writes));
        }
        let fields = Value::map([("command", Value::text("field_list")), ("table", Value::text("orders"))]);
        assert_eq!(operation(&fields).to_string(), "FIELD_LIST orders");
        assert!(is_handshake(&Value::map([("command", Value::text("login"))])));
    }

    #[test]
    fn the_last_result_tells_of_the_transaction_an_error_does_not() {
        let done = |status: u16| Value::map([("status", bits::to_value(status.into(), STATUS))]);
        let failed = Value::map([("error", Value::map([])), ("status", bits::to_value(1, STATUS))]);
        let several = Value::map([("results", Value::List(vec![done(status::IN_TRANSACTION), done(0)]))]);
        assert_eq!(in_transaction(&done(status::IN_TRANSACTION | status::AUTOCOMMIT)), Some(true));
        assert_eq!((in_transaction(&done(status::AUTOCOMMIT)), in_transaction(&several)), (Some(false), Some(false)));
        assert_eq!((in_transaction(&failed), in_transaction(&Value::Null)), (None, None));
    }

    #[test]
    fn a_line_is_short_and_shows_what_is_asked() {
        let mut request = of("execute", "SELECT *\n  FROM t WHERE a = ?");
        let Value::Map(members) = &mut request else { panic!() };
        let day = Value::map([("date", Value::text("2024-02-29"))]);
        members.push(("params".into(), Value::List(vec![Value::number(5), Value::text("x y"), day, Value::Null])));
        assert_eq!(line(&request), "SELECT * FROM t WHERE a = ? [5, x y, 2024-02-29, NULL]");
        let long = line(&of("query", &"x ".repeat(1000)));
        assert!(long.ends_with('…') && long.chars().count() < LONGEST_LINE + 10, "{long}");
        let unknown = Value::map([("command", Value::text("execute")), ("statement", Value::Null)]);
        assert_eq!(line(&unknown), "(a statement that was prepared before the recording)");
        let fetch = Value::map([("command", Value::text("fetch")), ("of", request)]);
        assert_eq!(line(&fetch), "FETCH SELECT * FROM t WHERE a = ? [5, x y, 2024-02-29, NULL]");
    }
}
