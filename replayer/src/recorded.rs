//! What was drawn anew (`generated` rules), told as it was recorded: for proposals.

use bytes::Bytes;
use regress_cassettes::diff::{self, Applied, Drawn, Lens, edit};
use regress_mockserver::mock::{Bindings, Drawing};
use regress_protocols::{Request, Value, http1::Message};

use crate::merge::set_body;

/// What an entry drew anew, as far as a proposal is made of it.
#[derive(Debug)]
pub(crate) struct AsRecorded<'a> {
    bindings: &'a Bindings,
    drawing: Drawing<'a>,
}

impl<'a> AsRecorded<'a> {
    /// What was bound in the entry's calls.
    pub(crate) fn of(bindings: &'a Bindings) -> AsRecorded<'a> {
        AsRecorded { bindings, drawing: Drawing::after(bindings) }
    }

    /// Takes note of a response: what is drawn in it alone is bound in it.
    pub(crate) fn note_response(&self, recorded: &Message, actual: &Message, rules: &Applied) {
        if rules.draw() {
            diff::responses(recorded, actual, &self.first_sight(rules));
        }
    }

    /// Takes note of a call.
    pub(crate) fn note_call(&self, recorded: Request<'_>, actual: Request<'_>, rules: &Applied) {
        if rules.draw() {
            diff::requests(recorded, actual, &self.first_sight(rules));
        }
    }

    fn first_sight(&self, rules: &Applied) -> Lens<'_> {
        Lens { drawn: Some(&self.drawing), ..Lens::of(rules.clone()) }
    }

    /// A message in whose places of drawn values the recorded ones stand, as far as these can be put there.
    pub(crate) fn message(&self, message: &Message, rules: &Applied) -> Message {
        let mut restored = edit::restored(message, rules, &|actual| self.drawing.recorded(actual));
        let body: Bytes = std::mem::replace(&mut restored.body, message.body.clone());
        if body != message.body {
            set_body(&mut restored, body, message);
        }
        restored
    }

    /// The same for a message in another protocol, also of what was bound by its form.
    pub(crate) fn value(&self, value: &Value, rules: &Applied) -> Value {
        let value = self.bindings.as_recorded_value(value);
        edit::restored_value(&value, rules, &|actual| self.drawing.recorded(actual))
    }

    /// The same for a message that is not set against a recorded one.
    pub(crate) fn novel(&self, message: &Message, rules: &Applied) -> Message {
        self.message(&self.bindings.as_recorded(message), rules)
    }
}

/// Between a recorded message and one that is told as recorded: values are what they are, but for those that could not be
/// restored.
impl Drawn for AsRecorded<'_> {
    fn stands(&self, recorded: &str, actual: &str) -> bool {
        recorded == actual || self.drawing.known(recorded, actual) == Some(true)
    }

    fn stand_in(&self, recorded: &str) -> Option<String> {
        Some(recorded.to_owned())
    }

    fn is_taken(&self, _: &str) -> bool {
        true
    }
}
