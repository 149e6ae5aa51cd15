//! The pipeline and the store at work, on threads of their own.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use regress_cassettes::Store;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::spawn_blocking,
};

use crate::{
    Error, Ledger, Summary, confine,
    considerate::{become_batch_work, make_way_for},
    correlate::Patience,
    metrics::Metrics,
    pipeline::{Output, Pipeline, Scope},
    queue::{self, Abandoned, Sender},
    select::LeftOut,
    settings::Settings,
    sink,
    source::Item,
    vitals::Vitals,
};

/// Bytes of cassettes that may wait for the disk before the pipeline waits too.
const OUTPUTS: usize = 32 << 20;

/// Cassettes whose places are known without looking for them: a few megabytes.
const RECENT: usize = 16 << 10;

/// What moves and is not over yet may take a quarter of the machine's memory, within these bounds.
const UNDER_WAY: (u64, u64) = (256 << 20, 16 << 30);

/// The pipeline and the store of one recording.
pub(crate) struct Work {
    /// Told when as many entries as were wanted are finished, and when no more is taken.
    pub(crate) full: Arc<Notify>,
    done: oneshot::Receiver<()>,
    pipeline: JoinHandle<Found>,
    store: JoinHandle<Result<Summary, Error>>,
}

/// What the pipeline alone knows in the end.
struct Found {
    ledger: Ledger,
    unselected: LeftOut,
    opaque: u64,
    unix_not_http: u64,
}

impl Work {
    /// `beside`: processes whose processors are theirs.
    pub(crate) fn start(
        store: Store,
        scope: Scope,
        settings: &Settings,
        beside: &[u32],
        vitals: Arc<Vitals>,
        metrics: Option<Arc<Metrics>>,
        mut items: mpsc::Receiver<Item>,
    ) -> Result<Work, Error> {
        let full = Arc::new(Notify::new());
        let notify = Arc::clone(&full);
        let (tell, done) = oneshot::channel();
        let (outputs, taken) = queue::queue(OUTPUTS);
        let recording = sink::Recording {
            recorded: scope.recorded(scope.started),
            first: scope.first_id(),
            recent: RECENT,
            only_certain: scope.only_certain,
            redactor: Arc::clone(&settings.redactor),
            fsync: settings.fsync,
            log: scope.keep_facts.then_some((scope.wall, scope.started)),
        };
        let patience = Patience { under_way: under_way(memory()), ..Patience::default() };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let failed = |source| Error::System { action: "start a thread", source };
        let considerate = {
            let beside = beside.to_vec();
            move || {
                become_batch_work();
                make_way_for(&beside);
            }
        };
        let considerate_too = considerate.clone();
        let out = settings.out.clone();
        let no_room = settings.no_room.clone().unwrap_or_default();
        let pipeline = thread("pipeline")
            .spawn(move || {
                considerate();
                confine::parser(None);
                let mut pipeline = Pipeline::new(scope, patience);
                // Where the outputs are no longer taken, the store has failed, and says why.
                let _ = pump(&mut pipeline, &mut items, &outputs, &notify, (&vitals, &no_room), metrics.as_deref());
                notify.notify_one();
                Found {
                    ledger: pipeline.ledger().clone(),
                    unselected: *pipeline.left_out(),
                    opaque: pipeline.opaque(),
                    unix_not_http: pipeline.unix_not_http(),
                }
            })
            .map_err(failed)?;
        let store = thread("store")
            .spawn(move || {
                considerate_too();
                confine::parser(Some(&out));
                let summary = sink::run(store, &recording, taken);
                let _ = tell.send(());
                summary
            })
            .map_err(failed)?;
        Ok(Work { full, done, pipeline, store })
    }

    /// Wait until everything is written, once the source has ended.
    pub(crate) async fn finish(mut self) -> Result<Summary, Error> {
        // Told, or dropped by a panic, which joining passes on.
        let _ = (&mut self.done).await;
        match spawn_blocking(move || self.finish_blocking()).await {
            Ok(summary) => summary,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    pub(crate) fn finish_blocking(self) -> Result<Summary, Error> {
        let summary = joined(self.store);
        let found = joined(self.pipeline);
        let mut summary = summary?;
        summary.ledger.append(found.ledger);
        summary.unselected = found.unselected;
        summary.opaque = found.opaque;
        summary.unix_not_http = found.unix_not_http;
        Ok(summary)
    }
}

fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Feed the pipeline until its source ends or its outputs are no longer taken.
fn pump(
    pipeline: &mut Pipeline,
    items: &mut mpsc::Receiver<Item>,
    outputs: &Sender<Output>,
    full: &Notify,
    (vitals, no_room): (&Vitals, &AtomicBool),
    metrics: Option<&Metrics>,
) -> Result<(), Abandoned> {
    let mut last = 0;
    while let Some(item) = items.blocking_recv() {
        pipeline.thin(vitals.thinning());
        pipeline.lacks_room(no_room.load(Ordering::Relaxed));
        match item {
            Item::Event(event) => {
                last = last.max(event.at);
                pipeline.event(event);
            }
            Item::Events(events) => {
                for event in events {
                    last = last.max(event.at);
                    pipeline.event(event);
                    hand_out(pipeline, outputs)?;
                }
            }
            Item::Idle(at) => {
                last = last.max(at);
                pipeline.advance(at);
            }
            Item::Paused(at) => {
                last = last.max(at);
                pipeline.pause(last);
            }
        }
        hand_out(pipeline, outputs)?;
        metrics.iter().for_each(|metrics| tell(pipeline, metrics));
        if pipeline.is_full() {
            full.notify_one();
        }
    }
    pipeline.stop(last);
    metrics.iter().for_each(|metrics| tell(pipeline, metrics));
    hand_out(pipeline, outputs)
}

/// Tell how far the recording is.
fn tell(pipeline: &mut Pipeline, metrics: &Metrics) {
    pipeline.take_seen().iter().for_each(|seen| metrics.saw(seen));
    metrics.publish(pipeline.ledger(), pipeline.left_out(), pipeline.recorded());
}

fn hand_out(pipeline: &mut Pipeline, outputs: &Sender<Output>) -> Result<(), Abandoned> {
    while let Some(output) = pipeline.next() {
        let weight = output.weight();
        outputs.send(output, weight)?;
    }
    Ok(())
}

fn under_way(memory: u64) -> u64 {
    let (least, most) = UNDER_WAY;
    (memory / 4).clamp(least, most)
}

/// The machine's memory in bytes; 0 where the kernel does not say.
fn memory() -> u64 {
    let said: io::Result<String> = std::fs::read_to_string("/proc/meminfo");
    let text = said.unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_by_the_machine() {
        assert_eq!(under_way(0), 256 << 20);
        assert_eq!(under_way(8 << 30), 2 << 30);
        assert_eq!(under_way(1 << 42), 16 << 30);
        assert!(memory() > 1 << 20);
    }
}
