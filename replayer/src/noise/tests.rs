//! Scripts of runs, and what is learned from them.

use jiff::Timestamp;
use proptest::prelude::*;
use regex::Regex;
use regress_cassettes::{
    CassetteId,
    diff::{Difference, Kind, Noise},
};

use super::*;
use crate::{CallChange, CallFinding, Finding, Outcome, Verdict};

const UUIDS: [&str; 4] = [
    "5f0c1a3e-8d0b-4b6e-9c55-0a1b2c3d4e5f",
    "0b8a7f6e-1111-4222-8333-444444444444",
    "9d2c4b6a-5555-4666-8777-888888888888",
    "1c3e5a7b-9999-4aaa-8bbb-cccccccccccc",
];

/// When the first entry of every script was recorded.
const RECORDED: &str = "2026-11-22T10:15:02Z";

fn at(seconds: i64) -> Timestamp {
    "2026-11-28T21:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

fn difference(path: &str, expected: &str, actual: &str) -> Difference {
    let value = |text: &str| (text != "nothing").then(|| text.to_owned());
    Difference {
        path: path.to_owned(),
        kind: Kind::Changed,
        expected: value(expected),
        actual: value(actual),
        noise: None,
    }
}

fn response(path: &str, expected: &str, actual: &str) -> Finding {
    Finding::Response(difference(path, expected, actual))
}

fn call(request: &str, change: CallChange) -> Finding {
    let operation = request.split('?').next().unwrap_or_default().to_owned();
    let (downstream, request) = ("stock".to_owned(), request.to_owned());
    Finding::Call(CallFinding { number: 0, downstream, destination: None, operation, request, change })
}

fn outcome(number: usize, entry: &str, findings: Vec<Finding>) -> Outcome {
    Outcome {
        cassette: CassetteId(format!("20261122T101502.000000Z-{number:04}")),
        file: format!("{number}").into(),
        entry: entry.to_owned(),
        verdict: if findings.is_empty() { Verdict::Same } else { Verdict::Different },
        findings,
        excused: Vec::new(),
        if_answered: None,
        recorded: None,
        sides: None,
        doubts: Vec::new(),
        notes: Vec::new(),
        calls: Vec::new(),
        last_output: None,
        took: None,
        pending: None,
    }
}

/// Runs of ten seconds, one after the other, of these outcomes.
fn runs(outcomes: Vec<Vec<Outcome>>) -> Vec<Run> {
    let run = |(number, outcomes): (usize, Vec<Outcome>)| {
        let from = at(number as i64 * 10);
        Run { from, to: at(number as i64 * 10 + 10), report: Report { outcomes, ..Report::default() } }
    };
    outcomes.into_iter().enumerate().map(run).collect()
}

/// Runs of one entry, `POST /orders`, with one finding each.
fn of_one(findings: Vec<Vec<Finding>>) -> Vec<Run> {
    runs(findings.into_iter().map(|findings| vec![outcome(1, "POST /orders", findings)]).collect())
}

/// Runs of one entry in which one place has these values, the recorded one first.
fn values(path: &str, values: &[&str]) -> Learned {
    let finding = |actual: &&str| if *actual == values[0] { vec![] } else { vec![response(path, values[0], actual)] };
    learn(&of_one(values[1..].iter().map(finding).collect()))
}

fn quoted(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| format!("{value:?}")).collect()
}

#[test]
fn each_kind_of_value_has_its_rule() {
    let uuids = quoted(&UUIDS);
    let uuids: Vec<&str> = uuids.iter().map(String::as_str).collect();
    let uuid = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$".to_owned();
    for (path, seen, allowance) in [
        ("body/id", uuids.as_slice(), Allowance::Pattern(uuid)),
        ("header/x-id", &["00ff00ff00ff00ff", "a1b2c3d4e5f60718"], Allowance::Pattern("^[0-9a-f]{16}$".to_owned())),
        ("body/price", &["10.50", "10.51", "10.49"], Allowance::Tolerance(0.02)),
        ("body/lottery", &["17", "923411", "5"], Allowance::Type),
        ("body/won", &["true", "false"], Allowance::Type),
        ("body/name", &["\"alice\"", "\"bob\""], Allowance::Type),
        ("header/x-name", &["alice", "bob"], Allowance::Ignore),
        ("body/either", &["\"a\"", "1"], Allowance::Ignore),
        ("body/some", &["1", "nothing"], Allowance::Ignore),
        ("header/x-some", &["nothing", "a"], Allowance::Ignore),
    ] {
        let mut several = seen.to_vec();
        several.push(seen[0]);
        let learned = values(path, &several);
        let [proposal] = learned.proposals.as_slice() else { panic!("{path}: {learned:?}") };
        let is_narrow = !matches!(allowance, Allowance::Ignore) && !["body/won", "body/name"].contains(&path);
        assert_eq!((&proposal.allows, proposal.broad.is_none()), (&allowance, is_narrow), "{path}");
        assert_eq!(proposal.place.to_string(), format!("POST /orders  response/{path}"));
        assert_eq!(
            (proposal.evidence.runs, proposal.evidence.of, proposal.evidence.entries),
            (seen.len() - 1, seen.len(), 1)
        );
        assert!(learned.changes.is_empty() && learned.unruled.is_empty());
    }
}

#[test]
fn the_order_of_calls_may_not_matter() {
    let swapped = || {
        let order = difference("order", "before downstream/1 (POST /log)", "after downstream/1 (POST /log)");
        vec![call("POST /reserve", CallChange::Changed(vec![Difference { kind: Kind::Moved, ..order }]))]
    };
    let learned = learn(&of_one(vec![swapped(), vec![], swapped()]));
    let [proposal] = learned.proposals.as_slice() else { panic!("{learned:?}") };
    assert_eq!((&proposal.allows, &proposal.broad, proposal.evidence.runs), (&Allowance::Unordered, &None, 2));
    assert_eq!(proposal.place.to_string(), "POST /orders  stock  POST /reserve  request/order");
    let steady = learn(&of_one(vec![swapped(), swapped()]));
    assert_eq!((steady.proposals.len(), steady.changes.len()), (0, 1), "a build that does it always is another one");
}

#[test]
fn a_time_is_one_seen_from_its_own_now() {
    let in_runs = |seconds: i64| [3, 13, 23].map(|now| at(now + seconds).to_string());
    let recorded: Timestamp = RECORDED.parse().unwrap();
    for seconds in [0, 3600, -86_400 * 30] {
        let expected = (recorded + jiff::SignedDuration::from_secs(seconds)).to_string();
        let [a, b, c] = in_runs(seconds);
        let all = quoted(&[&expected, &a, &b, &c]);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let learned = values("body/at", &all);
        assert_eq!(learned.proposals[0].allows, Allowance::Time(None), "{learned:?}");
    }
    let epoch = |time: Timestamp| time.as_millisecond().to_string();
    let learned = values("body/at", &[&epoch(recorded), &epoch(at(2)), &epoch(at(12))]);
    assert_eq!(learned.proposals[0].allows, Allowance::Time(None), "{learned:?}");
    let date = ["Sun, 22 Nov 2026 10:15:02 GMT", "Sat, 28 Nov 2026 21:00:04 GMT", "Sat, 28 Nov 2026 21:00:14 GMT"];
    assert_eq!(values("header/x-at", &date).proposals[0].allows, Allowance::Time(None));
    // A time that is not told from now stays where it was.
    let old = quoted(&["2001-01-01T00:00:00Z", "2001-01-01T00:00:01Z", "2001-01-01T00:00:02Z"]);
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    assert_eq!(values("body/at", &old).proposals[0].allows, Allowance::Time(Some(5)));
    // A rule lets times pass that are written alike.
    let (zulu, offset) = (at(3).to_string(), at(13).to_string().replace('Z', "+00:00"));
    let mixed = quoted(&[RECORDED, &zulu, &offset]);
    let mixed: Vec<&str> = mixed.iter().map(String::as_str).collect();
    assert_eq!(values("body/at", &mixed).proposals[0].allows, Allowance::Type);
    // Any day at all is no now.
    let days = quoted(&["2001-01-01T00:00:00Z", "1999-12-03T04:05:06Z", "2031-05-06T07:08:09Z"]);
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    assert!(!matches!(values("body/at", &days).proposals[0].allows, Allowance::Time(_)));
}

/// What is learned of an order's number in two calls and in the response, which are these values in each run; 17 in the
/// recording.
fn numbers(runs: &[[&str; 3]]) -> Vec<(String, Allowance)> {
    let findings = |[reserve, pay, answer]: &[&str; 3]| {
        let called = |number: usize, request: &str, actual: &str| {
            let differences = vec![difference("body/order", "17", actual)];
            match call(request, CallChange::Changed(differences)) {
                Finding::Call(found) if actual != "17" => Some(Finding::Call(CallFinding { number, ..found })),
                _ => None,
            }
        };
        let answer = (*answer != "17").then(|| response("body/number", "17", answer));
        let calls = [called(0, "POST /reserve", reserve), called(1, "POST /pay", pay)];
        calls.into_iter().chain([answer]).flatten().collect()
    };
    let learned = learn(&of_one(runs.iter().map(findings).collect()));
    let place = |place: &Place| match &place.call {
        Some(call) => format!("{} {}", call.operation, place.path),
        None => place.path.clone(),
    };
    learned.proposals.into_iter().map(|proposal| (place(&proposal.place), proposal.allows)).collect()
}

#[test]
fn one_value_in_several_places_is_drawn_anew() {
    let [reserve, pay, answer] =
        ["POST /reserve request/body/order", "POST /pay request/body/order", "response/body/number"];
    let learned = |allowances: [Allowance; 3]| -> Vec<(String, Allowance)> {
        let mut all: Vec<_> = [answer, pay, reserve].map(str::to_owned).into_iter().zip(allowances).collect();
        all.sort_by_key(|(path, _)| [answer, pay, reserve].iter().position(|other| other == path));
        all
    };
    let [drawn, any] = [Allowance::Generated, Allowance::Type];
    let everywhere = [["5", "5", "5"], ["9081", "9081", "9081"], ["23", "23", "23"]];
    assert_eq!(numbers(&everywhere), learned([drawn.clone(), drawn.clone(), drawn.clone()]));
    // Where it is by chance what was recorded it says so everywhere.
    let chance = [["17", "17", "17"], ["9081", "9081", "9081"], ["23", "23", "23"]];
    assert_eq!(numbers(&chance), learned([drawn.clone(), drawn.clone(), drawn]));
    // A call with a number of its own: nothing is known to be one and the same.
    let apart = [["5", "5", "81"], ["9081", "9081", "7"], ["23", "23", "900"]];
    assert_eq!(numbers(&apart), learned([any.clone(), any.clone(), any.clone()]), "17 is two numbers");
    let once = [["5", "5", "5"], ["9081", "9081", "7"], ["23", "23", "23"]];
    assert_eq!(numbers(&once), learned([any.clone(), any.clone(), any.clone()]));
    let one_stays = [["17", "5", "5"], ["17", "9081", "9081"], ["17", "23", "23"]];
    assert_eq!(numbers(&one_stays)[0], (answer.to_owned(), Allowance::Generated), "its place does not vary");
    let by_chance = [["17", "5", "5"], ["9081", "9081", "9081"], ["23", "23", "23"]];
    assert_eq!(numbers(&by_chance), learned([any.clone(), any.clone(), any]));
}

#[test]
fn places_of_one_message_show_a_value_that_is_drawn_anew() {
    let twice = |a: &str, b: &str, c: &str| {
        vec![response("body/id", "17", a), response("body/of/id", "17", b), response("body/lottery", "4", c)]
    };
    let learned = |runs: Vec<Vec<Finding>>| -> Vec<(String, Allowance)> {
        let learned = learn(&of_one(runs));
        learned.proposals.into_iter().map(|proposal| (proposal.place.path, proposal.allows)).collect()
    };
    let paths = ["response/body/id", "response/body/lottery", "response/body/of/id"].map(str::to_owned);
    let all = |allowances: [Allowance; 3]| paths.clone().into_iter().zip(allowances).collect::<Vec<_>>();
    let drawn = Allowance::Generated;
    let one = learned(vec![twice("5", "5", "99"), twice("9081", "9081", "7"), twice("23", "23", "6")]);
    assert_eq!(one, all([drawn.clone(), Allowance::Type, drawn.clone()]));
    let two = learned(vec![twice("5", "6", "99"), twice("9081", "3", "7"), twice("23", "400", "6")]);
    assert_eq!(two, all([Allowance::Type, Allowance::Type, Allowance::Type]));
    // Two numbers of which each has two places, and both are one in one run.
    let pairs = |a: &str, b: &str| {
        let [one, other] = [("17", a), ("4", b)];
        vec![
            response("body/a", one.0, one.1),
            response("body/b", other.0, other.1),
            response("body/c", one.0, one.1),
            response("body/d", other.0, other.1),
        ]
    };
    let apart = learned(vec![pairs("5", "6"), pairs("9081", "300")]);
    assert!(apart.len() == 4 && apart.iter().all(|(_, allows)| *allows == Allowance::Generated), "{apart:?}");
    let met = learned(vec![pairs("5", "6"), pairs("9081", "9081")]);
    assert!(met.len() == 4 && met.iter().all(|(_, allows)| *allows == Allowance::Type), "{met:?}");
}

#[test]
fn a_parameter_in_another_protocol_may_be_the_value_in_the_response() {
    let findings = |number: &str| {
        let parameter = difference("params/0", "\"17\"", &format!("{number:?}"));
        vec![call("INSERT orders", CallChange::Changed(vec![parameter])), response("body/number", "17", number)]
    };
    let learned = learn(&of_one(vec![findings("5"), findings("9081"), findings("23")]));
    let learned: Vec<_> = learned.proposals.iter().map(|it| (it.place.path.as_str(), &it.allows)).collect();
    let drawn = &Allowance::Generated;
    assert_eq!(learned, [("response/body/number", drawn), ("request/params/0", drawn)]);
}

#[test]
fn what_is_there_in_some_runs_only_is_nothing_that_is_drawn() {
    let findings = |number: &str, header: &str| {
        let places = [("body/id", number), ("body/of/id", number), ("header/x-id", header)];
        places.map(|(path, actual)| response(path, "17", actual)).to_vec()
    };
    let learned = learn(&of_one(vec![findings("5", "nothing"), findings("9081", "9081"), findings("23", "23")]));
    let learned: Vec<_> = learned.proposals.iter().map(|it| (it.place.path.as_str(), &it.allows)).collect();
    let drawn = &Allowance::Generated;
    assert_eq!(
        learned,
        [("response/body/id", drawn), ("response/body/of/id", drawn), ("response/header/x-id", &Allowance::Ignore)]
    );
}

#[test]
fn a_time_stays_a_time() {
    let twice = |time: Timestamp| {
        let (was, is) = (format!("{RECORDED:?}"), format!("\"{time}\""));
        vec![response("body/at", &was, &is), response("body/paid/at", &was, &is)]
    };
    let learned = learn(&of_one(vec![twice(at(3)), twice(at(13)), twice(at(23))]));
    assert!(learned.proposals.iter().all(|proposal| proposal.allows == Allowance::Time(None)), "{learned:?}");
    assert_eq!(learned.proposals.len(), 2);
}

#[test]
fn what_is_the_same_in_every_run_is_a_change() {
    let learned = values("body/region", &["\"eu\"", "\"us\"", "\"us\"", "\"us\""]);
    assert!(learned.proposals.is_empty() && learned.unruled.is_empty());
    let change = &learned.changes[0];
    assert_eq!((change.at.as_str(), change.entries), ("POST /orders  response/body/region", 1));
    assert_eq!((change.expected.as_deref(), change.actual.as_deref()), (Some("\"eu\""), Some("\"us\"")));
}

#[test]
fn a_rule_does_not_cover_what_does_not_vary_in_another_entry() {
    let entries = |a: &str, b: &str| {
        let seven = outcome(7, "GET /orders/7", vec![response("body/note", "\"x\"", a)]);
        let nine = outcome(9, "GET /orders/9", vec![response("body/note", "\"x\"", b)]);
        vec![seven, nine]
    };
    let learned = learn(&runs(vec![entries("\"a\"", "\"wrong\""), entries("\"b\"", "\"wrong\"")]));
    assert_eq!(learned.proposals.len(), 1);
    assert_eq!(learned.proposals[0].place.route, "GET /orders/7");
    assert_eq!(learned.changes[0].at, "GET /orders/9  response/body/note");

    let both = learn(&runs(vec![entries("\"a\"", "\"c\""), entries("\"b\"", "\"d\"")]));
    assert_eq!((both.proposals[0].place.route.as_str(), both.proposals[0].evidence.entries), ("GET /orders/*", 2));

    // On the very same route no rule can tell the two apart.
    let same_route = |a: &str| {
        let first = outcome(1, "POST /orders", vec![response("body/note", "\"x\"", a)]);
        vec![first, outcome(2, "POST /orders", vec![response("body/note", "\"x\"", "\"wrong\"")])]
    };
    let mixed = learn(&runs(vec![same_route("\"a\""), same_route("\"b\"")]));
    assert_eq!((mixed.proposals.len(), mixed.unruled.len(), mixed.changes.len()), (0, 1, 1), "{mixed:?}");
}

#[test]
fn status_and_whole_bodies_are_told_and_not_covered() {
    for path in ["status", "body"] {
        let learned = values(path, &["200", "500", "200", "503"]);
        assert!(learned.proposals.is_empty(), "{path}");
        assert_eq!((learned.unruled[0].evidence.runs, learned.unruled[0].evidence.of), (2, 3));
    }
}

#[test]
fn items_stand_for_each_other() {
    let items = |a: [&str; 2]| {
        let item = |(index, value): (usize, &str)| {
            response(&format!("body/items/{index}/id"), &format!("{:?}", UUIDS[3]), &format!("{value:?}"))
        };
        a.into_iter().enumerate().map(item).collect::<Vec<_>>()
    };
    let learned = learn(&of_one(vec![items([UUIDS[0], UUIDS[1]]), items([UUIDS[2], UUIDS[0]])]));
    assert_eq!(learned.proposals.len(), 1, "{learned:?}");
    assert_eq!(learned.proposals[0].place.path, "response/body/items/*/id");
}

#[test]
fn another_order_is_told_from_other_items() {
    let scalars = |order: [usize; 3]| {
        let item = |(index, other): (usize, usize)| {
            response(&format!("body/tags/{index}"), &index.to_string(), &other.to_string())
        };
        order.into_iter().enumerate().filter(|(a, b)| a != b).map(item).collect::<Vec<_>>()
    };
    let learned = learn(&of_one(vec![scalars([1, 0, 2]), scalars([2, 0, 1]), scalars([0, 1, 2])]));
    assert_eq!(learned.proposals.len(), 1, "{learned:?}");
    assert_eq!(
        (learned.proposals[0].allows.clone(), learned.proposals[0].place.path.as_str()),
        (Allowance::Unordered, "response/body/tags")
    );
    assert_eq!((learned.proposals[0].evidence.runs, learned.proposals[0].evidence.of), (2, 3));

    let objects = |swapped: bool| {
        let member = |index: usize, name: &str, a: &str, b: &str| response(&format!("body/items/{index}/{name}"), a, b);
        let swap = vec![
            member(0, "id", "7", "9"),
            member(0, "sku", "\"a\"", "\"b\""),
            member(1, "id", "9", "7"),
            member(1, "sku", "\"b\"", "\"a\""),
        ];
        if swapped { swap } else { vec![] }
    };
    let learned = learn(&of_one(vec![objects(true), objects(false)]));
    assert_eq!(learned.proposals.iter().map(|it| &it.allows).collect::<Vec<_>>(), [&Allowance::Keyed("id".to_owned())]);

    // The same order in every run is no noise, and other items are no order.
    let learned = learn(&of_one(vec![scalars([1, 0, 2]), scalars([1, 0, 2])]));
    assert_eq!((learned.proposals.len(), learned.changes.len()), (0, 1), "{learned:?}");
    let other = vec![response("body/tags/0", "0", "1"), response("body/tags/1", "1", "2")];
    let learned = learn(&of_one(vec![other, vec![]]));
    assert!(learned.proposals.iter().all(|it| it.allows != Allowance::Unordered), "{learned:?}");
}

#[test]
fn calls_that_are_made_in_some_runs_only_are_told() {
    let omitted = || vec![call("GET /stock/7", CallChange::Omitted)];
    let learned = learn(&of_one(vec![omitted(), vec![], omitted()]));
    assert!(learned.proposals.is_empty() && learned.changes.is_empty());
    assert_eq!(learned.unruled[0].at, "POST /orders  stock  GET /stock/7");
    assert_eq!((learned.unruled[0].evidence.runs, learned.unruled[0].evidence.of), (2, 3));
    let always = learn(&of_one(vec![omitted(), omitted()]));
    assert_eq!((always.unruled.len(), always.changes.len()), (0, 1));
}

#[test]
fn a_call_is_known_by_downstream_and_operation() {
    let changed = |value: &str| {
        vec![call(
            "POST /reserve/7?x=1",
            CallChange::Changed(vec![difference("header/x-key", "0011223344556677", value)]),
        )]
    };
    let learned = learn(&of_one(vec![changed("8899aabbccddeeff"), changed("0123456789abcdef")]));
    let place = &learned.proposals[0].place;
    assert_eq!(place.to_string(), "POST /orders  stock  POST /reserve/7  request/header/x-key");
}

#[test]
fn what_rules_let_pass_is_known_already() {
    let changed = |value: &str| {
        let known = Difference { noise: Some(Noise::Rule(0)), ..difference("body/key", "1", value) };
        vec![call("POST /reserve", CallChange::Changed(vec![known, difference("body/qty", "1", value)]))]
    };
    let learned = learn(&of_one(vec![changed("2"), changed("3")]));
    assert_eq!(learned.proposals.iter().map(|it| it.place.path.as_str()).collect::<Vec<_>>(), ["request/body/qty"]);
}

#[test]
fn what_is_too_long_for_a_report_is_not_guessed() {
    let long = |end: &str| format!("…{}{end}… (5000 bytes)", "0123456789abcdef".repeat(10));
    let learned = values("body/blob", &[&long("1"), &long("2"), &long("3")]);
    assert_eq!((&learned.proposals[0].allows, learned.proposals[0].broad.is_some()), (&Allowance::Ignore, true));
}

#[test]
fn what_could_not_be_judged_is_said() {
    let mut unknown = outcome(1, "POST /orders", vec![]);
    unknown.verdict = Verdict::Inconclusive;
    unknown.doubts.push("entry lacks 12 bytes".to_owned());
    let learned = learn(&runs(vec![vec![unknown.clone()], vec![unknown]]));
    assert_eq!(learned.entries, 0);
    assert_eq!(learned.unjudged, [("POST /orders".to_owned(), "entry lacks 12 bytes".to_owned())]);
}

#[test]
fn one_run_cannot_tell_what_varies_from_what_is_only_other() {
    let mut unknown = outcome(1, "POST /orders", vec![]);
    unknown.verdict = Verdict::Inconclusive;
    unknown.doubts.push("the service ended".to_owned());
    let other = outcome(1, "POST /orders", vec![response("body/region", "\"eu\"", "\"us\"")]);
    let learned = learn(&runs(vec![vec![other], vec![unknown]]));
    assert_eq!((learned.proposals.len(), learned.changes.len(), learned.unruled.len()), (0, 0, 1), "{learned:?}");
}

#[test]
fn labels_say_what_varies_and_what_is_only_other() {
    let findings = |id: &str| vec![response("body/id", "\"x\"", id), response("body/region", "\"eu\"", "\"us\"")];
    let two = |id: &str| vec![outcome(1, "POST /orders", findings(id)), outcome(2, "GET /", vec![])];
    let checked = check(&runs(vec![two("\"a\""), two("\"b\"")]));
    let expected =
        ["response/body/id varies from replay to replay", "response/body/region is not as recorded in any replay"];
    assert_eq!(
        (checked.same, checked.varying.into_values().next().unwrap()),
        (1, expected.map(str::to_owned).to_vec())
    );
    let many = |_| vec![outcome(1, "GET /", (0..30).map(|n| response(&format!("body/a{n:02}"), "1", "2")).collect())];
    let checked = check(&runs((0..2).map(many).collect()));
    let reasons = checked.varying.into_values().next().unwrap();
    assert_eq!((reasons.len(), reasons[20].as_str()), (21, "and 10 more"));
}

proptest! {
    /// A proposal covers everything that it came from.
    #[test]
    fn proposals_cover_what_was_seen(
        recorded in "\"(id-)?[0-9a-f]{8}(-[a-z]{0,3})?\"|-?[0-9]{1,4}(\\.[0-9]{1,2})?|\"[a-z]{0,12}\"",
        seen in prop::collection::vec("\"(id-)?[0-9a-f]{8}(-[a-z]{0,3})?\"|-?[0-9]{1,4}(\\.[0-9]{1,2})?|\"[a-z]{0,12}\"", 2..6),
    ) {
        let mut all = vec![recorded.as_str()];
        all.extend(seen.iter().map(String::as_str));
        let learned = values("body/x", &all);
        let varies = seen.iter().any(|value| *value != seen[0]);
        prop_assert_eq!(learned.proposals.len(), usize::from(varies));
        prop_assert_eq!(learned.changes.len(), usize::from(!varies && seen[0] != recorded));
        for proposal in &learned.proposals {
            let text = |value: &str| serde_json::from_str::<String>(value).ok();
            let differing = seen.iter().filter(|value| **value != recorded);
            for value in differing {
                let covered = match &proposal.allows {
                    Allowance::Ignore => true,
                    Allowance::Type => text(value).is_some() == text(&recorded).is_some(),
                    Allowance::Tolerance(distance) => {
                        let number = |value: &str| value.parse::<f64>().unwrap();
                        (number(value) - number(&recorded)).abs() <= *distance
                    }
                    Allowance::Pattern(pattern) => {
                        let pattern = Regex::new(pattern).unwrap();
                        [value.as_str(), &recorded].iter().all(|it| pattern.is_match(&text(it).unwrap()))
                    }
                    Allowance::Time(_) | Allowance::Unordered | Allowance::Keyed(_) | Allowance::Generated => false,
                };
                prop_assert!(covered, "{value} by {proposal:?}");
            }
        }
    }
}

/// What is learned from these bodies of responses, the recorded one first: rules as path and allowance.
fn bodies(bodies: &[&str]) -> Vec<(String, Allowance)> {
    let message = |body: &str| {
        let headers = [("Content-Type", "application/json")];
        regress_protocols::http1::Message::response(200, "OK", &headers, body.to_owned())
    };
    let recorded = message(bodies[0]);
    let findings = |body: &&str| {
        let differences = regress_cassettes::diff::responses(&recorded, &message(body), &Default::default());
        differences.into_iter().map(Finding::Response).collect()
    };
    let learned = learn(&of_one(bodies[1..].iter().map(findings).collect()));
    learned.proposals.into_iter().map(|proposal| (proposal.place.path, proposal.allows)).collect()
}

#[test]
fn orders_are_learned_from_what_comparison_tells() {
    let learned =
        bodies(&[r#"{"tags":["a","b","c","d"]}"#, r#"{"tags":["d","a","c","b"]}"#, r#"{"tags":["b","a","d","c"]}"#]);
    assert_eq!(learned, [("response/body/tags".to_owned(), Allowance::Unordered)]);
    let item = |id: u32, key: &str| format!(r#"{{"id":{id},"key":"{key}"}}"#);
    let items = |items: &[String]| format!(r#"{{"items":[{}]}}"#, items.join(","));
    let keyed = [("response/body/items".to_owned(), Allowance::Keyed("id".to_owned()))];
    let [a, b, c] = [1, 2, 3].map(|id| item(id, "same"));
    let swapped =
        [items(&[a.clone(), b.clone(), c.clone()]), items(&[c.clone(), a.clone(), b.clone()]), items(&[b, a, c])];
    assert_eq!(bodies(&[&swapped[0], &swapped[1], &swapped[2]]), keyed);
    // What varies inside of items whose order varies shows once their order is no matter.
    let fresh = |order: [u32; 3], run: usize| items(&order.map(|id| item(id, &format!("{}{id}", &UUIDS[run][..35]))));
    let runs = [fresh([1, 2, 3], 0), fresh([3, 1, 2], 1), fresh([2, 1, 3], 2)];
    assert_eq!(bodies(&[&runs[0], &runs[1], &runs[2]]), keyed);
    // Without another order what varies in items is what there is to learn.
    let runs = [fresh([1, 2, 3], 0), fresh([1, 2, 3], 1), fresh([1, 2, 3], 2)];
    let [(path, Allowance::Pattern(_))] = &bodies(&[&runs[0], &runs[1], &runs[2]])[..] else { panic!("a pattern") };
    assert_eq!(path, "response/body/items/*/key");
}
