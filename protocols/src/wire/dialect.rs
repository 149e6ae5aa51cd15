//! How a protocol is cut into requests and responses.

use std::fmt::Debug;

use crate::Value;

/// What stands at the front of what one side said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut<T> {
    /// Something that is not whole, and will not be before there are so many bytes (at least one more than there are).
    Partial(usize),
    /// Something that takes so many bytes: at least one, but for a request or a response that shows to be over by what follows.
    Whole(usize, T),
}

/// Something of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A part of a request of which more follows.
    Part,
    /// A request, or the last part of one.
    Request(Ask),
    /// Something that asks for nothing and belongs to no request (a farewell).
    Aside,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What it says.
    pub value: Value,
    /// It concerns the connection alone: handshake, authentication, settings of the connection, a sign of life.
    pub setup: bool,
    /// Whether a response follows.
    pub answered: bool,
}

/// Something of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A part of the response to the oldest request that is not answered.
    Part,
    /// That response, or the last part of it.
    Response(Value),
    /// Something that answers nothing and is worth keeping.
    Unasked(Value),
    /// Something that answers nothing and says nothing.
    Aside,
}

/// Why bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They are not of the protocol.
    Garbage,
    /// From here on they are encrypted.
    Encrypted,
    /// They are beyond a limit.
    TooLarge,
}

/// One connection's two directions, cut. It keeps what later messages depend on (statements that were prepared, requests that
/// wait for their response) and never panics, whatever the bytes.
///
/// What is said is given from its front, until [`Cut::Whole`] takes it off; after [`Cut::Partial`] the same bytes are given again with
/// more behind them. An implementation looks at each byte a bounded number of times, and keeps a bounded multiple of them.
pub trait Dialect: Debug + Send {
    /// Cuts what the client said.
    ///
    /// # Errors
    /// When it cannot be read; nothing more is asked then.
    fn client(&mut self, said: &[u8]) -> Result<Cut<Heard>, Unreadable>;

    /// Cuts what the server said. `asked` says whether some request waits for a response.
    ///
    /// # Errors
    /// When it cannot be read, or comes although nothing was asked; nothing more is asked then.
    fn server(&mut self, said: &[u8], asked: bool) -> Result<Cut<Told>, Unreadable>;

    /// The server will say no more: what it said in parts, where that is a response as well.
    fn ended(&mut self) -> Option<Value>;

    /// The connection was open before: what the client chose on it (a database) is not known. Called before anything else.
    fn joined(&mut self) {}

    /// Bytes were not seen: what is said next begins anew, and no request waits.
    fn lost(&mut self);

    /// Whether bytes that the client said at once begin with a request and can hardly be anything else. They are asked about where the
    /// place in the conversation is not known.
    fn resumes(&self, said: &[u8]) -> bool;
}
