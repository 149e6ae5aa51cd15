//! What a comparison found, in bounded space.

/// How many differences of one comparison are told; one more says how many there were beyond them.
pub const MOST_DIFFERENCES: usize = 200;

/// One place where two messages differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Difference {
    /// Where: `method`, `target`, `status`, `header/<lower-case name>`, `trailer/<lower-case name>`, or `body` with
    /// a JSON Pointer after it where the body is JSON. `...` when it stands for all the differences beyond
    /// [`MOST_DIFFERENCES`].
    pub path: String,
    /// In which way.
    pub kind: Kind,
    /// What was expected, for reading: JSON values as compact JSON, bytes in hexadecimal with their offset, long
    /// values shortened with their length said. `None` when nothing was.
    pub expected: Option<String>,
    /// What came instead, in the same form. `None` when nothing came.
    pub actual: Option<String>,
}

/// In which way two messages differ at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Both have it, with another value.
    Changed,
    /// Only the actual message has it.
    Added,
    /// Only the expected message has it.
    Removed,
    /// Both have it, with another JSON type.
    Type,
}

/// Collects differences up to [`MOST_DIFFERENCES`] and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Found {
    told: Vec<Difference>,
    untold: u64,
}

impl Found {
    /// Takes note of a difference; `difference` is only made where there is room for it.
    pub(super) fn note(&mut self, difference: impl FnOnce() -> Difference) {
        if self.told.len() < MOST_DIFFERENCES {
            self.told.push(difference());
        } else {
            self.untold += 1;
        }
    }

    /// Everything found.
    pub(super) fn finish(mut self) -> Vec<Difference> {
        if self.untold > 0 {
            self.told.push(Difference {
                path: "...".to_owned(),
                kind: Kind::Changed,
                expected: None,
                actual: Some(format!("{} more differences", self.untold)),
            });
        }
        self.told
    }
}
