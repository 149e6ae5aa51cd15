//! Values in a text that look as if a program had just made them: identifiers that are never made twice, and times.
//!
//! Only forms that say by themselves that they were made anew are taken. A digest, a signature, a counter and a random
//! number look like nothing in particular: a build that computes them wrongly has to be seen.

use std::{iter, ops::Range};

use jiff::{Timestamp, civil};
use regress_cassettes::redact::is_token;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A UUID of a version that is drawn and not computed from a name (RFC 9562: 1, 4, 6, 7), in upper case or not, or
    /// a ULID. Versions 7 and ULIDs hold the time they were `made` (microseconds since 1970).
    Identifier { form: char, upper: bool, made: Option<i64> },
    /// A moment, in microseconds since 1970.
    Time { at: i64, form: Form },
    /// A day, counted from 1970-01-01.
    Day(i64),
    /// What stands in place of a secret, of whatever form.
    Secret,
}

/// The fewest characters that stand for a secret.
const SHORTEST_SECRET: usize = 9;

/// The form of a ULID; that of a UUID is its version.
const ULID: char = 'U';

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// RFC 3339 with `Z`; without a zone, taken as UTC; with an offset. The character between date and time is not
    /// part of it.
    Utc,
    Zoneless,
    Offset,
    /// RFC 9110 section 5.6.7, IMF-fixdate.
    Http,
    /// Since 1970.
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Value {
    /// Whether both are written in the same way.
    pub(crate) fn is_like(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Identifier { form, upper, .. }, Value::Identifier { form: other, upper: too, .. }) => {
                form == other && upper == too
            }
            (Value::Time { form, .. }, Value::Time { form: other, .. }) => form == other,
            (Value::Day(_), Value::Day(_)) | (Value::Secret, Value::Secret) => true,
            _ => false,
        }
    }

    /// One value for all that are written in this way.
    pub(crate) fn stand_in(&self) -> &'static str {
        match self {
            Value::Identifier { form: ULID, .. } => "00000000000000000000000000",
            Value::Identifier { .. } => "00000000-0000-4000-8000-000000000000",
            Value::Day(_) => "1970-01-01",
            Value::Secret => "redacted",
            Value::Time { form, .. } => match form {
                Form::Utc => "1970-01-01T00:00:00Z",
                Form::Zoneless => "1970-01-01T00:00:00",
                Form::Offset => "1970-01-01T00:00:00+00:00",
                Form::Http => "Thu, 01 Jan 1970 00:00:00 GMT",
                Form::Seconds => "1000000000",
                Form::Milliseconds => "1000000000000",
                Form::Microseconds => "1000000000000000",
                Form::Nanoseconds => "1000000000000000000",
            },
        }
    }
}

/// The tokens of a text, in order. Each stands between characters that are no letters or digits.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = Token> {
    let bytes = text.as_bytes();
    let mut at = 0;
    iter::from_fn(move || {
        while at < bytes.len() {
            if !bytes[at].is_ascii_alphanumeric() {
                at += 1;
                continue;
            }
            let start = at;
            if let Some((length, value)) = token(&text[start..]) {
                at += length;
                return Some(Token { span: start..at, value });
            }
            at += word(&bytes[start..]);
        }
        None
    })
}

/// The token that a text begins with, and its length.
fn token(text: &str) -> Option<(usize, Value)> {
    let readers = [identifier, secret, internet_time, http_time, unix_time];
    let ends = |length: usize| !text.as_bytes().get(length).is_some_and(u8::is_ascii_alphanumeric);
    readers.iter().find_map(|read| read(text).filter(|(length, _)| ends(*length)))
}

/// How many letters and digits there are at the beginning.
fn word(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()
}

fn identifier(text: &str) -> Option<(usize, Value)> {
    uuid(text).map(|value| (36, value)).or_else(|| Some((26, ulid(text)?)))
}

/// What a redactor made, in one word or a UUID of a version that is not drawn.
fn secret(text: &str) -> Option<(usize, Value)> {
    let word = word(text.as_bytes());
    let is_secret =
        |length: usize| text.get(..length).is_some_and(|text| may_be_secret(text.as_bytes()) && is_token(text));
    [36, word]
        .into_iter()
        .find(|length| *length >= SHORTEST_SECRET && is_secret(*length))
        .map(|length| (length, Value::Secret))
}

/// Whether a text has what marks all that a redactor made: few others do, and it is quickly seen.
fn may_be_secret(text: &[u8]) -> bool {
    let is = |part: Option<&[u8]>, mark: &[u8]| part.is_some_and(|part| part.eq_ignore_ascii_case(mark));
    is(text.last_chunk::<8>().map(|last| &last[..]), b"ca55e77e")
        || text.iter().all(u8::is_ascii_digit)
        || text.windows(8).any(|part| is(Some(part), b"redacted"))
}

fn uuid(text: &str) -> Option<Value> {
    let bytes = text.as_bytes().get(..36)?;
    let well_formed = bytes.iter().enumerate().all(|(index, byte)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    if !well_formed || !matches!(bytes[19].to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b') {
        return None;
    }
    let made = match bytes[14] {
        b'1' | b'4' | b'6' => None,
        b'7' => {
            let milliseconds = i64::from_str_radix(&format!("{}{}", &text[..8], &text[9..13]), 16).ok()?;
            Some(milliseconds * 1000)
        }
        _ => return None,
    };
    let upper = bytes.iter().any(u8::is_ascii_uppercase);
    Some(Value::Identifier { form: char::from(bytes[14]), upper, made })
}

/// <https://github.com/ulid/spec>: 10 characters of milliseconds and 16 of chance, in upper case as they are made.
fn ulid(text: &str) -> Option<Value> {
    let bytes = text.as_bytes().get(..26)?;
    let digit = |byte: u8| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".iter().position(|known| *known == byte);
    if bytes[0] > b'7' || !bytes.iter().all(|byte| digit(*byte).is_some()) {
        return None;
    }
    let milliseconds = bytes[..10].iter().try_fold(0, |sum, byte| Some(sum * 32 + digit(*byte)? as i64))?;
    Some(Value::Identifier { form: ULID, upper: true, made: Some(milliseconds * 1000) })
}

/// RFC 3339, its zone and its seconds' fraction not required, or a day alone.
fn internet_time(text: &str) -> Option<(usize, Value)> {
    let bytes = text.as_bytes();
    let date = pattern(bytes, b"0000-00-00").then(|| text[..10].parse::<civil::Date>().ok())??;
    let day = || {
        let since = civil::date(1970, 1, 1).until(date).ok()?;
        // A day and a clock that nobody can read is no day.
        let alone = !matches!(bytes.get(10), Some(b'T' | b't'));
        alone.then_some((10, Value::Day(i64::from(since.get_days()))))
    };
    let Some(clock) = bytes.get(11..).filter(|_| matches!(bytes[10], b'T' | b't' | b' ')) else { return day() };
    if !pattern(clock, b"00:00:00") {
        return day();
    }
    let mut length = 19;
    if matches!(bytes.get(length), Some(b'.' | b',')) {
        let digits = bytes[length + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        length += if (1..=9).contains(&digits) { 1 + digits } else { 0 };
    }
    let rest = &bytes[length..];
    let (zone, form) = match rest.first() {
        Some(b'Z' | b'z') => (1, Form::Utc),
        Some(b'+' | b'-') if pattern(&rest[1..], b"00:00") => (6, Form::Offset),
        Some(b'+' | b'-') if pattern(&rest[1..], b"0000") => (5, Form::Offset),
        _ => (0, Form::Zoneless),
    };
    let clock = text[11..length].replace(',', ".");
    let local = format!("{date}T{clock}").parse::<civil::DateTime>().ok()?;
    let utc = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    let offset = if form == Form::Offset { seconds_east(&rest[..zone])? } else { 0 };
    Some((length + zone, Value::Time { at: utc - offset * 1_000_000, form }))
}

/// Of `+hh:mm` or `+hhmm`.
fn seconds_east(zone: &[u8]) -> Option<i64> {
    let digits: String = zone.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    let (hours, minutes) = (digits[..2].parse::<i64>().ok()?, digits[2..].parse::<i64>().ok()?);
    let seconds = hours * 3600 + minutes * 60;
    Some(if zone[0] == b'-' { -seconds } else { seconds })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn http_time(text: &str) -> Option<(usize, Value)> {
    let bytes = text.as_bytes().get(..29)?;
    if &bytes[3..5] != b", " || !pattern(&bytes[17..], b"00:00:00 ") {
        return None;
    }
    let at = jiff::fmt::rfc2822::parse(text.get(..29)?).ok()?.timestamp().as_microsecond();
    bytes.ends_with(b" GMT").then_some((29, Value::Time { at, form: Form::Http }))
}

/// Since 1970, of the years 2001 to 2286, where seconds have ten digits; seconds may have a fraction.
fn unix_time(text: &str) -> Option<(usize, Value)> {
    let bytes = text.as_bytes();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: i64 = text[..digits].parse().ok().filter(|_| bytes[0] != b'0')?;
    let (at, form) = match digits {
        10 => (number * 1_000_000, Form::Seconds),
        13 => (number * 1000, Form::Milliseconds),
        16 => (number, Form::Microseconds),
        19 => (number / 1000, Form::Nanoseconds),
        _ => return None,
    };
    let mut length = digits;
    if matches!(form, Form::Seconds | Form::Milliseconds) && bytes.get(digits) == Some(&b'.') {
        let fraction = bytes[digits + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        length += if fraction > 0 { 1 + fraction } else { 0 };
    }
    Timestamp::from_microsecond(at).ok()?;
    Some((length, Value::Time { at, form }))
}

/// Whether bytes begin as the pattern says, in which `0` stands for any digit.
fn pattern(bytes: &[u8], pattern: &[u8]) -> bool {
    let fits = |(byte, wanted): (&u8, &u8)| if *wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
    bytes.len() >= pattern.len() && bytes.iter().zip(pattern).all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(&str, Value)> {
        tokens(text).map(|token| (&text[token.span], token.value)).collect()
    }

    const AT: i64 = 1_764_362_499_000_000;

    #[test]
    fn identifiers_that_are_drawn() {
        let identifier = |form, upper, made| Value::Identifier { form, upper, made };
        let drawn = "9f8b6c1e-5d0a-4c3b-8e2f-0123456789ab";
        assert_eq!(found(drawn), [(drawn, identifier('4', false, None))]);
        let upper = format!("/orders/ord_{}/items?", drawn.to_uppercase());
        assert_eq!(found(&upper), [(&*drawn.to_uppercase(), identifier('4', true, None))]);
        let seven = "019acc2b-ae38-7c3b-8e2f-0123456789ab";
        assert_eq!(found(seven), [(seven, identifier('7', false, Some(0x019a_cc2b_ae38 * 1000)))]);
        let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(found(ulid), [(ulid, identifier('U', true, Some(1_469_922_850_259_000)))]);
    }

    #[test]
    fn what_may_be_computed_is_left_alone() {
        for text in [
            "",
            "9f8b6c1e-5d0a-5c3b-8e2f-0123456789ab",
            "9f8b6c1e-5d0a-3c3b-8e2f-0123456789ab",
            "9f8b6c1e-5d0a-4c3b-7e2f-0123456789ab",
            "x9f8b6c1e-5d0a-4c3b-8e2f-0123456789ab",
            "9f8b6c1e-5d0a-4c3b-8e2f-0123456789abc",
            "9f8b6c1e5d0a4c3b8e2f0123456789ab",
            "d41d8cd98f00b204e9800998ecf8427e",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "1001",
            "123456789",
            "12345678901",
            "0764362499",
            "2026-13-01",
            "2026-11-28T25:00:00Z",
            "user-profile-settings-2",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn times_in_many_forms() {
        let time = |at, form| Value::Time { at, form };
        for (text, expected) in [
            ("2025-11-28T20:41:39Z", time(AT, Form::Utc)),
            ("2025-11-28t20:41:39.5z", time(AT + 500_000, Form::Utc)),
            ("2025-11-28 20:41:39,123456789", time(AT + 123_456, Form::Zoneless)),
            ("2025-11-28T21:41:39+01:00", time(AT, Form::Offset)),
            ("2025-11-28T16:11:39.000-0430", time(AT, Form::Offset)),
            ("Fri, 28 Nov 2025 20:41:39 GMT", time(AT, Form::Http)),
            ("1764362499", time(AT, Form::Seconds)),
            ("1764362499.25", time(AT, Form::Seconds)),
            ("1764362499123", time(AT + 123_000, Form::Milliseconds)),
            ("1764362499123456", time(AT + 123_456, Form::Microseconds)),
            ("1764362499123456789", time(AT + 123_456, Form::Nanoseconds)),
            ("2025-11-28", Value::Day(20_420)),
        ] {
            assert_eq!(found(text), [(text, expected)]);
            let within = format!("(a={text};b)");
            assert_eq!(found(&within), [(text, expected)]);
        }
        let two = "from 2025-11-28 to 2025-11-29, at 2025-11-28T20:41:39Z.";
        assert_eq!(found(two).len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_tokens_stand_apart(text in "(\\PC|[0-9TZ:.,+ -]{0,30}|[0-9a-f-]{30,40}){0,4}") {
            let mut end = 0;
            for token in tokens(&text) {
                prop_assert!(token.span.start >= end && token.span.end > token.span.start);
                prop_assert!(text.get(token.span.clone()).is_some());
                end = token.span.end;
            }
        }
    }
}
