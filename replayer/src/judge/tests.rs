use super::*;
use crate::testing::{cassette, created, hit, hits, json, miss, reserve, unanswered};
use bytes::Bytes;
use regress_cassettes::{
    Turn,
    diff::{Difference, Drawn, Kind, Noise, RuleText},
};
use regress_mockserver::mock::{Attempted, MissReason, NearMiss};

fn judge(cassette: &Cassette, seen: &Seen, journal: &[Call], exited: Option<&str>) -> Judgement {
    judge_under(&Rules::none(), cassette, seen, journal, exited)
}

fn judge_under(rules: &Rules, cassette: &Cassette, seen: &Seen, journal: &[Call], exited: Option<&str>) -> Judgement {
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
    assert_eq!((judgement.verdict, paths(&judgement)), (Verdict::Different, vec!["response/body/total".to_owned()]));
}

/// Bindings of an entry whose calls had these in place of recorded values.
fn drew(pairs: &[(&str, &str)]) -> Bindings {
    let nothing = Bindings::default();
    let drawing = Drawing::after(&nothing);
    assert!(pairs.iter().all(|(recorded, actual)| drawing.stands(recorded, actual)));
    drawing.into_fresh()
}

#[test]
fn what_is_drawn_anew_is_what_the_calls_bound() {
    let rules = rules(&[
        ("response/body/id", "generated"),
        ("response/body/lines/*/order", "generated"),
        ("response/body/n", "generated"),
        ("request/body/sku", "generated"),
    ]);
    let mut cassette = cassette();
    let answer = |id: &str, line: &str, n: &str| {
        let body = format!(r#"{{"id":{id},"lines":[{{"order":"{line}"}},{{"order":"x"}}],"n":{n},"total":7}}"#);
        json(201, &body)
    };
    if let Some(Exchange { content: Content::Http1(http), .. }) = &mut cassette.entry {
        http.response = Some(answer("7", "7", "5"));
    }
    let bindings = drew(&[("7", "812"), ("1", "44")]);
    let judged = |response: Message, journal: &[Call]| {
        let seen = Seen::Response(response);
        super::judge(&cassette, &Observed { seen: &seen, journal, bindings: &bindings, exited: None }, &rules)
    };
    let calls = hits(&cassette);
    for (id, line, n, expected) in [
        ("812", "812", "5", &[][..]),
        ("812", "812", "6", &[]),
        ("813", "812", "5", &["response/body/id"]),
        ("812", "7", "5", &["response/body/lines/0/order"]),
        ("7", "7", "5", &["response/body/id", "response/body/lines/0/order"]),
        ("812", "812", "812", &["response/body/n"]),
        ("\"812\"", "812", "5", &["response/body/id"]),
        ("812", "812", "44", &["response/body/n"]),
    ] {
        let judgement = judged(answer(id, line, n), &calls);
        assert_eq!(paths(&judgement), expected, "{id} {line} {n}");
        assert_eq!(judgement.verdict == Verdict::Same, expected.is_empty());
    }
    let fired = |judgement: &Judgement| {
        let all = judgement.excused.iter().flat_map(|finding| match finding {
            Finding::Response(difference) => vec![difference.noise],
            Finding::Call(CallFinding { change: CallChange::Changed(all), .. }) => {
                all.iter().map(|difference| difference.noise).collect()
            }
            _ => vec![],
        });
        all.collect::<Vec<_>>()
    };
    let mut bound = hit(&cassette, 0);
    bound.what = Attempted::Http(Message::request(
        "POST",
        "/reserve",
        &[("Host", "inventory"), ("Content-Type", "application/json")],
        r#"{"sku": 44, "qty": 2}"#,
    ));
    if let Match::Hit { rung, .. } = &mut bound.matched {
        *rung = Rung::Bound;
    }
    let judgement = judged(answer("812", "812", "6"), &[bound, hit(&cassette, 1)]);
    let rule = |index| Some(Noise::Rule(index));
    assert_eq!((judgement.verdict, fired(&judgement)), (Verdict::Same, vec![rule(0), rule(1), rule(2), rule(3)]));
    // Nothing is expected to be one value where no rule says so.
    assert_eq!(
        paths(&judged(json(201, r#"{"id":812,"lines":[{"order":"812"},{"order":"x"}],"n":5,"total":812}"#), &calls)),
        ["response/body/total"]
    );
}

#[test]
fn what_only_the_response_has_is_one_and_the_same_in_it() {
    let rules = rules(&[("response/body/**", "generated")]);
    let mut cassette = cassette();
    let answer = |a: u32, b: u32, c: u32| json(201, &format!(r#"{{"a":{a},"b":{b},"c":{c}}}"#));
    if let Some(Exchange { content: Content::Http1(http), .. }) = &mut cassette.entry {
        http.response = Some(answer(1, 1, 2));
    }
    for (answer, expected) in [
        (answer(1, 1, 2), &[][..]),
        (answer(9, 9, 8), &[]),
        (answer(9, 8, 7), &["response/body/b"]),
        (answer(9, 9, 9), &["response/body/c"]),
        (answer(2, 2, 1), &[]),
    ] {
        let judgement = judge_under(&rules, &cassette, &Seen::Response(answer), &hits(&cassette), None);
        assert_eq!(paths(&judgement), expected);
    }
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
    let note = format!("downstream/0 ({name}) was compared byte by byte, the weakest way: no protocol was recognised");
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
