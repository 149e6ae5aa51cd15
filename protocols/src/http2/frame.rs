//! The nine bytes that every frame begins with (RFC 9113 section 4.1).

/// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
pub(super) const END_STREAM: u8 = 0x1;
/// END_HEADERS of HEADERS, PUSH_PROMISE and CONTINUATION.
pub(super) const END_HEADERS: u8 = 0x4;
/// PADDED of DATA, HEADERS and PUSH_PROMISE.
pub(super) const PADDED: u8 = 0x8;
/// PRIORITY of HEADERS.
pub(super) const PRIORITY: u8 = 0x20;

/// What a frame is (RFC 9113 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    ResetStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// One of an extension, to be passed over (RFC 9113 section 5.5).
    Unknown,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the payload.
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    pub stream: u32,
}

impl Header {
    /// Bytes of a header.
    pub const SIZE: usize = 9;

    /// Reads a header.
    pub fn parse(bytes: &[u8; Header::SIZE]) -> Header {
        const KINDS: [Kind; 10] = [
            Kind::Data,
            Kind::Headers,
            Kind::Priority,
            Kind::ResetStream,
            Kind::Settings,
            Kind::PushPromise,
            Kind::Ping,
            Kind::GoAway,
            Kind::WindowUpdate,
            Kind::Continuation,
        ];
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        Header {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: KINDS.get(usize::from(kind)).copied().unwrap_or(Kind::Unknown),
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & !(1 << 31),
        }
    }

    /// Whether the flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a frame of that kind may have that length and that stream.
    pub fn is_sound(&self) -> bool {
        let on_stream = self.stream != 0;
        match self.kind {
            Kind::Data | Kind::Headers => on_stream && (!self.has(PADDED) || self.length > 0),
            Kind::Continuation => on_stream,
            Kind::Priority => on_stream && self.length == 5,
            Kind::ResetStream => on_stream && self.length == 4,
            Kind::Settings => {
                !on_stream && self.length.is_multiple_of(6) && (!self.has(END_STREAM) || self.length == 0)
            }
            Kind::PushPromise => on_stream && self.length >= 4,
            Kind::Ping => !on_stream && self.length == 8,
            Kind::GoAway => !on_stream && self.length >= 8,
            Kind::WindowUpdate => self.length == 4,
            Kind::Unknown => true,
        }
    }
}

/// The part of a payload between its padding and what `before` bytes tell of priority or a promised stream; `None` where
/// there is not so much.
pub(super) fn unpadded(payload: &[u8], padded: bool, before: usize) -> Option<&[u8]> {
    let (padding, payload) = match padded {
        true => payload.split_first().map(|(padding, rest)| (usize::from(*padding), rest))?,
        false => (0, payload),
    };
    payload.get(before..payload.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = Header::parse(b"\x01\x02\x03\x01\x2d\x80\0\0\x07");
        assert_eq!((header.length, header.kind, header.stream), (0x01_02_03, Kind::Headers, 7));
        assert!(header.has(END_STREAM) && header.has(END_HEADERS) && header.has(PADDED) && header.has(PRIORITY));
        assert_eq!(Header::parse(b"\0\0\0\x0a\0\0\0\0\0").kind, Kind::Unknown);
        assert!(!Header::parse(b"\0\0\0\0\0\0\0\0\0").is_sound());
        assert!(!Header::parse(b"\0\0\x05\x04\0\0\0\0\0").is_sound());
    }

    #[test]
    fn padding() {
        assert_eq!(unpadded(b"abc", false, 0), Some(&b"abc"[..]));
        assert_eq!(unpadded(b"\x02abc..", true, 0), Some(&b"abc"[..]));
        assert_eq!(unpadded(b"\x02PRIORabc..", true, 5), Some(&b"abc"[..]));
        assert_eq!(unpadded(b"\x04abc", true, 0), None);
        assert_eq!(unpadded(b"\x01abc", true, 3), None);
        assert_eq!(unpadded(b"", true, 0), None);
    }
}
