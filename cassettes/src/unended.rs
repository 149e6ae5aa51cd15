//! The mark of a recording that has not ended: `<id>.recording` in the folder, from its first cassette to its orderly end.
//!
//! Every cassette is whole at any moment. What a recording that is killed takes with it is the rest: evidence that would have
//! shown a cassette's owners to be uncertain, and exchanges of the ambient cassette that were not published.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Error, Store, disk, model::CassetteId};

/// How its file name ends.
const SUFFIX: &str = ".recording";

const TEXT: &[u8] = b"regress is recording into this folder, or was when it was killed: docs/durability.md\n";

/// Says of a store that a recording into it has not ended.
#[derive(Debug)]
pub struct Unended {
    path: PathBuf,
    /// Locked while the recorder lives.
    _locked: File,
}

impl Unended {
    /// Mark the store of a recording whose cassettes' ids come after `first`.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn mark(store: &Store, first: &CassetteId) -> Result<Unended, Error> {
        let path = store.root().join(format!("{first}{SUFFIX}"));
        store.write_file(&path, |file| file.write_all(TEXT))?;
        let locked = File::open(&path).map_err(|source| failed("open", &path, source))?;
        // A file system without locks has the mark alone.
        let _ = locked.try_lock_shared();
        Ok(Unended { path, _locked: locked })
    }

    /// The recording ended in good order.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub fn end(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(|source| failed("remove", &self.path, source))
    }
}

impl Store {
    /// The recordings into this folder that have not ended, as errors to say so. Empty where it can be relied on.
    pub fn unended(&self) -> Result<Vec<Error>, Error> {
        if self.is_packed() {
            return Ok(Vec::new());
        }
        let failed = |source| failed("list", self.root(), source);
        let mut marks = Vec::new();
        for found in fs::read_dir(self.root()).map_err(failed)? {
            let found = found.map_err(failed)?;
            if found.file_name().to_string_lossy().ends_with(SUFFIX)
                && found.file_type().is_ok_and(|kind| kind.is_file())
            {
                marks.push(found.path());
            }
        }
        marks.sort();
        Ok(marks.into_iter().map(|path| Error::Unended { at_work: is_at_work(&path), path }).collect())
    }

    /// # Errors
    /// When a recording into this folder has not ended.
    pub fn check_ended(&self) -> Result<(), Error> {
        self.unended()?.into_iter().next().map_or(Ok(()), Err)
    }
}

fn is_at_work(mark: &Path) -> bool {
    let held = disk::open_regular(mark).map(|file| file.try_lock());
    matches!(held, Ok(Err(TryLockError::WouldBlock)))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_unended_from_its_mark_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        store.check_ended().unwrap();
        let id = CassetteId("20261122T101502.000000Z-0000".into());
        let mark = Unended::mark(&store, &id).unwrap();
        assert!(matches!(store.check_ended(), Err(Error::Unended { at_work: true, .. })));
        drop(mark);
        assert!(matches!(store.check_ended(), Err(Error::Unended { at_work: false, .. })), "as after a kill");
        Unended::mark(&store, &id).unwrap().end().unwrap();
        store.check_ended().unwrap();
    }
}
