//! Why nothing recorded answers a request, and what comes nearest.

use regress_protocols::Request;

use crate::{
    bound::{self, Bindings},
    journal::{HitScope, MissReason, NearMiss},
    library::canonical,
};
use regress_cassettes::{
    Address, CassetteId, Exchange,
    diff::{Difference, Kind},
};

use super::{Against, Asked};

/// How many recorded requests are compared with one that missed.
const MOST_COMPARED: usize = 32;

/// How many of them are told.
const MOST_TOLD: usize = 3;

/// A recorded exchange that is like a request that missed.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub scope: HitScope,
    pub exchange: usize,
    /// Of the same downstream, with the same method and path (but for what may have been made anew).
    pub same_operation: bool,
    pub differences: Vec<Difference>,
    /// What would be bound if it answered.
    pub fresh: Bindings,
}

/// Why a request missed, and what was recorded that comes nearest, best first. `exhausted` says that some cassette had
/// it and was asked as often as recorded. What it is set against are the cassettes of the scope, in the order they were
/// asked.
pub(crate) fn explain(
    against: &[(HitScope, Against<'_>)],
    asked: &Asked<'_>,
    exhausted: bool,
) -> (MissReason, Vec<Candidate>) {
    let library = against.first().map(|(_, against)| against.library);
    let operation = asked.request.operation();
    let reached = library.is_some_and(|library| library.reaches(&asked.name, asked.destination.ip()));
    let mut alike = Vec::new();
    for (order, (scope, against)) in against.iter().enumerate() {
        for (number, exchange) in against.shelf.cassette.downstream.iter().enumerate() {
            let is_http = asked.request.http().is_some();
            let same_protocol = |found: Request<'_>| found.protocol() == asked.request.protocol();
            // Another version of HTTP never answers, and comes near all the same.
            let comes_near = |found: &Request<'_>| same_protocol(*found) || (is_http && found.http().is_some());
            let Some(request) = exchange.asked().filter(comes_near) else { continue };
            let recorded = request.operation();
            let same_downstream = asked.is_for(exchange);
            let same_operation = same_protocol(request) && bound::is_same_operation(&recorded, &operation);
            if same_downstream || same_operation || recorded.path == operation.path {
                let away = request.size().abs_diff(asked.request.size());
                let rank = (!same_downstream, !same_operation, steps_apart(&recorded.path, &operation.path), away);
                alike.push((rank, order, number, *scope, against));
            }
        }
    }
    let known = |same_operation: bool| {
        reached && alike.iter().any(|((other, changed, ..), ..)| !other && (!same_operation || !changed))
    };
    let reason = match () {
        () if exhausted => MissReason::AllUsed,
        () if known(true) => MissReason::DifferentRequest,
        () if known(false) => MissReason::UnknownOperation,
        () => MissReason::UnknownDestination,
    };
    alike.sort_by_key(|(rank, order, number, ..)| (*rank, *order, *number));
    alike.truncate(MOST_COMPARED);
    let mut candidates: Vec<_> = alike
        .into_iter()
        .filter_map(|((other, changed, ..), order, number, scope, against)| {
            let mut differences = Vec::new();
            differences.extend(downstream_difference(reached, &against.shelf.cassette.downstream[number], asked));
            let (found, fresh) = against.differences(number, asked)?;
            differences.extend(found.into_iter().filter(Difference::counts));
            let rank = (other, changed, differences.len(), order, number);
            let same_operation = reached && !other && !changed;
            Some((rank, Candidate { scope, exchange: number, same_operation, differences, fresh }))
        })
        .collect();
    candidates.sort_by_key(|(rank, _)| *rank);
    (reason, candidates.into_iter().map(|(_, candidate)| candidate).collect())
}

/// What is told of the candidates.
pub(crate) fn nearest(candidates: Vec<Candidate>, id: impl Fn(HitScope) -> Option<CassetteId>) -> Vec<NearMiss> {
    let told = candidates.into_iter().take(MOST_TOLD);
    told.filter_map(|Candidate { scope, exchange, differences, .. }| {
        Some(NearMiss { cassette: id(scope)?, exchange, differences })
    })
    .collect()
}

/// How the downstream of a recorded exchange differs from the one that was asked.
fn downstream_difference(reached: bool, exchange: &Exchange, asked: &Asked<'_>) -> Option<Difference> {
    let told = |name: &str, address: &Address, tls: bool| {
        let address = address.inet().map_or_else(|| address.to_string(), |inet| canonical(inet).to_string());
        format!("{name} at {address}{}", if tls { " with TLS" } else { "" })
    };
    (!reached || !asked.is_for(exchange)).then(|| Difference {
        path: "downstream".to_owned(),
        kind: Kind::Changed,
        expected: Some(told(
            exchange.downstream.as_deref().unwrap_or_default(),
            &exchange.connection.peer,
            exchange.connection.tls,
        )),
        actual: Some(told(&asked.name, &asked.destination.into(), asked.tls)),
        noise: None,
    })
}

/// In how many segments two paths differ.
fn steps_apart(a: &str, b: &str) -> usize {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    let mut apart = 0;
    loop {
        match (a.next(), b.next()) {
            (None, None) => return apart,
            (a, b) => apart += usize::from(a != b),
        }
    }
}
