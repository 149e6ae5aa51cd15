//! Telling Redis by the first bytes of a client.

use crate::wire::{Detected, Opening};

/// A request is an array of bulk strings: `*2\r\n$3\r\nGET…`. Commands as lines (`PING`) are told by nothing, and are left to people at a
/// terminal.
pub fn detect(opening: Opening<'_>) -> Detected {
    if !opening.server.is_empty() {
        return Detected::No;
    }
    let mut rest = opening.client;
    for lead in [b'*', b'$'] {
        match rest.split_first() {
            None => return Detected::NeedMore,
            Some((first, digits)) if *first == lead => {
                let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let behind = &digits[count..];
                match behind {
                    [] | [b'\r'] if count <= 9 => return Detected::NeedMore,
                    [b'\r', b'\n', ..] if (1..=9).contains(&count) => rest = &behind[2..],
                    _ => return Detected::No,
                }
            }
            Some(_) => return Detected::No,
        }
    }
    Detected::Yes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        let of = |client: &'static str| detect(Opening { client: client.as_bytes(), server: &[] });
        for sure in ["*1\r\n$4\r\nPING\r\n", "*2\r\n$3\r\n"] {
            assert_eq!(of(sure), Detected::Yes, "{sure:?}");
        }
        for other in ["PING\r\n", "*x", "*\r\n", "*1\r\n:1\r\n", "GET / HTTP/1.1", "*1234567890\r\n$1\r\n", "*1\n"] {
            assert_eq!(of(other), Detected::No, "{other:?}");
        }
        for little in ["", "*", "*1", "*1\r", "*1\r\n", "*1\r\n$", "*123456789\r\n$123456789\r"] {
            assert_eq!(of(little), Detected::NeedMore, "{little:?}");
            assert!(little.len() < crate::wire::ENOUGH);
        }
        assert_eq!(detect(Opening { client: b"*1\r\n$4\r\n", server: b"x" }), Detected::No);
    }
}
