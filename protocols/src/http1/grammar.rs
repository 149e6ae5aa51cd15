//! The lines of HTTP/1 (RFC 9112 sections 2 to 5 and 7), given without their line break. A start line may also say
//! `HTTP/2`, as that of a message which came in that version and is told in this form does.

use std::borrow::Cow;

/// The parts of a request line.
pub(super) struct RequestLine<'a> {
    pub method: &'a str,
    pub target: &'a [u8],
    pub version: (u8, u8),
}

/// The parts of a status line.
pub(super) struct StatusLine<'a> {
    pub version: (u8, u8),
    pub status: u16,
    pub reason: &'a [u8],
}

/// `method SP request-target SP version`; nothing else is let through, as readers differ on what it would mean.
pub(super) fn request_line(text: &[u8]) -> Option<RequestLine<'_>> {
    let mut parts = text.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let sound = parts.next().is_none()
        && is_token(method)
        && !target.is_empty()
        && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    let method = str::from_utf8(method).ok()?;
    sound.then_some(RequestLine { method, target, version: parse_version(version)? })
}

/// `version SP 3DIGIT [SP reason]`; the space before an absent reason may be missing, as it often is.
pub(super) fn status_line(text: &[u8]) -> Option<StatusLine<'_>> {
    let (version, rest) = text.split_at(text.iter().position(|byte| *byte == b' ')?);
    let (version, rest) = (parse_version(version)?, &rest[1..]);
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0')?;
    let status = digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let reason = match &rest[3..] {
        [] => &[][..],
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    Some(StatusLine { version, status, reason })
}

/// `HTTP/1.x` or `HTTP/2`.
fn parse_version(text: &[u8]) -> Option<(u8, u8)> {
    match text.strip_prefix(b"HTTP/")? {
        [b'1', b'.', digit] if digit.is_ascii_digit() => Some((1, digit - b'0')),
        b"2" => Some((2, 0)),
        _ => None,
    }
}

/// `name ":" value`, without the white space around the value. White space before the colon is refused
/// (RFC 9112 section 5.1).
pub(super) fn field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&text[..colon], &text[colon + 1..]);
    is_token(name).then_some((name, value.trim_ascii()))
}

/// A field value as text, obsolete line folding replaced by one space.
pub(super) fn unfolded(value: &[u8]) -> Cow<'_, str> {
    if !value.contains(&b'\n') {
        return String::from_utf8_lossy(value);
    }
    let lines: Vec<_> =
        value.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line.trim_ascii())).collect();
    Cow::Owned(lines.join(" "))
}

/// The members of a comma-separated list, empty ones left out (RFC 9110 section 5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A decimal number of digits alone.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// `chunk-size [ chunk-ext ]`, with white space allowed around the size's end as old servers pad it.
pub(super) fn chunk_size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = text[digits..].trim_ascii_start();
    let sound = (1..=16).contains(&digits) && (rest.is_empty() || rest[0] == b';');
    sound.then(|| u64::from_str_radix(str::from_utf8(&text[..digits]).ok()?, 16).ok()).flatten()
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// `tchar` (RFC 9110 section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let line = request_line(b"M-SEARCH * HTTP/1.1").unwrap();
        assert_eq!((line.method, line.target, line.version), ("M-SEARCH", &b"*"[..], (1, 1)));
        assert_eq!(request_line(b"GET / HTTP/2").unwrap().version, (2, 0));
        for bad in [
            "",
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/2.0",
            "GET / HTTP/1.10",
            "GET / http/1.1",
            "G(T / HTTP/1.1",
            "GET /\t HTTP/1.1",
        ] {
            assert!(request_line(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn status_lines() {
        let line = status_line(b"HTTP/1.0 404 Not Found").unwrap();
        assert_eq!((line.version, line.status, line.reason), ((1, 0), 404, &b"Not Found"[..]));
        assert_eq!(status_line(b"HTTP/2 200").unwrap().version, (2, 0));
        assert_eq!(status_line(b"HTTP/1.1 200").unwrap().reason, b"");
        assert_eq!(status_line(b"HTTP/1.1 200 ").unwrap().reason, b"");
        for bad in
            ["HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1 099 x", "HTTP/1.1  200", "ICY 200"]
        {
            assert!(status_line(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn fields() {
        assert_eq!(field(b"A:b"), Some((&b"A"[..], &b"b"[..])));
        assert_eq!(field(b"A: \tb c "), Some((&b"A"[..], &b"b c"[..])));
        assert_eq!(field(b"A:"), Some((&b"A"[..], &b""[..])));
        for bad in ["A", ":b", "A : b", "A b: c", ""] {
            assert!(field(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert_eq!(unfolded(b"a\r\n  b\n\tc"), "a b c");
    }

    #[test]
    fn chunk_sizes() {
        assert_eq!(chunk_size(b"0"), Some(0));
        assert_eq!(chunk_size(b"aF;x=\"y\""), Some(175));
        assert_eq!(chunk_size(b"5  ; x"), Some(5));
        assert_eq!(chunk_size(b"5 "), Some(5));
        for bad in ["", ";x", "0x5", "-1", "+1", "5 5", "5,", "00000000000000001", " 5"] {
            assert_eq!(chunk_size(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "18446744073709551616", "+1", "-1", "1 ", "0x1"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
