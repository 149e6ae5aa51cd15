//! Sealing a folder that is not, opening one that is, and sealing it for others.
//!
//! Nothing by half: what cannot be read is found before anything is written, every file is whole at any moment, and what was
//! there before goes once everything that takes its place has reached the disk. Whoever is interrupted begins again.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    Error, Store,
    disk::{self, Durability, Place, Unfinished},
    file::{self, Sealed},
    format,
    model::Cassette,
    proposal,
    route::route_slug,
    seal::{Header, SEALED_FOLDER, SEALED_SUFFIX, Seal, Session},
    store::{sealed_path, write_sealed},
};

/// How the name of a recorder's log ends.
const LOG_SUFFIX: &str = ".owners.gz";

/// Seal what is not sealed in a folder: cassettes, proposals, bodies, recorders' logs. Gives how many cassettes and
/// proposals that were.
///
/// # Errors
/// When one cannot be read (of a folder that is sealed in part, those that are sealed have to be as well), something else has the name that it would get, or something cannot be written.
pub fn seal(store: &Store, seal: &Seal) -> Result<usize, Error> {
    store.keys().remember(&seal.session);
    let done = change(store, &|sealed| sealed.is_none().then(|| Some(seal.clone())))?;
    remove_kept_replays(store)?;
    Ok(done)
}

/// Open what is sealed in a folder: it is as if it had never been sealed.
///
/// # Errors
/// As for [`seal`].
pub fn open(store: &Store) -> Result<usize, Error> {
    change(store, &|sealed| sealed.map(|_| None))
}

/// Seal what is sealed in a folder anew, for the recipients of that session and nobody else.
///
/// # Errors
/// As for [`seal`].
pub fn rekey(store: &Store, session: &Arc<Session>) -> Result<usize, Error> {
    store.keys().remember(session);
    change(store, &|sealed| sealed.map(|header| Some(Seal { session: Arc::clone(session), header })))
}

/// What is to become of a file that is sealed with or without a header, or not sealed: `None` = it stays as it is.
type Wanted<'w> = dyn Fn(Option<bool>) -> Option<Option<Seal>> + 'w;

/// A cassette or proposal as it is.
struct Found {
    content: Vec<u8>,
    cassette: Cassette,
    bodies: BTreeMap<String, Bytes>,
}

fn change(store: &Store, wanted: &Wanted<'_>) -> Result<usize, Error> {
    store.check_writable()?;
    let files = store.files(|name| file::id_of(name).is_some())?;
    let mut to = BTreeMap::new();
    for path in &files {
        let (sealed, found) = read(store, path)?;
        let Some(seal) = wanted(sealed.as_ref().map(|sealed| sealed.header.is_some())) else { continue };
        let target = target(store, path, &found.cassette, seal.as_ref());
        let is_other = target != *path && target.is_file() && read(store, &target)?.1.content != found.content;
        if is_other || to.insert(target.clone(), path).is_some() {
            return Err(Error::Taken { path: target });
        }
    }
    let done = to.len();
    let mut replaced = Vec::new();
    for (target, path) in to {
        let (sealed, found) = read(store, path)?;
        let Some(seal) = wanted(sealed.as_ref().map(|sealed| sealed.header.is_some())) else { continue };
        write(store, &target, seal.as_ref(), found)?;
        replaced.extend((target != *path).then(|| path.clone()));
    }
    for path in logs(store)? {
        replaced.extend(change_log(store, &path, wanted)?);
    }
    store.sync()?;
    for path in replaced {
        fs::remove_file(&path).map_err(|source| Error::Io { action: "remove", path: path.clone(), source })?;
        // Only an empty folder goes; it may be the store's own, which never is.
        let _ = fs::remove_dir(disk::folder_of(&path));
    }
    store.remove_unused_bodies()?;
    store.sync()?;
    Ok(done)
}

fn read(store: &Store, path: &Path) -> Result<(Option<Sealed>, Found), Error> {
    let (content, sealed) = store.source().content(path)?;
    let session = sealed.as_ref().map(|sealed| &*sealed.session);
    let text = file::utf8(path, content.clone())?;
    let (text, _) = proposal::unmarked(&text);
    let mut bodies = BTreeMap::new();
    let decoded = format::decode(&text, &mut |hash, size| {
        let body = store.source().body(path, hash, size, session)?;
        bodies.insert(hash.to_owned(), body.clone());
        Ok(body)
    });
    let cassette = decoded.map_err(|flaw| file::flaw_error(path, &text, flaw))?.cassette;
    if let Some(sealed) = &sealed {
        file::check_sealed(path, sealed, &cassette)?;
    }
    Ok((sealed, Found { content, cassette, bodies }))
}

/// Where a file goes.
fn target(store: &Store, path: &Path, cassette: &Cassette, seal: Option<&Seal>) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (name, end) = name.strip_suffix(".new").map_or((&*name, ""), |name| (name, ".new"));
    let plain = name.strip_suffix(SEALED_SUFFIX).unwrap_or(name);
    let folder = disk::folder_of(path);
    let is_hidden = folder == store.root().join(SEALED_FOLDER);
    let route = cassette.entry.as_ref().map(route_slug);
    let (folder, sealed) = match (seal, route) {
        (seal, None) => (folder.to_owned(), seal.is_some()),
        (Some(Seal { header: false, .. }), _) => (store.root().join(SEALED_FOLDER), true),
        (seal, Some(route)) if is_hidden => (store.root().join(route), seal.is_some()),
        (seal, Some(_)) => (folder.to_owned(), seal.is_some()),
    };
    folder.join(format!("{plain}{}{end}", if sealed { SEALED_SUFFIX } else { "" }))
}

fn write(store: &Store, target: &Path, seal: Option<&Seal>, found: Found) -> Result<(), Error> {
    let mut unfinished = Unfinished::new(store.root(), Durability::Later, true);
    unfinished.folder(disk::folder_of(target))?;
    store.write_bodies(found.bodies.iter(), seal.map(|seal| &seal.session), &mut unfinished)?;
    write_sealed(Place::Within(store.root()), target, Durability::Later, seal, found.content, |bytes| {
        Header::of(&found.cassette, bytes)
    })?;
    unfinished.keep();
    Ok(())
}

fn logs(store: &Store) -> Result<Vec<PathBuf>, Error> {
    store.files(|name| name.strip_suffix(SEALED_SUFFIX).unwrap_or(name).ends_with(LOG_SUFFIX))
}

/// Gives what it has replaced.
fn change_log(store: &Store, path: &Path, wanted: &Wanted<'_>) -> Result<Option<PathBuf>, Error> {
    let is_sealed = file::is_sealed(path);
    let Some(seal) = wanted(is_sealed.then_some(false)) else { return Ok(None) };
    let plain = if is_sealed { path.with_extension("") } else { path.to_owned() };
    let target = if seal.is_some() { sealed_path(&plain) } else { plain };
    let failed = |source: io::Error| Error::Io { action: "read", path: path.to_owned(), source };
    let from = File::open(path).map_err(failed)?;
    let mut from: Box<dyn io::Read> = match is_sealed {
        true => Box::new(store.keys().reader(from).map_err(failed)?),
        false => Box::new(from),
    };
    disk::write_atomically(Place::Within(store.root()), &target, Durability::Later, |out| {
        let mut out = BufWriter::new(out);
        match &seal {
            None => io::copy(&mut from, &mut out).map(drop)?,
            Some(seal) => {
                let mut sealed = seal.session.seal_to(None, &mut out)?;
                io::copy(&mut from, &mut sealed)?;
                sealed.finish()?;
            }
        }
        out.flush()
    })?;
    Ok((target != path).then(|| path.to_owned()))
}

/// What interrupted replays have kept says what was replayed.
fn remove_kept_replays(store: &Store) -> Result<(), Error> {
    let Ok(found) = fs::read_dir(store.root().join(".regress")) else { return Ok(()) };
    for path in
        found.flatten().map(|found| found.path()).filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
    {
        fs::remove_file(&path).map_err(|source| Error::Io { action: "remove", path: path.clone(), source })?;
    }
    Ok(())
}
