//! The sockets that are born inside a sandbox and used outside: a socket keeps the network namespace of its birth.
#![allow(unsafe_code, reason = "IPV6_TRANSPARENT has no safe wrapper")]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::{
    IpTransparent, Ipv4OrigDstAddr, Ipv4PacketInfo, Ipv6OrigDstAddr, Ipv6RecvPacketInfo, Ipv6V6Only, Mark, ReuseAddr,
};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket};

use super::wire::MAX_SOCKETS;
use super::{CAPTURE_PORT, DNS_PORT};

/// Mark of every socket of ours; the ruleset lets it pass, so that it never lands on our own listeners.
pub(super) const MARK: u32 = 0x52;

/// Where everything that a service sends arrives. Each pair is IPv4, IPv6; all are non-blocking.
///
/// The local address of an accepted connection is the address that the service connected to.
#[derive(Debug)]
pub struct Listeners {
    /// TCP to any destination.
    pub tcp: [TcpListener; 2],
    /// UDP to port 53 of any address; `IP_PKTINFO` names the destination.
    pub dns: [UdpSocket; 2],
    /// UDP to any other port; `IP_ORIGDSTADDR` names the destination.
    pub datagrams: [UdpSocket; 2],
}

impl Listeners {
    /// The six sockets in the order in which they cross the process boundary.
    pub(super) fn from_sockets(sockets: Vec<OwnedFd>) -> Option<Self> {
        let [tcp4, tcp6, dns4, dns6, any4, any6] = <[OwnedFd; 6]>::try_from(sockets).ok()?;
        Some(Self {
            tcp: [tcp4.into(), tcp6.into()],
            dns: [dns4.into(), dns6.into()],
            datagrams: [any4.into(), any6.into()],
        })
    }
}

/// Makes the six listeners in the current network namespace.
pub(super) fn listeners() -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(6);
    for (kind, port) in
        [(SockType::Stream, CAPTURE_PORT), (SockType::Datagram, DNS_PORT), (SockType::Datagram, CAPTURE_PORT)]
    {
        for any in [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))] {
            sockets.push(listener(kind, any)?);
        }
    }
    Ok(sockets)
}

fn listener(kind: SockType, any: SocketAddr) -> io::Result<OwnedFd> {
    let fd = marked(kind, any)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    match any {
        SocketAddr::V4(_) => setsockopt(&fd, IpTransparent, &true)?,
        SocketAddr::V6(_) => {
            setsockopt(&fd, Ipv6V6Only, &true)?;
            transparent_v6(&fd)?;
        }
    }
    match (kind, any) {
        (SockType::Stream, _) => {}
        (_, SocketAddr::V4(_)) if any.port() == DNS_PORT => setsockopt(&fd, Ipv4PacketInfo, &true)?,
        (_, SocketAddr::V6(_)) if any.port() == DNS_PORT => setsockopt(&fd, Ipv6RecvPacketInfo, &true)?,
        (_, SocketAddr::V4(_)) => setsockopt(&fd, Ipv4OrigDstAddr, &true)?,
        (_, SocketAddr::V6(_)) => setsockopt(&fd, Ipv6OrigDstAddr, &true)?,
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(any))?;
    if kind == SockType::Stream {
        listen(&fd, Backlog::MAXCONN)?;
    }
    Ok(fd)
}

/// TCP sockets of the current network namespace that reach what listens there, and nothing of ours.
pub(super) fn entry_sockets(v6: bool) -> io::Result<Vec<OwnedFd>> {
    let any =
        if v6 { SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)) } else { SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
    (0..MAX_SOCKETS).map(|_| marked(SockType::Stream, any)).collect()
}

fn marked(kind: SockType, family_of: SocketAddr) -> io::Result<OwnedFd> {
    let family = match family_of {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, Mark, &MARK)?;
    Ok(fd)
}

fn transparent_v6(fd: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option value is one int that outlives the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_TRANSPARENT,
            std::ptr::from_ref(&on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
