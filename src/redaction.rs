//! What takes secrets out of what is recorded, and of what a build says in a replay.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use regress_cassettes::redact::{KEY_VARIABLE, Key, Policy, Redactor, RuleText, Rules};
use serde::Deserialize;

use crate::output::Failure;

/// `[redact]` in `regress.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redact {
    /// The file of the project's key, from the folder of `regress.toml`.
    pub key_file: Option<PathBuf>,
    /// Whether addresses for mail are secrets.
    pub email: bool,
    /// Secrets that stay, as patterns.
    pub keep: Vec<String>,
    /// What else is a secret, and what is none.
    pub rules: Vec<RuleText>,
}

/// Where the key of redaction is.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KeyArgs {
    /// The key that tokens of secrets are made with, so that they are the same in all recordings and replays of a project
    /// [default: one that is drawn each time]
    #[arg(long, value_name = "FILE", env = "REGRESS_REDACT_KEY_FILE")]
    redact_key_file: Option<PathBuf>,
}

impl Redact {
    /// What redacts by these settings. The key is that of the flag, else of the environment, else of the settings, else one that
    /// nobody has.
    ///
    /// # Errors
    /// When a rule says nothing sensible, or the key cannot be read.
    pub fn redactor(&self, args: &KeyArgs) -> Result<Arc<Redactor>, Failure> {
        let rules = Rules::new(self.rules.clone()).map_err(|error| {
            let hint = error.hint();
            Failure::from_error(error).hint(hint)
        })?;
        if self.keep.iter().any(|pattern| pattern.chars().all(|c| matches!(c, '*' | '?'))) {
            return Err(Failure::new("[redact] keep: a pattern is for every secret")
                .hint("name the secrets that may stay, or record with --no-redact"));
        }
        let policy = Policy { email: self.email, keep: self.keep.clone(), rules };
        Ok(Arc::new(Redactor::new(self.key(args)?, policy)))
    }

    fn key(&self, args: &KeyArgs) -> Result<Key, Failure> {
        if let Some(file) = &args.redact_key_file {
            return of_file(file);
        }
        if let Some(key) = std::env::var_os(KEY_VARIABLE).filter(|key| !key.is_empty()) {
            return Key::of(key.as_encoded_bytes()).map_err(|error| {
                let hint = error.hint();
                Failure::new(format_args!("{KEY_VARIABLE}: {error}")).hint(hint)
            });
        }
        match &self.key_file {
            Some(file) => of_file(file),
            None => Key::drawn().map_err(|error| {
                Failure::new(format_args!("cannot draw a redaction key: {error}"))
                    .hint("give one with --redact-key-file, or see to it that /dev/urandom can be read")
            }),
        }
    }
}

fn of_file(file: &Path) -> Result<Key, Failure> {
    let secret = std::fs::read(file).map_err(|error| {
        Failure::new(format_args!("cannot read the redaction key {}: {error}", file.display()))
            .hint("make one with `head -c 32 /dev/urandom | base64 > FILE`, and keep it out of the repository")
    })?;
    Key::of(&secret).map_err(|error| {
        let hint = error.hint();
        Failure::new(format_args!("{}: {error}", file.display())).hint(hint)
    })
}
