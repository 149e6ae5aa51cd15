//! What can be said beforehand about the TLS of a process.

use std::io;
use std::path::PathBuf;

use object::ReadCache;

use crate::code;
use crate::error::Error;

use super::library::{self, TlsLibrary};

/// A TLS library in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsUse {
    /// Which one.
    pub library: TlsLibrary,
    /// The file that it is in, as the process names it.
    pub file: PathBuf,
}

/// The TLS libraries that a process has mapped now; a program may load others later.
///
/// # Errors
/// When there is no such process, or this one may not look into it.
pub fn tls_of_process(pid: u32) -> Result<Vec<TlsUse>, Error> {
    let mapped = code::executable(pid).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoProcess { pid },
        _ => Error::Inspect { pid, source },
    })?;
    let mut found = Vec::new();
    for mapped in mapped {
        let Ok(file) = mapped.open(pid) else { continue };
        let (cache, budget) = (ReadCache::new(&file), code::Budget::new());
        let data = code::Bounded { file: &cache, budget: &budget };
        let name = mapped.path.file_name().unwrap_or_default().to_string_lossy();
        let library = code::inspect(data).library.or_else(|| library::unreadable(&name, data));
        found.extend(library.map(|library| TlsUse { library, file: mapped.path.clone() }));
    }
    Ok(found)
}
