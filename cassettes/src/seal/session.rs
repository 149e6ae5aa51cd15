//! The key under which the files of a recording are sealed.

use std::{collections::HashSet, fmt, io, sync::Arc};

use age::EncryptError;
use age_core::{
    format::{FILE_KEY_BYTES, FileKey, Stanza},
    primitives::{aead_decrypt, aead_encrypt, hkdf},
    secrecy::ExposeSecret,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

use super::{
    file::SealedWriter,
    header::{self, Header},
    recipients::Recipients,
};

/// The stanza that has the key of a file, wrapped under that of the session.
const FILE: &str = "regress-file-1";

/// A stanza that has the session's key, wrapped for a recipient: a stanza of age, with its tag as the first argument.
const SESSION: &str = "regress-session-1";

/// What sets keys that are made of the session's apart.
const FILE_LABEL: &[u8] = b"regress sealing, version 1: key of a file";
const NAME_LABEL: &[u8] = b"regress sealing, version 1: name of a body";
const SCRATCH_LABEL: &[u8] = b"regress sealing, version 1: part of a temporary file";

/// The key under which the files of a recording are sealed, and what it is for its recipients. It is drawn for each
/// recording, and lives in memory only.
pub struct Session {
    key: FileKey,
    /// As it stands in every file.
    wrapped: Vec<Stanza>,
}

/// How files are sealed.
#[derive(Clone, Debug)]
pub struct Seal {
    /// Under which key.
    pub session: Arc<Session>,
    /// Whether cassettes have a readable [`Header`], and lie in the folders of their routes.
    pub header: bool,
}

impl Session {
    /// A new one, for these recipients.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(recipients: &Recipients) -> io::Result<Session> {
        let key = FileKey::new(Box::new(random()?));
        let mut wrapped = Vec::new();
        for recipient in recipients.iter() {
            let (stanzas, _) = recipient.wrap_file_key(&key).map_err(|error| io::Error::other(error.to_string()))?;
            wrapped.extend(stanzas.into_iter().map(|Stanza { tag, mut args, body }| {
                args.insert(0, tag);
                Stanza { tag: SESSION.to_owned(), args, body }
            }));
        }
        Ok(Session { key, wrapped })
    }

    pub(super) fn wrapped(&self) -> &[Stanza] {
        &self.wrapped
    }

    /// Whether a stanza of a file has a session's key.
    pub(super) fn is_wrapped_in(stanza: &Stanza) -> bool {
        stanza.tag == SESSION
    }

    /// Whether a stanza of a file is of sealing, of this version or another one.
    pub(super) fn is_of_sealing(stanza: &Stanza) -> bool {
        stanza.tag.starts_with("regress-")
    }

    /// The session of a file with these stanzas, by what opens its key.
    pub(super) fn unwrap(stanzas: &[Stanza], open: impl FnOnce(&[Stanza]) -> Option<FileKey>) -> Option<Session> {
        let wrapped: Vec<Stanza> = stanzas.iter().filter(|stanza| Session::is_wrapped_in(stanza)).map(copy).collect();
        let inner = wrapped.iter().filter_map(|stanza| {
            let (tag, args) = stanza.args.split_first()?;
            Some(Stanza { tag: tag.clone(), args: args.to_vec(), body: stanza.body.clone() })
        });
        let key = open(&inner.collect::<Vec<_>>())?;
        Some(Session { key, wrapped })
    }

    /// The key of the file with these stanzas; `None` where it was not sealed with this key as it should be.
    pub(super) fn file_key(&self, stanzas: &[Stanza]) -> Option<FileKey> {
        let mut of_file = stanzas.iter().filter(|stanza| stanza.tag == FILE);
        let (stanza, None) = (of_file.next()?, of_file.next()) else { return None };
        let [salt] = &stanza.args[..] else { return None };
        let salt = BASE64_STANDARD_NO_PAD.decode(salt).ok()?;
        let key = aead_decrypt(&self.derived(&salt, FILE_LABEL), FILE_KEY_BYTES, &stanza.body).ok()?;
        let key: [u8; FILE_KEY_BYTES] = key.try_into().ok()?;
        Some(FileKey::new(Box::new(key)))
    }

    /// A whole file with this content.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn seal(&self, header: Option<&Header>, content: &[u8]) -> io::Result<Vec<u8>> {
        use io::Write as _;
        let mut sealed = self.seal_to(header, Vec::with_capacity(content.len() + 1024))?;
        sealed.write_all(content)?;
        sealed.finish()
    }

    /// A line of a text, without its end, as another line: a file of its own in base64.
    ///
    /// # Errors
    /// As for [`Session::seal`].
    pub fn seal_line(&self, line: &[u8]) -> io::Result<String> {
        Ok(BASE64_STANDARD_NO_PAD.encode(self.seal(None, line)?))
    }

    /// A file that is sealed as it is written. It is whole once [`SealedWriter::finish`] has been called.
    ///
    /// # Errors
    /// When the system has no random numbers, or its head cannot be written.
    pub fn seal_to<W: io::Write>(&self, header: Option<&Header>, out: W) -> io::Result<SealedWriter<W>> {
        let recipient = Writing { session: self, salt: random()?, header };
        let one = std::iter::once(&recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(one).map_err(|error| io::Error::other(error.to_string()))?;
        encryptor.wrap_output(out)
    }

    /// The name of a body file whose content has this SHA-256: it tells nobody else what is in it.
    pub(crate) fn body_name(&self, hash: &str) -> String {
        let name = self.derived(hash.as_bytes(), NAME_LABEL);
        name.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key of a part of a temporary file: it is used for that alone.
    pub(super) fn scratch_key(&self, salt: &[u8; 16], part: u64) -> [u8; 32] {
        self.derived(&[&salt[..], &part.to_le_bytes()].concat(), SCRATCH_LABEL)
    }

    fn derived(&self, salt: &[u8], label: &[u8]) -> [u8; 32] {
        hkdf(salt, label, self.key.expose_secret())
    }
}

/// The key is told to nobody.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}

/// What a session's stanzas are known by.
pub(super) fn key_of<'s>(stanzas: impl IntoIterator<Item = &'s Stanza>) -> Vec<u8> {
    let mut key = Vec::new();
    for stanza in stanzas {
        for part in stanza.args.iter().map(String::as_bytes).chain([&stanza.body[..]]) {
            key.extend_from_slice(&(part.len() as u64).to_le_bytes());
            key.extend_from_slice(part);
        }
        key.push(b'\n');
    }
    key
}

/// Gives a file its stanzas.
struct Writing<'s> {
    session: &'s Session,
    salt: [u8; 16],
    header: Option<&'s Header>,
}

impl age::Recipient for Writing<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let key = self.session.derived(&self.salt, FILE_LABEL);
        let of_file = Stanza {
            tag: FILE.to_owned(),
            args: vec![BASE64_STANDARD_NO_PAD.encode(self.salt)],
            body: aead_encrypt(&key, file_key.expose_secret()),
        };
        let header = self.header.map(header::stanza);
        let stanzas = [of_file].into_iter().chain(self.session.wrapped.iter().map(copy)).chain(header).collect();
        Ok((stanzas, HashSet::new()))
    }
}

fn copy(stanza: &Stanza) -> Stanza {
    Stanza { tag: stanza.tag.clone(), args: stanza.args.clone(), body: stanza.body.clone() }
}

pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
