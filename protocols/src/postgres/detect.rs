//! Telling PostgreSQL by what a client says first, or at once.

use super::{
    client,
    message::{Framed, frame},
};
use crate::wire::{Detected, Opening};

/// The codes that stand in place of a version (manual, section 55.7).
pub(super) const CANCEL: u32 = 80_877_102;
pub(super) const TLS: u32 = 80_877_103;
pub(super) const GSS: u32 = 80_877_104;
/// The longest start-up message (`MAX_STARTUP_PACKET_LENGTH`).
pub(super) const LONGEST_STARTUP: u32 = 10_000;

/// A client begins with a length, then a version 3 or a code that asks for encryption or for a query to be cancelled.
pub fn detect(opening: Opening<'_>) -> Detected {
    if !opening.server.is_empty() {
        return Detected::No;
    }
    let Some((head, rest)) = opening.client.split_first_chunk::<8>() else {
        let so_far = opening.client.iter().take(2).all(|byte| *byte == 0)
            && opening.client.get(4).is_none_or(|byte| matches!(byte, 0 | 4));
        return if so_far { Detected::NeedMore } else { Detected::No };
    };
    let (length, code) = head.split_at(4);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let is_told = match (number(code), number(length)) {
        (TLS | GSS, 8) => true,
        (CANCEL, 13..=268) => true,
        // The first parameter's name follows.
        (version, 9..=LONGEST_STARTUP) => {
            version >> 16 == 3 && rest.first().is_none_or(|byte| byte.is_ascii_graphic() || *byte == 0)
        }
        _ => false,
    };
    if is_told { Detected::Yes } else { Detected::No }
}

/// Whether it is whole messages of a client that ask for something, and nothing else.
pub(super) fn resumes(mut said: &[u8]) -> bool {
    let mut last = None;
    while !said.is_empty() {
        let Ok(Framed::Whole(whole)) = frame(said) else { return false };
        let is_known = matches!(whole.tag, b'Q' | b'P' | b'B' | b'D' | b'C' | b'E' | b'S' | b'F' | b'H');
        if !is_known || client::Message::read(whole).is_none() {
            return false;
        }
        last = Some(whole.tag);
        said = &said[whole.len()..];
    }
    // What is no answer asked for stays in the client's buffer.
    matches!(last, Some(b'Q' | b'S' | b'F' | b'H'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        let of = |client: &[u8]| detect(Opening { client, server: &[] });
        for sure in [
            &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
            b"\0\0\0\x08\x04\xd2\x16\x30",
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
            b"\0\0\0\x54\0\x03\0\0user\0postgres\0\0",
            b"\0\0\0\x54\0\x03\0\x02user",
        ] {
            assert_eq!(of(sure), Detected::Yes, "{sure:?}");
        }
        for other in [
            &b"GET / HT"[..],
            b"*1\r\n",
            b"\0\0\0\x08\0\x03\0\0",
            b"\0\0\0\x54\0\x02\0\0user",
            b"\x16\x03\x01\x02\0\x01\0\0",
            b"\0\0\x12\x04\0\x01\0\0\0",
        ] {
            assert_eq!(of(other), Detected::No, "{other:?}");
        }
        for little in [&b""[..], b"\0", b"\0\0\0\x54\0\x03"] {
            assert_eq!(of(little), Detected::NeedMore, "{little:?}");
        }
        assert_eq!(detect(Opening { client: b"\0\0\0\x08\x04\xd2\x16\x2f", server: b"x" }), Detected::No);
    }

    #[test]
    fn what_is_said_at_once_is_a_chain_of_requests() {
        for chain in [
            &b"Q\0\0\0\x0dSELECT 1\0"[..],
            b"P\0\0\0\x10\0SELECT 1\0\0\0S\0\0\0\x04",
            b"B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04",
        ] {
            assert!(resumes(chain), "{chain:?}");
            assert!(!resumes(&chain[1..]) && !resumes(&chain[..chain.len() - 1]));
        }
        for other in [
            &b""[..],
            b"Q\0\0\0\x0dSELECT\0 1\0",
            b"P\0\0\0\x10\0SELECT 1\0\0\0",
            b"X\0\0\0\x04",
            b"d\0\0\0\x04S\0\0\0\x04",
        ] {
            assert!(!resumes(other), "{other:?}");
        }
    }
}
