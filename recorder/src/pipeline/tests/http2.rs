//! HTTP/2: several exchanges at once on a connection, written by whoever writes for all of them.

use super::*;

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
const SETTINGS: &str = "\0\0\0\u{4}\0\0\0\0\0";

fn char_of(number: usize) -> char {
    char::from_u32(number as u32).filter(char::is_ascii).expect("short enough for one byte of ASCII")
}

/// A frame; of ASCII alone, as the scripts have it.
fn frame(kind: char, flags: char, stream: usize, payload: &str) -> String {
    format!("\0\0{}{kind}{flags}\0\0\0{}{payload}", char_of(payload.len()), char_of(stream))
}

/// HEADERS that end the stream, with literals alone.
fn headers(stream: usize, fields: &[(&str, &str)]) -> String {
    let literal =
        |(name, value): &(&str, &str)| format!("\0{}{name}{}{value}", char_of(name.len()), char_of(value.len()));
    frame('\u{1}', '\u{5}', stream, &fields.iter().map(literal).collect::<String>())
}

fn ask(stream: usize, path: &str) -> String {
    headers(stream, &[(":method", "GET"), (":path", path), (":authority", "stock:9001")])
}

fn ok(stream: usize) -> String {
    headers(stream, &[(":status", "200")])
}

#[test]
fn calls_on_one_connection_have_their_entries_one_after_the_other() {
    let mut script = Script::new();
    script.connect(9, 2, STOCK).send(9, 2, PREFACE).receive(9, 2, SETTINGS).accept(1);
    for (stream, path) in [(1, "/stock/1"), (3, "/stock/2")] {
        script.receive(5, 1, &get("/cart")).send(9, 2, &ask(stream, path)).receive(9, 2, &ok(stream));
        script.send(5, 1, OK).wait(600);
    }
    let cassettes = script.cassettes();
    for (cassette, path) in cassettes.iter().zip(["/stock/1", "/stock/2"]) {
        let call = &cassette.downstream[0];
        assert_eq!((target(call).as_str(), call.downstream.as_deref()), (path, Some("stock:9001")));
        assert!(http(call).is_http2() && !cassette.has_defects());
        assert_eq!(cause(call).0, Rule::Alone);
    }
}

#[test]
fn who_writes_for_all_decides_nothing() {
    let mut script = Script::new();
    script.connect(9, 2, STOCK).send(9, 2, PREFACE).receive(9, 2, SETTINGS).accept(999).receive(
        99,
        999,
        &get("/stays"),
    );
    for number in 0..40 {
        // One thread after the other, beside an entry that stays open: the process proves its shape.
        let thread = 20 + number;
        script.accept(100 + u64::from(number)).receive(thread, 100 + u64::from(number), &get("/other"));
        script.call(thread, 200 + u64::from(number), "/own").send(thread, 100 + u64::from(number), OK).wait(600);
    }
    script.accept(3).accept(4).receive(5, 3, &get("/three")).receive(6, 4, &get("/four"));
    // The thread of one entry writes what the thread of the other has left with the library.
    script.send(5, 2, &[ask(1, "/stock/3"), ask(3, "/stock/4")].concat()).receive(6, 2, &[ok(3), ok(1)].concat());
    script.send(5, 3, OK).send(6, 4, OK).wait(600);
    let uncertain: Vec<&Cassette> =
        script.cassettes().into_iter().filter(|cassette| !cassette.defects.is_empty()).collect();
    let entries: Vec<String> = uncertain.iter().map(|cassette| target(cassette.entry.as_ref().unwrap())).collect();
    assert!(["/three", "/four"].iter().all(|entry| entries.iter().any(|found| found == entry)), "{entries:?}");
    assert!(uncertain.iter().all(|cassette| cassette.downstream.is_empty()));
    let ambient: Vec<String> = script.ambient().into_iter().filter(|call| http(call).is_http2()).map(target).collect();
    assert_eq!(ambient, ["/stock/4", "/stock/3"]);
}

#[test]
fn a_stream_that_several_entries_write_to_makes_them_uncertain() {
    let mut script = Script::new();
    let chat = headers(1, &[(":method", "POST"), (":path", "/chat"), (":authority", "stock:9001")])
        .replacen('\u{5}', "\u{4}", 1);
    let data = |text: &str| frame('\0', '\0', 1, text);
    script.connect(9, 2, STOCK).send(9, 2, PREFACE).receive(9, 2, SETTINGS);
    script.accept(1).receive(5, 1, &get("/one")).send(9, 2, &[chat, data("a")].concat()).send(5, 1, OK).wait(600);
    script.receive(5, 1, &get("/two")).send(9, 2, &data("b")).send(5, 1, OK).wait(600);
    script.receive(9, 2, &ok(1)).stop();
    let second = script.cassettes().into_iter().find(|cassette| target(cassette.entry.as_ref().unwrap()) == "/two");
    assert_eq!(second.expect("the second entry").defects, [Defect::AmbiguousOwner]);
}

#[test]
fn a_joined_connection_gives_its_next_streams_and_what_was_under_way_takes_certainty_back() {
    let mut script = Script::new();
    script
        .accept_on(1, SERVICE, true)
        .accept(2)
        .receive(5, 2, &get("/cart"))
        .call(5, 3, "/stock")
        .send(5, 2, OK)
        .wait(600);
    script.receive(7, 1, &ask(9, "/new"));
    // An answer to something that began before the recording.
    script.send(7, 1, &ok(7)).send(7, 1, &ok(9)).wait(600);
    assert_eq!(script.doubts().len(), 1);
    let new = script.cassettes().into_iter().find(|cassette| target(cassette.entry.as_ref().unwrap()) == "/new");
    assert!(http(new.expect("the new entry").entry.as_ref().unwrap()).is_http2());
}

/// Beside an entry that stays open, 40 entries have a thread each, and a connection that two of them use at once after that.
fn streams_of_threads(script: &mut Script) {
    script.connect(9, 2, STOCK).send(9, 2, PREFACE).receive(9, 2, SETTINGS).event(0, streams(2));
    script.accept(999).receive(99, 999, &get("/stays"));
    for number in 0..40 {
        let (thread, entry) = (20 + number, 100 + u64::from(number));
        script.accept(entry).receive(thread, entry, &get("/other"));
        script.send(thread, 2, &ask(1 + 2 * number as usize, "/own")).receive(0, 2, &ok(1 + 2 * number as usize));
        script.send(thread, entry, OK).wait(600);
    }
}

fn streams(socket: u64) -> EventKind {
    EventKind::Streams { socket: SocketId(socket) }
}

#[test]
fn streams_are_of_whoever_waits_for_them_where_the_runtime_says_so() {
    let mut script = Script::new();
    streams_of_threads(&mut script);
    script.accept(3).accept(4).receive(5, 3, &get("/three")).receive(6, 4, &get("/four"));
    script.send(6, 2, &ask(85, "/stock/4")).send(5, 2, &ask(87, "/stock/3"));
    script.receive(0, 2, &[ok(87), ok(85)].concat());
    script.send(5, 3, OK).send(6, 4, OK).wait(600);
    for (entry, call) in [("/three", "/stock/3"), ("/four", "/stock/4")] {
        let cassettes = script.cassettes();
        let cassette = cassettes.iter().find(|cassette| target(cassette.entry.as_ref().unwrap()) == entry);
        let calls: Vec<String> = cassette.expect("it is written").downstream.iter().map(target).collect();
        assert_eq!(calls, [call]);
    }
}

#[test]
fn who_has_given_up_a_stream_is_not_answered_by_it() {
    let mut script = Script::new();
    streams_of_threads(&mut script);
    // The thread has answered, and reads another entry, when the response comes to what it does not wait for any more.
    script.accept(3).receive(5, 3, &get("/three")).send(5, 2, &ask(85, "/stock/3")).send(5, 3, OK);
    script.receive(5, 3, &get("/next")).receive(0, 2, &ok(85)).send(5, 2, &ask(87, "/stock/next"));
    script.receive(0, 2, &ok(87)).send(5, 3, OK).wait(600);
    let of = |entry: &str| {
        let found = script.cassettes().into_iter().filter(|cassette| target(cassette.entry.as_ref().unwrap()) == entry);
        found.flat_map(|cassette| &cassette.downstream).map(target).collect::<Vec<String>>()
    };
    assert!(!of("/three").contains(&"/stock/next".to_owned()), "{:?}", of("/three"));
    assert!(!of("/next").contains(&"/stock/3".to_owned()), "{:?}", of("/next"));
}
