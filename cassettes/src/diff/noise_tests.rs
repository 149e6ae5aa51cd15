//! What rules and bound values let pass.

use std::{cell::RefCell, collections::HashMap};

use proptest::prelude::*;
use regress_protocols::http1::Message;

use super::*;

/// Rules from lines of `path as with`; `with` is the key, the tolerance, the time or the pattern.
fn rules(lines: &[&str]) -> Rules {
    let rule = |line: &&str| {
        let mut words = line.splitn(3, ' ');
        let (path, effect) = (words.next().unwrap(), words.next().unwrap());
        let with = words.next().map(str::to_owned);
        let only = |wanted: &str| with.clone().filter(|_| effect == wanted);
        RuleText {
            path: path.to_owned(),
            effect: effect.to_owned(),
            key: only("keyed").map(Keys::One),
            tolerance: only("tolerance").map(Number::Text),
            within: only("time"),
            pattern: only("pattern"),
            ..RuleText::default()
        }
    };
    Rules::new(lines.iter().map(rule).collect()).unwrap()
}

fn post(body: &str) -> Message {
    Message::request("POST", "/a?at=1", &[("X-At", "1")], body.to_owned())
}

fn applied(lines: &[&str]) -> Applied {
    rules(lines).for_request(None, "x", "POST /a")
}

/// `path kind noise` of each difference; the noise is the rule's index, `=` for what is bound.
fn told(lines: &[&str], expected: &Message, actual: &Message) -> Vec<String> {
    let lens = Lens::of(applied(lines));
    let found = requests(expected, actual, &lens);
    let canonical = |message| canonical_request(message, &lens.rules);
    if found.iter().all(|found| !found.counts()) {
        assert_eq!(canonical(expected), canonical(actual), "all is noise: {found:?}");
    }
    found.iter().map(line).collect()
}

/// Pairs as they come, each for one on the other side.
#[derive(Default)]
struct Pairs(RefCell<HashMap<String, String>>);

impl Drawn for Pairs {
    fn stands(&self, recorded: &str, actual: &str) -> bool {
        match self.stand_in(recorded) {
            Some(bound) => bound == actual,
            None if self.is_taken(actual) => false,
            None => self.0.borrow_mut().insert(recorded.to_owned(), actual.to_owned()).is_none(),
        }
    }

    fn stand_in(&self, recorded: &str) -> Option<String> {
        self.0.borrow().get(recorded).cloned()
    }

    fn is_taken(&self, actual: &str) -> bool {
        self.0.borrow().values().any(|bound| bound == actual)
    }
}

/// As [`told`], where values may be drawn anew.
fn told_drawn(lines: &[&str], drawn: &Pairs, expected: &str, actual: &str) -> Vec<String> {
    let lens = Lens { drawn: Some(drawn), ..Lens::of(applied(lines)) };
    let (expected, actual) = (post(expected), post(actual));
    let found = requests(&expected, &actual, &lens);
    if found.iter().all(|found| !found.counts()) {
        let canonical = |message| canonical_request(message, &lens.rules);
        assert_eq!(canonical(&expected), canonical(&actual), "all is noise: {found:?}");
    }
    found.iter().map(line).collect()
}

fn line(found: &Difference) -> String {
    let noise = match found.noise {
        None => String::new(),
        Some(Noise::Rule(index)) => format!(" {index}"),
        Some(Noise::Bound) => " =".to_owned(),
    };
    format!("{} {:?}{noise}", found.path, found.kind)
}

fn told_of(lines: &[&str], expected: &str, actual: &str) -> Vec<String> {
    told(lines, &post(expected), &post(actual))
}

#[test]
fn ignored_places_may_differ_come_and_go() {
    let rules = &["request/body/at ignore", "request/header/x-at ignore", "request/body/**/etag ignore"];
    assert_eq!(told_of(rules, r#"{"at":1,"b":1}"#, r#"{"at":{"x":1},"b":1}"#), ["body/at Type 0"]);
    assert_eq!(told_of(rules, r#"{"b":1}"#, r#"{"at":1,"b":2}"#), ["body/at Added 0", "body/b Changed"]);
    assert_eq!(told_of(rules, r#"[{"etag":1}]"#, r#"[{"etag":2}]"#), ["body/0/etag Changed 2"]);
    let other = Message::request("POST", "/a?at=1", &[("X-At", "2")], "");
    assert_eq!(told(rules, &post(""), &other), ["header/x-at Changed 1"]);
    let other = Message::request("POST", "/a?at=2", &[("X-At", "1")], "");
    assert_eq!(told(&["request/target/query/at ignore"], &post(""), &other), ["target/query/at Changed 0"]);
    assert_eq!(told_of(&["request/body ignore"], "", "[]"), ["body Added 0"]);
    assert_eq!(told_of(&["request/body ignore"], r#"{"a":1}"#, r#"{ "a": 1 }"#), Vec::<String>::new());
}

#[test]
fn items_can_be_named_by_index() {
    let rules = &["request/body/1 ignore"];
    assert_eq!(told_of(rules, "[1,2,3]", "[1,9,3]"), ["body/1 Changed 0"]);
    assert_eq!(told_of(rules, "[1,2,3]", "[1,3]"), ["body/1 Changed 0", "body/2 Removed"]);
    assert_eq!(told_of(rules, "[1]", "[1,2]"), ["body/1 Added 0"]);
    assert_eq!(told_of(&["request/body/* ignore"], "[1,2]", "[3]"), ["body/0 Changed 0", "body/1 Removed 0"]);
}

#[test]
fn order_may_be_left_out() {
    let rules = &["request/body/a unordered"];
    assert_eq!(told_of(rules, r#"{"a":[1,2,2]}"#, r#"{"a":[2,1,2]}"#), ["body/a Moved 0"]);
    assert_eq!(told_of(rules, r#"{"a":[1,2]}"#, r#"{"a":[2,3]}"#), ["body/a/0 Changed"]);
    assert_eq!(told_of(rules, r#"{"a":[1,2,2]}"#, r#"{"a":[1,2]}"#), ["body/a/2 Removed"]);
    assert_eq!(told_of(rules, r#"{"a":[1]}"#, r#"{"a":[1,1]}"#), ["body/a/1 Added"]);
    let deep = &["request/body unordered", "request/body/*/t ignore"];
    assert_eq!(
        told_of(deep, r#"[{"n":1,"t":1},{"n":2,"t":2}]"#, r#"[{"n":2,"t":3},{"n":1,"t":4}]"#),
        ["body Moved 0", "body/0/t Changed 1", "body/1/t Changed 1"]
    );
}

#[test]
fn items_can_be_told_apart_by_a_key() {
    let rules = &["request/body keyed id"];
    let old = r#"[{"id":1,"v":"a"},{"id":2,"v":"b"}]"#;
    assert_eq!(told_of(rules, old, r#"[{"id":2,"v":"b"},{"id":1,"v":"x"}]"#), ["body Moved 0", "body/0/v Changed"]);
    assert_eq!(told_of(rules, old, r#"[{"id":3,"v":"a"},{"id":2,"v":"b"}]"#), ["body/0 Removed", "body/0 Added"]);
    assert_eq!(told_of(rules, old, r#"[{"id":1,"v":"a"},{"id":2,"v":"b"},{"id":2,"v":"b"}]"#), ["body/2 Added"]);
}

#[test]
fn values_may_differ_within_what_a_rule_says() {
    let rules = &[
        "request/body/n tolerance 0.01",
        "request/body/p tolerance 10%",
        "request/body/t time 5s",
        "request/body/h pattern ^[0-9a-f]{4}$",
        "request/body/k type",
    ];
    for (name, same, other) in [
        ("n", ("1.00", "1.01"), ("1.00", "1.02")),
        ("n", ("\"1.00\"", "\"1.01\""), ("1.00", "\"1.00\"")),
        ("p", ("100", "110"), ("100", "111")),
        (
            "t",
            (r#""2026-11-28T10:00:00Z""#, r#""2026-11-28T10:00:05Z""#),
            (r#""2026-11-28T10:00:00Z""#, r#""2026-11-28T10:00:06Z""#),
        ),
        ("t", ("1795860000", "1795860005"), ("1795860000", "\"1795860005\"")),
        ("h", (r#""12ab""#, r#""cdef""#), (r#""12ab""#, r#""12abc""#)),
        ("k", ("1", "2"), ("1", "\"1\"")),
        ("k", ("{\"a\":1}", "{}"), ("{}", "[]")),
    ] {
        let object = |value: &str| format!("{{\"{name}\":{value}}}");
        let found = told_of(rules, &object(same.0), &object(same.1));
        assert!(found.len() == 1 && found[0].ends_with(char::is_numeric), "{name} {same:?} {found:?}");
        let found = told_of(rules, &object(other.0), &object(other.1));
        assert!(found.len() == 1 && !found[0].ends_with(char::is_numeric), "{name} {other:?} {found:?}");
        assert!(told_of(rules, "{}", &object(same.0))[0].ends_with("Added"), "only `ignore` lets a value come");
    }
}

#[test]
fn of_several_rules_for_a_value_any_may_let_it_pass() {
    let rules = &["request/body/* pattern ^[a-d]*$", "request/body/* type", "request/body/* tolerance 1"];
    assert_eq!(told_of(rules, r#"["ab"]"#, r#"["xy"]"#), ["body/0 Changed 1"]);
    assert_eq!(told_of(rules, r#"["ab"]"#, r#"["cd"]"#), ["body/0 Changed 0"]);
    assert_eq!(told_of(rules, "[1]", "[2]"), ["body/0 Changed 1"]);
    assert_eq!(told_of(rules, "[1]", r#"["1"]"#), ["body/0 Type"]);
}

#[test]
fn rules_reach_into_what_is_opened_up() {
    let rules = &["request/body/s/at ignore"];
    assert_eq!(told_of(rules, r#"{"s":"{\"at\":1}"}"#, r#"{"s":"{\"at\":2}"}"#), ["body/s/at Changed 0"]);
    assert_eq!(
        told_of(&["request/body/s pattern ^.{8}$"], r#"{"s":"{\"at\":1}"}"#, r#"{"s":"{\"at\":2}"}"#),
        ["body/s Changed 0"]
    );
}

#[test]
fn what_stands_for_the_same_is_bound() {
    let same = |a: &str, b: &str| a.strip_prefix("old-") == b.strip_prefix("new-") && a.starts_with("old-");
    let lens = Lens { same: Some(&same), ..Lens::default() };
    let message = |id: &str, other: u8| {
        let body = format!(r#"{{"id":"{id}","n":{other},"list":["{id}"]}}"#);
        Message::request("POST", &format!("/a/{id}?id={id}"), &[("X-Id", id)], body)
    };
    let found = requests(&message("old-7", 1), &message("new-7", 2), &lens);
    assert_eq!(
        found.iter().map(line).collect::<Vec<_>>(),
        [
            "target/path/2 Changed =",
            "target/query/id Changed =",
            "header/x-id Changed =",
            "body/id Changed =",
            "body/list/0 Changed =",
            "body/n Changed"
        ]
    );
    let class = |text: &str| (text.starts_with("old-") || text.starts_with("new-")).then(|| "id".to_owned());
    let canonical = |message: &Message| {
        let view = View::of_request(message, &Applied::none());
        let mut view = view.masked(&Applied::none());
        view.classed(&class);
        view.canonical()
    };
    assert_eq!(canonical(&message("old-7", 1)), canonical(&message("new-8", 1)));
    assert_ne!(canonical(&message("old-7", 1)), canonical(&message("new-7", 2)));
}

#[test]
fn values_that_are_drawn_anew_stand_for_the_recorded_ones() {
    let rules = &["request/body/** generated"];
    let drawn = Pairs::default();
    let told = |expected: &str, actual: &str| told_drawn(rules, &drawn, expected, actual);
    assert_eq!(
        told(r#"{"id":17,"of":{"id":17},"n":5}"#, r#"{"id":81,"of":{"id":82},"n":5}"#),
        ["body/id Changed 0", "body/of/id Changed"]
    );
    assert_eq!(told(r#"{"id":17}"#, r#"{"id":81}"#), ["body/id Changed 0"]);
    assert_eq!(told(r#"{"id":18}"#, r#"{"id":81}"#), ["body/id Changed"], "it stands for 17");
    assert_eq!(told(r#"{"id":17}"#, r#"{"id":17}"#), ["body/id Changed"], "equal, and another one");
    assert_eq!(told(r#"{"id":5}"#, r#"{"id":5}"#), Vec::<String>::new());
    assert_eq!(told(r#"{"id":5}"#, r#"{"id":6}"#), ["body/id Changed"], "5 stands for itself");
    assert_eq!(told(r#"{"id":"17"}"#, r#"{"id":"81"}"#), ["body/id Changed 0"], "a number in a text is the same one");
    assert_eq!(told(r#"{"id":17}"#, r#"{"id":"81"}"#), ["body/id Type"]);
    assert_eq!(told(r#"{"id":true}"#, r#"{"id":false}"#), ["body/id Changed"], "it is not drawn");
    assert_eq!(told(r#"{"id":[]}"#, r#"{"id":{}}"#), ["body/id Type"]);
    assert_eq!(told(r#"{"id":1}"#, r#"{}"#), ["body/id Removed"], "the value has to be there");
    let equal = requests(
        &post(r#"{"id":17}"#),
        &post(r#"{"id":17}"#),
        &Lens { drawn: Some(&drawn), ..Lens::of(applied(rules)) },
    );
    assert_eq!(
        (equal[0].expected.as_deref(), equal[0].actual.as_deref()),
        (Some("81"), Some("17")),
        "what it should be is told"
    );
    assert_eq!(
        told_of(rules, r#"{"id":17}"#, r#"{"id":81}"#),
        ["body/id Changed"],
        "nobody knows what stands for what"
    );
    assert_eq!(told(r#"{"t":"eyJhIjoiYmNkZWYifQ=="}"#, r#"{"t":"eyJhIjoieHl6dXcifQ=="}"#), ["body/t Changed 0"]);
    assert_eq!(told_of(rules, r#"[17,18]"#, r#"[0,17,18]"#), ["body/0 Added"]);
}

#[test]
fn items_are_set_against_each_other_by_what_is_drawn() {
    let item = |id: u32, at: u32| format!(r#"{{"id":{id},"at":{at}}}"#);
    let items = |items: &[String]| format!("[{}]", items.join(","));
    let rules = &["request/body/*/id generated", "request/body unordered"];
    let recorded = items(&[item(17, 1), item(18, 1)]);
    let drawn = Pairs::default();
    // Two that are new are taken in order.
    let found = told_drawn(rules, &drawn, &recorded, &items(&[item(81, 1), item(82, 1)]));
    assert_eq!(found, ["body/0/id Changed 0", "body/1/id Changed 0"]);
    let found = told_drawn(rules, &drawn, &recorded, &items(&[item(82, 1), item(81, 1)]));
    assert_eq!(found, ["body Moved 1", "body/0/id Changed 0", "body/1/id Changed 0"]);
    let found = told_drawn(&rules[..1], &drawn, &recorded, &items(&[item(99, 1), item(81, 1), item(82, 1)]));
    assert_eq!(found, ["body/0 Added", "body/0/id Changed 0", "body/1/id Changed 0"]);
}

#[test]
fn what_is_drawn_anew_can_be_listed() {
    let listed = |lines: &[&str], body: &str| {
        let (message, applied) = (post(body), applied(lines));
        let view = View::of_request(&message, &applied);
        view.drawn(&applied).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let body = r#"{"id":17,"of":["a",{"id":"x"},null],"s":"{\"id\":5}"}"#;
    assert_eq!(listed(&["request/body/**/id generated"], body), ["17", "x", "5"]);
    assert_eq!(listed(&["request/body/of/* generated", "request/target/query/at generated"], body), ["1", "a"]);
    assert_eq!(listed(&["request/body/of/0 generated", "request/header/x-at generated"], body), ["1", "a"]);
    assert_eq!(listed(&["request/body/** generated", "request/body/of ignore", "request/body/s type"], body), ["17"]);
    assert_eq!(listed(&["request/body/id type"], body), Vec::<String>::new());
}

#[test]
fn noise_leaves_room_for_what_counts() {
    let array = |item: &str| format!("[{}]", vec![item; 5_000].join(","));
    let body = |item: &str, last: u8| format!(r#"{{"a":{},"b":{last},"z":{last}}}"#, array(item));
    let rules = &["request/body/a/* type", "request/body/z ignore"];
    let found = told_of(rules, &body("1", 1), &body("2", 2));
    assert_eq!(found.len(), MOST_DIFFERENCES + 2);
    assert_eq!(found[MOST_DIFFERENCES..], ["body/b Changed", "body/z Changed 1"]);
}

const LEAVES: [&str; 14] = [
    "1",
    "2",
    "1.005",
    "\"1\"",
    "\"1.005\"",
    "\"ab\"",
    "\"cd\"",
    "\"xy\"",
    "null",
    "\"2026-11-28\"",
    "\"2026-11-29\"",
    "\"[1]\"",
    "\"[1,2]\"",
    "\"[2,1]\"",
];

/// A value without its leaves.
#[derive(Clone, Debug)]
enum Shape {
    Leaf(usize),
    Array(Vec<Shape>),
    Object(Vec<(&'static str, Shape)>),
}

impl Shape {
    /// The value, with some leaves replaced, some items moved and some values left out, as the bits of `choices` say.
    fn json(&self, choices: &mut u64) -> String {
        let mut chosen = |bits: u32| {
            let value = *choices & ((1 << bits) - 1);
            *choices >>= bits;
            value as usize
        };
        match self {
            Shape::Leaf(leaf) if chosen(1) == 1 => LEAVES[(leaf + chosen(4)) % LEAVES.len()].to_owned(),
            Shape::Leaf(leaf) => LEAVES[*leaf].to_owned(),
            Shape::Array(items) => {
                let (turned, left_out) = (chosen(2), chosen(3));
                let mut items: Vec<String> = items.iter().map(|item| item.json(choices)).collect();
                if !items.is_empty() {
                    let turned = turned % items.len();
                    items.rotate_left(turned);
                }
                if left_out < items.len() {
                    items.remove(left_out);
                }
                format!("[{}]", items.join(","))
            }
            Shape::Object(members) => {
                let left_out = chosen(3);
                let members = members.iter().enumerate().filter(|(index, _)| *index != left_out);
                let members: Vec<_> =
                    members.map(|(_, (name, value))| format!("\"{name}\":{}", value.json(choices))).collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }
}

/// Two bodies that are much alike.
fn two_bodies() -> impl Strategy<Value = (String, String)> {
    let leaf = (0..LEAVES.len()).prop_map(Shape::Leaf);
    let shape = leaf.prop_recursive(3, 10, 3, |inner| {
        let name = prop::sample::select(vec!["a", "b", "id"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Shape::Array),
            prop::collection::vec((name, inner), 0..3).prop_map(Shape::Object),
        ]
    });
    // Fewer bits set: fewer changes.
    (shape, any::<u64>(), any::<u64>()).prop_map(|(shape, one, other)| {
        (shape.json(&mut one.clone()), shape.json(&mut (one ^ (other & other.rotate_left(7))).clone()))
    })
}

fn some_rules() -> impl Strategy<Value = Vec<String>> {
    let path = prop::sample::select(vec![
        "body",
        "body/*",
        "body/**",
        "body/a",
        "body/**/a",
        "body/*/a",
        "body/0",
        "body/1",
        "body/a/*",
        "body/a/0",
        "body/*/*",
        "body/**/id",
        "**/1",
    ]);
    let effect = prop::sample::select(vec![
        "ignore",
        "unordered",
        "keyed id",
        "tolerance 0.01",
        "tolerance 60%",
        "time 1d",
        "time",
        "pattern ^[a-d]*$",
        "type",
        "generated",
    ]);
    prop::collection::vec((path, effect).prop_map(|(path, effect)| format!("request/{path} {effect}")), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn where_all_is_noise_the_masked_forms_are_equal(rules in some_rules(), (a, b) in two_bodies()) {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        // Asserted by `told`.
        let found = told_of(&rules, &a, &b);
        let back = told_of(&rules, &b, &a);
        prop_assert!(told_of(&rules, &a, &a).is_empty());
        if found.is_empty() || back.is_empty() {
            prop_assert_eq!(found.is_empty(), back.is_empty());
        }
    }

    #[test]
    fn what_is_said_again_stands_for_itself(rules in some_rules(), (a, b) in two_bodies()) {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let drawn = Pairs::default();
        // Asserted by `told_drawn`.
        let _ = told_drawn(&rules, &drawn, &a, &b);
        let again = Pairs::default();
        prop_assert_eq!(told_drawn(&rules, &again, &a, &a), Vec::<String>::new());
        // What is listed is asked about.
        let (message, applied) = (post(&a), applied(&rules));
        let view = View::of_request(&message, &applied);
        let listed: std::collections::HashSet<&str> = view.drawn(&applied).into_iter().collect();
        let asked = again.0.borrow();
        prop_assert!(listed.iter().all(|text| asked.contains_key(*text)), "{:?} {:?}", listed, asked);
    }

    #[test]
    fn rules_only_mark_what_is_different_anyway(rules in some_rules(), (a, b) in two_bodies()) {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        prop_assert!(!told_of(&[], &a, &b).is_empty() || told_of(&rules, &a, &b).is_empty());
    }
}
