//! What the service called, and what the mock decided about each call.

use std::net::SocketAddr;

use bytes::Bytes;
use regress_cassettes::{CassetteId, diff::Difference};
use regress_protocols::{Request, Value, http1::Message, wire::Protocol};
use serde::{Deserialize, Serialize};

use crate::bound::Bound;

/// How many calls are kept until they are taken.
const MOST_CALLS: usize = 20_000;

/// How many payload bytes the kept calls may hold.
const MOST_BYTES: u64 = 512 << 20;

/// How many bytes of an attempt in no protocol that is read are kept.
pub const PREFIX: usize = 256;

/// Whose recorded exchanges are played.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those that no entry caused: the service starts up, or stands between two entries.
    Ambient,
    /// Those of the cassette with this id first, then the ambient ones.
    Entry(CassetteId),
}

/// One thing that the service tried to do to the world outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The scope it fell into.
    pub scope: Scope,
    /// Where it went to; for a query the unspecified address, as every resolver is the sandbox's own.
    pub destination: SocketAddr,
    /// The downstream it was meant for: the logical name where one was said, else the destination.
    pub downstream: String,
    /// Whether it came inside TLS.
    pub tls: bool,
    /// What it was.
    pub what: Attempted,
    /// What the mock decided.
    pub matched: Match,
    /// What a call that missed was told; `None` where that was nothing (the nearest exchange was a reset, a hang or an
    /// early close, or the attempt cannot be answered). For a hit `None` too: its exchange has the response.
    pub answered: Option<Told>,
}

impl Call {
    /// The connection on which nothing was said, as one that stays open where calls are known to go.
    pub fn left_open(self) -> Call {
        Call { matched: Match::Miss { reason: MissReason::LeftOpen, nearest: Vec::new() }, ..self }
    }
}

/// What a call was told.
#[expect(clippy::large_enum_variant, reason = "nearly all calls are the large one")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A response in HTTP.
    Http(Message),
    /// A response in another protocol.
    Wire(Value),
    /// An error of that other protocol that says why there is no response.
    Refusal,
}

impl Told {
    /// The response, in HTTP.
    pub fn http(&self) -> Option<&Message> {
        if let Told::Http(message) = self { Some(message) } else { None }
    }
}

/// What was attempted.
#[expect(clippy::large_enum_variant, reason = "nearly all calls are the large one")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// An HTTP/1 request.
    Http(Message),
    /// A request in another protocol.
    Wire(Protocol, Value),
    /// A connection in no protocol that is read, with its first bytes (at most [`PREFIX`]; empty when nothing was
    /// said on a connection to an unknown destination).
    Opaque(Bytes),
    /// A UDP datagram.
    Datagram,
    /// A query for a name that nobody recorded.
    Name(String),
    /// This many calls more, of which nothing was kept because the journal was full.
    Unkept(u64),
}

impl Attempted {
    /// The request, if it was one in a protocol that is read.
    pub fn request(&self) -> Option<Request<'_>> {
        match self {
            Attempted::Http(message) => Some(Request::Http(message)),
            Attempted::Wire(protocol, value) => Some(Request::Wire(*protocol, value)),
            Attempted::Opaque(_) | Attempted::Datagram | Attempted::Name(_) | Attempted::Unkept(_) => None,
        }
    }
}

/// What the mock decided about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// A recorded exchange was played.
    Hit {
        /// Its cassette.
        cassette: CassetteId,
        /// Its index among the downstream exchanges of the cassette.
        exchange: usize,
        /// Whose it is.
        scope: HitScope,
        /// How well it fits.
        rung: Rung,
        /// What would have been played otherwise: the next exchange of the same cassette that fits as well.
        runner_up: Option<usize>,
        /// It was played before, for a request as good.
        again: bool,
        /// The values that the service made anew and that this request bound to recorded ones.
        bound: Vec<Bound>,
    },
    /// Nothing recorded says the same.
    Miss {
        /// Why.
        reason: MissReason,
        /// The recorded requests that come nearest, best first; at most three.
        nearest: Vec<NearMiss>,
    },
}

/// Whose exchange was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HitScope {
    /// The entry's.
    Entry,
    /// One that no entry caused.
    Ambient,
}

/// How well a recorded request fits the one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rung {
    /// `diff::requests` finds no difference.
    Exact,
    /// All that it finds is noise by a rule, or nobody saw for which database the recorded request was.
    Noise,
    /// All that it finds is noise by a rule, or values that the service made anew, each bound to the recorded one in its
    /// place.
    Bound,
    /// In no recognised protocol every byte of the client is the recorded one. The weakest of all: nothing but bytes could be
    /// compared. No setting refuses it.
    Turns,
}

impl Rung {
    /// The word for it in reports and settings.
    pub fn word(self) -> &'static str {
        match self {
            Rung::Exact => "exact",
            Rung::Noise => "noise",
            Rung::Bound => "bound",
            Rung::Turns => "turns",
        }
    }
}

/// Why nothing recorded fits. The first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissReason {
    /// Nothing recorded in this scope went to this downstream, at this port, address and with or without TLS.
    UnknownDestination,
    /// The downstream was never asked for this operation.
    UnknownOperation,
    /// It was, but what the request says differs.
    DifferentRequest,
    /// The same was asked, but fewer times.
    AllUsed,
    /// The recording has bytes of no known protocol here, which cannot be played; or bytes that followed a switch of
    /// protocols were not the recorded ones.
    Opaque,
    /// The recording has another protocol here than what came.
    OtherProtocol,
    /// Nothing was said on a connection that stays open to where calls are known to go, and none was left so when this was
    /// recorded.
    LeftOpen,
    /// It was not judged, because the journal was full ([`Attempted::Unkept`]).
    NotKept,
}

/// A recorded request that is like the one that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// Its cassette.
    pub cassette: CassetteId,
    /// Its index among the downstream exchanges of the cassette.
    pub exchange: usize,
    /// Where the request that came differs from it; a different downstream is told with the path `downstream`.
    /// Empty when they say the same, but it was played already.
    pub differences: Vec<Difference>,
}

/// The calls since they were last taken, in bounded space.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    calls: Vec<Call>,
    bytes: u64,
    unkept: Option<Box<Call>>,
}

impl Journal {
    /// Adds a call; past the bounds it is only counted.
    pub(crate) fn note(&mut self, call: Call) {
        let bytes = weight(&call);
        if self.unkept.is_none() && self.calls.len() < MOST_CALLS && self.bytes.saturating_add(bytes) <= MOST_BYTES {
            self.bytes += bytes;
            self.calls.push(call);
            return;
        }
        let unkept = self.unkept.get_or_insert_with(|| {
            Box::new(Call {
                what: Attempted::Unkept(0),
                matched: Match::Miss { reason: MissReason::NotKept, nearest: Vec::new() },
                answered: None,
                ..call
            })
        });
        if let Attempted::Unkept(count) = &mut unkept.what {
            *count += 1;
        }
    }

    /// Takes all calls, in order. Where some were not kept, the last one says how many.
    pub(crate) fn take(&mut self) -> Vec<Call> {
        self.bytes = 0;
        let mut calls = std::mem::take(&mut self.calls);
        calls.extend(self.unkept.take().map(|call| *call));
        calls
    }
}

/// The bytes of payload and text that only this call keeps alive (recorded bodies live in their cassettes anyway).
fn weight(call: &Call) -> u64 {
    let said = match &call.what {
        Attempted::Http(request) => {
            request.body.len() + request.headers.iter().map(|line| line.0.len()).sum::<usize>() + request.start.0.len()
        }
        Attempted::Wire(_, value) => value.weight(),
        Attempted::Opaque(prefix) => prefix.len(),
        Attempted::Name(name) => name.len(),
        Attempted::Datagram | Attempted::Unkept(_) => 0,
    };
    let told: usize = match &call.matched {
        Match::Hit { bound, .. } => bound.iter().map(|bound| bound.recorded.len() + bound.actual.len()).sum(),
        Match::Miss { nearest, .. } => nearest.iter().flat_map(|near| &near.differences).map(length).sum(),
    };
    (said + told) as u64
}

fn length(difference: &Difference) -> usize {
    let value = |value: &Option<String>| value.as_ref().map_or(0, String::len);
    difference.path.len() + value(&difference.expected) + value(&difference.actual)
}

#[cfg(test)]
mod tests;
