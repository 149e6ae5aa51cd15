//! DNS messages (RFC 1035, section 4), as far as a responder for addresses needs them.

use std::net::IpAddr;

use super::names::canonical;

/// Record type of an IPv4 address.
pub const A: u16 = 1;
/// Record type of a name for an address.
pub const PTR: u16 = 12;
/// Record type of an IPv6 address (RFC 3596).
pub const AAAA: u16 = 28;

const CLASS_INTERNET: u16 = 1;
const HEADER: usize = 12;
/// What fits a UDP answer without EDNS.
const MAX_UDP: usize = 512;
const MAX_NAME: usize = 255;
/// Seconds for which an answer may be kept.
const TIME_TO_LIVE: u32 = 60;

const RESPONSE: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
const TRUNCATED: u8 = 0x02;
const RECURSION_AVAILABLE: u8 = 0x80;
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;

/// What a question was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Records.
    Answered,
    /// Addresses that a file of the host has, and no resolver was asked for.
    OfFile,
    /// The name is known, and has no record of this type.
    Empty,
    /// No such name (NXDOMAIN), and nothing is known of it.
    Unknown,
    /// No such name, as was recorded.
    Absent,
    /// The resolver could not tell.
    Failed,
}

/// The question of a query; only the first counts, as everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) kind: u16,
    class: u16,
    /// Where the question ends in the query.
    end: usize,
}

impl Question {
    /// Nothing for bytes that are no standard query.
    pub(super) fn parse(query: &[u8]) -> Option<Self> {
        let is_standard_query = query.get(2)? & 0xf8 == 0;
        let questions = u16_at(query, 4)?;
        if !is_standard_query || questions == 0 {
            return None;
        }
        let (name, end) = name_at(query, HEADER)?;
        Some(Self { name, kind: u16_at(query, end)?, class: u16_at(query, end + 2)?, end: end + 4 })
    }

    /// The reply to `query` when its name has `addresses`, or when nobody knows the name.
    pub(super) fn answer_from(&self, query: &[u8], addresses: Option<&[IpAddr]>, over_udp: bool) -> (Vec<u8>, Outcome) {
        let Some(addresses) = addresses else {
            return (self.reply(query, NAME_ERROR), Outcome::Unknown);
        };
        let mut reply = self.reply(query, 0);
        let mut count = 0u16;
        for address in addresses.iter().filter(|_| self.class == CLASS_INTERNET) {
            let data = match address {
                IpAddr::V4(address) if self.kind == A => address.octets().to_vec(),
                IpAddr::V6(address) if self.kind == AAAA => address.octets().to_vec(),
                _ => continue,
            };
            if over_udp && reply.len() + HEADER + data.len() > MAX_UDP {
                reply[2] |= TRUNCATED;
                break;
            }
            // A pointer to the name in the question.
            reply.extend([0xc0, HEADER as u8]);
            reply.extend(self.kind.to_be_bytes());
            reply.extend(CLASS_INTERNET.to_be_bytes());
            reply.extend(TIME_TO_LIVE.to_be_bytes());
            reply.extend((data.len() as u16).to_be_bytes());
            reply.extend(data);
            count += 1;
        }
        reply[6..8].copy_from_slice(&count.to_be_bytes());
        (reply, if count == 0 { Outcome::Empty } else { Outcome::Answered })
    }

    /// The reply that says that nobody could be asked.
    pub(super) fn failure(&self, query: &[u8]) -> (Vec<u8>, Outcome) {
        (self.reply(query, SERVER_FAILURE), Outcome::Failed)
    }

    /// Header and question of a reply without records.
    fn reply(&self, query: &[u8], code: u8) -> Vec<u8> {
        let mut reply = query[..2].to_vec();
        // The service's "recursion desired" is given back.
        reply.push(RESPONSE | AUTHORITATIVE | query[2] & 1);
        reply.push(RECURSION_AVAILABLE | code);
        reply.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        reply.extend(&query[HEADER..self.end]);
        reply
    }
}

/// What another server's reply says, and the addresses in it.
pub(super) fn read_reply(reply: &[u8]) -> Option<(Outcome, Vec<IpAddr>)> {
    let code = reply.get(3)? & 0x0f;
    if code == NAME_ERROR {
        return Some((Outcome::Unknown, Vec::new()));
    }
    if code != 0 {
        return Some((Outcome::Failed, Vec::new()));
    }
    let mut at = HEADER;
    for _ in 0..u16_at(reply, 4)? {
        at = name_at(reply, at)?.1 + 4;
    }
    let answers = u16_at(reply, 6)?;
    let mut addresses = Vec::new();
    for _ in 0..answers {
        at = name_at(reply, at)?.1;
        let kind = u16_at(reply, at)?;
        let length = usize::from(u16_at(reply, at + 8)?);
        let data = reply.get(at + 10..at + 10 + length)?;
        match kind {
            A => addresses.extend(<[u8; 4]>::try_from(data).map(IpAddr::from)),
            AAAA => addresses.extend(<[u8; 16]>::try_from(data).map(IpAddr::from)),
            _ => {}
        }
        at += 10 + length;
    }
    Some((if answers == 0 { Outcome::Empty } else { Outcome::Answered }, addresses))
}

/// Whether the reply was cut to fit a datagram.
pub(super) fn is_truncated(reply: &[u8]) -> bool {
    reply.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The name at `at` and where what follows it begins. Pointers (section 4.1.4) only lead back, so they end.
fn name_at(message: &[u8], at: usize) -> Option<(String, usize)> {
    let mut labels: Vec<u8> = Vec::new();
    let (mut at, mut after) = (at, None);
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => break,
            1..=63 => {
                if !labels.is_empty() {
                    labels.push(b'.');
                }
                labels.extend(message.get(at + 1..at + 1 + length)?);
                at += 1 + length;
            }
            0xc0.. => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                after.get_or_insert(at + 2);
                if target >= at {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
        if labels.len() > MAX_NAME {
            return None;
        }
    }
    Some((canonical(&String::from_utf8_lossy(&labels)), after.unwrap_or(at + 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend(CLASS_INTERNET.to_be_bytes());
        query
    }

    fn ask(name: &str, kind: u16, addresses: Option<&[IpAddr]>) -> (Vec<u8>, Outcome) {
        let query = query(name, kind);
        Question::parse(&query).unwrap().answer_from(&query, addresses, true)
    }

    #[test]
    fn a_question_is_read_and_answered_with_the_records_of_its_type() {
        let addresses: Vec<IpAddr> = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|text| text.parse().unwrap()).into();
        let question = Question::parse(&query("Api.Example", A)).unwrap();
        assert_eq!((question.name.as_str(), question.kind), ("api.example", A));

        let (reply, outcome) = ask("Api.Example", A, Some(&addresses));
        assert_eq!(outcome, Outcome::Answered);
        assert_eq!(reply[..4], [0xab, 0xcd, 0x85, 0x80]);
        assert_eq!(read_reply(&reply), Some((Outcome::Answered, vec![addresses[0], addresses[2]])));
        let (reply, _) = ask("api.example", AAAA, Some(&addresses));
        assert_eq!(read_reply(&reply), Some((Outcome::Answered, vec![addresses[1]])));
    }

    #[test]
    fn a_known_name_without_such_records_is_empty_and_an_unknown_name_does_not_exist() {
        let address: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        assert_eq!(ask("a", AAAA, Some(&address)).1, Outcome::Empty);
        assert_eq!(ask("a", 16, Some(&address)).1, Outcome::Empty);
        let (reply, outcome) = ask("a", A, None);
        assert_eq!(outcome, Outcome::Unknown);
        assert_eq!(reply[3] & 0x0f, NAME_ERROR);
    }

    #[test]
    fn a_datagram_that_cannot_hold_all_addresses_says_so() {
        let many: Vec<IpAddr> = (0..100).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        let (reply, _) = ask("a", A, Some(&many));
        assert!(is_truncated(&reply) && reply.len() <= MAX_UDP);
        let query = query("a", A);
        let (reply, _) = Question::parse(&query).unwrap().answer_from(&query, Some(&many), false);
        assert_eq!(read_reply(&reply).unwrap().1.len(), 100);
    }

    #[test]
    fn a_pointer_forward_or_to_itself_is_no_name() {
        let mut bytes = query("a", A);
        bytes[HEADER] = 0xc0;
        bytes[HEADER + 1] = HEADER as u8;
        assert_eq!(Question::parse(&bytes), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(question) = Question::parse(&bytes) {
                let (reply, _) = question.answer_from(&bytes, None, true);
                prop_assert!(read_reply(&reply).is_some());
            }
            let _ = read_reply(&bytes);
        }
    }
}
