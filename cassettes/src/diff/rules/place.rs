//! Where in a message one is, as the rules see it.

use super::{Effect, Rule};

/// A step of a rule's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `*`: any one step.
    Any,
    /// `**`: any number of steps, also none.
    Deep,
    /// The step with this name, or this index.
    Named(String),
}

/// A step into a value.
#[derive(Clone, Copy, Debug)]
pub(in crate::diff) enum Step<'s> {
    /// To the member with this name.
    Name(&'s str),
    /// To the item with this index.
    Index(usize),
    /// To an item of an array in which items have no fixed place.
    Item,
}

impl Pattern {
    fn is(&self, step: Step<'_>) -> bool {
        match (self, step) {
            (Pattern::Any, _) => true,
            (Pattern::Named(wanted), Step::Name(name)) => wanted == name,
            (Pattern::Named(wanted), Step::Index(index)) => wanted.parse() == Ok(index),
            (Pattern::Named(_), Step::Item) | (Pattern::Deep, _) => false,
        }
    }
}

/// A place in a message: for each rule that may still apply here or below, how much of its path was walked.
#[derive(Clone, Debug)]
pub(in crate::diff) struct Place<'r> {
    rules: &'r [Rule],
    /// Rule and steps walked, in the order of the rules, none twice.
    walked: Vec<(usize, usize)>,
}

impl<'r> Place<'r> {
    /// The message as a whole.
    pub(super) fn root(rules: &'r [Rule], selected: &[usize]) -> Place<'r> {
        let mut root = Place { rules, walked: Vec::new() };
        selected.iter().for_each(|rule| root.arrive(*rule, 0));
        root
    }

    /// Whether no rule applies here or below.
    pub(in crate::diff) fn is_free(&self) -> bool {
        self.walked.is_empty()
    }

    /// The place one step further.
    pub(in crate::diff) fn step(&self, step: Step<'_>) -> Place<'r> {
        let mut next = Place { rules: self.rules, walked: Vec::new() };
        for (rule, at) in &self.walked {
            match self.rules[*rule].steps.get(*at) {
                Some(Pattern::Deep) => next.arrive(*rule, *at),
                Some(pattern) if pattern.is(step) => next.arrive(*rule, *at + 1),
                _ => {}
            }
        }
        next
    }

    fn arrive(&mut self, rule: usize, mut at: usize) {
        loop {
            if !self.walked.contains(&(rule, at)) {
                self.walked.push((rule, at));
            }
            match self.rules[rule].steps.get(at) {
                Some(Pattern::Deep) => at += 1,
                _ => return,
            }
        }
    }

    /// The rules whose path ends here, in order.
    pub(in crate::diff) fn rules(&self) -> impl Iterator<Item = (usize, &'r Effect)> {
        let ended = self.walked.iter().filter(|(rule, at)| self.rules[*rule].steps.len() == *at);
        ended.map(|(rule, _)| (*rule, &self.rules[*rule].effect))
    }

    /// Whether a rule that values are drawn anew applies here or below.
    pub(in crate::diff) fn draws(&self) -> bool {
        self.walked.iter().any(|(rule, _)| matches!(self.rules[*rule].effect, Effect::Generated))
    }

    /// Whether one says so of the very value here.
    pub(in crate::diff) fn is_drawn(&self) -> bool {
        self.rules().any(|(_, effect)| matches!(effect, Effect::Generated))
    }

    /// The place of an item of the array here, whose items have no fixed place unless a rule names one by its index.
    pub(in crate::diff) fn item(&self, index: usize) -> Place<'r> {
        self.step(if self.names_an_item() { Step::Index(index) } else { Step::Item })
    }

    /// Whether a rule names one of the items of the array here by its index.
    pub(in crate::diff) fn names_an_item(&self) -> bool {
        self.walked.iter().any(|(rule, at)| match self.rules[*rule].steps.get(*at) {
            Some(Pattern::Named(name)) => name.parse::<usize>().is_ok(),
            _ => false,
        })
    }
}
