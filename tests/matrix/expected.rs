//! What replay must say of a change, held against what it said.

use crate::harness::{Difference, Finished, Outcome, Report};

/// What replay must say.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// Exit code 0, every entry the same.
    Same,
    /// Exit code 1, exactly these entries different, and each of them at this place (among others).
    Different(&'static [&'static str], Place),
    /// Exit code 1, these entries different as a whole: there was no answer. The others may be anything but wrong:
    /// the build may have died.
    NoAnswer(&'static [&'static str]),
    /// Exit code 2.
    CouldNotTell,
}

/// Where a difference must be.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What happened to it; more than one where it can be told in several ways.
    pub kinds: &'static [&'static str],
    /// The path or what it is below. Calls have numbers that nobody knows beforehand: `downstream/*/request/body/qty`.
    pub path: &'static str,
}

impl Expected {
    /// A change that someone should see.
    pub fn is_regression(self) -> bool {
        !self.is_harmless()
    }

    /// A change that nobody should hear of.
    pub fn is_harmless(self) -> bool {
        matches!(self, Expected::Same)
    }

    /// The same as [`Expected::judge`], told as a test tells it.
    pub fn hold(
        self,
        name: &str,
        entries: &[&str],
        finished: &Finished,
        report: Option<&Report>,
    ) -> Result<(), String> {
        self.judge(entries, finished, report).map_err(|Wrong { only_the_place, what }| {
            let noticed = if only_the_place { "noticed elsewhere: " } else { "" };
            format!("{name}: {noticed}{what}\n--- stdout\n{}--- stderr\n{}", finished.stdout, finished.stderr)
        })
    }

    /// Whether what replay said is what it must say of a recording of these entries (sorted); else what is wrong.
    pub fn judge(self, entries: &[&str], finished: &Finished, report: Option<&Report>) -> Result<(), Wrong> {
        let outcomes = report.map(|report| report.outcomes.as_slice()).unwrap_or_default();
        let (different, same) = (with_verdict(outcomes, "different"), with_verdict(outcomes, "same"));
        let code = match self {
            Expected::Same => 0,
            Expected::Different(..) | Expected::NoAnswer(_) => 1,
            Expected::CouldNotTell => 2,
        };
        if finished.code != code {
            return Err(Wrong::verdict(format!("exit code {}, expected {code}", finished.code)));
        }
        match self {
            Expected::Same if same == entries => Ok(()),
            Expected::Same => Err(Wrong::verdict(format!("not all the same: {same:?}"))),
            Expected::Different(expected, _) if different != expected => {
                Err(Wrong::verdict(format!("different: {different:?}, expected {expected:?}")))
            }
            Expected::Different(_, place) => {
                let lacks = |outcome: &&Outcome| outcome.verdict == "different" && !place.is_in(&outcome.differences);
                match outcomes.iter().find(lacks) {
                    None => Ok(()),
                    Some(outcome) => Err(Wrong::place(format!("no {place:?} in {outcome:?}"))),
                }
            }
            Expected::NoAnswer(expected) if expected.iter().all(|entry| different.contains(entry)) => Ok(()),
            Expected::NoAnswer(expected) => {
                Err(Wrong::verdict(format!("different: {different:?}, expected {expected:?}")))
            }
            Expected::CouldNotTell if same.is_empty() => Ok(()),
            Expected::CouldNotTell => Err(Wrong::verdict("a build that never answered is the same".into())),
        }
    }
}

/// How a replay did not say what it must say.
#[derive(Debug)]
pub struct Wrong {
    /// The verdicts were right: it was noticed, at another place.
    pub only_the_place: bool,
    /// In words.
    pub what: String,
}

impl Wrong {
    fn verdict(what: String) -> Wrong {
        Wrong { only_the_place: false, what }
    }

    fn place(what: String) -> Wrong {
        Wrong { only_the_place: true, what }
    }
}

impl Place {
    fn is_in(&self, differences: &[Difference]) -> bool {
        differences.iter().any(|found| self.kinds.contains(&found.kind.as_str()) && is_at(&found.path, self.path))
    }
}

/// Whether a path is the expected one, or below it.
pub fn is_at(path: &str, expected: &str) -> bool {
    let (mut steps, mut expected) = (path.split('/'), expected.split('/'));
    expected.all(|wanted| steps.next().is_some_and(|step| wanted == "*" || step == wanted))
}

/// The entries with this verdict, sorted.
fn with_verdict<'a>(outcomes: &'a [Outcome], verdict: &str) -> Vec<&'a str> {
    let mut entries: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.verdict == verdict).map(|outcome| outcome.entry.as_str()).collect();
    entries.sort_unstable();
    entries
}

/// Exactly these entries differ, there.
const fn at(entries: &'static [&'static str], kinds: &'static [&'static str], path: &'static str) -> Expected {
    Expected::Different(entries, Place { kinds, path })
}

/// Exactly these entries differ: a value is another one.
pub const fn changed(entries: &'static [&'static str], path: &'static str) -> Expected {
    at(entries, &["changed"], path)
}

/// Exactly these entries differ: a value has another JSON type.
pub const fn retyped(entries: &'static [&'static str], path: &'static str) -> Expected {
    at(entries, &["type"], path)
}

/// Exactly these entries differ: something is missing.
pub const fn removed(entries: &'static [&'static str], path: &'static str) -> Expected {
    at(entries, &["removed"], path)
}

/// Exactly these entries differ: something is new.
pub const fn added(entries: &'static [&'static str], path: &'static str) -> Expected {
    at(entries, &["added"], path)
}

/// Exactly these entries differ: something is at another place.
pub const fn moved(entries: &'static [&'static str], path: &'static str) -> Expected {
    at(entries, &["moved"], path)
}

/// Exactly these entries differ: it differs, in one way or another.
pub const fn anyhow(entries: &'static [&'static str], path: &'static str) -> Expected {
    at(entries, &["changed", "added", "removed", "type", "moved"], path)
}

/// Exactly these entries differ: a call is made that nobody recorded.
pub const fn novel(entries: &'static [&'static str]) -> Expected {
    at(entries, &["novel"], "downstream")
}

/// Exactly these entries differ: a recorded call is not made.
pub const fn omitted(entries: &'static [&'static str]) -> Expected {
    at(entries, &["omitted"], "downstream")
}
