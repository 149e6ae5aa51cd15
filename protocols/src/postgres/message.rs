//! Messages as bytes (PostgreSQL manual, section 55.7): a type, a length that counts itself, a body.

use crate::wire::Unreadable;

/// PostgreSQL takes no longer message (`PQ_LARGE_MESSAGE_LIMIT`).
const LONGEST: u32 = 0x3fff_ffff;

/// A message at the front of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed<'a> {
    /// It is not whole before there are so many bytes.
    Partial(usize),
    /// It is.
    Whole(Frame<'a>),
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// How many bytes it takes with its type and its length.
    pub fn len(&self) -> usize {
        5 + self.body.len()
    }
}

/// The message at the front.
pub(super) fn frame(said: &[u8]) -> Result<Framed<'_>, Unreadable> {
    let Some((head, _)) = said.split_first_chunk::<5>() else { return Ok(Framed::Partial(5)) };
    let [tag, length @ ..] = *head;
    let length = u32::from_be_bytes(length);
    if !tag.is_ascii_alphanumeric() || length < 4 {
        return Err(Unreadable::Garbage);
    }
    if length > LONGEST {
        return Err(Unreadable::TooLarge);
    }
    let end = 1 + length as usize;
    Ok(match said.get(5..end) {
        Some(body) => Framed::Whole(Frame { tag, body }),
        None => Framed::Partial(end),
    })
}

/// Reads a body from its front; `None` where it is over too early.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A string with its NUL, which is not given.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let string = self.take(end)?;
        self.take(1)?;
        Some(string)
    }

    /// A value with its length, which is -1 for NULL.
    pub fn value(&mut self) -> Option<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    /// A count of 16 bits and so many things of at least two bytes.
    pub fn many<T>(&mut self, mut read: impl FnMut(&mut Reader<'a>) -> Option<T>) -> Option<Vec<T>> {
        let count = self.i16()? as u16 as usize;
        let mut all = Vec::with_capacity(count.min(self.0.len() / 2));
        for _ in 0..count {
            all.push(read(self)?);
        }
        Some(all)
    }

    /// Whether all was read.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes a message.
pub(super) fn write(tag: u8, to: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    to.push(tag);
    let at = to.len();
    to.extend_from_slice(&[0; 4]);
    body(to);
    let length = u32::try_from(to.len() - at).unwrap_or(u32::MAX);
    to[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes a string and its NUL; one that it has itself ends it.
pub(super) fn write_string(text: &[u8], to: &mut Vec<u8>) {
    to.extend(text.iter().copied().take_while(|byte| *byte != 0));
    to.push(0);
}

/// Writes a value with its length.
pub(super) fn write_value(value: Option<&[u8]>, to: &mut Vec<u8>) {
    match value {
        None => to.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(value) => {
            to.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
            to.extend_from_slice(value);
        }
    }
}

/// Writes a count of 16 bits.
pub(super) fn write_count(count: usize, to: &mut Vec<u8>) {
    to.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_length_says() {
        let mut bytes = Vec::new();
        write(b'Q', &mut bytes, |to| write_string(b"SELECT 1\0 no", to));
        assert_eq!(bytes, b"Q\0\0\0\x0dSELECT 1\0");
        for end in 0..bytes.len() {
            let wanted = if end < 5 { 5 } else { bytes.len() };
            assert_eq!(frame(&bytes[..end]), Ok(Framed::Partial(wanted)));
        }
        bytes.push(b'S');
        let Ok(Framed::Whole(whole)) = frame(&bytes) else { panic!() };
        assert_eq!((whole.tag, whole.body, whole.len()), (b'Q', &b"SELECT 1\0"[..], bytes.len() - 1));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(frame(b"\0\0\0\0\x04"), Err(Unreadable::Garbage));
        assert_eq!(frame(b"Q\0\0\0\x03"), Err(Unreadable::Garbage));
        assert_eq!(frame(b"Q\xff\0\0\x03"), Err(Unreadable::TooLarge));
    }

    #[test]
    fn a_body_that_is_too_short_is_none() {
        assert_eq!(Reader(b"abc").string(), None);
        assert_eq!(Reader(b"\0\0\0\x05ab").value(), None);
        assert_eq!(Reader(b"\xff\xff\xff\xfe").value(), None);
        assert_eq!(Reader(b"\xff\xff\0\0").many(|reader| reader.u32()), None);
        assert_eq!(Reader(b"\0\x01\0\x02").many(|reader| reader.i16()), Some(vec![2]));
    }
}
