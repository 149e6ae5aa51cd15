use proptest::prelude::*;

use super::*;

fn request(words: &[&str]) -> Value {
    let mut words = words.iter().copied().map(Value::text);
    let command = words.next().unwrap_or_default();
    Value::map([("command", command), ("args", Value::List(words.collect()))])
}

fn said(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn fifo() -> Fifo {
    Fifo::new(Protocol::Redis, 0, 1 << 20)
}

fn events(fifo: &mut Fifo) -> Vec<PairEvent> {
    std::iter::from_fn(|| fifo.next()).collect()
}

fn done(fifo: &mut Fifo) -> Vec<Paired> {
    let done = |event| if let PairEvent::Done(paired) = event { Some(*paired) } else { None };
    events(fifo).into_iter().filter_map(done).collect()
}

fn shown(paired: &Paired) -> String {
    let content = match &paired.content {
        PairedContent::Wire { request, response, setup, .. } => {
            let setup = if *setup { " (setup)" } else { "" };
            let line = if *request == Value::Null { "-".to_owned() } else { Protocol::Redis.line(request) };
            let response = match response {
                Some(Value::Text(text)) => text.clone(),
                other => format!("{other:?}"),
            };
            format!("{line}{setup} -> {response}")
        }
        other => format!("{other:?}"),
    };
    format!("{} {content} {:?} {:?}", paired.number, paired.end, paired.problems)
}

#[test]
fn a_request_and_its_response_are_an_exchange_with_its_marks() {
    let mut fifo = fifo();
    let get = said(&["GET", "a"]);
    fifo.data(1, Side::Client, &get[..5]);
    fifo.data(2, Side::Client, &get[5..]);
    assert_eq!(fifo.request(0), Some(&request(&["GET", "a"])));
    fifo.data(3, Side::Server, b"$1\r\n");
    fifo.data(4, Side::Server, b"x\r\n");
    let events = events(&mut fifo);
    assert_eq!(
        events[..4],
        [
            PairEvent::RequestBegan { number: 0, mark: 1, setup: false },
            PairEvent::RequestComplete { number: 0, mark: 2 },
            PairEvent::ResponseBegan { number: 0, mark: 3 },
            PairEvent::ResponseComplete { number: 0, mark: 4 },
        ]
    );
    let PairEvent::Done(paired) = &events[4] else { panic!("{events:?}") };
    assert_eq!(shown(paired), "0 GET a -> x Complete []");
    assert_eq!((paired.request_began, paired.request_complete), (1, Some(2)));
    assert_eq!((paired.response_began, paired.response_complete), (Some(3), Some(4)));
    assert_eq!(fifo.request(0), None);
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let mut fifo = fifo();
    fifo.data(1, Side::Client, &[said(&["GET", "a"]), said(&["PING"]), said(&["GET", "b"])].concat());
    fifo.data(2, Side::Server, b"$1\r\n1\r\n+PONG\r\n$1\r\n2\r\n");
    let shown: Vec<_> = done(&mut fifo).iter().map(shown).collect();
    assert_eq!(shown[0], "0 GET a -> 1 Complete []");
    assert!(shown[1].starts_with("1 PING (setup) -> "), "{}", shown[1]);
    assert_eq!(shown[2], "2 GET b -> 2 Complete []");
}

#[test]
fn bytes_that_were_not_seen_end_what_is_under_way_and_are_told() {
    let gap = Problem::Gap { from: Side::Server, position: 2, bytes: 3 };
    let mut fifo = fifo();
    fifo.data(1, Side::Client, &said(&["GET", "a"]));
    fifo.data(2, Side::Server, b"$1");
    fifo.gap(3, Side::Server, 3);
    fifo.data(4, Side::Server, b"rest\r\n");
    fifo.data(5, Side::Client, &[said(&["GET", "b"]), said(&["GET", "c"])].concat());
    fifo.data(6, Side::Server, b"$1\r\n1\r\n$1\r\n2\r\n");
    fifo.data(7, Side::Client, &said(&["GET", "d"]));
    fifo.data(8, Side::Server, b"$1\r\n3\r\n");
    let all = done(&mut fifo);
    let with = |line: &str| format!("{line} [{gap:?}]");
    assert_eq!(
        all.iter().map(shown).collect::<Vec<_>>(),
        [
            with("0 GET a -> None Unfinished"),
            with("1 GET b -> 1 Complete"),
            with("2 GET c -> 2 Complete"),
            "3 GET d -> 3 Complete []".to_owned(),
        ]
    );
}

#[test]
fn a_gap_between_exchanges_is_an_exchange_that_nobody_saw() {
    let mut fifo = fifo();
    fifo.data(1, Side::Client, &said(&["GET", "a"]));
    fifo.data(2, Side::Server, b"$1\r\n1\r\n");
    fifo.gap(3, Side::Client, 20);
    fifo.data(4, Side::Server, b"$1\r\n2\r\n");
    fifo.stop(5);
    let all = done(&mut fifo);
    assert_eq!(all[1].problems.first(), Some(&Problem::Gap { from: Side::Client, position: 20, bytes: 20 }));
    assert_eq!(all[1].content, PairedContent::Opaque(vec![(Side::Server, Bytes::from_static(b"$1\r\n2\r\n"))]));
    assert_eq!(all.len(), 2);
}

#[test]
fn what_is_not_the_protocol_is_kept_as_it_came() {
    let mut fifo = fifo();
    fifo.data(1, Side::Client, &said(&["GET", "a"]));
    fifo.data(2, Side::Server, b"HTTP/1.1 400 Bad Request\r\n");
    fifo.data(3, Side::Client, b"more");
    assert!(!fifo.is_read());
    fifo.closed(4);
    let all = done(&mut fifo);
    assert_eq!(shown(&all[0]), "0 GET a -> None Unfinished [Garbage]");
    let kept = [(Side::Server, &b"HTTP/1.1 400 Bad Request\r\n"[..]), (Side::Client, b"more")];
    assert_eq!(
        all[1].content,
        PairedContent::Opaque(kept.map(|(side, bytes)| (side, Bytes::from_static(bytes))).into())
    );
    assert_eq!(all[1].problems, [Problem::Garbage]);
}

#[test]
fn a_server_that_speaks_unasked_is_not_believed() {
    let mut fifo = fifo();
    fifo.data(1, Side::Client, &said(&["GET", "a"]));
    fifo.data(2, Side::Server, b"$1\r\n1\r\n$1\r\n2\r\n");
    fifo.stop(3);
    let all = done(&mut fifo);
    assert_eq!(shown(&all[0]), "0 GET a -> 1 Complete []");
    assert_eq!(all[1].problems, [Problem::Garbage]);
}

#[test]
fn ends_are_told_apart() {
    let ended = |end: fn(&mut Fifo)| {
        let mut fifo = fifo();
        fifo.data(1, Side::Client, &[said(&["GET", "a"]), b"*1\r\n$3".to_vec()].concat());
        fifo.data(2, Side::Server, b"$5\r\nhe");
        end(&mut fifo);
        done(&mut fifo).iter().map(shown).collect::<Vec<_>>()
    };
    let half = "[Gap { from: Server, position: 0, bytes: 6 }]";
    let rest = r#"Opaque([(Client, b"*1\r\n$3")])"#;
    let early = [format!("0 GET a -> None ClosedEarly {half}"), format!("1 {rest} ClosedEarly []")];
    assert_eq!(ended(|fifo| fifo.closed(3)), early);
    assert_eq!(ended(|fifo| fifo.reset(3)), early);
    let stopped = [format!("0 GET a -> None Unfinished {half}"), format!("1 {rest} Unfinished []")];
    assert_eq!(ended(|fifo| fifo.stop(3)), stopped);
}

#[test]
fn a_message_beyond_the_limit_is_not_read() {
    let mut fifo = fifo();
    fifo.data(1, Side::Client, b"*2\r\n$3\r\nGET\r\n$2000000\r\n");
    fifo.stop(2);
    assert!(done(&mut fifo).iter().any(|paired| paired.problems == [Problem::TooLarge]));
}

proptest! {
    #[test]
    fn how_bytes_are_split_does_not_matter(
        commands in prop::collection::vec(prop::sample::select(vec![
            (vec!["GET", "a"], &b"$3\r\n\r\n+\r\n"[..]),
            (vec!["SET", "k", "v w"], b"+OK\r\n"),
            (vec!["PING"], b"+PONG\r\n"),
            (vec!["MGET", "a", "b"], b"*2\r\n$-1\r\n*1\r\n:5\r\n"),
            (vec!["CLIENT", "REPLY", "SKIP"], b""),
            (vec!["HELLO", "3"], b"%1\r\n+proto\r\n:3\r\n"),
            (vec!["SUBSCRIBE", "c"], b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n"),
        ]), 1..8),
        cuts in prop::collection::vec(1usize..20, 1..40),
    ) {
        let told = |cuts: &[usize]| {
            let mut fifo = fifo();
            let mut skip = false;
            let mut cuts = cuts.iter().copied().cycle();
            for (words, reply) in &commands {
                let mut send = |side, mut bytes: &[u8]| while !bytes.is_empty() {
                    let (now, later) = bytes.split_at(cuts.next().unwrap_or(1).min(bytes.len()));
                    fifo.data(1, side, now);
                    bytes = later;
                };
                send(Side::Client, &said(words));
                if !std::mem::replace(&mut skip, words.get(2) == Some(&"SKIP")) {
                    send(Side::Server, reply);
                }
            }
            fifo.closed(1);
            done(&mut fifo)
        };
        let whole = told(&[1000]);
        prop_assert!(whole.iter().all(|paired| paired.problems.is_empty()), "{:?}", whole);
        prop_assert_eq!(whole.len(), commands.len());
        prop_assert_eq!(told(&cuts), whole);
    }

    #[test]
    fn whatever_comes_nothing_panics_and_every_exchange_ends_once(
        pieces in prop::collection::vec((any::<bool>(), prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            "[*$:+%>|~0-9a\r\n-]{0,20}".prop_map(String::into_bytes),
            Just(said(&["GET", "a"])),
            Just(b"$1\r\nx\r\n".to_vec()),
        ], any::<bool>()), 0..30),
    ) {
        let mut fifo = fifo();
        for (is_client, bytes, is_gap) in pieces {
            let side = if is_client { Side::Client } else { Side::Server };
            if is_gap { fifo.gap(1, side, bytes.len() as u64) } else { fifo.data(1, side, &bytes) }
        }
        fifo.stop(2);
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for event in events(&mut fifo) {
            match event {
                PairEvent::RequestBegan { number, .. } => begun.push(number),
                PairEvent::Done(paired) => ended.push(paired.number),
                _ => {}
            }
        }
        ended.sort_unstable();
        prop_assert_eq!(begun, ended);
    }
}
