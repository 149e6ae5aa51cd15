//! A report with one of everything, for the renderers' tests.

use std::time::Duration;

use regress_cassettes::{
    CassetteId,
    diff::{Difference, Kind, Noise},
};
use regress_mockserver::mock::{Bound, Rung};

use crate::{
    CallChange, CallFinding, Finding, Nearest, NotDriven, Outcome, Recorded, Report, RuleUse, Selected, Served,
    ServedBy, Side, Sides, Unreadable, Verdict,
};

pub fn difference(path: &str, expected: &str, actual: Option<&str>) -> Difference {
    let kind = if actual.is_some() { Kind::Changed } else { Kind::Removed };
    Difference {
        path: path.to_owned(),
        kind,
        expected: Some(expected.to_owned()),
        actual: actual.map(str::to_owned),
        noise: None,
    }
}

pub fn outcome(number: u32, entry: &str, verdict: Verdict) -> Outcome {
    let id = format!("20261122T101502.123456Z-{number:04}");
    Outcome {
        excused: Vec::new(),
        file: format!("cassettes/post-orders/{id}.cassette.json").into(),
        cassette: CassetteId(id),
        entry: entry.to_owned(),
        verdict,
        findings: Vec::new(),
        if_answered: None,
        doubts: Vec::new(),
        notes: Vec::new(),
        calls: Vec::new(),
        last_output: None,
        took: Some(Duration::from_micros(12_345)),
        recorded: Some(Recorded { took: Duration::from_micros(20_000), waited: Duration::from_micros(15_000) }),
        sides: None,
        pending: None,
    }
}

pub fn call(number: usize, downstream: &str, request: &str, change: CallChange) -> CallFinding {
    CallFinding {
        operation: request.split('?').next().unwrap_or_default().to_owned(),
        number,
        downstream: downstream.to_owned(),
        destination: Some("10.0.0.9:9000".parse().unwrap()),
        request: request.to_owned(),
        change,
    }
}

pub fn rule(path: &str, effect: &str, why: Option<&str>, fired: usize, selected: usize) -> RuleUse {
    RuleUse {
        rule: format!("{path} as {effect}"),
        path: path.to_owned(),
        effect: effect.to_owned(),
        why: why.map(str::to_owned),
        fired,
        selected,
    }
}

/// One of everything.
pub fn report() -> Report {
    let mut same = outcome(1, "GET /items", Verdict::Same);
    same.calls.push(Served {
        downstream: "prices".to_owned(),
        destination: "10.0.0.9:80".parse().unwrap(),
        request: "GET /sku/1".to_owned(),
        by: Some(ServedBy {
            cassette: same.cassette.clone(),
            number: 0,
            ambient: false,
            rung: Rung::Bound,
            runner_up: Some(1),
            again: false,
            bound: vec![Bound { recorded: "r-1".to_owned(), actual: "a-1".to_owned() }],
            took: Some(Duration::from_micros(900)),
        }),
    });
    let late = Difference { noise: Some(Noise::Rule(0)), ..difference("body/at", "\"10:00\"", Some("\"10:01\"")) };
    let bound = Difference { noise: Some(Noise::Bound), ..difference("body/key", "\"a1\"", Some("\"b2\"")) };
    same.excused = vec![
        Finding::Response(late.clone()),
        Finding::Call(call(0, "prices", "GET /sku/1", CallChange::Changed(vec![late, bound]))),
    ];
    let mut different = outcome(2, "POST /orders?a=<b>&c", Verdict::Different);
    let id = different.cassette.clone();
    let nearest =
        Nearest { cassette: id, number: 1, differences: vec![difference("target", "/sku/1", Some("/sku/2"))] };
    different.findings = vec![
        Finding::Response(difference("status", "201", Some("502"))),
        Finding::Response(difference("body/note", "\"a\u{1b}[31m\nb\"", None)),
        Finding::Call(call(0, "inventory", "POST /reserve", CallChange::Omitted)),
        Finding::Call(call(
            1,
            "prices:9000",
            "POST /quote",
            CallChange::Changed(vec![
                difference("body/qty", "2", Some("3")),
                Difference {
                    kind: Kind::Moved,
                    ..difference(
                        "order",
                        "after downstream/3 (audit POST /log)",
                        Some("before downstream/3 (audit POST /log)"),
                    )
                },
            ]),
        )),
        Finding::Call(call(
            2,
            "10.0.0.9:9000",
            "GET /sku/2",
            CallChange::Novel { reason: "no recorded call says the same".to_owned(), nearest: Some(nearest) },
        )),
    ];
    different.calls.push(Served {
        downstream: "10.0.0.9:9000".to_owned(),
        destination: "10.0.0.9:9000".parse().unwrap(),
        request: "GET /sku/2".to_owned(),
        by: None,
    });
    different.if_answered = Some(different.findings[3..].to_vec());
    different.pending = Some("cassettes/post-orders/x.cassette.json.new".into());
    let side = |status: &str, body: &str| {
        Some(Side {
            head: format!("HTTP/1.1 {status}\nContent-Type: application/json"),
            body: body.to_owned(),
            left_out: 0,
        })
    };
    different.sides = Some(vec![Sides {
        path: "response".to_owned(),
        expected: side("201 Created", r#"{"id": 7, "total": 12.50, "note": "a\u001b[31m"}"#),
        actual: side("502 Bad Gateway", r#"{"id": 7, "total": 12.50}"#),
    }]);
    let mut crashed = outcome(3, "POST /orders", Verdict::Different);
    crashed.findings = vec![
        Finding::Ended {
            expected: "a response with status 201".to_owned(),
            actual: "no response: the connection was reset".to_owned(),
        },
        Finding::Exited("was killed by signal 11".to_owned()),
    ];
    crashed.last_output = Some("starting\npanic: ]]> nil\x07\n".to_owned());
    let mut unknown = outcome(4, "GET /items", Verdict::Inconclusive);
    unknown.doubts.push("the recording is not complete: entry lacks 12 bytes".to_owned());
    unknown.took = None;
    let mut alike = unknown.clone();
    alike.cassette = CassetteId("20261122T101502.123456Z-0005".to_owned());
    Report {
        outcomes: vec![same, different, crashed, unknown, alike],
        unreadable: vec![Unreadable {
            file: "cassettes/x/y.cassette.json".into(),
            why: "line 3: expected `,`".to_owned(),
            hint: Some("restore it from version control".to_owned()),
        }],
        rules: vec![
            rule("response/body/at", "time", Some("the clock"), 2, 9),
            rule("response/body/id", "ignore", None, 0, 4),
            rule("request/body/x", "type", None, 0, 0),
        ],
        not_proposed: None,
        selected: Some(Selected {
            of: 40,
            entries: 7,
            by: vec!["filter \"a\u{7}\"".to_owned(), "shard 2/4".to_owned()],
        }),
        not_driven: vec![NotDriven {
            cassette: CassetteId("20261122T101502.123456Z-0006".to_owned()),
            file: "cassettes/get-items/20261122T101502.123456Z-0006.cassette.json".into(),
        }],
        startup: vec![call(
            0,
            "config",
            "GET /flags",
            CallChange::Novel { reason: "no recorded call went to this destination".to_owned(), nearest: None },
        )],
    }
}
