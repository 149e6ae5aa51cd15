//! What records a service: regress in parts and as a whole, and what people use otherwise.

use std::{
    fmt, fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::gettid};
use regress_ebpf::{Capture, EventKind, Options, Source};

use crate::{
    cpu::{self, Spender},
    floor::{Copies, Noop},
    services::{self, end},
    tools,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Programs that do nothing on the socket source's tracepoints.
    Noop,
    /// Programs that do nothing there but copy what is sent and received.
    Copy,
    /// The capture alone: events are taken out of the kernel's buffer, and thrown away.
    Capture(Source),
    /// All of `regress record`, with cassettes.
    Record(Source),
    /// The same by way of `regress server`, whose processor time counts with it.
    Server(Source),
    /// mitmproxy in front of the service, writing flows.
    Mitmproxy,
    /// `tcpdump -w`.
    Tcpdump,
    /// The calls that move bytes, with the bytes.
    Strace,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Noop => f.write_str("noop"),
            Method::Copy => f.write_str("copy"),
            Method::Capture(source) => write!(f, "capture {source}"),
            Method::Record(source) => write!(f, "record {source}"),
            Method::Server(source) => write!(f, "server {source}"),
            Method::Mitmproxy => f.write_str("mitmproxy"),
            Method::Tcpdump => f.write_str("tcpdump"),
            Method::Strace => f.write_str("strace"),
        }
    }
}

impl Method {
    /// Not ours.
    pub fn is_peer(self) -> bool {
        matches!(self, Method::Mitmproxy | Method::Tcpdump | Method::Strace)
    }

    /// Why it cannot be measured here.
    pub fn absence(self) -> Option<String> {
        let program = match self {
            Method::Noop | Method::Copy | Method::Capture(_) | Method::Record(_) | Method::Server(_) => return None,
            Method::Mitmproxy => return mitmdump().is_none().then(|| "mitmproxy is not installed".to_owned()),
            Method::Tcpdump => "tcpdump",
            Method::Strace => "strace",
        };
        (!services::is_there(program)).then(|| format!("{program} is not installed"))
    }
}

/// Where `benches/install.sh` puts it, or wherever it is found.
fn mitmdump() -> Option<PathBuf> {
    let installed = tools::folder().map(|tools| tools.join("venv/bin/mitmdump")).filter(|path| path.is_file());
    installed.or_else(|| services::is_there("mitmdump").then(|| PathBuf::from("mitmdump")))
}

/// What a recorder said at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Events it took, where it says.
    pub events: Option<u64>,
    /// What it lost, where it says.
    pub lost: Option<Lost>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Events; packets for tcpdump.
    pub events: u64,
    pub bytes: u64,
}

/// A recorder at work.
pub struct Recorder {
    /// Where clients go, if not to the service.
    pub address: Option<SocketAddr>,
    pub spenders: Vec<Spender>,
    work: Work,
}

enum Work {
    Noop(#[allow(dead_code, reason = "dropping it detaches the programs")] Noop),
    Copy(Copies),
    Capture(Drain),
    Child(Other),
    Served(Served),
}

/// What to record, and with what.
pub struct Task<'a> {
    pub pids: &'a [u32],
    pub service: SocketAddr,
    pub folder: &'a Path,
    pub cpu: usize,
    /// Bytes of the kernel's event buffer; the default if `None`.
    pub buffer: Option<u32>,
}

impl Recorder {
    /// Returns once it records.
    ///
    /// # Errors
    /// In words.
    pub fn start(method: Method, task: &Task<'_>) -> Result<Recorder, String> {
        match method {
            Method::Noop => {
                let work = Work::Noop(Noop::start().map_err(|e| format!("no-op programs: {e}"))?);
                Ok(Recorder { address: None, spenders: Vec::new(), work })
            }
            Method::Copy => {
                let work = Work::Copy(Copies::start(task).map_err(|e| format!("copying programs: {e}"))?);
                Ok(Recorder { address: None, spenders: Vec::new(), work })
            }
            Method::Capture(source) => {
                let drain = Drain::start(source, task)?;
                let spenders = vec![Spender::Thread(drain.thread_id)];
                Ok(Recorder { address: None, spenders, work: Work::Capture(drain) })
            }
            Method::Record(source) => Other::record(&["--via", source.name()], task).map(|other| other.recorder(None)),
            Method::Server(source) => Served::record(source, task),
            Method::Tcpdump => Other::tcpdump(task).map(|other| other.recorder(None)),
            Method::Strace => Other::strace(task).map(|other| other.recorder(None)),
            Method::Mitmproxy => {
                let (other, address) = Other::mitmproxy(task)?;
                Ok(other.recorder(Some(address)))
            }
        }
    }

    /// # Errors
    /// In words, also where it failed meanwhile.
    pub fn finish(self) -> Result<Told, String> {
        match self.work {
            Work::Noop(_) => Ok(Told::default()),
            Work::Copy(copies) => copies.finish(),
            Work::Capture(drain) => drain.finish(),
            Work::Child(other) => other.finish(),
            Work::Served(served) => served.finish(),
        }
    }
}

/// A capture whose events go nowhere.
struct Drain {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Told, String>>,
    thread_id: u32,
}

impl Drain {
    fn start(source: Source, task: &Task<'_>) -> Result<Drain, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let (started, begun) = mpsc::channel();
        let pids = task.pids.to_vec();
        let options = Options { pids, source: Some(source), buffer_bytes: task.buffer, ..Options::default() };
        let (stopped, cpu) = (Arc::clone(&stop), task.cpu);
        let thread = std::thread::spawn(move || {
            cpu::pin(cpu);
            let mut capture = match Capture::start(options) {
                Ok(capture) => capture,
                // The sender goes with this thread, which is how the other side learns.
                Err(error) => return Err(format!("capture: {error}")),
            };
            // Whoever waits for it is there until it comes.
            let _ = started.send(gettid().as_raw().unsigned_abs());
            let (mut told, mut events) = (Told { events: Some(0), lost: Some(Lost::default()) }, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                capture.next_batch(Duration::from_millis(50), &mut events).map_err(|e| e.to_string())?;
                count(&mut events, &mut told);
            }
            capture.drain(&mut events).map_err(|e| e.to_string())?;
            count(&mut events, &mut told);
            Ok(told)
        });
        match begun.recv() {
            Ok(thread_id) => Ok(Drain { stop, thread, thread_id }),
            Err(_) => Err(thread.join().expect("the capture does not panic").err().unwrap_or_default()),
        }
    }

    fn finish(self) -> Result<Told, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the capture does not panic")
    }
}

fn count(events: &mut Vec<regress_ebpf::Event>, told: &mut Told) {
    for event in events.drain(..) {
        match (event.kind, &mut told.events, &mut told.lost) {
            (EventKind::Lost(loss), _, Some(lost)) => {
                lost.events += loss.events;
                lost.bytes += loss.bytes;
            }
            (_, Some(events), _) => *events += 1,
            _ => {}
        }
    }
}

/// A recorder in a process of its own.
struct Other {
    child: Child,
    /// What it says after it is ready.
    rest: JoinHandle<String>,
    by: Signal,
    kind: Kind,
}

enum Kind {
    Record { summary: PathBuf, cassettes: PathBuf },
    Tcpdump { file: PathBuf },
    Plain { file: PathBuf },
}

impl Other {
    fn recorder(self, address: Option<SocketAddr>) -> Recorder {
        let spenders = vec![Spender::Process(self.child.id())];
        Recorder { address, spenders, work: Work::Child(self) }
    }

    /// Starts it on its CPU; `ready` is in a line of its standard error.
    fn start(command: &mut Command, ready: &str, cpu: usize, by: Signal, kind: Kind) -> Result<Other, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = cpu::spawn_on(cpu, command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
        let mut child = child.map_err(|e| format!("{name}: {e}"))?;
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        if let Err(said) = wait_for_line(&mut lines, ready) {
            end(&mut child, Signal::SIGKILL);
            return Err(format!("{name} did not start: {}", said.trim()));
        }
        let rest = std::thread::spawn(move || {
            let mut text = String::new();
            // What cannot be read is missed where it is looked for.
            let _ = lines.read_to_string(&mut text);
            text
        });
        Ok(Other { child, rest, by, kind })
    }

    fn record(way: &[&str], task: &Task<'_>) -> Result<Other, String> {
        let (summary, cassettes) = (task.folder.join("summary.json"), task.folder.join("cassettes"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_regress"));
        command.arg("record").arg("-o").arg(&cassettes).args(way);
        command.arg("--summary").arg(format!("json={}", summary.display()));
        for pid in task.pids {
            command.arg("--pid").arg(pid.to_string());
        }
        if let Some(buffer) = task.buffer {
            command.arg("--buffer").arg(buffer.to_string());
        }
        let kind = Kind::Record { summary, cassettes };
        Other::start(&mut command, "recording ", task.cpu, Signal::SIGINT, kind)
    }

    fn tcpdump(task: &Task<'_>) -> Result<Other, String> {
        let file = task.folder.join("packets.pcap");
        let mut command = Command::new("tcpdump");
        // 64 MiB of buffer; as root, so that it may write where we say.
        command.args(["-i", "lo", "-n", "-s", "0", "-B", "65536", "-Z", "root", "-w"]).arg(&file);
        command.args(["tcp", "port"]).arg(task.service.port().to_string());
        Other::start(&mut command, "listening on", task.cpu, Signal::SIGINT, Kind::Tcpdump { file })
    }

    fn strace(task: &Task<'_>) -> Result<Other, String> {
        let file = task.folder.join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-s", "65536", "-e", "trace=network,read,readv,write,writev,sendfile", "-o"]).arg(&file);
        for pid in task.pids {
            command.arg("-p").arg(pid.to_string());
        }
        Other::start(&mut command, "attached", task.cpu, Signal::SIGINT, Kind::Plain { file })
    }

    fn mitmproxy(task: &Task<'_>) -> Result<(Other, SocketAddr), String> {
        let file = task.folder.join("flows");
        let address = SocketAddr::from(([127, 0, 0, 1], services::free_port()?));
        let mut command = Command::new(mitmdump().ok_or("mitmproxy is not installed")?);
        command.arg("--quiet").arg("--mode").arg(format!("reverse:http://{}", task.service));
        command.args(["--listen-host", "127.0.0.1", "--listen-port"]).arg(address.port().to_string());
        command.arg("-w").arg(&file).arg("--set").arg(format!("confdir={}", task.folder.display()));
        let other = Other::start(&mut command, "", task.cpu, Signal::SIGTERM, Kind::Plain { file })?;
        match services::wait_for(address) {
            Ok(()) => Ok((other, address)),
            Err(error) => {
                let said = other.finish().err().unwrap_or_default();
                Err(format!("mitmproxy: {error} {said}"))
            }
        }
    }

    fn finish(mut self) -> Result<Told, String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("it ended meanwhile with {status}: {}", self.rest.join().unwrap_or_default().trim()));
        }
        end(&mut self.child, self.by);
        let said = self.rest.join().unwrap_or_default();
        match self.kind {
            Kind::Record { summary, cassettes } => {
                let told = read_summary(&summary).ok_or_else(|| format!("record gave no summary: {}", said.trim()));
                // Its size is bounded by the interval; the next pair needs the memory.
                let _ = fs::remove_dir_all(cassettes);
                let _ = fs::remove_file(summary);
                told
            }
            Kind::Tcpdump { file } => {
                let _ = fs::remove_file(file);
                let dropped = said.lines().find_map(|line| line.strip_suffix(" packets dropped by kernel"));
                let lost = dropped.and_then(|number| number.trim().parse().ok());
                Ok(Told { events: None, lost: lost.map(|events| Lost { events, bytes: 0 }) })
            }
            Kind::Plain { file } => {
                let _ = fs::remove_file(file);
                Ok(Told::default())
            }
        }
    }
}

/// A recorder that goes by way of a server.
struct Served {
    recorder: Other,
    server: Child,
}

impl Served {
    fn record(source: Source, task: &Task<'_>) -> Result<Recorder, String> {
        let socket = task.folder.join("server.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_regress"));
        command.args(["server", "--via", source.name(), "--socket"]).arg(&socket).stdin(Stdio::null());
        let mut server = cpu::spawn_on(task.cpu, command.stdout(Stdio::null()).stderr(Stdio::piped()))
            .map_err(|error| format!("regress server: {error}"))?;
        let mut lines = BufReader::new(server.stderr.take().expect("stderr is a pipe"));
        let begun = wait_for_line(&mut lines, "serving").and_then(|()| {
            let socket = socket.display().to_string();
            Other::record(&["--via", "server", "--server", &socket], task)
        });
        let recorder = match begun {
            Ok(recorder) => recorder,
            Err(error) => {
                end(&mut server, Signal::SIGKILL);
                return Err(error);
            }
        };
        let mut spenders = vec![Spender::Process(recorder.child.id())];
        spenders.extend(children(server.id()).map(Spender::Process));
        Ok(Recorder { address: None, spenders, work: Work::Served(Served { recorder, server }) })
    }

    fn finish(mut self) -> Result<Told, String> {
        let told = self.recorder.finish();
        end(&mut self.server, Signal::SIGTERM);
        told
    }
}

/// The processes that a process has started.
fn children(process: u32) -> impl Iterator<Item = u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
}

/// Reads lines until one has the word; gives what was said if none has.
fn wait_for_line(lines: &mut BufReader<ChildStderr>, word: &str) -> Result<(), String> {
    let mut said = String::new();
    while !word.is_empty() {
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(0) | Err(_) => return Err(said),
            Ok(_) if line.contains(word) => break,
            Ok(_) => said.push_str(&line),
        }
    }
    Ok(())
}

/// What is missing according to `docs/summary-schema.md`; connections whose beginning nobody saw are no loss.
fn read_summary(path: &Path) -> Option<Told> {
    let summary: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let mut lost = Lost::default();
    for (word, tally) in summary.get("ledger")?.as_object()? {
        if matches!(word.as_str(), "joined-mid-stream" | "opaque" | "encrypted") {
            continue;
        }
        lost.events += tally.get("events")?.as_u64()?;
        lost.bytes += tally.get("bytes")?.as_u64()?;
    }
    Some(Told { events: None, lost: Some(lost) })
}
