//! Owners that are decided again from the log of a recording.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};
use regress_cassettes::{Cassette, Defect, Store, redact::Redactor};
use regress_ebpf::{CloseCause, Direction, Event, EventKind, Role, SocketId, Unit};
use regress_recorder::{Error, Recorrelated, Settings, Target, ViaChoice, record_events, recorrelate, select};

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
        let address = |port: u64| -> SocketAddr { format!("127.0.0.1:{port}").parse().unwrap() };
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
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let kind = EventKind::Data { socket: SocketId(socket), direction, position: 0, bytes, missing: 0, other: None };
        self.event(thread, kind);
    }

    fn close(&mut self, thread: u32, socket: u64) {
        self.event(thread, EventKind::Close { socket: SocketId(socket), cause: CloseCause::Closed });
    }

    fn entries(rounds: u64, after: u64) -> Vec<Event> {
        // Behind all that were recorded before.
        let now = std::time::Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
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
}

fn record(out: &Path, owner_log: bool, after: u64) {
    let settings = Settings {
        fsync: Default::default(),
        redactor: Arc::new(Redactor::off()),
        seal: None,
        keys: Default::default(),
        out: out.to_path_buf(),
        service: "shop".into(),
        ports: Vec::new(),
        duration: None,
        max_entries: None,
        select: select::Policy::default(),
        back_off: None,
        metrics: None,
        only_certain: false,
        owner_log,
        id_evidence: true,
        id_headers: Vec::new(),
        value_evidence: false,
        via: ViaChoice::Auto,
        buffer: None,
        inside_tls: true,
        target: Target::Pids(Vec::new()),
        helper: PathBuf::new(),
    };
    record_events(&settings, [Script::entries(30, after)]).unwrap();
}

/// Every cassette file, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let store = Store::open(folder).unwrap();
    let paths = store.list().unwrap().into_iter().map(|located| located.path);
    paths
        .chain([folder.join("ambient.cassette.json")])
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// What another version might have decided: some calls of nobody, and one of another entry.
fn confuse(folder: &Path) -> (u64, u64) {
    let store = Store::open(folder).unwrap();
    let mut ambient: Cassette = store.ambient().unwrap().expect("one of each round");
    // Connections of a second recording have numbers there that come after those of the first.
    const HALF_AN_HOUR: i64 = 1_800_000_000;
    let first = ambient.downstream.iter().filter(|call| call.at < HALF_AN_HOUR);
    let connections = first.map(|call| call.connection.id + 1).max().unwrap();
    let (mut given, mut taken) = (0, 0);
    let mut stray = None;
    for (index, located) in store.list().unwrap().iter().enumerate() {
        let mut cassette = store.read(located).unwrap();
        let start = micros(&cassette.recorded.at) - micros(&ambient.recorded.at);
        if index % 3 == 0 {
            let mut call = cassette.downstream.remove(0);
            call.at += start;
            call.connection.id += if start < HALF_AN_HOUR { 0 } else { connections };
            call.cause = None;
            call.defects.push(Defect::AmbiguousOwner);
            cassette.defects.push(Defect::AmbiguousOwner);
            ambient.downstream.push(call);
            given += 1;
        } else if index % 7 == 1 {
            // The next one gets it.
            let mut call = cassette.downstream.remove(0);
            call.at += start;
            stray = Some(call);
        } else if let Some(mut call) = stray.take() {
            call.at -= start;
            cassette.downstream.push(call);
            (given, taken) = (given + 1, taken + 1);
        }
        store.write(&Redactor::from_files(cassette.clone())).unwrap();
    }
    ambient.downstream.sort_by_key(|call| call.at);
    store.replace_ambient(&Redactor::from_files(ambient.clone())).unwrap();
    (given, taken)
}

fn micros(at: &str) -> i64 {
    at.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

#[test]
fn what_was_decided_otherwise_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    let right = files(folder.path());
    assert_eq!(right.len(), 61);
    let nothing = Recorrelated { entries: 60, ..Recorrelated::default() };
    assert_eq!(recorrelate(folder.path(), &Default::default(), true).unwrap(), nothing);
    assert_eq!(files(folder.path()), right);

    let (given, taken) = confuse(folder.path());
    let confused = files(folder.path());
    assert!(given > 20 && taken > 2 && confused != right);
    let counted = recorrelate(folder.path(), &Default::default(), false).unwrap();
    assert_eq!(counted, Recorrelated { now_certain: 20, given, taken, ..nothing });
    assert_eq!(files(folder.path()), confused, "it was only asked what would change");
    assert_eq!(recorrelate(folder.path(), &Default::default(), true).unwrap(), counted);
    assert_eq!(files(folder.path()), right);
}

#[test]
fn an_entry_whose_call_is_not_there_any_more_is_uncertain() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    let store = Store::open(folder.path()).unwrap();
    let located = store.list().unwrap().remove(4);
    let mut cassette = store.read(&located).unwrap();
    cassette.downstream.clear();
    store.write(&Redactor::from_files(cassette.clone())).unwrap();
    let counted = recorrelate(folder.path(), &Default::default(), true).unwrap();
    assert_eq!(counted, Recorrelated { entries: 60, now_uncertain: 1, missing: 1, ..Recorrelated::default() });
    assert_eq!(store.read(&located).unwrap().defects, [Defect::AmbiguousOwner]);
}

#[test]
fn calls_of_entries_that_have_no_cassette_stay_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    confuse(folder.path());
    let store = Store::open(folder.path()).unwrap();
    let ambient = fs::read_to_string(folder.path().join("ambient.cassette.json")).unwrap();
    store.list().unwrap().iter().for_each(|located| fs::remove_file(&located.path).unwrap());
    assert_eq!(recorrelate(folder.path(), &Default::default(), true).unwrap(), Recorrelated::default());
    assert_eq!(fs::read_to_string(folder.path().join("ambient.cassette.json")).unwrap(), ambient);
}

#[test]
fn calls_of_nobody_say_whether_they_may_be_somebodys() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    let right = files(folder.path());
    let store = Store::open(folder.path()).unwrap();
    let mut ambient = store.ambient().unwrap().unwrap();
    ambient.downstream[3].defects.push(Defect::AmbiguousOwner);
    store.replace_ambient(&Redactor::from_files(ambient.clone())).unwrap();
    recorrelate(folder.path(), &Default::default(), true).unwrap();
    assert_eq!(files(folder.path()), right);
}

#[test]
fn recordings_that_share_a_folder_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    record(folder.path(), true, 3_600_000_000_000);
    let right = files(folder.path());
    assert_eq!(right.len(), 121);
    let (given, taken) = confuse(folder.path());
    let counted = recorrelate(folder.path(), &Default::default(), true).unwrap();
    assert_eq!((counted.entries, counted.given, counted.taken), (120, given, taken));
    assert_eq!(files(folder.path()), right);
}

#[test]
fn without_a_log_there_is_nothing_to_decide_from() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), false, 0);
    assert!(matches!(recorrelate(folder.path(), &Default::default(), true), Err(Error::NoOwnerLog { .. })));
    fs::write(folder.path().join("x.owners.gz"), "no log").unwrap();
    assert!(matches!(recorrelate(folder.path(), &Default::default(), true), Err(Error::OwnerLog { .. })));
}
