//! The cassettes that a mock plays, indexed for one look-up a call.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use regress_cassettes::{
    Cassette, Content, Exchange,
    diff::{Applied, Rules},
    redact::{Beside, Redactor},
};
use regress_protocols::{Request, Side};

use crate::{
    bound::{Given, Owners},
    dns::RecordedNames,
    journal::Rung,
    matching::Key,
    survey::{Speaker, Survey},
};

/// What can be played besides the entry that a mock is given, and what is true of all entries. It never changes and is
/// shared by all mocks of a run.
#[derive(Debug)]
pub struct Library {
    survey: Survey,
    ambient: Option<Arc<Shelf>>,
    rules: Rules,
    owners: Owners,
    redactor: Arc<Redactor>,
}

impl Library {
    /// A library of the exchanges that no entry caused, with what a survey of the entries found, of which `rules` say
    /// what is noise in their requests. The survey need not have seen the ambient cassette.
    pub fn new(mut survey: Survey, ambient: Option<Arc<Cassette>>, rules: Rules, redactor: Arc<Redactor>) -> Library {
        if let Some(ambient) = &ambient {
            survey.add(ambient);
        }
        let ambient = ambient.map(|cassette| Arc::new(Shelf::new(cassette, rules.clone())));
        Library { survey, ambient, rules, owners: Owners::default(), redactor }
    }

    /// What is noise, and by which schemas messages are read.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The names that the recordings called, with the addresses they had: what DNS answers inside the sandbox.
    pub fn names(&self) -> RecordedNames {
        self.survey.names()
    }

    /// Where connections were always refused: at least once, and none was ever established.
    pub fn refused(&self) -> Vec<SocketAddr> {
        self.survey.refused()
    }

    /// Whether a connection to that address was tried in any recording.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        self.survey.knows(address)
    }

    /// Whether the recorded service left connections to that address unused.
    pub(crate) fn is_left_unused(&self, address: SocketAddr) -> bool {
        self.survey.is_left_unused(address)
    }

    /// Whether the host in `name` had that address in any recording.
    pub(crate) fn reaches(&self, name: &str, address: IpAddr) -> bool {
        self.survey.reaches(name, address)
    }

    /// Who speaks a protocol other than HTTP there.
    pub(crate) fn speaker(&self, peer: SocketAddr) -> Option<&Speaker> {
        self.survey.speaker(peer)
    }

    /// The addresses that a name had in the recordings.
    pub(crate) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.survey.addresses(name)
    }

    /// The downstreams at that address, without or inside TLS, that no request names.
    pub(crate) fn unnamed_at(&self, peer: SocketAddr, tls: bool) -> impl Iterator<Item = &str> {
        self.survey.unnamed_at(peer, tls)
    }

    /// Whether HTTP/2 was spoken there.
    pub(crate) fn speaks_http2(&self, peer: SocketAddr) -> bool {
        self.survey.speaks_http2(peer)
    }

    /// What is played in every scope.
    pub(crate) fn ambient(&self) -> Option<&Arc<Shelf>> {
        self.ambient.as_ref()
    }

    /// Takes secrets out of what a service says beside that cassette, if it is of an entry, and the ambient one.
    pub(crate) fn beside(&self, cassette: Option<&Arc<Cassette>>) -> Beside {
        let ambient = self.ambient.as_ref().map(|shelf| &shelf.cassette);
        Beside::new(Arc::clone(&self.redactor), cassette.into_iter().chain(ambient).cloned().collect())
    }

    /// Which entry bound which identifier.
    pub(crate) fn owners(&self) -> &Owners {
        &self.owners
    }
}

/// One cassette, and what is made of it once it is needed.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub cassette: Arc<Cassette>,
    rules: Rules,
    index: OnceLock<Index>,
    masked: OnceLock<ByKey>,
    shapes: OnceLock<ByKey>,
    given: OnceLock<Given>,
}

/// Indexes into `Cassette::downstream`, in recorded order, by what identifies the requests.
pub(crate) type ByKey = HashMap<Key, Numbers>;

/// At least one number. Nearly always it is one, which needs no look-up elsewhere then.
#[derive(Debug)]
pub(crate) enum Numbers {
    One([usize; 1]),
    More(Vec<usize>),
}

impl Numbers {
    fn push(&mut self, number: usize) {
        match self {
            Numbers::One([first]) => *self = Numbers::More(vec![*first, number]),
            Numbers::More(numbers) => numbers.push(number),
        }
    }
}

impl std::ops::Deref for Numbers {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        match self {
            Numbers::One(number) => number,
            Numbers::More(numbers) => numbers,
        }
    }
}

/// Where things stand in `Cassette::downstream`.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Exchanges by what identifies their request, in recorded order.
    pub exact: ByKey,
    /// Addresses to which a connection was tried and not established.
    pub unreached: HashSet<SocketAddr>,
    /// Addresses of servers that spoke first in no protocol we know, with or without TLS. None of them also spoke one that we know.
    pub server_first: HashSet<(SocketAddr, bool)>,
    /// Whole conversations in no protocol we know, in recorded order, by port.
    pub conversations: HashMap<u16, Vec<usize>>,
    /// Addresses with bytes of no protocol we know.
    pub opaque: HashSet<SocketAddr>,
    /// How many exchanges with a request there are, and conversations.
    pub playable: usize,
    /// Exchanges whose response began before their request was over.
    pub interleaved: Vec<usize>,
}

impl Shelf {
    /// A cassette to play under these rules.
    pub(crate) fn new(cassette: Arc<Cassette>, rules: Rules) -> Shelf {
        Shelf {
            cassette,
            rules,
            index: OnceLock::new(),
            masked: OnceLock::new(),
            shapes: OnceLock::new(),
            given: OnceLock::new(),
        }
    }

    /// Exchanges by what identifies their request on that rung.
    pub(crate) fn on(&self, rung: Rung) -> &ByKey {
        let made = || {
            by_key(&self.cassette, |name, port, tls, request| {
                Key::on(rung, &self.rules_for(name, request), name, port, tls, request)
            })
        };
        match rung {
            Rung::Exact | Rung::Turns => &self.index().exact,
            Rung::Noise => self.masked.get_or_init(made),
            Rung::Bound => self.shapes.get_or_init(made),
        }
    }

    /// The rules for a request to the downstream of that name while this cassette is played.
    pub(crate) fn rules_for(&self, downstream: &str, request: Request<'_>) -> Applied {
        if self.rules.is_empty() {
            return self.rules.schemas().of_request(request);
        }
        let route = self.cassette.entry.as_ref().and_then(Exchange::request);
        let route = route.map(|request| request.operation().to_string());
        self.rules.for_request(route.as_deref(), downstream, &request.operation().to_string())
    }

    /// What the service was given.
    pub(crate) fn given(&self) -> &Given {
        self.given.get_or_init(|| Given::of(&self.cassette))
    }

    /// When the recording of the cassette began, in microseconds since 1970; `None` if it does not say so.
    pub(crate) fn began(&self) -> Option<i64> {
        self.cassette.recorded.at.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
    }

    /// The index, made at the first call.
    pub(crate) fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(&self.cassette, &self.rules))
    }

    /// The exchanges with that address, in recorded order, with their indexes.
    pub(crate) fn with_peer(&self, peer: SocketAddr) -> impl Iterator<Item = (usize, &Exchange)> {
        let is_there = move |found: &Exchange| found.connection.peer.inet().map(canonical) == Some(peer);
        self.cassette.downstream.iter().enumerate().filter(move |(_, found)| is_there(found))
    }
}

/// The exchanges of a cassette by the key that is made of downstream, port, TLS and request, in recorded order.
fn by_key(cassette: &Cassette, made: impl Fn(&str, u16, bool, Request<'_>) -> Key) -> ByKey {
    let mut by_key = ByKey::new();
    for (number, exchange) in cassette.downstream.iter().enumerate() {
        // A Unix socket is not impersonated.
        let (Some(peer), Some(request)) = (exchange.connection.peer.inet(), exchange.asked()) else { continue };
        let name = exchange.downstream.as_deref().unwrap_or_default();
        let key = made(name, peer.port(), exchange.connection.tls, request);
        by_key.entry(key).and_modify(|numbers| numbers.push(number)).or_insert(Numbers::One([number]));
    }
    by_key
}

impl Index {
    fn of(cassette: &Cassette, rules: &Rules) -> Index {
        let exact = by_key(cassette, |name, port, tls, request| Key::of(rules, name, port, tls, request));
        let playable = exact.values().map(|numbers| numbers.len()).sum();
        let is_interleaved = |exchange: &Exchange| exchange.http().is_some_and(|http| !http.interleaved.is_empty());
        let numbers = 0..cassette.downstream.len();
        let interleaved = numbers.filter(|number| is_interleaved(&cassette.downstream[*number])).collect();
        let mut index = Index { exact, playable, interleaved, ..Index::default() };
        let mut spoke = HashSet::new();
        for (number, exchange) in cassette.downstream.iter().enumerate() {
            let Some(peer) = exchange.connection.peer.inet().map(canonical) else { continue };
            match &exchange.content {
                Content::Http1(_) | Content::Wire(_) => drop(spoke.insert(peer)),
                Content::Opaque(_) if exchange.is_silent() => {}
                Content::Opaque(turns) => {
                    index.opaque.insert(peer);
                    if turns.first().is_some_and(|turn| turn.from == Side::Server) {
                        index.server_first.insert((peer, exchange.connection.tls));
                    }
                    if exchange.conversation().is_some() {
                        index.conversations.entry(peer.port()).or_default().push(number);
                        index.playable += 1;
                    }
                }
                Content::Nothing => drop(index.unreached.insert(peer)),
            }
        }
        index.server_first.retain(|(peer, _)| !spoke.contains(peer));
        index
    }
}

/// The same address with IPv4 written as IPv4, without flow and scope.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
