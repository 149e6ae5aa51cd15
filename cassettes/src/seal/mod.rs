//! Sealing: what is written can be read by those alone who have an identity of one of its recipients.
//!
//! A sealed file is an age file (`FORMAT.md`, "Sealed files"). Its key is made of that of a [`Session`], which is
//! wrapped once for each recipient and stands in every file of a recording, so that a file costs no public-key operation
//! and whoever has opened one can seal others for the same recipients without knowing who they are.

mod file;
mod header;
mod keys;
mod recipients;
mod scratch;
mod session;
mod writer;

pub use file::{Opened, SealedReader, Unopened};
pub use header::Header;
pub use keys::{IDENTITY_FILE_VARIABLE, IDENTITY_VARIABLE, Identities, Keys, NoIdentity};
pub use recipients::{NoRecipient, Recipients};
pub use session::{Seal, Session};
pub use writer::SealedWriter;

pub(crate) use header::{HEAD_LIMIT, readable};
pub(crate) use scratch::Scratch;

/// How the name of every sealed file ends, after what its name would be else.
pub const SEALED_SUFFIX: &str = ".age";

/// The folder of sealed cassettes that tell their routes to nobody.
pub const SEALED_FOLDER: &str = "sealed";

/// The most bytes of a sealed file whose content has at most so many.
pub(crate) fn sealed_limit(content: u64) -> u64 {
    content + content / 1024 + HEAD_LIMIT as u64
}

#[cfg(test)]
mod tests;
