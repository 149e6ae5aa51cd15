//! Arrays of one dimension that begin at 1 (`array_send` and `array_out` in `src/backend/utils/adt/arrayfuncs.c`).

use super::{
    super::message::{Reader, write_value},
    Form, decode as decode_one, encode as encode_one, find,
};

fn element(oid: u32) -> Option<Form> {
    find(oid).map(|known| known.form).filter(|form| !matches!(form, Form::Array(_)))
}

pub(super) fn decode(element_oid: u32, bytes: &[u8]) -> Option<String> {
    let form = element(element_oid)?;
    let mut body = Reader(bytes);
    let (dimensions, _flags, oid) = (body.i32()?, body.i32()?, body.u32()?);
    if oid != element_oid {
        return None;
    }
    match dimensions {
        0 => return body.is_over().then(|| "{}".to_owned()),
        1 => {}
        _ => return None,
    }
    let (count, first) = (body.i32()?, body.i32()?);
    if first != 1 || count < 1 {
        return None;
    }
    let mut text = "{".to_owned();
    for number in 0..count {
        if number > 0 {
            text.push(',');
        }
        match body.value()? {
            None => text.push_str("NULL"),
            Some(value) => quote(&decode_one(form, value)?, &mut text),
        }
    }
    text.push('}');
    body.is_over().then_some(text)
}

fn quote(value: &str, to: &mut String) {
    let is_plain = !value.is_empty()
        && !value.eq_ignore_ascii_case("null")
        && !value.contains(|c: char| matches!(c, '{' | '}' | ',' | '"' | '\\' | ' ' | '\t'..='\r'));
    if is_plain {
        to.push_str(value);
        return;
    }
    to.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            to.push('\\');
        }
        to.push(character);
    }
    to.push('"');
}

pub(super) fn encode(element_oid: u32, text: &str) -> Option<Vec<u8>> {
    let form = element(element_oid)?;
    let elements = elements(text)?;
    let has_null = elements.iter().any(Option::is_none);
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&i32::from(!elements.is_empty()).to_be_bytes());
    bytes.extend_from_slice(&i32::from(has_null).to_be_bytes());
    bytes.extend_from_slice(&element_oid.to_be_bytes());
    if !elements.is_empty() {
        bytes.extend_from_slice(&i32::try_from(elements.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(&1_i32.to_be_bytes());
    }
    for element in elements {
        let value = match element {
            None => None,
            Some(text) => Some(encode_one(form, &text)?),
        };
        write_value(value.as_deref(), &mut bytes);
    }
    Some(bytes)
}

/// The elements of an array's text.
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inside.is_empty() {
        return Some(elements);
    }
    let mut rest = inside.chars();
    loop {
        let mut element = String::new();
        let mut next = rest.next();
        if next == Some('"') {
            loop {
                match rest.next()? {
                    '"' => break,
                    '\\' => element.push(rest.next()?),
                    other => element.push(other),
                }
            }
            next = rest.next();
            elements.push(Some(element));
        } else {
            while let Some(character) = next.filter(|next| *next != ',') {
                if matches!(character, '{' | '}' | '"' | '\\') {
                    return None;
                }
                element.push(character);
                next = rest.next();
            }
            elements.push((!element.eq_ignore_ascii_case("null")).then_some(element));
        }
        match next {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}
