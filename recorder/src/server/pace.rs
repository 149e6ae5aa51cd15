//! How fast an agent is told.

use std::time::{Duration, Instant};

/// So many bytes a second, a second's worth at once.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: f64,
    left: f64,
    last: Instant,
}

impl Pace {
    pub(crate) fn new(rate: u64, now: Instant) -> Pace {
        let rate = rate.max(1) as f64;
        Pace { rate, left: rate, last: now }
    }

    /// How long to wait before so many bytes are sent.
    pub(crate) fn wait(&mut self, bytes: usize, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.left = (self.left + since * self.rate).min(self.rate) - bytes as f64;
        Duration::from_secs_f64((-self.left).max(0.0) / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_goes_at_once_and_the_rest_waits() {
        let begin = Instant::now();
        let mut pace = Pace::new(1000, begin);
        assert_eq!(pace.wait(1000, begin), Duration::ZERO);
        assert_eq!(pace.wait(500, begin), Duration::from_millis(500));
        let later = begin + Duration::from_millis(500);
        assert_eq!(pace.wait(250, later), Duration::from_millis(250));
        let idle = begin + Duration::from_secs(60);
        assert_eq!(pace.wait(1000, idle), Duration::ZERO);
        assert_eq!(pace.wait(1000, idle), Duration::from_secs(1), "no more than a second's worth is saved");
    }
}
