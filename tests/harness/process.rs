//! Processes that a test starts: waited for by their lines and their end, stopped by their id.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long anything may take before the test gives up: a guard against hanging for ever, never a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ports that the kernel gives to nobody by itself (`net.ipv4.ip_local_port_range` as it usually is), so that none is taken by a
/// connection before its service listens.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port nobody listens on, and nobody else gets.
pub fn free_port() -> u16 {
    // Another test run begins elsewhere.
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(97)));
    let next = || {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u32;
        PORTS.start + u16::try_from(number).expect("within the ports")
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).take(PORTS.len()).find(is_free).expect("loopback has free ports")
}

/// Wait until somebody accepts connections on the port.
pub fn wait_for_port(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running process whose output is collected. Killed when dropped.
pub struct Process {
    what: String,
    child: Child,
    output: Arc<Output>,
}

/// What a process was when it ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

#[derive(Default)]
struct Output {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Default)]
struct Text {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    open: usize,
}

impl Process {
    /// Start it, its input empty.
    pub fn start(command: &mut Command) -> Process {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        let output = Arc::new(Output::default());
        output.text.lock().expect("no reader panics").open = 2;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        collect(stdout, output.clone(), |text| &mut text.stdout);
        collect(stderr, output.clone(), |text| &mut text.stderr);
        Process { what, child, output }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Wait until a line of standard error contains `words`.
    pub fn wait_for_line(&self, words: &str) {
        let begun = Instant::now();
        let mut text = self.output.text.lock().expect("no reader panics");
        loop {
            let stderr = String::from_utf8_lossy(&text.stderr);
            let whole_lines = &stderr[..stderr.rfind('\n').map_or(0, |end| end + 1)];
            if whole_lines.lines().any(|line| line.contains(words)) {
                return;
            }
            let ended = text.open == 0;
            assert!(
                !ended && begun.elapsed() < PATIENCE,
                "{} {} without a line `{words}`:\n{stderr}",
                self.what,
                if ended { "ended" } else { "runs" },
            );
            text = self.output.changed.wait_timeout(text, Duration::from_secs(1)).expect("no reader panics").0;
        }
    }

    /// Send it a signal.
    pub fn signal(&self, signal: Signal) {
        // Not reaped before `finish`, so the id is still its own.
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Wait for its end, and for the end of everything that it started and that writes where it did.
    pub fn finish(mut self) -> Finished {
        let text = self.output.text.lock().expect("no reader panics");
        let waited = self.output.changed.wait_timeout_while(text, PATIENCE, |text| text.open > 0);
        let (mut text, _) = waited.expect("no reader panics");
        let stdout = String::from_utf8_lossy(&std::mem::take(&mut text.stdout)).into_owned();
        let stderr = String::from_utf8_lossy(&std::mem::take(&mut text.stderr)).into_owned();
        assert!(text.open == 0, "{} does not end\n--- stdout\n{stdout}--- stderr\n{stderr}", self.what);
        drop(text);
        let status = self.child.wait().expect("a child can be waited for");
        Finished { code: status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Ask it to stop, and wait for its end.
    pub fn stop(self) -> Finished {
        self.signal(Signal::SIGTERM);
        self.finish()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Fail the test unless the exit code is `code`.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Finished {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

/// Run this in the network namespace of a process.
pub fn in_network_of(process: u32, work: impl FnOnce() + Send) {
    let network = File::open(format!("/proc/{process}/ns/net")).expect("it runs");
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(network, CloneFlags::CLONE_NEWNET).expect("root may");
            work();
        });
        inside.join().expect("every client is answered");
    });
}

/// Read `source` to its end on a thread of its own.
fn collect(source: impl Read + Send + 'static, output: Arc<Output>, part: fn(&mut Text) -> &mut Vec<u8>) {
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            part(&mut output.text.lock().expect("no holder panics")).append(&mut line);
            output.changed.notify_all();
        }
        output.text.lock().expect("no holder panics").open -= 1;
        output.changed.notify_all();
    });
}
