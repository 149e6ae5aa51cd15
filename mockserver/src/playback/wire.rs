//! A connection in a protocol other than HTTP, played.

use std::{net::SocketAddr, sync::Arc};

use regress_protocols::{
    Request, Value,
    wire::{Protocol, Server, Step},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Ending, READ, early};
use crate::mock::{Flight, Place, Reply, Shared};

/// How a conversation goes on that is over for now.
pub(crate) enum Next {
    /// It ends.
    End(Ending),
    /// Inside TLS, of which the client said this already.
    Secure(Vec<u8>),
}

impl Shared {
    /// A conversation in a protocol with whoever is played there.
    pub(super) fn conversation(&self, place: Place, protocol: Protocol) -> Conversation<'_> {
        let server = match self.speaker(place.destination) {
            Some((known, server)) if known == protocol => server,
            _ => protocol.server(&Arc::default()),
        };
        Conversation::new(place, self, protocol, server)
    }
}

/// The requests of one connection and their answers.
pub(crate) struct Conversation<'c> {
    place: Place,
    shared: &'c Shared,
    protocol: Protocol,
    server: Box<dyn Server>,
    flight: Option<Flight<'c>>,
}

impl<'c> Conversation<'c> {
    /// A conversation at its first byte.
    pub(crate) fn new(
        place: Place,
        shared: &'c Shared,
        protocol: Protocol,
        server: Box<dyn Server>,
    ) -> Conversation<'c> {
        Conversation { place, shared, protocol, server, flight: None }
    }

    /// What the server says before the client does.
    pub(crate) fn greeting(&mut self) -> Vec<u8> {
        self.server.greeting()
    }

    /// Where the client wanted to go.
    pub(crate) fn destination(&self) -> SocketAddr {
        self.place.destination
    }

    /// TLS was agreed upon and did not come about.
    pub(crate) fn no_tls(&self, error: &std::io::Error) {
        tracing::warn!(destination = %self.place.destination, %error, "no TLS: does the service trust the sandbox's authority?");
        self.shared.unreadable(self.place, &[]);
    }

    /// From here on inside TLS.
    pub(crate) fn secured(&mut self) {
        self.place.tls = true;
    }

    /// Answers requests until the connection is to end or to change; `seen` was read already.
    pub(crate) async fn play<S>(&mut self, stream: &mut S, seen: Vec<u8>) -> Next
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; READ];
        let mut heard = seen;
        loop {
            if !heard.is_empty() {
                self.flight.get_or_insert_with(|| self.shared.flight());
                self.server.hear(&heard);
            }
            if let Some(next) = self.answer_all(stream, &heard).await {
                return next;
            }
            if self.server.is_idle() {
                self.flight = None;
            }
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => heard = buffer[..count].to_vec(),
                Ok(0) | Err(_) => {
                    if !self.server.is_idle() {
                        self.shared.unreadable(self.place, &heard);
                    }
                    return Next::End(Ending::Close);
                }
            }
        }
    }

    async fn answer_all<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, heard: &[u8]) -> Option<Next> {
        while let Some(step) = self.server.step() {
            let said = match step {
                Step::Say(bytes) => bytes,
                Step::Judge(request) => match self.judge(&request) {
                    Ok(bytes) => bytes,
                    Err(ending) => return Some(Next::End(ending)),
                },
                Step::Note(request) => {
                    drop(self.shared.judge(self.place, Request::Wire(self.protocol, &request)));
                    continue;
                }
                Step::Secure { say, heard } => {
                    let said = stream.write_all(&say).await.is_ok() && stream.flush().await.is_ok();
                    return Some(if said { Next::Secure(heard) } else { Next::End(Ending::Close) });
                }
                Step::Close => return Some(Next::End(Ending::Close)),
                Step::Garbage => {
                    self.shared.unreadable(self.place, heard);
                    return Some(Next::End(Ending::Close));
                }
            };
            if stream.write_all(&said).await.is_err() || stream.flush().await.is_err() {
                return Some(Next::End(Ending::Close));
            }
        }
        None
    }

    /// The answer to a request, or how the connection ends without one.
    fn judge(&mut self, request: &Value) -> Result<Vec<u8>, Ending> {
        match self.shared.judge(self.place, Request::Wire(self.protocol, request)) {
            Reply::Miss(why) => Ok(self.server.refuse(request, why.trim_end())),
            Reply::Recorded(recorded) => {
                let exchange = recorded.exchange();
                let response = exchange.wire().and_then(|wire| wire.response.as_ref());
                response.map(|response| self.server.answer(request, response)).ok_or(early(exchange.ended))
            }
        }
    }
}
