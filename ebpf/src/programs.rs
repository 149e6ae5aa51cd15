//! The BPF programs and their tables: loading, attaching, and what user space reads and writes there.
#![allow(unsafe_code, reason = "bpf(2) for a program's missed runs, membarrier(2), and Pod for the shared structures")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::{HashMap, MapData, MapError, PerCpuArray, RingBuf, SkStorage};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use aya::programs::{BtfTracePoint, UProbe};
use aya::{Btf, Ebpf, EbpfLoader, Pod};

use crate::error::Error;
use crate::event::{LossKind, Role};
use crate::tls::{PROBES, ProbePoint};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/socket.bpf.o");

/// A program by its name in the object, and where it goes.
struct Program {
    name: &'static str,
    tracepoint: &'static str,
    /// A run that the kernel skips is a loss. The programs that come in pairs stand in for each other.
    alone: bool,
}

const PROGRAMS: [Program; 9] = [
    Program { name: "sock_send_length", tracepoint: "sock_send_length", alone: true },
    Program { name: "sock_recv_length", tracepoint: "sock_recv_length", alone: true },
    Program { name: "inet_sock_set_state", tracepoint: "inet_sock_set_state", alone: false },
    Program { name: "set_state_nested", tracepoint: "inet_sock_set_state", alone: false },
    Program { name: "tcp_destroy_sock", tracepoint: "tcp_destroy_sock", alone: false },
    Program { name: "destroy_sock_nested", tracepoint: "tcp_destroy_sock", alone: false },
    Program { name: "sched_process_exec", tracepoint: "sched_process_exec", alone: true },
    Program { name: "sched_process_fork", tracepoint: "sched_process_fork", alone: true },
    Program { name: "sched_process_exit", tracepoint: "sched_process_exit", alone: true },
];

/// The first kernel with `sock_send_length` and `sock_recv_length` (6e6eda44b939).
const FIRST_KERNEL: (u32, u32) = (6, 3);

/// The inode of the PID namespace that the kernel starts with: `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Bytes that must wait before the reader is woken; less waits for its poll.
const WAKE_AT: u64 = 256 << 10;

/// `struct socket_state` in `bpf/regress.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SocketState {
    position: [u64; 2],
    owed: [u64; 2],
    sequence: [u32; 2],
    role: u8,
    cause: u8,
    padding: u16,
    flags: u32,
}

// SAFETY: plain integers without padding.
unsafe impl Pod for SocketState {}

const FOLLOWED_AND_ANNOUNCED: u32 = 1 | 2;

/// `struct loss_count` in `bpf/regress.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LossCount {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

// SAFETY: plain integers without padding.
unsafe impl Pod for LossCount {}

/// The loss kinds by their index in the table.
pub(crate) const LOSS_KINDS: [LossKind; 3] = [LossKind::BufferFull, LossKind::Unreadable, LossKind::TableFull];

/// The loaded programs. Dropping them detaches them; so does the end of this process, however it ends, because nothing
/// is pinned.
pub(crate) struct Programs {
    ebpf: Ebpf,
    btf: Btf,
    followed: HashMap<MapData, u32, u8>,
    sockets: SkStorage<MapData, SocketState>,
    losses: PerCpuArray<MapData, LossCount>,
    missed_before_unload: u64,
}

impl Programs {
    /// Loads the programs with a ring of `buffer_bytes`; they see nothing until [`Programs::attach`].
    pub(crate) fn load(buffer_bytes: u32) -> Result<(Programs, RingBuf<MapData>), Error> {
        check_host()?;
        let btf = Btf::from_sys_fs().map_err(|e| Error::NoBtf(Box::new(e)))?;
        // Payload leaves an eighth of the ring to the records that open, end and name things.
        let payload_limit = u64::from(buffer_bytes) / 8 * 7;
        let wake_at = WAKE_AT.min(u64::from(buffer_bytes) / 4);
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            // Task storage is used by the programs alone; aya has no type for it.
            .allow_unsupported_maps()
            .map_max_entries("events", buffer_bytes)
            .override_global("payload_limit", &payload_limit, true)
            .override_global("wake_at", &wake_at, true)
            .load(OBJECT)?;
        let followed = take(&mut ebpf, "followed")?;
        let sockets = take(&mut ebpf, "sockets")?;
        let losses = take(&mut ebpf, "losses")?;
        let ring = take(&mut ebpf, "events")?;
        Ok((Programs { ebpf, btf, followed, sockets, losses, missed_before_unload: 0 }, ring))
    }

    pub(crate) fn attach(&mut self) -> Result<(), Error> {
        for Program { name, tracepoint, .. } in PROGRAMS {
            loaded(&mut self.ebpf, name)?.load(tracepoint, &self.btf)?;
        }
        for name in PROBES {
            probe(&mut self.ebpf, name)?.load()?;
        }
        for Program { name, .. } in PROGRAMS {
            loaded(&mut self.ebpf, name)?.attach()?;
        }
        Ok(())
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
            probe(&mut self.ebpf, point.program)?.attach(at, &path, UProbeScope::AllProcesses)?;
        }
        Ok(())
    }

    /// Records this process from now on, and its children.
    pub(crate) fn follow(&mut self, pid: u32) -> Result<(), Error> {
        self.followed.insert(pid, 1, 0).map_err(|e| Error::table("followed", e))
    }

    /// Gives the connection its state, so that its end is seen even if it is never used again. Returns whether it had
    /// none; a connection that had one is announced by the programs.
    pub(crate) fn adopt(&mut self, socket: &OwnedFd, role: Role) -> Result<bool, Error> {
        const NO_EXIST: u64 = 1; // BPF_NOEXIST, include/uapi/linux/bpf.h
        let role = match role {
            Role::Server => 1,
            Role::Client => 2,
        };
        let state = SocketState { role, flags: FOLLOWED_AND_ANNOUNCED, ..SocketState::default() };
        match self.sockets.insert(socket, state, NO_EXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(e) => Err(Error::table("sockets", e)),
        }
    }

    /// What was lost since the programs were loaded, in the order of [`LOSS_KINDS`].
    pub(crate) fn losses(&self) -> Result<[LossCount; LOSS_KINDS.len()], Error> {
        let mut totals = [LossCount::default(); LOSS_KINDS.len()];
        for (kind, total) in (0u32..).zip(&mut totals) {
            let counts = self.losses.get(&kind, 0).map_err(|e| Error::table("losses", e))?;
            for count in counts.iter() {
                total.events += count.events;
                total.bytes += count.bytes;
            }
        }
        // A run that the kernel refused is a socket whose event nobody followed up.
        let [.., table_full] = &mut totals;
        table_full.events += self.missed_before_unload + self.missed_runs();
        Ok(totals)
    }

    /// Detaches the programs and waits for those that are running. Those that see connections end go before those that
    /// see bytes: an end is checked against TCP's counters, and bytes that moved meanwhile would pass for lost ones.
    pub(crate) fn unload(&mut self) -> Result<(), Error> {
        self.missed_before_unload += self.missed_runs();
        for name in PROBES {
            probe(&mut self.ebpf, name)?.unload()?;
        }
        for Program { name, .. } in PROGRAMS.iter().rev() {
            loaded(&mut self.ebpf, name)?.unload()?;
        }
        const GLOBAL: libc::c_long = 1; // MEMBARRIER_CMD_GLOBAL, include/uapi/linux/membarrier.h
        // SAFETY: integers only. The call returns after an RCU grace period; the programs run inside RCU.
        unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
        Ok(())
    }

    /// Runs that the kernel refused because the same program was running on that CPU, of all programs.
    fn missed_runs(&self) -> u64 {
        PROGRAMS
            .iter()
            .filter(|program| program.alone)
            .filter_map(|program| <&BtfTracePoint>::try_from(self.ebpf.program(program.name)?).ok())
            .filter_map(|program| program.fd().ok())
            .map(|fd| recursion_misses(fd.as_fd().as_raw_fd()))
            .sum()
    }
}

fn take<T: TryFrom<aya::maps::Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error> {
    let map = ebpf.take_map(name).expect("the object defines its maps");
    T::try_from(map).map_err(|e| Error::table(name, e))
}

fn loaded<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut BtfTracePoint, Error> {
    let program = ebpf.program_mut(name).expect("the object defines its programs");
    Ok(program.try_into()?)
}

fn probe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, Error> {
    let program = ebpf.program_mut(name).expect("the object defines its programs");
    Ok(program.try_into()?)
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

fn check_host() -> Result<(), Error> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(Error::Architecture { architecture: std::env::consts::ARCH });
    }
    let release = kernel_release();
    if version(&release).is_some_and(|version| version < FIRST_KERNEL) {
        return Err(Error::OldKernel { release });
    }
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if namespace.as_os_str() != INITIAL_PID_NAMESPACE {
        return Err(Error::PidNamespace);
    }
    Ok(())
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
        assert!(version("6.2.16").unwrap() < FIRST_KERNEL);
        assert!(version("6.10.0").unwrap() > FIRST_KERNEL);
    }

    #[test]
    fn the_shared_state_has_the_programs_size() {
        assert_eq!(size_of::<SocketState>(), 48);
    }
}
