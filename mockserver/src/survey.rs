//! What a corpus as a whole tells: gathered one cassette after the other, so that none has to be kept for it.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use regress_cassettes::{Cassette, Content, Ended, Exchange, HttpExchange};
use regress_protocols::{
    Value, dns,
    wire::{Handshakes, Protocol},
};

use crate::{
    dns::{Answers, RecordedNames},
    library::canonical,
};

/// Which names the recordings called and where, and who refused them. It grows with the addresses of downstreams, not
/// with the number of cassettes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Host (a name or an address, without the port) to the addresses that it had in the recordings.
    addresses: HashMap<String, BTreeSet<IpAddr>>,
    /// Where a connection was refused.
    refused: BTreeSet<SocketAddr>,
    /// Where anything else came of one.
    others: HashSet<SocketAddr>,
    /// Who speaks a protocol other than HTTP.
    speakers: HashMap<SocketAddr, Speaker>,
    /// Names of downstreams that no request names, by port and whether TLS is spoken there.
    unnamed: HashMap<(u16, bool), BTreeSet<String>>,
    /// What resolvers answered.
    answers: Answers,
    /// Who speaks HTTP/2.
    http2: HashSet<SocketAddr>,
    /// To whom a connection was established on which nothing was said.
    silent: HashSet<SocketAddr>,
}

/// Who speaks a protocol other than HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub protocol: Protocol,
    /// What it said to requests that its player answers by itself.
    pub handshakes: Arc<Handshakes>,
}

impl Survey {
    /// Takes in what a cassette tells.
    pub fn add(&mut self, cassette: &Cassette) {
        for exchange in &cassette.downstream {
            let Some(peer) = exchange.connection.peer.inet().map(canonical) else { continue };
            if exchange.is_silent() {
                self.silent.insert(peer);
                self.others.insert(peer);
                continue;
            }
            if let Some(wire) = exchange.wire().filter(|wire| wire.protocol == Protocol::Dns) {
                self.resolved(&wire.request, wire.response.as_ref());
            }
            if let Some(name) = &exchange.downstream {
                if !names_its_downstream(exchange) {
                    self.unnamed.entry((peer.port(), exchange.connection.tls)).or_default().insert(name.clone());
                }
                match self.addresses.get_mut(host(name)) {
                    Some(known) => drop(known.insert(peer.ip())),
                    None => drop(self.addresses.insert(host(name).to_owned(), BTreeSet::from([peer.ip()]))),
                }
            }
            if exchange.http().is_some_and(HttpExchange::is_http2) {
                self.http2.insert(peer);
            }
            if let Some(wire) = exchange.wire() {
                let unknown = || Speaker { protocol: wire.protocol, handshakes: Arc::default() };
                let speaker = self.speakers.entry(peer).or_insert_with(unknown);
                if exchange.connection.tls && !speaker.handshakes.inside_tls() {
                    Arc::make_mut(&mut speaker.handshakes).learn_tls();
                }
                if let Some(response) = &wire.response
                    && wire.protocol.is_handshake(&wire.request)
                {
                    Arc::make_mut(&mut speaker.handshakes).learn(&wire.request, response);
                }
            }
            match (&exchange.content, exchange.ended) {
                (Content::Nothing, Ended::Refused | Ended::Reset) => drop(self.refused.insert(peer)),
                _ => drop(self.others.insert(peer)),
            }
        }
    }

    /// Takes in what a resolver answered.
    fn resolved(&mut self, question: &Value, response: Option<&Value>) {
        let Some(response) = response else { return };
        let addresses = dns::addresses(question, response);
        if let (Some(name), false) = (question.get("name").and_then(Value::as_text), addresses.is_empty()) {
            self.addresses.entry(name.to_owned()).or_default().extend(addresses.iter().map(IpAddr::to_canonical));
        }
        self.answers.add(question, response);
    }

    /// Takes in what a survey of other cassettes found.
    pub fn merge(&mut self, other: Survey) {
        for (host, addresses) in other.addresses {
            self.addresses.entry(host).or_default().extend(addresses);
        }
        self.refused.extend(other.refused);
        self.others.extend(other.others);
        self.http2.extend(other.http2);
        self.silent.extend(other.silent);
        for (peer, speaker) in other.speakers {
            match self.speakers.entry(peer) {
                Entry::Vacant(entry) => drop(entry.insert(speaker)),
                Entry::Occupied(mut known) => Arc::make_mut(&mut known.get_mut().handshakes).merge(&speaker.handshakes),
            }
        }
        for (place, names) in other.unnamed {
            self.unnamed.entry(place).or_default().extend(names);
        }
        self.answers.merge(other.answers);
    }

    /// Who speaks a protocol other than HTTP there, or at another address that has a name in common with it.
    pub(crate) fn speaker(&self, peer: SocketAddr) -> Option<&Speaker> {
        let peer = canonical(peer);
        let is_alike = |other: &SocketAddr| {
            let both = |known: &BTreeSet<IpAddr>| known.contains(&peer.ip()) && known.contains(&other.ip());
            other.port() == peer.port() && self.addresses.values().any(both)
        };
        let other = || self.speakers.iter().filter(|(other, _)| is_alike(other)).min_by_key(|(other, _)| **other);
        self.speakers.get(&peer).or_else(|| other().map(|(_, speaker)| speaker))
    }

    /// Whether the recorded service left a connection to that address unused, or to another one that has a name in common
    /// with it.
    pub fn is_left_unused(&self, peer: SocketAddr) -> bool {
        let peer = canonical(peer);
        if self.silent.is_empty() || self.silent.contains(&peer) {
            return !self.silent.is_empty();
        }
        let named: Vec<_> = self.addresses.values().filter(|known| known.contains(&peer.ip())).collect();
        let is_alike =
            |other: &SocketAddr| other.port() == peer.port() && named.iter().any(|known| known.contains(&other.ip()));
        self.silent.iter().any(is_alike)
    }

    /// The downstreams at that address, without or inside TLS, that no request names: in protocols that have no place for a name.
    pub(crate) fn unnamed_at(&self, peer: SocketAddr, tls: bool) -> impl Iterator<Item = &str> {
        let names = self.unnamed.get(&(peer.port(), tls)).into_iter().flatten();
        names.map(String::as_str).filter(move |name| self.reaches(name, peer.ip()))
    }

    /// Whether HTTP/2 was spoken there.
    pub(crate) fn speaks_http2(&self, peer: SocketAddr) -> bool {
        self.http2.contains(&canonical(peer))
    }

    /// The names that the recordings called, with the addresses they had.
    pub(crate) fn names(&self) -> RecordedNames {
        let is_name = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
        let named = self.addresses.iter().filter(|(host, _)| is_name(host));
        let pairs = named.flat_map(|(host, addresses)| addresses.iter().map(move |address| (host, *address)));
        pairs.collect::<RecordedNames>().with_answers(self.answers.clone())
    }

    /// The addresses that a name had.
    pub(crate) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.addresses.get(name).into_iter().flatten().copied().collect()
    }

    /// Where connections were always refused: at least once, and none was ever established.
    pub(crate) fn refused(&self) -> Vec<SocketAddr> {
        self.refused.iter().filter(|peer| !self.others.contains(peer)).copied().collect()
    }

    /// Whether a connection to that address was ever tried.
    pub fn knows(&self, address: SocketAddr) -> bool {
        let address = canonical(address);
        self.others.contains(&address) || self.refused.contains(&address)
    }

    /// Whether the host in `name` had that address in any recording. The addresses of the loopback are one: which of
    /// them `localhost` is, a file of the host says and not the recording.
    pub(crate) fn reaches(&self, name: &str, address: IpAddr) -> bool {
        let host = host(name);
        self.addresses.get(host).is_some_and(|known| {
            known.contains(&address)
                || (host == "localhost" && address.is_loopback() && known.iter().any(IpAddr::is_loopback))
        })
    }
}

impl<'a> FromIterator<&'a Cassette> for Survey {
    fn from_iter<T: IntoIterator<Item = &'a Cassette>>(cassettes: T) -> Survey {
        let mut survey = Survey::default();
        cassettes.into_iter().for_each(|cassette| survey.add(cassette));
        survey
    }
}

/// Whether the request itself says for whom it is.
fn names_its_downstream(exchange: &Exchange) -> bool {
    let host = exchange.http().and_then(|http| http.request.header_text("host"));
    host.is_some_and(|host| !host.trim().is_empty())
}

/// A downstream's name without its port.
pub(crate) fn host(name: &str) -> &str {
    if name.starts_with('[') {
        return name.find(']').map_or(name, |end| &name[..=end]);
    }
    match name.split_once(':') {
        // More than one colon without brackets is an IPv6 address.
        Some((host, port)) if !port.contains(':') => host,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use regress_cassettes::{Defect, WireExchange};
    use regress_protocols::Side;

    use super::*;
    use crate::samples::{PAYMENTS, answered, ask, at, cassette, exchange, library, ok, request, turn};

    #[test]
    fn hosts_of_names() {
        for (name, expected) in [
            ("inventory", "inventory"),
            ("inventory:8080", "inventory"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(host(name), expected);
        }
    }

    #[test]
    fn downstreams_that_no_request_names() {
        let opaque = |name: &str, peer: &str| Exchange {
            downstream: Some(name.to_owned()),
            ..exchange(peer, false, Content::Opaque(vec![turn(Side::Server, b"hello")]), Ended::Ok)
        };
        let redis = |name: &str, peer: &str| Exchange {
            content: Content::Wire(WireExchange {
                protocol: Protocol::Redis,
                request: Value::map([("command", Value::text("PING"))]),
                response: None,
            }),
            ..opaque(name, peer)
        };
        let answers = Value::List(vec![Value::map([
            ("name", Value::text("cache.test")),
            ("type", Value::text("A")),
            ("ttl", Value::number(5)),
            ("data", Value::text("10.0.0.2")),
        ])]);
        let question = Value::map([("name", Value::text("cache.test")), ("type", Value::text("A"))]);
        let response = Some(Value::map([("code", Value::text("NOERROR")), ("answers", answers)]));
        let resolved = Exchange {
            content: Content::Wire(WireExchange { protocol: Protocol::Dns, request: question, response }),
            ..opaque("0.0.0.0:53", "0.0.0.0:53")
        };
        let recorded = cassette(
            "entry",
            vec![
                answered(ask("GET", "/a", ""), ok("")),
                redis("cache.test:6379", "10.0.0.1:6379"),
                opaque("lines.test:7000", "10.0.0.1:7000"),
                opaque("10.0.0.1:7000", "10.0.0.1:7000"),
                resolved,
            ],
        );
        let mut survey = Survey::default();
        survey.merge([&*recorded].into_iter().collect());
        let at = |peer: &str, tls| survey.unnamed_at(peer.parse().unwrap(), tls).collect::<Vec<_>>();
        assert_eq!(at("10.0.0.1:7000", false), ["10.0.0.1:7000", "lines.test:7000"]);
        assert_eq!(at("10.0.0.1:6379", false), ["cache.test:6379"]);
        // The other address that the resolver gave.
        assert_eq!(at("10.0.0.2:6379", false), ["cache.test:6379"]);
        assert!(at("10.0.0.3:6379", false).is_empty() && at("10.0.0.1:6379", true).is_empty());
        assert!(at("10.0.0.5:8080", false).is_empty(), "requests to it say for whom they are");
        let speaker = |peer: &str| survey.speaker(peer.parse().unwrap()).map(|speaker| speaker.protocol);
        assert_eq!(speaker("10.0.0.2:6379"), Some(Protocol::Redis));
        assert_eq!((speaker("10.0.0.2:6380"), speaker("10.0.0.3:6379")), (None, None));
        assert_eq!(survey.names().addresses("cache.test").len(), 2);
    }

    #[test]
    fn names_and_refusals_of_a_library() {
        let entry = cassette(
            "entry",
            vec![
                answered(ask("GET", "/a", ""), ok("")),
                at("10.0.0.7:80", request("GET /a HTTP/1.0\r\n\r\n"), ok("")),
                exchange("10.0.0.8:1", false, Content::Nothing, Ended::Refused),
                exchange("10.0.0.8:2", false, Content::Nothing, Ended::Refused),
                exchange("10.0.0.8:3", false, Content::Nothing, Ended::Timeout),
            ],
        );
        let library = library(
            &[entry],
            Some(vec![
                at("10.0.0.6:8080", ask("GET", "/b", ""), ok("")),
                exchange("10.0.0.8:2", false, Content::Opaque(Vec::new()), Ended::Ok),
            ]),
        );
        let addresses = ["10.0.0.5", "10.0.0.6"].map(|address| address.parse::<IpAddr>().unwrap());
        assert_eq!(library.names().addresses("payments"), addresses);
        assert!(library.names().addresses("10.0.0.7").is_empty());
        assert_eq!(library.refused(), ["10.0.0.8:1".parse().unwrap()]);
        for (address, is_known) in [
            ("10.0.0.7:80", true),
            ("10.0.0.6:8080", true),
            ("[::ffff:10.0.0.6]:8080", true),
            ("10.0.0.8:1", true),
            ("10.0.0.8:3", true),
            ("10.0.0.6:8081", false),
            ("10.0.0.9:80", false),
        ] {
            assert_eq!(library.knows(address.parse().unwrap()), is_known, "{address}");
        }
    }

    #[test]
    fn where_connections_were_left_unused() {
        let unused = |peer: &str| exchange(peer, false, Content::Opaque(Vec::new()), Ended::Closed);
        let gap = Exchange { defects: vec![Defect::Garbage], ..unused("10.0.0.9:82") };
        let entry = cassette(
            "entry",
            vec![
                answered(ask("GET", "/a", ""), ok("")),
                at("10.0.0.7:8080", ask("GET", "/a", ""), ok("")),
                exchange("10.0.0.9:81", false, Content::Opaque(vec![turn(Side::Server, b"hello")]), Ended::Ok),
                gap,
            ],
        );
        let library = library(&[entry], Some(vec![unused(PAYMENTS), unused("10.0.0.9:80")]));
        for (address, is_left) in [
            (PAYMENTS, true),
            ("[::ffff:10.0.0.5]:8080", true),
            // Another address of the same name.
            ("10.0.0.7:8080", true),
            ("10.0.0.7:8081", false),
            ("10.0.0.9:80", true),
            ("10.0.0.9:81", false),
            ("10.0.0.9:82", false),
        ] {
            assert_eq!(library.is_left_unused(address.parse().unwrap()), is_left, "{address}");
        }
        assert!(library.knows("10.0.0.9:80".parse().unwrap()));
        assert!(library.refused().is_empty());
    }
}
