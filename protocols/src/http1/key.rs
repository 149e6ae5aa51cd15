//! What identifies an operation.

use super::Message;
use crate::Operation;

impl Operation {
    /// The operation of a request.
    pub fn of(request: &Message) -> Operation {
        Operation { method: request.method().to_owned(), path: request.path().into_owned() }
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
