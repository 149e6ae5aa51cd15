//! What a comparison found, in bounded space.

use serde::{Deserialize, Serialize};

/// How many differences of one comparison are told; one more says how many there were beyond them. So many that are
/// noise are told as well, and of each rule at least one.
pub const MOST_DIFFERENCES: usize = 200;

/// One place where two messages differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Difference {
    /// Where: `method`, `target/path/<segment, from 1>`, `target/query/<name>`, `status`, `header/<lower-case name>`,
    /// `trailer/<lower-case name>`, `body`, or `end` (whether the message is whole), with a JSON Pointer after it into
    /// what could be opened up. `...` when it stands for all the differences beyond [`MOST_DIFFERENCES`].
    pub path: String,
    /// In which way.
    pub kind: Kind,
    /// What was expected, for reading: JSON values as compact JSON, bytes in hexadecimal with their offset, long
    /// values shortened with their length said. `None` when nothing was.
    pub expected: Option<String>,
    /// What came instead, in the same form. `None` when nothing came.
    pub actual: Option<String>,
    /// Why it does not count; `None` = it does.
    pub noise: Option<Noise>,
}

/// Why a difference does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Noise {
    /// The rule with this index in its [`Rules`](super::Rules) says so.
    Rule(usize),
    /// Both values stand for the same: the service makes such values anew each time.
    Bound,
}

impl Difference {
    /// Whether it counts.
    pub fn counts(&self) -> bool {
        self.noise.is_none()
    }
}

/// In which way two messages differ at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Both have it, with another value.
    Changed,
    /// Only the actual message has it.
    Added,
    /// Only the expected message has it.
    Removed,
    /// Both have it, with another JSON type.
    Type,
    /// Both have it, at another place of its array; or the items of an array in another order.
    Moved,
}

/// Collects differences up to [`MOST_DIFFERENCES`] and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Found {
    told: Vec<Difference>,
    counting: usize,
    untold: u64,
}

impl Found {
    /// Takes note of a difference; `difference` is only made where there is room for it, and gets `noise`.
    pub(super) fn note(&mut self, noise: Option<Noise>, difference: impl FnOnce() -> Difference) {
        let has_room = match noise {
            None => self.counting < MOST_DIFFERENCES,
            Some(_) => {
                self.told.len() - self.counting < MOST_DIFFERENCES || self.told.iter().all(|told| told.noise != noise)
            }
        };
        match (has_room, noise) {
            (true, _) => {
                self.counting += usize::from(noise.is_none());
                self.told.push(Difference { noise, ..difference() });
            }
            (false, None) => self.untold += 1,
            (false, Some(_)) => {}
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
                noise: None,
            });
        }
        self.told
    }
}
