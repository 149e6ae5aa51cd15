//! What a recording gave.

use std::{collections::BTreeMap, path::PathBuf};

use regress_cassettes::{Cassette, Confidence, Defect, Exchange, Via};

/// How many exchanges with one downstream, by owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// An entry certainly caused them.
    pub certain: u64,
    /// One of several entries did.
    pub ambiguous: u64,
    /// No entry did.
    pub ambient: u64,
}

/// What a recording gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Which source was used.
    pub via: Option<Via>,
    /// Entries written.
    pub entries: u64,
    /// Entries whose cassette has a defect of any kind, and so replays as inconclusive.
    pub defective: u64,
    /// Exchanges by downstream name.
    pub downstream: BTreeMap<String, Counts>,
    /// Events that the source lost.
    pub lost_events: u64,
    /// Payload bytes that the source lost, where known.
    pub lost_bytes: u64,
    /// Places where bytes moved unseen.
    pub gaps: u64,
    /// Connections into the service whose protocol could not be read: there is no cassette of what came over them.
    pub opaque: u64,
    /// Entries that the end of the recording cut off.
    pub unfinished: u64,
    /// The cassettes in order of writing, the ambient one last.
    pub cassettes: Vec<PathBuf>,
    /// How the command ended, when it ended by itself.
    pub exit: Option<String>,
}

impl Summary {
    /// Entries were recorded and nothing is missing or uncertain.
    pub fn complete(&self) -> bool {
        self.entries > 0
            && self.lost_events == 0
            && self.lost_bytes == 0
            && self.gaps == 0
            && self.defective == 0
            && self.opaque == 0
            && self.unfinished == 0
            && self.ambiguous() == 0
    }

    /// Exchanges whose owner is not known.
    pub fn ambiguous(&self) -> u64 {
        self.downstream.values().map(|counts| counts.ambiguous).sum()
    }

    pub(crate) fn count_entry(&mut self, cassette: &Cassette) {
        self.entries += 1;
        self.defective += u64::from(cassette.has_defects());
        let unfinished = cassette.entry.as_ref().is_some_and(|entry| entry.defects.contains(&Defect::Unfinished));
        self.unfinished += u64::from(unfinished);
        for exchange in &cassette.downstream {
            match exchange.cause.as_ref().map(|cause| cause.confidence) {
                Some(Confidence::Certain) => self.counts(exchange).certain += 1,
                Some(Confidence::Ambiguous) | None => self.counts(exchange).ambiguous += 1,
            }
        }
    }

    pub(crate) fn count_ambient(&mut self, exchange: &Exchange) {
        if exchange.defects.contains(&Defect::AmbiguousOwner) {
            self.counts(exchange).ambiguous += 1;
        } else {
            self.counts(exchange).ambient += 1;
        }
    }

    /// A written cassette turned out to be uncertain: `before` and `after` its correction.
    pub(crate) fn count_doubt(&mut self, before: &Cassette, after: &Cassette) {
        self.defective += u64::from(after.has_defects()) - u64::from(before.has_defects());
        for exchange in &before.downstream {
            if exchange.cause.as_ref().is_some_and(|cause| cause.confidence == Confidence::Certain) {
                let counts = self.counts(exchange);
                counts.certain -= 1;
                counts.ambiguous += 1;
            }
        }
    }

    fn counts(&mut self, exchange: &Exchange) -> &mut Counts {
        self.downstream.entry(exchange.downstream.clone().unwrap_or_default()).or_default()
    }
}
