//! Addresses to which the service opened connections and on which nothing was ever said.

use std::collections::{BTreeMap, HashSet};

use regress_ebpf::Address;

use crate::{
    assemble::{self, Timed},
    connections::Connection,
};

/// The most addresses that are remembered. Beyond them a replay may take a connection for one that was never opened.
const MOST: usize = 4_096;

/// What is known of them, an exchange in which nothing is said for each: a replay knows such an address by it.
#[derive(Default)]
pub(crate) struct Silences {
    silent: BTreeMap<Address, Timed>,
    spoken: HashSet<Address>,
}

impl Silences {
    /// Something was said to that address, or it was never reached.
    pub(crate) fn spoke(&mut self, peer: &Address) {
        if !self.spoken.contains(peer) && self.spoken.len() < MOST {
            self.spoken.insert(peer.clone());
            self.silent.remove(peer);
        }
    }

    /// A connection is over, or the recording is.
    pub(crate) fn ended(&mut self, connection: &Connection) {
        let peer = &connection.peer;
        let is_known = self.spoken.contains(peer) || self.silent.contains_key(peer);
        if connection.is_silent() && !is_known && self.silent.len() < MOST {
            self.silent.insert(peer.clone(), assemble::silent(connection));
        }
    }

    /// All of them.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Timed> + use<> {
        std::mem::take(&mut self.silent).into_values()
    }
}
