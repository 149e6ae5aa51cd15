//! The mock: what is played, to whom, and the journal of it.

mod following;
mod silence;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use regress_cassettes::{Cassette, CassetteId, Content, Exchange, downstream_name, redact::Beside};
use regress_protocols::{
    Request, Value,
    http1::Message,
    wire::{Protocol, Server},
};
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver, watch},
    task::JoinSet,
    time::timeout,
};

pub(crate) use self::silence::Silence;
use self::silence::Silent;
use crate::{
    Error,
    dns::Names,
    intercept::{self, CatchUp, Intercepted},
    journal::Journal,
    library::{Library, Shelf, canonical},
    matching::{self, Against, Asked, Beginning, Candidate, Claim, Claimed, Stage, Unreached, Usage, explain, nearest},
    miss, playback,
    sandbox::{DNS_PORT, Listeners, Step},
    survey,
    tls::Authority,
};
pub use crate::{
    bound::{Bindings, Bound, Drawing, is_same_operation},
    journal::{Attempted, Call, HitScope, Match, MissReason, NearMiss, PREFIX, Rung, Scope, Told},
    matching::{Policy, Reuse},
};

/// What is done with a request that nothing recorded answers. The journal calls it a miss in either mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// It is answered `502 Bad Gateway` with the reason, in other protocols than HTTP by an error that says it.
    #[default]
    Strict,
    /// It is answered by the nearest recorded exchange of the same downstream, method and path that answered nothing
    /// yet, so that one can see what the service goes on to do. Without one it is answered as in `Strict`.
    Propose,
}

/// How many turns of the runtime's loop pass until what has arrived is judged: it is found, accepted, read.
const TURNS: usize = 3;

/// Plays recorded exchanges to one service. Clones are handles to the same mock; with the last one it stops serving.
#[derive(Clone, Debug)]
pub struct Mock {
    pub(crate) shared: Arc<Shared>,
    /// Tells what was spawned to end: by saying `true`, or by going away.
    open: Arc<watch::Sender<bool>>,
}

impl Mock {
    /// A mock in the ambient scope that serves nobody yet.
    pub fn new(library: Arc<Library>, mode: Mode, policy: Policy) -> Mock {
        let ambient = library.ambient().map(|shelf| Usage::new(shelf)).unwrap_or_default();
        let beside = Arc::new(library.beside(None));
        let state = State {
            scope: Scope::Ambient,
            beside,
            shelf: None,
            entry: Usage::default(),
            ambient,
            resolved: HashMap::new(),
            held: HashSet::new(),
            journal: Journal::default(),
            silent: Silent::default(),
            served: Vec::new(),
        };
        let shared = Shared {
            library,
            mode,
            policy,
            state: Mutex::new(state),
            in_flight: AtomicUsize::new(0),
            changed: Notify::new(),
        };
        Mock { shared: Arc::new(shared), open: Arc::new(watch::Sender::new(false)) }
    }

    /// Serves everything that arrives at `listeners`, in the background, until the mock is closed.
    ///
    /// # Errors
    /// When the runtime cannot take the listeners.
    pub async fn serve(&self, listeners: Listeners, authority: Arc<Authority>) -> Result<(), Error> {
        let names = Names::Recorded(Arc::new(self.shared.library.names()));
        let (interception, seen) =
            intercept::spawn(listeners, names).map_err(|source| Error::Sandbox { step: Step::Listeners, source })?;
        self.shared.state().served.push(interception.catch_up());
        let serving = self.serve_seen(seen, authority);
        tokio::spawn(async move {
            serving.await;
            drop(interception);
        });
        Ok(())
    }

    /// Serves what is seen until nothing more can be and all connections are done, or the mock is closed.
    pub(crate) fn serve_seen(
        &self,
        mut seen: UnboundedReceiver<Intercepted>,
        authority: Arc<Authority>,
    ) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.shared);
        let mut closed = self.open.subscribe();
        async move {
            // Dropped at the end, which ends every connection.
            let mut connections = JoinSet::new();
            let mut more = true;
            while more || !connections.is_empty() {
                tokio::select! {
                    _ = closed.wait_for(|closed| *closed) => return,
                    what = seen.recv(), if more => match what {
                        Some(Intercepted::Connection(arrival)) => {
                            let (shared, authority) = (Arc::clone(&shared), Arc::clone(&authority));
                            let silence = Shared::arrives(&shared, arrival.destination);
                            connections.spawn(async move {
                                playback::serve(arrival, silence, &shared, &authority).await;
                            });
                        }
                        Some(Intercepted::Datagram(attempt)) => shared.datagram(attempt.destination),
                        Some(Intercepted::Query(query)) if query.is_unknown() => shared.unknown_name(query.name),
                        Some(Intercepted::Query(query)) => shared.resolved(query.name),
                        Some(Intercepted::Mark(_)) => {}
                        None => more = false,
                    },
                    Some(ended) = connections.join_next() => if let Err(error) = ended {
                        tracing::error!(%error, "a played connection broke down");
                    },
                }
            }
        }
    }

    /// Ends all connections and takes no more.
    pub fn close(&self) {
        self.open.send_replace(true);
    }

    /// From now on calls belong to the entry of `cassette`, and are answered from it. Entering an entry again begins it
    /// anew; exchanges of the ambient cassette stay used.
    pub fn enter(&self, cassette: Arc<Cassette>) {
        let scope = Scope::Entry(cassette.id.clone());
        let beside = Arc::new(self.shared.library.beside(Some(&cassette)));
        let shelf = Shelf::new(cassette, self.shared.library.rules().clone());
        let usage = Usage::new(&shelf);
        self.shared.state().enter(scope, Some(Arc::new(shelf)), usage, beside);
    }

    /// From now on calls belong to no entry.
    pub fn leave(&self) {
        let beside = Arc::new(self.shared.library.beside(None));
        self.shared.state().enter(Scope::Ambient, None, Usage::default(), beside);
    }

    /// The calls since this was last asked, in the order in which they were judged.
    pub fn take_journal(&self) -> Vec<Call> {
        self.shared.state().journal.take()
    }

    /// Waits until every connection that the service had established by now is known here.
    pub async fn catch_up(&self) {
        let served = self.shared.state().served.clone();
        for one in &served {
            one.wait().await;
        }
    }

    /// What the service made anew since the scope was entered, and in the ambient scope.
    pub fn bindings(&self) -> Bindings {
        let state = self.shared.state();
        let mut bindings = state.ambient.bindings.clone();
        bindings.extend(state.entry.bindings.clone());
        let ambient = self.shared.library.ambient();
        state.shelf.iter().chain(ambient).for_each(|shelf| bindings.was_given(shelf.given()));
        bindings
    }

    /// What takes secrets out of what the service says in the present scope.
    pub fn beside(&self) -> Arc<Beside> {
        Arc::clone(&self.shared.state().beside)
    }

    /// Indexes into the downstream exchanges of the cassette that were not asked for since it was entered (ambient:
    /// since the mock began). Connections that were never established in the recording are left out, as the sandbox
    /// refuses them unseen. Nothing of a cassette that is not the one entered.
    pub fn unused(&self, id: &CassetteId) -> Vec<usize> {
        let state = self.shared.state();
        match (&state.shelf, self.shared.library.ambient()) {
            (Some(shelf), _) if shelf.cassette.id == *id => state.entry.unused(shelf),
            (_, Some(shelf)) if shelf.cassette.id == *id => state.ambient.unused(shelf),
            _ => Vec::new(),
        }
    }

    /// Waits until every exchange with a request of the entered cassette was played and no call is in flight, or until
    /// `at_most` is over. A cassette that is not the one entered only waits for calls in flight. What arrived before is
    /// seen first, where the mock serves on the thread that waits.
    pub async fn wait_quiet(&self, id: &CassetteId, at_most: Duration) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let quiet = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.shared.is_quiet(id) {
                    return;
                }
                changed.await;
            }
        };
        // Being over is no failure: what was not played is told by the journal and `unused`.
        let _ = timeout(at_most, quiet).await;
    }
}

/// What all connections of a mock share.
#[derive(Debug)]
pub(crate) struct Shared {
    library: Arc<Library>,
    mode: Mode,
    policy: Policy,
    state: Mutex<State>,
    in_flight: AtomicUsize,
    /// Told when an exchange was played or a call is no longer in flight.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    scope: Scope,
    /// Takes secrets out of what the service says.
    beside: Arc<Beside>,
    /// Of the entry that `scope` names, and what was used of it.
    shelf: Option<Arc<Shelf>>,
    entry: Usage,
    ambient: Usage,
    /// The name that was last resolved to an address.
    resolved: HashMap<IpAddr, String>,
    /// Conversations that a connection is having.
    held: HashSet<following::Held>,
    journal: Journal,
    silent: Silent,
    /// What is served.
    served: Vec<CatchUp>,
}

/// What is said to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// What was recorded.
    Recorded(Recorded),
    /// Why nothing was.
    Miss(String),
}

/// What is said to a request that is not over.
#[derive(Debug)]
pub(crate) enum Begin {
    /// What was recorded, as far as it was said by then.
    Recorded(HitScope, Recorded),
    /// Nothing yet.
    Open,
    /// Nothing: it cannot go on as anything that was recorded.
    Deviates,
}

/// An exchange of a cassette that somebody keeps.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    cassette: Arc<Cassette>,
    number: usize,
}

impl Recorded {
    /// The exchange.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.cassette.downstream[self.number]
    }
}

/// A request without its secrets.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Asking<'r> {
    Http(Cow<'r, Message>),
    Wire(Protocol, Cow<'r, Value>),
}

impl Asking<'_> {
    fn request(&self) -> Request<'_> {
        match self {
            Asking::Http(message) => Request::Http(message),
            Asking::Wire(protocol, value) => Request::Wire(*protocol, value),
        }
    }
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// What the client says.
    Client,
    /// The reset that stands for a refused connection.
    Reset,
    /// Silence that stands for a connection that was never established.
    Silence,
    /// Its end: the server of the recording spoke first, in no protocol that is read, and what it said is not known.
    End,
}

/// Where a connection went and how it came there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub destination: SocketAddr,
    pub tls: bool,
}

/// A call that is being received or answered, until this is dropped.
pub(crate) struct Flight<'s>(&'s Shared);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl Shared {
    /// A panic elsewhere leaves the state whole: every change to it is made by calls that do not panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_quiet(&self, id: &CassetteId) -> bool {
        let state = self.state();
        let done = state.scope != Scope::Entry(id.clone()) || state.entry.is_done();
        done && self.in_flight.load(Ordering::Acquire) == 0
    }

    /// Begins a call.
    pub(crate) fn flight(&self) -> Flight<'_> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Flight(self)
    }

    /// The cassettes that are played now, in the order they are asked.
    fn shelves(&self, state: &State) -> Vec<(HitScope, Arc<Shelf>)> {
        let entry = state.shelf.as_ref().map(|shelf| (HitScope::Entry, Arc::clone(shelf)));
        let ambient = self.library.ambient().map(|shelf| (HitScope::Ambient, Arc::clone(shelf)));
        entry.into_iter().chain(ambient).collect()
    }

    /// Decides how a connection to `destination` begins.
    pub(crate) fn opening(&self, destination: SocketAddr) -> Opening {
        let mut state = self.state();
        let shelves = self.shelves(&state);
        for (whose, shelf) in &shelves {
            let Some(unreached) = matching::claim_unreached(shelf, state.usage(*whose), destination) else { continue };
            let (exchange, opening) = match unreached {
                Unreached::Refused(exchange) => (exchange, Opening::Reset),
                Unreached::TimedOut(exchange) => (exchange, Opening::Silence),
            };
            let cassette = shelf.cassette.id.clone();
            let matched = Match::Hit {
                cassette,
                exchange,
                scope: *whose,
                rung: Rung::Exact,
                runner_up: None,
                again: false,
                bound: Vec::new(),
            };
            state.note(Place { destination, tls: false }, Attempted::Opaque(Bytes::new()), matched);
            return opening;
        }
        let place = Place { destination, tls: false };
        let key = (canonical(destination), false);
        let speaks_first = shelves.iter().any(|(_, shelf)| shelf.index().server_first.contains(&key));
        if speaks_first && self.candidates(&state, place).is_empty() {
            state.note(place, Attempted::Opaque(Bytes::new()), missed(MissReason::Opaque));
            return Opening::End;
        }
        Opening::Client
    }

    /// Who is played there, if that speaks a protocol other than HTTP: the protocol, and a server for one connection.
    pub(crate) fn speaker(&self, destination: SocketAddr) -> Option<(Protocol, Box<dyn Server>)> {
        let speaker = self.library.speaker(destination)?;
        Some((speaker.protocol, speaker.protocol.server(&speaker.handshakes)))
    }

    /// Whether HTTP/2 was spoken there.
    pub(crate) fn speaks_http2(&self, destination: SocketAddr) -> bool {
        self.library.speaks_http2(destination)
    }

    /// Takes note of something that is no request in a protocol that is read.
    pub(crate) fn unreadable(&self, place: Place, first: &[u8]) {
        let mut state = self.state();
        let reason = self.reason(&state, place);
        state.note(place, Attempted::Opaque(prefix(first)), missed(reason));
    }

    /// Takes note of bytes after a switch of protocols that are not the recorded ones.
    pub(crate) fn deviated(&self, place: Place, bytes: &[u8]) {
        self.state().note(place, Attempted::Opaque(prefix(bytes)), missed(MissReason::Opaque));
    }

    /// Takes note of a datagram.
    pub(crate) fn datagram(&self, destination: SocketAddr) {
        let matched = missed(MissReason::UnknownDestination);
        self.state().note(Place { destination, tls: false }, Attempted::Datagram, matched);
    }

    /// Takes note of a query for a name that nobody recorded.
    pub(crate) fn unknown_name(&self, name: String) {
        let mut state = self.state();
        let scope = state.scope.clone();
        state.journal.note(Call {
            scope,
            destination: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DNS_PORT),
            downstream: name.clone(),
            tls: false,
            what: Attempted::Name(name),
            matched: missed(MissReason::UnknownDestination),
            answered: None,
        });
    }

    /// Takes note of a name that was resolved to what was recorded of it.
    pub(crate) fn resolved(&self, name: String) {
        let mut state = self.state();
        for address in self.library.addresses(&name) {
            state.resolved.insert(address, name.clone());
        }
    }

    /// Under which names of downstreams a connection may have been made that does not say so itself: that which the service resolved
    /// last, else all that were recorded at this address.
    fn names_at(&self, state: &State, place: Place) -> Vec<String> {
        let peer = canonical(place.destination);
        let names: Vec<&str> = self.library.unnamed_at(peer, place.tls).collect();
        let resolved = state.resolved.get(&peer.ip());
        let last = resolved.and_then(|last| names.iter().find(|name| survey::host(name) == last));
        last.map_or_else(|| names.iter().map(|name| (*name).to_owned()).collect(), |last| vec![(*last).to_owned()])
    }

    /// Why something that is no request missed.
    fn reason(&self, state: &State, place: Place) -> MissReason {
        let shelves = self.shelves(state);
        let peer = canonical(place.destination);
        let mut there = shelves.iter().flat_map(|(_, shelf)| shelf.with_peer(peer)).peekable();
        let is_known = there.peek().is_some();
        if shelves.iter().any(|(_, shelf)| shelf.index().opaque.contains(&peer)) {
            MissReason::Opaque
        } else if there.any(|(_, exchange)| !exchange.is_silent()) {
            MissReason::OtherProtocol
        } else if is_known {
            MissReason::Opaque
        } else {
            MissReason::UnknownDestination
        }
    }

    /// What the service asks without its secrets: the recording has none either. Values that were bound stay.
    fn redacted<'r>(&self, place: Place, request: Request<'r>) -> Asking<'r> {
        let (beside, name, bindings) = {
            let state = self.state();
            let name = self.names_at(&state, place).into_iter().next();
            (Arc::clone(&state.beside), name, state.entry.bindings.clone())
        };
        let stays = |value: &str| bindings.is_bound(value);
        match request {
            Request::Http(message) => {
                let name = matching::host(request)
                    .map(|host| downstream_name(Some(&host), None, place.destination, place.tls))
                    .or(name);
                Asking::Http(beside.message(message, name.as_deref(), stays))
            }
            Request::Wire(protocol, value) => {
                Asking::Wire(protocol, beside.value(protocol, value, name.as_deref(), stays))
            }
        }
    }

    /// Decides what is said to a request, and takes note of it.
    pub(crate) fn judge<'r>(&self, place: Place, request: impl Into<Request<'r>>) -> Reply {
        let asking = self.redacted(place, request.into());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
        let mut exhausted = false;
        let (scope, shelves, mut asked) = {
            let mut state = self.state();
            let names = self.names_at(&state, place);
            let asked = Asked::under(names, self.library.rules(), asking.request(), place.destination, place.tls, now);
            let scope = state.scope.clone();
            let shelves = self.shelves(&state);
            let each = shelves.iter().flat_map(|shelf| asked.iter().map(move |asked| (shelf, asked)));
            for ((whose, shelf), asked) in each {
                let whose = *whose;
                match self.claim(&mut state, whose, shelf, asked) {
                    Claim::Exchange(Claimed { number, rung, runner_up, again, bound }) => {
                        let recorded = Recorded { cassette: Arc::clone(&shelf.cassette), number };
                        let cassette = shelf.cassette.id.clone();
                        let matched =
                            Match::Hit { cassette, exchange: number, scope: whose, rung, runner_up, again, bound };
                        state.journal.note(call(scope, asked, matched, None));
                        drop(state);
                        self.changed.notify_waiters();
                        return Reply::Recorded(recorded);
                    }
                    Claim::Exhausted => exhausted = true,
                    Claim::Unknown => {}
                }
            }
            (scope, shelves, asked)
        };
        self.miss(scope, &shelves, &asked.swap_remove(0), exhausted)
    }

    /// Whether any request may be answered before it is over, as far as is known now.
    pub(crate) fn may_begin(&self) -> bool {
        let state = self.state();
        self.shelves(&state).iter().any(|(_, shelf)| !shelf.index().interleaved.is_empty())
    }

    /// Decides by its beginning what is said to a request whose client may wait for that before it goes on. What comes of it
    /// is told by [`Shared::conclude`].
    pub(crate) fn begin(&self, place: Place, beginning: &Message) -> Begin {
        let asking = self.redacted(place, Request::Http(beginning));
        let Request::Http(beginning) = asking.request() else { return Begin::Open };
        let asked = Asked::new(self.library.rules(), beginning, place.destination, place.tls, 0);
        let mut deviates = false;
        let mut state = self.state();
        for (whose, shelf) in self.shelves(&state) {
            match self.stage(&mut state, whose, &shelf, |stage| stage.begin(&asked)) {
                Beginning::Of(number) => {
                    return Begin::Recorded(whose, Recorded { cassette: Arc::clone(&shelf.cassette), number });
                }
                Beginning::Open => {}
                Beginning::Deviates => deviates = true,
            }
        }
        if deviates { Begin::Deviates } else { Begin::Open }
    }

    /// Takes note of a request that was answered by how it began: whether it went on as recorded. If not, it is a miss.
    pub(crate) fn conclude(&self, place: Place, (whose, recorded): (HitScope, Recorded), request: &Message) -> bool {
        let asking = self.redacted(place, Request::Http(request));
        let asked = Asked::new(self.library.rules(), asking.request(), place.destination, place.tls, 0);
        let (scope, shelves) = {
            let mut state = self.state();
            let scope = state.scope.clone();
            let shelves = self.shelves(&state);
            let expected = recorded.exchange().http().map(|http| &http.request);
            let is_there = |shelf: &Arc<Shelf>| Arc::ptr_eq(&shelf.cassette, &recorded.cassette);
            let shelf =
                shelves.iter().find(|(found, shelf)| *found == whose && is_there(shelf)).map(|(_, shelf)| shelf);
            let bound = expected.filter(|expected| asked.is_exactly(expected, self.library.rules())).and_then(|_| {
                shelf.map_or(Some(Vec::new()), |shelf| {
                    self.stage(&mut state, whose, shelf, |stage| stage.conclude(&asked))
                })
            });
            if let Some(bound) = bound {
                let matched = Match::Hit {
                    cassette: recorded.cassette.id.clone(),
                    exchange: recorded.number,
                    scope: whose,
                    rung: Rung::Exact,
                    runner_up: None,
                    again: false,
                    bound,
                };
                state.journal.note(call(scope, &asked, matched, None));
                drop(state);
                self.changed.notify_waiters();
                return true;
            }
            if shelf.is_some() {
                state.usage(whose).take_back(recorded.number);
            }
            (scope, shelves)
        };
        drop(self.miss(scope, &shelves, &asked, false));
        false
    }

    fn claim(&self, state: &mut State, scope: HitScope, shelf: &Shelf, asked: &Asked<'_>) -> Claim {
        self.stage(state, scope, shelf, |stage| stage.claim(asked))
    }

    fn stage<T>(&self, state: &mut State, scope: HitScope, shelf: &Shelf, then: impl FnOnce(Stage<'_>) -> T) -> T {
        let nothing = Bindings::default();
        let (usage, ambient) = match scope {
            HitScope::Entry => (&mut state.entry, &state.ambient.bindings),
            HitScope::Ambient => (&mut state.ambient, &nothing),
        };
        then(Stage { library: &self.library, shelf, scope, usage, ambient, policy: self.policy })
    }

    /// The way of a request that nothing answers. The comparisons are made without holding the state.
    fn miss(&self, scope: Scope, shelves: &[(HitScope, Arc<Shelf>)], asked: &Asked<'_>, exhausted: bool) -> Reply {
        let (entry, ambient) = {
            let state = self.state();
            (state.entry.bindings.clone(), state.ambient.bindings.clone())
        };
        let mut against = Vec::new();
        for (whose, shelf) in shelves {
            let before = if *whose == HitScope::Entry { [&entry, &ambient] } else { [&ambient, &ambient] };
            against.push((*whose, Against { library: &self.library, shelf, before, rung: self.policy.max_rung }));
        }
        let (reason, candidates) = explain(&against, asked, exhausted);
        let shelf_of = |whose: HitScope| shelves.iter().find(|(found, _)| *found == whose).map(|(_, shelf)| shelf);
        let lent = match self.mode {
            Mode::Strict => None,
            Mode::Propose => self.lend(&scope, &candidates),
        };
        let recorded = lent
            .and_then(|(whose, number)| Some(Recorded { cassette: Arc::clone(&shelf_of(whose)?.cassette), number }));
        let nearest = nearest(candidates, |whose| Some(shelf_of(whose)?.cassette.id.clone()));
        let why = miss::text(asked.request, &asked.name, reason, &nearest);
        let answered = match (&recorded, asked.request) {
            (Some(recorded), _) => recorded_response(recorded),
            (None, Request::Http(request)) => Some(Told::Http(miss::answer(request, &why))),
            (None, Request::Wire(..)) => Some(Told::Refusal),
        };
        self.state().journal.note(call(scope, asked, Match::Miss { reason, nearest }, answered));
        self.changed.notify_waiters();
        recorded.map_or(Reply::Miss(why), Reply::Recorded)
    }

    /// Takes the first candidate of the same operation that answered nothing yet, and binds what is made anew as if the
    /// one had been asked for: what comes later has to fit it.
    fn lend(&self, scope: &Scope, candidates: &[Candidate]) -> Option<(HitScope, usize)> {
        let mut state = self.state();
        // Another entry may have begun since the candidates were found.
        let usable = |whose: HitScope| whose == HitScope::Ambient || state.scope == *scope;
        let usable: Vec<_> = candidates.iter().filter(|found| found.same_operation && usable(found.scope)).collect();
        let found = usable.into_iter().find(|found| state.usage(found.scope).lend(found.exchange))?;
        let (_, shelf) = self.shelves(&state).into_iter().find(|(whose, _)| *whose == found.scope)?;
        let bindings = &mut state.usage(found.scope).bindings;
        bindings.bind(found.fresh.clone(), self.library.owners(), &shelf.cassette.id);
        Some((found.scope, found.exchange))
    }
}

impl State {
    fn enter(&mut self, scope: Scope, shelf: Option<Arc<Shelf>>, usage: Usage, beside: Arc<Beside>) {
        (self.scope, self.shelf, self.entry, self.beside) = (scope, shelf, usage, beside);
    }

    fn usage(&mut self, whose: HitScope) -> &mut Usage {
        match whose {
            HitScope::Entry => &mut self.entry,
            HitScope::Ambient => &mut self.ambient,
        }
    }

    /// Takes note of something that named no downstream.
    fn note(&mut self, place: Place, what: Attempted, matched: Match) {
        self.note_as(place, what, matched, None);
    }

    /// Takes note of something that was meant for that downstream, where it is known.
    fn note_as(&mut self, place: Place, what: Attempted, matched: Match, downstream: Option<String>) {
        let call = self.without_secrets(self.nameless(place, what, matched));
        self.journal.note(Call { downstream: downstream.unwrap_or(call.downstream), ..call });
    }

    /// The call without secrets in its bytes, and in what is told of how they differ.
    fn without_secrets(&self, mut call: Call) -> Call {
        if let Attempted::Opaque(bytes) = &mut call.what {
            *bytes = self.beside.bytes(bytes).into_owned().into();
        }
        if let Match::Miss { nearest, .. } = &mut call.matched {
            let told =
                nearest.iter_mut().flat_map(|near| &mut near.differences).filter_map(|found| found.actual.as_mut());
            told.for_each(|text| *text = String::from_utf8_lossy(&self.beside.bytes(text.as_bytes())).into_owned());
        }
        call
    }

    /// A call that named no downstream.
    fn nameless(&self, place: Place, what: Attempted, matched: Match) -> Call {
        let destination = canonical(place.destination);
        Call {
            scope: self.scope.clone(),
            destination,
            downstream: destination.to_string(),
            tls: place.tls,
            what,
            matched,
            answered: None,
        }
    }
}

fn call(scope: Scope, asked: &Asked<'_>, matched: Match, answered: Option<Told>) -> Call {
    Call {
        scope,
        destination: asked.destination,
        downstream: asked.name.clone(),
        tls: asked.tls,
        what: match asked.request {
            Request::Http(message) => Attempted::Http(message.clone()),
            Request::Wire(protocol, value) => Attempted::Wire(protocol, value.clone()),
        },
        matched,
        answered,
    }
}

fn missed(reason: MissReason) -> Match {
    Match::Miss { reason, nearest: Vec::new() }
}

fn recorded_response(recorded: &Recorded) -> Option<Told> {
    match &recorded.exchange().content {
        Content::Http1(http) => http.response.clone().map(Told::Http),
        Content::Wire(wire) => wire.response.clone().map(Told::Wire),
        Content::Opaque(_) | Content::Nothing => None,
    }
}

fn prefix(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&bytes[..bytes.len().min(PREFIX)])
}
