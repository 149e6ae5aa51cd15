//! Ties what is read inside TLS to the sockets it was sent on. Pure: no I/O, no time but that of the events.
//!
//! The ciphertext of a connection that begins like TLS is held back until its plaintext is tied to it, and then replaced.
//! A tie needs evidence, and has to agree with the arithmetic of [`super::ledger`] before anything is told:
//!
//! - the system call that moved ciphertext was made inside a call on the TLS object, or the object names its socket;
//! - else a thread that received ciphertext went on to call this object and no other, and both have no other candidate.
//!
//! Where that is missing or contradicted, the connection stays encrypted: its ciphertext is told after all, at the place in
//! the order of events where its first application data passed.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::event::{Direction, Event, EventKind, Loss, LossKind, SocketId, Unit};

use super::conversation::Change;
use super::ledger::{Contradiction, Found};
use super::preamble::{Preamble, Turn};
use super::state::{Call, Object, Phase, Secure, Socket, looks_like_tls};
use super::{ObjectId, Plaintext};

/// How long a connection waits for evidence and proof once application data has passed, in nanoseconds: much longer than a
/// busy machine keeps a thread from its next instruction. So long is told nothing of what comes later.
const PATIENCE: u64 = 1_000_000_000;
/// How long an ended connection waits for what its library has received and the service has not read yet.
const LAST_READ: u64 = 1_000_000_000;
/// Ended connections that are remembered.
const MOST_ENDED: usize = 1024;
/// Events that may wait for one connection's tie.
const MOST_DELAYED: usize = 1 << 16;

/// One thing that the kernel side tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    /// An event. Bytes may have been moved by a system call that was made within a call on a TLS object.
    Event { event: Event, within: Option<ObjectId> },
    /// Plaintext.
    Plaintext(Plaintext),
    /// A call on an object that brought no plaintext. Go's objects name their socket.
    Call { unit: Option<Unit>, object: ObjectId, socket: Option<SocketId>, writes: bool },
    /// The object is no more; so much plaintext was sent and received through it.
    Freed { at: u64, object: ObjectId, positions: [u64; 2] },
}

/// A place in the order of what is told.
#[derive(Debug)]
enum Slot {
    Event(Event),
    /// The ciphertext of this socket, should it stay encrypted.
    Ciphertext(SocketId),
}

/// A thread has received ciphertext.
#[derive(Clone, Copy, Debug)]
struct Received {
    socket: SocketId,
    /// It was handshake messages alone: then also a call that writes takes them.
    handshake: bool,
}

/// Puts plaintext in the place of ciphertext.
#[derive(Debug, Default)]
pub(crate) struct Binder {
    sockets: HashMap<SocketId, Socket>,
    objects: HashMap<ObjectId, Object>,
    /// What a thread received last, until it sends or calls a TLS object.
    received: HashMap<Unit, Received>,
    /// Counts what was seen.
    sequence: u64,
    /// Processes whose TLS may be readable, and since when.
    readable: HashMap<u32, u64>,
    /// Processes that speak TLS without being readable.
    unread: Vec<u32>,
    slots: VecDeque<Slot>,
    /// What became of the ciphertext of the sockets that have a place.
    released: HashMap<SocketId, Vec<Event>>,
    /// Sockets with a deadline.
    waiting: Vec<SocketId>,
    /// The last connections that ended of which plaintext was told.
    ended: VecDeque<SocketId>,
}

impl Binder {
    /// This process runs code whose TLS can be read; every call since then is seen.
    pub(crate) fn readable(&mut self, process: u32, since: u64) {
        self.readable.insert(process, since);
    }

    /// Processes that began to speak TLS and are not known to be readable, since the last time.
    pub(crate) fn unread(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.unread)
    }

    /// Whether the connection is over and its plaintext was told, so that ciphertext which comes after its end (the alert
    /// that a reset answers) takes nothing away.
    pub(crate) fn is_told(&self, socket: SocketId) -> bool {
        self.ended.contains(&socket)
    }

    /// The next event to tell.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            match self.slots.front()? {
                Slot::Event(_) => {
                    let Some(Slot::Event(event)) = self.slots.pop_front() else { return None };
                    return Some(event);
                }
                Slot::Ciphertext(socket) => {
                    let events = self.released.remove(socket)?;
                    self.slots.pop_front();
                    events.into_iter().rev().for_each(|event| self.slots.push_front(Slot::Event(event)));
                }
            }
        }
    }

    /// Takes what was seen next.
    pub(crate) fn take(&mut self, seen: Seen) {
        self.sequence += 1;
        match seen {
            Seen::Event { event, within } => {
                self.advance(event.at);
                self.event(event, within);
            }
            Seen::Plaintext(plaintext) => {
                self.advance(plaintext.at);
                let writes = plaintext.direction == Direction::Sent;
                self.called(plaintext.unit, plaintext.object, plaintext.socket, writes);
                self.plaintext(plaintext);
            }
            Seen::Call { unit, object, socket, writes } => self.called(unit, object, socket, writes),
            Seen::Freed { at, object, positions } => self.freed(at, object, positions),
        }
        if self.slots.len() > MOST_DELAYED {
            self.decide_all();
        }
    }

    /// Time went on.
    pub(crate) fn advance(&mut self, now: u64) {
        for socket in std::mem::take(&mut self.waiting) {
            let Some(Phase::Tls(secure)) = self.sockets.get(&socket).map(|socket| &socket.phase) else { continue };
            let late = |by: Option<u64>| by.is_some_and(|by| by < now);
            if late(secure.ending.as_ref().map(|(by, _)| *by)) {
                self.end(socket);
            } else if late(secure.decide_by) {
                self.stay_encrypted(socket);
            } else {
                self.waiting.push(socket);
            }
        }
    }

    /// Nothing more will come.
    pub(crate) fn stop(&mut self, at: u64) {
        self.decide_all();
        let mut sockets: Vec<SocketId> = self.sockets.keys().copied().collect();
        sockets.sort();
        for socket in sockets {
            match self.sockets.get_mut(&socket).map(|socket| &mut socket.phase) {
                Some(Phase::New(held)) => {
                    let held = std::mem::take(held);
                    self.slots.extend(held.into_iter().map(Slot::Event));
                }
                Some(Phase::Tls(_)) => self.end(socket),
                Some(Phase::Clear(_) | Phase::Open) | None => {}
            }
        }
        let mut objects: Vec<ObjectId> = self.objects.keys().copied().collect();
        objects.sort();
        for object in objects {
            self.freed(at, object, [0; 2]);
        }
    }

    /// Nothing waits for a tie any more.
    fn decide_all(&mut self) {
        for socket in std::mem::take(&mut self.waiting) {
            match self.secure(socket) {
                Some(secure) if secure.ending.is_some() => self.end(socket),
                Some(secure) if secure.decide_by.is_some() => self.stay_encrypted(socket),
                _ => {}
            }
        }
    }

    fn secure(&mut self, socket: SocketId) -> Option<&mut Secure> {
        match &mut self.sockets.get_mut(&socket)?.phase {
            Phase::Tls(secure) => Some(secure),
            Phase::New(_) | Phase::Clear(_) | Phase::Open => None,
        }
    }

    fn tell(&mut self, event: Event) {
        self.slots.push_back(Slot::Event(event));
    }

    fn event(&mut self, event: Event, within: Option<ObjectId>) {
        match &event.kind {
            &EventKind::Open { socket, role, joined, .. } => {
                self.sockets.insert(socket, Socket { role, joined, clear: [0; 2], phase: Phase::New(Vec::new()) });
                self.tell(event);
            }
            &EventKind::Data { socket, direction, .. } => {
                // Go's objects name their sockets.
                if let Some(unit) = event.unit.filter(|unit| !unit.is_goroutine()) {
                    // Who sends has done with what it received; who receives within a call needs no other sign.
                    if direction == Direction::Received && within.is_none() {
                        self.received.insert(unit, Received { socket, handshake: false });
                    } else {
                        self.received.remove(&unit);
                    }
                }
                self.data(socket, event, within);
            }
            &EventKind::Finished { socket, direction: Direction::Received } | &EventKind::Close { socket, .. } => {
                self.ends(socket, event);
            }
            &EventKind::Finished { socket, .. } => {
                match self.sockets.get_mut(&socket).map(|socket| &mut socket.phase) {
                    Some(Phase::New(held)) if !held.is_empty() => held.push(event),
                    Some(Phase::Tls(secure)) if !secure.bound => secure.held.push(event),
                    _ => {
                        // A write that has not returned by now never will: its process was killed.
                        self.tell_missing(socket, Direction::Sent, event.at);
                        self.tell(event);
                    }
                }
            }
            EventKind::Born { child } => {
                if let Some(since) = event.unit.and_then(|parent| self.readable.get(&parent.process)) {
                    self.readable.insert(child.process, *since);
                }
                self.tell(event);
            }
            EventKind::Gone => {
                if let Some(unit) = event.unit {
                    self.received.remove(&unit);
                }
                self.tell(event);
            }
            _ => self.tell(event),
        }
    }

    // ---- Ciphertext ----

    fn data(&mut self, socket: SocketId, event: Event, within: Option<ObjectId>) {
        let Some(Socket { role, joined, clear, phase }) = self.sockets.get_mut(&socket) else {
            return self.tell(event);
        };
        match phase {
            Phase::Open => self.tell(event),
            Phase::Clear(_) => self.in_the_clear(socket, event, within),
            Phase::New(held) => {
                held.push(event);
                let Some(tls) = looks_like_tls(held) else { return };
                let process = held.iter().find_map(|event| event.unit).map_or(0, |unit| unit.process);
                let (role, joined, clear, held) = (*role, *joined, *clear, std::mem::take(held));
                // Where the connection was joined, only what calls say can tell a record's middle from something else.
                let tls = tls || (joined && within.is_some());
                let readable = self.readable.get(&process);
                if tls && readable.is_none() && within.is_none() {
                    self.unread.push(process);
                }
                let phase = if tls && (within.is_some() || readable.is_some()) {
                    let begins = held.first().map_or(0, |event| event.at);
                    let heard = !joined && readable.is_some_and(|since| *since <= begins);
                    Phase::Tls(Box::new(Secure::new(role, joined, heard, clear)))
                } else if tls || joined || clear != [0; 2] {
                    Phase::Open
                } else {
                    Phase::Clear(Preamble::default())
                };
                if let Some(socket) = self.sockets.get_mut(&socket) {
                    socket.phase = phase;
                }
                for event in held {
                    match event.kind {
                        EventKind::Data { .. } => self.data(socket, event, within),
                        // In its place behind what was held.
                        EventKind::Finished { .. } => self.event(event, None),
                        _ => self.tell(event),
                    }
                }
            }
            Phase::Tls(_) => self.ciphertext(socket, event, within),
        }
    }

    /// What passes before TLS may begin within a connection.
    fn in_the_clear(&mut self, socket: SocketId, mut event: Event, within: Option<ObjectId>) {
        let Some(known) = self.sockets.get_mut(&socket) else { return self.tell(event) };
        let Phase::Clear(preamble) = &mut known.phase else { return self.tell(event) };
        let EventKind::Data { direction, position, bytes, missing, other, .. } = &mut event.kind else { return };
        let turn = if *missing == 0 { preamble.feed(known.role, *direction, bytes) } else { Turn::Never };
        let mut behind = None;
        match turn {
            Turn::Open => {}
            Turn::Never => known.phase = Phase::Open,
            Turn::Behind(clear) => {
                (known.clear, known.phase) = (clear, Phase::New(Vec::new()));
                let end = clear[*direction as usize];
                // A client of MySQL does not wait, and what it says may be seen at once.
                let ciphertext = bytes.split_off(bytes.len().min(end.saturating_sub(*position) as usize));
                if !ciphertext.is_empty() {
                    let (direction, other) = (*direction, *other);
                    let kind =
                        EventKind::Data { socket, direction, position: end, bytes: ciphertext, missing: 0, other };
                    behind = Some(Event { kind, ..event });
                }
            }
        }
        self.tell(event);
        if let Some(event) = behind {
            self.data(socket, event, within);
        }
    }

    fn ciphertext(&mut self, socket: SocketId, event: Event, within: Option<ObjectId>) {
        if let Some(object) = within {
            // Node.js tells the end of a handshake within the call that ends it, and what is written then is sent there.
            let owed = self.secure(socket).and_then(|secure| secure.conversation.ledger(Direction::Sent));
            let owed = owed.is_some_and(|ledger| ledger.is_waiting());
            let known = self.objects.entry(object).or_default();
            known.on_descriptor |= !owed && known.waiting.iter().all(|call| call.direction == Direction::Received);
            self.tie(object, socket);
        }
        let sequence = self.sequence;
        let Some(secure) = self.secure(socket) else { return self.tell(event) };
        let EventKind::Data { direction, bytes, missing, .. } = &event.kind else { return };
        let (at, direction, unit) = (event.at, *direction, event.unit);
        let change = secure.conversation.feed(direction, bytes, *missing, sequence);
        secure.hold(event);
        if let (Ok(Change { application: false, .. }), Some(unit)) = (change, unit)
            && let Some(received) = self.received.get_mut(&unit).filter(|received| received.socket == socket)
        {
            received.handshake = true;
        }
        match change {
            Ok(change) if change.contradiction => self.contradicted(socket),
            Ok(change) => {
                if change.found {
                    self.bind(socket);
                }
                if change.client_spoke {
                    self.spoke(socket, at);
                }
                self.tell_missing_if_broken(socket, at);
            }
            Err(_) => self.contradicted(socket),
        }
    }

    /// The client's application data passed: from here on the order of events matters.
    fn spoke(&mut self, socket: SocketId, at: u64) {
        let Some(secure) = self.secure(socket) else { return };
        if secure.bound || secure.object.is_some() || secure.decide_by.is_some() {
            return;
        }
        secure.decide_by = Some(at.saturating_add(PATIENCE));
        self.slots.push_back(Slot::Ciphertext(socket));
        self.waiting.push(socket);
    }

    // ---- Ties ----

    /// A thread was in a call on an object. A call that reads or shakes hands takes what the thread received just before.
    fn called(&mut self, unit: Option<Unit>, object: ObjectId, socket: Option<SocketId>, writes: bool) {
        let received = unit.and_then(|unit| self.received.remove(&unit));
        if let Some(socket) = socket {
            self.tie(object, socket);
            return;
        }
        let known = self.objects.entry(object).or_default();
        if known.on_descriptor || known.ambiguous {
            return;
        }
        let Some(Received { socket, handshake }) = received else { return };
        if writes && !handshake {
            return;
        }
        let before = known.socket;
        let Some(secure) = self.secure(socket).filter(|secure| !secure.named) else { return };
        match (before, secure.object) {
            (None, None) => {
                secure.object = Some(object);
                self.objects.entry(object).or_default().socket = Some(socket);
                self.tell_waiting(object);
            }
            (Some(tied), Some(other)) if tied == socket && other == object => {}
            // Two candidates: neither is taken, unless one has proved right by arithmetic.
            (tied, other) => {
                for object in [Some(object), other].into_iter().flatten() {
                    self.doubt_object(object);
                }
                for socket in [Some(socket), tied].into_iter().flatten() {
                    self.doubt_socket(socket);
                }
            }
        }
    }

    fn doubt_object(&mut self, object: ObjectId) {
        let Some(socket) = self.objects.get(&object).map(|known| known.socket) else { return };
        let bound = socket.and_then(|socket| self.secure(socket)).is_some_and(|secure| secure.bound);
        if !bound && let Some(known) = self.objects.get_mut(&object) {
            known.ambiguous = true;
            known.socket = None;
        }
    }

    fn doubt_socket(&mut self, socket: SocketId) {
        if let Some(secure) = self.secure(socket)
            && !secure.bound
            && !secure.named
        {
            secure.ambiguous = true;
            secure.object = None;
        }
    }

    /// The object speaks on this socket: a system call or the object itself says so.
    fn tie(&mut self, object: ObjectId, socket: SocketId) {
        let known = self.objects.entry(object).or_default();
        if known.socket == Some(socket) {
            return;
        }
        let before = known.socket;
        let Some(secure) = self.secure(socket) else { return };
        if secure.broken {
            return;
        }
        (secure.named, secure.ambiguous) = (true, false);
        let other = secure.object.replace(object);
        let known = self.objects.entry(object).or_default();
        (known.socket, known.ambiguous) = (Some(socket), false);
        if let Some(other) = other.and_then(|other| self.objects.get_mut(&other)) {
            other.socket = None;
        }
        if let Some(before) = before.and_then(|before| self.secure(before)) {
            before.object = None;
        }
        self.tell_waiting(object);
    }

    /// The arithmetic agrees: plaintext takes the place of ciphertext.
    fn bind(&mut self, socket: SocketId) {
        let Some(secure) = self.secure(socket) else { return };
        let Some(object) = secure.object else { return };
        if secure.bound {
            return;
        }
        let at = secure.last;
        secure.bound = true;
        let held = std::mem::take(&mut secure.held);
        if secure.decide_by.take().is_some() {
            self.released.insert(socket, Vec::new());
        }
        self.tell(Event { at, unit: None, kind: EventKind::InsideTls { socket } });
        self.tell_checked(object, socket);
        let others = held.into_iter().filter(|event| !matches!(event.kind, EventKind::Data { .. }));
        self.slots.extend(others.map(Slot::Event));
    }

    /// What was seen on the socket and in the object cannot be the same.
    fn contradicted(&mut self, socket: SocketId) {
        let Some(secure) = self.secure(socket) else { return };
        if !secure.bound {
            return self.stay_encrypted(socket);
        }
        secure.broken = true;
        let at = secure.last;
        self.tell_missing_if_broken(socket, at);
    }

    /// The connection's ciphertext is all that will be told of it.
    fn stay_encrypted(&mut self, socket: SocketId) {
        let Some(known) = self.sockets.get_mut(&socket) else { return };
        let Phase::Tls(secure) = std::mem::replace(&mut known.phase, Phase::Open) else { return };
        if let Some(object) = secure.object.and_then(|object| self.objects.get_mut(&object)) {
            (object.socket, object.ambiguous) = (None, true);
        }
        if secure.decide_by.is_some() {
            self.released.insert(socket, secure.held);
        } else {
            self.slots.extend(secure.held.into_iter().map(Slot::Event));
        }
    }

    // ---- Plaintext ----

    fn plaintext(&mut self, plaintext: Plaintext) {
        let Plaintext { at, unit, object, direction, position, bytes, missing, left, requested, .. } = plaintext;
        let known = self.objects.entry(object).or_default();
        let expected = &mut known.position[direction as usize];
        let mut gap = position.saturating_sub(*expected);
        *expected = position.saturating_add(bytes.len() as u64).saturating_add(missing);
        let current = &mut known.current[direction as usize];
        // The rest of a call whose last pieces were refused is known to be missing.
        let cut = current.take_if(|_| gap > 0).map(|mut call| {
            let rest = call.left.min(gap);
            call.add(Bytes::new(), rest);
            gap -= rest;
            call
        });
        let sequence = self.sequence;
        let call = current.get_or_insert_with(|| Call::new(at, unit, direction, requested, gap));
        call.sequence = sequence;
        call.left = left;
        call.add(bytes, missing);
        let call = if left == 0 { current.take() } else { None };
        for call in [cut, call].into_iter().flatten() {
            self.call(object, call);
        }
    }

    /// One call's plaintext is complete.
    fn call(&mut self, object: ObjectId, call: Call) {
        let Some(known) = self.objects.get_mut(&object) else { return };
        if known.ambiguous {
            return self.lose(call.at, 1, call.missing());
        }
        known.wait(call);
        self.tell_waiting(object);
    }

    /// Tells the calls that agree with what passed on the object's socket.
    fn tell_waiting(&mut self, object: ObjectId) {
        while let Some(known) = self.objects.get_mut(&object)
            && let Some(socket) = known.socket
            && let Some(call) = known.waiting.get(known.checked)
        {
            let (at, direction, on_descriptor) = (call.at, call.direction, known.on_descriptor);
            let (length, requested, gap, sequence) = (call.length, call.requested, call.gap, call.sequence);
            let Some(secure) = self.secure(socket) else { return };
            let bound = secure.bound;
            let broken = secure.broken;
            let ledger = secure.conversation.ledger(direction);
            let agrees = match (direction, ledger) {
                (_, None) => Err(Contradiction),
                _ if broken => Err(Contradiction),
                (_, Some(ledger)) if gap > 0 => {
                    // Which records the missing calls made is not known.
                    ledger.doubt();
                    Ok(bound)
                }
                (Direction::Received, Some(ledger)) => ledger.read(length, requested).map(|()| true),
                (Direction::Sent, Some(ledger)) if on_descriptor => ledger.wrote(length).map(|()| true),
                (Direction::Sent, Some(ledger)) => {
                    ledger.writes(length, sequence);
                    ledger.settle().map(|found| bound || found == Found::Yes)
                }
            };
            match agrees {
                Ok(agrees) => {
                    if let Some(known) = self.objects.get_mut(&object) {
                        known.checked += 1;
                    }
                    match (agrees, bound) {
                        (true, true) => self.tell_checked(object, socket),
                        (true, false) => self.bind(socket),
                        (false, _) => {}
                    }
                }
                Err(Contradiction) if bound => {
                    let call = self.objects.get_mut(&object).and_then(Object::take_first);
                    self.lose(at, 1, call.map_or(0, |call| call.missing()));
                    self.contradicted(socket);
                }
                Err(Contradiction) => return self.contradicted(socket),
            }
        }
        if let Some(socket) = self.objects.get(&object).and_then(|known| known.socket) {
            self.end_if_read(socket);
        }
    }

    fn tell_checked(&mut self, object: ObjectId, socket: SocketId) {
        while let Some(known) = self.objects.get_mut(&object)
            && known.checked > 0
            && let Some(call) = known.take_first()
        {
            self.tell_call(socket, call);
        }
    }

    fn tell_call(&mut self, socket: SocketId, call: Call) {
        let Some(secure) = self.secure(socket) else { return };
        let client = secure.conversation.client_direction();
        if call.direction != client {
            // An answer to something that was said before anybody listened; or what a server says first, while what the client
            // said waits to be read.
            if !secure.heard && secure.conversation.ledger(client).is_some_and(|ledger| !ledger.has_started()) {
                self.tell_missing(socket, client, call.at);
            }
        }
        let Call { at, unit, direction, gap, pieces, .. } = call;
        let Some(secure) = self.secure(socket) else { return };
        // What was told to be missing before may be what the first call comes behind.
        let gap = gap.saturating_sub(std::mem::take(&mut secure.unheard[direction as usize]));
        let before = (gap > 0).then(|| (Bytes::new(), gap));
        for (bytes, missing) in before.into_iter().chain(pieces) {
            self.tell_data(socket, Event { at, unit, kind: EventKind::Gone }, direction, bytes, missing);
        }
    }

    /// Tells of plaintext; the kind of `event` does not matter.
    fn tell_data(&mut self, socket: SocketId, event: Event, direction: Direction, bytes: Bytes, missing: u64) {
        let Some(secure) = self.secure(socket) else { return };
        let next = &mut secure.position[direction as usize];
        let position = *next;
        *next = next.saturating_add(bytes.len() as u64).saturating_add(missing);
        self.tell(Event {
            kind: EventKind::Data { socket, direction, position, bytes, missing, other: None },
            ..event
        });
    }

    /// Tells how much application data passed whose plaintext never came.
    fn tell_missing(&mut self, socket: SocketId, direction: Direction, at: u64) {
        let Some(ledger) = self.secure(socket).and_then(|secure| secure.conversation.ledger(direction)) else { return };
        let missing = ledger.unexplained();
        let started = ledger.has_started();
        if missing > 0 {
            ledger.give_up();
            if !started && let Some(secure) = self.secure(socket) {
                let unheard = &mut secure.unheard[direction as usize];
                *unheard = unheard.saturating_add(missing);
            }
            let event = Event { at, unit: None, kind: EventKind::Gone };
            self.tell_data(socket, event, direction, Bytes::new(), missing);
        }
    }

    fn tell_missing_if_broken(&mut self, socket: SocketId, at: u64) {
        if self.secure(socket).is_some_and(|secure| secure.broken) {
            self.tell_missing(socket, Direction::Sent, at);
            self.tell_missing(socket, Direction::Received, at);
        }
    }

    fn lose(&mut self, at: u64, events: u64, bytes: u64) {
        let loss = Loss { kind: LossKind::UnknownConnection, events, bytes };
        self.tell(Event { at, unit: None, kind: EventKind::Lost(loss) });
    }

    fn freed(&mut self, at: u64, object: ObjectId, positions: [u64; 2]) {
        for direction in [Direction::Sent, Direction::Received] {
            let Some(known) = self.objects.get_mut(&object) else { return };
            // What was refused last, which no later piece shows.
            let gap = positions[direction as usize].saturating_sub(known.position[direction as usize]);
            let call = match known.current[direction as usize].take() {
                Some(mut call) => {
                    call.add(Bytes::new(), gap.max(call.left));
                    call
                }
                None if gap > 0 => Call::new(at, None, direction, 0, gap),
                None => continue,
            };
            self.call(object, call);
        }
        let Some(known) = self.objects.remove(&object) else { return };
        let calls = known.waiting.len() as u64;
        let bytes = known.waiting.iter().fold(0, |bytes: u64, call| bytes.saturating_add(call.missing()));
        if calls > 0 {
            self.lose(at, calls, bytes);
        }
        let Some(socket) = known.socket else { return };
        let Some(secure) = self.secure(socket) else { return };
        secure.freed = true;
        if secure.ending.is_some() {
            self.end(socket);
        }
    }

    // ---- Ends ----

    /// The peer has finished, or the connection is gone.
    fn ends(&mut self, socket: SocketId, event: Event) {
        let gone = matches!(event.kind, EventKind::Close { .. });
        match self.sockets.get_mut(&socket).map(|socket| &mut socket.phase) {
            Some(Phase::Tls(secure)) => {
                let patience = if secure.bound { LAST_READ } else { PATIENCE };
                let ending = secure.ending.get_or_insert_with(|| {
                    self.waiting.push(socket);
                    (event.at.saturating_add(patience), Vec::new())
                });
                ending.1.push(event);
                self.end_if_read(socket);
                return;
            }
            Some(Phase::New(held)) => {
                let held = std::mem::take(held);
                self.slots.extend(held.into_iter().map(Slot::Event));
            }
            Some(Phase::Clear(_) | Phase::Open) | None => {}
        }
        self.tell(event);
        if gone {
            self.sockets.remove(&socket);
        }
    }

    /// Tells the end of a connection if nothing is left to be read on it.
    fn end_if_read(&mut self, socket: SocketId) {
        let Some(secure) = self.secure(socket) else { return };
        if secure.ending.is_none() {
            return;
        }
        let has_object = secure.object.is_some();
        let unread = secure.conversation.ledger(Direction::Received).is_some_and(|ledger| ledger.unexplained() > 0);
        let unsure = !secure.bound && (secure.decide_by.is_some() || (has_object && !secure.conversation.is_idle()));
        if secure.freed || !(unsure || (secure.bound && unread)) {
            self.end(socket);
        }
    }

    /// The connection's end, or that of the recording.
    fn end(&mut self, socket: SocketId) {
        let Some(secure) = self.secure(socket) else { return };
        let ending = secure.ending.take().map(|(_, events)| events).unwrap_or_default();
        let at = ending.first().map(|event| event.at);
        let gone = ending.iter().any(|event| matches!(event.kind, EventKind::Close { .. }));
        if !secure.bound {
            if secure.object.is_some() && secure.conversation.is_idle() {
                // Nothing was said.
                self.bind(socket);
            } else if gone || at.is_none() {
                self.stay_encrypted(socket);
            }
        } else if let Some(at) = at.or(Some(secure.last)) {
            let unread = secure.freed;
            self.tell_missing(socket, Direction::Sent, at);
            if !unread {
                self.tell_missing(socket, Direction::Received, at);
            }
        }
        if let Some(secure) = self.secure(socket).filter(|secure| !secure.bound) {
            // The other way may go on: the end has its place in what is held.
            secure.held.extend(ending);
            return;
        }
        self.slots.extend(ending.into_iter().map(Slot::Event));
        if gone {
            let told = self.sockets.remove(&socket).is_some_and(|socket| matches!(socket.phase, Phase::Tls(_)));
            if told {
                self.ended.truncate(MOST_ENDED - 1);
                self.ended.push_front(socket);
            }
        }
    }
}
