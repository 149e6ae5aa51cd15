//! What the pipeline is to do, and what comes out of it.

use regress_cassettes::{Cassette, CassetteId, Defect, Ended, Exchange, Recorded, Via};

use crate::{
    assemble,
    clues::Clues,
    correlate::EntrySet,
    owner_log::LogLine,
    select::{self, Policy},
    wall::Wall,
};

/// What is the same for all cassettes of a recording, and what is to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub service: String,
    pub by: String,
    pub kernel: String,
    pub via: Via,
    pub wall: Wall,
    /// Monotonic start of the recording.
    pub started: u64,
    /// Ports whose connections bring entries; empty: all.
    pub ports: Vec<u16>,
    /// How many entries are recorded at most.
    pub max_entries: Option<u64>,
    /// Whether entries of uncertain owners are left out.
    pub only_certain: bool,
    /// Whether what owners are decided from comes out as well.
    pub keep_facts: bool,
    /// What is looked for in messages.
    pub clues: Clues,
    /// Which entries are kept.
    pub select: Policy,
    /// Whether it is told of every exchange that is over.
    pub tells_seen: bool,
}

/// An exchange that is over, as metrics tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Which downstream was called; `None`: it is an entry.
    pub downstream: Option<String>,
    /// Method and path without ids.
    pub route: String,
    /// It has a status of 500 or more, or no whole answer.
    pub failed: bool,
    /// Microseconds, where there is a whole answer.
    pub took: Option<u64>,
}

impl Seen {
    pub(super) fn of(exchange: &Exchange) -> Seen {
        let response = exchange.http().and_then(|http| http.response.as_ref());
        Seen {
            downstream: exchange.downstream.clone(),
            route: select::template(exchange),
            failed: exchange.ended != Ended::Ok || response.is_some_and(|response| response.status() >= 500),
            took: exchange.took,
        }
    }
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// An entry with everything it caused.
    Cassette(Box<Cassette>),
    /// An exchange that no entry caused, or one of several.
    Ambient(Box<Exchange>),
    /// The cassettes of these entries are not certain after all, as far as they came out before.
    Doubt(EntrySet),
    /// The source lost something.
    Lost(Defect),
    /// What owners are decided from, where it is kept.
    Log(LogLine),
}

impl Scope {
    /// Comes before the id of every cassette of the recording.
    pub(crate) fn first_id(&self) -> CassetteId {
        self.wall.id(self.started, 0)
    }

    /// How something describes itself that began at this moment.
    pub(crate) fn recorded(&self, at: u64) -> Recorded {
        Recorded {
            at: self.wall.rfc3339(at),
            service: self.service.clone(),
            by: self.by.clone(),
            via: self.via,
            kernel: self.kernel.clone(),
        }
    }
}

impl Output {
    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        let weight = match self {
            Output::Cassette(cassette) => {
                cassette.entry.iter().chain(&cassette.downstream).map(assemble::weight).sum::<u64>()
            }
            Output::Ambient(exchange) => assemble::weight(exchange),
            Output::Doubt(_) | Output::Lost(_) | Output::Log(_) => 0,
        };
        usize::try_from(weight).unwrap_or(usize::MAX).saturating_add(512)
    }
}
