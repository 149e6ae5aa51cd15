//! Sockets become connections: two ordered byte streams with explicit gaps, cut into exchanges.

use std::collections::{BTreeMap, HashSet, VecDeque};

use regress_ebpf::{Address, CloseCause, Direction, Role, SocketId};
use regress_protocols::{
    Limits, Mark, PairEvent, Pairer, Request, Side,
    fastcgi::{self, Cutter},
};

use crate::{
    Lack,
    correlate::{CallKey, EntryKey, Moment},
    hold::Hold,
};

/// Moments of a connection beyond these are thinned out.
const MOST_MOMENTS: usize = 40_000;
/// Moments that are kept while no exchange is under way: bytes that do not tell their protocol yet.
const IDLE_MOMENTS: usize = 32;

/// Where services of the host listen: logs, names, users, the bus. What is said to them is no call to a downstream.
const HOST_SERVICES: [&[u8]; 6] =
    [b"/run/systemd/", b"/run/dbus/", b"/var/run/dbus/", b"/run/nscd/", b"/var/run/nscd/", b"/dev/log"];

/// What is not looked into: services of the host, and socketpairs, by which a process speaks to those that it started
/// or that started it (a log that is piped away).
fn is_left_out(local: &Address, peer: &Address) -> bool {
    match (local, peer) {
        (Address::Unix(local), Address::Unix(peer)) => {
            (local.name.is_empty() && peer.name.is_empty())
                || HOST_SERVICES.iter().any(|prefix| peer.name.starts_with(prefix))
        }
        _ => false,
    }
}

/// What an exchange of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// An entry.
    Entry(EntryKey),
    /// A call.
    Call(CallKey),
    /// Something that was under way when the recording joined, or concerns the connection alone: nobody's.
    Joined,
}

/// One connection of the service.
pub(crate) struct Connection {
    pub socket: SocketId,
    /// A small number in order of opening.
    pub number: u64,
    /// `None` until it is established.
    pub role: Option<Role>,
    pub local: Option<Address>,
    pub peer: Address,
    /// The name by which the service knows the peer, where it asked for it.
    pub name: Option<String>,
    pub tls: bool,
    pub joined: bool,
    /// Both ends are in the service: the client's.
    pub internal: Option<SocketId>,
    /// A Unix connection that carries nothing of the service's own trade.
    pub left_out: bool,
    /// When the service began to open it.
    pub begun: Moment,
    pub cause: Option<CloseCause>,
    /// Its exchanges that are under way, by the pairer's number, and when they began.
    pub parts: BTreeMap<u64, (Part, Mark)>,
    /// Some exchange has begun on it; the last one that is a call.
    pub used: bool,
    pub last_call: Option<CallKey>,
    /// Data that waits for the other direction.
    pub hold: Hold,
    /// How often data went on out of order since no exchange was under way.
    pub reordered: u64,
    /// Payload that its exchanges under way may hold in memory.
    pub buffered: u64,
    touched: HashSet<Lack>,
    pairer: Pairer,
    expected: [u64; 2],
    moments: VecDeque<Moment>,
    /// The client said something.
    spoken: bool,
    /// Moments say who waits for the request that begins there, and not who moved bytes.
    for_whom: bool,
    /// The content is not cut into exchanges any more.
    left: bool,
    /// Where it is FastCGI, which is not recorded, but passed on between recorded processes.
    pub cutter: Option<Cutter>,
}

impl Connection {
    pub(crate) fn new(socket: SocketId, number: u64, peer: Address, begun: Moment) -> Connection {
        Connection {
            socket,
            number,
            role: None,
            local: None,
            peer,
            name: None,
            tls: false,
            joined: false,
            internal: None,
            left_out: false,
            begun,
            cause: None,
            parts: BTreeMap::new(),
            used: false,
            last_call: None,
            hold: Hold::default(),
            reordered: 0,
            buffered: 0,
            touched: HashSet::new(),
            pairer: Pairer::new(false, Limits::default()),
            expected: [0; 2],
            moments: VecDeque::new(),
            spoken: false,
            for_whom: false,
            left: false,
            cutter: None,
        }
    }

    /// The connection is usable.
    pub(crate) fn opened(&mut self, role: Role, local: Address, peer: Address, joined: bool) {
        self.role = Some(role);
        self.left_out = is_left_out(&local, &peer);
        self.local = Some(local);
        self.peer = peer;
        if joined {
            self.joined = true;
            self.pairer = Pairer::new(true, Limits::default());
        }
    }

    /// Which side of the conversation sent what moved this way.
    fn side(&self, direction: Direction) -> Side {
        match (self.role, direction) {
            (Some(Role::Server), Direction::Received) | (Some(Role::Client) | None, Direction::Sent) => Side::Client,
            (Some(Role::Server), Direction::Sent) | (Some(Role::Client) | None, Direction::Received) => Side::Server,
        }
    }

    /// Bytes moved; gives how many bytes of this direction were not seen, here or before.
    pub(crate) fn data(&mut self, now: Moment, direction: Direction, position: u64, bytes: &[u8], missing: u64) -> u64 {
        let side = self.side(direction);
        let expected = &mut self.expected[direction as usize];
        let skipped = position.saturating_sub(*expected);
        // Bytes that were given before are not given again.
        let known = (expected.saturating_sub(position)).min(bytes.len() as u64) as usize;
        *expected = (*expected).max(position + bytes.len() as u64 + missing);
        let bytes = &bytes[known..];
        self.remember(now);
        if side == Side::Client && !bytes.is_empty() && !std::mem::replace(&mut self.spoken, true) {
            self.look(bytes);
        }
        self.cut(now.mark, side, bytes, skipped, missing);
        if self.internal.is_some() && self.is_cut() {
            return skipped + missing;
        }
        self.buffered += bytes.len() as u64;
        if skipped > 0 {
            self.pairer.gap(now.mark, side, skipped);
        }
        if !bytes.is_empty() {
            self.pairer.data(now.mark, side, bytes);
        }
        if missing > 0 {
            self.pairer.gap(now.mark, side, missing);
        }
        skipped + missing
    }

    fn cut(&mut self, mark: Mark, side: Side, bytes: &[u8], skipped: u64, missing: u64) {
        let Some(cutter) = &mut self.cutter else { return };
        if skipped > 0 {
            cutter.ended();
        }
        cutter.data(mark, side, bytes);
        if missing > 0 {
            cutter.ended();
        }
    }

    /// How far each direction has come.
    pub(crate) fn reached(&self) -> [u64; 2] {
        self.expected
    }

    /// Something of it is missing; `true` the first time.
    pub(crate) fn touch(&mut self, lack: Lack) -> bool {
        self.touched.insert(lack)
    }

    /// One direction ended.
    pub(crate) fn finished(&mut self, now: Moment, direction: Direction) {
        let side = self.side(direction);
        self.remember(now);
        self.pairer.finished(now.mark, side);
    }

    /// The connection is gone.
    pub(crate) fn closed(&mut self, now: Moment, cause: CloseCause) {
        self.cause = Some(cause);
        self.remember(now);
        self.pairer.closed(now.mark);
        self.cutter.iter_mut().for_each(Cutter::ended);
    }

    /// The recording ends.
    pub(crate) fn stop(&mut self, now: Moment) {
        self.remember(now);
        self.pairer.stop(now.mark);
        self.cutter.iter_mut().for_each(Cutter::ended);
    }

    /// What the bytes so far say.
    pub(crate) fn next(&mut self) -> Option<PairEvent> {
        self.pairer.next()
    }

    /// What is said on it is not cut into exchanges from now on.
    pub(crate) fn leave(&mut self) {
        self.pairer = Pairer::new(true, Limits::default());
        self.cutter = None;
        self.left = true;
    }

    /// Whether it is FastCGI.
    pub(crate) fn is_cut(&self) -> bool {
        self.cutter.is_some()
    }

    /// Whether the other end may be in the service as well, and show itself by answering.
    pub(crate) fn may_be_internal(&self) -> bool {
        self.is_cut() && self.role != Some(Role::Server) && self.expected[Direction::Received as usize] == 0
    }

    /// Whether the service opened it, to an address of the network, and nothing was said on it.
    pub(crate) fn is_silent(&self) -> bool {
        let is_ours = self.role != Some(Role::Server) && self.internal.is_none() && !self.left_out;
        is_ours && matches!(self.peer, Address::Inet(_)) && self.expected == [0; 2]
    }

    /// The request of an exchange that is under way, where it is complete.
    pub(crate) fn request(&self, number: u64) -> Option<Request<'_>> {
        self.pairer.request(number)
    }

    /// Whether the content is known not to be cut into exchanges.
    pub(crate) fn is_opaque(&self) -> bool {
        self.left || self.pairer.is_read() == Some(false)
    }

    /// The moment of a mark, or of the last one before it where it is not remembered.
    pub(crate) fn moment(&self, mark: Mark) -> Moment {
        let after = self.moments.partition_point(|moment| moment.mark <= mark);
        match after.checked_sub(1).and_then(|at| self.moments.get(at)) {
            Some(moment) if moment.mark == mark => self.seen(*moment),
            Some(moment) => Moment { mark, at: moment.at, unit: None },
            None => Moment { mark, at: self.begun.at, unit: None },
        }
    }

    /// A moment as far as it says who works. On a multiplexed connection one unit writes and reads for all, so that nothing
    /// follows from who moved the bytes, unless the runtime says for whom.
    pub(crate) fn seen(&self, moment: Moment) -> Moment {
        let is_told = self.for_whom || !self.pairer.is_multiplexed();
        if is_told { moment } else { Moment { unit: None, ..moment } }
    }

    /// From now on moments say who waits for the request that begins there.
    pub(crate) fn tells_for_whom(&mut self) {
        self.for_whom = true;
        self.moments.iter_mut().for_each(|moment| moment.unit = None);
    }

    /// Whether its moments say who waits for a request.
    pub(crate) fn says_for_whom(&self) -> bool {
        self.for_whom
    }

    /// Forget moments that no exchange can ask for.
    pub(crate) fn tidy(&mut self) {
        match self.parts.values().next() {
            Some(&(_, mark)) => {
                while self.moments.front().is_some_and(|moment| moment.mark < mark) {
                    self.moments.pop_front();
                }
            }
            None => {
                let surplus = self.moments.len().saturating_sub(IDLE_MOMENTS);
                self.moments.drain(..surplus);
            }
        }
        if self.moments.len() > MOST_MOMENTS {
            self.moments.drain(1..MOST_MOMENTS / 2);
        }
    }

    fn remember(&mut self, now: Moment) {
        if self.moments.back().is_none_or(|last| last.mark < now.mark) {
            self.moments.push_back(now);
        }
    }

    /// Look at the first bytes of the client for what is no protocol of exchanges, and passed on all the same.
    fn look(&mut self, bytes: &[u8]) {
        if fastcgi::is_opening(bytes) {
            self.cutter = Some(Cutter::default());
            self.left = true;
        }
    }

    /// Whether an exchange was under way when the recording joined, and is not the first thing that is understood.
    pub(crate) fn was_under_way(&self, number: u64) -> bool {
        (self.joined && !self.is_understood()) || self.pairer.is_unseen(number)
    }

    /// Whether exchanges that were under way when the recording joined may still show themselves.
    pub(crate) fn may_hide_exchanges(&self) -> bool {
        self.joined && self.pairer.is_multiplexed()
    }

    /// Whether it can be no hop: only what is said in HTTP or FastCGI is followed from one recorded process to another.
    pub(crate) fn is_no_hop(&self) -> bool {
        (self.is_opaque() || self.pairer.says_values()) && !self.is_cut()
    }

    /// A request in a protocol that is understood began on it.
    pub(crate) fn is_understood(&self) -> bool {
        !self.left && self.pairer.is_read() == Some(true)
    }
}
