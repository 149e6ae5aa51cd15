//! From the store to a folder.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{GetOptions, path::Path as ObjectPath};
use regress_cassettes::{Merged, PACK_SUFFIX, seal::Keys};
use sha2::{Digest as _, Sha256};

use crate::{
    Error, Location,
    location::{Contents, Object, patiently},
};

/// The bytes of all recordings that are fetched together, at most.
const MOST_BYTES: u64 = 1 << 40;
/// How many recordings are fetched at a time.
const AT_ONCE: usize = 4;

/// Recordings that were fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The folder that they were merged into; a packed one where there is one recording alone.
    pub folder: PathBuf,
    /// How many there are.
    pub recordings: usize,
    /// How many bytes came for it: none of what was there already.
    pub bytes: u64,
    /// Recordings that have not ended, or whose recorder was killed, by their URLs. They are not among the others.
    pub unended: Vec<String>,
    /// Says that the folder is in use.
    _used: Option<File>,
}

/// Fetch everything at or below a location, and merge it into a new folder; the keys open what is sealed, where that has to
/// be read for it.
///
/// # Errors
/// When the folder is there already, there is nothing to fetch, the store fails, or the recordings do not go together.
pub async fn pull(location: &Location, to: &Path, keys: &Keys) -> Result<(Fetched, Merged), Error> {
    if to.exists() {
        return Err(regress_cassettes::Error::Taken { path: to.to_owned() }.into());
    }
    let (objects, unended) = some_of(location).await?;
    let within = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |source| Error::Io { action: "make a folder in", path: within.to_owned(), source };
    let scratch = tempfile::Builder::new().prefix(".pulled-").tempdir_in(within).map_err(failed)?;
    let packs = stream::iter(objects.iter().enumerate())
        .map(async |(number, object)| {
            let path = scratch.path().join(format!("{number}{PACK_SUFFIX}"));
            patiently(async || fetch(location, object, &path).await).await.map(|()| path)
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let merged = regress_cassettes::merge(&packs, to, keys)?;
    let bytes = objects.iter().map(|object| object.meta.size).sum();
    Ok((Fetched { folder: to.to_owned(), recordings: objects.len(), bytes, unended, _used: None }, merged))
}

/// The same in a folder for copies, where what came before is not fetched again. What is not in the store any more is removed
/// there, unless it is in use.
///
/// # Errors
/// As [`pull`].
pub async fn cached(location: &Location, cache: &Path, keys: &Keys) -> Result<Fetched, Error> {
    let (objects, unended) = some_of(location).await?;
    let own = cache.join(&hash([location.to_string()])[..16]);
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    fs::create_dir_all(&own).map_err(failed("make", &own))?;
    // Others that want the same wait for it.
    let building = own.join("lock");
    let lock = File::create(&building).and_then(|file| file.lock().map(|()| file));
    let _building = lock.map_err(failed("lock", &building))?;

    let names: Vec<String> = objects.iter().map(copy_name).collect();
    let missing = objects.iter().zip(&names).filter(|(_, name)| !own.join(name).exists());
    let bytes = missing.clone().map(|(object, _)| object.meta.size).sum();
    stream::iter(missing)
        .map(async |(object, name)| patiently(async || fetch(location, object, &own.join(name)).await).await)
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let merged = format!("merged-{}", &hash(names.iter().cloned())[..16]);
    let folder = own.join(if let [name] = &names[..] { name } else { &merged });
    if !folder.exists() {
        let packs: Vec<PathBuf> = names.iter().map(|name| own.join(name)).collect();
        regress_cassettes::merge(&packs, &folder, keys)?;
    }
    let used = File::open(&folder).map_err(failed("read", &folder))?;
    used.lock_shared().map_err(failed("lock", &folder))?;
    for found in fs::read_dir(&own).map_err(failed("list", &own))?.flatten() {
        let name = found.file_name().to_string_lossy().into_owned();
        if name != "lock" && !names.contains(&name) && found.path() != folder {
            remove_unused(&found.path());
        }
    }
    Ok(Fetched { folder, recordings: objects.len(), bytes, unended, _used: Some(used) })
}

/// A copy has another name when the object has another content.
fn copy_name(object: &Object) -> String {
    let meta = &object.meta;
    let version = meta.e_tag.clone().or(meta.version.clone()).unwrap_or_else(|| meta.last_modified.to_string());
    format!("{}{PACK_SUFFIX}", &hash([object.name.clone(), version, meta.size.to_string()])[..32])
}

fn remove_unused(path: &Path) {
    let is_unused = File::open(path).is_ok_and(|file| file.try_lock().is_ok());
    if is_unused {
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// In hexadecimal.
fn hash(words: impl IntoIterator<Item = String>) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The recordings at a location, at least one, and the URLs of those that have not ended.
async fn some_of(location: &Location) -> Result<(Vec<Object>, Vec<String>), Error> {
    let Contents { recordings, begun } = location.contents().await?;
    if recordings.is_empty() {
        return Err(Error::Nothing { at: location.to_string() });
    }
    if recordings.iter().try_fold(0, |all: u64, one| all.checked_add(one.meta.size)).is_none_or(|all| all > MOST_BYTES)
    {
        return Err(Error::TooMuch { at: location.to_string(), what: format!("more than {} GiB", MOST_BYTES >> 30) });
    }
    Ok((recordings, begun.iter().map(|mark| location.url_of(mark.recording())).collect()))
}

/// One object, which is there as a whole or not at all.
async fn fetch(location: &Location, object: &Object, to: &Path) -> Result<(), Error> {
    let path: &ObjectPath = &object.meta.location;
    let failed = |source: io::Error| Error::Io { action: "write", path: to.to_owned(), source };
    let within = to.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".regress-").tempfile_in(within).map_err(failed)?;
    // The one that was listed, and none that has come in its place.
    let options = GetOptions { if_match: object.meta.e_tag.clone(), ..GetOptions::default() };
    let found = location.store().get_opts(path, options).await.map_err(location.failed("read", &object.name))?;
    let mut parts = found.into_stream();
    let mut got = 0;
    while let Some(part) = parts.try_next().await.map_err(location.failed("read", &object.name))? {
        got += part.len() as u64;
        if got > object.meta.size {
            break;
        }
        file.write_all(&part).map_err(failed)?;
    }
    if got != object.meta.size {
        return Err(Error::CutOff { at: location.url_of(&object.name), size: object.meta.size, got });
    }
    file.persist(to).map_err(|error| failed(error.error))?;
    Ok(())
}
