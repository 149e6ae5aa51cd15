//! The report for CI servers: JUnit XML, one test case an entry.

use std::fmt::Write;

use super::{Colour, shown, text};
use crate::{NotDriven, Outcome, Report, Verdict, groups::Group};

/// The report as JUnit XML: different = failure, inconclusive = error, the text report as their content. Unreadable
/// cassettes and unrecorded calls at start-up are test cases that end in an error, entries that were not driven are skipped.
/// Properties of the suite say which part of the corpus it is and what each cause is; for people its output says the same.
pub fn junit(report: &Report) -> String {
    let summary = report.summary();
    let startup = usize::from(!report.startup.is_empty());
    let time: f64 = report.outcomes.iter().filter_map(|outcome| outcome.took).map(|took| took.as_secs_f64()).sum();
    let counts = format!(
        r#"tests="{}" failures="{}" errors="{}" skipped="{}" time="{time:.3}""#,
        summary.total + startup + report.not_driven.len(),
        summary.different,
        summary.inconclusive + startup,
        report.not_driven.len(),
    );
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(out, "<testsuites name=\"regress\" {counts}>");
    let _ = writeln!(out, "  <testsuite name=\"regress\" {counts}>");
    let groups = report.groups();
    properties(&mut out, report, &groups);
    for outcome in &report.outcomes {
        let time = outcome.took.map_or(0.0, |took| took.as_secs_f64());
        let (class, name) = (super::route(&outcome.file), format!("{} {}", outcome.cassette, outcome.entry));
        case(
            &mut out,
            &class,
            &name,
            time,
            result(outcome.verdict),
            message(outcome),
            &text::entries(&[outcome], Colour::No),
        );
    }
    for unreadable in &report.unreadable {
        let name = unreadable.file.to_string_lossy();
        case(
            &mut out,
            "cassettes",
            &name,
            0.0,
            Some("error"),
            "cannot be read",
            &text::unreadable(unreadable, Colour::No),
        );
    }
    for NotDriven { cassette, file } in &report.not_driven {
        let why = "not driven: the replay stopped at the first difference";
        case(&mut out, &super::route(file), &cassette.0, 0.0, Some("skipped"), why, "");
    }
    if startup == 1 {
        case(
            &mut out,
            "startup",
            "start-up",
            0.0,
            Some("error"),
            "unrecorded calls",
            &text::startup(&report.startup, Colour::No),
        );
    }
    let told = report.selected.iter().map(text::selection).collect::<String>() + &text::causes(&groups, Colour::No);
    if !told.is_empty() {
        let _ = writeln!(out, "    <system-out>{}</system-out>", xml(told.trim_end()));
    }
    out += "  </testsuite>\n</testsuites>\n";
    out
}

/// `selection`, and for each cause `group.<id>`: its severity, in how many entries it is seen, what it is.
fn properties(out: &mut String, report: &Report, groups: &[Group]) {
    let selection = report.selected.iter().map(|selected| ("selection".to_owned(), text::selection(selected)));
    let cause = |group: &Group| {
        let entries = if group.entries() == 1 { "entry" } else { "entries" };
        let follows = if group.follows { " (follows from a call that missed)" } else { "" };
        let what = format!("{}: {}{follows}", shown(&group.subject()), shown(&group.what()));
        (format!("group.{}", group.id), format!("{}, {} {entries}: {what}", group.severity.word(), group.entries()))
    };
    let all: Vec<(String, String)> = selection.chain(groups.iter().map(cause)).collect();
    if all.is_empty() {
        return;
    }
    *out += "    <properties>\n";
    for (name, value) in all {
        let _ = writeln!(out, "      <property name=\"{}\" value=\"{}\"/>", xml(&name), xml(value.trim_end()));
    }
    *out += "    </properties>\n";
}

fn result(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Same => None,
        Verdict::Different => Some("failure"),
        Verdict::Inconclusive => Some("error"),
    }
}

fn message(outcome: &Outcome) -> &str {
    outcome.doubts.first().map_or(outcome.verdict.word(), String::as_str)
}

fn case(out: &mut String, class: &str, name: &str, time: f64, result: Option<&str>, message: &str, detail: &str) {
    let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\" time=\"{time:.3}\"", xml(class), xml(name));
    let _ = match result {
        None => writeln!(out, "/>"),
        Some(result) => writeln!(
            out,
            ">\n      <{result} message=\"{}\">{}</{result}>\n    </testcase>",
            xml(message),
            xml(detail.trim_end())
        ),
    };
}

/// Escaped for XML 1.0, which cannot hold most control characters at all (section 2.2).
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\t' => out.push(c),
            '\0'..='\x1f' | '\x7f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
