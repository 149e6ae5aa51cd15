//! Cassette files, read whole. [`crate::disk`] writes them.

use std::{io, path::Path};

use bytes::Bytes;

use crate::{
    Error, FORMAT, Pack,
    disk::read_bounded,
    format::{self, Decoded, Fault, Flaw},
    model::Cassette,
    proposal,
    store::PENDING_SUFFIX,
};

/// The biggest cassette file in bytes.
pub const LIMIT: u64 = 256 << 20;

/// The biggest body file in bytes.
pub const BODY_LIMIT: u64 = 1 << 30;

/// The folder of body files in a store.
pub const BODIES: &str = "bodies";

/// Read a cassette file together with the body files that it refers to (`bodies/` in its folder or the one above).
pub fn read(path: &Path) -> Result<Cassette, Error> {
    read_decoded(Source::Folder, path).map(|decoded| decoded.cassette)
}

/// Where the files of a store are.
#[derive(Clone, Copy, Debug)]
pub enum Source<'p> {
    /// In a folder.
    Folder,
    /// In a packed one: they are named as if it were a folder.
    Packed(&'p Pack),
}

impl Source<'_> {
    /// A cassette file's text, that of a proposal without its mark.
    pub fn text(self, path: &Path) -> Result<String, Error> {
        self.marked(path).map(|(text, _)| text)
    }

    fn marked(self, path: &Path) -> Result<(String, Option<String>), Error> {
        let bytes = match self {
            Source::Folder => read_bounded(path, LIMIT)?,
            Source::Packed(pack) => {
                let missing =
                    || Error::Io { action: "read", path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
                pack.content_at(path)?.ok_or_else(missing)?.into()
            }
        };
        let text = utf8(path, bytes)?;
        let is_proposal = path.as_os_str().as_encoded_bytes().ends_with(PENDING_SUFFIX.as_bytes());
        Ok(if is_proposal { proposal::unmarked(&text) } else { (text, None) })
    }

    /// The content of a body file, which holds what its name says.
    pub fn body(self, cassette: &Path, hash: &str, size: u64) -> Result<Bytes, Error> {
        let missing = || Error::BodyMissing { path: cassette.to_owned(), hash: hash.to_owned() };
        let folder = cassette.parent().unwrap_or(Path::new(""));
        let (body, bytes) = match self {
            Source::Folder => {
                let candidates = [folder.join(BODIES).join(hash), folder.join("..").join(BODIES).join(hash)];
                let body = candidates.into_iter().find(|body| body.is_file()).ok_or_else(missing)?;
                let bytes = read_bounded(&body, BODY_LIMIT)?;
                (body, bytes.into())
            }
            Source::Packed(pack) => {
                let body = pack.path().join(BODIES).join(hash);
                let bytes = pack.content_at(&body)?.ok_or_else(missing)?;
                (body, bytes)
            }
        };
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

/// The text of a cassette file: what is written to disk, a pure function of the cassette.
pub fn render(cassette: &Cassette) -> String {
    format::encode(cassette).0
}

/// Read a cassette file; unknown fields are there only where its format is newer.
pub fn read_decoded(source: Source<'_>, path: &Path) -> Result<Decoded, Error> {
    let text = source.text(path)?;
    let decoded = format::decode(&text, &mut |hash, size| source.body(path, hash, size))
        .map_err(|flaw| flaw_error(path, &text, flaw))?;
    match decoded.unknown.first() {
        Some(fault) if decoded.format <= FORMAT => Err(fault_error(path, &text, fault.clone())),
        _ => Ok(decoded),
    }
}

/// A cassette file's text, that of a proposal without its mark.
pub fn read_text(path: &Path) -> Result<String, Error> {
    Source::Folder.text(path)
}

/// A file's text and, where it is a proposal's, the hash of the cassette that it was made from.
pub fn read_marked(path: &Path) -> Result<(String, Option<String>), Error> {
    Source::Folder.marked(path)
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, Error> {
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
