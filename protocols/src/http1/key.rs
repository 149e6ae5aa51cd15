//! What identifies an operation.

use std::fmt;

use super::Message;

/// What a request asks for, without the data that it brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    /// The method.
    pub method: String,
    /// The path of the target as written: no query, no authority (but the whole target of a CONNECT).
    pub path: String,
}

impl Operation {
    /// The operation of a request.
    pub fn of(request: &Message) -> Operation {
        Operation { method: request.method().to_owned(), path: request.path().into_owned() }
    }
}

/// `POST /orders`
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_authority_do_not_count() {
        let of = |target| Operation::of(&Message::request("GET", target, &[], ""));
        assert_eq!(of("/a/b?c=1"), of("http://host:8080/a/b"));
        assert_ne!(of("/a/b"), of("/a/B"));
    }
}
