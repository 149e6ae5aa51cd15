//! Services that are recorded together and ask each other.

use super::*;
use crate::pipeline::MOST_OF_A_HOP;

/// A record of FastCGI.
fn record(kind: u8, content: &str) -> String {
    let length = char::from(u8::try_from(content.len()).unwrap());
    format!("\x01{}\0\x01\0{length}\0\0{content}", char::from(kind))
}

fn fastcgi_request() -> String {
    [record(1, "\0\x01\0\0\0\0\0\0"), record(4, "\x03\x01KEYV"), record(4, ""), record(5, "")].concat()
}

fn fastcgi_response() -> String {
    [record(6, "Status: 200 OK\r\n\r\nhello"), record(6, ""), record(3, "\0\0\0\0\0\0\0\0")].concat()
}

/// Several entries at a time, each passed on by one thread of the front and worked for by one of the back.
fn passed_on(open: fn(&mut Script, front: u32, back: u32, line: u64), request: &str, response: &str) {
    let mut script = Script::new();
    for round in 0..20 {
        let clients = [0, 1, 2].map(|client| (5 + client, 25 + client, u64::from(100 * round + 10 * client)));
        for (front, _, line) in clients {
            script.accept(line + 1000).receive(front, line + 1000, &get(&format!("/cart/{line}")));
        }
        for (front, back, line) in clients {
            open(&mut script, front, back, line + 1001);
            script.receive(back, line + 1002, request);
        }
        for (_, back, line) in clients.into_iter().rev() {
            script.call(back, line + 1003, &format!("/stock/{line}"));
        }
        for (front, back, line) in clients {
            script.send(back, line + 1002, response).receive(front, line + 1001, response);
            script.send(front, line + 1000, OK);
            for socket in [line + 1001, line + 1002, line + 1000] {
                script.close(front, socket, CloseCause::Closed);
            }
        }
    }
    script.wait(600).stop();
    let cassettes = script.cassettes();
    assert_eq!((cassettes.len(), script.ambient().len(), script.doubts().len()), (60, 0, 0));
    for cassette in cassettes {
        let id = target(cassette.entry.as_ref().unwrap()).replace("/cart/", "/stock/");
        assert_eq!(cassette.downstream.iter().map(target).collect::<Vec<_>>(), [id]);
        assert!(!cassette.has_defects(), "{:?}", cassette.defects);
    }
    assert_eq!((script.pipeline.opaque(), script.pipeline.unix_not_http()), (0, 0));
    assert_eq!((script.pipeline.waiting, script.pipeline.under_way), (0, 0));
}

#[test]
fn calls_of_another_service_are_of_the_entry_that_asked_it() {
    let over_tcp = |script: &mut Script, front: u32, back: u32, line: u64| {
        script.connect(front, line, "127.0.0.1:8081").send(front, line, &get("/inner"));
        let (local, peer) = (address("127.0.0.1:8081").into(), address(&format!("127.0.0.1:{}", 50_000 + line)).into());
        let socket = SocketId(line + 1);
        script.event(back, EventKind::Open { socket, role: Role::Server, local, peer, joined: false });
    };
    passed_on(over_tcp, &get("/inner"), OK);
}

#[test]
fn calls_of_a_service_behind_fastcgi_are_of_the_entry_that_asked_it() {
    let over_unix = |script: &mut Script, front: u32, _: u32, line: u64| {
        script.open_unix(line, Role::Client, unix("", line), unix("/run/php.sock", 0));
        script.send(front, line, &fastcgi_request());
        script.open_unix(line + 1, Role::Server, unix("/run/php.sock", line + 1), unix("", line));
    };
    passed_on(over_unix, &fastcgi_request(), &fastcgi_response());
}

#[test]
fn what_services_say_to_each_other_at_length_is_not_kept() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart"));
    script.connect(5, 2, "127.0.0.1:8081").send(
        5,
        2,
        "PUT /inner HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
    );
    let (local, peer) = (address("127.0.0.1:8081").into(), address("127.0.0.1:50002").into());
    script.event(6, EventKind::Open { socket: SocketId(3), role: Role::Server, local, peer, joined: false });
    script.receive(6, 3, "PUT /inner HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
    let piece = "x".repeat(1 << 20);
    for _ in 0..70 {
        script.send(5, 2, &piece).receive(6, 3, &piece);
        assert!(script.pipeline.under_way <= 2 * MOST_OF_A_HOP + 1024);
    }
    script.call(6, 4, "/stock").send(6, 3, OK).receive(5, 2, OK).send(5, 1, OK).wait(600).stop();
    // Whose the call is does not show any more, but that there is one does.
    assert!(script.cassette().has_defects(), "{:#?}", script.cassette());
    assert_eq!((script.pipeline.under_way, script.pipeline.waiting), (0, 0));
}

/// A store that is recorded together with the service: what they say to each other is nobody's entry and nobody's call.
#[test]
fn other_protocols_between_recorded_processes_are_not_looked_into() {
    let (asks, answers) = ("*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "$1\r\nx\r\n");
    let mut script = Script::new();
    for round in 0..3 {
        let line = 100 * round;
        script.accept(line).receive(5, line, &get("/cart")).connect(5, line + 1, "127.0.0.1:6379").send(
            5,
            line + 1,
            asks,
        );
        let (local, peer) = (address("127.0.0.1:6379").into(), address(&format!("127.0.0.1:{}", 50_001 + line)).into());
        let socket = SocketId(line + 2);
        script.event(25, EventKind::Open { socket, role: Role::Server, local, peer, joined: false });
        script.receive(25, line + 2, asks).send(25, line + 2, answers).receive(5, line + 1, answers);
        script.call(5, line + 3, "/stock/1").send(5, line, OK);
        script.close(5, line + 1, CloseCause::Closed).close(25, line + 2, CloseCause::Closed);
    }
    script.wait(600).stop();
    let cassettes = script.cassettes();
    assert_eq!((cassettes.len(), script.ambient().len(), script.doubts().len()), (3, 0, 0));
    for cassette in cassettes {
        assert_eq!(cassette.downstream.iter().map(target).collect::<Vec<_>>(), ["/stock/1"]);
        assert!(!cassette.has_defects(), "{:?}", cassette.defects);
    }
    assert_eq!((script.pipeline.opaque(), script.pipeline.waiting, script.pipeline.under_way), (0, 0, 0));
}

#[test]
fn fastcgi_to_a_service_that_is_not_recorded_is_opaque() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart"));
    script.connect(5, 2, "127.0.0.1:9000").send(5, 2, &fastcgi_request()).receive(5, 2, &fastcgi_response());
    script.close(5, 2, CloseCause::Closed).send(5, 1, OK).wait(600).stop();
    let cassette = script.cassette();
    let [call] = &cassette.downstream[..] else { panic!("{cassette:#?}") };
    assert!(matches!(call.content, Content::Opaque(_)), "{call:?}");
}
