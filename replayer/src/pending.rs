//! What a cassette would be if the service's new behaviour were right.

use std::time::Duration;

use regress_cassettes::{
    Cassette, Cause, Confidence, Connection, Content, Ended, Exchange, HttpExchange, Micros, Rule, WireExchange,
    diff::{Lens, Rules},
};
use regress_mockserver::mock::{Attempted, Bindings, Call, Told};
use regress_protocols::{Request, http1::Message};

use crate::{merge, merge::merge, order, pairing::Pairing, recorded::AsRecorded, rules::EntryRules, stream};

/// The header that marks an answer the mock made up because nothing recorded fits.
const MISS: (&str, &[u8]) = ("x-regress", b"miss");

/// The cassette with the response and the calls that were seen, everything that did not change as it was.
///
/// Values that the service made anew stay the recorded ones that they stand for. Recorded calls keep their place and time,
/// unless writes were made in another order; those that were not made are left out; calls nobody recorded follow at the
/// end with the answer they got ([`is_unanswered`] tells the ones whose answer is only the mock's own). Attempts that are
/// in no protocol that is read cannot be proposed and stay differences.
pub fn propose(
    cassette: &Cassette,
    response: &Message,
    took: Duration,
    journal: &[Call],
    bindings: &Bindings,
    rules: &Rules,
) -> Cassette {
    let same = |recorded: &str, actual: &str| bindings.same(recorded, actual);
    let as_recorded = AsRecorded::of(bindings);
    let lens = |lens: Lens<'static>| Lens { same: Some(&same), drawn: Some(&as_recorded), ..lens };
    let rules = EntryRules::of(rules, cassette);
    let pairing = Pairing::of(cassette, journal, &rules);
    let mut proposed = cassette.clone();
    if let Some(entry) = &mut proposed.entry {
        let lens = lens(rules.response());
        if let Some(recorded) = entry.http().and_then(|http| http.response.as_ref()) {
            as_recorded.note_response(recorded, response, &lens.rules);
        }
        let response = &as_recorded.message(response, &lens.rules);
        set_response(entry, response, took, &lens);
        if stream::held_back(cassette, response, &lens.rules).is_some_and(|held| held.counts()) {
            hold_back(entry, response);
        }
    }
    for changed in &pairing.changed {
        let exchange = &mut proposed.downstream[changed.number];
        match (&mut exchange.content, changed.request) {
            (Content::Http1(http), Some(Request::Http(request))) => {
                let lens = lens(rules.call(&changed.call.downstream, &http.request));
                as_recorded.note_call(Request::Http(&http.request), Request::Http(request), &lens.rules);
                let asked = whole(&http.request, &as_recorded.message(request, &lens.rules), &lens);
                if asked.body.len() != http.request.body.len() {
                    // The turns that it had are not those of another request.
                    http.interleaved.clear();
                }
                http.request = asked;
            }
            (Content::Wire(wire), Some(asked @ Request::Wire(protocol, request))) => {
                let rules = rules.call(&changed.call.downstream, asked).rules;
                as_recorded.note_call(Request::Wire(protocol, &wire.request), asked, &rules);
                wire.request = as_recorded.value(request, &rules);
            }
            _ => {}
        }
        match (&changed.call.answered, &mut exchange.content) {
            (Some(Told::Http(answered)), _) if !is_miss(answered) => {
                let took = exchange.took.map(Duration::from_micros).unwrap_or_default();
                let lens = changed.request.map_or_else(Lens::exact, |request| rules.answer(request));
                set_response(exchange, answered, took, &lens);
            }
            (Some(Told::Wire(answered)), Content::Wire(wire)) => wire.response = Some(answered.clone()),
            _ => {}
        }
    }
    leave_out(&mut proposed, &pairing, &rules);
    let connection = cassette.downstream.iter().chain(&cassette.entry).map(|exchange| exchange.connection.id).max();
    let novel = pairing.novel.iter().filter_map(|call| Some((*call, said(call, &as_recorded, &rules)?)));
    for (index, (call, content)) in novel.enumerate() {
        let is_unanswered = matches!(&content, Content::Wire(wire) if wire.response.is_none());
        add_novel(
            &mut proposed.downstream,
            Exchange {
                downstream: Some(call.downstream.clone()),
                connection: Connection {
                    id: connection.unwrap_or(0) + 1 + index as u64,
                    local: None,
                    peer: call.destination.into(),
                    tls: call.tls,
                },
                at: 0,
                took: (!is_unanswered).then_some(0),
                content,
                ended: if is_unanswered { Ended::Closed } else { Ended::Ok },
                cause: Some(Cause { rule: Rule::Alone, confidence: Confidence::Certain, after_response: false }),
                defects: Vec::new(),
            },
        );
    }
    proposed
}

/// What was said in a call that nobody recorded, as if it had been recorded; `None` where it cannot be proposed.
fn said(call: &Call, as_recorded: &AsRecorded<'_>, rules: &EntryRules<'_>) -> Option<Content> {
    let applied = rules.call(&call.downstream, call.what.request()?).rules;
    match (&call.what, &call.answered) {
        (Attempted::Http(request), Some(Told::Http(answered))) => {
            Some(Content::Http1(HttpExchange::new(as_recorded.novel(request, &applied), Some(answered.clone()))))
        }
        (Attempted::Wire(protocol, request), Some(told)) => {
            let response = if let Told::Wire(response) = told { Some(response.clone()) } else { None };
            let request = as_recorded.value(request, &applied);
            Some(Content::Wire(WireExchange { protocol: *protocol, request, response }))
        }
        _ => None,
    }
}

/// Leave out the calls that were not made, and put the others in the order in which they were made.
fn leave_out(proposed: &mut Cassette, pairing: &Pairing<'_>, rules: &EntryRules<'_>) {
    let numbers: Vec<usize> =
        (0..proposed.downstream.len()).filter(|number| !pairing.omitted.contains(number)).collect();
    let mut number = 0;
    proposed.downstream.retain(|_| {
        number += 1;
        numbers.binary_search(&(number - 1)).is_ok()
    });
    let made: Vec<usize> = pairing.made.iter().filter_map(|number| numbers.binary_search(number).ok()).collect();
    let order = order::of(proposed, &made, rules);
    order::arrange(&mut proposed.downstream, &order, order::Made::counts);
}

/// Add a call that nobody recorded. When it would have been made is not known: it gets the time of the last one, beside
/// which it has no order.
pub(crate) fn add_novel(downstream: &mut Vec<Exchange>, call: Exchange) {
    let at = downstream.iter().map(|exchange| exchange.at).max().unwrap_or(0);
    downstream.push(Exchange { at, ..call });
}

/// Whether an exchange's response is only what the mock says when nothing recorded fits.
pub fn is_unanswered(exchange: &Exchange) -> bool {
    match &exchange.content {
        Content::Http1(http) => http.response.as_ref().is_some_and(is_miss),
        Content::Wire(wire) => wire.response.is_none() && exchange.ended == Ended::Closed,
        Content::Opaque(_) | Content::Nothing => false,
    }
}

fn is_miss(response: &Message) -> bool {
    response.header(MISS.0) == Some(MISS.1)
}

fn set_response(exchange: &mut Exchange, actual: &Message, took: Duration, lens: &Lens<'_>) {
    let Content::Http1(http) = &mut exchange.content else { return };
    let response = match &http.response {
        Some(recorded) if recorded.is_complete() => whole(recorded, actual, lens),
        _ => {
            exchange.took = Some(took.as_micros() as Micros);
            exchange.ended = Ended::Ok;
            http.reset = None;
            actual.clone()
        }
    };
    // It ended by itself.
    http.left = false;
    http.streamed = stream::arrivals(http, &response);
    if http.response.as_ref().is_none_or(|recorded| recorded.body.len() != response.body.len()) {
        http.interleaved.clear();
    }
    http.response = Some(response);
}

/// A stream of events of which nothing comes until all of it is there, as in `actual`.
pub(crate) fn hold_back(exchange: &mut Exchange, actual: &Message) {
    let Content::Http1(http) = &mut exchange.content else { return };
    http.streamed.clear();
    if let Some(response) = &mut http.response {
        merge::in_one_piece(response, actual);
    }
}

/// `old` with every difference to `new`; what does not count as a difference stays as it was recorded.
fn whole(old: &Message, new: &Message, lens: &Lens<'_>) -> Message {
    merge(old, new, lens, |_| true).unwrap_or_else(|_| new.clone())
}

#[cfg(test)]
mod tests {
    use regress_cassettes::diff::{Drawn, RuleText, Schemas};
    use regress_mockserver::mock::Drawing;
    use regress_protocols::{Value, wire::Protocol};

    use super::*;
    use crate::{
        review::changes,
        testing::{cassette, created, hit, hits, json, miss, reserve, unanswered},
    };

    fn propose(cassette: &Cassette, response: &Message, took: Duration, journal: &[Call]) -> Cassette {
        super::propose(cassette, response, took, journal, &Bindings::default(), &Rules::none())
    }

    fn paths(original: &Cassette, proposed: &Cassette) -> Vec<String> {
        changes(original, proposed, &Schemas::none()).into_iter().map(|change| change.path).collect()
    }

    #[test]
    fn the_same_behaviour_proposes_the_same_cassette() {
        let cassette = cassette();
        let mut response = created("12.50");
        response.headers.push(regress_protocols::http1::Line::new("Connection: close"));
        assert_eq!(propose(&cassette, &response, Duration::from_secs(9), &hits(&cassette)), cassette);
    }

    #[test]
    fn only_the_fields_that_differ_change() {
        let cassette = cassette();
        let journal = [
            hit(&cassette, 1),
            miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(3)), json(200, r#"{"reserved": true}"#)),
        ];
        let proposed = propose(&cassette, &created("13"), Duration::ZERO, &journal);
        assert_eq!(paths(&cassette, &proposed), ["response/body/total", "downstream/0/request/body/qty"]);
        let entry = proposed.entry.as_ref().and_then(Exchange::http).unwrap();
        assert_eq!(entry.response, Some(created("13")));
        assert_eq!(proposed.downstream[0].at, cassette.downstream[0].at);
        assert_eq!(proposed.downstream[1], cassette.downstream[1]);
    }

    /// Rules that values at these places are drawn anew.
    fn drawn(paths: &[&str]) -> Rules {
        let rule =
            |path: &&str| RuleText { path: (*path).to_owned(), effect: "generated".to_owned(), ..RuleText::default() };
        Rules::new(paths.iter().map(rule).collect()).unwrap()
    }

    #[test]
    fn what_only_the_response_drew_anew_stays_as_it_was_recorded() {
        let cassette = cassette();
        let (bindings, rules) = (Bindings::default(), drawn(&["response/body/id", "response/body/of"]));
        let response = json(201, r#"{"id": 900, "total": 13, "of": 900}"#);
        let proposed = super::propose(&cassette, &response, Duration::ZERO, &hits(&cassette), &bindings, &rules);
        let response = proposed.entry.as_ref().and_then(Exchange::http).unwrap().response.clone().unwrap();
        assert_eq!(String::from_utf8_lossy(&response.body), r#"{"id": 7, "total": 13,"of": 7}"#);
    }

    #[test]
    fn what_was_drawn_anew_in_another_protocol_stays_as_it_was_recorded() {
        let set = |number: &str, amount: &str| {
            let args = ["order", number, amount].map(Value::text);
            let request = [("command", Value::text("HSET")), ("args", Value::List(args.to_vec()))];
            Value::Map(request.into_iter().map(|(name, value)| (name.into(), value)).collect())
        };
        let mut cassette = cassette();
        let (request, response) = (set("17", "5"), Some(Value::number(1)));
        cassette.downstream[1].content = Content::Wire(WireExchange { protocol: Protocol::Redis, request, response });
        let what = Attempted::Wire(Protocol::Redis, set("812", "6"));
        let missed = Call {
            answered: Some(Told::Wire(Value::number(1))),
            ..miss("prices:9000", "10.0.0.9:9000", what, unanswered())
        };
        let (bindings, rules) = (Bindings::default(), drawn(&["request/args/1"]));
        let journal = [hit(&cassette, 0), missed];
        let proposed = super::propose(&cassette, &created("12.50"), Duration::ZERO, &journal, &bindings, &rules);
        assert_eq!(proposed.downstream[1].wire().unwrap().request, set("17", "6"));
    }

    #[test]
    fn what_was_drawn_anew_stays_as_it_was_recorded() {
        let rules = ["response/body/id", "response/body/of", "request/body/sku", "request/body/lines/*"];
        let rules = drawn(&rules);
        let nothing = Bindings::default();
        let drawing = Drawing::after(&nothing);
        assert!(drawing.stands("7", "812") && drawing.stands("1", "44"));
        let bindings = drawing.into_fresh();
        let cassette = cassette();
        let reserve = |body: &str| {
            let headers = [("Host", "inventory"), ("Content-Type", "application/json")];
            Message::request("POST", "/reserve", &headers, body.to_owned())
        };
        let missed = |body: &str| {
            miss("inventory", "10.0.0.8:80", Attempted::Http(reserve(body)), json(200, r#"{"reserved": true}"#))
        };
        let proposed = |response: &str, journal: &[Call]| {
            let response = json(201, response);
            super::propose(&cassette, &response, Duration::ZERO, journal, &bindings, &rules)
        };
        // Beside what changed, in the response and in a call.
        let journal = [hit(&cassette, 1), missed(r#"{"sku": 44, "qty": 30}"#)];
        let changed = proposed(r#"{"id": 812, "total": 13}"#, &journal);
        assert_eq!(paths(&cassette, &changed), ["response/body/total", "downstream/0/request/body/qty"]);
        let content = changed.downstream[0].http().unwrap();
        assert_eq!(content.request.wire(), reserve(r#"{"sku": 1, "qty": 30}"#).wire());
        // What it should not be is told as what that is in the recording; what is new, as it is.
        let other = proposed(r#"{"id": 44, "total": 12.50}"#, &hits(&cassette));
        assert_eq!(
            other.entry.as_ref().and_then(Exchange::http).unwrap().response,
            Some(json(201, r#"{"id": 1, "total": 12.50}"#))
        );
        let other = proposed(r#"{"id": 900, "total": 12.50}"#, &hits(&cassette));
        assert_eq!(
            other.entry.as_ref().and_then(Exchange::http).unwrap().response,
            Some(json(201, r#"{"id": 900, "total": 12.50}"#))
        );
        // A member that came is told so too.
        let more = proposed(r#"{"id": 812, "total": 12.50, "of": 812}"#, &hits(&cassette));
        let response = more.entry.as_ref().and_then(Exchange::http).unwrap().response.clone().unwrap();
        assert_eq!(String::from_utf8_lossy(&response.body), r#"{"id": 7, "total": 12.50,"of": 7}"#);
        // And a call that nobody recorded.
        let novel =
            miss("audit", "10.0.0.10:80", Attempted::Http(reserve(r#"{"lines": [812, 5], "n": 812}"#)), unanswered());
        let novel = proposed(r#"{"id": 812, "total": 12.50}"#, &[hit(&cassette, 0), hit(&cassette, 1), novel]);
        assert_eq!(
            novel.downstream[2].http().unwrap().request.wire(),
            reserve(r#"{"lines": [7, 5], "n": 812}"#).wire()
        );
    }

    #[test]
    fn omitted_calls_go_and_novel_ones_come_last() {
        let cassette = cassette();
        let journal = [
            miss("audit", "10.0.0.10:80", Attempted::Http(reserve(1)), unanswered()),
            miss("10.0.0.10:53", "10.0.0.10:53", Attempted::Name("audit".to_owned()), unanswered()),
            hit(&cassette, 1),
        ];
        let proposed = propose(&cassette, &created("12.50"), Duration::ZERO, &journal);
        let changes = changes(&cassette, &proposed, &Schemas::none());
        let told: Vec<_> = changes.iter().map(|change| (change.path.as_str(), change.unanswered)).collect();
        assert_eq!(told, [("downstream/0", false), ("downstream/2", true)]);
        assert_eq!(proposed.downstream[0], cassette.downstream[1]);
        let novel = &proposed.downstream[1];
        assert_eq!(novel.downstream.as_deref(), Some("audit"));
        assert_eq!((novel.connection.id, novel.at), (3, 2000));
        assert!(is_unanswered(novel));
    }

    #[test]
    fn an_entry_that_had_no_answer_gets_one() {
        let mut cassette = cassette();
        let entry = cassette.entry.as_mut().unwrap();
        (entry.ended, entry.took) = (Ended::Closed, None);
        if let Content::Http1(http) = &mut entry.content {
            http.response = None;
        }
        let proposed = propose(&cassette, &created("1"), Duration::from_millis(2), &hits(&cassette));
        let entry = proposed.entry.as_ref().unwrap();
        assert_eq!((entry.ended, entry.took), (Ended::Ok, Some(2000)));
        assert_eq!(paths(&cassette, &proposed), ["response"]);
    }
}
