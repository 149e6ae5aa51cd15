//! Which processes take one request at a time.

use std::collections::HashSet;

/// They are told of once, when that changes. Forked processes are like their parents until they become another program.
#[derive(Debug, Default)]
pub(crate) struct OneByOne(HashSet<u32>);

impl OneByOne {
    /// The process runs a program that does or does not; true where that is news.
    pub(crate) fn runs(&mut self, process: u32, one_by_one: bool) -> bool {
        if one_by_one { self.0.insert(process) } else { self.0.remove(&process) }
    }

    /// A process was forked; true where it does, which is news.
    pub(crate) fn forked(&mut self, parent: u32, child: u32) -> bool {
        self.0.contains(&parent) && self.0.insert(child)
    }

    /// The process is gone.
    pub(crate) fn forget(&mut self, process: u32) {
        self.0.remove(&process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_is_told_of_once() {
        let mut known = OneByOne::default();
        assert!(!known.runs(1, false), "at first none does");
        assert_eq!([known.runs(1, true), known.runs(1, true)], [true, false]);
        assert_eq!([known.forked(1, 2), known.forked(1, 2), known.forked(7, 8)], [true, false, false]);
        assert!(known.runs(2, false), "another program");
        known.forget(1);
        assert!(!known.forked(1, 3));
    }
}
