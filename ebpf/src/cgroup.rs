//! Cgroups of the unified hierarchy (cgroup2): the one that is recorded, and who is in it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::error::Error;

/// A cgroup of the unified hierarchy, for as long as it exists: one that is made again at the same place is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    directory: PathBuf,
    inode: u64,
}

impl Cgroup {
    /// The cgroup at `path`: a directory below a cgroup2 mount, or a path (or the whole line) as `/proc/PID/cgroup`
    /// writes it, which counts from the root of this process's cgroup namespace.
    ///
    /// # Errors
    /// [`Error::NoCgroup`] when there is none, [`Error::CgroupV1`] when the directory is one of the first version,
    /// [`Error::NoCgroupMount`] when no cgroup2 file system is mounted.
    pub fn find(path: &Path) -> Result<Cgroup, Error> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let written = path.to_str().and_then(|path| path.strip_prefix("0::")).map_or(path, Path::new);
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        let places = std::iter::once(path.to_owned()).chain(mounts.iter().filter_map(|mount| mount.place(written)));
        for place in places {
            if let (Ok(kind), Ok(metadata)) = (statfs(&place), fs::metadata(&place))
                && kind.filesystem_type() == CGROUP2_SUPER_MAGIC
                && metadata.is_dir()
            {
                let directory = place.canonicalize().unwrap_or(place);
                return Ok(Cgroup { directory, inode: metadata.ino() });
            }
        }
        let path = path.to_owned();
        if statfs(&path).is_ok_and(|kind| kind.filesystem_type() == nix::sys::statfs::CGROUP_SUPER_MAGIC) {
            return Err(Error::CgroupV1 { path });
        }
        if mounts.is_empty() {
            return Err(Error::NoCgroupMount);
        }
        Err(Error::NoCgroup { path })
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it was removed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        !fs::metadata(&self.directory).is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    /// The processes in it and in every cgroup below it, as this process's PID namespace counts. Those that the
    /// namespace does not see are left out.
    ///
    /// # Errors
    /// When the cgroup is gone or its files cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        let failed = |source| self.unreadable(source);
        let mut found = Vec::new();
        let mut waiting = vec![self.directory.clone()];
        while let Some(directory) = waiting.pop() {
            match members(&directory).and_then(|members| Ok((members, below(&directory)?))) {
                Ok((members, below)) => {
                    found.extend(members);
                    waiting.extend(below);
                }
                // Cgroups come and go; ENODEV is how a file of one that just went answers.
                Err(e) if directory != self.directory && is_gone(&e) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The directory, for the kernel.
    pub(crate) fn open(&self) -> Result<File, Error> {
        File::open(&self.directory).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: io::Error) -> Error {
        if is_gone(&source) {
            return Error::NoCgroup { path: self.directory.clone() };
        }
        Error::Cgroup { path: self.directory.clone(), source }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// The processes, or the threads where the cgroup holds threads of a process that spreads over several ("threaded").
fn members(directory: &Path) -> io::Result<Vec<u32>> {
    let listed = fs::read_to_string(directory.join("cgroup.procs")).or_else(|e| match e.raw_os_error() {
        Some(libc::EOPNOTSUPP) => fs::read_to_string(directory.join("cgroup.threads")),
        _ => Err(e),
    })?;
    Ok(listed.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid != 0).collect())
}

fn below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A cgroup2 file system in `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The cgroup at its top, as this process's cgroup namespace writes it.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// `None` for a line about something else (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Mount> {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        Some(Mount { root: unescaped(fields.next()?), point: unescaped(fields.next()?) })
    }

    /// Where this mount shows a cgroup; `None` where it does not.
    fn place(&self, cgroup: &Path) -> Option<PathBuf> {
        let below = cgroup.strip_prefix(&self.root).ok()?;
        let inside = below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        inside.then(|| self.point.join(below))
    }
}

/// Spaces and their like are written as `\040` (mangle_path in fs/seq_file.c).
fn unescaped(field: &str) -> PathBuf {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                text.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, point: &str) -> Mount {
        Mount { root: root.into(), point: point.into() }
    }

    #[test]
    fn only_cgroup2_mounts_count() {
        let line = "29 20 0:26 / /sys/fs/cgroup\\040new rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(Mount::parse(line), Some(mount("/", "/sys/fs/cgroup new")));
        let line = "31 20 0:27 /box /mnt rw shared:4 master:2 - cgroup2 none rw";
        assert_eq!(Mount::parse(line), Some(mount("/box", "/mnt")));
        assert_eq!(Mount::parse("30 20 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"), None);
        assert_eq!(Mount::parse("30 20 0:28"), None);
        assert_eq!(Mount::parse(""), None);
    }

    #[test]
    fn a_cgroup_is_found_below_the_mount_that_shows_it() {
        let whole = mount("/", "/sys/fs/cgroup");
        assert_eq!(whole.place(Path::new("/a/b.service")), Some("/sys/fs/cgroup/a/b.service".into()));
        assert_eq!(whole.place(Path::new("/")), Some("/sys/fs/cgroup/".into()));
        let part = mount("/a", "/mnt");
        assert_eq!(part.place(Path::new("/a/b")), Some("/mnt/b".into()));
        assert_eq!(part.place(Path::new("/b")), None);
        assert_eq!(whole.place(Path::new("a")), None, "only absolute paths are written in /proc/PID/cgroup");
        assert_eq!(whole.place(Path::new("/../other")), None, "outside this cgroup namespace");
    }

    #[test]
    fn mounted_names_are_unescaped() {
        assert_eq!(unescaped(r"a\040b\134c"), Path::new("a b\\c"));
        assert_eq!(unescaped(r"a\zb\"), Path::new(r"a\zb\"));
        assert_eq!(unescaped(r"a\77é"), Path::new(r"a\77é"));
    }
}
