//! A recording from beginning to end: a source, the pipeline and the store run together.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::Signal;
use regress_cassettes::Via;
use regress_ebpf::{Event, Options, Source};
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
};

use crate::{
    Connected, Error, Progress, Settings, Started, Stop, Summary, Target, ViaChoice,
    agent::Agent,
    clock,
    clues::Clues,
    launch::Gate,
    metrics::{Metrics, Server},
    pipeline::Scope,
    proxy, sink,
    source::{self, BATCHES, Item, Kernel, QUEUE},
    vitals::Vitals,
    watch::Watch,
    work::Work,
};

/// How long a service has to end after it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// Record. `tell` hears what users wait for; the recording ends with `stop` (whose signal is passed on
/// to a service that was started for it), with the service, or when the settings say so.
///
/// # Errors
/// When the recording cannot begin, or cassettes cannot be written. A recording that lost something is no error: see
/// [`Summary::complete`].
pub async fn record(
    settings: Settings,
    tell: impl Fn(Progress<'_>),
    stop: impl Future<Output = Stop>,
) -> Result<Summary, Error> {
    let (way, started) = choose(&settings).await?;
    let store = sink::open(&settings.out, settings.seal.clone(), &settings.keys)?;
    let (items, queue) = mpsc::channel(if started.source.is_some() { BATCHES } else { QUEUE });
    let scope = scope(&settings, started.via)?;
    let beside = match &settings.target {
        Target::Pids(pids) | Target::Listeners(pids) => &pids[..],
        // Members of a cgroup come and go; a command inherits the processors of this process.
        Target::Cgroup(_) | Target::Command { .. } => &[],
    };
    let vitals = Arc::new(Vitals::default());
    let wall = scope.wall;
    let can_pause = !matches!(way, Way::Proxy);
    let start = |limits| Watch::start(limits, can_pause, wall, Arc::clone(&vitals));
    let watch = settings.back_off.as_ref().map(start).transpose()?;
    let metrics = settings.metrics.map(|_| Arc::new(Metrics::new(Arc::clone(&vitals))));
    let server = match settings.metrics.zip(metrics.clone()) {
        Some((address, metrics)) => Some(Server::start(address, metrics).await?),
        None => None,
    };
    server.iter().for_each(|server| tell(Progress::Metrics(server.address)));
    let work = Work::start(store, scope, &settings, beside, Arc::clone(&vitals), metrics, queue)?;
    let full = Arc::clone(&work.full);
    let ends = Ends { stop: pin!(stop), full: &full, duration: settings.duration };
    let on_ready = || tell(Progress::Watching(&started));
    let exit = match way {
        Way::Kernel(source) => {
            let options = Options {
                source: Some(source),
                buffer_bytes: settings.buffer,
                inside_tls: settings.inside_tls,
                ..Options::default()
            };
            let watcher = Watcher::Kernel(Box::new(options));
            from_kernel(&settings, watcher, items, Arc::clone(&vitals), on_ready, ends).await
        }
        Way::Server(server) => {
            from_kernel(&settings, Watcher::Server(server), items, Arc::clone(&vitals), on_ready, ends).await
        }
        Way::Proxy => proxy::run(&settings, items, &started, tell, ends).await,
    };
    // What the store says matters more: it is why a source ends early.
    let mut summary = work.finish().await?;
    summary.backed_off = watch.map(|_| vitals.told().summary.clone());
    summary.exit = exit?;
    summary.via = Some(started.via);
    Ok(summary)
}

/// Record what a source of the caller's own saw: batches of events whose times are of `CLOCK_MONOTONIC`, taken as fast
/// as they can be recorded. The recording ends with the last batch. [`Settings::target`] is not looked at.
///
/// # Errors
/// When cassettes cannot be written.
pub fn record_events(settings: &Settings, batches: impl IntoIterator<Item = Vec<Event>>) -> Result<Summary, Error> {
    let store = sink::open(&settings.out, settings.seal.clone(), &settings.keys)?;
    let (items, queue) = mpsc::channel(BATCHES);
    let scope = scope(settings, Via::Socket)?;
    let work = Work::start(store, scope, settings, &[], Arc::default(), None, queue)?;
    for batch in batches {
        if items.blocking_send(Item::Events(batch)).is_err() {
            // The store has failed, and says why below.
            break;
        }
    }
    drop(items);
    work.finish_blocking()
}

fn scope(settings: &Settings, via: Via) -> Result<Scope, Error> {
    Ok(Scope {
        service: settings.service.clone(),
        by: concat!("regress ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: read_line("/proc/sys/kernel/osrelease"),
        via,
        wall: clock::wall()?,
        started: clock::monotonic()?,
        ports: settings.ports.clone(),
        max_entries: settings.max_entries,
        only_certain: settings.only_certain,
        keep_facts: settings.owner_log,
        select: settings.select.clone(),
        tells_seen: settings.metrics.is_some(),
        clues: Clues::new(settings.id_evidence, &settings.id_headers, settings.value_evidence),
    })
}

/// What ends a recording, apart from its service.
pub(crate) struct Ends<'a, F> {
    stop: Pin<&'a mut F>,
    full: &'a Notify,
    duration: Option<Duration>,
}

impl<F: Future<Output = Stop>> Ends<'_, F> {
    /// Waits for the end; gives the signal to pass on to the service.
    pub(crate) async fn wait(&mut self) -> Signal {
        let time_up = async {
            match self.duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stop = self.stop.as_mut() => match stop {
                Stop::Interrupt => Signal::SIGINT,
                Stop::Terminate => Signal::SIGTERM,
            },
            () = self.full.notified() => Signal::SIGTERM,
            () = time_up => Signal::SIGTERM,
        }
    }
}

/// Through what the service is seen.
enum Way {
    Kernel(Source),
    Server(Connected),
    Proxy,
}

/// Which source, and why that one.
async fn choose(settings: &Settings) -> Result<(Way, Started), Error> {
    let command = matches!(settings.target, Target::Command { .. });
    match settings.via {
        ViaChoice::Source(source) => Ok(by_kernel(source, "asked for")),
        ViaChoice::Ebpf => {
            let source = best_source().await.map_err(|error| Error::Capture(Box::new(error)))?;
            Ok(by_kernel(source, "asked for"))
        }
        ViaChoice::Server => Connected::to(&settings.server).map(by_server),
        ViaChoice::Proxy if command => Ok(by_proxy("asked for".to_owned())),
        ViaChoice::Proxy => Err(Error::ProxyNeedsCommand),
        ViaChoice::Auto => match best_source().await {
            Ok(source) => Ok(by_kernel(source, "the best that this host has")),
            Err(error) => match Connected::to(&settings.server) {
                Ok(server) => Ok(by_server(server)),
                Err(Error::NoServer { source, .. }) if is_absence(&source) => match command {
                    true => Ok(by_proxy(error.to_string())),
                    false => Err(Error::NoSource { why: error.to_string() }),
                },
                // There is one, and that it cannot be used is not passed by in silence.
                Err(refused) if command => Ok(by_proxy(format!("{error}, and {refused}"))),
                Err(refused) => Err(refused),
            },
        },
    }
}

/// Whether nobody listens, and nobody says no.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Loads programs to see, which takes a moment.
async fn best_source() -> Result<Source, regress_ebpf::Error> {
    let probed = spawn_blocking(regress_ebpf::best_source).await;
    probed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn by_kernel(source: Source, why: &str) -> (Way, Started) {
    (Way::Kernel(source), Started { via: via(source), source: Some(source), why: why.to_owned() })
}

fn by_server(server: Connected) -> (Way, Started) {
    let source = server.source();
    let why = format!("captured by the server at {}", server.path().display());
    (Way::Server(server), Started { via: via(source), source: Some(source), why })
}

fn by_proxy(why: String) -> (Way, Started) {
    (Way::Proxy, Started { via: Via::Proxy, source: None, why })
}

fn via(source: Source) -> Via {
    match source {
        Source::Socket => Via::Socket,
        Source::Inet | Source::InetKprobe => Via::Inet,
        Source::Syscall => Via::Syscall,
    }
}

/// Who captures, and has not begun.
enum Watcher {
    Kernel(Box<Options>),
    Server(Connected),
}

/// Who captures.
enum Watching {
    Kernel(Kernel),
    Server(Agent),
}

impl Watcher {
    fn start(
        self,
        settings: &Settings,
        (pids, with_children): (Vec<u32>, bool),
        programs: Vec<PathBuf>,
        items: mpsc::Sender<Item>,
        vitals: Arc<Vitals>,
    ) -> Result<Watching, Error> {
        match self {
            Watcher::Kernel(options) => {
                // Programs are those that a process of ours is about to run.
                let launched = pids.first().copied().filter(|_| !programs.is_empty());
                let options = Options { pids, programs, launched, ..*options };
                Kernel::start(options, with_children, |_| true, items, vitals).map(Watching::Kernel)
            }
            Watcher::Server(server) => {
                let wishes = (settings.inside_tls, settings.buffer);
                server.start(&pids, with_children, &programs, wishes, items, vitals).map(Watching::Server)
            }
        }
    }
}

impl Watching {
    fn finish(self) -> Result<(), Error> {
        match self {
            Watching::Kernel(kernel) => kernel.finish(),
            Watching::Server(agent) => agent.finish(),
        }
    }
}

async fn from_kernel<F: Future<Output = Stop>>(
    settings: &Settings,
    watcher: Watcher,
    items: mpsc::Sender<Item>,
    vitals: Arc<Vitals>,
    on_ready: impl FnOnce(),
    mut ends: Ends<'_, F>,
) -> Result<Option<String>, Error> {
    let exit;
    let watching;
    match &settings.target {
        Target::Pids(pids) | Target::Listeners(pids) => {
            if let Some(&pid) = pids.iter().find(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                return Err(Error::NoSuchProcess { pid });
            }
            if pids.is_empty() {
                return Err(Error::NoTarget);
            }
            let with_children = matches!(settings.target, Target::Pids(_));
            watching = watcher.start(settings, (pids.clone(), with_children), Vec::new(), items, vitals)?;
            on_ready();
            exit = tokio::select! {
                _ = ends.wait() => None,
                () = source::all_gone(pids) => Some("the recorded processes have ended".to_owned()),
            };
        }
        Target::Cgroup(cgroup) => {
            let Watcher::Kernel(options) = watcher else { return Err(Error::NoCgroups) };
            let options = Options { cgroup: Some(cgroup.clone()), ..*options };
            watching = Watching::Kernel(Kernel::start(options, false, |_| true, items, vitals)?);
            on_ready();
            exit = tokio::select! {
                _ = ends.wait() => None,
                () = source::removed(cgroup) => Some("the recorded cgroup was removed".to_owned()),
            };
        }
        Target::Command { command, env, cwd } => {
            let gate = Gate::close(command, env, cwd.as_ref())?;
            let programs = gate.program().into_iter().collect();
            watching = watcher.start(settings, (vec![gate.pid()], false), programs, items, vitals)?;
            let mut service = gate.open().await?;
            on_ready();
            exit = tokio::select! {
                status = service.exited() => status.map(|status| format!("the service ended: {status}")),
                signal = ends.wait() => {
                    service.signal(signal);
                    if tokio::time::timeout(GRACE, service.exited()).await.is_err() {
                        service.signal(Signal::SIGKILL);
                        service.exited().await;
                    }
                    None
                }
            };
        }
    }
    match spawn_blocking(move || watching.finish()).await {
        Ok(result) => result.map(|()| exit),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}
