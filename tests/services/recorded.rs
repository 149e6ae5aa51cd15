//! A shop that was recorded once, to be replayed many times.

use std::path::{Path, PathBuf};

use regress_cassettes::seal::Keys;
use tempfile::TempDir;

use super::{Change, LISTENS, Language, Shop, tour};
use crate::harness::{Corpus, Finished, Process, Recording, Replay, Report};

/// The capture source to record by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel, by its best source.
    Ebpf,
    /// The kernel, by this source.
    Kernel(regress_ebpf::Source),
    /// Regress in the data path.
    Proxy,
}

impl Source {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Source::Ebpf => "ebpf",
            Source::Kernel(source) => source.name(),
            Source::Proxy => "proxy",
        }
    }
}

/// A shop with the recording of one tour through it.
pub struct RecordedShop {
    /// The shop; its downstreams still run, so that a replay that reached them would be seen.
    pub shop: Shop,
    folder: TempDir,
}

/// How long a replay waits, in seconds; more than any working build needs unless the wait is what is tested.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For the service to listen.
    pub ready: f64,
    /// For an answer.
    pub entry: f64,
}

/// The waits of a build that works.
pub const PATIENT: Waits = Waits { ready: 60.0, entry: 60.0 };

impl RecordedShop {
    /// Start the shop under `regress record`, make the tour, stop.
    pub fn record(language: Language, source: Source) -> RecordedShop {
        RecordedShop::record_shop(Shop::new(language), source, "none", &[], Keys::default())
    }

    /// The same with more arguments, where `keys` open what is sealed.
    pub fn record_with(language: Language, source: Source, arguments: &[&str], keys: Keys) -> RecordedShop {
        RecordedShop::record_shop(Shop::new(language), source, "none", arguments, keys)
    }

    /// The same of a shop with a change.
    pub fn record_changed(language: Language, source: Source, change: &'static str) -> RecordedShop {
        RecordedShop::record_shop(Shop::new(language), source, change, &[], Keys::default())
    }

    /// Record the same shop, on the same ports, into another folder by another source.
    pub fn record_again(self, source: Source) -> RecordedShop {
        RecordedShop::record_shop(self.shop, source, "none", &[], Keys::default())
    }

    /// A shop of which nothing is recorded yet.
    pub fn prepare(shop: Shop) -> RecordedShop {
        RecordedShop { shop, folder: tempfile::tempdir().expect("there is a temporary folder") }
    }

    fn record_shop(shop: Shop, source: Source, change: &'static str, more: &[&str], keys: Keys) -> RecordedShop {
        let language = shop.language;
        let recorded = RecordedShop::prepare(shop);
        let settings = recorded.settings("record", PATIENT);
        // It speaks no TLS, and the kernel takes no more than ten probes out in a second.
        let mut arguments: Vec<String> = vec!["--via".into(), source.name().into(), "--no-tls".into()];
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        arguments.extend(["--config".into(), settings.display().to_string(), "--".into()]);
        arguments.extend(language.command());
        let recording = Recording::start(&recorded.cassettes(), arguments, recorded.shop.environment(change));
        recording.wait_for_service(LISTENS, recorded.shop.port);
        let asked = tour(recorded.shop.port);
        recording.stop().expect_code(0);

        let corpus = Corpus::read_with(&recorded.cassettes(), keys);
        assert_eq!(corpus.cassettes.len(), asked.len(), "one cassette a request");
        assert_eq!(corpus.losses(), Vec::<&_>::new());
        recorded.shop.inventory.take_served();
        recorded.shop.pricing.take_served();
        recorded
    }

    /// Where the cassettes are.
    pub fn cassettes(&self) -> PathBuf {
        self.folder.path().join("cassettes")
    }

    /// Replay them against the shop with a change.
    pub fn replay(&self, change: impl Into<Change>, waits: Waits, arguments: &[&str]) -> (Finished, Option<Report>) {
        self.replay_from(&self.cassettes(), change, waits, arguments)
    }

    /// Replay the cassettes of another folder against the shop with a change.
    pub fn replay_from(
        &self,
        cassettes: &Path,
        change: impl Into<Change>,
        waits: Waits,
        arguments: &[&str],
    ) -> (Finished, Option<Report>) {
        let change = change.into();
        let result = Replay {
            cassettes,
            settings: &self.settings("replay", waits),
            command: &self.shop.language.command(),
            environment: self.shop.environment(change),
            arguments,
        }
        .run();
        let escaped = [self.shop.inventory.take_served(), self.shop.pricing.take_served()].concat();
        assert!(escaped.is_empty(), "{change:?}: a replay reached the real downstreams: {escaped:?}");
        result
    }

    /// Begin to replay them against the shop with a change.
    pub fn begin_replay(&self, change: &'static str, waits: Waits, arguments: &[&str]) -> Process {
        let (settings, command) = (self.settings("replay", waits), self.shop.language.command());
        let (cassettes, environment) = (self.cassettes(), self.shop.environment(change));
        Replay { cassettes: &cassettes, settings: &settings, command: &command, environment, arguments }.start()
    }

    /// Settings of that name, with which the shop is recorded and replayed.
    pub fn settings(&self, name: &str, waits: Waits) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
        let text = format!(
            "[service]\nname = \"shop\"\nports = [{}]\n\n[replay]\nready_timeout = {:?}\nentry_timeout = {:?}\nsettle = 0.5\n",
            self.shop.port, waits.ready, waits.entry,
        );
        std::fs::write(&path, text).expect("the temporary folder can be written");
        path
    }
}
