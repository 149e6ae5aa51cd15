//! Packets: a length, a number and a payload
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>).

use std::borrow::Cow;

/// The payload of a packet that another one continues.
const GREATEST: usize = 0xff_ffff;
/// Length and number.
pub(super) const HEADER: usize = 4;

/// What one side said without a break: a packet, or packets of the greatest length with the one that ends them.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    /// Its number; 0 begins a command.
    pub(super) number: u8,
    /// The number of the one that answers.
    pub(super) next: u8,
    pub(super) payload: Cow<'a, [u8]>,
    /// How many bytes it takes.
    pub(super) end: usize,
}

/// The packet at the front, or how many bytes there must be at least.
pub(super) fn packet(said: &[u8]) -> Result<Packet<'_>, usize> {
    let header = |at: usize| -> Result<(usize, u8), usize> {
        match said.get(at..at + HEADER) {
            Some([a, b, c, number]) => Ok((usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16, *number)),
            _ => Err(at + HEADER),
        }
    };
    let (mut length, first) = header(0)?;
    let mut last = first;
    let mut end = HEADER + length;
    let mut parts = 1;
    while length == GREATEST {
        if said.len() < end {
            return Err(end + HEADER);
        }
        (length, last) = header(end)?;
        end += HEADER + length;
        parts += 1;
    }
    if said.len() < end {
        return Err(end);
    }
    let payload = if parts == 1 {
        Cow::Borrowed(&said[HEADER..end])
    } else {
        let part = |part: usize| {
            let from = part * (HEADER + GREATEST);
            &said[from + HEADER..end.min(from + HEADER + GREATEST)]
        };
        Cow::Owned((0..parts).map(part).collect::<Vec<_>>().concat())
    };
    Ok(Packet { number: first, next: last.wrapping_add(1), payload, end })
}

/// What stands in the packets up to an empty one, from the front, as one. `read` says how much was looked at.
pub(super) fn file<'a>(said: &[u8], read: &mut usize) -> Result<Packet<'a>, usize> {
    loop {
        let piece = packet(said.get(*read..).unwrap_or_default()).map_err(|wanted| *read + wanted)?;
        *read += piece.end;
        if piece.payload.is_empty() {
            break;
        }
    }
    let end = std::mem::take(read);
    let (mut content, mut at) = (Vec::new(), 0);
    let (mut number, mut next) = (0, 0);
    while let Ok(piece) = packet(said.get(at..end).unwrap_or_default()) {
        content.extend_from_slice(&piece.payload);
        at += piece.end;
        (number, next) = (piece.number, piece.next);
    }
    Ok(Packet { number, next, payload: Cow::Owned(content), end })
}

/// Packets in the making, numbered one after the other.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) next: u8,
    pub(super) bytes: Vec<u8>,
}

impl Packets {
    /// Packets of which the first has that number.
    pub(super) fn from(next: u8) -> Packets {
        Packets { next, bytes: Vec::new() }
    }

    /// Adds a payload, in as many packets as it takes.
    pub(super) fn push(&mut self, payload: &[u8]) {
        let mut rest = payload;
        loop {
            let (now, later) = rest.split_at(rest.len().min(GREATEST));
            self.bytes.extend_from_slice(&(now.len() as u32).to_le_bytes()[..3]);
            self.bytes.push(self.next);
            self.bytes.extend_from_slice(now);
            self.next = self.next.wrapping_add(1);
            rest = later;
            if now.len() < GREATEST {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_comes_back_however_long() {
        for length in [0, 1, 300, GREATEST - 1, GREATEST, GREATEST + 1, 2 * GREATEST] {
            let payload: Vec<u8> = (0..length).map(|number| number as u8).collect();
            let mut packets = Packets::from(3);
            packets.push(&payload);
            let parts = (length / GREATEST + 1) as u8;
            let read = packet(&packets.bytes).unwrap();
            assert_eq!((read.number, read.next, read.end), (3, 3 + parts, packets.bytes.len()));
            assert!(*read.payload == *payload && packets.next == read.next, "{length}");
            for end in [0, 3, HEADER, packets.bytes.len() - 1] {
                if end < packets.bytes.len() {
                    let wanted = packet(&packets.bytes[..end]).unwrap_err();
                    assert!(wanted > end && wanted <= packets.bytes.len(), "{length}: {wanted} at {end}");
                }
            }
        }
    }
}
