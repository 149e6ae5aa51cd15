//! Both directions of a connection, cut into requests and responses.

use std::collections::VecDeque;

use super::HEADER;
use crate::{Mark, Side};

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// What a [`Cutter`] found out. Exchanges are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The first byte of a request moved.
    RequestBegan {
        /// The number of the exchange.
        number: u64,
        /// When.
        mark: Mark,
    },
    /// All parameters of a request moved, at which its responder goes to work; it reads what is posted when it needs it.
    Parameters {
        /// The number of the exchange.
        number: u64,
        /// When.
        mark: Mark,
    },
    /// The first byte of a response moved.
    ResponseBegan {
        /// The number of the exchange.
        number: u64,
        /// When.
        mark: Mark,
    },
    /// The exchange is over, or nothing more will be known of it.
    Done {
        /// The number of the exchange.
        number: u64,
    },
}

/// Cuts one connection. A connection may carry many requests, one after the other; one that carries several at once, which
/// no web server does, is not cut any further, and neither is one of which bytes are missing.
#[derive(Debug, Default)]
pub struct Cutter {
    client: Records,
    server: Records,
    under_way: Option<UnderWay>,
    next: u64,
    given_up: bool,
    turns: VecDeque<Turn>,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    number: u64,
    id: [u8; 2],
    is_answered: bool,
}

impl Cutter {
    /// The next finding.
    pub fn next_turn(&mut self) -> Option<Turn> {
        self.turns.pop_front()
    }

    /// Bytes of one side, in the order in which both sides' moved.
    pub fn data(&mut self, mark: Mark, side: Side, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.given_up {
            let records = match side {
                Side::Client => &mut self.client,
                Side::Server => &mut self.server,
            };
            let (step, taken) = records.take(mark, rest);
            rest = &rest[taken..];
            match step {
                Some(Step::Header(header)) => self.header(side, header),
                Some(Step::End(header)) => self.end(mark, side, header),
                None => {}
            }
        }
    }

    /// Bytes are missing, or the connection is over.
    pub fn ended(&mut self) {
        self.given_up = true;
        if let Some(UnderWay { number, .. }) = self.under_way.take() {
            self.turns.push_back(Turn::Done { number });
        }
    }

    fn header(&mut self, side: Side, header: Header) {
        if header.version != 1 {
            return self.ended();
        }
        let mark = header.began;
        match (side, header.kind) {
            (Side::Client, BEGIN_REQUEST) if self.under_way.is_some() => self.ended(),
            (Side::Client, BEGIN_REQUEST) => {
                let number = self.next;
                self.next += 1;
                self.under_way = Some(UnderWay { number, id: header.id, is_answered: false });
                self.turns.push_back(Turn::RequestBegan { number, mark });
            }
            (Side::Server, STDOUT | STDERR | END_REQUEST) => {
                if let Some(request) = self.of(header)
                    && !request.is_answered
                {
                    request.is_answered = true;
                    let number = request.number;
                    self.turns.push_back(Turn::ResponseBegan { number, mark });
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, mark: Mark, side: Side, header: Header) {
        if header.version != 1 {
            return self.ended();
        }
        let Some(&mut UnderWay { number, .. }) = self.of(header) else { return };
        match (side, header.kind) {
            (Side::Client, PARAMS) if header.content == 0 => self.turns.push_back(Turn::Parameters { number, mark }),
            (Side::Server, END_REQUEST) => {
                self.under_way = None;
                self.turns.push_back(Turn::Done { number });
            }
            _ => {}
        }
    }

    fn of(&mut self, header: Header) -> Option<&mut UnderWay> {
        self.under_way.as_mut().filter(|request| request.id == header.id)
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Records {
    began: Mark,
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the record behind its header that are still to come.
    remaining: usize,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    /// When its first byte moved.
    began: Mark,
    version: u8,
    kind: u8,
    id: [u8; 2],
    content: u16,
}

enum Step {
    /// A header is complete, and more of its record is to come.
    Header(Header),
    /// A record is complete. One that is nothing but a header began no request and no response.
    End(Header),
}

impl Records {
    /// Takes some of the bytes, at least one.
    fn take(&mut self, mark: Mark, bytes: &[u8]) -> (Option<Step>, usize) {
        if self.have < HEADER {
            if self.have == 0 {
                self.began = mark;
            }
            let taken = bytes.len().min(HEADER - self.have);
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            if self.have < HEADER {
                return (None, taken);
            }
            let header = self.parsed();
            self.remaining = usize::from(header.content) + usize::from(self.header[6]);
            return match self.remaining {
                0 => {
                    self.have = 0;
                    (Some(Step::End(header)), taken)
                }
                _ => (Some(Step::Header(header)), taken),
            };
        }
        let taken = bytes.len().min(self.remaining);
        self.remaining -= taken;
        if self.remaining > 0 {
            return (None, taken);
        }
        self.have = 0;
        (Some(Step::End(self.parsed())), taken)
    }

    fn parsed(&self) -> Header {
        let [version, kind, id_high, id_low, high, low, _, _] = self.header;
        Header { began: self.began, version, kind, id: [id_high, id_low], content: u16::from_be_bytes([high, low]) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, id: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let mut record = vec![1, kind, 0, id, high, low, padding, 0];
        record.extend(content);
        record.resize(record.len() + usize::from(padding), 0);
        record
    }

    fn request(id: u8) -> Vec<u8> {
        const STDIN: u8 = 5;
        [
            record(BEGIN_REQUEST, id, &[0, 1, 1, 0, 0, 0, 0, 0], 0),
            record(PARAMS, id, b"\x0e\x03REQUEST_METHODGET", 5),
            record(PARAMS, id, b"", 0),
            record(STDIN, id, b"a=b", 1),
            record(STDIN, id, b"", 0),
        ]
        .concat()
    }

    fn response(id: u8) -> Vec<u8> {
        [
            record(STDOUT, id, b"Status: 200 OK\r\n\r\nhello", 2),
            record(STDOUT, id, b"", 0),
            record(END_REQUEST, id, &[0; 8], 0),
        ]
        .concat()
    }

    fn turns(cutter: &mut Cutter) -> Vec<Turn> {
        std::iter::from_fn(|| cutter.next_turn()).collect()
    }

    fn exchange(number: u64, marks: [Mark; 3]) -> [Turn; 4] {
        [
            Turn::RequestBegan { number, mark: marks[0] },
            Turn::Parameters { number, mark: marks[1] },
            Turn::ResponseBegan { number, mark: marks[2] },
            Turn::Done { number },
        ]
    }

    #[test]
    fn one_exchange_after_the_other() {
        let mut cutter = Cutter::default();
        for number in 0..3 {
            cutter.data(10 * number + 1, Side::Client, &request(1));
            cutter.data(10 * number + 2, Side::Server, &response(1));
            let marks = [1, 1, 2].map(|mark| 10 * number + mark);
            assert_eq!(turns(&mut cutter), exchange(number, marks));
        }
    }

    #[test]
    fn byte_by_byte() {
        let mut cutter = Cutter::default();
        let (request, response) = (request(1), response(1));
        let moved = request.iter().map(|byte| (Side::Client, byte)).chain(response.iter().map(|b| (Side::Server, b)));
        for (at, (side, byte)) in moved.enumerate() {
            cutter.data(at as u64, side, &[*byte]);
        }
        let posted = [record(5, 1, b"a=b", 1), record(5, 1, b"", 0)].concat().len();
        let marks = [0, request.len() - posted - 1, request.len()].map(|at| at as u64);
        assert_eq!(turns(&mut cutter), exchange(0, marks));
    }

    #[test]
    fn answered_before_all_was_posted() {
        let mut cutter = Cutter::default();
        let request = request(1);
        cutter.data(1, Side::Client, &request[..request.len() - HEADER]);
        cutter.data(2, Side::Server, &response(1));
        cutter.data(3, Side::Client, &request[request.len() - HEADER..]);
        assert_eq!(turns(&mut cutter), exchange(0, [1, 1, 2]));
        cutter.data(4, Side::Client, &self::request(1));
        assert!(turns(&mut cutter).contains(&Turn::Parameters { number: 1, mark: 4 }));
    }

    #[test]
    fn what_cannot_be_cut_is_given_up() {
        let several = |cutter: &mut Cutter| cutter.data(2, Side::Client, &request(2));
        let other_version = |cutter: &mut Cutter| cutter.data(2, Side::Server, &[9; HEADER]);
        let gap = |cutter: &mut Cutter| cutter.ended();
        for spoil in [several as fn(&mut Cutter), other_version, gap] {
            let mut cutter = Cutter::default();
            cutter.data(1, Side::Client, &request(1));
            turns(&mut cutter);
            spoil(&mut cutter);
            assert_eq!(turns(&mut cutter), [Turn::Done { number: 0 }]);
            cutter.data(3, Side::Server, &response(1));
            cutter.data(4, Side::Client, &request(1));
            assert_eq!(turns(&mut cutter), []);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(0u8..9, 0..40)), 0..40)) {
            let mut cutter = Cutter::default();
            let (mut began, mut done) = (0, 0);
            for (mark, (client, bytes)) in (0..).zip(&pieces) {
                cutter.data(mark, if *client { Side::Client } else { Side::Server }, bytes);
            }
            cutter.ended();
            for turn in turns(&mut cutter) {
                match turn {
                    Turn::RequestBegan { number, .. } => { prop_assert_eq!(number, began); began += 1; }
                    Turn::Done { number } => { prop_assert_eq!(number, done); done += 1; }
                    _ => {}
                }
                prop_assert!(done <= began && began <= done + 1);
            }
            prop_assert_eq!(began, done);
        }
    }
}
