//! The listening TCP sockets of a process's network namespace, from `/proc/PID/net/tcp` and `tcp6` (proc_net_tcp in the
//! kernel's documentation). They tell the accepted end of a connection that was there before the capture from the
//! connecting one; where the listener is gone by then, the end that it accepted passes for the connecting one.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::event::Role;

/// Every listener seen so far, of all processes asked about.
#[derive(Debug, Default)]
pub(crate) struct Listeners(HashSet<SocketAddr>);

impl Listeners {
    /// Adds what the process's network namespace listens on now. A process that is gone adds nothing.
    pub(crate) fn look(&mut self, pid: u32) {
        for table in ["tcp", "tcp6"] {
            if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")) {
                self.0.extend(text.lines().filter_map(listening).map(|listener| listener.address));
            }
        }
    }

    /// A connection whose local end somebody listens on was accepted there.
    pub(crate) fn role(&self, local: SocketAddr) -> Role {
        let any = |ip: IpAddr| self.0.contains(&SocketAddr::new(ip, local.port()));
        if any(local.ip()) || any(Ipv4Addr::UNSPECIFIED.into()) || any(Ipv6Addr::UNSPECIFIED.into()) {
            Role::Server
        } else {
            Role::Client
        }
    }
}

/// A socket that listens. MPTCP sockets have a line as well: that of the TCP socket inside, with their own inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) inode: u64,
}

/// What a line in state `0A` (listen) says.
pub(crate) fn listening(line: &str) -> Option<Listening> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let local = columns.next()?;
    if columns.nth(1)? != "0A" {
        return None;
    }
    let inode = columns.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(octets::<4>(address)?).into(),
        32 => IpAddr::V6(Ipv6Addr::from(octets::<16>(address)?)).to_canonical(),
        _ => return None,
    };
    Some(Listening { address: SocketAddr::new(ip, port), inode })
}

/// Addresses are printed as 32-bit words in the machine's byte order.
fn octets<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut octets = [0; N];
    for (index, word) in octets.chunks_exact_mut(4).enumerate() {
        let value = u32::from_str_radix(hex.get(index * 8..index * 8 + 8)?, 16).ok()?;
        word.copy_from_slice(&value.to_ne_bytes());
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
    const V4: &str =
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0 100 0 0 10 0";
    const CONNECTED: &str =
        "   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 6 1 0 20 0 0 10 -1";
    const V6: &str = "   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7";

    #[test]
    fn only_listening_lines_count() {
        let listener = |address: &str, inode| Some(Listening { address: address.parse().unwrap(), inode });
        assert_eq!(listening(V4), listener("127.0.0.1:8080", 5));
        assert_eq!(listening(V6), listener("[::1]:80", 7));
        assert_eq!(listening(CONNECTED), None);
        assert_eq!(listening(HEADER), None);
        assert_eq!(listening(&V4[..20]), None);
        assert_eq!(listening(""), None);
    }

    #[test]
    fn a_wildcard_listener_covers_every_address() {
        let listeners = Listeners(HashSet::from(["[::]:80".parse().unwrap(), "10.0.0.1:81".parse().unwrap()]));
        assert_eq!(listeners.role("127.0.0.1:80".parse().unwrap()), Role::Server);
        assert_eq!(listeners.role("10.0.0.1:81".parse().unwrap()), Role::Server);
        assert_eq!(listeners.role("10.0.0.2:81".parse().unwrap()), Role::Client);
        assert_eq!(listeners.role("127.0.0.1:82".parse().unwrap()), Role::Client);
    }
}
