//! Processes by handles, whose numbers cannot become those of others.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A process that cannot become another one while this is held.
#[derive(Debug)]
pub(crate) struct Held {
    handle: OwnedFd,
    pub(crate) pid: u32,
}

impl Held {
    /// Of a process that lives, by its id.
    pub(crate) fn open(pid: u32) -> io::Result<Held> {
        Ok(Held { handle: regress_ebpf::open_process(pid)?, pid })
    }

    /// Of the process that a handle is of; `None` where it is no such handle, or the process is gone or out of sight.
    pub(crate) fn of(handle: OwnedFd) -> Option<Held> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd())).ok()?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        let pid = pid.trim().parse().ok().filter(|pid| *pid > 0)?;
        Some(Held { handle, pid })
    }

    /// Whether it lives: then its number is still its own.
    pub(crate) fn is_alive(&self) -> bool {
        let mut polled = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut polled, PollTimeout::ZERO), Ok(0))
    }

    pub(crate) fn handle(&self) -> &OwnedFd {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_handle_says_which_process_it_is_of() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let held = Held::open(child.id()).unwrap();
        let again = Held::of(held.handle().try_clone().unwrap()).unwrap();
        assert_eq!(again.pid, child.id());
        assert!(again.is_alive());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!again.is_alive());
        assert!(Held::of(held.handle().try_clone().unwrap()).is_none(), "it is gone");
        assert!(Held::of(tempfile::tempfile().unwrap().into()).is_none(), "a file is no process");
        assert!(Held::open(u32::MAX >> 1).is_err());
    }
}
