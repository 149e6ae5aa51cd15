//! Namespaces in which a service runs and out of which nothing gets.
//!
//! A [`Sandbox`] is a user, network, mount, pid, IPC and UTS namespace made by a helper process (this executable again).
//! Inside, every address is local and netfilter's `TPROXY` hands each connection and datagram to the [`Listeners`], which
//! are used from outside: a socket keeps the network namespace of its birth. No root, no `ip`, no `nft` is needed.
//!
//! - The service keeps its own listeners: what it binds on loopback, or on a named address, is reached there.
//! - The service is who the caller is, in a nested user namespace, without any capability over the sandbox. Started by
//!   root it may still change its user; it may bind ports below 1024 in any case.
//! - Sockets of families that a network namespace does not contain (`AF_VSOCK`) are refused; Unix sockets of the host
//!   are hidden (`/run` is emptied of them, other listening path sockets are covered).
//! - The service dies with this process, however this process ends.

mod control;
mod helper;
mod hint;
mod init;
mod listening;
mod mounts;
mod namespaces;
mod netlink;
mod nftables;
mod output;
mod seccomp;
mod sockets;
mod spec;
mod trust;
mod wire;

pub use control::{Sandbox, probe};
pub use helper::helper_main;
pub(crate) use hint::hint;
pub use sockets::Listeners;
pub use spec::Spec;
pub use wire::Step;

/// Port of our own listeners inside. IANA has assigned it to nothing, it is below every ephemeral range, and the
/// service sees it only when it wants to listen on that very port; connections to it are captured like all others.
pub const CAPTURE_PORT: u16 = 4;

/// Port of DNS.
pub const DNS_PORT: u16 = 53;
