//! The agent at the other end of a socket.

use std::{io, os::unix::net::UnixStream};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::access::Standing;
use crate::held::Held;

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
    use super::*;
    use crate::wire::{FromAgent, Receiver, Sender};

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
