//! What becomes of both directions of a connection, whatever its protocol.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Mark, Side, Value, http1::Message, http2::Reset, wire::Protocol};

/// What a [`Pairer`](crate::Pairer) found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairEvent {
    /// The first byte of an exchange moved.
    RequestBegan {
        /// The number of the exchange on its connection, from 0 in order of beginning.
        number: u64,
        /// When.
        mark: Mark,
        /// It concerns the connection alone, and so none of the work that the connection is used for.
        setup: bool,
    },
    /// A part of a request moved after its head, on a connection that is multiplexed: whoever sends it need not be who began.
    RequestContinued {
        /// The number of the exchange.
        number: u64,
        /// When.
        mark: Mark,
    },
    /// The last byte of a request moved.
    RequestComplete {
        /// The number of the exchange.
        number: u64,
        /// When.
        mark: Mark,
    },
    /// The head of a final response moved; the mark is that of its first byte.
    ResponseBegan {
        /// The number of the exchange.
        number: u64,
        /// When.
        mark: Mark,
    },
    /// The last byte of a final response moved.
    ResponseComplete {
        /// The number of the exchange.
        number: u64,
        /// When.
        mark: Mark,
    },
    /// Nothing more will be known of an exchange.
    Done(Box<Paired>),
}

/// An exchange, with the marks of the bytes that began and ended its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paired {
    /// The number of the exchange on its connection, from 0 in order of beginning.
    pub number: u64,
    /// What was said.
    pub content: PairedContent,
    /// The first byte.
    pub request_began: Mark,
    /// The last byte of the request.
    pub request_complete: Option<Mark>,
    /// The first byte of the final response.
    pub response_began: Option<Mark>,
    /// The last byte of the final response.
    pub response_complete: Option<Mark>,
    /// How the response's body came: mark, and body bytes (transfer coding removed) so far. Beyond 16,384 pieces the
    /// last entry stands for all further ones.
    pub arrivals: Vec<(Mark, u64)>,
    /// How it ended.
    pub end: PairEnd,
    /// What is missing or uncertain.
    pub problems: Vec<Problem>,
}

/// What was said in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it lives in a boxed `Paired`, and opaque exchanges are rare")]
pub enum PairedContent {
    /// A request, its response, and what followed a switch of protocols. The start lines say which version of HTTP.
    Http1 {
        /// The request.
        request: Message,
        /// The 1xx responses before the final one.
        interim: Vec<Message>,
        /// The final response, also where it was cut.
        response: Option<Message>,
        /// After 101, or 2xx to CONNECT: everything else, in turns. Where such an answer did not come before the
        /// end: what the client said already behind its request.
        upgraded: Vec<(Side, Bytes)>,
        /// What ended the stream of HTTP/2 before its time.
        reset: Option<Reset>,
        /// Where the response of HTTP/2 began before the request was over: how many bytes of the request's body had come,
        /// and of the response's body before more of the request did.
        interleaved: Vec<(u64, u64)>,
        /// The client sent its end of HTTP/1's connection while the final response was under way: it did not wait for the rest, which may
        /// have come all the same.
        left: bool,
    },
    /// A request in another protocol that is read, and its response.
    Wire {
        /// Which.
        protocol: Protocol,
        /// The request.
        request: Value,
        /// The response, as far as it came.
        response: Option<Value>,
        /// It concerns the connection (handshake, authentication, settings, a sign of life), and so no work that it is used for.
        setup: bool,
    },
    /// No protocol that is read: the bytes in turns.
    Opaque(Vec<(Side, Bytes)>),
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairEnd {
    /// The whole response moved (or all of an opaque connection).
    Complete,
    /// The connection ended first.
    ClosedEarly,
    /// The recording ended first, or bytes were lost so that the end was not seen.
    Unfinished,
}

/// What is missing from an exchange or uncertain in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Bytes that were not seen, or not kept.
    Gap {
        /// Whose.
        from: Side,
        /// Offset in that side's stream, counted from the first byte given to the pairer.
        position: u64,
        /// How many.
        bytes: u64,
    },
    /// The exchange was under way when the recording joined the connection.
    JoinedMidStream,
    /// Bytes that could not be read as the protocol of the connection.
    Garbage,
    /// TLS: the content could not be read.
    Encrypted,
    /// A head, a body or a pipeline beyond the limits, so that not all of it was kept.
    TooLarge,
}

impl Problem {
    /// Adds it to others that are known. Gaps that follow each other are one, so that a stream of which nothing is seen
    /// has one gap.
    pub(crate) fn join(self, problems: &mut Vec<Problem>) {
        let Problem::Gap { from, position, bytes } = self else {
            if !problems.contains(&self) {
                problems.push(self);
            }
            return;
        };
        let last = problems.iter_mut().rev().find_map(|known| match known {
            Problem::Gap { from: side, position, bytes } if *side == from => Some((*position, bytes)),
            _ => None,
        });
        match last {
            Some((first, known)) if first.saturating_add(*known) == position => *known = known.saturating_add(bytes),
            Some((first, known)) if first == position && *known == bytes => {}
            _ => problems.push(self),
        }
    }
}

/// The events that wait to be taken, and the numbers of exchanges.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub events: VecDeque<PairEvent>,
    pub next_number: u64,
}

impl Out {
    pub fn begin(&mut self, mark: Mark) -> u64 {
        self.begin_as(mark, false)
    }

    pub fn begin_as(&mut self, mark: Mark, setup: bool) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.events.push_back(PairEvent::RequestBegan { number, mark, setup });
        number
    }

    pub fn done(&mut self, paired: Paired) {
        self.events.push_back(PairEvent::Done(Box::new(paired)));
    }
}
