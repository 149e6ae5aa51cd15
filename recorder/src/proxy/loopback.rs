//! Loopback addresses that nothing on this host listens on.
//!
//! The proxy takes a connection before it knows whether the real destination does, so that a refusal can only be
//! passed on as a reset. Clients that try `::1` before `127.0.0.1` for `localhost` rely on the refusal: where the host
//! listens on one of the two alone, the sandbox refuses the other.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use regress_mockserver::sandbox::listening;

/// At most so many ports are refused.
const MOST: usize = 1024;

/// The loopback addresses to refuse, as the host listens at this moment.
pub(super) fn refused() -> io::Result<Vec<SocketAddr>> {
    Ok(other_halves(&listening(std::process::id())?))
}

/// For each port that is open on one loopback address alone: the other one. An IPv6 wildcard takes IPv4 as well.
fn other_halves(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let open = |wanted: SocketAddr| {
        listening.iter().any(|open| {
            let reaches = match open.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => wanted.is_ipv4(),
                IpAddr::V6(ip) if ip.is_unspecified() => true,
                ip => ip == wanted.ip(),
            };
            reaches && open.port() == wanted.port()
        })
    };
    let mut refused = Vec::new();
    for port in listening.iter().map(SocketAddr::port) {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        match (open(v4), open(v6)) {
            (true, false) => refused.push(v6),
            (false, true) => refused.push(v4),
            (true, true) | (false, false) => {}
        }
    }
    refused.sort();
    refused.dedup();
    refused.truncate(MOST);
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_that_nobody_listens_on_is_refused() {
        let listening =
            ["127.0.0.1:80", "[::1]:81", "0.0.0.0:82", "[::]:83", "127.0.0.1:84", "[::1]:84", "10.0.0.1:85"];
        let listening: Vec<SocketAddr> = listening.iter().map(|address| address.parse().unwrap()).collect();
        let refused: Vec<String> = other_halves(&listening).iter().map(ToString::to_string).collect();
        assert_eq!(refused, ["127.0.0.1:81", "[::1]:80", "[::1]:82"]);
    }
}
