mod silence;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use regress_cassettes::{Content, Ended, Exchange, HttpExchange, Turn, WireExchange};
use regress_protocols::{
    Side, Value,
    http1::{Message, ResponseReader},
    wire::Protocol as Wire,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};

use crate::{
    intercept::{Arrival, Attempt, Intercepted, Protocol},
    mock::{Attempted, Call, Match, MissReason, Mock, Mode, PREFIX, Scope, Told},
    samples::{
        PAYMENTS, answered, ask, at, cassette, entry_id, exchange, http, library, mock, ok, request, response_to, turn,
    },
    tls::Authority,
};

/// The service's side of a mock that serves loopback connections as if they had gone elsewhere.
pub(super) struct Service {
    mock: Option<Mock>,
    authority: Arc<Authority>,
    listener: TcpListener,
    seen: UnboundedSender<Intercepted>,
}

impl Service {
    pub(super) async fn of(mock: Mock) -> Service {
        let (seen, sees) = unbounded_channel();
        let authority = Arc::new(Authority::new().unwrap());
        tokio::spawn(mock.serve_seen(sees, Arc::clone(&authority)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Service { mock: Some(mock), authority, listener, seen }
    }

    /// One that replays an entry with these downstream exchanges.
    pub(super) async fn with(downstream: Vec<Exchange>) -> Service {
        Service::of(mock(downstream, Vec::new(), Mode::Strict)).await
    }

    pub(super) fn mock(&self) -> &Mock {
        self.mock.as_ref().expect("the test still holds its mock")
    }

    pub(super) async fn connect(&self, destination: &str) -> TcpStream {
        let (client, accepted) =
            tokio::join!(TcpStream::connect(self.listener.local_addr().unwrap()), self.listener.accept());
        let (stream, from) = accepted.unwrap();
        let destination = destination.parse().unwrap();
        self.seen.send(Intercepted::Connection(Arrival { stream, destination, from })).unwrap();
        client.unwrap()
    }

    /// The service has asked for a name that was recorded.
    pub(super) fn resolve(&self, name: &str) {
        let (name, kind, told) = (name.to_owned(), crate::dns::A, Bytes::new());
        let query = crate::dns::Query { name, kind, outcome: crate::dns::Outcome::Answered, told };
        self.seen.send(Intercepted::Query(query)).unwrap();
    }

    /// The journal once it holds `count` calls. Calls are noted before their effect is seen by the client, but for those
    /// whose client is gone.
    pub(super) async fn journal(&self, count: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        while calls.len() < count {
            tokio::task::yield_now().await;
            calls.extend(self.mock().take_journal());
        }
        calls
    }
}

/// Bounds a test that would hang for ever if it failed.
pub(super) async fn bounded<T>(test: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(120), test).await.expect("nothing hangs")
}

pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Bytes {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes.into()
}

pub(super) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, io::Result<usize>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    (bytes, end)
}

/// Sends a request and reads the response to it.
async fn call(stream: &mut TcpStream, request: &Message) -> Message {
    stream.write_all(&request.wire()).await.unwrap();
    let mut reader = ResponseReader::new(request.method(), Default::default());
    let mut buffer = [0; 8192];
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection was closed before the response");
        if let Some(response) = reader.feed(&buffer[..count]).unwrap().pop() {
            return response;
        }
    }
}

pub(super) fn reasons(calls: &[Call]) -> Vec<Option<MissReason>> {
    let reason = |call: &Call| match &call.matched {
        Match::Hit { .. } => None,
        Match::Miss { reason, .. } => Some(*reason),
    };
    calls.iter().map(reason).collect()
}

fn upgrade(turns: Vec<Turn>, ended: Ended) -> Exchange {
    let request = request("GET /ws HTTP/1.1\r\nHost: payments:8080\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n");
    let response = response_to(&request, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n");
    let http = HttpExchange {
        request,
        interim: Vec::new(),
        response: Some(response),
        streamed: Vec::new(),
        upgraded: turns,
        reset: None,
        interleaved: Vec::new(),
        left: false,
    };
    exchange(PAYMENTS, false, Content::Http1(http), ended)
}

const SWITCHED: usize = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n".len();

#[tokio::test]
async fn the_recorded_bytes_are_played_exactly() {
    let odd = "HTTP/1.1 200 Just  Fine\r\nx-B: 2\r\nX-a:1\r\nX-B:  3 \r\nTransfer-Encoding: chunked\r\n\r\n\
        5;ext=1\r\nhello\r\n1\r\n!\r\n00\r\nCheck: sum\r\n\r\n";
    let asked = ask("GET", "/a", "");
    let service = Service::with(vec![answered(asked.clone(), response_to(&asked, odd))]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        stream.write_all(&asked.wire()).await.unwrap();
        assert_eq!(read(&mut stream, odd.len()).await, odd);
    })
    .await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let requests: Vec<_> = (0..50).map(|number| ask("POST", "/n", &number.to_string())).collect();
    let exchanges = requests.iter().map(|request| answered(request.clone(), ok(&format!("re {:?}", request.body))));
    let service = Service::with(exchanges.collect()).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        let wire: Vec<u8> = requests.iter().flat_map(Message::wire).collect();
        stream.write_all(&wire).await.unwrap();
        for request in &requests {
            let expected = ok(&format!("re {:?}", request.body)).wire();
            assert_eq!(read(&mut stream, expected.len()).await, expected);
        }
        service.mock().wait_quiet(&entry_id(), Duration::from_secs(60)).await;
        assert_eq!(service.mock().unused(&entry_id()), [] as [usize; 0]);
        assert_eq!(reasons(&service.mock().take_journal()), vec![None; 50]);
    })
    .await;
}

#[tokio::test]
async fn one_connection_lives_through_many_entries() {
    let id = |number: usize| regress_cassettes::CassetteId(format!("entry-{number}"));
    let entries: Vec<_> = (0..200)
        .map(|number| cassette(&id(number).0, vec![answered(ask("GET", "/same", ""), ok(&number.to_string()))]))
        .collect();
    let mock = Mock::new(library(&entries, None), Mode::Strict, Default::default());
    let service = Service::of(mock).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        for (number, entry) in entries.into_iter().enumerate() {
            service.mock().enter(entry);
            let response = call(&mut stream, &ask("GET", "/same", "")).await;
            assert_eq!(response.body, number.to_string());
            let journal = service.mock().take_journal();
            assert_eq!(journal.len(), 1);
            assert_eq!(journal[0].scope, Scope::Entry(id(number)));
        }
    })
    .await;
}

#[tokio::test]
async fn large_bodies_go_both_ways() {
    let body = |seed: u8| (0..=250).map(|byte: u8| byte ^ seed).collect::<Vec<_>>().repeat((64 << 20) / 251 + 1);
    let upload = Message::request("PUT", "/blob", &[("Host", "payments:8080")], body(1));
    let service = Service::with(vec![answered(upload.clone(), Message::response(200, "OK", &[], body(2)))]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        let response = call(&mut stream, &upload).await;
        assert!(response.body == body(2));
        assert_eq!(reasons(&service.mock().take_journal()), [None]);
    })
    .await;
}

#[tokio::test]
async fn slow_clients_do_not_hold_up_others() {
    let large = Message::response(200, "OK", &[], vec![b'x'; 16 << 20]);
    let service =
        Service::with(vec![answered(ask("GET", "/large", ""), large.clone()), answered(ask("GET", "/a", ""), ok("a"))])
            .await;
    bounded(async {
        let mut reads_late = service.connect(PAYMENTS).await;
        reads_late.write_all(&ask("GET", "/large", "").wire()).await.unwrap();
        let mut writes_slowly = service.connect(PAYMENTS).await;
        let wire = ask("GET", "/a", "").wire();
        for byte in &wire[..wire.len() - 1] {
            writes_slowly.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut third = service.connect(PAYMENTS).await;
        assert_eq!(call(&mut third, &ask("GET", "/b", "")).await.status(), 502);
        writes_slowly.write_all(&wire[wire.len() - 1..]).await.unwrap();
        let expected = ok("a").wire();
        assert_eq!(read(&mut writes_slowly, expected.len()).await, expected);
        let expected = large.wire();
        assert!(read(&mut reads_late, expected.len()).await == expected);
    })
    .await;
}

#[tokio::test]
async fn what_is_in_no_protocol_is_journaled_with_its_first_bytes_and_closed() {
    let http2 = b"PRI * HTTP/2.0\r\n\r\nno preface";
    let memcached = b"set a 0 0 1\r\nb\r\n";
    let long = [&b"\0"[..], &[7; 5000]].concat();
    for garbage in [&http2[..], memcached, &long] {
        let service = Service::with(vec![answered(ask("GET", "/a", ""), ok(""))]).await;
        bounded(async {
            for (destination, reason) in
                [(PAYMENTS, MissReason::OtherProtocol), ("10.9.9.9:6379", MissReason::UnknownDestination)]
            {
                let mut stream = service.connect(destination).await;
                stream.write_all(garbage).await.unwrap();
                assert_eq!(read_to_end(&mut stream).await.0, b"");
                let calls = service.mock().take_journal();
                assert_eq!(reasons(&calls), [Some(reason)]);
                let Attempted::Opaque(first) = &calls[0].what else { panic!("{calls:?}") };
                assert!(!first.is_empty() && first.len() <= PREFIX && garbage.starts_with(first), "{first:?}");
                assert_eq!(calls[0].downstream, destination);
            }
        })
        .await;
    }
}

/// A request to Redis, as bytes.
fn command(words: &[&str]) -> Vec<u8> {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words}", words.matches('$').count()).into_bytes()
}

/// `GET name` as recorded, answered with that.
fn get(name: &str, response: Option<Value>, ended: Ended) -> Exchange {
    let request = Value::map([("command", Value::text("GET")), ("args", Value::List(vec![Value::text(name)]))]);
    exchange(CACHE, false, Content::Wire(WireExchange { protocol: Wire::Redis, request, response }), ended)
}

const CACHE: &str = "10.0.0.7:6379";

#[tokio::test]
async fn a_request_in_another_protocol_is_answered_or_refused_in_it() {
    let told = |text: &str| Some(Value::text(text));
    let cache = vec![get("a", told("1"), Ended::Ok), get("b", told("2"), Ended::Ok), get("c", None, Ended::Closed)];
    let service = Service::with(cache).await;
    bounded(async {
        let mut stream = service.connect(CACHE).await;
        stream.write_all(&[command(&["GET", "b"]), command(&["PING"]), command(&["get", "a"])].concat()).await.unwrap();
        assert_eq!(read(&mut stream, 21).await, &b"$1\r\n2\r\n+PONG\r\n$1\r\n1\r\n"[..]);
        stream.write_all(&command(&["GET", "x"])).await.unwrap();
        let refusal = b"-REGRESS regress: no recorded exchange answers GET x to 10.0.0.7:6379";
        assert_eq!(read(&mut stream, refusal.len()).await, &refusal[..]);
        stream.write_all(&command(&["GET", "c"])).await.unwrap();
        let rest = read_to_end(&mut stream).await.0;
        assert_eq!(rest.iter().position(|byte| *byte == b'\n'), Some(rest.len() - 1), "the rest of the refusal alone");
        let calls = service.mock().take_journal();
        assert_eq!(reasons(&calls), [None, None, Some(MissReason::DifferentRequest), None]);
        assert_eq!(calls[2].answered, Some(Told::Refusal));

        let mut stream = service.connect(PAYMENTS).await;
        stream.write_all(&command(&["GET", "a"])).await.unwrap();
        let refusal = b"-REGRESS ";
        assert_eq!(read(&mut stream, refusal.len()).await, &refusal[..]);
        assert_eq!(reasons(&service.mock().take_journal()), [Some(MissReason::UnknownDestination)]);
        // What nobody takes for Redis by its first bytes is, where Redis is played.
        let mut stream = service.connect(CACHE).await;
        stream.write_all(b"PING\r\n").await.unwrap();
        assert_eq!(read(&mut stream, 7).await, &b"+PONG\r\n"[..]);
    })
    .await;
}

#[tokio::test]
async fn garbage_behind_a_request_does_not_spoil_the_answer() {
    let service = Service::with(vec![answered(ask("GET", "/a", ""), ok("a"))]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        let wire = [ask("GET", "/a", "").wire(), b"\0\0garbage\r\n\r\n".to_vec()].concat();
        stream.write_all(&wire).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.0, ok("a").wire());
        assert_eq!(reasons(&service.mock().take_journal()), [None, Some(MissReason::OtherProtocol)]);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_waits_to_continue_is_told_to() {
    let headers = [("Host", "payments:8080"), ("Expect", "100-continue"), ("Content-Length", "4")];
    let upload = Message::request("POST", "/upload", &headers, "body");
    let mut recorded = answered(upload.clone(), ok("done"));
    let Content::Http1(http) = &mut recorded.content else { panic!("it is HTTP") };
    http.interim.push(Message::response(100, "Continue", &[], ""));
    http.interim.push(Message::response(103, "Early Hints", &[("Link", "x")], ""));
    let service = Service::with(vec![recorded.clone(), recorded]).await;
    bounded(async {
        let hints = Message::response(103, "Early Hints", &[("Link", "x")], "").wire();
        let mut stream = service.connect(PAYMENTS).await;
        let wire = upload.wire();
        let (head, body) = wire.split_at(wire.len() - 4);
        stream.write_all(head).await.unwrap();
        assert_eq!(read(&mut stream, super::CONTINUE.len()).await, super::CONTINUE);
        stream.write_all(body).await.unwrap();
        let expected = [hints.clone(), ok("done").wire()].concat();
        assert_eq!(read(&mut stream, expected.len()).await, expected);
        // One that does not wait gets what was recorded.
        stream.write_all(&wire).await.unwrap();
        let expected = [super::CONTINUE.to_vec(), hints, ok("done").wire()].concat();
        assert_eq!(read(&mut stream, expected.len()).await, expected);
    })
    .await;
}

#[tokio::test]
async fn head_has_no_body_in_hits_and_misses() {
    let head = ask("HEAD", "/a", "");
    let wire = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let service = Service::with(vec![answered(head.clone(), response_to(&head, wire))]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        assert_eq!(call(&mut stream, &head).await.wire(), wire.as_bytes());
        let missed = call(&mut stream, &ask("HEAD", "/b", "")).await;
        assert_eq!((missed.status(), missed.body.len()), (502, 0));
        // Nothing of a body is left on the connection.
        assert_eq!(call(&mut stream, &ask("HEAD", "/b", "")).await.status(), 502);
    })
    .await;
}

#[tokio::test]
async fn a_miss_leaves_the_connection_usable() {
    let service = Service::with(vec![answered(ask("GET", "/a", ""), ok("a"))]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        assert_eq!(call(&mut stream, &ask("POST", "/a", "{}")).await.header("x-regress"), Some(&b"miss"[..]));
        assert_eq!(call(&mut stream, &ask("GET", "/a", "")).await.body, "a");
        let mut closing = ask("GET", "/b", "");
        closing.headers.push(regress_protocols::http1::Line::new("Connection: close"));
        stream.write_all(&closing.wire()).await.unwrap();
        let (told, end) = read_to_end(&mut stream).await;
        assert!(end.is_ok() && told.starts_with(b"HTTP/1.1 502 "), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn an_old_client_without_host_is_closed_after_its_answer() {
    let old = request("GET /a HTTP/1.0\r\n\r\n");
    let service = Service::with(vec![at("10.0.0.7:80", old.clone(), ok("a"))]).await;
    bounded(async {
        let mut stream = service.connect("10.0.0.7:80").await;
        stream.write_all(&old.wire()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.0, ok("a").wire());
        assert_eq!(service.mock().take_journal()[0].downstream, "10.0.0.7");
    })
    .await;
}

#[tokio::test]
async fn recorded_resets_are_resets() {
    let asked = ask("GET", "/a", "");
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning";
    let service = Service::with(vec![
        exchange(PAYMENTS, false, http(asked.clone(), None), Ended::Reset),
        exchange(PAYMENTS, false, http(asked.clone(), Some(response_to(&asked, part))), Ended::Reset),
    ])
    .await;
    bounded(async {
        for expected in ["", part] {
            let mut stream = service.connect(PAYMENTS).await;
            stream.write_all(&asked.wire()).await.unwrap();
            let (bytes, end) = read_to_end(&mut stream).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(bytes, expected.as_bytes());
        }
        assert_eq!(reasons(&service.mock().take_journal()), [None, None]);
    })
    .await;
}

#[tokio::test]
async fn recorded_early_closes_are_closes() {
    let asked = ask("GET", "/a", "");
    let parts = ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning", "HTTP/1.1 20"];
    let exchanges = parts.map(|part| {
        let response = (!part.is_empty()).then(|| response_to(&asked, part));
        exchange(PAYMENTS, false, http(asked.clone(), response), Ended::Closed)
    });
    let service = Service::with(exchanges.to_vec()).await;
    bounded(async {
        for expected in parts {
            let mut stream = service.connect(PAYMENTS).await;
            stream.write_all(&asked.wire()).await.unwrap();
            let (bytes, end) = read_to_end(&mut stream).await;
            assert!(end.is_ok(), "{end:?}");
            assert_eq!(bytes, expected.as_bytes());
        }
    })
    .await;
}

#[tokio::test]
async fn a_response_that_ran_until_the_close_does_so_again() {
    let asked = ask("GET", "/a", "");
    let wire = "HTTP/1.1 200 OK\r\n\r\nall of it";
    let service = Service::with(vec![answered(asked.clone(), response_to(&asked, wire))]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        stream.write_all(&asked.wire()).await.unwrap();
        let (bytes, end) = read_to_end(&mut stream).await;
        assert!(end.is_ok());
        assert_eq!(bytes, wire.as_bytes());
    })
    .await;
}

#[tokio::test]
async fn a_recorded_hang_lasts_until_the_client_goes_or_the_mock_is_closed() {
    let asked = ask("GET", "/a", "");
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning";
    let service = Service::with(vec![
        exchange(PAYMENTS, false, http(asked.clone(), Some(response_to(&asked, part))), Ended::Timeout),
        exchange(PAYMENTS, false, http(asked.clone(), None), Ended::Unfinished),
    ])
    .await;
    bounded(async {
        let mut first = service.connect(PAYMENTS).await;
        first.write_all(&asked.wire()).await.unwrap();
        assert_eq!(read(&mut first, part.len()).await, part);
        let mut second = service.connect(PAYMENTS).await;
        second.write_all(&asked.wire()).await.unwrap();
        // Nobody waits for a hang.
        service.mock().wait_quiet(&entry_id(), Duration::from_secs(60)).await;
        assert_eq!(service.mock().unused(&entry_id()), [] as [usize; 0]);
        let mut byte = [0];
        assert_eq!(second.try_read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        service.mock().close();
        assert_eq!(read_to_end(&mut second).await.0, b"");
    })
    .await;
}

#[tokio::test]
async fn turns_after_a_switch_are_played_in_order() {
    let turns = vec![
        turn(Side::Server, b"hello"),
        turn(Side::Client, b"who are you?"),
        turn(Side::Server, b"a recording"),
        turn(Side::Client, b"oh"),
    ];
    let recorded = upgrade(turns, Ended::Ok);
    let asked = recorded.http().unwrap().request.clone();
    let service = Service::with(vec![recorded.clone(), recorded]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        stream.write_all(&asked.wire()).await.unwrap();
        let _ = read(&mut stream, SWITCHED).await;
        assert_eq!(read(&mut stream, 5).await, "hello");
        stream.write_all(b"who are").await.unwrap();
        stream.write_all(b" you?").await.unwrap();
        assert_eq!(read(&mut stream, 11).await, "a recording");
        stream.write_all(b"oh").await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.0, b"");
        drop(stream);
        // A client that says everything at once.
        let mut stream = service.connect(PAYMENTS).await;
        stream.write_all(&[&asked.wire()[..], b"who are you?oh"].concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(read_to_end(&mut stream).await.0.ends_with(b"helloa recording"));
        service.mock().wait_quiet(&entry_id(), Duration::from_secs(60)).await;
        assert_eq!(reasons(&service.mock().take_journal()), [None, None]);
    })
    .await;
}

#[tokio::test]
async fn other_bytes_after_a_switch_are_a_miss() {
    let turns = vec![turn(Side::Client, b"who are you?"), turn(Side::Server, b"a recording")];
    for (said, ended, expected) in [
        (&b"who am I?"[..], Ended::Ok, &b"who am I?"[..]),
        (b"who are yoU?", Ended::Ok, b"who are yoU?"),
        (b"who", Ended::Ok, b"who"),
        (b"who are you? And I?", Ended::Ok, b" And I?"),
        (b"who are you? And I?", Ended::Unfinished, b" And I?"),
    ] {
        let recorded = upgrade(turns.clone(), ended);
        let asked = recorded.http().unwrap().request.clone();
        let service = Service::with(vec![recorded]).await;
        bounded(async {
            let mut stream = service.connect(PAYMENTS).await;
            stream.write_all(&[&asked.wire()[..], said].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
            read_to_end(&mut stream).await.1.unwrap();
            let calls = service.journal(2).await;
            assert_eq!(reasons(&calls), [None, Some(MissReason::Opaque)]);
            assert_eq!(calls[1].what, Attempted::Opaque(expected.into()));
        })
        .await;
    }
}

#[tokio::test]
async fn tls_is_found_by_its_first_byte() {
    let asked = Message::request("GET", "/a", &[("Host", "payments.example")], "");
    let peer = "10.0.0.5:443";
    let secure = exchange(peer, true, http(asked.clone(), Some(ok("a"))), Ended::Ok);
    let reset = exchange(peer, true, http(asked.clone(), None), Ended::Reset);
    let service = Service::with(vec![secure, reset]).await;
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let files = service.authority.trust_files(folder.path()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(files.authority).unwrap()).unwrap();
        let connector = connector(roots);
        let name = ServerName::try_from("payments.example").unwrap();
        let mut stream = connector.connect(name.clone(), service.connect(peer).await).await.unwrap();
        stream.write_all(&asked.wire()).await.unwrap();
        let expected = ok("a").wire();
        assert_eq!(read(&mut stream, expected.len()).await, expected);
        let call = service.mock().take_journal().pop().unwrap();
        assert_eq!((call.tls, call.downstream.as_str()), (true, "payments.example"));
        // The same without TLS goes to another downstream.
        let mut plain = service.connect(peer).await;
        plain.write_all(&asked.wire()).await.unwrap();
        assert_eq!(read(&mut plain, 12).await, "HTTP/1.1 502");
        assert_eq!(reasons(&service.mock().take_journal()), [Some(MissReason::UnknownDestination)]);
        stream.write_all(&asked.wire()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.1.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        // A client that does not trust the authority.
        service.mock().take_journal();
        let stranger = connector_of_strangers();
        assert!(stranger.connect(name, service.connect(peer).await).await.is_err());
        let calls = service.journal(1).await;
        assert_eq!((reasons(&calls), calls[0].tls), (vec![Some(MissReason::OtherProtocol)], true));
    })
    .await;
}

fn connector(roots: rustls::RootCertStore) -> tokio_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into()
}

fn connector_of_strangers() -> tokio_rustls::TlsConnector {
    connector(rustls::RootCertStore::empty())
}

#[tokio::test]
async fn a_connection_without_a_word_counts_only_where_nobody_knows_the_destination() {
    let service = Service::with(vec![answered(ask("GET", "/a", ""), ok(""))]).await;
    bounded(async {
        drop(service.connect(PAYMENTS).await);
        drop(service.connect("10.9.9.9:5432").await);
        let calls = service.journal(1).await;
        assert_eq!(reasons(&calls), [Some(MissReason::UnknownDestination)]);
        assert_eq!(calls[0].destination, "10.9.9.9:5432".parse::<SocketAddr>().unwrap());
        assert_eq!(calls[0].what, Attempted::Opaque(Bytes::new()));
        // What comes after it is noted after it, and nothing was noted between.
        let mut stream = service.connect(PAYMENTS).await;
        call(&mut stream, &ask("GET", "/a", "")).await;
        assert_eq!(reasons(&service.mock().take_journal()), [None]);
    })
    .await;
}

#[tokio::test]
async fn bytes_of_no_protocol_that_were_not_all_recorded_are_not_played() {
    let database = "10.0.0.8:3306";
    let opaque = exchange(
        database,
        false,
        Content::Opaque(vec![turn(Side::Server, b"5.7.16"), turn(Side::Client, b"auth")]),
        Ended::Unfinished,
    );
    let cache = "10.0.0.8:6379";
    let redis = exchange(cache, false, Content::Opaque(vec![turn(Side::Client, b"PING\r\n")]), Ended::Unfinished);
    let service = Service::with(vec![opaque, redis]).await;
    bounded(async {
        let mut stream = service.connect(database).await;
        assert_eq!(read_to_end(&mut stream).await.0, b"", "a client that waits for a greeting is not left waiting");
        let mut stream = service.connect(cache).await;
        stream.write_all(b"PING\r\n").await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.0, b"");
        let calls = service.mock().take_journal();
        assert_eq!(reasons(&calls), [Some(MissReason::Opaque); 2]);
        assert_eq!(calls[1].what, Attempted::Opaque("PING\r\n".into()));
        assert_eq!(service.mock().unused(&entry_id()), [0, 1]);
    })
    .await;
}

#[tokio::test]
async fn connections_that_were_not_established_fail_in_their_turn() {
    let nothing = |ended| exchange(PAYMENTS, false, Content::Nothing, ended);
    let asked = ask("GET", "/a", "");
    let service = Service::with(vec![
        // A connection that was established, of which more is not known.
        nothing(Ended::Unfinished),
        nothing(Ended::Refused),
        nothing(Ended::Timeout),
        answered(asked.clone(), ok("at last")),
    ])
    .await;
    bounded(async {
        let mut refused = service.connect(PAYMENTS).await;
        assert_eq!(read_to_end(&mut refused).await.1.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut hangs = service.connect(PAYMENTS).await;
        hangs.write_all(&asked.wire()).await.unwrap();
        let calls = service.journal(1).await;
        assert_eq!(reasons(&calls)[..1], [None]);
        let mut answers = service.connect(PAYMENTS).await;
        assert_eq!(call(&mut answers, &asked).await.body, "at last");
        let mut byte = [0];
        assert_eq!(hangs.try_read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_the_client_breaks_off_is_a_call() {
    let mut cut = request("POST /a HTTP/1.1\r\nHost: payments:8080\r\nContent-Length: 3\r\n\r\nabc");
    let whole = cut.clone();
    cut.body = cut.body.slice(..1);
    cut.truncated = Some(Bytes::new());
    let recorded = exchange(PAYMENTS, false, http(cut.clone(), None), Ended::Closed);
    let service = Service::with(vec![recorded, answered(whole, ok(""))]).await;
    bounded(async {
        for expected in [None, Some(MissReason::AllUsed)] {
            let mut stream = service.connect(PAYMENTS).await;
            stream.write_all(&cut.wire()).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(read_to_end(&mut stream).await.0, b"");
            let calls = service.mock().take_journal();
            assert_eq!(reasons(&calls), [expected]);
            assert_eq!(calls[0].what, Attempted::Http(cut.clone()));
        }
    })
    .await;
}

#[tokio::test]
async fn serving_ends_with_the_last_handle() {
    let mut service = Service::with(vec![answered(ask("GET", "/a", ""), ok("a"))]).await;
    bounded(async {
        let mut stream = service.connect(PAYMENTS).await;
        let other = service.mock().clone();
        service.mock = None;
        assert_eq!(call(&mut stream, &ask("GET", "/a", "")).await.body, "a");
        drop(other);
        assert_eq!(read_to_end(&mut stream).await.0, b"");
        service.seen.closed().await;
    })
    .await;
}

#[tokio::test]
async fn quiet_comes_with_the_last_recorded_call_and_its_end() {
    // More than the connection takes at once, so that it is in flight for a while after it was judged.
    let large = Message::response(200, "OK", &[], vec![b'x'; 16 << 20]);
    let service =
        Service::with(vec![answered(ask("GET", "/a", ""), ok("a")), answered(ask("GET", "/b", ""), large)]).await;
    bounded(async {
        let (mock, id) = (service.mock().clone(), entry_id());
        mock.wait_quiet(&id, Duration::ZERO).await;
        assert_eq!(mock.unused(&id), [0, 1], "waiting has a bound");
        let mut stream = service.connect(PAYMENTS).await;
        let calls = async {
            call(&mut stream, &ask("GET", "/a", "")).await;
            call(&mut stream, &ask("GET", "/b", "")).await;
        };
        tokio::join!(mock.wait_quiet(&id, Duration::from_secs(3600)), calls);
        assert_eq!(mock.unused(&id), [] as [usize; 0]);
        // A request that has begun keeps the mock from being quiet until it is answered.
        stream.write_all(b"GET /c HT").await.unwrap();
        while mock.shared.is_quiet(&id) {
            tokio::task::yield_now().await;
        }
        let rest = async {
            stream.write_all(b"TP/1.1\r\nHost: payments:8080\r\n\r\n").await.unwrap();
            read(&mut stream, 12).await
        };
        let ((), told) = tokio::join!(mock.wait_quiet(&id, Duration::from_secs(3600)), rest);
        assert_eq!(told, "HTTP/1.1 502");
        // A stray line break does not count as one.
        let mut stray = service.connect(PAYMENTS).await;
        stray.write_all(&[ask("GET", "/d", "").wire(), b"\r\n".to_vec()].concat()).await.unwrap();
        assert_eq!(read(&mut stray, 12).await, "HTTP/1.1 502");
        mock.wait_quiet(&id, Duration::from_secs(3600)).await;
    })
    .await;
}

#[tokio::test]
async fn what_has_arrived_is_judged_before_it_is_quiet() {
    let service = Service::with(Vec::new()).await;
    bounded(async {
        for _ in 0..100 {
            let mut stream = service.connect(PAYMENTS).await;
            let wire = ask("GET", "/extra", "").wire();
            // Without a chance for the mock to run.
            assert_eq!(stream.try_write(&wire).unwrap(), wire.len());
            service.mock().wait_quiet(&entry_id(), Duration::ZERO).await;
            assert_eq!(service.mock().take_journal().len(), 1);
            assert_eq!(read(&mut stream, 12).await, "HTTP/1.1 502");
        }
    })
    .await;
}

#[tokio::test]
async fn datagrams_and_unknown_names_are_calls() {
    let service = Service::with(Vec::new()).await;
    bounded(async {
        let destination = "10.0.0.1:514".parse().unwrap();
        let from = "10.0.0.2:9999".parse().unwrap();
        let query = |name: &str, outcome| {
            let (name, kind, told) = (name.to_owned(), crate::dns::A, Bytes::new());
            crate::dns::Query { name, kind, outcome, told }
        };
        for seen in [
            Intercepted::Datagram(Attempt { destination, from, protocol: Protocol::Udp, length: 3 }),
            Intercepted::Query(query("known.example", crate::dns::Outcome::Answered)),
            Intercepted::Query(query("new.example", crate::dns::Outcome::Unknown)),
        ] {
            service.seen.send(seen).unwrap();
        }
        let calls = service.journal(2).await;
        assert_eq!((&calls[0].what, calls[0].destination), (&Attempted::Datagram, destination));
        assert_eq!(calls[1].what, Attempted::Name("new.example".to_owned()));
        assert_eq!(reasons(&calls), [Some(MissReason::UnknownDestination); 2]);
    })
    .await;
}
