//! Scripts of events, and the cassettes that come of them.

use std::net::SocketAddr;

use bytes::Bytes;
use proptest::prelude::*;
use regress_cassettes::{Cassette, Confidence, Content, Defect, Ended, Exchange, HttpExchange, Rule, Via};
use regress_ebpf::{
    Address, CloseCause, Direction, Event, EventKind, Loss, LossKind, Role, SocketId, Unit, UnixAddress,
};

use regress_protocols::Request;

use super::{Output, Pipeline, Scope};
use crate::{Lack, Tally, clues::Clues, correlate::Patience, select, wall::Wall};

mod alone;
/// Owners by what messages say.
mod clues;
mod hops;
mod http2;
mod naming;
/// What is left out by choice.
mod selection;

const MILLISECOND: u64 = 1_000_000;
const SERVICE: &str = "127.0.0.1:8080";
const STOCK: &str = "127.0.0.1:9001";

/// Plays events with rising times and collects what comes out.
struct Script {
    pipeline: Pipeline,
    at: u64,
    positions: std::collections::HashMap<(u64, Direction), u64>,
    out: Vec<Output>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn scope() -> Scope {
    Scope {
        service: "shop".into(),
        by: "regress test".into(),
        kernel: "6.18.0".into(),
        via: Via::Socket,
        wall: Wall { offset: 1_795_342_502_000_000_000 },
        started: 0,
        ports: Vec::new(),
        max_entries: None,
        only_certain: false,
        keep_facts: false,
        clues: Clues::new(true, &["X-Order-Key".to_owned()], false),
        select: select::Policy::default(),
        tells_seen: false,
    }
}

impl Script {
    fn new() -> Script {
        Script::with(scope())
    }

    fn with(scope: Scope) -> Script {
        let pipeline = Pipeline::new(scope, Patience::default());
        Script { pipeline, at: 0, positions: std::collections::HashMap::new(), out: Vec::new() }
    }

    fn event(&mut self, thread: u32, kind: EventKind) -> &mut Self {
        self.at += MILLISECOND;
        let unit = (thread > 0).then_some(Unit::thread(10, thread));
        self.pipeline.event(Event { at: self.at, unit, kind });
        self.collect()
    }

    fn collect(&mut self) -> &mut Self {
        self.out.extend(std::iter::from_fn(|| self.pipeline.next()));
        self
    }

    fn wait(&mut self, milliseconds: u64) -> &mut Self {
        self.at += milliseconds * MILLISECOND;
        self.pipeline.advance(self.at);
        self.collect()
    }

    fn stop(&mut self) -> &mut Self {
        self.at += MILLISECOND;
        self.pipeline.stop(self.at);
        self.collect()
    }

    fn accept(&mut self, socket: u64) -> &mut Self {
        self.accept_on(socket, SERVICE, false)
    }

    fn accept_on(&mut self, socket: u64, local: &str, joined: bool) -> &mut Self {
        let peer = address(&format!("127.0.0.1:{}", 40_000 + socket));
        let open = EventKind::Open {
            socket: SocketId(socket),
            role: Role::Server,
            local: address(local).into(),
            peer: peer.into(),
            joined,
        };
        self.event(1, open)
    }

    fn connect(&mut self, thread: u32, socket: u64, peer: &str) -> &mut Self {
        let (socket_id, peer) = (SocketId(socket), address(peer));
        self.event(thread, EventKind::Connecting { socket: socket_id, peer });
        let local = address(&format!("127.0.0.1:{}", 50_000 + socket)).into();
        let peer = peer.into();
        self.event(thread, EventKind::Open { socket: socket_id, role: Role::Client, local, peer, joined: false })
    }

    /// A connection that was open before the recording began.
    fn joins(&mut self, socket: u64, peer: &str) -> &mut Self {
        let local = address(&format!("127.0.0.1:{}", 50_000 + socket)).into();
        let (socket, peer) = (SocketId(socket), address(peer).into());
        self.event(0, EventKind::Open { socket, role: Role::Client, local, peer, joined: true })
    }

    fn data(&mut self, thread: u32, socket: u64, direction: Direction, bytes: &str) -> &mut Self {
        let position = self.positions.entry((socket, direction)).or_default();
        let at = *position;
        *position += bytes.len() as u64;
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        self.event(
            thread,
            EventKind::Data { socket: SocketId(socket), direction, position: at, bytes, missing: 0, other: None },
        )
    }

    fn skip(&mut self, socket: u64, direction: Direction, bytes: u64) -> &mut Self {
        *self.positions.entry((socket, direction)).or_default() += bytes;
        self
    }

    fn receive(&mut self, thread: u32, socket: u64, bytes: &str) -> &mut Self {
        self.data(thread, socket, Direction::Received, bytes)
    }

    fn send(&mut self, thread: u32, socket: u64, bytes: &str) -> &mut Self {
        self.data(thread, socket, Direction::Sent, bytes)
    }

    fn close(&mut self, thread: u32, socket: u64, cause: CloseCause) -> &mut Self {
        self.event(thread, EventKind::Close { socket: SocketId(socket), cause })
    }

    /// A call on a connection of its own, by one thread.
    fn call(&mut self, thread: u32, socket: u64, path: &str) -> &mut Self {
        self.connect(thread, socket, STOCK).send(thread, socket, &get(path)).receive(thread, socket, OK).close(
            thread,
            socket,
            CloseCause::Closed,
        )
    }

    fn born(&mut self, parent: u32, child: u32) -> &mut Self {
        self.event(parent, EventKind::Born { child: Unit::thread(10, child) })
    }

    fn lose(&mut self) -> &mut Self {
        self.event(0, EventKind::Lost(Loss { kind: LossKind::BufferFull, events: 3, bytes: 500 }))
    }

    fn cassettes(&self) -> Vec<&Cassette> {
        self.out.iter().filter_map(|out| if let Output::Cassette(c) = out { Some(&**c) } else { None }).collect()
    }

    fn cassette(&self) -> &Cassette {
        let cassettes = self.cassettes();
        assert_eq!(cassettes.len(), 1, "{:#?}", self.out);
        cassettes[0]
    }

    fn ambient(&self) -> Vec<&Exchange> {
        self.out.iter().filter_map(|out| if let Output::Ambient(e) = out { Some(&**e) } else { None }).collect()
    }

    /// To where a connection was established on which nothing was said, and how that ended.
    fn silent(&self) -> Vec<(String, Ended)> {
        let silent = self.ambient().into_iter().filter(|call| call.is_silent());
        silent.map(|call| (call.connection.peer.to_string(), call.ended)).collect()
    }

    /// The ids of cassettes that came out and were doubted later.
    fn doubts(&self) -> Vec<String> {
        let doubted = |index: usize, number: u64| {
            self.out[index..].iter().any(|out| matches!(out, Output::Doubt(entries) if entries.contains(number)))
        };
        let ids = self.out.iter().enumerate().filter_map(|(index, out)| match out {
            Output::Cassette(cassette) => Some((index, &cassette.id)),
            _ => None,
        });
        ids.filter(|(index, id)| doubted(*index, id.number().unwrap())).map(|(_, id)| id.0.clone()).collect()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: Stock:9001\r\n\r\n")
}

fn http(exchange: &Exchange) -> &HttpExchange {
    match &exchange.content {
        Content::Http1(http) => http,
        other => panic!("not HTTP: {other:?}"),
    }
}

fn target(exchange: &Exchange) -> String {
    http(exchange).request.target().into_owned()
}

fn cause(exchange: &Exchange) -> (Rule, Confidence, bool) {
    let cause = exchange.cause.as_ref().expect("a cause");
    (cause.rule, cause.confidence, cause.after_response)
}

#[test]
fn an_entry_with_its_calls() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart")).call(5, 2, "/stock/1").call(5, 3, "/stock/2").send(5, 1, OK);
    assert!(script.cassettes().is_empty(), "it may still receive calls");
    script.wait(600);
    let cassette = script.cassette();
    assert_eq!(cassette.id.0, "20261122T101502.002000Z-0001");
    assert_eq!(cassette.recorded.at, "2026-11-22T10:15:02.002000Z");
    assert!(!cassette.has_defects());
    let entry = cassette.entry.as_ref().unwrap();
    assert_eq!((target(entry).as_str(), entry.at, entry.took, &entry.downstream), ("/cart", 0, Some(11_000), &None));
    assert_eq!((entry.connection.id, entry.connection.local.as_ref()), (1, Some(&address(SERVICE).into())));
    let [first, second] = &cassette.downstream[..] else { panic!() };
    assert_eq!((target(first), target(second)), ("/stock/1".into(), "/stock/2".into()));
    assert_eq!(first.downstream.as_deref(), Some("stock:9001"));
    assert_eq!((first.at, first.took, first.ended), (3_000, Some(1_000), Ended::Ok));
    assert_eq!((first.connection.id, &first.connection.peer, first.connection.tls), (2, &address(STOCK).into(), false));
    assert_eq!(cause(first), (Rule::LastRead, Confidence::Certain, false));
    assert_eq!(http(first).response.as_ref().unwrap().wire(), OK.as_bytes());
}

#[test]
fn kept_alive_connections_serve_one_entry_after_another() {
    let mut script = Script::new();
    script.accept(1).connect(5, 2, STOCK);
    for number in 1..=3 {
        script.receive(5, 1, &get(&format!("/cart/{number}")));
        script.send(5, 2, &get(&format!("/stock/{number}"))).receive(5, 2, OK).send(5, 1, OK);
    }
    script.stop();
    let cassettes = script.cassettes();
    assert_eq!(cassettes.len(), 3);
    for (number, cassette) in (1..).zip(cassettes) {
        assert_eq!(target(cassette.entry.as_ref().unwrap()), format!("/cart/{number}"));
        assert_eq!(cassette.downstream.len(), 1);
        assert_eq!(target(&cassette.downstream[0]), format!("/stock/{number}"));
        assert!(!cassette.has_defects());
    }
    assert!(script.ambient().is_empty());
}

#[test]
fn without_threads_one_entry_at_a_time_is_known_and_two_are_not() {
    let mut script = Script::new();
    script.accept(1).receive(0, 1, &get("/one")).call(0, 2, "/a").send(0, 1, OK).wait(600);
    assert_eq!(cause(&script.cassette().downstream[0]).0, Rule::Alone);

    script.accept(3).accept(4).receive(0, 3, &get("/two")).receive(0, 4, &get("/three"));
    script.call(0, 5, "/b").send(0, 3, OK).send(0, 4, OK).wait(600);
    for cassette in &script.cassettes()[1..] {
        assert_eq!((&cassette.defects[..], cassette.downstream.len()), (&[Defect::AmbiguousOwner][..], 0));
    }
    let ambient = script.ambient();
    assert_eq!((target(ambient[0]).as_str(), &ambient[0].defects[..]), ("/b", &[Defect::AmbiguousOwner][..]));
}

#[test]
fn pipelined_requests_are_paired_and_their_calls_are_not_guessed() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &(get("/one") + &get("/two")));
    script.call(5, 2, "/a").send(5, 1, OK).call(5, 3, "/b").send(5, 1, OK).stop();
    let cassettes = script.cassettes();
    assert_eq!(cassettes.iter().map(|c| target(c.entry.as_ref().unwrap())).collect::<Vec<_>>(), ["/one", "/two"]);
    assert!(cassettes.iter().all(|c| c.defects == [Defect::AmbiguousOwner]), "{cassettes:#?}");
    // While only the second one is open, nothing else can have caused the call.
    assert_eq!(cassettes[1].downstream.iter().map(target).collect::<Vec<_>>(), ["/b"]);
    assert_eq!(script.ambient().len(), 1);
}

#[test]
fn an_upgrade_keeps_what_was_said_after_it() {
    let mut script = Script::new();
    script.accept(1).receive(
        5,
        1,
        "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    script.send(5, 1, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    script.receive(5, 1, "hello").send(5, 1, "world").close(5, 1, CloseCause::Closed).wait(600);
    let entry = script.cassette().entry.as_ref().unwrap();
    let said: Vec<&[u8]> = http(entry).upgraded.iter().map(|turn| &turn.bytes[..]).collect();
    assert_eq!(said, [b"hello", b"world"]);
}

#[test]
fn a_refused_downstream_is_an_exchange() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart"));
    script.event(5, EventKind::Connecting { socket: SocketId(2), peer: address(STOCK) });
    script.close(5, 2, CloseCause::Refused).send(5, 1, OK).wait(600);
    let refused = &script.cassette().downstream[0];
    assert_eq!(
        (&refused.content, refused.ended, &refused.connection.local),
        (&Content::Nothing, Ended::Refused, &None)
    );
    assert_eq!(refused.downstream.as_deref(), Some(STOCK));
    assert_eq!(cause(refused).1, Confidence::Certain);
    assert!(!script.cassette().has_defects());
}

#[test]
fn a_reset_downstream_ends_so() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart")).connect(5, 2, STOCK).send(5, 2, &get("/a"));
    script.receive(5, 2, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").close(5, 2, CloseCause::Reset);
    script.send(5, 1, OK).wait(600);
    let exchange = &script.cassette().downstream[0];
    assert_eq!((exchange.ended, exchange.took), (Ended::Reset, None));
    assert_eq!(&http(exchange).response.as_ref().unwrap().body[..], b"hal");
}

#[test]
fn bytes_that_were_not_seen_are_a_gap_where_they_belong() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, "POST /cart HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab");
    script.skip(1, Direction::Received, 5).receive(5, 1, "hij").send(5, 1, OK).wait(600);
    let entry = script.cassette().entry.as_ref().unwrap();
    let gap = entry.defects.iter().find(|defect| matches!(defect, Defect::Gap { bytes: 5, .. }));
    assert!(gap.is_some(), "{:?}", entry.defects);
    let gaps = Tally { events: 1, bytes: 5, connections: 1, cassettes: 1 };
    assert_eq!(script.pipeline.ledger().rows().collect::<Vec<_>>(), [(Lack::Gap, gaps)]);
}

#[test]
fn losses_mark_what_was_open() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/before")).send(5, 1, OK).wait(600);
    script.receive(5, 1, &get("/during")).lose().send(5, 1, OK).wait(2000);
    script.receive(5, 1, &get("/after")).send(5, 1, OK).wait(600);
    let lost = Defect::LostEvents { events: 3, bytes: 500 };
    let defects: Vec<&[Defect]> = script.cassettes().iter().map(|c| &c.defects[..]).collect();
    assert_eq!(defects, [&[][..], &[lost.clone()][..], &[][..]]);
    assert!(script.out.contains(&Output::Lost(lost)));
    let lost = Tally { events: 3, bytes: 500, connections: 0, cassettes: 1 };
    assert_eq!(script.pipeline.ledger().get(Lack::BufferFull), lost);
}

#[test]
fn connections_inside_the_service_are_neither_entry_nor_call() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart"));
    // The front end asks the back end, which answers; both are recorded.
    script.connect(5, 2, "127.0.0.1:8081").send(5, 2, &get("/inner"));
    let (local, peer) = (address("127.0.0.1:8081").into(), address("127.0.0.1:50002").into());
    script.event(6, EventKind::Open { socket: SocketId(3), role: Role::Server, local, peer, joined: false });
    script.receive(6, 3, &get("/inner")).call(6, 4, "/stock").send(6, 3, OK).receive(5, 2, OK);
    script.send(5, 1, OK).wait(600);
    // That its request was sent before the other end was known is no exchange either when the connection ends.
    script.event(5, EventKind::Close { socket: SocketId(2), cause: CloseCause::Closed }).stop();
    let cassette = script.cassette();
    assert_eq!(target(cassette.entry.as_ref().unwrap()), "/cart");
    assert_eq!(cassette.downstream.iter().map(target).collect::<Vec<_>>(), ["/stock"]);
    assert!(script.ambient().is_empty());
}

fn unix(name: &'static str, inode: u64) -> Address {
    Address::Unix(UnixAddress { name: Bytes::from_static(name.as_bytes()), inode })
}

impl Script {
    fn open_unix(&mut self, socket: u64, role: Role, local: Address, peer: Address) -> &mut Self {
        self.event(5, EventKind::Open { socket: SocketId(socket), role, local, peer, joined: false })
    }
}

#[test]
fn unix_sockets_bring_entries_and_calls() {
    let mut script = Script::new();
    script.open_unix(1, Role::Server, unix("/run/app", 11), unix("", 12)).receive(5, 1, &get("/cart"));
    script.open_unix(2, Role::Client, unix("", 13), unix("\0stock", 0)).send(5, 2, &get("/stock")).receive(5, 2, OK);
    script.send(5, 1, OK).wait(600);
    let cassette = script.cassette();
    let shown = |address: &regress_cassettes::Address| address.to_string();
    let entry = cassette.entry.as_ref().unwrap();
    assert_eq!(
        (target(entry).as_str(), entry.connection.local.as_ref().map(shown)),
        ("/cart", Some("unix:/run/app".into()))
    );
    let [call] = &cassette.downstream[..] else { panic!() };
    assert_eq!(call.downstream.as_deref(), Some("unix:@stock"), "not what Host says");
    assert_eq!((&call.connection.local, shown(&call.connection.peer)), (&None, "unix:@stock".into()));
    assert_eq!((cassette.has_defects(), script.pipeline.unix_not_http()), (false, 0));
}

/// Every connection to one path has the same two names: the inodes tell which two ends belong together.
#[test]
fn unix_connections_inside_the_service_are_told_by_inode() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart"));
    script.open_unix(2, Role::Client, unix("", 21), unix("/run/inner", 0)).send(5, 2, &get("/inner"));
    script.open_unix(3, Role::Server, unix("/run/inner", 22), unix("", 21)).receive(5, 3, &get("/inner"));
    script.send(5, 3, OK).receive(5, 2, OK);
    // Somebody else's.
    script.open_unix(4, Role::Server, unix("/run/inner", 23), unix("", 99));
    script.send(5, 1, OK).wait(600).receive(5, 4, &get("/outer")).send(5, 4, OK).wait(600);
    let entries: Vec<String> = script.cassettes().iter().map(|c| target(c.entry.as_ref().unwrap())).collect();
    assert_eq!(entries, ["/cart", "/outer"]);
    assert!(script.cassettes().iter().all(|cassette| cassette.downstream.is_empty()) && script.ambient().is_empty());
}

#[test]
fn services_of_the_host_and_socketpairs_are_left_out() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart"));
    script.open_unix(2, Role::Client, unix("", 21), unix("/run/systemd/journal/stdout", 0)).send(5, 2, "a line\n");
    script.open_unix(3, Role::Client, unix("", 22), unix("", 99)).send(5, 3, "a line\n");
    // Both ends of this one are in the service.
    script.open_unix(4, Role::Client, unix("", 23), unix("", 24)).send(5, 4, "a message\n");
    script.open_unix(5, Role::Server, unix("", 24), unix("", 23)).receive(5, 5, "a message\n");
    script
        .send(5, 1, OK)
        .event(5, EventKind::Close { socket: SocketId(2), cause: CloseCause::Closed })
        .wait(600)
        .stop();
    let cassette = script.cassette();
    assert!(cassette.downstream.is_empty() && !cassette.has_defects() && script.ambient().is_empty());
    assert_eq!(script.pipeline.unix_not_http(), 2);
}

#[test]
fn other_protocols_on_unix_sockets_are_opaque_and_counted() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/cart"));
    script.open_unix(2, Role::Client, unix("", 21), unix("/run/db", 0)).send(5, 2, &"QUERY 1\n".repeat(9));
    script.receive(5, 2, "OK").event(5, EventKind::Close { socket: SocketId(2), cause: CloseCause::Closed });
    script.send(5, 1, OK).wait(600);
    let cassette = script.cassette();
    let [call] = &cassette.downstream[..] else { panic!() };
    assert!(matches!(call.content, Content::Opaque(_)), "{call:?}");
    assert_eq!(script.pipeline.unix_not_http(), 1);
}

#[test]
fn a_joined_connection_gives_its_next_entry() {
    let mut script = Script::new();
    script.accept_on(1, SERVICE, true).receive(5, 1, &get("/cart")).call(5, 2, "/a").send(5, 1, OK).wait(600);
    assert!(!script.cassette().has_defects());
    assert_eq!(script.cassette().downstream.len(), 1);
}

#[test]
fn an_entry_unseen_on_a_joined_connection_takes_certainty_back() {
    let mut script = Script::new();
    script.accept_on(1, SERVICE, true).accept(2).receive(5, 2, &get("/cart")).call(5, 3, "/a").send(5, 2, OK).wait(600);
    let id = script.cassette().id.0.clone();
    assert!(!script.cassette().has_defects() && script.doubts().is_empty());
    // The response to a request that came before the recording: that call may have been its own.
    script.send(6, 1, OK).close(6, 1, CloseCause::Closed);
    assert_eq!(script.doubts(), [id]);
}

#[test]
fn what_cannot_be_read_is_counted_and_kept_opaque() {
    let hello = "\u{16}\u{3}\u{1}\u{0}\u{5}hello";
    let mut script = Script::new();
    script.accept(1).receive(5, 1, hello).close(5, 1, CloseCause::Closed);
    assert_eq!(script.pipeline.opaque(), 1);
    script.accept(2).receive(5, 2, &get("/pay")).connect(5, 3, "10.0.0.9:443").send(5, 3, hello);
    script.receive(5, 3, hello).close(5, 3, CloseCause::Closed).send(5, 2, OK).wait(600);
    let call = &script.cassette().downstream[0];
    assert_eq!((&call.defects[..], call.downstream.as_deref()), (&[Defect::Encrypted][..], Some("10.0.0.9:443")));
    assert!(matches!(call.content, Content::Opaque(_)));
}

#[test]
fn an_opaque_conversation_that_several_entries_use_makes_them_uncertain() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/one")).connect(5, 2, "127.0.0.1:11211");
    script.send(5, 2, "stats\r\n").receive(5, 2, "END\r\n").send(5, 1, OK).wait(600);
    script.receive(5, 1, &get("/two")).send(5, 2, "stats\r\n").receive(5, 2, "END\r\n");
    script.send(5, 1, OK).wait(600);
    let [first, second] = script.cassettes()[..] else { panic!() };
    // It was still going on when the first entry had settled.
    assert_eq!(first.downstream[0].ended, Ended::Unfinished);
    assert!(first.has_defects());
    assert_eq!(second.defects, [Defect::AmbiguousOwner]);
}

#[test]
fn calls_in_another_protocol_have_owners_and_what_concerns_the_connection_has_none() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/one")).connect(5, 2, "127.0.0.1:6379");
    script.send(5, 2, "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n").receive(5, 2, "+OK\r\n");
    script.send(5, 2, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n").receive(5, 2, "$1\r\nx\r\n").send(5, 1, OK).wait(600);
    script.receive(5, 1, &get("/two")).send(5, 2, "*2\r\n$3\r\nGET\r\n$1\r\nb\r\n").receive(5, 2, "$1\r\ny\r\n");
    script.send(5, 1, OK).wait(600);
    let lines = |exchanges: &[Exchange]| exchanges.iter().filter_map(Exchange::request).map(Request::line).collect();
    let cassettes: Vec<Vec<String>> = script.cassettes().iter().map(|cassette| lines(&cassette.downstream)).collect();
    assert_eq!(cassettes, [["GET a"], ["GET b"]]);
    assert!(script.cassettes().iter().all(|cassette| !cassette.has_defects()));
    let ambient: Vec<String> = script.ambient().iter().filter_map(|call| call.request()).map(Request::line).collect();
    assert_eq!(ambient, ["AUTH (hidden)"]);
}

#[test]
fn a_joined_connection_in_another_protocol_is_read_from_its_next_request_on() {
    let mut script = Script::new();
    let (local, peer) = (address("127.0.0.1:40001").into(), address("127.0.0.1:6379").into());
    script.event(5, EventKind::Open { socket: SocketId(2), role: Role::Client, local, peer, joined: true });
    script.receive(5, 2, "$1\r\nz\r\n");
    script.accept(1).receive(5, 1, &get("/one"));
    script.send(5, 2, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n").receive(5, 2, "$1\r\nx\r\n").send(5, 1, OK).wait(600);
    let [call] = &script.cassette().downstream[..] else { panic!() };
    assert_eq!((call.request().map(Request::line).as_deref(), &call.defects[..]), (Some("GET a"), &[][..]));
}

#[test]
fn a_thread_that_is_born_for_an_entry_and_ends_works_for_it_also_after_the_response() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/order")).born(5, 7).send(5, 1, OK).call(7, 2, "/audit");
    script.event(7, EventKind::Gone).wait(600);
    assert_eq!(cause(&script.cassette().downstream[0]), (Rule::Lineage, Confidence::Certain, true));

    // One that stays may work for anyone.
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/order")).born(5, 7).send(5, 1, OK).call(7, 2, "/audit").wait(600);
    assert!(script.cassette().downstream.is_empty());
    assert_eq!(script.ambient().len(), 1);
}

#[test]
fn only_the_wanted_ports_and_number_of_entries_give_cassettes() {
    let scope = Scope { ports: vec![8080], max_entries: Some(1), ..scope() };
    let mut script = Script::with(scope);
    script.accept_on(1, "127.0.0.1:9999", false).receive(5, 1, &get("/metrics")).call(5, 3, "/up").send(5, 1, OK);
    script.wait(600);
    assert!(!script.pipeline.is_full());
    assert_eq!(script.ambient().len(), 1, "what an unwanted entry caused is ambient");
    script.accept(2).receive(5, 2, &get("/one")).send(5, 2, OK).receive(5, 2, &get("/two")).send(5, 2, OK).wait(600);
    assert_eq!(target(script.cassette().entry.as_ref().unwrap()), "/one");
    assert!(script.pipeline.is_full());
}

#[test]
fn the_end_of_the_recording_cuts_off_what_is_open() {
    let mut script = Script::new();
    script.accept(1).receive(5, 1, &get("/slow")).connect(5, 2, STOCK).send(5, 2, &get("/a")).stop();
    let cassette = script.cassette();
    let entry = cassette.entry.as_ref().unwrap();
    assert_eq!((entry.ended, &entry.defects[..]), (Ended::Unfinished, &[Defect::Unfinished][..]));
    assert_eq!(cassette.downstream[0].ended, Ended::Unfinished);
}

#[test]
fn content_from_inside_tls_is_marked() {
    let mut script = Script::new();
    script.accept(1).receive(0, 1, &get("/pay"));
    script.connect(0, 2, "10.0.0.9:443").event(0, EventKind::InsideTls { socket: SocketId(2) });
    script.send(0, 2, "GET /c HTTP/1.1\r\nHost: Pay.example\r\n\r\n").receive(0, 2, OK);
    script.send(0, 1, OK).wait(600);
    let call = &script.cassette().downstream[0];
    assert_eq!((call.connection.tls, call.downstream.as_deref()), (true, Some("pay.example")));
}

/// A call whose answer is reported before the request, which took `other` bytes.
fn answered_early(script: &mut Script, other: u64) {
    let data = |direction, bytes: &str, other| EventKind::Data {
        socket: SocketId(2),
        direction,
        position: 0,
        bytes: Bytes::copy_from_slice(bytes.as_bytes()),
        missing: 0,
        other,
    };
    script.accept(1).receive(5, 1, &get("/cart")).connect(5, 2, STOCK);
    script.event(6, data(Direction::Received, OK, Some(other)));
    script.event(6, EventKind::Finished { socket: SocketId(2), direction: Direction::Received });
    script.event(5, data(Direction::Sent, &get("/stock"), None));
}

#[test]
fn an_answer_that_is_reported_before_its_request_is_its_answer() {
    let mut script = Script::new();
    answered_early(&mut script, get("/stock").len() as u64);
    script.close(5, 2, CloseCause::Closed).send(5, 1, OK).wait(600);
    let call = &script.cassette().downstream[0];
    assert_eq!((target(call).as_str(), call.ended, &call.defects[..]), ("/stock", Ended::Ok, &[][..]));
    assert_eq!(http(call).response.as_ref().unwrap().wire(), OK.as_bytes());
    assert_eq!(script.pipeline.ledger().rows().count(), 0);
}

#[test]
fn an_answer_whose_request_is_not_reported_in_time_goes_on_and_says_so() {
    let mut script = Script::new();
    answered_early(&mut script, 10_000);
    assert!(script.wait(100).pipeline.ledger().rows().next().is_none());
    script.wait(300).close(5, 2, CloseCause::Closed).send(5, 1, OK).wait(600);
    let call = &script.cassette().downstream[0];
    assert!(call.defects.contains(&Defect::LostEvents { events: 1, bytes: 0 }), "{:?}", call.defects);
    let missing = 10_000 - get("/stock").len() as u64;
    let reordered = Tally { events: 1, bytes: missing, connections: 1, cassettes: 1 };
    assert_eq!(script.pipeline.ledger().get(Lack::Reordered), reordered);
}

#[test]
fn what_waits_and_what_is_under_way_is_bounded_in_memory() {
    let patience = Patience { waiting: 50_000, under_way: 100_000, ..Patience::default() };
    let mut script = Script { pipeline: Pipeline::new(scope(), patience), ..Script::new() };
    let post = |body: usize| format!("POST /cart HTTP/1.1\r\nContent-Length: {body}\r\n\r\n{}", "x".repeat(body));
    script.accept(1).accept(2);
    for _ in 0..5 {
        script.receive(5, 1, &post(20_000)).send(5, 1, OK);
    }
    assert_eq!(script.cassettes().len(), 3, "those that settle first come out before their time");
    let big = post(30_000);
    script.receive(5, 1, &post(90_000)[..80_000]);
    script.receive(6, 2, &big[..100]).receive(6, 2, &big[100..]).send(6, 2, OK).wait(600);
    let gap = script.cassettes()[5].entry.as_ref().unwrap().defects.clone();
    assert!(matches!(gap[..], [Defect::Gap { .. }]), "{gap:?}");
    let tally = script.pipeline.ledger().get(Lack::Memory);
    assert_eq!((tally.events, script.pipeline.ledger().get(Lack::Gap).bytes), (1, tally.bytes));
    script.close(5, 1, CloseCause::Closed).receive(6, 2, &post(30_000)).send(6, 2, OK).wait(600);
    assert!(!script.cassettes().last().unwrap().has_defects(), "there is room again");
}

/// One step of one thread's work on its entry.
#[derive(Clone, Debug)]
enum Step {
    Accept,
    Request(usize),
    Call(usize),
    Answer,
}

/// A thread's whole work: one entry with two calls, its bytes cut at `cut`.
fn steps(cut: usize) -> Vec<Step> {
    let mut steps = vec![Step::Accept, Step::Request(cut)];
    steps.extend((0..8).map(Step::Call));
    steps.push(Step::Answer);
    steps
}

fn play(script: &mut Script, thread: u64, step: &Step) {
    let (unit, entry) = (100 + thread as u32, thread * 10 + 1);
    let request = get(&format!("/cart/{thread}"));
    match step {
        Step::Accept => script.accept(entry),
        Step::Request(cut) => {
            let (first, second) = request.split_at((*cut).clamp(1, request.len() - 1));
            script.receive(unit, entry, first).receive(unit, entry, second)
        }
        Step::Call(part) => {
            let socket = entry + 1 + (*part / 4) as u64;
            match part % 4 {
                0 => script.connect(unit, socket, STOCK),
                1 => script.send(unit, socket, &get(&format!("/stock/{thread}/{}", part / 4))),
                2 => script.receive(unit, socket, OK),
                _ => script.close(unit, socket, CloseCause::Closed),
            }
        }
        Step::Answer => script.send(unit, entry, OK),
    };
}

#[test]
fn where_nothing_was_ever_said_is_known_once() {
    let mut script = Script::new();
    let nowhere = ["10.66.6.6:6666", "10.66.6.7:6666", "10.66.6.8:6666"];
    script.connect(1, 1, nowhere[0]).close(1, 1, CloseCause::Closed);
    script.connect(1, 2, nowhere[0]).connect(1, 3, nowhere[1]);
    script.event(1, EventKind::Connecting { socket: SocketId(4), peer: address(nowhere[2]) });
    // Who comes to the service says nothing of where it goes.
    script.accept(7).stop();
    let expected = [Ended::Closed, Ended::Unfinished, Ended::Unfinished];
    assert_eq!(script.silent(), nowhere.map(str::to_owned).into_iter().zip(expected).collect::<Vec<_>>());
}

#[test]
fn that_a_pool_leaves_connections_unused_is_known() {
    let mut script = Script::new();
    script.connect(1, 5, STOCK).connect(1, 6, STOCK).send(1, 5, &get("/stock")).receive(1, 5, OK);
    script.close(1, 6, CloseCause::Closed).connect(1, 7, STOCK).stop();
    assert_eq!(script.silent(), [(STOCK.to_owned(), Ended::Closed)]);

    // One that was open before the recording may have been used then, and the recording need not see it again.
    let mut script = Script::new();
    script.joins(8, STOCK).connect(1, 9, STOCK).send(1, 9, &get("/stock")).receive(1, 9, OK).stop();
    assert_eq!(script.silent(), []);
    let mut script = Script::new();
    script.connect(1, 9, STOCK).send(1, 9, &get("/stock")).receive(1, 9, OK).joins(8, STOCK).stop();
    assert_eq!(script.silent(), []);
    let mut script = Script::new();
    script.joins(8, STOCK).connect(1, 9, STOCK).close(1, 9, CloseCause::Closed);
    script.connect(1, 10, STOCK).send(1, 10, &get("/stock")).receive(1, 10, OK).stop();
    assert_eq!(script.silent(), [(STOCK.to_owned(), Ended::Closed)]);

    // Where it was tried in vain is told as that alone.
    let mut script = Script::new();
    script.connect(1, 5, STOCK).close(1, 5, CloseCause::Closed);
    script.event(1, EventKind::Connecting { socket: SocketId(6), peer: address(STOCK) });
    script.close(1, 6, CloseCause::Refused).stop();
    assert_eq!(script.silent(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Threads that work side by side, in any interleaving, give each entry its own two calls.
    #[test]
    fn any_interleaving_of_threads_gives_the_same_cassettes(
        order in Just((0..24u64).flat_map(|thread| std::iter::repeat_n(thread, 11)).collect::<Vec<_>>()).prop_shuffle(),
        cut in 0usize..60,
    ) {
        let mut script = Script::new();
        // One thread after the other, beside an entry that stays open: the process proves its shape.
        script.accept(999).receive(99, 999, &get("/stays"));
        for thread in 30..40 {
            steps(cut).iter().for_each(|step| play(&mut script, thread, step));
        }
        let mut left: Vec<_> = (0..24).map(|_| steps(cut).into_iter()).collect();
        for thread in order {
            if let Some(step) = left[thread as usize].next() {
                play(&mut script, thread, &step);
            }
        }
        script.send(99, 999, OK).stop();
        prop_assert!(script.ambient().is_empty() && script.doubts().is_empty());
        prop_assert_eq!(script.cassettes().len(), 35);
        for cassette in script.cassettes() {
            if target(cassette.entry.as_ref().unwrap()) == "/stays" {
                prop_assert!(cassette.downstream.is_empty() && !cassette.has_defects());
                continue;
            }
            prop_assert!(!cassette.has_defects(), "{:#?}", cassette);
            let number = target(cassette.entry.as_ref().unwrap()).replace("/cart/", "");
            let calls: Vec<String> = cassette.downstream.iter().map(target).collect();
            prop_assert_eq!(calls, [format!("/stock/{number}/0"), format!("/stock/{number}/1")]);
        }
    }
}
