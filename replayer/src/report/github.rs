//! The report for a GitHub Actions job: workflow commands that annotate the cassettes of a pull request.

use std::{fmt::Write, path::Path};

use super::{locate, shown};
use crate::{Report, Verdict};

/// GitHub shows this many annotations of one kind a step.
pub const MOST: usize = 10;

/// How many entries an annotation names.
const MOST_NAMED: usize = 5;

/// The report as workflow commands, one a line: an error for each cause, on the line of its first place; a warning for
/// each entry that could not be judged. No more than GitHub shows ([`MOST`] of a kind); a notice says how many there
/// are beyond that. `read` gives the text of a cassette, `None` where it cannot; the file is named without a line then.
pub fn github(report: &Report, read: impl Fn(&Path) -> Option<String>) -> String {
    let mut out = String::new();
    let groups = report.groups();
    for group in groups.iter().take(MOST) {
        let Some((outcome, spot)) =
            group.places.first().and_then(|place| Some((report.outcomes.get(place.entry)?, &place.spot)))
        else {
            continue;
        };
        let named: Vec<String> = group
            .entry_numbers()
            .take(MOST_NAMED)
            .filter_map(|number| report.outcomes.get(number))
            .map(|outcome| format!("{}  {}", outcome.cassette, shown(&outcome.entry)))
            .collect();
        let more = group.entries().saturating_sub(named.len());
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        let entries = if group.entries() == 1 { "entry" } else { "entries" };
        let message = format!(
            "{}: {} {entries} (group {})\n{}{more}",
            shown(&group.what()),
            group.entries(),
            group.id,
            named.join("\n")
        );
        let line = read(&outcome.file).and_then(|text| locate::line(&text, &spot.path));
        command(&mut out, "error", Some((&outcome.file, line)), &shown(&group.subject()), &message);
    }
    let mut doubts: Vec<(Option<&Path>, String)> = Vec::new();
    for outcome in report.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Inconclusive) {
        doubts.push((Some(&outcome.file), format!("{}: {}", outcome.entry, outcome.doubts.join("; "))));
    }
    let unreadable = report.unreadable.iter();
    doubts.extend(unreadable.map(|one| (Some(one.file.as_path()), format!("cannot be read: {}", one.why))));
    let startup = report.startup.iter();
    doubts.extend(
        startup.map(|call| {
            (None, format!("a call at start-up that nobody recorded: {}  {}", call.downstream, call.request))
        }),
    );
    for (file, message) in doubts.iter().take(MOST) {
        command(&mut out, "warning", file.map(|file| (file, None)), "could not tell", &shown(message));
    }
    let beyond = [(groups.len(), "causes"), (doubts.len(), "entries that could not be judged")];
    for (count, what) in beyond.iter().filter(|(count, _)| *count > MOST) {
        let message = format!("{} more {what} are not shown here; GitHub shows {MOST} a step", count - MOST);
        command(&mut out, "notice", None, "regress replay", &message);
    }
    let summary = report.summary();
    let _ = writeln!(
        out,
        "{}: {} entries: {} same, {} different, {} inconclusive",
        report.verdict().word(),
        summary.total,
        summary.same,
        summary.different,
        summary.inconclusive
    );
    out
}

fn command(out: &mut String, kind: &str, at: Option<(&Path, Option<usize>)>, title: &str, message: &str) {
    let mut properties = Vec::new();
    if let Some((file, line)) = at {
        properties.push(format!("file={}", property(&file.to_string_lossy())));
        properties.extend(line.map(|line| format!("line={line}")));
    }
    properties.push(format!("title={}", property(title)));
    // Writing to a string does not fail.
    let _ = writeln!(out, "::{kind} {}::{}", properties.join(","), data(message));
}

/// Escaped as the runner unescapes messages (actions/toolkit, `packages/core/src/command.ts`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escaped as the runner unescapes properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Finding, Outcome,
        report::samples::{self, difference, outcome},
        testing::cassette,
    };

    #[test]
    fn as_github() {
        let text = regress_cassettes::render(&cassette());
        insta::assert_snapshot!(github(&samples::report(), |path| {
            path.to_string_lossy().contains("0002").then(|| text.clone())
        }));
    }

    #[test]
    fn what_comes_from_outside_is_no_command() {
        let mut one = outcome(1, "GET /%0A::error::x\r\n::stop-commands::y", Verdict::Different);
        one.file = "a,b:c%/x.cassette.json".into();
        one.findings = vec![Finding::Response(difference("body/a\n::warning::b", "1\n::error::2", None))];
        let text = github(&Report { outcomes: vec![one], ..Report::default() }, |_| None);
        assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("::")).count(), 1, "{text}");
        assert!(text.starts_with("::error file=a%2Cb%3Ac%25/x.cassette.json,title="), "{text}");
        assert!(text.contains("GET /%250A::error"), "{text}");
    }

    #[test]
    fn no_more_than_github_shows() {
        let mut one = outcome(1, "GET /", Verdict::Different);
        one.findings = (0..25).map(|n| Finding::Response(difference(&format!("body/f{n}x"), "1", None))).collect();
        let doubtful =
            Outcome { doubts: vec!["it lacks bytes".to_owned()], ..outcome(2, "GET /", Verdict::Inconclusive) };
        let outcomes = [vec![one], vec![doubtful; 12]].concat();
        let text = github(&Report { outcomes, ..Report::default() }, |_| None);
        let count = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).count();
        assert_eq!((count("::error "), count("::warning "), count("::notice ")), (MOST, MOST, 2), "{text}");
        assert!(text.contains("15 more causes") && text.contains("2 more entries"), "{text}");
    }
}
