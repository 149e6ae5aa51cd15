//! What a message of a protocol other than HTTP says.

use std::borrow::Cow;

use bytes::Bytes;

/// A value with everything that it takes to make the message again. It has a form in JSON that is read by people and
/// loses nothing (`cassettes/FORMAT.md`, section *Values*).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Value {
    /// Nothing, as SQL's NULL.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A number as written in JSON (RFC 8259 section 6): `-12`, `1.50`, `1e400`.
    Number(String),
    /// Bytes that are UTF-8 without control characters but tab, line feed and carriage return.
    Text(String),
    /// Other bytes.
    Bytes(Bytes),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name, in order. The names are the protocol's own, made of `a-z`, `0-9`, `_` and `-`, and each is there once: what a
    /// peer chose as a name stands in a list of pairs. No map has the member `base64` alone, or `file` and `size` alone.
    Map(Vec<(Cow<'static, str>, Value)>),
}

impl Value {
    /// Bytes that somebody said, as text where they are one.
    pub fn data(bytes: &[u8]) -> Value {
        let is_shown = |character: char| !character.is_control() || matches!(character, '\t' | '\n' | '\r');
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(is_shown) => Value::Text(text.to_owned()),
            _ => Value::Bytes(Bytes::copy_from_slice(bytes)),
        }
    }

    /// A text of the protocol's own.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// A whole number.
    pub fn number(number: impl Into<i128>) -> Value {
        Value::Number(number.into().to_string())
    }

    /// Values by name.
    pub fn map<const N: usize>(members: [(&'static str, Value); N]) -> Value {
        Value::Map(members.map(|(name, value)| (Cow::Borrowed(name), value)).into())
    }

    /// The bytes of a text or of bytes.
    pub fn as_data(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text.as_bytes()),
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A text.
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// A whole number that fits.
    pub fn as_number<N: TryFrom<i128>>(&self) -> Option<N> {
        let Value::Number(text) = self else { return None };
        N::try_from(text.parse::<i128>().ok()?).ok()
    }

    /// The values of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Value::List(items) = self { Some(items) } else { None }
    }

    /// The member of a map.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Value::Map(members) = self else { return None };
        members.iter().find(|(member, _)| *member == name).map(|(_, value)| value)
    }

    /// A map that has this member, instead of its own of that name or last. `None` if it says the same or is no map.
    pub fn with(&self, name: &'static str, value: Value) -> Option<Value> {
        let Value::Map(members) = self else { return None };
        let mut members = members.clone();
        match members.iter_mut().find(|(member, _)| *member == name) {
            Some((_, own)) if *own == value => return None,
            Some((_, own)) => *own = value,
            None => members.push((name.into(), value)),
        }
        Some(Value::Map(members))
    }

    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        let inside = match self {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(text) | Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.iter().map(Value::weight).sum(),
            Value::Map(members) => members.iter().map(|(_, value)| 16 + value.weight()).sum(),
        };
        size_of::<Value>() + inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_text_where_it_can_be_read() {
        assert_eq!(Value::data("é\r\n".as_bytes()), Value::text("é\r\n"));
        assert_eq!(Value::data(b"a\0b"), Value::Bytes(Bytes::from_static(b"a\0b")));
        assert_eq!(Value::data(b"\xff"), Value::Bytes(Bytes::from_static(b"\xff")));
        for bytes in [&b"text"[..], b"\x01", b"", b"\xc3"] {
            assert_eq!(Value::data(bytes).as_data(), Some(bytes));
        }
    }

    #[test]
    fn numbers_fit_or_are_none() {
        assert_eq!(Value::number(-7).as_number::<i16>(), Some(-7));
        assert_eq!(Value::number(700).as_number::<u8>(), None);
        assert_eq!(Value::Number("1.5".to_owned()).as_number::<i64>(), None);
    }
}
