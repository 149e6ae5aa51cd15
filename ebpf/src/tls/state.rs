//! What is known of one socket and of one TLS object while plaintext is tied to sockets.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::event::{Direction, Event, EventKind, Role, SocketId, Unit};

use super::ObjectId;
use super::conversation::Conversation;
use super::preamble::Preamble;
use super::records::begins_record;

/// Ciphertext that is kept of one connection; of more only the length is.
const MOST_HELD: usize = 1 << 20;
/// Plaintext that is kept of one object while its socket is not known; of more only the length is.
const MOST_WAITING: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) role: Role,
    pub(super) joined: bool,
    /// How much passed in the clear, each way, before what may be TLS.
    pub(super) clear: [u64; 2],
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Its first bytes do not tell yet.
    New(Vec<Event>),
    /// It began in the clear, and may turn to TLS: what passes is told as it is.
    Clear(Preamble),
    /// What passes is told as it is: no TLS, or nothing is known of what is inside.
    Open,
    Tls(Box<Secure>),
}

/// A connection that speaks TLS.
#[derive(Debug)]
pub(super) struct Secure {
    pub(super) conversation: Conversation,
    /// Every call was seen, from the connection's first byte.
    pub(super) heard: bool,
    pub(super) object: Option<ObjectId>,
    /// The object is known by a system call that was made in a call on it, or by its own word.
    pub(super) named: bool,
    /// More than one object may be the one, and nothing strong says which.
    pub(super) ambiguous: bool,
    /// Plaintext is told instead of ciphertext.
    pub(super) bound: bool,
    /// Plaintext and ciphertext contradict each other: nothing can be told but what is missing.
    pub(super) broken: bool,
    /// The object is no more: what it has not read will not be read.
    pub(super) freed: bool,
    pub(super) held: Vec<Event>,
    pub(super) held_bytes: usize,
    /// Time of the last event.
    pub(super) last: u64,
    /// What comes later waits for it until then.
    pub(super) decide_by: Option<u64>,
    /// How much has been told, in the clear and then of plaintext.
    pub(super) position: [u64; 2],
    /// Missing plaintext that was told of before any was heard.
    pub(super) unheard: [u64; 2],
    /// The end of the connection, and until when it waits for the last reads.
    pub(super) ending: Option<(u64, Vec<Event>)>,
}

#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) socket: Option<SocketId>,
    /// It makes the system calls itself, so that records have passed by the time a call returns.
    pub(super) on_descriptor: bool,
    pub(super) ambiguous: bool,
    pub(super) position: [u64; 2],
    /// The call whose pieces are coming in.
    pub(super) current: [Option<Call>; 2],
    /// Calls that are not told yet.
    pub(super) waiting: VecDeque<Call>,
    /// How many of them the books know.
    pub(super) checked: usize,
    pub(super) waiting_bytes: u64,
}

/// What one call moved.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) at: u64,
    pub(super) unit: Option<Unit>,
    pub(super) direction: Direction,
    pub(super) requested: u64,
    pub(super) length: u64,
    /// When it was complete, by the binder's count.
    pub(super) sequence: u64,
    /// Bytes of it that are still to come.
    pub(super) left: u64,
    /// Bytes, and how many are missing behind them.
    pub(super) pieces: Vec<(Bytes, u64)>,
    /// Bytes before it that nobody saw.
    pub(super) gap: u64,
}

impl Secure {
    /// TLS that begins behind so many bytes in the clear.
    pub(super) fn new(role: Role, joined: bool, heard: bool, clear: [u64; 2]) -> Secure {
        let conversation = Conversation::new(role, joined);
        Secure {
            conversation,
            heard,
            object: None,
            named: false,
            ambiguous: false,
            bound: false,
            broken: false,
            freed: false,
            held: Vec::new(),
            held_bytes: 0,
            last: 0,
            decide_by: None,
            position: clear,
            unheard: [0; 2],
            ending: None,
        }
    }

    /// Keeps ciphertext as long as it may have to be told.
    pub(super) fn hold(&mut self, mut event: Event) {
        self.last = event.at;
        if self.bound {
            return;
        }
        if let EventKind::Data { bytes, missing, .. } = &mut event.kind {
            self.held_bytes += bytes.len();
            if self.held_bytes > MOST_HELD {
                *missing = missing.saturating_add(bytes.len() as u64);
                *bytes = Bytes::new();
            }
        }
        self.held.push(event);
    }
}

impl Object {
    pub(super) fn wait(&mut self, mut call: Call) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(call.length);
        if self.waiting_bytes > MOST_WAITING {
            call.pieces = vec![(Bytes::new(), call.length)];
        }
        self.waiting.push_back(call);
    }

    pub(super) fn take_first(&mut self) -> Option<Call> {
        let call = self.waiting.pop_front()?;
        self.checked = self.checked.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(call.length);
        Some(call)
    }
}

impl Call {
    pub(super) fn new(at: u64, unit: Option<Unit>, direction: Direction, requested: u64, gap: u64) -> Call {
        Call { at, unit, direction, requested, length: 0, sequence: 0, left: 0, pieces: Vec::new(), gap }
    }

    pub(super) fn add(&mut self, bytes: Bytes, missing: u64) {
        self.length = self.length.saturating_add(bytes.len() as u64).saturating_add(missing);
        self.pieces.push((bytes, missing));
    }

    /// How many bytes are missing where it cannot be told.
    pub(super) fn missing(&self) -> u64 {
        self.gap.saturating_add(self.length)
    }
}

/// Whether the connection speaks TLS, by its first bytes; `None` while they are too few.
pub(super) fn looks_like_tls(first: &[Event]) -> Option<bool> {
    let mut start = Vec::new();
    let mut way = None;
    for event in first {
        let EventKind::Data { direction, bytes, missing, .. } = &event.kind else { continue };
        if *way.get_or_insert(*direction) != *direction {
            continue;
        }
        start.extend_from_slice(&bytes[..bytes.len().min(8)]);
        if *missing > 0 {
            return Some(begins_record(&start) == Some(true));
        }
    }
    begins_record(&start)
}
