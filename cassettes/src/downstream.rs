//! The logical name of a downstream.

use std::net::SocketAddr;

/// The name under which calls to a downstream are recorded and matched: what the request's `Host` field says in
/// lower case, else the peer's address; the port is left out where it is the default (80, or 443 inside TLS).
pub fn downstream_name(host_header: Option<&str>, peer: SocketAddr, tls: bool) -> String {
    let name = match host_header.map(str::trim) {
        Some(host) if !host.is_empty() => host.to_ascii_lowercase(),
        _ => peer.to_string(),
    };
    let default_port = if tls { ":443" } else { ":80" };
    match name.strip_suffix(default_port) {
        // `::80` is the end of an IPv6 address that stands without brackets, not a port.
        Some(host) if !host.is_empty() && !host.ends_with(':') => host.to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_field_names_it_and_the_default_port_is_dropped() {
        let peer = "10.0.0.5:8080".parse().unwrap();
        assert_eq!(downstream_name(Some("Inventory:8080"), peer, false), "inventory:8080");
        assert_eq!(downstream_name(Some(" Inventory:80 "), peer, false), "inventory");
        assert_eq!(downstream_name(Some("inventory:80"), peer, true), "inventory:80");
        assert_eq!(downstream_name(Some("inventory:443"), peer, true), "inventory");
        assert_eq!(downstream_name(Some("[2001:DB8::80]:80"), peer, false), "[2001:db8::80]");
    }

    #[test]
    fn without_a_host_field_the_address_names_it() {
        let (other, http) = ("10.0.0.5:8080".parse().unwrap(), "10.0.0.5:80".parse().unwrap());
        assert_eq!(downstream_name(None, other, false), "10.0.0.5:8080");
        assert_eq!(downstream_name(Some(""), other, false), "10.0.0.5:8080");
        assert_eq!(downstream_name(None, http, false), "10.0.0.5");
        assert_eq!(downstream_name(None, "[::1]:443".parse().unwrap(), true), "[::1]");
    }
}
