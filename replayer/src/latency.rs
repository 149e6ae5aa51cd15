//! How long entries took, recorded and replayed. Told, never judged: a sandbox on a build server is another machine.
//!
//! In a replay the mock answers at once, so an entry's replayed time is the service's own. It is set against the recorded
//! time without what the service then spent waiting for calls.

use std::time::Duration;

use regress_cassettes::Cassette;

use crate::{Outcome, Report};

/// How long an entry took when it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    /// From the first request byte to the last response byte.
    pub took: Duration,
    /// How much of that at least one call was open.
    pub waited: Duration,
}

impl Recorded {
    /// The times of a cassette's entry; `None` where it had no whole response.
    pub(crate) fn of(cassette: &Cassette) -> Option<Recorded> {
        let took = cassette.entry.as_ref()?.took?;
        let inside = |micros: i64| micros.clamp(0, i64::try_from(took).unwrap_or(i64::MAX));
        let mut calls: Vec<(i64, i64)> = cassette
            .downstream
            .iter()
            .filter_map(|call| {
                let end = call.at.saturating_add(i64::try_from(call.took?).unwrap_or(i64::MAX));
                Some((inside(call.at), inside(end)))
            })
            .collect();
        calls.sort_unstable();
        let (mut waited, mut until) = (0, 0);
        for (start, end) in calls {
            waited += (end - start.max(until)).max(0);
            until = until.max(end);
        }
        Some(Recorded { took: Duration::from_micros(took), waited: Duration::from_micros(waited.unsigned_abs()) })
    }

    /// Without the waiting for calls: the service's own time.
    pub fn own(self) -> Duration {
        self.took.saturating_sub(self.waited)
    }
}

impl Outcome {
    /// Replayed time over the recorded own time; `None` where either is unknown or the recorded one is nothing.
    pub fn time_ratio(&self) -> Option<f64> {
        let own = self.recorded?.own();
        (!own.is_zero()).then_some(self.took?.as_secs_f64() / own.as_secs_f64())
    }
}

/// Median and 95th percentile (nearest rank).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread<T> {
    /// Half of the values are at most this.
    pub median: T,
    /// 95 in 100 of the values are at most this.
    pub p95: T,
}

/// The times of a whole replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// How many entries have both times.
    pub entries: usize,
    /// As recorded.
    pub recorded: Spread<Duration>,
    /// As recorded, without waiting for calls.
    pub own: Spread<Duration>,
    /// As replayed.
    pub replayed: Spread<Duration>,
    /// [`Outcome::time_ratio`]; `None` where no entry has one.
    pub ratio: Option<Spread<f64>>,
}

impl Report {
    /// The times of all entries that were recorded with an answer and driven; `None` where there is no such entry.
    pub fn latency(&self) -> Option<Latency> {
        let timed: Vec<(&Outcome, Recorded, Duration)> =
            self.outcomes.iter().filter_map(|one| Some((one, one.recorded?, one.took?))).collect();
        Some(Latency {
            entries: timed.len(),
            recorded: spread(timed.iter().map(|(_, recorded, _)| recorded.took).collect(), Duration::cmp)?,
            own: spread(timed.iter().map(|(_, recorded, _)| recorded.own()).collect(), Duration::cmp)?,
            replayed: spread(timed.iter().map(|(.., took)| *took).collect(), Duration::cmp)?,
            ratio: spread(timed.iter().filter_map(|(one, ..)| one.time_ratio()).collect(), f64::total_cmp),
        })
    }
}

fn spread<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Option<Spread<T>> {
    values.sort_by(order);
    let rank = |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some(Spread { median: rank(50)?, p95: rank(95)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cassette;

    #[test]
    fn waiting_is_the_time_in_which_a_call_was_open() {
        let mut cassette = cassette();
        let times = |cassette: &Cassette| Recorded::of(cassette).map(|r| (r.took.as_micros(), r.waited.as_micros()));
        cassette.entry.as_mut().unwrap().took = Some(10_000);
        // 1000 to 1500 and 2000 to 2500.
        assert_eq!(times(&cassette), Some((10_000, 1000)));
        cassette.downstream[1].at = 1200;
        assert_eq!(times(&cassette), Some((10_000, 700)));
        // Before the entry and past its end.
        cassette.downstream[0].at = -100;
        cassette.downstream[1].at = 9_900;
        assert_eq!(times(&cassette), Some((10_000, 500)));
        cassette.downstream[1].took = None;
        assert_eq!(times(&cassette), Some((10_000, 400)));
        cassette.entry.as_mut().unwrap().took = None;
        assert_eq!(times(&cassette), None);
    }

    #[test]
    fn ranks_are_values_that_were_seen() {
        assert_eq!(spread((1..=100).rev().collect(), u32::cmp), Some(Spread { median: 50, p95: 95 }));
        assert_eq!(spread(vec![7], u32::cmp), Some(Spread { median: 7, p95: 7 }));
        assert_eq!(spread(vec![1, 2], u32::cmp), Some(Spread { median: 1, p95: 2 }));
        assert_eq!(spread(Vec::new(), u32::cmp), None);
    }
}
