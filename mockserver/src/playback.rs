//! One connection of the service, played.

mod http2;
mod turns;
mod wire;

use std::{io::Cursor, time::Duration};

use regress_cassettes::{Ended, HttpExchange, Turn};
use regress_protocols::{
    Side,
    http1::{self, Detected, Limits, Message, RequestReader, Then, detect},
    http2 as preface,
    wire::{self as wires, Opening as First, Protocol},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    intercept::Arrival,
    miss,
    mock::{Flight, Opening, PREFIX, Place, Reply, Shared, Silence},
    tls::{self, Authority},
    turns as conversations,
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

/// Plays to one connection until it ends. There is a `silence` where it matters whether something is said on it.
pub(crate) async fn serve(arrival: Arrival, silence: Option<Silence>, shared: &Shared, authority: &Authority) {
    let Arrival { stream, destination, .. } = arrival;
    let place = Place { destination, tls: false };
    // Small writes are sent at once, so that they are out before a reset.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let ending = match shared.opening(destination) {
        Opening::Client => None,
        Opening::Reset => Some(Ending::Reset),
        Opening::Silence => Some(Ending::Hold),
        Opening::End => Some(Ending::Close),
    };
    if let Some(ending) = ending {
        drop(silence);
        return finish(stream, |stream| stream, ending).await;
    }
    if let Some((protocol, server)) = shared.speaker(destination) {
        let mut conversation = wire::Conversation::new(place, shared, protocol, server);
        let greeting = conversation.greeting();
        if !greeting.is_empty() {
            drop(silence);
            return wire(stream, conversation, greeting, Vec::new(), authority).await;
        }
    }
    if shared.greets(place) {
        drop(silence);
        let mut stream = stream;
        let ending = turns::converse(&mut stream, place, shared, Vec::new()).await;
        return finish(stream, |stream| stream, ending).await;
    }
    let mut first = [0; PREFIX];
    // A connection that was reset has said nothing either.
    let count = stream.peek(&mut first).await.unwrap_or(0);
    if count == 0 {
        return silence.map_or_else(|| shared.silent(place), Silence::closed);
    }
    drop(silence);
    if !tls::is_client_hello(first[0]) {
        let mut stream = stream;
        return match Conversation::new(&mut stream, place, shared).play().await {
            Played::End(ending) => finish(stream, |stream| stream, ending).await,
            Played::Http2(seen) => {
                let ending = http2::play(&mut stream, seen, place, shared).await;
                finish(stream, |stream| stream, ending).await;
            }
            Played::Other(protocol, seen) => {
                let conversation = shared.conversation(place, protocol);
                wire(stream, conversation, Vec::new(), seen, authority).await;
            }
            Played::Turns(seen) => {
                let ending = turns::converse(&mut stream, place, shared, seen).await;
                finish(stream, |stream| stream, ending).await;
            }
        };
    }
    let place = Place { tls: true, ..place };
    match authority.acceptor(destination, shared.speaks_http2(destination)).accept(stream).await {
        Ok(mut stream) => {
            let played = match shared.greets(place) {
                true => Played::Turns(Vec::new()),
                false => Conversation::new(&mut stream, place, shared).play().await,
            };
            let ending = match played {
                Played::End(ending) => ending,
                Played::Http2(seen) => http2::play(&mut stream, seen, place, shared).await,
                Played::Turns(seen) => turns::converse(&mut stream, place, shared, seen).await,
                Played::Other(protocol, seen) => {
                    match shared.conversation(place, protocol).play(&mut stream, seen).await {
                        wire::Next::End(ending) => ending,
                        // TLS inside of TLS is nothing that clients ask for.
                        wire::Next::Secure(_) => Ending::Close,
                    }
                }
            };
            finish(stream, |stream| stream.get_ref().0, ending).await;
        }
        Err(error) => {
            tracing::warn!(%destination, %error, "no TLS: does the service trust the sandbox's authority?");
            shared.unreadable(place, &first[..count]);
        }
    }
}

/// Plays to one connection in a protocol other than HTTP until it ends.
async fn wire(
    mut stream: TcpStream,
    mut conversation: wire::Conversation<'_>,
    greeting: Vec<u8>,
    seen: Vec<u8>,
    authority: &Authority,
) {
    if stream.write_all(&greeting).await.is_err() {
        return;
    }
    match conversation.play(&mut stream, seen).await {
        wire::Next::End(ending) => finish(stream, |stream| stream, ending).await,
        wire::Next::Secure(heard) => {
            let (read, write) = stream.into_split();
            let stream = tokio::io::join(Cursor::new(heard).chain(read), write);
            match authority.acceptor(conversation.destination(), false).accept(stream).await {
                Ok(mut stream) => {
                    conversation.secured();
                    let ending = match conversation.play(&mut stream, Vec::new()).await {
                        wire::Next::End(ending) => ending,
                        wire::Next::Secure(_) => Ending::Close,
                    };
                    finish(stream, |stream| stream.get_ref().0.writer().as_ref(), ending).await;
                }
                Err(error) => conversation.no_tls(&error),
            }
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

/// How a conversation is over.
pub(crate) enum Played {
    /// The connection ends.
    End(Ending),
    /// It is in another protocol: this was said.
    Other(Protocol, Vec<u8>),
    /// It is in HTTP/2: this was said.
    Http2(Vec<u8>),
    /// It is in none that is read, as one that was recorded: this was said.
    Turns(Vec<u8>),
}

/// What a client speaks.
enum Spoken {
    Http,
    Http2,
    /// Another protocol.
    Other(Protocol),
    /// None that is read, where such conversations were recorded.
    Turns,
    /// None that is read.
    Unreadable,
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

    /// Answers requests until the connection is to end, or turns out to be in another protocol.
    pub(crate) async fn play(mut self) -> Played {
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
                    match self.told(&seen) {
                        Some(Spoken::Http) => self.answer_all(&seen).await,
                        Some(Spoken::Http2) => return Played::Http2(seen),
                        Some(Spoken::Other(protocol)) => return Played::Other(protocol, seen),
                        Some(Spoken::Turns) => return Played::Turns(seen),
                        Some(Spoken::Unreadable) => {
                            self.shared.unreadable(self.place, &seen);
                            return Played::End(Ending::Close);
                        }
                        None => {
                            undecided = Some(seen);
                            continue;
                        }
                    }
                }
            };
            if let Some(ending) = ending {
                return Played::End(ending);
            }
            if self.reader.wants_continue() {
                self.told = true;
                if self.stream.write_all(CONTINUE).await.is_err() {
                    return Played::End(Ending::Close);
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
                self.shared.unreadable(self.place, bytes);
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

    /// What a client speaks that said this first; `None` where it has to say more. A protocol that is recognised comes first, and what was
    /// recorded there before what may be.
    fn told(&self, seen: &[u8]) -> Option<Spoken> {
        let (http, other, preface) = (detect(seen), other(seen), preface::detect(seen));
        match other {
            _ if http == Detected::Http1 => return Some(Spoken::Http),
            _ if preface == preface::Detected::Http2 => return Some(Spoken::Http2),
            _ if http == Detected::Other && preface == preface::Detected::NeedMore => return None,
            Some((protocol, wires::Detected::Yes)) => return Some(Spoken::Other(protocol)),
            _ => {}
        }
        let in_turns = self.shared.in_turns(self.place, seen);
        if http == Detected::NeedMore || matches!(other, Some((_, wires::Detected::NeedMore))) {
            // It may wait for what follows in a conversation that begins like a protocol.
            let is_told = matches!(in_turns, Some(conversations::Next::Say(_) | conversations::Next::End(_)));
            return is_told.then_some(Spoken::Turns);
        }
        // What is no protocol by its first bytes may still be understood by whoever speaks there.
        match (in_turns, self.shared.speaker(self.place.destination)) {
            (None | Some(conversations::Next::Stray), Some((protocol, _))) => Some(Spoken::Other(protocol)),
            (Some(_), _) => Some(Spoken::Turns),
            (None, None) => Some(Spoken::Unreadable),
        }
    }

    /// The client sends no more: what it leaves unfinished is a call too, though nobody waits for its answer.
    fn gone(self, undecided: Vec<u8>) -> Played {
        if !undecided.is_empty() {
            if self.shared.in_turns(self.place, &undecided).is_some() {
                return Played::Turns(undecided);
            }
            self.shared.unreadable(self.place, &undecided);
            return Played::End(Ending::Close);
        }
        match self.reader.finish() {
            Ok(Some(cut)) => drop(self.shared.judge(self.place, &cut)),
            Ok(None) => {}
            Err(_) => self.shared.unreadable(self.place, &[]),
        }
        Played::End(Ending::Close)
    }

    async fn answer(&mut self, request: &Message) -> Next {
        let told = std::mem::take(&mut self.told);
        match self.shared.judge(self.place, request) {
            Reply::Miss(why) => {
                let answer = http1::answer(request, &[], &miss::answer(request, &why));
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

/// The protocol other than HTTP that a client's first bytes are of.
fn other(seen: &[u8]) -> Option<(Protocol, wires::Detected)> {
    Protocol::detect(First { client: seen, server: &[] })
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
