//! Renderers: a [`Report`](crate::Report) as text, JSON, JUnit XML, HTML, Markdown or workflow commands of GitHub. They decide nothing.

mod github;
mod html;
mod json;
mod junit;
mod locate;
mod markdown;
#[cfg(test)]
mod samples;
mod text;

pub use github::github;
pub use html::html;
pub use json::{VERSION, json};
pub use junit::junit;
pub use markdown::markdown;
pub use text::{Colour, line, text};

use std::path::Path;

/// Milliseconds as seconds, without needless digits.
pub(crate) fn seconds(milliseconds: u128) -> String {
    match milliseconds % 1000 {
        0 => format!("{} s", milliseconds / 1000),
        _ => format!("{milliseconds} ms"),
    }
}

/// The folder of the cassette, which is the route's.
fn route(file: &Path) -> String {
    let folder = file.parent().and_then(|folder| folder.file_name());
    folder.map_or_else(|| "entries".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A duration for reading, three digits of it.
pub(crate) fn time(duration: std::time::Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..1e3 => (micros, "µs"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let digits = if unit == "µs" { 0 } else { digits };
    format!("{value:.digits$} {unit}")
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
    use super::{
        samples::{difference, outcome, report},
        *,
    };
    use crate::{Finding, NotDriven, Outcome, Report, Selected, Verdict};
    use regress_cassettes::CassetteId;

    #[test]
    fn as_text() {
        insta::assert_snapshot!(text(&report(), Colour::No));
    }

    #[test]
    fn what_differs_in_the_same_way_is_told_once() {
        let outcomes = (0..9).map(|number| {
            let mut one = outcome(number, "GET /items", Verdict::Different);
            let spot = difference("body/items/3/price", &format!("{number}.5"), Some(&format!("{number}")));
            one.findings = vec![Finding::Response(spot)];
            one
        });
        insta::assert_snapshot!(text(&Report { outcomes: outcomes.collect(), ..Report::default() }, Colour::No));
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
        let untimed = Outcome { recorded: None, ..outcome(1, "GET /items", Verdict::Same) };
        let report = Report { outcomes: vec![untimed], ..Report::default() };
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
        let mut likely = Outcome { took: None, ..outcome(1, "GET /items", Verdict::Same) };
        likely.notes.push("downstream/0 (stock:9001) is likely this entry's, not certainly".to_owned());
        let report = |verdict| Report {
            outcomes: vec![
                Outcome { verdict, ..likely.clone() },
                Outcome { took: None, ..outcome(2, "GET /", Verdict::Same) },
            ],
            ..Report::default()
        };
        let note = "1 entry has calls that are likely theirs, not certainly\n";
        let same = text(&report(Verdict::Same), Colour::No);
        assert_eq!(same, format!("{note}same: 2 entries: 2 same, 0 different, 0 inconclusive\n"));
        let different = text(&report(Verdict::Different), Colour::No);
        assert!(different.contains("  note: downstream/0 (stock:9001) is likely") && different.contains(note));
    }

    #[test]
    fn what_was_labelled_when_it_was_recorded_is_named_beside_its_verdict() {
        let mut labelled = Outcome { recorded: None, ..outcome(1, "GET /items", Verdict::Same) };
        labelled.notes.push("non-deterministic when it was recorded: response/body/id varies".to_owned());
        assert!(line(&labelled, Colour::No).ends_with("GET /items  12 ms  (non-deterministic when it was recorded)"));
        let report = Report { outcomes: vec![labelled], ..Report::default() };
        let told = "1 entry was non-deterministic when it was recorded: see `regress noise`\n";
        assert!(text(&report, Colour::No).starts_with(told), "{}", text(&report, Colour::No));
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
