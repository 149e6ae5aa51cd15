//! The basic types: integers of a fixed and of a told length, strings of a told length and up to a zero
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_data_types.html>).

/// A payload that is read from its front. Each function is `None` where there is too little, or something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// An unsigned integer of 1 to 8 bytes, the low one first.
    pub(super) fn integer(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.integer(2).map(|number| number as u16)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.integer(4).map(|number| number as u32)
    }

    /// A length-encoded integer.
    pub(super) fn length(&mut self) -> Option<u64> {
        match self.u8()? {
            small @ 0..=0xfa => Some(u64::from(small)),
            0xfc => self.integer(2),
            0xfd => self.integer(3),
            0xfe => self.integer(8),
            _ => None,
        }
    }

    /// A length-encoded string.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// A string up to a zero, which is taken as well.
    pub(super) fn until_zero(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let string = self.take(length);
        self.take(1)?;
        string
    }
}

/// Writes a length-encoded integer.
pub(super) fn put_length(number: u64, to: &mut Vec<u8>) {
    let bytes = number.to_le_bytes();
    match number {
        0..=0xfa => to.push(bytes[0]),
        0xfb..=0xffff => {
            to.push(0xfc);
            to.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            to.push(0xfd);
            to.extend_from_slice(&bytes[..3]);
        }
        _ => {
            to.push(0xfe);
            to.extend_from_slice(&bytes);
        }
    }
}

/// Writes a length-encoded string.
pub(super) fn put_string(string: &[u8], to: &mut Vec<u8>) {
    put_length(string.len() as u64, to);
    to.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back() {
        for number in [0, 0xfa, 0xfb, 0xff, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, u64::MAX] {
            let mut bytes = Vec::new();
            put_length(number, &mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!((reader.length(), reader.0.len()), (Some(number), 0));
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).length(), None);
        }
        assert_eq!((Reader(b"\xfb").length(), Reader(b"\xff").length()), (None, None));
        assert_eq!(Reader(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffx").string(), None);
    }

    #[test]
    fn strings_end_where_they_end() {
        let mut reader = Reader(b"ab\0\x02cdrest");
        assert_eq!(
            (reader.until_zero(), reader.string(), reader.rest()),
            (Some(&b"ab"[..]), Some(&b"cd"[..]), &b"rest"[..])
        );
        assert_eq!((reader.u8(), Reader(b"ab").until_zero(), Reader(b"\x03ab").string()), (None, None, None));
    }
}
