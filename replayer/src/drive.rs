//! One entry: send the recorded request, read what comes back.

mod http2;

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use regress_protocols::http1::{Framing, Limits, Message, ResponseReader};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Notify,
    time::timeout,
};

use crate::{
    judge::{End, Seen},
    left::Watch,
};

/// How long a body waits for `100 Continue` before it is sent anyway (RFC 9110 section 10.1.1 has the client not wait
/// for ever; one second is what curl waits).
const CONTINUE: Duration = Duration::from_secs(1);

/// Send a request byte for byte (in HTTP/2 field by field, frame by frame) and wait for the whole response, for `at_most` this long. Also says how long it took.
/// With `events` given, the response is a stream that is left once so many have come ([`End::Left`]).
pub(crate) async fn drive(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    request: &Message,
    at_most: Duration,
    events: Option<usize>,
) -> (Seen, Duration) {
    if request.is_http2() {
        return http2::drive(read, write, request, at_most).await;
    }
    let began = Instant::now();
    let go_on = Notify::new();
    let mut reader = ResponseReader::new(request.method(), Limits::default());
    let talk = async {
        tokio::select! {
            seen = receive(read, &mut reader, &go_on, events.map(Watch::new)) => seen,
            never = send(write, request, &go_on) => match never {},
        }
    };
    let received = timeout(at_most, talk).await;
    let seen = match received {
        Ok(Received::Response(response)) => Seen::Response(*response),
        Ok(Received::Ended(End::Closed)) => match reader.finish() {
            Some(message) if message.is_complete() => Seen::Response(message),
            part => Seen::Nothing { end: End::Closed, part },
        },
        Ok(Received::Ended(end)) => Seen::Nothing { end, part: reader.finish() },
        Err(_) => Seen::Nothing { end: End::Hung(at_most.as_millis()), part: reader.finish() },
    };
    (seen, began.elapsed())
}

enum Received {
    Response(Box<Message>),
    Ended(End),
}

async fn receive(
    mut read: impl AsyncRead + Unpin,
    reader: &mut ResponseReader,
    go_on: &Notify,
    mut watch: Option<Watch>,
) -> Received {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        buffer.clear();
        match read.read_buf(&mut buffer).await {
            Ok(0) => return Received::Ended(End::Closed),
            Ok(_) => {}
            Err(_) => return Received::Ended(End::Reset),
        }
        let Ok(messages) = reader.feed(&buffer) else { return Received::Ended(End::Garbage) };
        for message in messages {
            if message.status() == 100 {
                go_on.notify_one();
            }
            if reader.done() && message.status() >= 101 {
                return Received::Response(Box::new(message));
            }
        }
        if watch.as_mut().is_some_and(|watch| watch.is_over(reader)) {
            return Received::Ended(End::Left);
        }
    }
}

/// Never returns: what goes wrong with writing shows in what can be read, and only the answer ends the talk.
async fn send(mut write: impl AsyncWrite + Unpin, request: &Message, go_on: &Notify) -> std::convert::Infallible {
    if let Err(error) = write_request(&mut write, request, go_on).await {
        tracing::debug!(%error, "the request could not be written whole");
    }
    std::future::pending().await
}

async fn write_request(mut write: impl AsyncWrite + Unpin, request: &Message, go_on: &Notify) -> io::Result<()> {
    let wire = request.wire();
    let head = if request.expects_continue() {
        let alone = Message { body: Bytes::new(), framing: Framing::Empty, truncated: None, ..request.clone() };
        alone.wire().len().min(wire.len())
    } else {
        wire.len()
    };
    write.write_all(&wire[..head]).await?;
    if head < wire.len() {
        // Either way the body is sent.
        let _ = timeout(CONTINUE, go_on.notified()).await;
        write.write_all(&wire[head..]).await?;
    }
    write.flush().await?;
    if !request.is_complete() {
        write.shutdown().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Drives `request` against a peer that reads `expects` and then writes `answer` and closes.
    async fn against(request: &Message, expects: &[u8], answer: &[u8]) -> Seen {
        let (near, far) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(near);
        let (mut far_read, mut far_write) = tokio::io::split(far);
        let peer = async {
            let mut got = vec![0; expects.len()];
            far_read.read_exact(&mut got).await.unwrap();
            assert_eq!(got, expects);
            far_write.write_all(answer).await.unwrap();
            far_write.shutdown().await.unwrap();
        };
        let ((seen, _), ()) = tokio::join!(drive(read, write, request, LONG, None), peer);
        seen
    }

    #[tokio::test]
    async fn the_request_is_sent_byte_for_byte_and_the_response_read() {
        let request = Message::request("POST", "/a?b", &[("X-Odd", "1")], "body");
        let seen = against(&request, &request.wire(), b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").await;
        let Seen::Response(response) = seen else { panic!("{seen:?}") };
        assert_eq!((response.status(), &response.body[..]), (201, &b"ok"[..]));
    }

    #[tokio::test]
    async fn a_response_until_the_close_is_whole() {
        let request = Message::request("GET", "/", &[], "");
        let seen = against(&request, &request.wire(), b"HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
        let Seen::Response(response) = seen else { panic!("{seen:?}") };
        assert_eq!(&response.body[..], b"until the end");
    }

    #[tokio::test]
    async fn an_early_close_keeps_the_part_that_came() {
        let request = Message::request("GET", "/", &[], "");
        let seen = against(&request, &request.wire(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").await;
        let Seen::Nothing { end: End::Closed, part: Some(part) } = seen else { panic!("{seen:?}") };
        assert_eq!(&part.body[..], b"hal");
        let seen = against(&request, &request.wire(), b"").await;
        assert_eq!(seen, Seen::Nothing { end: End::Closed, part: None });
        let seen = against(&request, &request.wire(), b"nonsense\r\n\r\n").await;
        assert!(matches!(seen, Seen::Nothing { end: End::Garbage, .. }), "{seen:?}");
    }

    #[tokio::test]
    async fn a_stream_is_left_after_so_many_events() {
        let request = Message::request("GET", "/", &[], "");
        let (near, far) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(near);
        let (_far_read, mut far_write) = tokio::io::split(far);
        let peer = async {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            far_write.write_all(head.as_bytes()).await.unwrap();
            for piece in ["data: 1\n", "\ndat", "a: 2\n\n: and so on\n\n"] {
                far_write.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.unwrap();
            }
        };
        // The other side keeps its end open and says nothing more.
        let ((seen, _), ()) = tokio::join!(drive(read, write, &request, LONG, Some(2)), peer);
        let Seen::Nothing { end: End::Left, part: Some(part) } = seen else { panic!("{seen:?}") };
        assert!(part.body.starts_with(b"data: 1\n\ndata: 2\n\n"), "{:?}", part.body);
        assert_eq!(&crate::left::up_to(&part, 1).body[..], b"data: 1\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_hang() {
        let (near, far) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(near);
        let (seen, _) = drive(read, write, &Message::request("GET", "/", &[], ""), Duration::from_secs(3), None).await;
        assert_eq!(seen, Seen::Nothing { end: End::Hung(3000), part: None });
        drop(far);
    }

    #[tokio::test]
    async fn a_body_waits_for_its_continue() {
        let request = Message::request("PUT", "/", &[("Expect", "100-continue")], "later");
        let (near, far) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(near);
        let (mut far_read, mut far_write) = tokio::io::split(far);
        let wire = request.wire();
        let peer = async {
            let mut head = vec![0; wire.len() - 5];
            far_read.read_exact(&mut head).await.unwrap();
            far_write.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            let mut body = [0; 5];
            far_read.read_exact(&mut body).await.unwrap();
            assert_eq!(&body, b"later");
            far_write.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let ((seen, _), ()) = tokio::join!(drive(read, write, &request, LONG, None), peer);
        let Seen::Response(response) = seen else { panic!("{seen:?}") };
        assert_eq!(response.status(), 204);
    }
}
