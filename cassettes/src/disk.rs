//! Files are there whole or not at all.
//!
//! A file gets its content before it gets its name: it is unnamed first (`O_TMPFILE`), or has a temporary name in the
//! same folder and is renamed. Below the folder of a store nothing is written through a symbolic link. What a run that
//! was killed leaves of a temporary name is told apart from the one of a run that goes on by a lock, which the kernel
//! releases with the process.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags, OFlag},
    unistd::linkat,
};
use tempfile::NamedTempFile;

use crate::{
    Error,
    seal::{Keys, Session, sealed_limit},
};

/// How temporary names begin; [`RANDOM`] letters and digits follow.
const PREFIX: &str = ".regress-";
const RANDOM: usize = 6;

/// How often a temporary file is made anew because somebody holds or removes it.
const TRIES: usize = 8;

/// When what was written survives a power cut. The end of this process, however it ends, loses nothing either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is written.
    AtOnce,
    /// Once the whole file system was synchronised.
    Later,
}

/// Where a file goes.
#[derive(Clone, Copy, Debug)]
pub enum Place<'p> {
    /// Where the user said: links are followed.
    Named,
    /// In the store of this root, or in a folder of it, which is no link.
    Within(&'p Path),
}

/// Write a file so that it is there whole or not at all: it gets its name when it has its content. With
/// [`Durability::AtOnce`] file and folder are synchronised as well. A file that is replaced keeps its permissions.
pub fn write_atomically(
    place: Place<'_>,
    path: &Path,
    durability: Durability,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), Error> {
    let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
    let folder = Folder::open(place, folder_of(path))?;
    // Whatever is renamed meanwhile, it goes into this folder.
    let target = folder.at(path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?);
    let replaced = fs::symlink_metadata(&target).ok();
    if durability == Durability::Later && replaced.is_none() {
        let mut unnamed = OpenOptions::new();
        unnamed.read(true).write(true).mode(0o666).custom_flags(nix::libc::O_TMPFILE);
        // Not every file system has unnamed files.
        if let Ok(mut file) = unnamed.open(folder.at("")) {
            content(&mut file).map_err(failed)?;
            return name_or_replace(&folder, &mut file, &target).map_err(failed);
        }
    }
    let mut file = named_temporary(&folder).map_err(failed)?;
    if let Some(replaced) = replaced.filter(fs::Metadata::is_file) {
        let permissions = Permissions::from_mode(replaced.mode() & 0o777);
        file.as_file().set_permissions(permissions).map_err(failed)?;
    }
    content(file.as_file_mut()).map_err(failed)?;
    if durability == Durability::AtOnce {
        file.as_file().sync_all().map_err(failed)?;
    }
    file.persist(&target).map_err(|error| failed(error.error))?;
    if durability == Durability::AtOnce { folder.file.sync_all().map_err(failed) } else { Ok(()) }
}

/// Write a file that the user named, as [`write_atomically`] does. Where a link is, what it leads to is replaced; what is
/// no regular file, as a pipe or a terminal, is written into. What earlier runs that were killed have left in its folder
/// is removed.
///
/// # Errors
/// When it cannot be written; what was there is as it was then.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|found| is_stream(&found)) {
        let failed = |source| Error::Io { action: "write", path: path.clone(), source };
        return OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(content)).map_err(failed);
    }
    remove_leftovers(folder_of(&path));
    write_atomically(Place::Named, &path, Durability::AtOnce, |file| file.write_all(content))
}

fn is_stream(found: &fs::Metadata) -> bool {
    let kind = found.file_type();
    kind.is_char_device() || kind.is_fifo() || kind.is_socket()
}

/// An open folder, which stays the one that it was when it was opened.
struct Folder {
    file: File,
}

impl Folder {
    fn open(place: Place<'_>, path: &Path) -> Result<Folder, Error> {
        let is_guarded = matches!(place, Place::Within(root) if root != path);
        let mut options = OpenOptions::new();
        let no_link = if is_guarded { OFlag::O_NOFOLLOW } else { OFlag::empty() };
        options.read(true).custom_flags((OFlag::O_DIRECTORY | no_link).bits());
        match options.open(path) {
            Ok(file) => Ok(Folder { file }),
            Err(_) if is_guarded && path.is_symlink() => Err(Error::Link { path: path.to_owned() }),
            Err(source) => Err(Error::Io { action: "write to", path: path.to_owned(), source }),
        }
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())).join(name)
    }
}

/// A file of a temporary name, locked as long as it is written.
fn named_temporary(folder: &Folder) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).rand_bytes(RANDOM).permissions(Permissions::from_mode(0o666));
    for _ in 0..TRIES {
        let file = builder.tempfile_in(folder.at(""))?;
        // Somebody who removes what was left may have taken it for that before it was locked. A file system without
        // locks refuses those of others too.
        let is_taken = matches!(file.as_file().try_lock_shared(), Err(fs::TryLockError::WouldBlock));
        if !is_taken && file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
    builder.tempfile_in(folder.at(""))
}

/// Give an unnamed file its name, which costs a third less than to rename one. Where somebody took the name meanwhile,
/// it is replaced.
fn name_or_replace(folder: &Folder, file: &mut File, path: &Path) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let named = linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW);
    if named.is_ok() {
        return Ok(());
    }
    let mut copy = named_temporary(folder)?;
    file.seek(SeekFrom::Start(0))?;
    io::copy(file, copy.as_file_mut())?;
    copy.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A folder of a temporary name in another one, removed when it is dropped.
pub struct TemporaryFolder {
    folder: tempfile::TempDir,
    /// Says that it is in use.
    _locked: Option<File>,
}

impl TemporaryFolder {
    /// Make one.
    pub fn new(within: &Path) -> io::Result<TemporaryFolder> {
        let folder = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).tempdir_in(within)?;
        let locked = File::open(folder.path())?;
        let is_locked = locked.try_lock_shared().is_ok();
        Ok(TemporaryFolder { folder, _locked: is_locked.then_some(locked) })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What has a temporary name in a folder: of a run that was killed, or of one that is at work.
pub fn temporary_in(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = found.filter(|entry| is_temporary(&entry.file_name())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Whether a file has one of the temporary names.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.as_encoded_bytes().strip_prefix(PREFIX.as_bytes());
    random.is_some_and(|random| random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric))
}

/// Remove what runs that were killed have left in a folder, and give that. What a run at work has locked stays, and what
/// cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Vec<PathBuf> {
    temporary_in(folder).into_iter().filter(|path| remove_unlocked(path).is_ok()).collect()
}

fn remove_unlocked(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
    file.try_lock().map_err(io::Error::from)?;
    if file.metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Read a regular file of at most `limit` bytes. Anything else is refused, and not waited for.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = open_regular(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > limit {
        return Err(Error::TooLarge { path: path.to_owned(), size, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Open a file to read; what is no regular file is refused at once, where opening or reading it might wait for ever.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    match () {
        () if kind.is_file() => Ok(file),
        () if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        () => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
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

/// Files and folders that were made for a cassette which is not written yet: removed again unless kept.
pub struct Unfinished<'r> {
    root: &'r Path,
    durability: Durability,
    /// Others write at the same time, and may refer to the same body files: those stay.
    shared: bool,
    made: Vec<PathBuf>,
}

impl<'r> Unfinished<'r> {
    /// Nothing yet, in the store of this root.
    pub fn new(root: &'r Path, durability: Durability, shared: bool) -> Unfinished<'r> {
        Unfinished { root, durability, shared, made: Vec::new() }
    }

    /// Make a folder of the store where it is missing.
    pub fn folder(&mut self, folder: &Path) -> Result<(), Error> {
        match fs::create_dir(folder) {
            Ok(()) => {
                self.made.push(folder.to_owned());
                if self.durability == Durability::AtOnce { sync_folder(folder_of(folder)) } else { Ok(()) }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // The root is there as well.
            Err(_) if folder.is_dir() => Ok(()),
            Err(source) => Err(Error::Io { action: "make", path: folder.to_owned(), source }),
        }
    }

    /// Write a body file, sealed in `session`, that may be there already with the same content.
    pub fn body(&mut self, path: &Path, content: &[u8], session: Option<&Arc<Session>>) -> Result<(), Error> {
        if is_there(path, content, session) {
            return Ok(());
        }
        write_atomically(Place::Within(self.root), path, self.durability, |file| match session {
            None => file.write_all(content),
            Some(session) => session.seal_into(None, content, file),
        })?;
        if let Some(session) = session {
            session.remember(path);
        }
        if !self.shared {
            self.made.push(path.to_owned());
        }
        Ok(())
    }

    /// The cassette is written: keep everything.
    pub fn keep(mut self) {
        self.made.clear();
    }
}

fn is_there(path: &Path, content: &[u8], session: Option<&Arc<Session>>) -> bool {
    let length = content.len() as u64;
    match session {
        None => read_bounded(path, length).is_ok_and(|found| found == content),
        Some(session) if session.has_written(path) => true,
        Some(session) => {
            let found = read_bounded(path, sealed_limit(length));
            found.is_ok_and(|found| Keys::of(session).open(&found).is_ok_and(|opened| opened.content == content))
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // An error already tells why the cassette is not there; a folder that others use meanwhile stays.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}
