//! No wrong answer is served: requests that are nearly the recorded ones, asked of the mock. What is compared here is
//! compared by code of its own, not by the one that decides.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use regress_cassettes::diff::{self, Difference, Lens, VOLATILE_REQUEST_HEADERS, is_volatile};
use regress_protocols::http1::Message;
use serde_json::Value;

use crate::{
    mock::{Call, Match, Mock, Mode, Place, Reply, Rung, Told},
    samples::{PAYMENTS, answered, mock, ok},
};

/// Headers that all requests of a client share, which a measure of likeness would go by.
const BOILERPLATE: &[(&str, &str)] = &[
    ("Host", "payments:8080"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
    ("X-Client", "shop"),
    ("X-Region", "eu-west-1"),
];

#[test]
fn what_likeness_confuses_is_a_miss() {
    let ask = |method: &str, target: &str, body: &str| Message::request(method, target, BOILERPLATE, body.to_owned());
    let sql = |statement: &str| ask("POST", "/sql", &format!(r#"{{"q":"{statement}"}}"#));
    let pairs = [
        (ask("GET", "/user/1001", ""), ask("GET", "/user/1002", "")),
        (ask("GET", "/user?id=1001", ""), ask("GET", "/user?id=1002", "")),
        (ask("GET", "/user/1001", ""), ask("DELETE", "/user/1001", "")),
        (sql("SELECT * FROM user WHERE id=17"), sql("SELECT * FROM user WHERE id=18")),
        (sql("SELECT * FROM user WHERE id=17"), sql("DELETE FROM user WHERE id=17")),
        (ask("POST", "/charge", r#"{"amount":100,"to":"a"}"#), ask("POST", "/charge", r#"{"amount":9900,"to":"a"}"#)),
        (ask("POST", "/charge", r#"{"amount":100}"#), ask("POST", "/refund", r#"{"amount":100}"#)),
        (ask("GET", "/u/1", ""), ask("GET", "/inventory/list", "")),
    ];
    for (one, other) in pairs {
        for (recorded, came) in [(&one, &other), (&other, &one)] {
            let mock = mock(vec![answered(recorded.clone(), ok("recorded"))], Vec::new(), Mode::Strict);
            let call = asked(&mock, came);
            assert!(matches!(call.matched, Match::Miss { .. }), "{recorded:?} answered {came:?}");
            assert_ne!(call.answered, Some(Told::Http(ok("recorded"))));
        }
    }
}

fn asked(mock: &Mock, request: &Message) -> Call {
    let (_, call) = told(mock, request);
    call
}

/// The body of what was answered as recorded, and the call.
fn told(mock: &Mock, request: &Message) -> (Option<Bytes>, Call) {
    let reply = mock.shared.judge(Place { destination: PAYMENTS.parse().unwrap(), tls: false }, request);
    let body = match reply {
        Reply::Recorded(recorded) => Some(recorded.exchange().http().unwrap().response.as_ref().unwrap().body.clone()),
        Reply::Miss(_) => None,
    };
    (body, mock.take_journal().pop().expect("every request is a call"))
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "get"];
const PATHS: &[&str] = &[
    "/charge",
    "/charge/",
    "/Charge",
    "/charges",
    "//charge",
    "/charge%20",
    "/%63harge",
    "/charge/1",
    "/charge/01",
    "/charge/2",
    "/refund",
];
const QUERIES: &[&str] = &[
    "",
    "?",
    "?id=1001",
    "?id=1002",
    "?id=01001",
    "?ID=1001",
    "?id=1001&id=1002",
    "?id=1002&id=1001",
    "?id=1001&",
    "?id",
    "?id=",
    "?id=1001#",
    "?id=1001&a=b",
    "?a=b&id=1001",
];
const HEADERS: &[&[(&str, &str)]] = &[
    &[],
    &[("X-Tenant", "a")],
    &[("x-tenant", "a")],
    &[("X-Tenant", "A")],
    &[("X-Tenant", "a"), ("X-Tenant", "b")],
    &[("X-Tenant", "b"), ("X-Tenant", "a")],
    &[("X-Tenant", "a, b")],
    &[("X-Tenant", "")],
    &[("X-Tenant", "a"), ("Traceparent", "00-1")],
    &[("User-Agent", "new/2"), ("X-Tenant", "a")],
    &[("Idempotency-Key", "0b7e6f9a-5f4c-4c5e-9a53-0d2f0f0c1a11")],
    &[("Idempotency-Key", "5d1c1a64-33a7-4be1-8d2c-6f7f1f9be2d2")],
];
const BODIES: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    r#"{"amount":100}"#,
    r#"{ "amount" : 100 }"#,
    r#"{"amount":9900}"#,
    r#"{"amount":100.0}"#,
    r#"{"amount":1e2}"#,
    r#"{"amount":-100}"#,
    r#"{"amount":"100"}"#,
    r#"{"amount":[100]}"#,
    r#"{"amount":null}"#,
    r#"{"amount":0}"#,
    r#"{"amount":-0}"#,
    r#"{"amount":9007199254740992}"#,
    r#"{"amount":9007199254740993}"#,
    r#"{"Amount":100}"#,
    r#"{"amount":100,"note":null}"#,
    r#"{"amount":100,"to":"Zo\u00eb"}"#,
    r#"{"amount":100,"to":"Zoë"}"#,
    r#"{"amount":100,"to":"Zoe\u0308"}"#,
    r#"{"to":"Zoë","amount":100}"#,
    r#"{"amount":100,"to":"a/b"}"#,
    r#"{"amount":100,"to":"a\/b"}"#,
    r#"{"amount":100,"items":[1,2]}"#,
    r#"{"amount":100,"items":[2,1]}"#,
    r#"{"amount":100,"items":[1,2,2]}"#,
    r#"{"amount":100,"key":"0b7e6f9a-5f4c-4c5e-9a53-0d2f0f0c1a11"}"#,
    r#"{"amount":100,"key":"5d1c1a64-33a7-4be1-8d2c-6f7f1f9be2d2"}"#,
    r#"{"amount":100}x"#,
    r#"{"amount":100"#,
    "amount=100",
    "amount=100&",
];

/// A request as one choice from each list.
type Choice = [prop::sample::Index; 5];

fn request([method, path, query, headers, body]: &Choice) -> Message {
    let (method, body): (&&str, &&str) = (method.get(METHODS), body.get(BODIES));
    let headers: &&[(&str, &str)] = headers.get(HEADERS);
    let target = format!("{}{}", path.get(PATHS), query.get(QUERIES));
    let headers = [BOILERPLATE, *headers].concat();
    Message::request(method, &target, &headers, *body)
}

/// What a request says, volatile headers aside.
#[derive(Debug, PartialEq)]
struct Said {
    line: (String, String, Vec<String>),
    headers: BTreeMap<String, Vec<String>>,
    document: Option<Value>,
    /// Where it is no JSON.
    bytes: Option<Vec<u8>>,
}

impl Said {
    fn by(request: &Message) -> Said {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in request.fields().filter(|(name, _)| !is_volatile(VOLATILE_REQUEST_HEADERS, name)) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            headers.entry(text(name).to_lowercase()).or_default().push(text(value));
        }
        let document: Option<Value> = serde_json::from_slice(&request.body).ok();
        let bytes = document.is_none().then(|| request.body.to_vec());
        let target = request.target();
        let (path, query) = target.split_once('?').map_or((&*target, None), |(path, query)| (path, Some(query)));
        // The order of parameters with different names says nothing.
        let mut query: Vec<String> = query.into_iter().flat_map(|query| query.split('&')).map(str::to_owned).collect();
        query.sort_by_key(|parameter| parameter.split('=').next().unwrap_or_default().to_owned());
        Said { line: (request.method().to_owned(), path.to_owned(), query), headers, document, bytes }
    }
}

/// Whether two values can be two drawings of the same thing: long, of the same length, with digits in both.
fn made_anew(Difference { expected, actual, .. }: &Difference) -> bool {
    let drawn = |text: &str| text.len() >= 8 && text.contains(|char: char| char.is_ascii_digit());
    matches!((expected, actual), (Some(one), Some(other)) if drawn(one) && drawn(other) && one.len() == other.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_served_answer_is_the_one_to_what_was_asked(
        recorded in prop::collection::vec(any::<Choice>(), 1..6),
        asks in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, any::<prop::sample::Index>()), 1..8),
    ) {
        let requests: Vec<Message> = recorded.iter().map(request).collect();
        let exchanges = requests.iter().enumerate();
        let exchanges = exchanges.map(|(number, request)| answered(request.clone(), ok(&number.to_string())));
        let mock = mock(exchanges.collect(), Vec::new(), Mode::Strict);
        let mut served = vec![false; requests.len()];
        for (near, place, other) in asks {
            // A recorded one, changed in one place; the last place is none.
            let mut choice = *near.get(&recorded);
            if let Some(changed) = choice.get_mut(place) {
                *changed = other;
            }
            let came = request(&choice);
            let (body, call) = told(&mock, &came);
            let the_same_is_left = (0..requests.len()).any(|number| !served[number] && requests[number] == came);
            match call.matched {
                Match::Hit { exchange, rung, .. } => {
                    prop_assert!(!served[exchange], "served twice");
                    served[exchange] = true;
                    let number = exchange.to_string();
                    prop_assert_eq!(body.as_deref(), Some(number.as_bytes()));
                    if rung == Rung::Exact {
                        prop_assert_eq!(Said::by(&requests[exchange]), Said::by(&came));
                    } else {
                        let differences = diff::requests(&requests[exchange], &came, &Lens::exact());
                        prop_assert!(differences.iter().all(made_anew), "{:?}: {:?}", rung, differences);
                    }
                }
                Match::Miss { .. } => {
                    prop_assert!(!the_same_is_left, "{:?} was recorded and not served", came);
                    prop_assert_eq!(call.answered.as_ref().and_then(Told::http).map(Message::status), Some(502));
                }
            }
        }
    }
}
