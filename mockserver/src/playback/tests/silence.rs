//! Connections on which nothing is said.

use tokio::sync::oneshot;

use super::*;

/// Where nobody ever went.
const NOWHERE: &str = "10.66.6.6:6666";

impl Service {
    /// Waits until the mock knows every connection so far.
    async fn known(&self) {
        let (mark, answer) = oneshot::channel();
        self.seen.send(Intercepted::Mark(mark)).unwrap();
        assert!(answer.await.is_err(), "a mark is dropped");
    }

    /// The destinations of what is open in silence.
    fn silent(&self) -> Vec<String> {
        let silent = self.mock().tell_silent();
        for call in &silent {
            assert_eq!((&call.what, &call.scope), (&Attempted::Opaque(Bytes::new()), &Scope::Entry(entry_id())));
        }
        assert_eq!(reasons(&silent), vec![Some(MissReason::UnknownDestination); silent.len()]);
        silent.into_iter().map(|call| call.downstream).collect()
    }
}

#[tokio::test]
async fn one_to_an_unknown_address_that_stays_open_is_told_once() {
    let service = Service::with(vec![answered(ask("GET", "/a", ""), ok("a"))]).await;
    bounded(async {
        let first = service.connect(NOWHERE).await;
        let _second = service.connect("[2001:db8::6]:1").await;
        let _known = service.connect(PAYMENTS).await;
        service.known().await;
        assert_eq!(service.mock().take_journal(), []);
        assert!(service.mock().is_silent());
        assert_eq!(service.silent(), [NOWHERE, "[2001:db8::6]:1"]);
        assert!(!service.mock().is_silent());
        // That it is closed later is not told again, unlike that of one that was not told.
        drop(first);
        drop(service.connect("10.66.6.6:7").await);
        assert_eq!(service.journal(1).await[0].downstream, "10.66.6.6:7");
        assert_eq!(service.silent(), [""; 0]);
        assert_eq!(service.mock().take_journal(), []);
    })
    .await;
}

#[tokio::test]
async fn one_on_which_something_is_said_is_what_it_becomes() {
    let service = Service::with(Vec::new()).await;
    bounded(async {
        let mut stream = service.connect(NOWHERE).await;
        service.known().await;
        assert!(service.mock().is_silent());
        let response = call(&mut stream, &ask("GET", "/a", "")).await;
        assert_eq!(response.status(), 502);
        assert_eq!(service.silent(), [""; 0]);
        assert!(matches!(service.mock().take_journal()[0].what, Attempted::Http(_)));

        // Spoken on after it was told: that is a call beside it.
        let mut late = service.connect(NOWHERE).await;
        service.known().await;
        assert_eq!(service.silent(), [NOWHERE]);
        call(&mut late, &ask("GET", "/b", "")).await;
        assert_eq!(service.mock().take_journal().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn one_that_is_closed_belongs_to_where_it_was_opened() {
    let service = Service::with(Vec::new()).await;
    bounded(async {
        let stream = service.connect(NOWHERE).await;
        service.known().await;
        service.mock().enter(cassette("another", Vec::new()));
        drop(stream);
        let closed = service.journal(1).await;
        assert_eq!((&closed[0].scope, closed.len()), (&Scope::Entry(entry_id()), 1));
        assert_eq!(service.mock().tell_silent(), []);
    })
    .await;
}

#[tokio::test]
async fn what_any_recording_knows_is_opened_in_advance() {
    let other = cassette("other", vec![at("10.0.0.9:90", request("GET /a HTTP/1.0\r\n\r\n"), ok(""))]);
    let refused = exchange("10.0.0.9:91", false, Content::Nothing, Ended::Refused);
    let entry = cassette(&entry_id().0, Vec::new());
    let mock = Mock::new(library(&[other, Arc::clone(&entry)], Some(vec![refused])), Mode::Strict, Default::default());
    let service = Service::of(mock).await;
    bounded(async {
        // Before any entry nothing is told: a service that starts opens what it may need.
        let _early = service.connect(NOWHERE).await;
        service.known().await;
        service.mock().enter(entry);
        let _pooled = [service.connect("10.0.0.9:90").await, service.connect("10.0.0.9:91").await];
        service.known().await;
        assert!(!service.mock().is_silent());
        assert_eq!(service.silent(), [""; 0]);
    })
    .await;
}

/// The destinations of what is left open where calls are known to go.
fn left_open(mock: &Mock) -> Vec<String> {
    let left = mock.left_open();
    for call in &left {
        assert_eq!((&call.what, &call.scope), (&Attempted::Opaque(Bytes::new()), &Scope::Entry(entry_id())));
    }
    assert_eq!(reasons(&left), vec![Some(MissReason::LeftOpen); left.len()]);
    left.into_iter().map(|call| call.destination.to_string()).collect()
}

#[tokio::test]
async fn one_to_a_known_address_is_left_open_until_something_is_said() {
    let greets = exchange("10.0.0.9:25", false, Content::Opaque(vec![turn(Side::Server, b"220\r\n")]), Ended::Closed);
    let late = exchange("10.0.0.9:26", false, Content::Nothing, Ended::Timeout);
    let answered = answered(ask("GET", "/a", ""), ok("a"));
    let entry = cassette(&entry_id().0, vec![answered, greets, late]);
    let mock = Mock::new(library(&[Arc::clone(&entry)], None), Mode::Strict, Default::default());
    let service = Service::of(mock).await;
    bounded(async {
        // A pool that is filled at the start.
        let _early = service.connect(PAYMENTS).await;
        service.known().await;
        service.mock().enter(entry);
        assert_eq!(left_open(service.mock()), [""; 0]);
        let mut first = service.connect(PAYMENTS).await;
        let second = service.connect(PAYMENTS).await;
        // The server speaks first here, and this one was never established when it was recorded.
        let mut greeted = service.connect("10.0.0.9:25").await;
        assert_eq!(read(&mut greeted, 5).await, "220\r\n");
        let _hangs = service.connect("10.0.0.9:26").await;
        let told: Vec<u16> = service.journal(2).await.iter().map(|call| call.destination.port()).collect();
        assert_eq!(told, [25, 26]);
        assert_eq!(left_open(service.mock()), [PAYMENTS, PAYMENTS]);
        assert_eq!(left_open(service.mock()), [PAYMENTS, PAYMENTS], "it is told as often as it is asked");
        assert_eq!((service.mock().is_silent(), service.mock().tell_silent()), (false, Vec::new()));
        call(&mut first, &ask("GET", "/a", "")).await;
        assert_eq!(left_open(service.mock()), [PAYMENTS]);
        drop(second);
        while !left_open(service.mock()).is_empty() {
            tokio::task::yield_now().await;
        }
        // What is left open by another entry is not this one's.
        let _third = service.connect(PAYMENTS).await;
        service.known().await;
        service.mock().enter(cassette("another", Vec::new()));
        assert_eq!(left_open(service.mock()), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn where_the_recorded_service_left_connections_unused_they_are_nothing() {
    let unused = exchange(PAYMENTS, false, Content::Opaque(Vec::new()), Ended::Closed);
    let entry = cassette(&entry_id().0, vec![answered(ask("GET", "/a", ""), ok("a"))]);
    let mock = Mock::new(library(&[Arc::clone(&entry)], Some(vec![unused])), Mode::Strict, Default::default());
    mock.enter(entry);
    let service = Service::of(mock).await;
    bounded(async {
        let _unused = service.connect(PAYMENTS).await;
        service.known().await;
        assert_eq!(left_open(service.mock()), [""; 0]);
        // It answers as ever, and what is not HTTP is told as it is told elsewhere.
        let mut used = service.connect(PAYMENTS).await;
        assert_eq!(call(&mut used, &ask("GET", "/a", "")).await.status(), 200);
        let mut other = service.connect(PAYMENTS).await;
        other.write_all(b"\x00\x01\x02\x03").await.unwrap();
        let told = service.journal(2).await;
        assert_eq!(reasons(&told[1..]), [Some(MissReason::OtherProtocol)]);
    })
    .await;
}
