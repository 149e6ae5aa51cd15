//! The report for people.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

use regress_cassettes::diff::Difference;

use super::shown;
use crate::{
    CallChange, CallFinding, Finding, Latency, Nearest, NotDriven, Outcome, Report, RuleUse, Selected, Spread,
    Unreadable, Verdict, groups::Group, judge::NONDETERMINISTIC,
};

/// How many lines of the service's output are shown.
const OUTPUT_LINES: usize = 20;

/// How many entries that differ in the same way are named.
const MOST_ALIKE: usize = 5;

/// How many causes are told.
const MOST_GROUPS: usize = 50;

/// How many entries that were not driven are named.
pub(super) const NOT_DRIVEN: usize = 20;

/// Whether to use the terminal's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    No,
    /// ANSI colours.
    Yes,
}

impl Colour {
    /// A verdict's word in its colour: green, red or yellow.
    pub fn verdict(self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Same => "32",
            Verdict::Different => "31",
            Verdict::Inconclusive => "33",
        };
        self.paint(code, verdict.word())
    }

    /// Text that stands out.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Colour::No => text.to_owned(),
            Colour::Yes => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The report for people: every entry that is not the same, then one line that sums up.
pub fn text(report: &Report, colour: Colour) -> String {
    let mut out = String::new();
    let groups = report.groups();
    for alike in alike(report, &groups) {
        out += &entries(&alike, colour);
    }
    if !report.startup.is_empty() {
        out += &startup(&report.startup, colour);
    }
    for cassette in &report.unreadable {
        out += &unreadable(cassette, colour);
    }
    out += &causes(&groups, colour);
    if let Some(latency) = report.latency() {
        out += &times(&latency);
    }
    let noted = |labelled: bool| {
        let has = |outcome: &&Outcome| outcome.notes.iter().any(|note| note.starts_with(NONDETERMINISTIC) == labelled);
        report.outcomes.iter().filter(has).count()
    };
    let likely = noted(false);
    if likely > 0 {
        let have = if likely == 1 { "entry has" } else { "entries have" };
        out += &format!("{likely} {have} calls that are likely theirs, not certainly\n");
    }
    let labelled = noted(true);
    if labelled > 0 {
        let were = if labelled == 1 { "entry was" } else { "entries were" };
        out += &format!("{labelled} {were} {NONDETERMINISTIC}: see `regress noise`\n");
    }
    let waiting = report.outcomes.iter().filter(|outcome| outcome.pending.is_some()).count();
    if waiting > 0 {
        let proposals = if waiting == 1 { "proposal waits" } else { "proposals wait" };
        out += &format!("{waiting} {proposals} for `regress review`\n");
    }
    report.rules.iter().for_each(|rule| out += &rule_use(rule));
    out += &not_driven(&report.not_driven);
    report.selected.iter().for_each(|selected| out += &selection(selected));
    out + &summary(report, colour) + "\n"
}

/// The entries that are not the same, those together of which the same is to be told.
fn alike<'r>(report: &'r Report, groups: &[Group]) -> Vec<Vec<&'r Outcome>> {
    let mut seen_in: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for group in groups {
        for entry in group.entry_numbers() {
            seen_in.entry(entry).or_default().push(&group.id);
        }
    }
    let mut order: Vec<Vec<&Outcome>> = Vec::new();
    let mut known: BTreeMap<_, usize> = BTreeMap::new();
    for (number, outcome) in report.outcomes.iter().enumerate().filter(|(_, one)| one.verdict != Verdict::Same) {
        let reason = (seen_in.remove(&number), &outcome.doubts, &outcome.notes, &outcome.last_output);
        let place = *known.entry(reason).or_insert(order.len());
        match order.get_mut(place) {
            Some(together) => together.push(outcome),
            None => order.push(vec![outcome]),
        }
    }
    order
}

/// The first of the entries that were not driven.
pub(super) fn not_driven(entries: &[NotDriven]) -> String {
    let mut out = Text::default();
    if entries.is_empty() {
        return out.out;
    }
    out.line(0, &format!("not driven, since the replay stopped at the first difference: {}", entries.len()));
    for NotDriven { cassette, file } in entries.iter().take(NOT_DRIVEN) {
        let route = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        out.line(1, &format!("{cassette}  {}", shown(&route)));
    }
    if entries.len() > NOT_DRIVEN {
        out.line(1, &format!("and {} more, which the JSON report names", entries.len() - NOT_DRIVEN));
    }
    out.out
}

/// One line about which part of the corpus was replayed.
pub(super) fn selection(Selected { of, entries, by }: &Selected) -> String {
    let by = shown(&by.join(", "));
    match entries {
        0 => format!("nothing to replay: none of the {of} is selected ({by})\n"),
        _ => format!("selected {entries} of {of} ({by})\n"),
    }
}

/// One line about what a rule was good for.
pub(super) fn rule_use(RuleUse { rule, fired, selected, .. }: &RuleUse) -> String {
    let places = if *selected == 1 { "message" } else { "messages" };
    let told = match (fired, selected) {
        (0, 0) => "stale: it is for nothing that was replayed".to_owned(),
        (0, _) => format!("stale: it let nothing pass in {selected} {places}"),
        (1, _) => "let 1 difference pass".to_owned(),
        (_, _) => format!("let {fired} differences pass"),
    };
    format!("rule  {}: {told}\n", shown(rule))
}

/// All there is to say about entries that are alike, ending in an empty line.
pub(super) fn entries(alike: &[&Outcome], colour: Colour) -> String {
    let mut out = Text::default();
    for outcome in alike.iter().take(MOST_ALIKE) {
        let title = colour.bold(&shown(&outcome.entry));
        out.line(0, &format!("{}  {}  {title}", colour.verdict(outcome.verdict), outcome.cassette));
    }
    if alike.len() > MOST_ALIKE {
        let more = alike.len() - MOST_ALIKE;
        out.line(0, &format!("and {more} more {} in the same way", if more == 1 { "entry" } else { "entries" }));
    }
    if let Some(first) = alike.first() {
        if alike.len() > 1 && !first.findings.is_empty() {
            out.line(1, "in the first of them:");
        }
        out.outcome(first);
    }
    out.out
}

/// The causes, where there are several or one is seen in several entries, ending in an empty line.
pub(super) fn causes(groups: &[Group], colour: Colour) -> String {
    let mut out = Text::default();
    if groups.len() < 2 && groups.iter().all(|group| group.entries() < 2) {
        return out.out;
    }
    out.line(0, &colour.bold("what differs, the worst first"));
    for group in groups.iter().take(MOST_GROUPS) {
        let entries = if group.entries() == 1 { "entry  " } else { "entries" };
        let follows = if group.follows { " (follows from a call that missed)" } else { "" };
        let (subject, what) = (shown(&group.subject()), shown(&group.what()));
        out.line(1, &format!("{:>5} {entries}  {}  {subject}  {what}{follows}", group.entries(), group.id));
    }
    if groups.len() > MOST_GROUPS {
        out.line(1, &format!("and {} more; the json report has them all", groups.len() - MOST_GROUPS));
    }
    out.line(0, "");
    out.out
}

/// The times, on one line.
fn times(latency: &Latency) -> String {
    let line = |one: &Spread<Duration>| format!("median {}, p95 {}", super::time(one.median), super::time(one.p95));
    format!(
        "time (not judged): replayed {}; recorded, without waiting for calls, {}\n",
        line(&latency.replayed),
        line(&latency.own)
    )
}

/// The calls at start-up that missed.
pub(super) fn startup(calls: &[CallFinding], colour: Colour) -> String {
    let mut out = Text::default();
    out.line(0, &format!("{}  calls at start-up that nobody recorded", colour.verdict(Verdict::Inconclusive)));
    calls.iter().for_each(|call| out.call("startup", call));
    out.line(1, "hint: record the service from its start (regress record -- COMMAND), so that these calls are known");
    out.line(0, "");
    out.out
}

/// A cassette that cannot be read.
pub(super) fn unreadable(unreadable: &Unreadable, colour: Colour) -> String {
    let mut out = Text::default();
    let file = shown(&unreadable.file.display().to_string());
    out.line(0, &format!("{}  {file}", colour.verdict(Verdict::Inconclusive)));
    out.line(1, &format!("cannot be read: {}", shown(&unreadable.why)));
    if let Some(hint) = &unreadable.hint {
        out.line(1, &format!("hint: {}", shown(hint)));
    }
    out.line(0, "");
    out.out
}

/// One line about an outcome, for progress.
pub fn line(outcome: &Outcome, colour: Colour) -> String {
    let took = outcome.took.map(|took| format!("  {} ms", took.as_millis())).unwrap_or_default();
    let is_labelled = outcome.notes.iter().any(|note| note.starts_with(NONDETERMINISTIC));
    let label = if is_labelled { format!("  ({NONDETERMINISTIC})") } else { String::new() };
    format!("{}  {}  {}{took}{label}", colour.verdict(outcome.verdict), outcome.cassette, shown(&outcome.entry))
}

fn summary(report: &Report, colour: Colour) -> String {
    let summary = report.summary();
    let entries = if summary.total == 1 { "entry" } else { "entries" };
    format!(
        "{}: {} {entries}: {} same, {} different, {} inconclusive",
        colour.verdict(report.verdict()),
        summary.total,
        summary.same,
        summary.different,
        summary.inconclusive
    )
}

#[derive(Default)]
struct Text {
    out: String,
}

impl Text {
    fn line(&mut self, depth: usize, text: &str) {
        let indent = if text.is_empty() { 0 } else { depth * 2 };
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "{:indent$}{text}", "");
    }

    fn outcome(&mut self, outcome: &Outcome) {
        for doubt in &outcome.doubts {
            self.line(1, &format!("could not tell: {}", shown(doubt)));
        }
        for note in &outcome.notes {
            self.line(1, &format!("note: {}", shown(note)));
        }
        for finding in &outcome.findings {
            match finding {
                Finding::Response(difference) => self.difference(1, "response/", difference),
                Finding::Ended { expected, actual } => {
                    self.line(1, "response");
                    self.line(2, &format!("expected  {expected}"));
                    self.line(2, &format!("actual    {actual}"));
                }
                Finding::Exited(how) => self.line(1, &format!("the service {}", shown(how))),
                Finding::Call(call) => self.call(&call.path(), call),
            }
        }
        if let Some(left) = &outcome.if_answered {
            let left: Vec<String> = left.iter().flat_map(Finding::paths).map(|path| shown(&path)).collect();
            let left = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
            self.line(1, &format!("with the misses answered as the nearest recorded calls, what differs: {left}"));
        }
        if let Some(output) = &outcome.last_output {
            self.line(1, "last output of the service");
            let lines: Vec<&str> = output.lines().collect();
            for line in &lines[lines.len().saturating_sub(OUTPUT_LINES)..] {
                self.line(2, &format!("| {}", shown(line)));
            }
        }
        if let Some(pending) = &outcome.pending {
            self.line(1, &format!("proposed  {}", shown(&pending.display().to_string())));
        }
        self.line(0, "");
    }

    fn difference(&mut self, depth: usize, prefix: &str, difference: &Difference) {
        self.line(depth, &format!("{prefix}{}", shown(&difference.path)));
        self.line(depth + 1, &format!("expected  {}", value(difference.expected.as_deref())));
        self.line(depth + 1, &format!("actual    {}", value(difference.actual.as_deref())));
    }

    fn call(&mut self, path: &str, call: &CallFinding) {
        let word = match call.change {
            CallChange::Omitted => "omitted",
            CallChange::Changed(_) => "changed",
            CallChange::Novel { .. } => "novel",
        };
        let address = match call.destination {
            Some(address) if address.to_string() != call.downstream => format!(" ({address})"),
            _ => String::new(),
        };
        let downstream = shown(&call.downstream);
        self.line(1, &format!("{path}  {word} call: {downstream}{address}  {}", shown(&call.request)));
        match &call.change {
            CallChange::Omitted => {}
            CallChange::Changed(differences) => {
                differences
                    .iter()
                    .filter(|one| one.counts())
                    .for_each(|difference| self.difference(2, "request/", difference));
            }
            CallChange::Novel { reason, nearest } => {
                self.line(2, reason);
                if let Some(Nearest { cassette, number, differences }) = nearest {
                    self.line(2, &format!("nearest recorded call: downstream/{number} of {cassette}"));
                    differences.iter().for_each(|difference| self.difference(3, "request/", difference));
                }
            }
        }
    }
}

fn value(value: Option<&str>) -> String {
    value.map_or_else(|| "nothing".to_owned(), shown)
}
