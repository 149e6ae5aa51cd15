//! Files without a disk.

use std::path::Path;

/// A folder whose files are in memory where the host has that, so that no disk takes part.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}
