//! The kernel sources: which programs each is made of, where they go, and what they need.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of hooks in the kernel through which traffic is seen. All give the same events; they differ in the kernels
/// that have them and in what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// Tracepoints at the end of every socket operation (Linux 6.3): the cheapest, and no path of a byte passes it by.
    Socket,
    /// The exits of the kernel's functions for internet sockets (fexit, Linux 5.17).
    Inet,
    /// Entry and exit of every system call (tracepoints, Linux 5.17).
    Syscall,
    /// As [`Source::Inet`], by kprobe and kretprobe, for kernels without fexit.
    InetKprobe,
}

impl Source {
    /// Best first.
    pub const ALL: [Source; 4] = [Source::Socket, Source::Inet, Source::Syscall, Source::InetKprobe];

    /// The word for it on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::Socket => "socket",
            Source::Inet => "inet",
            Source::Syscall => "syscall",
            Source::InetKprobe => "inet-kprobe",
        }
    }

    /// The first kernel that has what it needs, and what that is.
    pub(crate) fn first_kernel(self) -> ((u32, u32), &'static str) {
        match self {
            Source::Socket => ((6, 3), "the tracepoint sock_send_length"),
            Source::Inet | Source::Syscall | Source::InetKprobe => ((5, 17), "bpf_loop"),
        }
    }

    /// Its compiled programs.
    pub(crate) fn object(self) -> &'static [u8] {
        static SOCKET: &[u8] = aya::include_bytes_aligned!("../bpf/socket.bpf.o");
        static INET: &[u8] = aya::include_bytes_aligned!("../bpf/inet.bpf.o");
        static SYSCALL: &[u8] = aya::include_bytes_aligned!("../bpf/syscall.bpf.o");
        static INET_KPROBE: &[u8] = aya::include_bytes_aligned!("../bpf/inet_kprobe.bpf.o");
        match self {
            Source::Socket => SOCKET,
            Source::Inet => INET,
            Source::Syscall => SYSCALL,
            Source::InetKprobe => INET_KPROBE,
        }
    }

    /// Whether it keeps the states of sockets in a table of its own (`RAW_SOCKETS` in `bpf/sockets.h`), and knows them by
    /// their inode instead of their cookie.
    pub(crate) fn has_raw_sockets(self) -> bool {
        matches!(self, Source::Syscall | Source::InetKprobe)
    }

    /// Its programs in the order in which they are attached.
    pub(crate) fn programs(self) -> impl Iterator<Item = &'static Hook> {
        let own: &[Hook] = match self {
            Source::Socket => &SOCKET_HOOKS,
            Source::Inet => &INET_HOOKS,
            Source::Syscall => &SYSCALL_HOOKS,
            Source::InetKprobe => &INET_KPROBE_HOOKS,
        };
        own.iter().chain(&LIFECYCLE_HOOKS)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(name: &str) -> Result<Source, UnknownSource> {
        Source::ALL.into_iter().find(|source| source.name() == name).ok_or(UnknownSource)
    }
}

/// The word is not the name of a [`Source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such source: choose socket, inet, syscall or inet-kprobe")]
pub struct UnknownSource;

/// A program by its name in the object, and where it goes; how it gets there stands in the object.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) program: &'static str,
    /// The tracepoint or function.
    pub(crate) target: &'static str,
    /// A run that the kernel skips is a loss. The programs that come in pairs stand in for each other, and those that
    /// only confirm what others see are no loss.
    pub(crate) alone: bool,
    /// The target does not exist in every kernel, and where it does not, nothing is missed.
    pub(crate) optional: bool,
}

impl Hook {
    const fn new(program: &'static str, target: &'static str) -> Hook {
        Hook { program, target, alone: true, optional: false }
    }

    const fn on(target: &'static str) -> Hook {
        Hook::new(target, target)
    }

    const fn paired(self) -> Hook {
        Hook { alone: false, ..self }
    }

    const fn if_there(self) -> Hook {
        Hook { optional: true, ..self }
    }
}

const SOCKET_HOOKS: [Hook; 2] = [Hook::on("sock_send_length"), Hook::on("sock_recv_length")];

const INET_HOOKS: [Hook; 12] = [
    Hook::on("inet_sendmsg"),
    Hook::on("inet6_sendmsg"),
    Hook::on("inet_sendpage").if_there(),
    Hook::on("inet_recvmsg"),
    Hook::on("inet6_recvmsg"),
    Hook::on("unix_stream_sendmsg"),
    Hook::on("unix_stream_sendpage").if_there(),
    Hook::on("unix_stream_recvmsg"),
    Hook::on("unix_stream_splice_read"),
    Hook::on("inet_accept").paired(),
    Hook::on("inet_stream_connect").paired(),
    Hook::on("inet_release").paired(),
];

const INET_KPROBE_HOOKS: [Hook; 23] = [
    Hook::new("sent", "inet_sendmsg"),
    Hook::new("call_begins", "inet_sendmsg"),
    Hook::new("sent", "inet6_sendmsg"),
    Hook::new("call_begins", "inet6_sendmsg"),
    Hook::new("sent", "inet_sendpage").if_there(),
    Hook::new("call_begins", "inet_sendpage").if_there(),
    Hook::new("received", "inet_recvmsg"),
    Hook::new("receive_begins", "inet_recvmsg"),
    Hook::new("received", "inet6_recvmsg"),
    Hook::new("receive_begins", "inet6_recvmsg"),
    Hook::new("sent", "unix_stream_sendmsg"),
    Hook::new("call_begins", "unix_stream_sendmsg"),
    Hook::new("sent", "unix_stream_sendpage").if_there(),
    Hook::new("call_begins", "unix_stream_sendpage").if_there(),
    Hook::new("received", "unix_stream_recvmsg"),
    Hook::new("receive_begins", "unix_stream_recvmsg"),
    Hook::new("received", "unix_stream_splice_read"),
    Hook::new("call_begins", "unix_stream_splice_read"),
    Hook::on("inet_accept").paired(),
    Hook::new("accept_begins", "inet_accept").paired(),
    Hook::on("inet_stream_connect").paired(),
    Hook::new("call_begins", "inet_stream_connect").paired(),
    Hook::on("inet_release").paired(),
];

const SYSCALL_HOOKS: [Hook; 2] = [Hook::on("sys_exit"), Hook::on("sys_enter")];

/// Of every source: connections as they begin and end, and processes as they multiply.
const LIFECYCLE_HOOKS: [Hook; 7] = [
    Hook::on("inet_sock_set_state").paired(),
    Hook::new("set_state_nested", "inet_sock_set_state").paired(),
    Hook::on("tcp_destroy_sock").paired(),
    Hook::new("destroy_sock_nested", "tcp_destroy_sock").paired(),
    Hook::on("sched_process_exec"),
    Hook::on("sched_process_fork"),
    Hook::on("sched_process_exit"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for source in Source::ALL {
            assert_eq!(source.name().parse(), Ok(source));
        }
        assert_eq!("ebpf".parse::<Source>(), Err(UnknownSource));
    }
}
