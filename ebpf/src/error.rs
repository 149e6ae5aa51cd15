//! What can keep a capture from starting or going on.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

/// What can keep a capture from starting or going on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket source reads system call registers, which it knows for x86-64 only.
    #[error("the socket source does not know the system calls of {architecture}")]
    Architecture {
        /// This machine's architecture.
        architecture: &'static str,
    },
    /// The kernel has no `sock_send_length` tracepoint; it came with Linux 6.3.
    #[error("kernel {release} is too old for the socket source, which needs 6.3")]
    OldKernel {
        /// The running kernel, as `uname -r` says.
        release: String,
    },
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
    /// Process ids here are not those that the kernel's programs see.
    #[error("regress runs in a PID namespace of its own, where process ids mean something else to the kernel")]
    PidNamespace,
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
            Error::Architecture { .. } | Error::OldKernel { .. } => "record through the proxy instead: `--via proxy`",
            Error::NoBtf(_) => {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (it then has /sys/kernel/btf/vmlinux), or record through \
                 the proxy: `--via proxy`"
            }
            Error::Permission { .. } => {
                "run as root on the host, or give the program CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; in a container use \
                 `--privileged --pid=host`. A kernel in lockdown mode `confidentiality` allows it to nobody. Otherwise \
                 record through the proxy: `--via proxy`"
            }
            Error::PidNamespace => {
                "run regress in the host's PID namespace: `docker run --pid=host`, or `hostPID: true`"
            }
            Error::NoProcess { .. } => "check the process id; the service may have restarted",
            Error::Inspect { .. } => {
                "run as root, or give the program CAP_SYS_PTRACE; with kernel.yama.ptrace_scope=3 nobody may look"
            }
            Error::Buffer { .. } => "use a power of two between 64 KiB and 1 GiB",
            Error::Load(_) | Error::Table { .. } | Error::Wait(_) | Error::Record { .. } => return None,
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
        Error::Load(Box::new(source))
    }
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
