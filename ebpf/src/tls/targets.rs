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

/// Where distributions and images put libssl. It is probed before anything loads it, because a short-lived process has said
/// all it has to say by the time its libraries have been looked into.
const LIBRARY_FOLDERS: [&str; 7] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib64",
    "usr/lib64",
    "usr/lib",
    "usr/local/lib",
    "usr/local/lib64",
];
const LIBSSL: [&str; 2] = ["libssl.so.3", "libssl.so.1.1"];

impl Targets {
    /// Looks at the code that a process has mapped, and has `attach` probe what is new (with a number of its own for each
    /// file). Returns whether TLS of this process is read. A process that is gone, or a file that cannot be probed, is
    /// none.
    pub(crate) fn scan(&mut self, pid: u32, attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool) -> bool {
        let mut readable = false;
        for mapped in maps::executable(pid).unwrap_or_default() {
            // Within one mount; another mount may use the same numbers for another file.
            if let Some(known) = self.mapped.get(&mapped.file) {
                readable |= known;
                continue;
            }
            let Ok(file) = mapped.open(pid) else { continue };
            let read = self.look(&file, attach);
            self.mapped.insert(mapped.file, read);
            readable |= read;
        }
        readable
    }

    /// Looks at the libraries that the process may come to load.
    pub(crate) fn expect_libraries(&mut self, pid: u32, attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool) {
        for folder in LIBRARY_FOLDERS {
            for name in LIBSSL {
                if let Ok(file) = File::open(format!("/proc/{pid}/root/{folder}/{name}")) {
                    self.look(&file, attach);
                }
            }
        }
    }

    /// Probes a file unless it has been. Returns whether TLS of those who run it is read.
    pub(crate) fn look(&mut self, file: &File, attach: &mut impl FnMut(&File, u64, &[ProbePoint]) -> bool) -> bool {
        let Ok(metadata) = file.metadata() else { return false };
        let number = self.files.len() as u64 + 1;
        *self.files.entry((metadata.dev(), metadata.ino())).or_insert_with(|| {
            let Inspected { library, probes } = library::inspect(&ReadCache::new(file));
            let attached = probes.is_empty() || attach(file, number, &probes);
            attached && library.is_some_and(|library| library.is_readable())
        })
    }
}
