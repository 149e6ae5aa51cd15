//! Who writes: this test program in a process of its own, which says what it has finished.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use regress_cassettes::{
    AMBIENT_FILE, Cassette, CassetteId, Connection, Content, Ended, Exchange, HttpExchange, Recorded, Store, Via,
    redact::{Redacted, Redactor},
};
use regress_protocols::http1::Message;
use regress_recorder::record_events;

use super::script::{entries, settings};
use crate::harness::faults::{self, Fault, Traced};

const FOLDER: &str = "REGRESS_TEST_WRITER_FOLDER";
const MODE: &str = "REGRESS_TEST_WRITER_MODE";
const CHILD: &str = "durable::writer::child";

/// How many cassettes are written.
pub fn entries_of_all() -> u32 {
    if super::is_long() { 96 } else { 12 }
}

/// How it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To a store that synchronises each file.
    AtOnce,
    /// To one that does so later.
    Later,
    /// As a recorder does, with an owner log.
    Recorder,
}

/// What a writer left.
pub struct Written {
    pub mode: Mode,
    /// What happened to it.
    pub fault: Option<(usize, Fault)>,
    /// The folder that `cassettes` and `report.json` are in.
    pub folder: tempfile::TempDir,
    pub traced: Traced,
}

impl Written {
    /// Have it write.
    pub fn by(mode: Mode, fault: Option<(usize, Fault)>) -> Written {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let mut command = Command::new(env::current_exe().expect("a test has a program"));
        command.args(["--exact", CHILD, "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, folder.path()).env(MODE, format!("{mode:?}"));
        let traced = faults::run(&command, fault);
        Written { mode, fault, folder, traced }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("cassettes")
    }

    pub fn report(&self) -> PathBuf {
        self.folder.path().join("report.json")
    }

    /// What it said it had finished, of one kind.
    pub fn finished<'w>(&'w self, kind: &'w str) -> impl Iterator<Item = &'w str> {
        let said = self.traced.stdout.lines().filter_map(|line| line.split_once("finished "));
        said.filter_map(move |(_, what)| what.strip_prefix(kind)?.strip_prefix(' '))
    }
}

#[test]
fn child() {
    let (Some(folder), Ok(mode)) = (env::var_os(FOLDER).map(PathBuf::from), env::var(MODE)) else { return };
    let report = folder.join("report.json");
    let store = Store::create(folder.join("cassettes"));
    match (store, mode.as_str()) {
        (Err(error), _) => failed(&error),
        (Ok(store), "AtOnce") => write(&store, &report),
        (Ok(store), "Later") => write(&store.sync_later(), &report),
        (Ok(store), _) => match record_events(&settings(store.root()), [entries(u64::from(entries_of_all()) / 2, 0)]) {
            Ok(summary) => say(&format!("recording {}", summary.entries)),
            Err(error) => failed(&error),
        },
    }
}

fn say(what: &str) {
    writeln!(std::io::stdout(), "finished {what}").expect("standard output is a file");
}

fn failed(error: &dyn std::error::Error) {
    writeln!(std::io::stdout(), "\nfailed {error}").expect("standard output is a file");
}

fn write(store: &Store, report: &Path) {
    for number in 0..entries_of_all() {
        match store.write(&as_is(cassette(number))) {
            Ok(_) => say(&format!("cassette {number}")),
            Err(error) => failed(&error),
        }
        if number % 3 == 0 {
            match store.write(&as_is(ambient())) {
                Ok(_) => say(&format!("ambient {number}")),
                Err(error) => failed(&error),
            }
        }
        if number % 4 == 1 {
            let original = path_in(store, &cassette(number));
            let accepted = store.write_pending(&original, &as_is(changed(number)));
            let accept = |proposed| {
                let pending = store.pending()?.into_iter().find(|pending| pending.proposed == proposed);
                pending.expect("it has just been written").accept()
            };
            match accepted.and_then(accept) {
                Ok(()) => say(&format!("accepted {number}")),
                Err(error) => failed(&error),
            }
        }
        match regress_cassettes::write_file(report, report_text(number).as_bytes()) {
            Ok(()) => say(&format!("report {number}")),
            Err(error) => failed(&error),
        }
    }
}

/// Where a store keeps a cassette.
pub fn path_in(store: &Store, cassette: &Cassette) -> PathBuf {
    store.path_of(cassette).expect("the folder can be listed")
}

pub fn as_is(cassette: Cassette) -> Redacted<Cassette> {
    Redactor::off().cassette(cassette)
}

/// Whole or not, by its look.
pub fn report_text(number: u32) -> String {
    format!("{number}\n{}\n{number}\n", "x".repeat(9000))
}

/// Every fifth has bodies in files of their own.
pub fn cassette(number: u32) -> Cassette {
    let body = if number % 5 == 2 { format!("{number} {}", "long ".repeat(20_000)) } else { format!("ok {number}") };
    let path = format!("/{}/{number}", ["cart", "stock", "order", "user"][number as usize % 4]);
    Cassette {
        id: CassetteId(format!("20261122T101502.{number:06}Z-{number:04}")),
        entry: Some(exchange(Message::request("GET", &path, &[("Host", "shop")], ""), &body)),
        ..ambient()
    }
}

/// What a proposal says.
pub fn changed(number: u32) -> Cassette {
    let mut changed = cassette(number);
    changed.entry.as_mut().expect("an entry").took = Some(77);
    changed
}

pub fn ambient() -> Cassette {
    Cassette {
        id: CassetteId(CassetteId::AMBIENT.to_owned()),
        recorded: Recorded {
            at: "2026-11-22T10:15:02.000000Z".to_owned(),
            service: "shop".to_owned(),
            by: "regress test".to_owned(),
            via: Via::Socket,
            kernel: "6.18.0".to_owned(),
        },
        nondeterministic: Vec::new(),
        redacted: Default::default(),
        entry: None,
        downstream: vec![Exchange {
            downstream: Some("clock".to_owned()),
            ..exchange(Message::request("GET", "/time", &[("Host", "clock")], ""), "noon")
        }],
        defects: Vec::new(),
    }
}

fn exchange(request: Message, body: &str) -> Exchange {
    let response = Message::response(200, "OK", &[("Content-Type", "text/plain")], body.to_owned());
    Exchange {
        downstream: None,
        connection: Connection { id: 1, local: None, peer: "127.0.0.1:9001".parse().expect("an address"), tls: false },
        at: 0,
        took: Some(5),
        content: Content::Http1(HttpExchange::new(request, Some(response))),
        ended: Ended::Ok,
        cause: None,
        defects: Vec::new(),
    }
}

/// How many exchanges the ambient cassette of a recorder has at least: those of nobody.
pub fn ambient_recorded() -> usize {
    entries_of_all() as usize / 2
}

/// The ambient cassette's file.
pub fn ambient_file(store: &Path) -> PathBuf {
    store.join(AMBIENT_FILE)
}
