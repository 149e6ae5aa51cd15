//! From a folder to its packed form.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use walkdir::WalkDir;
use zstd::stream::write::Encoder;

use super::{
    BLOCK, HEAD, PACK_FORMAT, SKIPPED, TAIL,
    index::{self, Block},
};
use crate::{
    Error, Store,
    disk::{self, Durability, Place},
    seal::SEALED_SUFFIX,
};

/// zstd's level: its default, which a bigger one does not better by much on text.
const LEVEL: i32 = 3;

/// What was packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// How many files.
    pub files: usize,
    /// Their bytes together.
    pub bytes: u64,
    /// The bytes of the packed form.
    pub packed: u64,
    /// Files in the folder that are not packed, as they are none of a folder of cassettes; hidden ones are not named.
    pub left_out: Vec<PathBuf>,
}

/// Pack a folder of cassettes into a new file: the cassettes, the ambient one, body files and recorders' logs, each as
/// it is. The file is there whole or not at all; the same folder gives the same file.
///
/// # Errors
/// When the file is there already, proposals wait for review (they would be lost), a recording has not ended, or something cannot be read or
/// written.
pub fn pack(folder: &Path, to: &Path) -> Result<Packed, Error> {
    let store = Store::open(folder)?;
    if to.exists() {
        return Err(Error::Taken { path: to.to_owned() });
    }
    store.check_ended()?;
    if let Some(pending) = store.pending()?.first() {
        return Err(Error::Waiting { path: pending.proposed.clone() });
    }
    let (mut files, left_out) = files(folder)?;
    files.sort_by(|a, b| index::order(&a.0, &b.0));
    let mut packed = Packed { files: files.len(), left_out, ..Packed::default() };
    let mut failed = None;
    disk::remove_leftovers(disk::folder_of(to));
    disk::write_atomically(Place::Named, to, Durability::AtOnce, |out| {
        if let Err(error) = write(folder, &files, out, &mut packed.bytes) {
            failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        packed.packed = out.metadata()?.len();
        Ok(())
    })
    .map_err(|error| failed.unwrap_or(error))?;
    Ok(packed)
}

/// A file to pack: its path in the folder, and its size in bytes.
type Entry = (String, u64);

/// The files to pack, and those to leave out.
fn files(folder: &Path) -> Result<(Vec<Entry>, Vec<PathBuf>), Error> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    let is_visible =
        |found: &walkdir::DirEntry| found.depth() == 0 || !found.file_name().as_encoded_bytes().starts_with(b".");
    for found in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(is_visible) {
        let failed = |error: walkdir::Error| Error::Io {
            action: "list",
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        };
        let found = found.map_err(failed)?;
        if found.file_type().is_dir() {
            continue;
        }
        let path = found.path().strip_prefix(folder).unwrap_or(found.path());
        match path.to_str().and_then(|path| Some((path, index::limit(path)?))) {
            Some((path, limit)) if found.file_type().is_file() => {
                let size = found.metadata().map_err(failed)?.len();
                if size > limit {
                    return Err(Error::TooLarge { path: found.into_path(), size, limit });
                }
                files.push((path.to_owned(), size));
            }
            _ => left_out.push(found.into_path()),
        }
    }
    Ok((files, left_out))
}

fn write(folder: &Path, files: &[Entry], out: &mut File, bytes: &mut u64) -> Result<(), Error> {
    let path = |path: &str| folder.join(path);
    let failed = |source| Error::Io { action: "pack", path: folder.to_owned(), source };
    let mut out = Counted { out: BufWriter::new(out), at: 0 };
    let is_sealed = files.iter().any(|(name, _)| name.ends_with(SEALED_SUFFIX));
    let (major, minor) = if is_sealed { PACK_FORMAT } else { (1, 0) };
    skipped(&mut out, format!("{HEAD}{major}.{minor}\n").as_bytes()).map_err(failed)?;
    let mut index = String::new();
    let mut rest = files;
    while !rest.is_empty() {
        let (block, after) = rest.split_at(fitting(rest));
        rest = after;
        let at = out.at;
        let mut frame = frame(&mut out).map_err(failed)?;
        for (name, size) in block {
            let path = path(name);
            let failed = |source| Error::Io { action: "pack", path: path.clone(), source };
            let file = File::open(&path).map_err(failed)?;
            let copied = io::copy(&mut file.take(size + 1), &mut frame).map_err(failed)?;
            if copied != *size {
                return Err(failed(io::Error::other("it changed meanwhile")));
            }
            *bytes += size;
        }
        frame.finish().map_err(failed)?;
        let line = Block { at, packed: out.at - at, files: block.to_vec() };
        index += &serde_json::to_string(&line).map_err(|error| failed(error.into()))?;
        index.push('\n');
    }
    let at = out.at;
    let mut frame = frame(&mut out).map_err(failed)?;
    frame.write_all(index.as_bytes()).and_then(|()| frame.finish().map(drop)).map_err(failed)?;
    let mut tail = [at.to_le_bytes(), (out.at - at).to_le_bytes()].concat();
    tail.extend_from_slice(TAIL);
    skipped(&mut out, &tail).and_then(|()| out.flush()).map_err(failed)
}

/// How many of the files go into one block: at least one.
fn fitting(files: &[Entry]) -> usize {
    let mut size = 0;
    let fitting = files.iter().take_while(|(_, bytes)| {
        size += bytes;
        size <= BLOCK
    });
    fitting.count().max(1)
}

fn frame<W: Write>(out: W) -> io::Result<Encoder<'static, W>> {
    let mut frame = Encoder::new(out, LEVEL)?;
    frame.include_checksum(true)?;
    Ok(frame)
}

/// A frame that zstd skips.
fn skipped(out: &mut impl Write, content: &[u8]) -> io::Result<()> {
    out.write_all(&SKIPPED)?;
    out.write_all(&(content.len() as u32).to_le_bytes())?;
    out.write_all(content)
}

/// Knows how many bytes were written.
struct Counted<W> {
    out: W,
    at: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
