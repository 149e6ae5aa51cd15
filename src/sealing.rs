//! For whom recordings are sealed, and what opens them.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use regress_cassettes::seal::{IDENTITY_VARIABLE, Identities, Keys, Recipients, Seal, Session};
use serde::Deserialize;

use crate::{output::Failure, passphrase};

/// The variable that may have recipients.
const SEAL_TO_VARIABLE: &str = "REGRESS_SEAL_TO";

/// The biggest file of keys, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// `[seal]` in `regress.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SealTo {
    /// Recipients, or files of them, from the folder of `regress.toml`.
    to: Vec<String>,
    /// Whether sealed cassettes have a readable header.
    header: bool,
}

/// How `record` seals.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SealArgs {
    /// Seal all that is written for this recipient, so that nothing that was recorded reaches the disk as it is: a public key
    /// of age (age1..) or SSH (ssh-ed25519 .., ssh-rsa ..), or a file of such (repeatable) [env: REGRESS_SEAL_TO, separated by
    /// commas or new lines]
    #[arg(long, value_name = "RECIPIENT|FILE")]
    seal: Vec<String>,
    /// Have sealed cassettes tell everybody their routes, times and sizes
    #[arg(long, env = "REGRESS_SEAL_HEADER")]
    seal_header: bool,
}

/// For whom `cassette seal` and `rekey` seal.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ToArgs {
    /// A recipient: a public key of age (age1..) or SSH (ssh-ed25519 .., ssh-rsa ..), or a file of such (repeatable) [default:
    /// REGRESS_SEAL_TO, else `to` under [seal] in regress.toml]
    #[arg(long, value_name = "RECIPIENT|FILE")]
    to: Vec<String>,
}

/// Where what opens sealed cassettes is.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct IdentityArgs {
    /// Open sealed cassettes with the secret keys in this file, of age or SSH (repeatable) [default: the key in
    /// REGRESS_IDENTITY]
    #[arg(long = "identity", value_name = "FILE", env = "REGRESS_IDENTITY_FILE")]
    files: Vec<PathBuf>,
}

impl SealTo {
    /// Take the files that it names from the folder of the settings file.
    pub fn set_beside(&mut self, settings: &Path) {
        for to in self.to.iter_mut().filter(|to| !Recipients::is_meant(to)) {
            *to = settings.with_file_name("").join(&*to).display().to_string();
        }
    }

    /// How a recording is sealed; `None` = it is not.
    ///
    /// # Errors
    /// When something is no recipient, or a header is asked for and sealing is not.
    pub fn seal(&self, args: &SealArgs) -> Result<Option<Seal>, Failure> {
        let to = self.recipients(&args.seal)?;
        if to.is_empty() && args.seal_header {
            return Err(Failure::new("--seal-header is about sealed cassettes, and these would not be")
                .hint("say for whom with --seal, REGRESS_SEAL_TO or `to` under [seal] in regress.toml"));
        }
        (!to.is_empty()).then(|| sealed_for(&to, args.seal_header || self.header)).transpose()
    }

    /// How cassettes that are there are sealed.
    ///
    /// # Errors
    /// When there are no recipients, or something is none.
    pub fn seal_to(&self, args: &ToArgs, header: bool) -> Result<Seal, Failure> {
        let to = self.recipients(&args.to)?;
        if to.is_empty() {
            return Err(Failure::new("nobody to seal for")
                .hint("say for whom with --to, REGRESS_SEAL_TO or `to` under [seal] in regress.toml"));
        }
        sealed_for(&to, header || self.header)
    }

    /// Those of flags, else of the environment, else of the settings.
    fn recipients(&self, flags: &[String]) -> Result<Vec<String>, Failure> {
        if !flags.is_empty() {
            return Ok(flags.to_vec());
        }
        match std::env::var(SEAL_TO_VARIABLE) {
            Ok(text) if !text.trim().is_empty() => {
                let parts = text.split(['\n', ',']).map(str::trim).filter(|part| !part.is_empty());
                Ok(parts.map(str::to_owned).collect())
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::new(format_args!("{SEAL_TO_VARIABLE} is not UTF-8"))
                    .hint("it has recipients, separated by commas or new lines"))
            }
            _ => Ok(self.to.clone()),
        }
    }
}

fn sealed_for(to: &[String], header: bool) -> Result<Seal, Failure> {
    let mut texts = Vec::new();
    for text in to {
        let (what, text) = match Recipients::is_meant(text) {
            // A secret key must not be told.
            true => ("the recipient".to_owned(), text.clone()),
            false => (
                text.clone(),
                content(
                    Path::new(text),
                    "recipients",
                    "a recipient is age1.., ssh-ed25519 .., ssh-rsa .., or a file of these",
                )?,
            ),
        };
        Recipients::parse([&*text]).map_err(|why| Failure::new(format_args!("{what}: {why}")).hint(why.hint()))?;
        texts.push(text);
    }
    let recipients =
        Recipients::parse(texts.iter().map(String::as_str)).map_err(|why| Failure::new(&why).hint(why.hint()))?;
    let session = Session::new(&recipients).map_err(|error| {
        Failure::new(format_args!("cannot make a key to seal with: {error}"))
            .hint("see to it that /dev/urandom can be read")
    })?;
    Ok(Seal { session: Arc::new(session), header })
}

impl IdentityArgs {
    /// What opens sealed files: the files of the flag or of the environment, else the key in the environment, else nothing.
    /// Passphrases are asked for on the terminal.
    ///
    /// # Errors
    /// When one cannot be read, or is no identity.
    pub fn keys(&self) -> Result<Keys, Failure> {
        let mut texts = Vec::new();
        for file in &self.files {
            let hint = "name the file of a secret key: `age-keygen -o FILE` makes one, ~/.ssh/id_ed25519 may be one";
            texts.push((file.display().to_string(), content(file, "the identity", hint)?));
        }
        if texts.is_empty()
            && let Some(text) = std::env::var_os(IDENTITY_VARIABLE).filter(|text| !text.is_empty())
        {
            let text = text.into_string().unwrap_or_default();
            texts.push((IDENTITY_VARIABLE.to_owned(), text));
        }
        let identities = |(name, text): &(String, String)| {
            let mut ask = || passphrase::ask(&format!("passphrase of {name}:"));
            Identities::parse(text, &mut ask)
                .map_err(|why| Failure::new(format_args!("{name}: {why}")).hint(why.hint()))
        };
        Ok(Keys::new(texts.iter().map(identities).collect::<Result<Vec<_>, _>>()?))
    }
}

fn content(file: &Path, what: &str, hint: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text));
    let failed = |why: String| Failure::new(format_args!("cannot read {what} {}: {why}", file.display())).hint(hint);
    match read {
        Ok(_) if text.len() as u64 > FILE_LIMIT => Err(failed(format!("more than {FILE_LIMIT} bytes"))),
        Ok(_) => Ok(text),
        Err(error) => Err(failed(error.to_string())),
    }
}
