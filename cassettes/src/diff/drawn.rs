//! Values that a service draws anew, at the places of `generated` rules.

use super::{
    rules::{Effect, Place, Step},
    tree::{Form, Tree},
};

/// What stands for the values that a service draws anew. Each recorded value has one that stands for it, and each of those
/// stands for one alone.
pub trait Drawn {
    /// Whether `actual` stands for `recorded`. Where neither was seen before it does so from now on. Asked for equal texts
    /// as well.
    fn stands(&self, recorded: &str, actual: &str) -> bool;

    /// What stands for a recorded value so far.
    fn stand_in(&self, recorded: &str) -> Option<String>;

    /// Whether a value stands for a recorded one so far.
    fn is_taken(&self, actual: &str) -> bool;
}

/// How values that are drawn anew are told apart in what is masked.
#[derive(Clone, Copy)]
pub(super) enum Marks<'a> {
    /// Not at all: each could stand for any.
    Alike,
    /// By what they are, as if no rule were for them.
    Themselves,
    /// Recorded values by what stands for them; those for which nothing does are alike.
    Recorded(&'a dyn Drawn),
    /// Values that came by themselves; those that stand for nothing yet are alike.
    Replayed(&'a dyn Drawn),
}

impl Marks<'_> {
    /// The mark of a value of that class.
    pub(super) fn of(self, value: &Tree<'_>, class: String) -> Option<String> {
        let known = match self {
            Marks::Themselves => return None,
            Marks::Alike => None,
            Marks::Recorded(drawn) => value.drawn().and_then(|recorded| drawn.stand_in(recorded)),
            Marks::Replayed(drawn) => value.drawn().filter(|actual| drawn.is_taken(actual)).map(str::to_owned),
        };
        Some(match known {
            Some(known) => format!("{class} {known}"),
            None => class,
        })
    }
}

impl Tree<'_> {
    /// The value as a text, if a service can draw it as a whole: a number or a text. What is inside of a document is drawn
    /// by itself.
    pub(super) fn drawn(&self) -> Option<&str> {
        match self {
            Tree::Opened(opened) if !matches!(opened.form, Form::Base64 { .. } | Form::Token { .. }) => None,
            value => value.scalar(),
        }
    }
}

/// Adds the texts and numbers at and below `place` that are drawn anew, but for those that another rule lets pass.
pub(super) fn drawn<'t>(tree: &'t Tree<'_>, place: &Place<'_>, found: &mut Vec<&'t str>) {
    if !place.draws() {
        return;
    }
    let mut is_drawn = false;
    let mut is_bag = false;
    for (_, effect) in place.rules() {
        match effect {
            Effect::Generated => is_drawn = true,
            Effect::Unordered | Effect::Keyed(_) => is_bag = true,
            effect if effect.lets_pass(tree, tree) => return,
            _ => {}
        }
    }
    if let Some(text) = tree.drawn().filter(|_| is_drawn) {
        found.push(text);
        return;
    }
    match tree {
        Tree::Array(items) => {
            let is_by_index = !is_bag && place.names_an_item();
            for (index, item) in items.iter().enumerate() {
                let step = if is_by_index { Step::Index(index) } else { Step::Item };
                drawn(item, &place.step(step), found);
            }
        }
        Tree::Object(members) => {
            members.iter().for_each(|(name, value)| drawn(value, &place.step(Step::Name(name)), found));
        }
        Tree::Opened(opened) => drawn(&opened.inside, place, found),
        _ => {}
    }
}
