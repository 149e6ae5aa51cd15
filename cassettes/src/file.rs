//! Cassette files, read whole. [`crate::disk`] writes them.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    Error, FORMAT, Pack,
    disk::{open_regular, read_bounded},
    format::{self, Decoded, Fault, Flaw},
    model::Cassette,
    proposal,
    seal::{HEAD_LIMIT, Header, Keys, Opened, SEALED_SUFFIX, Seal, Session, Unopened, readable, sealed_limit},
    store::SUFFIX,
};

/// The biggest cassette file in bytes.
pub const LIMIT: u64 = 256 << 20;

/// The biggest body file in bytes.
pub const BODY_LIMIT: u64 = 1 << 30;

/// The folder of body files in a store.
pub const BODIES: &str = "bodies";

/// Read a cassette file together with the body files that it refers to (`bodies/` in its folder or the one above).
pub fn read(path: &Path) -> Result<Cassette, Error> {
    read_with(path, &Keys::default())
}

/// The same, also where it is sealed.
pub fn read_with(path: &Path, keys: &Keys) -> Result<Cassette, Error> {
    read_decoded(Source { pack: None, keys }, path).map(|decoded| decoded.cassette)
}

/// What a sealed cassette tells everybody, not authenticated; `None` where it tells nothing.
pub fn header(path: &Path) -> Result<Option<Header>, Error> {
    Source { pack: None, keys: &Keys::default() }.header(path)
}

/// Whether a file is sealed, by its name.
pub fn is_sealed(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    name.strip_suffix(b".new").unwrap_or(name).ends_with(SEALED_SUFFIX.as_bytes())
}

/// Where the files of a store are, and what opens those that are sealed.
#[derive(Clone, Copy, Debug)]
pub struct Source<'p> {
    /// In a packed folder, where there is one: they are named as if it were a folder.
    pub pack: Option<&'p Pack>,
    /// What opens them.
    pub keys: &'p Keys,
}

/// What a cassette file or a proposal says.
#[derive(Debug)]
pub struct Text {
    /// That of a proposal without its mark.
    pub text: String,
    /// What a proposal's mark says: the hash of the cassette that it was made from.
    pub made_from: Option<String>,
    /// How it is sealed, where it is.
    pub sealed: Option<Sealed>,
}

/// How a file is sealed.
#[derive(Debug)]
pub struct Sealed {
    pub session: Arc<Session>,
    pub header: Option<Header>,
    /// Bytes of its content, a proposal's mark included.
    bytes: usize,
}

impl Sealed {
    /// What seals another file in the same way.
    pub fn seal(&self) -> Seal {
        Seal { session: Arc::clone(&self.session), header: self.header.is_some() }
    }
}

impl Source<'_> {
    /// A cassette file's text.
    pub fn text(self, path: &Path) -> Result<Text, Error> {
        let (content, sealed) = self.content(path)?;
        let text = utf8(path, content)?;
        let is_proposal = path.as_os_str().as_encoded_bytes().ends_with(b".new");
        let (text, made_from) = if is_proposal { proposal::unmarked(&text) } else { (text, None) };
        Ok(Text { text, made_from, sealed })
    }

    /// What a cassette file or a proposal holds, and how it is sealed.
    pub fn content(self, path: &Path) -> Result<(Vec<u8>, Option<Sealed>), Error> {
        let bytes = self.bytes(path, LIMIT)?.ok_or_else(|| missing(path))?;
        if !is_sealed(path) {
            return Ok((bytes.into(), None));
        }
        let Opened { content, header, session } = self.opened(path, &bytes)?;
        let bytes = content.len();
        Ok((content, Some(Sealed { session, header, bytes })))
    }

    /// A file as it is; `None` where it is not there.
    fn bytes(self, path: &Path, limit: u64) -> Result<Option<Bytes>, Error> {
        match self.pack {
            Some(pack) => pack.content_at(path),
            None => {
                let limit = if is_sealed(path) { sealed_limit(limit) } else { limit };
                match read_bounded(path, limit) {
                    Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
                    bytes => bytes.map(|bytes| Some(bytes.into())),
                }
            }
        }
    }

    /// What a sealed file tells everybody.
    pub fn header(self, path: &Path) -> Result<Option<Header>, Error> {
        let head = match self.pack {
            Some(_) => self.bytes(path, LIMIT)?.ok_or_else(|| missing(path))?,
            None => {
                let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
                let mut head = Vec::new();
                let file = open_regular(path).map_err(failed)?;
                file.take(HEAD_LIMIT as u64).read_to_end(&mut head).map_err(failed)?;
                head.into()
            }
        };
        readable(&head[..head.len().min(HEAD_LIMIT)]).map_err(|why| Error::Sealed { path: path.to_owned(), why })
    }

    fn opened(self, path: &Path, bytes: &[u8]) -> Result<Opened, Error> {
        self.keys.open(bytes).map_err(|why| Error::Sealed { path: path.to_owned(), why })
    }

    /// The content of a body file, which holds what its name says. `session`: what the cassette is sealed in.
    pub fn body(self, cassette: &Path, hash: &str, size: u64, session: Option<&Session>) -> Result<Bytes, Error> {
        let name = body_file(hash, session);
        let folder = cassette.parent().unwrap_or(Path::new(""));
        let candidates = match self.pack {
            Some(pack) => vec![pack.path().join(BODIES).join(&name)],
            None => vec![folder.join(BODIES).join(&name), folder.join("..").join(BODIES).join(&name)],
        };
        let mut found = candidates.into_iter().map(|body| Ok((self.bytes(&body, BODY_LIMIT)?, body)));
        let (bytes, body) = loop {
            match found.next().transpose()? {
                Some((Some(bytes), body)) => break (bytes, body),
                Some((None, _)) => {}
                None => return Err(Error::BodyMissing { path: cassette.to_owned(), name }),
            }
        };
        let bytes = if session.is_some() { self.opened(&body, &bytes)?.content.into() } else { bytes };
        let changed = |what| Err(Error::BodyChanged { path: cassette.to_owned(), body: body.clone(), what });
        if bytes.len() as u64 != size {
            return changed("another size");
        }
        if format::hash(&bytes) != hash {
            return changed("another hash");
        }
        Ok(bytes)
    }
}

/// The name of a body file whose content has this hash.
pub fn body_file(hash: &str, session: Option<&Session>) -> String {
    session.map_or_else(|| hash.to_owned(), |session| session.body_name(hash) + SEALED_SUFFIX)
}

fn missing(path: &Path) -> Error {
    Error::Io { action: "read", path: path.to_owned(), source: io::ErrorKind::NotFound.into() }
}

/// The text of a cassette file: what is written to disk, a pure function of the cassette.
pub fn render(cassette: &Cassette) -> String {
    format::encode(cassette).0
}

/// Read a cassette file; unknown fields are there only where its format is newer. A sealed one is what its name and its
/// readable header say.
pub fn read_decoded(source: Source<'_>, path: &Path) -> Result<Decoded, Error> {
    let Text { text, sealed, .. } = source.text(path)?;
    let session = sealed.as_ref().map(|sealed| &*sealed.session);
    let decoded = format::decode(&text, &mut |hash, size| source.body(path, hash, size, session))
        .map_err(|flaw| flaw_error(path, &text, flaw))?;
    if let Some(sealed) = sealed {
        check_sealed(path, &sealed, &decoded.cassette)?;
    }
    match decoded.unknown.first() {
        Some(fault) if decoded.format <= FORMAT => Err(fault_error(path, &text, fault.clone())),
        _ => Ok(decoded),
    }
}

/// Whether a sealed cassette is the one that its name and its readable header say: those can be changed without a key.
pub fn check_sealed(path: &Path, sealed: &Sealed, cassette: &Cassette) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if id_of(&name) != Some(&*cassette.id.0) {
        return Err(Error::Misnamed { path: path.to_owned(), id: cassette.id.to_string() });
    }
    match &sealed.header {
        Some(header) if *header != Header::of(cassette, sealed.bytes) => {
            Err(Error::Sealed { path: path.to_owned(), why: Unopened::Header })
        }
        _ => Ok(()),
    }
}

/// The id that a cassette's or proposal's file name says; `None` where it is none's.
pub fn id_of(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".new").unwrap_or(name);
    name.strip_suffix(SEALED_SUFFIX).unwrap_or(name).strip_suffix(SUFFIX)
}

/// A file's content as a text.
pub fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        syntax(path, &text, Fault::new(valid, "bytes that are not UTF-8"))
    })
}

/// The error that a flaw of a cassette's text is.
pub fn flaw_error(path: &Path, text: &str, flaw: Flaw) -> Error {
    match flaw {
        Flaw::Syntax(fault) => syntax(path, text, fault),
        Flaw::Format(fault) => fault_error(path, text, fault),
        Flaw::Newer(found) => Error::Newer { path: path.to_owned(), found },
        Flaw::Error(error) => error,
    }
}

fn syntax(path: &Path, text: &str, fault: Fault) -> Error {
    let (line, column) = position(text, fault.at);
    Error::Syntax { path: path.to_owned(), line, column, what: fault.what }
}

/// The error that a fault of the format is.
pub fn fault_error(path: &Path, text: &str, fault: Fault) -> Error {
    let (line, column) = position(text, fault.at);
    Error::Format { path: path.to_owned(), line, column, what: fault.what }
}

/// Line and column, from 1, of a byte offset.
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
