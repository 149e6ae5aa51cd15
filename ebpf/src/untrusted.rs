//! What reads bytes that others have chosen, for fuzzing: each of these takes any input, and never panics.

use crate::code::{self, Bounded, Budget};
use crate::event::{Event, EventKind};
use crate::record::{Payload, Record, decode};
use crate::tls::{Binder, RecordReader, Seen, agreed, begins_record};
use crate::{holders, listeners};

/// Records of the programs, one behind the other, each behind its length in two bytes; what they tell of TLS is put together.
/// Gives how many events come out.
pub fn records(mut input: &[u8]) -> usize {
    let (mut payload, mut binder) = (Payload::new(), Binder::default());
    let (mut events, mut last) = (0, 0);
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let (record, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        if let Some(seen) = decode(record, &mut payload).and_then(seen) {
            if let Seen::Event { event, .. } = &seen {
                last = event.at.max(last);
            }
            binder.take(seen);
            binder.advance(last);
        }
        events += std::iter::from_fn(|| binder.next()).count();
        input = rest;
    }
    binder.stop(last);
    events + std::iter::from_fn(|| binder.next()).count()
}

/// What a record says to whoever puts plaintext in the place of ciphertext.
fn seen(record: Record) -> Option<Seen> {
    Some(match record {
        Record::Event(event) => Seen::Event { event, within: None },
        Record::Within { event, object } => Seen::Event { event, within: Some(object) },
        Record::Plaintext(plaintext) => Seen::Plaintext(plaintext),
        Record::TlsCall { unit, object, socket, writes } => Seen::Call { unit, object, socket, writes },
        Record::TlsFreed { at, object, positions } => Seen::Freed { at, object, positions },
        Record::Open { at, unit, socket, role, local, peer, joined } => {
            let kind = EventKind::Open { socket, role: role?, local: local.into(), peer: peer.into(), joined };
            Seen::Event { event: Event { at, unit, kind }, within: None }
        }
        Record::Claimed { .. } | Record::Returned { .. } | Record::Mapped { .. } | Record::OpenUnix { .. } => {
            return None;
        }
    })
}

/// A file that a process executes.
pub fn program(input: &[u8]) {
    let budget = Budget::new();
    let _ = code::inspect(Bounded { file: input, budget: &budget });
}

/// Texts of `/proc`: mappings, sockets that listen, links of descriptors.
pub fn texts(input: &str) {
    for line in input.lines() {
        let _ = code::mapped(line);
        let _ = listeners::listening(line);
        let _ = holders::socket_inode(line);
    }
}

/// One direction of a connection that may be TLS, in pieces of the lengths that the first bytes say.
pub fn tls(input: &[u8]) {
    let [lengths @ .., _] = &input[..input.len().min(9)] else { return };
    let _ = (begins_record(input), agreed(input));
    let mut reader = RecordReader::joining();
    let mut rest = &input[lengths.len()..];
    for length in lengths.iter().cycle().take(64) {
        let (piece, after) = rest.split_at(usize::from(*length).min(rest.len()));
        if reader.feed(piece).is_err() {
            break;
        }
        if length % 7 == 6 {
            let _ = reader.skip(u64::from(*length));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A program that every host has, small enough to be looked into often.
    fn real() -> Vec<u8> {
        let found = ["/bin/true", "/usr/bin/true", "/lib64/ld-linux-x86-64.so.2"]
            .iter()
            .find_map(|path| std::fs::read(path).ok());
        found.unwrap_or_default()
    }

    proptest! {
        #[test]
        fn any_records_are_taken(kinds in prop::collection::vec((0u8..20, any::<[u8; 6]>(), prop::collection::vec(any::<u8>(), 0..160)), 0..40)) {
            let mut input = Vec::new();
            for (kind, small, rest) in kinds {
                // Sockets and objects that repeat, times that go on.
                let mut record = vec![0; 40];
                record[0] = small[0];
                record[8] = small[1] % 4;
                record[16] = small[2] % 3;
                record[24..27].copy_from_slice(&[kind, small[3] % 3, small[4] % 2]);
                record[28] = small[5];
                record.extend(rest);
                input.extend(u16::try_from(record.len()).expect("short").to_le_bytes());
                input.extend(record);
            }
            records(&input);
        }

        #[test]
        fn any_text_and_any_bytes_are_taken(text in "[ -~\n]{0,400}", bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            texts(&text);
            tls(&bytes);
            program(&bytes);
        }
    }

    #[test]
    fn a_damaged_program_is_looked_into_without_harm() {
        let whole = real();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..200 {
            let mut damaged = whole.clone();
            for _ in 0..8 {
                // xorshift64, as in Marsaglia's paper.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // The head and the tables at the end decide most.
                let place = state as usize >> 8;
                let at = if state & 1 == 0 { place % 1024 } else { place % damaged.len().max(1) };
                if let Some(byte) = damaged.get_mut(at) {
                    *byte = state as u8;
                }
            }
            program(&damaged);
            program(&damaged[..state as usize % damaged.len().max(1)]);
        }
    }
}
