//! Values at the places of `generated` rules: the service draws them anew, and they look like nothing in particular.
//!
//! The first value that comes where a recorded one stood stands for that, and for nothing else, at all such places of the
//! entry and of ambient calls before. Only there: a counter's 7 says nothing about other sevens. Where one is a token that
//! is bound by its form, that decides.

use std::{cell::RefCell, collections::HashMap};

use regress_cassettes::diff::Drawn;

use super::Bindings;

/// Recorded values and what stands for them, each value for one on the other side. No more than were recorded at such
/// places, so that it is no larger than the messages of an entry are.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    actual: HashMap<String, String>,
    recorded: HashMap<String, String>,
}

impl Pairs {
    /// Whether the one stands for the other.
    pub(super) fn has(&self, recorded: &str, actual: &str) -> bool {
        self.actual.get(recorded).is_some_and(|bound| bound == actual)
    }

    /// Whether something stands for the one, or the other for something.
    pub(super) fn knows(&self, recorded: &str, actual: &str) -> bool {
        self.actual.contains_key(recorded) || self.recorded.contains_key(actual)
    }

    /// Whether one of them is of another pair.
    pub(super) fn contradicts(&self, recorded: &str, actual: &str) -> bool {
        self.knows(recorded, actual) && !self.has(recorded, actual)
    }

    /// Takes a pair, in place of those that either was of.
    fn pair(&mut self, recorded: &str, actual: &str) {
        if let Some(before) = self.actual.insert(recorded.to_owned(), actual.to_owned()) {
            self.recorded.remove(&before);
        }
        let of_another =
            self.recorded.insert(actual.to_owned(), recorded.to_owned()).filter(|before| before != recorded);
        of_another.iter().for_each(|before| drop(self.actual.remove(before)));
    }

    /// Recorded value and what stands for it, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.actual.iter()
    }

    pub(super) fn extend(&mut self, other: &Pairs) {
        other.iter().for_each(|(recorded, actual)| self.pair(recorded, actual));
    }
}

/// What was bound before, and what is bound on trial.
#[derive(Debug)]
pub struct Drawing<'a> {
    before: [&'a Bindings; 2],
    fresh: RefCell<Bindings>,
}

impl<'a> Drawing<'a> {
    /// What comes after an entry's calls, as its response: what is bound in them holds, and what is seen first here is
    /// bound as well.
    pub fn after(bindings: &'a Bindings) -> Drawing<'a> {
        Drawing::new([bindings, bindings])
    }

    /// On trial after these; the first that knows a value decides.
    pub(crate) fn new(before: [&'a Bindings; 2]) -> Drawing<'a> {
        Drawing { before, fresh: RefCell::default() }
    }

    /// What was bound on trial.
    pub fn into_fresh(self) -> Bindings {
        self.fresh.into_inner()
    }

    /// Whether it holds for what was bound before or on trial.
    pub(super) fn any(&self, holds: impl Fn(&Bindings) -> bool) -> bool {
        self.before.into_iter().any(&holds) || holds(&self.fresh.borrow())
    }

    /// What is to be bound if the trial succeeds.
    pub(super) fn bind<T>(&self, bind: impl FnOnce(&mut Bindings) -> T) -> T {
        bind(&mut self.fresh.borrow_mut())
    }

    /// Whether the one stands for the other, as far as it is known; `None` where neither was seen.
    pub fn known(&self, recorded: &str, actual: &str) -> Option<bool> {
        if self.any(|bindings| bindings.knows(recorded, actual)) {
            return Some(self.any(|bindings| bindings.actual.get(recorded).is_some_and(|bound| bound == actual)));
        }
        self.first(|bindings| bindings.drawn.knows(recorded, actual).then(|| bindings.drawn.has(recorded, actual)))
    }

    /// The recorded value that one stands for.
    pub fn recorded(&self, actual: &str) -> Option<String> {
        self.first(|bindings| bindings.recorded.get(actual).or_else(|| bindings.drawn.recorded.get(actual)).cloned())
    }

    fn first<T>(&self, find: impl Fn(&Bindings) -> Option<T>) -> Option<T> {
        self.before.into_iter().find_map(&find).or_else(|| find(&self.fresh.borrow()))
    }
}

impl Drawn for Drawing<'_> {
    fn stands(&self, recorded: &str, actual: &str) -> bool {
        self.known(recorded, actual).unwrap_or_else(|| {
            self.bind(|fresh| fresh.drawn.pair(recorded, actual));
            true
        })
    }

    fn stand_in(&self, recorded: &str) -> Option<String> {
        self.first(|bindings| bindings.actual.get(recorded).or_else(|| bindings.drawn.actual.get(recorded)).cloned())
    }

    fn is_taken(&self, actual: &str) -> bool {
        self.recorded(actual).is_some()
    }
}
