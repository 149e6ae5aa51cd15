//! The order of both directions of a connection.
//!
//! Bytes that the service sends are reported when its call returns. The peer may have answered by then, and another
//! thread may have read the answer: it is reported first. Where the source says how far the other direction had come,
//! such data is held until those bytes have come too. What is held is bounded in bytes and in event time; beyond that it
//! goes on as it is, and says so.

use std::collections::VecDeque;

use bytes::Bytes;
use regress_ebpf::{Direction, Unit};

/// Payload that may be held on one connection.
const MOST_BYTES: usize = 1 << 20;
/// Nanoseconds of event time that something may be held.
const LONGEST: u64 = 200_000_000;

/// Something that moved on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Monotonic nanoseconds.
    pub at: u64,
    pub unit: Option<Unit>,
    pub direction: Direction,
    pub what: What,
}

/// What it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// As in [`regress_ebpf::EventKind::Data`].
    Data { position: u64, bytes: Bytes, missing: u64, other: Option<u64> },
    /// The direction ended.
    Finished,
}

impl Moved {
    /// How far the other direction must have come.
    fn after(&self) -> u64 {
        match &self.what {
            What::Data { other, .. } => other.unwrap_or(0),
            What::Finished => 0,
        }
    }

    fn len(&self) -> usize {
        match &self.what {
            What::Data { bytes, .. } => bytes.len(),
            What::Finished => 0,
        }
    }
}

/// What waits on one connection for its turn.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    waiting: VecDeque<Moved>,
    bytes: usize,
}

/// How something goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// In order.
    InOrder(Moved),
    /// Although so many bytes of the other direction have not come.
    OutOfOrder(Moved, u64),
}

impl Hold {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Take something in. `reached`: how far each direction has come. Gives it back if it can go on at once.
    pub(crate) fn offer(&mut self, moved: Moved, reached: [u64; 2]) -> Option<Moved> {
        let behind = self.waiting.iter().any(|held| held.direction == moved.direction);
        if !behind && lacks(&moved, reached) == 0 {
            return Some(moved);
        }
        let mut moved = moved;
        if let What::Data { bytes, .. } = &mut moved.what {
            // The payload of events shares memory, which would stay as long as this.
            *bytes = Bytes::copy_from_slice(bytes);
        }
        self.bytes += moved.len();
        self.waiting.push_back(moved);
        None
    }

    /// The next one whose turn has come, by what the other direction has reached, by event time, or by the room that
    /// is left. `everything`: the connection ends, nothing can wait any longer.
    pub(crate) fn next(&mut self, reached: [u64; 2], at: u64, everything: bool) -> Option<Next> {
        let ready = (0..self.waiting.len()).find(|&index| {
            let moved = &self.waiting[index];
            let behind = self.waiting.iter().take(index).any(|held| held.direction == moved.direction);
            !behind && lacks(moved, reached) == 0
        });
        if let Some(moved) = ready.and_then(|index| self.waiting.remove(index)) {
            self.bytes -= moved.len();
            return Some(Next::InOrder(moved));
        }
        let first = self.waiting.front()?;
        if !everything && self.bytes <= MOST_BYTES && at < first.at.saturating_add(LONGEST) {
            return None;
        }
        let moved = self.waiting.pop_front()?;
        self.bytes -= moved.len();
        let lacks = lacks(&moved, reached);
        Some(Next::OutOfOrder(moved, lacks))
    }

    /// When the first one that waits must go on.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.waiting.front().map(|moved| moved.at.saturating_add(LONGEST))
    }
}

/// How many bytes of the other direction must come before this.
fn lacks(moved: &Moved, reached: [u64; 2]) -> u64 {
    let other = match moved.direction {
        Direction::Sent => Direction::Received,
        Direction::Received => Direction::Sent,
    };
    moved.after().saturating_sub(reached[other as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(at: u64, direction: Direction, bytes: &'static [u8], other: Option<u64>) -> Moved {
        let what = What::Data { position: 0, bytes: Bytes::from_static(bytes), missing: 0, other };
        Moved { at, unit: None, direction, what }
    }

    #[test]
    fn an_answer_waits_for_its_request() {
        let mut hold = Hold::default();
        let answer = data(1, Direction::Received, b"answer", Some(7));
        assert_eq!(hold.offer(answer.clone(), [0, 0]), None);
        let end = Moved { at: 2, unit: None, direction: Direction::Received, what: What::Finished };
        assert_eq!(hold.offer(end.clone(), [0, 0]), None, "behind what waits");
        assert_eq!(hold.next([6, 0], 3, false), None);
        let request = data(3, Direction::Sent, b"request", None);
        assert_eq!(hold.offer(request.clone(), [0, 0]), Some(request), "the other direction goes on");
        assert_eq!(hold.next([7, 0], 3, false), Some(Next::InOrder(answer)));
        assert_eq!(hold.next([7, 6], 3, false), Some(Next::InOrder(end)));
        assert!(hold.is_empty() && hold.bytes == 0);
    }

    #[test]
    fn nothing_waits_for_ever() {
        let late = data(5, Direction::Received, b"late", Some(3));
        let mut hold = Hold::default();
        hold.offer(late.clone(), [1, 0]);
        assert_eq!(hold.deadline(), Some(5 + LONGEST));
        assert_eq!(hold.next([1, 0], 4 + LONGEST, false), None);
        assert_eq!(hold.next([1, 0], 5 + LONGEST, false), Some(Next::OutOfOrder(late.clone(), 2)));
        hold.offer(late.clone(), [1, 0]);
        assert_eq!(hold.next([1, 0], 6, true), Some(Next::OutOfOrder(late, 2)));
        let big = data(5, Direction::Received, &[0; 600 << 10], Some(3));
        hold.offer(big.clone(), [0, 0]);
        assert_eq!(hold.next([0, 0], 6, false), None);
        hold.offer(big.clone(), [0, 0]);
        assert_eq!(hold.next([0, 0], 6, false), Some(Next::OutOfOrder(big, 3)));
        assert_eq!(hold.next([0, 0], 6, false), None);
    }
}
