//! Both directions of a connection become exchanges, where responses come in the order of the requests.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::{Ask, Cut, Dialect, Heard, Protocol, Told, Unreadable};
use crate::{
    Mark, Side, Value,
    pair::{Out, PairEnd, PairEvent, Paired, PairedContent, Problem},
    raw::{CONVERSATION, Raw, UNREADABLE},
};

/// More requests without a response are not followed.
const LONGEST_QUEUE: usize = 1 << 16;
/// More bytes of requests without a response are not kept.
const HEAVIEST_QUEUE: usize = 256 << 20;

/// What one side said and nobody has cut yet.
#[derive(Debug, Default)]
struct Said {
    bytes: BytesMut,
    /// When the first of these bytes moved.
    since: Mark,
    /// Fewer bytes than these are not looked at again.
    wanted: usize,
    /// Where the first of them stands in the side's stream.
    position: u64,
}

impl Said {
    fn push(&mut self, mark: Mark, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.since = mark;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, mark: Mark, count: usize) {
        let count = count.min(self.bytes.len());
        self.bytes.advance(count);
        self.position += count as u64;
        (self.since, self.wanted) = (mark, 0);
    }

    fn clear(&mut self) {
        self.position += self.bytes.len() as u64;
        self.bytes.clear();
        self.wanted = 0;
    }
}

/// An exchange that is not done.
#[derive(Debug)]
struct Open {
    number: u64,
    began: Mark,
    /// The request and its last byte, once it is whole.
    request: Option<(Ask, Mark)>,
    response_began: Option<Mark>,
}

/// Turns what both sides said into exchanges. It never fails: what it cannot read becomes an opaque exchange or a
/// [`Problem`] of one.
#[derive(Debug)]
pub struct Fifo {
    protocol: Protocol,
    dialect: Box<dyn Dialect>,
    limit: usize,
    client: Said,
    server: Said,
    open: VecDeque<Open>,
    /// What the requests in `open` weigh.
    weight: usize,
    /// Why it is not sure that the next response answers the oldest request: bytes were not seen, and no moment without an open exchange since.
    unsure: Option<Problem>,
    state: State,
    out: Out,
}

#[derive(Debug)]
enum State {
    /// Both sides are read.
    Reading,
    /// The place in the conversation is not known: the next request is looked for. The visible rest of what was under way.
    Seeking(Option<Raw>),
    /// Nothing is read any more.
    Opaque(Raw),
    /// The connection is gone.
    Over,
}

impl Fifo {
    /// A pairer of a connection that was open before, from where its client begins a request, as [`Protocol::detect_joined`] tells.
    pub fn joined(protocol: Protocol, first: u64, limit: usize) -> Fifo {
        let mut fifo = Fifo::new(protocol, first, limit);
        fifo.dialect.joined();
        fifo
    }

    /// A pairer of a connection in that protocol, from its beginning. Exchanges are numbered from `first` on; a message of more than `limit` bytes is not read.
    pub fn new(protocol: Protocol, first: u64, limit: usize) -> Fifo {
        Fifo {
            protocol,
            dialect: protocol.dialect(),
            limit,
            client: Said::default(),
            server: Said::default(),
            open: VecDeque::new(),
            weight: 0,
            unsure: None,
            state: State::Reading,
            out: Out { next_number: first, ..Out::default() },
        }
    }

    /// Bytes moved.
    pub fn data(&mut self, mark: Mark, from: Side, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let State::Seeking(_) = self.state {
            if from == Side::Client && self.dialect.resumes(bytes) {
                if let State::Seeking(Some(rest)) = std::mem::replace(&mut self.state, State::Reading) {
                    rest.finish(PairEnd::Unfinished, &mut self.out);
                }
            } else {
                let position = self.pass(from, bytes.len());
                if let State::Seeking(Some(rest)) = &mut self.state {
                    rest.push(mark, from, position, bytes, &mut self.out);
                }
                return;
            }
        }
        match &mut self.state {
            State::Reading => {
                self.side(from).push(mark, bytes);
                let read = match from {
                    Side::Client => self.read_client(mark),
                    Side::Server => self.read_server(mark),
                };
                if let Err(unreadable) = read {
                    self.give_up(mark, from, unreadable);
                }
            }
            State::Opaque(_) => {
                let position = self.pass(from, bytes.len());
                if let State::Opaque(raw) = &mut self.state {
                    raw.push(mark, from, position, bytes, &mut self.out);
                }
            }
            State::Seeking(_) | State::Over => {}
        }
    }

    /// Bytes moved that nobody saw: what is under way ends here, and the next request is looked for.
    pub fn gap(&mut self, mark: Mark, from: Side, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let side = self.side(from);
        let gap = Problem::Gap { from, position: side.position + side.bytes.len() as u64, bytes };
        match &mut self.state {
            State::Reading => {
                let mut rest = (self.open.is_empty() && self.client.bytes.is_empty()).then(|| {
                    let mut rest = Raw::new(UNREADABLE, vec![gap]);
                    rest.start(mark, &mut self.out);
                    rest
                });
                if let Some(rest) = &mut rest {
                    rest.push(self.server.since, Side::Server, self.server.position, &self.server.bytes, &mut self.out);
                }
                self.end_all(PairEnd::Unfinished, Some(gap));
                self.client.clear();
                self.server.clear();
                self.dialect.lost();
                self.state = State::Seeking(rest);
            }
            State::Seeking(rest) => rest.iter_mut().for_each(|rest| rest.problem(gap)),
            State::Opaque(raw) => raw.problem(gap),
            State::Over => {}
        }
        self.unsure = Some(gap);
        let side = self.side(from);
        side.position = side.position.saturating_add(bytes);
    }

    /// One side will send no more; the other may go on.
    pub fn finished(&mut self, mark: Mark, from: Side) {
        if from == Side::Client || !matches!(self.state, State::Reading) || self.open.is_empty() {
            return;
        }
        if let Some(response) = self.dialect.ended() {
            self.answered(mark, response);
        }
    }

    /// The connection is gone, in good order.
    pub fn closed(&mut self, mark: Mark) {
        self.finished(mark, Side::Server);
        self.end(PairEnd::ClosedEarly, PairEnd::Complete);
    }

    /// The connection was reset.
    pub fn reset(&mut self, _mark: Mark) {
        self.end(PairEnd::ClosedEarly, PairEnd::ClosedEarly);
    }

    /// The recording ends: what is open is given as unfinished.
    pub fn stop(&mut self, _mark: Mark) {
        self.end(PairEnd::Unfinished, PairEnd::Unfinished);
    }

    /// The next thing found out, in order.
    #[allow(clippy::should_implement_trait, reason = "more events may follow after None")]
    pub fn next(&mut self) -> Option<PairEvent> {
        self.out.events.pop_front()
    }

    /// The request of an exchange, from when it is complete until the exchange is done.
    pub fn request(&self, number: u64) -> Option<&Value> {
        let open = self.open.iter().find(|open| open.number == number)?;
        open.request.as_ref().map(|(ask, _)| &ask.value)
    }

    /// Whether it is still read.
    pub fn is_read(&self) -> bool {
        !matches!(self.state, State::Opaque(_))
    }

    fn side(&mut self, side: Side) -> &mut Said {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Goes on by bytes that are not cut; gives where they stand.
    fn pass(&mut self, from: Side, bytes: usize) -> u64 {
        let position = &mut self.side(from).position;
        let before = *position;
        *position += bytes as u64;
        before
    }

    fn read_client(&mut self, mark: Mark) -> Result<(), Unreadable> {
        while !self.client.bytes.is_empty() {
            if self.client.bytes.len() < self.client.wanted {
                break;
            }
            match self.dialect.client(&self.client.bytes)? {
                Cut::Partial(wanted) if wanted > self.limit => return Err(Unreadable::TooLarge),
                Cut::Partial(wanted) => {
                    self.client.wanted = wanted;
                    break;
                }
                Cut::Whole(count, heard) => {
                    let began = self.client.since;
                    self.client.take(mark, count);
                    match heard {
                        Heard::Aside => {}
                        Heard::Part => self.begins(began, false),
                        Heard::Request(ask) => self.asked(began, mark, ask)?,
                    }
                }
            }
        }
        if !self.client.bytes.is_empty() {
            self.begins(self.client.since, false);
        }
        Ok(())
    }

    /// A request began, if none is in the making.
    fn begins(&mut self, began: Mark, setup: bool) {
        if self.open.back().is_none_or(|open| open.request.is_some()) {
            let number = self.out.begin_as(began, setup);
            self.open.push_back(Open { number, began, request: None, response_began: None });
        }
    }

    fn asked(&mut self, began: Mark, mark: Mark, ask: Ask) -> Result<(), Unreadable> {
        self.begins(began, ask.setup);
        self.weight += ask.value.weight();
        if self.open.len() > LONGEST_QUEUE || self.weight > HEAVIEST_QUEUE {
            return Err(Unreadable::TooLarge);
        }
        let Some(open) = self.open.back_mut() else { return Ok(()) };
        self.out.events.push_back(PairEvent::RequestComplete { number: open.number, mark });
        let answered = ask.answered;
        open.request = Some((ask, mark));
        if !answered && let Some(open) = self.open.pop_back() {
            self.done(open, None, None, PairEnd::Complete, None);
        }
        Ok(())
    }

    fn read_server(&mut self, mark: Mark) -> Result<(), Unreadable> {
        while !self.server.bytes.is_empty() {
            let asked = self.open.front().is_some_and(|open| open.request.is_some());
            if asked {
                self.response_begins();
            }
            if self.server.bytes.len() < self.server.wanted {
                break;
            }
            match self.dialect.server(&self.server.bytes, asked)? {
                Cut::Partial(wanted) if wanted > self.limit => return Err(Unreadable::TooLarge),
                Cut::Partial(wanted) => {
                    self.server.wanted = wanted;
                    break;
                }
                Cut::Whole(count, told) => {
                    self.server.take(mark, count);
                    match told {
                        Told::Part | Told::Aside => {}
                        Told::Unasked(said) => self.unasked(mark, said),
                        Told::Response(response) if asked => self.answered(mark, response),
                        Told::Response(_) => return Err(Unreadable::Garbage),
                    }
                }
            }
        }
        Ok(())
    }

    fn response_begins(&mut self) {
        let mark = self.server.since;
        if let Some(open) = self.open.front_mut().filter(|open| open.response_began.is_none()) {
            open.response_began = Some(mark);
            self.out.events.push_back(PairEvent::ResponseBegan { number: open.number, mark });
        }
    }

    fn answered(&mut self, mark: Mark, response: Value) {
        let Some(open) = self.open.pop_front() else { return };
        self.out.events.push_back(PairEvent::ResponseComplete { number: open.number, mark });
        self.done(open, Some(response), Some(mark), PairEnd::Complete, None);
        if self.open.is_empty() {
            self.unsure = None;
        }
    }

    /// The server said something on its own: an exchange without a request, which concerns the connection.
    fn unasked(&mut self, mark: Mark, said: Value) {
        let number = self.out.begin_as(mark, true);
        let ask = Ask { value: Value::Null, setup: true, answered: true };
        let open = Open { number, began: mark, request: Some((ask, mark)), response_began: Some(mark) };
        self.weight += Value::Null.weight();
        self.done(open, Some(said), Some(mark), PairEnd::Complete, None);
    }

    fn done(
        &mut self,
        open: Open,
        response: Option<Value>,
        complete: Option<Mark>,
        end: PairEnd,
        problem: Option<Problem>,
    ) {
        let mut problems: Vec<Problem> = self.unsure.into_iter().collect();
        problem.into_iter().for_each(|problem| problem.join(&mut problems));
        let Open { number, began, request, response_began } = open;
        let request_complete = request.as_ref().map(|(_, mark)| *mark);
        let content = match request {
            Some((Ask { value, setup, .. }, _)) => {
                self.weight -= value.weight();
                PairedContent::Wire { protocol: self.protocol, request: value, response, setup }
            }
            // A request that was never whole; it is the last one.
            None => PairedContent::Opaque(vec![(Side::Client, Bytes::copy_from_slice(&self.client.bytes))]),
        };
        self.out.done(Paired {
            number,
            content,
            request_began: began,
            request_complete,
            response_began,
            response_complete: complete,
            arrivals: Vec::new(),
            end,
            problems,
        });
    }

    /// Ends all open exchanges. What came of a response that is not whole is not kept, and that is told.
    fn end_all(&mut self, end: PairEnd, problem: Option<Problem>) {
        let left = self.server.bytes.len() as u64;
        let mut cut =
            (left > 0).then_some(Problem::Gap { from: Side::Server, position: self.server.position, bytes: left });
        while let Some(open) = self.open.pop_front() {
            let began = open.response_began.is_some();
            let lost = problem.or_else(|| cut.take().filter(|_| began));
            self.done(open, None, None, end, lost);
        }
    }

    fn end(&mut self, open: PairEnd, opaque: PairEnd) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Reading => self.end_all(open, None),
            State::Seeking(rest) => rest.into_iter().for_each(|rest| rest.finish(PairEnd::Unfinished, &mut self.out)),
            State::Opaque(raw) => raw.finish(opaque, &mut self.out),
            State::Over => {}
        }
    }

    /// What is said from here on is kept as it comes.
    fn give_up(&mut self, mark: Mark, from: Side, unreadable: Unreadable) {
        let problem = match unreadable {
            Unreadable::Garbage => Problem::Garbage,
            Unreadable::Encrypted => Problem::Encrypted,
            Unreadable::TooLarge => Problem::TooLarge,
        };
        let (bytes, position) = (self.side(from).bytes.split(), self.side(from).position);
        self.end_all(PairEnd::Unfinished, Some(problem));
        let mut raw = Raw::new(CONVERSATION.min(self.limit as u64), vec![problem]);
        raw.push(mark, from, position, &bytes, &mut self.out);
        self.side(from).position += bytes.len() as u64;
        self.client.clear();
        self.server.clear();
        self.state = State::Opaque(raw);
    }
}

#[cfg(test)]
mod tests;
