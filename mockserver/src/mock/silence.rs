//! Connections that were opened while an entry was played, as long as nothing is said on them.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use bytes::Bytes;

use super::{Mock, Place, Shared, missed};
use crate::journal::{Attempted, Call, MissReason, Scope};

/// One that is open.
#[derive(Debug)]
enum Opened {
    /// To an address that nobody knows, with the call that it is until something is said; `None` once that was told.
    Nowhere(Option<Box<Call>>),
    /// To this one, which is known, in this scope.
    Known(SocketAddr, Scope),
}

/// Those that are open.
#[derive(Debug, Default)]
pub(super) struct Silent {
    next: u64,
    open: BTreeMap<u64, Opened>,
}

impl Silent {
    /// One more. Gives its number.
    fn open(&mut self, opened: Opened) -> u64 {
        self.next += 1;
        self.open.insert(self.next, opened);
        self.next
    }

    /// It is silent no longer, or open no longer.
    fn end(&mut self, number: u64) -> Option<Opened> {
        self.open.remove(&number)
    }

    /// Whether there is any to an unknown address that was not told yet.
    fn is_untold(&self) -> bool {
        self.open.values().any(|opened| matches!(opened, Opened::Nowhere(Some(_))))
    }

    /// Tells those to unknown addresses that were not told yet, in the order in which they were opened.
    fn tell(&mut self) -> Vec<Call> {
        let nowhere =
            |opened: &mut Opened| if let Opened::Nowhere(call) = opened { call.take().map(|call| *call) } else { None };
        self.open.values_mut().filter_map(nowhere).collect()
    }

    /// Those to known addresses that were opened in that scope, in order.
    fn left_open(&self, scope: &Scope) -> impl Iterator<Item = SocketAddr> {
        self.open.values().filter_map(move |opened| match opened {
            Opened::Known(destination, opened_in) if opened_in == scope => Some(*destination),
            Opened::Known(..) | Opened::Nowhere(_) => None,
        })
    }
}

/// One such connection, for as long as nothing is said on it.
pub(crate) struct Silence {
    shared: Arc<Shared>,
    number: u64,
}

impl Silence {
    /// The connection with this number.
    fn new(shared: Arc<Shared>, number: u64) -> Silence {
        Silence { shared, number }
    }

    /// It was closed in silence.
    pub(crate) fn closed(self) {
        self.shared.closed_in_silence(self.number);
    }
}

/// Something was said, and that is the call then.
impl Drop for Silence {
    fn drop(&mut self) {
        self.shared.broke_silence(self.number);
    }
}

impl Mock {
    /// Whether [`Mock::tell_silent`] has anything to tell.
    pub fn is_silent(&self) -> bool {
        self.shared.state().silent.is_untold()
    }

    /// The connections that are open, that were opened while an entry was played, to addresses that no recording knows,
    /// and on which nothing was said: each once, in order. What is said on one later is a call of its own. Connections
    /// to addresses that are known are none, as pools open them in advance.
    pub fn tell_silent(&self) -> Vec<Call> {
        self.shared.state().silent.tell()
    }

    /// The connections to addresses that are known, that were opened while the entry was played which is played now, and
    /// that are open without anything said on them; unless the recorded service left such connections unused, too.
    /// Each is told as often as this is asked.
    pub fn left_open(&self) -> Vec<Call> {
        let state = self.shared.state();
        let call = |destination| {
            let place = Place { destination, tls: false };
            let call = state.nameless(place, Attempted::Opaque(Bytes::new()), missed(MissReason::LeftOpen));
            let name = self.shared.names_at(&state, place).into_iter().next();
            Call { downstream: name.unwrap_or(call.downstream), ..call }
        };
        state.silent.left_open(&state.scope).map(call).collect()
    }
}

impl Shared {
    /// Takes note of a connection that was opened while an entry is played. One to an address that nobody knows is a call,
    /// whatever comes of it; one to an address that is known may be left unused, unless the recorded service did so.
    pub(crate) fn arrives(shared: &Arc<Shared>, destination: SocketAddr) -> Option<Silence> {
        let mut state = shared.state();
        if state.scope == Scope::Ambient {
            return None;
        }
        let opened = match shared.library.knows(destination) {
            true if shared.library.is_left_unused(destination) => return None,
            true => Opened::Known(destination, state.scope.clone()),
            false => {
                let place = Place { destination, tls: false };
                let matched = missed(MissReason::UnknownDestination);
                Opened::Nowhere(Some(Box::new(state.nameless(place, Attempted::Opaque(Bytes::new()), matched))))
            }
        };
        Some(Silence::new(Arc::clone(shared), state.silent.open(opened)))
    }

    /// Takes note that something was said on such a connection.
    fn broke_silence(&self, number: u64) {
        self.state().silent.end(number);
    }

    /// Takes note that such a connection was closed before.
    fn closed_in_silence(&self, number: u64) {
        let mut state = self.state();
        match state.silent.end(number) {
            Some(Opened::Nowhere(Some(call))) => state.journal.note(*call),
            Some(Opened::Known(destination, _)) => {
                drop(state);
                self.silent(Place { destination, tls: false });
            }
            Some(Opened::Nowhere(None)) | None => {}
        }
    }

    /// Takes note of a connection on which nothing was said. It is a call only where nobody knows the destination.
    pub(crate) fn silent(&self, place: Place) {
        let mut state = self.state();
        if self.reason(&state, place) == MissReason::UnknownDestination {
            let matched = missed(MissReason::UnknownDestination);
            state.note(place, Attempted::Opaque(Bytes::new()), matched);
        }
    }
}
