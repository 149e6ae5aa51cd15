//! What a recording lacks, by kind: every loss has its place here, in the cassettes that it touched, and in the exit code.

use std::collections::{BTreeMap, BTreeSet};

use regress_cassettes::{Cassette, Defect, Exchange};
use regress_ebpf::LossKind;

/// A way in which something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lack {
    /// The buffer between the kernel and the recorder was full.
    BufferFull,
    /// Memory of the service could not be read.
    Unreadable,
    /// A table of the capture source was full.
    TableFull,
    /// The kernel skipped a run of a capture program.
    Skipped,
    /// A process gained privileges that the recorder has no right to look into.
    Privileged,
    /// The inside of TLS was read, and not on which connection it passed.
    UnknownConnection,
    /// Bytes that moved and were not seen, whatever the reason.
    Gap,
    /// What was under way at one time took more memory than the recorder may use.
    Memory,
    /// Data that came before what it answers, and stayed so.
    Reordered,
    /// The ambient cassette was full.
    AmbientFull,
    /// Already under way when the recording began.
    JoinedMidStream,
    /// Not of a protocol that is understood.
    Opaque,
    /// Encrypted.
    Encrypted,
    /// Bodies that were larger than wanted, and left out.
    BodyCap,
    /// Nothing was captured for a while, because the host was loaded.
    Paused,
}

impl Lack {
    /// All kinds, in the order of a report.
    pub const ALL: [Lack; 15] = [
        Lack::BufferFull,
        Lack::Unreadable,
        Lack::TableFull,
        Lack::Skipped,
        Lack::Privileged,
        Lack::UnknownConnection,
        Lack::Gap,
        Lack::Memory,
        Lack::Reordered,
        Lack::AmbientFull,
        Lack::JoinedMidStream,
        Lack::Opaque,
        Lack::Encrypted,
        Lack::BodyCap,
        Lack::Paused,
    ];

    /// Its name, for example `buffer-full`.
    pub fn word(self) -> &'static str {
        match self {
            Lack::BufferFull => "buffer-full",
            Lack::Unreadable => "unreadable",
            Lack::TableFull => "table-full",
            Lack::Skipped => "skipped",
            Lack::Privileged => "privileged",
            Lack::UnknownConnection => "unknown-connection",
            Lack::Gap => "gap",
            Lack::Memory => "memory",
            Lack::Reordered => "reordered",
            Lack::AmbientFull => "ambient-full",
            Lack::JoinedMidStream => "joined-mid-stream",
            Lack::Opaque => "opaque",
            Lack::Encrypted => "encrypted",
            Lack::BodyCap => "body-cap",
            Lack::Paused => "paused",
        }
    }

    /// Whether it is a loss wherever it happens. The others say that something could not be read or was not wanted, and count
    /// where they touch a cassette.
    pub fn is_loss(self) -> bool {
        !matches!(self, Lack::JoinedMidStream | Lack::Opaque | Lack::Encrypted | Lack::BodyCap | Lack::Paused)
    }

    fn of(defect: &Defect) -> Option<Lack> {
        match defect {
            Defect::Gap { .. } => Some(Lack::Gap),
            Defect::JoinedMidStream => Some(Lack::JoinedMidStream),
            Defect::Garbage => Some(Lack::Opaque),
            Defect::Encrypted => Some(Lack::Encrypted),
            // The only events that are known to be missing from one exchange.
            Defect::LostEvents { .. } => Some(Lack::Reordered),
            Defect::Unfinished | Defect::AmbiguousOwner => None,
        }
    }
}

impl From<LossKind> for Lack {
    fn from(kind: LossKind) -> Lack {
        match kind {
            LossKind::BufferFull => Lack::BufferFull,
            LossKind::Unreadable => Lack::Unreadable,
            LossKind::TableFull => Lack::TableFull,
            LossKind::Skipped => Lack::Skipped,
            LossKind::Privileged => Lack::Privileged,
            LossKind::UnknownConnection => Lack::UnknownConnection,
        }
    }
}

/// How much is missing in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many times.
    pub events: u64,
    /// Payload bytes, where known.
    pub bytes: u64,
    /// Connections that it touched; 0 where that is not known.
    pub connections: u64,
    /// Cassettes of entries that say so.
    pub cassettes: u64,
}

/// What a recording lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<Lack, Tally>);

impl Ledger {
    /// What is missing in this way.
    pub fn get(&self, lack: Lack) -> Tally {
        self.0.get(&lack).copied().unwrap_or_default()
    }

    /// What is missing, in the order of a report; kinds of which nothing is missing are left out.
    pub fn rows(&self) -> impl Iterator<Item = (Lack, Tally)> {
        self.0.iter().map(|(lack, tally)| (*lack, *tally))
    }

    /// Something was lost.
    pub fn has_losses(&self) -> bool {
        self.rows().any(|(lack, _)| lack.is_loss())
    }

    /// Take in what another one has, of other kinds.
    pub(crate) fn append(&mut self, mut other: Ledger) {
        self.0.append(&mut other.0);
    }

    /// Something more is missing in this way.
    pub fn add(&mut self, lack: Lack, events: u64, bytes: u64) {
        let tally = self.0.entry(lack).or_default();
        tally.events = tally.events.saturating_add(events);
        tally.bytes = tally.bytes.saturating_add(bytes);
    }

    /// One more connection was touched.
    pub(crate) fn touch_connection(&mut self, lack: Lack) {
        self.0.entry(lack).or_default().connections += 1;
    }

    /// A cassette came out; `lost` is what touched it beside what its exchanges say.
    pub(crate) fn touch_cassette(&mut self, cassette: &Cassette, mut lost: BTreeSet<Lack>) {
        let exchanges = cassette.entry.iter().chain(&cassette.downstream);
        lost.extend(exchanges.flat_map(|exchange| &exchange.defects).filter_map(Lack::of));
        for lack in lost {
            self.0.entry(lack).or_default().cassettes += 1;
        }
    }

    /// A cassette that came out lacks something for this reason alone.
    pub(crate) fn touch_cassette_by(&mut self, lack: Lack) {
        self.0.entry(lack).or_default().cassettes += 1;
    }

    /// An exchange ended, and says what of it could not be read. Gaps are counted where they show.
    pub(crate) fn count_exchange(&mut self, exchange: &Exchange) -> impl Iterator<Item = Lack> + use<> {
        let unread: BTreeSet<Lack> = exchange.defects.iter().filter_map(Lack::of).filter(|l| !l.is_loss()).collect();
        unread.iter().for_each(|lack| self.add(*lack, 1, 0));
        unread.into_iter()
    }
}

impl FromIterator<(Lack, Tally)> for Ledger {
    fn from_iter<T: IntoIterator<Item = (Lack, Tally)>>(rows: T) -> Ledger {
        Ledger(rows.into_iter().collect())
    }
}
