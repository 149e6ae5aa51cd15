//! `regress doctor`: what this host can do, what is missing, and what to do about it.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use regress_ebpf::Source;
use regress_recorder::{Connected, server::SOCKET};

use serde::Serialize;

use crate::output::{Exit, Failure, data};

/// Arguments of `regress doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Say which TLS libraries this process has, and whether what it says through them can be recorded from the kernel
    /// (repeatable)
    #[arg(long = "pid", value_name = "P")]
    pids: Vec<u32>,
    /// The socket of `regress server`: whether it captures for this user. Asked where there is one
    #[arg(long, value_name = "SOCKET", default_value = SOCKET, env = "REGRESS_SERVER")]
    server: PathBuf,
}

/// One thing that was tried on this host.
#[derive(Debug, Serialize)]
struct Check {
    /// Stable name, for scripts.
    name: &'static str,
    /// What it is needed for.
    purpose: &'static str,
    works: bool,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Diagnosis {
    kernel: String,
    architecture: &'static str,
    checks: Vec<Check>,
    /// What `record --via auto` takes: `ebpf`, `server`, `proxy`, or nothing.
    record: Option<&'static str>,
    /// The kernel source that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    /// Whether `replay` works.
    replay: bool,
    /// The processes that were asked about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<ProcessTls>,
}

/// The TLS of one process.
#[derive(Debug, Serialize)]
struct ProcessTls {
    pid: u32,
    libraries: Vec<LibraryUse>,
    /// What to do where not all of it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// A TLS library in a process.
#[derive(Debug, Serialize)]
struct LibraryUse {
    library: &'static str,
    file: String,
    /// Whether the kernel source reads what is said through it.
    readable: bool,
}

const BY_PROXY: &str = "record it through the proxy: `regress record --via proxy -- COMMAND`";
const NO_LIBRARY: &str = "it has none that regress knows, or has not loaded it yet: TLS from anything else is recorded as \
                          encrypted, or by `regress record --via proxy -- COMMAND`";

/// Try everything and tell. Exit code 0 when record and replay both work in some way, else 2.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let processes = args.pids.iter().map(|pid| tls_of(*pid)).collect::<Result<_, _>>()?;
    let diagnosis = diagnose(processes, &args.server);
    if args.json {
        let json = serde_json::to_string_pretty(&diagnosis).map_err(Failure::from_error)?;
        data(json + "\n");
    } else {
        data(render(&diagnosis));
    }
    let usable = diagnosis.record.is_some() && diagnosis.replay;
    Ok(if usable { Exit::Same } else { Exit::CouldNotTell })
}

fn tls_of(pid: u32) -> Result<ProcessTls, Failure> {
    let found = regress_ebpf::tls_of_process(pid).map_err(|error| {
        let hint = error.hint();
        let failure = Failure::from_error(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let libraries: Vec<LibraryUse> = found
        .into_iter()
        .map(|used| LibraryUse {
            library: used.library.name(),
            file: used.file.display().to_string(),
            readable: used.library.is_readable(),
        })
        .collect();
    let hint = match &libraries[..] {
        [] => Some(NO_LIBRARY),
        libraries if libraries.iter().all(|library| library.readable) => None,
        _ => Some(BY_PROXY),
    };
    Ok(ProcessTls { pid, libraries, hint })
}

fn diagnose(processes: Vec<ProcessTls>, server: &Path) -> Diagnosis {
    let probe = regress_ebpf::probe();
    let hint_of = |error: &regress_ebpf::Error| error.hint();
    let mut checks = vec![
        check("btf", "the kernel describes its types, so that one program fits every kernel", &probe.btf, hint_of),
        check("capabilities", "this user may load BPF programs", &probe.capabilities, hint_of),
        check(
            "probes",
            "this user may put probes into programs: TLS is read, owners are known in every runtime",
            &probe.uprobes,
            hint_of,
        ),
    ];
    checks.extend(probe.sources.iter().map(|probed| {
        let (name, purpose) = describe(probed.source);
        check(name, purpose, &probed.result, hint_of)
    }));
    let served = server.exists().then(|| Connected::to(server).map(|server| server.source()));
    if let Some(served) = &served {
        let purpose = "record by way of a server, which has the rights";
        checks.push(check("server", purpose, &served.as_ref().map(drop), |error| error.hint()));
    }
    checks.push(check(
        "sandbox",
        "replay, and record --via proxy: namespaces in which nothing escapes",
        &regress_mockserver::sandbox::probe(),
        regress_mockserver::Error::hint,
    ));
    checks.push(check(
        "confinement",
        "threads that parse what a service said may write cassettes alone, execute nothing and reach no network",
        &regress_recorder::confines(),
        |_| Some("recording works all the same; it takes a kernel with seccomp and Landlock (5.13, and among its `lsm=`)".to_owned()),
    ));
    let works = |name| checks.iter().any(|check: &Check| check.name == name && check.works);
    let replay = works("sandbox");
    let source = probe.sources.iter().find(|probed| probed.result.is_ok()).map(|probed| probed.source.name());
    let (record, source) = match served {
        _ if source.is_some() => (Some("ebpf"), source),
        Some(Ok(source)) => (Some("server"), Some(source.name())),
        _ => (replay.then_some("proxy"), None),
    };
    Diagnosis { kernel: probe.kernel, architecture: std::env::consts::ARCH, checks, record, source, replay, processes }
}

/// The name of a source's check, and what the source is.
fn describe(source: Source) -> (&'static str, &'static str) {
    match source {
        Source::Socket => ("socket-source", "record by eBPF: tracepoints on socket operations, the cheapest"),
        Source::Inet => ("inet-source", "record by eBPF: exits of the kernel's functions for internet sockets"),
        Source::Syscall => ("syscall-source", "record by eBPF: entry and exit of system calls"),
        Source::InetKprobe => ("inet-kprobe-source", "record by eBPF: as inet, by kprobe and kretprobe"),
    }
}

fn check<E: Error>(
    name: &'static str,
    purpose: &'static str,
    result: &Result<(), E>,
    hint: impl Fn(&E) -> Option<String>,
) -> Check {
    let error = result.as_ref().err();
    Check { name, purpose, works: error.is_none(), why: error.map(with_causes), hint: error.and_then(hint) }
}

fn with_causes(error: &impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors repeat their cause.
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text += &format!(": {reason}");
        }
        cause = error.source();
    }
    text
}

fn render(diagnosis: &Diagnosis) -> String {
    let mut text = format!("kernel {}, {}\n\n", diagnosis.kernel, diagnosis.architecture);
    for check in &diagnosis.checks {
        let mark = if check.works { "ok" } else { "NO" };
        text += &format!("{mark:<4}{:<18} {}\n", check.name, check.purpose);
        for (label, detail) in [("why", &check.why), ("hint", &check.hint)] {
            if let Some(detail) = detail {
                text += &format!("    {label}: {detail}\n");
            }
        }
    }
    let record = match diagnosis.record {
        Some("ebpf") => {
            format!(
                "works by eBPF, {} source (--pid, --port, --cgroup and -- COMMAND)",
                diagnosis.source.unwrap_or_default()
            )
        }
        Some("server") => {
            format!(
                "works by the server, {} source (--pid, --port and -- COMMAND, of your own)",
                diagnosis.source.unwrap_or_default()
            )
        }
        Some(_) => "works by proxy only (-- COMMAND; see the hints above for eBPF)".to_owned(),
        None => "does not work here".to_owned(),
    };
    let replay = if diagnosis.replay { "works" } else { "does not work here" };
    text += &format!("\nrecord {record}\nreplay {replay}\n");
    for process in &diagnosis.processes {
        text += &format!("\nTLS of process {}\n", process.pid);
        for LibraryUse { library, file, readable } in &process.libraries {
            let mark = if *readable { "ok" } else { "NO" };
            let what = if *readable { "is read" } else { "stays encrypted" };
            text += &format!("{mark:<4}{library:<14} {what}: {file}\n");
        }
        if let Some(hint) = process.hint {
            text += &format!("    hint: {hint}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_says_why_and_what_to_do() {
        let checks = vec![Check {
            name: "sandbox",
            purpose: "replay",
            works: false,
            why: Some("user namespaces are off".into()),
            hint: Some("sysctl kernel.unprivileged_userns_clone=1".into()),
        }];
        let diagnosis = Diagnosis {
            kernel: "6.18.0".into(),
            architecture: "x86_64",
            checks,
            record: None,
            source: None,
            replay: false,
            processes: Vec::new(),
        };
        assert_eq!(
            render(&diagnosis),
            "kernel 6.18.0, x86_64\n\nNO  sandbox            replay\n    why: user namespaces are off\n    \
             hint: sysctl kernel.unprivileged_userns_clone=1\n\nrecord does not work here\nreplay does not work here\n"
        );
    }

    #[test]
    fn the_tls_of_a_process_is_read_or_not() {
        let library = |library, file: &str, readable| LibraryUse { library, file: file.into(), readable };
        let process = ProcessTls {
            pid: 7,
            libraries: vec![library("OpenSSL", "/lib/libssl.so.3", true), library("Java", "/lib/libjvm.so", false)],
            hint: Some(BY_PROXY),
        };
        let diagnosis = Diagnosis {
            kernel: "6.18.0".into(),
            architecture: "x86_64",
            checks: Vec::new(),
            record: Some("ebpf"),
            source: Some("socket"),
            replay: true,
            processes: vec![process],
        };
        let text = render(&diagnosis);
        let about = text.split_once("replay works\n").unwrap().1;
        assert_eq!(
            about,
            "\nTLS of process 7\nok  OpenSSL        is read: /lib/libssl.so.3\nNO  Java           stays encrypted: \
             /lib/libjvm.so\n    hint: record it through the proxy: `regress record --via proxy -- COMMAND`\n"
        );
    }
}
