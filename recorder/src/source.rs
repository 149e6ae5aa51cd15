//! What capture sources hand to the pipeline, and the kernel source.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use regress_ebpf::{Capture, Cgroup, Event, Options};
use tokio::sync::mpsc::Sender;

use crate::{
    Error, clock,
    followed::{Followed, descendants},
    vitals::Vitals,
};

/// One thing that a source hands to the pipeline.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event.
    Event(Event),
    /// Events in their order, up to the bounds of [`Capture::next_batch`].
    Events(Vec<Event>),
    /// Nothing happened until this monotonic time.
    Idle(u64),
    /// Nothing is captured from this monotonic time on; what comes next is from a new capture.
    Paused(u64),
}

/// How many single events may wait for the pipeline before their source waits too.
pub(crate) const QUEUE: usize = 8192;

/// How many batches may wait for the pipeline before the kernel source waits too; the kernel's buffer then fills, and what
/// it cannot take is counted. About 32 MiB.
pub(crate) const BATCHES: usize = 16;

/// How often the kernel source looks up when nothing happens.
const LOOK_UP: Duration = Duration::from_millis(50);

/// When it is tried anew to capture again.
const AGAIN: Duration = Duration::from_secs(1);

/// The kernel source, on its own thread; dropping it ends the capture.
pub(crate) struct Kernel {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Kernel {
    /// Attach and begin to hand out what happens. `with_children`: also in the children that the processes have.
    /// `may`: whether a process may be captured that comes to be followed during a pause.
    pub(crate) fn start(
        options: Options,
        with_children: bool,
        may: impl Fn(u32) -> bool + Send + 'static,
        items: Sender<Item>,
        vitals: Arc<Vitals>,
    ) -> Result<Kernel, Error> {
        if let Err(error) = regress_ebpf::uprobes() {
            tracing::warn!(
                "{error}: what is said inside TLS stays encrypted, and owners are those of threads: CAP_SYS_ADMIN lifts that"
            );
        }
        let pids = options.pids.clone();
        let followed = Followed::new(&pids, with_children);
        let mut capture = Capture::start(options.clone()).map_err(|error| Error::Capture(Box::new(error)))?;
        if with_children {
            add_children(&mut capture, pids)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let may = Box::new(may);
        let follower = Follower { options, followed, may, items, stop: Arc::clone(&stop), vitals };
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || follower.run(capture))
            .map_err(|source| Error::System { action: "start a thread", source })?;
        Ok(Kernel { stop, thread: Some(thread) })
    }

    /// What ends the capture where it is set, once what is buffered has been handed out.
    pub(crate) fn stopper(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// End the capture once what is buffered has been handed out.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

/// Captures the children that the processes have, and theirs. Those that come later are followed by the capture itself.
fn add_children(capture: &mut Capture, parents: Vec<u32>) -> Result<(), Error> {
    for child in descendants(parents) {
        match capture.add_process(child) {
            Ok(()) | Err(regress_ebpf::Error::NoProcess { .. }) => {}
            Err(error) => return Err(Error::Capture(Box::new(error))),
        }
    }
    Ok(())
}

/// A capture that may be taken away from the service for a while.
struct Follower {
    options: Options,
    followed: Followed,
    may: Box<dyn Fn(u32) -> bool + Send>,
    items: Sender<Item>,
    stop: Arc<AtomicBool>,
    vitals: Arc<Vitals>,
}

impl Follower {
    fn run(mut self, mut capture: Capture) -> Result<(), Error> {
        let failed = |error| Error::Capture(Box::new(error));
        let mut batch = Vec::new();
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let pausing = self.vitals.is_paused();
            let now = clock::monotonic()?;
            if stopping || pausing {
                capture.drain(&mut batch).map_err(failed)?;
            } else {
                capture.next_batch(LOOK_UP, &mut batch).map_err(failed)?;
                self.vitals.set_fill(capture.fill().unwrap_or_default());
            }
            self.followed.see(&batch);
            let item = if batch.is_empty() { Item::Idle(now) } else { Item::Events(std::mem::take(&mut batch)) };
            if self.items.blocking_send(item).is_err() {
                // The pipeline has ended, and says why itself.
                return Ok(());
            }
            if stopping {
                return Ok(());
            }
            if pausing {
                drop(capture);
                match self.pause()? {
                    Some(again) => capture = again,
                    None => return Ok(()),
                }
            }
        }
    }

    /// Captures nothing until that is wanted again; `None` at the end of the recording.
    fn pause(&mut self) -> Result<Option<Capture>, Error> {
        self.vitals.set_fill(0.0);
        if self.items.blocking_send(Item::Paused(clock::monotonic()?)).is_err() {
            return Ok(None);
        }
        self.vitals.set_off(true);
        tracing::warn!("back-off: the capture is off");
        loop {
            while self.vitals.is_paused() {
                if self.stop.load(Ordering::Acquire) {
                    return Ok(None);
                }
                std::thread::sleep(LOOK_UP);
            }
            match self.begin_again() {
                Ok(capture) => {
                    self.vitals.set_off(false);
                    tracing::warn!("back-off: the capture is on again");
                    return Ok(Some(capture));
                }
                // A process that ended at this moment, or what the host lacks just now.
                Err(error) => tracing::warn!("back-off: cannot capture again yet: {error}"),
            }
            if self.stop.load(Ordering::Acquire) {
                return Ok(None);
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn begin_again(&mut self) -> Result<Capture, regress_ebpf::Error> {
        let pids = if self.options.cgroup.is_some() { Vec::new() } else { self.followed.alive() };
        let pids = pids.into_iter().filter(|pid| (self.may)(*pid)).collect();
        Capture::start(Options { pids, ..self.options.clone() })
    }
}

/// Wait until none of these processes is left.
pub(crate) async fn all_gone(pids: &[u32]) {
    let alive = |pid: &u32| PathBuf::from(format!("/proc/{pid}")).exists();
    while pids.iter().any(alive) {
        tokio::time::sleep(LOOK_UP * 4).await;
    }
}

/// Wait until the cgroup is removed.
pub(crate) async fn removed(cgroup: &Cgroup) {
    while !cgroup.is_gone() {
        tokio::time::sleep(LOOK_UP * 4).await;
    }
}
