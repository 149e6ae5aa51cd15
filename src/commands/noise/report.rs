//! What was learned, for people and for programs.

use std::{fmt::Write, path::Path};

use regress_replayer::{
    noise::{Change, Evidence, Learned, Proposal, Unruled},
    report::{Colour, shown},
};
use serde_json::json;

/// The version of the JSON, MAJOR.MINOR.
const VERSION: &str = "1.0";

/// For people.
pub fn text(learned: &Learned, colour: Colour) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut text, learned, colour);
    text
}

fn write_text(text: &mut String, learned: &Learned, colour: Colour) -> std::fmt::Result {
    if !learned.changes.is_empty() {
        writeln!(
            text,
            "{}",
            colour.bold("the recorded build does not do what was recorded, in every run (no noise):")
        )?;
        for Change { at, expected, actual, entries } in &learned.changes {
            let value = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), shown);
            writeln!(text, "  {}  ({})", shown(at), count(*entries, "entry"))?;
            writeln!(text, "    recorded  {}\n    came      {}", value(expected), value(actual))?;
        }
        writeln!(text, "  Is this the build that was recorded, in the same environment and state?\n")?;
    }
    if !learned.unruled.is_empty() {
        writeln!(text, "{}", colour.bold("varies, and no rule is proposed:"))?;
        for Unruled { at, what, hint, evidence } in &learned.unruled {
            writeln!(text, "  {}\n    {what}: {}\n    hint: {hint}", shown(at), seen(evidence))?;
        }
        writeln!(text)?;
    }
    if !learned.proposals.is_empty() {
        writeln!(text, "{}", colour.bold("proposed rules:"))?;
        for proposal in &learned.proposals {
            writeln!(text, "  {}", described(proposal, colour))?;
        }
        writeln!(text)?;
    }
    for (entry, why) in &learned.unjudged {
        writeln!(text, "could not be judged: {}: {}", shown(entry), shown(why))?;
    }
    writeln!(
        text,
        "{} of {}: {} proposed, {} without a rule, {} that {} no noise",
        count(learned.runs, "run"),
        count(learned.entries, "entry"),
        count(learned.proposals.len(), "rule"),
        count(learned.unruled.len(), "variation"),
        count(learned.changes.len(), "difference"),
        if learned.changes.len() == 1 { "is" } else { "are" },
    )
}

/// A proposal in a few lines, the first without indentation.
pub fn described(proposal: &Proposal, colour: Colour) -> String {
    let mut text =
        format!("{}\n    as {}", colour.bold(&shown(&proposal.place.to_string())), shown(&proposal.allows.to_string()));
    let _ = write!(text, ": {}\n    {}", shown(&proposal.what), seen(&proposal.evidence));
    if let Some(broad) = &proposal.broad {
        let _ = write!(text, "\n    BROAD: {broad}");
    }
    text
}

/// The evidence in one line.
fn seen(evidence: &Evidence) -> String {
    let examples: Vec<String> = evidence.examples.iter().map(|value| shown(value)).collect();
    let colon = if examples.is_empty() { "" } else { ": " };
    format!("{}{colon}{}", evidence.words(), examples.join(", "))
}

/// For programs; docs/noise.md describes it.
pub fn json(learned: &Learned, file: &Path, written: usize) -> String {
    let evidence = |evidence: &Evidence| json!({ "runs": evidence.runs, "of": evidence.of, "entries": evidence.entries, "examples": evidence.examples });
    let unruled = |unruled: &Unruled| json!({ "at": unruled.at, "what": unruled.what, "hint": unruled.hint, "evidence": evidence(&unruled.evidence) });
    let change = |change: &Change| json!({ "at": change.at, "expected": change.expected, "actual": change.actual, "entries": change.entries });
    let proposal = |proposal: &Proposal| json!({ "rule": proposal.rule(), "what": proposal.what, "broad": proposal.broad, "evidence": evidence(&proposal.evidence) });
    let value = json!({
        "noise": VERSION,
        "runs": learned.runs,
        "entries": learned.entries,
        "proposals": learned.proposals.iter().map(proposal).collect::<Vec<_>>(),
        "unruled": learned.unruled.iter().map(unruled).collect::<Vec<_>>(),
        "changes": learned.changes.iter().map(change).collect::<Vec<_>>(),
        "unjudged": learned.unjudged.iter().map(|(at, why)| json!({ "at": at, "why": why })).collect::<Vec<_>>(),
        "file": file,
        "written": written,
    });
    format!("{value:#}\n")
}

/// `1 rule`, `2 rules`, `2 entries`.
pub fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, what) => format!("1 {what}"),
        (number, "entry") => format!("{number} entries"),
        (number, what) => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use regress_replayer::noise::{Allowance, Callee, Place};

    use super::*;

    fn evidence(runs: usize, examples: &[&str]) -> Evidence {
        Evidence { runs, of: 5, entries: 2, examples: examples.iter().map(|value| (*value).to_owned()).collect() }
    }

    /// One of everything.
    fn learned() -> Learned {
        let response = Place { route: "POST /orders".to_owned(), call: None, path: "response/body/note".to_owned() };
        let call = Callee { downstream: "stock:9001".to_owned(), operation: "POST /reserve/*".to_owned() };
        let request = Place { call: Some(call), path: "request/header/x-key".to_owned(), ..response.clone() };
        Learned {
            runs: 5,
            entries: 12,
            proposals: vec![
                Proposal {
                    place: response,
                    allows: Allowance::Ignore,
                    what: "strings without a common shape".to_owned(),
                    broad: Some("anything passes".to_owned()),
                    evidence: evidence(4, &["\"a\"", "\"b\u{1b}[31m\""]),
                },
                Proposal {
                    place: request,
                    allows: Allowance::Pattern("^[0-9a-f]{8}$".to_owned()),
                    what: "8 hexadecimal digits".to_owned(),
                    broad: None,
                    evidence: evidence(5, &["00ff00ff", "12ab34cd"]),
                },
            ],
            unruled: vec![Unruled {
                at: "POST /orders  stock:9001  GET /levels".to_owned(),
                what: "the recorded call is not made in some runs".to_owned(),
                hint: "raise [replay] settle".to_owned(),
                evidence: evidence(1, &[]),
            }],
            changes: vec![Change {
                at: "POST /orders  response/body/region".to_owned(),
                expected: Some("\"eu\"".to_owned()),
                actual: None,
                entries: 1,
            }],
            unjudged: vec![("GET /health".to_owned(), "the entry is not HTTP/1".to_owned())],
        }
    }

    #[test]
    fn for_people() {
        insta::assert_snapshot!(text(&learned(), Colour::No));
    }

    #[test]
    fn for_programs() {
        insta::assert_snapshot!(json(&learned(), Path::new("cassettes/regress.toml"), 0));
    }

    #[test]
    fn nothing_varies() {
        let quiet = Learned { runs: 5, entries: 1, ..Learned::default() };
        assert_eq!(
            text(&quiet, Colour::No),
            "5 runs of 1 entry: 0 rules proposed, 0 variations without a rule, 0 differences that are no noise\n"
        );
    }
}
