use h2::client::{self, SendRequest};
use regress_cassettes::{Content, Ended, Exchange};
use regress_protocols::http2::Reset;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    journal::{Call, Match, MissReason},
    playback::tests::{Service, bounded, reasons},
    samples::{PAYMENTS, answered, ask, exchange, http as recorded, ok},
};

const HEADERS: [(&str, &str); 3] =
    [("host", "payments:8080"), ("content-type", "application/grpc"), ("te", "trailers")];

fn grpc(method: &str, body: &'static str) -> Message {
    http2::request("POST", &format!("/pay.Pay/{method}"), &HEADERS, body)
}

fn said(body: &'static str) -> Message {
    http2::response(200, &[("content-type", "application/grpc")], body, &[("grpc-status", "0")])
}

/// An exchange whose sides took turns.
fn turns(request: Message, response: Message, interleaved: &[(u64, u64)]) -> Exchange {
    let mut content = recorded(request, Some(response));
    if let Content::Http1(http) = &mut content {
        http.interleaved = interleaved.to_vec();
    }
    exchange(PAYMENTS, false, content, Ended::Ok)
}

/// An exchange that ended early.
fn ended(request: Message, response: Option<Message>, reset: Option<Reset>, ended: Ended) -> Exchange {
    let mut content = recorded(request, response);
    if let Content::Http1(http) = &mut content {
        http.reset = reset;
    }
    exchange(PAYMENTS, false, content, ended)
}

/// A connection of a client.
struct Client {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

impl Client {
    async fn of(service: &Service) -> Client {
        let (sender, connection) = client::handshake(service.connect(PAYMENTS).await).await.unwrap();
        // How it ends shows in its streams.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Client { sender, connection }
    }

    /// Begins a request: its head alone.
    async fn begin(&mut self, request: &Message) -> (client::ResponseFuture, SendStream<Bytes>) {
        poll_fn(|context| self.sender.poll_ready(context)).await.unwrap();
        self.sender.send_request(http2::request_head(request, "http").unwrap(), false).unwrap()
    }

    async fn call(&mut self, request: &Message) -> Result<Message, h2::Error> {
        let (response, mut sending) = self.begin(request).await;
        sending.send_data(request.body.clone(), true)?;
        let (head, mut body) = response.await?.into_parts();
        let (mut content, mut frames) = (BytesMut::new(), Vec::new());
        while let Some(data) = body.data().await {
            let data = data?;
            frames.push(data.len() as u64);
            content.extend_from_slice(&data);
        }
        let trailers = body.trailers().await?.map(|fields| http2::lines(&fields));
        Ok(http2::with_body(http2::response_of(&head), content.freeze(), &frames, trailers, true))
    }
}

fn hits(calls: &[Call]) -> Vec<usize> {
    let hit = |call: &Call| if let Match::Hit { exchange, .. } = call.matched { Some(exchange) } else { None };
    calls.iter().filter_map(hit).collect()
}

#[tokio::test]
async fn streams_of_one_connection_are_answered_with_their_trailers() {
    bounded(async {
        let service = Service::with(vec![
            answered(grpc("Take", "one"), said("1")),
            answered(grpc("Take", "two"), said("2")),
            answered(http2::request("GET", "/plain", &HEADERS[..1], ""), http2::response(204, &[("a", "b")], "", &[])),
        ])
        .await;
        let mut client = Client::of(&service).await;
        assert_eq!(client.call(&grpc("Take", "two")).await.unwrap(), said("2"));
        assert_eq!(client.call(&grpc("Take", "one")).await.unwrap(), said("1"));
        let plain = client.call(&http2::request("GET", "/plain", &HEADERS[..1], "")).await.unwrap();
        assert_eq!((plain.status(), plain.header("a")), (204, Some(&b"b"[..])));
        assert_eq!(hits(&service.journal(3).await), [1, 0, 2]);
    })
    .await;
}

#[tokio::test]
async fn large_bodies_go_through_small_windows() {
    bounded(async {
        let large: &'static str = "x".repeat(1 << 20).leak();
        let service = Service::with(vec![answered(grpc("Take", large), said(large))]).await;
        let mut client = Client::of(&service).await;
        let (response, mut sending) = client.begin(&grpc("Take", large)).await;
        assert!(crate::flow::send(&mut sending, Bytes::from(large), true).await.is_some());
        let mut body = response.await.unwrap().into_body();
        let mut received = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            received += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(received, large.len());
    })
    .await;
}

#[tokio::test]
async fn a_miss_is_told_as_grpc_has_it_and_the_connection_goes_on() {
    bounded(async {
        let service = Service::with(vec![answered(grpc("Take", "one"), said("1"))]).await;
        let mut client = Client::of(&service).await;
        let missed = client.call(&grpc("Take", "100 %")).await.unwrap();
        assert_eq!((missed.status(), missed.header("x-regress")), (200, Some(&b"miss"[..])));
        assert_eq!(missed.header("grpc-status"), Some(&b"14"[..]));
        let message = missed.header_text("grpc-message").unwrap().into_owned();
        assert!(message.starts_with("regress: no recorded exchange answers POST /pay.Pay/Take"), "{message}");
        assert!(message.contains("100 %25%0A") || message.contains("100 %25"), "{message}");
        let plain = client.call(&http2::request("GET", "/x", &HEADERS[..1], "")).await.unwrap();
        assert_eq!((plain.status(), plain.header("x-regress")), (502, Some(&b"miss"[..])));
        assert_eq!(client.call(&grpc("Take", "one")).await.unwrap(), said("1"));
        let reasons = reasons(&service.journal(3).await);
        assert_eq!(reasons, [Some(MissReason::DifferentRequest), Some(MissReason::UnknownOperation), None]);
    })
    .await;
}

#[tokio::test]
async fn what_was_recorded_in_the_other_version_is_a_miss() {
    bounded(async {
        let body = "{}";
        let service = Service::with(vec![answered(ask("POST", "/pay", body), ok(body))]).await;
        let mut client = Client::of(&service).await;
        let headers = [HEADERS[0], ("content-type", "application/json")];
        let missed = client.call(&http2::request("POST", "/pay", &headers, body)).await.unwrap();
        assert_eq!(missed.status(), 502);
        let Match::Miss { reason, nearest } = &service.journal(1).await[0].matched else { panic!("it was answered") };
        assert_eq!(*reason, MissReason::UnknownOperation);
        assert!(nearest[0].differences.iter().any(|difference| difference.path == "protocol"), "{nearest:?}");
    })
    .await;
}

#[tokio::test]
async fn streams_end_as_they_did() {
    bounded(async {
        let mut part = said("part");
        part.framing = Framing::Chunked { chunks: Vec::new(), trailers: Vec::new(), end: Line::default() };
        part.truncated = Some(Bytes::new());
        let reset = |code| Some(Reset { from: Side::Server, code });
        let service = Service::with(vec![
            ended(grpc("Refused", ""), None, reset(Reset::REFUSED_STREAM), Ended::Reset),
            ended(grpc("Part", ""), Some(part), reset(2), Ended::Reset),
            answered(grpc("Take", "one"), said("1")),
            ended(grpc("Closed", ""), None, None, Ended::Closed),
        ])
        .await;
        let mut client = Client::of(&service).await;
        let refused = client.call(&grpc("Refused", "")).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::REFUSED_STREAM));
        let part = client.call(&grpc("Part", "")).await.unwrap_err();
        assert_eq!(part.reason(), Some(Reason::INTERNAL_ERROR));
        // The connection is none the worse for it.
        assert_eq!(client.call(&grpc("Take", "one")).await.unwrap(), said("1"));
        client.call(&grpc("Closed", "")).await.unwrap_err();
        client.connection.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn sides_take_turns_as_they_did() {
    bounded(async {
        let service = Service::with(vec![turns(grpc("Chat", "onetwo"), said("1122"), &[(3, 2), (6, 4)])]).await;
        let mut client = Client::of(&service).await;
        let (response, mut sending) = client.begin(&grpc("Chat", "")).await;
        sending.send_data(Bytes::from("one"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "11");
        sending.send_data(Bytes::from("two"), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "22");
        sending.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
        assert_eq!(hits(&service.journal(1).await), [0]);
    })
    .await;
}

#[tokio::test]
async fn a_turn_that_was_not_recorded_is_a_miss_at_once() {
    bounded(async {
        let chat = || turns(grpc("Chat", "onetwo"), said("1122"), &[(3, 2), (6, 4)]);
        let service = Service::with(vec![chat(), chat()]).await;
        let mut client = Client::of(&service).await;
        // From the beginning.
        let (response, mut sending) = client.begin(&grpc("Chat", "")).await;
        sending.send_data(Bytes::from("six"), false).unwrap();
        assert_eq!(response.await.unwrap().headers()["x-regress"], "miss");
        // Later on: what was said cannot be taken back, but nothing more is.
        let (response, mut sending) = client.begin(&grpc("Chat", "")).await;
        sending.send_data(Bytes::from("one"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "11");
        sending.send_data(Bytes::from("six"), false).unwrap();
        body.data().await.unwrap().unwrap_err();
        let reasons = reasons(&service.journal(2).await);
        assert_eq!(reasons, [Some(MissReason::DifferentRequest); 2]);
    })
    .await;
}

#[tokio::test]
async fn where_it_is_not_clear_how_a_request_goes_on_nothing_is_said_before() {
    bounded(async {
        let chats = ["onetwo", "onesix"].map(|body| turns(grpc("Chat", body), said(body), &[(3, 3), (6, 6)]));
        let service = Service::with(chats.to_vec()).await;
        let mut client = Client::of(&service).await;
        let (response, mut sending) = client.begin(&grpc("Chat", "")).await;
        sending.send_data(Bytes::from("one"), false).unwrap();
        sending.send_data(Bytes::from("six"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "onesix");
        sending.send_data(Bytes::new(), true).unwrap();
        assert_eq!(hits(&service.journal(1).await), [1]);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_given_up_is_a_call() {
    bounded(async {
        let service = Service::with(vec![answered(grpc("Take", "one"), said("1"))]).await;
        let mut client = Client::of(&service).await;
        let (_response, mut sending) = client.begin(&grpc("Take", "")).await;
        sending.send_data(Bytes::from("o"), false).unwrap();
        sending.send_reset(Reason::CANCEL);
        assert_eq!(reasons(&service.journal(1).await), [Some(MissReason::DifferentRequest)]);
    })
    .await;
}
