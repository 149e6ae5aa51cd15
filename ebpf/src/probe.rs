//! What this host allows.
#![allow(unsafe_code, reason = "perf_event_open has no safe wrapper in our dependencies")]

use std::io;

use aya::maps::{MapData, RingBuf};

use crate::capture::Options;
use crate::error::Error;
use crate::programs::{Programs, kernel_release, kernel_types};
use crate::source::Source;

/// What this host allows, for `doctor` and for choosing a source.
#[derive(Debug)]
pub struct Probe {
    /// The running kernel, as `uname -r` says.
    pub kernel: String,
    /// Whether the kernel describes its own types, which programs are fitted to at load.
    pub btf: Result<(), Error>,
    /// Whether this process has the capabilities that the sources need.
    pub capabilities: Result<(), Error>,
    /// Whether this process may put probes into programs: [`uprobes`].
    pub uprobes: Result<(), Error>,
    /// Every source, best first, and whether it really loads and attaches here.
    pub sources: Vec<SourceProbe>,
}

/// Whether a source works here.
#[derive(Debug)]
pub struct SourceProbe {
    /// Which.
    pub source: Source,
    /// Why not.
    pub result: Result<(), Error>,
}

/// Asks the host: loads and attaches the programs for real, without following any process, and detaches them.
#[must_use]
pub fn probe() -> Probe {
    Probe {
        kernel: kernel_release(),
        btf: kernel_types().map(drop),
        capabilities: capabilities(),
        uprobes: uprobes(),
        sources: Source::ALL.map(|source| SourceProbe { source, result: try_all(source) }).into(),
    }
}

/// Whether this thread may put probes into programs, by which TLS is read and owners are known in runtimes of their own. CAP_PERFMON
/// is not enough for it on newer kernels, which want CAP_SYS_ADMIN (`perf_uprobe_event_init` in kernel/events/core.c).
///
/// # Errors
/// [`Error::Permission`] where it may not.
pub fn uprobes() -> Result<(), Error> {
    let refused = |source: io::Error| Error::Permission { what: "put probes into programs", source: source.into() };
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type").map_err(refused)?;
    let kind: u32 = kind.trim().parse().map_err(|error| refused(io::Error::other(error)))?;
    // `struct perf_event_attr` as of its version 8: its kind and its size, and no path, which is looked at once it is allowed.
    const SIZE: u32 = 136;
    let mut attributes = [0_u32; SIZE as usize / 4];
    attributes[..2].copy_from_slice(&[kind, SIZE]);
    // SAFETY: the kernel reads the attributes, which are as long as they say.
    let opened = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, 0) };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) if opened < 0 => Err(refused(error)),
        _ => Ok(()),
    }
}

/// The best source that works here: it loads and attaches.
///
/// # Errors
/// Why the best of all does not work, when none does.
pub fn best_source() -> Result<Source, Error> {
    let mut first_refusal = None;
    for source in Source::ALL {
        match try_source(source) {
            Ok(_loaded) => return Ok(source),
            Err(error) => first_refusal.get_or_insert(error),
        };
    }
    Err(first_refusal.expect("there are sources"))
}

fn try_source(source: Source) -> Result<(Programs, RingBuf<MapData>), Error> {
    const SMALL_BUFFER: u32 = 64 << 10;
    let (mut programs, ring) =
        Programs::load(source, SMALL_BUFFER, &Options { without_gain: true, ..Options::default() })?;
    programs.attach()?;
    Ok((programs, ring))
}

/// With what is loaded only when there is something to probe.
fn try_all(source: Source) -> Result<(), Error> {
    let (mut programs, _ring) = try_source(source)?;
    programs.load_probes()
}

/// The bits of `CapEff` in `/proc/self/status`: include/uapi/linux/capability.h.
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

fn capabilities() -> Result<(), Error> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_capabilities(effective(&status));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Permission { what: "capture", source: format!("missing {}", missing.join(", ")).into() })
}

fn effective(status: &str) -> u64 {
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    field.and_then(|value| u64::from_str_radix(value.trim(), 16).ok()).unwrap_or(0)
}

fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    // CAP_SYS_ADMIN contained both before Linux 5.8, and still does.
    let wanted = [("CAP_BPF", BPF | SYS_ADMIN), ("CAP_PERFMON", PERFMON | SYS_ADMIN), ("CAP_SYS_PTRACE", SYS_PTRACE)];
    wanted.into_iter().filter(|(_, any_of)| effective & any_of == 0).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001fffeffffff\n"), 0x1ff_feff_ffff);
        assert_eq!(effective("Name:\tx\n"), 0);
    }

    #[test]
    fn admin_stands_for_bpf_and_perfmon() {
        assert_eq!(missing_capabilities(SYS_ADMIN | SYS_PTRACE), Vec::<&str>::new());
        assert_eq!(missing_capabilities(BPF | PERFMON | SYS_PTRACE), Vec::<&str>::new());
        assert_eq!(missing_capabilities(BPF), ["CAP_PERFMON", "CAP_SYS_PTRACE"]);
        assert_eq!(missing_capabilities(0), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]);
    }
}
