//! Token buckets: so many in a time, and no more than that at once.

use std::str::FromStr;

const SECOND: u64 = 1_000_000_000;

/// So many entries in a second, a minute or an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; also how many at once, after a time without any.
    entries: u32,
    /// In so many nanoseconds.
    period: u64,
}

impl FromStr for Rate {
    type Err = &'static str;

    /// `10/s`, `5/m`, `100/h`
    fn from_str(text: &str) -> Result<Rate, &'static str> {
        const WRONG: &str =
            "a rate is a number of entries from 1 to 1000000 in a second, a minute or an hour: 10/s, 5/m, 100/h";
        let (entries, unit) = text.split_once('/').ok_or(WRONG)?;
        let period = match unit {
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return Err(WRONG),
        };
        let entries = entries.parse().ok().filter(|entries| (1..=1_000_000).contains(entries)).ok_or(WRONG)?;
        Ok(Rate { entries, period })
    }
}

/// A bucket that fills at a rate and holds the entries of one period.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// When it will be full, in nanoseconds of event time.
    full_at: u64,
}

impl Bucket {
    /// Take a token out, at this time; whether there was one. Times may be slightly out of order.
    pub(super) fn take(&mut self, rate: Rate, at: u64) -> bool {
        let filled = self.full_at.saturating_sub(at);
        let is_there = filled + Bucket::token(rate) <= rate.period;
        if is_there {
            self.force(rate, at);
        }
        is_there
    }

    /// Take a token out that has to be had, as far as there is one.
    pub(super) fn force(&mut self, rate: Rate, at: u64) {
        let full_at = self.full_at.max(at) + Bucket::token(rate);
        self.full_at = full_at.min(at.saturating_add(rate.period)).max(self.full_at);
    }

    /// How long a token takes to come.
    fn token(rate: Rate) -> u64 {
        rate.period / u64::from(rate.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!("10/s".parse(), Ok(Rate { entries: 10, period: SECOND }));
        assert_eq!("5/m".parse(), Ok(Rate { entries: 5, period: 60 * SECOND }));
        assert_eq!("100/h".parse(), Ok(Rate { entries: 100, period: 3600 * SECOND }));
        for wrong in ["", "10", "0/s", "-1/s", "1.5/s", "10/d", "10/", "/s", "99999999/s", "10/ss"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_more_than_a_period_at_once_and_then_one_after_the_other() {
        let rate: Rate = "4/s".parse().unwrap();
        let mut bucket = Bucket::default();
        let start = 7 * SECOND;
        let taken = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(rate, at)).count();
        assert_eq!(taken(&mut bucket, start), 4);
        assert_eq!(taken(&mut bucket, start + SECOND / 4 - 1), 0);
        assert_eq!(taken(&mut bucket, start + SECOND / 4), 1);
        assert_eq!(taken(&mut bucket, start), 0, "an event from before");
        assert_eq!(taken(&mut bucket, start + 100 * SECOND), 4);
    }

    #[test]
    fn what_has_to_be_had_counts_and_is_no_debt() {
        let rate: Rate = "2/s".parse().unwrap();
        let mut bucket = Bucket::default();
        (0..50).for_each(|_| bucket.force(rate, SECOND));
        assert!(!bucket.take(rate, SECOND));
        assert!(bucket.take(rate, 2 * SECOND), "a second later there is room again");
    }
}
