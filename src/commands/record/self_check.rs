//! `regress record --self-check`: what was recorded, replayed at once against the build that it was recorded of.

use std::{collections::BTreeSet, ffi::OsString, io, path::Path, sync::Arc};

use regress_cassettes::{CassetteId, Store, redact::Redactor, seal::Keys};
use regress_replayer::{
    Outcome, Settings, Verdict,
    noise::{self, Checked},
    report::line,
};

use crate::{
    commands::{replay, review},
    config::{Config, Protos},
    output::{self, Failure},
};

/// How often what was recorded is replayed: twice tells what varies from what merely is not as recorded.
const RUNS: usize = 2;

/// What the check needs, made before the recording begins.
pub struct SelfCheck {
    settings: Settings,
    /// The cassettes of earlier recordings.
    earlier: BTreeSet<CassetteId>,
}

impl SelfCheck {
    /// Get ready to check what is recorded to `out`, where `keys` open what is sealed.
    ///
    /// # Errors
    /// When nothing says how the service is started.
    pub fn prepare(
        out: &Path,
        keys: Keys,
        given: &[OsString],
        config: &Config,
        redactor: Arc<Redactor>,
    ) -> Result<SelfCheck, Failure> {
        let command = replay::command(given.to_vec(), config).map_err(|_| {
            Failure::new("--self-check has no command to start the service with")
                .hint("say it as `command` under [service] in regress.toml, or record with the command after --")
        })?;
        let settings = replay::settings((out.to_path_buf(), keys), command, config, &Protos::default(), redactor)?;
        let earlier = if out.is_dir() { ids(out)? } else { BTreeSet::new() };
        Ok(SelfCheck { settings, earlier })
    }

    /// Replay what was recorded since, and label what does not replay as recorded.
    ///
    /// # Errors
    /// When it cannot be replayed, or a label not be written. What was recorded is kept.
    pub fn run(self) -> Result<Checked, Failure> {
        let store = self.settings.store.clone();
        let recorded: BTreeSet<CassetteId> = ids(&store)?.difference(&self.earlier).cloned().collect();
        if recorded.is_empty() {
            return Ok(Checked::default());
        }
        let settings = Settings { only: Some(recorded), ..self.settings };
        let colour = replay::colour(&io::stderr());
        let progress = |outcome: &Outcome| {
            if outcome.verdict == Verdict::Inconclusive {
                output::say(line(outcome, colour));
            }
        };
        output::say("self-check: replaying what was recorded against the build that was recorded");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(format_args!("cannot start the runtime: {error}")))?;
        let runs = runtime.block_on(async {
            tokio::select! {
                runs = noise::repeat(&settings, RUNS, progress, |_, _| {}) => runs.map_err(review::failure),
                signal = replay::asked_to_end() => Err(Failure::new(format_args!("ended by {signal}"))),
            }
        })?;
        let checked = noise::check(&runs);
        label(Store::open(store).map_err(|error| review::failure(error.into()))?.with_keys(settings.keys), &checked)?;
        Ok(checked)
    }
}

/// Write the reasons into the cassettes of the entries that did not replay as recorded.
fn label(store: Store, checked: &Checked) -> Result<(), Failure> {
    for located in store.list().map_err(|error| review::failure(error.into()))? {
        let Some(reasons) = checked.varying.get(&located.id) else { continue };
        let mut cassette = store.read(&located).map_err(|error| review::failure(error.into()))?;
        cassette.nondeterministic.clone_from(reasons);
        store.write(&Redactor::from_files(cassette)).map_err(|error| review::failure(error.into()))?;
    }
    Ok(())
}

fn ids(store: &Path) -> Result<BTreeSet<CassetteId>, Failure> {
    let store = Store::open(store).map_err(|error| review::failure(error.into()))?;
    let ids: Result<_, _> = store.walk().map(|located| located.map(|located| located.id)).collect();
    ids.map_err(|error| review::failure(error.into()))
}
