//! What the pipeline hands out goes to the store.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::ScopedJoinHandle,
    time::Duration,
};

use regress_cassettes::{
    Ambient, Cassette, CassetteId, Defect, Exchange, Recorded, Store, Unended,
    redact::{Redactor, Replaced},
    seal::{Keys, Seal},
};

use crate::{
    Error, Lack, Summary, assemble,
    correlate::EntrySet,
    owner_log::{self, LogLine, Writer},
    pipeline::Output,
    queue::{self, Receiver, Sender},
    settings::Fsync,
    wall::Wall,
};

/// Bytes of cassettes that may wait for a writer before the sink waits too.
const WRITING: usize = 16 << 20;
/// Threads that encode, prove and write cassettes.
const MOST_WRITERS: usize = 4;
/// How often what was written is made to survive a power cut.
const SYNC: Duration = Duration::from_secs(10);
/// The ambient cassette is published anew when it has grown by half, and by this many bytes.
const AMBIENT_STEP: u64 = 64 << 10;

/// What the sink has to know of a recording.
pub(crate) struct Recording {
    /// How the recording as a whole describes itself.
    pub recorded: Recorded,
    /// Comes before the ids of its cassettes, and behind those of earlier recordings.
    pub first: CassetteId,
    /// How many cassettes' places are known without looking for them.
    pub recent: usize,
    /// Entries of uncertain owners are left out.
    pub only_certain: bool,
    /// What takes secrets out.
    pub redactor: Arc<Redactor>,
    /// When what was written is made to survive a power cut.
    pub fsync: Fsync,
    /// Where a log of what owners were decided from is to be written: the clock, and when the recording began.
    pub log: Option<(Wall, u64)>,
}

/// Makes the folder, proves that it takes files, sealed so, and that what is there can be added to, and removes what recorders that were
/// killed have left there.
pub(crate) fn open(out: &Path, seal: Option<Seal>, keys: &Keys) -> Result<Store, Error> {
    let refused = |source| Error::Output { path: out.to_path_buf(), source };
    let store = Store::create(out).map_err(|error| match error {
        regress_cassettes::Error::Io { source, .. } => refused(source),
        error => Error::Cassette(error),
    })?;
    let store = store.with_keys(keys.clone()).recording(seal)?;
    let mut probe = tempfile::Builder::new().prefix(".regress-").tempfile_in(out).map_err(refused)?;
    // A full disk still makes empty files.
    probe.write_all(&[0; 4096]).and_then(|()| probe.as_file().sync_all()).map_err(refused)?;
    drop(probe);
    store.remove_leftovers();
    store.ambient()?;
    Ok(store)
}

/// Writes outputs until there are no more, and counts them. Until it returns, a mark says that the recording has not ended;
/// it stays where this fails.
pub(crate) fn run(store: Store, recording: &Recording, outputs: Receiver<Output>) -> Result<Summary, Error> {
    let store = &match recording.fsync {
        Fsync::Always => store.sync_each(),
        Fsync::Regular | Fsync::End | Fsync::Never => store.sync_later(),
    };
    let written = Mutex::new(Written::default());
    let (mut summary, mark) = std::thread::scope(|threads| {
        let (cassettes, work) = queue::queue(WRITING);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let writers: Vec<_> = (0..cores.clamp(1, MOST_WRITERS))
            .map(|_| {
                let work = work.clone();
                let written = &written;
                threads.spawn(move || write(store, recording, &work, written))
            })
            .collect();
        drop(work);
        let (stop, stopped) = mpsc::channel();
        let syncer = (recording.fsync == Fsync::Regular).then(|| threads.spawn(move || sync(store, &stopped)));
        let mut sink = Sink {
            store,
            recording,
            summary: Summary::default(),
            cassettes,
            written: &written,
            redacted: Replaced::default(),
            ambient: None,
            log: None,
            newest: None,
            published: 0,
        };
        let taken = sink.take(&outputs);
        let Sink { mut summary, cassettes, redacted, .. } = sink;
        summary.redacted = (!recording.redactor.is_off()).then_some(redacted);
        drop((cassettes, stop));
        // Nobody takes outputs any more where this ended early.
        drop(outputs);
        // What the writers say matters more: it is why the sink ends early.
        writers.into_iter().try_for_each(joined)?;
        syncer.map_or(Ok(()), joined)?;
        taken.map(|mark| (summary, mark))
    })?;
    match recording.fsync {
        Fsync::Never => store.check_in_place()?,
        Fsync::Always | Fsync::Regular | Fsync::End => store.sync()?,
    }
    mark.map_or(Ok(()), Unended::end)?;
    if let Some(redacted) = &mut summary.redacted {
        redacted.add(&written.into_inner().unwrap_or_else(PoisonError::into_inner).redacted);
    }
    Ok(summary)
}

fn joined(thread: ScopedJoinHandle<'_, Result<(), Error>>) -> Result<(), Error> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What the writers wrote.
#[derive(Default)]
struct Written {
    /// Where the cassettes of the last entries are, by the number of the entry.
    recent: BTreeMap<u64, PathBuf>,
    /// There are cassettes that are not among the recent ones.
    forgotten: bool,
    redacted: Replaced,
}

/// Writes cassettes without their secrets, beside other writers.
fn write(
    store: &Store,
    recording: &Recording,
    work: &Receiver<Box<Cassette>>,
    written: &Mutex<Written>,
) -> Result<(), Error> {
    while let Some(cassette) = work.next() {
        let redacted = recording.redactor.cassette(*cassette.item);
        match store.write(&redacted) {
            Ok(path) => {
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                written.redacted.add(redacted.replaced());
                let Some(number) = redacted.id.number() else { continue };
                written.recent.insert(number, path);
                if written.recent.len() > recording.recent {
                    written.recent.pop_first();
                    written.forgotten = true;
                }
            }
            Err(error) => {
                work.abandon();
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Synchronises the store now and then.
fn sync(store: &Store, stopped: &mpsc::Receiver<()>) -> Result<(), Error> {
    while stopped.recv_timeout(SYNC) == Err(mpsc::RecvTimeoutError::Timeout) {
        store.sync()?;
    }
    Ok(())
}

struct Sink<'a> {
    store: &'a Store,
    recording: &'a Recording,
    summary: Summary,
    /// To the writers.
    cassettes: Sender<Box<Cassette>>,
    written: &'a Mutex<Written>,
    /// What was redacted in exchanges that no entry caused.
    redacted: Replaced,
    ambient: Option<Ambient<'a>>,
    log: Option<Writer>,
    /// The last id of this recording.
    newest: Option<CassetteId>,
    /// How many bytes the ambient cassette had when it was published last.
    published: u64,
}

impl<'a> Sink<'a> {
    /// Gives the mark of the recording, where anything was written.
    fn take(&mut self, outputs: &Receiver<Output>) -> Result<Option<Unended>, Error> {
        let mut mark = None;
        while let Some(output) = outputs.next() {
            if mark.is_none() {
                mark = Some(Unended::mark(self.store, &self.recording.first)?);
            }
            let weight = output.item.weight();
            match output.item {
                Output::Cassette(cassette) if self.recording.only_certain && assemble::is_uncertain(&cassette) => {
                    self.summary.left_out += 1;
                }
                Output::Cassette(cassette) => {
                    self.summary.count_entry(&cassette);
                    self.newest = self.newest.take().max(Some(cassette.id.clone()));
                    if self.cassettes.send(cassette, weight).is_err() {
                        // A writer has failed, and says why.
                        return Ok(mark);
                    }
                }
                Output::Ambient(exchange) if self.recording.only_certain && exchange.defects.contains(&UNCERTAIN) => {
                    self.summary.count_ambient(&exchange);
                }
                Output::Ambient(exchange) => self.exchange(*exchange)?,
                Output::Doubt(entries) => self.doubt(&entries)?,
                Output::Lost(defect) => self.ambient()?.lacks(defect),
                Output::Log(line) => self.log(&line)?,
            }
        }
        if let Some(log) = self.log.take() {
            log.finish()?;
        }
        if let Some(ambient) = &mut self.ambient {
            ambient.publish()?;
        }
        Ok(mark)
    }

    fn log(&mut self, line: &LogLine) -> Result<(), Error> {
        if self.log.is_none()
            && let Some((wall, started)) = self.recording.log
        {
            let before = self.ambient()?.connections_before();
            let path = owner_log::path(self.store.root(), &self.recording.first);
            let seal = self.store.seal()?;
            let session = seal.as_ref().map(|seal| &seal.session);
            self.log = Some(Writer::create(&path, session, wall, started, before)?);
        }
        self.log.as_mut().map_or(Ok(()), |log| log.line(line))
    }

    fn ambient(&mut self) -> Result<&mut Ambient<'a>, Error> {
        if self.ambient.is_none() {
            self.ambient = Some(Ambient::open(self.store, &self.recording.recorded)?);
        }
        Ok(self.ambient.as_mut().expect("it was opened just now"))
    }

    fn exchange(&mut self, exchange: Exchange) -> Result<(), Error> {
        self.summary.count_ambient(&exchange);
        let weight = assemble::weight(&exchange);
        let exchange = self.recording.redactor.exchange(exchange);
        self.redacted.add(exchange.replaced());
        let published = self.published;
        let ambient = self.ambient()?;
        if !ambient.push(exchange)? {
            ambient.lacks(Defect::LostEvents { events: 1, bytes: weight });
            self.summary.ledger.add(Lack::AmbientFull, 1, weight);
        } else if ambient.bytes() > published + published / 2 + AMBIENT_STEP {
            ambient.publish()?;
            self.published = ambient.bytes();
        }
        Ok(())
    }

    fn doubt(&mut self, entries: &EntrySet) -> Result<(), Error> {
        if self.cassettes.settle().is_err() {
            return Ok(());
        }
        let (oldest, recent, forgotten) = {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let doubted = written.recent.iter().filter(|(number, _)| entries.contains(**number));
            let recent: Vec<PathBuf> = doubted.map(|(_, path)| path.clone()).collect();
            (written.recent.keys().next().copied().unwrap_or(0), recent, written.forgotten)
        };
        recent.iter().try_for_each(|path| self.correct(path))?;
        if !forgotten || entries.first().is_none_or(|first| first >= oldest) {
            return Ok(());
        }
        for located in self.store.walk() {
            let located = located?;
            let doubted = |number: u64| number < oldest && entries.contains(number);
            // Not of a recording before this one, nor of one that is dated later because the clock was set back.
            let is_ours = located.id > self.recording.first && Some(&located.id) <= self.newest.as_ref();
            if is_ours && located.id.number().is_some_and(doubted) {
                self.correct(&located.path)?;
            }
        }
        Ok(())
    }

    /// Say of a cassette that what was ruled in it is not certain.
    fn correct(&mut self, path: &Path) -> Result<(), Error> {
        if self.recording.only_certain && !path.exists() {
            // It is one of those that were left out.
            return Ok(());
        }
        let before = self.store.read_at(path)?;
        let mut after = before.clone();
        assemble::doubt(&mut after);
        if self.recording.only_certain {
            let refused = |source| Error::Output { path: path.to_path_buf(), source };
            std::fs::remove_file(path).map_err(refused)?;
            self.summary.leave_out(&before, &after);
            return Ok(());
        }
        if after != before {
            self.store.write(&Redactor::from_files(after.clone()))?;
            self.summary.count_doubt(&before, &after);
        }
        Ok(())
    }
}

const UNCERTAIN: Defect = Defect::AmbiguousOwner;

#[cfg(test)]
mod tests {
    use regress_cassettes::{Address, Cause, Confidence, Connection, Content, Ended, HttpExchange, Rule, Via};
    use regress_protocols::http1::Message;

    use super::*;
    use crate::correlate::EntryKey;

    fn exchange(downstream: Option<&str>) -> Exchange {
        let peer: Address = "127.0.0.1:9001".parse().unwrap();
        let request = Message::request("GET", "/stock", &[("Host", "stock")], "");
        let response = Some(Message::response(200, "OK", &[], "ok"));
        Exchange {
            downstream: downstream.map(str::to_owned),
            connection: Connection { id: 1, local: Some(peer.clone()), peer, tls: false },
            at: 0,
            took: Some(5),
            content: Content::Http1(HttpExchange {
                request,
                interim: vec![],
                response,
                streamed: vec![],
                upgraded: vec![],
                reset: None,
                interleaved: Vec::new(),
                left: false,
            }),
            ended: Ended::Ok,
            cause: None,
            defects: vec![],
        }
    }

    /// An entry with one call, that is doubted after `later` others of the same recording have come.
    fn record_and_doubt(later: u64, only_certain: bool) -> (tempfile::TempDir, Store, Summary) {
        record_and_doubt_beside(None, later, only_certain)
    }

    /// The same, beside a cassette of another recording.
    fn record_and_doubt_beside(
        other: Option<&str>,
        later: u64,
        only_certain: bool,
    ) -> (tempfile::TempDir, Store, Summary) {
        let recorded = Recorded {
            at: "2026-11-22T10:15:02.000000Z".into(),
            service: "shop".into(),
            by: "regress test".into(),
            via: Via::Socket,
            kernel: "6.18.0".into(),
        };
        let cause = Cause { rule: Rule::Alone, confidence: Confidence::Certain, after_response: false };
        let first = CassetteId("20261122T101502.000000Z-0000".into());
        let recording = Recording {
            recorded: recorded.clone(),
            first,
            recent: 10,
            only_certain,
            redactor: Arc::new(Redactor::off()),
            fsync: Fsync::default(),
            log: None,
        };
        let id = CassetteId("20261122T101502.000000Z-0001".into());
        let cassette = Cassette {
            id,
            recorded,
            nondeterministic: Vec::new(),
            redacted: Default::default(),
            entry: Some(exchange(None)),
            downstream: vec![Exchange { cause: Some(cause), ..exchange(Some("stock")) }],
            defects: vec![],
        };
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("new/tapes"), None, &Keys::default()).unwrap();
        if let Some(other) = other {
            let other = Cassette { id: CassetteId(other.into()), ..cassette.clone() };
            store.write(&Redactor::from_files(other)).unwrap();
        }
        let (outputs, taken) = queue::queue(1 << 30);
        let send = |output| outputs.send(output, 1).unwrap();
        send(Output::Cassette(Box::new(cassette.clone())));
        for number in 2..2 + later {
            let id = CassetteId(format!("20261122T101502.000000Z-{number:04}"));
            send(Output::Cassette(Box::new(Cassette { id, downstream: vec![], ..cassette.clone() })));
        }
        send(Output::Ambient(Box::new(exchange(Some("clock")))));
        send(Output::Doubt([EntryKey(1)].into_iter().collect()));
        if !only_certain {
            send(Output::Lost(Defect::LostEvents { events: 2, bytes: 9 }));
        }
        drop(outputs);
        let summary = run(store.clone(), &recording, taken).unwrap();
        (folder, store, summary)
    }

    #[test]
    fn what_proved_false_is_taken_back_on_disk_and_in_the_counts() {
        // Whether the cassette is among the last ones or has to be looked for.
        for later in [0, 30] {
            let (_folder, store, summary) = record_and_doubt(later, false);
            judge(&store, &summary, later);
        }
    }

    #[test]
    fn another_recording_is_left_alone_whatever_the_clock_did() {
        for other in ["20251122T101502.000000Z-0001", "20991122T101502.000000Z-0001"] {
            let (_folder, store, summary) = record_and_doubt_beside(Some(other), 30, false);
            assert_eq!(summary.defective, 1);
            for located in store.list().unwrap() {
                let is_doubtful = store.read(&located).unwrap().has_defects();
                assert_eq!(is_doubtful, located.id.0 != other && located.id.number() == Some(1), "{located:?}");
            }
        }
    }

    #[test]
    fn what_proved_false_is_left_out_where_only_the_certain_is_wanted() {
        for later in [0, 30] {
            let (_folder, store, summary) = record_and_doubt(later, true);
            assert_eq!((summary.entries, summary.left_out, summary.defective), (later, 1, 0));
            let listed = store.list().unwrap();
            assert_eq!(listed.len() as u64, later);
            assert!(listed.iter().all(|located| located.id.number() != Some(1)));
            assert_eq!(summary.complete(), later > 0, "nothing that was wanted is missing");
        }
    }

    #[test]
    fn the_uncertain_is_not_written_where_only_the_certain_is_wanted() {
        let (folder, store, _) = record_and_doubt(1, false);
        let uncertain = store.read(&store.list().unwrap()[0]).unwrap();
        assert_eq!(uncertain.defects, [Defect::AmbiguousOwner]);
        drop(folder);
        let first = CassetteId("20261122T101502.000000Z-0000".into());
        let recording = Recording {
            recorded: uncertain.recorded.clone(),
            first,
            recent: 10,
            only_certain: true,
            redactor: Arc::new(Redactor::off()),
            fsync: Fsync::Always,
            log: None,
        };
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), None, &Keys::default()).unwrap();
        let (outputs, taken) = queue::queue(1 << 30);
        let call = Exchange { defects: vec![Defect::AmbiguousOwner], ..exchange(Some("stock")) };
        outputs.send(Output::Ambient(Box::new(call)), 1).unwrap();
        outputs.send(Output::Cassette(Box::new(uncertain)), 1).unwrap();
        drop(outputs);
        let summary = run(store.clone(), &recording, taken).unwrap();
        assert_eq!((summary.entries, summary.left_out, summary.ambiguous()), (0, 1, 1));
        assert!(store.list().unwrap().is_empty() && store.ambient().unwrap().is_none());
    }

    fn judge(store: &Store, summary: &Summary, later: u64) {
        let listed = store.list().unwrap();
        assert_eq!((summary.entries, summary.defective, listed.len() as u64), (1 + later, 1, 1 + later));
        let counts = |name: &str| summary.downstream[name];
        assert_eq!((counts("stock").certain, counts("stock").ambiguous, counts("clock").ambient), (0, 1, 1));
        assert!(!summary.complete());
        let written = store.read(&listed[0]).unwrap();
        assert_eq!(written.defects, [Defect::AmbiguousOwner]);
        assert_eq!(written.downstream[0].cause.as_ref().unwrap().confidence, Confidence::Ambiguous);
        let ambient = store.ambient().unwrap().unwrap();
        assert_eq!((ambient.downstream.len(), ambient.defects.len()), (1, 1));
    }

    #[test]
    fn a_folder_that_takes_no_files_is_refused_before_anything_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = open(&file, None, &Keys::default()).err().unwrap();
        assert!(matches!(error, Error::Output { .. }), "{error:?}");
    }
}
