//! A request in whatever protocol.

use crate::{Operation, Value, http1::Message, wire::Protocol};

/// Methods that ask for nothing to be changed (RFC 9110 section 9.2.1, and the registry of methods at IANA).
const SAFE: [&str; 8] = ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"];

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
            Request::Http(message) if message.is_http2() => "http2",
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

    /// Whether it may change something where it goes, as far as its protocol says.
    pub fn is_write(self) -> bool {
        match self {
            Request::Http(message) => !SAFE.contains(&message.method()),
            // What a server says on its own asks for nothing.
            Request::Wire(_, Value::Null) => false,
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
