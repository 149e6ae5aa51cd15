//! A request in whatever protocol.

use crate::{Operation, Value, http1::Message, wire::Protocol};

/// A request that somebody else keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// In HTTP.
    Http(&'a Message),
    /// In another protocol.
    Wire(Protocol, &'a Value),
}

impl<'a> From<&'a Message> for Request<'a> {
    fn from(message: &'a Message) -> Request<'a> {
        Request::Http(message)
    }
}

impl<'a> Request<'a> {
    /// The word for its protocol, as cassettes have it.
    pub fn protocol(self) -> &'static str {
        match self {
            Request::Http(_) => "http1",
            Request::Wire(protocol, _) => protocol.word(),
        }
    }

    /// What identifies its operation.
    pub fn operation(self) -> Operation {
        match self {
            Request::Http(message) => Operation::of(message),
            Request::Wire(protocol, value) => protocol.operation(value),
        }
    }

    /// The request in one line, for people.
    pub fn line(self) -> String {
        match self {
            Request::Http(message) => format!("{} {}", message.method(), message.target()),
            Request::Wire(protocol, value) => protocol.line(value),
        }
    }

    /// Whether it may change something: in HTTP every method but those that RFC 9110 section 9.2.1 calls safe.
    pub fn is_write(self) -> bool {
        match self {
            Request::Http(message) => !matches!(message.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE"),
            Request::Wire(protocol, value) => protocol.is_write(value),
        }
    }

    /// The message, in HTTP.
    pub fn http(self) -> Option<&'a Message> {
        if let Request::Http(message) = self { Some(message) } else { None }
    }

    /// About how many bytes of data it has.
    pub fn size(self) -> usize {
        match self {
            Request::Http(message) => message.body.len(),
            Request::Wire(_, value) => value.weight(),
        }
    }
}
