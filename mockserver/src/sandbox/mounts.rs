//! What the service sees of the file system: the host's, without path sockets and with our files in a few places.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::wire::{AtStep, Failure, Instructions, Step};

const RUN: &str = "/run";
/// Bounds of what is kept of `/run`: its directories, links and small files, never its sockets.
const MAX_DEPTH: usize = 4;
const MAX_ENTRIES: usize = 2000;
const MAX_FILE: u64 = 1 << 20;
/// Sockets outside `/run` that are covered.
const MAX_SOCKETS: usize = 256;

/// Rearranges the mounts of the current, new mount namespace; `sockets` comes from [`path_sockets`].
pub(super) fn arrange(instructions: &Instructions, sockets: &[PathBuf]) -> Result<(), Failure> {
    let at = |path: &Path| Step::Mount(path.display().to_string());
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .step(at(Path::new("/")))?;
    // Opened first: a source may itself be below /run.
    let binds = open(&instructions.binds)?;
    let copies = open(&instructions.copies)?;
    if Path::new(RUN).is_dir() {
        hide_run().step(at(Path::new(RUN)))?;
    }
    for (source, target) in copies {
        copy(&source, &target).step(at(&target))?;
    }
    for (source, target) in binds {
        revive(&target).step(at(&target))?;
        bind(&PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd())), &target).step(at(&target))?;
    }
    for socket in sockets {
        bind(Path::new("/dev/null"), socket).step(at(socket))?;
    }
    Ok(())
}

fn open(pairs: &[(OsString, OsString)]) -> Result<Vec<(File, PathBuf)>, Failure> {
    pairs
        .iter()
        .map(|(source, target)| {
            let file = File::open(source).step(Step::Mount(source.display().to_string()))?;
            Ok((file, PathBuf::from(target)))
        })
        .collect()
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

fn copy(mut source: &File, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(target)?;
    io::copy(&mut source, &mut target)?;
    Ok(())
}

/// Makes the file to which a link such as `/etc/resolv.conf` leads when that file went with the old `/run`.
fn revive(target: &Path) -> io::Result<()> {
    let Ok(link) = fs::read_link(target) else { return Ok(()) };
    if target.exists() {
        return Ok(());
    }
    let leads_to = target.parent().unwrap_or(Path::new("/")).join(link);
    if let Some(parent) = leads_to.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(leads_to)?;
    Ok(())
}

/// Covers `/run` with an empty file system and gives back its directories, links and small files.
fn hide_run() -> io::Result<()> {
    let mut kept = BTreeMap::new();
    remember(Path::new(RUN), 1, &mut kept);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), RUN, Some("tmpfs"), flags, Some("mode=0755"))?;
    for (path, entry) in kept {
        match entry {
            Kept::Directory(mode) => {
                fs::create_dir(&path)?;
                fs::set_permissions(&path, Permissions::from_mode(mode | 0o700))?;
            }
            Kept::Link(to) => symlink(to, &path)?,
            Kept::File(mode, bytes) => {
                fs::write(&path, bytes)?;
                fs::set_permissions(&path, Permissions::from_mode(mode))?;
            }
        }
    }
    Ok(())
}

enum Kept {
    Directory(u32),
    Link(PathBuf),
    File(u32, Vec<u8>),
}

/// What cannot be read is not there for the service either, so errors end a branch, not the walk.
fn remember(directory: &Path, depth: usize, kept: &mut BTreeMap<PathBuf, Kept>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // Session directories hold sockets and user file systems that may hang.
        if kept.len() >= MAX_ENTRIES || path == Path::new("/run/user") {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let mode = metadata.permissions().mode() & 0o7777;
        let file_type = metadata.file_type();
        if file_type.is_dir() {
            kept.insert(path.clone(), Kept::Directory(mode));
            if depth < MAX_DEPTH {
                remember(&path, depth + 1, kept);
            }
        } else if file_type.is_symlink() {
            if let Ok(to) = fs::read_link(&path) {
                kept.insert(path, Kept::Link(to));
            }
        } else if file_type.is_file()
            && metadata.len() <= MAX_FILE
            && let Ok(bytes) = fs::read(&path)
        {
            kept.insert(path, Kept::File(mode, bytes));
        }
    }
}

/// Path sockets outside `/run` that listen in the current network namespace: a database in `/tmp` or `/var/lib`.
pub(super) fn path_sockets() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/net/unix").unwrap_or_default();
    let listening = listening_paths(&table);
    let mut sockets: Vec<PathBuf> = listening
        .filter_map(|path| fs::canonicalize(path).ok())
        .filter(|path| !path.starts_with(RUN) && fs::metadata(path).is_ok_and(|is| is.file_type().is_socket()))
        .collect();
    sockets.sort();
    sockets.dedup();
    sockets.truncate(MAX_SOCKETS);
    sockets
}

/// The paths in a `/proc/net/unix` table whose flags hold `__SO_ACCEPTCON`.
fn listening_paths(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter_map(|line| {
        let flags = line.split_whitespace().nth(3)?;
        let path = &line[line.find(" /")? + 1..];
        (u32::from_str_radix(flags, 16).ok()? & 0x1_0000 != 0).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_with_a_path_are_covered() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 1 /tmp/a b.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 2 /tmp/connected\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 3 @abstract\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4\n";
        assert_eq!(listening_paths(table).collect::<Vec<_>>(), ["/tmp/a b.sock"]);
    }
}
