//! What a replay shows while it works: a live line on a terminal, plain lines elsewhere.

use std::{
    cell::RefCell,
    io,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regress_replayer::{
    Progress, Verdict,
    report::{self, Colour},
};

use crate::{commands::replay::colour, output};

/// How many entries a replay may have for each outcome to be a line. Of more, only those that are different are, and
/// the others are summed up.
const EACH: usize = 100;

/// How often they are summed up, where there is no live line.
const EVERY: Duration = Duration::from_secs(5);

/// Shows it on standard error.
pub struct Display {
    colour: Colour,
    begun: Instant,
    /// The live line, on a terminal.
    live: ProgressBar,
    tally: RefCell<Tally>,
}

impl Display {
    /// Nothing is shown yet.
    pub fn new() -> Display {
        let live = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:20} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        live.set_style(style.progress_chars("=> "));
        Display { colour: colour(&io::stderr()), begun: Instant::now(), live, tally: RefCell::default() }
    }

    /// Show it.
    pub fn show(&self, progress: Progress<'_>) {
        let now = self.begun.elapsed();
        let mut tally = self.tally.borrow_mut();
        match progress {
            Progress::Begun { entries, known } => {
                *tally = Tally::new(entries, known, now);
                if known > 0 {
                    self.say(format_args!("going on: {known} known from before, {entries} left"));
                }
            }
            Progress::Outcome(outcome) => {
                tally.add(outcome.verdict);
                if tally.is_a_line(outcome.verdict) {
                    self.say(report::line(outcome, self.colour));
                }
            }
            Progress::Repeats(entries) => {
                *tally = Tally { is_repeated: true, ..Tally::new(entries, 0, now) };
                if entries > EACH {
                    self.say(format_args!("driving {entries} once more, for proposals"));
                }
            }
            Progress::Repeated => tally.repeated += 1,
            Progress::NotKept(why) => {
                self.say(format_args!("note: --resume will not be possible: {}", report::shown(why)));
            }
        }
        self.sum_up(&mut tally, now);
    }

    fn sum_up(&self, tally: &mut Tally, now: Duration) {
        if !self.live.is_hidden() {
            self.live.set_length(tally.entries as u64);
            self.live.set_position(tally.done() as u64);
            self.live.set_message(tally.line(now));
        } else if tally.is_due(now) {
            output::say(tally.line(now));
        }
    }

    /// A line of its own, above the live one.
    fn say(&self, line: impl std::fmt::Display) {
        self.live.suspend(|| output::say(line));
    }

    /// Show nothing from now on.
    pub fn end(&self) {
        self.live.finish_and_clear();
    }
}

/// What was found out so far, and what of it is shown. Times are since the command began.
#[derive(Debug, Default)]
struct Tally {
    /// How many are driven.
    entries: usize,
    /// How many more are known from before.
    known: usize,
    same: usize,
    different: usize,
    inconclusive: usize,
    /// The second time, in which nothing is judged.
    is_repeated: bool,
    repeated: usize,
    begun: Duration,
    told: Duration,
}

impl Tally {
    fn new(entries: usize, known: usize, now: Duration) -> Tally {
        Tally { entries, known, begun: now, told: now, ..Tally::default() }
    }

    fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Same => &mut self.same,
            Verdict::Different => &mut self.different,
            Verdict::Inconclusive => &mut self.inconclusive,
        } += 1;
    }

    fn done(&self) -> usize {
        self.same + self.different + self.inconclusive + self.repeated
    }

    /// Whether such an outcome is a line of its own.
    fn is_a_line(&self, verdict: Verdict) -> bool {
        self.entries <= EACH || verdict == Verdict::Different
    }

    /// Whether it is time for the next sum.
    fn is_due(&mut self, now: Duration) -> bool {
        let is_due = self.entries > EACH && self.done() > 0 && now.saturating_sub(self.told) >= EVERY;
        if is_due {
            self.told = now;
        }
        is_due
    }

    /// How far it is: `1200/5000  1190 same, 8 different, 2 inconclusive  1 min 20 s left`.
    fn line(&self, now: Duration) -> String {
        let Tally { entries, known, same, different, inconclusive, .. } = self;
        let mut line = format!("{}/{entries}", self.done());
        line += &match self.is_repeated {
            true => "  once more, for proposals".to_owned(),
            false => format!("  {same} same, {different} different, {inconclusive} inconclusive"),
        };
        if *known > 0 {
            line += &format!(", {known} known from before");
        }
        if let Some(left) = self.left(now) {
            line += &format!("  {} left", rough(left));
        }
        line
    }

    /// How long the rest takes if it goes on like this; `None` where all is done, or too little to tell: the first
    /// second is mostly the service's start.
    fn left(&self, now: Duration) -> Option<Duration> {
        let spent = now.saturating_sub(self.begun);
        let rest = self.entries.saturating_sub(self.done());
        let one = spent.as_secs_f64() / self.done().max(1) as f64;
        let is_known = spent >= Duration::from_secs(1) && self.done() > 0 && rest > 0;
        is_known.then(|| Duration::try_from_secs_f64(one * rest as f64).unwrap_or(Duration::MAX))
    }
}

/// A duration in its one or two biggest units.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_outcome_of_a_few_is_a_line_and_of_many_only_the_different() {
        let every = [Verdict::Same, Verdict::Different, Verdict::Inconclusive];
        let lines = |entries| every.map(|verdict| Tally::new(entries, 7, SECOND).is_a_line(verdict));
        assert_eq!(lines(EACH), [true, true, true]);
        assert_eq!(lines(EACH + 1), [false, true, false]);
    }

    #[test]
    fn many_are_summed_up_now_and_then() {
        let due_at = |entries: usize| -> Vec<u64> {
            let mut tally = Tally::new(entries, 0, SECOND * 3);
            let seconds = (3..20).filter(|second| {
                if *second > 4 {
                    tally.add(Verdict::Same);
                }
                tally.is_due(SECOND * *second)
            });
            seconds.map(u64::from).collect()
        };
        assert_eq!(due_at(EACH), [0; 0]);
        assert_eq!(due_at(EACH + 1), [8, 13, 18]);
    }

    #[test]
    fn a_sum_says_how_far_it_is_and_how_long_it_takes() {
        let mut tally = Tally::new(1000, 0, SECOND);
        assert_eq!(tally.line(SECOND * 9), "0/1000  0 same, 0 different, 0 inconclusive");
        (0..98).for_each(|_| tally.add(Verdict::Same));
        tally.add(Verdict::Different);
        tally.add(Verdict::Inconclusive);
        let line = "100/1000  98 same, 1 different, 1 inconclusive  1 min 30 s left";
        assert_eq!(tally.line(SECOND * 11), line);
        assert!(!tally.line(SECOND + SECOND / 2).contains("left"));
        tally.known = 20;
        (0..900).for_each(|_| tally.add(Verdict::Same));
        let line = "1000/1000  998 same, 1 different, 1 inconclusive, 20 known from before";
        assert_eq!(tally.line(SECOND * 101), line);
        let repeated = Tally { is_repeated: true, repeated: 1, ..Tally::new(3, 0, SECOND) };
        assert_eq!(repeated.line(SECOND * 2), "1/3  once more, for proposals  2 s left");
    }

    #[test]
    fn times_are_rough() {
        let texts = [0, 59, 60, 3599, 3600, 90_061].map(|seconds| rough(SECOND * seconds));
        assert_eq!(texts, ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "25 h 1 min"]);
        assert!(rough(Duration::MAX).ends_with("min"));
    }
}
