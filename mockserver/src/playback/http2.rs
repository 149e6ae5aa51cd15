//! A connection in HTTP/2, played: each stream on its own, the frames by the `h2` crate.

use std::{
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
use http::{Request, request::Parts};
use regress_cassettes::{Ended, HttpExchange};
use regress_protocols::{
    Side,
    http1::{Framing, Limits, Message},
    http2,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::timeout,
};

use super::{Ending, LINGER, early};
use crate::{
    miss,
    mock::{Place, Reply, Shared},
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
    let (head, mut body) = request.into_parts();
    let request = receive(head, &mut body).await;
    let played = match shared.judge(place, &request) {
        Reply::Miss(why) => {
            let refusal = miss::answer(&request, &why);
            Played { sending: send(&mut respond, &refusal).await, ending: None }
        }
        Reply::Recorded(recorded) => {
            let exchange = recorded.exchange();
            match exchange.http() {
                Some(http) => play_recorded(&mut respond, http, exchange.ended).await,
                None => Played { sending: None, ending: Some(Ending::Close) },
            }
        }
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

async fn play_recorded(respond: &mut SendResponse<Bytes>, http: &HttpExchange, ended: Ended) -> Played {
    for interim in &http.interim {
        if let Some(head) = http2::response_head(interim) {
            // A client that is gone shows in what follows.
            let _ = respond.send_informational(head);
        }
    }
    let mut sending = match &http.response {
        Some(response) => send(respond, response).await,
        None => None,
    };
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
        None => Some(early(ended)),
    };
    Played { sending, ending }
}

/// Sends a response; gives the stream where it is not over then. The client's errors are its own affair.
async fn send(respond: &mut SendResponse<Bytes>, response: &Message) -> Option<SendStream<Bytes>> {
    let head = http2::response_head(response)?;
    let whole = response.is_complete();
    let bare = whole && response.framing == Framing::Empty;
    let mut sending = respond.send_response(head, bare).ok()?;
    if bare {
        return None;
    }
    let trailers = match &response.framing {
        Framing::Chunked { trailers, .. } if whole && !trailers.is_empty() => Some(http2::fields(trailers)),
        _ => None,
    };
    let frames = http2::frames(response);
    let last = frames.len().saturating_sub(1);
    let mut rest = response.body.clone();
    for (index, size) in frames.into_iter().enumerate() {
        let content = rest.split_to(size.min(rest.len()));
        let ends = whole && trailers.is_none() && index == last;
        write(&mut sending, content, ends).await?;
    }
    match trailers {
        Some(trailers) => sending.send_trailers(trailers).ok().and(None),
        None if whole => None,
        None => Some(sending),
    }
}

/// Sends content as the client has room for it.
async fn write(sending: &mut SendStream<Bytes>, mut content: Bytes, ends: bool) -> Option<()> {
    while !content.is_empty() {
        sending.reserve_capacity(content.len());
        let room = poll_fn(|context| sending.poll_capacity(context)).await?.ok()?;
        let piece = content.split_to(room.min(content.len()));
        sending.send_data(piece, ends && content.is_empty()).ok()?;
        if content.is_empty() {
            return Some(());
        }
    }
    sending.send_data(content, ends).ok()
}

/// Receives a request, as far as it comes.
async fn receive(head: Parts, body: &mut RecvStream) -> Message {
    let limit = Limits::default().body;
    let (mut content, mut sizes, mut is_whole) = (BytesMut::new(), Vec::new(), true);
    let mut trailers = None;
    if !body.is_end_stream() {
        while let Some(data) = body.data().await {
            let Some(data) = data.ok().filter(|data| (content.len() + data.len()) as u64 <= limit) else {
                is_whole = false;
                break;
            };
            sizes.push(data.len() as u64);
            content.extend_from_slice(&data);
            // A stream that is gone needs no more room.
            let _ = body.flow_control().release_capacity(data.len());
        }
        if is_whole {
            match body.trailers().await {
                Ok(found) => trailers = found.map(|found| http2::lines(&found)),
                Err(_) => is_whole = false,
            }
        }
    }
    http2::with_body(http2::request_of(&head), content.freeze(), &sizes, trailers, is_whole)
}
