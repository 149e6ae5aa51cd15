//! Values that rules say to be drawn anew (`generated`), asked of the mock.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use regress_cassettes::{
    Content, Ended, Exchange, HttpExchange, WireExchange,
    diff::{Drawn, RuleText, Rules},
};
use regress_protocols::{Request, Value, http1::Message, http2, wire::Protocol};

use super::Key;
use crate::{
    mock::{Begin, Drawing, Match, Mock, Mode, Place, Policy, Rung},
    samples::{ENTRY, PAYMENTS, answered, ask, cassette, exchange, library_under, ok},
};

/// Rules of `path as`.
fn rules(lines: &[&str]) -> Rules {
    let rule = |line: &&str| {
        let (path, effect) = line.split_once(' ').unwrap();
        RuleText { path: path.to_owned(), effect: effect.to_owned(), ..RuleText::default() }
    };
    Rules::new(lines.iter().map(rule).collect()).unwrap()
}

/// Order numbers, in a body, a path and a query.
const PLACES: &[&str] =
    &["request/body/order generated", "request/body/lines/*/order generated", "request/target/path/2 generated"];

fn entered(rules: Rules, entry: Vec<Exchange>, ambient: Vec<Exchange>, max_rung: Rung) -> Mock {
    let entry = cassette(ENTRY, entry);
    let library = library_under(rules, &[std::sync::Arc::clone(&entry)], Some(ambient));
    let mock = Mock::new(library, Mode::Strict, Policy { max_rung, ..Policy::default() });
    mock.enter(entry);
    mock
}

fn mock(recorded: &[Message]) -> Mock {
    let exchanges = recorded.iter().map(|request| answered(request.clone(), ok(""))).collect();
    entered(rules(PLACES), exchanges, Vec::new(), Rung::Bound)
}

/// The exchange, the rung and what was bound; of a miss the paths of the nearest one's differences.
type Judged = Result<(usize, Rung, Vec<(String, String)>), Vec<String>>;

fn judged(mock: &Mock, request: &Message) -> Judged {
    mock.shared.judge(Place { destination: PAYMENTS.parse().unwrap(), tls: false }, request);
    last(mock)
}

fn last(mock: &Mock) -> Judged {
    match mock.take_journal().pop().expect("every request is a call").matched {
        Match::Hit { exchange, rung, bound, .. } => {
            Ok((exchange, rung, bound.into_iter().map(|bound| (bound.recorded, bound.actual)).collect()))
        }
        Match::Miss { nearest, .. } => {
            Err(nearest.into_iter().next().into_iter().flat_map(|near| near.differences).map(|it| it.path).collect())
        }
    }
}

fn hit(exchange: usize, rung: Rung, bound: &[(&str, &str)]) -> Judged {
    let text = |(recorded, actual): &(&str, &str)| ((*recorded).to_owned(), (*actual).to_owned());
    Ok((exchange, rung, bound.iter().map(text).collect()))
}

fn miss(paths: &[&str]) -> Judged {
    Err(paths.iter().map(|path| (*path).to_owned()).collect())
}

fn order(step: &str, number: &str) -> Message {
    ask("POST", &format!("/{step}"), &format!(r#"{{"order":{number},"n":17}}"#))
}

#[test]
fn the_first_one_is_bound_and_asserted_from_then_on() {
    let mock = mock(&[order("reserve", "17"), order("pay", "17"), ask("GET", "/orders/17", ""), order("pay", "18")]);
    assert_eq!(judged(&mock, &order("reserve", "812")), hit(0, Rung::Bound, &[("17", "812")]));
    assert_eq!(judged(&mock, &order("pay", "813")), hit(3, Rung::Bound, &[("18", "813")]), "it may be the other order");
    assert_eq!(judged(&mock, &order("pay", "814")), miss(&["body/order"]), "17 is 812 by now");
    assert_eq!(judged(&mock, &order("pay", "17")), miss(&["body/order"]), "also where it is what was recorded");
    assert_eq!(judged(&mock, &order("pay", "\"812\"")), miss(&["body/order"]), "of the same type");
    assert_eq!(judged(&mock, &order("pay", "812")), hit(1, Rung::Bound, &[]));
    let beside = ask("GET", "/orders/813", "");
    assert!(judged(&mock, &beside).is_err(), "813 stands for 18");
    assert_eq!(judged(&mock, &ask("GET", "/orders/812", "")), hit(2, Rung::Bound, &[]));
}

#[test]
fn two_orders_do_not_share_a_number() {
    let mock = mock(&[order("reserve", "17"), order("pay", "18")]);
    assert_eq!(judged(&mock, &order("reserve", "812")), hit(0, Rung::Bound, &[("17", "812")]));
    assert_eq!(judged(&mock, &order("pay", "812")), miss(&["body/order"]));
    assert_eq!(judged(&mock, &order("pay", "5")), hit(1, Rung::Bound, &[("18", "5")]), "what failed bound nothing");
}

#[test]
fn elsewhere_a_number_is_what_it_is() {
    let mock = mock(&[order("reserve", "17")]);
    let other = ask("POST", "/reserve", r#"{"order":812,"n":812}"#);
    assert_eq!(judged(&mock, &other), miss(&["body/n"]));
    assert_eq!(judged(&mock, &order("reserve", "812")), hit(0, Rung::Bound, &[("17", "812")]));
}

#[test]
fn only_on_its_rung_it_has_no_part_in_the_key() {
    let rules = rules(&["request/body/order generated", "request/body/n type"]);
    let key = |rung, order: u32, n: u32| {
        let request = ask("POST", "/pay", &format!(r#"{{"order":{order},"n":{n}}}"#));
        let applied = rules.for_request(None, "payments:8080", "POST /pay");
        Key::on(rung, &applied, "payments:8080", 8080, false, (&request).into())
    };
    assert_ne!(key(Rung::Noise, 17, 1), key(Rung::Noise, 18, 1));
    assert_eq!(key(Rung::Noise, 17, 1), key(Rung::Noise, 17, 2));
    assert_eq!(key(Rung::Bound, 17, 1), key(Rung::Bound, 18, 2));
}

#[test]
fn what_is_said_again_stands_for_itself() {
    let recorded = [order("reserve", "17"), order("pay", "17"), order("pay", "17")];
    let mock = mock(&recorded);
    assert_eq!(judged(&mock, &order("reserve", "17")), hit(0, Rung::Exact, &[("17", "17")]));
    assert_eq!(judged(&mock, &order("pay", "18")), miss(&["body/order"]));
    assert_eq!(judged(&mock, &order("pay", "17")), hit(1, Rung::Exact, &[]));
    let other = self::mock(&recorded);
    assert_eq!(judged(&other, &order("reserve", "18")), hit(0, Rung::Bound, &[("17", "18")]));
    assert_eq!(judged(&other, &order("pay", "17")), miss(&["body/order"]), "an exact hit would be a wrong id");
    assert_eq!(judged(&other, &order("pay", "18")), hit(1, Rung::Bound, &[]));
}

#[test]
fn beside_what_other_rules_let_pass_it_is_asserted_too() {
    let all = rules(&["request/body/order generated", "request/body/n type"]);
    let recorded = || ["reserve", "pay", "pay"].map(|step| answered(order(step, "17"), ok(""))).to_vec();
    let said =
        |step: &str, order: u32, n: u32| ask("POST", &format!("/{step}"), &format!(r#"{{"order":{order},"n":{n}}}"#));
    let mock = entered(all.clone(), recorded(), Vec::new(), Rung::Bound);
    assert_eq!(judged(&mock, &said("reserve", 17, 1)), hit(0, Rung::Noise, &[("17", "17")]));
    assert_eq!(judged(&mock, &said("pay", 18, 2)), miss(&["body/order"]));
    let mock = entered(all, recorded(), Vec::new(), Rung::Bound);
    assert_eq!(judged(&mock, &said("reserve", 18, 1)), hit(0, Rung::Bound, &[("17", "18")]));
    assert_eq!(judged(&mock, &said("pay", 17, 2)), miss(&["body/order"]));
    assert_eq!(judged(&mock, &said("pay", 18, 2)), hit(1, Rung::Bound, &[]));
}

#[test]
fn a_lower_rung_refuses_it() {
    for max_rung in [Rung::Exact, Rung::Noise] {
        let recorded = vec![answered(order("reserve", "17"), ok(""))];
        let mock = entered(rules(PLACES), recorded, Vec::new(), max_rung);
        assert_eq!(judged(&mock, &order("reserve", "812")), miss(&["body/order"]));
        assert_eq!(judged(&mock, &order("reserve", "17")), hit(0, Rung::Exact, &[("17", "17")]));
    }
}

#[test]
fn what_ambient_calls_bound_holds_in_entries_and_what_entries_bound_does_not() {
    let entry = || vec![answered(order("pay", "17"), ok("")), answered(order("pay", "18"), ok(""))];
    let mock = entered(rules(PLACES), entry(), vec![answered(order("start", "17"), ok(""))], Rung::Bound);
    mock.leave();
    assert_eq!(judged(&mock, &order("start", "812")), hit(0, Rung::Bound, &[("17", "812")]));
    mock.enter(cassette(ENTRY, entry()));
    assert_eq!(judged(&mock, &order("pay", "5")), hit(1, Rung::Bound, &[("18", "5")]));
    assert_eq!(judged(&mock, &order("pay", "6")), miss(&["body/order"]));
    assert_eq!(judged(&mock, &order("pay", "812")), hit(0, Rung::Bound, &[]));
    // Another entry draws the same number for another one.
    mock.enter(cassette(ENTRY, entry()));
    assert_eq!(judged(&mock, &order("pay", "812")), hit(0, Rung::Bound, &[]));
    assert_eq!(judged(&mock, &order("pay", "6")), hit(1, Rung::Bound, &[("18", "6")]));
    // What comes again and again for no entry has a number of its own each time.
    for number in ["900", "901", "17"] {
        assert_eq!(
            judged(&mock, &order("start", number)),
            hit(0, if number == "17" { Rung::Exact } else { Rung::Bound }, &[])
        );
    }
    mock.enter(cassette(ENTRY, entry()));
    assert_eq!(judged(&mock, &order("pay", "812")), hit(0, Rung::Bound, &[]), "and takes none from entries");
}

#[test]
fn items_are_told_apart_by_what_stands_for_them() {
    let lines = |numbers: &[u32]| {
        let lines: Vec<String> = numbers.iter().map(|number| format!(r#"{{"order":{number}}}"#)).collect();
        ask("POST", "/all", &format!(r#"{{"lines":[{}]}}"#, lines.join(",")))
    };
    let recorded = [order("pay", "17"), order("pay", "18"), lines(&[17, 18])];
    let mock = mock(&recorded);
    assert!(judged(&mock, &order("pay", "812")).is_ok() && judged(&mock, &order("pay", "813")).is_ok());
    assert!(judged(&mock, &lines(&[813, 812])).is_err(), "in the recorded order");
    assert_eq!(judged(&mock, &lines(&[812, 813])), hit(2, Rung::Bound, &[]));
    let any_order = rules(&[PLACES[0], PLACES[1], "request/body/lines unordered"]);
    let exchanges = recorded.iter().map(|request| answered(request.clone(), ok(""))).collect();
    let mock = entered(any_order, exchanges, Vec::new(), Rung::Bound);
    assert!(judged(&mock, &order("pay", "812")).is_ok() && judged(&mock, &order("pay", "813")).is_ok());
    assert!(judged(&mock, &lines(&[813, 814])).is_err());
    assert_eq!(judged(&mock, &lines(&[813, 812])), hit(2, Rung::Bound, &[]));
}

#[test]
fn parameters_in_other_protocols_are_bound_too() {
    const STORE: &str = "10.0.0.6:6379";
    let set = |key: &str, value: &str| {
        let args = [Value::text(key), Value::text(value)];
        let request = [("command", Value::text("SET")), ("args", Value::List(args.to_vec()))];
        Value::Map(request.into_iter().map(|(name, value)| (name.into(), value)).collect())
    };
    let recorded = [set("order", "17"), set("paid", "17")].map(|request| {
        let content = WireExchange { protocol: Protocol::Redis, request, response: Some(Value::text("OK")) };
        exchange(STORE, false, Content::Wire(content), Ended::Ok)
    });
    let mock = entered(rules(&["request/args/1 generated"]), recorded.to_vec(), Vec::new(), Rung::Bound);
    let said = |request: &Value| {
        let place = Place { destination: STORE.parse().unwrap(), tls: false };
        mock.shared.judge(place, Request::Wire(Protocol::Redis, request));
        last(&mock)
    };
    assert_eq!(said(&set("order", "812")), hit(0, Rung::Bound, &[("17", "812")]));
    assert_eq!(said(&set("paid", "813")), miss(&["args/1"]));
    assert_eq!(said(&set("paid", "17")), miss(&["args/1"]));
    assert_eq!(said(&set("paid", "812")), hit(1, Rung::Bound, &[]));
}

#[test]
fn a_call_that_was_answered_by_how_it_began_is_asserted_when_it_is_over() {
    let headers = [("host", "payments:8080"), ("content-type", "application/json")];
    let said = |body: &str| http2::request("POST", "/pay", &headers, body.to_owned());
    let (beginning, whole) = (said("{"), said(r#"{"order":17}"#));
    let answer = http2::response(200, &[], "ok", &[]);
    let answer = HttpExchange { interleaved: vec![(1, 1)], ..HttpExchange::new(whole.clone(), Some(answer)) };
    let recorded = || {
        let streamed = exchange(PAYMENTS, false, Content::Http1(answer.clone()), Ended::Ok);
        entered(rules(PLACES), vec![answered(order("reserve", "17"), ok("")), streamed], Vec::new(), Rung::Bound)
    };
    let place = Place { destination: PAYMENTS.parse().unwrap(), tls: false };
    let conclude = |mock: &Mock| {
        let Begin::Recorded(whose, begun) = mock.shared.begin(place, &beginning) else { panic!("it is answered") };
        (mock.shared.conclude(place, (whose, begun), &whole), last(mock))
    };
    assert_eq!(conclude(&recorded()), (true, hit(1, Rung::Exact, &[("17", "17")])));
    let mock = recorded();
    assert_eq!(judged(&mock, &order("reserve", "812")), hit(0, Rung::Bound, &[("17", "812")]));
    assert_eq!(conclude(&mock), (false, miss(&["body/order"])));
}

#[test]
fn what_its_form_binds_and_what_a_rule_binds_agree() {
    let [r, a, b] = [
        "11111111-1111-4111-8111-111111111111",
        "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
        "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
    ];
    let of = |step: &str, order: &str, key: &str| {
        ask("POST", &format!("/{step}"), &format!(r#"{{"order":"{order}","key":"{key}"}}"#))
    };
    let recorded = [of("both", r, r), of("order", r, "x"), of("key", "x", r)];
    let mock = mock(&recorded);
    assert!(judged(&mock, &of("both", a, b)).is_err(), "one of two places");
    assert_eq!(judged(&mock, &of("order", a, "x")), hit(1, Rung::Bound, &[(r, a)]));
    assert!(judged(&mock, &of("key", "x", b)).is_err());
    assert_eq!(judged(&mock, &of("key", "x", a)), hit(2, Rung::Bound, &[("x", "x")]));
    assert_eq!(judged(&mock, &of("both", a, a)), hit(0, Rung::Bound, &[]));
    assert!(mock.bindings().same(r, a) && !mock.bindings().same(r, b), "as without a rule");
    let other = self::mock(&recorded);
    assert_eq!(judged(&other, &of("key", "x", a)), hit(2, Rung::Bound, &[(r, a), ("x", "x")]));
    assert!(judged(&other, &of("order", b, "x")).is_err());
    let again = self::mock(&recorded);
    assert_eq!(judged(&again, &of("order", r, "x")), hit(1, Rung::Exact, &[(r, r)]));
    assert!(judged(&again, &of("key", "x", a)).is_err(), "it stands for itself by now");
    assert_eq!(judged(&other, &of("order", a, "x")), hit(1, Rung::Bound, &[]));
}

#[test]
fn what_is_seen_first_after_the_calls_is_bound_as_well() {
    let mock = mock(&[order("pay", "17")]);
    assert!(judged(&mock, &order("pay", "812")).is_ok());
    let bindings = mock.bindings();
    let response = Drawing::after(&bindings);
    assert!(response.stands("17", "812") && !response.stands("17", "17") && !response.stands("18", "812"));
    assert_eq!((response.known("18", "9"), response.recorded("812")), (None, Some("17".to_owned())));
    assert!(response.stands("18", "9") && response.stands("18", "9") && !response.stands("18", "10"));
    assert!(!bindings.same("17", "812"), "elsewhere a number is a number");
}

/// Numbers of orders, few enough to meet.
fn numbers() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..4_u8, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// One after the other, in calls that are told apart: each is taken exactly if there is one number for each.
    #[test]
    fn it_is_one_for_one(recorded in numbers(), drawn in prop::collection::vec(0..4_u8, 6)) {
        let said = |step: usize, number: u8| order(&step.to_string(), &number.to_string());
        let requests: Vec<Message> = recorded.iter().enumerate().map(|(step, number)| said(step, *number)).collect();
        let mock = mock(&requests);
        let (mut actual, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for (step, (recorded, drawn)) in recorded.iter().zip(drawn).enumerate() {
            let fits = match actual.get(recorded) {
                Some(bound) => *bound == drawn,
                None => !taken.contains(&drawn),
            };
            prop_assert_eq!(judged(&mock, &said(step, drawn)).is_ok(), fits, "{} {} {}", step, recorded, drawn);
            if fits {
                actual.insert(*recorded, drawn);
                taken.insert(drawn);
            }
        }
    }
}
