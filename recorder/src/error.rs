//! What can go wrong while recording.

use std::{io, net::SocketAddr, path::PathBuf};

/// An error of recording.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process to watch does not exist.
    #[error("no process with id {pid}")]
    NoSuchProcess {
        /// Its id.
        pid: u32,
    },
    /// Nothing to record was named.
    #[error("nothing to record: neither a process nor a command was given")]
    NoTarget,
    /// Watching a running process needs the kernel source.
    #[error("a running process can only be recorded from the kernel, and this host does not allow that")]
    NoSource {
        /// What stands in the way.
        why: String,
    },
    /// The proxy starts the service itself.
    #[error("recording by proxy starts the service itself: it needs a command, not a running one")]
    ProxyNeedsCommand,
    /// The kernel source failed.
    #[error("kernel capture failed")]
    Capture(#[source] Box<regress_ebpf::Error>),
    /// The sandbox for proxy recording failed.
    #[error("the sandbox of the recorded service failed")]
    Sandbox(#[source] Box<regress_mockserver::Error>),
    /// The command could not be started.
    #[error("cannot start {}", command.display())]
    Command {
        /// Its program.
        command: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A port of the service is taken on the host.
    #[error("cannot listen on {address} to forward entries to the service")]
    PortInUse {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The output folder cannot take cassettes.
    #[error("cannot write to {}", path.display())]
    Output {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Metrics cannot be served.
    #[error("cannot listen on {address} to tell metrics")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// How loaded the host is cannot be read.
    #[error("cannot read the pressure on processors from {}", path.display())]
    Pressure {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A log of what owners were decided from could not be written or read.
    #[error("cannot write or read the owner log in {}", path.display())]
    OwnerLog {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error("{} has no owner log", path.display())]
    NoOwnerLog {
        /// The folder.
        path: PathBuf,
    },
    /// A cassette could not be written or read.
    #[error("cannot store a cassette")]
    Cassette(#[from] regress_cassettes::Error),
    /// A server cannot listen.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An agent said something that is not of the protocol, or nothing any more.
    #[error("the agent cannot be served")]
    Agent {
        /// What happened.
        source: io::Error,
    },
    /// An agent named a process that it may not have captured.
    #[error("process {pid}, as the server counts, may not be recorded by this agent: {why}")]
    NotYours {
        /// Its id, as the server counts.
        pid: u32,
        /// What stands in the way.
        why: &'static str,
    },
    /// A process is gone, or in a PID namespace that the server does not see.
    #[error("the server does not see the process")]
    Unseen,
    /// The agent's clock is not the server's.
    #[error("the agent is in a time namespace of its own")]
    OtherClock,
    /// More than the server gives.
    #[error("a buffer of {wanted} bytes is more than the server gives: {most}")]
    BufferTooLarge {
        /// The size asked for, in bytes.
        wanted: u32,
        /// The largest.
        most: u32,
    },
    /// There is no server, or none that this user may reach.
    #[error("cannot reach the server at {}", path.display())]
    NoServer {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server ended while it captured, or said what is not of the protocol.
    #[error("the server at {} no longer captures", path.display())]
    ServerGone {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The server said no.
    #[error("the server refuses: {what}")]
    Refused {
        /// Why.
        what: String,
        /// What it says to do about it.
        hint: Option<String>,
    },
    /// More than one message can name.
    #[error("a server records at most 250 processes for one agent")]
    TooManyProcesses,
    /// A server captures processes alone.
    #[error("a server records no cgroups")]
    NoCgroups,
    /// The operating system refused something that always works.
    #[error("cannot {action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::NoSuchProcess { .. } => {
                "name the id of a running process (pgrep finds it), or start the service with `-- COMMAND`".into()
            }
            Error::NoTarget => "give --pid, --cgroup or --port, or the command after `--`".into(),
            Error::NoSource { why } => {
                format!(
                    "{why}; run as root, or have root run `regress server` on this host, or record by proxy: \
                     `regress record --via proxy -- COMMAND`"
                )
            }
            Error::ProxyNeedsCommand => "give the command after `--`".into(),
            Error::Capture(error) => return error.hint(),
            Error::Sandbox(error) => return error.hint(),
            Error::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the program's name and PATH".into()
            }
            Error::Command { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "the file must be executable".into()
            }
            Error::PortInUse { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "stop what listens there; the service itself runs in a sandbox and is reached through this port".into()
            }
            Error::PortInUse { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privilege".into()
            }
            Error::Output { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space or choose another folder with -o".into()
            }
            Error::Output { .. } => "choose a folder that can be written to with -o".into(),
            Error::OwnerLog { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                "it was written by another version of regress, which can read it, or is no owner log; one that is sealed was cut \
                 off or changed, or is for another identity"
                    .into()
            }
            Error::Metrics { .. } => "name another address with --metrics; port 0 is one that is free".into(),
            Error::Pressure { .. } => {
                "name a file like /proc/pressure/cpu, or the cpu.pressure of a cgroup; without `pressure` the host's is read"
                    .into()
            }
            Error::NoOwnerLog { .. } => "record with --owner-log, so that owners can be decided again".into(),
            Error::Cassette(error) => return error.hint(),
            Error::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another server listens there: agents can use it, or name another place with --socket".into()
            }
            Error::Listen { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "what is there is no socket: name another place with --socket".into()
            }
            Error::Listen { .. } => "run as root, or name a place with --socket that can be written to".into(),
            Error::NotYours { .. } => "run regress as the user and in the container of the service, or as root of that container".into(),
            Error::Unseen => "it must run, in the server's PID namespace or in one below it: run the server on the host".into(),
            Error::OtherClock => "run regress in the host's time namespace".into(),
            Error::BufferTooLarge { .. } => "ask for less with --buffer, or start the server with a larger one".into(),
            Error::NoServer { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "the server lets root alone connect unless it is told otherwise: `regress server --group GROUP` or --all-users"
                    .into()
            }
            Error::NoServer { .. } => {
                "start it as root on the host: `regress server`; in a container, mount its folder, or name the socket with --server"
                    .into()
            }
            Error::ServerGone { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                "use the same version of regress on both sides".into()
            }
            Error::ServerGone { .. } => "what was recorded until then is kept; see what the server says of itself".into(),
            Error::Refused { hint, .. } => return hint.clone(),
            Error::TooManyProcesses => "name the parent of them with --pid: its children are recorded with it".into(),
            Error::NoCgroups => "give --pid or --port, or the command after `--`".into(),
            Error::Agent { source } if source.kind() == io::ErrorKind::InvalidData => {
                "use the same version of regress on both sides".into()
            }
            Error::Agent { .. } | Error::Command { .. } | Error::PortInUse { .. } | Error::OwnerLog { .. } | Error::System { .. } => {
                return None;
            }
        })
    }
}
