//! From several packed folders to one folder.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use super::{
    Pack, index,
    read::{in_new_folder, write},
};
use crate::{AMBIENT_FILE, Error, Store, file, format, redact::Redactor, seal::Keys};

/// The folder in which an ambient cassette waits until it is added to the others; its bodies are found from there, as from any
/// other.
const WAITING: &str = "waiting";

/// What was merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// How many files there are now.
    pub files: usize,
    /// Logs of owners that were left out: they number the connections of their own recording.
    pub logs: usize,
}

/// Unpack several folders into a new one, as if their recordings had been made into it one after the other: the exchanges of
/// their ambient cassettes follow each other, and what is the same in several is there once. The folder is there whole or not at all. The keys open sealed ambient cassettes
/// where there are several.
///
/// # Errors
/// When the folder is there already, a file is damaged, two have the same cassette with another content, sealed ambient
/// cassettes cannot be opened, or something cannot be written.
pub fn merge(packs: &[PathBuf], to: &Path, keys: &Keys) -> Result<Merged, Error> {
    let packs = packs.iter().map(|path| Pack::open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut merged = Merged::default();
    in_new_folder(to, |root| {
        let mut owners: HashMap<&str, &Pack> = HashMap::new();
        let (mut ambient, mut hashes) = (Vec::new(), HashSet::new());
        for pack in &packs {
            for path in pack.paths() {
                let bare = index::bare(path);
                if bare == AMBIENT_FILE {
                    if hashes.insert(format::hash(&content(pack, path)?)) {
                        ambient.push((pack, path));
                    }
                } else if bare.ends_with(index::LOG_SUFFIX) && packs.len() > 1 {
                    merged.logs += 1;
                } else if let Some(first) = owners.get(path) {
                    if content(first, path)? != content(pack, path)? {
                        let (first, second) = (first.path().to_owned(), pack.path().to_owned());
                        return Err(Error::Both { path: path.to_owned(), first, second });
                    }
                } else {
                    write(&root.join(path), &content(pack, path)?)?;
                    owners.insert(path, pack);
                }
            }
        }
        merged.files = owners.len() + usize::from(!ambient.is_empty());
        match ambient[..] {
            [] => Ok(()),
            [(pack, path)] => write(&root.join(path), &content(pack, path)?),
            _ => append(root, &ambient, keys),
        }
    })?;
    Ok(merged)
}

/// The ambient cassettes, one after the other.
fn append(root: &Path, ambient: &[(&Pack, &str)], keys: &Keys) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action: "remove", path, source }
    };
    let store = Store::create(root)?.with_keys(keys.clone());
    for (pack, path) in ambient {
        let waiting = root.join(WAITING).join(path);
        write(&waiting, &content(pack, path)?)?;
        store.write(&Redactor::from_files(file::read_with(&waiting, keys)?))?;
        fs::remove_file(&waiting).map_err(failed(&waiting))?;
    }
    let waiting = root.join(WAITING);
    fs::remove_dir(&waiting).map_err(failed(&waiting))
}

fn content(pack: &Pack, path: &str) -> Result<bytes::Bytes, Error> {
    Ok(pack.content_at(&pack.path().join(path))?.unwrap_or_default())
}
