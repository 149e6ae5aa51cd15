//! The key under which the files of a recording are sealed.

use std::{
    collections::HashSet,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use age_core::{
    format::{FileKey, Stanza},
    primitives::hkdf,
    secrecy::ExposeSecret,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

use super::{
    header::{self, Header},
    recipients::Recipients,
    writer::{self, MacKey, SealedWriter},
};

/// The stanza that says which key, of those that are made of the session's, is the file's.
const FILE: &str = "regress-file-1";

/// A stanza that has the session's key, wrapped for a recipient: a stanza of age, with its tag as the first argument.
const SESSION: &str = "regress-session-1";

/// What sets keys that are made of the session's apart.
const FILE_LABEL: &[u8] = b"regress sealing, version 1: keys of files";
const NAME_LABEL: &[u8] = b"regress sealing, version 1: name of a body";
const SCRATCH_LABEL: &[u8] = b"regress sealing, version 1: part of a temporary file";

/// The key under which the files of a recording are sealed, and what it is for its recipients. It is drawn for each
/// recording, and lives in memory only.
pub struct Session {
    key: FileKey,
    /// As it stands in every file.
    wrapped: Vec<Stanza>,
    /// The same as text.
    text: String,
    /// What makes the keys of files.
    of_files: MacKey,
    /// Body files that were written here under it.
    bodies: Mutex<HashSet<PathBuf>>,
}

/// How many body files are remembered; others are opened to see whether they are there already.
const MOST_BODIES: usize = 1 << 16;

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
        Ok(Session::of(key, wrapped))
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
        Some(Session::of(key, wrapped))
    }

    fn of(key: FileKey, wrapped: Vec<Stanza>) -> Session {
        let text = writer::text(&wrapped);
        let of_files = writer::mac_key(&hkdf(b"", FILE_LABEL, key.expose_secret()));
        Session { key, wrapped, text, of_files, bodies: Mutex::default() }
    }

    /// The key of the file with these stanzas; `None` where they do not say which it is.
    pub(super) fn file_key(&self, stanzas: &[Stanza]) -> Option<FileKey> {
        let mut of_file = stanzas.iter().filter(|stanza| stanza.tag == FILE);
        let (stanza, None) = (of_file.next()?, of_file.next()) else { return None };
        let ([salt], true) = (&stanza.args[..], stanza.body.is_empty()) else { return None };
        let salt = BASE64_STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?;
        Some(FileKey::new(Box::new(self.key_for(&salt))))
    }

    /// The key of the file with this salt.
    fn key_for(&self, salt: &[u8; 16]) -> writer::FileKey {
        *writer::mac(&self.of_files, salt).first_chunk().expect("it is longer than that")
    }

    /// A whole file with this content.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn seal(&self, header: Option<&Header>, content: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(content.len() + 1024);
        self.seal_into(header, content, &mut out)?;
        Ok(out)
    }

    /// Write a whole file with this content.
    ///
    /// # Errors
    /// When the system has no random numbers, or it cannot be written.
    pub(crate) fn seal_into(
        &self,
        header: Option<&Header>,
        content: &[u8],
        out: &mut impl io::Write,
    ) -> io::Result<()> {
        let mut sealed = self.begin(header, content.len(), out)?;
        sealed.write_all(content)?;
        sealed.finish().map(|_| ())
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
    /// When the system has no random numbers.
    pub fn seal_to<W: io::Write>(&self, header: Option<&Header>, out: W) -> io::Result<SealedWriter<W>> {
        self.begin(header, 0, out)
    }

    fn begin<W: io::Write>(&self, header: Option<&Header>, expected: usize, out: W) -> io::Result<SealedWriter<W>> {
        let (key, own, nonce) = self.of_new_file(header)?;
        Ok(SealedWriter::begin(&key, &[&own, &self.text], &nonce, expected, out))
    }

    /// The key of another file, its own stanzas, and its nonce.
    fn of_new_file(&self, header: Option<&Header>) -> io::Result<(writer::FileKey, String, [u8; 16])> {
        // At once: each time it is a system call.
        let mut drawn = [[0; 16]; 2];
        fill_random(drawn.as_flattened_mut())?;
        let [salt, nonce] = drawn;
        let mut own = String::with_capacity(512);
        writer::put_stanza(FILE, &[BASE64_STANDARD_NO_PAD.encode(salt)], b"", &mut own);
        if let Some(Stanza { tag, args, body }) = header.map(header::stanza) {
            writer::put_stanza(&tag, &args, &body, &mut own);
        }
        Ok((self.key_for(&salt), own, nonce))
    }

    /// The name of a body file whose content has this SHA-256: it tells nobody else what is in it.
    pub(crate) fn body_name(&self, hash: &str) -> String {
        let name = self.derived(hash.as_bytes(), NAME_LABEL);
        name.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this process wrote this body file under this key. What became of it since is for who reads it to find out.
    pub(crate) fn has_written(&self, path: &Path) -> bool {
        self.bodies().contains(path) && path.is_file()
    }

    /// This body file was written under this key.
    pub(crate) fn remember(&self, path: &Path) {
        let mut bodies = self.bodies();
        if bodies.len() < MOST_BODIES {
            bodies.insert(path.to_owned());
        }
    }

    fn bodies(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
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

fn copy(stanza: &Stanza) -> Stanza {
    Stanza { tag: stanza.tag.clone(), args: stanza.args.clone(), body: stanza.body.clone() }
}

pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stanza_says_which_key_is_the_files() {
        let recipient = age::x25519::Identity::generate().to_public().to_string();
        let session = Session::new(&Recipients::parse([&*recipient]).unwrap()).unwrap();
        let stanza = |tag: &str, args: &[String], body: &[u8]| Stanza {
            tag: tag.to_owned(),
            args: args.to_vec(),
            body: body.to_vec(),
        };
        let salt = |bytes: &[u8]| [BASE64_STANDARD_NO_PAD.encode(bytes)];
        let key = |stanzas: &[Stanza]| session.file_key(stanzas).map(|key| *key.expose_secret());
        let good = stanza(FILE, &salt(&[7; 16]), b"");
        assert_eq!(key(&[copy(&good)]), Some(session.key_for(&[7; 16])));
        assert_ne!(session.key_for(&[7; 16]), session.key_for(&[8; 16]));
        for bad in [
            vec![],
            vec![copy(&good), copy(&good)],
            vec![stanza("regress-file-2", &salt(&[7; 16]), b"")],
            vec![stanza(FILE, &[], b"")],
            vec![stanza(FILE, &[salt(&[7; 16]), salt(&[7; 16])].concat(), b"")],
            vec![stanza(FILE, &salt(&[7; 15]), b"")],
            vec![stanza(FILE, &["not base64".to_owned()], b"")],
            vec![stanza(FILE, &salt(&[7; 16]), b"key")],
        ] {
            assert_eq!(key(&bad), None, "{} stanzas", bad.len());
        }
    }
}
