//! The verdict on one entry. Pure: what was recorded and what was seen go in, findings come out.

use std::{collections::BTreeMap, time::Duration};

use regress_cassettes::{
    Address, Cassette, Confidence, Content, Defect, Ended, Exchange, HttpExchange,
    diff::{self, Difference, Lens, Rules},
};
use regress_mockserver::mock::{Bindings, Call, Drawing, HitScope, Match, Rung};
use regress_protocols::{Request, Side, http1::Message, http2::Reset};

use crate::{
    left,
    outcome::{CallChange, CallFinding, Finding, Nearest, Served, ServedBy, Verdict},
    pairing::{self, Pairing},
    rules::EntryRules,
    sides::{self, Sides},
    stream,
};

/// What came back for an entry's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole response.
    Response(Message),
    /// No whole response.
    Nothing {
        /// How the wait for it ended.
        end: End,
        /// The part of a response that came.
        part: Option<Message>,
    },
}

impl Seen {
    /// The response, or of a stream that was left what came of it.
    fn response(&self) -> Option<&Message> {
        match self {
            Seen::Response(response) => Some(response),
            Seen::Nothing { end: End::Left, part } => part.as_ref(),
            Seen::Nothing { .. } => None,
        }
    }

    /// The same, where `redact` takes the secrets out of a message.
    pub fn redacted(self, redact: impl Fn(&Message) -> Message) -> Seen {
        match self {
            Seen::Response(response) => Seen::Response(redact(&response)),
            Seen::Nothing { end, part } => Seen::Nothing { end, part: part.map(|part| redact(&part)) },
        }
    }
}

/// How an entry's connection ended without a whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The service accepts no connection on the port any more.
    Refused,
    /// The service reset the connection.
    Reset,
    /// The service closed the connection.
    Closed,
    /// The service reset the stream of HTTP/2, with this error code.
    StreamReset(u32),
    /// As many events of a stream came as its client had when it left.
    Left,
    /// What came is not an HTTP response.
    Garbage,
    /// The service did not agree on TLS.
    Tls,
    /// The service asked for a client's certificate, which there is none of.
    Certificate,
    /// Nothing, for this many milliseconds.
    Hung(u128),
}

/// The verdict on one entry and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What differs.
    pub findings: Vec<Finding>,
    /// What differs and is noise.
    pub excused: Vec<Finding>,
    /// Why it could not be told.
    pub doubts: Vec<String>,
    /// The calls that were made.
    pub calls: Vec<Served>,
    /// What was said, where the verdict is not *same*.
    pub sides: Option<Vec<Sides>>,
}

/// What was seen of a service while an entry was open.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// What came back.
    pub seen: &'a Seen,
    /// The calls that were made.
    pub journal: &'a [Call],
    /// What was made anew in them.
    pub bindings: &'a Bindings,
    /// How the service's process ended, if it did.
    pub exited: Option<&'a str>,
}

/// Judge one entry. What the rules let pass is no finding, nor is a value in the response that a call bound. What is drawn
/// anew by a rule is what the calls bound, and where only the response has it one and the same in it.
///
/// A cassette with defects is never judged to be the same or different: what it lacks could be the reason.
pub fn judge(cassette: &Cassette, observed: &Observed<'_>, rules: &Rules) -> Judgement {
    let Observed { seen, journal, bindings, exited } = *observed;
    let same = |expected: &str, actual: &str| bindings.same(expected, actual);
    let drawing = Drawing::after(bindings);
    let mut doubts = doubts(cassette);
    if let Seen::Nothing { end: End::Certificate, .. } = seen {
        doubts.push("the service asks for a client's certificate, and none was recorded".to_owned());
    }
    let rules = EntryRules::of(rules, cassette);
    let pairing = Pairing::of(cassette, journal, &rules);
    let mut findings = Vec::new();
    if let Some(http) = cassette.entry.as_ref().and_then(Exchange::http) {
        let ended = cassette.entry.as_ref().map(|entry| entry.ended);
        let lens = Lens { same: Some(&same), drawn: Some(&drawing), ..rules.response() };
        match cassette.entry.as_ref().and_then(left::events).zip(seen.response()) {
            Some((events, actual)) => findings.extend(left_findings(http, actual, events, &lens)),
            None => findings.extend(response_findings(http, ended, seen, &lens)),
        }
        if let Seen::Response(response) = seen {
            findings.extend(stream::held_back(cassette, response, &lens.rules).map(Finding::Response));
        }
    }
    let counts = |finding: &Finding| !matches!(finding, Finding::Response(difference) if !difference.counts());
    let (mut findings, mut excused): (Vec<_>, Vec<_>) = findings.into_iter().partition(counts);
    excused.extend(excused_calls(cassette, journal, &rules, bindings));
    excused.extend(excused_order(cassette, &pairing));
    if let Some(how) = exited {
        findings.push(Finding::Exited(how.to_owned()));
    }
    findings.extend(call_findings(cassette, &pairing));
    let verdict = match (doubts.is_empty(), findings.is_empty()) {
        (false, _) => Verdict::Inconclusive,
        (true, false) => Verdict::Different,
        (true, true) => Verdict::Same,
    };
    let sides = (verdict != Verdict::Same).then(|| sides::sides(cassette, seen, &pairing, &rules));
    Judgement { verdict, findings, excused, doubts, calls: served(cassette, journal), sides }
}

/// Why a cassette cannot be judged, whatever the service does.
pub fn doubts(cassette: &Cassette) -> Vec<String> {
    let mut doubts = Vec::new();
    if cassette.has_defects() {
        doubts.push(format!("the recording is not complete: {}", defects(cassette).join(", ")));
    }
    match cassette.entry.as_ref().map(|entry| &entry.content) {
        None => doubts.push("the cassette has no entry".to_owned()),
        Some(Content::Http1(http)) if !http.upgraded.is_empty() => {
            doubts.push("the entry switched protocols, and what followed is not driven".to_owned());
        }
        Some(Content::Http1(http)) if http.reset.is_some_and(|reset| reset.from == Side::Client) => {
            doubts.push("the entry was cancelled by its client, which is not done again".to_owned());
        }
        Some(Content::Http1(_)) => {}
        Some(_) => doubts.push("the entry is not HTTP".to_owned()),
    }
    match cassette.entry.as_ref().map(|entry| &entry.connection.local) {
        Some(None) => doubts.push("the recording does not say on which port the entry came".to_owned()),
        Some(Some(Address::Unix(_))) => {
            doubts.push("the entry came over a Unix socket, which is not driven".to_owned())
        }
        Some(Some(Address::Inet(_))) | None => {}
    }
    for (number, call) in cassette.downstream.iter().enumerate() {
        if call.connection.peer.inet().is_none() {
            let name = downstream(call);
            doubts.push(format!("downstream/{number} ({name}) went over a Unix socket, which cannot be played"));
        } else if matches!(call.content, Content::Opaque(_)) && call.conversation().is_none() {
            doubts.push(format!(
                "downstream/{number} ({}) is in no protocol that is read, and was not seen from its beginning to its end, so that it \
                 cannot be played",
                downstream(call)
            ));
        }
    }
    doubts
}

/// How the note on an entry that was labelled when it was recorded begins.
pub const NONDETERMINISTIC: &str = "non-deterministic when it was recorded";

/// What to know of a cassette, which is judged all the same.
pub fn notes(cassette: &Cassette) -> Vec<String> {
    let is_likely = |call: &Exchange| call.cause.as_ref().is_some_and(|cause| cause.confidence == Confidence::Likely);
    let calls = cassette.downstream.iter().enumerate().filter(|(_, call)| is_likely(call));
    let in_turns = cassette.downstream.iter().enumerate().filter(|(_, call)| call.conversation().is_some());
    let nondeterministic = cassette.nondeterministic.iter();
    nondeterministic
        .map(|reason| format!("{NONDETERMINISTIC}: {reason}"))
        .chain(calls.map(|(number, call)| {
            format!("downstream/{number} ({}) is likely this entry's, not certainly", downstream(call))
        }))
        .chain(in_turns.map(|(number, call)| {
            format!(
                "downstream/{number} ({}) was compared byte by byte, the weakest way: no protocol was recognised",
                downstream(call)
            )
        }))
        .collect()
}

fn defects(cassette: &Cassette) -> Vec<String> {
    let exchange = |at: String, exchange: &Exchange| {
        exchange.defects.iter().map(|defect| format!("{at} {}", words(defect))).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = cassette.defects.iter().map(words).collect();
    all.extend(cassette.entry.iter().flat_map(|entry| exchange("entry".to_owned(), entry)));
    for (number, call) in cassette.downstream.iter().enumerate() {
        all.extend(exchange(format!("downstream/{number}"), call));
    }
    all
}

fn words(defect: &Defect) -> String {
    match defect {
        Defect::Gap { bytes, .. } => format!("lacks {bytes} bytes"),
        Defect::JoinedMidStream => "began before the recording".to_owned(),
        Defect::Unfinished => "had not ended when the recording did".to_owned(),
        Defect::LostEvents { events, .. } => format!("{events} events were lost"),
        Defect::Garbage => "could not be read".to_owned(),
        Defect::Encrypted => "is encrypted".to_owned(),
        Defect::AmbiguousOwner => "may belong to another entry".to_owned(),
    }
}

/// What differs from the recorded call in calls that were answered as recorded.
fn excused_calls(cassette: &Cassette, journal: &[Call], rules: &EntryRules<'_>, bindings: &Bindings) -> Vec<Finding> {
    let same = |recorded: &str, actual: &str| bindings.same(recorded, actual);
    let drawing = Drawing::after(bindings);
    let excused = |call: &Call| {
        let Match::Hit { cassette: id, exchange: number, scope: HitScope::Entry, rung, .. } = &call.matched else {
            return None;
        };
        let request = call.what.request()?;
        if *rung == Rung::Exact {
            return None;
        }
        let exchange = cassette.downstream.get(*number).filter(|_| *id == cassette.id)?;
        let lens = Lens { same: Some(&same), drawn: Some(&drawing), ..rules.call(&call.downstream, request) };
        let mut differences = diff::requests(exchange.request()?, request, &lens);
        differences.retain(|difference| !difference.counts());
        let change = CallChange::Changed(differences);
        matches!(&change, CallChange::Changed(all) if !all.is_empty())
            .then(|| Finding::Call(recorded_call(*number, exchange, change)))
    };
    journal.iter().filter_map(excused).collect()
}

/// Calls that were made as recorded, and whose order was another one, which a rule lets pass.
fn excused_order(cassette: &Cassette, pairing: &Pairing) -> Vec<Finding> {
    let is_changed = |number: usize| pairing.changed.iter().any(|changed| changed.number == number);
    let moved = pairing.order.iter().filter(|made| !made.counts() && !is_changed(made.number));
    moved
        .filter_map(|made| {
            let change = CallChange::Changed(vec![made.moved.clone()?]);
            Some(Finding::Call(recorded_call(made.number, &cassette.downstream[made.number], change)))
        })
        .collect()
}

/// What differs in the events that the client of a stream had before it left.
fn left_findings(recorded: &HttpExchange, actual: &Message, events: usize, lens: &Lens<'_>) -> Vec<Finding> {
    let expected = recorded.response.iter();
    let upto = |response| left::up_to(response, events);
    let differences = expected.flat_map(|expected| diff::responses(&upto(expected), &upto(actual), lens));
    differences.map(Finding::Response).collect()
}

fn response_findings(recorded: &HttpExchange, ended: Option<Ended>, seen: &Seen, lens: &Lens<'_>) -> Vec<Finding> {
    let whole = recorded.response.as_ref().filter(|response| response.is_complete());
    let expected_part = recorded.response.as_ref().filter(|response| !response.is_complete());
    match (whole, seen) {
        (Some(expected), Seen::Response(actual)) => {
            diff::responses(expected, actual, lens).into_iter().map(Finding::Response).collect()
        }
        (None, Seen::Nothing { end, part }) if ended_alike(recorded, ended, *end) => match (expected_part, part) {
            (None, None) => Vec::new(),
            (Some(expected), Some(actual)) => {
                diff::responses(expected, actual, lens).into_iter().map(Finding::Response).collect()
            }
            _ => vec![Finding::Ended { expected: recorded_end(expected_part, ended), actual: seen_end(seen) }],
        },
        _ => vec![Finding::Ended { expected: recorded_end(recorded.response.as_ref(), ended), actual: seen_end(seen) }],
    }
}

/// Whether a wait that ended without a whole response ended as the recorded one did.
fn ended_alike(exchange: &HttpExchange, recorded: Option<Ended>, seen: End) -> bool {
    let reset = if let End::StreamReset(code) = seen { Some(Reset { from: Side::Server, code }) } else { None };
    if reset.is_some() || exchange.reset.is_some() {
        return reset == exchange.reset;
    }
    matches!(
        (recorded, seen),
        (Some(Ended::Reset | Ended::Closed), End::Reset | End::Closed) | (Some(Ended::Timeout), End::Hung(_))
    )
}

fn recorded_end(response: Option<&Message>, ended: Option<Ended>) -> String {
    if let Some(response) = response.filter(|response| response.is_complete()) {
        return format!("a response with status {}", response.status());
    }
    let what = if response.is_some() { "a part of a response" } else { "no response" };
    let end = match ended {
        None | Some(Ended::Ok) => return what.to_owned(),
        Some(Ended::Reset) => "a reset connection",
        Some(Ended::Refused) => "a refused connection",
        Some(Ended::Timeout) => "a timeout",
        Some(Ended::Closed) => "a closed connection",
        Some(Ended::Unfinished) => "the recording's end",
    };
    format!("{what} before {end}")
}

fn seen_end(seen: &Seen) -> String {
    match seen {
        Seen::Response(response) => format!("a response with status {}", response.status()),
        Seen::Nothing { end, part } => {
            let what = if part.is_some() { "a part of a response" } else { "no response" };
            match end {
                End::Refused => "no response: the connection was refused".to_owned(),
                End::Reset => format!("{what}: the connection was reset"),
                End::Closed => format!("{what}: the connection was closed"),
                End::StreamReset(code) => {
                    let name = Reset { from: Side::Server, code: *code }.name();
                    format!("{what}: the stream was reset ({})", name.map_or_else(|| code.to_string(), str::to_owned))
                }
                End::Left => "as many events as were recorded".to_owned(),
                End::Garbage => "something that is not an HTTP response".to_owned(),
                End::Tls => format!("{what}: no TLS was agreed on"),
                End::Certificate => format!("{what}: a client's certificate was asked for"),
                End::Hung(ms) => format!("{what} within {}", crate::report::seconds(*ms)),
            }
        }
    }
}

fn call_findings(cassette: &Cassette, pairing: &Pairing) -> Vec<Finding> {
    let mut findings: Vec<CallFinding> = Vec::new();
    let recorded = |number: usize, change| recorded_call(number, &cassette.downstream[number], change);
    findings.extend(pairing.omitted.iter().map(|&number| recorded(number, CallChange::Omitted)));
    let mut changed: BTreeMap<usize, Vec<Difference>> =
        pairing.changed.iter().map(|changed| (changed.number, changed.differences.clone())).collect();
    for made in &pairing.order {
        // What is noise in a call that has not changed otherwise is told as excused.
        if made.counts() || changed.contains_key(&made.number) {
            changed.entry(made.number).or_default().extend(made.moved.clone());
        }
    }
    findings
        .extend(changed.into_iter().map(|(number, differences)| recorded(number, CallChange::Changed(differences))));
    findings.sort_by_key(|finding| finding.number);
    let first = cassette.downstream.len();
    findings.extend(pairing.novel.iter().enumerate().map(|(index, call)| novel(first + index, call)));
    findings.into_iter().map(Finding::Call).collect()
}

fn recorded_call(number: usize, exchange: &Exchange, change: CallChange) -> CallFinding {
    CallFinding {
        number,
        downstream: downstream(exchange),
        destination: exchange.connection.peer.inet(),
        request: request_line(exchange),
        operation: operation(exchange),
        change,
    }
}

/// The finding for a call that nobody recorded.
pub fn novel(number: usize, call: &Call) -> CallFinding {
    let (reason, nearest) = match &call.matched {
        Match::Miss { reason, nearest } => (pairing::reason(reason).to_owned(), nearest.first()),
        Match::Hit { .. } => ("it was not recorded for this entry".to_owned(), None),
    };
    CallFinding {
        number,
        downstream: call.downstream.clone(),
        // Whichever resolver was asked, it was the sandbox's.
        destination: Some(call.destination).filter(|address| !address.ip().is_unspecified()),
        request: pairing::attempt(&call.what),
        operation: call.what.request().map(|request| request.operation().to_string()).unwrap_or_default(),
        change: CallChange::Novel {
            reason,
            nearest: nearest.map(|near| Nearest {
                cassette: near.cassette.clone(),
                number: near.exchange,
                differences: near.differences.clone(),
            }),
        },
    }
}

fn served(entry: &Cassette, journal: &[Call]) -> Vec<Served> {
    let took = |number: usize| entry.downstream.get(number).and_then(|call| call.took).map(Duration::from_micros);
    let by = |matched: &Match| match matched {
        Match::Miss { .. } => None,
        Match::Hit { cassette, exchange, scope, rung, runner_up, again, bound } => Some(ServedBy {
            cassette: cassette.clone(),
            number: *exchange,
            ambient: matches!(scope, HitScope::Ambient),
            rung: *rung,
            runner_up: *runner_up,
            again: *again,
            bound: bound.clone(),
            took: took(*exchange).filter(|_| *cassette == entry.id && matches!(scope, HitScope::Entry)),
        }),
    };
    let one = |call: &Call| Served {
        downstream: call.downstream.clone(),
        destination: call.destination,
        request: pairing::attempt(&call.what),
        by: by(&call.matched),
    };
    journal.iter().map(one).collect()
}

/// The logical name of an exchange's other side.
pub(crate) fn downstream(exchange: &Exchange) -> String {
    exchange.downstream.clone().unwrap_or_else(|| exchange.connection.peer.to_string())
}

/// What identifies the operation of an exchange; nothing where its protocol is not known.
pub(crate) fn operation(exchange: &Exchange) -> String {
    exchange.request().map(|request| request.operation().to_string()).unwrap_or_default()
}

/// What an exchange asked, in one line.
pub(crate) fn request_line(exchange: &Exchange) -> String {
    match &exchange.content {
        Content::Http1(http) => Request::Http(&http.request).line(),
        Content::Wire(wire) => Request::Wire(wire.protocol, &wire.request).line(),
        Content::Opaque(turns) => {
            let first = turns.iter().find(|turn| turn.from == Side::Client);
            first.map_or_else(|| "bytes of no recognised protocol".to_owned(), |turn| pairing::opaque(&turn.bytes))
        }
        Content::Nothing => "a connection that was never established".to_owned(),
    }
}

#[cfg(test)]
mod tests;
