//! What recorded servers said that their players say again without being judged.

use std::collections::HashMap;

use crate::Value;

/// Requests that [`Protocol::is_handshake`](super::Protocol::is_handshake) tells, each with the response that it had first, and
/// whether anything was said inside TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    all: Vec<(Value, Value)>,
    by_request: HashMap<Value, usize>,
    inside_tls: bool,
}

impl Handshakes {
    /// Takes in an exchange, unless its request is known.
    pub fn learn(&mut self, request: &Value, response: &Value) {
        if !self.by_request.contains_key(request) {
            self.by_request.insert(request.clone(), self.all.len());
            self.all.push((request.clone(), response.clone()));
        }
    }

    /// Takes note of something that was said inside TLS.
    pub fn learn_tls(&mut self) {
        self.inside_tls = true;
    }

    /// Whether something was said inside TLS: connections may have been joined behind what agreed to it.
    pub fn inside_tls(&self) -> bool {
        self.inside_tls
    }

    /// Takes in what others learned.
    pub fn merge(&mut self, other: &Handshakes) {
        self.inside_tls |= other.inside_tls;
        other.all.iter().for_each(|(request, response)| self.learn(request, response));
    }

    /// What a request was answered.
    pub fn response(&self, request: &Value) -> Option<&Value> {
        self.by_request.get(request).map(|at| &self.all[*at].1)
    }

    /// All requests with their responses, in the order learned.
    pub fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.all.iter().map(|(request, response)| (request, response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_response_is_the_one() {
        let [a, b, one, two] = ["a", "b", "1", "2"].map(Value::text);
        let mut some = Handshakes::default();
        some.learn(&a, &one);
        let mut others = Handshakes::default();
        others.learn(&a, &two);
        others.learn(&b, &two);
        others.learn_tls();
        some.merge(&others);
        assert!(some.inside_tls() && !Handshakes::default().inside_tls());
        assert_eq!((some.response(&a), some.response(&b), some.response(&one)), (Some(&one), Some(&two), None));
        assert_eq!(some.iter().collect::<Vec<_>>(), [(&a, &one), (&b, &two)]);
    }
}
