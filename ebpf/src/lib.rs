//! The kernel capture source: BPF programs under `bpf/`, their loader, and the [`Event`] type that every capture
//! source of regress produces.
//!
//! [`Capture`] records the TCP streams of chosen processes without touching them: no code change, no restart, nothing
//! in the data path. [`probe`] says beforehand whether this host lets it.

mod capture;
mod error;
mod event;
mod joined;
mod listeners;
mod probe;
mod programs;
mod record;
mod tls;

pub use capture::{Capture, Options};
pub use error::Error;
pub use event::{CloseCause, Direction, Event, EventKind, Loss, LossKind, Role, SocketId, Unit};
pub use probe::{Probe, probe};
pub use tls::{TlsLibrary, TlsUse, tls_of_process};
