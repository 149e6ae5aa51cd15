//! One entry in HTTP/2, by prior knowledge (RFC 9113 section 3.3) or as TLS agreed on it.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client};
use regress_protocols::{
    http1::{Framing, Limits, Line, Message},
    http2,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use regress_mockserver::flow;

use super::tls;
use crate::judge::{End, Seen};

/// How much the service may send ahead: all of it is kept anyway.
const WINDOW: u32 = 16 << 20;

/// Send a request and wait for the whole response, for `at_most` this long. Also says how long it took.
pub(crate) async fn drive(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    scheme: &str,
    request: &Message,
    at_most: Duration,
) -> (Seen, Duration) {
    let began = Instant::now();
    let mut part = Part::default();
    let talked = timeout(at_most, talk(tokio::io::join(read, write), scheme, request, &mut part)).await;
    let seen = match talked {
        Ok(Ok(())) => part.finish(true).map_or(Seen::Nothing { end: End::Closed, part: None }, Seen::Response),
        Ok(Err(end)) => Seen::Nothing { end, part: part.finish(false) },
        Err(_) => Seen::Nothing { end: End::Hung(at_most.as_millis()), part: part.finish(false) },
    };
    (seen, began.elapsed())
}

/// What came of a response.
#[derive(Default)]
struct Part {
    head: Option<Message>,
    body: BytesMut,
    frames: Vec<u64>,
    trailers: Option<Vec<Line>>,
}

impl Part {
    fn finish(self, is_whole: bool) -> Option<Message> {
        Some(http2::with_body(self.head?, self.body.freeze(), &self.frames, self.trailers, is_whole))
    }
}

async fn talk(
    io: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &str,
    request: &Message,
    part: &mut Part,
) -> Result<(), End> {
    let head = http2::request_head(request, scheme).ok_or(End::Garbage)?;
    let mut builder = client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).enable_push(false);
    builder.max_header_list_size(Limits::default().head as u32);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(io).await.map_err(end)?;
    let exchange = async {
        poll_fn(|context| sender.poll_ready(context)).await.map_err(end)?;
        let is_bare = request.framing == Framing::Empty && request.is_complete();
        let (response, sending) = sender.send_request(head, is_bare).map_err(end)?;
        let receiving = async {
            let (head, body) = response.await.map_err(end)?.into_parts();
            part.head = Some(http2::response_of(&head));
            receive(body, part).await
        };
        tokio::pin!(receiving);
        tokio::select! {
            received = &mut receiving => return received,
            // What goes wrong with sending shows in what comes back.
            () = send(sending, request, is_bare) => {}
        }
        receiving.await
    };
    tokio::pin!(exchange);
    tokio::select! {
        done = &mut exchange => done,
        closed = connection => match timeout(Duration::ZERO, exchange).await {
            Ok(done) => done,
            Err(_) => Err(closed.map_or_else(end, |()| End::Closed)),
        },
    }
}

async fn receive(mut body: RecvStream, part: &mut Part) -> Result<(), End> {
    while let Some(data) = body.data().await {
        let data = data.map_err(end)?;
        part.frames.push(data.len() as u64);
        part.body.extend_from_slice(&data);
        // A stream that is gone needs no more room.
        let _ = body.flow_control().release_capacity(data.len());
        if part.body.len() as u64 > Limits::default().body {
            return Err(End::Garbage);
        }
    }
    part.trailers = body.trailers().await.map_err(end)?.map(|fields| http2::lines(&fields));
    Ok(())
}

/// Sends the body in the recorded frames, and a request that was cut only that far.
async fn send(mut sending: SendStream<Bytes>, request: &Message, is_bare: bool) {
    if is_bare {
        return;
    }
    let trailers = match &request.framing {
        Framing::Chunked { trailers, .. } if !trailers.is_empty() => Some(http2::fields(trailers)),
        _ => None,
    };
    let ends = request.is_complete() && trailers.is_none();
    let frames = http2::frames(request);
    let last = frames.len().saturating_sub(1);
    let mut rest = request.body.clone();
    for (index, size) in frames.into_iter().enumerate() {
        let content = rest.split_to(size.min(rest.len()));
        if flow::send(&mut sending, content, ends && index == last).await.is_none() {
            return;
        }
    }
    match trailers {
        Some(trailers) if request.is_complete() => drop(sending.send_trailers(trailers)),
        _ if !request.is_complete() => sending.send_reset(Reason::CANCEL),
        _ => {}
    }
}

fn end(error: h2::Error) -> End {
    match error.reason() {
        _ if error.get_io().is_some_and(|error| tls::end(error) == End::Tls) => End::Tls,
        _ if error.is_io() => End::Closed,
        Some(_) if error.is_go_away() && error.is_remote() => End::Closed,
        Some(reason) if error.is_remote() => End::StreamReset(reason.into()),
        _ => End::Garbage,
    }
}
