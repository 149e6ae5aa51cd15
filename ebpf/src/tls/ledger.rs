//! The arithmetic that proves that plaintext belongs to a socket: what a library's calls moved must be what the records
//! on the socket can carry, in order.
//!
//! A write becomes whole records, and no record holds bytes of two writes. A read gives bytes of one record, and fewer than
//! asked for only at its end.

use std::collections::VecDeque;

use super::records::Overhead;

/// Records that wait for their plaintext, at most; more are given up.
const MOST_RECORDS: usize = 1 << 16;

/// What TLS 1.3 sends between application data, by the length of its content: an alert, a KeyUpdate.
const CONTROL: [u64; 2] = [2, 5];

/// Plaintext and records contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

/// Whether the plaintext of a call has been found in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// All of it, and all that came before.
    Yes,
    /// Its records have not been seen yet.
    NotYet,
}

/// One way in which calls and records may correspond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Path {
    overhead: Overhead,
    /// The first record that is not used up, from the first that is kept.
    next: usize,
    /// How much of that record has been read.
    taken: u64,
}

/// One direction of one connection.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Lengths of the records that may hold application data and are not used up in every path, and when they passed.
    records: VecDeque<(u16, u64)>,
    paths: Vec<Path>,
    /// Lengths of writes whose records have not been seen.
    writes: VecDeque<u64>,
    /// Some plaintext has been found.
    started: bool,
    /// Records that are something else may come before the first plaintext: session tickets, or what was under way when
    /// the connection was joined.
    prefix: bool,
    /// Records that are something else may come in between.
    control: bool,
}

impl Ledger {
    pub(crate) fn new(overheads: &[Overhead], prefix: bool, control: bool) -> Ledger {
        let paths = overheads.iter().map(|&overhead| Path { overhead, next: 0, taken: 0 }).collect();
        Ledger { records: VecDeque::new(), paths, writes: VecDeque::new(), started: false, prefix, control }
    }

    /// A record passed that may hold application data; `sequence` orders it among calls.
    pub(crate) fn record(&mut self, length: u16, sequence: u64) -> Result<Found, Contradiction> {
        if self.records.len() == MOST_RECORDS {
            self.lose_track();
        }
        self.records.push_back((length, sequence));
        self.settle()
    }

    /// A call read `length` of at most `requested` bytes; its record has passed.
    pub(crate) fn read(&mut self, length: u64, requested: u64) -> Result<(), Contradiction> {
        let mut after = Vec::new();
        for path in &self.paths {
            for start in self.starts(*path) {
                let Some((least, most)) = self.inside(start, start.next) else { continue };
                let taken = start.taken.saturating_add(length);
                if (least..=most).contains(&taken) {
                    after.push(Path { next: start.next + 1, taken: 0, ..start });
                }
                if taken < most && length == requested {
                    after.push(Path { taken, ..start });
                }
            }
        }
        self.go_on(after)
    }

    /// A call wrote `length` bytes, and their records have all passed.
    pub(crate) fn wrote(&mut self, length: u64) -> Result<(), Contradiction> {
        let mut after = Vec::new();
        for path in &self.paths {
            let end = self.records.len();
            if let Some(start) = self.suffix(*path, path.next, length)
                && self.may_skip(*path, path.next..start)
            {
                after.push(Path { next: end, ..*path });
            }
        }
        self.go_on(after)
    }

    /// A call wrote `length` bytes, and their records came later than it did, or are still to come.
    pub(crate) fn writes(&mut self, length: u64, sequence: u64) {
        if !self.started && self.writes.is_empty() {
            // What passed before is not this.
            let seen = self.records.partition_point(|(_, passed)| *passed < sequence);
            self.paths.iter_mut().for_each(|path| path.next = seen);
            self.trim();
        }
        self.writes.push_back(length);
    }

    /// Looks for the records of the writes that wait for them.
    pub(crate) fn settle(&mut self) -> Result<Found, Contradiction> {
        if !self.started {
            return Ok(self.begin_writing());
        }
        while let Some(&length) = self.writes.front() {
            let mut after = Vec::new();
            let mut waiting = false;
            for path in &self.paths {
                for start in self.starts(*path) {
                    match self.run(start, length) {
                        Run::Ends(next) => after.push(Path { next, ..start }),
                        Run::Short => waiting = true,
                        Run::Differs => {}
                    }
                }
            }
            if after.is_empty() && waiting {
                return Ok(Found::NotYet);
            }
            self.go_on(after)?;
            self.writes.pop_front();
        }
        Ok(Found::Yes)
    }

    /// The first writes: all that wait must be exactly the last records, because something else may come before them.
    fn begin_writing(&mut self) -> Found {
        let all: u64 = self.writes.iter().sum();
        if all == 0 {
            return Found::NotYet;
        }
        let mut after = Vec::new();
        for path in &self.paths {
            let Some(mut start) = self.suffix(*path, path.next, all) else { continue };
            if !self.may_skip(*path, path.next..start) {
                continue;
            }
            let whole = self.writes.iter().all(|&length| match self.run(Path { next: start, ..*path }, length) {
                Run::Ends(next) => {
                    start = next;
                    true
                }
                Run::Short | Run::Differs => false,
            });
            if whole && start == self.records.len() {
                after.push(Path { next: start, ..*path });
            }
        }
        if self.go_on(after).is_err() {
            return Found::NotYet;
        }
        self.writes.clear();
        Found::Yes
    }

    /// Nothing that is kept can be relied on any more: something was lost in between.
    pub(crate) fn lose_track(&mut self) {
        self.records.clear();
        self.writes.clear();
        self.paths.iter_mut().for_each(|path| (path.next, path.taken) = (0, 0));
        self.paths.sort();
        self.paths.dedup();
        self.prefix = true;
        self.started = false;
    }

    /// Plaintext was lost: which of the records that are kept were its is not known.
    pub(crate) fn doubt(&mut self) {
        self.writes.clear();
        self.paths.iter_mut().for_each(|path| path.taken = 0);
        self.prefix = true;
        self.started = false;
    }

    /// Some plaintext has been found.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Some write has not been found in records.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Application data whose plaintext never came, at least.
    pub(crate) fn unexplained(&self) -> u64 {
        if !self.writes.is_empty() || (!self.started && self.prefix) {
            return 0;
        }
        let of_path = |path: &Path| {
            let rest = (path.next..self.records.len()).filter_map(|at| self.inside(*path, at));
            let whole: u64 = rest.filter(|(_, most)| !self.is_control(*most)).map(|(least, _)| least).sum();
            whole.saturating_sub(path.taken)
        };
        self.paths.iter().map(of_path).min().unwrap_or(0)
    }

    /// What is unexplained will not be explained.
    pub(crate) fn give_up(&mut self) {
        let end = self.records.len();
        self.paths.iter_mut().for_each(|path| (path.next, path.taken) = (end, 0));
        self.paths.dedup();
        self.trim();
    }

    fn inside(&self, path: Path, at: usize) -> Option<(u64, u64)> {
        path.overhead.plaintext(self.records.get(at)?.0)
    }

    fn is_control(&self, content: u64) -> bool {
        self.control && CONTROL.contains(&content)
    }

    /// Whether these records may be something else than application data.
    fn may_skip(&self, path: Path, mut records: std::ops::Range<usize>) -> bool {
        let anything = !self.started && self.prefix;
        let control = |at| self.inside(path, at).is_some_and(|(_, most)| self.is_control(most));
        records.is_empty() || (path.taken == 0 && records.all(|at| anything || control(at)))
    }

    /// The path, and where it may go on behind records that are something else.
    fn starts(&self, path: Path) -> impl Iterator<Item = Path> {
        (path.next..self.records.len().max(path.next + 1))
            .take_while(move |&at| at == path.next || self.may_skip(path, at - 1..at))
            .map(move |next| Path { next, ..path })
    }

    /// Where a run of records that ends with the last and holds exactly this begins; not before `first`.
    fn suffix(&self, path: Path, first: usize, length: u64) -> Option<usize> {
        let (mut least, mut most) = (0, 0);
        for at in (first..self.records.len()).rev() {
            let inside = self.inside(path, at)?;
            (least, most) = (least + inside.0, most + inside.1);
            if (least..=most).contains(&length) {
                return Some(at);
            }
            if least > length {
                return None;
            }
        }
        None
    }

    fn run(&self, start: Path, length: u64) -> Run {
        let (mut least, mut most) = (0, 0);
        for at in start.next..self.records.len() {
            let Some(inside) = self.inside(start, at) else { return Run::Differs };
            (least, most) = (least + inside.0, most + inside.1);
            if (least..=most).contains(&length) {
                return Run::Ends(at + 1);
            }
            if least > length {
                return Run::Differs;
            }
        }
        Run::Short
    }

    fn go_on(&mut self, mut paths: Vec<Path>) -> Result<(), Contradiction> {
        if paths.is_empty() {
            return Err(Contradiction);
        }
        paths.sort();
        paths.dedup();
        self.paths = paths;
        self.started = true;
        self.trim();
        Ok(())
    }

    fn trim(&mut self) {
        let used = self.paths.iter().map(|path| path.next).min().unwrap_or(0).min(self.records.len());
        self.records.drain(..used);
        self.paths.iter_mut().for_each(|path| path.next -= used);
    }
}

/// Whether some records hold exactly what a call wrote.
enum Run {
    /// They do, and the next record is this.
    Ends(usize),
    /// They do not, but with others to come they may.
    Short,
    /// They do not.
    Differs,
}
