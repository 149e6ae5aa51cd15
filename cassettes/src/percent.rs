//! Percent encoding (RFC 3986 section 2.1).

use std::borrow::Cow;

/// A text with its percent encoding removed, and `+` read as a space in forms. The text itself where nothing is encoded;
/// `None` where a percent sign is not followed by two hexadecimal digits.
pub(crate) fn percent_decoded(text: &[u8], plus: bool) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| *byte == b'%' || (plus && *byte == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        decoded.push(match first {
            b'+' if plus => b' ',
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                let digit = |digit: u8| char::from(digit).to_digit(16);
                u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?
            }
            other => *other,
        });
    }
    Some(Cow::Owned(decoded))
}

/// The same text percent-encoded, all but what never has to be (RFC 3986 section 2.3).
pub(crate) fn percent_encoded(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(*byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    encoded
}

/// A text as forms have it (WHATWG URL section 5.2).
pub(crate) fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => encoded.push(char::from(byte)),
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_comes_off_and_goes_on() {
        assert_eq!(percent_decoded(b"a%20b+c", true).unwrap(), &b"a b c"[..]);
        assert_eq!(percent_decoded(b"a%2", true), None);
        assert_eq!(form_encoded("a ä~"), "a+%C3%A4%7E");
        assert_eq!(percent_encoded("a ä~".as_bytes()), b"a%20%C3%A4~");
    }
}
