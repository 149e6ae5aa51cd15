//! The report for a comment on a pull request or a job's summary: GitHub-flavoured Markdown.

use std::{collections::BTreeMap, fmt::Write};

use super::shown;
use crate::{Outcome, Report, Verdict, groups::Group, spot::Spot};

/// The most characters of a comment on GitHub.
pub const LIMIT: usize = 65_536;

/// What is kept for saying what is left out.
const RESERVE: usize = 400;

/// The most causes in the table.
const MOST_GROUPS: usize = 40;

/// The most differences told of one entry.
const MOST_SPOTS: usize = 20;

/// The most rules told.
const MOST_RULES: usize = 20;

/// The most characters of one value.
const MOST_VALUE: usize = 120;

/// The first line, by which a later run finds the comment to replace.
pub const MARKER: &str = "<!-- regress replay -->";

/// The report as Markdown, of at most [`LIMIT`] characters; what is left out is said. What comes from outside can be
/// neither Markdown nor HTML, and mentions nobody.
pub fn markdown(report: &Report) -> String {
    within(report, LIMIT)
}

fn within(report: &Report, limit: usize) -> String {
    let summary = report.summary();
    let entries = plural(summary.total, "entry", "entries");
    let mut out = format!(
        "{MARKER}\n## regress replay: {}\n\n{entries}: {} same, {} different, {} inconclusive\n",
        report.verdict().word(),
        summary.same,
        summary.different,
        summary.inconclusive
    );
    let part = report.selected.iter().map(super::text::selection).chain([super::text::not_driven(&report.not_driven)]);
    for (number, line) in part.collect::<String>().lines().enumerate() {
        out += if number == 0 { "\n" } else { "" };
        let _ = writeln!(out, "- {}", code(line.trim()));
    }
    let groups = report.groups();
    out += &causes(&groups);
    if let Some(latency) = report.latency() {
        let (replayed, own) = (latency.replayed, latency.own);
        let _ = writeln!(
            out,
            "\nTime, not judged: replayed median {}, p95 {}; recorded, without waiting for calls, {} and {}.",
            super::time(replayed.median),
            super::time(replayed.p95),
            super::time(own.median),
            super::time(own.p95)
        );
    }
    out += &rules(report);
    let group_of = by_entry(&groups);
    let mut length = out.chars().count();
    let mut left_out = 0;
    let other = report.outcomes.iter().enumerate().filter(|(_, outcome)| outcome.verdict != Verdict::Same);
    let details = other.map(|(number, outcome)| details(outcome, group_of.get(&number)));
    for block in details.chain(startup(report)).chain(report.unreadable.iter().map(unreadable)) {
        let more = block.chars().count();
        if left_out > 0 || length + more + RESERVE > limit {
            left_out += 1;
            continue;
        }
        length += more;
        out += &block;
    }
    if left_out > 0 {
        let blocks = plural(left_out, "block of details is", "blocks of details are");
        let _ = writeln!(out, "\n{blocks} left out here; the html and json reports have them.");
    }
    let waiting = report.outcomes.iter().filter(|outcome| outcome.pending.is_some()).count();
    if waiting > 0 {
        let waits = plural(waiting, "proposal waits", "proposals wait");
        let _ = writeln!(out, "\n{waits} for `regress review`.");
    }
    out
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn causes(groups: &[Group]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n| entries | where | what differs | group |\n|---:|---|---|---|\n");
    for group in groups.iter().take(MOST_GROUPS) {
        let follows = if group.follows { " (follows from a call that missed)" } else { "" };
        let (subject, what) = (code(&group.subject()), code(&group.what()));
        let _ = writeln!(out, "| {} | {subject} | {what}{follows} | `{}` |", group.entries(), group.id);
    }
    if groups.len() > MOST_GROUPS {
        let _ = writeln!(out, "\n{} more causes are left out here.", groups.len() - MOST_GROUPS);
    }
    out
}

/// What the rules let pass, those that let nothing pass first.
fn rules(report: &Report) -> String {
    let mut rules: Vec<_> = report.rules.iter().collect();
    rules.sort_by_key(|rule| rule.fired);
    let mut out = String::new();
    for rule in rules.iter().take(MOST_RULES) {
        let stale = if rule.is_stale() { ", stale" } else { "" };
        let passed = plural(rule.fired, "difference", "differences");
        let _ = write!(out, "\n- rule {}: let {passed} pass{stale}", code(&rule.rule));
    }
    if rules.len() > MOST_RULES {
        let _ = write!(out, "\n- {} more rules", rules.len() - MOST_RULES);
    }
    if out.is_empty() { out } else { out + "\n" }
}

/// The differences of each entry, in the order they were found.
fn by_entry(groups: &[Group]) -> BTreeMap<usize, BTreeMap<usize, &Spot>> {
    let mut all: BTreeMap<usize, BTreeMap<usize, &Spot>> = BTreeMap::new();
    for place in groups.iter().flat_map(|group| &group.places) {
        all.entry(place.entry).or_default().insert(place.number, &place.spot);
    }
    all
}

fn details(outcome: &Outcome, spots: Option<&BTreeMap<usize, &Spot>>) -> String {
    let mut out = opened(&format!("{} {} {}", outcome.verdict.word(), code(&outcome.entry), code(&outcome.cassette.0)));
    for doubt in &outcome.doubts {
        let _ = writeln!(out, "could not tell: {}\n", code(doubt));
    }
    if let Some(spots) = spots {
        out += "| path | kind | expected | actual |\n|---|---|---|---|\n";
        for spot in spots.values().take(MOST_SPOTS) {
            let path = match &spot.call {
                Some(call) => code(&format!("{} {} {}", spot.path, call.downstream, call.request)),
                None => code(&spot.path),
            };
            let value = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), code);
            let kind = spot.kind.word();
            let _ = writeln!(out, "| {path} | {kind} | {} | {} |", value(&spot.expected), value(&spot.actual));
        }
        if spots.len() > MOST_SPOTS {
            let _ = writeln!(out, "\n{} more differences of this entry are left out here.", spots.len() - MOST_SPOTS);
        }
    }
    out + "\n</details>\n"
}

fn startup(report: &Report) -> Option<String> {
    let mut out = opened("inconclusive calls at start-up that nobody recorded");
    for call in report.startup.iter().take(MOST_SPOTS) {
        let _ = writeln!(out, "- {}", code(&format!("{} {}", call.downstream, call.request)));
    }
    if report.startup.len() > MOST_SPOTS {
        let _ = writeln!(out, "- {} more", report.startup.len() - MOST_SPOTS);
    }
    (!report.startup.is_empty()).then(|| out + "\n</details>\n")
}

fn unreadable(unreadable: &crate::Unreadable) -> String {
    let mut out = opened(&format!("inconclusive {}", code(&unreadable.file.to_string_lossy())));
    let _ = writeln!(out, "cannot be read: {}", code(&unreadable.why));
    out + "\n</details>\n"
}

/// A collapsed block; a blank line lets Markdown in again.
fn opened(summary: &str) -> String {
    format!("\n<details><summary>{summary}</summary>\n\n")
}

/// Text from outside as code: on one line, cut, and every character that could mean something as its entity. GitHub
/// looks for mentions, references and emoji outside `<code>` alone.
fn code(text: &str) -> String {
    let mut out = String::from("<code>");
    let shown = shown(text);
    for (number, c) in shown.chars().enumerate() {
        if number == MOST_VALUE {
            out.push('…');
            break;
        }
        if c.is_ascii_punctuation() && !matches!(c, '/' | '-' | ',') {
            let _ = write!(out, "&#{};", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out + "</code>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn as_markdown() {
        insta::assert_snapshot!(markdown(&samples::report()));
    }

    #[test]
    fn what_comes_from_outside_is_no_markup() {
        let told = code("</details> | `x` **y** @all #1 [a](http://b) <img src=x> www.example.org :tada: \n\u{202e}");
        let inside = told.strip_prefix("<code>").unwrap().strip_suffix("</code>").unwrap();
        let without_entities: String =
            inside.split("&#").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')).collect();
        assert!(!without_entities.contains(['<', '>', '|', '`', '*', '@', '#', '[', ']', '&', ':', '.', '\\', '\n']));
        assert!(inside.contains("&#92;n") && inside.contains("&#92;u"), "{inside}");
    }

    #[test]
    fn it_fits_a_comment_whatever_there_is() {
        let mut report = samples::report();
        let one = report.outcomes[1].clone();
        report.outcomes.extend((0..500).map(|_| one.clone()));
        let text = markdown(&report);
        let length = text.chars().count();
        assert!((LIMIT - 3 * RESERVE - 4_000..=LIMIT).contains(&length), "{length}");
        assert!(text.contains("blocks of details are left out here"), "{}", &text[text.len() - 300..]);
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    }

    #[test]
    fn causes_leave_room_whatever_they_say() {
        let mut report = samples::report();
        let mut one = report.outcomes[1].clone();
        let path = |number: usize| format!("body/{}{number}", "#".repeat(500));
        one.findings =
            (0..200).map(|n| crate::Finding::Response(samples::difference(&path(n), &"*".repeat(400), None))).collect();
        report.outcomes = vec![one];
        assert!(markdown(&report).chars().count() <= LIMIT);
    }
}
