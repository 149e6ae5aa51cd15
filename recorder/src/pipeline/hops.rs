//! Connections between two recorded processes: what is asked there is neither entry nor call, and tells whose the calls
//! are that come of it.

use std::collections::VecDeque;

use regress_ebpf::{Address, Role, SocketId};
use regress_protocols::{Mark, PairEvent, Paired, PairedContent, fastcgi};

use super::{EntryDraft, Pipeline};
use crate::{
    assemble,
    connections::{Connection, Part},
    correlate::{CallKey, EntryKey, Fact, Moment, Verdict},
    select::Standing,
};

/// Bytes of requests and responses between recorded processes that are kept of one connection until they are over.
pub(super) const MOST_OF_A_HOP: u64 = 64 << 20;
/// Requests that may wait for the answer that tells which they are.
const MOST_REQUESTS: usize = 64;

/// Both ends of a connection put together. A request is read by the server before the client reads the response, and after it
/// has read the response before: so much is certain whatever of the connection was seen.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// When the client read the last response, or when the later end came to be known.
    since: u64,
    /// Requests that the server began to read, and when.
    read: VecDeque<(EntryKey, u64)>,
    /// Calls of the client that are not over.
    under_way: u32,
    /// The client asks before it is answered, or one end sees what the other does not.
    is_muddled: bool,
}

impl Line {
    /// Both ends are known from this moment on; `joined`: something may have passed before.
    pub(super) fn new(at: u64, joined: bool) -> Line {
        Line { since: if joined { at } else { 0 }, ..Line::default() }
    }

    fn asked(&mut self) {
        self.under_way += 1;
        self.is_muddled |= self.under_way > 1;
    }

    fn read(&mut self, entry: EntryKey, at: u64) {
        self.read.push_back((entry, at));
        if self.read.len() > MOST_REQUESTS {
            self.is_muddled = true;
            self.read.clear();
        }
    }

    /// The client reads a response: gives the request that it is the response to.
    fn answered(&mut self, at: u64) -> Option<EntryKey> {
        let read = self.read.iter().take_while(|(_, read)| *read < at).count();
        let mut read = self.read.drain(..read).filter(|(_, read)| *read >= self.since);
        let (one, other) = (read.next(), read.next());
        drop(read);
        self.since = at;
        one.filter(|_| other.is_none() && !self.is_muddled).map(|(entry, _)| entry)
    }
}

/// What happens on such a connection.
enum Turn {
    Asked(u64, Mark),
    AllAsked(u64, Mark),
    Answered(u64, Mark),
    Done(u64, Option<Box<Paired>>),
}

impl From<fastcgi::Turn> for Turn {
    fn from(turn: fastcgi::Turn) -> Turn {
        match turn {
            fastcgi::Turn::RequestBegan { number, mark } => Turn::Asked(number, mark),
            fastcgi::Turn::Parameters { number, mark } => Turn::AllAsked(number, mark),
            fastcgi::Turn::ResponseBegan { number, mark } => Turn::Answered(number, mark),
            fastcgi::Turn::Done { number } => Turn::Done(number, None),
        }
    }
}

fn turn(event: PairEvent) -> Option<Turn> {
    Some(match event {
        PairEvent::RequestBegan { number, mark, .. } => Turn::Asked(number, mark),
        PairEvent::RequestComplete { number, mark } => Turn::AllAsked(number, mark),
        PairEvent::ResponseBegan { number, mark } => Turn::Answered(number, mark),
        PairEvent::RequestContinued { .. } | PairEvent::ResponseComplete { .. } => return None,
        PairEvent::Done(paired) => Turn::Done(paired.number, Some(paired)),
    })
}

/// What the bytes of a connection say next.
fn next_turn(connection: &mut Connection) -> Option<Turn> {
    if connection.is_cut() {
        return connection.cutter.as_mut().and_then(fastcgi::Cutter::next_turn).map(Turn::from);
    }
    std::iter::from_fn(|| connection.next()).find_map(turn)
}

impl Pipeline {
    /// Both ends of the connection are in the service.
    pub(super) fn internal(&mut self, now: Moment, socket: SocketId, other: SocketId) {
        let role = |socket| self.connections.get(&socket).and_then(|connection: &Connection| connection.role);
        let client = match (role(socket), role(other)) {
            (Some(Role::Client), Some(Role::Server)) => socket,
            (Some(Role::Server), Some(Role::Client)) => other,
            // Who asks is not known: what is said there is nobody's all the same.
            _ => socket,
        };
        let joined = [socket, other].iter().any(|end| self.connections.get(end).is_some_and(|end| end.joined));
        self.lines.insert(client, Line::new(now.at, joined));
        for end in [socket, other] {
            let Some(connection) = self.connections.get_mut(&end) else { continue };
            connection.internal = Some(client);
            let is_hop =
                (connection.is_understood() || connection.is_cut()) && !connection.is_no_hop() && end == client;
            self.correlator.fact(now, Fact::JoinedIdle { connection: end });
            if is_hop {
                self.call_is_hop(end)
            } else {
                self.drop_parts(now, end)
            }
            self.hop(now, end);
        }
    }

    /// What had begun as a call before the other end was known.
    fn call_is_hop(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get(&socket) else { return };
        for (part, _) in connection.parts.values() {
            if let Part::Call(call) = part {
                self.calls.entry(*call).and_modify(|draft| draft.is_hop = true);
                self.lines.entry(socket).or_default().asked();
            }
        }
    }

    /// Somebody answers who is not recorded: what was kept open for a hop is one long conversation.
    pub(super) fn is_from_outside(&mut self, now: Moment, socket: SocketId) {
        let Some(connection) = self.connections.get(&socket).filter(|connection| connection.is_cut()) else { return };
        if connection.internal.is_some() || connection.role != Some(Role::Client) {
            return;
        }
        let operation = assemble::opaque_operation(connection);
        let calls = connection
            .parts
            .values()
            .filter_map(|(part, _)| if let Part::Call(call) = part { Some(*call) } else { None });
        for call in calls.collect::<Vec<_>>() {
            self.unix_not_http +=
                u64::from(matches!(self.connections.get(&socket).map(|c| &c.peer), Some(Address::Unix(_))));
            self.correlator.fact(now, Fact::CallIsOpaque { call, operation });
        }
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.cutter = None;
        }
    }

    /// What had begun is neither an entry, nor a call, nor a hop.
    fn drop_parts(&mut self, now: Moment, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        self.under_way -= std::mem::take(&mut connection.buffered);
        for (part, _) in std::mem::take(&mut connection.parts).into_values() {
            match part {
                Part::Entry(entry) => self.drop_entry(now, entry),
                Part::Call(call) => {
                    self.calls.remove(&call);
                    self.correlator.fact(now, Fact::CallDropped { call });
                }
                Part::Joined => {}
            }
        }
    }

    /// It is not looked into any further: somebody talks for long there, or at length.
    pub(super) fn leave_hop(&mut self, now: Moment, socket: SocketId) {
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.leave();
        }
        self.drop_parts(now, socket);
    }

    /// Take what the bytes of a connection within the service say.
    pub(super) fn hop(&mut self, now: Moment, socket: SocketId) {
        while let Some(connection) = self.connections.get_mut(&socket) {
            if connection.is_no_hop() {
                return self.drop_parts(now, socket);
            }
            let Some(client) = connection.internal else { return };
            let Some(turn) = next_turn(connection) else { break };
            match turn {
                Turn::Asked(number, mark) => self.hop_began(socket, client, number, mark),
                Turn::AllAsked(number, mark) => match self.part(socket, number, mark) {
                    Some((Part::Entry(entry), moment)) => self.correlator.fact(moment, Fact::EntryRead { entry }),
                    Some((Part::Call(_), _)) => self.says(socket, number, mark),
                    Some((Part::Joined, _)) | None => {}
                },
                Turn::Answered(number, mark) => match self.part(socket, number, mark) {
                    Some((Part::Entry(entry), moment)) => self.correlator.fact(moment, Fact::AnswerBegan { entry }),
                    Some((Part::Call(call), moment)) => {
                        self.hop_answered(client, call, moment);
                        self.correlator.fact(moment, Fact::CallAnswered { call });
                    }
                    Some((Part::Joined, moment)) => drop(self.lines.entry(client).or_default().answered(moment.at)),
                    None => {}
                },
                Turn::Done(number, paired) => self.hop_done(now, socket, client, number, paired),
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

    fn hop_began(&mut self, socket: SocketId, client: SocketId, number: u64, mark: Mark) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        if connection.parts.contains_key(&number) {
            return;
        }
        let moment = connection.moment(mark);
        let first = !std::mem::replace(&mut connection.used, true);
        let is_joined = connection.joined && !connection.is_understood() && !connection.is_cut();
        let part = match connection.role {
            _ if is_joined => Part::Joined,
            Some(Role::Server) => {
                let entry = EntryKey(self.next_entry);
                self.next_entry += 1;
                self.entries.insert(entry, EntryDraft::of_hop(moment.at));
                self.correlator.fact(moment, Fact::EntryBegan { entry, connection: socket });
                self.correlator.fact(moment, Fact::HopBegan { entry });
                self.lines.entry(client).or_default().read(entry, moment.at);
                Part::Entry(entry)
            }
            Some(Role::Client) | None => {
                let call = self.new_call(socket, moment.at);
                self.calls.entry(call).and_modify(|draft| draft.is_hop = true);
                self.correlator.fact(moment, Fact::CallBegan { call, connection: socket, first, opaque: None });
                self.lines.entry(client).or_default().asked();
                Part::Call(call)
            }
        };
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.last_call = if let Part::Call(call) = part { Some(call) } else { None };
            connection.parts.insert(number, (part, mark));
        }
    }

    fn hop_answered(&mut self, client: SocketId, call: CallKey, moment: Moment) {
        if let Some(entry) = self.lines.entry(client).or_default().answered(moment.at) {
            self.correlator.fact(moment, Fact::HopIs { entry, call });
        }
    }

    fn hop_done(&mut self, now: Moment, socket: SocketId, client: SocketId, number: u64, paired: Option<Box<Paired>>) {
        let Some(connection) = self.connections.get_mut(&socket) else { return };
        let Some((part, _)) = connection.parts.remove(&number) else { return };
        let is_http = paired.as_ref().is_none_or(|paired| matches!(paired.content, PairedContent::Http1 { .. }));
        let was_answered = paired.as_ref().is_none_or(|paired| paired.response_began.is_some());
        match part {
            Part::Entry(entry) if is_http => self.correlator.fact(now, Fact::EntryEnded { entry }),
            Part::Entry(entry) => self.drop_entry(now, entry),
            Part::Call(call) => {
                let operation = match paired {
                    Some(paired) => assemble::operation(&assemble::exchange(connection, *paired, true).exchange),
                    None => assemble::opaque_operation(connection),
                };
                let line = self.lines.entry(client).or_default();
                line.under_way = line.under_way.saturating_sub(1);
                if !was_answered {
                    self.hop_answered(client, call, now);
                }
                self.correlator.fact(now, Fact::CallEnded { call, operation, transaction: None });
            }
            Part::Joined => {}
        }
    }

    /// What was ruled for the far end of a hop is of whoever the hop is of.
    pub(super) fn passed(&mut self, hop: EntryKey, of: &Verdict) {
        let Some(draft) = self.entries.remove(&hop) else { return };
        let owner = match of {
            Verdict::Owner { entry, .. } => self.entries.get_mut(entry),
            Verdict::Ambient | Verdict::Ambiguous { .. } => None,
        };
        if let Some(owner) = owner {
            owner.doubted |= draft.doubted;
            owner.owned.extend(draft.owned);
            return;
        }
        let of = if *of == Verdict::Ambient { Verdict::Ambient } else { Verdict::Ambiguous { among: Vec::new() } };
        for call in draft.owned {
            self.calls.entry(call).and_modify(|draft| draft.verdict = Some(of.clone()));
            self.give_ambient(call);
        }
    }
}

impl EntryDraft {
    fn of_hop(began: u64) -> EntryDraft {
        EntryDraft {
            began,
            kept: false,
            exchange: None,
            owned: Vec::new(),
            lost: None,
            doubted: false,
            standing: Standing::default(),
            left_out: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(joined: bool) -> Line {
        Line::new(100, joined)
    }

    #[test]
    fn a_response_tells_its_request() {
        let mut line = line(false);
        for number in 1..4 {
            line.asked();
            line.read(EntryKey(number), 10 * number);
            assert_eq!(line.answered(10 * number + 5), Some(EntryKey(number)));
            line.under_way -= 1;
        }
    }

    #[test]
    fn a_request_that_is_told_late_is_nobodys() {
        let mut line = line(false);
        assert_eq!(line.answered(15), None);
        line.read(EntryKey(1), 10);
        line.read(EntryKey(2), 20);
        assert_eq!(line.answered(25), Some(EntryKey(2)));
        assert_eq!(line.answered(35), None);
    }

    #[test]
    fn of_what_passed_before_both_ends_were_known_nothing_is_said() {
        let mut line = line(true);
        line.read(EntryKey(1), 90);
        line.read(EntryKey(2), 110);
        assert_eq!(line.answered(120), Some(EntryKey(2)));
    }

    #[test]
    fn requests_that_do_not_wait_for_responses_are_nobodys() {
        let mut pipelined = line(false);
        pipelined.asked();
        pipelined.asked();
        pipelined.read(EntryKey(1), 10);
        assert_eq!(pipelined.answered(15), None);
        let mut unseen = line(false);
        unseen.read(EntryKey(1), 10);
        unseen.read(EntryKey(2), 20);
        assert_eq!(unseen.answered(25), None, "the response between them was not seen");
        let mut crowded = line(false);
        (0..=MOST_REQUESTS as u64).for_each(|number| crowded.read(EntryKey(number), number));
        crowded.read(EntryKey(100), 100);
        assert!(crowded.answered(101).is_none() && crowded.read.is_empty());
    }
}
