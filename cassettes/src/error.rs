//! What can go wrong with cassettes.

use std::{io, path::PathBuf};

use crate::{FORMAT, PACK_FORMAT, seal::Unopened};

/// An error of reading or writing cassettes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, for example `read`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file is not JSON: cut off, or damaged.
    #[error("{}:{line}:{column}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// The file is JSON that the format does not allow.
    #[error("{}:{line}:{column}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// The file was written in a newer format than this program reads.
    #[error("{}: cassette format {}.{} is newer than {}.{}, the newest that this regress reads",
        path.display(), found.0, found.1, FORMAT.0, FORMAT.1)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: (u16, u16),
    },
    /// The file is bigger than a cassette can be.
    #[error("{}: {size} bytes, more than the {limit} that a file of a store may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A body file is not there.
    #[error("{}: the body file bodies/{name} is missing", path.display())]
    BodyMissing {
        /// The cassette that refers to it.
        path: PathBuf,
        /// Its name: its SHA-256, or what a sealed one has instead.
        name: String,
    },
    /// A sealed file cannot be opened.
    #[error("{}: {why}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: Unopened,
    },
    /// The cassettes of the folder are sealed, and what is to be written is not.
    #[error("{}: its cassettes are sealed, and this recording would not be", path.display())]
    SealedStore {
        /// The folder.
        path: PathBuf,
    },
    /// The cassettes of the folder are not sealed, and what is to be written is.
    #[error("{}: it has cassettes that are not sealed, and this recording would be", path.display())]
    PlainStore {
        /// The folder.
        path: PathBuf,
    },
    /// The ambient cassette of an earlier recording cannot be opened, so that nothing can be added to it.
    #[error("{}: the ambient cassette of an earlier recording, which this one would be added to: {why}", path.display())]
    SealedAmbient {
        /// The file.
        path: PathBuf,
        /// Why it cannot be opened.
        why: Unopened,
    },
    /// A cassette is there sealed, and not sealed as well.
    #[error("{}: it is there sealed as well", path.display())]
    SealedTwice {
        /// The one that is not sealed.
        path: PathBuf,
    },
    /// A body file does not hold what its name says.
    #[error("{}: its content is not what the cassette recorded ({what})", body.display())]
    BodyChanged {
        /// The cassette that refers to it.
        path: PathBuf,
        /// The body file.
        body: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The file has the name of another cassette.
    #[error("{}: what it holds is the cassette {id}", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The id that it holds.
        id: String,
    },
    /// A message does not read back from its own bytes.
    #[error("{}: the head of {place} does not fit its body", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// Which message, for example `downstream[2].response`.
        place: String,
    },
    /// The cassette cannot be written so that reading gives the same again.
    #[error("cassette {id} cannot be written to {}: {what}", path.display())]
    Unwritable {
        /// Where it was to be written.
        path: PathBuf,
        /// Its id.
        id: String,
        /// Why.
        what: String,
    },
    /// The file is no packed folder that is whole.
    #[error("{}: not a packed folder of cassettes that can be read: {what}", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file was packed in a newer form than this program reads.
    #[error("{}: packed form {}.{} is newer than {}.{}, the newest that this regress reads",
        path.display(), found.0, found.1, PACK_FORMAT.0, PACK_FORMAT.1)]
    NewerPack {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: (u16, u16),
    },
    /// A packed folder cannot be written to.
    #[error("{}: a packed folder of cassettes can only be read", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
    },
    /// Something is where something new is to be made.
    #[error("{}: it is there already", path.display())]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// Two recordings do not go together.
    #[error("{path} is in {} and, with another content, in {}", first.display(), second.display())]
    Both {
        /// The path in the folder of cassettes.
        path: String,
        /// One of the packed folders.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A proposal waits for review, which packing would lose.
    #[error("{}: it waits for review, and is not packed", path.display())]
    Waiting {
        /// The proposal.
        path: PathBuf,
    },
    /// A recording into the folder has not ended.
    #[error("{}: a recording into this folder {}", path.display(), if *at_work { "goes on" } else { "did not end" })]
    Unended {
        /// Its mark.
        path: PathBuf,
        /// Whether the recorder lives.
        at_work: bool,
    },
    /// A link stands where a folder of cassettes should.
    #[error("{}: it is a symbolic link, through which nothing is written", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// There is no such cassette folder.
    #[error("{}: there is no such cassette folder", path.display())]
    NoStore {
        /// The path.
        path: PathBuf,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Io { source, .. } => return io_hint(source),
            Error::Syntax { .. } => {
                "the file was cut off or damaged: restore it from version control, or record it again"
            }
            Error::Format { .. } => "undo the edit, or see cassettes/FORMAT.md for what may stand there",
            Error::Newer { .. } => "upgrade regress, or record the cassette again with this version",
            Error::TooLarge { .. } => "record fewer entries at a time, or delete the file if it is not a cassette",
            Error::BodyMissing { .. } => {
                "commit the `bodies` folder together with the cassettes, or record the cassette again"
            }
            Error::BodyChanged { .. } => {
                "body files are named by their content and must not be edited: restore the file from version control"
            }
            Error::Misnamed { path, id } if crate::is_sealed(path) => {
                return Some(format!(
                    "name the file {id}.cassette.json.age again, or restore the one that has that name"
                ));
            }
            Error::Misnamed { id, .. } => return Some(format!("name the file {id}.cassette.json, or correct the id")),
            Error::Inconsistent { .. } => {
                "after editing a body, set its Content-Length (or the sizes of its chunks) to the new length"
            }
            Error::Unwritable { .. } => "this is a defect of regress: please report it",
            Error::Pack { .. } => "pack the folder again with `regress cassette pack DIR`, or fetch the file again",
            Error::NewerPack { .. } => "upgrade regress, or unpack it with the version that packed it",
            Error::Packed { path } => {
                return Some(format!("unpack it first: `regress cassette unpack {}`", path.display()));
            }
            Error::Taken { .. } => "delete it, or give another name with -o",
            Error::Both { .. } => "they are two versions of one recording: remove the one that is not wanted any more",
            Error::Waiting { .. } => "accept or reject it with `regress review DIR` first",
            Error::Sealed { why, .. } => why.hint(),
            Error::SealedAmbient { .. } => {
                "record to another folder with -o, or give the identity with --identity FILE"
            }
            Error::SealedStore { .. } => "record with --seal as well, or to another folder",
            Error::PlainStore { .. } => "seal them first with `regress cassette seal`, or record to another folder",
            Error::SealedTwice { .. } => "finish what was begun: `regress cassette seal` or `regress cassette open`",
            Error::Unended { at_work: true, .. } => "wait for its end",
            Error::Unended { .. } => {
                "its cassettes are whole, but evidence against an owner and exchanges that no entry caused may be missing: \
                 record again, or delete this file to take what there is (docs/durability.md)"
            }
            Error::Link { .. } => {
                "somebody else may have put it there: remove it, and let only yourself write in the folder"
            }
            Error::NoStore { .. } => "name the folder that `regress record -o DIR` wrote",
        };
        Some(hint.to_owned())
    }
}

fn io_hint(source: &io::Error) -> Option<String> {
    let hint = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space or choose another folder; nothing half-written was left behind"
        }
        io::ErrorKind::FileTooLarge => "raise the file size limit (ulimit -f); nothing half-written was left behind",
        io::ErrorKind::PermissionDenied => "check who owns the folder, or choose another one",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written to",
        io::ErrorKind::NotFound => "check the path",
        _ => return None,
    };
    Some(hint.to_owned())
}
