//! Values of several members, some of which may be missing.

use std::borrow::Cow;

use crate::Value;

/// Members of a map in the making.
#[derive(Debug, Default)]
pub(super) struct Members(Vec<(Cow<'static, str>, Value)>);

impl Members {
    pub(super) fn new() -> Members {
        Members::default()
    }

    pub(super) fn with(mut self, name: &'static str, value: Value) -> Members {
        self.0.push((Cow::Borrowed(name), value));
        self
    }

    pub(super) fn maybe(self, name: &'static str, value: Option<Value>) -> Members {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<Members> for Value {
    fn from(members: Members) -> Value {
        Value::Map(members.0)
    }
}
