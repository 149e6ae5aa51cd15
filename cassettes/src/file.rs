//! Cassette files: read whole, written atomically.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use bytes::Bytes;
use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    unistd::linkat,
};
use tempfile::NamedTempFile;

use crate::{
    Error, FORMAT, Pack,
    format::{self, Decoded, Fault, Flaw},
    model::Cassette,
    proposal,
    store::PENDING_SUFFIX,
};

/// The biggest cassette file in bytes.
pub const LIMIT: u64 = 256 << 20;

/// The biggest body file in bytes.
pub const BODY_LIMIT: u64 = 1 << 30;

/// The folder of body files in a store.
pub const BODIES: &str = "bodies";

/// Read a cassette file together with the body files that it refers to (`bodies/` in its folder or the one above).
pub fn read(path: &Path) -> Result<Cassette, Error> {
    read_decoded(Source::Folder, path).map(|decoded| decoded.cassette)
}

/// Where the files of a store are.
#[derive(Clone, Copy, Debug)]
pub enum Source<'p> {
    /// In a folder.
    Folder,
    /// In a packed one: they are named as if it were a folder.
    Packed(&'p Pack),
}

impl Source<'_> {
    /// A cassette file's text, that of a proposal without its mark.
    pub fn text(self, path: &Path) -> Result<String, Error> {
        self.marked(path).map(|(text, _)| text)
    }

    fn marked(self, path: &Path) -> Result<(String, Option<String>), Error> {
        let bytes = match self {
            Source::Folder => read_bounded(path, LIMIT)?,
            Source::Packed(pack) => {
                let missing =
                    || Error::Io { action: "read", path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
                pack.content_at(path)?.ok_or_else(missing)?.into()
            }
        };
        let text = utf8(path, bytes)?;
        let is_proposal = path.as_os_str().as_encoded_bytes().ends_with(PENDING_SUFFIX.as_bytes());
        Ok(if is_proposal { proposal::unmarked(&text) } else { (text, None) })
    }

    /// The content of a body file, which holds what its name says.
    pub fn body(self, cassette: &Path, hash: &str, size: u64) -> Result<Bytes, Error> {
        let missing = || Error::BodyMissing { path: cassette.to_owned(), hash: hash.to_owned() };
        let folder = cassette.parent().unwrap_or(Path::new(""));
        let (body, bytes) = match self {
            Source::Folder => {
                let candidates = [folder.join(BODIES).join(hash), folder.join("..").join(BODIES).join(hash)];
                let body = candidates.into_iter().find(|body| body.is_file()).ok_or_else(missing)?;
                let bytes = read_bounded(&body, BODY_LIMIT)?;
                (body, bytes.into())
            }
            Source::Packed(pack) => {
                let body = pack.path().join(BODIES).join(hash);
                let bytes = pack.content_at(&body)?.ok_or_else(missing)?;
                (body, bytes)
            }
        };
        let changed = |what| Err(Error::BodyChanged { path: cassette.to_owned(), body: body.clone(), what });
        if bytes.len() as u64 != size {
            return changed("another size");
        }
        if format::hash(&bytes) != hash {
            return changed("another hash");
        }
        Ok(bytes)
    }
}

/// The text of a cassette file: what is written to disk, a pure function of the cassette.
pub fn render(cassette: &Cassette) -> String {
    format::encode(cassette).0
}

/// Read a cassette file; unknown fields are there only where its format is newer.
pub fn read_decoded(source: Source<'_>, path: &Path) -> Result<Decoded, Error> {
    let text = source.text(path)?;
    let decoded = format::decode(&text, &mut |hash, size| source.body(path, hash, size))
        .map_err(|flaw| flaw_error(path, &text, flaw))?;
    match decoded.unknown.first() {
        Some(fault) if decoded.format <= FORMAT => Err(fault_error(path, &text, fault.clone())),
        _ => Ok(decoded),
    }
}

/// A cassette file's text, that of a proposal without its mark.
pub fn read_text(path: &Path) -> Result<String, Error> {
    Source::Folder.text(path)
}

/// A file's text and, where it is a proposal's, the hash of the cassette that it was made from.
pub fn read_marked(path: &Path) -> Result<(String, Option<String>), Error> {
    Source::Folder.marked(path)
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        syntax(path, &text, Fault::new(valid, "bytes that are not UTF-8"))
    })
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > limit {
        return Err(Error::TooLarge { path: path.to_owned(), size, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The error that a flaw of a cassette's text is.
pub fn flaw_error(path: &Path, text: &str, flaw: Flaw) -> Error {
    match flaw {
        Flaw::Syntax(fault) => syntax(path, text, fault),
        Flaw::Format(fault) => fault_error(path, text, fault),
        Flaw::Newer(found) => Error::Newer { path: path.to_owned(), found },
        Flaw::Error(error) => error,
    }
}

fn syntax(path: &Path, text: &str, fault: Fault) -> Error {
    let (line, column) = position(text, fault.at);
    Error::Syntax { path: path.to_owned(), line, column, what: fault.what }
}

/// The error that a fault of the format is.
pub fn fault_error(path: &Path, text: &str, fault: Fault) -> Error {
    let (line, column) = position(text, fault.at);
    Error::Format { path: path.to_owned(), line, column, what: fault.what }
}

/// Line and column, from 1, of a byte offset.
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// When what was written survives a power cut. The end of this process, however it ends, loses nothing either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is written.
    AtOnce,
    /// Once the whole file system was synchronised.
    Later,
}

/// Write a file so that it is there whole or not at all: a temporary file in the same folder that is renamed over the
/// name. With [`Durability::AtOnce`] file and folder are synchronised as well.
pub fn write_atomically(
    path: &Path,
    durability: Durability,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), Error> {
    let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
    let folder = folder_of(path);
    if durability == Durability::Later && !path.exists() {
        let mut unnamed = OpenOptions::new();
        unnamed.read(true).write(true).mode(0o666).custom_flags(nix::libc::O_TMPFILE);
        // Not every file system has unnamed files.
        if let Ok(mut file) = unnamed.open(folder) {
            content(&mut file).map_err(failed)?;
            return name_or_replace(&mut file, path).map_err(failed);
        }
    }
    let mut file = named_temporary(folder).map_err(failed)?;
    content(file.as_file_mut()).map_err(failed)?;
    if durability == Durability::AtOnce {
        file.as_file().sync_all().map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))?;
    if durability == Durability::AtOnce { sync_folder(folder) } else { Ok(()) }
}

fn named_temporary(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".regress-").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

/// Give an unnamed file its name, which costs a third less than to rename one. Where somebody took the name meanwhile,
/// it is replaced.
fn name_or_replace(file: &mut File, path: &Path) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let named = linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW);
    if named.is_ok() {
        return Ok(());
    }
    let mut copy = named_temporary(folder_of(path))?;
    file.seek(SeekFrom::Start(0))?;
    io::copy(file, copy.as_file_mut())?;
    copy.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The folder that a path is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Make a rename in a folder last.
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| Error::Io {
        action: "synchronise",
        path: folder.to_owned(),
        source,
    })
}

/// Files and folders that were made for a cassette which is not written yet: removed again unless kept. Body files
/// stay where other cassettes may be written at the same time, as those may refer to them too.
pub struct Unfinished {
    durability: Durability,
    made: Vec<PathBuf>,
}

impl Unfinished {
    /// Nothing yet.
    pub fn new(durability: Durability) -> Unfinished {
        Unfinished { durability, made: Vec::new() }
    }

    /// Make a folder and those above it, where they are missing.
    pub fn folder(&mut self, folder: &Path) -> Result<(), Error> {
        if folder.is_dir() {
            return Ok(());
        }
        let missing: Vec<_> =
            folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Ok(()) => {
                    self.made.push(path.to_owned());
                    if self.durability == Durability::AtOnce {
                        sync_folder(folder_of(path))?;
                    }
                }
                // Somebody else made it just now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::Io { action: "make", path: path.to_owned(), source }),
            }
        }
        Ok(())
    }

    /// Write a file that may be there already with the same content.
    pub fn file(&mut self, path: &Path, content: &[u8]) -> Result<(), Error> {
        if fs::read(path).is_ok_and(|found| found == content) {
            return Ok(());
        }
        write_atomically(path, self.durability, |file| file.write_all(content))?;
        if self.durability == Durability::AtOnce {
            self.made.push(path.to_owned());
        }
        Ok(())
    }

    /// The cassette is written: keep everything.
    pub fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // An error already tells why the cassette is not there; a folder that others use meanwhile stays.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}
