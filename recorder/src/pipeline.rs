//! Events in, cassettes out. Pure: no I/O, and no time but that of the events.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
};

use regress_cassettes::{Cassette, CassetteId, Defect, Exchange, Recorded, Via};
use regress_ebpf::{CloseCause, Direction, Event, EventKind, Role, SocketId};
use regress_protocols::{
    Mark,
    http1::{PairEvent, Paired, PairedContent},
};

use crate::{
    assemble::{self, Timed},
    connections::{Connection, Part},
    correlate::{CallKey, Correlator, EntryKey, Fact, Moment, Patience, Ruling, Verdict},
    wall::Wall,
};

/// An entry that begins within these nanoseconds after a loss may still be touched by it.
const LOSS_SHADOW: u64 = 1_000_000_000;

/// What is the same for all cassettes of a recording, and what is to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub service: String,
    pub by: String,
    pub kernel: String,
    pub via: Via,
    pub wall: Wall,
    /// Monotonic start of the recording.
    pub started: u64,
    /// Ports whose connections bring entries; empty: all.
    pub ports: Vec<u16>,
    /// How many entries are recorded at most.
    pub max_entries: Option<u64>,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// An entry with everything it caused.
    Cassette(Box<Cassette>),
    /// An exchange that no entry caused, or one of several.
    Ambient(Box<Exchange>),
    /// These cassettes came out before and are not certain after all.
    Doubt(Vec<CassetteId>),
    /// The source lost something.
    Lost(Defect),
}

impl Scope {
    /// How something describes itself that began at this moment.
    pub(crate) fn recorded(&self, at: u64) -> Recorded {
        Recorded {
            at: self.wall.rfc3339(at),
            service: self.service.clone(),
            by: self.by.clone(),
            via: self.via,
            kernel: self.kernel.clone(),
        }
    }
}

/// What was lost or could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    pub events: u64,
    pub bytes: u64,
    pub gaps: u64,
    pub opaque: u64,
}

/// An entry in the making.
struct EntryDraft {
    began: u64,
    kept: bool,
    exchange: Option<Timed>,
    owned: Vec<CallKey>,
    lost: Option<(u64, u64)>,
    doubted: bool,
}

/// A call in the making.
struct CallDraft {
    socket: SocketId,
    began: u64,
    exchange: Option<Timed>,
    verdict: Option<Verdict>,
}

/// The pipeline of one recording.
pub(crate) struct Pipeline {
    scope: Scope,
    mark: Mark,
    connections: HashMap<SocketId, Connection>,
    /// Open connections by their (local, peer) addresses.
    ends: HashMap<(SocketAddr, SocketAddr), SocketId>,
    tls: HashSet<SocketId>,
    next_connection: u64,
    next_entry: u64,
    next_call: u64,
    correlator: Correlator,
    entries: HashMap<EntryKey, EntryDraft>,
    calls: HashMap<CallKey, CallDraft>,
    /// When the entries that came out began, to name them again.
    came_out: HashMap<EntryKey, u64>,
    kept_begun: u64,
    kept_finished: u64,
    last_loss: Option<u64>,
    losses: Losses,
    outputs: VecDeque<Output>,
}

impl Pipeline {
    pub(crate) fn new(scope: Scope, patience: Patience) -> Pipeline {
        Pipeline {
            scope,
            mark: 0,
            connections: HashMap::new(),
            ends: HashMap::new(),
            tls: HashSet::new(),
            next_connection: 1,
            next_entry: 1,
            next_call: 1,
            correlator: Correlator::new(patience),
            entries: HashMap::new(),
            calls: HashMap::new(),
            came_out: HashMap::new(),
            kept_begun: 0,
            kept_finished: 0,
            last_loss: None,
            losses: Losses::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to store.
    pub(crate) fn next(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What was lost so far.
    pub(crate) fn losses(&self) -> Losses {
        self.losses
    }

    /// As many entries as were wanted are finished.
    pub(crate) fn is_full(&self) -> bool {
        self.scope.max_entries.is_some_and(|most| self.kept_finished >= most)
    }

    /// The content of a socket that is about to open was read from inside TLS.
    pub(crate) fn inside_tls(&mut self, socket: SocketId) {
        self.tls.insert(socket);
    }

    /// Take in one event.
    pub(crate) fn event(&mut self, event: Event) {
        self.mark += 1;
        let now = Moment { mark: self.mark, at: event.at, unit: event.unit };
        match event.kind {
            EventKind::Connecting { socket, peer } => {
                let number = self.number();
                let mut connection = Connection::new(socket, number, peer, now);
                connection.tls = self.tls.remove(&socket);
                self.connections.insert(socket, connection);
                self.correlator.fact(now, Fact::Connecting { connection: socket });
            }
            EventKind::Open { socket, role, local, peer, joined } => self.open(now, socket, role, local, peer, joined),
            EventKind::InsideTls { socket } => {
                if let Some(connection) = self.connections.get_mut(&socket) {
                    connection.tls = true;
                }
            }
            EventKind::Data { socket, direction, position, bytes, missing } => {
                let Some(connection) = self.connections.get_mut(&socket) else { return };
                if connection.internal {
                    return;
                }
                let unseen = connection.data(now, direction, position, &bytes, missing);
                self.losses.gaps += u64::from(unseen > 0);
                self.opaque_used(now, socket, direction);
                self.pair(now, socket);
            }
            EventKind::Finished { socket, direction } => {
                if let Some(connection) = self.connections.get_mut(&socket) {
                    connection.finished(now, direction);
                    self.pair(now, socket);
                }
            }
            EventKind::Close { socket, cause } => self.close(now, socket, cause),
            EventKind::Born { child } => self.correlator.fact(now, Fact::Born { child }),
            EventKind::Gone => self.correlator.fact(now, Fact::Gone),
            // Names come from the Host field; an answer of the resolver adds nothing to it.
            EventKind::Name { .. } => {}
            EventKind::Lost(loss) => {
                self.losses.events += loss.events;
                self.losses.bytes += loss.bytes;
                self.last_loss = Some(event.at);
                for entry in self.entries.values_mut() {
                    let (events, bytes) = entry.lost.unwrap_or_default();
                    entry.lost = Some((events + loss.events, bytes + loss.bytes));
                }
                let (events, bytes) = (loss.events, loss.bytes);
                self.outputs.push_back(Output::Lost(Defect::LostEvents { events, bytes }));
            }
        }
        self.advance(event.at);
    }

    /// Event time went on without an event.
    pub(crate) fn advance(&mut self, at: u64) {
        self.correlator.advance(at);
        self.rulings();
    }

    /// The recording ends: flush what is under way.
    pub(crate) fn stop(&mut self, at: u64) {
        self.mark += 1;
        let now = Moment { mark: self.mark, at, unit: None };
        let mut sockets: Vec<(u64, SocketId)> =
            self.connections.values().map(|connection| (connection.number, connection.socket)).collect();
        sockets.sort();
        for (_, socket) in sockets {
            if let Some(connection) = self.connections.get_mut(&socket) {
                connection.stop(now);
                self.pair(now, socket);
            }
        }
        self.correlator.stop(self.mark, at);
        self.rulings();
    }

    fn number(&mut self) -> u64 {
        let number = self.next_connection;
        self.next_connection += 1;
        number
    }

    fn open(&mut self, now: Moment, socket: SocketId, role: Role, local: SocketAddr, peer: SocketAddr, joined: bool) {
        if !self.connections.contains_key(&socket) {
            let number = self.number();
            let mut connection = Connection::new(socket, number, peer, now);
            connection.tls = self.tls.remove(&socket);
            self.connections.insert(socket, connection);
        }
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.opened(role, local, peer, joined);
        }
        self.ends.insert((local, peer), socket);
        if let Some(&other) = self.ends.get(&(peer, local))
            && other != socket
        {
            self.internal(now, socket);
            self.internal(now, other);
        } else if joined && role == Role::Server {
            self.correlator.fact(now, Fact::Joined { connection: socket });
        }
    }

    /// Both ends of the connection are in the service: what moves on it is neither entry nor call.
    fn internal(&mut self, now: Moment, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        connection.internal = true;
        let parts = std::mem::take(&mut connection.parts);
        self.correlator.fact(now, Fact::JoinedIdle { connection: socket });
        for (part, _) in parts.into_values() {
            match part {
                Part::Entry(entry) => {
                    self.drop_entry(now, entry);
                }
                Part::Call(call) => {
                    self.calls.remove(&call);
                    self.correlator.fact(now, Fact::CallDropped { call });
                }
                Part::Joined => {}
            }
        }
    }

    fn drop_entry(&mut self, now: Moment, entry: EntryKey) {
        if let Some(draft) = self.entries.get_mut(&entry) {
            if draft.kept {
                self.kept_begun -= 1;
            }
            draft.kept = false;
        }
        self.correlator.fact(now, Fact::EntryDropped { entry });
    }

    fn opaque_used(&mut self, now: Moment, socket: SocketId, direction: Direction) {
        let Some(connection) = self.connections.get(&socket) else { return };
        if connection.role != Some(Role::Client) || direction != Direction::Sent {
            return;
        }
        let call = connection.parts.values().find_map(|(part, _)| match part {
            Part::Call(call) => Some(*call),
            Part::Entry(_) | Part::Joined => None,
        });
        let cut_into_exchanges = connection.is_understood() || (!connection.joined && !connection.is_opaque());
        if !cut_into_exchanges && (call.is_some() || connection.joined) {
            self.correlator.fact(now, Fact::OpaqueUsed { call });
        }
    }

    fn close(&mut self, now: Moment, socket: SocketId, cause: CloseCause) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        connection.closed(now, cause);
        if connection.role.is_some() {
            self.pair(now, socket);
        } else {
            self.never_established(now, socket);
        }
        self.correlator.fact(now, Fact::ConnectionGone { connection: socket });
        if let Some(connection) = self.connections.remove(&socket)
            && let Some(local) = connection.local
            && self.ends.get(&(local, connection.peer)) == Some(&socket)
        {
            self.ends.remove(&(local, connection.peer));
        }
        self.rulings();
    }

    fn never_established(&mut self, now: Moment, socket: SocketId) {
        let Some(connection) = self.connections.get(&socket) else { return };
        let begun = connection.begun;
        let timed = assemble::never_established(connection);
        let call = self.new_call(socket, begun.at);
        let operation = assemble::operation(&timed.exchange);
        self.correlator.fact(begun, Fact::CallBegan { call, connection: socket, first: true, opaque: None });
        if let Some(draft) = self.calls.get_mut(&call) {
            draft.exchange = Some(timed);
        }
        self.correlator.fact(now, Fact::CallEnded { call, operation });
    }

    fn new_call(&mut self, socket: SocketId, began: u64) -> CallKey {
        let call = CallKey(self.next_call);
        self.next_call += 1;
        self.calls.insert(call, CallDraft { socket, began, exchange: None, verdict: None });
        call
    }

    /// Take what the connection's bytes say.
    fn pair(&mut self, now: Moment, socket: SocketId) {
        while let Some(event) = self.connections.get_mut(&socket).and_then(Connection::next) {
            match event {
                PairEvent::RequestBegan { number, mark } => self.began(socket, number, mark),
                PairEvent::RequestComplete { number, mark } => {
                    if let Some((Part::Entry(entry), moment)) = self.part(socket, number, mark) {
                        self.correlator.fact(moment, Fact::EntryRead { entry });
                    }
                }
                PairEvent::ResponseBegan { number, mark } => match self.part(socket, number, mark) {
                    Some((Part::Entry(entry), moment)) => self.correlator.fact(moment, Fact::AnswerBegan { entry }),
                    Some((Part::Call(call), moment)) => self.correlator.fact(moment, Fact::CallAnswered { call }),
                    Some((Part::Joined, _)) | None => {}
                },
                PairEvent::ResponseComplete { .. } => {}
                PairEvent::Done(paired) => self.done(now, socket, *paired),
            }
            self.rulings();
        }
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.tidy();
        }
    }

    fn part(&self, socket: SocketId, number: u64, mark: Mark) -> Option<(Part, Moment)> {
        let connection = self.connections.get(&socket)?;
        Some((connection.parts.get(&number)?.0, connection.moment(mark)))
    }

    fn began(&mut self, socket: SocketId, number: u64, mark: Mark) {
        let Some(connection) = self.connections.get(&socket) else { return };
        let moment = connection.moment(mark);
        let first = !connection.used;
        let joined = connection.joined && !connection.is_understood();
        let opaque = connection.is_opaque().then(|| assemble::opaque_operation(connection));
        let (role, local) = (connection.role, connection.local);
        let part = match role {
            Some(Role::Server) if joined => {
                self.correlator.fact(moment, Fact::JoinedBusy { connection: socket });
                Part::Joined
            }
            _ if joined => Part::Joined,
            Some(Role::Server) => {
                let entry = self.new_entry(moment, local);
                self.correlator.fact(moment, Fact::EntryBegan { entry, connection: socket });
                Part::Entry(entry)
            }
            Some(Role::Client) | None => {
                let call = self.new_call(socket, moment.at);
                self.correlator.fact(moment, Fact::CallBegan { call, connection: socket, first, opaque });
                Part::Call(call)
            }
        };
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.used = true;
            connection.parts.insert(number, (part, mark));
        }
    }

    fn new_entry(&mut self, moment: Moment, local: Option<SocketAddr>) -> EntryKey {
        let entry = EntryKey(self.next_entry);
        self.next_entry += 1;
        let wanted = self.scope.ports.is_empty() || local.is_some_and(|local| self.scope.ports.contains(&local.port()));
        let kept = wanted && self.scope.max_entries.is_none_or(|most| self.kept_begun < most);
        self.kept_begun += u64::from(kept);
        let shadowed = self.last_loss.is_some_and(|loss| moment.at.saturating_sub(loss) < LOSS_SHADOW);
        let lost = shadowed.then_some((self.losses.events, self.losses.bytes));
        let draft = EntryDraft { began: moment.at, kept, exchange: None, owned: Vec::new(), lost, doubted: false };
        self.entries.insert(entry, draft);
        entry
    }

    fn done(&mut self, now: Moment, socket: SocketId, paired: Paired) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        let part = connection.parts.remove(&paired.number).map_or(Part::Joined, |(part, _)| part);
        let is_http = matches!(paired.content, PairedContent::Http1 { .. });
        let downstream = connection.role != Some(Role::Server);
        let timed = assemble::exchange(connection, paired, downstream);
        match part {
            Part::Entry(entry) if is_http => {
                if let Some(draft) = self.entries.get_mut(&entry) {
                    draft.exchange = Some(timed);
                }
                self.correlator.fact(now, Fact::EntryEnded { entry });
            }
            Part::Entry(entry) => {
                self.losses.opaque += 1;
                self.drop_entry(now, entry);
            }
            Part::Call(call) => {
                let operation = assemble::operation(&timed.exchange);
                if let Some(draft) = self.calls.get_mut(&call) {
                    draft.exchange = Some(timed);
                }
                self.correlator.fact(now, Fact::CallEnded { call, operation });
                self.give_ambient(call);
            }
            Part::Joined if downstream => self.outputs.push_back(self.as_ambient(timed)),
            Part::Joined => {}
        }
    }

    /// Hand out a call that is over and belongs to no entry.
    fn give_ambient(&mut self, call: CallKey) {
        let Some(draft) = self.calls.get_mut(&call) else { return };
        let ambiguous = match &draft.verdict {
            Some(Verdict::Ambient) => false,
            Some(Verdict::Ambiguous { .. }) => true,
            Some(Verdict::Owner { .. }) | None => return,
        };
        let Some(mut timed) = draft.exchange.take() else { return };
        self.calls.remove(&call);
        if ambiguous {
            assemble::add(&mut timed.exchange.defects, Defect::AmbiguousOwner);
        }
        self.outputs.push_back(self.as_ambient(timed));
    }

    fn as_ambient(&self, timed: Timed) -> Output {
        Output::Ambient(Box::new(timed.since(self.scope.started)))
    }

    fn rulings(&mut self) {
        while let Some(ruling) = self.correlator.next() {
            match ruling {
                Ruling::Call { call, verdict } => {
                    let Some(draft) = self.calls.get_mut(&call) else { continue };
                    if let Verdict::Owner { entry, .. } = &verdict
                        && let Some(entry) = self.entries.get_mut(entry)
                    {
                        entry.owned.push(call);
                    }
                    draft.verdict = Some(verdict);
                    self.give_ambient(call);
                }
                Ruling::Finished { entry, ambiguous } => self.finished(entry, ambiguous),
                Ruling::Doubt { entries } => {
                    let mut ids = Vec::new();
                    for entry in entries {
                        if let Some(draft) = self.entries.get_mut(&entry) {
                            draft.doubted = true;
                        } else if let Some(began) = self.came_out.get(&entry) {
                            ids.push(self.scope.wall.id(*began, entry.0));
                        }
                    }
                    if !ids.is_empty() {
                        self.outputs.push_back(Output::Doubt(ids));
                    }
                }
            }
        }
    }

    fn finished(&mut self, entry: EntryKey, ambiguous: bool) {
        let Some(draft) = self.entries.remove(&entry) else { return };
        let mut downstream: Vec<Timed> = draft.owned.iter().filter_map(|call| self.owned(*call)).collect();
        // The entry itself is not kept (another port, beyond the wanted number, or not HTTP).
        let Some(exchange) = draft.exchange.filter(|_| draft.kept) else {
            for mut timed in downstream {
                timed.exchange.cause = None;
                self.outputs.push_back(self.as_ambient(timed));
            }
            return;
        };
        downstream.sort_by_key(|timed| timed.began);
        let mut defects = Vec::from_iter(draft.lost.map(|(events, bytes)| Defect::LostEvents { events, bytes }));
        if ambiguous {
            defects.push(Defect::AmbiguousOwner);
        }
        let mut cassette = Cassette {
            id: self.scope.wall.id(draft.began, entry.0),
            recorded: self.scope.recorded(draft.began),
            entry: Some(exchange.since(draft.began)),
            downstream: downstream.into_iter().map(|timed| timed.since(draft.began)).collect(),
            defects,
        };
        if draft.doubted {
            assemble::doubt(&mut cassette);
        }
        self.came_out.insert(entry, draft.began);
        self.kept_finished += 1;
        self.outputs.push_back(Output::Cassette(Box::new(cassette)));
    }

    /// A call for the cassette of its owner.
    fn owned(&mut self, call: CallKey) -> Option<Timed> {
        let draft = self.calls.remove(&call)?;
        let mut timed = match draft.exchange {
            Some(timed) => timed,
            None => assemble::still_going(self.connections.get(&draft.socket)?, draft.began),
        };
        if let Some(Verdict::Owner { cause, .. }) = draft.verdict {
            timed.exchange.cause = Some(cause);
        }
        Some(timed)
    }
}

#[cfg(test)]
mod tests;
