//! Addresses to which the service opened connections on which nothing was ever said.

use std::collections::{BTreeMap, HashSet};

use regress_ebpf::Address;

use crate::{
    assemble::{self, Timed},
    connections::Connection,
};

/// The most addresses that are remembered. Beyond them a replay may take a connection for one that was never opened.
const MOST: usize = 4_096;

/// What is known of them, an exchange in which nothing is said for each: by it a replay knows such an address, and that
/// the service leaves connections to it unused.
#[derive(Default)]
pub(crate) struct Silences {
    silent: BTreeMap<Address, Silent>,
    spoken: HashSet<Address>,
    unreached: HashSet<Address>,
}

/// A connection on which nothing was said.
struct Silent {
    exchange: Timed,
    /// It was open before the recording, and may have been used then.
    joined: bool,
}

impl Silences {
    /// Something was said to that address. What was open before counts only where that is all that there is.
    pub(crate) fn spoke(&mut self, peer: &Address) {
        if !self.spoken.contains(peer) && self.spoken.len() < MOST {
            self.spoken.insert(peer.clone());
            if self.silent.get(peer).is_some_and(|silent| silent.joined) {
                self.silent.remove(peer);
            }
        }
    }

    /// A connection to that address was tried in vain, which is told as what it was.
    pub(crate) fn never_established(&mut self, peer: &Address) {
        if !self.unreached.contains(peer) && self.unreached.len() < MOST {
            self.unreached.insert(peer.clone());
            self.silent.remove(peer);
        }
    }

    /// A connection is over, or the recording is.
    pub(crate) fn ended(&mut self, connection: &Connection) {
        let peer = &connection.peer;
        let joined = connection.joined;
        let is_told = self.unreached.contains(peer) || (joined && self.spoken.contains(peer));
        let is_known = self.silent.get(peer).is_some_and(|silent| joined || !silent.joined);
        if connection.is_silent() && !is_told && !is_known && self.silent.len() < MOST {
            self.silent.insert(peer.clone(), Silent { exchange: assemble::silent(connection), joined });
        }
    }

    /// All of them.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Timed> + use<> {
        std::mem::take(&mut self.silent).into_values().map(|silent| silent.exchange)
    }
}
