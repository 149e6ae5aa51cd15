use bytes::Bytes;
use regress_cassettes::{Content, Ended, Exchange, Turn};
use regress_protocols::Side;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    journal::{Attempted, Call, HitScope, Match, MissReason, Rung},
    mock::{Mode, Policy, Reuse},
    playback::tests::{Service, bounded, read, read_to_end, reasons},
    samples::{answered, ask, entered, entry_id, exchange, mock, ok},
};

const PEER: &str = "10.0.0.9:7000";

/// `>` is what the client says, `<` what the server says, one a line.
fn conversation(script: &str, ended: Ended) -> Exchange {
    let side = |line: &str| if line.starts_with('>') { Side::Client } else { Side::Server };
    let turn = |line: &str| Turn { from: side(line), bytes: Bytes::from(format!("{}\n", &line[1..])) };
    exchange(PEER, false, Content::Opaque(script.split(' ').map(turn).collect()), ended)
}

fn whole(script: &str) -> Exchange {
    conversation(script, Ended::Ok)
}

/// Says a line and reads one.
async fn line(stream: &mut TcpStream, said: &str, expected: &str) {
    stream.write_all(format!("{said}\n").as_bytes()).await.unwrap();
    assert_eq!(read(stream, expected.len() + 1).await, format!("{expected}\n"));
}

fn hits(calls: &[Call]) -> Vec<(usize, HitScope, Rung, bool)> {
    let hit = |call: &Call| match &call.matched {
        Match::Hit { exchange, scope, rung, again, .. } => Some((*exchange, *scope, *rung, *again)),
        Match::Miss { .. } => None,
    };
    calls.iter().filter_map(hit).collect()
}

#[tokio::test]
async fn a_conversation_is_played_by_turns_and_noted_before_its_last_byte() {
    let scripts = [">GET,1 <one >QUIT <bye", ">GET,2 <two >QUIT <bye"];
    let service = Service::with(scripts.map(whole).into()).await;
    bounded(async {
        for (number, answer) in [(2, "two"), (1, "one")] {
            let mut stream = service.connect(PEER).await;
            line(&mut stream, &format!("GET,{number}"), answer).await;
            line(&mut stream, "QUIT", "bye").await;
            let calls = service.mock().take_journal();
            assert_eq!(hits(&calls), [(number - 1, HitScope::Entry, Rung::Turns, false)]);
            assert_eq!(calls[0].what, Attempted::Opaque(format!("GET,{number}\nQUIT\n").into()));
            assert_eq!(read_to_end(&mut stream).await.0, b"");
        }
        assert!(service.mock().unused(&entry_id()).is_empty());
        let mut third = service.connect(PEER).await;
        third.write_all(b"GET,1\n").await.unwrap();
        assert_eq!(read_to_end(&mut third).await.0, b"");
        assert_eq!(reasons(&service.mock().take_journal()), [Some(MissReason::AllUsed)]);
    })
    .await;
}

#[tokio::test]
async fn another_byte_is_a_miss_that_shows_it() {
    let service = Service::with(vec![whole(">LOGIN <ok >GET,1 <one")]).await;
    bounded(async {
        let mut stream = service.connect(PEER).await;
        line(&mut stream, "LOGIN", "ok").await;
        stream.write_all(b"GET,2\n").await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.0, b"");
        let calls = service.mock().take_journal();
        assert_eq!(reasons(&calls), [Some(MissReason::DifferentRequest)]);
        let Match::Miss { nearest, .. } = &calls[0].matched else { panic!("{calls:?}") };
        let difference = &nearest[0].differences[0];
        assert_eq!((nearest[0].exchange, difference.path.as_str()), (0, "turns/2"));
        assert_eq!(difference.expected.as_deref(), Some("from byte 4: 1\\n"));
        assert_eq!(difference.actual.as_deref(), Some("from byte 4: 2\\n"));
        // It was not played, and can be.
        assert_eq!(service.mock().unused(&entry_id()), [0]);
        let mut again = service.connect(PEER).await;
        line(&mut again, "LOGIN", "ok").await;
        line(&mut again, "GET,1", "one").await;
        assert_eq!(hits(&service.mock().take_journal()).len(), 1);
        // More than was recorded, and less.
        again.write_all(b"MORE\n").await.unwrap();
        assert_eq!(reasons(&service.journal(1).await), [Some(MissReason::DifferentRequest)]);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_early_has_not_said_what_was_recorded() {
    let service = Service::with(vec![whole(">LOGIN <ok >GET,1 <one")]).await;
    bounded(async {
        let mut stream = service.connect(PEER).await;
        line(&mut stream, "LOGIN", "ok").await;
        drop(stream);
        let calls = service.journal(1).await;
        let Match::Miss { nearest, .. } = &calls[0].matched else { panic!("{calls:?}") };
        let difference = &nearest[0].differences[0];
        assert_eq!((difference.expected.as_deref(), &difference.actual), (Some("from byte 0: GET,1\\n"), &None));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_speaks_first_does_so_again() {
    let service = Service::with(["<220,a >A <x", "<220,b >A <x", ">A <y"].map(whole).into()).await;
    bounded(async {
        let mut first = service.connect(PEER).await;
        assert_eq!(read(&mut first, 6).await, "220,a\n");
        let mut second = service.connect(PEER).await;
        assert_eq!(read(&mut second, 6).await, "220,b\n");
        line(&mut second, "A", "x").await;
        line(&mut first, "A", "x").await;
        let hits: Vec<_> = hits(&service.mock().take_journal()).into_iter().map(|hit| hit.0).collect();
        assert_eq!(hits, [1, 0]);
        let mut third = service.connect(PEER).await;
        line(&mut third, "A", "y").await;
        service.mock().take_journal();
        let mut more = service.connect(PEER).await;
        assert_eq!(read_to_end(&mut more).await.0, b"", "a client that waits for a greeting is not left waiting");
        assert_eq!(reasons(&service.mock().take_journal()), [Some(MissReason::AllUsed)]);
    })
    .await;
}

#[tokio::test]
async fn what_looks_like_http_at_first_is_answered_all_the_same() {
    let service = Service::with(vec![whole(">GET <one"), answered(ask("GET", "/a", ""), ok("a"))]).await;
    bounded(async {
        let mut stream = service.connect(PEER).await;
        line(&mut stream, "GET", "one").await;
        assert_eq!(hits(&service.mock().take_journal()).len(), 1);
        // HTTP is recognised, and was not recorded there.
        let mut stream = service.connect(PEER).await;
        stream.write_all(&ask("GET", "/a", "").wire()).await.unwrap();
        assert_eq!(read(&mut stream, 12).await, "HTTP/1.1 502");
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_conversation_is_played() {
    let scripts = [conversation(">A <x", Ended::Reset), conversation(">B <y", Ended::Timeout)];
    let service = Service::with(scripts.into()).await;
    bounded(async {
        let mut stream = service.connect(PEER).await;
        line(&mut stream, "A", "x").await;
        assert_eq!(read_to_end(&mut stream).await.1.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        let mut stream = service.connect(PEER).await;
        line(&mut stream, "B", "y").await;
        let mut byte = [0];
        assert_eq!(stream.try_read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    })
    .await;
}

#[tokio::test]
async fn what_no_entry_caused_is_played_again_and_again() {
    let service = Service::of(mock(Vec::new(), vec![whole(">A <x"), whole(">A <z")], Mode::Strict)).await;
    bounded(async {
        for (answer, again) in [("x", false), ("z", false), ("z", true), ("z", true)] {
            let mut stream = service.connect(PEER).await;
            line(&mut stream, "A", answer).await;
            let number = usize::from(answer == "z");
            assert_eq!(hits(&service.journal(1).await), [(number, HitScope::Ambient, Rung::Turns, again)]);
        }
    })
    .await;
}

#[tokio::test]
async fn conversations_of_an_entry_are_reused_as_the_policy_has_it() {
    for (reuse, answers) in [(Reuse::Last, ["x", "z", "z", "z"]), (Reuse::Cycle, ["x", "z", "x", "z"])] {
        let policy = Policy { reuse, ..Policy::default() };
        let service =
            Service::of(entered(vec![whole(">A <x"), whole(">A <z")], Vec::new(), Mode::Strict, policy)).await;
        bounded(async {
            for answer in answers {
                let mut stream = service.connect(PEER).await;
                line(&mut stream, "A", answer).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn connections_side_by_side_do_not_have_the_same_conversation() {
    let service = Service::with([">A <x >1 <one", ">A <x >1 <one", ">A <x >2 <two"].map(whole).into()).await;
    bounded(async {
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut stream = service.connect(PEER).await;
            line(&mut stream, "A", "x").await;
            streams.push(stream);
        }
        for (stream, (said, answer)) in streams.iter_mut().zip([("1", "one"), ("2", "two"), ("1", "one")]) {
            line(stream, said, answer).await;
        }
        assert!(service.mock().unused(&entry_id()).is_empty());
    })
    .await;
}

/// One with the downstream of that name.
fn named(name: &str, script: &str) -> Exchange {
    Exchange { downstream: Some(format!("{name}:7000")), ..whole(script) }
}

#[tokio::test]
async fn the_name_that_was_resolved_last_says_whose_conversation_it_is() {
    let recorded = vec![named("tea.test", ">A <tea"), named("milk.test", ">A <milk"), named("tea.test", ">B <tea")];
    let service = Service::with(recorded).await;
    bounded(async {
        for (name, said, answer) in
            [("milk.test", "A", Some("milk")), ("tea.test", "A", Some("tea")), ("milk.test", "B", None)]
        {
            service.resolve(name);
            let mut stream = service.connect(PEER).await;
            match answer {
                Some(answer) => line(&mut stream, said, answer).await,
                None => {
                    stream.write_all(b"B\n").await.unwrap();
                    assert_eq!(read_to_end(&mut stream).await.0, b"");
                }
            }
        }
        let calls = service.mock().take_journal();
        let names: Vec<&str> = calls.iter().map(|call| call.downstream.as_str()).collect();
        assert_eq!(names[..2], ["milk.test:7000", "tea.test:7000"]);
        assert_eq!(reasons(&calls)[..2], [None, None]);
        assert!(reasons(&calls)[2].is_some());
    })
    .await;
    // Where nothing was resolved, whatever was recorded at the address counts.
    let service = Service::with(vec![named("tea.test", ">A <tea"), named("milk.test", ">B <milk")]).await;
    bounded(async {
        for (said, answer) in [("B", "milk"), ("A", "tea")] {
            let mut stream = service.connect(PEER).await;
            line(&mut stream, said, answer).await;
        }
        let mut other = service.connect("10.0.0.10:7000").await;
        other.write_all(b"A\n").await.unwrap();
        assert_eq!(read_to_end(&mut other).await.0, b"");
        let calls = service.mock().take_journal();
        assert_eq!(reasons(&calls), [None, None, Some(MissReason::UnknownDestination)]);
    })
    .await;
}
