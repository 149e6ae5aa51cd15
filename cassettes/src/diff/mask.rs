//! Values with what the rules let pass taken out of them.

use std::borrow::Cow;

use super::{
    drawn::Marks,
    rules::{Effect, Place, Step},
    tree::Tree,
};

/// The value at `place` masked, values that are drawn anew as `marks` say; `None` when it is ignored.
///
/// Two values between which every difference is noise to the rules are equal once they are masked. The other way
/// round it does not hold: numbers that are not within a tolerance are masked alike.
pub(super) fn masked<'t>(tree: &'t Tree<'_>, place: &Place<'_>, marks: Marks<'_>) -> Option<Tree<'t>> {
    let mut class = None;
    let mut is_bag = false;
    let mut of_values = 0;
    for (_, effect) in place.rules() {
        match effect {
            Effect::Ignore => return None,
            Effect::Unordered | Effect::Keyed(_) => is_bag = true,
            Effect::Generated => {
                of_values += 1;
                class = class.or_else(|| marks.of(tree, effect.class(tree)?));
            }
            _ => {
                of_values += 1;
                class = class.or_else(|| effect.class(tree));
            }
        }
    }
    if let Some(class) = class {
        // A value may be of one rule's class, and what passes for it of another's.
        return Some(Tree::Mark(if of_values > 1 { "any".to_owned() } else { class }));
    }
    Some(match tree {
        Tree::Array(items) if is_bag => {
            Tree::Bag(items.iter().filter_map(|item| masked(item, &place.step(Step::Item), marks)).collect())
        }
        Tree::Array(items) => {
            let items = items.iter().enumerate();
            Tree::Array(
                items.filter_map(|(index, item)| masked(item, &place.step(Step::Index(index)), marks)).collect(),
            )
        }
        Tree::Object(members) => {
            let member = |(name, value): &'t (Cow<'_, str>, Tree<'_>)| {
                Some((Cow::Borrowed(name.as_ref()), masked(value, &place.step(Step::Name(name)), marks)?))
            };
            Tree::Object(members.iter().filter_map(member).collect())
        }
        Tree::Opened(opened) => {
            let inside = masked(&opened.inside, place, marks)?;
            Tree::opened(opened.form.clone(), opened.from.borrowed(), inside)
        }
        Tree::Bag(_) | Tree::Mark(_) => tree.clone().into_owned(),
        leaf => leaf.borrowed(),
    })
}

impl Tree<'_> {
    /// The same leaf, borrowed; anything else is null.
    fn borrowed(&self) -> Tree<'_> {
        match self {
            Tree::Bool(value) => Tree::Bool(*value),
            Tree::Number(text) => Tree::Number(Cow::Borrowed(text)),
            Tree::Text(text) => Tree::Text(Cow::Borrowed(text)),
            Tree::Raw(bytes) => Tree::Raw(Cow::Borrowed(bytes)),
            _ => Tree::Null,
        }
    }
}
