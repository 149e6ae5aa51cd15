//! Names from a recording.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names::canonical;

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The addresses of every name of a recording; names are compared without case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedNames {
    addresses: BTreeMap<String, Vec<IpAddr>>,
}

impl RecordedNames {
    /// No name at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one address of `name`, after those it has.
    pub fn insert(&mut self, name: &str, address: IpAddr) {
        let addresses = self.addresses.entry(canonical(name)).or_default();
        let address = address.to_canonical();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// The addresses of `name` in the order in which they were added; empty when it is not known.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.lookup(name).unwrap_or_default()
    }

    /// The names that have `address`, in order.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let address = address.to_canonical();
        let having = self.addresses.iter().filter(move |(_, addresses)| addresses.contains(&address));
        having.map(|(name, _)| name.as_str())
    }

    /// The addresses of `name`, or nothing when nobody knows it. `localhost` is known everywhere (RFC 6761, section 6.3).
    pub(super) fn lookup(&self, name: &str) -> Option<&[IpAddr]> {
        let name = canonical(name);
        let known = self.addresses.get(&name).map(Vec::as_slice);
        known.or_else(|| is_localhost(&name).then_some(&LOOPBACK))
    }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

impl<N: AsRef<str>> FromIterator<(N, IpAddr)> for RecordedNames {
    fn from_iter<I: IntoIterator<Item = (N, IpAddr)>>(pairs: I) -> Self {
        let mut names = Self::new();
        for (name, address) in pairs {
            names.insert(name.as_ref(), address);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_keep_the_order_of_their_addresses() {
        let first: IpAddr = "192.0.2.2".parse().unwrap();
        let second: IpAddr = "192.0.2.1".parse().unwrap();
        let names =
            RecordedNames::from_iter([("API.example.", first), ("api.Example", second), ("api.example", first)]);
        assert_eq!(names.addresses("Api.EXAMPLE."), [first, second]);
        assert_eq!(names.names_of(second).collect::<Vec<_>>(), ["api.example"]);
        assert_eq!(names.lookup("example"), None);
        assert_eq!(names.lookup("db.localhost"), Some(&LOOPBACK[..]));
    }
}
