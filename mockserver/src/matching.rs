//! Which recorded exchange answers a request. Pure: no I/O, no clock, no state of its own.
//!
//! Gates that nothing relaxes: the protocol, the downstream (logical name, port, with or without TLS, and an address that the
//! name had in the recordings), method and path. Behind them stands a ladder ([`Rung`]): a recorded request that says
//! the same ([`regress_cassettes::diff::requests`] is empty), one that does but for what rules let pass, or one that does
//! once what the service made anew is bound as well ([`crate::bound`]). A request of which nobody saw for which database it was answers
//! one for any, on no rung above that of noise, where nothing recorded for its own does. Each is played once, in the order recorded, the entry's before the ambient ones; ambient
//! ones may be asked for again and then the last of them answers, those of an entry as [`Reuse`] has it. There is no
//! further way: what is merely like a recorded request is a miss that names it.

mod compared;
#[cfg(test)]
mod drawn;
mod explain;
#[cfg(test)]
mod near_identical;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unplaced;

use std::{borrow::Cow, collections::HashMap, net::SocketAddr};

use bytes::Bytes;
use regress_cassettes::{
    Content, Ended, Exchange, HttpExchange,
    diff::{self, Applied, Difference, Drawn, Rules, View},
    downstream_name,
};
use regress_protocols::{Request, Value, http1::Message, http2, wire::Protocol};
use sha2::{Digest, Sha256};

pub(crate) use self::{
    compared::Against,
    explain::{Candidate, explain, nearest},
};

use crate::{
    bound::{self, Bindings, Bound, Drawing},
    journal::{HitScope, Rung},
    library::{Library, Shelf, canonical},
};

/// How many recorded requests that are alike but for what was made anew are tried for one that came.
const MOST_TRIED: usize = 256;

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
    /// The key of a request to the downstream with that name and port, of whose rules only the schemas count.
    pub(crate) fn of(rules: &Rules, name: &str, port: u16, tls: bool, request: Request<'_>) -> Key {
        Key::new(name, port, tls, request, &diff::canonical_request(request, &rules.schemas().of_request(request)))
    }

    /// The key on that rung: without what rules let pass, and on the lowest without what may have been made anew, by its
    /// form or by a rule.
    pub(crate) fn on(rung: Rung, rules: &Applied, name: &str, port: u16, tls: bool, request: Request<'_>) -> Key {
        let rules = if rung == Rung::Bound { rules.clone() } else { rules.without_drawn() };
        let view = View::of_request(request, &rules);
        let mut masked = view.masked(&rules);
        if rung == Rung::Bound {
            masked.classed(&bound::class);
        }
        Key::new(name, port, tls, request, &masked.canonical())
    }

    fn new(name: &str, port: u16, tls: bool, request: Request<'_>, canonical: &[u8]) -> Key {
        let mut hash = Sha256::new();
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update(port.to_be_bytes());
        hash.update([u8::from(tls)]);
        hash.update(request.protocol());
        hash.update([0]);
        hash.update(canonical);
        Key(hash.finalize().into())
    }
}

/// A request that came, with what the gates look at.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub request: Request<'a>,
    pub destination: SocketAddr,
    pub tls: bool,
    /// The logical name of the downstream.
    pub name: String,
    /// When it came, in microseconds since 1970.
    pub now: i64,
    exact: Key,
}

impl<'a> Asked<'a> {
    /// A request that came for `destination`.
    pub(crate) fn new(
        rules: &Rules,
        request: impl Into<Request<'a>>,
        destination: SocketAddr,
        tls: bool,
        now: i64,
    ) -> Asked<'a> {
        let (request, destination) = (request.into(), canonical(destination));
        let name = downstream_name(host(request).as_deref(), None, destination, tls);
        Asked::of(rules, name, request, destination, tls, now)
    }

    /// A request that came for `destination`, under each of these names of downstreams that it may be meant for, unless it names one itself.
    pub(crate) fn under(
        names: Vec<String>,
        rules: &Rules,
        request: Request<'a>,
        destination: SocketAddr,
        tls: bool,
        now: i64,
    ) -> Vec<Asked<'a>> {
        if names.is_empty() || host(request).is_some_and(|host| !host.trim().is_empty()) {
            return vec![Asked::new(rules, request, destination, tls, now)];
        }
        let destination = canonical(destination);
        names.into_iter().map(|name| Asked::of(rules, name, request, destination, tls, now)).collect()
    }

    fn of(
        rules: &Rules,
        name: String,
        request: Request<'a>,
        destination: SocketAddr,
        tls: bool,
        now: i64,
    ) -> Asked<'a> {
        let exact = Key::of(rules, &name, destination.port(), tls, request);
        Asked { request, destination, tls, name, now, exact }
    }

    /// What was recorded of it where nobody saw which database the connection was for.
    fn unplaced(&self) -> Option<(Protocol, Value)> {
        let Request::Wire(protocol, value) = self.request else { return None };
        Some((protocol, protocol.unplaced(value)?))
    }

    /// Whether it says what a request to the same downstream said.
    pub(crate) fn is_exactly(&self, recorded: &Message, rules: &Rules) -> bool {
        Key::of(rules, &self.name, self.destination.port(), self.tls, recorded.into()) == self.exact
    }

    /// Whether an exchange was with this downstream, its address aside.
    fn is_for(&self, exchange: &Exchange) -> bool {
        exchange.downstream.as_deref() == Some(self.name.as_str())
            && exchange.connection.peer.inet().is_some_and(|peer| peer.port() == self.destination.port())
            && exchange.connection.tls == self.tls
    }
}

/// What the `Host` field of a request says.
pub(crate) fn host(request: Request<'_>) -> Option<Cow<'_, str>> {
    request.http().and_then(|message| message.header_text("host"))
}

/// Which exchanges of one cassette were played, and what the service made anew meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// How many of the exchanges with a key need not be looked at again, as they were played; and how often they were
    /// played beyond their number.
    seen: HashMap<(Rung, Key), (usize, usize)>,
    played: Vec<bool>,
    lent: Vec<bool>,
    /// How often a conversation was played.
    times: HashMap<usize, usize>,
    /// Exchanges with a request, and conversations, that were neither played nor lent.
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
            times: HashMap::new(),
            left: shelf.index().playable,
            bindings: Bindings::default(),
        }
    }

    /// Takes note that an exchange was played because it was asked for.
    fn play(&mut self, number: usize, is_asked: bool) {
        if is_asked && !self.played[number] && !self.lent[number] {
            self.left -= 1;
        }
        self.played[number] = true;
    }

    /// Takes note that a conversation was played.
    pub(crate) fn play_turns(&mut self, number: usize) {
        self.play(number, true);
        *self.times.entry(number).or_default() += 1;
    }

    pub(crate) fn is_played(&self, number: usize) -> bool {
        self.played[number]
    }

    /// How often a conversation was played.
    pub(crate) fn times(&self, number: usize) -> usize {
        self.times.get(&number).copied().unwrap_or(0)
    }

    /// Takes back that an exchange was played.
    pub(crate) fn take_back(&mut self, number: usize) {
        if self.played[number] && !self.lent[number] {
            self.left += 1;
        }
        self.played[number] = false;
    }

    /// Takes note that an exchange answers something else than it did; false when it is used already.
    pub(crate) fn lend(&mut self, number: usize) -> bool {
        let free = !self.played[number] && !self.lent[number];
        if free {
            self.lent[number] = true;
            self.left -= 1;
        }
        free
    }

    /// Whether every exchange with a request, and every conversation, was played or lent.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Exchanges that were not played. Connections that were never established are left out: whether they were tried
    /// again cannot be seen; and what a server said unasked.
    pub(crate) fn unused(&self, shelf: &Shelf) -> Vec<usize> {
        let is_seen = |number: &usize| match &shelf.cassette.downstream[*number] {
            Exchange { content: Content::Nothing, .. } => false,
            exchange => exchange.wire().is_none() || exchange.asked().is_some(),
        };
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

/// What counts of a request besides its body.
fn canonical_head(request: &Message) -> Vec<u8> {
    let head = http2::with_body(Message { body: Bytes::new(), ..request.clone() }, Bytes::new(), &[], None, true);
    diff::canonical_request(&head, &Applied::none())
}

/// What a cassette has for the beginning of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// The exchange with this index, now used.
    Of(usize),
    /// Nothing can be said before more of it has come.
    Open,
    /// A request with this head was answered before it was over, and none that was recorded goes on like this.
    Deviates,
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
        let claim = self.claim_as(asked);
        if claim != Claim::Unknown || self.policy.max_rung < Rung::Noise {
            return claim;
        }
        let Some((protocol, unplaced)) = asked.unplaced() else { return claim };
        let request = Request::Wire(protocol, &unplaced);
        let Asked { destination, tls, now, .. } = *asked;
        let asked = Asked::of(self.library.rules(), asked.name.clone(), request, destination, tls, now);
        match self.claim_as(&asked) {
            Claim::Exchange(claimed) => Claim::Exchange(Claimed { rung: claimed.rung.max(Rung::Noise), ..claimed }),
            other => other,
        }
    }

    fn claim_as(&mut self, asked: &Asked<'_>) -> Claim {
        let exact = self.shelf.index().exact.get(&asked.exact).map_or(&[][..], |numbers| numbers);
        let mut unplayed = self.usage.unplayed(Rung::Exact, asked.exact, exact);
        let (unused, runner_up) = (unplayed.next(), unplayed.next());
        drop(unplayed);
        let again = unused.is_none();
        let reuse = if self.scope == HitScope::Ambient { Reuse::Last } else { self.policy.reuse };
        let number = match unused {
            None if !exact.is_empty() => self.usage.again(Rung::Exact, asked.exact, exact, reuse),
            unused => unused,
        };
        if let Some(number) = number
            && let Some(fresh) = self.says_again(asked, again)
        {
            let bound = self.bind(fresh, again);
            self.usage.play(number, true);
            return Claim::Exchange(Claimed { number, rung: Rung::Exact, runner_up, again, bound });
        }
        let rules = self.shelf.rules_for(&asked.name, asked.request);
        let most = self.policy.max_rung;
        let rungs = [Rung::Noise, Rung::Bound].into_iter().filter(|rung| *rung <= most);
        for rung in rungs.filter(|rung| *rung != Rung::Noise || !rules.is_empty()) {
            if let Some(claimed) = self.claim_on(rung, &rules, asked, reuse) {
                return Claim::Exchange(claimed);
            }
        }
        if exact.is_empty() || !again { Claim::Unknown } else { Claim::Exhausted }
    }

    /// What is bound by a request that says recorded values again where they are drawn anew: each stands for itself.
    /// `None` where one stands for another. Where no rule is for such values nothing is looked at.
    fn says_again(&self, asked: &Asked<'_>, again: bool) -> Option<Bindings> {
        if !self.library.rules().draw() {
            return Some(Bindings::default());
        }
        let rules = self.shelf.rules_for(&asked.name, asked.request);
        if !rules.draw() {
            return Some(Bindings::default());
        }
        let nothing = Bindings::default();
        let drawing = Drawing::new(self.before(again, &nothing));
        let view = View::of_request(asked.request, &rules);
        let is_again = view.drawn(&rules).into_iter().all(|said| drawing.stands(said, said));
        is_again.then(|| drawing.into_fresh())
    }

    /// What is bound by a request that was answered by how it began and says what was recorded; `None` where a value stands
    /// for another.
    pub(crate) fn conclude(mut self, asked: &Asked<'_>) -> Option<Vec<Bound>> {
        let fresh = self.says_again(asked, false)?;
        Some(self.bind(fresh, false))
    }

    /// Whether a request makes its own values each time: it comes `again` and again for no entry.
    fn is_anew(&self, again: bool) -> bool {
        again && self.scope == HitScope::Ambient
    }

    /// What was bound before a request that counts for it.
    fn before<'b>(&'b self, again: bool, nothing: &'b Bindings) -> [&'b Bindings; 2] {
        if self.is_anew(again) { [nothing, nothing] } else { [&self.usage.bindings, self.ambient] }
    }

    /// Takes what a request binds.
    fn bind(&mut self, fresh: Bindings, again: bool) -> Vec<Bound> {
        let fresh = if self.is_anew(again) { fresh.without_drawn() } else { fresh };
        self.usage.bindings.bind(fresh, self.library.owners(), &self.shelf.cassette.id)
    }

    /// Takes the exchange whose response began before its request was over, for a request that begins as that one did. Of
    /// several that go on in the same way it is the first; where it is not clear how the request goes on, none.
    pub(crate) fn begin(self, asked: &Asked<'_>) -> Beginning {
        let Some(request) = asked.request.http() else { return Beginning::Open };
        let index = self.shelf.index();
        if index.interleaved.is_empty() || !self.library.reaches(&asked.name, asked.destination.ip()) {
            return Beginning::Open;
        }
        let recorded = |number: usize| {
            let exchange = &self.shelf.cassette.downstream[number];
            exchange.http().filter(|_| asked.is_for(exchange))
        };
        let goes_on = |http: &HttpExchange| http.request.body.starts_with(&request.body);
        let head = canonical_head(request);
        let alike = |number: &usize| recorded(*number).is_some_and(|http| canonical_head(&http.request) == head);
        let fits = |number: &usize| {
            let answers = |http: &HttpExchange| {
                http.interleaved.first().is_some_and(|(after, _)| *after <= request.body.len() as u64)
            };
            recorded(*number).is_some_and(|http| answers(http) && goes_on(http))
        };
        let alike: Vec<usize> = index.interleaved.iter().copied().filter(alike).collect();
        let fitting: Vec<usize> = alike.iter().copied().filter(fits).collect();
        let again = fitting.last().filter(|_| self.scope == HitScope::Ambient).copied();
        let Some(number) = fitting.iter().copied().find(|number| !self.usage.played[*number]).or(again) else {
            let operation = asked.request.operation();
            let may_go_on = |http: &HttpExchange| {
                goes_on(http) && http.is_http2() && Request::Http(&http.request).operation() == operation
            };
            let numbers = 0..self.shelf.cassette.downstream.len();
            let deviates = !alike.is_empty() && !numbers.filter_map(recorded).any(may_go_on);
            return if deviates { Beginning::Deviates } else { Beginning::Open };
        };
        let same = |other: usize| recorded(other).map(|http| &http.request.body);
        if fitting.iter().any(|other| !self.usage.played[*other] && same(*other) != same(number)) {
            return Beginning::Open;
        }
        self.usage.play(number, true);
        Beginning::Of(number)
    }

    /// Takes the first exchange that fits on a rung below the highest.
    fn claim_on(&mut self, rung: Rung, rules: &Applied, asked: &Asked<'_>, reuse: Reuse) -> Option<Claimed> {
        let key = Key::on(rung, rules, &asked.name, asked.destination.port(), asked.tls, asked.request);
        let recorded = self.shelf.on(rung).get(&key)?;
        let free: Vec<usize> = self.usage.unplayed(rung, key, recorded).take(MOST_TRIED).collect();
        let again = free.is_empty();
        let tried = if again { self.usage.again(rung, key, recorded, reuse).into_iter().collect() } else { free };
        // Where values that are drawn anew are not bound yet they are those that were recorded.
        let said_again = if rung < Rung::Bound { self.says_again(asked, again)? } else { Bindings::default() };
        let nothing = Bindings::default();
        let before = self.before(again, &nothing);
        let against = Against { library: self.library, shelf: self.shelf, before, rung };
        let mut fitting = tried.iter().filter_map(|number| {
            // Two requests with one key can still say different things.
            let (differences, fresh) = against.differences(*number, asked)?;
            (!differences.iter().any(Difference::counts)).then_some((*number, fresh))
        });
        let (number, mut fresh) = fitting.next()?;
        let runner_up = fitting.next().map(|(number, _)| number);
        drop(fitting);
        fresh.extend(said_again);
        let bound = self.bind(fresh, again);
        self.usage.play(number, true);
        Some(Claimed { number, rung, runner_up, again, bound })
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
    // Where it ended otherwise there was a connection, and what was said on it is not known.
    let is_told = |exchange: &Exchange| {
        exchange.content != Content::Nothing || !matches!(exchange.ended, Ended::Ok | Ended::Closed | Ended::Unfinished)
    };
    let is_left = |(number, exchange): &(usize, &Exchange)| !usage.played[*number] && !exchange.is_silent();
    let mut left = shelf.with_peer(destination).filter(is_left);
    let (number, next) = left.find(|(_, exchange)| is_told(exchange))?;
    if next.content != Content::Nothing {
        return None;
    }
    drop(left);
    let unreached = if next.ended == Ended::Timeout { Unreached::TimedOut(number) } else { Unreached::Refused(number) };
    usage.play(number, false);
    Some(unreached)
}
