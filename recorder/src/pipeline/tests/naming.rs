//! Downstreams by the names that the service resolved.

use regress_protocols::{Value, dns};

use super::*;

const REDIS: &str = "10.0.0.5:6379";
const GET: &str = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";

/// The answer that a name has this address (RFC 1035 section 4).
fn told(name: &str, address: [u8; 4]) -> EventKind {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    let header = [0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let question = labels.chain([0, 0, 1, 0, 1]);
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4].into_iter().chain(address);
    EventKind::Name { bytes: header.into_iter().chain(question).chain(record).collect() }
}

/// An entry of one call to Redis and one that is not read, each on a connection of its own.
fn entry(script: &mut Script, number: u64) -> &mut Script {
    let (entry, redis, lines) = (10 * number, 10 * number + 1, 10 * number + 2);
    script.accept(entry).receive(1, entry, &super::get("/a"));
    script.connect(1, redis, REDIS).send(1, redis, GET).receive(1, redis, "$-1\r\n");
    script.connect(1, lines, "10.0.0.5:7000").send(1, lines, "SUM tea\n").receive(1, lines, "OK 3\n");
    script.close(1, redis, CloseCause::Closed).close(1, lines, CloseCause::Closed);
    script.send(1, entry, OK).close(1, entry, CloseCause::Closed).wait(600)
}

fn names(cassette: &Cassette) -> Vec<&str> {
    cassette.downstream.iter().filter_map(|call| call.downstream.as_deref()).collect()
}

#[test]
fn a_downstream_has_the_name_that_its_address_was_last_the_answer_for() {
    let mut script = Script::new();
    entry(&mut script, 1);
    script.event(1, told("Cache.internal", [10, 0, 0, 5]));
    entry(&mut script, 2);
    script.event(2, told("other.internal", [10, 0, 0, 5]));
    entry(&mut script, 3);
    script.stop();
    let cassettes: Vec<_> = script.cassettes().into_iter().map(names).collect();
    assert_eq!(cassettes[0], [REDIS, "10.0.0.5:7000"]);
    assert_eq!(cassettes[1], ["cache.internal:6379", "cache.internal:7000"]);
    assert_eq!(cassettes[2], ["other.internal:6379", "other.internal:7000"]);
    let second = script.cassettes()[1];
    assert_eq!(second.downstream[0].connection.peer, address(REDIS).into());
}

#[test]
fn a_connection_keeps_the_name_under_which_it_was_made() {
    let mut script = Script::new();
    script.event(1, told("cache.internal", [10, 0, 0, 5])).connect(1, 5, REDIS);
    script.event(1, told("other.internal", [10, 0, 0, 5]));
    script.accept(1).receive(1, 1, &super::get("/a")).send(1, 5, GET).receive(1, 5, "$-1\r\n").send(1, 1, OK);
    script.wait(600).stop();
    assert_eq!(names(script.cassette()), ["cache.internal:6379"]);
}

#[test]
fn the_host_field_comes_before_the_name_that_was_resolved() {
    let mut script = Script::new();
    script.event(1, told("stock.internal", [127, 0, 0, 1]));
    script.accept(1).receive(1, 1, &super::get("/a")).call(1, 2, "/b").send(1, 1, OK).wait(600).stop();
    assert_eq!(names(script.cassette()), ["stock:9001"]);
}

#[test]
fn what_a_resolver_says_is_recorded_once() {
    let mut script = Script::new();
    for address in [5, 5, 6, 6, 5] {
        script.event(1, told("cache.internal", [10, 0, 0, address]));
    }
    script.event(1, EventKind::Name { bytes: Bytes::from_static(b"no message") }).stop();
    let ambient = script.ambient();
    let addresses: Vec<_> = ambient
        .iter()
        .map(|exchange| {
            let wire = exchange.wire().unwrap();
            assert_eq!(exchange.connection.peer, address("0.0.0.0:53").into());
            assert_eq!(wire.request.get("name"), Some(&Value::text("cache.internal")));
            dns::addresses(&wire.request, wire.response.as_ref().unwrap())
        })
        .collect();
    assert_eq!(addresses, [5, 6, 5].map(|last| vec![std::net::IpAddr::from([10, 0, 0, last])]));
    assert!(ambient.iter().all(|exchange| exchange.cause.is_none() && !exchange.has_defects()));
}

#[test]
fn answers_over_tcp_are_names_as_well() {
    let framed = |message: &[u8]| {
        let bytes = [&(message.len() as u16).to_be_bytes()[..], message].concat();
        Bytes::from(bytes)
    };
    let EventKind::Name { bytes: answer } = told("cache.internal", [10, 0, 0, 5]) else { panic!() };
    let mut query = answer[..12 + 16 + 4].to_vec();
    query[2..8].copy_from_slice(&[1, 0, 0, 1, 0, 0]);
    let mut script = Script::new();
    script.connect(1, 9, "10.0.0.2:53");
    let data = |direction, bytes| EventKind::Data {
        socket: SocketId(9),
        direction,
        position: 0,
        bytes,
        missing: 0,
        other: None,
    };
    script.event(1, data(Direction::Sent, framed(&query))).event(1, data(Direction::Received, framed(&answer)));
    script.close(1, 9, CloseCause::Closed);
    entry(&mut script, 1);
    script.stop();
    assert_eq!(names(script.cassette()), ["cache.internal:6379", "cache.internal:7000"]);
    let [lookup] = &script.ambient()[..] else { panic!("{:?}", script.ambient()) };
    assert_eq!(lookup.downstream.as_deref(), Some("10.0.0.2:53"));
    assert_eq!(lookup.wire().map(|wire| wire.protocol), Some(regress_protocols::wire::Protocol::Dns));
}
