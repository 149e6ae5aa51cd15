//! A recording that never seems to end: events at full speed through the pipeline and the store, in flat memory.
//!
//! `cargo bench -p regress-recorder --bench soak [-- --events N] [--case NAME] [--limit MIB] [--fsync WHEN]` prints events and megabytes
//! a second and the resident memory at the start, in the middle and at the end of each case. It fails where the second
//! half of the events takes more memory than the first half did at its peak, by more than the limit; or where the recording
//! is not what was played.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::{
    cell::RefCell,
    net::SocketAddr,
    path::Path,
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use regress_cassettes::redact::{Key, Policy, Redactor};
use regress_ebpf::{CloseCause, Direction, Event, EventKind, Role, SocketId, Unit};
use regress_recorder::{Fsync, Settings, Summary, Target, ViaChoice, record_events, select};

/// Events that are handed over at a time, as many as the kernel source does at most.
const BATCH: usize = 4096;
const CONNECTIONS: u64 = 64;
const SAMPLES: u64 = 20;
/// Nanoseconds between two events: 100,000 a second of event time.
const TICK: u64 = 10_000;

const CASES: [Case; 4] = [
    Case { name: "hello", body: 1024, calls: 0, sparse: 1, ambient: false },
    Case { name: "calls", body: 1024, calls: 2, sparse: 1, ambient: false },
    // Most entries arrive on a port that is not recorded: the pipeline works, the store hardly does.
    Case { name: "pipeline", body: 1024, calls: 0, sparse: CONNECTIONS, ambient: false },
    Case { name: "ambient", body: 64, calls: 1, sparse: 1, ambient: true },
];

/// A kind of traffic.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Bytes of a response body.
    body: usize,
    /// Downstream calls of an entry.
    calls: u64,
    /// One entry of so many is recorded.
    sparse: u64,
    /// Calls are made while no entry is open.
    ambient: bool,
}

struct Options {
    events: u64,
    case: Option<String>,
    limit: u64,
    fsync: Fsync,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            println!(
                "error: {wrong}\nhint: --events N, --case hello|calls|pipeline|ambient, --limit MIB, --fsync always|regular|end|never"
            );
            return ExitCode::from(2);
        }
    };
    println!(
        "{:<10} {:>11} {:>9} {:>8} {:>8} {:>9} {:>9} {:>9}  verdict",
        "case", "events", "events/s", "entry/s", "MB/s", "RSS 10%", "RSS 50%", "RSS end"
    );
    let cases = CASES.iter().filter(|case| options.case.as_deref().is_none_or(|name| name == case.name));
    let flat = cases.map(|case| run(case, &options)).fold(true, |all, flat| all & flat);
    if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { events: 2_000_000, case: None, limit: 32, fsync: Fsync::default() };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value.replace('_', "").parse::<u64>().map_err(|_| format!("{argument} takes a number"))
        };
        match argument.as_str() {
            "--events" => options.events = number()?.max(100_000),
            "--limit" => options.limit = number()?,
            "--fsync" => {
                options.fsync = match arguments.next().as_deref() {
                    Some("always") => Fsync::Always,
                    Some("regular") => Fsync::Regular,
                    Some("end") => Fsync::End,
                    Some("never") => Fsync::Never,
                    _ => return Err("--fsync takes always, regular, end or never".to_owned()),
                }
            }
            "--case" => options.case = arguments.next(),
            // Cargo says so.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}

/// Play a case; whether memory stayed flat and nothing was lost.
fn run(case: &Case, options: &Options) -> bool {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let out = folder.path().join("cassettes");
    let key = Key::drawn().expect("random bytes can be had");
    let settings = Settings {
        fsync: options.fsync,
        no_room: None,
        redactor: Arc::new(Redactor::new(key, Policy::default())),
        seal: None,
        keys: Default::default(),
        out: out.clone(),
        service: "soak".to_owned(),
        ports: vec![8080],
        duration: None,
        max_entries: None,
        select: select::Policy::default(),
        back_off: None,
        metrics: None,
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
        target: Target::Pids(Vec::new()),
        helper: "/proc/self/exe".into(),
    };
    let traffic = Rc::new(RefCell::new(Traffic::new(*case, options.events)));
    let batches = std::iter::from_fn(|| traffic.borrow_mut().batch());
    let begun = Instant::now();
    let recorded = record_events(&settings, batches);
    let took = begun.elapsed();
    let end = resident();
    let traffic = traffic.borrow();
    let summary = match recorded {
        Ok(summary) => summary,
        Err(error) => {
            println!("{:<10} failed: {error}", case.name);
            return false;
        }
    };
    let verdict = judge(case, &traffic, &summary, &out, end, options.limit);
    let a_second = |count: u64| count as f64 / took.as_secs_f64().max(Duration::from_millis(1).as_secs_f64());
    println!(
        "{:<10} {:>11} {:>9.0} {:>8.0} {:>8.1} {:>8}M {:>8}M {:>8}M  {}",
        case.name,
        traffic.events,
        a_second(traffic.events),
        a_second(traffic.entries),
        a_second(traffic.bytes) / 1e6,
        traffic.memory.get(1).unwrap_or(&0),
        traffic.memory.get(9).unwrap_or(&0),
        end,
        verdict.as_ref().map_or_else(String::as_str, |()| "flat, complete")
    );
    verdict.is_ok()
}

fn judge(case: &Case, traffic: &Traffic, summary: &Summary, out: &Path, end: u64, limit: u64) -> Result<(), String> {
    if summary.entries != traffic.kept {
        return Err(format!("{} entries instead of {}", summary.entries, traffic.kept));
    }
    let truth = traffic.entries * case.calls;
    let counted: u64 = summary.downstream.values().map(|counts| counts.certain + counts.ambient).sum();
    if counted != truth || summary.ambiguous() > 0 {
        return Err(format!("{counted} calls instead of {truth}"));
    }
    let full = summary.ledger.get(regress_recorder::Lack::AmbientFull).events;
    if summary.ledger.rows().any(|(lack, _)| lack != regress_recorder::Lack::AmbientFull) {
        return Err(format!("{:?}", summary.ledger));
    }
    let store = regress_cassettes::Store::open(out).map_err(|error| error.to_string())?;
    let files = store.walk().filter(|found| found.is_ok()).count() as u64;
    if files != traffic.kept {
        return Err(format!("{files} cassettes instead of {}", traffic.kept));
    }
    let ambient = store.ambient().map_err(|error| error.to_string())?.map_or(0, |c| c.downstream.len() as u64);
    let of_no_entry: u64 = summary.downstream.values().map(|counts| counts.ambient).sum();
    if ambient + full != of_no_entry {
        return Err(format!("{ambient} ambient exchanges instead of {of_no_entry}"));
    }
    let (first, second) = traffic.memory.split_at(traffic.memory.len() / 2);
    let peak = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0);
    match peak(second).max(end).saturating_sub(peak(first)) {
        grown if grown <= limit => Ok(()),
        grown => Err(format!("memory grew by {grown} MiB")),
    }
}

/// Megabytes of resident memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Events of a service whose threads each have one connection in and one downstream.
struct Traffic {
    case: Case,
    wanted: u64,
    at: u64,
    events: u64,
    bytes: u64,
    entries: u64,
    kept: u64,
    turn: u64,
    positions: Vec<[[u64; 2]; 2]>,
    request: Bytes,
    response: Bytes,
    /// Resident megabytes after each twentieth of the events.
    memory: Vec<u64>,
    ended: bool,
}

impl Traffic {
    fn new(case: Case, wanted: u64) -> Traffic {
        let body = "x".repeat(case.body);
        let response =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", case.body);
        let now = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = now.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()).unwrap_or(0);
        Traffic {
            case,
            wanted,
            // A little after the recording begins.
            at: (uptime + 1) * 1_000_000_000,
            events: 0,
            bytes: 0,
            entries: 0,
            kept: 0,
            turn: 0,
            positions: vec![[[0; 2]; 2]; CONNECTIONS as usize],
            request: Bytes::from_static(b"GET /orders/17 HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n\r\n"),
            response: response.into(),
            memory: Vec::new(),
            ended: false,
        }
    }

    fn batch(&mut self) -> Option<Vec<Event>> {
        if self.ended {
            return None;
        }
        let mut batch = Vec::with_capacity(BATCH + 64);
        if self.events == 0 {
            (0..CONNECTIONS).for_each(|connection| self.open(connection, &mut batch));
        }
        while batch.len() < BATCH {
            self.entry(&mut batch);
        }
        if self.events >= self.wanted {
            self.ended = true;
            (0..CONNECTIONS).for_each(|connection| self.close(connection, &mut batch));
        }
        if self.events * SAMPLES >= self.wanted * (self.memory.len() as u64 + 1) {
            self.memory.push(resident());
        }
        Some(batch)
    }

    fn push(&mut self, connection: u64, kind: EventKind, batch: &mut Vec<Event>) {
        self.at += TICK;
        self.events += 1;
        let unit = Some(Unit::thread(100, 100 + connection as u32));
        batch.push(Event { at: self.at, unit, kind });
    }

    /// The port that a connection's entries arrive on: only 8080 is recorded.
    fn port(&self, connection: u64) -> u16 {
        if connection.is_multiple_of(self.case.sparse) { 8080 } else { 8081 }
    }

    fn open(&mut self, connection: u64, batch: &mut Vec<Event>) {
        let local = SocketAddr::from(([127, 0, 0, 1], self.port(connection))).into();
        let peer = SocketAddr::from(([127, 0, 0, 2], 40_000 + connection as u16)).into();
        let (entry, call) = (SocketId(2 * connection), SocketId(2 * connection + 1));
        self.push(connection, EventKind::Open { socket: entry, role: Role::Server, local, peer, joined: false }, batch);
        let peer = SocketAddr::from(([127, 0, 0, 3], 9000));
        self.push(connection, EventKind::Connecting { socket: call, peer }, batch);
        let (local, peer) = (SocketAddr::from(([127, 0, 0, 1], 50_000 + connection as u16)).into(), peer.into());
        self.push(connection, EventKind::Open { socket: call, role: Role::Client, local, peer, joined: false }, batch);
    }

    fn close(&mut self, connection: u64, batch: &mut Vec<Event>) {
        for socket in [2 * connection, 2 * connection + 1].map(SocketId) {
            self.push(connection, EventKind::Close { socket, cause: CloseCause::Closed }, batch);
        }
    }

    fn entry(&mut self, batch: &mut Vec<Event>) {
        let connection = self.turn % CONNECTIONS;
        self.turn += 1;
        self.entries += 1;
        self.kept += u64::from(self.port(connection) == 8080);
        self.message(connection, 0, Direction::Received, batch);
        if self.case.ambient {
            self.message(connection, 0, Direction::Sent, batch);
        }
        for _ in 0..self.case.calls {
            self.message(connection, 1, Direction::Sent, batch);
            self.message(connection, 1, Direction::Received, batch);
        }
        if !self.case.ambient {
            self.message(connection, 0, Direction::Sent, batch);
        }
    }

    /// A whole message on the connection in (0) or downstream (1).
    fn message(&mut self, connection: u64, which: usize, direction: Direction, batch: &mut Vec<Event>) {
        let is_request = (which == 0) == (direction == Direction::Received);
        let bytes = if is_request { self.request.clone() } else { self.response.clone() };
        let length = bytes.len() as u64;
        let at = &mut self.positions[connection as usize][which][direction as usize];
        let position = std::mem::replace(at, *at + length);
        self.bytes += length;
        let socket = SocketId(2 * connection + which as u64);
        let data = EventKind::Data { socket, direction, position, bytes, missing: 0, other: None };
        self.push(connection, data, batch);
    }
}
