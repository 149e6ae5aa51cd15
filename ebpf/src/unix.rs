//! Open Unix connections. No tracepoint tells of their end, so the programs are asked about each of them from time to
//! time (`unix_alive` in `bpf/unix.h`).

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::event::{CloseCause, Direction, EventKind, SocketId};
use crate::programs::Programs;

/// How long an end may go unnoticed, where there are few connections.
const EVERY: Duration = Duration::from_millis(20);

/// How many are asked about at a time: about a millisecond's work.
const AT_A_TIME: usize = 1000;

/// A Unix socket as the programs find it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnixSocket {
    /// Where the kernel has its `struct sock`.
    pub(crate) address: u64,
    pub(crate) inode: u64,
}

/// What the programs say of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// Its process has shut its sending side.
    SendShut,
    Gone,
}

struct Watched {
    id: SocketId,
    socket: UnixSocket,
    send_shut: bool,
}

/// The connections that were announced and are not gone.
#[derive(Default)]
pub(crate) struct UnixSockets {
    /// Inode numbers of sockets that were there before the capture.
    old: HashSet<u64>,
    watched: VecDeque<Watched>,
    asked: Option<Instant>,
    ends: Vec<EventKind>,
}

impl UnixSockets {
    /// A process had this socket when it was joined.
    pub(crate) fn was_there(&mut self, inode: u64) {
        self.old.insert(inode);
    }

    /// A connection was announced; returns whether it is older than the capture.
    pub(crate) fn opened(&mut self, id: SocketId, socket: UnixSocket) -> bool {
        self.watched.push_back(Watched { id, socket, send_shut: false });
        self.old.remove(&socket.inode)
    }

    /// Asks about those that were not asked about for the longest time, if it is time to.
    pub(crate) fn ask(&mut self, programs: &mut Programs) -> Result<(), Error> {
        if self.watched.is_empty() || self.asked.is_some_and(|asked| asked.elapsed() < EVERY) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        self.ask_about(self.watched.len().min(AT_A_TIME), programs)
    }

    /// Asks about all of them.
    pub(crate) fn ask_all(&mut self, programs: &mut Programs) -> Result<(), Error> {
        self.ask_about(self.watched.len(), programs)
    }

    fn ask_about(&mut self, count: usize, programs: &mut Programs) -> Result<(), Error> {
        for _ in 0..count {
            let Some(mut watched) = self.watched.pop_front() else { break };
            let state = programs.unix_state(watched.socket)?;
            if state != State::Open && !watched.send_shut {
                watched.send_shut = true;
                self.ends.push(EventKind::Finished { socket: watched.id, direction: Direction::Sent });
            }
            if state == State::Gone {
                self.ends.push(EventKind::Close { socket: watched.id, cause: CloseCause::Closed });
                programs.forget_unix(watched.socket)?;
            } else {
                self.watched.push_back(watched);
            }
        }
        Ok(())
    }

    /// What ended. It comes behind everything that was in the ring when [`UnixSockets::ask`] returned.
    pub(crate) fn take_ends(&mut self) -> Vec<EventKind> {
        std::mem::take(&mut self.ends)
    }
}
