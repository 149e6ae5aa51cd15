//! The agent at the other end of a socket, and the processes that it names.
#![allow(unsafe_code, reason = "pidfd_open has no safe wrapper in our dependencies")]

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{getsockopt, setsockopt, sockopt},
};

use super::access::Standing;

/// A process that cannot become another one while this is held.
#[derive(Debug)]
pub(crate) struct Held {
    handle: OwnedFd,
    pub(crate) pid: u32,
}

impl Held {
    /// Of a process that lives, by its id.
    pub(crate) fn open(pid: u32) -> io::Result<Held> {
        let number = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        // SAFETY: pidfd_open takes two integers.
        let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
        let handle = i32::try_from(handle).ok().filter(|handle| *handle >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made it for this process.
        Ok(Held { handle: unsafe { OwnedFd::from_raw_fd(handle) }, pid })
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

/// Who is at the other end of a socket.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Held,
    user: u32,
}

impl Peer {
    /// Who connected, by the kernel's word; each message that comes from now on says who sent it.
    ///
    /// # Errors
    /// When that process is gone or out of sight.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Peer> {
        setsockopt(stream, sockopt::PassCred, &true)?;
        let who = getsockopt(stream, sockopt::PeerCredentials)?;
        let unseen = || io::Error::new(io::ErrorKind::NotFound, "the agent's process is not seen from here");
        let pid = u32::try_from(who.pid()).ok().filter(|pid| *pid > 0).ok_or_else(unseen)?;
        Ok(Peer { process: Held::open(pid)?, user: who.uid() })
    }

    /// What the kernel says of it, if it was this process that sent a message after [`Peer::of`]: then the number was its own all
    /// the while.
    ///
    /// # Errors
    /// When it was another.
    pub(crate) fn standing(&self, sender: Option<i32>) -> io::Result<Standing> {
        let changed = || io::Error::new(io::ErrorKind::PermissionDenied, "the agent is not the process that connected");
        if sender.and_then(|sender| u32::try_from(sender).ok()) != Some(self.process.pid) {
            return Err(changed());
        }
        let standing = Standing::of(self.process.pid)?;
        if !self.process.is_alive() || standing.users[1] != self.user {
            return Err(changed());
        }
        Ok(standing)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::wire::{FromAgent, Receiver, Sender};

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

    #[test]
    fn who_speaks_is_who_connected() {
        let (one, other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        Sender::new(other).send(&FromAgent::Stop).unwrap();
        let received = Receiver::new(one).receive().unwrap().unwrap();
        assert_eq!(received.sender, Some(i32::try_from(std::process::id()).unwrap()));
        assert!(peer.standing(received.sender).is_ok());
        for other in [None, Some(1), Some(-1), received.sender.map(|pid| pid + 1)] {
            assert_eq!(peer.standing(other).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{other:?}");
        }
    }
}
