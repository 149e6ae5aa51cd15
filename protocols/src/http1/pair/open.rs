//! Exchanges in the making.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{Out, PairEnd, PairEvent, Paired, PairedContent, Problem};
use crate::{
    Mark, Side,
    http1::{Message, framing::Answering},
    http2::Reset,
    raw::Turns,
};

/// More arrivals of one body are not told apart.
const MOST_ARRIVALS: usize = 16_384;

/// An exchange that is not done.
#[derive(Debug)]
pub(crate) struct Open {
    pub number: u64,
    /// What its response must know; right once the request's head is whole.
    pub(super) answering: Answering,
    pub asks_to_switch: bool,
    pub request: Option<Message>,
    pub request_began: Mark,
    pub request_complete: Option<Mark>,
    pub interim: Vec<Message>,
    pub response: Option<Message>,
    pub response_began: Option<Mark>,
    pub response_complete: Option<Mark>,
    /// What ended the stream, where it is one.
    pub reset: Option<Reset>,
    /// Body bytes of the request and of the response, as the sides took turns.
    pub interleaved: Vec<(u64, u64)>,
    /// The client finished while the response was under way.
    pub is_left: bool,
    arrivals: Vec<(Mark, u64)>,
    problems: Vec<Problem>,
}

impl Open {
    pub fn new(number: u64, mark: Mark) -> Open {
        Open {
            number,
            answering: Answering::Other,
            asks_to_switch: false,
            request: None,
            request_began: mark,
            request_complete: None,
            interim: Vec::new(),
            response: None,
            response_began: None,
            response_complete: None,
            reset: None,
            interleaved: Vec::new(),
            is_left: false,
            arrivals: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub fn problem(&mut self, problem: Problem) {
        problem.join(&mut self.problems);
    }

    pub fn complete_request(&mut self, request: Message, mark: Mark, out: &mut Out) {
        self.asks_to_switch = request.asks_to_switch();
        self.request = Some(request);
        self.request_complete = Some(mark);
        out.events.push_back(PairEvent::RequestComplete { number: self.number, mark });
    }

    pub fn begin_response(&mut self, mark: Mark, out: &mut Out) {
        if self.response_began.is_none() {
            self.response_began = Some(mark);
            out.events.push_back(PairEvent::ResponseBegan { number: self.number, mark });
        }
    }

    pub fn complete_response(&mut self, response: Message, mark: Mark, out: &mut Out) {
        self.response = Some(response);
        self.response_complete = Some(mark);
        out.events.push_back(PairEvent::ResponseComplete { number: self.number, mark });
    }

    /// `passed` bytes of the final response's body have come.
    pub fn arrived(&mut self, mark: Mark, passed: u64) {
        let full = self.arrivals.len() >= MOST_ARRIVALS;
        match self.arrivals.last_mut() {
            None if passed == 0 => {}
            Some((_, before)) if *before >= passed => {}
            Some(last) if full || last.0 == mark => *last = (mark, passed),
            _ => self.arrivals.push((mark, passed)),
        }
    }

    /// The client sends no more.
    pub fn client_finished(&mut self) {
        self.is_left |= self.response_began.is_some() && self.response_complete.is_none();
    }

    /// Whether nothing of it is still to come.
    pub fn is_settled(&self) -> bool {
        self.request_complete.is_some() && self.response_complete.is_some()
    }

    /// Whether its response ends HTTP on the connection, and was asked to.
    pub fn has_switched(&self) -> bool {
        self.asks_to_switch && self.answers_with_switch()
    }

    /// Whether its response ends HTTP on the connection.
    pub fn answers_with_switch(&self) -> bool {
        self.response.as_ref().is_some_and(|response| self.answering.switches(response.status()))
    }

    /// Gives it without more of it to come; `incomplete` is how it ended if its response is not whole.
    pub fn done_as_it_is(self, said: Turns, incomplete: PairEnd, out: &mut Out) {
        let end = if self.response_complete.is_some() { PairEnd::Complete } else { incomplete };
        self.done(said, end, out);
    }

    /// Gives it, with what was said after a switch of protocols.
    pub fn done(mut self, upgraded: Turns, end: PairEnd, out: &mut Out) {
        let upgraded = upgraded.finish(&mut self.problems);
        let request = self.request.expect("the request of an exchange is whole, or was cut when it could not go on");
        out.done(Paired {
            number: self.number,
            content: PairedContent::Http1 {
                request,
                interim: self.interim,
                response: self.response,
                upgraded,
                reset: self.reset,
                interleaved: self.interleaved,
                left: self.is_left,
            },
            request_began: self.request_began,
            request_complete: self.request_complete,
            response_began: self.response_began,
            response_complete: self.response_complete,
            arrivals: self.arrivals,
            end,
            problems: self.problems,
        });
    }
}

/// Bytes of a direction behind the place where it could no longer be read. They belong to the cut message there.
#[derive(Debug)]
pub(super) struct Tail {
    number: u64,
    bytes: BytesMut,
    limit: u64,
}

impl Tail {
    pub fn of(open: &Open, limit: u64) -> Tail {
        Tail { number: open.number, bytes: BytesMut::new(), limit }
    }

    pub fn push(&mut self, bytes: &[u8], open: &mut VecDeque<Open>) {
        let room = self.limit.saturating_sub(self.bytes.len() as u64);
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
        if kept < bytes.len() {
            self.problem(Problem::TooLarge, open);
        }
    }

    pub fn problem(&self, problem: Problem, open: &mut VecDeque<Open>) {
        if let Some(open) = self.find(open) {
            open.problem(problem);
        }
    }

    /// Puts the bytes where they belong.
    pub fn attach(self, from: Side, open: &mut VecDeque<Open>) {
        let Some(open) = self.find(open) else { return };
        let message = match from {
            Side::Client => &mut open.request,
            Side::Server => &mut open.response,
        };
        if let Some(message) = message {
            let before = message.truncated.take().unwrap_or_default();
            message.truncated = Some(Bytes::from([&before[..], &self.bytes].concat()));
        }
    }

    fn find<'a>(&self, open: &'a mut VecDeque<Open>) -> Option<&'a mut Open> {
        open.iter_mut().find(|open| open.number == self.number)
    }
}

/// The exchange that ended HTTP on its connection, and what was said since.
#[derive(Debug)]
pub(super) struct Upgraded {
    open: Open,
    turns: Turns,
}

impl Upgraded {
    /// Keeps at most `limit` bytes of what follows.
    pub fn new(open: Open, limit: u64) -> Upgraded {
        Upgraded { open, turns: Turns::new(limit) }
    }

    pub fn data(&mut self, from: Side, position: u64, bytes: &[u8]) {
        self.turns.push(from, position, bytes);
    }

    pub fn request(&self, number: u64) -> Option<&Message> {
        self.open.request.as_ref().filter(|_| self.open.number == number)
    }

    pub fn problem(&mut self, problem: Problem) {
        self.open.problem(problem);
    }

    pub fn end(self, end: PairEnd, out: &mut Out) {
        self.open.done(self.turns, end, out);
    }
}
