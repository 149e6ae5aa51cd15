//! One entry: send the recorded request, read what comes back.

mod http2;
mod tls;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use regress_protocols::http1::{Framing, Limits, Message, ResponseReader};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
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

/// How long the service may take to take note that an entry's connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// The request of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Drivable {
    pub request: Message,
    /// Where it was recorded.
    pub at: SocketAddr,
    /// Whether it was inside TLS.
    pub tls: bool,
    /// The response is a stream that is left once so many events have come ([`End::Left`]).
    pub events: Option<usize>,
}

/// Send the request of an entry, inside TLS where it was, and wait for the whole response, for `at_most` this long. Also says
/// how long it took, the handshake aside.
pub(crate) async fn drive(stream: &mut TcpStream, entry: &Drivable, at_most: Duration) -> (Seen, Duration) {
    let Drivable { request, at, tls, events } = entry;
    if !tls {
        let (read, write) = stream.split();
        return talk(read, write, "http", request, at_most, *events).await;
    }
    let client = tls::Client::new(request);
    let nothing = |end| (Seen::Nothing { end, part: None }, Duration::ZERO);
    let (mut seen, took) = match timeout(at_most, client.connect(stream, request, *at)).await {
        Ok(Ok(mut stream)) => {
            let (read, write) = tokio::io::split(&mut stream);
            let talked = talk(read, write, "https", request, at_most, *events).await;
            // Whoever is gone already need not be told.
            let _ = timeout(FAREWELL, stream.shutdown()).await;
            talked
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "the handshake failed");
            nothing(tls::end(&error))
        }
        Err(_) => nothing(End::Hung(at_most.as_millis())),
    };
    if let Seen::Nothing { end, part: None } = &mut seen
        && client.was_asked()
    {
        *end = End::Certificate;
    }
    (seen, took)
}

/// Send a request byte for byte (in HTTP/2 field by field, frame by frame) and wait for the whole response.
async fn talk(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    scheme: &str,
    request: &Message,
    at_most: Duration,
    events: Option<usize>,
) -> (Seen, Duration) {
    if request.is_http2() {
        return http2::drive(read, write, scheme, request, at_most).await;
    }
    let began = Instant::now();
    let go_on = Notify::new();
    let mut reader = ResponseReader::new(request.method(), Limits::default());
    let exchange = async {
        tokio::select! {
            seen = receive(read, &mut reader, &go_on, events.map(Watch::new)) => seen,
            never = send(write, request, &go_on) => match never {},
        }
    };
    let received = timeout(at_most, exchange).await;
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
            Err(error) => return Received::Ended(tls::end(&error)),
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
    use std::sync::Arc;

    use regress_protocols::http2;
    use tokio::net::TcpListener;
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer, server::WebPkiClientVerifier},
    };

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
        let ((seen, _), ()) = tokio::join!(talk(read, write, "http", request, LONG, None), peer);
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
        let ((seen, _), ()) = tokio::join!(talk(read, write, "http", &request, LONG, Some(2)), peer);
        let Seen::Nothing { end: End::Left, part: Some(part) } = seen else { panic!("{seen:?}") };
        assert!(part.body.starts_with(b"data: 1\n\ndata: 2\n\n"), "{:?}", part.body);
        assert_eq!(&crate::left::up_to(&part, 1).body[..], b"data: 1\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_hang() {
        let (near, far) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(near);
        let (seen, _) =
            talk(read, write, "http", &Message::request("GET", "/", &[], ""), Duration::from_secs(3), None).await;
        assert_eq!(seen, Seen::Nothing { end: End::Hung(3000), part: None });
        drop(far);
    }

    #[tokio::test]
    async fn that_a_service_asks_for_a_certificate_is_told() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.unwrap())
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        for request in [Message::request("GET", "/", &[], ""), http2::request("GET", "/", &[], "")] {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let entry = Drivable { request, at, tls: true, events: None };
            let ((seen, _), accepted) = tokio::join!(drive(&mut stream, &entry, LONG), acceptor.accept(accepted));
            assert!(accepted.is_err());
            assert_eq!(seen, Seen::Nothing { end: End::Certificate, part: None });
        }
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
        let ((seen, _), ()) = tokio::join!(talk(read, write, "http", &request, LONG, None), peer);
        let Seen::Response(response) = seen else { panic!("{seen:?}") };
        assert_eq!(response.status(), 204);
    }
}
