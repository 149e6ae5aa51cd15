//! What happens to entries while others are driven, on threads of their own: the next ones are read, the last one is judged.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc,
};

use regress_cassettes::{Located, Store};
use tokio::{
    sync::mpsc::Receiver,
    task::{JoinHandle, spawn_blocking},
};

use super::{Driven, Played, Run, SeenWhole, Sender, Told, entry_line, is_miss};
use crate::{
    Error,
    judge::{self, Judgement, Observed, Seen},
    kept::Keep,
    latency::Recorded,
    outcome::{Outcome, Verdict},
    plan::Planned,
    rules,
};

/// How many cassettes are read ahead, and how many entries may wait for their verdict.
const AHEAD: usize = 2;

/// A place in the plan, and the cassette there or why it cannot be had.
type Read = (usize, Located, Result<Planned, String>);

/// Read the cassettes of a part of the plan, in order, while those before them are driven.
pub(super) fn read_ahead(store: Store, part: Vec<(usize, Located)>) -> Receiver<Read> {
    let (sender, receiver) = tokio::sync::mpsc::channel(AHEAD);
    spawn_blocking(move || {
        for (number, located) in part {
            let planned = Planned::read(&store, &located);
            // A worker that stopped takes no more.
            if sender.blocking_send((number, located, planned)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Gives a worker's entries their verdicts.
pub(super) enum Judging {
    /// At once, where the first difference ends the replay.
    Here(Judge),
    /// While the next entry is driven.
    Meanwhile(mpsc::SyncSender<Driven>, JoinHandle<()>),
}

/// Judges what was driven, and tells.
pub(super) struct Judge {
    run: Arc<Run>,
    stop: Option<Arc<AtomicBool>>,
    sender: Sender,
}

impl Judging {
    /// Begin, with nothing to judge yet.
    pub(super) fn begin(run: Arc<Run>, stop: Option<Arc<AtomicBool>>, sender: Sender) -> Judging {
        let judge = Judge { run, stop, sender };
        if judge.stop.is_some() {
            return Judging::Here(judge);
        }
        let (driven, waiting) = mpsc::sync_channel(AHEAD);
        Judging::Meanwhile(driven, spawn_blocking(move || waiting.into_iter().for_each(|driven| judge.judge(driven))))
    }

    /// Judge an entry that is over.
    pub(super) fn judge(&self, driven: Driven) {
        match self {
            Judging::Here(judge) => judge.judge(driven),
            // That a judge is gone shows in the end.
            Judging::Meanwhile(waiting, _) => drop(waiting.send(driven)),
        }
    }

    /// Wait for the last verdict.
    pub(super) async fn end(self) -> Result<(), Error> {
        match self {
            Judging::Here(_) => Ok(()),
            Judging::Meanwhile(waiting, judge) => {
                drop(waiting);
                judge.await.map_err(Error::Worker)
            }
        }
    }
}

impl Judge {
    fn judge(&self, driven: Driven) {
        let Judgement { verdict, findings, excused, doubts, calls, sides } = self.run.judgement(&driven);
        if let Some(stop) = self.stop.as_ref().filter(|_| verdict == Verdict::Different) {
            stop.store(true, Ordering::Relaxed);
        }
        let Driven { number, planned, seen, took, journal, bindings, exited, last_output } = driven;
        let response = match seen {
            Seen::Response(response) if exited.is_none() => Some(response),
            _ => None,
        };
        let selected = rules::selected(&self.run.settings.rules, &planned.cassette);
        let missed = journal.iter().any(is_miss);
        let seen = response.map(|response| SeenWhole { response, journal, bindings });
        let is_kept = self.run.settings.keep != Keep::No && seen.is_some();
        let digest = is_kept.then(|| planned.cassette.digest());
        let outcome = Outcome {
            cassette: planned.cassette.id.clone(),
            entry: entry_line(&planned),
            verdict,
            findings,
            excused,
            if_answered: None,
            doubts,
            notes: judge::notes(&planned.cassette),
            calls,
            last_output,
            took: Some(took),
            recorded: Recorded::of(&planned.cassette),
            sides,
            pending: None,
            file: planned.file,
        };
        let played = Played { outcome, selected, missed, is_from_before: false, digest, seen };
        // As in `Worker::send`.
        let _ = self.sender.send(Told::Played(number, Box::new(played)));
    }
}

impl Run {
    /// The verdict on an entry as far as it went.
    pub(super) fn judgement(&self, driven: &Driven) -> Judgement {
        let observed = Observed {
            seen: &driven.seen,
            journal: &driven.journal,
            bindings: &driven.bindings,
            exited: driven.exited.as_deref(),
        };
        judge::judge(&driven.planned.cassette, &observed, &self.settings.rules)
    }
}
