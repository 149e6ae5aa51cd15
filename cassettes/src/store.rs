//! A folder of cassettes.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use walkdir::WalkDir;

use crate::{
    Ambient, Error, Pack,
    disk::{self, Durability, Place, Unfinished},
    file::{self, BODIES, Source},
    format,
    model::{Cassette, CassetteId, Exchange},
    proposal,
    redact::Redacted,
    route::route_slug,
    verify::verify_in,
};

/// The file of the ambient cassette.
pub const AMBIENT_FILE: &str = "ambient.cassette.json";

/// How the file name of every cassette ends.
pub const SUFFIX: &str = ".cassette.json";

/// How the file name of every proposal ends.
pub const PENDING_SUFFIX: &str = ".cassette.json.new";

/// A folder of cassettes: `<route-slug>/<id>.cassette.json`, `ambient.cassette.json`, big bodies under `bodies/`. Or its
/// packed form, which can be read only: its files are named as if it were a folder. A clone reads that for itself, so
/// that threads do not wait for each other.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Device and inode of the folder.
    identity: Option<(u64, u64)>,
    durability: Durability,
    /// Several threads write at a time.
    shared: bool,
    pack: Option<Pack>,
}

impl Located {
    /// `None` where the file is no cassette with an entry, by its name.
    fn at(path: PathBuf) -> Option<Located> {
        let name = path.file_name()?.to_str()?;
        let id = CassetteId(name.strip_suffix(SUFFIX)?.to_owned());
        let route = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        (name != AMBIENT_FILE).then_some(Located { path, id, route })
    }
}

/// A cassette in a store, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its file.
    pub path: PathBuf,
    /// Its id.
    pub id: CassetteId,
    /// The slug of its route: the name of its folder.
    pub route: String,
}

/// A proposed cassette beside the one that it would replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The cassette as it is.
    pub original: PathBuf,
    /// The proposal, `<original>.new`.
    pub proposed: PathBuf,
}

impl Store {
    /// Open a folder, made where it is missing.
    pub fn create(root: impl Into<PathBuf>) -> Result<Store, Error> {
        let root = root.into();
        match fs::create_dir_all(&root) {
            Ok(()) => Ok(Store::of(root, None)),
            Err(source) => Err(Error::Io { action: "make", path: root, source }),
        }
    }

    /// Open a folder that is there, or a packed one.
    pub fn open(root: impl Into<PathBuf>) -> Result<Store, Error> {
        let root = root.into();
        if Pack::is_at(&root) {
            let pack = Some(Pack::open(&root)?);
            Ok(Store::of(root, pack))
        } else if root.is_dir() {
            Ok(Store::of(root, None))
        } else {
            Err(Error::NoStore { path: root })
        }
    }

    fn of(root: PathBuf, pack: Option<Pack>) -> Store {
        let identity = identity(&root);
        Store { root, identity, durability: Durability::AtOnce, shared: false, pack }
    }

    /// The same store, which does not wait for the disk: what is written is whole at any moment of this process, also
    /// when that is killed, but survives a power cut only after [`Store::sync`]. Several threads may write at a time.
    pub fn sync_later(self) -> Store {
        Store { durability: Durability::Later, shared: true, ..self }
    }

    /// The same store, to which several threads write at a time; each cassette survives a power cut once it is written.
    pub fn sync_each(self) -> Store {
        Store { durability: Durability::AtOnce, shared: true, ..self }
    }

    /// Make everything that was written so far survive a power cut (`syncfs(2)`).
    ///
    /// # Errors
    /// When the file system fails, or as [`Store::check_in_place`].
    pub fn sync(&self) -> Result<(), Error> {
        let failed = |source| Error::Io { action: "synchronise", path: self.root.clone(), source };
        let folder = File::open(&self.root).map_err(failed)?;
        nix::unistd::syncfs(&folder).map_err(|errno| failed(errno.into()))?;
        self.check_in_place()
    }

    /// # Errors
    /// When the folder is not the one any more that was opened: what was written is not in it.
    pub fn check_in_place(&self) -> Result<(), Error> {
        if identity(&self.root) == self.identity {
            return Ok(());
        }
        let source = io::Error::new(io::ErrorKind::NotFound, "the folder was removed or replaced meanwhile");
        Err(Error::Io { action: "write to", path: self.root.clone(), source })
    }

    /// What has a temporary name in the store: runs that were killed have left it, or one that is at work has it open. It is
    /// no part of the cassettes.
    pub fn temporary(&self) -> Vec<PathBuf> {
        self.own_folders().iter().flat_map(|folder| disk::temporary_in(folder)).collect()
    }

    /// Remove what runs that were killed have left, unless somebody has it open, and give what was removed.
    pub fn remove_leftovers(&self) -> Vec<PathBuf> {
        self.own_folders().iter().flat_map(|folder| disk::remove_leftovers(folder)).collect()
    }

    /// The folder and those in it, links left aside.
    fn own_folders(&self) -> Vec<PathBuf> {
        if self.is_packed() {
            return Vec::new();
        }
        let found = WalkDir::new(&self.root).max_depth(1).into_iter();
        let visible = found.filter_entry(|found| found.depth() == 0 || !is_hidden(found.file_name()));
        visible
            .filter_map(Result::ok)
            .filter(|found| found.file_type().is_dir())
            .map(|found| found.into_path())
            .collect()
    }

    /// Whether this is a packed folder.
    pub fn is_packed(&self) -> bool {
        self.pack.is_some()
    }

    fn source(&self) -> Source<'_> {
        self.pack.as_ref().map_or(Source::Folder, Source::Packed)
    }

    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if self.is_packed() { Err(Error::Packed { path: self.root.clone() }) } else { Ok(()) }
    }

    /// The folder, or the packed one.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Write a cassette, atomically, and give its path. A cassette without an entry is the ambient one: where there
    /// is one already from an earlier recording, its exchanges are appended to that.
    ///
    /// What is written has been read back and compared before; when anything fails, nothing of it stays on disk.
    pub fn write(&self, cassette: &Redacted<Cassette>) -> Result<PathBuf, Error> {
        let Some(entry) = &cassette.entry else {
            let mut ambient = Ambient::open(self, &cassette.recorded)?;
            ambient.redacted.extend(cassette.redacted.iter().cloned());
            for exchange in &cassette.downstream {
                if !ambient.append(exchange.clone())? {
                    let (path, limit) = (self.root.join(AMBIENT_FILE), file::LIMIT);
                    return Err(Error::TooLarge { path, size: limit, limit });
                }
            }
            ambient.defects.extend(cassette.defects.iter().cloned());
            return ambient.publish();
        };
        let path = self.path_in(entry, &cassette.id);
        self.write_to(path, cassette)
    }

    /// Write the ambient cassette as it is given, in place of the one that is there.
    pub fn replace_ambient(&self, cassette: &Redacted<Cassette>) -> Result<PathBuf, Error> {
        self.write_to(self.root.join(AMBIENT_FILE), &Cassette { entry: None, ..Cassette::clone(cassette) })
    }

    /// Write a cassette in place of the one in that file.
    pub fn replace(&self, file: &Path, cassette: &Redacted<Cassette>) -> Result<PathBuf, Error> {
        self.write_to(file.to_owned(), cassette)
    }

    /// Where [`Store::write`] puts a cassette.
    pub fn path_of(&self, cassette: &Cassette) -> PathBuf {
        match &cassette.entry {
            Some(entry) => self.path_in(entry, &cassette.id),
            None => self.root.join(AMBIENT_FILE),
        }
    }

    fn path_in(&self, entry: &Exchange, id: &CassetteId) -> PathBuf {
        self.root.join(route_slug(entry)).join(format!("{id}{SUFFIX}"))
    }

    /// Write a proposal beside the cassette that it would replace, marked with what that says now, and give its path.
    pub fn write_pending(&self, original: &Path, cassette: &Redacted<Cassette>) -> Result<PathBuf, Error> {
        let mut proposed = original.as_os_str().to_owned();
        proposed.push(".new");
        self.check_writable()?;
        let replaced = file::read_text(original)?;
        self.write_text(proposed.into(), cassette, |text| proposal::marked(&text, replaced.as_bytes()))
    }

    fn write_to(&self, path: PathBuf, cassette: &Cassette) -> Result<PathBuf, Error> {
        self.write_text(path, cassette, |text| text)
    }

    fn write_text(
        &self,
        path: PathBuf,
        cassette: &Cassette,
        finish: impl FnOnce(String) -> String,
    ) -> Result<PathBuf, Error> {
        self.check_writable()?;
        let unwritable = |what: String| Error::Unwritable { path: path.clone(), id: cassette.id.to_string(), what };
        if !cassette.id.is_valid() {
            return Err(unwritable("its id is not safe as a file name".to_owned()));
        }
        if cassette.entry.is_some() && cassette.id.0 == CassetteId::AMBIENT {
            return Err(unwritable("its id is that of the ambient cassette".to_owned()));
        }
        let (text, files) = self.proven(&path, cassette)?;
        let mut unfinished = Unfinished::new(&self.root, self.durability, self.shared);
        unfinished.folder(disk::folder_of(&path))?;
        self.write_bodies(&files, &mut unfinished)?;
        let text = finish(text);
        let written = self.write_file(&path, |file| file.write_all(text.as_bytes()));
        // What fails last is to make its name survive a power cut: then it has its name, and needs its body files.
        if written.is_ok() || path.is_file() {
            unfinished.keep();
        }
        written.map(|()| path)
    }

    /// Write a file of the store, which is there whole or not at all.
    pub(crate) fn write_file(
        &self,
        path: &Path,
        content: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), Error> {
        disk::write_atomically(Place::Within(&self.root), path, self.durability, content)
    }

    /// The text of a cassette, which was read back and compared, and the body files that it refers to.
    pub(crate) fn proven(&self, path: &Path, cassette: &Cassette) -> Result<(String, format::BodyFiles), Error> {
        let unwritable = |what: String| Error::Unwritable { path: path.to_owned(), id: cassette.id.to_string(), what };
        let (text, files) = format::encode(cassette);
        let read_back = format::decode(&text, &mut |hash, _| {
            files.get(hash).cloned().ok_or_else(|| Error::BodyMissing { path: path.to_owned(), hash: hash.to_owned() })
        });
        match read_back {
            Ok(decoded) if decoded.cassette == *cassette => Ok((text, files)),
            Ok(_) => Err(unwritable("reading it back gives another cassette".to_owned())),
            Err(flaw) => Err(unwritable(file::flaw_error(path, &text, flaw).to_string())),
        }
    }

    /// What one exchange of the ambient cassette looks like there: proven as a cassette of its own, `around` it.
    pub(crate) fn ambient_element(&self, around: &Cassette) -> Result<String, Error> {
        let path = self.root.join(AMBIENT_FILE);
        let (text, files) = self.proven(&path, around)?;
        let mut unfinished = Unfinished::new(&self.root, self.durability, true);
        self.write_bodies(&files, &mut unfinished)?;
        unfinished.keep();
        Ok(text)
    }

    fn write_bodies(&self, files: &format::BodyFiles, unfinished: &mut Unfinished) -> Result<(), Error> {
        let folder = self.root.join(BODIES);
        if !files.is_empty() {
            unfinished.folder(&folder)?;
        }
        files.iter().try_for_each(|(hash, bytes): (&String, &Bytes)| unfinished.file(&folder.join(hash), bytes))
    }

    /// Removes body files that no cassette and no proposal refers to, and gives how many.
    pub fn remove_unused_bodies(&self) -> Result<usize, Error> {
        self.check_writable()?;
        let folder = self.root.join(BODIES);
        let mut unused = BTreeSet::new();
        if folder.is_dir() {
            let failed = |source| Error::Io { action: "list", path: folder.clone(), source };
            for found in fs::read_dir(&folder).map_err(failed)? {
                unused.insert(found.map_err(failed)?.file_name().to_string_lossy().into_owned());
            }
        }
        for suffix in [SUFFIX, PENDING_SUFFIX] {
            for path in self.files(suffix)? {
                let text = file::read_text(&path)?;
                unused.retain(|hash| !text.contains(hash.as_str()));
            }
        }
        for hash in &unused {
            let path = folder.join(hash);
            fs::remove_file(&path).map_err(|source| Error::Io { action: "remove", path, source })?;
        }
        Ok(unused.len())
    }

    /// The cassettes in order of their ids, which is the order of time; the ambient one is not among them.
    pub fn list(&self) -> Result<Vec<Located>, Error> {
        let mut located: Vec<_> = self.files(SUFFIX)?.into_iter().filter_map(Located::at).collect();
        located.sort_by(|a, b| (&a.id, &a.path).cmp(&(&b.id, &b.path)));
        Ok(located)
    }

    /// The cassettes of a folder in no order, found one after the other, so that their number takes no memory; without
    /// the ambient one.
    pub fn walk(&self) -> impl Iterator<Item = Result<Located, Error>> {
        let walk = self.folders();
        walk.filter_map(|found| match found {
            Ok(found) if found.file_type().is_file() => Located::at(found.into_path()).map(Ok),
            Ok(_) => None,
            Err(error) => Some(Err(self.unlisted(error))),
        })
    }

    fn folders(&self) -> impl Iterator<Item = walkdir::Result<walkdir::DirEntry>> {
        let walk = WalkDir::new(&self.root).max_depth(2);
        walk.into_iter().filter_entry(|found| found.depth() == 0 || !is_hidden(found.file_name()))
    }

    fn unlisted(&self, error: walkdir::Error) -> Error {
        let path = error.path().unwrap_or(&self.root).to_owned();
        Error::Io { action: "list", path, source: error.into() }
    }

    /// Read one of them.
    pub fn read(&self, located: &Located) -> Result<Cassette, Error> {
        self.read_at(&located.path)
    }

    /// Read the cassette at a path in the store.
    pub fn read_at(&self, path: &Path) -> Result<Cassette, Error> {
        file::read_decoded(self.source(), path).map(|decoded| decoded.cassette)
    }

    /// Every problem of a cassette file in the store, as [`crate::verify()`] has them.
    pub fn verify_at(&self, path: &Path) -> Vec<Error> {
        verify_in(self.source(), path)
    }

    /// The bytes of a file in the store; `None` where it is not there.
    pub fn size_at(&self, path: &Path) -> Option<u64> {
        match &self.pack {
            Some(pack) => pack.size_at(path),
            None => fs::metadata(path).ok().map(|file| file.len()),
        }
    }

    /// The ambient cassette, if there is one.
    pub fn ambient(&self) -> Result<Option<Cassette>, Error> {
        let path = self.root.join(AMBIENT_FILE);
        if self.size_at(&path).is_some() { self.read_at(&path).map(Some) } else { Ok(None) }
    }

    /// The proposals that wait for review, in order of their paths.
    pub fn pending(&self) -> Result<Vec<Pending>, Error> {
        let proposed = self.files(PENDING_SUFFIX)?;
        Ok(proposed.into_iter().map(|proposed| Pending { original: proposed.with_extension(""), proposed }).collect())
    }

    /// The files of the folder, and of the folders in it, whose names end so; in order of their paths.
    fn files(&self, suffix: &str) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        if let Some(pack) = &self.pack {
            files.extend(pack.paths().filter(|path| path.ends_with(suffix)).map(|path| self.root.join(path)));
            files.sort();
            return Ok(files);
        }
        for found in self.folders() {
            let found = found.map_err(|error| self.unlisted(error))?;
            if found.file_type().is_file() && found.file_name().to_string_lossy().ends_with(suffix) {
                files.push(found.into_path());
            }
        }
        files.sort();
        Ok(files)
    }
}

fn identity(root: &Path) -> Option<(u64, u64)> {
    fs::metadata(root).ok().map(|found| (found.dev(), found.ino()))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

impl Pending {
    /// Whether the cassette is neither what the proposal was made from any more nor what it proposes. A proposal without a mark
    /// is not stale.
    pub fn is_stale(&self) -> Result<bool, Error> {
        let (proposed, made_from) = file::read_marked(&self.proposed)?;
        let original = file::read_text(&self.original)?;
        // Whoever accepted it was stopped before it was removed.
        Ok(original != proposed && made_from.is_some_and(|hash| hash != format::hash(original.as_bytes())))
    }

    /// Take the proposal: it replaces the cassette in one step.
    pub fn accept(&self) -> Result<(), Error> {
        let text = file::read_text(&self.proposed)?;
        disk::write_atomically(Place::Named, &self.original, Durability::AtOnce, |file| {
            file.write_all(text.as_bytes())
        })?;
        self.remove("accept")
    }

    /// Drop the proposal: the cassette stays as it is.
    pub fn reject(&self) -> Result<(), Error> {
        self.remove("reject")
    }

    fn remove(&self, action: &'static str) -> Result<(), Error> {
        fs::remove_file(&self.proposed).map_err(|source| Error::Io { action, path: self.proposed.clone(), source })
    }
}
