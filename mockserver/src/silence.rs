//! Connections that were opened while an entry was played, as long as nothing is said on them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    journal::{Call, Scope},
    mock::Shared,
};

/// One that is open.
#[derive(Debug)]
pub(crate) enum Opened {
    /// To an address that nobody knows, with the call that it is until something is said; `None` once that was told.
    Nowhere(Option<Call>),
    /// To one that is known, with the call that it is if it is left open.
    Known(Call),
}

/// Those that are open.
#[derive(Debug, Default)]
pub(crate) struct Silent {
    next: u64,
    open: BTreeMap<u64, Opened>,
}

impl Silent {
    /// One more. Gives its number.
    pub(crate) fn open(&mut self, opened: Opened) -> u64 {
        self.next += 1;
        self.open.insert(self.next, opened);
        self.next
    }

    /// It is silent no longer, or open no longer.
    pub(crate) fn end(&mut self, number: u64) -> Option<Opened> {
        self.open.remove(&number)
    }

    /// Whether there is any to an unknown address that was not told yet.
    pub(crate) fn is_untold(&self) -> bool {
        self.open.values().any(|opened| matches!(opened, Opened::Nowhere(Some(_))))
    }

    /// Tells those to unknown addresses that were not told yet, in the order in which they were opened.
    pub(crate) fn tell(&mut self) -> Vec<Call> {
        let nowhere = |opened: &mut Opened| if let Opened::Nowhere(call) = opened { call.take() } else { None };
        self.open.values_mut().filter_map(nowhere).collect()
    }

    /// Those to known addresses that were opened in that scope, in order.
    pub(crate) fn left_open(&self, scope: &Scope) -> impl Iterator<Item = &Call> {
        self.open.values().filter_map(move |opened| match opened {
            Opened::Known(call) if call.scope == *scope => Some(call),
            Opened::Known(_) | Opened::Nowhere(_) => None,
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
    pub(crate) fn new(shared: Arc<Shared>, number: u64) -> Silence {
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
