//! One connection of the service, played.

use std::time::Duration;

use regress_cassettes::{Ended, HttpExchange, Turn};
use regress_protocols::{
    Side,
    http1::{self, Detected, Limits, Message, RequestReader, Then, detect},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    intercept::Arrival,
    mock::{Flight, Opening, PREFIX, Place, Reply, Shared},
    tls::{self, Authority},
};

/// How much is read at a time.
const READ: usize = 32 << 10;

/// What is sent to a client that waits before it sends a body (RFC 9110 section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How long a client may still send after the connection was closed for it, so that what it was sent last is not lost
/// to a reset (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that may wait between two requests without being the start of one: a stray line break.
const STRAY: usize = 2;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In good order.
    Close,
    /// With a reset.
    Reset,
    /// When the client goes; until then nothing is said.
    Hold,
}

/// Plays to one connection until it ends.
pub(crate) async fn serve(arrival: Arrival, shared: &Shared, authority: &Authority) {
    let Arrival { stream, destination, .. } = arrival;
    let place = Place { destination, tls: false };
    // Small writes are sent at once, so that they are out before a reset.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    match shared.opening(destination) {
        Opening::Client => {}
        Opening::Reset => return finish(stream, |stream| stream, Ending::Reset).await,
        Opening::Silence => return finish(stream, |stream| stream, Ending::Hold).await,
        Opening::End => return finish(stream, |stream| stream, Ending::Close).await,
    }
    let mut first = [0; PREFIX];
    // A connection that was reset has said nothing either.
    let count = stream.peek(&mut first).await.unwrap_or(0);
    if count == 0 {
        return shared.silent(place);
    }
    if !tls::is_client_hello(first[0]) {
        let mut stream = stream;
        let ending = Conversation::new(&mut stream, place, shared).play().await;
        return finish(stream, |stream| stream, ending).await;
    }
    let place = Place { tls: true, ..place };
    match authority.acceptor(destination).accept(stream).await {
        Ok(mut stream) => {
            let ending = Conversation::new(&mut stream, place, shared).play().await;
            finish(stream, |stream| stream.get_ref().0, ending).await;
        }
        Err(error) => {
            tracing::warn!(%destination, %error, "no TLS: does the service trust the sandbox's authority?");
            shared.not_http(place, &first[..count]);
        }
    }
}

/// Ends a connection. The client's errors are its own affair.
async fn finish<S>(mut stream: S, tcp: impl Fn(&S) -> &TcpStream, ending: Ending)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match ending {
        Ending::Close => {
            if stream.shutdown().await.is_ok() {
                let _ = timeout(LINGER, discard(&mut stream)).await;
            }
        }
        Ending::Reset => {
            if let Err(error) = tcp(&stream).set_zero_linger() {
                tracing::debug!(%error, "closed where a reset was recorded");
            }
        }
        Ending::Hold => discard(&mut stream).await,
    }
}

/// Reads until the client is gone.
async fn discard(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// The requests of one connection and their answers.
pub(crate) struct Conversation<'c, S> {
    stream: &'c mut S,
    place: Place,
    shared: &'c Shared,
    reader: RequestReader,
    /// Whether the client of the request in the making was told to continue.
    told: bool,
    /// Ends with each answer that no request waits behind.
    flight: Option<Flight<'c>>,
}

/// What follows an answer.
enum Next {
    /// Another request.
    Request,
    /// The turns of another protocol.
    Turns { turns: Vec<Turn>, ended: Ended },
    /// Nothing.
    End(Ending),
}

impl<'c, S: AsyncRead + AsyncWrite + Unpin> Conversation<'c, S> {
    /// A conversation at its first byte.
    pub(crate) fn new(stream: &'c mut S, place: Place, shared: &'c Shared) -> Conversation<'c, S> {
        Conversation { stream, place, shared, reader: RequestReader::new(Limits::default()), told: false, flight: None }
    }

    /// Answers requests until the connection is to end.
    pub(crate) async fn play(mut self) -> Ending {
        let mut buffer = Vec::with_capacity(READ);
        let mut undecided = Some(Vec::new());
        loop {
            buffer.clear();
            if let Ok(0) | Err(_) = self.stream.read_buf(&mut buffer).await {
                return self.gone(undecided.unwrap_or_default());
            }
            self.flight.get_or_insert_with(|| self.shared.flight());
            let ending = match undecided.take() {
                None => self.answer_all(&buffer).await,
                Some(mut seen) => {
                    seen.extend_from_slice(&buffer);
                    match detect(&seen) {
                        Detected::Http1 => self.answer_all(&seen).await,
                        Detected::NeedMore => {
                            undecided = Some(seen);
                            continue;
                        }
                        Detected::Tls | Detected::Other => {
                            self.shared.not_http(self.place, &seen);
                            return Ending::Close;
                        }
                    }
                }
            };
            if let Some(ending) = ending {
                return ending;
            }
            if self.reader.wants_continue() {
                self.told = true;
                if self.stream.write_all(CONTINUE).await.is_err() {
                    return Ending::Close;
                }
            }
            if self.reader.buffered() <= STRAY {
                self.flight = None;
            }
        }
    }

    /// Answers the requests that `bytes` complete; gives the ending where there is one.
    async fn answer_all(&mut self, bytes: &[u8]) -> Option<Ending> {
        let mut fed = bytes;
        loop {
            // Bytes that wait behind a request that may have changed the protocol are read by feeding nothing, and an
            // error behind whole requests is told then.
            let Ok(requests) = self.reader.feed(std::mem::take(&mut fed)) else {
                self.shared.not_http(self.place, bytes);
                return Some(Ending::Close);
            };
            if requests.is_empty() {
                return None;
            }
            for request in requests {
                match self.answer(&request).await {
                    Next::Request => {}
                    Next::Turns { turns, ended } => return Some(self.turns(&turns, ended).await),
                    Next::End(ending) => return Some(ending),
                }
            }
        }
    }

    /// The client sends no more: what it leaves unfinished is a call too, though nobody waits for its answer.
    fn gone(mut self, undecided: Vec<u8>) -> Ending {
        self.flight.get_or_insert_with(|| self.shared.flight());
        if !undecided.is_empty() {
            self.shared.not_http(self.place, &undecided);
            return Ending::Close;
        }
        match self.reader.finish() {
            Ok(Some(cut)) => drop(self.shared.judge(self.place, &cut)),
            Ok(None) => {}
            Err(_) => self.shared.not_http(self.place, &[]),
        }
        Ending::Close
    }

    async fn answer(&mut self, request: &Message) -> Next {
        let told = std::mem::take(&mut self.told);
        match self.shared.judge(self.place, request) {
            Reply::Miss(refusal) => {
                let answer = http1::answer(request, &[], &refusal);
                match (self.stream.write_all(&answer.bytes).await, answer.then) {
                    (Ok(()), Then::KeepOpen) => Next::Request,
                    _ => Next::End(Ending::Close),
                }
            }
            Reply::Recorded(recorded) => {
                let exchange = recorded.exchange();
                match exchange.http() {
                    Some(http) => self.recorded(request, http, exchange.ended, told).await,
                    None => Next::End(Ending::Close),
                }
            }
        }
    }

    async fn recorded(&mut self, request: &Message, http: &HttpExchange, ended: Ended, told: bool) -> Next {
        let Some(response) = &http.response else {
            for interim in http.interim.iter().filter(|interim| !(told && interim.status() == 100)) {
                if self.stream.write_all(&interim.wire()).await.is_err() {
                    return Next::End(Ending::Close);
                }
            }
            return Next::End(early(ended));
        };
        let answer = http1::answer_after(request, &http.interim, response, told);
        if self.stream.write_all(&answer.bytes).await.is_err() || self.stream.flush().await.is_err() {
            return Next::End(Ending::Close);
        }
        match answer.then {
            Then::Tunnel => Next::Turns { turns: http.upgraded.clone(), ended },
            _ if ended == Ended::Reset || !response.is_complete() => Next::End(early(ended)),
            Then::KeepOpen => Next::Request,
            Then::Close => Next::End(Ending::Close),
        }
    }

    /// Plays what followed a switch of protocols: the client has to say what it said then, byte for byte.
    async fn turns(&mut self, turns: &[Turn], ended: Ended) -> Ending {
        let mut said = self.reader.remaining().to_vec();
        for turn in turns {
            match turn.from {
                // A client that is gone shows when it is its turn.
                Side::Server => drop(self.stream.write_all(&turn.bytes).await),
                Side::Client => match self.hear(&turn.bytes, &mut said).await {
                    true => drop(said.drain(..turn.bytes.len())),
                    false => {
                        self.shared.deviated(self.place, &said);
                        return Ending::Close;
                    }
                },
            }
        }
        let ending = early(ended);
        if ending == Ending::Reset {
            return ending;
        }
        if ending == Ending::Close {
            drop(self.stream.shutdown().await);
        }
        self.flight = None;
        let mut more = [0; PREFIX];
        if said.is_empty()
            && let Ok(count @ 1..) = self.stream.read(&mut more).await
        {
            said.extend_from_slice(&more[..count]);
        }
        if !said.is_empty() {
            self.shared.deviated(self.place, &said);
        }
        Ending::Close
    }

    /// Reads until `said` begins with `expected`; false as soon as it does not or cannot.
    async fn hear(&mut self, expected: &[u8], said: &mut Vec<u8>) -> bool {
        let mut buffer = vec![0; READ];
        loop {
            let common = said.len().min(expected.len());
            if said[..common] != expected[..common] {
                return false;
            }
            if said.len() >= expected.len() {
                return true;
            }
            match self.stream.read(&mut buffer).await {
                Ok(count @ 1..) => said.extend_from_slice(&buffer[..count]),
                Ok(0) | Err(_) => return false,
            }
        }
    }
}

/// How a connection ends whose exchange did, where there is no whole response to go by.
fn early(ended: Ended) -> Ending {
    match ended {
        Ended::Reset => Ending::Reset,
        Ended::Timeout | Ended::Unfinished => Ending::Hold,
        Ended::Ok | Ended::Closed | Ended::Refused => Ending::Close,
    }
}

#[cfg(test)]
mod tests;
