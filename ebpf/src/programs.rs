//! The BPF programs and their tables: loading, attaching, and what user space reads and writes there.
#![allow(unsafe_code, reason = "bpf(2) for a program's missed runs, membarrier(2), and Pod for the shared structures")]

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use aya::maps::{Array, CgroupArray, HashMap, MapData, MapError, PerCpuArray, RingBuf, SkStorage};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use aya::programs::{Program, ProgramFd, RawTracePoint, UProbe};
use aya::{Btf, Ebpf, EbpfLoader, Pod, RawTracePointRunOptions, TestRun};

use crate::capture::Options;
use crate::code::{CurrentTask, GoroutineFields, PROBES, ProbePoint, PythonProgram};
use crate::error::Error;
use crate::event::{LossKind, Role, SocketId};
use crate::joined;
use crate::source::{Hook, Source};
use crate::unix::{State, UnixSocket};

/// The inode of the PID namespace that the kernel starts with: `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: u32 = 0xefff_fffc;

/// The reader is woken each time that so many bytes have come together; less waits for its poll. A power of two.
const WAKE_EVERY: u32 = 1 << 20;

/// `struct socket_state` in `bpf/regress.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SocketState {
    id: u64,
    position: [u64; 2],
    owed: [u64; 2],
    start: [u32; 2],
    role: u8,
    cause: u8,
    padding: u16,
    flags: u32,
    connected_by: u64,
}

// SAFETY: plain integers without padding.
unsafe impl Pod for SocketState {}

const FOLLOWED_AND_ANNOUNCED: u32 = 1 | 2;

/// `bpf/known.h`.
const FOLLOWED_ONCE: u32 = 1;
const GO_ONCE: u32 = 2;
const PYTHON_ONCE: u32 = 4;
const TOKIO_ONCE: u32 = 16;

/// Set in the instances of programs that this side numbers; `bpf/python.h` numbers others.
const OWN_INSTANCE: u64 = 1 << 63;

const NO_EXIST: u64 = 1; // BPF_NOEXIST, include/uapi/linux/bpf.h

/// `struct loss_count` in `bpf/regress.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LossCount {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

// SAFETY: plain integers without padding.
unsafe impl Pod for LossCount {}
// SAFETY: as above.
unsafe impl Pod for GoroutineFields {}
// SAFETY: as above.
unsafe impl Pod for PythonProgram {}

/// `struct tokio_program` in `bpf/tokio.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct TokioProgram {
    instance: u64,
    task_at: i64,
    marked: u64,
}

// SAFETY: plain integers without padding.
unsafe impl Pod for TokioProgram {}

/// The loss kinds by their index in the table; the last is counted by the kernel itself.
pub(crate) const LOSS_KINDS: [LossKind; 5] =
    [LossKind::BufferFull, LossKind::Unreadable, LossKind::TableFull, LossKind::Privileged, LossKind::Skipped];

/// Where the states of sockets are.
enum Sockets {
    /// In the sockets, which are known by their cookies.
    Inside(SkStorage<MapData, SocketState>),
    /// In a table, for sockets known by their inodes.
    Beside(Box<Beside>),
}

/// The tables of `RAW_SOCKETS`, see `bpf/sockets.h`.
struct Beside {
    states: HashMap<MapData, u64, SocketState>,
    adopted: HashMap<MapData, u64, SocketState>,
    /// Marks the sockets whose beginning the programs saw.
    begun: SkStorage<MapData, u32>,
}

/// The loaded programs. Dropping them detaches them; so does the end of this process, however it ends, because nothing
/// is pinned.
pub(crate) struct Programs {
    ebpf: Ebpf,
    btf: &'static Btf,
    hooks: Vec<&'static Hook>,
    followed: HashMap<MapData, u32, u8>,
    known_endings: Array<MapData, u32>,
    go_programs: HashMap<MapData, u32, GoroutineFields>,
    python_programs: HashMap<MapData, u32, PythonProgram>,
    tokio_programs: HashMap<MapData, u32, TokioProgram>,
    /// How many of them were numbered.
    instances: u64,
    sockets: Sockets,
    losses: PerCpuArray<MapData, LossCount>,
    missed_before_unload: u64,
}

impl Programs {
    /// Loads the programs of a source with a ring of `buffer_bytes`; they see nothing until [`Programs::attach`].
    pub(crate) fn load(
        source: Source,
        buffer_bytes: u32,
        options: &Options,
    ) -> Result<(Programs, RingBuf<MapData>), Error> {
        check_host(source)?;
        let pid_namespace = pid_namespace()?;
        let btf = kernel_types()?;
        // Payload leaves an eighth of the ring to the records that open, end and name things.
        let payload_limit = u64::from(buffer_bytes) / 8 * 7;
        let wake_shift = WAKE_EVERY.min(buffer_bytes / 4).ilog2();
        let mut ebpf = EbpfLoader::new()
            .btf(Some(btf))
            // Task storage is used by the programs alone; aya has no type for it.
            .allow_unsupported_maps()
            .map_max_entries("events", buffer_bytes)
            .override_global("payload_limit", &payload_limit, true)
            .override_global("wake_shift", &wake_shift, true)
            .override_global("pid_namespace", &pid_namespace.unwrap_or(0), true)
            .override_global("by_cgroup", &u32::from(options.cgroup.is_some()), true)
            .override_global("without_gain", &u32::from(options.without_gain), true)
            .override_global("launched", &options.launched.unwrap_or(0), true)
            .load(source.object())?;
        if let Some(cgroup) = &options.cgroup {
            let table = ebpf.map_mut("cgroup").expect("the object defines its maps");
            let mut recorded = CgroupArray::try_from(table).map_err(|e| Error::table("cgroup", e))?;
            recorded.set(0, cgroup.open()?, 0).map_err(|e| Error::table("cgroup", e))?;
        }
        let followed = take(&mut ebpf, "followed")?;
        let known_endings = take(&mut ebpf, "known_endings")?;
        let go_programs = take(&mut ebpf, "go_programs")?;
        let python_programs = take(&mut ebpf, "python_programs")?;
        let tokio_programs = take(&mut ebpf, "tokio_programs")?;
        let sockets = if source.has_raw_sockets() {
            Sockets::Beside(Box::new(Beside {
                states: take(&mut ebpf, "sockets")?,
                adopted: take(&mut ebpf, "adopted")?,
                begun: take(&mut ebpf, "begun")?,
            }))
        } else {
            Sockets::Inside(take(&mut ebpf, "sockets")?)
        };
        let losses = take(&mut ebpf, "losses")?;
        let ring = take(&mut ebpf, "events")?;
        let absent = absent_functions(source);
        let hooks = source.programs().filter(|hook| !absent.contains(hook.target)).collect();
        let programs = Programs {
            ebpf,
            btf,
            hooks,
            followed,
            known_endings,
            go_programs,
            python_programs,
            tokio_programs,
            instances: 0,
            sockets,
            losses,
            missed_before_unload: 0,
        };
        Ok((programs, ring))
    }

    pub(crate) fn attach(&mut self) -> Result<(), Error> {
        for hook in distinct(&self.hooks) {
            match program(&mut self.ebpf, hook.program) {
                Program::BtfTracePoint(program) => program.load(hook.target, self.btf)?,
                Program::FEntry(program) => program.load(hook.target, self.btf)?,
                Program::FExit(program) => program.load(hook.target, self.btf)?,
                Program::KProbe(program) => program.load()?,
                other => unreachable!("the object defines no {:?}", other.prog_type()),
            }
        }
        unix_alive(&mut self.ebpf)?.load()?;
        for hook in &self.hooks {
            match program(&mut self.ebpf, hook.program) {
                Program::BtfTracePoint(program) => program.attach().map(|_link| ())?,
                Program::FEntry(program) => program.attach().map(|_link| ())?,
                Program::FExit(program) => program.attach().map(|_link| ())?,
                Program::KProbe(program) => program.attach(hook.target, 0).map(|_link| ())?,
                other => unreachable!("the object defines no {:?}", other.prog_type()),
            }
        }
        Ok(())
    }

    /// Loads the programs for probes, which [`Programs::attach_probes`] otherwise does with each when there is something to probe:
    /// checking them takes the kernel as long as all others.
    pub(crate) fn load_probes(&mut self) -> Result<(), Error> {
        PROBES.iter().try_for_each(|name| loaded_probe(&mut self.ebpf, name).map(|_probe| ()))
    }

    /// Probes the code of a file, for every process that runs it, in this order. `number` tells the file from others.
    pub(crate) fn attach_probes(&mut self, file: &File, number: u64, points: &[ProbePoint]) -> Result<(), Error> {
        // The file itself, whatever name it has in whatever namespace.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        for point in points {
            let at = UProbeAttachPoint {
                location: UProbeAttachLocation::AbsoluteOffset(point.offset),
                cookie: Some(number),
            };
            loaded_probe(&mut self.ebpf, point.program)?.attach(at, &path, UProbeScope::AllProcesses)?;
        }
        Ok(())
    }

    /// Records this process from now on, and its children.
    pub(crate) fn follow(&mut self, pid: u32) -> Result<(), Error> {
        self.know(pid, FOLLOWED_ONCE)?;
        self.followed.insert(pid, 1, 0).map_err(|e| Error::table("followed", e))
    }

    /// What the process runs now: a Go program, or another.
    pub(crate) fn know_goroutines(&mut self, pid: u32, fields: Option<GoroutineFields>) -> Result<(), Error> {
        match fields {
            Some(fields) => {
                self.know(pid, GO_ONCE)?;
                self.go_programs.insert(pid, fields, 0).map_err(|e| Error::table("go_programs", e))
            }
            None => removed(self.go_programs.remove(&pid), "go_programs"),
        }
    }

    /// Where the process has the Python interpreter. The programs forget it themselves when it becomes another program.
    pub(crate) fn know_python(&mut self, pid: u32, program: Option<PythonProgram>) -> Result<(), Error> {
        let Some(mut program) = program else { return removed(self.python_programs.remove(&pid), "python_programs") };
        self.know(pid, PYTHON_ONCE)?;
        program.instance = self.new_instance();
        // Where it was known its contexts keep their numbers.
        added(self.python_programs.insert(pid, program, NO_EXIST), "python_programs")
    }

    /// Where the threads of the process keep the current task of tokio. The programs forget it themselves when it becomes another
    /// program.
    pub(crate) fn know_tokio(&mut self, pid: u32, current: Option<CurrentTask>) -> Result<(), Error> {
        let Some(current) = current else { return removed(self.tokio_programs.remove(&pid), "tokio_programs") };
        self.know(pid, TOKIO_ONCE)?;
        let instance = self.new_instance();
        let program = TokioProgram { instance, task_at: current.at, marked: u64::from(current.is_marked) };
        // Where it was known its tasks keep what is known of them.
        added(self.tokio_programs.insert(pid, program, NO_EXIST), "tokio_programs")
    }

    fn new_instance(&mut self) -> u64 {
        self.instances += 1;
        OWN_INSTANCE | self.instances
    }

    /// The programs add FOLLOWED_ONCE themselves, so that this is always among what is written here.
    fn know(&mut self, pid: u32, what: u32) -> Result<(), Error> {
        let ending = pid % self.known_endings.len();
        let known = self.known_endings.get(&ending, 0).map_err(|e| Error::table("known_endings", e))?;
        self.known_endings.set(ending, known | what | FOLLOWED_ONCE, 0).map_err(|e| Error::table("known_endings", e))
    }

    /// How the programs tell this socket from others.
    ///
    /// # Errors
    /// When it is none, or not one of ours any more.
    pub(crate) fn identify(&self, socket: &OwnedFd) -> std::io::Result<SocketId> {
        match self.sockets {
            Sockets::Inside(_) => joined::option(socket, libc::SO_COOKIE).map(SocketId),
            Sockets::Beside(_) => File::from(socket.try_clone()?).metadata().map(|inode| SocketId(inode.ino())),
        }
    }

    /// Gives the connection its state, so that its end is seen even if it is never used again. Returns whether it had
    /// none; a connection that had one is announced by the programs.
    pub(crate) fn adopt(&mut self, socket: &OwnedFd, role: Role) -> Result<bool, Error> {
        let role = match role {
            Role::Server => 1,
            Role::Client => 2,
        };
        let SocketId(id) = self.identify(socket).map_err(Error::Socket)?;
        let state = SocketState { id, role, flags: FOLLOWED_AND_ANNOUNCED, ..SocketState::default() };
        let inserted = match &mut self.sockets {
            Sockets::Inside(sockets) => sockets.insert(socket, state, NO_EXIST),
            Sockets::Beside(tables) => {
                tables.begun.insert(socket, 1, NO_EXIST).and_then(|()| tables.adopted.insert(id, state, NO_EXIST))
            }
        };
        match inserted {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(e) => Err(Error::table("sockets", e)),
        }
    }

    /// Whether a Unix socket that the programs announced is still open.
    pub(crate) fn unix_state(&mut self, socket: UnixSocket) -> Result<State, Error> {
        const SEND_SHUTDOWN: u32 = 2;
        let mut options = RawTracePointRunOptions::new();
        options.args[..2].copy_from_slice(&[socket.address, socket.inode]);
        let answer = unix_alive(&mut self.ebpf)?.test_run(options)?.return_value;
        Ok(match answer {
            0 => State::Gone,
            alive if alive & SEND_SHUTDOWN != 0 => State::SendShut,
            _ => State::Open,
        })
    }

    /// A Unix socket is gone: so is what is known of it.
    pub(crate) fn forget_unix(&mut self, socket: UnixSocket) -> Result<(), Error> {
        let Sockets::Beside(tables) = &mut self.sockets else { return Ok(()) };
        removed(tables.states.remove(&socket.inode), "sockets")
    }

    /// What was lost since the programs were loaded, in the order of [`LOSS_KINDS`].
    pub(crate) fn losses(&self) -> Result<[LossCount; LOSS_KINDS.len()], Error> {
        let mut totals = [LossCount::default(); LOSS_KINDS.len()];
        let [counted @ .., skipped] = &mut totals;
        for (kind, total) in (0u32..).zip(counted) {
            let counts = self.losses.get(&kind, 0).map_err(|e| Error::table("losses", e))?;
            for count in counts.iter() {
                total.events += count.events;
                total.bytes += count.bytes;
            }
        }
        skipped.events = self.missed_before_unload + self.missed_runs();
        Ok(totals)
    }

    /// Detaches the programs and waits for those that are running. Those that see connections end go before those that
    /// see bytes: an end is checked against TCP's counters, and bytes that moved meanwhile would pass for lost ones.
    pub(crate) fn unload(&mut self) -> Result<(), Error> {
        self.missed_before_unload += self.missed_runs();
        for name in PROBES {
            let probe = probe(&mut self.ebpf, name)?;
            if probe.fd().is_ok() {
                probe.unload()?;
            }
        }
        for hook in distinct(&self.hooks).rev() {
            match program(&mut self.ebpf, hook.program) {
                Program::BtfTracePoint(program) => program.unload()?,
                Program::FEntry(program) => program.unload()?,
                Program::FExit(program) => program.unload()?,
                Program::KProbe(program) => program.unload()?,
                other => unreachable!("the object defines no {:?}", other.prog_type()),
            }
        }
        const GLOBAL: libc::c_long = 1; // MEMBARRIER_CMD_GLOBAL, include/uapi/linux/membarrier.h
        // SAFETY: integers only. The call returns after an RCU grace period; the programs run inside RCU.
        unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
        Ok(())
    }

    /// Runs that the kernel refused because the same program was running on that CPU, of all programs.
    fn missed_runs(&self) -> u64 {
        distinct(&self.hooks)
            .filter(|hook| hook.alone)
            .filter_map(|hook| descriptor(self.ebpf.program(hook.program)?))
            .map(|program| recursion_misses(program.as_raw_fd()))
            .sum()
    }
}

/// What the running kernel says of its own types, read once: it stays as it is, and is long.
pub(crate) fn kernel_types() -> Result<&'static Btf, Error> {
    static TYPES: OnceLock<Btf> = OnceLock::new();
    if let Some(types) = TYPES.get() {
        return Ok(types);
    }
    let types = Btf::from_sys_fs().map_err(|e| Error::NoBtf(Box::new(e)))?;
    Ok(TYPES.get_or_init(|| types))
}

/// One hook of each program, the first: some programs serve several functions.
fn distinct<'a>(hooks: &'a [&'static Hook]) -> impl DoubleEndedIterator<Item = &'static Hook> + 'a {
    let is_first = |&(at, hook): &(usize, &&Hook)| hooks[..at].iter().all(|before| before.program != hook.program);
    hooks.iter().enumerate().filter(is_first).map(|(_, &hook)| hook)
}

/// What is there already stays.
fn added(result: Result<(), MapError>, table: &'static str) -> Result<(), Error> {
    match result {
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result.map_err(|e| Error::table(table, e)),
    }
}

/// What was not there need not be removed.
fn removed(result: Result<(), MapError>, table: &'static str) -> Result<(), Error> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(e) => Err(Error::table(table, e)),
    }
}

fn take<T: TryFrom<aya::maps::Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error> {
    let map = ebpf.take_map(name).expect("the object defines its maps");
    T::try_from(map).map_err(|e| Error::table(name, e))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Program {
    ebpf.program_mut(name).expect("the object defines its programs")
}

fn probe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, Error> {
    Ok(program(ebpf, name).try_into()?)
}

fn loaded_probe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, Error> {
    let probe = probe(ebpf, name)?;
    if probe.fd().is_err() {
        probe.load()?;
    }
    Ok(probe)
}

fn unix_alive(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, Error> {
    Ok(program(ebpf, "unix_alive").try_into()?)
}

/// The kernel's handle of a program; `None` while it is not loaded.
fn descriptor(program: &Program) -> Option<BorrowedFd<'_>> {
    program.fd().ok().map(ProgramFd::as_fd)
}

/// The optional functions of a source that this kernel does not have.
fn absent_functions(source: Source) -> HashSet<&'static str> {
    let mut absent: HashSet<&str> = source.programs().filter(|hook| hook.optional).map(|hook| hook.target).collect();
    if !absent.is_empty() {
        let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        for name in symbols.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)) {
            absent.remove(name);
        }
    }
    absent
}

/// `bpf_prog_info.recursion_misses`; 0 where the kernel does not say.
fn recursion_misses(program: i32) -> u64 {
    /// `struct bpf_prog_info` up to and with that field, include/uapi/linux/bpf.h.
    #[repr(C)]
    struct Info {
        before: [u64; 26],
        recursion_misses: u64,
    }
    #[repr(C)]
    struct Attributes {
        descriptor: u32,
        length: u32,
        info: u64,
    }
    const GET_INFO: libc::c_long = 15; // BPF_OBJ_GET_INFO_BY_FD
    let mut info = Info { before: [0; 26], recursion_misses: 0 };
    let mut attributes = Attributes {
        descriptor: u32::try_from(program).unwrap_or(u32::MAX),
        length: u32::try_from(size_of::<Info>()).expect("a small structure"),
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel reads `attributes` and writes at most `length` bytes to `info`; both outlive the call. The
    // zeroes in `before` ask for no arrays.
    unsafe { libc::syscall(libc::SYS_bpf, GET_INFO, &raw mut attributes, size_of::<Attributes>()) };
    info.recursion_misses
}

fn check_host(source: Source) -> Result<(), Error> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(Error::Architecture { architecture: std::env::consts::ARCH });
    }
    let release = kernel_release();
    let (first, needed) = source.first_kernel();
    if version(&release).is_some_and(|version| version < first) {
        return Err(Error::OldKernel { release, source, needed, first });
    }
    Ok(())
}

/// The inode of this process's PID namespace, by which the programs count process ids; `None` for the initial one.
fn pid_namespace() -> Result<Option<u32>, Error> {
    let this = std::fs::read_link("/proc/self").unwrap_or_default();
    if this.as_os_str() != std::process::id().to_string().as_str() {
        return Err(Error::PidNamespace);
    }
    let inode = std::fs::metadata("/proc/self/ns/pid").map_err(Error::Processes)?.ino();
    let inode = u32::try_from(inode).expect("the kernel's `ns_common.inum` has 32 bits");
    Ok(Some(inode).filter(|&inode| inode != INITIAL_PID_NAMESPACE))
}

/// As `uname -r` says; empty if the kernel does not.
pub(crate) fn kernel_release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// MAJOR and MINOR of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_compared_by_number() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.4.0-150-generic"), Some((5, 4)));
        assert_eq!(version("7.0-rc1"), Some((7, 0)));
        assert_eq!(version("unknown"), None);
        let (first, _) = Source::Socket.first_kernel();
        assert!(version("6.2.16").unwrap() < first);
        assert!(version("6.10.0").unwrap() > first);
    }

    #[test]
    fn the_shared_state_has_the_programs_size() {
        assert_eq!(size_of::<SocketState>(), 64);
    }
}
