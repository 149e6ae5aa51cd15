//! Rules that say which differences are noise: where they apply, and what they let pass.

mod decimal;
mod effect;
mod place;
mod text;
mod time;

pub use text::{Keys, Number, RuleError, RuleText};

pub(super) use effect::Effect;
pub(super) use place::{Place, Step};

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::schema::{Schema, Schemas};
use crate::glob;

/// The step of a path that is no part of a message: the place of a call among the other calls.
const ORDER: &str = "order";

/// The step that is no part of a message either: when the events of a stream are sent.
const STREAM: &str = "stream";

/// The rules of `regress.toml` in the order written, and the schemas that name what they are about. Cheap to clone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<RuleText>", into = "Vec<RuleText>")]
pub struct Rules {
    all: Arc<[Rule]>,
    schemas: Schemas,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    text: RuleText,
    side: Side,
    steps: Vec<place::Pattern>,
    effect: Effect,
}

/// The messages that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// What the service answers to an entry.
    Response,
    /// What the service asks of a downstream.
    Request,
}

impl Rules {
    /// No rules and no schemas: every difference counts.
    pub fn none() -> Rules {
        Rules::default()
    }

    /// The rules as read from a file.
    ///
    /// # Errors
    /// The first rule that says nothing sensible, and how it is put right.
    pub fn new(texts: Vec<RuleText>) -> Result<Rules, RuleError> {
        let rules = texts.into_iter().enumerate().map(|(index, text)| text.rule(index));
        Ok(Rules { all: rules.collect::<Result<_, _>>()?, schemas: Schemas::none() })
    }

    /// The same rules, with the schemas by which messages are read.
    pub fn with_schemas(self, schemas: Schemas) -> Rules {
        Rules { schemas, ..self }
    }

    /// The schemas by which messages are read.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether any of them says that values are drawn anew (`generated`).
    pub fn draw(&self) -> bool {
        self.iter().any(Rule::draws)
    }

    /// The rule with that index, as [`Noise::Rule`](super::Noise::Rule) has it.
    pub fn get(&self, index: usize) -> Option<&Rule> {
        self.all.get(index)
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.all.iter()
    }

    /// The rules for the response to an entry, whose `route` is its method and path (`POST /orders`).
    pub fn for_response(&self, route: &str) -> Applied {
        let applies = |rule: &Rule| rule.side == Side::Response && selects(&rule.text.route, Some(route));
        self.select(applies, self.schemas.response(route))
    }

    /// The rules for a call to the downstream of that logical name, whose `operation` is its method and path, made
    /// for the entry with that route; `None` = for no entry, which only rules without a route are for.
    pub fn for_request(&self, route: Option<&str>, downstream: &str, operation: &str) -> Applied {
        let applies = |rule: &Rule| {
            rule.side == Side::Request
                && selects(&rule.text.route, route)
                && selects(&rule.text.downstream, Some(downstream))
                && selects(&rule.text.operation, Some(operation))
        };
        self.select(applies, self.schemas.request(operation))
    }

    fn select(&self, applies: impl Fn(&Rule) -> bool, schema: Schema) -> Applied {
        let selected = (0..self.len()).filter(|index| applies(&self.all[*index])).collect();
        Applied { rules: self.clone(), selected, schema }
    }
}

impl TryFrom<Vec<RuleText>> for Rules {
    type Error = RuleError;

    fn try_from(texts: Vec<RuleText>) -> Result<Rules, RuleError> {
        Rules::new(texts)
    }
}

impl From<Rules> for Vec<RuleText> {
    fn from(rules: Rules) -> Vec<RuleText> {
        rules.iter().map(|rule| rule.text.clone()).collect()
    }
}

/// Two lists are equal when they say the same.
impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        self.iter().map(Rule::text).eq(other.iter().map(Rule::text))
    }
}

fn selects(pattern: &Option<String>, text: Option<&str>) -> bool {
    match (pattern, text) {
        (None, _) => true,
        (Some(pattern), Some(text)) => glob(pattern, text),
        (Some(_), None) => false,
    }
}

impl Rule {
    /// The rule as written.
    pub fn text(&self) -> &RuleText {
        &self.text
    }

    fn draws(&self) -> bool {
        matches!(self.effect, Effect::Generated)
    }
}

/// The rule in one line: `response/body/total as tolerance 0.01, in POST /orders*`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleText { path, route, downstream, operation, .. } = &self.text;
        write!(f, "{path} as {}", self.text.effect)?;
        if let Some(with) = self.text.with() {
            write!(f, " {with}")?;
        }
        for (word, pattern) in [("in", route), ("to", downstream), ("as", operation)] {
            if let Some(pattern) = pattern {
                write!(f, ", {word} {pattern}")?;
            }
        }
        Ok(())
    }
}

/// The rules that are for one message, and its schema. Cheap to make and to clone.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    rules: Rules,
    selected: Vec<usize>,
    schema: Schema,
}

impl Applied {
    /// No rules: every difference counts.
    pub fn none() -> Applied {
        Applied::default()
    }

    /// No rules, and this schema.
    pub(super) fn of(schema: Schema) -> Applied {
        Applied { schema, ..Applied::default() }
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.selected.is_empty()
    }

    /// Whether any of them says that values are drawn anew (`generated`).
    pub fn draw(&self) -> bool {
        self.selected.iter().any(|index| self.rules.all[*index].draws())
    }

    /// The same without those that say that values are drawn anew.
    pub fn without_drawn(&self) -> Applied {
        let mut others = self.clone();
        others.selected.retain(|index| !self.rules.all[*index].draws());
        others
    }

    /// What the message says by its schema.
    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Their indexes in the [`Rules`] they were selected from.
    pub fn indexes(&self) -> &[usize] {
        &self.selected
    }

    /// The first rule of a call by which its place among the other calls does not matter: `request/order`.
    pub fn of_order(&self) -> Option<usize> {
        let place = self.root().step(Step::Name(ORDER));
        let mut rules = place.rules();
        rules.find(|(_, effect)| matches!(effect, Effect::Ignore | Effect::Unordered)).map(|(index, _)| index)
    }

    /// The first rule of a response by which it does not matter whether the events of a stream are held back:
    /// `response/stream`.
    pub fn of_stream(&self) -> Option<usize> {
        let place = self.root().step(Step::Name(STREAM));
        let mut rules = place.rules();
        rules.find(|(_, effect)| matches!(effect, Effect::Ignore)).map(|(index, _)| index)
    }

    /// The place that is the message as a whole.
    pub(super) fn root(&self) -> Place<'_> {
        Place::root(&self.rules.all, &self.selected)
    }
}

#[cfg(test)]
mod tests;
