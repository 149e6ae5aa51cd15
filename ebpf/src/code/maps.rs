//! The files whose code a process has mapped, from `/proc/PID/maps` (proc_pid_maps(5)).

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::file;

/// One mapping of a file's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// `START-END`, as in `/proc/PID/map_files`.
    range: String,
    /// Where it begins in memory, and in the file.
    pub(crate) start: u64,
    pub(crate) offset: u64,
    /// Device and inode, as the line spells them: the same for the same file in one mount.
    pub(crate) file: String,
    pub(crate) path: PathBuf,
}

impl Mapped {
    /// Opens the mapped file itself, whatever its path leads to by now and in whatever namespace.
    pub(crate) fn open(&self, pid: u32) -> io::Result<File> {
        file::open(format!("/proc/{pid}/map_files/{}", self.range)).or_else(|_| {
            let path = self.path.strip_prefix("/").unwrap_or(&self.path);
            file::open(PathBuf::from(format!("/proc/{pid}/root")).join(path))
        })
    }
}

/// The files with executable mappings, each once, in the order of their addresses.
pub(crate) fn executable(pid: u32) -> io::Result<Vec<Mapped>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut found: Vec<Mapped> = Vec::new();
    for mapped in text.lines().filter_map(parse) {
        if found.iter().all(|known| known.file != mapped.file) {
            found.push(mapped);
        }
    }
    Ok(found)
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`; `None` for what is no file or no code.
pub(crate) fn parse(line: &str) -> Option<Mapped> {
    let mut rest = line;
    let mut field = || {
        let (field, behind) = rest.trim_start().split_once(' ')?;
        rest = behind;
        Some(field)
    };
    let range = field()?.to_owned();
    let permissions = field()?;
    let offset = u64::from_str_radix(field()?, 16).ok()?;
    let device = field()?;
    let inode = field()?;
    if permissions.as_bytes().get(2) != Some(&b'x') || inode == "0" {
        return None;
    }
    let path = rest.trim_start();
    if path.is_empty() {
        return None;
    }
    // The kernel prints this behind files that have no name any more; newlines are escaped.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path).replace("\\012", "\n");
    // Addresses in map_files have no leading zeros.
    let range = range.split('-').map(|address| address.trim_start_matches('0')).collect::<Vec<_>>().join("-");
    let start = u64::from_str_radix(range.split('-').next()?, 16).ok()?;
    Some(Mapped { range, start, offset, file: format!("{device} {inode}"), path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_is_found() {
        let line = "7f0000400000-7f0000500000 r-xp 00023000 fe:01 1234                       /usr/lib/a b.so (deleted)";
        let mapped = parse(line).unwrap();
        assert_eq!(mapped.range, "7f0000400000-7f0000500000");
        assert_eq!((mapped.start, mapped.offset), (0x7f00_0040_0000, 0x23000));
        assert_eq!(mapped.file, "fe:01 1234");
        assert_eq!(mapped.path, PathBuf::from("/usr/lib/a b.so"));
        assert_eq!(parse("00400000-00500000 r-xp 0 fe:01 1 /a").unwrap().range, "400000-500000");
    }

    #[test]
    fn other_lines_are_nothing() {
        for line in [
            "",
            "7f00-7f01",
            "7f0000400000-7f0000500000 r--p 00023000 fe:01 1234 /usr/lib/a.so",
            "7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]",
            "7ffd00000000-7ffd00001000 rwxp 00000000 00:00 0 ",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn this_test_runs_code_of_a_file_that_can_be_opened() {
        let mapped = executable(std::process::id()).unwrap();
        let program = std::env::current_exe().unwrap();
        let own = mapped.iter().find(|mapped| mapped.path == program).expect("the test's own code");
        assert!(own.open(std::process::id()).unwrap().metadata().unwrap().len() > 0);
    }
}
