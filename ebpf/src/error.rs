//! What can keep a capture from starting or going on.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::{KProbeError, ProgramError};

use crate::source::Source;

/// What can keep a capture from starting or going on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sources read system call registers, which they know for x86-64 only.
    #[error("regress does not know the system calls of {architecture}")]
    Architecture {
        /// This machine's architecture.
        architecture: &'static str,
    },
    /// The kernel lacks what a source is built on.
    #[error("kernel {release} is too old for the {source} source: {needed} came with {}.{}", first.0, first.1)]
    OldKernel {
        /// The running kernel, as `uname -r` says.
        release: String,
        /// The source asked for.
        r#source: Source,
        /// What it needs.
        needed: &'static str,
        /// The first kernel that has it.
        first: (u32, u32),
    },
    /// A socket of the service could not be told from others.
    #[error("cannot identify a socket of the service")]
    Socket(#[source] io::Error),
    /// The kernel does not describe its own types.
    #[error("the kernel has no type information (BTF)")]
    NoBtf(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel refuses BPF to this process.
    #[error("the kernel does not allow this process to {what}")]
    Permission {
        /// What was refused.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel was built without kprobes.
    #[error("the kernel has no kprobes")]
    NoKprobes(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Process ids would mean one thing to `/proc` and another to this process.
    #[error("/proc shows another PID namespace than the one that regress runs in")]
    PidNamespace,
    /// There is no such cgroup.
    #[error("there is no cgroup {}", path.display())]
    NoCgroup {
        /// As it was asked for.
        path: PathBuf,
    },
    /// The cgroup belongs to the first version, which has a hierarchy for each controller.
    #[error("{} is a cgroup of version 1", path.display())]
    CgroupV1 {
        /// As it was asked for.
        path: PathBuf,
    },
    /// The unified hierarchy is mounted nowhere.
    #[error("no cgroup2 file system is mounted here")]
    NoCgroupMount,
    /// A cgroup's files could not be read.
    #[error("cannot look into the cgroup {}", path.display())]
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The processes of this host could not be listed.
    #[error("cannot list the processes in /proc")]
    Processes(#[source] io::Error),
    /// Nobody listens on the port.
    #[error("nobody listens on port {port}")]
    NobodyListens {
        /// The port asked for.
        port: u16,
    },
    /// Processes in different network namespaces listen on the same port, each for itself.
    #[error("several services listen on port {} in network namespaces of their own: {}", listed(ports), holders.join(", "))]
    SeveralListen {
        /// The ports asked for.
        ports: Vec<u16>,
        /// Name and id of each process.
        holders: Vec<String>,
    },
    /// There is no such process.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The process id asked for.
        pid: u32,
    },
    /// The connections or the code of a process could not be listed.
    #[error("cannot look into process {pid}")]
    Inspect {
        /// The process.
        pid: u32,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The buffer size asked for cannot be had.
    #[error("a buffer of {bytes} bytes is not possible: {reason}")]
    Buffer {
        /// The size asked for, in bytes.
        bytes: u32,
        /// Why not.
        reason: &'static str,
    },
    /// The BPF programs could not be loaded.
    #[error("the capture programs could not be loaded")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A table shared with the kernel could not be used.
    #[error("the table `{table}` shared with the kernel could not be used")]
    Table {
        /// The table's name in `bpf/socket.bpf.c`.
        table: &'static str,
        /// The kernel's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The event buffer could not be waited for.
    #[error("cannot wait for captured events")]
    Wait(#[source] io::Error),
    /// The event buffer holds something that the programs never write.
    #[error("a captured record of {length} bytes makes no sense")]
    Record {
        /// The record's length in bytes.
        length: usize,
    },
}

impl Error {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Architecture { .. } => "record through the proxy instead: `--via proxy`",
            Error::OldKernel { .. } | Error::NoKprobes(_) => {
                "let `--via auto` choose a source that this kernel has, or record by `--via proxy`"
            }
            Error::NoBtf(_) => {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (it then has /sys/kernel/btf/vmlinux), or record through \
                 the proxy: `--via proxy`"
            }
            Error::Permission { .. } => {
                "run as root on the host, or give the program CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE (for probes, newer kernels \
                 want CAP_SYS_ADMIN as well); in a container use `--privileged --pid=host`, or `regress server` on the host \
                 (docs/server.md). A kernel in lockdown mode `confidentiality` allows it to nobody. Otherwise \
                 record through the proxy: `--via proxy`"
            }
            Error::PidNamespace => {
                "mount the /proc of this namespace: `mount -t proc proc /proc`, or use the host's namespace with it: \
                 `docker run --pid=host`, `hostPID: true`"
            }
            Error::NoCgroup { .. } => {
                "give its directory below /sys/fs/cgroup, or its path as in /proc/PID/cgroup (the line that begins with \
                 `0::`); `systemd-cgls` shows them all"
            }
            Error::CgroupV1 { .. } | Error::NoCgroupMount => {
                "use a cgroup of version 2 (`mount -t cgroup2 none DIR` shows them), or name the processes with --pid"
            }
            Error::Cgroup { .. } => "run as root",
            Error::NobodyListens { .. } => {
                "start the service first, or let regress start it with `-- COMMAND`; `ss -ltnp` shows who listens where. \
                 A service that systemd starts on demand listens itself from the first request on"
            }
            Error::SeveralListen { .. } => "say which one with --pid or --cgroup; --port then chooses its entries",
            Error::NoProcess { .. } => "check the process id; the service may have restarted",
            Error::Inspect { .. } => {
                "run as root, or give the program CAP_SYS_PTRACE; with kernel.yama.ptrace_scope=3 nobody may look"
            }
            Error::Buffer { .. } => "use a power of two between 64 KiB and 1 GiB",
            Error::Processes(_)
            | Error::Load(_)
            | Error::Table { .. }
            | Error::Socket(_)
            | Error::Wait(_)
            | Error::Record { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }

    pub(crate) fn table(table: &'static str, source: MapError) -> Error {
        if is_refusal(&source) {
            return Error::Permission { what: "use BPF tables", source: Box::new(source) };
        }
        Error::Table { table, source: Box::new(source) }
    }
}

impl From<EbpfError> for Error {
    fn from(source: EbpfError) -> Error {
        if is_refusal(&source) {
            return Error::Permission { what: "use BPF", source: Box::new(source) };
        }
        Error::Load(Box::new(source))
    }
}

impl From<ProgramError> for Error {
    fn from(source: ProgramError) -> Error {
        if is_refusal(&source) {
            return Error::Permission { what: "load BPF tracing programs", source: Box::new(source) };
        }
        if is_without_kprobes(&source) {
            return Error::NoKprobes(Box::new(source));
        }
        Error::Load(Box::new(source))
    }
}

/// Whether the kernel has no such kind of performance event (CONFIG_KPROBE_EVENTS).
fn is_without_kprobes(error: &ProgramError) -> bool {
    matches!(error, ProgramError::KProbeError(KProbeError::FileError { filename, io_error })
        if io_error.kind() == io::ErrorKind::NotFound && filename.ends_with("kprobe/type"))
}

fn listed(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a permission error is anywhere down the chain of causes.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya::sys::SyscallError;

    #[test]
    fn a_refusal_is_found_below_aya() {
        let io_error = io::Error::from_raw_os_error(libc::EPERM);
        let denied = ProgramError::SyscallError(SyscallError { call: "bpf_prog_load", io_error });
        let error = Error::from(EbpfError::ProgramError(denied));
        assert!(matches!(error, Error::Permission { .. }), "{error:?}");
        assert!(error.hint().expect("a hint").contains("CAP_BPF"));
        assert!(matches!(Error::from(ProgramError::NotLoaded), Error::Load(_)));
    }
}
