//! For whom bytes pass where a goroutine has others write its request and read the response.

use std::collections::HashMap;

use crate::event::{Direction, SocketId, Unit};

/// Which goroutine has the exchange under way on a socket made for it. Fed in the order of the kernel's buffer.
///
/// A claim holds for one exchange. When bytes are sent after some were received, another request may have begun: unless
/// it was claimed as well (the record may have been lost) nobody is known to have it made.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    next_requests: HashMap<SocketId, Claim>,
    /// Sockets that carry several exchanges at once: goroutines that are about to begin one there, and who waits for it.
    streams: HashMap<SocketId, HashMap<Unit, Option<Unit>>>,
}

/// How many goroutines may be about to begin an exchange on one socket; beyond that some gave up without having done so.
const MOST_STREAMS: usize = 4096;

#[derive(Debug)]
struct Claim {
    unit: Unit,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Made,
    Sent,
    Answered,
}

impl Claims {
    /// The unit will have its next request written to this socket.
    pub(crate) fn make(&mut self, socket: SocketId, unit: Unit) {
        self.next_requests.insert(socket, Claim { unit, stage: Stage::Made });
    }

    /// What the unit sends next on this socket begins a request that `waits` waits for. True for the first on the socket.
    pub(crate) fn make_stream(&mut self, socket: SocketId, unit: Unit, waits: Option<Unit>) -> bool {
        let is_first = !self.streams.contains_key(&socket);
        let streams = self.streams.entry(socket).or_default();
        if streams.len() == MOST_STREAMS {
            streams.clear();
        }
        streams.insert(unit, waits);
        is_first
    }

    /// For whom bytes pass that this unit moved.
    pub(crate) fn behind(&mut self, socket: SocketId, direction: Direction, unit: Option<Unit>) -> Option<Unit> {
        if let Some(streams) = self.streams.get_mut(&socket) {
            return unit.filter(|_| direction == Direction::Sent).and_then(|unit| streams.remove(&unit)).flatten();
        }
        let Some(claim) = self.next_requests.get_mut(&socket) else { return unit };
        match (direction, claim.stage) {
            (Direction::Sent, Stage::Answered) => {
                self.next_requests.remove(&socket);
                return unit;
            }
            (Direction::Sent, Stage::Made | Stage::Sent) => claim.stage = Stage::Sent,
            (Direction::Received, Stage::Made) => return unit,
            (Direction::Received, Stage::Sent | Stage::Answered) => claim.stage = Stage::Answered,
        }
        Some(claim.unit).filter(|claimed| unit.is_some_and(|unit| unit.process == claimed.process)).or(unit)
    }

    /// The socket is gone.
    pub(crate) fn forget(&mut self, socket: SocketId) {
        self.next_requests.remove(&socket);
        self.streams.remove(&socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Strand;
    use Direction::{Received, Sent};

    const SOCKET: SocketId = SocketId(1);

    fn goroutine(number: u64) -> Unit {
        Unit { process: 10, strand: Strand::Goroutine(number) }
    }

    /// For whom bytes pass that goroutines 90 (who writes) and 91 (who reads) moved.
    fn told(claims: &mut Claims, directions: &[Direction]) -> Vec<Unit> {
        let mover = |direction| goroutine(if direction == Sent { 90 } else { 91 });
        directions.iter().map(|&way| claims.behind(SOCKET, way, Some(mover(way))).expect("a unit")).collect()
    }

    #[test]
    fn a_claim_holds_for_one_exchange() {
        let mut claims = Claims::default();
        claims.make(SOCKET, goroutine(7));
        assert_eq!(told(&mut claims, &[Sent, Sent, Received, Received]), [goroutine(7); 4]);
        // The next request was claimed by nobody.
        assert_eq!(told(&mut claims, &[Sent, Received]), [goroutine(90), goroutine(91)]);
        claims.make(SOCKET, goroutine(8));
        assert_eq!(told(&mut claims, &[Sent, Received]), [goroutine(8); 2]);
        claims.forget(SOCKET);
        assert_eq!(told(&mut claims, &[Received]), [goroutine(91)]);
    }

    #[test]
    fn a_stream_is_of_whoever_waits_for_it() {
        let mut claims = Claims::default();
        assert!(claims.make_stream(SOCKET, goroutine(71), Some(goroutine(7))));
        assert!(!claims.make_stream(SOCKET, goroutine(81), Some(goroutine(8))));
        assert!(!claims.make_stream(SOCKET, goroutine(91), None));
        let mut told = |direction, mover| claims.behind(SOCKET, direction, Some(goroutine(mover)));
        assert_eq!(told(Received, 71), None, "whoever reads reads for all");
        assert_eq!(told(Sent, 5), None, "of the connection");
        assert_eq!([81, 71, 91].map(|mover| told(Sent, mover)), [Some(goroutine(8)), Some(goroutine(7)), None]);
        assert_eq!(told(Sent, 81), None, "the rest of it");
        claims.forget(SOCKET);
        assert_eq!(claims.behind(SOCKET, Sent, Some(goroutine(5))), Some(goroutine(5)));
    }

    #[test]
    fn what_comes_before_the_request_is_nobodys() {
        let mut claims = Claims::default();
        claims.make(SOCKET, goroutine(7));
        assert_eq!(told(&mut claims, &[Received, Sent, Received]), [goroutine(91), goroutine(7), goroutine(7)]);
    }

    #[test]
    fn another_process_and_another_socket_have_no_part_in_it() {
        let mut claims = Claims::default();
        claims.make(SOCKET, goroutine(7));
        let other = Unit { process: 11, strand: Strand::Goroutine(1) };
        assert_eq!(claims.behind(SOCKET, Sent, Some(other)), Some(other));
        assert_eq!(claims.behind(SOCKET, Sent, None), None);
        assert_eq!(claims.behind(SocketId(2), Sent, Some(goroutine(90))), Some(goroutine(90)));
    }
}
