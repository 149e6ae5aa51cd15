//! Bytes of a connection that are kept as they came: of no protocol that is read, or not to be told what they are.

use std::mem;

use bytes::{Bytes, BytesMut};

use crate::{
    Mark, Side,
    http1::{Detected, detect},
    pair::{Out, PairEnd, Paired, PairedContent, Problem},
};

/// How much is kept of bytes that nobody can read: ciphertext, or a stream joined in its middle.
pub(crate) const UNREADABLE: u64 = 64 << 10;
/// How much is kept of a conversation that is not cut into exchanges, which may last as long as the service.
pub(crate) const CONVERSATION: u64 = 16 << 20;
/// What a turn counts beside its bytes.
const TURN_COST: u64 = 64;

/// What both sides said, in turns, up to a limit; beyond it bytes are only counted.
#[derive(Debug)]
pub(crate) struct Turns {
    turns: Vec<(Side, BytesMut)>,
    room: u64,
    /// For each side that went beyond the limit: where, and how many bytes were dropped since.
    dropped: Vec<(Side, u64, u64)>,
}

impl Turns {
    pub fn new(limit: u64) -> Turns {
        Turns { turns: Vec::new(), room: limit, dropped: Vec::new() }
    }

    pub fn push(&mut self, from: Side, position: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let turned = self.turns.last().is_none_or(|(side, _)| *side != from);
        if turned {
            self.room = self.room.saturating_sub(TURN_COST);
        }
        let kept = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        self.room -= kept as u64;
        match self.turns.last_mut() {
            Some((side, turn)) if *side == from => turn.extend_from_slice(&bytes[..kept]),
            _ if kept > 0 => self.turns.push((from, BytesMut::from(&bytes[..kept]))),
            _ => {}
        }
        if kept < bytes.len() {
            self.room = 0;
            self.drop(from, position + kept as u64, (bytes.len() - kept) as u64);
        }
    }

    fn drop(&mut self, from: Side, position: u64, bytes: u64) {
        match self.dropped.iter_mut().find(|(side, ..)| *side == from) {
            Some((_, _, dropped)) => *dropped += bytes,
            None => self.dropped.push((from, position, bytes)),
        }
    }

    /// The turns, with what was dropped among the problems.
    pub fn finish(self, problems: &mut Vec<Problem>) -> Vec<(Side, Bytes)> {
        problems.extend(self.dropped.iter().map(|(from, position, bytes)| Problem::Gap {
            from: *from,
            position: *position,
            bytes: *bytes,
        }));
        self.turns.into_iter().map(|(side, turn)| (side, turn.freeze())).collect()
    }
}

/// An opaque exchange in the making. It gets its number with its first byte.
#[derive(Debug)]
pub(crate) struct Raw {
    started: Option<(u64, Mark)>,
    turns: Turns,
    pub problems: Vec<Problem>,
    response_began: Option<Mark>,
    last_response: Option<Mark>,
}

impl Raw {
    /// One that keeps at most `limit` bytes.
    pub fn new(limit: u64, problems: Vec<Problem>) -> Raw {
        Raw { started: None, turns: Turns::new(limit), problems, response_began: None, last_response: None }
    }

    /// Gives it a number that was given out already.
    pub fn with_number(mut self, number: u64, began: Mark) -> Raw {
        self.started = Some((number, began));
        self
    }

    /// Something is missing.
    pub fn problem(&mut self, problem: Problem) {
        problem.join(&mut self.problems);
    }

    /// Gives it its number, also where no byte of it may ever be seen.
    pub fn start(&mut self, mark: Mark, out: &mut Out) {
        if self.started.is_none() {
            self.started = Some((out.begin(mark), mark));
        }
    }

    pub fn push(&mut self, mark: Mark, from: Side, position: u64, bytes: &[u8], out: &mut Out) {
        if bytes.is_empty() {
            return;
        }
        let first = self.turns.turns.is_empty() && self.turns.dropped.is_empty();
        if first && detect(bytes) == Detected::Tls && !self.problems.contains(&Problem::Encrypted) {
            self.problems.push(Problem::Encrypted);
            self.turns.room = self.turns.room.min(UNREADABLE);
        }
        self.start(mark, out);
        if from == Side::Server {
            self.response_began.get_or_insert(mark);
            self.last_response = Some(mark);
        }
        self.turns.push(from, position, bytes);
    }

    /// Ends it; nothing comes of one that never started.
    pub fn finish(mut self, end: PairEnd, out: &mut Out) {
        let Some((number, request_began)) = self.started else { return };
        let mut problems = mem::take(&mut self.problems);
        let turns = self.turns.finish(&mut problems);
        out.done(Paired {
            number,
            content: PairedContent::Opaque(turns),
            request_began,
            request_complete: None,
            response_began: self.response_began,
            response_complete: self.last_response.filter(|_| end == PairEnd::Complete),
            arrivals: Vec::new(),
            end,
            problems,
        });
    }
}
