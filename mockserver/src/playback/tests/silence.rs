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
