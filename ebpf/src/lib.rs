//! The kernel capture source: BPF programs under `bpf/`, their loader, and the [`Event`] type that every capture
//! source of regress produces.

mod event;

pub use event::{CloseCause, Direction, Event, EventKind, Loss, LossKind, Role, SocketId, Unit};
