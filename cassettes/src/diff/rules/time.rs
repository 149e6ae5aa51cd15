//! Texts that are times.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};

/// The longest text that is read as a time.
const LONGEST: usize = 64;

/// A point in time and the way it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Time {
    at: Timestamp,
    /// Times of one form differ only in when they are: another offset from UTC or another unit is another form.
    pub form: String,
}

impl Time {
    /// Reads RFC 3339 (also without an offset, and with a space for the `T`), RFC 2822 with the dates of HTTP, a date
    /// alone, and seconds, milliseconds, microseconds or nanoseconds since 1970 (told apart by their size: all mean
    /// times from 2001 to 2286).
    pub(super) fn read(text: &str) -> Option<Time> {
        if text.len() > LONGEST || !text.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Time::since_1970(text).or_else(|| Time::written(text))
    }

    fn since_1970(text: &str) -> Option<Time> {
        let whole = text.split('.').next().unwrap_or_default();
        if text.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.') {
            return None;
        }
        let (unit, nanoseconds) = match whole.len() {
            10 => ("seconds", 1_000_000_000.0),
            13 => ("milliseconds", 1_000_000.0),
            16 => ("microseconds", 1_000.0),
            19 => ("nanoseconds", 1.0),
            _ => return None,
        };
        let exact = whole.parse::<i128>().ok()? * nanoseconds as i128;
        let fraction = format!("0{}", &text[whole.len()..]).parse::<f64>().ok()? * nanoseconds;
        let at = Timestamp::from_nanosecond(exact + fraction as i128).ok()?;
        Some(Time { at, form: unit.to_owned() })
    }

    fn written(text: &str) -> Option<Time> {
        if text.as_bytes()[0].is_ascii_alphabetic() {
            let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            let zone = text.rsplit(' ').next().unwrap_or_default();
            return Some(Time { at, form: format!("rfc2822 {zone}") });
        }
        if text.len() < "2026-01-01".len() || text.as_bytes().get(4) != Some(&b'-') {
            return None;
        }
        let separator = text.as_bytes().get(10).map_or(' ', |byte| char::from(*byte));
        if let Ok(at) = text.parse::<Timestamp>() {
            let zone = text.rfind(['Z', 'z', '+']).or_else(|| text.rfind('-').filter(|at| *at > 10));
            return Some(Time { at, form: format!("rfc3339 {separator} {}", zone.map_or("", |at| &text[at..])) });
        }
        let local: DateTime = text.parse().ok()?;
        let at = local.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(Time { at, form: format!("local {separator} {}", text.len() > 10) })
    }

    /// Whether both were written in one way and are at most `within` apart.
    pub(super) fn is_near(&self, other: &Time, within: Option<Duration>) -> bool {
        let apart = self.at.as_nanosecond().abs_diff(other.at.as_nanosecond());
        self.form == other.form && within.is_none_or(|within| apart <= within.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &str, b: &str, seconds: u64) -> bool {
        let read = |text| Time::read(text).unwrap_or_else(|| panic!("{text} is a time"));
        read(a).is_near(&read(b), Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn times_in_the_same_form_are_near_each_other() {
        for (a, b) in [
            ("2026-11-28T10:00:00Z", "2026-11-28T10:00:04.123Z"),
            ("2026-11-28T10:00:00+02:00", "2026-11-28T10:00:04+02:00"),
            ("2026-11-28T10:00:00-05:00", "2026-11-28T10:00:04-05:00"),
            ("2026-11-28 10:00:00", "2026-11-28 10:00:05"),
            ("Sat, 28 Nov 2026 10:00:00 GMT", "Sat, 28 Nov 2026 10:00:03 GMT"),
            ("1795860000", "1795860005"),
            ("1795860000.5", "1795860005.25"),
            ("1795860000123", "1795860005000"),
            ("1795860000123456", "1795860005000000"),
            ("1795860000123456789", "1795860005000000000"),
        ] {
            assert!(near(a, b, 5), "{a} {b}");
            assert!(near(b, a, 5), "{a} {b}");
            assert!(!near(a, b, 2), "{a} {b}");
        }
        assert!(near("2026-11-28", "2026-11-29", 86_400));
    }

    #[test]
    fn another_form_is_never_near() {
        for (a, b) in [
            ("2026-11-28T10:00:00Z", "2026-11-28T10:00:00+00:00"),
            ("2026-11-28T10:00:00Z", "2026-11-28T11:00:00+01:00"),
            ("2026-11-28T10:00:00Z", "2026-11-28 10:00:00Z"),
            ("2026-11-28T10:00:00", "2026-11-28"),
            ("1795860000", "1795860000000"),
        ] {
            assert!(!near(a, b, 1_000_000), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in
            ["", "now", "12", "12345678901", "2026", "2026-13-01", "2026-11-28T25:00:00Z", "abcdefghij", "1.2.3"]
        {
            assert_eq!(Time::read(text), None, "{text}");
        }
    }
}
