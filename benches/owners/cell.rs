//! One cell of the table: a service, so many clients, a recording, and what it says of owners.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Barrier,
    time::{Duration, Instant},
};

use nix::{sys::signal, unistd::Pid};
use regress_cassettes::{Confidence, Content, Exchange, Store};
use regress_protocols::Value;

use crate::{
    databases::Databases,
    http::{Client, Downstream},
    services::{Case, Service},
};

/// What a recording may go by, beside who reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    Nothing,
    /// The number is also the request id of the entry, and the services pass it on.
    Ids,
    /// It goes by values where nothing else tells.
    Values,
}

impl Evidence {
    /// What names its results.
    pub fn suffix(self) -> &'static str {
        match self {
            Evidence::Nothing => "",
            Evidence::Ids => ", with ids",
            Evidence::Values => ", with values",
        }
    }
}

/// Calls by what the recording says of their owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owners {
    pub right: u64,
    pub wrong: u64,
    pub unknown: u64,
}

impl Owners {
    pub fn all(&self) -> u64 {
        self.right + self.wrong + self.unknown
    }

    pub fn share(&self, of: u64) -> f64 {
        of as f64 / self.all().max(1) as f64
    }
}

/// Why there is no result.
#[derive(Debug)]
pub struct Failure {
    reason: String,
    absence: bool,
}

impl Failure {
    pub fn absent(error: std::io::Error) -> Failure {
        Failure { reason: error.to_string(), absence: error.kind() == std::io::ErrorKind::NotFound }
    }

    /// A package of it is not.
    pub fn missing(reason: &str) -> Failure {
        Failure { reason: reason.to_owned(), absence: true }
    }

    pub fn broken(reason: impl fmt::Display) -> Failure {
        Failure { reason: reason.to_string(), absence: false }
    }

    /// The runtime is not installed.
    pub fn is_absence(&self) -> bool {
        self.absence
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Each client makes one request before the recording, so that it finds connections and pools open, and these in it.
fn requests(clients: u32) -> u64 {
    (3000 / u64::from(clients)).clamp(10, 150)
}

pub fn measure(
    case: &Case,
    clients: u32,
    evidence: Evidence,
    databases: &Databases,
    folder: &Path,
) -> Result<Owners, Failure> {
    let has_ids = evidence == Evidence::Ids;
    let downstream = Downstream::start().map_err(Failure::broken)?;
    let address = case.database().map_or(Ok(downstream.address), |kind| databases.address(kind))?;
    let service = Service::start(case, address, has_ids, folder)?;
    let connect = |_| Client::connect(service.address, has_ids).map_err(Failure::broken);
    let mut connected: Vec<Client> = (0..clients).map(connect).collect::<Result<_, _>>()?;
    drive(&mut connected, 1, 1)?;
    settle(&downstream);
    let before = downstream.served();

    let out = folder.join(format!("{}-{clients}", case.name));
    let recording = Recording::start(service.pid(), evidence, &out)?;
    let driven = drive(&mut connected, 1_000_000, requests(clients));
    settle(&downstream);
    recording.stop()?;
    driven?;
    let calls = match case.database() {
        Some(_) => u64::from(clients) * requests(clients) * case.calls(),
        None => downstream.served() - before,
    };
    drop(service);

    let owners = judge(&out, evidence)?;
    std::fs::remove_dir_all(&out).map_err(Failure::broken)?;
    // What a service does on its own goes on before and after the recording.
    if owners.all() != calls && !case.has_background() && !case.gives_up() {
        return Err(Failure::broken(format!("{} of {calls} calls were recorded", owners.all())));
    }
    Ok(owners)
}

/// Work that goes on after the response is over when nothing has been called for a while.
fn settle(downstream: &Downstream) {
    let (mut served, mut since) = (downstream.served(), Instant::now());
    while since.elapsed() < Duration::from_millis(200) {
        std::thread::sleep(Duration::from_millis(20));
        if downstream.served() != served {
            (served, since) = (downstream.served(), Instant::now());
        }
    }
}

/// All clients at once, each one request after the other.
fn drive(clients: &mut [Client], first: u64, requests: u64) -> Result<(), Failure> {
    let start = Barrier::new(clients.len());
    let ask_all = |client: &mut Client, first: u64| {
        start.wait();
        (first..first + requests).try_for_each(|id| client.ask(&format!("/r/{id}")))
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = clients
            .iter_mut()
            .zip((first..).step_by(1000))
            .map(|(client, first)| scope.spawn(move || ask_all(client, first)))
            .collect();
        let results = asking.into_iter().map(|asking| asking.join().expect("clients do not panic"));
        results.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>().map_err(Failure::broken)
    })
}

struct Recording(Child);

impl Recording {
    /// Returns when it sees everything.
    fn start(pid: u32, evidence: Evidence, out: &Path) -> Result<Recording, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regress"));
        command.args(["record", "--via", "ebpf", "--pid", &pid.to_string(), "--output"]).arg(out);
        command.args((evidence == Evidence::Values).then_some("--value-evidence"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(Failure::broken)?;
        let mut errors = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let mut line = String::new();
        let _ = errors.read_line(&mut line);
        // What comes later is the summary: nobody needs it, and it must have somewhere to go.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let recording = Recording(child);
        if line.starts_with("recording ") { Ok(recording) } else { Err(Failure::broken(line.trim())) }
    }

    fn stop(mut self) -> Result<(), Failure> {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).map_err(Failure::broken)?);
        signal::kill(pid, signal::Signal::SIGINT).map_err(Failure::broken)?;
        match self.0.wait().map_err(Failure::broken)?.code() {
            // 2: some owners are not known, which is what is counted here.
            Some(0 | 2) => Ok(()),
            code => Err(Failure::broken(format!("the recording ended with {code:?}"))),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Nothing is left to end after `stop`.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn judge(folder: &Path, evidence: Evidence) -> Result<Owners, Failure> {
    let store = Store::open(folder).map_err(Failure::broken)?;
    let mut owners = Owners::default();
    for located in store.list().map_err(Failure::broken)? {
        let cassette = store.read(&located).map_err(Failure::broken)?;
        let entry = cassette.entry.as_ref().and_then(asked);
        // What has no number concerns a connection alone.
        for (call, number) in cassette.downstream.iter().filter_map(|call| Some((call, number(call)?))) {
            let is_known = match call.cause.as_ref().map(|cause| cause.confidence) {
                Some(Confidence::Certain) => true,
                Some(Confidence::Likely) => evidence == Evidence::Values,
                Some(Confidence::Ambiguous) | None => false,
            };
            if !is_known {
                owners.unknown += 1;
            } else if entry == Some(number) {
                owners.right += 1;
            } else {
                owners.wrong += 1;
            }
        }
    }
    if let Some(ambient) = store.ambient().map_err(Failure::broken)? {
        owners.unknown += ambient.downstream.iter().filter_map(number).count() as u64;
    }
    Ok(owners)
}

/// The number of an entry, if it came from a client: what two recorded services say to each other is neither entry nor call.
fn asked(entry: &Exchange) -> Option<u64> {
    let Content::Http1(http) = &entry.content else { return None };
    http.request.target().strip_prefix("/r/")?.parse().ok()
}

/// The number of the entry that a call was made for.
fn number(call: &Exchange) -> Option<u64> {
    match &call.content {
        Content::Http1(http) => number_in(&http.request.target()),
        // A statement that was prepared before the recording is not known; its result is.
        Content::Wire(wire) => said(&wire.request).or_else(|| said(wire.response.as_ref()?)),
        _ => None,
    }
}

fn said(value: &Value) -> Option<u64> {
    match value {
        Value::Text(text) => number_in(text),
        Value::List(values) => values.iter().find_map(said),
        Value::Map(members) => members.iter().find_map(|(_, value)| said(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Bytes(_) => None,
    }
}

/// That of the first path in a text, `/KIND/NUMBER`.
fn number_in(text: &str) -> Option<u64> {
    let is_path = |character: char| character == '/' || character.is_ascii_alphanumeric();
    let paths = text.split(|character| !is_path(character)).filter_map(|word| word.strip_prefix('/'));
    paths.filter_map(|path| path.split_once('/')).find_map(|(_, number)| number.parse().ok())
}
