//! What a recording gave.

use std::{collections::BTreeMap, time::Duration};

use regress_cassettes::{Cassette, Confidence, Defect, Exchange, Via, redact::Replaced};

use crate::{Ledger, select::LeftOut};

/// Downstreams that are counted by name.
const MOST_NAMES: usize = 1000;

/// What all further downstreams are counted under.
const OTHERS: &str = "(others)";

/// How many exchanges with one downstream, by owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// An entry certainly caused them.
    pub certain: u64,
    /// One probably did: only a rule that can be wrong says so.
    pub likely: u64,
    /// One of several entries did.
    pub ambiguous: u64,
    /// No entry did.
    pub ambient: u64,
}

/// What a recording did while the host was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackedOff {
    /// How many times the breaker opened.
    pub opened: u64,
    /// For how long nothing was captured.
    pub paused: Duration,
    /// The fewest entries that were kept: one of so many; 0 where all were.
    pub thinnest: u32,
    /// What was done, the first hundred times.
    pub events: Vec<Happened>,
    /// How many times more.
    pub untold: u64,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What, for people.
    pub what: String,
    /// Percent of the time in which something waited for a processor.
    pub cpu: u32,
    /// Percent of the kernel's buffer that waited for the recorder.
    pub buffer: u32,
}

/// What a recording gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Which source was used.
    pub via: Option<Via>,
    /// Entries written, each to a cassette of its own.
    pub entries: u64,
    /// Entries whose cassette has a defect of any kind, and so replays as inconclusive.
    pub defective: u64,
    /// Entries that were left out because an owner was uncertain.
    pub left_out: u64,
    /// Entries that were left out by choice.
    pub unselected: LeftOut,
    /// What was done while the host was loaded; `None`: nobody looked.
    pub backed_off: Option<BackedOff>,
    /// Exchanges by downstream name; beyond 1,000 names the rest is under `(others)`.
    pub downstream: BTreeMap<String, Counts>,
    /// What is missing, by kind.
    pub ledger: Ledger,
    /// Connections into the service whose protocol could not be read: there is no cassette of what came over them.
    pub opaque: u64,
    /// Unix connections in no protocol that is read, or were not looked into: to services of the host, and socketpairs.
    pub unix_not_http: u64,
    /// Entries that the end of the recording cut off.
    pub unfinished: u64,
    /// What was redacted; `None`: nothing was looked for.
    pub redacted: Option<Replaced>,
    /// How the command ended, when it ended by itself.
    pub exit: Option<String>,
}

impl Summary {
    /// Entries were recorded and nothing is missing or uncertain.
    pub fn complete(&self) -> bool {
        self.entries > 0
            && !self.ledger.has_losses()
            && self.defective == 0
            && self.opaque == 0
            && self.unfinished == 0
            && self.likely() == 0
            && (self.ambiguous() == 0 || self.left_out > 0)
    }

    /// Exchanges whose owner is not known.
    pub fn ambiguous(&self) -> u64 {
        self.downstream.values().map(|counts| counts.ambiguous).sum()
    }

    /// Exchanges whose owner is likely, not certain.
    pub fn likely(&self) -> u64 {
        self.downstream.values().map(|counts| counts.likely).sum()
    }

    pub(crate) fn count_entry(&mut self, cassette: &Cassette) {
        self.entries += 1;
        self.defective += u64::from(cassette.has_defects());
        let unfinished = cassette.entry.as_ref().is_some_and(|entry| entry.defects.contains(&Defect::Unfinished));
        self.unfinished += u64::from(unfinished);
        for exchange in &cassette.downstream {
            match exchange.cause.as_ref().map(|cause| cause.confidence) {
                Some(Confidence::Certain) => self.counts(exchange).certain += 1,
                Some(Confidence::Likely) => self.counts(exchange).likely += 1,
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
            let counts = self.counts(exchange);
            match exchange.cause.as_ref().map(|cause| cause.confidence) {
                Some(Confidence::Certain) => counts.certain -= 1,
                Some(Confidence::Likely) => counts.likely -= 1,
                Some(Confidence::Ambiguous) | None => continue,
            }
            counts.ambiguous += 1;
        }
    }

    /// The same, where such cassettes are left out: it is gone.
    pub(crate) fn leave_out(&mut self, before: &Cassette, after: &Cassette) {
        self.count_doubt(before, after);
        self.entries -= 1;
        self.defective -= u64::from(after.has_defects());
        self.left_out += 1;
    }

    fn counts(&mut self, exchange: &Exchange) -> &mut Counts {
        let name = exchange.downstream.as_deref().unwrap_or_default();
        let name = if self.downstream.len() < MOST_NAMES || self.downstream.contains_key(name) { name } else { OTHERS };
        self.downstream.entry(name.to_owned()).or_default()
    }
}
