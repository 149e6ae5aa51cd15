//! The ambient cassette as it grows: every exchange is written once, whatever the number of exchanges.
//!
//! Exchanges are appended to an unnamed file as the text that they have in the cassette; publishing copies it between
//! the head and the tail of the cassette into a file that then takes the cassette's name. So memory stays flat, and the
//! cassette is whole at any moment, as it was when it was published last.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use crate::{
    Error, FORMAT, Store,
    file::{self, LIMIT},
    format,
    model::{Cassette, CassetteId, Defect, Exchange, Recorded},
    redact::{Kind, Redacted},
    seal::{Header, Scratch, Seal},
};

/// What comes before the exchanges in the text of the ambient cassette, and after them.
const BEFORE: &str = "\n  \"downstream\": [\n";
const AFTER: &str = "\n  ],\n  \"defects\": ";
const BETWEEN: &[u8] = b",\n";

/// Room for the head and the tail of the cassette.
const FRAME: u64 = 64 << 10;

/// The ambient cassette of a store, open for appending. Where there is one from an earlier recording, its exchanges come
/// first: times stay relative to the first recording, connections keep different numbers.
pub struct Ambient<'s> {
    store: &'s Store,
    path: PathBuf,
    recorded: Recorded,
    /// How it is sealed, where it is.
    seal: Option<Seal>,
    /// The exchanges' text.
    text: Scratch,
    bytes: u64,
    /// The lowest format that has all of them.
    format: (u16, u16),
    pub(crate) defects: Vec<Defect>,
    /// Of which kinds secrets were replaced.
    pub(crate) redacted: BTreeSet<String>,
    /// What is added to times and connection numbers of this recording.
    shift: i64,
    connections: u64,
}

impl<'s> Ambient<'s> {
    /// Open the store's ambient cassette for a recording that describes itself so.
    pub fn open(store: &'s Store, recorded: &Recorded) -> Result<Ambient<'s>, Error> {
        store.check_writable()?;
        let path = store.ambient_path()?;
        let seal = store.seal_for(&path)?;
        let session = seal.as_ref().map(|seal| &seal.session);
        let text = Scratch::new(store.root(), session).map_err(|source| failed(&path, source))?;
        let mut ambient = Ambient {
            store,
            path,
            recorded: recorded.clone(),
            seal,
            text,
            bytes: 0,
            format: (1, 0),
            defects: Vec::new(),
            redacted: BTreeSet::new(),
            shift: 0,
            connections: 0,
        };
        if ambient.path.exists() {
            ambient.take_over()?;
        }
        Ok(ambient)
    }

    fn take_over(&mut self) -> Result<(), Error> {
        let decoded = file::read_decoded(self.store.source(), &self.path)?;
        if !decoded.unknown.is_empty() {
            // Appending would drop what this version does not know.
            return Err(Error::Newer { path: self.path.clone(), found: decoded.format.max(FORMAT) });
        }
        let earlier = decoded.cassette;
        let later = std::mem::replace(&mut self.recorded, earlier.recorded);
        let connections = earlier.downstream.iter().map(|exchange| exchange.connection.id + 1).max().unwrap_or(0);
        for exchange in earlier.downstream {
            if !self.append(exchange)? {
                return Err(Error::TooLarge { path: self.path.clone(), size: LIMIT, limit: LIMIT });
            }
        }
        self.defects = earlier.defects;
        self.redacted = earlier.redacted;
        self.shift = microseconds_between(&self.recorded.at, &later.at);
        self.connections = connections;
        Ok(())
    }

    /// Append an exchange. `false`: the file would be too large to be read again, and it was not appended.
    pub fn push(&mut self, exchange: Redacted<Exchange>) -> Result<bool, Error> {
        let kinds: Vec<Kind> = exchange.replaced().kinds().collect();
        let is_appended = self.append(exchange.into_inside())?;
        if is_appended {
            self.redacted.extend(kinds.into_iter().map(|kind| kind.word().to_owned()));
        }
        Ok(is_appended)
    }

    pub(crate) fn append(&mut self, mut exchange: Exchange) -> Result<bool, Error> {
        exchange.connection.id = exchange.connection.id.saturating_add(self.connections);
        exchange.at = exchange.at.saturating_add(self.shift);
        let alone = self.cassette(vec![exchange], Vec::new());
        let session = self.seal.as_ref().map(|seal| &seal.session);
        let text = self.store.ambient_element(&self.path, &alone, session)?;
        let element = &text[frame(&text)];
        let added = (element.len() + BETWEEN.len()) as u64;
        if self.bytes + added + FRAME > LIMIT {
            return Ok(false);
        }
        let between = if self.bytes == 0 { b"" } else { BETWEEN };
        let written = self.text.write(between).and_then(|()| self.text.write(element.as_bytes()));
        written.map_err(|source| failed(&self.path, source))?;
        self.bytes += added;
        self.format = self.format.max(format::lowest(&alone));
        Ok(true)
    }

    /// Say what is missing. Losses that only count are added up.
    pub fn lacks(&mut self, defect: Defect) {
        if let Defect::LostEvents { events, bytes } = defect
            && let Some(Defect::LostEvents { events: all, bytes: all_bytes }) =
                self.defects.iter_mut().find(|known| matches!(known, Defect::LostEvents { .. }))
        {
            *all = all.saturating_add(events);
            *all_bytes = all_bytes.saturating_add(bytes);
        } else if !self.defects.contains(&defect) {
            self.defects.push(defect);
        }
    }

    /// What is added to the numbers of this recording's connections.
    pub fn connections_before(&self) -> u64 {
        self.connections
    }

    /// How many bytes the exchanges take so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Write the cassette as it is now, atomically, and give its path. More may be appended, and published again.
    pub fn publish(&mut self) -> Result<PathBuf, Error> {
        let empty = Cassette { redacted: self.redacted.clone(), ..self.cassette(Vec::new(), self.defects.clone()) };
        let (text, _) = self.store.proven(&self.path, &empty)?;
        let version = |format| format!("\"regress\": \"{}\"", format::version(format));
        let text =
            text.replacen(&version(format::lowest(&empty)), &version(self.format.max(format::lowest(&empty))), 1);
        // An empty list stands on the line of its name.
        let around = text.split_once("\n  \"downstream\": [],\n  \"defects\": ").filter(|_| self.bytes > 0);
        let framed = match around {
            // Before the first exchange nothing stands between.
            Some((head, tail)) => {
                head.len() + BEFORE.len() + self.bytes as usize - BETWEEN.len() + AFTER.len() + tail.len()
            }
            None => text.len(),
        };
        let (scratch, seal) = (&mut self.text, &self.seal);
        let mut write = |out: &mut dyn Write| match around {
            None => out.write_all(text.as_bytes()),
            Some((head, tail)) => {
                out.write_all(head.as_bytes())?;
                out.write_all(BEFORE.as_bytes())?;
                scratch.copy_to(out)?;
                out.write_all(AFTER.as_bytes())?;
                out.write_all(tail.as_bytes())
            }
        };
        let written = |out: &mut File| match seal {
            None => write(out),
            Some(seal) => {
                let header = seal.header.then(|| Header::of(&empty, framed));
                let mut sealed = seal.session.seal_to(header.as_ref(), io::BufWriter::new(out))?;
                write(&mut sealed)?;
                sealed.finish()?.flush()
            }
        };
        self.store.write_file(&self.path, written)?;
        Ok(self.path.clone())
    }

    fn cassette(&self, downstream: Vec<Exchange>, defects: Vec<Defect>) -> Cassette {
        Cassette {
            id: CassetteId(CassetteId::AMBIENT.to_owned()),
            recorded: self.recorded.clone(),
            nondeterministic: Vec::new(),
            redacted: BTreeSet::new(),
            entry: None,
            downstream,
            defects,
        }
    }
}

/// Where the one exchange stands in the text of a cassette. Line breaks inside strings are escaped there.
fn frame(text: &str) -> std::ops::Range<usize> {
    let first = text.find(BEFORE).map_or(0, |at| at + BEFORE.len());
    let last = text.rfind(AFTER).unwrap_or(text.len());
    first..last
}

fn failed(path: &std::path::Path, source: io::Error) -> Error {
    Error::Io { action: "write", path: path.to_owned(), source }
}

/// From one RFC 3339 time to another; 0 where either is not one, which writing the cassette then refuses.
fn microseconds_between(from: &str, to: &str) -> i64 {
    let micros = |text: &str| text.parse::<jiff::Timestamp>().map(|time| time.as_microsecond());
    match (micros(from), micros(to)) {
        (Ok(from), Ok(to)) => to - from,
        _ => 0,
    }
}
