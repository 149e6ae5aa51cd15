//! Where the ends of a connection are.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where one end of a connection is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Address {
    /// Of a TCP socket. IPv4-mapped IPv6 addresses are given as IPv4.
    Inet(SocketAddr),
    /// Of a Unix stream socket.
    Unix(UnixAddress),
}

/// One end of a connection between Unix sockets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnixAddress {
    /// `sun_path` as in unix(7): a path, or a zero byte and a name in the abstract namespace; empty for a socket without
    /// a name. A socket that was accepted has the name of its listener.
    pub name: Bytes,
    /// The number of its inode, by which one socket is told from others; 0 while nobody has accepted it.
    pub inode: u64,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Inet(address)
    }
}
