//! What a recorded server said to what concerns the connection alone.

use std::collections::HashMap;

use super::Protocol;
use crate::Value;

/// Requests that [`Protocol::is_handshake`] tells, each with the first response that was recorded to it. A [`Server`](super::Server)
/// answers clients with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    all: Vec<(Value, Value)>,
    numbers: HashMap<Value, usize>,
}

impl Handshakes {
    /// Takes in an exchange, if it is one of these.
    pub fn add(&mut self, protocol: Protocol, request: &Value, response: &Value) {
        if protocol.is_handshake(request) && !self.numbers.contains_key(request) {
            self.numbers.insert(request.clone(), self.all.len());
            self.all.push((request.clone(), response.clone()));
        }
    }

    /// Takes in what others know.
    pub fn merge(&mut self, protocol: Protocol, other: &Handshakes) {
        other.iter().for_each(|(request, response)| self.add(protocol, request, response));
    }

    /// What was answered to that request.
    pub fn answer(&self, request: &Value) -> Option<&Value> {
        self.numbers.get(request).map(|number| &self.all[*number].1)
    }

    /// All requests and their responses, in the order of the recording.
    pub fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.all.iter().map(|(request, response)| (request, response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_response_to_each_request_is_known() {
        let hello = |version: &str| {
            Value::map([("command", Value::text("HELLO")), ("args", Value::List(vec![Value::text(version)]))])
        };
        let get = Value::map([("command", Value::text("GET")), ("args", Value::List(Vec::new()))]);
        let mut known = Handshakes::default();
        for (request, response) in [(&hello("3"), "a"), (&hello("3"), "b"), (&hello("2"), "c"), (&get, "d")] {
            known.add(Protocol::Redis, request, &Value::text(response));
        }
        let mut merged = Handshakes::default();
        merged.merge(Protocol::Redis, &known);
        assert_eq!(merged, known);
        assert_eq!(known.answer(&hello("3")), Some(&Value::text("a")));
        assert_eq!(known.answer(&get), None);
        let told: Vec<&Value> = known.iter().map(|(_, response)| response).collect();
        assert_eq!(told, [&Value::text("a"), &Value::text("c")]);
    }
}
