//! Owners by being the only entry that is open, and what speaks against that.

use super::*;

/// The head of a response that is a stream.
const STREAM: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const END: &str = "0\r\n\r\n";

#[test]
fn an_operation_seen_without_an_entry_is_not_certain_by_being_alone() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart")).call(9, 2, "/poll").send(5, 1, OK).wait(600);
    assert!(!script.cassette().has_defects());
    script.call(9, 3, "/poll");
    assert_eq!(script.doubts(), [script.cassettes()[0].id.0.clone()]);
    script.receive(5, 1, &get("/cart")).call(9, 4, "/poll").send(5, 1, OK).wait(600);
    assert_eq!(script.cassettes()[1].defects, [Defect::AmbiguousOwner]);
}

#[test]
fn calls_that_differ_in_an_id_are_of_one_kind() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart")).call(9, 2, "/poll/7f3a").send(5, 1, OK).wait(600);
    assert!(!script.cassette().has_defects());
    script.call(9, 3, "/push/8").call(9, 4, "/poll");
    assert!(script.doubts().is_empty());
    script.call(9, 5, "/poll/8");
    assert_eq!(script.doubts(), [script.cassettes()[0].id.0.clone()]);
}

#[test]
fn an_operation_that_an_entry_does_not_wait_for_is_not_certain_by_being_alone() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart")).call(9, 2, "/mail/1").send(5, 1, OK).wait(600);
    assert!(!script.cassette().has_defects());
    // Late work of the entry before falls into this one, which is answered meanwhile.
    script.receive(5, 1, &get("/cart")).connect(9, 3, STOCK).send(9, 3, &get("/mail/2")).send(5, 1, OK);
    assert!(script.doubts().is_empty(), "it may be answered yet");
    script.receive(9, 3, OK).close(9, 3, CloseCause::Closed).wait(600);
    assert_eq!(script.doubts(), [script.cassettes()[0].id.0.clone()]);
    assert_eq!(script.cassettes()[1].defects, [Defect::AmbiguousOwner]);
}

#[test]
fn a_stream_waits_for_what_it_calls_after_its_head() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/prices")).connect(9, 2, STOCK).send(9, 2, &get("/list")).send(5, 1, STREAM);
    script.receive(9, 2, OK).close(9, 2, CloseCause::Closed).send(5, 1, END).wait(600);
    assert_eq!(cause(&script.cassette().downstream[0]), (Rule::Alone, Confidence::Certain, false));
    // Not for what is answered only when it has ended.
    script
        .receive(5, 1, &get("/prices"))
        .connect(9, 3, STOCK)
        .send(9, 3, &get("/list"))
        .send(5, 1, STREAM)
        .send(5, 1, END);
    script.receive(9, 3, OK).close(9, 3, CloseCause::Closed).wait(600);
    assert_eq!(script.doubts(), [script.cassettes()[0].id.0.clone()]);
    assert_eq!(script.cassettes()[1].defects, [Defect::AmbiguousOwner]);
}
