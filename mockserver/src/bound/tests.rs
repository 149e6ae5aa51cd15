use regress_cassettes::{Cassette, Exchange};
use regress_protocols::http1::Message;

use super::*;
use crate::samples::{AMBIENT, ENTRY, answered, ask, cassette, ok};

const R1: &str = "11111111-1111-4111-8111-111111111111";
const R2: &str = "22222222-2222-4222-8222-222222222222";
const A1: &str = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
const A2: &str = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";

/// 2026-11-22T10:15:02.123456Z, when the samples were recorded.
const THEN: i64 = 1_795_342_502_123_456;
/// 7 days, 1 hour and 30 seconds later.
const NOW: i64 = THEN + 7 * DAY + 3_630_000_000;

/// A service that is given the exchanges' responses, and what it bound.
struct Service {
    cassette: Cassette,
    ambient: Cassette,
    bindings: Bindings,
    owners: Owners,
}

impl Service {
    fn given(downstream: Vec<Exchange>, ambient: Vec<Exchange>) -> Service {
        let own = |id, exchanges| (*cassette(id, exchanges)).clone();
        Service {
            cassette: own(ENTRY, downstream),
            ambient: own(AMBIENT, ambient),
            bindings: Bindings::default(),
            owners: Owners::default(),
        }
    }

    fn idle() -> Service {
        Service::given(Vec::new(), Vec::new())
    }

    /// Takes pairs of texts for one request, sent a second after the entry began; what it binds, or nothing.
    fn says(&mut self, pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        let given = [Given::of(&self.cassette), Given::of(&self.ambient)];
        let ambient = Bindings::default();
        let attempt = Attempt {
            drawing: Drawing::new([&self.bindings, &ambient]),
            given: [Some(&given[0]), Some(&given[1])],
            owners: &self.owners,
            cassette: &self.cassette.id,
            at: 1_000_000,
            moment: Moment { recorded: THEN + 1_000_000, now: NOW },
        };
        if !pairs.iter().all(|(recorded, actual)| attempt.same(recorded, actual)) {
            return None;
        }
        let fresh = attempt.drawing.into_fresh();
        let bound = self.bindings.bind(fresh, &self.owners, &self.cassette.id);
        Some(bound.into_iter().map(|bound| (bound.recorded, bound.actual)).collect())
    }
}

fn pair(recorded: &str, actual: &str) -> (String, String) {
    (recorded.to_owned(), actual.to_owned())
}

#[test]
fn an_identifier_is_bound_at_first_sight_and_asserted_from_then_on() {
    let mut service = Service::idle();
    assert_eq!(service.says(&[(&format!("order {R1}!"), &format!("order {A1}!"))]), Some(vec![pair(R1, A1)]));
    assert_eq!(service.says(&[(R1, A1), (&format!("/a/{R1}"), &format!("/a/{A1}"))]), Some(vec![]));
    assert_eq!(service.says(&[(R1, A2)]), None, "it stands for another one");
    assert_eq!(service.says(&[(R2, A1)]), None, "that one stands for it");
    assert_eq!(service.says(&[(R2, A2), (R2, A1)]), None);
    assert_eq!(service.says(&[(R2, A2)]), Some(vec![pair(R2, A2)]), "what failed bound nothing");
    assert!(service.bindings.same(&format!("{R1}, {R2}"), &format!("{A1}, {A2}")));
    assert!(!service.bindings.same(&format!("{R1}, {R2}"), &format!("{A2}, {A1}")));
    assert!(!service.bindings.same(R1, "33333333-3333-4333-8333-333333333333"));
}

#[test]
fn a_message_can_be_told_as_it_was_recorded() {
    let mut service = Service::idle();
    assert!(service.says(&[(R1, A1)]).is_some());
    let said = ask("POST", &format!("/orders/{A1}?by={A2}"), &format!(r#"{{"of":"{A1}"}}"#));
    let recorded = ask("POST", &format!("/orders/{R1}?by={A2}"), &format!(r#"{{"of":"{R1}"}}"#));
    assert_eq!(service.bindings.as_recorded(&said), recorded);
}

#[test]
fn a_secret_of_the_services_own_is_one_and_the_same_in_all_entries() {
    const T1: &str = "redactedabcdefgh1";
    const T2: &str = "redactedabcdefgh2";
    const N1: &str = "redactedstuvwxyz1";
    const N2: &str = "redactedstuvwxyz2";
    let mut service = Service::given(vec![answered(ask("GET", "/", ""), ok(T2))], Vec::new());
    assert_eq!(service.says(&[(&format!("key={T1}"), &format!("key={N1}"))]), Some(vec![pair(T1, N1)]));
    assert_eq!(service.says(&[(T1, N2)]), None, "it stands for another one");
    assert_eq!(service.says(&[(T2, N2)]), None, "the service was given it");
    assert_eq!(service.says(&[("plain-text-1", N2)]), None);
    service.bindings = Bindings::default();
    service.cassette.id.0 = "20261122T101502.123456Z-0099".to_owned();
    assert_eq!(service.says(&[(T1, N2)]), None, "it stood for another one in an entry before");
    assert_eq!(service.says(&[(T1, N1)]), Some(vec![pair(T1, N1)]));
    // What only the response has was bound by nothing.
    let mut bindings = Bindings::default();
    bindings.was_given(&Given::of(&service.cassette));
    assert!(bindings.same(T1, N2));
    assert!(!bindings.same(T2, N2), "what the service was given comes back as it was");
}

#[test]
fn two_places_of_one_value_stay_one() {
    assert_eq!(Service::idle().says(&[(R1, A1), (R1, A2)]), None);
    assert_eq!(Service::idle().says(&[(R1, A1), (R2, A1)]), None);
}

#[test]
fn what_surrounds_a_value_has_to_be_the_same() {
    for (recorded, actual) in [
        (format!("a {R1}"), format!("b {A1}")),
        (format!("{R1} {R2}"), A1.to_owned()),
        (R1.to_owned(), "1001".to_owned()),
        (R1.to_owned(), A1.to_uppercase()),
        (R1.to_owned(), "2026-11-22".to_owned()),
        ("1001".to_owned(), "1002".to_owned()),
    ] {
        assert_eq!(Service::idle().says(&[(&recorded, &actual)]), None, "{recorded} {actual}");
    }
}

#[test]
fn what_the_service_was_given_is_not_its_own() {
    let told = |body: &str, at: i64| Exchange { at, ..answered(ask("GET", "/a", ""), ok(body)) };
    let mut service = Service::given(vec![told(R1, 0)], Vec::new());
    assert_eq!(service.says(&[(R1, A1)]), None, "it was told before");
    let mut service = Service::given(vec![told(R1, 2_000_000)], Vec::new());
    assert_eq!(service.says(&[(R1, A1)]), Some(vec![pair(R1, A1)]), "it was told later, as an echo");
    let mut service = Service::given(vec![told(A1, 2_000_000)], Vec::new());
    assert_eq!(service.says(&[(R1, A1)]), None, "the new one comes from somewhere else");
    let mut service = Service::given(Vec::new(), vec![told(R1, 9_000_000)]);
    assert_eq!(service.says(&[(R1, A1)]), None, "it was told at the start");
    let mut service = Service::idle();
    let request = Message::request("GET", &format!("/orders/{R1}"), &[("Host", "shop")], "");
    service.cassette.entry = Some(answered(request, ok("")));
    assert_eq!(service.says(&[(R1, A1)]), None, "the entry said it");
}

#[test]
fn what_entries_have_in_common_was_made_for_none_of_them() {
    let mut first = Service::idle();
    assert!(first.says(&[(R1, A1)]).is_some());
    for pairs in [[(R1, A2)], [(R2, A1)], [(R1, A1)]] {
        let mut second = Service { owners: std::mem::take(&mut first.owners), ..Service::idle() };
        second.cassette.id = CassetteId("other".to_owned());
        assert_eq!(second.says(&pairs), None);
        first.owners = second.owners;
    }
    let mut again = Service { owners: first.owners, ..Service::idle() };
    assert_eq!(again.says(&[(R1, A2)]), Some(vec![pair(R1, A2)]), "the same entry once more");
}

#[test]
fn identifiers_that_tell_when_they_were_made_were_made_now() {
    let seven = |at: i64, rest: &str| {
        let hex = format!("{:012x}", at / 1000);
        format!("{}-{}-7{rest}-8{rest}-{rest}{rest}{rest}{rest}", &hex[..8], &hex[8..])
    };
    let (recorded, actual) = (seven(THEN, "abc"), seven(NOW, "def"));
    assert!(Service::idle().says(&[(&recorded, &actual)]).is_some());
    assert_eq!(Service::idle().says(&[(&recorded, &seven(THEN, "def"))]), None);
    assert_eq!(Service::idle().says(&[(&seven(NOW, "abc"), &actual)]), None);
}

#[test]
fn a_time_has_to_move_as_the_clock_did() {
    let cases = [
        ("2026-11-22T10:15:03Z", "2026-11-29T11:15:32Z", true),
        ("2026-11-22T10:15:03Z", "2026-11-29T11:15:33.000123Z", true),
        ("2026-11-22T11:15:03Z", "2026-11-29T12:15:33Z", true),
        ("2026-11-22T11:15:03Z", "2026-11-29T13:15:33Z", false),
        ("2026-11-22T10:15:03Z", "2026-11-29T11:15:48Z", false),
        ("2026-11-22T10:15:03Z", "2026-11-29T11:15:33", false),
        ("2026-11-22T10:15:03Z", "2026-11-22T10:15:04Z", false),
        ("Sun, 22 Nov 2026 10:15:03 GMT", "Sun, 29 Nov 2026 11:15:33 GMT", true),
        ("1795342503", "1795950933", true),
        ("1795342503", "1795950933000", false),
        ("1795342503.5", "1795950933.25", true),
        ("2026-11-22", "2026-11-29", true),
        ("2026-11-23", "2026-11-30", true),
        ("2026-11-22", "2026-11-30", false),
        ("2026-11-22", "2026-11-28", false),
    ];
    for (recorded, actual, same) in cases {
        assert_eq!(Service::idle().says(&[(recorded, actual)]).is_some(), same, "{recorded} {actual}");
    }
}

#[test]
fn two_equal_times_can_become_two() {
    let mut service = Service::idle();
    let (then, now, later) = ("2026-11-22T10:15:03Z", "2026-11-29T11:15:32Z", "2026-11-29T11:15:33Z");
    assert!(service.says(&[(then, now)]).is_some());
    assert!(service.says(&[(then, later)]).is_some());
    assert!(service.bindings.same(then, now) && service.bindings.same(then, later));
    assert!(!service.bindings.same(then, "2026-11-29T11:15:34Z"), "only what was said in a call is known");
}

#[test]
fn classes_are_equal_but_for_what_was_made_anew() {
    assert_eq!(class(&format!("/orders/{R1}")), class(&format!("/orders/{A1}")));
    assert_ne!(class(&format!("/orders/{R1}")), class(&format!("/order/{A1}")));
    assert_ne!(class(R1), class("2026-11-22"));
    assert_eq!(class("from 2026-11-22T10:15:03Z on"), class("from 2026-11-29T10:15:03.5Z on"));
    assert_ne!(class("2026-11-22T10:15:03Z"), class("2026-11-22T10:15:03"));
    assert_eq!(class("1001"), None);
}
