//! One stream: a request and its response in the making.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use bytes::BytesMut;

use super::super::{
    Reset,
    message::{self, Head},
};
use crate::{
    Mark, Side,
    http1::{Line, Message, pair::open::Open},
    pair::{Out, PairEnd, PairEvent, Problem},
    raw::Turns,
};

/// What a DATA frame counts against the body limit beside its bytes, so that a body of tiny frames is bounded as well.
const FRAME_COST: u64 = 64;
/// More streams at once, or interim responses to one request, are not followed.
pub(super) const MOST_STREAMS: usize = 4096;
const MOST_INTERIM: usize = 1024;
/// More turns of one stream are not told apart.
const MOST_TURNS: usize = 16_384;
/// How many streams that are over, or were not seen to begin, are remembered.
const MOST_REMEMBERED: usize = 256;

/// A stream that is not done.
#[derive(Debug)]
pub(super) struct Stream {
    pub open: Open,
    request: Half,
    response: Half,
    /// Its beginning was not seen, and so may be the end of its request.
    is_unseen: bool,
}

/// The streams that are not done.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub open: BTreeMap<u32, Stream>,
    /// The highest that the client began.
    pub highest: u32,
    /// Some that are over: what still comes of them begins nothing.
    over: VecDeque<u32>,
    /// The exchanges whose beginning was not seen, the latest ones.
    unseen: VecDeque<u64>,
}

impl Streams {
    /// The stream of that number. Where blocks of the client were lost, for the given reason, it may be one whose beginning
    /// was not seen, which gets its exchange here.
    pub fn find(&mut self, id: u32, mark: Mark, lost: Option<Problem>, out: &mut Out) -> Option<&mut Stream> {
        if let Some(reason) = lost
            && !id.is_multiple_of(2)
            && !self.open.contains_key(&id)
            && !self.over.contains(&id)
            && self.open.len() < MOST_STREAMS
        {
            self.highest = self.highest.max(id);
            let number = out.begin(mark);
            remember(&mut self.unseen, number);
            self.open.insert(id, Stream::unseen(Open::new(number, mark), reason));
        }
        self.open.get_mut(&id)
    }

    /// Begins a stream of the client.
    pub fn begin(&mut self, id: u32, mark: Mark, out: &mut Out) {
        self.highest = id;
        self.open.insert(id, Stream::new(Open::new(out.begin(mark), mark)));
    }

    /// Ends a stream: gives it for its exchange to be given.
    pub fn take(&mut self, id: u32) -> Option<Stream> {
        let stream = self.open.remove(&id)?;
        remember(&mut self.over, id);
        Some(stream)
    }

    /// Whether the beginning of an exchange was not seen.
    pub fn is_unseen(&self, number: u64) -> bool {
        self.unseen.contains(&number)
    }
}

fn remember<T>(latest: &mut VecDeque<T>, one: T) {
    if latest.len() == MOST_REMEMBERED {
        latest.pop_front();
    }
    latest.push_back(one);
}

/// One direction of a stream.
#[derive(Debug, Default)]
struct Half {
    head: Option<Message>,
    body: BytesMut,
    frames: Vec<u64>,
    trailers: Vec<Line>,
    has_trailers: bool,
    /// Content so far, and what of it counts against the limit.
    passed: u64,
    charged: u64,
    /// A part of the body is not there, and nothing is kept of what follows it.
    has_hole: bool,
    is_over: bool,
}

impl Half {
    /// The message, whole or as far as it came.
    fn take(&mut self, is_whole: bool) -> Option<Message> {
        let head = self.head.take()?;
        let (body, frames) = (mem::take(&mut self.body).freeze(), mem::take(&mut self.frames));
        let trailers = self.has_trailers.then(|| mem::take(&mut self.trailers));
        Some(message::with_body(head, body, &frames, trailers, is_whole && !self.has_hole))
    }
}

impl Stream {
    /// A stream that begins.
    pub fn new(open: Open) -> Stream {
        Stream { open, request: Half::default(), response: Half::default(), is_unseen: false }
    }

    /// A stream that was under way before.
    pub fn unseen(open: Open, reason: Problem) -> Stream {
        let mut stream = Stream { is_unseen: true, ..Stream::new(open) };
        stream.open.problem(reason);
        stream.request.head = Some(Message::blank());
        stream
    }

    /// A header block of the client. It is complete, where it ends the stream, with `mark`.
    pub fn client_block(&mut self, head: Head, trailers: (Vec<Line>, bool), lost: Problem) {
        if self.request.head.is_none() {
            self.note(head.is_whole, lost);
            self.request.head = Some(head.message);
        } else {
            self.note(trailers.1, lost);
            self.request.add_trailers(trailers.0);
        }
    }

    /// A header block of the server, whose first byte had the mark `began`.
    pub fn server_block(
        &mut self,
        began: Mark,
        ends: bool,
        head: Head,
        trailers: (Vec<Line>, bool),
        lost: Problem,
        out: &mut Out,
    ) {
        if self.response.head.is_some() {
            self.note(trailers.1, lost);
            self.response.add_trailers(trailers.0);
            return;
        }
        // An unseen stream may have had its head before.
        let is_headless = self.is_unseen && head.message.start.0.is_empty();
        self.note(head.is_whole && !is_headless, lost);
        if (100..200).contains(&head.message.status()) && !ends {
            if self.open.interim.len() < MOST_INTERIM {
                self.open.interim.push(head.message);
            } else {
                self.open.problem(Problem::TooLarge);
            }
            return;
        }
        self.response.head = Some(head.message);
        self.open.begin_response(began, out);
        self.takes_turn();
    }

    fn note(&mut self, is_whole: bool, lost: Problem) {
        if !is_whole {
            self.open.problem(lost);
        }
    }

    /// Content of a DATA frame.
    pub fn content(&mut self, mark: Mark, from: Side, content: &[u8], limit: u64, out: &mut Out) {
        if from == Side::Client && mark != self.open.request_began {
            out.events.push_back(PairEvent::RequestContinued { number: self.open.number, mark });
        }
        let half = self.half(from);
        half.passed = half.passed.saturating_add(content.len() as u64);
        if !half.has_hole {
            let room = usize::try_from(limit.saturating_sub(half.charged)).unwrap_or(usize::MAX);
            let kept = room.min(content.len());
            half.charged += kept as u64;
            half.body.extend_from_slice(&content[..kept]);
            if kept < content.len() {
                half.has_hole = true;
                self.open.problem(Problem::TooLarge);
            }
        }
        self.arrived(mark, from);
    }

    /// So many bytes of content were not seen.
    pub fn hole(&mut self, mark: Mark, from: Side, bytes: u64, gap: Problem) {
        let half = self.half(from);
        half.passed = half.passed.saturating_add(bytes);
        half.has_hole |= bytes > 0;
        self.open.problem(gap);
        self.arrived(mark, from);
    }

    fn arrived(&mut self, mark: Mark, from: Side) {
        if from == Side::Server && self.open.response_began.is_some() {
            self.open.arrived(mark, self.response.passed);
            self.takes_turn();
        }
    }

    /// The server said something. While the request is not over, it may have been an answer to what has come of it.
    fn takes_turn(&mut self) {
        let (asked, said) = (self.request.passed, self.response.passed);
        let turns = &mut self.open.interleaved;
        let is_full = turns.len() == MOST_TURNS;
        match turns.last_mut() {
            _ if self.request.is_over || self.is_unseen => {}
            Some(last) if last.0 == asked || is_full => *last = (asked, said),
            _ => turns.push((asked, said)),
        }
    }

    /// A DATA frame is whole; so many bytes of it were content.
    pub fn frame(&mut self, from: Side, size: u64, limit: u64) {
        let half = self.half(from);
        if half.has_hole {
            return;
        }
        half.charged = half.charged.saturating_add(FRAME_COST);
        if half.charged > limit {
            half.has_hole = true;
            self.open.problem(Problem::TooLarge);
        } else {
            half.frames.push(size);
        }
    }

    /// One side has ended its direction.
    pub fn finish(&mut self, mark: Mark, from: Side, out: &mut Out) {
        let half = self.half(from);
        if mem::replace(&mut half.is_over, true) {
            return self.open.problem(Problem::Garbage);
        }
        let Some(message) = half.take(true) else { return self.open.problem(Problem::Garbage) };
        match from {
            Side::Client if self.is_unseen => self.open.request = Some(message),
            Side::Client => self.open.complete_request(message, mark, out),
            Side::Server => self.open.complete_response(message, mark, out),
        }
    }

    /// Whether the direction has ended.
    pub fn has_finished(&self, from: Side) -> bool {
        match from {
            Side::Client => self.request.is_over,
            Side::Server => self.response.is_over,
        }
    }

    /// Whether nothing of it is still to come.
    pub fn is_settled(&self) -> bool {
        self.response.is_over && (self.request.is_over || self.is_unseen)
    }

    /// Gives it as it is; `incomplete` is how it ended if its response is not whole.
    pub fn done(mut self, incomplete: PairEnd, reset: Option<Reset>, out: &mut Out) {
        if self.open.request.is_none() {
            let is_needed = reset != Some(Reset { from: Side::Server, code: Reset::NO_ERROR });
            // Servers of gRPC answer when they have the message; whether the mark of the request's end comes before the reset is chance.
            let is_whole = !is_needed && self.response.is_over && self.request.is_of_whole_messages();
            let message = self
                .request
                .take(is_whole)
                .unwrap_or_else(|| Message { truncated: Some(Default::default()), ..Message::blank() });
            self.open.request = Some(message);
        }
        if self.open.response.is_none() {
            self.open.response = self.response.take(false);
        }
        self.open.reset = reset;
        self.open.done_as_it_is(Turns::new(0), incomplete, out);
    }

    fn half(&mut self, from: Side) -> &mut Half {
        match from {
            Side::Client => &mut self.request,
            Side::Server => &mut self.response,
        }
    }
}

impl Half {
    /// Whether the body is of gRPC, and nothing of a message in it is missing.
    fn is_of_whole_messages(&self) -> bool {
        let content_type = self.head.as_ref().and_then(|head| head.header_text("content-type")).unwrap_or_default();
        let mut rest = &self.body[..];
        while let Some(([_, length @ ..], after)) = rest.split_first_chunk::<5>() {
            let Some(after) = after.get(u32::from_be_bytes(*length) as usize..) else { return false };
            rest = after;
        }
        content_type.starts_with("application/grpc") && rest.is_empty() && !self.body.is_empty() && !self.has_hole
    }

    fn add_trailers(&mut self, lines: Vec<Line>) {
        self.trailers.extend(lines);
        self.has_trailers = true;
    }
}
