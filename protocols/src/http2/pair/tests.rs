use loona_hpack::Encoder;

use super::*;
use crate::{
    http1::{Framing, Line},
    pair::{Paired, PairedContent},
};

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection under test, with the encoders of both its ends.
struct Talk {
    pairer: Pairer,
    mark: Mark,
    encoders: [Encoder<'static>; 2],
}

impl Talk {
    fn new() -> Talk {
        let mut talk = Talk::at(Pairer::new(Limits::default()));
        talk.say(Side::Client, super::super::PREFACE);
        talk.say(Side::Client, SETTINGS);
        talk.say(Side::Server, SETTINGS);
        talk
    }

    fn at(pairer: Pairer) -> Talk {
        Talk { pairer, mark: 0, encoders: [Encoder::new(), Encoder::new()] }
    }

    fn say(&mut self, from: Side, bytes: &[u8]) {
        self.mark += 1;
        self.pairer.data(self.mark, from, bytes);
    }

    fn block(&mut self, from: Side, fields: &[(&str, &str)]) -> Vec<u8> {
        self.encoders[from as usize].encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn headers(&mut self, from: Side, flags: u8, stream: u32, fields: &[(&str, &str)]) {
        let block = self.block(from, fields);
        self.say(from, &frame(HEADERS, END_HEADERS | flags, stream, &block));
    }

    fn ask(&mut self, stream: u32, path: &str, flags: u8) {
        let fields =
            [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x:1"), ("te", "trailers")];
        self.headers(Side::Client, flags, stream, &fields);
    }

    fn answer(&mut self, stream: u32, flags: u8) {
        self.headers(Side::Server, flags, stream, &[(":status", "200"), ("kind", "x")]);
    }

    fn body(&mut self, from: Side, flags: u8, stream: u32, content: &[u8]) {
        self.say(from, &frame(DATA, flags, stream, content));
    }

    fn done(&mut self) -> Vec<Paired> {
        let mut done = Vec::new();
        while let Some(event) = self.pairer.next() {
            if let PairEvent::Done(paired) = event {
                done.push(*paired);
            }
        }
        done
    }
}

fn http(paired: &Paired) -> (&Message, Option<&Message>, Option<Reset>) {
    match &paired.content {
        PairedContent::Http1 { request, response, reset, .. } => (request, response.as_ref(), *reset),
        content => panic!("{content:?}"),
    }
}

#[test]
fn a_unary_call_with_trailers() {
    let mut talk = Talk::new();
    talk.ask(1, "/a.B/C", 0);
    talk.body(Side::Client, END_STREAM, 1, b"\0\0\0\0\x02hi");
    talk.answer(1, 0);
    talk.body(Side::Server, 0, 1, b"\0\0\0\0\x02ho");
    talk.headers(Side::Server, END_STREAM, 1, &[("grpc-status", "0")]);
    let events: Vec<PairEvent> = std::iter::from_fn(|| talk.pairer.next()).collect();
    let [
        PairEvent::RequestBegan { number: 0, mark: 4, setup: false },
        PairEvent::RequestContinued { number: 0, mark: 5 },
        PairEvent::RequestComplete { number: 0, mark: 5 },
        PairEvent::ResponseBegan { number: 0, mark: 6 },
        PairEvent::ResponseComplete { number: 0, mark: 8 },
        PairEvent::Done(paired),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    let (request, response, reset) = http(paired);
    assert_eq!(
        request,
        &super::super::request("POST", "/a.B/C", &[("host", "x:1"), ("te", "trailers")], &b"\0\0\0\0\x02hi"[..])
    );
    let expected = super::super::response(200, &[("kind", "x")], &b"\0\0\0\0\x02ho"[..], &[("grpc-status", "0")]);
    assert_eq!((response, reset), (Some(&expected), None));
    assert_eq!((paired.end, &paired.problems[..]), (PairEnd::Complete, &[][..]));
}

#[test]
fn streams_are_told_apart_and_numbered_as_they_begin() {
    let mut talk = Talk::new();
    talk.ask(1, "/1", 0);
    talk.ask(3, "/2", END_STREAM);
    talk.answer(3, END_STREAM);
    talk.body(Side::Client, 0, 1, b"a");
    talk.ask(5, "/3", END_STREAM);
    talk.body(Side::Client, END_STREAM, 1, b"bc");
    talk.answer(5, 0);
    talk.answer(1, 0);
    talk.body(Side::Server, END_STREAM, 1, b"");
    talk.body(Side::Server, 0, 5, b"x");
    talk.body(Side::Server, END_STREAM, 5, b"");
    let done = talk.done();
    let told: Vec<_> = done.iter().map(|paired| (paired.number, http(paired).0.target().into_owned())).collect();
    assert_eq!(told, [(1, "/2".into()), (0, "/1".into()), (2, "/3".into())]);
    let chunks = |message: &Message| match &message.framing {
        Framing::Chunked { chunks, .. } => chunks.iter().map(|chunk| chunk.size).collect(),
        _ => Vec::new(),
    };
    assert_eq!(chunks(http(&done[1]).0), [1, 2]);
    assert_eq!(&http(&done[1]).0.body[..], b"abc");
    assert_eq!(http(&done[1]).1.unwrap().framing, Framing::Length);
    assert_eq!(chunks(http(&done[2]).1.unwrap()), [1, 0]);
    assert_eq!(http(&done[0]).1.unwrap().framing, Framing::Empty);
}

#[test]
fn padding_priority_and_continuations_leave_no_trace() {
    let mut talk = Talk::new();
    let block = talk.block(Side::Client, &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("a", "b")]);
    let (first, second) = block.split_at(3);
    let padded = [b"\x02\0\0\0\0\x10", first, b"\0\0"].concat();
    talk.say(Side::Client, &frame(HEADERS, PADDED | PRIORITY, 1, &padded));
    talk.say(Side::Client, &frame(CONTINUATION, END_HEADERS, 1, second));
    talk.body(Side::Client, PADDED | END_STREAM, 1, b"\x03abc\0\0\0");
    talk.headers(Side::Server, 0, 1, &[(":status", "103"), ("link", "x")]);
    talk.answer(1, END_STREAM);
    let done = talk.done();
    let (request, ..) = http(&done[0]);
    assert_eq!((request.method(), &request.body[..], &request.framing), ("GET", &b"abc"[..], &Framing::Length));
    let PairedContent::Http1 { interim, .. } = &done[0].content else { unreachable!() };
    assert_eq!((interim.len(), interim[0].status()), (1, 103));
    assert_eq!(done[0].problems, []);
}

#[test]
fn resets_and_a_server_that_goes_away() {
    let mut talk = Talk::new();
    talk.ask(1, "/cancelled", END_STREAM);
    talk.ask(3, "/kept", END_STREAM);
    talk.ask(5, "/refused", END_STREAM);
    talk.answer(1, 0);
    talk.body(Side::Server, 0, 1, b"part");
    talk.say(Side::Client, &frame(RST_STREAM, 0, 1, b"\0\0\0\x08"));
    talk.say(Side::Server, &frame(GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\0bye"));
    // Late frames of a stream that is over say nothing.
    talk.body(Side::Server, END_STREAM, 1, b"late");
    talk.answer(3, END_STREAM);
    let done = talk.done();
    let told: Vec<_> = done.iter().map(|paired| (paired.number, paired.end, http(paired).2)).collect();
    let cancel = Reset { from: Side::Client, code: 8 };
    let refused = Reset { from: Side::Server, code: 7 };
    assert_eq!((cancel.name(), refused.name()), (Some("CANCEL"), Some("REFUSED_STREAM")));
    assert_eq!(
        told,
        [
            (0, PairEnd::ClosedEarly, Some(cancel)),
            (2, PairEnd::ClosedEarly, Some(refused)),
            (1, PairEnd::Complete, None)
        ]
    );
    let response = http(&done[0]).1.unwrap();
    assert_eq!((&response.body[..], response.is_complete(), response.has_whole_head()), (&b"part"[..], false, true));
    assert_eq!(http(&done[1]).1, None);
}

#[test]
fn sides_that_take_turns() {
    let mut talk = Talk::new();
    talk.ask(1, "/", 0);
    talk.body(Side::Client, 0, 1, b"one");
    talk.answer(1, 0);
    talk.body(Side::Server, 0, 1, b"1");
    talk.body(Side::Client, 0, 1, b"two");
    talk.body(Side::Server, 0, 1, b"2a");
    talk.body(Side::Server, 0, 1, b"2b");
    talk.body(Side::Client, END_STREAM, 1, b"end");
    talk.body(Side::Server, END_STREAM, 1, b"bye");
    let done = talk.done();
    let PairedContent::Http1 { interleaved, .. } = &done[0].content else { panic!() };
    assert_eq!(interleaved, &[(3, 1), (6, 5)]);
}

#[test]
fn a_response_before_the_request_is_over_waits_for_it() {
    let mut talk = Talk::new();
    talk.ask(1, "/", 0);
    talk.answer(1, END_STREAM);
    assert_eq!(talk.done(), []);
    talk.say(Side::Server, &frame(RST_STREAM, 0, 1, b"\0\0\0\0"));
    let done = talk.done();
    let (request, response, reset) = http(&done[0]);
    assert!(!request.is_complete() && response.unwrap().is_complete());
    assert_eq!((done[0].end, reset), (PairEnd::Complete, Some(Reset { from: Side::Server, code: 0 })));
}

#[test]
fn a_message_of_grpc_that_was_answered_before_the_request_is_over_is_all_of_it() {
    let whole = |content: &[u8], code: &[u8; 4]| {
        let mut talk = Talk::new();
        let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/"), ("content-type", "application/grpc")];
        talk.headers(Side::Client, 0, 1, &fields);
        talk.body(Side::Client, 0, 1, content);
        talk.answer(1, END_STREAM);
        talk.say(Side::Server, &frame(RST_STREAM, 0, 1, code));
        let done = talk.done();
        let (request, ..) = http(&done[0]);
        assert_eq!(request.body, content);
        request.is_complete()
    };
    assert!(whole(b"\0\0\0\0\x02\x08\x07", &[0; 4]));
    assert!(!whole(b"\0\0\0\0\x02\x08", &[0; 4]), "a part of a message");
    assert!(!whole(b"\0\0\0\0\x02\x08\x07", &[0, 0, 0, 8]), "cancelled");
    assert!(!whole(b"", &[0; 4]));
}

#[test]
fn unseen_bytes_inside_content_leave_a_hole_and_others_end_what_is_open() {
    let mut talk = Talk::new();
    talk.ask(1, "/", END_STREAM);
    talk.answer(1, 0);
    let data = frame(DATA, END_STREAM, 1, b"0123456789");
    talk.say(Side::Server, &data[..12]);
    talk.mark += 1;
    talk.pairer.gap(talk.mark, Side::Server, 4);
    talk.say(Side::Server, &data[16..]);
    let done = talk.done();
    let response = http(&done[0]).1.unwrap();
    assert_eq!((&response.body[..], response.is_complete()), (&b"012"[..], false));
    assert!(matches!(done[0].problems[..], [Problem::Gap { from: Side::Server, bytes: 4, .. }]));
    assert_eq!(done[0].end, PairEnd::Complete);

    talk.ask(3, "/", END_STREAM);
    talk.pairer.gap(talk.mark, Side::Server, 1000);
    let done = talk.done();
    assert_eq!(done[0].end, PairEnd::Unfinished);
    // The server's side is found again; what its table had before is not.
    talk.ask(5, "/", END_STREAM);
    talk.say(Side::Server, b"half a frame");
    talk.answer(5, END_STREAM);
    let done = talk.done();
    let response = http(&done[0]).1.unwrap();
    assert_eq!((response.status(), response.header("kind")), (200, None));
    assert!(matches!(done[0].problems[..], [Problem::Gap { .. }]), "{:?}", done[0].problems);
}

#[test]
fn a_lost_header_block_is_told_and_the_next_is_read_as_far_as_can_be() {
    let mut talk = Talk::new();
    let block = talk.block(Side::Client, &[(":method", "GET"), (":scheme", "http"), (":path", "/lost"), ("k", "v")]);
    let headers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    talk.say(Side::Client, &headers[..10]);
    talk.pairer.gap(talk.mark, Side::Client, headers.len() as u64 - 10);
    talk.answer(1, END_STREAM);
    talk.headers(
        Side::Client,
        END_STREAM,
        3,
        &[(":method", "GET"), (":scheme", "http"), (":path", "/new"), ("k", "v")],
    );
    talk.answer(3, END_STREAM);
    let done = talk.done();
    let (request, response, _) = http(&done[0]);
    assert_eq!((request.start.clone(), response.unwrap().status()), (Line::default(), 200));
    assert!(matches!(done[0].problems[..], [Problem::Gap { from: Side::Client, .. }]));
    let (request, ..) = http(&done[1]);
    assert_eq!((request.target().as_ref(), request.header("k")), ("/new", None));
    assert!(matches!(done[1].problems[..], [Problem::Gap { from: Side::Client, .. }]));
}

#[test]
fn joined_in_its_middle() {
    let mut before = Talk::new();
    before.ask(1, "/old", END_STREAM);
    let mut talk = Talk { pairer: Pairer::joined(0, Limits::default()), ..before };
    talk.say(Side::Server, b"the rest of something");
    talk.answer(1, 0);
    talk.ask(3, "/new", END_STREAM);
    talk.body(Side::Server, END_STREAM, 1, b"old");
    talk.answer(3, END_STREAM);
    let done = talk.done();
    let (request, response, _) = http(&done[0]);
    assert_eq!((request.start.clone(), &response.unwrap().body[..]), (Line::default(), &b"old"[..]));
    assert_eq!(done[0].problems, [Problem::JoinedMidStream]);
    // This field is in the table that nobody saw.
    let (request, response, _) = http(&done[1]);
    assert_eq!((request.target().as_ref(), request.header("te"), response.unwrap().status()), ("/new", None, 200));
    assert_eq!(done[1].problems, [Problem::JoinedMidStream]);
}

#[test]
fn what_is_no_http2_is_kept_as_it_is() {
    let mut talk = Talk::new();
    talk.ask(1, "/", 0);
    talk.say(Side::Client, b"\0\0\x01\0\x01\0\0\0\0x and so on");
    talk.say(Side::Server, b"what?");
    talk.pairer.closed(talk.mark);
    let done = talk.done();
    assert_eq!((done[0].end, &done[0].problems[..]), (PairEnd::Unfinished, &[Problem::Garbage][..]));
    let PairedContent::Opaque(turns) = &done[1].content else { panic!() };
    assert_eq!(turns.len(), 2);
    assert!(turns[0].1.ends_with(b"x and so on"));
}

#[test]
fn a_head_that_is_cut_is_a_request_all_the_same() {
    let mut talk = Talk::new();
    let block = talk.block(Side::Client, &[(":method", "GET"), (":path", "/")]);
    let headers = frame(HEADERS, END_HEADERS, 1, &block);
    talk.say(Side::Client, &headers[..headers.len() - 1]);
    talk.pairer.reset(talk.mark);
    let done = talk.done();
    let (request, response, _) = http(&done[0]);
    assert!(!request.is_complete() && response.is_none());
    assert_eq!(done[0].end, PairEnd::ClosedEarly);
}

#[test]
fn limits() {
    let mut talk = Talk::at(Pairer::new(Limits { head: 300, body: 200 }));
    talk.say(Side::Client, super::super::PREFACE);
    talk.ask(1, "/", 0);
    talk.body(Side::Client, END_STREAM, 1, &[b'x'; 300]);
    talk.answer(1, END_STREAM);
    talk.ask(3, &"x".repeat(500), END_STREAM);
    talk.ask(5, "/after", END_STREAM);
    talk.pairer.stop(talk.mark);
    let done = talk.done();
    let (request, ..) = http(&done[0]);
    assert_eq!(
        (request.body.len(), request.is_complete(), &done[0].problems[..]),
        (200, false, &[Problem::TooLarge][..])
    );
    assert_eq!((&http(&done[1]).0.start, &done[1].problems[..]), (&Line::default(), &[Problem::TooLarge][..]));
    assert_eq!(&done[2].problems[..], &[Problem::TooLarge]);
}

#[test]
fn what_a_server_pushes_is_a_problem_of_the_stream_and_keeps_the_table_right() {
    let mut talk = Talk::new();
    talk.ask(1, "/", END_STREAM);
    let promised = talk.block(Side::Server, &[(":method", "GET"), (":path", "/style.css"), ("a", "b")]);
    talk.say(Side::Server, &frame(PUSH_PROMISE, END_HEADERS, 1, &[b"\0\0\0\x02", &promised[..]].concat()));
    talk.headers(Side::Server, END_STREAM, 2, &[(":status", "200"), ("a", "b")]);
    talk.headers(Side::Server, END_STREAM, 1, &[(":status", "200"), ("a", "b")]);
    let done = talk.done();
    assert_eq!((done.len(), &done[0].problems[..]), (1, &[Problem::Garbage][..]));
    assert_eq!(http(&done[0]).1.unwrap().header("a"), Some(&b"b"[..]));
}
