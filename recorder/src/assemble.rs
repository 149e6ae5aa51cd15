//! What was paired becomes exchanges and cassettes.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    net::{Ipv4Addr, SocketAddr},
};

use regress_cassettes::{
    Cassette, Cause, Confidence, Connection as ConnectionInfo, Content, Defect, Ended, Exchange, HttpExchange, Micros,
    Turn, WireExchange, downstream_name,
};
use regress_ebpf::{Address, CloseCause};
use regress_protocols::{
    Operation, PairEnd, Paired, PairedContent, Problem, Side, Value,
    http1::{Framing, Message},
    wire::{Protocol, Transaction},
};

use crate::{
    connections::Connection,
    correlate::{InTransaction, OperationHash},
};

/// Where resolvers listen.
const DNS_PORT: u16 = 53;

/// An exchange and when it began, before its place in a cassette is known.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    /// Monotonic nanoseconds of the first byte.
    pub began: u64,
    /// `at` is not set.
    pub exchange: Exchange,
}

impl Timed {
    /// The exchange as part of something that began at `start`.
    pub(crate) fn since(mut self, start: u64) -> Exchange {
        let nanoseconds = i128::from(self.began) - i128::from(start);
        self.exchange.at = i64::try_from(nanoseconds.div_euclid(1000)).unwrap_or(0);
        self.exchange
    }
}

/// The connection as cassettes describe it.
pub(crate) fn connection_info(connection: &Connection) -> ConnectionInfo {
    let local = connection.local.as_ref().filter(|local| !matches!(local, Address::Unix(unix) if unix.name.is_empty()));
    ConnectionInfo {
        id: connection.number,
        local: local.map(address),
        peer: address(&connection.peer),
        tls: connection.tls,
    }
}

fn address(address: &Address) -> regress_cassettes::Address {
    match address {
        Address::Inet(address) => (*address).into(),
        Address::Unix(unix) => regress_cassettes::Address::Unix(unix.name.clone()),
    }
}

/// An exchange out of what its connection gave.
pub(crate) fn exchange(connection: &Connection, paired: Paired, downstream: bool) -> Timed {
    let time = |mark| connection.moment(mark).at;
    let began = time(paired.request_began);
    let took = match (paired.end, paired.response_complete) {
        (PairEnd::Complete, Some(complete)) => Some(micros(began, time(complete))),
        _ => None,
    };
    let mut defects: Vec<Defect> = paired.problems.iter().map(defect).collect();
    if paired.end == PairEnd::Unfinished {
        defects.push(Defect::Unfinished);
    }
    defects.dedup();
    let is_reset = matches!(paired.content, PairedContent::Http1 { reset: Some(_), .. });
    let ended = match (paired.end, connection.cause) {
        (PairEnd::Complete, _) => Ended::Ok,
        (PairEnd::Unfinished, _) => Ended::Unfinished,
        (PairEnd::ClosedEarly, _) if is_reset => Ended::Reset,
        (PairEnd::ClosedEarly, Some(CloseCause::Reset)) => Ended::Reset,
        (PairEnd::ClosedEarly, Some(CloseCause::TimedOut)) => Ended::Timeout,
        (PairEnd::ClosedEarly, Some(CloseCause::Refused)) => Ended::Refused,
        (PairEnd::ClosedEarly, Some(CloseCause::Closed) | None) => Ended::Closed,
    };
    let streamed = match (paired.response_began, &paired.arrivals[..]) {
        (Some(response), pieces @ [_, _, ..]) => {
            pieces.iter().map(|(mark, bytes)| (micros(time(response), time(*mark)), *bytes)).collect()
        }
        _ => Vec::new(),
    };
    let content = match paired.content {
        PairedContent::Http1 { request, interim, response, upgraded, reset, interleaved, left } => {
            Content::Http1(HttpExchange {
                request,
                interim,
                response,
                streamed,
                upgraded: turns(upgraded),
                reset,
                interleaved,
                left,
            })
        }
        PairedContent::Wire { protocol, request, response, .. } => {
            Content::Wire(WireExchange { protocol, request, response })
        }
        PairedContent::Opaque(said) => Content::Opaque(turns(said)),
    };
    let downstream = downstream.then(|| name(connection, &content));
    let connection = connection_info(connection);
    Timed { began, exchange: Exchange { downstream, connection, at: 0, took, content, ended, cause: None, defects } }
}

/// About how many bytes of memory an exchange takes.
pub(crate) fn weight(exchange: &Exchange) -> u64 {
    const FIXED: usize = 1 << 10;
    let turns = |turns: &[Turn]| turns.iter().map(|turn| turn.bytes.len() + 64).sum::<usize>();
    let bytes = match &exchange.content {
        Content::Http1(http) => {
            let messages = http.interim.iter().chain(&http.response).chain([&http.request]);
            messages.map(message_weight).sum::<usize>() + turns(&http.upgraded) + 16 * http.streamed.len()
        }
        Content::Wire(wire) => wire.request.weight() + wire.response.as_ref().map_or(0, Value::weight),
        Content::Opaque(said) => turns(said),
        Content::Nothing => 0,
    };
    (bytes + FIXED) as u64
}

fn message_weight(message: &Message) -> usize {
    let chunks = match &message.framing {
        Framing::Chunked { chunks, .. } => chunks.len(),
        Framing::Empty | Framing::Length | Framing::Close => 0,
    };
    let lines = message.headers.iter().map(|line| line.0.len() + 32).sum::<usize>();
    lines + message.body.len() + 64 * chunks
}

/// A connection that was never established.
pub(crate) fn never_established(connection: &Connection) -> Timed {
    let ended = ended(connection);
    let defects = if ended == Ended::Unfinished { vec![Defect::Unfinished] } else { Vec::new() };
    placeholder(connection, connection.begun.at, ended, Content::Nothing, defects)
}

/// A connection on which nothing was said.
pub(crate) fn silent(connection: &Connection) -> Timed {
    placeholder(connection, connection.begun.at, ended(connection), Content::Opaque(Vec::new()), Vec::new())
}

fn ended(connection: &Connection) -> Ended {
    match connection.cause {
        Some(CloseCause::Refused) => Ended::Refused,
        Some(CloseCause::TimedOut) => Ended::Timeout,
        Some(CloseCause::Reset) => Ended::Reset,
        Some(CloseCause::Closed) => Ended::Closed,
        None => Ended::Unfinished,
    }
}

/// An answer of a resolver that came as a datagram: which one it was, and when it was asked, is not known.
pub(crate) fn told_by_datagram(number: u64, at: u64, request: Value, response: Value) -> Timed {
    let peer = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DNS_PORT));
    let content = Content::Wire(WireExchange { protocol: Protocol::Dns, request, response: Some(response) });
    let exchange = Exchange {
        downstream: Some(downstream_name(None, None, peer, false)),
        connection: ConnectionInfo { id: number, local: None, peer: peer.into(), tls: false },
        at: 0,
        took: None,
        content,
        ended: Ended::Ok,
        cause: None,
        defects: Vec::new(),
    };
    Timed { began: at, exchange }
}

/// A call whose content will not be known in time: its connection goes on.
pub(crate) fn still_going(connection: &Connection, began: u64) -> Timed {
    let mut defects = vec![Defect::Unfinished];
    if connection.is_opaque() {
        defects.push(Defect::Garbage);
    }
    placeholder(connection, began, Ended::Unfinished, Content::Nothing, defects)
}

fn placeholder(connection: &Connection, began: u64, ended: Ended, content: Content, defects: Vec<Defect>) -> Timed {
    let downstream = Some(name(connection, &content));
    let connection = connection_info(connection);
    Timed {
        began,
        exchange: Exchange { downstream, connection, at: 0, took: None, content, ended, cause: None, defects },
    }
}

/// What the rule of being alone may mistake for one another: calls of one kind to one downstream.
pub(crate) fn operation(exchange: &Exchange) -> OperationHash {
    let mut hasher = DefaultHasher::new();
    exchange.downstream.hash(&mut hasher);
    if let Some(request) = exchange.request() {
        let Operation { method, path } = request.operation();
        method.hash(&mut hasher);
        kinds(&path).for_each(|segment| segment.hash(&mut hasher));
    }
    hasher.finish()
}

/// What it tells of the transaction on its connection, in a protocol that tells of them.
pub(crate) fn transaction(exchange: &Exchange) -> Option<InTransaction> {
    let wire = exchange.wire()?;
    let Transaction { begins, frames, drops, goes_on } =
        wire.protocol.transaction(&wire.request, wire.response.as_ref())?;
    Some(InTransaction { begins, frames, drops, goes_on })
}

/// The segments of a path, those that look like an id all the same: calls that differ in one are of one kind.
fn kinds(path: &str) -> impl Iterator<Item = &str> {
    const LONGEST_WORD: usize = 32;
    let is_id = |segment: &str| {
        segment.bytes().any(|byte| byte.is_ascii_digit() || byte == b'%') || segment.len() > LONGEST_WORD
    };
    path.split('/').map(move |segment| if is_id(segment) { "0" } else { segment })
}

/// The same for a connection whose content is not understood.
pub(crate) fn opaque_operation(connection: &Connection) -> OperationHash {
    let mut hasher = DefaultHasher::new();
    Some(name(connection, &Content::Nothing)).hash(&mut hasher);
    hasher.finish()
}

/// Whether it is not certain which calls the entry caused.
pub(crate) fn is_uncertain(cassette: &Cassette) -> bool {
    let is_likely = |call: &Exchange| call.cause.as_ref().is_some_and(|cause| cause.confidence == Confidence::Likely);
    cassette.defects.contains(&Defect::AmbiguousOwner) || cassette.downstream.iter().any(is_likely)
}

/// Say of a cassette that what was ruled in it relied on something that proved false.
pub(crate) fn doubt(cassette: &mut Cassette) {
    add(&mut cassette.defects, Defect::AmbiguousOwner);
    for exchange in &mut cassette.downstream {
        if let Some(cause) = &mut exchange.cause {
            *cause = Cause { confidence: Confidence::Ambiguous, ..cause.clone() };
            add(&mut exchange.defects, Defect::AmbiguousOwner);
        }
    }
}

/// Add a defect that is not there yet.
pub(crate) fn add(defects: &mut Vec<Defect>, defect: Defect) {
    if !defects.contains(&defect) {
        defects.push(defect);
    }
}

fn name(connection: &Connection, content: &Content) -> String {
    let host = match content {
        Content::Http1(http) => http.request.header_text("host"),
        Content::Wire(_) | Content::Opaque(_) | Content::Nothing => None,
    };
    match connection.peer {
        Address::Inet(peer) => downstream_name(host.as_deref(), connection.name.as_deref(), peer, connection.tls),
        // The path is what leads there; what clients put into `Host` means nothing.
        Address::Unix(_) => address(&connection.peer).to_string(),
    }
}

fn micros(from: u64, to: u64) -> Micros {
    to.saturating_sub(from) / 1000
}

fn turns(said: Vec<(Side, bytes::Bytes)>) -> Vec<Turn> {
    said.into_iter().map(|(from, bytes)| Turn { from, bytes }).collect()
}

fn defect(problem: &Problem) -> Defect {
    match *problem {
        Problem::Gap { from, position, bytes } => Defect::Gap { from, position, bytes },
        Problem::JoinedMidStream => Defect::JoinedMidStream,
        Problem::Encrypted => Defect::Encrypted,
        Problem::Garbage | Problem::TooLarge => Defect::Garbage,
    }
}
