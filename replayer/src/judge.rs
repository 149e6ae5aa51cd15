//! The verdict on one entry. Pure: what was recorded and what was seen go in, findings come out.

use std::{collections::BTreeMap, time::Duration};

use regress_cassettes::{
    Address, Cassette, Confidence, Content, Defect, Ended, Exchange, HttpExchange,
    diff::{self, Difference, Lens, Rules},
};
use regress_mockserver::mock::{Bindings, Call, HitScope, Match, Rung};
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

/// Judge one entry. What the rules let pass is no finding, nor is a value in the response that a call bound.
///
/// A cassette with defects is never judged to be the same or different: what it lacks could be the reason.
pub fn judge(cassette: &Cassette, observed: &Observed<'_>, rules: &Rules) -> Judgement {
    let Observed { seen, journal, bindings, exited } = *observed;
    let same = |expected: &str, actual: &str| bindings.same(expected, actual);
    let mut doubts = doubts(cassette);
    if let Seen::Nothing { end: End::Certificate, .. } = seen {
        doubts.push("the service asks for a client's certificate, and none was recorded".to_owned());
    }
    let rules = EntryRules::of(rules, cassette);
    let pairing = Pairing::of(cassette, journal, &rules);
    let mut findings = Vec::new();
    if let Some(http) = cassette.entry.as_ref().and_then(Exchange::http) {
        let ended = cassette.entry.as_ref().map(|entry| entry.ended);
        let lens = Lens { same: Some(&same), ..rules.response() };
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
    excused.extend(excused_calls(cassette, journal, &rules, &same));
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
fn excused_calls(
    cassette: &Cassette,
    journal: &[Call],
    rules: &EntryRules<'_>,
    same: &dyn Fn(&str, &str) -> bool,
) -> Vec<Finding> {
    let excused = |call: &Call| {
        let Match::Hit { cassette: id, exchange: number, scope: HitScope::Entry, rung, .. } = &call.matched else {
            return None;
        };
        let request = call.what.request()?;
        if *rung == Rung::Exact {
            return None;
        }
        let exchange = cassette.downstream.get(*number).filter(|_| *id == cassette.id)?;
        let lens = Lens { same: Some(same), ..rules.call(&call.downstream, request) };
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
mod tests {
    use super::*;
    use crate::testing::{cassette, created, hit, hits, json, miss, reserve, unanswered};
    use bytes::Bytes;
    use regress_cassettes::{
        Turn,
        diff::{Difference, Kind, Noise, RuleText},
    };
    use regress_mockserver::mock::{Attempted, MissReason, NearMiss};

    fn judge(cassette: &Cassette, seen: &Seen, journal: &[Call], exited: Option<&str>) -> Judgement {
        judge_under(&Rules::none(), cassette, seen, journal, exited)
    }

    fn judge_under(
        rules: &Rules,
        cassette: &Cassette,
        seen: &Seen,
        journal: &[Call],
        exited: Option<&str>,
    ) -> Judgement {
        let bindings = Bindings::default();
        super::judge(cassette, &Observed { seen, journal, bindings: &bindings, exited }, rules)
    }

    fn paths(judgement: &Judgement) -> Vec<String> {
        let one = |finding: &Finding| match finding {
            Finding::Ended { expected, actual } => vec![format!("response: {expected} / {actual}")],
            Finding::Exited(how) => vec![format!("process {how}")],
            Finding::Call(CallFinding { change: CallChange::Novel { .. }, request, number, .. }) => {
                vec![format!("downstream/{number} novel {request}")]
            }
            Finding::Call(call) if call.change == CallChange::Omitted => vec![format!("{} omitted", call.path())],
            finding => finding.paths(),
        };
        judgement.findings.iter().flat_map(one).collect()
    }

    fn ok() -> Seen {
        Seen::Response(created("12.50"))
    }

    fn nothing(end: End) -> Seen {
        Seen::Nothing { end, part: None }
    }

    #[test]
    fn the_same_response_and_calls_are_the_same() {
        let cassette = cassette();
        let judgement = judge(&cassette, &ok(), &hits(&cassette), None);
        assert_eq!((judgement.verdict, paths(&judgement)), (Verdict::Same, vec![]));
        assert_eq!(judgement.calls.len(), 2);
    }

    #[test]
    fn what_was_labelled_is_judged_and_told() {
        let mut cassette = cassette();
        cassette.nondeterministic.push("response/body/id varies from replay to replay".to_owned());
        assert_eq!(judge(&cassette, &ok(), &hits(&cassette), None).verdict, Verdict::Same);
        let seen = Seen::Response(created("13.00"));
        assert_eq!(judge(&cassette, &seen, &hits(&cassette), None).verdict, Verdict::Different);
        let note = "non-deterministic when it was recorded: response/body/id varies from replay to replay";
        assert_eq!(notes(&cassette), [note]);
    }

    /// `POST /reserve` and `DELETE /hold` at the inventory, one after the other, and a read of prices in between.
    fn two_writes() -> Cassette {
        let mut cassette = cassette();
        let mut hold = cassette.downstream[0].clone();
        hold.at = 3000;
        if let Content::Http1(http) = &mut hold.content {
            http.request = Message::request("DELETE", "/hold", &[("Host", "inventory")], "");
        }
        cassette.downstream.push(hold);
        cassette
    }

    #[test]
    fn reads_in_another_order_are_the_same() {
        let cassette = two_writes();
        for journal in [[1, 0, 2], [0, 2, 1]] {
            let judgement = judge(&cassette, &ok(), &journal.map(|number| hit(&cassette, number)), None);
            assert_eq!((judgement.verdict, paths(&judgement)), (Verdict::Same, vec![]));
        }
        let mut beside = cassette;
        beside.downstream[1].took = Some(2000);
        let judgement = judge(&beside, &ok(), &[2, 1, 0].map(|number| hit(&beside, number)), None);
        assert_eq!(judgement.verdict, Verdict::Same, "a write was made beside the read");
    }

    #[test]
    fn writes_in_another_order_are_different() {
        let cassette = two_writes();
        let judgement = judge(&cassette, &ok(), &[2, 0, 1].map(|number| hit(&cassette, number)), None);
        assert_eq!(
            (judgement.verdict, paths(&judgement)),
            (Verdict::Different, vec!["downstream/2/request/order".to_owned()])
        );
        let Finding::Call(CallFinding { change: CallChange::Changed(differences), .. }) = &judgement.findings[0] else {
            panic!("{:?}", judgement.findings);
        };
        assert_eq!(differences[0].expected.as_deref(), Some("after downstream/0 (inventory POST /reserve)"));
        assert_eq!(differences[0].actual.as_deref(), Some("before downstream/0 (inventory POST /reserve)"));
    }

    #[test]
    fn calls_that_changed_have_an_order() {
        let cassette = two_writes();
        let changed = miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(3)), unanswered());
        let journal = [hit(&cassette, 2), changed, hit(&cassette, 1)];
        let both = ["downstream/0/request/body/qty", "downstream/2/request/order"];
        assert_eq!(paths(&judge(&cassette, &ok(), &journal, None)), both);
    }

    #[test]
    fn the_order_of_a_call_may_be_noise() {
        let cassette = two_writes();
        let rules = rules(&[("request/order", "unordered")]);
        let swapped = [2, 0, 1].map(|number| hit(&cassette, number));
        let judgement = judge_under(&rules, &cassette, &ok(), &swapped, None);
        assert_eq!((judgement.verdict, judgement.excused.len()), (Verdict::Same, 1));
        let changed = miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(3)), unanswered());
        let judgement = judge_under(&rules, &cassette, &ok(), &[hit(&cassette, 2), changed, hit(&cassette, 1)], None);
        assert_eq!(paths(&judgement), ["downstream/0/request/body/qty"]);
    }

    #[test]
    fn each_field_of_the_response_is_a_finding() {
        let cassette = cassette();
        let seen = Seen::Response(json(200, r#"{"id": 7, "total": 13}"#));
        let judgement = judge(&cassette, &seen, &hits(&cassette), None);
        assert_eq!(judgement.verdict, Verdict::Different);
        assert_eq!(paths(&judgement), ["response/status", "response/body/total"]);
    }

    fn rules(toml: &[(&str, &str)]) -> Rules {
        let rule = |(path, effect): &(&str, &str)| RuleText {
            path: (*path).to_owned(),
            effect: (*effect).to_owned(),
            ..RuleText::default()
        };
        Rules::new(toml.iter().map(rule).collect()).unwrap()
    }

    #[test]
    fn what_a_rule_lets_pass_is_no_finding() {
        let cassette = cassette();
        let rules = rules(&[("response/body/total", "type"), ("request/body/qty", "ignore")]);
        let mut qty = hit(&cassette, 0);
        qty.what = Attempted::Http(reserve(3));
        if let Match::Hit { rung, .. } = &mut qty.matched {
            *rung = Rung::Noise;
        }
        let judge = |total: &str| {
            judge_under(&rules, &cassette, &Seen::Response(created(total)), &[qty.clone(), hit(&cassette, 1)], None)
        };
        let judgement = judge("13.75");
        assert_eq!((judgement.verdict, paths(&judgement)), (Verdict::Same, vec![]));
        let noise = |finding: &Finding| match finding {
            Finding::Response(difference) => (difference.path.clone(), difference.noise),
            Finding::Call(CallFinding { change: CallChange::Changed(all), number: 0, .. }) => {
                (all[0].path.clone(), all[0].noise)
            }
            other => panic!("{other:?} is not excused"),
        };
        assert_eq!(
            judgement.excused.iter().map(noise).collect::<Vec<_>>(),
            [("body/total".to_owned(), Some(Noise::Rule(0))), ("body/qty".to_owned(), Some(Noise::Rule(1)))]
        );
        let judgement = judge("\"13.75\"");
        assert_eq!(
            (judgement.verdict, paths(&judgement)),
            (Verdict::Different, vec!["response/body/total".to_owned()])
        );
    }

    #[test]
    fn omitted_changed_and_novel_calls_are_told_apart() {
        let cassette = cassette();
        let journal = [
            miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(3)), unanswered()),
            miss("audit", "10.0.0.10:80", Attempted::Http(reserve(2)), unanswered()),
            miss("10.9.9.9:53", "10.9.9.9:53", Attempted::Name("db.example".to_owned()), unanswered()),
            miss("10.9.9.9:53", "10.9.9.9:53", Attempted::Name("db.example".to_owned()), unanswered()),
        ];
        let judgement = judge(&cassette, &ok(), &journal, None);
        assert_eq!(judgement.verdict, Verdict::Different);
        assert_eq!(
            paths(&judgement),
            [
                "downstream/0/request/body/qty",
                "downstream/1 omitted",
                "downstream/2 novel POST /reserve",
                "downstream/3 novel a DNS query for db.example"
            ]
        );
    }

    #[test]
    fn a_miss_takes_the_recorded_call_most_like_it() {
        let mut cassette = cassette();
        let mut other = cassette.downstream[0].clone();
        if let Content::Http1(http) = &mut other.content {
            http.request = reserve(9);
            http.request.headers.push(regress_protocols::http1::Line::new("X-Extra: 1"));
        }
        cassette.downstream.insert(0, other);
        let journal = [miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(3)), unanswered()), hit(&cassette, 2)];
        let judgement = judge(&cassette, &ok(), &journal, None);
        assert_eq!(paths(&judgement), ["downstream/0 omitted", "downstream/1/request/body/qty"]);
        let same_port_only =
            [miss("inventory", "10.0.0.8:81", Attempted::Http(reserve(2)), unanswered()), hit(&cassette, 2)];
        assert_eq!(
            paths(&judge(&cassette, &ok(), &same_port_only, None)),
            ["downstream/0 omitted", "downstream/1 omitted", "downstream/3 novel POST /reserve"]
        );
    }

    #[test]
    fn no_answer_where_there_was_one_is_different() {
        let cassette = cassette();
        for (end, told) in [
            (End::Refused, "no response: the connection was refused"),
            (End::Reset, "no response: the connection was reset"),
            (End::Closed, "no response: the connection was closed"),
            (End::Garbage, "something that is not an HTTP response"),
            (End::Hung(30_000), "no response within 30 s"),
        ] {
            let judgement = judge(&cassette, &nothing(end), &hits(&cassette), None);
            assert_eq!(judgement.verdict, Verdict::Different);
            assert_eq!(paths(&judgement), [format!("response: a response with status 201 / {told}")]);
        }
    }

    #[test]
    fn a_service_that_ends_after_its_answer_is_different() {
        let cassette = cassette();
        let judgement = judge(&cassette, &ok(), &hits(&cassette), Some("exited with 139"));
        assert_eq!(judgement.verdict, Verdict::Different);
        assert_eq!(paths(&judgement), ["process exited with 139"]);
    }

    #[test]
    fn an_end_without_answer_is_the_same_when_it_was_recorded() {
        let mut cassette = cassette();
        let entry = cassette.entry.as_mut().unwrap();
        entry.ended = Ended::Reset;
        if let Content::Http1(http) = &mut entry.content {
            http.response = None;
        }
        let calls = hits(&cassette);
        assert_eq!(judge(&cassette, &nothing(End::Closed), &calls, None).verdict, Verdict::Same);
        assert_eq!(judge(&cassette, &nothing(End::Hung(1)), &calls, None).verdict, Verdict::Different);
        let answered = judge(&cassette, &ok(), &calls, None);
        assert_eq!(paths(&answered), ["response: no response before a reset connection / a response with status 201"]);
    }

    #[test]
    fn what_a_cassette_lacks_makes_it_inconclusive_whatever_happens() {
        let mut cassette = cassette();
        cassette.downstream[1].defects.push(Defect::AmbiguousOwner);
        let calls = hits(&cassette);
        let same = judge(&cassette, &ok(), &calls, None);
        assert_eq!(same.verdict, Verdict::Inconclusive);
        assert_eq!(same.doubts, ["the recording is not complete: downstream/1 may belong to another entry"]);
        let other = judge(&cassette, &nothing(End::Reset), &calls, None);
        assert_eq!((other.verdict, other.findings.len()), (Verdict::Inconclusive, 1));
    }

    #[test]
    fn what_is_likely_an_entry_s_is_judged_as_its_own_and_noted() {
        let mut cassette = cassette();
        assert_eq!(notes(&cassette), Vec::<String>::new());
        cassette.downstream[1].cause.as_mut().unwrap().confidence = Confidence::Likely;
        let name = downstream(&cassette.downstream[1]);
        assert_eq!(notes(&cassette), [format!("downstream/1 ({name}) is likely this entry's, not certainly")]);
        assert_eq!(judge(&cassette, &ok(), &hits(&cassette), None).verdict, Verdict::Same);
        assert_eq!(judge(&cassette, &ok(), &[hit(&cassette, 0)], None).verdict, Verdict::Different);
    }

    #[test]
    fn unix_sockets_are_inconclusive_whatever_happens() {
        let socket = || Address::Unix(Bytes::from_static(b"/run/stock"));
        let mut called = cassette();
        called.downstream[1].connection.peer = socket();
        let judgement = judge(&called, &ok(), &[hit(&called, 0)], None);
        assert_eq!((judgement.verdict, paths(&judgement)), (Verdict::Inconclusive, Vec::new()));
        let name = downstream(&called.downstream[1]);
        let not_played = format!("downstream/1 ({name}) went over a Unix socket, which cannot be played");
        assert_eq!(judgement.doubts, [not_played]);

        let mut entered = cassette();
        entered.entry.as_mut().unwrap().connection.local = Some(socket());
        let judgement = judge(&entered, &ok(), &hits(&entered), None);
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        assert_eq!(judgement.doubts, ["the entry came over a Unix socket, which is not driven"]);
    }

    #[test]
    fn what_cannot_be_played_is_inconclusive_and_what_was_refused_is_no_omission() {
        let mut cassette = cassette();
        cassette.downstream[0].content = Content::Nothing;
        cassette.downstream[0].ended = Ended::Refused;
        let calls = [hit(&cassette, 1)];
        assert_eq!(judge(&cassette, &ok(), &calls, None).verdict, Verdict::Same);

        cassette.downstream[0].content = Content::Opaque(Vec::new());
        let opaque = miss("10.0.0.8:80", "10.0.0.8:80", Attempted::Opaque(Bytes::from_static(b"PING")), unanswered());
        let judgement = judge(&cassette, &ok(), &[hit(&cassette, 1), opaque], None);
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        assert_eq!(paths(&judgement), Vec::<String>::new());
    }

    #[test]
    fn a_conversation_in_no_recognised_protocol_is_judged_and_noted() {
        let mut cassette = cassette();
        let turn = |from, bytes: &'static [u8]| Turn { from, bytes: Bytes::from_static(bytes) };
        cassette.downstream[0].content =
            Content::Opaque(vec![turn(Side::Client, b"GET 1\n"), turn(Side::Server, b"one\n")]);
        cassette.downstream[0].ended = Ended::Ok;
        let name = downstream(&cassette.downstream[0]);
        let note =
            format!("downstream/0 ({name}) was compared byte by byte, the weakest way: no protocol was recognised");
        assert_eq!(notes(&cassette), [note]);
        assert_eq!(judge(&cassette, &ok(), &hits(&cassette), None).verdict, Verdict::Same);

        let omitted = judge(&cassette, &ok(), &[hit(&cassette, 1)], None);
        assert_eq!(omitted.verdict, Verdict::Different);
        let said = b"GET 2\n";
        let mut other = miss(&name, "10.0.0.8:80", Attempted::Opaque(Bytes::from_static(said)), unanswered());
        let extra = judge(&cassette, &ok(), &[hit(&cassette, 0), hit(&cassette, 1), other.clone()], None);
        assert_eq!(paths(&extra).len(), 1);
        assert!(matches!(&extra.findings[..], [Finding::Call(CallFinding { change: CallChange::Novel { .. }, .. })]));

        let differs = Difference {
            path: "turns/0".to_owned(),
            kind: Kind::Changed,
            expected: Some("from byte 4: 1\\n".to_owned()),
            actual: Some("from byte 4: 2\\n".to_owned()),
            noise: None,
        };
        let nearest = vec![NearMiss { cassette: cassette.id.clone(), exchange: 0, differences: vec![differs.clone()] }];
        other.matched = Match::Miss { reason: MissReason::DifferentRequest, nearest };
        let changed = judge(&cassette, &ok(), &[other, hit(&cassette, 1)], None);
        let [Finding::Call(finding)] = &changed.findings[..] else { panic!("{:?}", changed.findings) };
        assert_eq!((finding.number, &finding.change), (0, &CallChange::Changed(vec![differs])));
        assert_eq!(finding.request, "bytes of no recognised protocol: GET 1\\n");
        let sides = changed.sides.expect("it is different");
        let shown = |side: &Option<sides::Side>| side.as_ref().map(|side| side.body.clone());
        assert_eq!(shown(&sides[1].expected).as_deref(), Some("client: GET 1\\n\nserver: one\\n\n"));
        assert_eq!(shown(&sides[1].actual).as_deref(), Some("client: GET 2\\n\n"));
    }
}
