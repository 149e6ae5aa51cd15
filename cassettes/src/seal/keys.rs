//! What opens sealed files.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use age::{secrecy::SecretString, ssh};
use age_core::format::Stanza;

use super::session::{Session, key_of};

/// The variable that may have an identity. It is regress's own, and not for the services that it starts.
pub const IDENTITY_VARIABLE: &str = "REGRESS_IDENTITY";

/// The variable that may name a file with identities; it is not for services either.
pub const IDENTITY_FILE_VARIABLE: &str = "REGRESS_IDENTITY_FILE";

/// Sessions that are remembered: of as many recordings, more than a folder has in a year.
const SESSIONS: usize = 1024;

/// What opens sealed files: identities, and sessions that were opened. A clone is the same.
#[derive(Clone, Default)]
pub struct Keys(Arc<Inner>);

#[derive(Default)]
struct Inner {
    identities: Vec<Box<dyn age::Identity + Send + Sync>>,
    /// By the stanzas that they are wrapped in: of many files only the first costs an operation with a key.
    sessions: RwLock<HashMap<Vec<u8>, Arc<Session>>>,
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// Nothing is there.
    #[error("no identity is in it")]
    Nothing,
    /// It is a recipient.
    #[error("it is a public key, which seals and does not open")]
    Public,
    /// It is protected by a passphrase, which nobody says.
    #[error("it is protected by a passphrase, and there is no terminal to ask for it on")]
    Locked,
    /// The passphrase is another one.
    #[error("the passphrase is not the one that protects it")]
    Passphrase,
    /// A file of age that is itself encrypted.
    #[error("it is encrypted itself")]
    Encrypted,
    /// A key that age does not take.
    #[error("{0} cannot open sealed files")]
    Kind(String),
    /// Anything else. What stands there is not told.
    #[error("line {0} is no identity")]
    Line(usize),
    /// A key in the format of OpenSSH that cannot be read.
    #[error("it is a private key that cannot be read: cut off or damaged")]
    Damaged,
}

impl NoIdentity {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            NoIdentity::Public => "give the file of the secret key that belongs to it",
            NoIdentity::Locked => {
                "run it on a terminal; for CI give a key of its own (`age-keygen -o FILE`), whose public key is added with `regress cassette rekey`"
            }
            NoIdentity::Passphrase => "try again",
            NoIdentity::Encrypted => "decrypt it first: `age -d FILE`, or give its text in REGRESS_IDENTITY",
            NoIdentity::Kind(_) => "use an ssh-ed25519 or ssh-rsa key, or one of age (`age-keygen`)",
            NoIdentity::Nothing | NoIdentity::Line(_) | NoIdentity::Damaged => {
                "an identity is AGE-SECRET-KEY-1.. (`age-keygen -o FILE`), or the private key of SSH in the format of OpenSSH"
            }
        }
    }
}

/// Secret keys; at least one.
pub struct Identities(Vec<Box<dyn age::Identity + Send + Sync>>);

impl Identities {
    /// Those in the content of a file: one of age a line, in which lines that begin with `#` are remarks, or a key of SSH.
    /// `ask` is asked for the passphrase of that; `None` = nobody can say it.
    ///
    /// # Errors
    /// When there are none, or something is none.
    pub fn parse(text: &str, ask: &mut dyn FnMut() -> Option<String>) -> Result<Identities, NoIdentity> {
        if text.starts_with("age-encryption.org/") || text.contains("-----BEGIN AGE ENCRYPTED FILE-----") {
            return Err(NoIdentity::Encrypted);
        }
        if text.contains("-----BEGIN ") {
            return Ok(Identities(vec![Box::new(ssh_key(text, ask)?)]));
        }
        let mut identities: Vec<Box<dyn age::Identity + Send + Sync>> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            match line.trim() {
                "" => {}
                line if line.starts_with('#') => {}
                line => identities.push(Box::new(age_key(line, number + 1)?)),
            }
        }
        if identities.is_empty() { Err(NoIdentity::Nothing) } else { Ok(Identities(identities)) }
    }
}

impl Keys {
    /// These identities.
    pub fn new(identities: impl IntoIterator<Item = Identities>) -> Keys {
        let identities = identities.into_iter().flat_map(|identities| identities.0).collect();
        Keys(Arc::new(Inner { identities, sessions: RwLock::default() }))
    }

    /// What opens what was sealed in this process, and nothing else.
    pub fn of(session: &Arc<Session>) -> Keys {
        let keys = Keys::default();
        keys.remember(session);
        keys
    }

    /// Have these open what is sealed in that session as well.
    pub fn remember(&self, session: &Arc<Session>) {
        let mut sessions = self.0.sessions.write().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS {
            sessions.clear();
        }
        sessions.insert(key_of(session.wrapped()), Arc::clone(session));
    }

    /// Whether there are none: nothing sealed can be opened.
    pub fn is_empty(&self) -> bool {
        self.0.identities.is_empty() && self.0.sessions.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The session that is wrapped in these stanzas; `None` where no identity is among its recipients.
    pub(super) fn session(&self, stanzas: &[Stanza]) -> Option<Arc<Session>> {
        let key = key_of(stanzas.iter().filter(|stanza| Session::is_wrapped_in(stanza)));
        let known = self.0.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if known.is_some() {
            return known;
        }
        let opened = Arc::new(Session::unwrap(stanzas, |wrapped| {
            self.0.identities.iter().find_map(|identity| identity.unwrap_stanzas(wrapped)?.ok())
        })?);
        self.remember(&opened);
        Some(opened)
    }
}

fn age_key(line: &str, number: usize) -> Result<age::x25519::Identity, NoIdentity> {
    if let Ok(identity) = line.parse() {
        return Ok(identity);
    }
    Err(match line {
        _ if line.starts_with("age1") || line.starts_with("ssh-") => NoIdentity::Public,
        _ if line.starts_with("AGE-PLUGIN-") => NoIdentity::Kind("an identity of a plugin".to_owned()),
        _ => NoIdentity::Line(number),
    })
}

fn ssh_key(text: &str, ask: &mut dyn FnMut() -> Option<String>) -> Result<ssh::Identity, NoIdentity> {
    match ssh::Identity::from_buffer(text.as_bytes(), None).map_err(|_| NoIdentity::Damaged)? {
        ssh::Identity::Unsupported(kind) => Err(NoIdentity::Kind(match kind {
            ssh::UnsupportedKey::EncryptedPem => {
                "an encrypted key in the old format (`ssh-keygen -o -p` changes it)".to_owned()
            }
            ssh::UnsupportedKey::EncryptedSsh(cipher) => format!("an SSH key that is protected by {cipher}"),
            ssh::UnsupportedKey::Hardware(kind) | ssh::UnsupportedKey::Type(kind) => {
                format!("an SSH key of the kind {kind}")
            }
        })),
        ssh::Identity::Encrypted(key) => {
            let passphrase = ask().ok_or(NoIdentity::Locked)?;
            key.decrypt(SecretString::from(passphrase)).map(Into::into).map_err(|_| NoIdentity::Passphrase)
        }
        identity @ ssh::Identity::Unencrypted(_) => Ok(identity),
    }
}

/// Who the keys are is told to nobody.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Keys) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Keys {}
