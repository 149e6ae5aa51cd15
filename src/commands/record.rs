//! `regress record`.

mod report;
mod self_check;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum as _;
use regress_cassettes::{redact::Redactor, seal::Keys};
use regress_ebpf::{Cgroup, Source};
use regress_recorder::{Fsync, Progress, Settings, Started, Stop, Summary, Target, ViaChoice, select::BackOff};
use regress_replayer::noise::Checked;
use self_check::SelfCheck;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Config,
    duration::parse_duration,
    hook::{self, Runtime},
    output::{self, Exit, Failure},
    redaction, remote, sealing,
    selection::{self, ForAll, parse_bytes, parse_header},
};

/// Arguments of `regress record`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the cassettes
    #[arg(short, long = "output", value_name = "DIR", default_value = "cassettes", env = "REGRESS_OUTPUT")]
    output: PathBuf,
    /// Record this running process, with its threads and children (repeatable)
    #[arg(long = "pid", value_name = "P", conflicts_with = "command")]
    pids: Vec<u32>,
    /// Record the processes in this cgroup (version 2) and below it: a directory under /sys/fs/cgroup, or a path as in
    /// /proc/PID/cgroup. Whoever enters is recorded from then on, whoever leaves no longer
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pids", "command"])]
    cgroup: Option<PathBuf>,
    /// Record entries that arrive on this port only (repeatable; default: every port the service accepts on). With
    /// neither --pid, --cgroup nor a command: record the processes that listen on it now
    #[arg(long = "port", value_name = "N", env = "REGRESS_PORT", value_delimiter = ',')]
    ports: Vec<u16>,
    /// How to capture: from the kernel, or as a proxy around a command
    #[arg(long, value_enum, default_value_t, env = "REGRESS_VIA")]
    via: ViaArg,
    /// The socket of `regress server`, which captures for those who may not themselves (docs/server.md). --via auto uses it
    /// where this user may not load kernel programs
    #[arg(long, value_name = "SOCKET", default_value = regress_recorder::server::SOCKET, env = "REGRESS_SERVER")]
    server: PathBuf,
    /// Stop after this time, for example 90, 60s, 5m, 1h or 1d
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "REGRESS_DURATION")]
    duration: Option<Duration>,
    /// Stop after this many entries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), env = "REGRESS_MAX_ENTRIES")]
    max_entries: Option<u64>,
    #[command(flatten)]
    select: selection::SelectionArgs,
    /// Record less while the host is loaded, and nothing for a while where that does not help (docs/selection.md)
    #[arg(long, env = "REGRESS_BACK_OFF", conflicts_with = "owner_log")]
    back_off: bool,
    /// Tell metrics to Prometheus at http://ADDR/metrics; a port alone is one of 127.0.0.1 (docs/metrics.md)
    #[arg(long, value_name = "ADDR", value_parser = parse_metrics, env = "REGRESS_METRICS")]
    metrics: Option<SocketAddr>,
    /// Have the service load a small program that says which request is worked for: a command, or Java processes that run.
    /// Without it, owners in Node.js are known only where handlers do no more than one call after the other, and in Java
    /// only where a request keeps to its thread
    #[arg(long, value_enum, value_name = "RUNTIME", env = "REGRESS_HOOK")]
    hook: Option<Runtime>,
    /// Write no cassette for an entry of which it is not certain which calls it caused
    #[arg(long, env = "REGRESS_ONLY_CERTAIN")]
    only_certain: bool,
    /// Keep a log of what owners were decided from, by which `regress cassette recorrelate` decides them again: who did what
    /// when, and nothing that was said
    #[arg(long, env = "REGRESS_OWNER_LOG")]
    owner_log: bool,
    /// A further header that carries an id from an entry to its calls (repeatable), beside traceparent, b3, x-request-id and
    /// other well-known ones
    #[arg(long = "id-header", value_name = "NAME", value_parser = parse_header, env = "REGRESS_ID_HEADER", value_delimiter = ',')]
    id_headers: Vec<String>,
    /// Look at no ids in headers: which entry caused which call is told without them
    #[arg(long, env = "REGRESS_NO_ID_EVIDENCE")]
    no_id_evidence: bool,
    /// Where nothing else tells which entry caused a call, go by values that only one of them received. What that tells is
    /// marked as likely, not certain
    #[arg(long, env = "REGRESS_VALUE_EVIDENCE")]
    value_evidence: bool,
    /// Buffer between the kernel and the recorder: a power of two from 64K to 1G (default: 1/64 of the memory, 16M to 256M)
    #[arg(long, value_name = "SIZE", value_parser = parse_size, env = "REGRESS_BUFFER")]
    buffer: Option<u32>,
    /// Put no probes into TLS libraries: what is said inside TLS is recorded as encrypted, unless by proxy
    #[arg(long, env = "REGRESS_NO_TLS")]
    no_tls: bool,
    /// By proxy, read the TLS that clients of PostgreSQL and MySQL ask for within a connection as well. A client that binds its
    /// password to the server's certificate, or shows one of its own, is refused then (docs/tls.md)
    #[arg(long, env = "REGRESS_DATABASE_TLS")]
    database_tls: bool,
    /// When the recording ends, replay it against the command (with --pid, --port or --cgroup: the one in regress.toml),
    /// and label entries that do not replay as recorded as non-deterministic (docs/noise.md). Exit code 1 when there are any
    #[arg(long, env = "REGRESS_SELF_CHECK")]
    self_check: bool,
    /// When cassettes are made to survive a power cut (default: every ten seconds and at the end). A recorder that is killed
    /// loses none of those that it wrote either way
    #[arg(long, value_enum, value_name = "WHEN", env = "REGRESS_FSYNC")]
    fsync: Option<FsyncArg>,
    #[command(flatten)]
    upload: remote::UploadArgs,
    #[command(flatten)]
    redact: redaction::KeyArgs,
    #[command(flatten)]
    seal: sealing::SealArgs,
    #[command(flatten)]
    identity: sealing::IdentityArgs,
    /// Write secrets as they are: passwords, tokens, keys, cookies and numbers of cards are then in the cassettes
    #[arg(long, env = "REGRESS_NO_REDACT", conflicts_with = "redact_key_file")]
    no_redact: bool,
    /// Write the summary to a file as well, in a format that programs read (repeatable)
    #[arg(long = "summary", value_name = "json=FILE", value_parser = parse_summary)]
    summaries: Vec<PathBuf>,
    /// The service's name in the cassettes (default: the program's file name)
    #[arg(long, value_name = "NAME", env = "REGRESS_SERVICE")]
    service: Option<String>,
    /// Settings file (default: regress.toml in the cassette folder or here)
    #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
    config: Option<PathBuf>,
    /// The command that starts the service, recorded from its first instruction
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum ViaArg {
    /// The kernel where it is allowed, else the server where there is one, else the proxy where there is a command
    #[default]
    Auto,
    /// The kernel, by the best of the following that it has
    Ebpf,
    /// Tracepoints on socket operations (Linux 6.3)
    Socket,
    /// The kernel's functions for internet sockets, by fexit (Linux 5.17)
    Inet,
    /// Entry and exit of system calls (Linux 5.17)
    Syscall,
    /// As inet, by kprobe and kretprobe
    InetKprobe,
    /// The kernel, by way of a server that may: see --server
    Server,
    /// A proxy around the command
    Proxy,
}

/// When what was written is made to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FsyncArg {
    /// Each cassette as it is written
    Always,
    /// Every ten seconds and at the end
    Regular,
    /// At the end
    End,
    /// When the system comes to it
    Never,
}

impl From<FsyncArg> for Fsync {
    fn from(arg: FsyncArg) -> Fsync {
        match arg {
            FsyncArg::Always => Fsync::Always,
            FsyncArg::Regular => Fsync::Regular,
            FsyncArg::End => Fsync::End,
            FsyncArg::Never => Fsync::Never,
        }
    }
}

/// Run it.
pub fn run(mut args: Args) -> Result<Exit, Failure> {
    let config = Config::load(args.config.as_deref(), Some(&args.output))?;
    let summaries = args.summaries.clone();
    let (flag, setting) = (args.hook, hook_setting(&config)?);
    let redactor = match args.no_redact {
        true => Arc::new(Redactor::off()),
        false => config.redact.redactor(&args.redact)?,
    };
    let seal = config.seal.seal(&args.seal)?;
    let keys = args.identity.keys()?;
    let upload = args.upload.begin(&config.record, &args.output)?;
    if let Some(upload) = &upload {
        args.output = upload.spool().folder();
    }
    let no_room = upload.as_ref().map(|upload| upload.spool().is_full());
    let check = || SelfCheck::prepare(&args.output, keys.clone(), &args.command, &config, Arc::clone(&redactor));
    let self_check = args.self_check.then(check).transpose()?;
    let mut settings = Settings { seal, keys, no_room, ..settings(args, config, redactor)? };
    // The setting is about the command, where one is started.
    let can_have = matches!(settings.target, Target::Command { .. }) && settings.via != ViaChoice::Proxy;
    let asked_for = flag.or(setting.filter(|_| can_have));
    let has_hook = asked_for.is_some();
    let _hook = asked_for.map(|runtime| install(runtime, &mut settings)).transpose()?;
    let out = settings.out.clone();
    let what = describe(&settings.target);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(error).hint("raise the limits on threads and open files"))?;
    let recorded = runtime.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt()).map_err(Failure::from_error)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(Failure::from_error)?;
        let stop = async move {
            let stop = tokio::select! {
                _ = interrupts.recv() => Stop::Interrupt,
                _ = terminations.recv() => Stop::Terminate,
            };
            // Draining may wait for the service; whoever asks twice does not want to.
            tokio::spawn(async move {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                output::say("stopped at once: what was not written yet is lost");
                std::process::exit(2);
            });
            stop
        };
        let tell = |progress: Progress<'_>| match progress {
            Progress::Watching(Started { source, why, .. }) => {
                output::say(format_args!("recording {what} by {} ({why}) to {}", how(*source), out.display()));
                if source.is_none() && has_hook {
                    output::say("the proxy does not see what the hook says");
                }
            }
            Progress::Metrics(address) => output::say(format_args!("metrics at http://{address}/metrics")),
            Progress::Accepting(address) => output::say(format_args!("accepting entries on {address}")),
        };
        regress_recorder::record(settings, tell, stop).await.map_err(|error| {
            let hint = error.hint();
            Failure::explained(error, hint)
        })
    });
    // A forwarded connection that hangs must not keep the program.
    runtime.shutdown_background();
    let summary = recorded?;
    output::say(report::table(&summary, &out));
    let checked = self_check.map(|check| check.run()).transpose();
    let told = checked.as_ref().ok().and_then(Option::as_ref);
    for path in summaries {
        report::write_json(&summary, told, &path)?;
    }
    let checked = checked.inspect_err(|_| output::say(format_args!("the recording is kept in {}", out.display())))?;
    if let Some(checked) = &checked {
        output::say(report::checked(checked));
    }
    let is_sent = upload.is_none_or(remote::Upload::finish);
    Ok(if is_sent { exit(&summary, checked.as_ref()) } else { Exit::CouldNotTell })
}

fn exit(summary: &Summary, checked: Option<&Checked>) -> Exit {
    match checked {
        Some(checked) if summary.complete() && !checked.varying.is_empty() => Exit::Different,
        Some(checked) if !checked.unchecked.is_empty() => Exit::CouldNotTell,
        _ if !summary.complete() => Exit::CouldNotTell,
        _ => Exit::Same,
    }
}

/// The hook that the settings name.
fn hook_setting(config: &Config) -> Result<Option<Runtime>, Failure> {
    let runtime = |name: &String| {
        Runtime::from_str(name, false).map_err(|_| {
            Failure::new(format_args!("[record] hook: there is none for {name}"))
                .hint("`regress hook --help` names those that there are")
        })
    };
    config.record.hook.as_ref().map(runtime).transpose()
}

/// The policy that the settings name.
fn fsync_setting(word: &str) -> Result<Fsync, Failure> {
    FsyncArg::from_str(word, false).map(Fsync::from).map_err(|_| {
        Failure::new(format_args!("[record] fsync: there is none called {word}"))
            .hint("always, regular, end or never (docs/durability.md)")
    })
}

/// Has the service load a hook.
fn install(runtime: Runtime, settings: &mut Settings) -> Result<hook::Installed, Failure> {
    if settings.via == ViaChoice::Proxy {
        return Err(Failure::new("a proxy does not see what a hook says")
            .hint("leave --hook out, or record from the kernel: --via ebpf"));
    }
    match &mut settings.target {
        Target::Command { env, .. } => hook::Installed::into(env, runtime),
        Target::Pids(pids) | Target::Listeners(pids) => hook::Installed::load(pids, runtime),
        Target::Cgroup(_) => Err(Failure::new("the processes of a cgroup are not given a hook")
            .hint("start them with what `regress hook` prints, and leave --hook out")),
    }
}

fn settings(args: Args, config: Config, redactor: Arc<Redactor>) -> Result<Settings, Failure> {
    let ports = if args.ports.is_empty() { config.service.ports.clone() } else { args.ports.clone() };
    let target = target(&args, &config, &ports)?;
    let service = args.service.or(config.service.name).unwrap_or_else(|| {
        let name = match &target {
            Target::Command { command, .. } => command.first().map(|program| file_name(Path::new(program))),
            Target::Pids(pids) | Target::Listeners(pids) => pids.first().map(|pid| process_name(*pid)),
            Target::Cgroup(cgroup) => Some(unit_name(cgroup.directory())),
        };
        name.unwrap_or_default()
    });
    let record = &config.record;
    let for_all = ForAll {
        sample: record.sample.as_deref(),
        distinct: record.distinct,
        max_body: record.max_body.as_deref(),
        max_in_flight: record.max_in_flight,
        force_header: record.force_header.as_deref(),
        keep_health_checks: record.keep_health_checks,
    };
    let select = args.select.policy(&for_all, &config.select)?;
    let back_off = match &config.back_off {
        Some(_) if args.owner_log => {
            return Err(Failure::new("an owner log is kept of recordings without pauses only")
                .hint("leave --owner-log out, or [back_off] in regress.toml"));
        }
        Some(settings) => Some(settings.limits()?),
        None => args.back_off.then(BackOff::default),
    };
    let metrics = config.record.metrics.as_deref().map(parse_metrics).transpose().map_err(|what| {
        Failure::new(format_args!("[record] metrics: {what}")).hint("docs/metrics.md says what it is")
    })?;
    let mut id_headers = args.id_headers;
    for name in config.record.id_headers {
        let name = parse_header(&name).map_err(|what| {
            Failure::new(format_args!("[record] id_headers: {what}")).hint("docs/configuration.md says what it is")
        })?;
        id_headers.push(name);
    }
    let buffer = match (args.buffer, config.record.buffer) {
        (Some(buffer), _) => Some(buffer),
        (None, Some(size)) => Some(parse_size(&size).map_err(|what| {
            Failure::new(format_args!("[record] buffer: {what}")).hint("docs/configuration.md says what it is")
        })?),
        (None, None) => None,
    };
    let fsync = match (args.fsync, &config.record.fsync) {
        (Some(fsync), _) => fsync.into(),
        (None, Some(word)) => fsync_setting(word)?,
        (None, None) => Fsync::default(),
    };
    Ok(Settings {
        out: args.output,
        service,
        ports,
        duration: args.duration,
        max_entries: args.max_entries,
        select,
        back_off,
        metrics: args.metrics.or(metrics),
        only_certain: args.only_certain,
        owner_log: args.owner_log,
        id_evidence: !args.no_id_evidence,
        id_headers,
        value_evidence: args.value_evidence,
        fsync,
        no_room: None,
        redactor,
        seal: None,
        keys: Keys::default(),
        via: match args.via {
            ViaArg::Auto => ViaChoice::Auto,
            ViaArg::Ebpf => ViaChoice::Ebpf,
            ViaArg::Socket => ViaChoice::Source(Source::Socket),
            ViaArg::Inet => ViaChoice::Source(Source::Inet),
            ViaArg::Syscall => ViaChoice::Source(Source::Syscall),
            ViaArg::InetKprobe => ViaChoice::Source(Source::InetKprobe),
            ViaArg::Server => ViaChoice::Server,
            ViaArg::Proxy => ViaChoice::Proxy,
        },
        server: args.server,
        buffer,
        inside_tls: config.record.tls && !args.no_tls,
        database_tls: config.record.database_tls || args.database_tls,
        target,
        helper: PathBuf::from("/proc/self/exe"),
    })
}

/// What to record: flags before settings, and who listens on the ports only where nothing else says.
fn target(args: &Args, config: &Config, ports: &[u16]) -> Result<Target, Failure> {
    if !args.pids.is_empty() {
        return Ok(Target::Pids(args.pids.clone()));
    }
    if let Some(path) = &args.cgroup {
        return Cgroup::find(path).map(Target::Cgroup).map_err(refused);
    }
    let command = if args.command.is_empty() {
        config.service.command.iter().map(OsString::from).collect()
    } else {
        args.command.clone()
    };
    if !command.is_empty() {
        let env = config.service.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        return Ok(Target::Command { command, env, cwd: None });
    }
    if ports.is_empty() || args.via == ViaArg::Proxy {
        return Err(Failure::new("nothing to record").hint(match args.via {
            ViaArg::Proxy => "give the command that starts the service after `--`: a proxy cannot join a running one",
            _ => "give --pid, --cgroup or --port, or the command that starts the service after `--`",
        }));
    }
    regress_ebpf::listening_on(ports).map(Target::Listeners).map_err(refused)
}

fn refused(error: regress_ebpf::Error) -> Failure {
    let hint = error.hint();
    Failure::explained(error, hint)
}

/// The last part of a cgroup's path, without the kind that systemd appends.
fn unit_name(cgroup: &Path) -> String {
    let name = file_name(cgroup);
    let bare = [".service", ".scope", ".slice"].iter().find_map(|kind| name.strip_suffix(kind));
    bare.unwrap_or(&name).to_owned()
}

fn file_name(program: &Path) -> String {
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn process_name(pid: u32) -> String {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.map_or_else(|_| format!("process {pid}"), |path| file_name(&path))
}

fn describe(target: &Target) -> String {
    match target {
        Target::Pids(pids) | Target::Listeners(pids) => {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            format!("process {}", pids.join(", "))
        }
        Target::Cgroup(cgroup) => {
            let empty = cgroup.processes().is_ok_and(|processes| processes.is_empty());
            let note = if empty { ", which no process is in yet," } else { "" };
            format!("cgroup {}{note}", cgroup.directory().display())
        }
        Target::Command { command, .. } => {
            command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        }
    }
}

fn how(source: Option<Source>) -> String {
    source.map_or_else(|| "proxy".to_owned(), |source| format!("eBPF, {source} source"))
}

/// A number of bytes that can be the buffer's size.
pub fn parse_size(text: &str) -> Result<u32, String> {
    u32::try_from(parse_bytes(text)?)
        .ok()
        .filter(|bytes| bytes.is_power_of_two() && (64 << 10..=1 << 30).contains(bytes))
        .ok_or_else(|| "the size must be a power of two from 64K to 1G".to_owned())
}

/// An address and a port; the port alone is one of this host.
fn parse_metrics(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .or_else(|_| text.parse())
        .map_err(|_| "metrics are told at a port, or at an address and a port: 9464, 0.0.0.0:9464".to_owned())
}

/// `json=FILE`.
fn parse_summary(text: &str) -> Result<PathBuf, String> {
    match text.split_once('=') {
        Some(("json", path)) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err("a summary is named by its format and its file: json=FILE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("65536"), Ok(65536));
        assert_eq!(parse_size("64k"), Ok(64 << 10));
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        for wrong in ["", "M", "3M", "32K", "2G", "64T", "-1", "1.5M", "99999999999999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn metrics_stay_on_this_host_unless_told_otherwise() {
        let told = |text| parse_metrics(text).map(|address| address.to_string());
        assert_eq!(told("9464").as_deref(), Ok("127.0.0.1:9464"));
        assert_eq!(told(":0").as_deref(), Ok("127.0.0.1:0"));
        assert_eq!(told("0.0.0.0:9464").as_deref(), Ok("0.0.0.0:9464"));
        assert_eq!(told("[::1]:1").as_deref(), Ok("[::1]:1"));
        for wrong in ["", ":", "localhost:9464", "99999", "1.2.3.4"] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn summaries() {
        assert_eq!(parse_summary("json=a=b"), Ok(PathBuf::from("a=b")));
        for wrong in ["json=", "json", "text=x", "x"] {
            assert!(parse_summary(wrong).is_err(), "{wrong}");
        }
    }
}
