//! The kernel sources against real sockets on loopback: the best one that the host has, or the one that
//! `REGRESS_TEST_SOURCE` names; `sources` runs all of this again for every other one. The test process captures itself, so that both ends of each
//! connection are recorded and can be compared with what was really sent.
//!
//! - `transfers`: every system call that moves stream bytes, every size
//! - `batches`: iovec arrays, sendmmsg and recvmmsg
//! - `connections`: who opened, how it ended, which addresses
//! - `cgroups`: members of a cgroup, for as long as they are
//! - `listening`: the processes that listen on a port
//! - `processes`: connections found open, forks, threads, attach and detach
//! - `losses`: what cannot be read, and a buffer that overflows
//! - `names`: DNS answers
//! - `unix`: Unix stream sockets
//! - `refusals`: hosts that do not let us
//! - `sources`: which sources there are
#![allow(clippy::print_stdout, reason = "skipped tests say why")]

mod batches;
mod cgroups;
mod connections;
mod harness;
mod inside_tls;
mod io_uring;
mod listening;
mod losses;
mod names;
mod privileges;
mod processes;
mod refusals;
mod shell;
mod sources;
mod transfers;
mod unix;
