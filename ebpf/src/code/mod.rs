//! The code that followed processes run: what is in their files, and where to probe it.
//!
//! [`Targets`] finds the files that a process has mapped; [`inspect`] looks into one.

use object::ReadRef;

use crate::tls::{TlsLibrary, openssl};

mod elf;
mod file;
mod functions;
mod golang;
mod goroutines;
mod java;
mod maps;
mod node;
mod php;
mod python;
mod stored;
mod targets;
mod tokio;

pub(crate) use elf::Elf;
pub(crate) use file::{Bounded, Budget, open};
pub(crate) use goroutines::{GoroutineFields, Goroutines};
pub(crate) use maps::{executable, parse as mapped};
pub(crate) use php::Php;
pub(crate) use python::{Python, PythonProgram};
pub(crate) use targets::Targets;
pub(crate) use tokio::{CurrentTask, Tokio};

/// A program of `bpf/tls.h`, `bpf/python_probes.h`, `bpf/told_probe.h` or `bpf/tokio_probes.h` and the place in the file where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbePoint {
    pub(crate) program: &'static str,
    pub(crate) offset: u64,
}

/// The programs that probe points name.
pub(crate) const PROBES: [&str; 24] = [
    "context_copied",
    "context_freed",
    "go_read_returns",
    "go_close",
    "go_read",
    "go_round_trip",
    "go_stream_waits",
    "go_stream_writes",
    "go_write",
    "java_cell_told",
    "job_get_returned",
    "job_put",
    "job_taken",
    "libraries_changed",
    "node_cell_told",
    "ssl_free",
    "ssl_returned",
    "ssl_read",
    "ssl_read_ex",
    "ssl_do_handshake",
    "ssl_write",
    "ssl_write_ex",
    "task_awaited",
    "task_woken",
];

/// What a file has for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) library: Option<TlsLibrary>,
    /// Where it is a Go program.
    pub(crate) goroutines: Option<Goroutines>,
    /// Where it holds the Python interpreter.
    pub(crate) python: Option<Python>,
    /// Where it holds the interpreter of PHP, one for each process.
    pub(crate) php: Option<Php>,
    /// Where it holds the queue of Python's thread pools.
    pub(crate) queue: Vec<ProbePoint>,
    /// Where it is a program with tokio.
    pub(crate) tokio: Option<Tokio>,
    /// Where it is part of a runtime that there is a hook for.
    pub(crate) cell: Option<ProbePoint>,
    /// Where it is the dynamic loader.
    pub(crate) loader: Option<ProbePoint>,
    /// What reads TLS, in the order in which they have to be attached: what sees a call end before what sees it begin,
    /// reads before writes, so that nothing is seen half.
    pub(crate) probes: Vec<ProbePoint>,
}

/// Looks into a file; anything that is no ELF file for x86-64 has nothing.
pub(crate) fn inspect<'data>(data: impl ReadRef<'data>) -> Inspected {
    let Some(elf) = Elf::parse(data) else { return Inspected::default() };
    let mut inspected = Inspected {
        goroutines: goroutines::of_program(&elf),
        php: php::of_file(&elf),
        python: python::of_file(&elf),
        queue: python::queue(&elf),
        tokio: tokio::of_program(&elf),
        cell: node::cell(&elf).or_else(|| java::cell(&elf)),
        ..Inspected::default()
    };
    if let [Some(address)] = elf.functions(["_dl_debug_state"]) {
        inspected.loader = elf.probe("libraries_changed", address);
    }
    let go = golang::crypto_tls(&elf);
    if !go.is_empty() {
        inspected.library = Some(TlsLibrary::Go);
        inspected.probes.extend(go);
    }
    let openssl = openssl(&elf);
    if !openssl.is_empty() {
        inspected.library = Some(TlsLibrary::OpenSsl);
        inspected.probes.extend(openssl);
    }
    inspected
}
