//! The code to probe in the processes that are followed.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use object::ReadCache;

use super::library::{self, Inspected, ProbePoint};
use super::maps;

/// Which files have been looked into.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// Files by device and inode, and whether their TLS is read.
    files: HashMap<(u64, u64), bool>,
    /// The same by what `/proc/PID/maps` says.
    mapped: HashMap<String, bool>,
}

impl Targets {
    /// Looks at the code that a process has mapped, and has `attach` probe what is new (with a number of its own for each
    /// file). Returns whether TLS of this process is read. A process that is gone, or a file that cannot be probed, is
    /// none.
    pub(crate) fn scan(&mut self, pid: u32, mut attach: impl FnMut(&File, u64, &[ProbePoint]) -> bool) -> bool {
        let mut readable = false;
        for mapped in maps::executable(pid).unwrap_or_default() {
            // Within one mount; another mount may use the same numbers for another file.
            if let Some(known) = self.mapped.get(&mapped.file) {
                readable |= known;
                continue;
            }
            let Ok(file) = mapped.open(pid) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            let number = self.files.len() as u64 + 1;
            let read = *self.files.entry((metadata.dev(), metadata.ino())).or_insert_with(|| {
                let name = mapped.path.file_name().unwrap_or_default().to_string_lossy();
                let Inspected { library, probes } = library::inspect(&name, &ReadCache::new(&file));
                let attached = probes.is_empty() || attach(&file, number, &probes);
                attached && library.is_some_and(|library| library.is_readable())
            });
            self.mapped.insert(mapped.file, read);
            readable |= read;
        }
        readable
    }
}
