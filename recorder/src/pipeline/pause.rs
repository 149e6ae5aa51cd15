//! The capture stops for a while: what is under way is cut off, and what comes later is joined.

use super::Pipeline;
use crate::{Lack, correlate::Correlator};

impl Pipeline {
    /// Nothing is captured from now on, until events come again as those of a new capture do. Entries that are not settled
    /// may lack anything from here on, and say so; owners that are known are forgotten, because nobody sees for whom threads
    /// and connections work meanwhile.
    pub(crate) fn pause(&mut self, at: u64) {
        for entry in self.entries.values_mut().filter(|entry| !entry.left_out) {
            let lost = entry.lost.get_or_insert_default();
            lost.events += 1;
            lost.lacks.insert(Lack::Paused);
        }
        self.ledger.add(Lack::Paused, 1, 0);
        self.cut_off(at);
        self.connections.clear();
        self.ends.clear();
        self.lines.clear();
        self.held.clear();
        self.entries.clear();
        self.calls.clear();
        (self.waiting, self.under_way) = (0, 0);
        self.correlator = Correlator::new(self.patience);
    }
}
