//! A recording from beginning to end: a source, the pipeline and the store run together.

use std::{
    future::Future,
    path::Path,
    pin::{Pin, pin},
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use nix::sys::signal::Signal;
use regress_cassettes::{Store, Via};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::spawn_blocking,
};

use crate::{
    Error, Progress, Settings, Started, Stop, Summary, Target, ViaChoice, clock,
    correlate::Patience,
    launch::Gate,
    pipeline::{Losses, Output, Pipeline, Scope},
    proxy, sink,
    source::{self, Item, Kernel, QUEUE},
};

/// How many outputs may wait for the disk before the pipeline waits too.
const OUTPUTS: usize = 1024;
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
    let started = choose(&settings).await?;
    let store = sink::open(&settings.out)?;
    let (items, queue) = mpsc::channel(QUEUE);
    let scope = Scope {
        service: settings.service.clone(),
        by: concat!("regress ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: read_line("/proc/sys/kernel/osrelease"),
        via: started.via,
        wall: clock::wall()?,
        started: clock::monotonic()?,
        ports: settings.ports.clone(),
        max_entries: settings.max_entries,
    };
    let work = Work::start(store, scope, queue)?;
    let full = Arc::clone(&work.full);
    let ends = Ends { stop: pin!(stop), full: &full, duration: settings.duration };
    let exit = match &started.via {
        Via::Socket => from_kernel(&settings, items, || tell(Progress::Watching(&started)), ends).await,
        Via::Proxy => proxy::run(&settings, items, &started, tell, ends).await,
    };
    // What the store says matters more: it is why a source ends early.
    let mut summary = work.finish().await?;
    summary.exit = exit?;
    summary.via = Some(started.via);
    Ok(summary)
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

/// Which source, and why that one.
async fn choose(settings: &Settings) -> Result<Started, Error> {
    let command = matches!(settings.target, Target::Command { .. });
    let asked = |via| Ok(Started { via, why: "asked for".to_owned() });
    match settings.via {
        ViaChoice::Ebpf => asked(Via::Socket),
        ViaChoice::Proxy if command => asked(Via::Proxy),
        ViaChoice::Proxy => Err(Error::ProxyNeedsCommand),
        ViaChoice::Auto => {
            let probed = spawn_blocking(|| regress_ebpf::probe().socket_source).await;
            match probed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                Ok(()) => Ok(Started { via: Via::Socket, why: "this host allows eBPF".to_owned() }),
                Err(error) if command => Ok(Started { via: Via::Proxy, why: error.to_string() }),
                Err(error) => Err(Error::NoSource { why: error.to_string() }),
            }
        }
    }
}

async fn from_kernel<F: Future<Output = Stop>>(
    settings: &Settings,
    items: mpsc::Sender<Item>,
    on_ready: impl FnOnce(),
    mut ends: Ends<'_, F>,
) -> Result<Option<String>, Error> {
    let exit;
    let kernel;
    match &settings.target {
        Target::Pids(pids) => {
            if let Some(&pid) = pids.iter().find(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                return Err(Error::NoSuchProcess { pid });
            }
            if pids.is_empty() {
                return Err(Error::NoTarget);
            }
            kernel = Kernel::start(pids, Vec::new(), items)?;
            on_ready();
            exit = tokio::select! {
                _ = ends.wait() => None,
                () = source::all_gone(pids) => Some("the recorded processes have ended".to_owned()),
            };
        }
        Target::Command { command, env, cwd } => {
            let gate = Gate::close(command, env, cwd.as_ref())?;
            kernel = Kernel::start(&[gate.pid()], gate.program().into_iter().collect(), items)?;
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
    match spawn_blocking(move || kernel.finish()).await {
        Ok(result) => result.map(|()| exit),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// The pipeline and the store, each on its own thread.
struct Work {
    full: Arc<Notify>,
    done: oneshot::Receiver<Result<Summary, Error>>,
}

impl Work {
    fn start(store: Store, scope: Scope, mut queue: mpsc::Receiver<Item>) -> Result<Work, Error> {
        let full = Arc::new(Notify::new());
        let notify = Arc::clone(&full);
        let (tell, done) = oneshot::channel();
        let (outputs, taken) = std::sync::mpsc::sync_channel(OUTPUTS);
        let recorded = scope.recorded(scope.started);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let failed = |source| Error::System { action: "start a thread", source };
        let pipeline = thread("pipeline")
            .spawn(move || {
                let losses = pump(Pipeline::new(scope, Patience::default()), &mut queue, &outputs, &notify);
                // Wakes the recording also when the store has failed.
                notify.notify_one();
                losses
            })
            .map_err(failed)?;
        thread("store")
            .spawn(move || {
                let summary = sink::run(&store, recorded, taken);
                let losses = pipeline.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let _ = tell.send(summary.map(|summary| Summary {
                    lost_events: losses.events,
                    lost_bytes: losses.bytes,
                    gaps: losses.gaps,
                    opaque: losses.opaque,
                    ..summary
                }));
            })
            .map_err(failed)?;
        Ok(Work { full, done })
    }

    async fn finish(self) -> Result<Summary, Error> {
        let failed =
            |_| Error::System { action: "finish the recording", source: std::io::ErrorKind::BrokenPipe.into() };
        self.done.await.map_err(failed)?
    }
}

/// Feed the pipeline until its source ends or its outputs are no longer taken.
fn pump(
    mut pipeline: Pipeline,
    queue: &mut mpsc::Receiver<Item>,
    outputs: &SyncSender<Output>,
    full: &Notify,
) -> Losses {
    let mut last = 0;
    while let Some(item) = queue.blocking_recv() {
        match item {
            Item::Event(event) => {
                last = last.max(event.at);
                pipeline.event(event);
            }
            Item::InsideTls(socket) => pipeline.inside_tls(socket),
            Item::Idle(at) => {
                last = last.max(at);
                pipeline.advance(at);
            }
        }
        if !hand_out(&mut pipeline, outputs) {
            return pipeline.losses();
        }
        if pipeline.is_full() {
            full.notify_one();
        }
    }
    pipeline.stop(last);
    hand_out(&mut pipeline, outputs);
    pipeline.losses()
}

fn hand_out(pipeline: &mut Pipeline, outputs: &SyncSender<Output>) -> bool {
    while let Some(output) = pipeline.next() {
        if outputs.send(output).is_err() {
            return false;
        }
    }
    true
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}
