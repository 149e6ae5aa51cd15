//! What sealing costs the recorder: the same events recorded as they are and sealed, in turns.
//!
//! `cargo bench -p regress-recorder --bench sealing [-- --entries N] [--rounds N]` prints CPU time an entry of the whole process
//! (user and system, all threads) and writes `target/bench/sealing.json`: medians, and the median and the quartiles of the ratios of
//! pairs. It fails where sealing costs more than 5 %.

#![allow(clippy::print_stdout, missing_docs)]

#[path = "../memory.rs"]
mod memory;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};
use regress_cassettes::{
    redact::{Key, Policy, Redactor},
    seal::{Keys, Recipients, Seal, Session},
};
use regress_ebpf::{CloseCause, Direction, Event, EventKind, Role, SocketId, Unit};
use regress_recorder::{Fsync, Settings, Target, ViaChoice, record_events, select};
use serde_json::json;

/// The most that sealing may add.
const MOST: f64 = 0.05;

const CONNECTIONS: u64 = 64;
const BATCH: usize = 4096;
/// Nanoseconds between two events.
const TICK: u64 = 10_000;

const RECIPIENT: &str = include_str!("../../cassettes/tests/keys/ssh.pub");

struct Case {
    name: &'static str,
    /// Bytes of a response's body.
    body: usize,
    /// Downstream calls of an entry.
    calls: u64,
    /// One entry of so many is recorded in a run.
    fewer: u64,
    recipients: usize,
}

const CASES: [Case; 4] = [
    Case { name: "1 KiB, no calls", body: 1 << 10, calls: 0, fewer: 1, recipients: 1 },
    Case { name: "1 KiB, 2 calls", body: 1 << 10, calls: 2, fewer: 1, recipients: 1 },
    Case { name: "1 KiB, 2 calls, 8 recipients", body: 1 << 10, calls: 2, fewer: 1, recipients: 8 },
    Case { name: "30 KiB, 2 calls", body: 30 << 10, calls: 2, fewer: 4, recipients: 1 },
];

fn main() -> ExitCode {
    let (mut entries, mut rounds) = (600, 60);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<usize>().ok()).map(|number| number.max(1));
        let known = match argument.as_str() {
            "--entries" => number().map(|number| entries = number),
            "--rounds" => number().map(|number| rounds = number),
            // Cargo says so.
            "--bench" => Some(()),
            _ => None,
        };
        if known.is_none() {
            println!("error: {argument} is no argument with a number\nhint: --entries N, --rounds N");
            return ExitCode::from(2);
        }
    }
    println!("{:<30} {:>12} {:>12} {:>9} {:>17}", "CPU an entry", "plain", "sealed", "more", "quartiles");
    let mut rows = Vec::new();
    let mut within = true;
    for case in &CASES {
        let entries = entries as u64 / case.fewer;
        let events = events(case, entries);
        let mut pairs = Vec::new();
        for round in 0..rounds {
            // Who begins is who ended.
            let order = if round % 2 == 0 { [false, true] } else { [true, false] };
            let mut spent = [Duration::ZERO; 2];
            for is_sealed in order {
                spent[usize::from(is_sealed)] = record(case, is_sealed, entries, &events);
            }
            pairs.push(spent.map(|spent| spent.as_secs_f64() * 1e6 / entries as f64));
        }
        let of = |what: &dyn Fn(&[f64; 2]) -> f64| {
            let mut values: Vec<f64> = pairs.iter().map(what).collect();
            values.sort_by(f64::total_cmp);
            [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
        };
        let (plain, sealed, more) = (of(&|pair| pair[0]), of(&|pair| pair[1]), of(&|pair| pair[1] / pair[0] - 1.0));
        println!(
            "{:<30} {:>9.1} µs {:>9.1} µs {:>7.1} % {:>7.1} to {:>4.1} %",
            case.name,
            plain[1],
            sealed[1],
            more[1] * 100.0,
            more[0] * 100.0,
            more[2] * 100.0
        );
        within &= more[1] <= MOST;
        for (metric, value, unit) in [("plain", plain[1], "µs"), ("sealed", sealed[1], "µs")] {
            rows.push(json!({ "case": case.name, "metric": metric, "value": value, "unit": unit }));
        }
        rows.push(json!({
            "case": case.name, "metric": "more", "value": more[1], "unit": "ratio", "limit": MOST, "target": MOST,
            "quartiles": [more[0], more[2]], "met": more[1] <= MOST,
        }));
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let text = format!("{:#}\n", json!({ "rows": rows }));
    match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("sealing.json"), text)) {
        Ok(()) => println!("\nwrote {}", folder.join("sealing.json").display()),
        Err(error) => println!("error: cannot write {}: {error}", folder.join("sealing.json").display()),
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Record the events, and give the CPU time that it took.
fn record(case: &Case, is_sealed: bool, entries: u64, events: &[Vec<Event>]) -> Duration {
    // What a disk's file system spends on thousands of files that come and go varies by more than sealing costs.
    let folder = memory::folder().expect("there is a temporary folder");
    let seal = || {
        let recipients = Recipients::parse(vec![RECIPIENT; case.recipients]).expect("it is one");
        Seal { session: Arc::new(Session::new(&recipients).expect("random bytes can be had")), header: false }
    };
    let settings = Settings {
        no_room: None,
        redactor: Arc::new(Redactor::new(Key::drawn().expect("random bytes can be had"), Policy::default())),
        seal: is_sealed.then(seal),
        keys: Keys::default(),
        out: folder.path().join("cassettes"),
        service: "shop".to_owned(),
        ports: vec![8080],
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
        target: Target::Pids(Vec::new()),
        helper: "/proc/self/exe".into(),
    };
    let batches: Vec<_> = events.to_vec();
    let before = spent();
    let summary = record_events(&settings, batches).expect("it can be recorded");
    let took = spent() - before;
    assert_eq!((summary.entries, summary.complete()), (entries, true), "{}", case.name);
    took
}

/// CPU time of this process.
fn spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("there is a clock");
    let time = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

/// Of threads that each have one connection in and one downstream.
fn events(case: &Case, entries: u64) -> Vec<Vec<Event>> {
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
    let items: Vec<_> = (0..case.body / 100)
        .map(|number| json!({ "sku": format!("tea-green-{number:04}"), "count": number % 7, "price": 9.95, "note": "at the door" }))
        .collect();
    let body = json!(items).to_string();
    let response: Bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into();
    let request = Bytes::from_static(b"GET /orders/17 HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n\r\n");
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
