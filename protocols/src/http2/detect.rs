//! Telling HTTP/2 by the first bytes of a connection, or by bytes in its middle.

use super::frame::{Header, Kind};

/// What a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest frame that is believed where the place in a connection is not known.
const LONGEST_BELIEVED: u32 = 1 << 20;

/// The longest SETTINGS that a server is believed to begin with.
const MOST_SETTINGS: u32 = 6 * 64;

/// What the first bytes of a side look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// The beginning of HTTP/2.
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

/// Tells by the first bytes of a server that speaks before its client whether it may begin HTTP/2 so: with SETTINGS, as
/// every server does (RFC 9113 section 3.4), some of them at once. With nine bytes the answer is never
/// [`Detected::NeedMore`].
pub fn detect_server(first: &[u8]) -> Detected {
    let mut header = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let known = first.len().min(header.len());
    header[..known].copy_from_slice(&first[..known]);
    let is_whole = known == header.len();
    let header = Header::parse(&header);
    let fits = header.kind == Kind::Settings && header.flags == 0 && header.length <= MOST_SETTINGS;
    match fits && header.stream == 0 {
        false => Detected::Other,
        true if !is_whole => Detected::NeedMore,
        true if header.is_sound() => Detected::Http2,
        true => Detected::Other,
    }
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
        assert_eq!(detect_server(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"), Detected::Http2);
        assert_eq!(detect_server(b"\0\0\0\x04\0\0\0\0\0"), Detected::Http2);
        assert_eq!(detect_server(b"\0\0\x06\x04\0\0"), Detected::NeedMore);
        for other in [&b"\0\0\0\x04\x01\0\0\0\0"[..], b"\0\0\x07\x04\0\0\0\0\0", b"J\0\0\0\n8.0.36\0", b"220 mail"] {
            assert_eq!(detect_server(other), Detected::Other, "{other:?}");
        }
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
