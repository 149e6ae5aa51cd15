//! What is between `MULTI` and `EXEC`.

use super::command::command;
use crate::{Value, wire::Transaction};

/// What a command and its reply tell of the transaction on their connection.
pub fn transaction(request: &Value, response: Option<&Value>) -> Transaction {
    let command = command(request);
    let simple = response.and_then(|reply| reply.get("simple")).and_then(Value::as_text);
    let says_nothing = response.is_none_or(|reply| reply.get("error").is_some() || reply.get("bulk_error").is_some());
    let goes_on = match (command.as_str(), simple) {
        ("MULTI", Some(_)) | (_, Some("QUEUED")) => Some(true),
        // An error ends it as well (`EXECABORT`), or there was none.
        ("EXEC" | "DISCARD" | "RESET", _) => response.map(|_| false),
        // A command that is not queued may have an error in a transaction and outside of it.
        _ if says_nothing => None,
        _ => Some(false),
    };
    let is = |names: &[&str]| names.contains(&command.as_str());
    Transaction { begins: is(&["MULTI"]), frames: is(&["MULTI", "EXEC", "DISCARD"]), drops: is(&["DISCARD"]), goes_on }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(command: &str, reply: Option<Value>) -> Transaction {
        transaction(&Value::map([("command", Value::text(command))]), reply.as_ref())
    }

    fn said(name: &'static str, text: &str) -> Option<Value> {
        Some(Value::map([(name, Value::text(text))]))
    }

    #[test]
    fn it_goes_on_while_commands_are_queued() {
        let goes_on = |command, reply| told(command, reply).goes_on;
        assert_eq!(goes_on("MULTI", said("simple", "OK")), Some(true));
        assert_eq!(goes_on("SET", said("simple", "QUEUED")), Some(true));
        assert_eq!(goes_on("EXEC", Some(Value::List([].into()))), Some(false));
        assert_eq!(goes_on("EXEC", said("error", "EXECABORT Transaction discarded")), Some(false));
        assert_eq!(goes_on("SET", said("simple", "OK")), Some(false));
        assert_eq!(goes_on("SET", said("error", "ERR wrong number of arguments")), None);
        assert_eq!(goes_on("MULTI", said("error", "ERR MULTI calls can not be nested")), None);
        assert_eq!([goes_on("EXEC", None), goes_on("GET", None)], [None, None]);
    }

    #[test]
    fn what_frames_it() {
        let frames = |command| told(command, None).frames;
        assert!(frames("MULTI") && frames("EXEC") && frames("DISCARD") && !frames("SET") && !frames("WATCH"));
        assert!(told("MULTI", None).begins && !told("EXEC", None).begins);
        assert!(told("DISCARD", None).drops && !told("EXEC", None).drops);
    }
}
