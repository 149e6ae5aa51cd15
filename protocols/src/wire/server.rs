//! How a recorded server is played.

use std::fmt::Debug;

use crate::Value;

/// What a server does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Say this.
    Say(Vec<u8>),
    /// Decide what this request is answered, and give that to [`Server::answer`] or [`Server::refuse`] before asking for the next step.
    Judge(Value),
    /// Take note of a request that gets no answer, as [`Step::Judge`] does.
    Note(Value),
    /// Say this and speak TLS from here on, of which the client may have said the beginning.
    Secure {
        /// What is said in the clear.
        say: Vec<u8>,
        /// What the client said already, behind what asks for TLS.
        heard: Vec<u8>,
    },
    /// Close the connection.
    Close,
    /// What the client says is not of the protocol.
    Garbage,
}

/// A server on one connection, as clients know it: it shakes hands, lets everybody in, keeps what the connection depends on, and tells
/// recorded responses. It never panics, whatever a client says, and keeps a bounded multiple of that.
pub trait Server: Debug + Send {
    /// What it says before the client does; empty in most protocols.
    fn greeting(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes in what the client said.
    fn hear(&mut self, said: &[u8]);

    /// What to do next; `None` = wait for the client.
    fn step(&mut self) -> Option<Step>;

    /// Whether it waits for the beginning of a request: nothing that was heard is left to be understood.
    fn is_idle(&self) -> bool;

    /// The recorded response to a request, for this connection.
    fn answer(&mut self, request: &Value, response: &Value) -> Vec<u8>;

    /// The answer to a request that nothing recorded answers: an error of the protocol that says why.
    fn refuse(&mut self, request: &Value, why: &str) -> Vec<u8>;
}
