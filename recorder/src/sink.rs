//! What the pipeline hands out goes to the store.

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
};

use regress_cassettes::{Cassette, CassetteId, Defect, Exchange, Recorded, Store};

use crate::{Error, Summary, assemble, pipeline::Output};

/// Ambient exchanges that wait in memory to be written together.
const AMBIENT_BATCH: usize = 256;

/// Makes the folder and proves that it takes files.
pub(crate) fn open(out: &Path) -> Result<Store, Error> {
    let refused = |source| Error::Output { path: out.to_path_buf(), source };
    let store = Store::create(out).map_err(|error| match error {
        regress_cassettes::Error::Io { source, .. } => refused(source),
        error => Error::Cassette(error),
    })?;
    let mut probe = tempfile::Builder::new().prefix(".regress-").tempfile_in(out).map_err(refused)?;
    // A full disk still makes empty files.
    probe.write_all(&[0; 4096]).and_then(|()| probe.as_file().sync_all()).map_err(refused)?;
    Ok(store)
}

/// Writes outputs until there are no more, and counts them.
pub(crate) fn run(store: &Store, recorded: Recorded, outputs: Receiver<Output>) -> Result<Summary, Error> {
    let mut sink = Sink {
        store,
        recorded,
        summary: Summary::default(),
        waiting: Vec::new(),
        lost: Vec::new(),
        ambient: None,
        paths: HashMap::new(),
    };
    for output in outputs {
        match output {
            Output::Cassette(cassette) => sink.cassette(&cassette)?,
            Output::Ambient(exchange) => sink.exchange(*exchange)?,
            Output::Doubt(ids) => ids.iter().try_for_each(|id| sink.doubt(id))?,
            Output::Lost(defect) => sink.lost.push(defect),
        }
    }
    sink.flush()?;
    sink.summary.cassettes.extend(sink.ambient);
    Ok(sink.summary)
}

struct Sink<'a> {
    store: &'a Store,
    /// How the recording as a whole describes itself.
    recorded: Recorded,
    summary: Summary,
    /// Ambient exchanges that are not written yet, and what was lost meanwhile.
    waiting: Vec<Exchange>,
    lost: Vec<Defect>,
    ambient: Option<PathBuf>,
    /// Where each cassette was written.
    paths: HashMap<CassetteId, PathBuf>,
}

impl Sink<'_> {
    fn cassette(&mut self, cassette: &Cassette) -> Result<(), Error> {
        let path = self.store.write(cassette)?;
        self.summary.count_entry(cassette);
        self.summary.cassettes.push(path.clone());
        self.paths.insert(cassette.id.clone(), path);
        Ok(())
    }

    fn exchange(&mut self, exchange: Exchange) -> Result<(), Error> {
        self.summary.count_ambient(&exchange);
        self.waiting.push(exchange);
        if self.waiting.len() >= AMBIENT_BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() && self.lost.is_empty() {
            return Ok(());
        }
        let cassette = Cassette {
            id: assemble::ambient_id(),
            recorded: self.recorded.clone(),
            entry: None,
            downstream: std::mem::take(&mut self.waiting),
            defects: std::mem::take(&mut self.lost),
        };
        self.ambient = Some(self.store.write(&cassette)?);
        Ok(())
    }

    fn doubt(&mut self, id: &CassetteId) -> Result<(), Error> {
        let Some(path) = self.paths.get(id) else { return Ok(()) };
        let before = regress_cassettes::read(path)?;
        let mut after = before.clone();
        assemble::doubt(&mut after);
        self.store.write(&after)?;
        self.summary.count_doubt(&before, &after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use regress_cassettes::{Cause, Confidence, Connection, Content, Ended, HttpExchange, Rule, Via};
    use regress_protocols::http1::Message;

    use super::*;

    fn exchange(downstream: Option<&str>) -> Exchange {
        let peer = "127.0.0.1:9001".parse().unwrap();
        let request = Message::request("GET", "/stock", &[("Host", "stock")], "");
        let response = Some(Message::response(200, "OK", &[], "ok"));
        Exchange {
            downstream: downstream.map(str::to_owned),
            connection: Connection { id: 1, local: Some(peer), peer, tls: false },
            at: 0,
            took: Some(5),
            content: Content::Http1(HttpExchange {
                request,
                interim: vec![],
                response,
                streamed: vec![],
                upgraded: vec![],
            }),
            ended: Ended::Ok,
            cause: None,
            defects: vec![],
        }
    }

    #[test]
    fn what_proved_false_is_taken_back_on_disk_and_in_the_counts() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("new/tapes")).unwrap();
        let recorded = Recorded {
            at: "2026-11-22T10:15:02.000000Z".into(),
            service: "shop".into(),
            by: "regress test".into(),
            via: Via::Socket,
            kernel: "6.18.0".into(),
        };
        let cause = Cause { rule: Rule::Alone, confidence: Confidence::Certain, after_response: false };
        let id = CassetteId("20261122T101502.000000Z-0001".into());
        let cassette = Cassette {
            id: id.clone(),
            recorded: recorded.clone(),
            entry: Some(exchange(None)),
            downstream: vec![Exchange { cause: Some(cause), ..exchange(Some("stock")) }],
            defects: vec![],
        };
        let (outputs, taken) = std::sync::mpsc::channel();
        outputs.send(Output::Cassette(Box::new(cassette))).unwrap();
        outputs.send(Output::Ambient(Box::new(exchange(Some("clock"))))).unwrap();
        outputs.send(Output::Doubt(vec![id])).unwrap();
        outputs.send(Output::Lost(Defect::LostEvents { events: 2, bytes: 9 })).unwrap();
        drop(outputs);
        let summary = run(&store, recorded, taken).unwrap();

        assert_eq!((summary.entries, summary.defective, summary.cassettes.len()), (1, 1, 2));
        let counts = |name: &str| summary.downstream[name];
        assert_eq!((counts("stock").certain, counts("stock").ambiguous, counts("clock").ambient), (0, 1, 1));
        assert!(!summary.complete());
        let written = regress_cassettes::read(&summary.cassettes[0]).unwrap();
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
        let error = open(&file).err().unwrap();
        assert!(matches!(error, Error::Output { .. }), "{error:?}");
    }
}
