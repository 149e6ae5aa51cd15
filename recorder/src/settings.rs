//! What to record and how.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use regress_cassettes::{
    Via,
    redact::Redactor,
    seal::{Keys, Seal},
};
use regress_ebpf::{Cgroup, Source};

use crate::select::{BackOff, Policy};

/// What to record and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that cassettes are written to; made where it is missing.
    pub out: PathBuf,
    /// The service's name.
    pub service: String,
    /// Ports on which entries arrive; empty: every port that the service accepts connections on.
    pub ports: Vec<u16>,
    /// How long to record at most.
    pub duration: Option<Duration>,
    /// How many entries to record at most; the recording ends when they are finished.
    pub max_entries: Option<u64>,
    /// Which entries are kept.
    pub select: Policy,
    /// Whether less is recorded while the host is loaded.
    pub back_off: Option<BackOff>,
    /// Where metrics are told.
    pub metrics: Option<SocketAddr>,
    /// Whether entries that may lack a call, or have one that is another's, are left out.
    pub only_certain: bool,
    /// Whether a log is written of what owners are decided from, so that [`crate::recorrelate`] can decide them again.
    pub owner_log: bool,
    /// Whether ids in well-known headers of requests tell owners.
    pub id_evidence: bool,
    /// More headers that carry such an id.
    pub id_headers: Vec<String>,
    /// Whether rare values in messages tell owners where nothing else does; what they tell is likely, not certain.
    pub value_evidence: bool,
    /// When what was written survives a power cut.
    pub fsync: Fsync,
    /// While it is set there is no room for more cassettes, and entries are left out; `None` = there always is.
    pub no_room: Option<Arc<AtomicBool>>,
    /// What takes secrets out before anything is written.
    pub redactor: Arc<Redactor>,
    /// How all that is written is sealed; `None` = nothing is.
    pub seal: Option<Seal>,
    /// What opens the sealed ambient cassette of an earlier recording in the same folder, so that it can be added to.
    pub keys: Keys,
    /// Which capture source.
    pub via: ViaChoice,
    /// The socket of the server that captures, where this process may not.
    pub server: PathBuf,
    /// Size of the buffer between the kernel and the recorder in bytes, a power of two from 64 KiB to 1 GiB. By default a
    /// part of the machine's memory.
    pub buffer: Option<u32>,
    /// Whether the kernel's sources read what is said inside TLS; else it is recorded as encrypted.
    pub inside_tls: bool,
    /// Whether the proxy reads the TLS that clients of databases ask for within a connection; else it is recorded as encrypted.
    pub database_tls: bool,
    /// What to record.
    pub target: Target,
    /// The executable that acts as the sandbox helper of proxy recording (it calls
    /// [`regress_mockserver::sandbox::helper_main`] first).
    pub helper: PathBuf,
}

/// When what was written survives a power cut. The end of the recorder, however it ends, loses nothing that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Each cassette at once.
    Always,
    /// Every ten seconds and at the end.
    #[default]
    Regular,
    /// At the end.
    End,
    /// When the system comes to it.
    Never,
}

/// Which capture source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViaChoice {
    /// The kernel where it is allowed, else by way of a server where there is one, else the proxy where there is a command to start.
    #[default]
    Auto,
    /// The kernel, by the best source that this host has.
    Ebpf,
    /// The kernel, by this source.
    Source(Source),
    /// The kernel, by way of a server that has the privileges.
    Server,
    /// Regress in the data path of a command that it starts.
    Proxy,
}

/// What to record.
#[derive(Clone, Debug)]
pub enum Target {
    /// Running processes, with their threads and children.
    Pids(Vec<u32>),
    /// Running processes that were found by what they listen on, with their threads and the children that they will have. Those
    /// that they have already and that listen as well are among them; others may be anything.
    Listeners(Vec<u32>),
    /// Whoever is in this cgroup or in one below it, for as long as it is.
    Cgroup(Cgroup),
    /// A service that is started for the recording and recorded from its first instruction.
    Command {
        /// Program and arguments.
        command: Vec<OsString>,
        /// Variables set on top of the environment of this process.
        env: Vec<(OsString, OsString)>,
        /// Working directory; that of this process if `None`.
        cwd: Option<PathBuf>,
    },
}

/// A recording that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// How it sees the service.
    pub via: Via,
    /// By which hooks, where the kernel shows it.
    pub source: Option<Source>,
    /// Why that one.
    pub why: String,
}

/// What a recording tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// The service is watched.
    Watching(&'a Started),
    /// Metrics are told at this address.
    Metrics(SocketAddr),
    /// The proxy takes entries at this address of the host.
    Accepting(SocketAddr),
}

/// What ended a recording from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}
