//! Finding the next request on a connection whose place in the conversation is unknown.

use std::mem;

use bytes::BytesMut;

use super::{Out, PairEnd, Piece, Problem, dialogue::Unsure};
use crate::{
    Side,
    http1::{Detected, detect, grammar},
    raw::Raw,
};

/// Waits for bytes of the client that begin with a whole request line. Nothing else is taken for a message, so that
/// the middle of a body or of a response never becomes an exchange.
#[derive(Debug)]
pub(super) struct Seek {
    /// The visible rest of an exchange that was under way; `None` where that exchange was reported already.
    rest: Option<Raw>,
    /// Client bytes that may be the start of a request line.
    candidate: Vec<Piece>,
    line: BytesMut,
    /// The longest request line.
    limit: usize,
    /// Why the place is unknown, and what to expect of the server.
    pub unsure: Unsure,
}

impl Seek {
    pub fn new(rest: Option<Raw>, limit: usize, unsure: Unsure) -> Seek {
        Seek { rest, candidate: Vec::new(), line: BytesMut::new(), limit, unsure }
    }

    /// Looks at more bytes. Gives the pieces with which a conversation begins, once they are there.
    pub fn data(&mut self, piece: Piece, out: &mut Out) -> Option<Vec<Piece>> {
        if piece.from == Side::Server {
            self.unsure.owed = false;
            self.reject(out);
            self.see(&piece, out);
            return None;
        }
        let ended = piece.bytes.iter().position(|byte| *byte == b'\n').map(|at| self.line.len() + at);
        self.line.extend_from_slice(&piece.bytes);
        self.candidate.push(piece);
        let plausible = match detect(&self.line) {
            Detected::Http1 => self.line.len() <= self.limit || ended.is_some(),
            Detected::NeedMore => ended.is_none(),
            Detected::Tls | Detected::Other => false,
        };
        match ended {
            Some(end) if plausible && is_request_line(&self.line[..end]) => Some(mem::take(&mut self.candidate)),
            None if plausible => None,
            _ => {
                self.reject(out);
                None
            }
        }
    }

    /// Bytes were not seen: what follows them does not begin where it seems to.
    pub fn gap(&mut self, from: Side, problem: Problem, out: &mut Out) {
        self.unsure.owed &= from == Side::Client;
        self.reject(out);
        if let Some(rest) = &mut self.rest {
            rest.problems.push(problem);
        }
    }

    /// The search is over.
    pub fn finish(mut self, end: PairEnd, out: &mut Out) {
        self.reject(out);
        if let Some(rest) = self.rest {
            rest.finish(end, out);
        }
    }

    fn reject(&mut self, out: &mut Out) {
        self.line.clear();
        for piece in mem::take(&mut self.candidate) {
            self.see(&piece, out);
        }
    }

    fn see(&mut self, piece: &Piece, out: &mut Out) {
        if let Some(rest) = &mut self.rest {
            rest.push(piece.mark, piece.from, piece.position, &piece.bytes, out);
        }
    }
}

fn is_request_line(line: &[u8]) -> bool {
    grammar::request_line(line.strip_suffix(b"\r").unwrap_or(line)).is_some_and(|line| line.version.0 == 1)
}
