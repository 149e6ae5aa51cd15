//! Requests and responses of a connection that speaks HTTP/1.

use std::{collections::VecDeque, mem};

use bytes::Bytes;

use super::{
    Ending, Out, PairEnd, Piece, Problem,
    open::{Open, Tail, Upgraded},
};
use crate::{
    Mark, Side,
    http1::{
        Fault, Framing, Limits, Message, ParseError,
        assemble::{Assembler, Excess, Kind, Missing, Step},
        framing::Answering,
        parse::is_interim,
    },
    raw::{CONVERSATION, Raw, Turns, UNREADABLE},
};

/// More requests without a response, or interim responses to one request, are not followed.
const LONGEST_QUEUE: usize = 1024;
/// What a waiting piece counts beside its bytes.
const PIECE_COST: u64 = 64;

/// Why a dialogue is over while its connection goes on.
pub(super) enum Shift {
    /// The protocol was switched; bytes that belong to the new one.
    Upgraded(Box<Upgraded>, Vec<Piece>),
    /// It is not HTTP/1 (any more); bytes that belong to the opaque exchange.
    Opaque(Raw, Vec<Piece>),
    /// The place in the conversation was lost; the visible rest of an exchange that is not reported yet.
    Seek(Option<Raw>, Unsure),
}

/// Why the place in a conversation is not sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsure {
    pub reason: Problem,
    /// The next bytes of the server belong to an exchange that was given up, unless bytes of it were lost too.
    pub owed: bool,
}

/// Bytes being read.
struct Input<'a> {
    mark: Mark,
    from: Side,
    /// Where `rest` begins.
    position: u64,
    rest: &'a [u8],
    /// The allocation they are part of, where they were held back before.
    held: Option<&'a Bytes>,
}

impl Input<'_> {
    fn into_piece(self) -> Piece {
        let bytes = self.held.map_or_else(|| Bytes::copy_from_slice(self.rest), |held| held.slice_ref(self.rest));
        Piece { mark: self.mark, from: self.from, position: self.position, bytes, missing: 0 }
    }
}

/// A conversation in HTTP/1.
#[derive(Debug)]
pub(super) struct Dialogue {
    limits: Limits,
    requests: Assembler,
    responses: Assembler,
    /// Exchanges that are not done, in order.
    open: VecDeque<Open>,
    /// The last request asks to switch protocols: what the client says next waits for the answer.
    switching: bool,
    waiting: Vec<Piece>,
    waiting_cost: u64,
    /// The first byte of the response in the making.
    response_mark: Mark,
    request_tail: Option<Tail>,
    response_tail: Option<Tail>,
    server_finished: bool,
    /// A whole request head was read.
    understood: bool,
    /// The client was seen to send a request before the response to the one before.
    pipelines: bool,
    /// The server may still be saying something that began before this was followed.
    unsure: Option<Unsure>,
}

impl Dialogue {
    /// One that begins with the next byte of the client. `unsure` says why that is not where the connection began.
    pub fn new(limits: Limits, unsure: Option<Unsure>) -> Dialogue {
        Dialogue {
            limits,
            requests: Assembler::new(Kind::Request, limits, Excess::Drop),
            responses: Assembler::new(Kind::Response, limits, Excess::Drop),
            open: VecDeque::new(),
            switching: false,
            waiting: Vec::new(),
            waiting_cost: 0,
            response_mark: 0,
            request_tail: None,
            response_tail: None,
            server_finished: false,
            understood: unsure.is_some(),
            pipelines: false,
            unsure,
        }
    }

    pub fn request(&self, number: u64) -> Option<&Message> {
        self.open.iter().find(|open| open.number == number)?.request.as_ref()
    }

    pub fn data(&mut self, mark: Mark, from: Side, position: u64, bytes: &[u8], out: &mut Out) -> Option<Shift> {
        self.read(Input { mark, from, position, rest: bytes, held: None }, out)
    }

    fn read(&mut self, mut input: Input<'_>, out: &mut Out) -> Option<Shift> {
        let shift = match input.from {
            Side::Client => self.read_requests(&mut input, out),
            Side::Server => self.read_responses(&mut input, out),
        };
        match shift {
            Some(Shift::Upgraded(upgraded, mut pieces)) => {
                pieces.push(input.into_piece());
                Some(Shift::Upgraded(upgraded, pieces))
            }
            Some(Shift::Opaque(raw, mut pieces)) => {
                pieces.push(input.into_piece());
                Some(Shift::Opaque(raw, pieces))
            }
            shift => shift,
        }
    }

    fn read_requests(&mut self, input: &mut Input<'_>, out: &mut Out) -> Option<Shift> {
        loop {
            if let Some(tail) = &mut self.request_tail {
                tail.push(mem::take(&mut input.rest), &mut self.open);
                return None;
            }
            if self.switching {
                return self.wait(input, out);
            }
            let shift = match advance(&mut self.requests, input) {
                Ok(Some(Step::Began)) => self.request_began(input.mark, out),
                Ok(Some(Step::Head)) => {
                    self.understood = true;
                    if let Some(open) = self.open.back_mut() {
                        open.answering = Answering::to(self.requests.head().method());
                    }
                    None
                }
                Ok(Some(Step::Complete(request))) => self.request_complete(request, input.mark, out),
                Ok(None) => return None,
                Err(error) => self.bad_request(error, input, out),
            };
            if shift.is_some() {
                return shift;
            }
        }
    }

    fn request_began(&mut self, mark: Mark, out: &mut Out) -> Option<Shift> {
        if self.open.len() == LONGEST_QUEUE {
            return Some(self.give_up(Problem::TooLarge, out));
        }
        let mut open = Open::new(out.begin(mark), mark);
        if self.response_tail.is_some() {
            open.problem(Problem::Garbage);
        }
        self.open.push_back(open);
        if let Some(Unsure { reason, .. }) = self.unsure.filter(|_| self.open.len() > 1) {
            // The client goes on, so that what was open before has been answered unseen.
            self.only_last(reason, out);
        }
        None
    }

    fn request_complete(&mut self, request: Message, mark: Mark, out: &mut Out) -> Option<Shift> {
        let open = self.open.back_mut()?;
        if self.requests.missing() == Some(Missing::Excess) {
            open.problem(Problem::TooLarge);
        }
        open.complete_request(request, mark, out);
        self.switching = open.asks_to_switch;
        self.settle(out)
    }

    /// A connection whose very first line is no request line never was HTTP/1. Later, the bad request stays an
    /// exchange, cut where it went bad, and may still be answered.
    fn bad_request(&mut self, error: ParseError, input: &Input<'_>, out: &mut Out) -> Option<Shift> {
        let Some(request) = self.requests.cut() else {
            return Some(self.give_up(problem_of(error), out));
        };
        let first = self.open.len() == 1;
        let open = self.open.back_mut()?;
        let unanswered = !self.responses.has_begun() && open.interim.is_empty() && open.response.is_none();
        if !self.understood && first && unanswered && request.start.0.is_empty() {
            let raw =
                Raw::new(self.limits.body.min(CONVERSATION), Vec::new()).with_number(open.number, open.request_began);
            let bytes = Bytes::from(request.wire());
            let position = input.position.saturating_sub(bytes.len() as u64);
            let piece = Piece { mark: open.request_began, from: Side::Client, position, bytes, missing: 0 };
            return Some(Shift::Opaque(raw, vec![piece]));
        }
        open.request = Some(request);
        open.problem(problem_of(error));
        self.request_tail = Some(Tail::of(open, self.limits.body));
        None
    }

    fn wait(&mut self, input: &mut Input<'_>, out: &mut Out) -> Option<Shift> {
        if input.rest.is_empty() {
            return None;
        }
        self.waiting_cost += PIECE_COST + input.rest.len() as u64;
        if self.waiting_cost > self.limits.body {
            return Some(self.give_up(Problem::TooLarge, out));
        }
        let rest = mem::take(&mut input.rest);
        self.waiting.push(Input { rest, ..*input }.into_piece());
        None
    }

    fn read_responses(&mut self, input: &mut Input<'_>, out: &mut Out) -> Option<Shift> {
        if let Some(tail) = &mut self.response_tail {
            tail.push(input.rest, &mut self.open);
            return None;
        }
        if let Some(unsure) = self.unsure
            && !self.responses.has_begun()
        {
            if unsure.owed {
                return Some(self.give_up(unsure.reason, out));
            }
            if !begins_response(input.rest) {
                self.open.iter_mut().for_each(|open| open.problem(unsure.reason));
                return None;
            }
            self.unsure = None;
        }
        loop {
            let shift = match advance(&mut self.responses, input) {
                Ok(Some(Step::Began)) => match self.open.front() {
                    Some(open) if open.response.is_none() => {
                        self.pipelines |= self.open.len() > 1;
                        self.responses.answers(open.answering);
                        self.response_mark = input.mark;
                        None
                    }
                    _ => Some(self.give_up(Problem::Garbage, out)),
                },
                Ok(Some(Step::Head)) => {
                    if let Some(open) = self.open.front_mut()
                        && !is_interim(self.responses.head())
                    {
                        open.begin_response(self.response_mark, out);
                    }
                    None
                }
                Ok(Some(Step::Complete(response))) if is_interim(&response) => self.interim(response, out),
                Ok(Some(Step::Complete(response))) => self.response_complete(response, input.mark, out),
                Ok(None) => {
                    self.note_arrival(input.mark);
                    return None;
                }
                Err(error) => return self.bad_response(error, input, out),
            };
            if shift.is_some() {
                return shift;
            }
        }
    }

    fn interim(&mut self, response: Message, out: &mut Out) -> Option<Shift> {
        let open = self.open.front_mut()?;
        if open.interim.len() == LONGEST_QUEUE {
            return Some(self.give_up(Problem::TooLarge, out));
        }
        open.interim.push(response);
        None
    }

    fn response_complete(&mut self, response: Message, mark: Mark, out: &mut Out) -> Option<Shift> {
        self.note_arrival(mark);
        let open = self.open.front_mut()?;
        if self.responses.missing() == Some(Missing::Excess) {
            open.problem(Problem::TooLarge);
        }
        open.complete_response(response, mark, out);
        if open.answers_with_switch() && !open.has_switched() {
            return Some(self.give_up(Problem::Garbage, out));
        }
        self.settle(out)
    }

    fn bad_response(&mut self, error: ParseError, input: &mut Input<'_>, out: &mut Out) -> Option<Shift> {
        let Some(response) = self.responses.cut() else {
            return Some(self.give_up(problem_of(error), out));
        };
        self.open.iter_mut().for_each(|open| open.problem(problem_of(error)));
        let open = self.open.front_mut()?;
        open.begin_response(self.response_mark, out);
        open.response = Some(response);
        let mut tail = Tail::of(open, self.limits.body);
        tail.push(input.rest, &mut self.open);
        self.response_tail = Some(tail);
        None
    }

    fn note_arrival(&mut self, mark: Mark) {
        if let Some(open) = self.open.front_mut()
            && open.response_began.is_some()
        {
            open.arrived(mark, self.responses.passed());
        }
    }

    /// Gives what is done, and goes on where the client waited for it.
    fn settle(&mut self, out: &mut Out) -> Option<Shift> {
        while let Some(open) = self.open.pop_front_if(|open| open.is_settled()) {
            if open.has_switched() {
                let upgraded = Box::new(Upgraded::new(open, self.limits.body.min(CONVERSATION)));
                return Some(Shift::Upgraded(upgraded, mem::take(&mut self.waiting)));
            }
            let refused = open.asks_to_switch;
            open.done(Turns::new(0), PairEnd::Complete, out);
            if refused {
                self.switching = false;
                return self.resume(out);
            }
        }
        None
    }

    /// Reads as requests what waited for a switch of protocols that was refused.
    fn resume(&mut self, out: &mut Out) -> Option<Shift> {
        self.waiting_cost = 0;
        let mut waiting = mem::take(&mut self.waiting).into_iter();
        while let Some(piece) = waiting.next() {
            let Piece { mark, from, position, bytes, missing } = &piece;
            let shift = if *missing > 0 {
                self.gap(*mark, *from, *position, *missing, out)
            } else {
                self.read(Input { mark: *mark, from: *from, position: *position, rest: bytes, held: Some(bytes) }, out)
            };
            match shift {
                None => {}
                Some(Shift::Opaque(raw, pieces)) => {
                    return Some(Shift::Opaque(raw, pieces.into_iter().chain(waiting).collect()));
                }
                shift => return shift,
            }
        }
        None
    }

    /// Bytes were not seen. The framing of a body tells how many of them it held; all others may have been anything.
    pub fn gap(&mut self, mark: Mark, from: Side, position: u64, bytes: u64, out: &mut Out) -> Option<Shift> {
        let gap = Problem::Gap { from, position, bytes };
        let tail = if from == Side::Client { &self.request_tail } else { &self.response_tail };
        if let Some(tail) = tail {
            tail.problem(gap, &mut self.open);
            return None;
        }
        if from == Side::Client && self.switching {
            self.waiting.push(Piece { mark, from, position, bytes: Bytes::new(), missing: bytes });
            return None;
        }
        let (assembler, open) = match from {
            Side::Client => (&mut self.requests, self.open.back_mut()),
            Side::Server => (&mut self.responses, self.open.front_mut()),
        };
        let mut left = bytes;
        let mut step = None;
        if let Some(open) = open.filter(|_| assembler.has_begun()) {
            open.problem(gap);
            step = assembler.skip(&mut left);
        }
        let shift = match (from, step) {
            (Side::Client, Some(Step::Complete(request))) => self.request_complete(request, mark, out),
            (Side::Server, Some(Step::Complete(response))) => self.response_complete(response, mark, out),
            (Side::Client, _) => None,
            (Side::Server, _) => {
                self.note_arrival(mark);
                None
            }
        };
        match shift {
            None if left > 0 && self.pipelines => Some(self.give_up(gap, out)),
            None if left > 0 && from == Side::Client => Some(self.lost_requests(mark, gap, out)),
            None if left > 0 => self.lost_responses(mark, gap, out),
            shift => shift,
        }
    }

    /// Requests may have been among bytes that nobody saw.
    fn lost_requests(&mut self, mark: Mark, gap: Problem, out: &mut Out) -> Shift {
        let owed = self.open.iter().any(|open| open.response_complete.is_none());
        self.seek(mark, Unsure { reason: gap, owed }, out)
    }

    /// Responses may have been among bytes that nobody saw. Clients that do not pipeline have at most their last
    /// request unanswered then.
    fn lost_responses(&mut self, mark: Mark, gap: Problem, out: &mut Out) -> Option<Shift> {
        self.cut_response(out);
        let unsure = Unsure { reason: gap, owed: false };
        if self.open.back().is_none_or(|last| last.response.is_some()) {
            return Some(self.seek(mark, unsure, out));
        }
        self.only_last(gap, out);
        self.unsure = Some(unsure);
        None
    }

    /// Gives all open exchanges but the last as they are, and leaves that one in doubt.
    fn only_last(&mut self, problem: Problem, out: &mut Out) {
        self.open.iter_mut().for_each(|open| open.problem(problem));
        let earlier = self.open.len().saturating_sub(1);
        for open in self.open.drain(..earlier) {
            open.done_as_it_is(Turns::new(0), PairEnd::Unfinished, out);
        }
    }

    /// Leaves to look for the next request. Where no exchange shows the loss, one without content does.
    fn seek(&mut self, mark: Mark, unsure: Unsure, out: &mut Out) -> Shift {
        let rest = self.open.is_empty().then(|| {
            let mut rest = Raw::new(UNREADABLE, vec![unsure.reason]);
            rest.start(mark, out);
            rest
        });
        self.flush(unsure.reason, out);
        Shift::Seek(rest, unsure)
    }

    /// Leaves for good: what follows cannot be told apart, or is no HTTP/1.
    fn give_up(&mut self, problem: Problem, out: &mut Out) -> Shift {
        let waiting = mem::take(&mut self.waiting);
        self.flush(problem, out);
        Shift::Opaque(Raw::new(UNREADABLE, vec![problem]), waiting)
    }

    /// Gives everything that is open as it is.
    fn flush(&mut self, problem: Problem, out: &mut Out) {
        self.open.iter_mut().for_each(|open| open.problem(problem));
        self.finish(PairEnd::Unfinished, out);
    }

    fn finish(&mut self, incomplete: PairEnd, out: &mut Out) {
        self.cut_request();
        self.cut_response(out);
        if let Some(tail) = self.request_tail.take() {
            tail.attach(Side::Client, &mut self.open);
        }
        if let Some(tail) = self.response_tail.take() {
            tail.attach(Side::Server, &mut self.open);
        }
        while let Some(mut open) = self.open.pop_front() {
            let mut said = Turns::new(self.limits.body);
            // Only behind the last request can the client have gone on while a switch was not answered.
            let waiting = if self.open.is_empty() { mem::take(&mut self.waiting) } else { Vec::new() };
            for Piece { from, position, bytes, missing, .. } in waiting {
                said.push(from, position, &bytes);
                if missing > 0 {
                    open.problem(Problem::Gap { from, position, bytes: missing });
                }
            }
            open.done_as_it_is(said, incomplete, out);
        }
    }

    fn cut_request(&mut self) {
        if let Some(request) = self.requests.cut()
            && let Some(open) = self.open.back_mut()
        {
            open.request.get_or_insert(request);
        }
    }

    fn cut_response(&mut self, out: &mut Out) {
        if let Some(response) = self.responses.cut()
            && let Some(open) = self.open.front_mut()
            && open.response.is_none()
        {
            open.begin_response(self.response_mark, out);
            open.response = Some(response);
        }
    }

    /// One side will send no more.
    pub fn finished(&mut self, mark: Mark, from: Side, out: &mut Out) -> Option<Shift> {
        if from == Side::Client {
            self.cut_request();
            if let Some(open) = self.open.front_mut() {
                open.client_finished();
            }
            return None;
        }
        self.server_finished = true;
        if self.responses.has_begun() && self.responses.head().framing == Framing::Close {
            let response = self.responses.end()?;
            return self.response_complete(response, mark, out);
        }
        self.cut_response(out);
        None
    }

    /// The connection is gone, or the recording ends.
    pub fn end(mut self, ending: Ending, out: &mut Out) {
        let unfinished = ending == Ending::Stopped && !self.server_finished;
        self.finish(if unfinished { PairEnd::Unfinished } else { PairEnd::ClosedEarly }, out);
    }
}

fn advance(assembler: &mut Assembler, input: &mut Input<'_>) -> Result<Option<Step>, ParseError> {
    let before = input.rest.len();
    let step = assembler.step(&mut input.rest);
    input.position += (before - input.rest.len()) as u64;
    step
}

fn begins_response(bytes: &[u8]) -> bool {
    let expected = b"HTTP/1.";
    bytes.starts_with(&expected[..expected.len().min(bytes.len())])
}

fn problem_of(error: ParseError) -> Problem {
    match error.fault {
        Fault::HeadTooLarge | Fault::BodyTooLarge => Problem::TooLarge,
        _ => Problem::Garbage,
    }
}
