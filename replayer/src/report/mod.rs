//! Renderers: a [`Report`](crate::Report) as text, JSON or JUnit XML. They decide nothing.

mod json;
mod junit;
mod text;

pub use json::{VERSION, json};
pub use junit::junit;
pub use text::{Colour, line, text};

/// Milliseconds as seconds, without needless digits.
pub(crate) fn seconds(milliseconds: u128) -> String {
    match milliseconds % 1000 {
        0 => format!("{} s", milliseconds / 1000),
        _ => format!("{milliseconds} ms"),
    }
}

/// Text that came from outside, on one line: control characters, which a terminal would obey, are written out.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regress_cassettes::{
        CassetteId,
        diff::{Difference, Kind, Noise},
    };

    use regress_mockserver::mock::{Bound, Rung};

    use super::*;
    use crate::{
        CallChange, CallFinding, Finding, Nearest, NotDriven, Outcome, Report, RuleUse, Selected, Served, ServedBy,
        Unreadable, Verdict,
    };

    fn difference(path: &str, expected: &str, actual: Option<&str>) -> Difference {
        let kind = if actual.is_some() { Kind::Changed } else { Kind::Removed };
        Difference {
            path: path.to_owned(),
            kind,
            expected: Some(expected.to_owned()),
            actual: actual.map(str::to_owned),
            noise: None,
        }
    }

    fn outcome(number: u32, entry: &str, verdict: Verdict) -> Outcome {
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
            pending: None,
        }
    }

    fn call(number: usize, downstream: &str, request: &str, change: CallChange) -> CallFinding {
        CallFinding {
            number,
            downstream: downstream.to_owned(),
            destination: Some("10.0.0.9:9000".parse().unwrap()),
            request: request.to_owned(),
            change,
        }
    }

    /// One of everything.
    fn rule(path: &str, effect: &str, why: Option<&str>, fired: usize, selected: usize) -> RuleUse {
        RuleUse {
            rule: format!("{path} as {effect}"),
            path: path.to_owned(),
            effect: effect.to_owned(),
            why: why.map(str::to_owned),
            fired,
            selected,
        }
    }

    fn report() -> Report {
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
                CallChange::Changed(vec![difference("body/qty", "2", Some("3"))]),
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

    #[test]
    fn as_text() {
        insta::assert_snapshot!(text(&report(), Colour::No));
    }

    #[test]
    fn as_json() {
        insta::assert_snapshot!(json(&report()));
    }

    #[test]
    fn as_junit() {
        insta::assert_snapshot!(junit(&report()));
    }

    #[test]
    fn one_that_is_the_same_is_one_line() {
        let report = Report { outcomes: vec![outcome(1, "GET /items", Verdict::Same)], ..Report::default() };
        assert_eq!(text(&report, Colour::No), "same: 1 entry: 1 same, 0 different, 0 inconclusive\n");
        assert!(text(&report, Colour::Yes).starts_with("\x1b[32msame\x1b[0m: "));
    }

    #[test]
    fn what_is_not_driven_is_named_and_what_is_selected_is_told() {
        let one = |number| NotDriven {
            cassette: CassetteId(format!("20261122T101502.123456Z-{number:04}")),
            file: "cassettes/get-items/x.cassette.json".into(),
        };
        let selected = |entries| Some(Selected { of: 40, entries, by: vec!["shard 2/4".to_owned()] });
        let stopped = Report {
            outcomes: vec![outcome(1, "GET /items", Verdict::Different)],
            not_driven: (2..25).map(one).collect(),
            selected: selected(24),
            ..Report::default()
        };
        insta::assert_snapshot!("not-driven", text(&stopped, Colour::No));
        insta::assert_snapshot!(text(&Report { selected: selected(0), ..Report::default() }, Colour::No), @r"
        nothing to replay: none of the 40 is selected (shard 2/4)
        same: 0 entries: 0 same, 0 different, 0 inconclusive
        ");
    }

    #[test]
    fn what_is_likely_is_named_also_where_all_is_the_same() {
        let mut likely = outcome(1, "GET /items", Verdict::Same);
        likely.notes.push("downstream/0 (stock:9001) is likely this entry's, not certainly".to_owned());
        let report = |verdict| Report {
            outcomes: vec![Outcome { verdict, ..likely.clone() }, outcome(2, "GET /", Verdict::Same)],
            ..Report::default()
        };
        let note = "1 entry has calls that are likely theirs, not certainly\n";
        let same = text(&report(Verdict::Same), Colour::No);
        assert_eq!(same, format!("{note}same: 2 entries: 2 same, 0 different, 0 inconclusive\n"));
        let different = text(&report(Verdict::Different), Colour::No);
        assert!(different.contains("  note: downstream/0 (stock:9001) is likely") && different.contains(note));
    }

    #[test]
    fn different_wins_over_inconclusive_and_nothing_is_not_the_same() {
        assert_eq!(report().verdict(), Verdict::Different);
        assert_eq!(Report::default().verdict(), Verdict::Inconclusive);
        let same = || vec![outcome(1, "GET /", Verdict::Same)];
        assert_eq!(Report { outcomes: same(), ..Report::default() }.verdict(), Verdict::Same);
        let Report { unreadable, startup, selected, not_driven, .. } = report();
        // What others replay, or what did not change, is not missing here.
        let selected = || selected.clone();
        assert_eq!(Report { selected: selected(), ..Report::default() }.verdict(), Verdict::Same);
        let stopped = Report { outcomes: same(), selected: selected(), not_driven, ..Report::default() };
        assert_eq!(stopped.verdict(), Verdict::Inconclusive);
        assert_eq!(Report { outcomes: same(), unreadable, ..Report::default() }.verdict(), Verdict::Inconclusive);
        assert_eq!(Report { outcomes: same(), startup, ..Report::default() }.verdict(), Verdict::Inconclusive);
    }

    #[test]
    fn what_comes_from_outside_cannot_steer_a_terminal() {
        assert_eq!(shown("a\x1b[2J\r\n\u{202e}é"), "a\\u{1b}[2J\\r\\n\\u{202e}é");
    }
}
