//! What is said in the clear before TLS begins within a connection: databases are asked for it so.
//!
//! - PostgreSQL: the client sends SSLRequest and the server agrees by `S`; a request for GSS encryption may have been refused before
//!   (PostgreSQL manual, section 55.2.10).
//! - MySQL and MariaDB: the server greets, and the client's first packet asks for TLS and says no more (Protocol::SSLRequest).

use crate::event::{Direction, Role};

/// SSLRequest and GSSENCRequest of PostgreSQL: their length and their code.
const POSTGRES_TLS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const POSTGRES_GSS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
/// The header of a packet of MySQL: three bytes of length, and a number.
const MYSQL_HEADER: usize = 4;
/// The version of the protocol, which a greeting begins with.
const MYSQL_VERSION: u8 = 10;
/// The header of a packet that may ask for TLS, and the length of it all.
const MYSQL_TLS: [u8; MYSQL_HEADER] = [32, 0, 0, 1];
const MYSQL_ASKED: usize = MYSQL_HEADER + 32;
/// `CLIENT_SSL`, in the second byte of the client's capabilities.
const MYSQL_SSL: u8 = 0x08;

/// More than a client says before TLS is not kept of either side.
const MOST_KEPT: usize = 64;

/// What passed in the clear on a connection that may turn to TLS.
#[derive(Debug, Default)]
pub struct Preamble {
    client: Side,
    server: Side,
}

#[derive(Debug, Default)]
struct Side {
    first: Vec<u8>,
    /// How many bytes it said.
    passed: u64,
}

/// Whether a connection turns to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Open,
    /// It does not.
    Never,
    /// It does, behind so many bytes that the service sent, and that it received.
    Behind([u64; 2]),
}

impl Preamble {
    /// More was said on a connection of which the service has this role.
    pub fn feed(&mut self, role: Role, direction: Direction, bytes: &[u8]) -> Turn {
        let is_client = (direction == Direction::Sent) == (role == Role::Client);
        let side = if is_client { &mut self.client } else { &mut self.server };
        side.first.extend_from_slice(&bytes[..bytes.len().min(MOST_KEPT - side.first.len())]);
        side.passed += bytes.len() as u64;
        let turn = match postgres(&self.client.first, &self.server.first) {
            Turn::Never => mysql(&self.client.first, &self.server.first, self.server.passed),
            turn => turn,
        };
        match (turn, role) {
            // Directions are numbered from the service: what it sends comes first.
            (Turn::Behind([client, server]), Role::Server) => Turn::Behind([server, client]),
            (turn, _) => turn,
        }
    }
}

/// How one begins with the other.
enum Front<'a> {
    /// All of it is there, and this is behind.
    Behind(&'a [u8]),
    /// A part of it is there.
    Part,
    Other,
}

fn front<'a>(said: &'a [u8], wanted: &[u8]) -> Front<'a> {
    match said.strip_prefix(wanted) {
        Some(behind) => Front::Behind(behind),
        None if wanted.starts_with(said) => Front::Part,
        None => Front::Other,
    }
}

/// Bytes of the client come first. An answer may be seen before what it answers.
fn postgres(client: &[u8], server: &[u8]) -> Turn {
    match (front(client, &POSTGRES_TLS), front(client, &POSTGRES_GSS), server) {
        (Front::Behind(_), _, [b'S', ..]) => Turn::Behind([8, 1]),
        (_, Front::Behind(client), [b'N', server @ ..]) => match postgres(client, server) {
            Turn::Behind([client, server]) => Turn::Behind([client + 8, server + 1]),
            turn => turn,
        },
        (Front::Behind(_), _, []) | (_, Front::Behind(_), []) => Turn::Open,
        (Front::Part, _, [] | [_]) | (_, Front::Part, [] | [_]) => Turn::Open,
        _ => Turn::Never,
    }
}

/// Bytes of the client come first; the server said so many in all.
fn mysql(client: &[u8], server: &[u8], said: u64) -> Turn {
    let Some((&[low, middle, high, number], greeting)) = server.split_first_chunk::<MYSQL_HEADER>() else {
        return if client.is_empty() { Turn::Open } else { Turn::Never };
    };
    let length = u64::from(u32::from_le_bytes([low, middle, high, 0])) + MYSQL_HEADER as u64;
    if number != 0 || greeting.first().is_some_and(|version| *version != MYSQL_VERSION) || said > length {
        return Turn::Never;
    }
    match front(client, &MYSQL_TLS) {
        Front::Part => Turn::Open,
        Front::Behind([_, flags, ..]) if flags & MYSQL_SSL == 0 => Turn::Never,
        Front::Behind(_) if client.len() < MYSQL_ASKED => Turn::Open,
        Front::Behind(_) if said == length => Turn::Behind([MYSQL_ASKED as u64, length]),
        Front::Behind(_) | Front::Other => Turn::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Received, Sent};
    use proptest::prelude::*;

    /// What becomes of a client's connection on which that is said.
    fn turn(said: &[(Direction, &[u8])]) -> Turn {
        let mut preamble = Preamble::default();
        said.iter().fold(Turn::Open, |turn, (direction, bytes)| match turn {
            Turn::Open => preamble.feed(Role::Client, *direction, bytes),
            turn => turn,
        })
    }

    fn greeting() -> Vec<u8> {
        [&[74, 0, 0, 0, 10][..], &[b'x'; 73]].concat()
    }

    fn asks_for_tls(flags: u8) -> Vec<u8> {
        [&MYSQL_TLS[..], &[0, flags], &[0; 30]].concat()
    }

    #[test]
    fn postgres_agrees_by_a_letter() {
        let [tls, gss] = [&POSTGRES_TLS[..], &POSTGRES_GSS];
        assert_eq!(turn(&[(Sent, tls)]), Turn::Open);
        assert_eq!(turn(&[(Sent, &tls[..3]), (Sent, &tls[3..]), (Received, b"S")]), Turn::Behind([8, 1]));
        assert_eq!(turn(&[(Received, b"S"), (Sent, tls)]), Turn::Behind([8, 1]), "seen the other way round");
        assert_eq!(turn(&[(Sent, tls), (Received, b"N")]), Turn::Never);
        assert_eq!(turn(&[(Sent, gss), (Received, b"N"), (Sent, tls), (Received, b"S")]), Turn::Behind([16, 2]));
        assert_eq!(turn(&[(Sent, gss), (Received, b"G")]), Turn::Never);
        assert_eq!(turn(&[(Sent, b"\0\0\0\x54\0\x03\0\0user")]), Turn::Never);
        assert_eq!(turn(&[(Sent, b"GET / HTTP/1.1\r\n")]), Turn::Never);
        assert_eq!(Preamble::default().feed(Role::Server, Received, tls), Turn::Open);
    }

    #[test]
    fn a_client_of_mysql_asks_behind_the_greeting() {
        let (greeting, asks) = (greeting(), asks_for_tls(MYSQL_SSL));
        let all = [&asks[..], b"\x16\x03\x01"].concat();
        assert_eq!(turn(&[(Received, &greeting[..3]), (Received, &greeting[3..])]), Turn::Open);
        assert_eq!(turn(&[(Received, &greeting), (Sent, &asks[..9]), (Sent, &asks[9..])]), Turn::Behind([36, 78]));
        assert_eq!(turn(&[(Received, &greeting), (Sent, &all)]), Turn::Behind([36, 78]));
        assert_eq!(turn(&[(Received, &greeting), (Sent, &asks_for_tls(0))]), Turn::Never);
        assert_eq!(turn(&[(Received, &greeting), (Sent, b"\x50\0\0\x01\0\x08")]), Turn::Never, "a login");
        assert_eq!(turn(&[(Received, b"220 mail.example ESMTP\r\n")]), Turn::Never);
        let mut preamble = Preamble::default();
        assert_eq!(preamble.feed(Role::Server, Sent, &greeting), Turn::Open);
        assert_eq!(preamble.feed(Role::Server, Received, &asks), Turn::Behind([78, 36]));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_what_is_said_is_cut(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let (greeting, asks) = (greeting(), asks_for_tls(MYSQL_SSL));
            let mut said = Vec::new();
            for (direction, bytes) in [(Received, &greeting), (Sent, &asks)] {
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
                cuts.extend([0, bytes.len()]);
                cuts.sort();
                said.extend(cuts.windows(2).map(|cut| (direction, &bytes[cut[0]..cut[1]])));
            }
            prop_assert_eq!(turn(&said), Turn::Behind([36, 78]));
        }
    }
}
