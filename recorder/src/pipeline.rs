//! Events in, cassettes out. Pure: no I/O, and no time but that of the events.

use std::collections::{BTreeSet, HashMap, VecDeque};

use regress_cassettes::Defect;
use regress_ebpf::{Address, CloseCause, Direction, Event, EventKind, Loss, Role, SocketId};
use regress_protocols::{Mark, PairEvent, Paired, PairedContent};

use crate::{
    Lack, Ledger,
    assemble::{self, Timed},
    connections::{Connection, Part},
    correlate::{CallKey, Correlator, EntryKey, Fact, Moment, Patience, Ruling, Verdict},
    hold::{Moved, Next, What},
    names::Names,
    owner_log::LogLine,
    select::{LeftOut, Selector, Standing},
    silences::Silences,
};

mod clues;
mod finish;
mod hops;
mod naming;
mod pause;
mod scope;

use hops::{Line, MOST_OF_A_HOP};
pub(crate) use scope::{Output, Scope, Seen};

/// An entry that begins within these nanoseconds after a loss may still be touched by it.
const LOSS_SHADOW: u64 = 1_000_000_000;

/// One end of a connection, told from every other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum End {
    /// Its own address and the peer's.
    Inet(Address, Address),
    /// Its inode; 0 for an end that nobody has accepted yet, which no end is.
    Unix(u64),
}

impl End {
    fn of(local: &Address, peer: &Address) -> End {
        match local {
            Address::Inet(_) => End::Inet(local.clone(), peer.clone()),
            Address::Unix(unix) => End::Unix(unix.inode),
        }
    }
}

/// What the source lost so far.
#[derive(Clone, Debug, Default)]
struct Lost {
    events: u64,
    bytes: u64,
    last: u64,
    /// In which ways.
    lacks: BTreeSet<Lack>,
}

impl Lost {
    fn add(&mut self, at: u64, loss: Loss) {
        self.events += loss.events;
        self.bytes += loss.bytes;
        self.last = at;
        self.lacks.insert(loss.kind.into());
    }
}

/// An entry in the making.
struct EntryDraft {
    began: u64,
    kept: bool,
    exchange: Option<Timed>,
    owned: Vec<CallKey>,
    lost: Option<Box<Lost>>,
    doubted: bool,
    standing: Standing,
    /// It is over, and left out by choice.
    left_out: bool,
}

impl EntryDraft {
    /// It is not over.
    fn is_open(&self) -> bool {
        self.exchange.is_none() && !self.left_out
    }
}

/// A call in the making.
struct CallDraft {
    socket: SocketId,
    began: u64,
    exchange: Option<Timed>,
    verdict: Option<Verdict>,
    /// It went to another recorded process.
    is_hop: bool,
}

/// The pipeline of one recording.
pub(crate) struct Pipeline {
    scope: Scope,
    mark: Mark,
    connections: HashMap<SocketId, Connection>,
    /// Open connections by the end that they are.
    ends: HashMap<End, SocketId>,
    /// Connections within the service, by their client's end.
    lines: HashMap<SocketId, Line>,
    names: Names,
    next_connection: u64,
    next_entry: u64,
    next_call: u64,
    correlator: Correlator,
    selector: Selector,
    entries: HashMap<EntryKey, EntryDraft>,
    calls: HashMap<CallKey, CallDraft>,
    kept_begun: u64,
    kept_finished: u64,
    lost: Option<Lost>,
    ledger: Ledger,
    opaque: u64,
    unix_not_http: u64,
    silences: Silences,
    patience: Patience,
    /// Bytes of finished exchanges that wait for a ruling, and of those under way.
    waiting: u64,
    under_way: u64,
    /// Connections on which something is held, by when it must go on.
    held: BTreeSet<(u64, SocketId)>,
    outputs: VecDeque<Output>,
    seen: Vec<Seen>,
}

impl Pipeline {
    pub(crate) fn new(scope: Scope, patience: Patience) -> Pipeline {
        let mut correlator = Correlator::new(patience);
        if scope.keep_facts {
            correlator.keep_facts();
        }
        let selector = Selector::new(scope.select.clone());
        Pipeline {
            scope,
            selector,
            mark: 0,
            connections: HashMap::new(),
            ends: HashMap::new(),
            lines: HashMap::new(),
            names: Names::default(),
            next_connection: 1,
            next_entry: 1,
            next_call: 1,
            correlator,
            entries: HashMap::new(),
            calls: HashMap::new(),
            kept_begun: 0,
            kept_finished: 0,
            lost: None,
            ledger: Ledger::default(),
            opaque: 0,
            unix_not_http: 0,
            silences: Silences::default(),
            patience,
            waiting: 0,
            under_way: 0,
            held: BTreeSet::new(),
            outputs: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    /// The next thing to store.
    pub(crate) fn next(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What is missing so far.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Exchanges that are over since this was asked last, where the scope says so.
    pub(crate) fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// Entries that came out as cassettes.
    pub(crate) fn recorded(&self) -> u64 {
        self.kept_finished
    }

    /// From now on keep one of 2^`thinning` entries.
    pub(crate) fn thin(&mut self, thinning: u8) {
        self.selector.thin(thinning);
    }

    /// Whether there is no room for more cassettes from now on.
    pub(crate) fn lacks_room(&mut self, no_room: bool) {
        self.selector.lacks_room(no_room);
    }

    /// Entries that were left out by choice.
    pub(crate) fn left_out(&self) -> &LeftOut {
        self.selector.left_out()
    }

    /// Connections into the service whose protocol could not be read.
    pub(crate) fn opaque(&self) -> u64 {
        self.opaque
    }

    /// Unix connections that do not speak HTTP/1, or are not looked into.
    pub(crate) fn unix_not_http(&self) -> u64 {
        self.unix_not_http
    }

    /// As many entries as were wanted are finished.
    pub(crate) fn is_full(&self) -> bool {
        self.scope.max_entries.is_some_and(|most| self.kept_finished >= most)
    }

    /// Take in one event.
    pub(crate) fn event(&mut self, event: Event) {
        self.mark += 1;
        let now = Moment { mark: self.mark, at: event.at, unit: event.unit };
        match event.kind {
            EventKind::Connecting { socket, peer } => {
                let number = self.number();
                let mut connection = Connection::new(socket, number, peer.into(), now);
                connection.name = self.name_of(now, peer);
                self.connections.insert(socket, connection);
                self.correlator.fact(now, Fact::Connecting { connection: socket });
            }
            EventKind::Open { socket, role, local, peer, joined } => self.open(now, socket, role, local, peer, joined),
            EventKind::InsideTls { socket } => {
                if let Some(connection) = self.connections.get_mut(&socket) {
                    connection.tls = true;
                }
            }
            EventKind::Data { socket, direction, position, bytes, missing, other } => {
                let what = What::Data { position, bytes, missing, other };
                self.moved(socket, Moved { at: event.at, unit: event.unit, direction, what });
            }
            EventKind::Finished { socket, direction } => {
                let what = What::Finished;
                self.moved(socket, Moved { at: event.at, unit: event.unit, direction, what });
            }
            EventKind::Close { socket, cause } => self.close(now, socket, cause),
            EventKind::Serves { one_by_one } => self.correlator.fact(now, Fact::Serves { one_by_one }),
            EventKind::Born { child } => {
                if let Some(parent) = now.unit {
                    self.names.born(parent.process, child.process);
                }
                self.correlator.fact(now, Fact::Born { child });
            }
            EventKind::Returned { socket, connected } => {
                self.correlator.fact(now, Fact::Returned { connection: socket, connected });
            }
            EventKind::Streams { socket } => {
                if let Some(connection) = self.connections.get_mut(&socket) {
                    connection.tells_for_whom();
                }
            }
            EventKind::Gone => self.correlator.fact(now, Fact::Gone),
            EventKind::Name { bytes } => self.named(now, &bytes),
            EventKind::Lost(loss) => {
                self.ledger.add(loss.kind.into(), loss.events, loss.bytes);
                self.lost.get_or_insert_default().add(event.at, loss);
                for entry in self.entries.values_mut() {
                    entry.lost.get_or_insert_default().add(event.at, loss);
                }
                let (events, bytes) = (loss.events, loss.bytes);
                self.outputs.push_back(Output::Lost(Defect::LostEvents { events, bytes }));
            }
        }
        self.advance(event.at);
    }

    /// Event time went on without an event.
    pub(crate) fn advance(&mut self, at: u64) {
        while let Some(&(deadline, socket)) = self.held.first() {
            if deadline > at {
                break;
            }
            self.held.pop_first();
            self.release(socket, at, false);
        }
        self.correlator.advance(at);
        self.rulings();
        while self.waiting > self.patience.waiting && self.correlator.settle_first(at) {
            self.rulings();
        }
    }

    /// Something moved on a connection: it goes on when its turn has come.
    fn moved(&mut self, socket: SocketId, moved: Moved) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        if connection.left_out || (connection.internal.is_some() && connection.is_no_hop()) {
            return;
        }
        let (at, reached) = (moved.at, connection.reached());
        if let Some(moved) = connection.hold.offer(moved, reached) {
            self.goes_on(socket, at, moved);
        }
        self.release(socket, at, false);
    }

    /// Let go on what was held and is in order now, or cannot wait any longer.
    fn release(&mut self, socket: SocketId, at: u64, everything: bool) {
        while let Some(connection) = self.connections.get_mut(&socket)
            && !connection.hold.is_empty()
        {
            let reached = connection.reached();
            match connection.hold.next(reached, at, everything) {
                Some(Next::InOrder(moved)) => self.goes_on(socket, at, moved),
                Some(Next::OutOfOrder(moved, lacking)) => {
                    connection.reordered += 1;
                    self.ledger.add(Lack::Reordered, 1, lacking);
                    self.touch(socket, Lack::Reordered);
                    self.goes_on(socket, at, moved);
                }
                None => {
                    self.held.extend(connection.hold.deadline().map(|deadline| (deadline, socket)));
                    return;
                }
            }
        }
    }

    fn goes_on(&mut self, socket: SocketId, at: u64, moved: Moved) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        self.mark += 1;
        let is_internal = connection.internal.is_some();
        let at = if is_internal { moved.at } else { moved.at.max(at) };
        let now = Moment { mark: self.mark, at, unit: moved.unit };
        match moved.what {
            What::Finished => {
                connection.finished(now, moved.direction);
                if let (Some(call), Direction::Received) = (connection.last_call, moved.direction) {
                    self.correlator.fact(now, Fact::CallsEndRead { call });
                }
            }
            What::Data { bytes, .. } if is_internal && connection.buffered + bytes.len() as u64 > MOST_OF_A_HOP => {
                return self.leave_hop(now, socket);
            }
            What::Data { position, bytes, missing, .. } => {
                let length = bytes.len() as u64;
                let unseen = if self.under_way + length > self.patience.under_way {
                    self.ledger.add(Lack::Memory, 1, length);
                    connection.data(now, moved.direction, position, &[], length + missing)
                } else {
                    let before = connection.buffered;
                    let unseen = connection.data(now, moved.direction, position, &bytes, missing);
                    self.under_way += connection.buffered - before;
                    unseen
                };
                if unseen > 0 && !is_internal {
                    self.ledger.add(Lack::Gap, 1, unseen);
                    self.touch(socket, Lack::Gap);
                }
                if moved.direction == Direction::Received {
                    self.is_from_outside(now, socket);
                }
                self.opaque_used(now, socket, moved.direction);
            }
        }
        self.pair(now, socket);
    }

    fn touch(&mut self, socket: SocketId, lack: Lack) {
        if self.connections.get_mut(&socket).is_some_and(|connection| connection.touch(lack)) {
            self.ledger.touch_connection(lack);
        }
    }

    /// Nothing of the connection is under way.
    fn rest(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.get_mut(&socket) {
            self.under_way -= std::mem::take(&mut connection.buffered);
            connection.reordered = 0;
        }
    }

    /// The recording ends: flush what is under way.
    pub(crate) fn stop(&mut self, at: u64) {
        self.cut_off(at);
        let silent: Vec<Output> = self.silences.take().map(|timed| self.as_ambient(timed)).collect();
        self.outputs.extend(silent);
    }

    /// Nothing more is to come of what is under way.
    fn cut_off(&mut self, at: u64) {
        self.mark += 1;
        let now = Moment { mark: self.mark, at, unit: None };
        let mut sockets: Vec<(u64, SocketId)> =
            self.connections.values().map(|connection| (connection.number, connection.socket)).collect();
        sockets.sort();
        for (_, socket) in sockets {
            self.release(socket, at, true);
            self.mark += 1;
            let now = Moment { mark: self.mark, ..now };
            if let Some(connection) = self.connections.get_mut(&socket) {
                self.unix_not_http += u64::from(connection.left_out && connection.internal.is_none());
                connection.stop(now);
                self.silences.ended(connection);
                self.pair(now, socket);
            }
        }
        self.rulings();
        if self.scope.keep_facts {
            self.outputs.push_back(Output::Log(LogLine::Stop { mark: self.mark, at }));
        }
        self.correlator.stop(self.mark, at);
        self.rulings();
    }

    fn number(&mut self) -> u64 {
        let number = self.next_connection;
        self.next_connection += 1;
        number
    }

    fn open(&mut self, now: Moment, socket: SocketId, role: Role, local: Address, peer: Address, joined: bool) {
        let [this, other] = [End::of(&local, &peer), End::of(&peer, &local)];
        if !self.connections.contains_key(&socket) {
            let number = self.number();
            let mut connection = Connection::new(socket, number, peer.clone(), now);
            if let (Role::Client, false, Address::Inet(peer)) = (role, joined, &peer) {
                connection.name = self.name_of(now, *peer);
            }
            self.connections.insert(socket, connection);
        }
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.opened(role, local, peer, joined);
        }
        self.ends.insert(this, socket);
        if let Some(&other) = self.ends.get(&other)
            && other != socket
        {
            self.internal(now, socket, other);
        } else if joined && role == Role::Server {
            self.correlator.fact(now, Fact::Joined { connection: socket });
        }
    }

    fn drop_entry(&mut self, now: Moment, entry: EntryKey) {
        if let Some(draft) = self.entries.get_mut(&entry) {
            if draft.kept && !draft.left_out {
                self.kept_begun -= 1;
            }
            if draft.kept && draft.is_open() {
                self.selector.ended();
            }
            draft.kept = false;
        }
        self.correlator.fact(now, Fact::EntryDropped { entry });
    }

    fn opaque_used(&mut self, now: Moment, socket: SocketId, direction: Direction) {
        let Some(connection) = self.connections.get(&socket) else { return };
        if connection.internal.is_some() || connection.role != Some(Role::Client) || direction != Direction::Sent {
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
        self.release(socket, now.at, true);
        self.mark += 1;
        let now = Moment { mark: self.mark, ..now };
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        self.unix_not_http += u64::from(connection.left_out && connection.internal.is_none());
        connection.closed(now, cause);
        if connection.role.is_some() {
            self.silences.ended(connection);
            self.pair(now, socket);
        } else {
            self.silences.never_established(&connection.peer);
            self.never_established(now, socket);
        }
        self.rest(socket);
        self.correlator.fact(now, Fact::ConnectionGone { connection: socket });
        if let Some(connection) = self.connections.remove(&socket)
            && let Some(local) = connection.local
            && let end = End::of(&local, &connection.peer)
            && self.ends.get(&end) == Some(&socket)
        {
            self.ends.remove(&end);
        }
        self.lines.remove(&socket);
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
            self.waiting += assemble::weight(&timed.exchange);
            draft.exchange = Some(timed);
        }
        self.correlator.fact(now, Fact::CallEnded { call, operation, transaction: None });
    }

    fn new_call(&mut self, socket: SocketId, began: u64) -> CallKey {
        let call = CallKey(self.next_call);
        self.next_call += 1;
        self.calls.insert(call, CallDraft { socket, began, exchange: None, verdict: None, is_hop: false });
        call
    }

    /// Take what the connection's bytes say.
    fn pair(&mut self, now: Moment, socket: SocketId) {
        let now = self.connections.get(&socket).map_or(now, |connection| connection.seen(now));
        if self.connections.get(&socket).is_some_and(|connection| connection.internal.is_some()) {
            return self.hop(now, socket);
        }
        while let Some(event) = self.connections.get_mut(&socket).and_then(Connection::next) {
            match event {
                PairEvent::RequestBegan { number, mark, setup } => self.began(socket, number, mark, setup),
                PairEvent::RequestContinued { number, mark } => self.continued(socket, number, mark),
                PairEvent::RequestComplete { number, mark } => {
                    if let Some((Part::Entry(entry), moment)) = self.part(socket, number, mark) {
                        self.correlator.fact(moment, Fact::EntryRead { entry });
                    }
                    self.says(socket, number, mark);
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
            if connection.parts.is_empty() {
                self.rest(socket);
            }
        }
    }

    /// A part of a request moved. Where an entry has begun since that request did, it may be on behalf of that one.
    fn continued(&mut self, socket: SocketId, number: u64, mark: Mark) {
        let Some((Part::Call(call), moment)) = self.part(socket, number, mark) else { return };
        let Some(began) = self.calls.get(&call).map(|draft| draft.began) else { return };
        if self.entries.values().any(|entry| entry.began > began && entry.is_open()) {
            self.correlator.fact(moment, Fact::OpaqueUsed { call: Some(call) });
        }
    }

    fn part(&self, socket: SocketId, number: u64, mark: Mark) -> Option<(Part, Moment)> {
        let connection = self.connections.get(&socket)?;
        Some((connection.parts.get(&number)?.0, connection.moment(mark)))
    }

    fn began(&mut self, socket: SocketId, number: u64, mark: Mark, setup: bool) {
        let Some(connection) = self.connections.get(&socket) else { return };
        let moment = connection.moment(mark);
        let first = !connection.used;
        let joined = connection.was_under_way(number);
        let may_hide = connection.may_hide_exchanges();
        let for_whom = connection.says_for_whom();
        let is_opaque = connection.is_opaque() && !connection.may_be_internal();
        let opaque = is_opaque.then(|| assemble::opaque_operation(connection));
        self.unix_not_http += u64::from(first && is_opaque && matches!(connection.peer, Address::Unix(_)));
        let role = connection.role;
        let port = match connection.local {
            Some(Address::Inet(local)) => Some(local.port()),
            Some(Address::Unix(_)) | None => None,
        };
        let part = match role {
            _ if setup => Part::Joined,
            Some(Role::Server) if joined => {
                self.correlator.fact(moment, Fact::JoinedBusy { connection: socket });
                Part::Joined
            }
            _ if joined => Part::Joined,
            Some(Role::Server) => {
                let entry = self.new_entry(moment, port);
                self.correlator.fact(moment, Fact::EntryBegan { entry, connection: socket });
                if may_hide {
                    self.correlator.fact(moment, Fact::Joined { connection: socket });
                }
                if opaque.is_some() {
                    self.correlator.fact(moment, Fact::EntryUnreadable { entry });
                }
                Part::Entry(entry)
            }
            Some(Role::Client) | None => {
                let call = self.new_call(socket, moment.at);
                self.correlator.fact(moment, Fact::CallBegan { call, connection: socket, first, opaque });
                if for_whom {
                    self.correlator.fact(moment, Fact::CallAwaited { call });
                }
                Part::Call(call)
            }
        };
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.used = true;
            connection.last_call = if let Part::Call(call) = part { Some(call) } else { None };
            connection.parts.insert(number, (part, mark));
        }
    }

    fn new_entry(&mut self, moment: Moment, port: Option<u16>) -> EntryKey {
        let entry = EntryKey(self.next_entry);
        self.next_entry += 1;
        let wanted = self.scope.ports.is_empty() || port.is_some_and(|port| self.scope.ports.contains(&port));
        let kept = wanted && self.scope.max_entries.is_none_or(|most| self.kept_begun < most);
        self.kept_begun += u64::from(kept);
        let shadow = self.lost.as_ref().filter(|lost| moment.at.saturating_sub(lost.last) < LOSS_SHADOW);
        let lost = shadow.cloned().map(Box::new);
        let draft = EntryDraft {
            began: moment.at,
            kept,
            exchange: None,
            owned: Vec::new(),
            lost,
            doubted: false,
            standing: if kept { self.selector.began() } else { Standing::default() },
            left_out: false,
        };
        self.entries.insert(entry, draft);
        entry
    }

    fn done(&mut self, now: Moment, socket: SocketId, paired: Paired) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        let part = connection.parts.remove(&paired.number).map_or(Part::Joined, |(part, _)| part);
        let is_http = matches!(paired.content, PairedContent::Http1 { .. });
        let downstream = connection.role != Some(Role::Server);
        if downstream {
            self.silences.spoke(&connection.peer);
        }
        let process = connection.begun.unit.map(|unit| unit.process);
        let mut timed = assemble::exchange(connection, paired, downstream);
        if connection.reordered > 0 {
            timed.exchange.defects.push(Defect::LostEvents { events: connection.reordered, bytes: 0 });
        }
        if self.scope.tells_seen && part != Part::Joined {
            self.seen.push(Seen::of(&timed.exchange));
        }
        let weight = assemble::weight(&timed.exchange);
        let freed = weight.min(connection.buffered);
        connection.buffered -= freed;
        self.under_way -= freed;
        for lack in self.ledger.count_exchange(&timed.exchange) {
            self.touch(socket, lack);
        }
        self.has_said(now, part, &timed.exchange);
        if downstream {
            self.has_named(process, &timed.exchange);
        }
        match part {
            Part::Entry(entry) if is_http => {
                self.answered(entry, timed, weight);
                self.correlator.fact(now, Fact::EntryEnded { entry });
            }
            Part::Entry(entry) => {
                self.opaque += 1;
                self.drop_entry(now, entry);
            }
            Part::Call(call) => {
                let operation = assemble::operation(&timed.exchange);
                let transaction = assemble::transaction(&timed.exchange);
                if let Some(draft) = self.calls.get_mut(&call) {
                    self.waiting += weight;
                    draft.exchange = Some(timed);
                }
                self.correlator.fact(now, Fact::CallEnded { call, operation, transaction });
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
        self.log_call(call, &timed);
        self.waiting -= assemble::weight(&timed.exchange);
        if ambiguous {
            assemble::add(&mut timed.exchange.defects, Defect::AmbiguousOwner);
        }
        self.outputs.push_back(self.as_ambient(timed));
    }

    /// By what the call is known in the folder.
    fn log_call(&mut self, call: CallKey, timed: &Timed) {
        if self.scope.keep_facts {
            let connection = timed.exchange.connection.id;
            self.outputs.push_back(Output::Log(LogLine::Call { call, connection, began: timed.began }));
        }
    }

    fn as_ambient(&self, timed: Timed) -> Output {
        Output::Ambient(Box::new(timed.since(self.scope.started)))
    }

    fn rulings(&mut self) {
        let facts = self.correlator.take_facts().into_iter();
        self.outputs.extend(facts.map(|(moment, fact)| Output::Log(LogLine::Fact { moment, fact })));
        while let Some(ruling) = self.correlator.next() {
            match ruling {
                Ruling::Call { call, verdict } => {
                    let Some(draft) = self.calls.get_mut(&call) else { continue };
                    if draft.is_hop {
                        self.calls.remove(&call);
                        continue;
                    }
                    if let Verdict::Owner { entry, .. } = &verdict
                        && let Some(entry) = self.entries.get_mut(entry)
                    {
                        entry.owned.push(call);
                    }
                    draft.verdict = Some(verdict);
                    self.give_ambient(call);
                }
                Ruling::Finished { entry, ambiguous } => self.finished(entry, ambiguous),
                Ruling::Passed { hop, of } => self.passed(hop, &of),
                Ruling::Doubt { entries } => {
                    for (entry, draft) in &mut self.entries {
                        draft.doubted |= entries.contains(entry.0);
                    }
                    self.selector.doubt(&entries);
                    self.outputs.push_back(Output::Doubt(entries));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
