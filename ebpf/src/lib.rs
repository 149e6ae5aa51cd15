//! The kernel capture source: BPF programs under `bpf/`, their loader, and the [`Event`] type that every capture
//! source of regress produces.
//!
//! [`Capture`] records the TCP and Unix streams of chosen processes without touching them: no code change, no restart, nothing
//! in the data path. [`probe`] says beforehand whether this host lets it.

mod address;
mod capture;
mod cgroup;
mod claims;
mod code;
mod error;
mod event;
mod fill;
mod holders;
mod joined;
mod listeners;
mod probe;
mod programs;
mod record;
mod source;
mod tls;
mod turns;
mod unix;
#[doc(hidden)]
pub mod untrusted;
mod users;

pub use address::{Address, UnixAddress};
pub use capture::{Capture, Options, default_buffer_bytes};
pub use cgroup::Cgroup;
pub use error::Error;
pub use event::{CloseCause, Direction, Event, EventKind, Loss, LossKind, Role, SocketId, Strand, Unit};
pub use holders::listening_on;
pub use joined::open_process;
pub use probe::{Probe, SourceProbe, best_source, probe, uprobes};
pub use source::{Source, UnknownSource};
pub use tls::{Preamble, TlsLibrary, TlsUse, Turn, tls_of_process};
