//! A folder of cassettes.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use walkdir::WalkDir;

use crate::{
    Ambient, Error, Pack,
    disk::{self, Durability, Place, Unfinished},
    file::{self, BODIES, Source, Text},
    format,
    model::{Cassette, CassetteId, Exchange},
    proposal,
    redact::Redacted,
    route::route_slug,
    seal::{Header, Keys, SEALED_FOLDER, SEALED_SUFFIX, Seal, Session, Unopened},
    verify::verify_in,
};

/// The file of the ambient cassette.
pub const AMBIENT_FILE: &str = "ambient.cassette.json";

/// How the file name of every cassette ends.
pub const SUFFIX: &str = ".cassette.json";

/// A folder of cassettes: `<route-slug>/<id>.cassette.json`, `ambient.cassette.json`, big bodies under `bodies/`. Or its
/// packed form, which can be read only: its files are named as if it were a folder. A clone reads that for itself, so
/// that threads do not wait for each other.
///
/// Where any of its cassettes is sealed, all that is written is.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Device and inode of the folder.
    identity: Option<(u64, u64)>,
    durability: Durability,
    /// Several threads write at a time.
    shared: bool,
    pack: Option<Pack>,
    keys: Keys,
    seal: Option<Seal>,
    /// Whether any cassette was found to be sealed.
    holds_sealed: Arc<OnceLock<bool>>,
}

impl Located {
    /// `None` where the file is no cassette with an entry, by its name.
    fn at(path: PathBuf) -> Option<Located> {
        let name = path.file_name()?.to_str().filter(|name| !is_pending(name))?;
        let id = CassetteId(file::id_of(name)?.to_owned());
        let route = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        (id.0 != CassetteId::AMBIENT).then_some(Located { path, id, route })
    }

    /// Whether its route is known to those alone who can open it.
    pub fn is_route_hidden(&self) -> bool {
        self.route == SEALED_FOLDER && file::is_sealed(&self.path)
    }
}

/// A cassette in a store, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its file.
    pub path: PathBuf,
    /// Its id.
    pub id: CassetteId,
    /// The slug of its route: the name of its folder (see [`Store::with_routes`]).
    pub route: String,
}

/// A proposed cassette beside the one that it would replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The cassette as it is.
    pub original: PathBuf,
    /// The proposal, `<original>.new`.
    pub proposed: PathBuf,
    keys: Keys,
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
        let (keys, holds_sealed) = (Keys::default(), Arc::default());
        Store { root, identity, durability: Durability::AtOnce, shared: false, pack, keys, seal: None, holds_sealed }
    }

    /// The same store, of which these keys open what is sealed.
    pub fn with_keys(self, keys: Keys) -> Store {
        Store { keys, ..self }
    }

    /// The same store for a recording, of which all that is written is sealed so, or nothing is. What it writes it can
    /// open again.
    ///
    /// # Errors
    /// When there are cassettes already and they are not sealed, or are and the recording is not.
    pub fn recording(self, seal: Option<Seal>) -> Result<Store, Error> {
        let path = || self.root.clone();
        match &seal {
            None if self.holds_sealed()? => return Err(Error::SealedStore { path: path() }),
            None => {}
            Some(seal) => {
                let is_plain = |found: Result<PathBuf, Error>| found.map(|found| !file::is_sealed(&found));
                if self
                    .cassette_files()
                    .map(is_plain)
                    .find(|is_plain| !matches!(is_plain, Ok(false)))
                    .transpose()?
                    .is_some()
                {
                    return Err(Error::PlainStore { path: path() });
                }
                let ambient = self.ambient_file()?.map(|path| self.source().content(&path));
                match ambient.transpose() {
                    Err(Error::Sealed { path, why }) => return Err(Error::SealedAmbient { path, why }),
                    ambient => drop(ambient?),
                }
                self.keys.remember(&seal.session);
            }
        }
        Ok(Store { seal, ..self })
    }

    /// Whether what is written to it is sealed.
    pub fn is_sealed(&self) -> Result<bool, Error> {
        Ok(self.seal.is_some() || self.holds_sealed()?)
    }

    fn holds_sealed(&self) -> Result<bool, Error> {
        if let Some(known) = self.holds_sealed.get() {
            return Ok(*known);
        }
        let found = self.first_sealed()?.is_some();
        Ok(*self.holds_sealed.get_or_init(|| found))
    }

    fn first_sealed(&self) -> Result<Option<PathBuf>, Error> {
        let sealed = |found: &Result<PathBuf, Error>| found.as_ref().map_or(true, |path| file::is_sealed(path));
        self.cassette_files().find(sealed).transpose()
    }

    /// Whether there is anything to open sealed cassettes with, where there are any.
    ///
    /// # Errors
    /// When there is not.
    pub fn check_keys(&self) -> Result<(), Error> {
        match self.first_sealed()? {
            Some(path) if self.keys.is_empty() => Err(Error::Sealed { path, why: Unopened::NoIdentity }),
            _ => Ok(()),
        }
    }

    /// What seals something new here; `None` where nothing is sealed.
    pub fn seal(&self) -> Result<Option<Seal>, Error> {
        if self.seal.is_some() {
            return Ok(self.seal.clone());
        }
        let Some(path) = self.first_sealed()? else { return Ok(None) };
        Ok(self.source().text(&path)?.sealed.map(|sealed| sealed.seal()))
    }

    /// What opens its sealed files.
    pub fn keys(&self) -> &Keys {
        &self.keys
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

    pub(crate) fn source(&self) -> Source<'_> {
        Source { pack: self.pack.as_ref(), keys: &self.keys }
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
                    let (path, limit) = (self.ambient_path()?, file::LIMIT);
                    return Err(Error::TooLarge { path, size: limit, limit });
                }
            }
            ambient.defects.extend(cassette.defects.iter().cloned());
            return ambient.publish();
        };
        let path = self.path_in(entry, &cassette.id)?;
        self.write_to(path, cassette)
    }

    /// Write the ambient cassette as it is given, in place of the one that is there.
    pub fn replace_ambient(&self, cassette: &Redacted<Cassette>) -> Result<PathBuf, Error> {
        self.write_to(self.ambient_path()?, &Cassette { entry: None, ..Cassette::clone(cassette) })
    }

    /// Write a cassette in place of the one in that file.
    pub fn replace(&self, file: &Path, cassette: &Redacted<Cassette>) -> Result<PathBuf, Error> {
        self.write_to(file.to_owned(), cassette)
    }

    /// Where [`Store::write`] puts a cassette.
    pub fn path_of(&self, cassette: &Cassette) -> Result<PathBuf, Error> {
        match &cassette.entry {
            Some(entry) => self.path_in(entry, &cassette.id),
            None => self.ambient_path(),
        }
    }

    fn path_in(&self, entry: &Exchange, id: &CassetteId) -> Result<PathBuf, Error> {
        let told = self.root.join(route_slug(entry)).join(format!("{id}{SUFFIX}"));
        if !self.is_sealed()? {
            return Ok(told);
        }
        let told = sealed_path(&told);
        let hidden = self.root.join(SEALED_FOLDER).join(told.file_name().unwrap_or_default());
        let is_told = match &self.seal {
            // What is recorded is not there yet.
            Some(seal) => seal.header,
            // One that is there stays where it is.
            None => match (hidden.is_file(), told.is_file()) {
                (false, true) => true,
                (true, _) => false,
                (false, false) => self.seal()?.is_some_and(|seal| seal.header),
            },
        };
        Ok(if is_told { told } else { hidden })
    }

    /// The file of the ambient cassette, which does not have to be there.
    pub(crate) fn ambient_path(&self) -> Result<PathBuf, Error> {
        let plain = self.root.join(AMBIENT_FILE);
        let sealed = sealed_path(&plain);
        match (self.size_at(&plain).is_some(), self.size_at(&sealed).is_some()) {
            (true, true) => Err(Error::SealedTwice { path: plain }),
            (true, false) => Ok(plain),
            (false, true) => Ok(sealed),
            (false, false) => Ok(if self.is_sealed()? { sealed } else { plain }),
        }
    }

    /// How a file is sealed that is written now: as the one that is there, else as others are.
    pub(crate) fn seal_for(&self, path: &Path) -> Result<Option<Seal>, Error> {
        match &self.seal {
            _ if !file::is_sealed(path) => Ok(None),
            Some(seal) => Ok(Some(seal.clone())),
            None if path.is_file() => Ok(self.source().text(path)?.sealed.map(|sealed| sealed.seal())),
            None => self.seal(),
        }
    }

    /// Write a proposal beside the cassette that it would replace, marked with what that says now, and give its path.
    pub fn write_pending(&self, original: &Path, cassette: &Redacted<Cassette>) -> Result<PathBuf, Error> {
        let mut proposed = original.as_os_str().to_owned();
        proposed.push(".new");
        self.check_writable()?;
        let Text { text: replaced, sealed, .. } = self.source().text(original)?;
        let seal = sealed.map(|sealed| sealed.seal());
        self.write_text(proposed.into(), cassette, seal, |text| proposal::marked(&text, replaced.as_bytes()))
    }

    fn write_to(&self, path: PathBuf, cassette: &Cassette) -> Result<PathBuf, Error> {
        let seal = self.seal_for(&path)?;
        self.write_text(path, cassette, seal, |text| text)
    }

    fn write_text(
        &self,
        path: PathBuf,
        cassette: &Cassette,
        seal: Option<Seal>,
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
        self.write_bodies(files.iter(), seal.as_ref().map(|seal| &seal.session), &mut unfinished)?;
        let (place, text) = (Place::Within(&self.root), finish(text));
        let header = |bytes| Header::of(cassette, bytes);
        let written = write_sealed(place, &path, self.durability, seal.as_ref(), text.into_bytes(), header);
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
            files.get(hash).cloned().ok_or_else(|| Error::BodyMissing { path: path.to_owned(), name: hash.to_owned() })
        });
        match read_back {
            Ok(decoded) if decoded.cassette == *cassette => Ok((text, files)),
            Ok(_) => Err(unwritable("reading it back gives another cassette".to_owned())),
            Err(flaw) => Err(unwritable(file::flaw_error(path, &text, flaw).to_string())),
        }
    }

    /// What one exchange of the ambient cassette looks like there: proven as a cassette of its own, `around` it.
    pub(crate) fn ambient_element(
        &self,
        path: &Path,
        around: &Cassette,
        session: Option<&Arc<Session>>,
    ) -> Result<String, Error> {
        let (text, files) = self.proven(path, around)?;
        let mut unfinished = Unfinished::new(&self.root, self.durability, true);
        self.write_bodies(files.iter(), session, &mut unfinished)?;
        unfinished.keep();
        Ok(text)
    }

    pub(crate) fn write_bodies<'b>(
        &self,
        files: impl ExactSizeIterator<Item = (&'b String, &'b Bytes)>,
        session: Option<&Arc<Session>>,
        unfinished: &mut Unfinished,
    ) -> Result<(), Error> {
        let folder = self.root.join(BODIES);
        if files.len() > 0 {
            unfinished.folder(&folder)?;
        }
        let mut files = files;
        files.try_for_each(|(hash, bytes)| {
            let name = file::body_file(hash, session.map(|session| &**session));
            unfinished.body(&folder.join(name), bytes, session)
        })
    }

    /// Remove a cassette of the folder, and the proposal that waits beside it.
    ///
    /// # Errors
    /// When the folder is packed, or the system refuses.
    pub fn remove(&self, cassette: &Path) -> Result<(), Error> {
        self.check_writable()?;
        let mut proposal = cassette.as_os_str().to_owned();
        proposal.push(".new");
        for path in [PathBuf::from(proposal), cassette.to_owned()] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Io { action: "remove", path, source });
                }
                _ => {}
            }
        }
        Ok(())
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
        for path in self.files(|name| file::id_of(name).is_some())? {
            let Text { text, sealed, .. } = self.source().text(&path)?;
            let session = sealed.as_ref().map(|sealed| &*sealed.session);
            for hash in text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| format::is_hash(word)) {
                unused.remove(&file::body_file(hash, session));
            }
        }
        for name in &unused {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(|source| Error::Io { action: "remove", path, source })?;
        }
        Ok(unused.len())
    }

    /// The cassettes in order of their ids, which is the order of time; the ambient one is not among them.
    pub fn list(&self) -> Result<Vec<Located>, Error> {
        let mut located: Vec<_> = self.files(is_cassette)?.into_iter().filter_map(Located::at).collect();
        located.sort_by(|a, b| (&a.id, &a.path).cmp(&(&b.id, &b.path)));
        Ok(located)
    }

    /// The same cassettes with their routes, also of those that tell them only to who can open them; one that cannot be
    /// opened keeps [`SEALED_FOLDER`] as its route.
    pub fn with_routes(&self, listed: Vec<Located>) -> Vec<Located> {
        let route =
            |located: &Located| self.read(located).ok().and_then(|cassette| cassette.entry.as_ref().map(route_slug));
        let with_route = |located: Located| match located.is_route_hidden().then(|| route(&located)).flatten() {
            Some(route) => Located { route, ..located },
            None => located,
        };
        listed.into_iter().map(with_route).collect()
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

    /// The file of the ambient cassette, if there is one.
    pub fn ambient_file(&self) -> Result<Option<PathBuf>, Error> {
        self.ambient_path().map(|path| self.size_at(&path).is_some().then_some(path))
    }

    /// What a sealed cassette tells everybody, not authenticated; `None` where it tells nothing.
    pub fn header_at(&self, path: &Path) -> Result<Option<Header>, Error> {
        self.source().header(path)
    }

    /// The ambient cassette, if there is one.
    pub fn ambient(&self) -> Result<Option<Cassette>, Error> {
        let path = self.ambient_path()?;
        if self.size_at(&path).is_some() { self.read_at(&path).map(Some) } else { Ok(None) }
    }

    /// The proposals that wait for review, in order of their paths.
    pub fn pending(&self) -> Result<Vec<Pending>, Error> {
        let proposed = self.files(|name| is_pending(name) && file::id_of(name).is_some())?;
        let pending =
            |proposed: PathBuf| Pending { original: proposed.with_extension(""), proposed, keys: self.keys.clone() };
        Ok(proposed.into_iter().map(pending).collect())
    }

    /// The files of the folder, and of the folders in it, whose names are meant; in order of their paths.
    pub(crate) fn files(&self, is_meant: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Error> {
        let mut files = self.all_files(is_meant).collect::<Result<Vec<_>, _>>()?;
        files.sort();
        Ok(files)
    }

    /// Cassettes, the ambient one among them, in no order.
    fn cassette_files(&self) -> impl Iterator<Item = Result<PathBuf, Error>> {
        self.all_files(is_cassette)
    }

    fn all_files(&self, is_meant: impl Fn(&str) -> bool) -> impl Iterator<Item = Result<PathBuf, Error>> {
        let packed = self.pack.iter().flat_map(Pack::paths).map(|path| Ok(self.root.join(path)));
        let found = self.pack.is_none().then(|| self.folders()).into_iter().flatten().filter_map(|found| match found {
            Ok(found) => found.file_type().is_file().then(|| Ok(found.into_path())),
            Err(error) => Some(Err(self.unlisted(error))),
        });
        packed.chain(found).filter(move |found| match found {
            Ok(path) => is_meant(&path.file_name().unwrap_or_default().to_string_lossy()),
            Err(_) => true,
        })
    }
}

fn is_pending(name: &str) -> bool {
    name.ends_with(".new")
}

fn is_cassette(name: &str) -> bool {
    !is_pending(name) && file::id_of(name).is_some()
}

/// The path of a file's sealed form.
pub fn sealed_path(path: &Path) -> PathBuf {
    let mut sealed = path.as_os_str().to_owned();
    sealed.push(SEALED_SUFFIX);
    sealed.into()
}

/// Write a file, sealed so; `header` says its readable header, of the number of its bytes.
pub fn write_sealed(
    place: Place<'_>,
    path: &Path,
    durability: Durability,
    seal: Option<&Seal>,
    content: Vec<u8>,
    header: impl FnOnce(usize) -> Header,
) -> Result<(), Error> {
    let Some(seal) = seal else {
        return disk::write_atomically(place, path, durability, |file| file.write_all(&content));
    };
    let header = seal.header.then(|| header(content.len()));
    disk::write_atomically(place, path, durability, |file| seal.session.seal_into(header.as_ref(), &content, file))
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
        let Text { text: proposed, made_from, .. } = self.source().text(&self.proposed)?;
        let original = self.source().text(&self.original)?.text;
        // Whoever accepted it was stopped before it was removed.
        Ok(original != proposed && made_from.is_some_and(|hash| hash != format::hash(original.as_bytes())))
    }

    /// Take the proposal: it replaces the cassette in one step. That of a sealed one is sealed as it is.
    pub fn accept(&self) -> Result<(), Error> {
        let Text { text, sealed, .. } = self.source().text(&self.proposed)?;
        let seal = sealed.as_ref().map(|sealed| sealed.seal());
        let known = sealed.and_then(|sealed| sealed.header);
        let header = |bytes: usize| Header { bytes: bytes as u64, ..known.unwrap_or_default() };
        write_sealed(Place::Named, &self.original, Durability::AtOnce, seal.as_ref(), text.into_bytes(), header)?;
        self.remove("accept")
    }

    fn source(&self) -> Source<'_> {
        Source { pack: None, keys: &self.keys }
    }

    /// Drop the proposal: the cassette stays as it is.
    pub fn reject(&self) -> Result<(), Error> {
        self.remove("reject")
    }

    fn remove(&self, action: &'static str) -> Result<(), Error> {
        fs::remove_file(&self.proposed).map_err(|source| Error::Io { action, path: self.proposed.clone(), source })
    }
}
