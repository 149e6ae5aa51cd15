//! Opening sealed files.

use std::{
    cell::OnceCell,
    io::{self, BufRead, BufReader, Cursor, Read},
    sync::Arc,
};

use age::{DecryptError, Decryptor, Identity};
use age_core::format::{FileKey, Stanza};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

use super::{
    header::{self, HEAD_LIMIT, Header},
    keys::Keys,
    session::Session,
};

/// What was sealed, as far as it is authentic: reading fails where it is not.
pub type SealedReader<R> = age::stream::StreamReader<R>;

/// Why a sealed file cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Nobody said by which key.
    #[error("it is sealed, and no identity was given")]
    NoIdentity,
    /// None of the keys opens it.
    #[error("it is sealed for others than the given identities")]
    OtherIdentity,
    /// It is no sealed file.
    #[error("it has the name of a sealed file and is none")]
    NotSealed,
    /// It is a file of age that regress did not seal, or not in this form.
    #[error("it is encrypted by age, but not in the form in which this regress seals")]
    OtherForm,
    /// Its head is not as it was written.
    #[error("its head was changed or cut off since it was sealed")]
    Head,
    /// Its content is not as it was written.
    #[error("its content was changed or cut off since it was sealed")]
    Content,
    /// Its readable header says something else than its content.
    #[error("its readable header does not fit its content")]
    Header,
}

impl Unopened {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Unopened::NoIdentity => {
                "give the secret key with --identity FILE, in REGRESS_IDENTITY_FILE or in REGRESS_IDENTITY"
            }
            Unopened::OtherIdentity => {
                "give another identity, or have somebody who can open it run `regress cassette rekey` for you; where the identity is right, the head of the file was changed"
            }
            Unopened::NotSealed => {
                "restore the file from version control, or name it without .age if it was never sealed"
            }
            Unopened::OtherForm => "upgrade regress, or decrypt it with age",
            Unopened::Head | Unopened::Content | Unopened::Header => {
                "restore the file from version control, or record it again"
            }
        }
    }
}

/// What was in a sealed file.
#[derive(Debug)]
pub struct Opened {
    /// Its content.
    pub content: Vec<u8>,
    /// Its readable header.
    pub header: Option<Header>,
    /// What it was sealed in.
    pub session: Arc<Session>,
}

/// What reads a file's content, its header, and what it was sealed in.
type Begun<R> = (SealedReader<R>, Option<Header>, Arc<Session>);

impl Keys {
    /// Open a whole file.
    ///
    /// # Errors
    /// When it cannot be opened, or any of it is not as it was sealed.
    pub fn open(&self, file: &[u8]) -> Result<Opened, Unopened> {
        let (mut reader, header, session) = self.opened(&file[..file.len().min(HEAD_LIMIT)], file)?;
        let mut content = Vec::with_capacity(file.len());
        reader.read_to_end(&mut content).map_err(|_| Unopened::Content)?;
        Ok(Opened { content, header, session })
    }

    /// Open a line that [`Session::seal_line`] made.
    ///
    /// # Errors
    /// As for [`Keys::open`].
    pub fn open_line(&self, line: &[u8]) -> Result<Vec<u8>, Unopened> {
        let file = BASE64_STANDARD_NO_PAD.decode(line).map_err(|_| Unopened::NotSealed)?;
        self.open(&file).map(|opened| opened.content)
    }

    /// Open a file that is read bit by bit.
    ///
    /// # Errors
    /// When it cannot be read, or (as [`io::ErrorKind::InvalidData`] with an [`Unopened`]) not be opened.
    pub fn reader<R: Read>(&self, mut file: R) -> io::Result<SealedReader<impl BufRead + use<R>>> {
        let mut head = Vec::new();
        file.by_ref().take(HEAD_LIMIT as u64).read_to_end(&mut head)?;
        let whole = BufReader::new(Cursor::new(head.clone()).chain(file));
        let opened = self.opened(&head, whole).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        Ok(opened.0)
    }

    fn opened<R: BufRead>(&self, head: &[u8], file: R) -> Result<Begun<R>, Unopened> {
        let header = header::read(head)?;
        if self.is_empty() {
            return Err(Unopened::NoIdentity);
        }
        let decryptor = Decryptor::new_buffered(file).map_err(|_| Unopened::Head)?;
        let reading = Reading { keys: self, session: OnceCell::new(), is_ours: OnceCell::new() };
        let reader = decryptor.decrypt(std::iter::once(&reading as &dyn Identity));
        match (reader, reading.session.into_inner()) {
            (Ok(reader), Some(session)) => Ok((reader, header, session)),
            (Err(DecryptError::NoMatchingKeys), None) if reading.is_ours.get() == Some(&false) => {
                Err(Unopened::OtherForm)
            }
            (Err(DecryptError::NoMatchingKeys), None) => Err(Unopened::OtherIdentity),
            _ => Err(Unopened::Head),
        }
    }
}

/// Finds the key of a file.
struct Reading<'k> {
    keys: &'k Keys,
    session: OnceCell<Arc<Session>>,
    /// Whether it was sealed by regress.
    is_ours: OnceCell<bool>,
}

impl Identity for Reading<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let is_ours = stanzas.iter().any(Session::is_of_sealing) && stanzas.iter().any(Session::is_wrapped_in);
        let _ = self.is_ours.set(is_ours);
        let session = self.keys.session(stanzas)?;
        let key = session.file_key(stanzas).ok_or(DecryptError::InvalidHeader);
        let _ = self.session.set(session);
        Some(key)
    }
}
