//! The report for CI servers: JUnit XML, one test case an entry.

use std::{collections::BTreeMap, fmt::Write};

use super::{Colour, shown, text};
use crate::{NotDriven, Outcome, Report, Verdict, groups::Group};

/// How many causes of one entry its message names.
const MOST_CAUSES: usize = 5;

/// The report as JUnit XML: different = failure, inconclusive = error, the text report as their content. Unreadable
/// cassettes and unrecorded calls at start-up are test cases that end in an error, entries that were not driven are skipped.
/// A failure's message says its causes, the worst first, with the ids that `regress review --accept-group` takes, its type the
/// severity of the worst; its content begins with them, as some servers show the one and some the other. Properties of the
/// suite say which part of the corpus it is and what each cause is; for people its output says the same.
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
    let mut causes: BTreeMap<usize, Vec<&Group>> = BTreeMap::new();
    for group in &groups {
        group.entry_numbers().for_each(|entry| causes.entry(entry).or_default().push(group));
    }
    for (number, outcome) in report.outcomes.iter().enumerate() {
        let time = outcome.took.map_or(0.0, |took| took.as_secs_f64());
        let (class, name) = (super::route(&outcome.file), format!("{} {}", outcome.cassette, outcome.entry));
        let result = result(outcome, causes.get(&number).map_or(&[], Vec::as_slice));
        case(&mut out, &class, &name, time, result);
    }
    for unreadable in &report.unreadable {
        let name = unreadable.file.to_string_lossy();
        let result = Failed::error("unreadable", "cannot be read", text::unreadable(unreadable, Colour::No));
        case(&mut out, "cassettes", &name, 0.0, Some(result));
    }
    for NotDriven { cassette, file } in &report.not_driven {
        let why = "not driven: the replay stopped at the first difference";
        let skipped = Failed { element: "skipped", kind: None, message: why.to_owned(), detail: String::new() };
        case(&mut out, &super::route(file), &cassette.0, 0.0, Some(skipped));
    }
    if startup == 1 {
        let result = Failed::error("startup", "unrecorded calls", text::startup(&report.startup, Colour::No));
        case(&mut out, "startup", "start-up", 0.0, Some(result));
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
        let told = format!("{}, {} {entries}: {}", group.severity.word(), group.entries(), told(group));
        (format!("group.{}", group.id), told)
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

/// What a cause is, in one line.
fn told(group: &Group) -> String {
    let follows = if group.follows { " (follows from a call that missed)" } else { "" };
    format!("{}: {}{follows}", shown(&group.subject()), shown(&group.what()))
}

/// Why a test case has not passed.
struct Failed {
    element: &'static str,
    /// Its type.
    kind: Option<&'static str>,
    message: String,
    detail: String,
}

impl Failed {
    fn error(kind: &'static str, message: &str, detail: String) -> Failed {
        Failed { element: "error", kind: Some(kind), message: message.to_owned(), detail }
    }
}

/// What became of an entry in which these causes are seen.
fn result(outcome: &Outcome, causes: &[&Group]) -> Option<Failed> {
    let detail = text::entries(&[outcome], Colour::No);
    match outcome.verdict {
        Verdict::Same => None,
        Verdict::Different => {
            let mut told: Vec<String> =
                causes.iter().take(MOST_CAUSES).map(|group| format!("{} [{}]", told(group), group.id)).collect();
            if causes.len() > MOST_CAUSES {
                told.push(format!("and {} more", causes.len() - MOST_CAUSES));
            }
            let kind = causes.first().map(|worst| worst.severity.word());
            Some(Failed {
                element: "failure",
                kind,
                message: told.join("; "),
                detail: format!("{}\n\n{detail}", told.join("\n")),
            })
        }
        Verdict::Inconclusive => {
            let why = outcome.doubts.first().map_or(outcome.verdict.word(), String::as_str);
            Some(Failed::error("inconclusive", why, detail))
        }
    }
}

fn case(out: &mut String, class: &str, name: &str, time: f64, result: Option<Failed>) {
    let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\" time=\"{time:.3}\"", xml(class), xml(name));
    let Some(Failed { element, kind, message, detail }) = result else {
        let _ = writeln!(out, "/>");
        return;
    };
    let kind = kind.map(|kind| format!(" type=\"{kind}\"")).unwrap_or_default();
    let _ = writeln!(
        out,
        ">\n      <{element} message=\"{}\"{kind}>{}</{element}>\n    </testcase>",
        xml(&message),
        xml(detail.trim_end())
    );
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
