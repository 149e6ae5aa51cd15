//! Telling HTTP/2 by the first bytes of a connection, or by bytes in its middle.

use super::frame::{Header, Kind};

/// What a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest frame that is believed where the place in a connection is not known.
const LONGEST_BELIEVED: u32 = 1 << 20;

/// What the first bytes of a client look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// The preface of HTTP/2.
    Http2,
    /// Something else.
    Other,
    /// Too few bytes to tell.
    NeedMore,
}

/// Tells HTTP/2 by the first bytes of a client; with 24 bytes the answer is never [`Detected::NeedMore`].
pub fn detect(first: &[u8]) -> Detected {
    let common = first.len().min(PREFACE.len());
    match first[..common] == PREFACE[..common] {
        false => Detected::Other,
        true if common < PREFACE.len() => Detected::NeedMore,
        true => Detected::Http2,
    }
}

/// Whether a server that speaks before its client may begin HTTP/2 so: with SETTINGS, as every server does
/// (RFC 9113 section 3.4), some of them at once.
pub fn is_server_opening(first: &[u8]) -> bool {
    let Some((header, _)) = first.split_first_chunk() else { return false };
    let header = Header::parse(header);
    header.kind == Kind::Settings && header.flags == 0 && header.is_sound() && header.length <= 6 * 64
}

/// Whether bytes from the middle of a connection, which somebody sent in one piece, are nothing but whole frames. Told by
/// the lengths, which lead exactly to the end, and by what the standard lets frames be.
pub fn begins_frames(piece: &[u8]) -> bool {
    let mut rest = piece;
    while let Some((header, after)) = rest.split_first_chunk() {
        let header = Header::parse(header);
        if header.kind == Kind::Unknown || !header.is_sound() || header.length > LONGEST_BELIEVED {
            return false;
        }
        let Some((_, after)) = after.split_at_checked(header.length as usize) else { return false };
        if after.is_empty() {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefaces() {
        assert_eq!(detect(b""), Detected::NeedMore);
        assert_eq!(detect(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), Detected::NeedMore);
        assert_eq!(detect(PREFACE), Detected::Http2);
        assert_eq!(detect(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), Detected::Http2);
        assert_eq!(detect(b"PRI * HTTP/1"), Detected::Other);
        assert_eq!(detect(b"POST"), Detected::Other);
    }

    #[test]
    fn openings_of_servers() {
        assert!(is_server_opening(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"));
        assert!(is_server_opening(b"\0\0\0\x04\0\0\0\0\0"));
        assert!(!is_server_opening(b"\0\0\0\x04\x01\0\0\0\0"));
        assert!(!is_server_opening(b"J\0\0\0\n8.0.36\0"));
        assert!(!is_server_opening(b"220 mail"));
    }

    #[test]
    fn frames_in_the_middle() {
        let ping = b"\0\0\x08\x06\0\0\0\0\0abcdefgh";
        assert!(begins_frames(ping));
        assert!(begins_frames(&[&ping[..], b"\0\0\x03\0\x01\0\0\0\x05abc"].concat()));
        assert!(!begins_frames(&ping[..16]));
        assert!(!begins_frames(&[&ping[..], b"\0"].concat()));
        assert!(!begins_frames(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(!begins_frames(b""));
    }
}
