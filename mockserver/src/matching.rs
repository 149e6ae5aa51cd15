//! Which recorded exchange answers a request. Pure: no I/O, no clock, no state of its own.
//!
//! Gates that nothing relaxes: HTTP/1, the downstream (logical name, port, with or without TLS, and an address that the
//! name had in the recordings), method and path. Behind them stands a ladder ([`Rung`]): a recorded request that says
//! the same ([`regress_cassettes::diff::requests`] is empty), or one that says the same once what the service made anew
//! is bound ([`crate::bound`]). Each is played once, in the order recorded, the entry's before the ambient ones; ambient
//! ones may be asked for again and then the last of them answers, those of an entry as [`Reuse`] has it. There is no
//! further way: what is merely like a recorded request is a miss that names it.

use std::{cell::OnceCell, collections::HashMap, net::SocketAddr};

use regress_cassettes::{
    Address, CassetteId, Content, Exchange,
    diff::{self, Applied, Difference, Kind, Lens},
    downstream_name,
};
use regress_protocols::http1::{Message, Operation};
use sha2::{Digest, Sha256};

use crate::{
    bound::{self, Attempt, Bindings, Bound, Moment},
    journal::{HitScope, MissReason, NearMiss, Rung},
    library::{Library, Shelf, canonical},
};

/// How many recorded requests are compared with one that missed.
const MOST_COMPARED: usize = 32;

/// How many recorded requests that are alike but for what was made anew are tried for one that came.
const MOST_TRIED: usize = 256;

/// How many of them are told.
const MOST_TOLD: usize = 3;

/// How far a request may be from the recorded one that answers it, and how often that may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The weakest rung that counts.
    pub max_rung: Rung,
    /// What answers a request that an entry makes more often than recorded.
    pub reuse: Reuse,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { max_rung: Rung::Bound, reuse: Reuse::Strict }
    }
}

/// What answers a request that an entry makes more often than recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reuse {
    /// Nothing.
    #[default]
    Strict,
    /// The last recorded answer.
    Last,
    /// The recorded answers from the first on.
    Cycle,
}

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
    /// When it came, in microseconds since 1970.
    pub now: i64,
    exact: Key,
    shape: OnceCell<Key>,
}

impl<'a> Asked<'a> {
    /// A request that came for `destination`.
    pub(crate) fn new(request: &'a Message, destination: SocketAddr, tls: bool, now: i64) -> Asked<'a> {
        let destination = canonical(destination);
        let name = downstream_name(request.header_text("host").as_deref(), destination, tls);
        let exact = Key::of(&name, destination.port(), tls, request);
        Asked { request, destination, tls, name, now, exact, shape: OnceCell::new() }
    }

    fn shape(&self) -> &Key {
        let port = self.destination.port();
        self.shape.get_or_init(|| Key::of(&self.name, port, self.tls, &bound::shape(self.request)))
    }

    /// Whether an exchange was with this downstream, its address aside.
    fn is_for(&self, exchange: &Exchange) -> bool {
        exchange.downstream.as_deref() == Some(self.name.as_str())
            && exchange.connection.peer.inet().is_some_and(|peer| peer.port() == self.destination.port())
            && exchange.connection.tls == self.tls
    }
}

/// Which exchanges of one cassette were played, and what the service made anew meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// How many of the exchanges with a key need not be looked at again, as they were played; and how often they were
    /// played beyond their number.
    seen: HashMap<(Rung, Key), (usize, usize)>,
    played: Vec<bool>,
    lent: Vec<bool>,
    /// HTTP/1 exchanges that were neither played nor lent.
    left: usize,
    pub bindings: Bindings,
}

impl Usage {
    /// Nothing of `shelf` was played.
    pub(crate) fn new(shelf: &Shelf) -> Usage {
        let count = shelf.cassette.downstream.len();
        Usage {
            seen: HashMap::new(),
            played: vec![false; count],
            lent: vec![false; count],
            left: shelf.index().playable,
            bindings: Bindings::default(),
        }
    }

    /// Takes note that an exchange was played because it was asked for.
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

    /// Those of `recorded` that were not played, in order. What lies before the first of them is never seen again.
    fn unplayed<'r>(
        &mut self,
        rung: Rung,
        key: Key,
        recorded: &'r [usize],
    ) -> impl Iterator<Item = usize> + use<'_, 'r> {
        let mut first = 0;
        if recorded.len() > 1 {
            let (seen, _) = self.seen.entry((rung, key)).or_default();
            *seen += recorded[*seen..].iter().take_while(|number| self.played[**number]).count();
            first = *seen;
        }
        recorded[first..].iter().copied().filter(|number| !self.played[*number])
    }

    /// The one of `recorded`, which were all played, that is played again.
    fn again(&mut self, rung: Rung, key: Key, recorded: &[usize], reuse: Reuse) -> Option<usize> {
        match reuse {
            Reuse::Strict => None,
            Reuse::Last => recorded.last().copied(),
            Reuse::Cycle => {
                let (_, beyond) = self.seen.entry((rung, key)).or_default();
                *beyond += 1;
                Some(recorded[(*beyond - 1) % recorded.len()])
            }
        }
    }
}

/// What a cassette has for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// An exchange, now used.
    Exchange(Claimed),
    /// It was asked as often as recorded already.
    Exhausted,
    /// Nothing.
    Unknown,
}

/// The exchange that answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// Its index.
    pub number: usize,
    pub rung: Rung,
    /// The one that would have answered otherwise: the next that fits as well.
    pub runner_up: Option<usize>,
    /// Whether it was played before.
    pub again: bool,
    /// What this request bound.
    pub bound: Vec<Bound>,
}

/// One cassette that is played, and what it is played with.
pub(crate) struct Stage<'a> {
    pub library: &'a Library,
    pub shelf: &'a Shelf,
    pub scope: HitScope,
    pub usage: &'a mut Usage,
    /// What was bound in the ambient scope, when this is the entry's.
    pub ambient: &'a Bindings,
    pub policy: Policy,
}

impl Stage<'_> {
    /// Takes the exchange that answers a request. One look-up, whatever the size of the cassette, where the request
    /// says what was recorded.
    pub(crate) fn claim(mut self, asked: &Asked<'_>) -> Claim {
        if !self.library.reaches(&asked.name, asked.destination.ip()) {
            return Claim::Unknown;
        }
        let exact = self.shelf.index().exact.get(&asked.exact).map_or(&[][..], |numbers| numbers);
        let mut unplayed = self.usage.unplayed(Rung::Exact, asked.exact, exact);
        if let (Some(number), runner_up) = (unplayed.next(), unplayed.next()) {
            drop(unplayed);
            self.usage.play(number, true);
            return Claim::Exchange(Claimed { number, rung: Rung::Exact, runner_up, again: false, bound: Vec::new() });
        }
        drop(unplayed);
        let reuse = if self.scope == HitScope::Ambient { Reuse::Last } else { self.policy.reuse };
        if !exact.is_empty()
            && let Some(number) = self.usage.again(Rung::Exact, asked.exact, exact, reuse)
        {
            let claimed = Claimed { number, rung: Rung::Exact, runner_up: None, again: true, bound: Vec::new() };
            return Claim::Exchange(claimed);
        }
        match self.bound(asked, reuse) {
            Some(claimed) => Claim::Exchange(claimed),
            None if exact.is_empty() => Claim::Unknown,
            None => Claim::Exhausted,
        }
    }

    /// Takes the first exchange that says the same once what was made anew is bound.
    fn bound(&mut self, asked: &Asked<'_>, reuse: Reuse) -> Option<Claimed> {
        if self.policy.max_rung < Rung::Bound {
            return None;
        }
        let key = *asked.shape();
        let recorded = self.shelf.shapes().get(&key)?;
        let free: Vec<usize> = self.usage.unplayed(Rung::Bound, key, recorded).take(MOST_TRIED).collect();
        let again = free.is_empty();
        let tried =
            if again { self.usage.again(Rung::Bound, key, recorded, reuse).into_iter().collect() } else { free };
        let mut fitting = tried.iter().filter_map(|number| Some((*number, self.attempt(*number, asked)?)));
        let (number, fresh) = fitting.next()?;
        let runner_up = fitting.next().map(|(number, _)| number);
        drop(fitting);
        let bound = self.usage.bindings.bind(fresh, self.library.owners(), &self.shelf.cassette.id);
        self.usage.play(number, true);
        Some(Claimed { number, rung: Rung::Bound, runner_up, again, bound })
    }

    /// What would be bound if the exchange answered.
    fn attempt(&self, number: usize, asked: &Asked<'_>) -> Option<Bindings> {
        let exchange = &self.shelf.cassette.downstream[number];
        let mut attempt = Attempt {
            before: [&self.usage.bindings, self.ambient],
            given: [Some(self.shelf), self.library.ambient()].map(|shelf| shelf.map(Shelf::given)),
            owners: self.library.owners(),
            cassette: &self.shelf.cassette.id,
            at: exchange.at,
            moment: Moment { recorded: self.shelf.began()?.saturating_add(exchange.at), now: asked.now },
            fresh: Bindings::default(),
        };
        let differences = diff::requests(&exchange.http()?.request, asked.request);
        let bound = differences.iter().all(|found| match (&found.expected, &found.actual) {
            (Some(expected), Some(actual)) => attempt.same(expected, actual),
            _ => false,
        });
        bound.then_some(attempt.fresh)
    }
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
