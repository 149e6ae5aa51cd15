//! From the packed form to a folder, or to one file of it.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use zstd::stream::read::Decoder;

use super::{HEAD, PACK_FORMAT, PACK_SUFFIX, SKIPPED, TAIL, TAIL_BYTES, index::Index, index::Record};
use crate::{
    Error, Store,
    disk::{self, TemporaryFolder, folder_of},
};

/// The biggest index, in bytes once it is decompressed: that of some millions of cassettes.
const INDEX_LIMIT: u64 = 1 << 30;

/// The longest head, in bytes of its content.
const HEAD_LIMIT: u32 = 64;

/// The most memory that a frame may ask for to be decompressed, as a power of two: what zstd's levels use.
const WINDOW_LOG: u32 = 27;

/// A packed folder, open for reading. A clone reads the same file, and remembers the block it read last for itself.
#[derive(Debug)]
pub struct Pack {
    path: PathBuf,
    file: Arc<File>,
    index: Arc<Index>,
    /// Most often the next record that is asked for is in it too.
    last: Mutex<Option<(usize, Bytes)>>,
}

impl Clone for Pack {
    fn clone(&self) -> Pack {
        let Pack { path, file, index, .. } = self;
        Pack { path: path.clone(), file: Arc::clone(file), index: Arc::clone(index), last: Mutex::new(None) }
    }
}

impl Pack {
    /// Whether a path is, by its name and kind, that of a packed folder.
    pub fn is_at(path: &Path) -> bool {
        path.as_os_str().as_encoded_bytes().ends_with(PACK_SUFFIX.as_bytes()) && path.is_file()
    }

    /// Open a packed folder and read its index.
    pub fn open(path: &Path) -> Result<Pack, Error> {
        let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let damaged = |what: String| Error::Pack { path: path.to_owned(), what };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let first = head(&file, path)?;
        let mut tail = [0; TAIL_BYTES as usize];
        let index_end = size.checked_sub(TAIL_BYTES).filter(|end| *end >= first);
        let index_end = index_end.ok_or_else(|| damaged("it is cut off".to_owned()))?;
        file.read_exact_at(&mut tail, index_end).map_err(failed)?;
        let (frame, content) = tail.split_at(8);
        let is_tail = frame == [SKIPPED, 24_u32.to_le_bytes()].concat() && content.ends_with(TAIL);
        let number = |at: usize| content[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let (at, length) = (number(0), number(8));
        if !is_tail {
            return Err(damaged("it is cut off, or something follows its end".to_owned()));
        }
        if at < first || at.checked_add(length) != Some(index_end) {
            return Err(damaged("its index is not where its end says".to_owned()));
        }
        let text =
            decompressed(&file, at, length, INDEX_LIMIT).map_err(|what| damaged(format!("its index: {what}")))?;
        let text = String::from_utf8(text).map_err(|_| damaged("its index is not UTF-8".to_owned()))?;
        let index = Index::read(&text, first, at).map_err(damaged)?;
        Ok(Pack { path: path.to_owned(), file: Arc::new(file), index: Arc::new(index), last: Mutex::new(None) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The paths of what is packed.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.index.records.iter().map(|record| &*record.path)
    }

    /// The bytes of the file with that path, which begins with that of the packed folder; `None` if it is not there.
    pub fn size_at(&self, path: &Path) -> Option<u64> {
        self.record(path).map(|record| record.size)
    }

    /// The content of the file with that path, likewise.
    pub fn content_at(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        self.record(path).map(|record| self.read(record)).transpose()
    }

    fn record(&self, path: &Path) -> Option<&Record> {
        self.index.find(path.strip_prefix(&self.path).ok()?.to_str()?)
    }

    fn read(&self, record: &Record) -> Result<Bytes, Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let block = match &*last {
            Some((number, block)) if *number == record.block => block.clone(),
            _ => {
                let block = self.block(record.block)?;
                *last = Some((record.block, block.clone()));
                block
            }
        };
        let at = record.at as usize;
        Ok(block.slice(at..at + record.size as usize))
    }

    fn block(&self, number: usize) -> Result<Bytes, Error> {
        let frame = self.index.frames[number];
        let damaged =
            |what: String| Error::Pack { path: self.path.clone(), what: format!("its block {number}: {what}") };
        let bytes = decompressed(&self.file, frame.at, frame.packed, frame.size).map_err(damaged)?;
        match bytes.len() as u64 == frame.size {
            true => Ok(bytes.into()),
            false => Err(damaged(format!("{} bytes, not the {} of its index", bytes.len(), frame.size))),
        }
    }
}

/// Read the head, and give where it ends.
fn head(file: &File, path: &Path) -> Result<u64, Error> {
    let not_one = || Error::Pack { path: path.to_owned(), what: "it does not begin like one".to_owned() };
    let read = |length: usize, at: u64| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at).map(|()| bytes).map_err(|_| not_one())
    };
    let start = read(8, 0)?;
    let length = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
    if start[..4] != SKIPPED || length > HEAD_LIMIT {
        return Err(not_one());
    }
    let content = String::from_utf8(read(length as usize, 8)?).map_err(|_| not_one())?;
    let version = content.strip_prefix(HEAD).and_then(|rest| rest.strip_suffix('\n')).ok_or_else(not_one)?;
    let number = |text: &str| text.parse::<u16>().map_err(|_| not_one());
    let (major, minor) = version.split_once('.').ok_or_else(not_one)?;
    let found = (number(major)?, number(minor)?);
    match found.0 {
        0 => Err(not_one()),
        major if major > PACK_FORMAT.0 => Err(Error::NewerPack { path: path.to_owned(), found }),
        _ => Ok(8 + u64::from(length)),
    }
}

/// The content of the one frame there, of at most so many bytes; its checksum holds.
fn decompressed(file: &File, at: u64, packed: u64, limit: u64) -> Result<Vec<u8>, String> {
    let part = io::BufReader::new(Part { file, at, end: at.saturating_add(packed) });
    let mut decoder = Decoder::with_buffer(part).map_err(|error| error.to_string())?.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    decoder.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("more than {limit} bytes"));
    }
    let mut rest = decoder.finish();
    match rest.read(&mut [0]) {
        Ok(0) => Ok(bytes),
        Ok(_) => Err("something follows in it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A part of a file, read without moving the file's position.
struct Part<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(to.len());
        let count = self.file.read_at(&mut to[..left], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Unpack into a new folder, and give how many files that were. The folder is there whole or not at all.
///
/// # Errors
/// When the folder is there already, the file is damaged, or something cannot be written.
pub fn unpack(file: &Path, to: &Path) -> Result<usize, Error> {
    let pack = Pack::open(file)?;
    in_new_folder(to, |root| {
        pack.index.records.iter().try_for_each(|record| write(&root.join(&*record.path), &pack.read(record)?))
    })?;
    Ok(pack.index.records.len())
}

/// Makes a folder that is there whole or not at all: it is filled elsewhere.
pub(super) fn in_new_folder(to: &Path, fill: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    if to.exists() {
        return Err(Error::Taken { path: to.to_owned() });
    }
    disk::remove_leftovers(folder_of(to));
    let unfinished = TemporaryFolder::new(folder_of(to)).map_err(failed(to))?;
    let root = unfinished.path().join("cassettes");
    fs::create_dir(&root).map_err(failed(&root))?;
    fill(&root)?;
    Store::open(&root)?.sync()?;
    fs::rename(&root, to).map_err(failed(to))?;
    disk::sync_folder(folder_of(to))
}

/// Writes a file of a folder that nobody else has yet.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        fs::create_dir(folder).map_err(failed(folder))?;
    }
    fs::write(path, content).map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { action: "write", path, source }
}
