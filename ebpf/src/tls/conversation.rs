//! One TLS connection as its records tell it: who may have sent application data, and how much is in it.

use crate::event::{Direction, Role};

use super::ledger::{Contradiction, Found, Ledger};
use super::records::{self, APPLICATION_DATA, Agreed, HANDSHAKE, NotTls, Overhead, RecordReader, WholeRecord};

/// What records may add where the handshake was not seen: TLS 1.3, then GCM and ChaCha20 of TLS 1.2.
const USUAL_OVERHEADS: [Overhead; 3] = [Overhead::Exact(17), Overhead::Exact(24), Overhead::Exact(16)];

/// One TLS connection.
#[derive(Debug)]
pub(crate) struct Conversation {
    role: Role,
    readers: [RecordReader; 2],
    /// `None` until the server's hello, or for a connection that was joined, or for protection that is not known.
    agreed: Option<Agreed>,
    joined: bool,
    /// The client's last handshake message has passed: what follows is application data, or a ticket.
    client_finished: bool,
    /// None before the handshake tells how records are protected.
    ledgers: Option<[Ledger; 2]>,
}

/// What the bytes of one event changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// A record passed that is application data of the client.
    pub(crate) client_spoke: bool,
    /// A record passed that may hold application data.
    pub(crate) application: bool,
    /// All that was written so far has been found in records.
    pub(crate) found: bool,
    /// Writes and records contradict each other.
    pub(crate) contradiction: bool,
}

impl Conversation {
    pub(crate) fn new(role: Role, joined: bool) -> Conversation {
        let reader = || if joined { RecordReader::joining() } else { RecordReader::default() };
        let ledgers = joined.then(|| std::array::from_fn(|_| Ledger::new(&USUAL_OVERHEADS, true, true)));
        Conversation { role, readers: [reader(), reader()], agreed: None, joined, client_finished: joined, ledgers }
    }

    /// Ciphertext passed; `sequence` orders it among calls.
    pub(crate) fn feed(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        missing: u64,
        sequence: u64,
    ) -> Result<Change, NotTls> {
        let mut change = Change::default();
        if !bytes.is_empty() {
            for record in self.readers[direction as usize].feed(bytes)? {
                self.record(direction, &record, sequence, &mut change);
            }
        }
        if missing > 0 {
            let (record, lost) = self.readers[direction as usize].skip(missing);
            if let Some(record) = record {
                self.record(direction, &record, sequence, &mut change);
            }
            if lost && let Some(ledgers) = &mut self.ledgers {
                ledgers[direction as usize].lose_track();
            }
        }
        Ok(change)
    }

    fn record(&mut self, direction: Direction, record: &WholeRecord, sequence: u64, change: &mut Change) {
        let from_client = (direction == Direction::Sent) == (self.role == Role::Client);
        if record.kind == HANDSHAKE && !from_client && self.agreed.is_none() {
            self.agree(&record.start);
        }
        if record.kind != APPLICATION_DATA {
            return;
        }
        if let Some(agreed) = self.agreed.filter(|agreed| agreed.hides_types)
            && !self.client_finished
        {
            // Handshake messages. The client's last one has a length of its own.
            let content = agreed.overhead.plaintext(record.length);
            self.client_finished = from_client && content == Some((agreed.finished, agreed.finished));
            return;
        }
        change.application = true;
        change.client_spoke |= from_client;
        let Some(ledgers) = &mut self.ledgers else { return };
        match ledgers[direction as usize].record(record.length, sequence) {
            Ok(Found::Yes) => change.found |= direction == Direction::Sent,
            Ok(Found::NotYet) => {}
            Err(Contradiction) => change.contradiction = true,
        }
    }

    fn agree(&mut self, hello: &[u8]) {
        let Some(agreed) = records::agreed(hello) else { return };
        self.agreed = Some(agreed);
        if !self.joined {
            let hides = agreed.hides_types;
            let client = Ledger::new(&[agreed.overhead], false, hides);
            // Tickets come between the handshake and the server's first application data.
            let server = Ledger::new(&[agreed.overhead], hides, hides);
            self.ledgers = Some(if self.role == Role::Client { [client, server] } else { [server, client] });
        }
    }

    /// The books of one direction; `None` where there is no telling how much is in a record.
    pub(crate) fn ledger(&mut self, direction: Direction) -> Option<&mut Ledger> {
        self.ledgers.as_mut().map(|ledgers| &mut ledgers[direction as usize])
    }

    /// The direction in which the client speaks.
    pub(crate) fn client_direction(&self) -> Direction {
        match self.role {
            Role::Client => Direction::Sent,
            Role::Server => Direction::Received,
        }
    }

    /// The handshake is over, and no application data has passed that was not explained.
    pub(crate) fn is_idle(&self) -> bool {
        let over = match self.agreed {
            Some(agreed) => !agreed.hides_types || self.client_finished,
            None => false,
        };
        let explained = |ledger: &Ledger| ledger.unexplained() == 0 && !ledger.is_waiting();
        over && self.ledgers.as_ref().is_some_and(|ledgers| ledgers.iter().all(explained))
    }
}
