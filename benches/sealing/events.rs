//! The same events, as a service's threads would cause them, given to pipeline and writing alone.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use regress_cassettes::{
    redact::{Key, Policy, Redactor},
    seal::{Keys, Recipients, Seal, Session},
};
use regress_ebpf::{CloseCause, Direction, Event, EventKind, Role, SocketId, Unit};
use regress_recorder::{Fsync, Settings, Target, ViaChoice, record_events, select};
use serde_json::json;

use crate::{Case, memory, spent};

const CONNECTIONS: u64 = 64;
const BATCH: usize = 4096;
/// Nanoseconds between two events.
const TICK: u64 = 10_000;

const RECIPIENT: &str = include_str!("../../cassettes/tests/keys/ssh.pub");

/// Record the events, and give the CPU time that it took.
pub fn record(case: &Case, is_sealed: bool, entries: u64, events: &[Vec<Event>]) -> Duration {
    // What a disk's file system spends on thousands of files that come and go varies by more than sealing costs.
    let folder = memory::folder().expect("there is a temporary folder");
    let recipients = if is_sealed { case.recipients } else { 0 };
    let settings = settings(folder.path().join("cassettes"), recipients, 8080, Target::Pids(Vec::new()));
    let batches: Vec<_> = events.to_vec();
    let before = spent();
    let summary = record_events(&settings, batches).expect("it can be recorded");
    let took = spent() - before;
    assert_eq!((summary.entries, summary.complete()), (entries, true), "{}", case.name);
    took
}

/// How both ways record; sealed where there are recipients.
pub fn settings(out: PathBuf, recipients: usize, port: u16, target: Target) -> Settings {
    let seal = || {
        let recipients = Recipients::parse(vec![RECIPIENT; recipients]).expect("it is one");
        Seal { session: Arc::new(Session::new(&recipients).expect("random bytes can be had")), header: false }
    };
    Settings {
        no_room: None,
        redactor: Arc::new(Redactor::new(Key::drawn().expect("random bytes can be had"), Policy::default())),
        seal: (recipients > 0).then(seal),
        keys: Keys::default(),
        out,
        service: "shop".to_owned(),
        ports: vec![port],
        duration: None,
        max_entries: None,
        select: select::Policy::default(),
        back_off: None,
        metrics: None,
        fsync: Fsync::default(),
        only_certain: false,
        owner_log: false,
        id_evidence: true,
        id_headers: Vec::new(),
        value_evidence: false,
        via: ViaChoice::Ebpf,
        server: PathBuf::new(),
        buffer: None,
        inside_tls: false,
        database_tls: false,
        target,
        helper: "/proc/self/exe".into(),
    }
}

/// What both services answer: JSON of about so many bytes.
pub fn response(bytes: usize) -> Bytes {
    let items: Vec<_> = (0..bytes / 100)
        .map(|number| json!({ "sku": format!("tea-green-{number:04}"), "count": number % 7, "price": 9.95, "note": "at the door" }))
        .collect();
    let body = json!(items).to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// What is asked for.
pub const REQUEST: &[u8] = b"GET /orders/17 HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n\r\n";

/// Of threads that each have one connection in and one downstream.
pub fn events(case: &Case, entries: u64) -> Vec<Vec<Event>> {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()).unwrap_or(0);
    // Nothing before the recording begins.
    let mut at = (uptime + 3600) * 1_000_000_000;
    let mut all: Vec<Event> = Vec::new();
    let mut push = |connection: u64, kind: EventKind| {
        at += TICK;
        all.push(Event { at, unit: Some(Unit::thread(100, 100 + connection as u32)), kind });
    };
    let address = |host: u8, port: u64| SocketAddr::from(([127, 0, 0, host], port as u16));
    for connection in 0..CONNECTIONS {
        let (entry, call) = (SocketId(2 * connection), SocketId(2 * connection + 1));
        let (local, peer) = (address(1, 8080).into(), address(2, 40_000 + connection).into());
        push(connection, EventKind::Open { socket: entry, role: Role::Server, local, peer, joined: false });
        push(connection, EventKind::Connecting { socket: call, peer: address(3, 9000) });
        let (local, peer) = (address(1, 50_000 + connection).into(), address(3, 9000).into());
        push(connection, EventKind::Open { socket: call, role: Role::Client, local, peer, joined: false });
    }
    let (request, response) = (Bytes::from_static(REQUEST), response(case.body));
    let mut positions = vec![[[0_u64; 2]; 2]; CONNECTIONS as usize];
    for number in 0..entries {
        let connection = number % CONNECTIONS;
        let mut said = |which: usize, direction: Direction, bytes: &Bytes| {
            let place = &mut positions[connection as usize][which][direction as usize];
            let position = std::mem::replace(place, *place + bytes.len() as u64);
            let socket = SocketId(2 * connection + which as u64);
            let bytes = bytes.clone();
            push(connection, EventKind::Data { socket, direction, position, bytes, missing: 0, other: None });
        };
        said(0, Direction::Received, &request);
        for _ in 0..case.calls {
            said(1, Direction::Sent, &request);
            said(1, Direction::Received, &response);
        }
        said(0, Direction::Sent, &response);
    }
    for connection in 0..CONNECTIONS {
        for socket in [2 * connection, 2 * connection + 1].map(SocketId) {
            push(connection, EventKind::Close { socket, cause: CloseCause::Closed });
        }
    }
    all.chunks(BATCH).map(<[Event]>::to_vec).collect()
}
