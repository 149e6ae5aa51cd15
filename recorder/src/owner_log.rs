//! The log of what owners were decided from, beside the cassettes: `<id>.owners.gz`, JSON lines. It holds who did what when,
//! and nothing that was said: no payload, no header, no path.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use regress_cassettes::{
    CassetteId,
    seal::{Keys, SEALED_SUFFIX, SealedWriter, Session},
};
use regress_protocols::Mark;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    correlate::{CallKey, Fact, Moment},
    wall::Wall,
};

/// How the names of the files end.
const SUFFIX: &str = ".owners.gz";

/// The version of what is in it: another one is not read.
const VERSION: u32 = 1;

/// A longer line is none.
const LONGEST_LINE: u64 = 1 << 20;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLine {
    /// The first: monotonic time of the recording's start, what to add to monotonic nanoseconds to get those since 1970, and what
    /// to add to the numbers of connections to get those of the ambient cassette.
    Start { version: u32, started: u64, wall: i64, connections: u64 },
    /// A call began on the connection of this number at this monotonic time.
    Call { call: CallKey, connection: u64, began: u64 },
    /// The correlator was told something.
    Fact { moment: Moment, fact: Fact },
    /// The recording ended. Without it the log is cut off.
    Stop { mark: Mark, at: u64 },
}

/// The file of the recording whose cassettes' ids come after this one.
pub(crate) fn path(folder: &Path, first: &CassetteId) -> PathBuf {
    folder.join(format!("{first}{SUFFIX}"))
}

/// The logs in a folder of cassettes, in order of time.
pub(crate) fn find(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::OwnerLog { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.strip_suffix(SEALED_SUFFIX).unwrap_or(&name).ends_with(SUFFIX) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a log.
pub(crate) struct Writer {
    path: PathBuf,
    file: GzEncoder<Out>,
}

/// The file of a log.
enum Out {
    Plain(BufWriter<File>),
    Sealed(Box<SealedWriter<BufWriter<File>>>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::Plain(file) => file.write(bytes),
            Out::Sealed(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Plain(file) => file.flush(),
            Out::Sealed(file) => file.flush(),
        }
    }
}

impl Writer {
    /// `session`: what it is sealed in, which its name says as well.
    pub(crate) fn create(
        path: &Path,
        session: Option<&Arc<Session>>,
        wall: Wall,
        started: u64,
        connections: u64,
    ) -> Result<Writer, Error> {
        let mut path = path.as_os_str().to_owned();
        path.push(if session.is_some() { SEALED_SUFFIX } else { "" });
        let path = PathBuf::from(path);
        let create = || {
            // Nothing is written through a link, or over another recording's.
            let file = BufWriter::new(File::create_new(&path)?);
            Ok(match session {
                None => Out::Plain(file),
                Some(session) => Out::Sealed(Box::new(session.seal_to(None, file)?)),
            })
        };
        let file = create().map_err(|source| Error::OwnerLog { path: path.clone(), source })?;
        let mut writer = Writer { path, file: GzEncoder::new(file, Compression::fast()) };
        // Until the year 2262.
        let wall = i64::try_from(wall.offset).unwrap_or_default();
        writer.line(&LogLine::Start { version: VERSION, started, wall, connections })?;
        Ok(writer)
    }

    pub(crate) fn line(&mut self, line: &LogLine) -> Result<(), Error> {
        let written = serde_json::to_writer(&mut self.file, line).map_err(io::Error::from);
        written.and_then(|()| self.file.write_all(b"\n")).map_err(|source| self.failed(source))
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        let Writer { path, file } = self;
        let finished = file.finish().and_then(|out| match out {
            Out::Plain(mut file) => file.flush(),
            Out::Sealed(file) => file.finish()?.flush(),
        });
        finished.map_err(|source| Error::OwnerLog { path, source })
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::OwnerLog { path: self.path.clone(), source }
    }
}

/// Reads a log. One that is cut off in the middle, as a recorder that was killed leaves it, ends there.
pub(crate) struct Reader {
    path: PathBuf,
    file: BufReader<MultiGzDecoder<Box<dyn BufRead>>>,
    is_first: bool,
}

impl Reader {
    pub(crate) fn open(path: &Path, keys: &Keys) -> Result<Reader, Error> {
        let failed = |source| Error::OwnerLog { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let file: Box<dyn BufRead> = match regress_cassettes::is_sealed(path) {
            true => Box::new(BufReader::new(keys.reader(file).map_err(failed)?)),
            false => Box::new(BufReader::new(file)),
        };
        let file = BufReader::new(MultiGzDecoder::new(file));
        Ok(Reader { path: path.to_owned(), file, is_first: true })
    }

    /// The next line; `None` at the end.
    pub(crate) fn line(&mut self) -> Result<Option<LogLine>, Error> {
        let mut text = Vec::new();
        match io::Read::take(&mut self.file, LONGEST_LINE).read_until(b'\n', &mut text) {
            Ok(_) if text.last() != Some(&b'\n') && text.len() < LONGEST_LINE as usize => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && !self.is_first => return Ok(None),
            Err(source) => return Err(self.failed(source)),
        }
        let line = serde_json::from_slice(&text).map_err(|error| self.failed(error.into()))?;
        let is_start = matches!(line, LogLine::Start { version: VERSION, .. });
        if std::mem::take(&mut self.is_first) != is_start {
            return Err(self.failed(io::Error::new(ErrorKind::InvalidData, "it is of another version of regress")));
        }
        Ok(Some(line))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::OwnerLog { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use regress_ebpf::{SocketId, Strand, Unit};

    use super::*;
    use crate::correlate::EntryKey;

    fn lines() -> Vec<LogLine> {
        let unit = Unit { process: 7, strand: Strand::Context(1 << 61) };
        let moment = Moment { mark: 3, at: 1_000_000, unit: Some(unit) };
        let began = Fact::EntryBegan { entry: EntryKey(1), connection: SocketId(9) };
        vec![
            LogLine::Fact { moment, fact: began },
            LogLine::Call { call: CallKey(2), connection: 4, began: 1_000_001 },
            LogLine::Fact { moment: Moment { unit: None, ..moment }, fact: Fact::Gone },
            LogLine::Stop { mark: 5, at: 2_000_000 },
        ]
    }

    fn written(folder: &Path) -> PathBuf {
        let path = path(folder, &CassetteId("20261122T101502.000000Z-0000".into()));
        let mut writer = Writer::create(&path, None, Wall { offset: 1_795_342_502_000_000_000 }, 5, 3).unwrap();
        lines().iter().for_each(|line| writer.line(line).unwrap());
        writer.finish().unwrap();
        path
    }

    fn read(path: &Path) -> Result<Vec<LogLine>, Error> {
        let mut reader = Reader::open(path, &Keys::default())?;
        std::iter::from_fn(|| reader.line().transpose()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let start = LogLine::Start { version: VERSION, started: 5, wall: 1_795_342_502_000_000_000, connections: 3 };
        assert_eq!(read(&path).unwrap(), [vec![start], lines()].concat());
        assert_eq!(find(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn a_log_that_is_cut_off_ends_there_and_no_other_file_is_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            if let Ok(lines) = read(&path) {
                assert!(lines.len() <= 5, "{length}");
            }
        }
        let mut endless = GzEncoder::new(Vec::new(), Compression::fast());
        endless.write_all(&vec![b' '; 2 * LONGEST_LINE as usize]).unwrap();
        let endless = endless.finish().unwrap();
        for other in [&b""[..], b"text", b"{}\n", &endless] {
            std::fs::write(&path, other).unwrap();
            assert!(!matches!(read(&path), Ok(lines) if !lines.is_empty()));
        }
    }
}
