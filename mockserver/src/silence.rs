//! Connections to addresses that nobody knows, as long as nothing is said on them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{journal::Call, mock::Shared};

/// Those that are open, each with the call that it is until something is said; `None` once that was told.
#[derive(Debug, Default)]
pub(crate) struct Silent {
    next: u64,
    open: BTreeMap<u64, Option<Call>>,
}

impl Silent {
    /// One more. Gives its number.
    pub(crate) fn open(&mut self, call: Call) -> u64 {
        self.next += 1;
        self.open.insert(self.next, Some(call));
        self.next
    }

    /// It is silent no longer. Gives the call that was not told yet.
    pub(crate) fn end(&mut self, number: u64) -> Option<Call> {
        self.open.remove(&number).flatten()
    }

    /// Whether there is any that was not told yet.
    pub(crate) fn is_untold(&self) -> bool {
        self.open.values().any(Option::is_some)
    }

    /// Tells those that were not told yet, in the order in which they were opened.
    pub(crate) fn tell(&mut self) -> Vec<Call> {
        self.open.values_mut().filter_map(Option::take).collect()
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
