//! One build, replayed several times.

use jiff::Timestamp;

use super::Run;
use crate::{Error, Keep, Outcome, Progress, Report, Settings, replay};

/// Replay what `settings` say `runs` times, one after the other. Calls that miss are answered by the nearest recorded
/// ones, so that what varies in a call does not show in everything that follows from it; nothing is proposed for
/// review. `progress` is told each outcome, `told` the number of each run, from 1, and its report.
///
/// # Errors
/// As [`replay()`].
pub async fn repeat(
    settings: &Settings,
    runs: usize,
    progress: impl Fn(&Outcome),
    told: impl Fn(usize, &Report),
) -> Result<Vec<Run>, Error> {
    let mut done = Vec::new();
    for number in 1..=runs {
        let settings = Settings { answer_misses: true, propose: false, keep: Keep::No, ..settings.clone() };
        let each = |what: Progress<'_>| {
            if let Progress::Outcome(outcome) = what {
                progress(outcome);
            }
        };
        let from = Timestamp::now();
        let mut report = replay(settings, each).await?;
        told(number, &report);
        // Many runs are held at a time: what nothing is learned from is not.
        for outcome in &mut report.outcomes {
            outcome.sides = None;
            outcome.excused = Vec::new();
            outcome.calls = Vec::new();
        }
        done.push(Run { from, to: Timestamp::now(), report });
    }
    Ok(done)
}
