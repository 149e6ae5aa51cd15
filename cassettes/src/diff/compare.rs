//! Two trees compared.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hasher},
};

use super::{
    align::{Fate, align},
    drawn::Marks,
    excerpt,
    found::{Difference, Found, Kind, Noise},
    mask::masked,
    messages::Lens,
    rules::{Effect, Place, Step},
    tree::{self, Form, Member, Tree},
};

/// Where two trees differ.
pub(super) fn compare(expected: &Tree<'_>, actual: &Tree<'_>, lens: &Lens<'_>) -> Vec<Difference> {
    let mut comparison = Comparison { path: String::new(), found: Found::default(), lens };
    comparison.values(expected, actual, &lens.rules.root());
    comparison.found.finish()
}

struct Comparison<'a> {
    /// Where it stands.
    path: String,
    found: Found,
    lens: &'a Lens<'a>,
}

impl Comparison<'_> {
    /// Notes where two values differ.
    fn values(&mut self, expected: &Tree<'_>, actual: &Tree<'_>, place: &Place<'_>) {
        if expected == actual && !self.draws(place) {
            return;
        }
        let mut is_other = false;
        for (rule, effect) in place.rules() {
            let lets_pass = match effect {
                Effect::Ignore => true,
                Effect::Generated => {
                    let stands = self.stands(expected, actual);
                    is_other |= stands == Some(false);
                    stands == Some(true)
                }
                effect => effect.is_of_values() && effect.lets_pass(expected, actual),
            };
            if lets_pass {
                if says_otherwise(expected, actual) {
                    self.differ(expected, actual, Some(Noise::Rule(rule)));
                }
                return;
            }
        }
        if is_other {
            return self.stands_for_another(expected, actual);
        }
        match (expected, actual) {
            (Tree::Object(expected), Tree::Object(actual)) => self.objects(expected, actual, place),
            (Tree::Array(expected), Tree::Array(actual)) => self.arrays(expected, actual, place),
            (Tree::Opened(old), Tree::Opened(new)) if old.form == new.form => {
                let is_token = matches!(old.form, Form::Base64 { .. } | Form::Token { .. });
                if is_token && self.is_same(&old.from, &new.from) {
                    self.differ(&old.from, &new.from, Some(Noise::Bound));
                } else {
                    self.values(&old.inside, &new.inside, place);
                }
            }
            _ => {
                let (old, new) = (expected.unopened(), actual.unopened());
                // Equal texts that were opened in two ways: what made it so is a difference of its own.
                if old != new {
                    let noise = self.is_same(old, new).then_some(Noise::Bound);
                    self.differ(expected, actual, noise);
                }
            }
        }
    }

    fn is_same(&self, expected: &Tree<'_>, actual: &Tree<'_>) -> bool {
        let Some(same) = self.lens.same.filter(|_| expected.same_type(actual)) else { return false };
        expected.scalar().zip(actual.scalar()).is_some_and(|(expected, actual)| same(expected, actual))
    }

    /// Whether values at the place or below it are drawn anew, so that equal ones may stand for others.
    fn draws(&self, place: &Place<'_>) -> bool {
        self.lens.drawn.is_some() && place.draws()
    }

    /// Whether a value that is drawn anew stands for the recorded one; `None` where it is no such value, as `null` and
    /// values of two types.
    fn stands(&self, expected: &Tree<'_>, actual: &Tree<'_>) -> Option<bool> {
        let drawn = self.lens.drawn.filter(|_| expected.same_type(actual))?;
        expected.drawn().zip(actual.drawn()).map(|(expected, actual)| drawn.stands(expected, actual))
    }

    /// Notes that one of two values that are drawn anew stands for another value. Where both are equal it is told which.
    fn stands_for_another(&mut self, expected: &Tree<'_>, actual: &Tree<'_>) {
        let other = expected.drawn().and_then(|recorded| self.lens.drawn?.stand_in(recorded));
        match other.filter(|_| expected == actual) {
            Some(other) => self.differ(&other_than(expected, other), actual, None),
            None => self.differ(expected, actual, None),
        }
    }

    /// Notes that two values differ.
    fn differ(&mut self, expected: &Tree<'_>, actual: &Tree<'_>, noise: Option<Noise>) {
        let path = &self.path;
        self.found.note(noise, || {
            let kind = if expected.same_type(actual) { Kind::Changed } else { Kind::Type };
            let (expected, actual) = excerpt::values(expected, actual);
            Difference { path: path.clone(), kind, expected: Some(expected), actual: Some(actual), noise }
        });
    }

    /// Notes that a value is only on one side, unless that is as good as nothing.
    fn one_sided(&mut self, kind: Kind, value: &Tree<'_>, place: &Place<'_>) {
        let ignored = place.rules().find(|(_, effect)| matches!(effect, Effect::Ignore));
        let noise = ignored.map(|(rule, _)| Noise::Rule(rule));
        let path = &self.path;
        self.found.note(noise, || {
            let shown = Some(excerpt::value(value));
            let (expected, actual) = if kind == Kind::Removed { (shown, None) } else { (None, shown) };
            Difference { path: path.clone(), kind, expected, actual, noise }
        });
    }

    /// Does something one step further.
    fn below(&mut self, step: &str, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('/');
        }
        let is_plain = !step.contains(['~', '/']);
        self.path.push_str(&if is_plain { step.into() } else { step.replace('~', "~0").replace('/', "~1") });
        then(self);
        self.path.truncate(length);
    }

    fn objects(&mut self, expected: &[Member<'_>], actual: &[Member<'_>], place: &Place<'_>) {
        for (name, old, new) in tree::side_by_side(expected, actual) {
            let place = place.step(Step::Name(name));
            self.below(name, |here| match (old, new) {
                ([(_, old)], [(_, new)]) => here.values(old, new, &place),
                // A name that is repeated: its values are a list.
                _ => {
                    let values = |members, marks| {
                        identities(<[Member<'_>]>::iter(members).map(|(_, value)| value), &place, marks)
                    };
                    let (olds, news) = (values(old, here.recorded()), values(new, here.replayed()));
                    for fate in align(&olds, &news, |i, j| in_common(&old[i].1, &new[j].1)) {
                        match fate {
                            Fate::Kept(i, j) | Fate::Replaced(i, j) => here.values(&old[i].1, &new[j].1, &place),
                            Fate::Moved(i, j) => here.moved((i, &old[i].1), (j, &new[j].1), &place),
                            Fate::Removed(i) => here.one_sided(Kind::Removed, &old[i].1, &place),
                            Fate::Added(j) => here.one_sided(Kind::Added, &new[j].1, &place),
                        }
                    }
                }
            });
        }
    }

    fn arrays(&mut self, expected: &[Tree<'_>], actual: &[Tree<'_>], place: &Place<'_>) {
        let without_order = place.rules().find_map(|(rule, effect)| match effect {
            Effect::Unordered => Some((rule, None)),
            Effect::Keyed(names) => Some((rule, Some(names.as_slice()))),
            _ => None,
        });
        if let Some((rule, names)) = without_order {
            return self.without_order(expected, actual, names, rule, &place.step(Step::Item));
        }
        if place.names_an_item() {
            return self.by_index(expected, actual, place);
        }
        let place = place.step(Step::Item);
        // Most arrays are the same but for a few items: those at both ends need no identity.
        let is_same = |(old, new): &(&Tree<'_>, &Tree<'_>)| old == new && !self.draws(&place);
        let head = expected.iter().zip(actual).take_while(is_same).count();
        let rest = expected[head..].iter().rev().zip(actual[head..].iter().rev());
        let tail = rest.take_while(is_same).count();
        let (old, new) = (&expected[head..expected.len() - tail], &actual[head..actual.len() - tail]);
        let (olds, news) =
            (identities(old.iter(), &place, self.recorded()), identities(new.iter(), &place, self.replayed()));
        for fate in align(&olds, &news, |i, j| in_common(&old[i], &new[j])) {
            let (Fate::Kept(i, _) | Fate::Moved(i, _) | Fate::Replaced(i, _) | Fate::Removed(i) | Fate::Added(i)) =
                fate;
            self.below(&(head + i).to_string(), |here| match fate {
                Fate::Kept(i, j) | Fate::Replaced(i, j) => here.values(&old[i], &new[j], &place),
                Fate::Moved(i, j) => here.moved((head + i, &old[i]), (head + j, &new[j]), &place),
                Fate::Removed(i) => here.one_sided(Kind::Removed, &old[i], &place),
                Fate::Added(j) => here.one_sided(Kind::Added, &new[j], &place),
            });
        }
    }

    fn by_index(&mut self, expected: &[Tree<'_>], actual: &[Tree<'_>], place: &Place<'_>) {
        for index in 0..expected.len().max(actual.len()) {
            let place = place.step(Step::Index(index));
            self.below(&index.to_string(), |here| match (expected.get(index), actual.get(index)) {
                (Some(old), Some(new)) => here.values(old, new, &place),
                (Some(old), None) => here.one_sided(Kind::Removed, old, &place),
                (None, Some(new)) => here.one_sided(Kind::Added, new, &place),
                (None, None) => {}
            });
        }
    }

    /// Two arrays whose order a rule lets pass. Items are one where these members are the same, else where everything
    /// between them is noise; of several the first are set against each other, then the second. Where no members tell
    /// items apart, what is left over is set against each other in order.
    fn without_order(
        &mut self,
        expected: &[Tree<'_>],
        actual: &[Tree<'_>],
        names: Option<&[String]>,
        rule: usize,
        item: &Place<'_>,
    ) {
        let keys = |items: &'_ [Tree<'_>], marks: Marks<'_>| match names {
            Some(names) => items.iter().map(|item| key_of(item, names)).collect(),
            None => identities(items.iter(), item, marks),
        };
        let mut places: HashMap<u64, VecDeque<usize>> = HashMap::new();
        for (at, key) in keys(actual, self.replayed()).into_iter().enumerate() {
            places.entry(key).or_default().push_back(at);
        }
        let counterpart = |key: u64| places.get_mut(&key)?.pop_front();
        let found: Vec<Option<usize>> = keys(expected, self.recorded()).into_iter().map(counterpart).collect();
        let in_order = found.iter().flatten().is_sorted();
        let mut left: Vec<usize> = places.into_values().flatten().collect();
        left.sort_unstable();
        let mut left = VecDeque::from(left);
        if !in_order {
            let noise = Some(Noise::Rule(rule));
            let path = &self.path;
            self.found.note(noise, || Difference {
                path: path.clone(),
                kind: Kind::Moved,
                expected: Some(format!("{} items", expected.len())),
                actual: Some("in another order".to_owned()),
                noise,
            });
        }
        for (index, (old, found)) in expected.iter().zip(found).enumerate() {
            let new = found.or_else(|| if names.is_some() { None } else { left.pop_front() });
            self.below(&index.to_string(), |here| match new {
                Some(new) => here.values(old, &actual[new], item),
                None => here.one_sided(Kind::Removed, old, item),
            });
        }
        for index in left {
            self.below(&index.to_string(), |here| here.one_sided(Kind::Added, &actual[index], item));
        }
    }

    /// How recorded values that are drawn anew are told apart.
    fn recorded(&self) -> Marks<'_> {
        self.lens.drawn.map_or(Marks::Themselves, Marks::Recorded)
    }

    /// How those that came are told apart.
    fn replayed(&self) -> Marks<'_> {
        self.lens.drawn.map_or(Marks::Themselves, Marks::Replayed)
    }

    fn moved(&mut self, old: (usize, &Tree<'_>), new: (usize, &Tree<'_>), place: &Place<'_>) {
        let ignored = place.rules().find(|(_, effect)| matches!(effect, Effect::Ignore));
        let noise = ignored.map(|(rule, _)| Noise::Rule(rule));
        let path = &self.path;
        self.found.note(noise, || {
            let shown = |(at, value): (usize, &Tree<'_>)| Some(format!("at {at}: {}", excerpt::value(value)));
            Difference { path: path.clone(), kind: Kind::Moved, expected: shown(old), actual: shown(new), noise }
        });
        self.values(old.1, new.1, place);
    }
}

/// Another text or number of the same type.
fn other_than(value: &Tree<'_>, text: String) -> Tree<'static> {
    match value.unopened() {
        Tree::Number(_) => Tree::Number(text.into()),
        Tree::Text(_) => Tree::Text(text.into()),
        _ => Tree::Raw(text.into_bytes().into()),
    }
}

/// Whether two values that are not the same tree say something else.
fn says_otherwise(expected: &Tree<'_>, actual: &Tree<'_>) -> bool {
    expected.to_canonical() != actual.to_canonical()
}

/// For each value a number that is the same for values between which everything is noise.
fn identities<'t>(values: impl Iterator<Item = &'t Tree<'t>>, place: &Place<'_>, marks: Marks<'_>) -> Vec<u64> {
    let mut canonical = Vec::new();
    let identity = |value: &Tree<'_>| {
        canonical.clear();
        match place.is_free() {
            true => value.canonical(&mut canonical),
            false => masked(value, place, marks).iter().for_each(|value| value.canonical(&mut canonical)),
        }
        hash(&canonical)
    };
    values.map(identity).collect()
}

/// A number that is the same for items whose members with these names are the same.
fn key_of(item: &Tree<'_>, names: &[String]) -> u64 {
    let mut canonical = Vec::new();
    if let Tree::Object(members) = item {
        for name in names {
            members.iter().filter(|(other, _)| other == name).for_each(|(_, value)| value.canonical(&mut canonical));
            canonical.push(b';');
        }
    }
    hash(&canonical)
}

/// The identity of bytes.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// How many members or items two values share.
fn in_common(expected: &Tree<'_>, actual: &Tree<'_>) -> usize {
    match (expected, actual) {
        (Tree::Object(old), Tree::Object(new)) => {
            tree::side_by_side(old, new).filter(|(_, old, new)| old == new).count()
        }
        (Tree::Array(old), Tree::Array(new)) => old.iter().zip(new).filter(|(old, new)| old == new).count(),
        (Tree::Opened(old), Tree::Opened(new)) => in_common(&old.inside, &new.inside),
        (Tree::Raw(old), Tree::Raw(new)) => old.iter().zip(new.iter()).take_while(|(old, new)| old == new).count(),
        _ => 0,
    }
}
