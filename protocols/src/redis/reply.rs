//! Replies as values.
//!
//! | RESP | value |
//! |---|---|
//! | bulk string | text or base64 |
//! | null bulk string, null of RESP3; null array | `null`; `{"null": "array"}` |
//! | simple string, error, bulk error | `{"simple": text}`, `{"error": text}`, `{"bulk_error": text}` |
//! | integer | number |
//! | array | list |
//! | set, push | `{"set": list}`, `{"push": list}` |
//! | map | `{"map": list of pairs}` |
//! | boolean | boolean |
//! | double, big number | `{"double": text}`, `{"big": text}` |
//! | verbatim string | `{"verbatim": text, "format": text}` |
//! | attribute | `{"attribute": list of pairs, "value": value}` |

use std::io::Write;

use crate::Value;

/// Reads a value at the front of bytes that [`Scan`](super::scan::Scan) found to be whole, and what is behind it; `None` where a line says what its
/// type does not allow.
pub(super) fn read(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    let (kind, text) = line.split_first()?;
    let rest = &bytes[end + 1..];
    let told = |value| Some((value, rest));
    match kind {
        b'+' => told(Value::map([("simple", Value::data(text))])),
        b'-' => told(Value::map([("error", Value::data(text))])),
        b':' => told(integer(text)),
        b'_' => told(Value::Null),
        b'#' => match text {
            b"t" => told(Value::Bool(true)),
            b"f" => told(Value::Bool(false)),
            _ => None,
        },
        b',' => told(Value::map([("double", Value::data(text))])),
        b'(' => told(Value::map([("big", Value::data(text))])),
        b'$' | b'!' | b'=' if text == b"-1" => told(Value::Null),
        b'$' | b'!' | b'=' => {
            let length = number(text)?;
            let (data, rest) = (rest.get(..length)?, rest.get(length + 2..)?);
            let value = match kind {
                b'$' => Value::data(data),
                b'!' => Value::map([("bulk_error", Value::data(data))]),
                _ => {
                    let (format, data) = (data.get(..3)?, data.get(4..)?);
                    Value::map([("verbatim", Value::data(data)), ("format", Value::data(format))])
                }
            };
            Some((value, rest))
        }
        b'*' if text == b"-1" => told(Value::map([("null", Value::text("array"))])),
        b'*' => items(number(text)?, rest).map(|(items, rest)| (Value::List(items), rest)),
        b'~' => items(number(text)?, rest).map(|(items, rest)| (Value::map([("set", Value::List(items))]), rest)),
        b'>' => items(number(text)?, rest).map(|(items, rest)| (Value::map([("push", Value::List(items))]), rest)),
        b'%' => pairs(number(text)?, rest).map(|(pairs, rest)| (Value::map([("map", pairs)]), rest)),
        b'|' => {
            let (attributes, rest) = pairs(number(text)?, rest)?;
            let (value, rest) = read(rest)?;
            Some((Value::map([("attribute", attributes), ("value", value)]), rest))
        }
        _ => None,
    }
}

/// A number where it is written as JSON has it, so that the same bytes come of it.
fn integer(text: &[u8]) -> Value {
    match std::str::from_utf8(text)
        .ok()
        .filter(|text| text.parse::<i64>().is_ok_and(|number| number.to_string() == **text))
    {
        Some(text) => Value::Number(text.to_owned()),
        None => Value::map([("integer", Value::data(text))]),
    }
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn items(count: usize, mut rest: &[u8]) -> Option<(Vec<Value>, &[u8])> {
    // An element takes three bytes at least.
    let mut items = Vec::with_capacity(count.min(rest.len() / 3));
    for _ in 0..count {
        let (item, behind) = read(rest)?;
        items.push(item);
        rest = behind;
    }
    Some((items, rest))
}

fn pairs(count: usize, rest: &[u8]) -> Option<(Value, &[u8])> {
    let (items, rest) = items(count.checked_mul(2)?, rest)?;
    let mut pairs = Vec::with_capacity(count);
    let mut items = items.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        pairs.push(Value::List(vec![name, value]));
    }
    Some((Value::List(pairs), rest))
}

/// Writes a reply for a client that understands RESP3, or as RESP2 has it. What is no reply is written as an error that says so.
pub(super) fn write(reply: &Value, resp3: bool, to: &mut Vec<u8>) {
    match reply {
        Value::Null => to.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Value::Bool(value) if resp3 => to.extend_from_slice(if *value { b"#t\r\n" } else { b"#f\r\n" }),
        Value::Bool(value) => to.extend_from_slice(if *value { b":1\r\n" } else { b":0\r\n" }),
        Value::Number(text) => line(b':', text.as_bytes(), to),
        Value::Text(text) => bulk(b'$', text.as_bytes(), to),
        Value::Bytes(bytes) => bulk(b'$', bytes, to),
        Value::List(items) => {
            header(b'*', items.len(), to);
            items.iter().for_each(|item| write(item, resp3, to));
        }
        Value::Map(_) => named(reply, resp3, to),
    }
}

fn named(reply: &Value, resp3: bool, to: &mut Vec<u8>) {
    let data = |name| reply.get(name).and_then(Value::as_data);
    let list = |name| reply.get(name).and_then(Value::as_list);
    if let Some(text) = data("simple") {
        line(b'+', text, to);
    } else if let Some(text) = data("error") {
        line(b'-', text, to);
    } else if let Some(text) = data("integer") {
        line(b':', text, to);
    } else if let Some(text) = data("bulk_error") {
        if resp3 { bulk(b'!', text, to) } else { line(b'-', &one_line(text), to) }
    } else if let Some(text) = data("double") {
        if resp3 { line(b',', text, to) } else { bulk(b'$', text, to) }
    } else if let Some(text) = data("big") {
        if resp3 { line(b'(', text, to) } else { bulk(b'$', text, to) }
    } else if let Some(text) = data("verbatim") {
        match data("format").filter(|_| resp3) {
            Some(format) => bulk(b'=', &[format, b":", text].concat(), to),
            None => bulk(b'$', text, to),
        }
    } else if data("null").is_some() {
        to.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" });
    } else if let Some(items) = list("set") {
        header(if resp3 { b'~' } else { b'*' }, items.len(), to);
        items.iter().for_each(|item| write(item, resp3, to));
    } else if let Some(items) = list("push") {
        header(if resp3 { b'>' } else { b'*' }, items.len(), to);
        items.iter().for_each(|item| write(item, resp3, to));
    } else if let Some(pairs) = list("map") {
        if resp3 {
            header(b'%', pairs.len(), to)
        } else {
            header(b'*', pairs.len() * 2, to)
        }
        write_pairs(pairs, resp3, to);
    } else if let (Some(pairs), Some(value)) = (list("attribute"), reply.get("value")) {
        if resp3 {
            header(b'|', pairs.len(), to);
            write_pairs(pairs, resp3, to);
        }
        write(value, resp3, to);
    } else {
        line(b'-', b"ERR regress: the recorded reply cannot be told", to);
    }
}

fn write_pairs(pairs: &[Value], resp3: bool, to: &mut Vec<u8>) {
    for pair in pairs {
        match pair.as_list() {
            Some([name, value]) => [name, value].into_iter().for_each(|half| write(half, resp3, to)),
            _ => [&Value::Null, &Value::Null].into_iter().for_each(|half| write(half, resp3, to)),
        }
    }
}

fn header(kind: u8, count: usize, to: &mut Vec<u8>) {
    to.push(kind);
    write!(to, "{count}\r\n").expect("writing to memory does not fail");
}

fn line(kind: u8, text: &[u8], to: &mut Vec<u8>) {
    to.push(kind);
    to.extend_from_slice(text);
    to.extend_from_slice(b"\r\n");
}

fn bulk(kind: u8, data: &[u8], to: &mut Vec<u8>) {
    header(kind, data.len(), to);
    to.extend_from_slice(data);
    to.extend_from_slice(b"\r\n");
}

/// A text without line breaks.
pub(super) fn one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(bytes: &[u8]) -> Value {
        let (value, rest) = read(bytes).unwrap_or_else(|| panic!("{bytes:?}"));
        assert!(rest.is_empty());
        let mut written = Vec::new();
        write(&value, !bytes.ends_with(b"-1\r\n"), &mut written);
        assert_eq!(written, bytes, "{value:?}");
        value
    }

    #[test]
    fn every_type_comes_back_as_the_same_bytes() {
        assert_eq!(round(b"$5\r\nhello\r\n"), Value::text("hello"));
        assert_eq!(round(b":-3\r\n"), Value::number(-3));
        assert_eq!(
            round(b"*2\r\n$-1\r\n*-1\r\n"),
            Value::List(vec![Value::Null, Value::map([("null", Value::text("array"))])])
        );
        for bytes in [
            &b"+OK\r\n"[..],
            b"-ERR x\r\n",
            b":007\r\n",
            b"$3\r\n\xff\0\n\r\n",
            b"*0\r\n",
            b"_\r\n",
            b"#t\r\n",
            b",inf\r\n",
            b"(12345678901234567890123\r\n",
            b"!3\r\nERR\r\n",
            b"=8\r\ntxt:some\r\n",
            b"~1\r\n:1\r\n",
            b">1\r\n$1\r\na\r\n",
            b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*0\r\n",
            b"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n",
        ] {
            round(bytes);
        }
    }

    #[test]
    fn a_client_of_resp2_gets_what_it_knows() {
        let written = |bytes: &[u8]| {
            let mut written = Vec::new();
            write(&read(bytes).unwrap().0, false, &mut written);
            String::from_utf8(written).unwrap()
        };
        assert_eq!(written(b"%1\r\n+a\r\n#t\r\n"), "*2\r\n+a\r\n:1\r\n");
        assert_eq!(written(b"_\r\n"), "$-1\r\n");
        assert_eq!(written(b",1.5\r\n"), "$3\r\n1.5\r\n");
        assert_eq!(written(b"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n"), "$1\r\nv\r\n");
        assert_eq!(written(b"!4\r\nA\r\nB\r\n"), "-A  B\r\n");
    }

    #[test]
    fn what_is_no_value_is_none() {
        for bytes in [&b""[..], b"#x\r\n", b"$5\r\nab\r\n", b"=2\r\nab\r\n", b"*2\r\n:1\r\n", b"?\r\n"] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
