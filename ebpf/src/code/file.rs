//! Files of processes that are followed: they name them, so that nothing is expected of them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use object::ReadRef;

/// How many bytes of a file are read in all: of large programs some hundred megabytes, of a sparse file whatever it claims.
const MOST: u64 = 1 << 30;

/// Opens a regular file; anything else, as a pipe that nobody writes into, is not waited for.
pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// How much may still be read of a file, and what has been.
pub(crate) struct Budget {
    left: Cell<u64>,
    read: RefCell<HashSet<(u64, u64)>>,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget::of(MOST)
    }

    fn of(bytes: u64) -> Budget {
        Budget { left: Cell::new(bytes), read: RefCell::default() }
    }

    fn spend(&self, offset: u64, size: u64) -> Result<(), ()> {
        if self.read.borrow().contains(&(offset, size)) {
            return Ok(());
        }
        self.left.set(self.left.get().checked_sub(size).ok_or(())?);
        self.read.borrow_mut().insert((offset, size));
        Ok(())
    }
}

/// A file of which no more is read than the budget has. What has been read once costs nothing: it is kept.
#[derive(Clone, Copy)]
pub(crate) struct Bounded<'b, R> {
    pub(crate) file: R,
    pub(crate) budget: &'b Budget,
}

impl<'data, R: ReadRef<'data>> ReadRef<'data> for Bounded<'_, R> {
    fn len(self) -> Result<u64, ()> {
        self.file.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'data [u8], ()> {
        self.budget.spend(offset, size)?;
        self.file.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'data [u8], ()> {
        let found = self.file.read_bytes_at_until(range.clone(), delimiter)?;
        self.budget.spend(range.start, found.len() as u64)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use object::ReadCache;

    use super::*;

    #[test]
    fn a_pipe_is_no_file_and_not_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pipe = folder.path().join("libssl.so.3");
        mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        assert!(open(&pipe).is_err());
        assert!(open(folder.path()).is_err());
        assert!(open("/proc/self/exe").is_ok());
    }

    #[test]
    fn no_more_is_read_than_the_budget_has() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("sparse");
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a new file");
        file.set_len(1 << 40).expect("a sparse file");
        let (cache, budget) = (ReadCache::new(&file), Budget::of(1 << 20));
        let bounded = Bounded { file: &cache, budget: &budget };
        assert!(bounded.read_bytes_at(0, 1 << 39).is_err());
        for _ in 0..10 {
            assert!(bounded.read_bytes_at(0, 1 << 19).is_ok(), "once read, it is kept");
        }
        assert!(bounded.read_bytes_at(1 << 30, (1 << 19) + 1).is_err());
        assert!(bounded.read_bytes_at(1 << 30, 1 << 19).is_ok());
    }
}
