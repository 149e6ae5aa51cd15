//! The same entries, sent to the same service bare and in a replay.

use std::{
    cell::RefCell,
    ffi::OsString,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use regress_cassettes::redact::{Key, Policy, Redactor};
use regress_replayer::{Keep, Progress, Selection, Settings, Verdict, replay};
use tempfile::TempDir;

use crate::{corpus, load, service};

/// What an entry takes in a replay, in microseconds.
pub struct Replayed {
    /// From one entry's end to the next one's.
    pub time: f64,
    /// Of regress's own CPU time, from the first read of a cassette to the report.
    pub cpu: f64,
}

/// Entries with so many calls each.
pub struct Case {
    calls: usize,
    entries: usize,
    folder: TempDir,
}

impl Case {
    /// Makes their cassettes.
    pub fn new(calls: usize, entries: usize) -> Result<Case, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        corpus::write(folder.path(), entries, calls)?;
        Ok(Case { calls, entries, folder })
    }

    /// Microseconds an entry when nothing but the service and its downstream is there.
    pub fn bare(&self) -> Result<f64, String> {
        self.bare_times().map(per_entry).map_err(|error| error.to_string())
    }

    fn bare_times(&self) -> std::io::Result<Vec<Instant>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let downstream = listener.local_addr()?;
        // It ends with this process: what it waits for is a connection.
        thread::spawn(move || drop(service::serve(&listener, |_| Ok(()))));
        let mut command = self.command("0", downstream);
        let program = command.remove(0);
        let mut service = Killed(Command::new(program).args(command).stdout(Stdio::piped()).spawn()?);
        let mut port = String::new();
        let output = service.0.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        BufReader::new(output).read_line(&mut port)?;
        let port: u16 = port.trim().parse().map_err(std::io::Error::other)?;
        let mut times = Vec::new();
        for item in 0..self.entries {
            service::ask((Ipv4Addr::LOCALHOST, port).into(), &corpus::entry(item))?;
            times.push(Instant::now());
        }
        Ok(times)
    }

    /// What an entry takes in a replay.
    pub fn replayed(&self) -> Result<Replayed, String> {
        let settings = Settings {
            store: self.folder.path().to_owned(),
            keys: Default::default(),
            command: self.command(&corpus::ENTRY_PORT.to_string(), corpus::DOWNSTREAM.parse().expect("an address")),
            env: Vec::new(),
            cwd: None,
            jobs: 1,
            selection: Selection::default(),
            only: None,
            fail_fast: false,
            answer_misses: false,
            entry_port: None,
            ready_timeout: Duration::from_secs(30),
            entry_timeout: Duration::from_secs(30),
            settle: Duration::from_secs(1),
            policy: Default::default(),
            rules: Default::default(),
            redactor: Arc::new(Redactor::new(Key::drawn().map_err(|error| error.to_string())?, Policy::default())),
            keep: Keep::Anew,
            propose: false,
            helper: PathBuf::from("/proc/self/exe"),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
        let times = RefCell::new(Vec::new());
        let replayed = replay(settings, |progress| {
            if matches!(progress, Progress::Outcome(_)) {
                times.borrow_mut().push(Instant::now());
            }
        });
        let before = load::cpu();
        let report = runtime.block_on(replayed).map_err(|error| in_full(&error))?;
        match report.verdict() {
            Verdict::Same => Ok(Replayed {
                time: per_entry(times.into_inner()),
                cpu: (load::cpu() - before) * 1e6 / self.entries as f64,
            }),
            _ => Err(format!("the replay is not the same: {:?}", report.outcomes.first())),
        }
    }

    fn command(&self, port: &str, downstream: SocketAddr) -> Vec<OsString> {
        let program = std::env::current_exe().expect("this program has a path");
        let arguments = ["serve".to_owned(), port.to_owned(), downstream.to_string(), self.calls.to_string()];
        std::iter::once(program.into_os_string()).chain(arguments.map(OsString::from)).collect()
    }
}

fn in_full(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", in_full(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

/// What lies between the ends of entries, on average.
fn per_entry(times: Vec<Instant>) -> f64 {
    match (times.first(), times.last()) {
        (Some(first), Some(last)) if times.len() > 1 => (*last - *first).as_secs_f64() * 1e6 / (times.len() - 1) as f64,
        _ => 0.0,
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
