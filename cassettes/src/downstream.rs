//! The logical name of a downstream.

use std::net::SocketAddr;

/// The name under which calls to a downstream are recorded and matched: what the request's `Host` field says in
/// lower case; without one the name that the service `resolved` to the peer's address, with the peer's port; else the peer's address. The
/// port is left out where it is the default (80, or 443 inside TLS).
pub fn downstream_name(host_header: Option<&str>, resolved: Option<&str>, peer: SocketAddr, tls: bool) -> String {
    let name = match (host_header.map(str::trim).filter(|host| !host.is_empty()), resolved) {
        (Some(host), _) => host.to_ascii_lowercase(),
        (None, Some(name)) => format!("{}:{}", name.to_ascii_lowercase(), peer.port()),
        (None, None) => peer.to_string(),
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
        assert_eq!(downstream_name(Some("Inventory:8080"), None, peer, false), "inventory:8080");
        assert_eq!(downstream_name(Some(" Inventory:80 "), None, peer, false), "inventory");
        assert_eq!(downstream_name(Some("inventory:80"), None, peer, true), "inventory:80");
        assert_eq!(downstream_name(Some("inventory:443"), None, peer, true), "inventory");
        assert_eq!(downstream_name(Some("[2001:DB8::80]:80"), None, peer, false), "[2001:db8::80]");
    }

    #[test]
    fn the_name_that_was_resolved_counts_where_the_request_has_none() {
        let redis = "10.0.0.5:6379".parse().unwrap();
        assert_eq!(downstream_name(None, Some("Cache.internal"), redis, false), "cache.internal:6379");
        assert_eq!(downstream_name(Some("other"), Some("cache.internal"), redis, false), "other");
        assert_eq!(downstream_name(Some(" "), Some("web"), "10.0.0.5:80".parse().unwrap(), false), "web");
        assert_eq!(downstream_name(None, Some("web"), "10.0.0.5:443".parse().unwrap(), true), "web");
    }

    #[test]
    fn without_a_host_field_the_address_names_it() {
        let (other, http) = ("10.0.0.5:8080".parse().unwrap(), "10.0.0.5:80".parse().unwrap());
        assert_eq!(downstream_name(None, None, other, false), "10.0.0.5:8080");
        assert_eq!(downstream_name(Some(""), None, other, false), "10.0.0.5:8080");
        assert_eq!(downstream_name(None, None, http, false), "10.0.0.5");
        assert_eq!(downstream_name(None, None, "[::1]:443".parse().unwrap(), true), "[::1]");
    }
}
