//! Both directions of a connection become exchanges.

mod dialogue;
pub(crate) mod open;
mod seek;
#[cfg(test)]
mod tests;

use std::mem;

use bytes::Bytes;

use self::{
    dialogue::{Dialogue, Shift, Unsure},
    open::Upgraded,
    seek::Seek,
};
use super::{Detected, Limits, Message, detect};
use crate::{
    Mark, Side,
    pair::{Out, PairEnd, PairEvent, Paired, PairedContent, Problem},
    raw::{CONVERSATION, Raw, UNREADABLE},
};

/// Turns what both sides of one connection said into exchanges. It never fails: what it cannot read becomes an
/// opaque exchange or a [`Problem`] of one.
#[derive(Debug)]
pub struct Pairer {
    limits: Limits,
    state: State,
    positions: [u64; 2],
    out: Out,
}

#[derive(Debug)]
enum State {
    /// The client has not said enough to tell the protocol.
    Fresh(Vec<Piece>),
    Seeking(Seek),
    Http(Box<Dialogue>),
    Upgraded(Box<Upgraded>),
    Opaque(Raw),
    Over,
}

/// Bytes of one side, or (with no bytes) how many of its bytes were not seen.
#[derive(Clone, Debug)]
struct Piece {
    mark: Mark,
    from: Side,
    position: u64,
    bytes: Bytes,
    missing: u64,
}

/// Why nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Closed,
    Reset,
    Stopped,
}

impl Pairer {
    /// A pairer for one connection. One that was `joined` begins at an unknown place of both streams and waits for
    /// the first bytes of the client that begin a request.
    pub fn new(joined: bool, limits: Limits) -> Pairer {
        let state = if joined {
            let rest = Raw::new(UNREADABLE, vec![Problem::JoinedMidStream]);
            State::Seeking(Seek::new(Some(rest), limits.head, Unsure { reason: Problem::JoinedMidStream, owed: false }))
        } else {
            State::Fresh(Vec::new())
        };
        Pairer { limits, state, positions: [0; 2], out: Out::default() }
    }

    /// Bytes moved.
    pub fn data(&mut self, mark: Mark, from: Side, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let position = self.advance(from, bytes.len() as u64);
        match &mut self.state {
            State::Http(dialogue) => {
                let shift = dialogue.data(mark, from, position, bytes, &mut self.out);
                self.shift(shift);
            }
            State::Upgraded(upgraded) => upgraded.data(from, position, bytes),
            State::Opaque(raw) => raw.push(mark, from, position, bytes, &mut self.out),
            State::Fresh(_) | State::Seeking(_) => {
                self.undecided(Piece { mark, from, position, bytes: Bytes::copy_from_slice(bytes), missing: 0 });
            }
            State::Over => {}
        }
    }

    /// Bytes moved that nobody saw. Inside a body whose length is known they only leave a hole there. Elsewhere the
    /// exchanges under way end here, and the next request is looked for; where requests were pipelined the rest of
    /// the connection is given as opaque, since responses could no longer be told apart.
    pub fn gap(&mut self, mark: Mark, from: Side, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let position = self.advance(from, bytes);
        let gap = Problem::Gap { from, position, bytes };
        match &mut self.state {
            State::Fresh(pieces) => {
                let mut rest = Raw::new(UNREADABLE, vec![gap]);
                rest.start(pieces.first().map_or(mark, |piece| piece.mark), &mut self.out);
                for piece in pieces {
                    rest.push(piece.mark, piece.from, piece.position, &piece.bytes, &mut self.out);
                }
                self.state =
                    State::Seeking(Seek::new(Some(rest), self.limits.head, Unsure { reason: gap, owed: false }));
            }
            State::Seeking(seek) => seek.gap(from, gap, &mut self.out),
            State::Http(dialogue) => {
                let shift = dialogue.gap(mark, from, position, bytes, &mut self.out);
                self.shift(shift);
            }
            State::Upgraded(upgraded) => upgraded.problem(gap),
            State::Opaque(raw) => raw.problem(gap),
            State::Over => {}
        }
    }

    /// One side will send no more; the other may go on.
    pub fn finished(&mut self, mark: Mark, from: Side) {
        if let State::Http(dialogue) = &mut self.state {
            let shift = dialogue.finished(mark, from, &mut self.out);
            self.shift(shift);
        }
    }

    /// The connection is gone, in good order: a response that was to run until then is complete.
    pub fn closed(&mut self, mark: Mark) {
        self.end(mark, Ending::Closed);
    }

    /// The connection was reset: a response that was to run until its end is cut, unless the server had finished.
    pub fn reset(&mut self, mark: Mark) {
        self.end(mark, Ending::Reset);
    }

    /// The recording ends: what is open is given as unfinished.
    pub fn stop(&mut self, mark: Mark) {
        self.end(mark, Ending::Stopped);
    }

    /// The next thing found out, in order.
    #[allow(clippy::should_implement_trait, reason = "more events may follow after None")]
    pub fn next(&mut self) -> Option<PairEvent> {
        self.out.events.pop_front()
    }

    /// The request of an exchange, from when it is complete until the exchange is done.
    pub fn request(&self, number: u64) -> Option<&Message> {
        match &self.state {
            State::Http(dialogue) => dialogue.request(number),
            State::Upgraded(upgraded) => upgraded.request(number),
            State::Fresh(_) | State::Seeking(_) | State::Opaque(_) | State::Over => None,
        }
    }

    /// Whether the next request is looked for, as its place in the conversation is not known.
    pub(crate) fn is_seeking(&self) -> bool {
        matches!(self.state, State::Seeking(_))
    }

    /// Whether it is cut into exchanges, if anything was said.
    pub(crate) fn is_read(&self) -> bool {
        !matches!(self.state, State::Opaque(_))
    }

    /// The number of the next exchange.
    pub(crate) fn next_number(&self) -> u64 {
        self.out.next_number
    }

    fn advance(&mut self, from: Side, bytes: u64) -> u64 {
        let position = &mut self.positions[from as usize];
        mem::replace(position, position.saturating_add(bytes))
    }

    /// Bytes came while it is not known what the connection, or this place of it, speaks.
    fn undecided(&mut self, piece: Piece) {
        let pieces = match &mut self.state {
            State::Seeking(seek) => seek.data(piece, &mut self.out),
            State::Fresh(pieces) => {
                let server = piece.from == Side::Server;
                pieces.push(piece);
                let first: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).take(24).collect();
                let detected = if server { Detected::Other } else { detect(&first) };
                if detected == Detected::NeedMore {
                    return;
                }
                let pieces = mem::take(pieces);
                if detected != Detected::Http1 {
                    let raw = Raw::new(self.limits.body.min(CONVERSATION), Vec::new());
                    return self.become_opaque(raw, pieces);
                }
                Some(pieces)
            }
            _ => None,
        };
        let Some(pieces) = pieces else { return };
        let unsure = match mem::replace(&mut self.state, State::Over) {
            State::Seeking(seek) => {
                let unsure = seek.unsure;
                seek.finish(PairEnd::Unfinished, &mut self.out);
                Some(unsure)
            }
            _ => None,
        };
        self.state = State::Http(Box::new(Dialogue::new(self.limits, unsure)));
        self.replay(pieces);
    }

    fn become_opaque(&mut self, raw: Raw, pieces: Vec<Piece>) {
        self.state = State::Opaque(raw);
        self.replay(pieces);
    }

    /// Hands on pieces that were held back, in whatever state the connection is by then.
    fn replay(&mut self, pieces: Vec<Piece>) {
        for Piece { mark, from, position, bytes, missing } in pieces {
            match &mut self.state {
                State::Http(dialogue) => {
                    let shift = dialogue.data(mark, from, position, &bytes, &mut self.out);
                    self.shift(shift);
                }
                State::Upgraded(upgraded) if missing > 0 => {
                    upgraded.problem(Problem::Gap { from, position, bytes: missing });
                }
                State::Upgraded(upgraded) => upgraded.data(from, position, &bytes),
                State::Opaque(raw) if missing > 0 => {
                    raw.problem(Problem::Gap { from, position, bytes: missing });
                }
                State::Opaque(raw) => raw.push(mark, from, position, &bytes, &mut self.out),
                State::Fresh(_) | State::Seeking(_) | State::Over => {}
            }
        }
    }

    fn shift(&mut self, shift: Option<Shift>) {
        match shift {
            None => {}
            Some(Shift::Upgraded(upgraded, pieces)) => {
                self.state = State::Upgraded(upgraded);
                self.replay(pieces);
            }
            Some(Shift::Opaque(raw, pieces)) => self.become_opaque(raw, pieces),
            Some(Shift::Seek(rest, unsure)) => self.state = State::Seeking(Seek::new(rest, self.limits.head, unsure)),
        }
    }

    fn end(&mut self, mark: Mark, ending: Ending) {
        if ending == Ending::Closed {
            self.finished(mark, Side::Server);
        }
        let end = if ending == Ending::Stopped { PairEnd::Unfinished } else { PairEnd::Complete };
        match mem::replace(&mut self.state, State::Over) {
            State::Fresh(pieces) => {
                self.become_opaque(Raw::new(self.limits.body.min(CONVERSATION), Vec::new()), pieces);
                self.end(mark, ending);
            }
            State::Seeking(seek) => seek.finish(PairEnd::Unfinished, &mut self.out),
            State::Http(dialogue) => dialogue.end(ending, &mut self.out),
            State::Upgraded(upgraded) => upgraded.end(end, &mut self.out),
            State::Opaque(raw) => {
                raw.finish(if ending == Ending::Reset { PairEnd::ClosedEarly } else { end }, &mut self.out)
            }
            State::Over => {}
        }
    }
}
