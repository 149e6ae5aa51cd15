//! `regress.toml`: the settings of one service, meant to be committed beside its cassettes.

mod protos;
pub mod rules_file;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use regress_cassettes::diff::Rules;
use regress_mockserver::mock::{Reuse, Rung};
use serde::Deserialize;

pub use self::protos::Protos;
use crate::{back_off, output::Failure, redaction::Redact, sealing::SealTo, selection::Select};

/// The file's name.
pub const FILE_NAME: &str = "regress.toml";

/// What `regress.toml` can say. Every key is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The service under test.
    pub service: Service,
    /// How it is recorded.
    pub record: Record,
    /// How long replay waits for it.
    pub replay: Replay,
    /// Descriptor sets of Protocol Buffers that name the fields of messages; in the file relative to its folder.
    pub protos: Vec<PathBuf>,
    /// Which differences are noise.
    pub rules: Rules,
    /// What is secret.
    pub redact: Redact,
    /// For whom recordings are sealed.
    pub seal: SealTo,
    /// What is kept of the entries of some routes.
    pub select: Vec<Select>,
    /// When less is recorded because the host is loaded; absent: never.
    pub back_off: Option<back_off::Settings>,
}

/// `[service]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// Its name, written into cassettes (default: the command's file name).
    pub name: Option<String>,
    /// The command that starts it, when none is given after `--`.
    pub command: Vec<String>,
    /// The ports its entries arrive on (default: every port it accepts connections on).
    pub ports: Vec<u16>,
    /// Environment added to regress's own when the command is started.
    pub env: BTreeMap<String, String>,
}

/// `[record]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// Size of the buffer between the kernel and the recorder, for example `64M` (default: 1/64 of the memory).
    pub buffer: Option<String>,
    /// Whether the kernel's sources read what is said inside TLS.
    pub tls: bool,
    /// Whether the proxy reads the TLS that clients of databases ask for within a connection.
    pub database_tls: bool,
    /// The runtime of which the command loads a hook, for example `node`.
    pub hook: Option<String>,
    /// Further headers that carry an id from an entry to its calls.
    pub id_headers: Vec<String>,
    /// When cassettes are made to survive a power cut: `always`, `regular`, `end` or `never`.
    pub fsync: Option<String>,
    /// How many entries of each route are kept, for example `10/s`.
    pub sample: Option<String>,
    /// How many examples of each shape of entry are kept.
    pub distinct: Option<u32>,
    /// Larger bodies are left out, for example `256K`.
    pub max_body: Option<String>,
    /// Entries that begin while so many are open are left out.
    pub max_in_flight: Option<u32>,
    /// Entries with this header are kept whatever else is said.
    pub force_header: Option<String>,
    /// Whether health checks are kept.
    pub keep_health_checks: bool,
    /// Where metrics are told, for example `127.0.0.1:9464`.
    pub metrics: Option<String>,
    /// The object store that recordings are sent to, for example `s3://bucket/prefix`.
    pub upload: Option<String>,
    /// What waits to be sent at most, for example `512M`.
    pub spool_limit: Option<String>,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            buffer: None,
            tls: true,
            database_tls: false,
            hook: None,
            id_headers: Vec::new(),
            fsync: None,
            sample: None,
            distinct: None,
            max_body: None,
            max_in_flight: None,
            force_header: None,
            keep_health_checks: false,
            metrics: None,
            upload: None,
            spool_limit: None,
        }
    }
}

/// `[replay]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// Seconds until the service must accept connections.
    pub ready_timeout: f64,
    /// Seconds until an entry must be answered.
    pub entry_timeout: f64,
    /// Seconds to wait, after an answer, for recorded calls that have not been made yet.
    pub settle: f64,
    /// The weakest way in which a recorded call may answer one that is made.
    pub max_rung: Option<MaxRung>,
    /// What answers a call that is made more often than recorded.
    pub reuse: Option<ReusePolicy>,
}

/// How well a recorded call has to fit the one that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MaxRung {
    /// It says the same
    Exact,
    /// Or it does but for what rules let pass
    Noise,
    /// Or it does once values that the service made anew are bound to the recorded ones
    Bound,
}

impl From<MaxRung> for Rung {
    fn from(rung: MaxRung) -> Rung {
        match rung {
            MaxRung::Exact => Rung::Exact,
            MaxRung::Noise => Rung::Noise,
            MaxRung::Bound => Rung::Bound,
        }
    }
}

/// What answers a call that an entry makes more often than recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ReusePolicy {
    /// Nothing: it is a call that was not recorded
    Strict,
    /// The last recorded answer
    Last,
    /// The recorded answers from the first on
    Cycle,
}

impl From<ReusePolicy> for Reuse {
    fn from(policy: ReusePolicy) -> Reuse {
        match policy {
            ReusePolicy::Strict => Reuse::Strict,
            ReusePolicy::Last => Reuse::Last,
            ReusePolicy::Cycle => Reuse::Cycle,
        }
    }
}

impl Default for Replay {
    fn default() -> Replay {
        Replay { ready_timeout: 30.0, entry_timeout: 30.0, settle: 1.0, max_rung: None, reuse: None }
    }
}

impl Replay {
    /// `ready_timeout` as a duration.
    pub fn ready_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.ready_timeout)
    }

    /// `entry_timeout` as a duration.
    pub fn entry_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.entry_timeout)
    }

    /// `settle` as a duration.
    pub fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.settle)
    }
}

impl Config {
    /// The files that [`Config::load`] looks for: it reads the first that there is.
    pub fn places(named: Option<&Path>, beside: Option<&Path>) -> Vec<PathBuf> {
        // Beside a packed folder, which is a file.
        let beside = beside.map(|store| if store.is_file() { store.with_file_name("") } else { store.to_owned() });
        let folders = beside.into_iter().chain([PathBuf::from(".")]);
        named.map_or_else(|| folders.map(|folder| folder.join(FILE_NAME)).collect(), |named| vec![named.to_owned()])
    }

    /// The file that [`Config::load`] reads, if there is one.
    fn find(named: Option<&Path>, beside: Option<&Path>) -> Option<PathBuf> {
        let found = || Config::places(None, beside).into_iter().find(|path| path.is_file());
        named.map(Path::to_path_buf).or_else(found)
    }

    /// The file that rules are added to: the one that is read, else a new one in the cassette folder.
    pub fn rules_file(named: Option<&Path>, store: &Path) -> PathBuf {
        Config::find(named, Some(store)).unwrap_or_else(|| store.join(FILE_NAME))
    }

    /// Read the named file, or else the first `regress.toml` found in `beside` (the cassette folder) and the
    /// current folder; without one, the defaults.
    pub fn load(named: Option<&Path>, beside: Option<&Path>) -> Result<Config, Failure> {
        let Some(path) = Config::find(named, beside) else { return Ok(Config::default()) };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(format_args!("cannot read {}: {error}", path.display()))
                .hint("name an existing file with --config")
        })?;
        let mut config: Config = toml::from_str(&text).map_err(|error| {
            Failure::new(format_args!("{}: {error}", path.display())).hint("docs/configuration.md lists the keys")
        })?;
        let seconds = [config.replay.ready_timeout, config.replay.entry_timeout, config.replay.settle];
        if seconds.iter().any(|s| !(0.0..=86_400.0).contains(s)) {
            return Err(Failure::new(format_args!(
                "{}: [replay] times must be seconds from 0 to 86400",
                path.display()
            ))
            .hint("docs/configuration.md says what each one is"));
        }
        config.protos.iter_mut().for_each(|proto| *proto = path.with_file_name("").join(&*proto));
        config.seal.set_beside(&path);
        if let Some(key) = &mut config.redact.key_file {
            *key = path.parent().unwrap_or(Path::new("")).join(&*key);
        }
        Ok(config)
    }
}
