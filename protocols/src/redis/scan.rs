//! Finding where a RESP value ends, without reading it.

use crate::wire::Unreadable;

/// A longer line (a type and a number, or a simple string) is none.
const LONGEST_LINE: usize = 64 << 10;
/// The longest bulk string, as in Redis (`proto-max-bulk-len`).
const LONGEST_BULK: u64 = 512 << 20;
/// More elements, in all levels together, are not followed.
const MOST_ELEMENTS: u64 = 16 << 20;
/// How deep values are nested at most: a cassette, which takes three levels for one, has 128.
const DEEPEST: usize = 36;

/// Follows a value over any number of looks at a growing buffer: no byte of a bulk string is looked at, and every other one a bounded
/// number of times.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// Up to here whole elements were seen.
    at: usize,
    /// Elements that are still to come on each level.
    left: Vec<u64>,
    seen: u64,
    /// What of the line at `at` has no end.
    searched: usize,
}

/// How far a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// It has this many bytes.
    Whole(usize),
    /// It has at least this many.
    AtLeast(usize),
}

impl Scan {
    /// Looks at a buffer that begins with the value. After [`Extent::Whole`] it begins anew.
    pub(super) fn value(&mut self, bytes: &[u8]) -> Result<Extent, Unreadable> {
        loop {
            let Some(end) = self.line_end(bytes)? else { return Ok(Extent::AtLeast(bytes.len() + 1)) };
            let (kind, text) = (bytes[self.at], &bytes[self.at + 1..end]);
            self.seen += 1;
            if self.seen > MOST_ELEMENTS {
                return Err(Unreadable::TooLarge);
            }
            let mut next = end + 2;
            let mut elements = 0;
            match kind {
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
                b'$' | b'!' | b'=' => {
                    if let Some(length) = length(text)? {
                        if length > LONGEST_BULK {
                            return Err(Unreadable::TooLarge);
                        }
                        next += length as usize + 2;
                    }
                }
                b'*' | b'~' | b'>' => elements = length(text)?.unwrap_or(0),
                b'%' => elements = length(text)?.unwrap_or(0).checked_mul(2).ok_or(Unreadable::TooLarge)?,
                // The attributes, and the value that has them.
                b'|' => {
                    let pairs = length(text)?.ok_or(Unreadable::Garbage)?;
                    elements = pairs.checked_mul(2).and_then(|all| all.checked_add(1)).ok_or(Unreadable::TooLarge)?;
                }
                _ => return Err(Unreadable::Garbage),
            }
            if bytes.len() < next {
                self.seen -= 1;
                return Ok(Extent::AtLeast(next));
            }
            if matches!(kind, b'$' | b'!' | b'=') && bytes.get(next - 2..next) != Some(b"\r\n") {
                return Err(Unreadable::Garbage);
            }
            (self.at, self.searched) = (next, 0);
            if elements > 0 {
                if self.left.len() == DEEPEST || elements > MOST_ELEMENTS {
                    return Err(Unreadable::TooLarge);
                }
                self.left.push(elements);
                continue;
            }
            while let Some(left) = self.left.last_mut() {
                *left -= 1;
                if *left > 0 {
                    break;
                }
                self.left.pop();
            }
            if self.left.is_empty() {
                *self = Scan::default();
                return Ok(Extent::Whole(next));
            }
        }
    }

    /// Where the CRLF of the line at `at` is.
    fn line_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Unreadable> {
        let Some(line) = bytes.get(self.at..).filter(|line| !line.is_empty()) else { return Ok(None) };
        let from = self.searched.min(line.len());
        match line[from..].iter().position(|byte| *byte == b'\n').map(|found| from + found) {
            Some(end) if end >= 2 && line[end - 1] == b'\r' => Ok(Some(self.at + end - 1)),
            Some(_) => Err(Unreadable::Garbage),
            None if line.len() > LONGEST_LINE => Err(Unreadable::TooLarge),
            None => {
                self.searched = line.len();
                Ok(None)
            }
        }
    }
}

/// A length; `None` is the one of null.
fn length(text: &[u8]) -> Result<Option<u64>, Unreadable> {
    if text == b"-1" {
        return Ok(None);
    }
    let digits = (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    if !digits {
        return Err(Unreadable::Garbage);
    }
    Ok(Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &[&[u8]] = &[
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-12\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
        b"%1\r\n+a\r\n~1\r\n#t\r\n",
        b"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n",
        b">2\r\n+message\r\n=5\r\ntxt:x\r\n",
        b"_\r\n",
        b",1.5\r\n",
        b"(123456789012345678901234567890\r\n",
    ];

    #[test]
    fn a_value_ends_where_it_ends_however_it_comes() {
        for value in VALUES {
            let mut with_more = value.to_vec();
            with_more.extend_from_slice(b":7\r\n");
            assert_eq!(Scan::default().value(&with_more), Ok(Extent::Whole(value.len())));
            let mut scan = Scan::default();
            for end in 0..value.len() {
                let Ok(Extent::AtLeast(wanted)) = scan.value(&value[..end]) else { panic!("{value:?} at {end}") };
                assert!((end + 1..=value.len()).contains(&wanted), "{value:?} at {end}: {wanted}");
            }
            assert_eq!(scan.value(value), Ok(Extent::Whole(value.len())));
        }
    }

    #[test]
    fn what_is_no_resp_is_refused() {
        for garbage in
            [&b"GET / HTTP/1.1\r\n"[..], b"$x\r\n", b"$-2\r\n", b"$1\r\nabc\r\n", b"*1\n", b"|-1\r\n", b"\r\n"]
        {
            assert_eq!(Scan::default().value(garbage), Err(Unreadable::Garbage), "{garbage:?}");
        }
        for large in [&b"$999999999999\r\n"[..], b"*999999999999\r\n"] {
            assert_eq!(Scan::default().value(large), Err(Unreadable::TooLarge), "{large:?}");
        }
        assert_eq!(Scan::default().value(&b"*1\r\n".repeat(200)), Err(Unreadable::TooLarge));
        assert_eq!(Scan::default().value(&[b'+'; LONGEST_LINE + 2]), Err(Unreadable::TooLarge));
    }
}
