//! What was left out, by reason.

/// Why an entry is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It is a health check.
    HealthCheck,
    /// A rule says never.
    Never,
    /// Its route has had its share for the time being.
    Rate,
    /// As many entries as are followed were open when it began.
    InFlight,
    /// There are as many examples of its shape as are kept.
    Shape,
    /// It is of a shape that is not known, and no more shapes are remembered.
    ShapesFull,
    /// The host is loaded.
    BackOff,
    /// What waits to be sent has the room that it may have.
    NoRoom,
}

impl Reason {
    /// All of them, in the order of a report.
    pub const ALL: [Reason; 8] = [
        Reason::HealthCheck,
        Reason::Never,
        Reason::Rate,
        Reason::InFlight,
        Reason::Shape,
        Reason::ShapesFull,
        Reason::BackOff,
        Reason::NoRoom,
    ];

    /// Its name, for example `health-check`.
    pub fn word(self) -> &'static str {
        match self {
            Reason::HealthCheck => "health-check",
            Reason::Never => "never",
            Reason::Rate => "rate",
            Reason::InFlight => "in-flight",
            Reason::Shape => "shape",
            Reason::ShapesFull => "shapes-full",
            Reason::BackOff => "back-off",
            Reason::NoRoom => "no-room",
        }
    }
}

/// How many entries were left out by choice, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut([u64; Reason::ALL.len()]);

impl LeftOut {
    /// How many for this reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Reasons for which there are any, in the order of a report.
    pub fn rows(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|(_, count)| *count > 0)
    }

    /// One more.
    pub fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }
}

impl FromIterator<(Reason, u64)> for LeftOut {
    fn from_iter<T: IntoIterator<Item = (Reason, u64)>>(rows: T) -> LeftOut {
        let mut left_out = LeftOut::default();
        rows.into_iter().for_each(|(reason, count)| left_out.0[reason as usize] += count);
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        let mut left_out = LeftOut::default();
        Reason::ALL.into_iter().for_each(|reason| left_out.add(reason));
        assert!(left_out.rows().eq(Reason::ALL.map(|reason| (reason, 1))));
        assert_eq!(left_out.total(), Reason::ALL.len() as u64);
    }
}
