//! A connection in HTTP/2, played: each stream on its own, the frames by the `h2` crate.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    io::Cursor,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesUnordered};
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::Request;
use regress_cassettes::HttpExchange;
use regress_protocols::{
    Side,
    http1::{Framing, Limits, Line, Message},
    http2,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::timeout,
};

use super::{Ending, LINGER, early};
use crate::{
    flow, miss,
    mock::{Begin, HitScope, Place, Recorded, Reply, Shared},
};

/// How much a client may send ahead, for a stream and for all of them: all of it is kept anyway.
const WINDOW: u32 = 16 << 20;

/// Plays to a connection that said `seen`, the preface with what followed it, until it ends.
pub(super) async fn play<S>(stream: &mut S, seen: Vec<u8>, place: Place, shared: &Shared) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, write) = tokio::io::split(stream);
    let io = tokio::io::join(Cursor::new(seen.clone()).chain(read), write);
    let mut builder = Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    builder.max_header_list_size(Limits::default().head as u32);
    let mut connection = match builder.handshake(io).await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(%error, "no HTTP/2");
            shared.unreadable(place, &seen);
            return Ending::Close;
        }
    };
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => streams.push(answer(request, respond, place, shared)),
                Some(Err(error)) => {
                    tracing::debug!(%error, "an HTTP/2 connection broke");
                    break;
                }
                None => break,
            },
            Some(ending) = streams.next(), if !streams.is_empty() => if let Some(ending) = ending {
                if ending == Ending::Close {
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                    // Whoever does not read it is gone.
                    let _ = timeout(LINGER, poll_fn(|context| connection.poll_closed(context))).await;
                }
                return ending;
            },
        }
    }
    // What was cut is a call as well. Who waits for something that will not come waits no more.
    let _ = timeout(Duration::ZERO, async { while streams.next().await.is_some() {} }).await;
    Ending::Close
}

/// Answers one stream; gives how the connection ends, if it does.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    place: Place,
    shared: &Shared,
) -> Option<Ending> {
    let flight = shared.flight();
    let (head, body) = request.into_parts();
    let mut asked = Asked::new(http2::request_of(&head), body);
    let begun = asked.listen(&mut respond, place, shared).await;
    let request = asked.finish();
    let played = match begun {
        Some(Begun { scope, recorded, sender }) => match shared.conclude(place, (scope, recorded.clone()), &request) {
            true => go_on(&mut respond, sender, &recorded).await,
            // It was answered as if it were another request: nothing more is said.
            false => Played { sending: sender.sending, ending: None },
        },
        None => match shared.judge(place, &request) {
            Reply::Miss(why) => {
                let refusal = miss::answer(&request, &why);
                let mut sender = Sender::new(&refusal);
                sender.finish(&mut respond).await;
                Played { sending: sender.sending, ending: None }
            }
            Reply::Recorded(recorded) => match recorded.exchange().http() {
                Some(http) => {
                    inform(&mut respond, http);
                    go_on(&mut respond, Sender::of(http), &recorded).await
                }
                None => Played { sending: None, ending: Some(Ending::Close) },
            },
        },
    };
    drop(flight);
    if played.ending == Some(Ending::Hold) {
        // As long as the two ends of the stream are kept, nothing is said on it.
        pending::<()>().await;
    }
    drop(played.sending);
    played.ending
}

/// What became of an answer.
struct Played {
    /// The stream, where more of it was to come.
    sending: Option<SendStream<Bytes>>,
    /// How the connection ends for it.
    ending: Option<Ending>,
}

/// A request that was answered before it was over.
struct Begun {
    scope: HitScope,
    recorded: Recorded,
    sender: Sender,
}

/// Sends what is left of a recorded response, and ends the stream as it ended.
async fn go_on(respond: &mut SendResponse<Bytes>, mut sender: Sender, recorded: &Recorded) -> Played {
    let exchange = recorded.exchange();
    let Some(http) = exchange.http() else { return Played { sending: None, ending: Some(Ending::Close) } };
    sender.finish(respond).await;
    let mut sending = sender.sending;
    if http.response.as_ref().is_some_and(Message::is_complete) {
        return Played { sending: None, ending: None };
    }
    let ending = match http.reset {
        Some(reset) if reset.from == Side::Server => {
            let reason = Reason::from(reset.code);
            match &mut sending {
                Some(sending) => sending.send_reset(reason),
                None => respond.send_reset(reason),
            }
            None
        }
        // The client is to do it.
        Some(_) => Some(Ending::Hold),
        None => Some(early(exchange.ended)),
    };
    Played { sending, ending }
}

/// Sends the responses before the final one. A client that is gone shows in what follows.
fn inform(respond: &mut SendResponse<Bytes>, http: &HttpExchange) {
    for head in http.interim.iter().filter_map(http2::response_head) {
        let _ = respond.send_informational(head);
    }
}

/// A response being sent, frame by frame. The client's errors are its own affair.
struct Sender {
    response: Option<Message>,
    frames: VecDeque<usize>,
    rest: Bytes,
    sent: u64,
    /// The stream, between its head and its end.
    sending: Option<SendStream<Bytes>>,
    has_begun: bool,
}

impl Sender {
    fn of(http: &HttpExchange) -> Sender {
        match &http.response {
            Some(response) => Sender::new(response),
            None => Sender {
                response: None,
                frames: VecDeque::new(),
                rest: Bytes::new(),
                sent: 0,
                sending: None,
                has_begun: true,
            },
        }
    }

    fn new(response: &Message) -> Sender {
        Sender {
            frames: http2::frames(response).into(),
            rest: response.body.clone(),
            response: Some(response.clone()),
            sent: 0,
            sending: None,
            has_begun: false,
        }
    }

    /// Sends the head, if that is not done; the stream ends with it where nothing follows.
    fn begin(&mut self, respond: &mut SendResponse<Bytes>) {
        let Some(response) = self.response.as_ref().filter(|_| !self.has_begun) else { return };
        self.has_begun = true;
        let bare = response.is_complete() && response.framing == Framing::Empty;
        let Some(head) = http2::response_head(response) else { return };
        self.sending = respond.send_response(head, bare).ok().filter(|_| !bare);
    }

    /// Sends the body up to that many bytes.
    async fn send(&mut self, respond: &mut SendResponse<Bytes>, up_to: u64, ends: bool) {
        self.begin(respond);
        while let (Some(sending), Some(frame)) = (&mut self.sending, self.frames.front_mut()) {
            let room = usize::try_from(up_to.saturating_sub(self.sent)).unwrap_or(usize::MAX);
            if room == 0 {
                return;
            }
            let size = room.min(*frame);
            // What is left of a frame waits for its turn.
            *frame -= size;
            if *frame == 0 {
                self.frames.pop_front();
            }
            self.sent += size as u64;
            let content = self.rest.split_to(size.min(self.rest.len()));
            if flow::send(sending, content, ends && self.frames.is_empty()).await.is_none() {
                self.sending = None;
            }
        }
    }

    /// Sends everything that is left, as far as it was recorded.
    async fn finish(&mut self, respond: &mut SendResponse<Bytes>) {
        let Some(response) = &self.response else { return };
        let is_whole = response.is_complete();
        let trailers = match &response.framing {
            Framing::Chunked { trailers, .. } if is_whole && !trailers.is_empty() => Some(http2::fields(trailers)),
            _ => None,
        };
        let ends = is_whole && trailers.is_none();
        if ends && self.frames.is_empty() && self.sent == 0 {
            // Trailers without a field ended it.
            self.frames.push_back(0);
        }
        self.send(respond, u64::MAX, ends).await;
        if let (Some(sending), Some(trailers)) = (&mut self.sending, trailers) {
            // A client that is gone does without.
            let _ = sending.send_trailers(trailers);
        }
        if is_whole {
            self.sending = None;
        }
    }
}

/// A request being received.
struct Asked {
    head: Message,
    stream: RecvStream,
    body: BytesMut,
    frames: Vec<u64>,
    trailers: Option<Vec<Line>>,
    is_whole: bool,
}

impl Asked {
    fn new(head: Message, stream: RecvStream) -> Asked {
        Asked { head, stream, body: BytesMut::new(), frames: Vec::new(), trailers: None, is_whole: true }
    }

    /// Receives the request, and answers meanwhile where a recorded one that began so was answered before it was over. What
    /// is not as recorded ends that.
    async fn listen(&mut self, respond: &mut SendResponse<Bytes>, place: Place, shared: &Shared) -> Option<Begun> {
        let mut begun: Option<Begun> = None;
        let may_begin = shared.may_begin();
        while !self.stream.is_end_stream() {
            if may_begin && begun.is_none() {
                match shared.begin(place, &self.so_far()) {
                    Begin::Recorded(scope, recorded) => {
                        let sender = recorded.exchange().http().map(|http| {
                            inform(respond, http);
                            Sender::of(http)
                        });
                        begun = sender.map(|sender| Begun { scope, recorded, sender });
                    }
                    Begin::Open => {}
                    Begin::Deviates => {
                        self.is_whole = false;
                        return None;
                    }
                }
            }
            if let Some(Begun { recorded, sender, .. }) = &mut begun
                && let Some(http) = recorded.exchange().http()
            {
                if !http.request.body.starts_with(&self.body) {
                    self.is_whole = false;
                    return begun;
                }
                let asked = self.body.len() as u64;
                let due = http.interleaved.iter().take_while(|(after, _)| *after <= asked).last();
                if let Some((_, up_to)) = due {
                    sender.send(respond, *up_to, false).await;
                }
            }
            let Some(data) = self.stream.data().await else { break };
            if self.take(data.ok()).is_none() {
                self.is_whole = false;
                return begun;
            }
        }
        match self.stream.trailers().await {
            Ok(trailers) => self.trailers = trailers.map(|trailers| http2::lines(&trailers)),
            Err(_) => self.is_whole = false,
        }
        begun
    }

    fn take(&mut self, data: Option<Bytes>) -> Option<()> {
        let limit = Limits::default().body;
        let data = data.filter(|data| (self.body.len() + data.len()) as u64 <= limit)?;
        self.frames.push(data.len() as u64);
        self.body.extend_from_slice(&data);
        // A stream that is gone needs no more room.
        let _ = self.stream.flow_control().release_capacity(data.len());
        Some(())
    }

    fn so_far(&self) -> Message {
        let body = Bytes::copy_from_slice(&self.body);
        http2::with_body(self.head.clone(), body, &self.frames, None, false)
    }

    fn finish(self) -> Message {
        http2::with_body(self.head, self.body.freeze(), &self.frames, self.trailers, self.is_whole)
    }
}

#[cfg(test)]
mod tests;
