//! Event time, which is monotonic, as wall-clock time.

use jiff::Timestamp;
use regress_cassettes::CassetteId;

/// What to add to monotonic nanoseconds to get nanoseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wall {
    pub offset: i128,
}

impl Wall {
    fn timestamp(self, at: u64) -> Timestamp {
        Timestamp::from_nanosecond(self.offset + i128::from(at)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// RFC 3339 in UTC with microseconds.
    pub(crate) fn rfc3339(self, at: u64) -> String {
        format!("{:.6}", self.timestamp(at))
    }

    /// The same as microseconds since 1970.
    pub(crate) fn micros(self, at: u64) -> i64 {
        parsed(&self.rfc3339(at)).unwrap_or_default()
    }

    /// The id of the cassette of the `number`th entry.
    pub(crate) fn id(self, at: u64, number: u64) -> CassetteId {
        let stamp = self.rfc3339(at).replace(['-', ':'], "");
        CassetteId(format!("{stamp}-{number:04}"))
    }
}

/// Microseconds since 1970 of an RFC 3339 time.
pub(crate) fn parsed(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|time| time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids() {
        let wall = Wall { offset: 1_795_342_502_000_000_000 };
        assert_eq!(wall.rfc3339(123_456_789), "2026-11-22T10:15:02.123456Z");
        assert_eq!(wall.id(123_456_789, 7).0, "20261122T101502.123456Z-0007");
        assert_eq!(wall.micros(123_456_789), 1_795_342_502_123_456);
        assert!(wall.id(1, 1).0 < wall.id(2_000, 0).0, "ids sort by time");
    }
}
