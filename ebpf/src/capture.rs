//! The capture itself: which processes, and their events in order.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::address::Address;
use crate::cgroup::Cgroup;
use crate::claims::Claims;
use crate::code::{self, Targets};
use crate::error::Error;
use crate::event::{Event, EventKind, Loss, LossKind, Role, SocketId, Unit};
use crate::fill::Fill;
use crate::joined;
use crate::listeners::Listeners;
use crate::probe::best_source;
use crate::programs::{LOSS_KINDS, LossCount, Programs};
use crate::record::{self, Claim, Payload, Record};
use crate::source::Source;
use crate::tls::{Binder, Seen};
use crate::turns::OneByOne;
use crate::unix::UnixSockets;
use crate::users::SocketUsers;

/// What to capture, and with how much memory.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Process ids, as this process's PID namespace counts. All their threads and future children are captured as well.
    pub pids: Vec<u32>,
    /// By which hooks; the best that this host has if `None`.
    pub source: Option<Source>,
    /// Whoever is in this cgroup or in one below it, for as long as it is.
    pub cgroup: Option<Cgroup>,
    /// Size of the event buffer in bytes, a power of two from 64 KiB to 1 GiB. The default is 1/64 of the machine's
    /// memory, at least 16 MiB and at most 256 MiB.
    pub buffer_bytes: Option<u32>,
    /// Whether to read what is said inside TLS, by probes in the libraries that do it.
    pub inside_tls: bool,
    /// Programs that the processes are about to run: what they say inside TLS is read from their first instruction. Others
    /// are found while they start.
    pub programs: Vec<PathBuf>,
    /// The one of `pids` that the caller has started. It is stopped at what it executes (SIGSTOP, which none but its parent
    /// sees) until that has been looked into, so that nothing of it runs before the capture knows its ways.
    pub launched: Option<u32>,
    /// Whether a process that gains privileges by what it executes (set-user-id, file capabilities) is captured no longer,
    /// which is told as a loss: for whoever may know about the process that it was, and not about the one that it is.
    pub without_gain: bool,
}

const BUFFER_BOUNDS: std::ops::RangeInclusive<u32> = 64 << 10..=1 << 30;
const DEFAULT_BUFFER_BOUNDS: (u64, u64) = (16 << 20, 256 << 20);

/// The longest time that events wait in the buffer: a nearly empty buffer wakes nobody.
const POLL: Duration = Duration::from_millis(20);

/// Bounds one batch, so that a busy service cannot keep the caller waiting, nor batches that wait take much memory.
const BATCH_EVENTS: usize = 4 << 10;
const BATCH_BYTES: usize = 1 << 20;

/// A running capture. The service is never stopped, changed or waited for, but for [`Options::launched`] before its first
/// instruction. Dropping the capture ends it.
///
/// Events come in the order of the kernel's one buffer. For each socket: [`EventKind::Open`] before its data, data of
/// one direction in the order of the calls that moved it, [`EventKind::Close`] last. Of two threads that send on one
/// socket at the same time either may come first. A socket that failed to connect may connect again under the same id.
/// Times are taken before the place in the buffer, so that events of different CPUs may carry times slightly out of
/// order.
pub struct Capture {
    programs: Programs,
    ring: RingBuf<MapData>,
    payload: Payload,
    waiter: Epoll,
    /// `None` where the kernel does not say.
    fill: Option<Fill>,
    listeners: Listeners,
    /// Sockets announced and not closed.
    open: HashSet<SocketId>,
    unix: UnixSockets,
    targets: Targets,
    claims: Claims,
    users: SocketUsers,
    one_by_one: OneByOne,
    binder: Binder,
    reported: [LossCount; LOSS_KINDS.len()],
}

impl Capture {
    /// Attaches to the processes. Connections that they already have come first, as [`EventKind::Open`] with `joined`.
    ///
    /// # Errors
    /// When this host does not let us, or a process does not exist; see [`Error::hint`].
    pub fn start(options: Options) -> Result<Capture, Error> {
        let buffer_bytes = match options.buffer_bytes {
            Some(bytes) => checked_buffer(bytes)?,
            None => default_buffer_bytes(),
        };
        let source = match options.source {
            Some(source) => source,
            None => best_source()?,
        };
        let (programs, ring) = Programs::load(source, buffer_bytes, &options)?;
        // Edge-triggered: a level would be up whenever the buffer is not empty, and there would be no batches.
        let waiter = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| Error::Wait(e.into()))?;
        waiter
            .add(ring.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))
            .map_err(|e| Error::Wait(e.into()))?;
        let fill = Fill::of(ring.as_fd(), buffer_bytes).ok();
        let mut capture = Capture {
            programs,
            ring,
            payload: Payload::new(),
            waiter,
            fill,
            listeners: Listeners::default(),
            open: HashSet::new(),
            unix: UnixSockets::default(),
            targets: Targets::new(options.inside_tls),
            claims: Claims::default(),
            users: SocketUsers::default(),
            one_by_one: OneByOne::default(),
            binder: Binder::default(),
            reported: [LossCount::default(); LOSS_KINDS.len()],
        };
        capture.programs.attach()?;
        capture.expect_programs(&options.programs);
        capture.targets.pass_over_own(!options.programs.is_empty());
        for pid in options.pids {
            capture.add_process(pid)?;
        }
        capture.targets.pass_over_own(false);
        if let Some(cgroup) = options.cgroup {
            capture.join_members(&cgroup)?;
        }
        Ok(capture)
    }

    /// Captures one more process, its threads and future children.
    ///
    /// # Errors
    /// When there is no such process, or its connections cannot be listed.
    pub fn add_process(&mut self, pid: u32) -> Result<(), Error> {
        let pid = thread_group(pid)?;
        self.programs.follow(pid)?;
        self.join(pid)
    }

    /// How much of the kernel's buffer waits to be taken out, from 0 to 1; `None` where the kernel does not say.
    pub fn fill(&self) -> Option<f64> {
        self.fill.as_ref().map(Fill::now)
    }

    /// Finds the connections that members of the cgroup have. The programs know them without being told, so that
    /// connections of a process that comes later, or goes, announce themselves.
    fn join_members(&mut self, cgroup: &Cgroup) -> Result<(), Error> {
        for pid in cgroup.processes()? {
            match self.join(pid) {
                Ok(()) | Err(Error::NoProcess { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn join(&mut self, pid: u32) -> Result<(), Error> {
        self.look_into(pid)?;
        self.expect_libraries(pid);
        let mut found = Vec::new();
        joined::join(pid, &mut self.programs, &mut self.listeners, &mut self.unix, &mut found)?;
        for event in found {
            if let EventKind::Open { socket, .. } = event.kind {
                self.open.insert(socket);
            }
            self.binder.take(Seen::Event { event, within: None });
        }
        Ok(())
    }

    /// Probes programs that nobody runs yet.
    fn expect_programs(&mut self, programs: &[PathBuf]) {
        let mut attach = |file: &File, number, points: &[_]| self.programs.attach_probes(file, number, points).is_ok();
        for program in programs {
            if let Ok(file) = code::open(program) {
                self.targets.look(&file, &mut attach);
            }
            self.targets.expect_packages(program, &mut attach);
        }
    }

    /// Probes the libraries that a process may come to load.
    fn expect_libraries(&mut self, pid: u32) {
        let programs = &mut self.programs;
        let mut attach = |file: &File, number, points: &[_]| programs.attach_probes(file, number, points).is_ok();
        self.targets.expect_libraries(pid, &mut attach);
    }

    /// Probes the code that a process has mapped. TLS that cannot be probed stays encrypted.
    fn look_into(&mut self, pid: u32) -> Result<(), Error> {
        // It runs meanwhile: who does what in it is to be known before its libraries are read.
        if let Some(code) = self.targets.program(pid) {
            self.programs.know_goroutines(pid, code.goroutines)?;
            self.programs.know_tokio(pid, code.tokio)?;
        }
        let programs = &mut self.programs;
        let mut attach = |file: &File, number, points: &[_]| programs.attach_probes(file, number, points).is_ok();
        let code = self.targets.scan(pid, &mut attach);
        if let Some(since) = code.readable_since {
            self.binder.readable(pid, since);
        }
        if self.one_by_one.runs(pid, code.one_by_one) {
            self.tell_one_by_one(joined::monotonic_now(), pid, code.one_by_one);
        }
        self.programs.know_goroutines(pid, code.goroutines)?;
        self.programs.know_python(pid, code.python)?;
        self.programs.know_tokio(pid, code.tokio)
    }

    fn tell_one_by_one(&mut self, at: u64, process: u32, one_by_one: bool) {
        let event = Event { at, unit: Some(Unit::thread(process, process)), kind: EventKind::Serves { one_by_one } };
        self.binder.take(Seen::Event { event, within: None });
    }

    /// Appends the next events to `out`; waits for at most `timeout` until there is one. Nothing is appended when the
    /// time is up.
    ///
    /// # Errors
    /// When the kernel's buffer cannot be read.
    pub fn next_batch(&mut self, timeout: Duration, out: &mut Vec<Event>) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        let before = out.len();
        loop {
            let now = joined::monotonic_now();
            self.unix.ask(&mut self.programs)?;
            if self.read()? == 0 {
                // Nothing was in the ring: nothing that happened before is still to come.
                self.tell_unix_ends(now);
                self.binder.advance(now);
            }
            self.report_losses()?;
            self.hand_out(out);
            let left = deadline.saturating_duration_since(Instant::now());
            if out.len() > before || left.is_zero() {
                return Ok(());
            }
            self.wait(left.min(POLL))?;
        }
    }

    /// Ends the capture and appends everything that is still buffered, and the last losses.
    ///
    /// # Errors
    /// When the kernel's buffer cannot be read.
    pub fn drain(&mut self, out: &mut Vec<Event>) -> Result<(), Error> {
        self.programs.unload()?;
        while self.read()? > 0 {}
        self.unix.ask_all(&mut self.programs)?;
        self.tell_unix_ends(joined::monotonic_now());
        self.report_losses()?;
        self.binder.stop(joined::monotonic_now());
        self.hand_out(out);
        Ok(())
    }

    fn hand_out(&mut self, out: &mut Vec<Event>) {
        out.extend(std::iter::from_fn(|| self.binder.next()));
    }

    fn tell_unix_ends(&mut self, at: u64) {
        for kind in self.unix.take_ends() {
            let (EventKind::Finished { socket, .. } | EventKind::Close { socket, .. }) = kind else { continue };
            // A reset has been told already.
            if self.open.contains(&socket)
                && let Some(event) = self.checked(Event { at, unit: None, kind })
            {
                self.binder.take(Seen::Event { event, within: None });
            }
        }
    }

    /// Waits until enough is buffered to be worth a wake-up, or the time is up.
    fn wait(&self, at_most: Duration) -> Result<(), Error> {
        let timeout = EpollTimeout::try_from(at_most.max(Duration::from_millis(1))).unwrap_or(EpollTimeout::ZERO);
        match self.waiter.wait(&mut [EpollEvent::empty()], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(e) => Err(Error::Wait(e.into())),
        }
    }

    /// Takes a batch out of the ring; returns how many records it had.
    fn read(&mut self) -> Result<usize, Error> {
        let (mut records, mut bytes) = (0, 0);
        while records < BATCH_EVENTS && bytes < BATCH_BYTES {
            let Some(item) = self.ring.next() else { break };
            let length = item.len();
            let record = record::decode(&item, &mut self.payload).ok_or(Error::Record { length })?;
            drop(item);
            records += 1;
            bytes += length;
            self.record(record)?;
        }
        for process in self.binder.unread() {
            self.look_into(process)?;
        }
        Ok(records)
    }

    fn record(&mut self, record: Record) -> Result<(), Error> {
        let (event, within) = match record {
            Record::Open { at, unit, socket, role, local, peer, joined } => {
                // Two threads that use a socket first at the same time both announce it.
                if !self.open.insert(socket) {
                    return Ok(());
                }
                let role = role.unwrap_or_else(|| self.role_of_old(unit, local));
                let (local, peer) = (local.into(), peer.into());
                (Event { at, unit, kind: EventKind::Open { socket, role, local, peer, joined } }, None)
            }
            Record::OpenUnix { at, unit, id, socket, role, local, peer } => {
                if !self.open.insert(id) {
                    return Ok(());
                }
                let joined = self.unix.opened(id, socket);
                let (local, peer) = (Address::Unix(local), Address::Unix(peer));
                (Event { at, unit, kind: EventKind::Open { socket: id, role, local, peer, joined } }, None)
            }
            Record::Event(event) => (event, None),
            Record::Within { event, object } => (event, Some(object)),
            Record::Plaintext(mut plaintext) => {
                if let Some(socket) = plaintext.socket {
                    plaintext.unit = self.claims.behind(socket, plaintext.direction, plaintext.unit);
                }
                self.binder.take(Seen::Plaintext(plaintext));
                return Ok(());
            }
            Record::TlsCall { unit, object, socket, writes } => {
                self.binder.take(Seen::Call { unit, object, socket, writes });
                return Ok(());
            }
            Record::TlsFreed { at, object, positions } => {
                self.binder.take(Seen::Freed { at, object, positions });
                return Ok(());
            }
            Record::Claimed { at, unit, parent, claim } => {
                match (claim, parent) {
                    (Claim::NextRequest(socket), _) => self.claims.make(socket, unit),
                    (Claim::OwnStream(socket), waits) => {
                        if self.claims.make_stream(socket, unit, waits) {
                            let event = Event { at, unit: None, kind: EventKind::Streams { socket } };
                            self.binder.take(Seen::Event { event, within: None });
                        }
                        return Ok(());
                    }
                    (Claim::Itself, _) => {}
                }
                if let Some(parent) = parent {
                    let event = Event { at, unit: Some(parent), kind: EventKind::Born { child: unit } };
                    self.binder.take(Seen::Event { event, within: None });
                }
                return Ok(());
            }
            Record::Returned { at, unit, socket, connected } => {
                if self.users.has_one(socket) {
                    let event = Event { at, unit: Some(unit), kind: EventKind::Returned { socket, connected } };
                    self.binder.take(Seen::Event { event, within: None });
                }
                return Ok(());
            }
            Record::Mapped { process, held } => {
                let looked = self.look_into(process);
                if held {
                    let_go_on(process);
                }
                return looked;
            }
        };
        let event = self.claimed(event);
        let forked = self.forked(&event);
        let at = event.at;
        if let Some(event) = self.checked(event) {
            self.binder.take(Seen::Event { event, within });
        }
        if let Some(child) = forked {
            self.tell_one_by_one(at, child, true);
        }
        Ok(())
    }

    /// Tells for whom bytes passed, not who moved them.
    fn claimed(&mut self, mut event: Event) -> Event {
        match event.kind {
            EventKind::Data { socket, direction, .. } => {
                self.users.moves(socket, event.unit);
                event.unit = self.claims.behind(socket, direction, event.unit);
            }
            EventKind::Connecting { socket, .. } => {
                self.claims.forget(socket);
                self.users.connects(socket, event.unit);
            }
            EventKind::Close { socket, .. } => {
                self.claims.forget(socket);
                self.users.forget(socket);
            }
            _ => {}
        }
        event
    }

    /// The process that was forked, where it takes one request at a time.
    fn forked(&mut self, event: &Event) -> Option<u32> {
        let unit = event.unit?;
        match event.kind {
            EventKind::Born { child } if child.process != unit.process => {
                self.one_by_one.forked(unit.process, child.process).then_some(child.process)
            }
            EventKind::Gone if unit == Unit::thread(unit.process, unit.process) => {
                self.one_by_one.forget(unit.process);
                None
            }
            _ => None,
        }
    }

    /// Keeps the promise that data comes between its connection's opening and its end. A reset that arrives while a
    /// thread is on its way out of a read may overtake what it read.
    fn checked(&mut self, event: Event) -> Option<Event> {
        match &event.kind {
            EventKind::Connecting { socket, .. } | EventKind::Close { socket, .. } => {
                self.open.remove(socket);
                Some(event)
            }
            EventKind::Data { socket, .. } if self.binder.is_told(*socket) => None,
            EventKind::Data { socket, bytes, missing, .. } if !self.open.contains(socket) => {
                let loss = Loss { kind: LossKind::TableFull, events: 1, bytes: bytes.len() as u64 + missing };
                Some(Event { kind: EventKind::Lost(loss), ..event })
            }
            _ => Some(event),
        }
    }

    /// The role of a connection that was established before the programs saw it.
    fn role_of_old(&mut self, unit: Option<Unit>, local: std::net::SocketAddr) -> Role {
        if let Some(unit) = unit {
            self.listeners.look(unit.process);
        }
        self.listeners.role(local)
    }

    /// Tells what was lost since the last report.
    fn report_losses(&mut self) -> Result<(), Error> {
        let totals = self.programs.losses()?;
        for ((kind, total), reported) in LOSS_KINDS.into_iter().zip(totals).zip(&mut self.reported) {
            let events = total.events - reported.events;
            let bytes = total.bytes - reported.bytes;
            if events > 0 {
                let loss = Loss { kind, events, bytes };
                let event = Event { at: joined::monotonic_now(), unit: None, kind: EventKind::Lost(loss) };
                self.binder.take(Seen::Event { event, within: None });
                *reported = total;
            }
        }
        Ok(())
    }
}

/// Ends the stop in which a process was held. It may be gone.
fn let_go_on(process: u32) {
    if let Ok(process) = i32::try_from(process) {
        let _ = kill(Pid::from_raw(process), Signal::SIGCONT);
    }
}

/// The process that a process or thread id belongs to.
fn thread_group(pid: u32) -> Result<u32, Error> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoProcess { pid },
        _ => Error::Inspect { pid, source },
    })?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("State:").is_some_and(|state| state.starts_with(['Z', 'X'])) {
        return Err(Error::NoProcess { pid });
    }
    Ok(field("Tgid:").and_then(|value| value.parse().ok()).unwrap_or(pid))
}

fn checked_buffer(bytes: u32) -> Result<u32, Error> {
    if !bytes.is_power_of_two() {
        return Err(Error::Buffer { bytes, reason: "it is not a power of two" });
    }
    if !BUFFER_BOUNDS.contains(&bytes) {
        return Err(Error::Buffer { bytes, reason: "it is out of bounds" });
    }
    Ok(bytes)
}

/// The size of the event buffer in bytes where none is asked for.
#[must_use]
pub fn default_buffer_bytes() -> u32 {
    default_buffer(memory_bytes())
}

/// About 1/64 of the memory, rounded down to a power of two.
fn default_buffer(memory_bytes: u64) -> u32 {
    let (least, most) = DEFAULT_BUFFER_BOUNDS;
    let share = (memory_bytes / 64).clamp(least, most);
    1 << share.ilog2()
}

/// The machine's memory; 0 if the kernel does not say.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_buffer_is_a_bounded_power_of_two() {
        assert_eq!(default_buffer(0), 16 << 20);
        assert_eq!(default_buffer(1 << 30), 16 << 20);
        assert_eq!(default_buffer(4 << 30), 64 << 20);
        assert_eq!(default_buffer(7 << 30), 64 << 20);
        assert_eq!(default_buffer(1 << 40), 256 << 20);
    }

    #[test]
    fn impossible_buffers_are_refused() {
        assert!(checked_buffer(1 << 20).is_ok());
        for bytes in [0, 4096, 100_000, 1 << 31] {
            assert!(matches!(checked_buffer(bytes), Err(Error::Buffer { .. })), "{bytes}");
        }
    }

    #[test]
    fn a_thread_id_gives_its_process() {
        let thread = nix::unistd::gettid().as_raw().unsigned_abs();
        assert_eq!(thread_group(thread).unwrap(), std::process::id());
        assert!(matches!(thread_group(u32::MAX >> 1), Err(Error::NoProcess { .. })));
    }
}
