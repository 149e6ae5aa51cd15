//! Which places of a value are taken over.

use std::collections::BTreeSet;

/// Places below a value, as JSON Pointers (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeSet<String>);

impl Places {
    /// These pointers: each empty (the value itself), or beginning with a slash.
    pub fn new<'p>(pointers: impl IntoIterator<Item = &'p str>) -> Places {
        Places(pointers.into_iter().map(str::to_owned).collect())
    }

    /// As they were given, in order.
    pub(super) fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the value itself is one.
    pub fn are_whole(&self) -> bool {
        self.0.contains("")
    }

    /// Those at and below a member or an item, seen from there.
    pub fn below(&self, step: &str) -> Places {
        let step = format!("/{}", step.replace('~', "~0").replace('/', "~1"));
        let from_here = self.0.range(step.clone()..).take_while(|pointer| pointer.starts_with(&step));
        let below = from_here.filter_map(|pointer| pointer.strip_prefix(step.as_str()));
        Places(below.filter(|rest| rest.is_empty() || rest.starts_with('/')).map(str::to_owned).collect())
    }

    /// Those that are neither at nor below a member.
    pub fn without(&self, step: &str) -> Places {
        let step = format!("/{}", step.replace('~', "~0").replace('/', "~1"));
        let is_below = |pointer: &&String| {
            pointer.strip_prefix(step.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Places(self.0.iter().filter(|pointer| !is_below(pointer)).cloned().collect())
    }

    /// Those at and below an item.
    pub fn at(&self, index: usize) -> Places {
        self.below(&index.to_string())
    }
}
