//! Telling HTTP/1 by the first bytes that a client sends.

use super::grammar::is_token_byte;

/// More bytes than these are never needed.
const ENOUGH: usize = 24;
/// A longer method is none.
const LONGEST_METHOD: usize = 20;

/// What the first bytes of a client look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// The start of an HTTP/1 request line.
    Http1,
    /// A TLS record.
    Tls,
    /// Neither; the preface of HTTP/2 is here too.
    Other,
    /// Too few bytes to tell.
    NeedMore,
}

/// Tells the protocol by the first bytes of a client; with 24 bytes the answer is never [`Detected::NeedMore`].
pub fn detect(first: &[u8]) -> Detected {
    let first = &first[..first.len().min(ENOUGH)];
    let detected = match first.first() {
        Some(20..=23) => tls(first),
        _ => http1(first),
    };
    match detected {
        Detected::NeedMore if first.len() == ENOUGH => Detected::Other,
        detected => detected,
    }
}

/// A record header (RFC 8446 section 5.1): content type, version 3.x, a length of at most 2^14 + 2048
/// (RFC 5246 section 6.2.3).
fn tls(first: &[u8]) -> Detected {
    let sound =
        |at: usize, allowed: std::ops::RangeInclusive<u8>| first.get(at).is_none_or(|byte| allowed.contains(byte));
    if !sound(1, 3..=3) || !sound(2, 0..=4) || !sound(3, 0..=0x48) {
        return Detected::Other;
    }
    if first.len() < 5 { Detected::NeedMore } else { Detected::Tls }
}

/// A method, a space, and the start of a target: `/`, `*`, `http…`, or after CONNECT an authority.
fn http1(first: &[u8]) -> Detected {
    let lead = first.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let line = &first[lead..];
    let method = &line[..line.iter().take_while(|byte| is_token_byte(**byte)).count()];
    let Some(after) = line.get(method.len()) else {
        return if method.len() > LONGEST_METHOD { Detected::Other } else { Detected::NeedMore };
    };
    if *after != b' ' || method.is_empty() || method.len() > LONGEST_METHOD {
        return Detected::Other;
    }
    let target = &line[method.len() + 1..];
    match target.first() {
        None => Detected::NeedMore,
        Some(b'*') if method == b"PRI" => Detected::Other,
        Some(b'/' | b'*') => Detected::Http1,
        Some(byte) if method == b"CONNECT" && (byte.is_ascii_alphanumeric() || *byte == b'[') => Detected::Http1,
        Some(_) => {
            let scheme = &target[..target.len().min(3)];
            match scheme.eq_ignore_ascii_case(&b"htt"[..scheme.len()]) {
                true if scheme.len() == 3 => Detected::Http1,
                true => Detected::NeedMore,
                false => Detected::Other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        let cases: [(&[u8], Detected); 24] = [
            (b"", Detected::NeedMore),
            (b"G", Detected::NeedMore),
            (b"GET ", Detected::NeedMore),
            (b"GET /", Detected::Http1),
            (b"\r\nGET /", Detected::Http1),
            (b"OPTIONS *", Detected::Http1),
            (b"GET h", Detected::NeedMore),
            (b"GET HTTP://x", Detected::Http1),
            (b"CONNECT db:5432", Detected::Http1),
            (b"CONNECT [::1]:1", Detected::Http1),
            (b"CONNECT {\"verbose\":true}", Detected::Other),
            (b"VERSION-CONTROL /", Detected::Http1),
            (b"ABCDEFGHIJKLMNOPQRSTU", Detected::Other),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detected::Other),
            (b"REGISTER sip:x", Detected::Other),
            (b"*3\r\n$3\r\nSET", Detected::Other),
            (b"PING\r\n", Detected::Other),
            (b"get key\r\n", Detected::Other),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Detected::Other),
            (b"\x16\x03\x01\x02\0\x01", Detected::Tls),
            (b"\x16\x03\x01", Detected::NeedMore),
            (b"\x17\x03\x03\0\x20x", Detected::Tls),
            (b"\x16\x03\0\x70\x01", Detected::Other),
            (b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", Detected::Other),
        ];
        for (first, expected) in cases {
            assert_eq!(detect(first), expected, "{:?}", String::from_utf8_lossy(first));
        }
    }

    #[test]
    fn the_longest_undecided_start_fits() {
        assert_eq!(detect(b"ABCDEFGHIJKLMNOPQRST ht"), Detected::NeedMore);
        assert_eq!(detect(b"ABCDEFGHIJKLMNOPQRST htt"), Detected::Http1);
    }
}
