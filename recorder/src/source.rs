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

use regress_ebpf::{Capture, Event, Options, SocketId};
use tokio::sync::mpsc::Sender;

use crate::{Error, clock};

/// One thing that a source hands to the pipeline.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event.
    Event(Event),
    /// The content of this socket, which is about to open, was read from inside TLS.
    InsideTls(SocketId),
    /// Nothing happened until this monotonic time.
    Idle(u64),
}

/// How many items may wait for the pipeline before the source waits too (the kernel's buffer then fills).
pub(crate) const QUEUE: usize = 8192;

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
    /// Attach to processes and begin to hand out what they do.
    /// `programs` are those that the processes are about to run.
    pub(crate) fn start(pids: &[u32], programs: Vec<PathBuf>, items: Sender<Item>) -> Result<Kernel, Error> {
        let options = Options { pids: pids.to_vec(), programs, ..Options::default() };
        let capture = Capture::start(options).map_err(|error| Error::Capture(Box::new(error)))?;
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
        let idle = batch.is_empty().then_some(Item::Idle(now));
        for item in batch.drain(..).map(Item::Event).chain(idle) {
            if items.blocking_send(item).is_err() {
                // The pipeline has ended, and says why itself.
                return Ok(());
            }
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
