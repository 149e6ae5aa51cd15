//! A script of events of a shop, for tests that record without a kernel.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::time::{ClockId, clock_gettime};
use regress_cassettes::{redact::Redactor, seal::Keys};
use regress_ebpf::{CloseCause, Direction, Event, EventKind, Role, SocketId, Unit};
use regress_recorder::{Fsync, Settings, Target, ViaChoice, select};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: stock:9001\r\n\r\n")
}

/// Events of three threads that each work on one entry at a time, two of them side by side.
struct Script {
    events: Vec<Event>,
    at: u64,
}

impl Script {
    fn event(&mut self, thread: u32, kind: EventKind) {
        // Not a multiple of a microsecond.
        self.at += 1_000_777;
        self.events.push(Event { at: self.at, unit: Some(Unit::thread(10, thread)), kind });
    }

    fn open(&mut self, thread: u32, socket: u64, role: Role) {
        let address = |port: u64| -> SocketAddr { SocketAddr::from(([127, 0, 0, 1], port as u16)) };
        let (local, peer) = match role {
            Role::Server => (address(8080), address(20_000 + socket)),
            Role::Client => (address(20_000 + socket), address(9001)),
        };
        if role == Role::Client {
            self.event(thread, EventKind::Connecting { socket: SocketId(socket), peer });
        }
        let (local, peer) = (local.into(), peer.into());
        self.event(thread, EventKind::Open { socket: SocketId(socket), role, local, peer, joined: false });
    }

    fn data(&mut self, thread: u32, socket: u64, direction: Direction, text: &str) {
        let bytes = text.as_bytes().to_vec().into();
        let kind = EventKind::Data { socket: SocketId(socket), direction, position: 0, bytes, missing: 0, other: None };
        self.event(thread, kind);
    }

    fn close(&mut self, thread: u32, socket: u64) {
        self.event(thread, EventKind::Close { socket: SocketId(socket), cause: CloseCause::Closed });
    }
}

/// Two entries a round, side by side, with a call each, and a call of nobody; `after`: nanoseconds from now.
pub fn entries(rounds: u64, after: u64) -> Vec<Event> {
    // Behind all that were recorded before.
    let now = std::time::Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("it is there"));
    let mut script = Script { events: Vec::new(), at: now.as_nanos() as u64 + after };
    for round in 0..rounds {
        let threads = [(5, 6), (6, 7), (7, 5)][round as usize % 3];
        let sides = [(threads.0, 10 * round + 1), (threads.1, 10 * round + 4)];
        for (thread, socket) in sides {
            script.open(1, socket, Role::Server);
            script.data(thread, socket, Direction::Received, &get(&format!("/cart/{socket}")));
        }
        for (thread, socket) in sides {
            script.open(thread, socket + 1, Role::Client);
            script.data(thread, socket + 1, Direction::Sent, &get(&format!("/stock/{socket}")));
        }
        for (thread, socket) in sides.into_iter().rev() {
            script.data(thread, socket + 1, Direction::Received, OK);
            script.close(thread, socket + 1);
            script.data(thread, socket, Direction::Sent, OK);
            script.close(thread, socket);
        }
        // Of nobody.
        script.open(9, 10 * round + 7, Role::Client);
        script.data(9, 10 * round + 7, Direction::Sent, &get("/time"));
        script.data(9, 10 * round + 7, Direction::Received, OK);
        script.close(9, 10 * round + 7);
    }
    script.events
}

/// How they are recorded: into that folder, with an owner log.
pub fn settings(out: &Path) -> Settings {
    Settings {
        fsync: Fsync::default(),
        no_room: None,
        redactor: Arc::new(Redactor::off()),
        seal: None,
        keys: Keys::default(),
        out: out.to_path_buf(),
        service: "shop".to_owned(),
        ports: Vec::new(),
        duration: None,
        max_entries: None,
        select: select::Policy::default(),
        back_off: None,
        metrics: None,
        only_certain: false,
        owner_log: true,
        id_evidence: true,
        id_headers: Vec::new(),
        value_evidence: false,
        via: ViaChoice::Auto,
        server: "".into(),
        buffer: None,
        inside_tls: true,
        database_tls: false,
        target: Target::Pids(Vec::new()),
        helper: PathBuf::new(),
    }
}
