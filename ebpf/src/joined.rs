//! Connections that a process already had when the capture began.
//!
//! Each socket is borrowed for a moment (`pidfd_getfd(2)`), which gives its addresses and its cookie whatever network
//! namespace it lives in, and the key to hand the kernel side its state. The state is created only if the socket has
//! none: one that has was used or established since the programs were attached, and announces itself in the ring. So each
//! connection is announced exactly once, and nothing that moved in between is lost. A socket that the process closes
//! at the very moment it is borrowed is closed those microseconds later.
//!
//! Unix sockets are noted by inode only: a connection of theirs is announced, as joined, when it is first used.
#![allow(unsafe_code, reason = "pidfd_open, pidfd_getfd, getsockopt: no safe wrapper in our dependencies")]

use std::fs;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Error;
use crate::event::{Event, EventKind, SocketId};
use crate::holders::socket_inode;
use crate::listeners::Listeners;
use crate::programs::Programs;
use crate::unix::UnixSockets;

/// The socket types whose streams are followed; IPPROTO_MPTCP falls back to plain TCP where the peer has none.
const STREAM_PROTOCOLS: [i32; 2] = [libc::IPPROTO_TCP, libc::IPPROTO_MPTCP];

/// Hands the process's open connections to the programs and announces them.
pub(crate) fn join(
    pid: u32,
    programs: &mut Programs,
    listeners: &mut Listeners,
    unix: &mut UnixSockets,
    out: &mut Vec<Event>,
) -> Result<(), Error> {
    let inspect = |source: io::Error| match source.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Error::NoProcess { pid },
        _ => Error::Inspect { pid, source },
    };
    listeners.look(pid);
    let process = open_process(pid).map_err(inspect)?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).map_err(inspect)? {
        let entry = entry.map_err(inspect)?;
        // A descriptor may be closed at any time while we look.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let Some(inode) = target.to_str().and_then(socket_inode) else { continue };
        unix.was_there(inode);
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let socket = match borrow_descriptor(process.as_fd(), number) {
            Ok(socket) => socket,
            Err(e) if e.raw_os_error() == Some(libc::EBADF) => continue,
            Err(e) => return Err(inspect(e)),
        };
        let Some(connection) = Connection::of(&socket, programs) else { continue };
        let role = listeners.role(connection.local);
        if programs.adopt(&socket, role)? {
            let Connection { socket, local, peer } = connection;
            let (local, peer) = (local.into(), peer.into());
            let kind = EventKind::Open { socket, role, local, peer, joined: true };
            out.push(Event { at: monotonic_now(), unit: None, kind });
        }
    }
    Ok(())
}

struct Connection {
    socket: SocketId,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Connection {
    /// `None` for what is no connected TCP socket.
    fn of(socket: &OwnedFd, programs: &Programs) -> Option<Connection> {
        let protocol: i32 = option(socket, libc::SO_PROTOCOL).ok()?;
        if !STREAM_PROTOCOLS.contains(&protocol) {
            return None;
        }
        let stream = TcpStream::from(socket.try_clone().ok()?);
        Some(Connection {
            socket: programs.identify(socket).ok()?,
            local: canonical(stream.local_addr().ok()?),
            peer: canonical(stream.peer_addr().ok()?),
        })
    }
}

/// IPv4-mapped addresses as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A handle of a process (`pidfd_open(2)`), which stays that process's when its id is used again.
///
/// # Errors
/// When there is no such process.
pub fn open_process(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers; a non-negative result is a descriptor that nobody else owns.
    unsafe { own(libc::syscall(libc::SYS_pidfd_open, pid, 0)) }
}

fn borrow_descriptor(process: BorrowedFd<'_>, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_getfd takes three integers; a non-negative result is a descriptor that nobody else owns.
    unsafe { own(libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0)) }
}

/// # Safety
/// `result` is that of a system call that gives a new descriptor.
unsafe fn own(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: the caller's promise.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A socket option that is a plain integer.
pub(crate) fn option<T: Copy + Default>(socket: &OwnedFd, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let size = mem::size_of::<T>();
    let mut length = libc::socklen_t::try_from(size).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to `value`, which is that long and an integer.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// The clock of the programs' timestamps, in nanoseconds.
pub(crate) fn monotonic_now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}
