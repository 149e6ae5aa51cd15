//! A recording of this process, and what became of each of its streams.
#![allow(unsafe_code, reason = "socket options that std does not have")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use regress_ebpf::{Address, Capture, CloseCause, Direction, Event, EventKind, Loss, Options, Role, SocketId, Source};

/// One recording at a time: they all follow this process, and one test's traffic would fill another's buffer.
static TURN: Mutex<()> = Mutex::new(());

/// Chooses the source that all tests of this process capture by; the host's best if unset.
pub const SOURCE_VARIABLE: &str = "REGRESS_TEST_SOURCE";

/// The source under test, or why there is none.
fn tested() -> &'static Result<Source, String> {
    static SOURCE: OnceLock<Result<Source, String>> = OnceLock::new();
    SOURCE.get_or_init(|| match std::env::var(SOURCE_VARIABLE) {
        Ok(name) => {
            let source = name.parse().expect("the name of a source");
            works(source).map(|()| source)
        }
        Err(_) => regress_ebpf::best_source().map_err(|e| e.to_string()),
    })
}

fn works(source: Source) -> Result<(), String> {
    let mut probed = regress_ebpf::probe().sources.into_iter();
    let found = probed.find(|probed| probed.source == source).expect("every source is probed");
    found.result.map_err(|e| with_causes(&e))
}

pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub fn source() -> Source {
    tested().clone().expect("the test has asked")
}

/// Whether this host lets us capture; says so and returns `false` if not, unless everything is required.
pub fn can_capture(test: &str) -> bool {
    let Err(reason) = tested() else { return true };
    assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "{test} cannot run: {reason}");
    println!("skipped: {test}: {reason}");
    false
}

/// Ends the calling test where the host does not let us capture.
macro_rules! require_capture {
    ($test:literal) => {
        if !crate::harness::can_capture($test) {
            return;
        }
    };
}
pub(crate) use require_capture;

/// Room for a 64 MiB call of which both ends are recorded, and for what goes on while the capture, unoptimised, attaches.
pub const LARGE: u32 = 256 << 20;
pub const MEDIUM: u32 = 32 << 20;
pub const TINY: u32 = 64 << 10;

/// Divides the amounts of tests that are about volume: `REGRESS_TEST_SCALE=16`, for emulated machines. The default is 1.
const SCALE: &str = "REGRESS_TEST_SCALE";

/// An amount that only has to be large.
pub fn scaled(amount: usize) -> usize {
    amount / std::env::var(SCALE).map_or(1, |divisor| divisor.parse().expect("REGRESS_TEST_SCALE is a number"))
}

/// A capture of this process that is read in the background.
pub struct Recording {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Vec<Event>>,
    _turn: MutexGuard<'static, ()>,
}

/// Keeps other recordings away while one is prepared, as by opening connections that it must find.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    pub fn start(buffer_bytes: u32) -> Recording {
        Recording::start_in(turn(), buffer_bytes)
    }

    pub fn start_in(turn: MutexGuard<'static, ()>, buffer_bytes: u32) -> Recording {
        let mut capture = capture_self(buffer_bytes);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = std::thread::spawn(move || {
            let mut events = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                capture.next_batch(Duration::from_millis(20), &mut events).expect("the capture goes on");
            }
            capture.drain(&mut events).expect("the capture drains");
            events
        });
        Recording { stop, reader, _turn: turn }
    }

    pub fn finish(self) -> Recorded {
        self.stop.store(true, Ordering::Release);
        Recorded::of(self.reader.join().expect("the reader ends well"))
    }
}

pub fn capture_self(buffer_bytes: u32) -> Capture {
    let pids = vec![std::process::id()];
    let options = Options { pids, source: Some(source()), buffer_bytes: Some(buffer_bytes), ..Options::default() };
    Capture::start(options).expect("capture starts")
}

/// What was recorded of one direction of one socket.
#[derive(Default)]
pub struct Stream {
    /// Each run of bytes with its position.
    pub pieces: Vec<(u64, Vec<u8>)>,
    /// Bytes said to be missing.
    pub missing: u64,
    /// Bytes skipped over by positions, without being said to be missing.
    pub skipped: u64,
    end: u64,
    pub finished: bool,
}

impl Stream {
    /// The whole stream; fails on any gap.
    pub fn whole(&self) -> Vec<u8> {
        let runs = || self.pieces.iter().map(|(position, bytes)| (*position, bytes.len())).collect::<Vec<_>>();
        assert_eq!((self.missing, self.skipped), (0, 0), "a gap beside {:?}", runs());
        let mut whole = Vec::new();
        for (_, bytes) in &self.pieces {
            whole.extend_from_slice(bytes);
        }
        whole
    }

    /// The bytes that were recorded are right and in place, and all others are accounted for.
    pub fn assert_honest(&self, sent: &[u8]) {
        let mut recorded = 0;
        for (position, bytes) in &self.pieces {
            let at = usize::try_from(*position).unwrap();
            assert!(sent[at..at + bytes.len()] == bytes[..], "wrong bytes at {position}");
            recorded += bytes.len() as u64;
        }
        assert_eq!(recorded + self.missing + self.skipped, sent.len() as u64, "bytes unaccounted for");
    }
}

/// What was recorded of one socket.
#[derive(Default)]
pub struct Socket {
    pub connecting: Option<SocketAddr>,
    /// Role, local address, peer address, joined.
    pub open: Option<(Role, Address, Address, bool)>,
    pub sent: Stream,
    pub received: Stream,
    pub closed: Option<CloseCause>,
}

/// A finished recording; building it checks the order that every capture promises.
pub struct Recorded {
    pub events: Vec<Event>,
    sockets: BTreeMap<SocketId, Socket>,
    pub losses: Vec<Loss>,
}

impl Recorded {
    pub fn of(events: Vec<Event>) -> Recorded {
        let mut sockets: BTreeMap<SocketId, Socket> = BTreeMap::new();
        let mut losses = Vec::new();
        for event in &events {
            match &event.kind {
                EventKind::Connecting { socket, peer } => {
                    sockets.entry(*socket).or_default().connecting = Some(*peer);
                }
                EventKind::Open { socket, role, local, peer, joined } => {
                    let known = sockets.entry(*socket).or_default();
                    assert!(known.open.is_none(), "opened twice: {event:?}");
                    known.open = Some((*role, local.clone(), peer.clone(), *joined));
                }
                EventKind::Data { socket, direction, position, bytes, missing, .. } => {
                    let known = sockets.entry(*socket).or_default();
                    assert!(known.open.is_some() && known.closed.is_none(), "data outside its connection: {event:?}");
                    let stream = known.stream(*direction);
                    assert!(*position >= stream.end && !stream.finished, "data out of order: {event:?}");
                    stream.skipped += position - stream.end;
                    stream.missing += missing;
                    stream.end = position + bytes.len() as u64 + missing;
                    if !bytes.is_empty() {
                        stream.pieces.push((*position, bytes.to_vec()));
                    }
                }
                EventKind::Finished { socket, direction } => {
                    let stream = sockets.entry(*socket).or_default().stream(*direction);
                    assert!(!stream.finished, "finished twice: {event:?}");
                    stream.finished = true;
                }
                EventKind::Close { socket, cause } => {
                    let known = sockets.entry(*socket).or_default();
                    assert!(known.closed.is_none(), "closed twice: {event:?}");
                    known.closed = Some(*cause);
                }
                EventKind::Lost(loss) => losses.push(*loss),
                EventKind::InsideTls { .. }
                | EventKind::Born { .. }
                | EventKind::Serves { .. }
                | EventKind::Gone
                | EventKind::Returned { .. }
                | EventKind::Streams { .. }
                | EventKind::Name { .. } => {}
            }
        }
        Recorded { events, sockets, losses }
    }

    pub fn socket(&self, id: SocketId) -> &Socket {
        self.sockets.get(&id).expect("the socket was recorded")
    }

    pub fn sockets(&self) -> impl Iterator<Item = (SocketId, &Socket)> {
        self.sockets.iter().map(|(id, socket)| (*id, socket))
    }

    pub fn find(&self, id: SocketId) -> Option<&Socket> {
        self.sockets.get(&id)
    }

    pub fn assert_nothing_lost(&self) {
        assert_eq!(self.losses, []);
    }
}

impl Socket {
    fn stream(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    pub fn role(&self) -> Role {
        self.open.as_ref().expect("the connection was opened").0
    }

    pub fn joined(&self) -> bool {
        self.open.as_ref().expect("the connection was opened").3
    }
}

/// A connection on loopback: the connecting end and the accepted end.
pub fn pair() -> (TcpStream, TcpStream) {
    pair_on("127.0.0.1:0")
}

pub fn pair_on(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (server, _) = listener.accept().expect("accepts");
    (client, server)
}

/// What the capture identifies the socket by: its cookie or its inode.
pub fn id(socket: &impl AsRawFd) -> SocketId {
    let descriptor = socket.as_raw_fd();
    match source() {
        Source::Socket | Source::Inet => SocketId(option(descriptor, libc::SOL_SOCKET, libc::SO_COOKIE)),
        Source::Syscall | Source::InetKprobe => {
            let inode = std::fs::metadata(format!("/proc/self/fd/{descriptor}")).expect("an open socket");
            SocketId(std::os::unix::fs::MetadataExt::ino(&inode))
        }
    }
}

fn option(socket: RawFd, level: i32, name: i32) -> u64 {
    let mut value = 0u64;
    let mut length = 8;
    // SAFETY: the kernel writes at most 8 bytes to `value`.
    let result = unsafe { libc::getsockopt(socket, level, name, (&raw mut value).cast(), &raw mut length) };
    assert_eq!(result, 0, "getsockopt: {}", std::io::Error::last_os_error());
    value
}

/// Bytes that look like nothing (xorshift64), the same for the same seed.
pub fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
