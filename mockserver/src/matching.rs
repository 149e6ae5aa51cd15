//! Which recorded exchange answers a request. Pure: no I/O, no clock, no state of its own.
//!
//! Gates that nothing relaxes: HTTP/1, the downstream (logical name, port, with or without TLS, and an address that the
//! name had in the recordings), method and path. Behind them a request is answered by a recorded exchange whose request
//! says the same ([`regress_cassettes::diff::requests`] is empty), each once, in the order recorded, the entry's before
//! the ambient ones; ambient ones may be asked for again and then the last of them answers. There is no third way:
//! what is merely like a recorded request is a miss that names it.

use std::{collections::HashMap, net::SocketAddr};

use regress_cassettes::{
    Address, CassetteId, Content, Exchange,
    diff::{self, Applied, Difference, Kind, Lens},
    downstream_name,
};
use regress_protocols::http1::{Message, Operation};
use sha2::{Digest, Sha256};

use crate::{
    journal::{HitScope, MissReason, NearMiss},
    library::{Library, Shelf, canonical},
};

/// How many recorded requests are compared with one that missed.
const MOST_COMPARED: usize = 32;

/// How many of them are told.
const MOST_TOLD: usize = 3;

/// What identifies a request and the downstream it is for: two have the same key exactly when they say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of a request to the downstream with that name and port.
    pub(crate) fn of(name: &str, port: u16, tls: bool, request: &Message) -> Key {
        let mut hash = Sha256::new();
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update(port.to_be_bytes());
        hash.update([u8::from(tls)]);
        hash.update(diff::canonical_request(request, &Applied::none()));
        Key(hash.finalize().into())
    }
}

/// A request that came, with what the gates look at.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub request: &'a Message,
    pub destination: SocketAddr,
    pub tls: bool,
    /// The logical name of the downstream.
    pub name: String,
    key: Key,
}

impl<'a> Asked<'a> {
    /// A request that came for `destination`.
    pub(crate) fn new(request: &'a Message, destination: SocketAddr, tls: bool) -> Asked<'a> {
        let destination = canonical(destination);
        let name = downstream_name(request.header_text("host").as_deref(), destination, tls);
        let key = Key::of(&name, destination.port(), tls, request);
        Asked { request, destination, tls, name, key }
    }

    /// Whether an exchange was with this downstream, its address aside.
    fn is_for(&self, exchange: &Exchange) -> bool {
        exchange.downstream.as_deref() == Some(self.name.as_str())
            && exchange.connection.peer.inet().is_some_and(|peer| peer.port() == self.destination.port())
            && exchange.connection.tls == self.tls
    }
}

/// Which exchanges of one cassette were played.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// How often each request was answered.
    answered: HashMap<Key, usize>,
    played: Vec<bool>,
    lent: Vec<bool>,
    /// HTTP/1 exchanges that were neither played nor lent.
    left: usize,
}

impl Usage {
    /// Nothing of `shelf` was played.
    pub(crate) fn new(shelf: &Shelf) -> Usage {
        let count = shelf.cassette.downstream.len();
        Usage {
            answered: HashMap::new(),
            played: vec![false; count],
            lent: vec![false; count],
            left: shelf.index().playable,
        }
    }

    /// Takes note that an exchange was played because exactly it was asked for.
    fn play(&mut self, number: usize, is_http: bool) {
        if is_http && !self.played[number] && !self.lent[number] {
            self.left -= 1;
        }
        self.played[number] = true;
    }

    /// Takes note that an HTTP/1 exchange answers something else than it did; false when it is used already.
    pub(crate) fn lend(&mut self, number: usize) -> bool {
        let free = !self.played[number] && !self.lent[number];
        if free {
            self.lent[number] = true;
            self.left -= 1;
        }
        free
    }

    /// Whether every HTTP/1 exchange was played or lent.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Exchanges that were not played. Connections that were never established are left out: whether they were tried
    /// again cannot be seen.
    pub(crate) fn unused(&self, shelf: &Shelf) -> Vec<usize> {
        let is_seen = |number: &usize| !matches!(shelf.cassette.downstream[*number].content, Content::Nothing);
        (0..self.played.len()).filter(|number| !self.played[*number]).filter(is_seen).collect()
    }
}

/// What a cassette has for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The exchange with this index, now used.
    Exchange(usize),
    /// It was asked as often as recorded already.
    Exhausted,
    /// Nothing.
    Unknown,
}

/// Takes the exchange of `shelf` that answers a request. One look-up, whatever the size of the cassette.
pub(crate) fn claim(library: &Library, shelf: &Shelf, scope: HitScope, usage: &mut Usage, asked: &Asked<'_>) -> Claim {
    if !library.reaches(&asked.name, asked.destination.ip()) {
        return Claim::Unknown;
    }
    let Some(recorded) = shelf.index().exact.get(&asked.key) else { return Claim::Unknown };
    let answered = usage.answered.entry(asked.key).or_default();
    let number = match (recorded.get(*answered), scope) {
        (Some(number), _) => *number,
        (None, HitScope::Entry) => return Claim::Exhausted,
        (None, HitScope::Ambient) => *recorded.last().expect("a key stands in the index with its exchanges"),
    };
    *answered += 1;
    usage.play(number, true);
    Claim::Exchange(number)
}

/// How a connection to an address that could not always be reached begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// The exchange with this index was a refusal.
    Refused(usize),
    /// The exchange with this index was an attempt that timed out.
    TimedOut(usize),
}

/// Takes the next exchange of `shelf` with an address if that one was an attempt that never became a connection.
pub(crate) fn claim_unreached(shelf: &Shelf, usage: &mut Usage, destination: SocketAddr) -> Option<Unreached> {
    if !shelf.index().unreached.contains(&destination) {
        return None;
    }
    let (number, next) = shelf.with_peer(destination).find(|(number, _)| !usage.played[*number])?;
    if !matches!(next.content, Content::Nothing) {
        return None;
    }
    usage.play(number, false);
    Some(match next.ended {
        regress_cassettes::Ended::Refused | regress_cassettes::Ended::Reset => Unreached::Refused(number),
        _ => Unreached::TimedOut(number),
    })
}

/// A recorded exchange that is like a request that missed.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub scope: HitScope,
    pub exchange: usize,
    /// Of the same downstream, with the same method and path.
    pub same_operation: bool,
    pub differences: Vec<Difference>,
}

/// Why a request missed, and what was recorded that comes nearest, best first. `exhausted` says that some cassette had
/// it and was asked as often as recorded. The shelves are those of the scope, in the order they were asked.
pub(crate) fn explain(
    library: &Library,
    shelves: &[(HitScope, &Shelf)],
    asked: &Asked<'_>,
    exhausted: bool,
) -> (MissReason, Vec<Candidate>) {
    let operation = Operation::of(asked.request);
    let reached = library.reaches(&asked.name, asked.destination.ip());
    let mut alike = Vec::new();
    for (order, (scope, shelf)) in shelves.iter().enumerate() {
        for (number, exchange) in shelf.cassette.downstream.iter().enumerate() {
            let Some(http) = exchange.http() else { continue };
            let recorded = Operation::of(&http.request);
            let same_downstream = asked.is_for(exchange);
            let same_operation = recorded == operation;
            if same_downstream || recorded.path == operation.path {
                let away = http.request.body.len().abs_diff(asked.request.body.len());
                let rank = (!same_downstream, !same_operation, steps_apart(&recorded.path, &operation.path), away);
                alike.push((rank, order, number, *scope, exchange, &http.request));
            }
        }
    }
    let known = |same_operation: bool| {
        reached && alike.iter().any(|((other, changed, ..), ..)| !other && (!same_operation || !changed))
    };
    let reason = match () {
        () if exhausted => MissReason::AllUsed,
        () if known(true) => MissReason::DifferentRequest,
        () if known(false) => MissReason::UnknownOperation,
        () => MissReason::UnknownDestination,
    };
    alike.sort_by_key(|(rank, order, number, ..)| (*rank, *order, *number));
    alike.truncate(MOST_COMPARED);
    let mut candidates: Vec<_> = alike
        .into_iter()
        .map(|((other, changed, ..), order, number, scope, exchange, request)| {
            let mut differences = Vec::new();
            differences.extend(downstream_difference(reached, exchange, asked));
            differences.extend(diff::requests(request, asked.request, &Lens::exact()));
            let rank = (other, changed, differences.len(), order, number);
            let same_operation = reached && !other && !changed;
            (rank, Candidate { scope, exchange: number, same_operation, differences })
        })
        .collect();
    candidates.sort_by_key(|(rank, _)| *rank);
    (reason, candidates.into_iter().map(|(_, candidate)| candidate).collect())
}

/// What is told of the candidates.
pub(crate) fn nearest(candidates: Vec<Candidate>, id: impl Fn(HitScope) -> Option<CassetteId>) -> Vec<NearMiss> {
    let told = candidates.into_iter().take(MOST_TOLD);
    told.filter_map(|Candidate { scope, exchange, differences, .. }| {
        Some(NearMiss { cassette: id(scope)?, exchange, differences })
    })
    .collect()
}

/// How the downstream of a recorded exchange differs from the one that was asked.
fn downstream_difference(reached: bool, exchange: &Exchange, asked: &Asked<'_>) -> Option<Difference> {
    let told = |name: &str, address: &Address, tls: bool| {
        let address = address.inet().map_or_else(|| address.to_string(), |inet| canonical(inet).to_string());
        format!("{name} at {address}{}", if tls { " with TLS" } else { "" })
    };
    (!reached || !asked.is_for(exchange)).then(|| Difference {
        path: "downstream".to_owned(),
        kind: Kind::Changed,
        expected: Some(told(
            exchange.downstream.as_deref().unwrap_or_default(),
            &exchange.connection.peer,
            exchange.connection.tls,
        )),
        actual: Some(told(&asked.name, &asked.destination.into(), asked.tls)),
        noise: None,
    })
}

/// In how many segments two paths differ.
fn steps_apart(a: &str, b: &str) -> usize {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    let mut apart = 0;
    loop {
        match (a.next(), b.next()) {
            (None, None) => return apart,
            (a, b) => apart += usize::from(a != b),
        }
    }
}

#[cfg(test)]
mod tests;
