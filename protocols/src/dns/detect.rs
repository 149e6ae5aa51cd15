//! Telling DNS over TCP by the first bytes of a client.

use super::message::read_query;
use crate::wire::{Detected, ENOUGH, Opening};

/// Length (RFC 1035 section 4.2.2) and header (section 4.1.1).
const HEADER: usize = 2 + 12;
/// A query of one question has at least so many bytes; a longer one than that is none that is told.
const LENGTHS: std::ops::RangeInclusive<u16> = 12 + 5..=1024;

/// A query as resolvers send it: one question, nothing else but EDNS, and flags that queries may have.
pub fn detect(opening: Opening<'_>) -> Detected {
    let said = opening.client;
    if !opening.server.is_empty() {
        return Detected::No;
    }
    // As far as they came, so that what is no query is told at once.
    let number = |at: usize| said.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let may_be = |at: usize, is: &dyn Fn(u16) -> bool| number(at).is_none_or(is);
    // Recursion desired, authentic data and checking disabled (RFC 4035 section 3.2) are what a query may ask for.
    let is_header = said.first().is_none_or(|byte| *byte <= LENGTHS.end().to_be_bytes()[0])
        && may_be(0, &|length| LENGTHS.contains(&length))
        && may_be(4, &|flags| flags & !0x0130 == 0)
        && may_be(6, &|questions| questions == 1)
        && may_be(8, &|answers| answers == 0)
        && may_be(10, &|authorities| authorities == 0)
        && may_be(12, &|additionals| additionals <= 1)
        && said.get(HEADER).is_none_or(|label| *label <= 63);
    let Some(length) = number(0).filter(|_| is_header) else {
        return if is_header { Detected::NeedMore } else { Detected::No };
    };
    match said.get(2..2 + usize::from(length)) {
        Some(query) if read_query(query).is_some() => Detected::Yes,
        Some(_) => Detected::No,
        // The header alone is all but certain.
        None if said.len() >= ENOUGH => Detected::Yes,
        None => Detected::NeedMore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::samples::{framed, query};

    fn of(client: &[u8]) -> Detected {
        detect(Opening { client, server: &[] })
    }

    #[test]
    fn a_query_is_told_by_its_whole_and_never_needs_more_than_enough() {
        let whole = framed(&query(1, "db.internal", "A"));
        for length in 0..whole.len() {
            assert_eq!(of(&whole[..length]), Detected::NeedMore, "{length}");
        }
        assert_eq!(of(&whole), Detected::Yes);
        let long = framed(&query(1, &["a"; 60].join("."), "A"));
        assert_eq!(of(&long[..ENOUGH]), Detected::Yes);
        assert_eq!(detect(Opening { client: &whole, server: b"x" }), Detected::No);
    }

    #[test]
    fn other_bytes_are_no_query() {
        let whole = framed(&query(1, "db.internal", "A"));
        for at in [4, 5, 7, 9, 11, 13] {
            let mut other = whole.clone();
            other[at] |= 0x8e;
            assert_eq!(of(&other), Detected::No, "{at}");
        }
        assert_eq!(of(b"GET / HTTP/1.1\r\n"), Detected::No);
        assert_eq!(of(&[0; 64]), Detected::No);
        assert_eq!(of(&[0, 40, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 64]), Detected::No);
    }
}
