//! What capture sources hand to the pipeline, and the kernel source.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use regress_ebpf::{Capture, Cgroup, Event, Options, SocketId};
use tokio::sync::mpsc::Sender;

use crate::{Error, clock};

/// One thing that a source hands to the pipeline.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event.
    Event(Event),
    /// Events in their order, up to the bounds of [`Capture::next_batch`].
    Events(Vec<Event>),
    /// The content of this socket, which is about to open, was read from inside TLS.
    InsideTls(SocketId),
    /// Nothing happened until this monotonic time.
    Idle(u64),
}

/// How many single events may wait for the pipeline before their source waits too.
pub(crate) const QUEUE: usize = 8192;

/// How many batches may wait for the pipeline before the kernel source waits too; the kernel's buffer then fills, and what
/// it cannot take is counted. About 32 MiB.
pub(crate) const BATCHES: usize = 16;

/// How often the kernel source looks up when nothing happens.
const LOOK_UP: Duration = Duration::from_millis(50);

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
    pub(crate) fn start(options: Options, with_children: bool, items: Sender<Item>) -> Result<Kernel, Error> {
        let pids = options.pids.clone();
        let mut capture = Capture::start(options).map_err(|error| Error::Capture(Box::new(error)))?;
        if with_children {
            add_children(&mut capture, pids)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || follow(capture, &items, &told))
            .map_err(|source| Error::System { action: "start a thread", source })?;
        Ok(Kernel { stop, thread: Some(thread) })
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
fn add_children(capture: &mut Capture, mut parents: Vec<u32>) -> Result<(), Error> {
    let mut known: HashSet<u32> = parents.iter().copied().collect();
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            if !known.insert(child) {
                continue;
            }
            match capture.add_process(child) {
                Ok(()) => parents.push(child),
                Err(regress_ebpf::Error::NoProcess { .. }) => {}
                Err(error) => return Err(Error::Capture(Box::new(error))),
            }
        }
    }
    Ok(())
}

/// Children of all threads of a process; none where it is gone.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>()).collect()
}

fn follow(mut capture: Capture, items: &Sender<Item>, stop: &AtomicBool) -> Result<(), Error> {
    let failed = |error| Error::Capture(Box::new(error));
    let mut batch = Vec::new();
    loop {
        let stopping = stop.load(Ordering::Acquire);
        let now = clock::monotonic()?;
        if stopping {
            capture.drain(&mut batch).map_err(failed)?;
        } else {
            capture.next_batch(LOOK_UP, &mut batch).map_err(failed)?;
        }
        let item = if batch.is_empty() { Item::Idle(now) } else { Item::Events(std::mem::take(&mut batch)) };
        if items.blocking_send(item).is_err() {
            // The pipeline has ended, and says why itself.
            return Ok(());
        }
        if stopping {
            return Ok(());
        }
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
