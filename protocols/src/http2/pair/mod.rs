//! Both directions of one connection become exchanges.

mod direction;
mod stream;
#[cfg(test)]
mod tests;

use std::mem;

use self::{
    direction::{Block, Direction, Part, Place},
    stream::{MOST_STREAMS, Streams},
};
use super::{
    Reset, begins_frames,
    frame::{self, END_HEADERS, END_STREAM, Header, Kind, PADDED, PRIORITY},
    message,
};
use crate::{
    Mark, Side,
    http1::{Limits, Message, pair::Ending},
    pair::{Out, PairEnd, PairEvent, Problem},
    raw::{Raw, UNREADABLE},
};

/// Turns what both sides of one HTTP/2 connection said into exchanges, one for each stream that the client began,
/// numbered in the order of beginning. It never fails: what it cannot read becomes a [`Problem`] of an exchange, or an
/// opaque one.
///
/// Header blocks are decoded from the connection's first byte on. Where bytes were not seen, the streams under way end
/// there; frames are read again from the next piece that is nothing but frames, and of header fields that refer to
/// what was not seen it is said that they are missing.
#[derive(Debug)]
pub struct Pairer {
    limits: Limits,
    directions: [Direction; 2],
    positions: [u64; 2],
    streams: Streams,
    /// What follows is not read.
    rest: Option<Raw>,
    is_over: bool,
    out: Out,
}

impl Pairer {
    /// A pairer for a connection whose client begins with the [`PREFACE`](super::PREFACE).
    pub fn new(limits: Limits) -> Pairer {
        Pairer::at([Direction::new(Place::Preface(0)), Direction::new(Place::NEXT)], 0, limits)
    }

    /// A pairer for a connection that was joined at an unknown place of both directions. Exchanges are numbered from
    /// `first` on.
    pub fn joined(first: u64, limits: Limits) -> Pairer {
        let direction = || {
            let mut direction = Direction::new(Place::NEXT);
            direction.lose(Problem::JoinedMidStream);
            direction
        };
        Pairer::at([direction(), direction()], first, limits)
    }

    fn at(directions: [Direction; 2], first: u64, limits: Limits) -> Pairer {
        Pairer {
            limits,
            directions,
            positions: [0; 2],
            streams: Streams::default(),
            rest: None,
            is_over: false,
            out: Out { next_number: first, ..Out::default() },
        }
    }

    /// Bytes moved.
    pub fn data(&mut self, mark: Mark, from: Side, bytes: &[u8]) {
        if bytes.is_empty() || self.is_over {
            return;
        }
        let position = self.advance(from, bytes.len() as u64);
        if let Some(rest) = &mut self.rest {
            return rest.push(mark, from, position, bytes, &mut self.out);
        }
        if let Place::Lost = self.directions[from as usize].place {
            if !begins_frames(bytes) {
                return;
            }
            self.directions[from as usize].place = Place::NEXT;
        }
        let mut rest = bytes;
        if let Err(problem) = self.read(mark, from, &mut rest) {
            let position = position + (bytes.len() - rest.len()) as u64;
            self.give_up(mark, problem);
            if let Some(raw) = &mut self.rest {
                raw.push(mark, from, position, rest, &mut self.out);
            }
        }
    }

    /// Bytes moved that nobody saw. Inside the content of a frame they only leave a hole there. Elsewhere what is under way
    /// ends here, as any stream may have ended among them.
    pub fn gap(&mut self, mark: Mark, from: Side, bytes: u64) {
        if bytes == 0 || self.is_over {
            return;
        }
        let position = self.advance(from, bytes);
        let gap = Problem::Gap { from, position, bytes };
        if let Some(rest) = &mut self.rest {
            return rest.problem(gap);
        }
        let direction = &mut self.directions[from as usize];
        let mut left = bytes;
        if let Place::Payload { header, read, .. } = &mut direction.place {
            let skipped = u64::from(header.length - *read).min(left);
            left -= skipped;
            let (header, at) = (*header, *read);
            *read += skipped as u32;
            if header.kind == Kind::Data {
                let has_padding = header.has(PADDED) && at == 0;
                direction.is_broken = has_padding.then_some(gap);
                let behind = header.length - direction.padding;
                let content = u64::from(behind.saturating_sub(at)).min(skipped);
                if let Some(stream) = self.streams.open.get_mut(&header.stream) {
                    stream.hole(mark, from, content, gap);
                }
            } else {
                direction.is_broken = Some(gap);
            }
            if let Err(problem) = self.read(mark, from, &mut &[][..]) {
                return self.give_up(mark, problem);
            }
        }
        if left > 0 {
            self.lose(mark, from, gap);
        }
    }

    /// One side will send no more; the other may go on.
    pub fn finished(&mut self, _mark: Mark, _from: Side) {}

    /// The connection is gone, in good order.
    pub fn closed(&mut self, _mark: Mark) {
        self.end(Ending::Closed);
    }

    /// The connection was reset.
    pub fn reset(&mut self, _mark: Mark) {
        self.end(Ending::Reset);
    }

    /// The recording ends: what is open is given as unfinished.
    pub fn stop(&mut self, _mark: Mark) {
        self.end(Ending::Stopped);
    }

    /// The next thing found out, in order.
    #[allow(clippy::should_implement_trait, reason = "more events may follow after None")]
    pub fn next(&mut self) -> Option<PairEvent> {
        self.out.events.pop_front()
    }

    /// The request of an exchange, from when it is complete until the exchange is done.
    pub fn request(&self, number: u64) -> Option<&Message> {
        self.streams.open.values().find(|stream| stream.open.number == number)?.open.request.as_ref()
    }

    /// Whether an exchange was under way before anything was seen of it. Known while its events are taken.
    pub fn is_unseen(&self, number: u64) -> bool {
        self.streams.is_unseen(number)
    }

    /// Whether what is said is cut into exchanges.
    pub fn is_read(&self) -> bool {
        self.rest.is_none()
    }

    fn advance(&mut self, from: Side, bytes: u64) -> u64 {
        let position = &mut self.positions[from as usize];
        mem::replace(position, position.saturating_add(bytes))
    }

    fn read(&mut self, mark: Mark, from: Side, rest: &mut &[u8]) -> Result<(), Problem> {
        while let Some(part) = self.directions[from as usize].next(mark, rest)? {
            match part {
                Part::Frame => {}
                Part::Payload(at, bytes) => self.payload(mark, from, at, bytes)?,
                Part::End(header, began) => self.frame(mark, from, &header, began)?,
            }
        }
        Ok(())
    }

    fn payload(&mut self, mark: Mark, from: Side, at: u32, bytes: &[u8]) -> Result<(), Problem> {
        let direction = &mut self.directions[from as usize];
        let Place::Payload { header, .. } = direction.place else { return Ok(()) };
        match header.kind {
            Kind::Data => {
                let content = direction.content(&header, at, bytes)?;
                if content.is_empty() || direction.is_broken.is_some() {
                    return Ok(());
                }
                let lost = self.directions[Side::Client as usize].lost;
                if let Some(stream) = self.streams.find(header.stream, mark, lost, &mut self.out) {
                    stream.content(mark, from, content, self.limits.body, &mut self.out);
                }
            }
            Kind::Headers | Kind::Continuation | Kind::PushPromise | Kind::ResetStream | Kind::GoAway => {
                let before = direction.block.as_ref().map_or(0, |block| block.bytes.len()) + direction.payload.len();
                let kept = self.limits.head.saturating_sub(before).min(bytes.len());
                direction.payload.extend_from_slice(&bytes[..kept]);
                if kept < bytes.len() && header.kind != Kind::GoAway {
                    direction.is_broken.get_or_insert(Problem::TooLarge);
                }
            }
            Kind::Priority | Kind::Settings | Kind::Ping | Kind::WindowUpdate | Kind::Unknown => {}
        }
        Ok(())
    }

    /// A frame is whole.
    fn frame(&mut self, mark: Mark, from: Side, header: &Header, began: Mark) -> Result<(), Problem> {
        let direction = &mut self.directions[from as usize];
        let payload = mem::take(&mut direction.payload);
        match header.kind {
            Kind::Data => {
                let size = direction.size(header);
                direction.is_broken = None;
                let lost = self.directions[Side::Client as usize].lost;
                if let Some(stream) = self.streams.find(header.stream, mark, lost, &mut self.out) {
                    stream.frame(from, size, self.limits.body);
                    if header.has(END_STREAM) {
                        stream.finish(mark, from, &mut self.out);
                        self.settle(header.stream);
                    }
                }
            }
            Kind::Headers | Kind::PushPromise => {
                let is_push = header.kind == Kind::PushPromise;
                let before = if is_push { 4 } else { 5 * usize::from(header.has(PRIORITY)) };
                let bytes = match direction.is_broken {
                    Some(_) => Vec::new(),
                    None => frame::unpadded(&payload, header.has(PADDED), before).ok_or(Problem::Garbage)?.to_vec(),
                };
                direction.block = Some(Block { header: *header, began, bytes });
                if header.has(END_HEADERS) {
                    self.block(mark, from)?;
                }
            }
            Kind::Continuation => {
                if let Some(block) = &mut direction.block {
                    block.bytes.extend_from_slice(&payload);
                }
                if header.has(END_HEADERS) {
                    self.block(mark, from)?;
                }
            }
            Kind::ResetStream => {
                let broken = direction.is_broken.take();
                if let Some(mut stream) = self.streams.take(header.stream) {
                    let reset = <[u8; 4]>::try_from(&payload[..]).ok().filter(|_| broken.is_none());
                    broken.into_iter().for_each(|problem| stream.open.problem(problem));
                    let reset = reset.map(|code| Reset { from, code: u32::from_be_bytes(code) });
                    stream.done(PairEnd::ClosedEarly, reset, &mut self.out);
                }
            }
            Kind::GoAway => {
                let broken = direction.is_broken.take();
                if let (Side::Server, None, Some(last)) = (from, broken, payload.first_chunk()) {
                    self.went_away(u32::from_be_bytes(*last) & !(1 << 31));
                }
            }
            Kind::Priority | Kind::Settings | Kind::Ping | Kind::WindowUpdate | Kind::Unknown => {
                direction.is_broken = None;
            }
        }
        Ok(())
    }

    /// A header block is whole.
    fn block(&mut self, mark: Mark, from: Side) -> Result<(), Problem> {
        let direction = &mut self.directions[from as usize];
        let Some(Block { header, began, bytes }) = direction.block.take() else { return Ok(()) };
        let decoded = match direction.is_broken.take() {
            Some(reason) => {
                direction.forget(reason);
                Err(reason)
            }
            None => {
                let limit = self.limits.head;
                direction.decoder.decode(&bytes, limit).map_err(|_| Problem::Garbage)
            }
        };
        let problem = match &decoded {
            Ok(decoded) if decoded.is_cut => Some(Problem::TooLarge),
            Ok(_) => None,
            // An end that cannot decode a block ends the connection (RFC 9113 section 4.3); one that looks on may go on.
            Err(problem) => {
                direction.lost.get_or_insert(*problem);
                Some(*problem)
            }
        };
        let lost = problem.or(direction.lost).unwrap_or(Problem::Garbage);
        let fields = decoded.map(|decoded| decoded.fields).unwrap_or_default();
        if header.kind == Kind::PushPromise {
            // What a server pushes answers no request; the stream that it came with has more to it than is told.
            self.streams
                .open
                .get_mut(&header.stream)
                .into_iter()
                .for_each(|stream| stream.open.problem(Problem::Garbage));
            return Ok(());
        }
        if from == Side::Client && header.stream > self.streams.highest && !header.stream.is_multiple_of(2) {
            if self.streams.open.len() == MOST_STREAMS {
                return Err(Problem::TooLarge);
            }
            self.streams.begin(header.stream, began, &mut self.out);
        }
        let ends = header.has(END_STREAM);
        let unseen = self.directions[Side::Client as usize].lost;
        let Some(stream) = self.streams.find(header.stream, began, unseen, &mut self.out) else { return Ok(()) };
        problem.into_iter().for_each(|problem| stream.open.problem(problem));
        if stream.has_finished(from) {
            stream.open.problem(Problem::Garbage);
            return Ok(());
        }
        let trailers = message::trailers(&fields);
        match from {
            Side::Client => stream.client_block(message::request_head(&fields), trailers, lost),
            Side::Server => {
                let head = message::response_head(&fields);
                stream.server_block(began, ends, head, trailers, lost, &mut self.out);
            }
        }
        if ends {
            stream.finish(mark, from, &mut self.out);
            self.settle(header.stream);
        }
        Ok(())
    }

    /// Gives a stream of which nothing more is to come.
    fn settle(&mut self, id: u32) {
        if self.streams.open.get(&id).is_some_and(|stream| stream.is_settled())
            && let Some(stream) = self.streams.take(id)
        {
            stream.done(PairEnd::Complete, None, &mut self.out);
        }
    }

    /// The server answers no stream beyond `last`: they are refused (RFC 9113 sections 6.8 and 8.7).
    fn went_away(&mut self, last: u32) {
        let beyond: Vec<u32> = self.streams.open.range(last.saturating_add(1)..).map(|(id, _)| *id).collect();
        let refused = Reset { from: Side::Server, code: Reset::REFUSED_STREAM };
        for stream in beyond.into_iter().filter_map(|id| self.streams.take(id)) {
            stream.done(PairEnd::ClosedEarly, Some(refused), &mut self.out);
        }
    }

    /// The place in a direction is not known any more. Where no exchange shows it, one without content does.
    fn lose(&mut self, mark: Mark, from: Side, gap: Problem) {
        self.directions[from as usize].lose(gap);
        if self.streams.open.is_empty() {
            let mut raw = Raw::new(UNREADABLE, vec![gap]);
            raw.start(mark, &mut self.out);
            raw.finish(PairEnd::Unfinished, &mut self.out);
        }
        self.flush(PairEnd::Unfinished, Some(gap));
    }

    /// Leaves for good: it is no HTTP/2.
    fn give_up(&mut self, mark: Mark, problem: Problem) {
        self.flush(PairEnd::Unfinished, Some(problem));
        let mut raw = Raw::new(UNREADABLE, vec![problem]);
        raw.start(mark, &mut self.out);
        self.rest = Some(raw);
    }

    /// Gives everything that is open as it is.
    fn flush(&mut self, incomplete: PairEnd, problem: Option<Problem>) {
        let open: Vec<u32> = self.streams.open.keys().copied().collect();
        for mut stream in open.into_iter().filter_map(|id| self.streams.take(id)) {
            problem.into_iter().for_each(|problem| stream.open.problem(problem));
            stream.done(incomplete, None, &mut self.out);
        }
    }

    fn end(&mut self, ending: Ending) {
        if mem::replace(&mut self.is_over, true) {
            return;
        }
        let stopped = ending == Ending::Stopped;
        if let Some(raw) = self.rest.take() {
            let end = if stopped { PairEnd::Unfinished } else { PairEnd::ClosedEarly };
            return raw.finish(end, &mut self.out);
        }
        let incomplete = if stopped { PairEnd::Unfinished } else { PairEnd::ClosedEarly };
        let client = &self.directions[Side::Client as usize];
        let begun = match (&client.block, client.place) {
            (Some(block), _) => Some((block.header, block.began)),
            (None, Place::Payload { header, began, .. }) => Some((header, began)),
            _ => None,
        };
        if let Some((header, began)) =
            begun.filter(|(header, _)| header.kind == Kind::Headers && header.stream > self.streams.highest)
        {
            // A request that was cut in its head.
            self.streams.begin(header.stream, began, &mut self.out);
        }
        self.flush(incomplete, None);
    }
}
