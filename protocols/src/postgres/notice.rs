//! Errors and notices: their fields by name (PostgreSQL manual, section 55.8).

use std::borrow::Cow;

use super::message::{Reader, write, write_string};
use crate::Value;

const FIELDS: &[(u8, &str)] = &[
    (b'S', "severity"),
    (b'V', "severity-plain"),
    (b'C', "code"),
    (b'M', "message"),
    (b'D', "detail"),
    (b'H', "hint"),
    (b'P', "position"),
    (b'p', "internal-position"),
    (b'q', "internal-query"),
    (b'W', "where"),
    (b's', "schema"),
    (b't', "table"),
    (b'c', "column"),
    (b'd', "type"),
    (b'n', "constraint"),
    (b'F', "file"),
    (b'L', "line"),
    (b'R', "routine"),
];

/// What an ErrorResponse or a NoticeResponse says. Fields of other letters stand in a list of pairs `others`.
pub(super) fn read(body: &[u8]) -> Option<Value> {
    let mut body = Reader(body);
    let mut members: Vec<(Cow<'static, str>, Value)> = Vec::new();
    let mut others = Vec::new();
    loop {
        let letter = body.u8()?;
        if letter == 0 {
            break;
        }
        let text = Value::data(body.string()?);
        let known = FIELDS.iter().find(|(known, _)| *known == letter).map(|(_, name)| *name);
        match known.filter(|name| members.iter().all(|(member, _)| member != name)) {
            Some(name) => members.push((name.into(), text)),
            None => others.push(Value::List(vec![Value::number(letter), text])),
        }
    }
    if !others.is_empty() {
        members.push(("others".into(), Value::List(others)));
    }
    body.is_over().then_some(Value::Map(members))
}

/// Such a message: `E` or `N`.
pub(super) fn write_fields(tag: u8, fields: &Value, to: &mut Vec<u8>) {
    write(tag, to, |to| {
        for (letter, name) in FIELDS {
            if let Some(text) = fields.get(name).and_then(Value::as_data) {
                to.push(*letter);
                write_string(text, to);
            }
        }
        for pair in fields.get("others").and_then(Value::as_list).unwrap_or_default() {
            if let Some([letter, text]) = pair.as_list() {
                to.push(letter.as_number().filter(|letter| *letter != 0).unwrap_or(b'x'));
                write_string(text.as_data().unwrap_or_default(), to);
            }
        }
        to.push(0);
    });
}

/// An error of our own.
pub(super) fn error(code: &'static str, message: &str, detail: &str, hint: &str) -> Value {
    let mut members: Vec<(Cow<'static, str>, Value)> = vec![
        ("severity".into(), Value::text("ERROR")),
        ("severity-plain".into(), Value::text("ERROR")),
        ("code".into(), Value::text(code)),
        ("message".into(), Value::text(message)),
    ];
    for (name, text) in [("detail", detail), ("hint", hint)] {
        if !text.is_empty() {
            members.push((name.into(), Value::text(text)));
        }
    }
    Value::Map(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_come_back() {
        let body = b"SERROR\0VERROR\0C23505\0Mduplicate key\0Dit is there\0xodd\0yodder\0\0";
        let fields = read(body).unwrap();
        assert_eq!(fields.get("code"), Some(&Value::text("23505")));
        let mut bytes = Vec::new();
        write_fields(b'E', &fields, &mut bytes);
        assert_eq!(&bytes[5..], body);
        assert_eq!(read(&body[..body.len() - 1]), None);
    }

    #[test]
    fn a_field_that_is_there_twice_is_kept_twice() {
        let fields = read(b"Ma\0Mb\0\0").unwrap();
        let mut bytes = Vec::new();
        write_fields(b'N', &fields, &mut bytes);
        assert_eq!(&bytes[5..], b"Ma\0Mb\0\0");
    }
}
