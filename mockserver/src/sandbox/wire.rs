//! What crosses between this process and the sandbox helper, over one Unix stream socket.
//!
//! Out: [`Instructions`] once, then [`Command`] bytes. Back: one [`Reply`] frame each, with sockets where it has some.
//! A frame is a 32-bit length and JSON; sockets ride on the frame's first byte. Status of the service comes over a
//! separate pipe as [`Status`] records, so that it never mixes with replies.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Most sockets in one frame.
pub(super) const MAX_SOCKETS: usize = 8;

/// Everything the helper has to know before it builds the namespaces.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Instructions {
    /// Absolute program and its arguments.
    pub(super) command: Vec<OsString>,
    /// The whole environment.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Working directory.
    pub(super) cwd: OsString,
    /// Files (source) to be seen at a path of the host (target), which exists.
    pub(super) binds: Vec<(OsString, OsString)>,
    /// Files (source) to be copied below the emptied `/run`.
    pub(super) copies: Vec<(OsString, OsString)>,
    /// Addresses that answer a connection with a reset.
    pub(super) refused: Vec<SocketAddr>,
}

/// One byte from this process to the helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Run the service.
    Start,
    /// Make IPv4 or IPv6 entry sockets, as many as fit in one reply.
    Sockets { v6: bool },
    /// Send SIGTERM to the service.
    Terminate,
}

impl Command {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Start => b'R',
            Self::Sockets { v6: false } => b'4',
            Self::Sockets { v6: true } => b'6',
            Self::Terminate => b'T',
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'R' => Some(Self::Start),
            b'4' => Some(Self::Sockets { v6: false }),
            b'6' => Some(Self::Sockets { v6: true }),
            b'T' => Some(Self::Terminate),
            _ => None,
        }
    }
}

/// Answer of the helper to the instructions and to each command.
pub(super) type Reply = Result<(), Failure>;

/// What the helper was doing when the kernel said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// `unshare` into new user, network, mount, pid, IPC and UTS namespaces.
    Namespaces,
    /// Writing `uid_map` and `gid_map`.
    Identity,
    /// Bringing the loopback interface up.
    Loopback,
    /// Making every address local.
    Routes,
    /// Installing the ruleset; names the part that was refused.
    Nftables(String),
    /// Opening the transparent listeners.
    Listeners,
    /// Hiding or replacing what is at this path.
    Mount(String),
    /// Entering the service's own namespace, dropping what it must not have.
    Confine,
    /// Running the service's program.
    Program,
    /// Opening a socket inside.
    Socket,
    /// Talking to the helper.
    Talk,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaces => f.write_str("create user, network, mount and pid namespaces"),
            Self::Identity => f.write_str("map the user into the new user namespace"),
            Self::Loopback => f.write_str("bring the loopback interface up"),
            Self::Routes => f.write_str("route every address to the sandbox"),
            Self::Nftables(part) => write!(f, "install the netfilter rules ({part})"),
            Self::Listeners => f.write_str("open transparent listeners"),
            Self::Mount(path) => write!(f, "mount over {path}"),
            Self::Confine => f.write_str("confine the service"),
            Self::Program => f.write_str("run the program"),
            Self::Socket => f.write_str("open a socket in the sandbox"),
            Self::Talk => f.write_str("talk to the sandbox helper"),
        }
    }
}

/// A step that failed, in a form that crosses a process boundary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) step: Step,
    errno: Option<i32>,
    text: String,
}

impl Failure {
    pub(super) fn new(step: Step, source: io::Error) -> Self {
        Self { step, errno: source.raw_os_error(), text: source.to_string() }
    }

    pub(super) fn source(&self) -> io::Error {
        match self.errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(self.text.clone()),
        }
    }
}

/// `result.step(Step::Routes)?` in the helper.
pub(super) trait AtStep<T> {
    fn step(self, step: Step) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> AtStep<T> for Result<T, E> {
    fn step(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(step, error.into()))
    }
}

/// One record on the status pipe; smaller than `PIPE_BUF`, so that it is written whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Status {
    /// The program runs.
    Running,
    /// The program could not be run.
    Failed(Failure),
    /// The service's first process ended, with this `wait` status.
    Ended(i32),
}

/// Writes one frame with the sockets that belong to it.
pub(super) fn send(to: &UnixStream, value: &impl Serialize, sockets: &[RawFd]) -> io::Result<()> {
    let frame = frame(value)?;
    let rights = [ControlMessage::ScmRights(sockets)];
    let control = if sockets.is_empty() { &rights[..0] } else { &rights[..] };
    let sent = sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(&frame)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    (&mut &*to).write_all(&frame[sent..])
}

/// One frame for a pipe.
pub(super) fn frame(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(value)?;
    let mut frame = (body.len() as u32).to_ne_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

/// Reads one frame with its sockets; `UnexpectedEof` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(from: &UnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut length = [0; 4];
    let mut control = nix::cmsg_space!([RawFd; MAX_SOCKETS]);
    let mut sockets = Vec::new();
    let got = {
        let mut parts = [IoSliceMut::new(&mut length)];
        let message = recvmsg::<()>(from.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = part {
                sockets.extend(fds.into_iter().map(own));
            }
        }
        message.bytes
    };
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut from = from;
    from.read_exact(&mut length[got..])?;
    let mut body = vec![0; u32::from_ne_bytes(length) as usize];
    from.read_exact(&mut body)?;
    Ok((serde_json::from_slice(&body)?, sockets))
}

#[allow(unsafe_code, reason = "descriptors that arrive in a control message have no owner yet")]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just installed this descriptor for us, and nothing else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_frame_carries_text_that_is_not_unicode_and_its_sockets() {
        let (here, there) = UnixStream::pair().unwrap();
        let program = OsString::from_vec(vec![b'a', 0xff]);
        let instructions = Instructions { command: vec![program.clone(); 3000], ..Instructions::default() };
        std::thread::scope(|scope| {
            scope.spawn(|| send(&there, &instructions, &[there.as_raw_fd(), there.as_raw_fd()]).unwrap());
            let (received, sockets) = receive::<Instructions>(&here).unwrap();
            assert_eq!(received.command[2999], program);
            assert_eq!(sockets.len(), 2);
        });
    }

    #[test]
    fn the_end_of_the_other_side_is_an_error() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(receive::<Reply>(&here).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn every_command_survives_its_byte() {
        for command in
            [Command::Start, Command::Sockets { v6: false }, Command::Sockets { v6: true }, Command::Terminate]
        {
            assert_eq!(Command::from_byte(command.byte()), Some(command));
        }
        assert_eq!(Command::from_byte(b'?'), None);
    }
}
