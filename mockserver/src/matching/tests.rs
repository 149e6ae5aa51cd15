use std::{net::SocketAddr, sync::Arc};

use proptest::prelude::*;
use regress_cassettes::{
    Content, Ended, Exchange,
    diff::{Rules, Schemas},
    redact::Redactor,
};
use regress_protocols::http1::Message;

use crate::{
    library::Library,
    mock::{Attempted, Call, HitScope, Match, MissReason, Mock, Mode, Place, Policy, Reply, Reuse, Rung, Scope, Told},
    samples::{
        AMBIENT, ENTRY, PAYMENTS, answered, ask, at, cassette, entered, entry_id, exchange, http, library, mock, ok,
    },
};

fn place(destination: &str) -> Place {
    Place { destination: destination.parse().unwrap(), tls: false }
}

/// What the mock decides about a request that goes to `place`.
fn judged(mock: &Mock, place: Place, request: &Message) -> Call {
    let before = mock.take_journal();
    assert_eq!(before, [], "the journal was read before");
    let reply = mock.shared.judge(place, request);
    let call = mock.take_journal().pop().expect("every request is a call");
    let is_hit = matches!(call.matched, Match::Hit { .. });
    assert!(is_hit || matches!(call.matched, Match::Miss { .. }));
    if let Reply::Miss(why) = reply {
        let refusal = call.answered.as_ref().and_then(Told::http).unwrap();
        assert_eq!((refusal.status(), refusal.header("x-regress")), (502, Some(&b"miss"[..])));
        assert_eq!(refusal.body, why);
        assert!(!is_hit);
    }
    assert_eq!(call.what, Attempted::Http(request.clone()));
    call
}

fn asked(mock: &Mock, request: &Message) -> Call {
    judged(mock, place(PAYMENTS), request)
}

/// Scope and index of a hit.
fn hit(call: &Call) -> Option<(HitScope, usize)> {
    match &call.matched {
        Match::Hit { exchange, scope, .. } => Some((*scope, *exchange)),
        Match::Miss { .. } => None,
    }
}

fn reason(call: &Call) -> Option<MissReason> {
    match &call.matched {
        Match::Miss { reason, .. } => Some(*reason),
        Match::Hit { .. } => None,
    }
}

/// Index and paths of the differences of each near miss.
fn nearest(call: &Call) -> Vec<(usize, Vec<&str>)> {
    match &call.matched {
        Match::Hit { .. } => panic!("a hit: {call:?}"),
        Match::Miss { nearest, .. } => nearest
            .iter()
            .map(|near| (near.exchange, near.differences.iter().map(|found| found.path.as_str()).collect()))
            .collect(),
    }
}

fn strict(entry: Vec<Exchange>) -> Mock {
    mock(entry, Vec::new(), Mode::Strict)
}

#[test]
fn requests_that_are_easily_confused_are_misses() {
    let users = "/users?id=17";
    let select = |verb: &str, id: u8| {
        Message::request("POST", "/sql", &[("Host", "payments:8080")], format!("{verb} FROM user WHERE id={id}"))
    };
    let elsewhere = Message::request("GET", users, &[("Host", "refunds:8080")], "");
    let tenant = |tenant: &str| Message::request("GET", users, &[("Host", "payments:8080"), ("X-Tenant", tenant)], "");
    let cases = [
        (ask("POST", "/charge", r#"{"amount":100}"#), ask("POST", "/charge", r#"{"amount":9900}"#)),
        (ask("GET", users, ""), ask("GET", "/users?id=18", "")),
        (ask("GET", "/users/17", ""), ask("GET", "/users/18", "")),
        (ask("POST", "/charge", "{}"), ask("POST", "/refund", "{}")),
        (ask("GET", users, ""), ask("DELETE", users, "")),
        (ask("GET", users, ""), elsewhere),
        (select("SELECT *", 17), select("SELECT *", 18)),
        (select("SELECT *", 17), select("DELETE", 17)),
        (ask("GET", "/u/1", ""), ask("GET", "/inventory/list", "")),
        (ask("POST", "/charge", r#"{"amount":1}"#), ask("POST", "/charge", r#"{"amount":1.0}"#)),
        (ask("POST", "/charge", r#"{"a":1}"#), ask("POST", "/charge", r#"{"a":1,"a":1}"#)),
        (ask("POST", "/charge", "[1,2]"), ask("POST", "/charge", "[2,1]")),
        (tenant("a"), tenant("b")),
    ];
    for (recorded, came) in cases {
        let mock = strict(vec![answered(recorded.clone(), ok("recorded"))]);
        let call = asked(&mock, &came);
        assert!(reason(&call).is_some(), "{recorded:?} answered {came:?}");
        assert_eq!(mock.unused(&entry_id()), [0]);
        assert_eq!(hit(&asked(&mock, &recorded)), Some((HitScope::Entry, 0)));
    }
}

#[test]
fn what_is_volatile_does_not_make_a_miss() {
    let mock = strict(vec![answered(ask("POST", "/charge", r#"{"a":1,"b":2}"#), ok(""))]);
    let headers = [
        ("host", "Payments:8080"),
        ("user-agent", "new/2"),
        ("traceparent", "00-1"),
        ("transfer-encoding", "chunked"),
        ("content-type", "application/json"),
    ];
    let came = Message::request("POST", "/charge", &headers, r#"{ "b":2, "a":1 }"#);
    assert_eq!(hit(&asked(&mock, &came)), Some((HitScope::Entry, 0)));
}

#[test]
fn identical_requests_are_answered_in_sequence_and_then_no_more() {
    let again = || ask("GET", "/next", "");
    let mock = strict(vec![
        answered(again(), ok("1")),
        answered(ask("GET", "/other", ""), ok("x")),
        answered(again(), ok("2")),
    ]);
    assert_eq!(hit(&asked(&mock, &again())), Some((HitScope::Entry, 0)));
    assert_eq!(mock.unused(&entry_id()), [1, 2]);
    let second = asked(&mock, &again());
    assert_eq!(hit(&second), Some((HitScope::Entry, 2)));
    let third = asked(&mock, &again());
    assert_eq!(reason(&third), Some(MissReason::AllUsed));
    assert_eq!(nearest(&third)[..2], [(0, vec![]), (2, vec![])]);
    assert_eq!(mock.unused(&entry_id()), [1]);
}

#[test]
fn an_entry_that_is_entered_again_begins_anew() {
    let entry = || cassette(ENTRY, vec![answered(ask("GET", "/a", ""), ok(""))]);
    let mock = Mock::new(library(&[entry()], None), Mode::Strict, Policy::default());
    mock.enter(entry());
    assert!(hit(&asked(&mock, &ask("GET", "/a", ""))).is_some());
    mock.leave();
    assert_eq!(mock.unused(&entry_id()), [] as [usize; 0]);
    assert_eq!(reason(&asked(&mock, &ask("GET", "/a", ""))), Some(MissReason::UnknownDestination));
    mock.enter(entry());
    assert_eq!(mock.unused(&entry_id()), [0]);
    assert!(hit(&asked(&mock, &ask("GET", "/a", ""))).is_some());
}

#[test]
fn ambient_exchanges_come_second_and_the_last_is_repeated() {
    let config = || ask("GET", "/config", "");
    let mock = mock(
        vec![answered(config(), ok("entry"))],
        vec![answered(config(), ok("first")), answered(config(), ok("last"))],
        Mode::Strict,
    );
    let answers: Vec<_> = (0..5).map(|_| asked(&mock, &config())).collect();
    assert_eq!(
        answers.iter().map(|call| hit(call).unwrap()).collect::<Vec<_>>(),
        [
            (HitScope::Entry, 0),
            (HitScope::Ambient, 0),
            (HitScope::Ambient, 1),
            (HitScope::Ambient, 1),
            (HitScope::Ambient, 1)
        ]
    );
    assert_eq!(mock.unused(&regress_cassettes::CassetteId(AMBIENT.to_owned())), [] as [usize; 0]);
    mock.leave();
    let call = asked(&mock, &config());
    assert_eq!((hit(&call), call.scope), (Some((HitScope::Ambient, 1)), Scope::Ambient));
}

#[test]
fn exchanges_of_another_entry_are_never_played() {
    let other = cassette("other", vec![answered(ask("GET", "/a", ""), ok("other"))]);
    let entered = cassette(ENTRY, vec![answered(ask("GET", "/b", ""), ok(""))]);
    let mock = Mock::new(library(&[Arc::clone(&other), Arc::clone(&entered)], None), Mode::Strict, Policy::default());
    mock.enter(other);
    mock.enter(entered);
    assert_eq!(reason(&asked(&mock, &ask("GET", "/a", ""))), Some(MissReason::UnknownOperation));
}

#[test]
fn reasons_and_the_gates_they_name() {
    let mock = strict(vec![answered(ask("POST", "/charge", r#"{"amount":100}"#), ok(""))]);
    let same = ask("POST", "/charge", r#"{"amount":100}"#);
    for wrong in ["10.0.0.6:8080", "10.0.0.5:8081", "[::1]:8080"] {
        let call = judged(&mock, place(wrong), &same);
        assert_eq!(reason(&call), Some(MissReason::UnknownDestination), "{wrong}");
        assert_eq!(nearest(&call), [(0, vec!["downstream"])]);
    }
    let call = judged(&mock, Place { tls: true, ..place(PAYMENTS) }, &same);
    assert_eq!(reason(&call), Some(MissReason::UnknownDestination));
    assert_eq!(nearest(&call), [(0, vec!["downstream"])]);
    let call = asked(&mock, &ask("POST", "/refund", r#"{"amount":100}"#));
    assert_eq!(reason(&call), Some(MissReason::UnknownOperation));
    assert_eq!(nearest(&call), [(0, vec!["target/path/1"])]);
    let call = asked(&mock, &ask("POST", "/charge", r#"{"amount":9900}"#));
    assert_eq!(reason(&call), Some(MissReason::DifferentRequest));
    assert_eq!(nearest(&call), [(0, vec!["body/amount"])]);
    let mapped = judged(&mock, place("[::ffff:10.0.0.5]:8080"), &same);
    assert_eq!(hit(&mapped), Some((HitScope::Entry, 0)));
    assert_eq!(mapped.destination, PAYMENTS.parse::<SocketAddr>().unwrap());
}

#[test]
fn every_address_that_the_name_had_in_a_recording_is_its_own() {
    let mock = mock(
        vec![answered(ask("GET", "/a", ""), ok(""))],
        vec![at("10.0.0.9:8080", ask("GET", "/health", ""), ok(""))],
        Mode::Strict,
    );
    assert_eq!(hit(&judged(&mock, place("10.0.0.9:8080"), &ask("GET", "/a", ""))), Some((HitScope::Entry, 0)));
}

#[test]
fn a_request_without_host_is_for_its_address() {
    let old = crate::samples::request("GET /a HTTP/1.0\r\n\r\n");
    let mock = strict(vec![at("10.0.0.7:80", old.clone(), ok(""))]);
    let call = judged(&mock, place("10.0.0.7:80"), &old);
    assert_eq!((hit(&call), call.downstream.as_str()), (Some((HitScope::Entry, 0)), "10.0.0.7"));
}

#[test]
fn localhost_is_any_loopback_address() {
    let to = |host: &str| Message::request("GET", "/", &[("Host", host)], "");
    let mock = strict(vec![at("127.0.0.1:9001", to("localhost:9001"), ok(""))]);
    assert!(hit(&judged(&mock, place("[::1]:9001"), &to("localhost:9001"))).is_some());
    let call = judged(&mock, place("127.0.0.1:9001"), &to("127.0.0.1:9001"));
    assert_eq!(reason(&call), Some(MissReason::UnknownDestination));
}

#[test]
fn the_nearest_are_three_with_the_fewest_differences_and_the_same_downstream_first() {
    let elsewhere = Message::request("POST", "/charge", &[("Host", "refunds:8080")], r#"{"a":9,"b":9}"#);
    let mock = strict(vec![
        at("10.0.0.6:8080", elsewhere, ok("")),
        answered(ask("GET", "/health", ""), ok("")),
        answered(ask("POST", "/charge", r#"{"a":1,"b":1}"#), ok("")),
        answered(ask("POST", "/charge", r#"{"a":1,"b":9}"#), ok("")),
    ]);
    let call = asked(&mock, &ask("POST", "/charge", r#"{"a":9,"b":9}"#));
    let found = nearest(&call);
    assert_eq!(found[..2], [(3, vec!["body/a"]), (2, vec!["body/a", "body/b"])]);
    assert_eq!((found.len(), found[2].0), (3, 1));
    let told = call.answered.unwrap();
    let text = std::str::from_utf8(&told.http().unwrap().body).unwrap();
    assert!(text.contains("POST /charge to payments:8080"), "{text}");
    assert!(text.contains("body/a: recorded 1, came 9"), "{text}");
}

#[test]
fn a_miss_among_very_many_recorded_ones_is_told_in_bounds() {
    let many = (0..5000).map(|number| answered(ask("POST", "/charge", &format!("[{number}]")), ok(""))).collect();
    let mock = strict(many);
    let call = asked(&mock, &ask("POST", "/charge", "[5000]"));
    assert_eq!(reason(&call), Some(MissReason::DifferentRequest));
    assert_eq!(nearest(&call).len(), 3);
    assert_eq!(hit(&asked(&mock, &ask("POST", "/charge", "[4999]"))), Some((HitScope::Entry, 4999)));
}

#[test]
fn a_proposed_answer_is_the_nearest_of_the_operation_that_answered_nothing() {
    let charge = |amount: u32| ask("POST", "/charge", &format!(r#"{{"amount":{amount},"currency":"EUR"}}"#));
    let mock = mock(
        vec![
            answered(ask("POST", "/charge", r#"{"amount":1,"currency":"USD"}"#), ok("far")),
            answered(charge(100), ok("near")),
            answered(charge(200), ok("also near")),
        ],
        Vec::new(),
        Mode::Propose,
    );
    let call = asked(&mock, &charge(9900));
    assert_eq!((reason(&call), call.answered), (Some(MissReason::DifferentRequest), Some(Told::Http(ok("near")))));
    assert_eq!(mock.unused(&entry_id()), [0, 1, 2], "what only helped out was not asked for");
    let exact = asked(&mock, &charge(100));
    assert_eq!(hit(&exact), Some((HitScope::Entry, 1)), "it still answers what it was recorded for");
    assert_eq!(asked(&mock, &charge(7)).answered, Some(Told::Http(ok("also near"))));
    assert_eq!(asked(&mock, &charge(8)).answered, Some(Told::Http(ok("far"))));
    let call = asked(&mock, &charge(9));
    assert_eq!(call.answered.as_ref().and_then(Told::http).map(Message::status), Some(502));
    let call = asked(&mock, &ask("POST", "/refund", ""));
    assert_eq!(call.answered.as_ref().and_then(Told::http).map(Message::status), Some(502));
}

#[test]
fn a_proposal_never_crosses_a_gate() {
    let mock = mock(vec![answered(ask("GET", "/a?x=1", ""), ok("a"))], Vec::new(), Mode::Propose);
    let call = judged(&mock, place("10.0.0.6:8080"), &ask("GET", "/a?x=2", ""));
    assert_eq!(call.answered.as_ref().and_then(Told::http).map(Message::status), Some(502));
    let call = asked(&mock, &ask("GET", "/a?x=2", ""));
    assert_eq!(call.answered, Some(Told::Http(ok("a"))));
}

#[test]
fn what_was_never_answered_is_played_without_a_response() {
    let reset = exchange(PAYMENTS, false, http(ask("GET", "/a", ""), None), Ended::Reset);
    let nothing = exchange(PAYMENTS, false, Content::Nothing, Ended::Refused);
    let mock = strict(vec![nothing, reset]);
    let call = asked(&mock, &ask("GET", "/a", ""));
    assert_eq!((hit(&call), call.answered), (Some((HitScope::Entry, 1)), None));
    assert_eq!(mock.unused(&entry_id()), [] as [usize; 0], "a refusal cannot be seen");
}

const RECORDED: [&str; 3] = [
    "11111111-1111-4111-8111-111111111111",
    "22222222-2222-4222-8222-222222222222",
    "33333333-3333-4333-8333-333333333333",
];
const NEW: [&str; 3] = [
    "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
    "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
    "cccccccc-cccc-4ccc-8ccc-cccccccccccc",
];

fn order(id: &str, amount: u32) -> Message {
    ask("PUT", "/orders", &format!(r#"{{"id":"{id}","amount":{amount}}}"#))
}

/// Rung, runner-up and what was bound.
fn fit(call: &Call) -> Option<(Rung, Option<usize>, usize)> {
    match &call.matched {
        Match::Hit { rung, runner_up, bound, .. } => Some((*rung, *runner_up, bound.len())),
        Match::Miss { .. } => None,
    }
}

#[test]
fn what_the_service_makes_anew_is_bound_and_asserted() {
    let audit = |id: &str| ask("GET", &format!("/audit/{id}?by=shop"), "");
    let recorded = || {
        vec![
            answered(order(RECORDED[0], 100), ok("1")),
            answered(audit(RECORDED[0]), ok("2")),
            answered(order(RECORDED[1], 100), ok("3")),
        ]
    };
    let mock = strict(recorded());
    let call = asked(&mock, &order(NEW[0], 100));
    assert_eq!((hit(&call), fit(&call)), (Some((HitScope::Entry, 0)), Some((Rung::Bound, Some(2), 1))));
    assert_eq!(reason(&asked(&mock, &audit(NEW[1]))), Some(MissReason::DifferentRequest), "it is another order's");
    assert_eq!(reason(&asked(&mock, &order(NEW[1], 9900))), Some(MissReason::DifferentRequest));
    let call = asked(&mock, &audit(NEW[0]));
    assert_eq!((hit(&call), fit(&call)), (Some((HitScope::Entry, 1)), Some((Rung::Bound, None, 0))));
    assert_eq!(hit(&asked(&mock, &order(NEW[1], 100))), Some((HitScope::Entry, 2)));
    assert_eq!(reason(&asked(&mock, &order(NEW[2], 100))), Some(MissReason::DifferentRequest));
    assert_eq!(mock.unused(&entry_id()), [] as [usize; 0]);
    assert!(mock.bindings().same(RECORDED[1], NEW[1]) && !mock.bindings().same(RECORDED[1], NEW[0]));
    mock.enter(cassette(ENTRY, recorded()));
    assert!(!mock.bindings().same(RECORDED[1], NEW[1]));
}

#[test]
fn a_recorded_value_is_taken_before_one_that_stands_for_it() {
    let mock = strict(vec![answered(order(RECORDED[0], 1), ok("1")), answered(order(RECORDED[1], 1), ok("2"))]);
    let call = asked(&mock, &order(RECORDED[1], 1));
    assert_eq!((hit(&call), fit(&call)), (Some((HitScope::Entry, 1)), Some((Rung::Exact, None, 0))));
    assert_eq!(hit(&asked(&mock, &order(NEW[0], 1))), Some((HitScope::Entry, 0)));
}

#[test]
fn a_weaker_rung_than_allowed_is_a_miss() {
    let exact = Policy { max_rung: Rung::Exact, ..Policy::default() };
    let mock = entered(vec![answered(order(RECORDED[0], 1), ok(""))], Vec::new(), Mode::Strict, exact);
    let call = asked(&mock, &order(NEW[0], 1));
    assert_eq!((reason(&call), nearest(&call)), (Some(MissReason::DifferentRequest), vec![(0, vec!["body/id"])]));
}

#[test]
fn past_the_end_answers_what_the_policy_says() {
    let next = || ask("GET", "/next", "");
    let recorded =
        || vec![answered(next(), ok("1")), answered(order(RECORDED[0], 1), ok("")), answered(next(), ok("2"))];
    for (reuse, expected) in [(Reuse::Last, [0, 2, 2, 2, 2]), (Reuse::Cycle, [0, 2, 0, 2, 0])] {
        let policy = Policy { reuse, ..Policy::default() };
        let mock = entered(recorded(), Vec::new(), Mode::Strict, policy);
        let calls: Vec<Call> = expected.iter().map(|_| asked(&mock, &next())).collect();
        assert_eq!(calls.iter().map(|call| hit(call).unwrap().1).collect::<Vec<_>>(), expected);
        let again = |call: &Call| matches!(call.matched, Match::Hit { again: true, .. });
        assert_eq!(calls.iter().map(again).collect::<Vec<_>>(), [false, false, true, true, true]);
        assert_eq!(mock.unused(&entry_id()), [1]);
        assert_eq!(hit(&asked(&mock, &order(NEW[0], 1))), Some((HitScope::Entry, 1)));
        assert_eq!(hit(&asked(&mock, &order(NEW[0], 1))), Some((HitScope::Entry, 1)), "the value that was bound");
        assert_eq!(hit(&asked(&mock, &order(NEW[1], 1))), None, "a value that stands for nothing");
    }
}

#[test]
fn what_comes_again_for_no_entry_makes_its_own_value_each_time() {
    let mock = mock(Vec::new(), vec![answered(order(RECORDED[0], 1), ok(""))], Mode::Strict);
    for id in NEW {
        assert_eq!(hit(&asked(&mock, &order(id, 1))), Some((HitScope::Ambient, 0)));
    }
    assert_eq!(hit(&asked(&mock, &order(NEW[0], 2))), None);
}

#[test]
fn very_many_alike_are_told_apart_by_what_was_bound() {
    let id = |kind: u32, number: u32| format!("{kind:08x}-0000-4000-8000-{number:012x}");
    let recorded = (0..2000).map(|number| answered(order(&id(1, number), 1), ok(""))).collect();
    let mock = strict(recorded);
    for number in 0..2000 {
        assert_eq!(hit(&asked(&mock, &order(&id(2, number), 1))), Some((HitScope::Entry, number as usize)));
    }
    assert_eq!(hit(&asked(&mock, &order(&id(2, 2000), 1))), None);
}

/// A request out of a small world.
fn some_request() -> impl Strategy<Value = Message> {
    let method = prop_oneof![Just("GET"), Just("POST")];
    let target = prop_oneof![Just("/a"), Just("/a?b=1"), Just("/b")];
    let header = prop::option::of(prop_oneof![Just("1"), Just("2")]);
    let body = prop_oneof![Just(""), Just("{\"a\":1}"), Just("{\"a\":2}"), Just("{ \"a\": 1 }"), Just("text")];
    (method, target, header, body).prop_map(|(method, target, header, body)| {
        let mut headers = vec![("Host", "payments:8080")];
        headers.extend(header.map(|value| ("X-Tenant", value)));
        Message::request(method, target, &headers, body)
    })
}

/// The request changed in one place that is not volatile, to something that no recorded one has.
fn changed(request: &Message, way: u8) -> (Message, &'static str) {
    let mut headers: Vec<(String, String)> = request
        .fields()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    headers.retain(|(name, _)| name != "Content-Length");
    let (mut method, mut target) = (request.method().to_owned(), request.target().into_owned());
    let mut body = request.body.to_vec();
    let mut destination = PAYMENTS;
    match way {
        0 => method = "PUT".to_owned(),
        1 => target.push_str("&new"),
        2 => headers.push(("X-New".to_owned(), "1".to_owned())),
        3 => match headers.iter_mut().find(|(name, _)| name == "X-Tenant") {
            Some((_, value)) => *value = "3".to_owned(),
            None => headers.push(("X-Tenant".to_owned(), String::new())),
        },
        4 => body.push(b'!'),
        5 => body = br#"{"a":3}"#.to_vec(),
        6 => headers[0].1 = "payments:8081".to_owned(),
        _ => destination = "10.0.0.5:8081",
    }
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    (Message::request(&method, &target, &headers, body), destination)
}

/// A map's entries stand in any order, which only a schema tells.
#[test]
fn by_its_schema_a_map_says_the_same_in_any_order() {
    let content: &[u8] = include_bytes!("../../../cassettes/src/diff/open/typed/kinds.binpb");
    let schemas = Schemas::read([("kinds.binpb".into(), content.to_vec())]).unwrap();
    let [one, other, changed] = [["a\x10\x01", "b\x10\x02"], ["b\x10\x02", "a\x10\x01"], ["b\x10\x02", "a\x10\x03"]]
        .map(|entries| {
            let entry = |text| format!("\u{aa}\x01\x05\x0a\x01{text}").chars().map(|c| c as u8).collect::<Vec<_>>();
            let fields = [("Host", "payments:8080"), ("Content-Type", "application/x-protobuf; proto=kinds.All")];
            Message::request("POST", "/tell", &fields, entries.map(entry).concat())
        });
    let rungs = |schemas: Schemas| {
        let entry = cassette(ENTRY, vec![answered(one.clone(), ok("1"))]);
        let (survey, rules) = ([&*entry].into_iter().collect(), Rules::none().with_schemas(schemas));
        let library = Arc::new(Library::new(survey, None, rules, Arc::new(Redactor::off())));
        [&one, &other, &changed].map(|request| {
            let mock = Mock::new(Arc::clone(&library), Mode::Strict, Policy::default());
            mock.enter(Arc::clone(&entry));
            match asked(&mock, request).matched {
                Match::Hit { rung, .. } => Some(rung),
                Match::Miss { .. } => None,
            }
        })
    };
    assert_eq!(rungs(schemas), [Some(Rung::Exact), Some(Rung::Exact), None]);
    assert_eq!(rungs(Schemas::none()), [Some(Rung::Exact), None, None]);
}

proptest! {
    #[test]
    fn one_changed_place_is_a_miss_and_the_same_again_is_the_hit_in_order(
        recorded in prop::collection::vec(some_request(), 1..8),
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..12),
    ) {
        let exchanges = recorded.iter().enumerate();
        let mock = strict(exchanges.map(|(number, request)| answered(request.clone(), ok(&number.to_string()))).collect());
        let mut left: Vec<usize> = (0..recorded.len()).collect();
        for (pick, way) in picks {
            let request = pick.get(&recorded);
            let (other, destination) = changed(request, way);
            let call = judged(&mock, place(destination), &other);
            prop_assert!(reason(&call).is_some(), "{:?}", call);
            prop_assert_eq!(mock.unused(&entry_id()), left.clone());

            let says_same = |number: &usize| regress_cassettes::diff::requests(&recorded[*number], request, &Default::default()).is_empty();
            let next = left.iter().copied().find(says_same);
            let call = asked(&mock, request);
            match next {
                Some(number) => {
                    prop_assert_eq!(hit(&call), Some((HitScope::Entry, number)));
                    left.retain(|other| *other != number);
                }
                None => prop_assert_eq!(reason(&call), Some(MissReason::AllUsed)),
            }
        }
    }
}
