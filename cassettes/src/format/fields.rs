//! The fields of an object in a cassette, each taken once; what nobody took is unknown.

use std::borrow::Cow;

use super::json::{Fault, Node};

/// The fields of one object.
pub struct Fields<'d> {
    object: Node<'d>,
    left: Vec<Field<'d>>,
}

struct Field<'d> {
    name: Cow<'d, str>,
    key: Node<'d>,
    value: Node<'d>,
}

impl<'d> Fields<'d> {
    /// The fields of an object. A field that is there twice is refused.
    pub fn of(object: Node<'d>) -> Result<Fields<'d>, Fault> {
        let mut left: Vec<Field<'d>> = Vec::new();
        for (key, value) in object.members()? {
            let name = key.text()?;
            if left.iter().any(|field| field.name == name) {
                return Err(key.fault(format!("the field `{name}` is there twice")));
            }
            left.push(Field { name, key, value });
        }
        Ok(Fields { object, left })
    }

    /// Take a field that may be absent.
    pub fn optional(&mut self, name: &str) -> Option<Node<'d>> {
        let index = self.left.iter().position(|field| field.name == name)?;
        Some(self.left.remove(index).value)
    }

    /// Take a field that must be there.
    pub fn required(&mut self, name: &str) -> Result<Node<'d>, Fault> {
        self.optional(name).ok_or_else(|| self.object.fault(format!("the field `{name}` is missing")))
    }

    /// A fault of the object as a whole.
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        self.object.fault(what)
    }

    /// Note every field that nobody took.
    pub fn finish(self, unknown: &mut Vec<Fault>) {
        unknown.extend(self.left.iter().map(|field| field.key.fault(format!("unknown field `{}`", field.name))));
    }
}
