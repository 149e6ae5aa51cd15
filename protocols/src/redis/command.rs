//! Requests as values, and what identifies them.

use std::fmt::Write;

use crate::{Operation, Value};

/// How many characters of a request are shown in a line.
const LONGEST_LINE: usize = 200;

/// What a request may be made of.
pub const MEMBERS: &[&str] = &["command", "args", "db"];

/// Commands that only read, or concern the connection. All others may write.
const READS: &[&str] = &[
    "AUTH",
    "BITCOUNT",
    "BITFIELD_RO",
    "BITPOS",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "DBSIZE",
    "DUMP",
    "ECHO",
    "EVALSHA_RO",
    "EVAL_RO",
    "EXISTS",
    "EXPIRETIME",
    "FCALL_RO",
    "GEODIST",
    "GEOHASH",
    "GEOPOS",
    "GEORADIUSBYMEMBER_RO",
    "GEORADIUS_RO",
    "GEOSEARCH",
    "GET",
    "GETBIT",
    "GETRANGE",
    "HELLO",
    "HEXISTS",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HRANDFIELD",
    "HSCAN",
    "HSTRLEN",
    "HVALS",
    "INFO",
    "KEYS",
    "LASTSAVE",
    "LCS",
    "LINDEX",
    "LLEN",
    "LOLWUT",
    "LPOS",
    "LRANGE",
    "MEMORY",
    "MGET",
    "OBJECT",
    "PEXPIRETIME",
    "PFCOUNT",
    "PING",
    "PSUBSCRIBE",
    "PTTL",
    "PUBSUB",
    "PUNSUBSCRIBE",
    "QUIT",
    "RANDOMKEY",
    "READONLY",
    "READWRITE",
    "ROLE",
    "SCAN",
    "SCARD",
    "SDIFF",
    "SELECT",
    "SINTER",
    "SINTERCARD",
    "SISMEMBER",
    "SLOWLOG",
    "SMEMBERS",
    "SMISMEMBER",
    "SORT_RO",
    "SRANDMEMBER",
    "SSCAN",
    "SSUBSCRIBE",
    "STRLEN",
    "SUBSCRIBE",
    "SUBSTR",
    "SUNION",
    "SUNSUBSCRIBE",
    "TIME",
    "TOUCH",
    "TTL",
    "TYPE",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WAIT",
    "WATCH",
    "XINFO",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREAD",
    "XREVRANGE",
    "ZCARD",
    "ZCOUNT",
    "ZDIFF",
    "ZINTER",
    "ZINTERCARD",
    "ZLEXCOUNT",
    "ZMSCORE",
    "ZRANDMEMBER",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREVRANGE",
    "ZREVRANGEBYLEX",
    "ZREVRANGEBYSCORE",
    "ZREVRANK",
    "ZSCAN",
    "ZSCORE",
    "ZUNION",
];

/// What stands for a password.
const HIDDEN: &str = "(hidden)";

/// A request of these words. Passwords are left out: whoever plays the server lets everybody in.
pub(super) fn request(words: Vec<Value>) -> Value {
    let mut words = words.into_iter();
    let command = match words.next().unwrap_or_default() {
        Value::Text(text) => Value::Text(text.to_ascii_uppercase()),
        other => other,
    };
    let mut words: Vec<Value> = words.collect();
    let is = |word: &Value, name: &str| word.as_text().is_some_and(|text| text.eq_ignore_ascii_case(name));
    match command.as_text() {
        Some("AUTH") => words.iter_mut().for_each(|word| *word = Value::text(HIDDEN)),
        Some("HELLO") => {
            if let Some(auth) = words.iter().position(|word| is(word, "AUTH")) {
                words.iter_mut().skip(auth + 1).take(2).for_each(|word| *word = Value::text(HIDDEN));
            }
        }
        _ => {}
    }
    Value::map([("command", command), ("args", Value::List(words))])
}

/// The command of a request in upper case; empty where it is no text.
pub(super) fn command(request: &Value) -> String {
    request.get("command").and_then(Value::as_text).unwrap_or_default().to_ascii_uppercase()
}

/// An argument as text in upper case.
pub(super) fn word(request: &Value, number: usize) -> Option<String> {
    Some(args(request).get(number)?.as_text()?.to_ascii_uppercase())
}

/// The arguments of a request.
pub(super) fn args(request: &Value) -> &[Value] {
    request.get("args").and_then(Value::as_list).unwrap_or_default()
}

/// What was recorded of such a request where nobody saw which database was selected: `"db": null`.
pub fn unplaced(request: &Value) -> Option<Value> {
    request.with("db", Value::Null)
}

/// Whether it concerns the connection alone.
pub(super) fn is_setup(request: &Value) -> bool {
    match command(request).as_str() {
        "AUTH" | "HELLO" | "PING" | "ECHO" | "QUIT" | "SELECT" | "READONLY" | "READWRITE" | "RESET" | "ASKING" => true,
        "CLIENT" => !matches!(word(request, 0).as_deref(), Some("LIST" | "KILL" | "PAUSE" | "UNPAUSE" | "UNBLOCK")),
        _ => false,
    }
}

/// Whether it is `HELLO`, which is answered with what the server is.
pub fn is_handshake(request: &Value) -> bool {
    command(request) == "HELLO"
}

/// The command in upper case.
pub fn operation(request: &Value) -> Operation {
    Operation { method: command(request), path: String::new() }
}

/// Whether the command may write.
pub fn is_write(request: &Value) -> bool {
    READS.binary_search(&command(request).as_str()).is_err()
}

/// `SET greeting "hello world"`
pub fn line(request: &Value) -> String {
    let mut line = command(request);
    for (number, argument) in args(request).iter().enumerate() {
        if line.len() > LONGEST_LINE {
            let _ = write!(line, " (and {} more)", args(request).len() - number);
            break;
        }
        line.push(' ');
        match argument.as_text() {
            Some(text) if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"') => {
                line.extend(text.chars().take(LONGEST_LINE));
            }
            Some(text) => {
                let _ = write!(line, "{:?}", text.chars().take(LONGEST_LINE).collect::<String>());
            }
            None => {
                let _ = write!(line, "({} bytes)", argument.as_data().map_or(0, <[u8]>::len));
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Value {
        request(words.iter().copied().map(Value::text).collect())
    }

    #[test]
    fn the_list_of_reads_can_be_searched() {
        assert!(READS.is_sorted());
        assert!(!is_write(&of(&["get", "a"])) && is_write(&of(&["SET", "a", "b"])) && is_write(&of(&["EVAL", "x"])));
    }

    #[test]
    fn what_concerns_the_connection() {
        for words in [&["AUTH", "x"][..], &["hello", "3"], &["CLIENT", "SETINFO", "a", "b"], &["PING"]] {
            assert!(is_setup(&of(words)), "{words:?}");
        }
        for words in [&["GET", "x"][..], &["CLIENT", "KILL", "x"], &["MULTI"]] {
            assert!(!is_setup(&of(words)), "{words:?}");
        }
    }

    #[test]
    fn passwords_are_not_kept() {
        assert_eq!(line(&of(&["auth", "me", "secret"])), "AUTH (hidden) (hidden)");
        let hello = of(&["HELLO", "3", "auth", "me", "secret", "SETNAME", "x"]);
        assert_eq!(line(&hello), "HELLO 3 auth (hidden) (hidden) SETNAME x");
    }

    #[test]
    fn a_line_is_short_and_shows_what_is_said() {
        assert_eq!(line(&of(&["set", "a", "b c", ""])), "SET a \"b c\" \"\"");
        assert_eq!(operation(&of(&["set", "a"])).to_string(), "SET");
        let long = line(&of(&["MSET", &"x".repeat(1000), &"y".repeat(1000)]));
        assert!(long.ends_with(" (and 1 more)") && long.len() < 250, "{long}");
        assert_eq!(line(&request(vec![Value::text("GET"), Value::data(b"\0\x01")])), "GET (2 bytes)");
    }
}
