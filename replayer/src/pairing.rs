//! Which recorded call each call of the service stands for.

use std::collections::BTreeSet;

use regress_cassettes::{
    Cassette, CassetteId, Content, Exchange,
    diff::{self, Difference},
};
use regress_mockserver::mock::{Attempted, Call, HitScope, Match, MissReason, NearMiss, Told, is_same_operation};
use regress_protocols::Request;

use crate::{order, rules::EntryRules};

/// How many bytes of no recognised protocol a line shows.
const MOST_SHOWN: usize = 32;

/// The calls made while an entry was open, set against the calls recorded for it.
#[derive(Debug, Default)]
pub(crate) struct Pairing<'a> {
    /// Calls that stand for a recorded one with other content.
    pub changed: Vec<Changed<'a>>,
    /// Recorded calls that were not made.
    pub omitted: Vec<usize>,
    /// Calls that stand for no recorded one, in the order they were made.
    pub novel: Vec<&'a Call>,
    /// The recorded calls that calls stand for, or say the same as, in the order in which these were made.
    pub made: Vec<usize>,
    /// In which order the recorded writes were made.
    pub order: Vec<order::Made>,
}

/// A call with other content than the recorded one.
#[derive(Debug)]
pub(crate) struct Changed<'a> {
    /// The call.
    pub call: &'a Call,
    /// What it said; `None` in no recognised protocol.
    pub request: Option<Request<'a>>,
    /// The recorded call it stands for.
    pub number: usize,
    /// What differs in the request.
    pub differences: Vec<Difference>,
}

impl<'a> Pairing<'a> {
    /// Pair the journal of one entry with its cassette. Each miss takes the recorded call of the same downstream and
    /// operation that nobody made and that is most like it; what the mock answered with decides between equals.
    pub(crate) fn of(cassette: &Cassette, journal: &'a [Call], rules: &EntryRules<'_>) -> Pairing<'a> {
        let mut pairing = Pairing::default();
        let hits: BTreeSet<usize> = journal
            .iter()
            .filter(|call| matches!(call.matched, Match::Hit { .. }))
            .filter_map(|call| pairing.stands_for(cassette, call))
            .collect();
        let mut free: BTreeSet<usize> = BTreeSet::new();
        // What is in no protocol that is read or went over a Unix socket cannot be played (the entry is inconclusive), and a connection that
        // was refused in the recording is refused by the sandbox's kernel, unseen: none is a call that could be missing.
        for (number, exchange) in cassette.downstream.iter().enumerate() {
            let playable = exchange.asked().is_some() && exchange.connection.peer.inet().is_some();
            if (playable || exchange.conversation().is_some()) && !hits.contains(&number) {
                free.insert(number);
            }
        }
        let misses: Vec<&'a Call> = journal.iter().filter(|call| matches!(call.matched, Match::Miss { .. })).collect();
        let mut candidates = Vec::new();
        for (order, call) in misses.iter().enumerate() {
            let Some(request) = call.what.request() else {
                if let Some((number, differences)) = strayed(call, &cassette.id) {
                    candidates.push((false, 0, order, number, None, differences));
                }
                continue;
            };
            for &number in &free {
                let recorded = &cassette.downstream[number];
                if let Some(differences) = likeness(call, request, (&cassette.id, number, recorded), rules) {
                    let other_answer = !is_answer(call.answered.as_ref(), recorded);
                    let count = differences.iter().filter(|difference| difference.counts()).count();
                    candidates.push((other_answer, count, order, number, Some(request), differences));
                }
            }
        }
        candidates.sort_by_key(|(other_answer, count, order, number, ..)| (*other_answer, *count, *order, *number));
        let mut paired = BTreeSet::new();
        for (_, _, order, number, request, differences) in candidates {
            if free.contains(&number) && paired.insert(order) {
                free.remove(&number);
                pairing.changed.push(Changed { call: misses[order], request, number, differences });
            }
        }
        pairing.changed.sort_by_key(|changed| changed.number);
        pairing.omitted = free.into_iter().collect();
        pairing.made = journal.iter().filter_map(|call| pairing.stands_for(cassette, call)).collect();
        pairing.order = order::of(cassette, &pairing.made, rules);
        for (order, call) in misses.into_iter().enumerate() {
            if paired.contains(&order) {
                continue;
            }
            match &call.what {
                Attempted::Opaque(_) if recorded_opaque(cassette, call) => {}
                Attempted::Name(_) if pairing.novel.iter().any(|other| other.what == call.what) => {}
                _ => pairing.novel.push(call),
            }
        }
        pairing
    }

    /// The recorded call that a call stands for, or that it says the same as where it was made more often.
    fn stands_for(&self, cassette: &Cassette, call: &Call) -> Option<usize> {
        match &call.matched {
            Match::Hit { cassette: id, exchange, scope: HitScope::Entry, .. } => {
                (*id == cassette.id).then_some(*exchange)
            }
            Match::Hit { scope: HitScope::Ambient, .. } => None,
            Match::Miss { nearest, .. } => {
                let changed = self.changed.iter().find(|changed| std::ptr::eq(changed.call, call));
                let says_the_same =
                    |near: &&NearMiss| near.cassette == cassette.id && !near.differences.iter().any(Difference::counts);
                changed
                    .map(|changed| changed.number)
                    .or_else(|| nearest.iter().find(says_the_same).map(|near| near.exchange))
            }
        }
    }
}

/// Whether a call was told what was recorded.
fn is_answer(told: Option<&Told>, recorded: &Exchange) -> bool {
    match &recorded.content {
        Content::Http1(http) => told == http.response.clone().map(Told::Http).as_ref(),
        Content::Wire(wire) => told == wire.response.clone().map(Told::Wire).as_ref(),
        Content::Opaque(_) | Content::Nothing => told.is_none(),
    }
}

/// The conversation in no recognised protocol that a call began like, and where it strayed.
fn strayed(call: &Call, cassette: &CassetteId) -> Option<(usize, Vec<Difference>)> {
    let (Attempted::Opaque(_), Match::Miss { nearest, .. }) = (&call.what, &call.matched) else { return None };
    let near = nearest.iter().find(|near| near.cassette == *cassette)?;
    Some((near.exchange, near.differences.clone()))
}

/// What differs between a call and a recorded one, when both are the same operation of the same downstream.
fn likeness(
    call: &Call,
    request: Request<'_>,
    (cassette, number, recorded): (&CassetteId, usize, &Exchange),
    rules: &EntryRules<'_>,
) -> Option<Vec<Difference>> {
    let asked = recorded.asked().filter(|asked| asked.protocol() == request.protocol())?;
    let same = recorded.downstream.as_deref() == Some(call.downstream.as_str())
        && recorded.connection.peer.inet().is_some_and(|peer| peer.port() == call.destination.port())
        && is_same_operation(&asked.operation(), &request.operation());
    // The mock knows what the service made anew.
    let nearest = match &call.matched {
        Match::Miss { nearest, .. } => &nearest[..],
        Match::Hit { .. } => &[],
    };
    let compared = nearest.iter().find(|near| near.cassette == *cassette && near.exchange == number);
    same.then(|| match compared {
        Some(near) => near.differences.clone(),
        None => diff::requests(asked, request, &rules.call(&call.downstream, request)),
    })
}

/// Whether something was recorded there that cannot be played, so that the entry is inconclusive.
fn recorded_opaque(cassette: &Cassette, call: &Call) -> bool {
    let is_unplayed =
        |exchange: &&Exchange| matches!(exchange.content, Content::Opaque(_)) && exchange.conversation().is_none();
    cassette
        .downstream
        .iter()
        .filter(is_unplayed)
        .any(|exchange| exchange.connection.peer.inet() == Some(call.destination))
}

/// Bytes of no recognised protocol, in one line.
pub(crate) fn opaque(said: &[u8]) -> String {
    let shown = &said[..said.len().min(MOST_SHOWN)];
    let more = if shown.len() < said.len() { "..." } else { "" };
    format!("bytes of no recognised protocol: {}{more}", shown.escape_ascii())
}

/// What was attempted, in one line.
pub(crate) fn attempt(what: &Attempted) -> String {
    match what {
        Attempted::Http(request) => Request::Http(request).line(),
        Attempted::Wire(protocol, request) => Request::Wire(*protocol, request).line(),
        Attempted::Opaque(said) if said.is_empty() => "a connection on which nothing was said".to_owned(),
        Attempted::Opaque(said) => opaque(said),
        Attempted::Datagram => "a UDP datagram".to_owned(),
        Attempted::Name(name) => format!("a DNS query for {name}"),
        Attempted::Unkept(count) => format!("{count} calls more, too many to keep"),
    }
}

/// Why a call missed, in words.
pub(crate) fn reason(reason: &MissReason) -> &'static str {
    match reason {
        MissReason::UnknownDestination => "no recorded call went to this destination",
        MissReason::UnknownOperation => "no recorded call of this downstream is this operation",
        MissReason::DifferentRequest => "no recorded call says the same",
        MissReason::AllUsed => "it was made more often than recorded",
        MissReason::Opaque => {
            "what was recorded here is in no protocol that is read, and what came is not what was said then"
        }
        MissReason::LeftOpen => {
            "each time that this entry is driven it opens one more, says nothing on it and leaves it open"
        }
        MissReason::OtherProtocol => "it does not speak the protocol that was recorded here",
        MissReason::NotKept => "it was not judged",
    }
}
