//! Entering user namespaces with every id that the caller has kept as it is.
//!
//! A caller that may (CAP_SETUID, root as a rule) keeps all ids, so that a service can still change its user; any other
//! caller keeps its own id alone (`user_namespaces(7)`).
#![allow(unsafe_code, reason = "fork")]

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getegid, geteuid, pipe, read};

use super::wire::{AtStep, Failure, Step};

const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

/// Moves this single-threaded process into a new user namespace and the others in `more`.
pub(super) fn enter(more: CloneFlags) -> Result<(), Failure> {
    let flags = CloneFlags::CLONE_NEWUSER | more;
    if may_map_all().step(Step::Identity)? {
        return enter_with_mapper(flags);
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(flags).step(Step::Namespaces)?;
    // The only group map that an unprivileged process may write is one without setgroups; the file came with 3.19.
    fs::write("/proc/self/setgroups", "deny").step(Step::Identity)?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).step(Step::Identity)?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).step(Step::Identity)
}

fn may_map_all() -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let needed = 1 << CAP_SETGID | 1 << CAP_SETUID;
    Ok(effective & needed == needed)
}

/// A map of many ids has to be written from the parent namespace: by a child that stays there.
fn enter_with_mapper(flags: CloneFlags) -> Result<(), Failure> {
    // The number under which this very /proc knows us, whatever pid namespace we are in.
    let me = fs::read_link("/proc/self").step(Step::Identity)?;
    let maps = ["uid_map", "gid_map"]
        .map(|name| fs::read_to_string(format!("/proc/self/{name}")).map(|map| (name, same_ids(&map))));
    let (entered, enter) = pipe().step(Step::Identity)?;
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { fork() }.step(Step::Identity)? {
        ForkResult::Child => {
            drop(enter);
            let mapped = wait_for_byte(&entered).and_then(|()| {
                maps.into_iter().try_for_each(|map| {
                    let (name, lines) = map?;
                    fs::write(std::path::Path::new("/proc").join(&me).join(name), lines)
                })
            });
            // SAFETY: ends the child without running anything that belongs to the parent.
            unsafe { libc::_exit(mapped.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0)) }
        }
        ForkResult::Parent { child } => {
            drop(entered);
            let unshared = unshare(flags);
            if unshared.is_ok() {
                nix::unistd::write(&enter, &[1]).step(Step::Identity)?;
            }
            drop(enter);
            let mapped = waitpid(child, None).step(Step::Identity)?;
            unshared.step(Step::Namespaces)?;
            match mapped {
                WaitStatus::Exited(_, 0) => Ok(()),
                WaitStatus::Exited(_, errno) => Err(io::Error::from_raw_os_error(errno)).step(Step::Identity),
                _ => Err(io::Error::other("the process that writes the map was killed")).step(Step::Identity),
            }
        }
    }
}

fn wait_for_byte(from: &OwnedFd) -> io::Result<()> {
    match read(from, &mut [0])? {
        1 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The map that gives every id of a namespace (lines of `inside outside count`) to a child namespace unchanged.
fn same_ids(map: &str) -> String {
    let mut lines = String::new();
    for line in map.lines() {
        let mut fields = line.split_whitespace();
        if let (Some(inside), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) {
            lines += &format!("{inside} {inside} {count}\n");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mapped_id_stays_what_it_is() {
        assert_eq!(
            same_ids("         0     100000      65536\n     70000     300000          1\n"),
            "0 0 65536\n70000 70000 1\n"
        );
    }
}
