//! The cassette format: its model, its files, the store they live in, and their verification.
//!
//! `FORMAT.md` beside this crate is the specification.

mod address;
mod ambient;
pub mod diff;
mod disk;
mod downstream;
mod error;
mod file;
mod format;
mod glob;
mod model;
mod pack;
mod percent;
mod proposal;
pub mod redact;
mod reseal;
mod route;
pub mod seal;
mod store;
mod unended;
mod verify;

pub use address::{Address, NoAddress};
pub use ambient::Ambient;
pub use disk::write_file;
pub use downstream::downstream_name;
pub use error::Error;
pub use file::{BODIES, header, is_sealed, read, read_with, render};
pub use format::shown;
pub use glob::glob;
pub use model::{
    Cassette, CassetteId, Cause, Confidence, Connection, Content, Defect, Ended, Exchange, HttpExchange, Micros,
    Recorded, Rule, Turn, Via, WireExchange,
};
pub use pack::{Merged, PACK_FORMAT, PACK_SUFFIX, Pack, Packed, merge, pack, unpack};
pub use reseal::{open, rekey, seal as seal_folder};
pub use route::{is_id, route_slug};
pub use store::{AMBIENT_FILE, Located, Pending, Store};
pub use unended::Unended;
pub use verify::{verify, verify_with};

/// The variables that may have keys of a project, or name files that do. They are regress's own, and not for the services
/// that it starts.
pub const SECRET_VARIABLES: [&str; 4] =
    [redact::KEY_VARIABLE, "REGRESS_REDACT_KEY_FILE", seal::IDENTITY_VARIABLE, seal::IDENTITY_FILE_VARIABLE];

/// The newest cassette format that this crate writes, MAJOR.MINOR, apart from the program's version. A cassette is written
/// in the lowest MINOR that has everything that it has.
///
/// A newer MAJOR is refused; a newer MINOR is read, and what it adds is ignored and reported by [`verify()`].
///
/// * 1.0: the first.
/// * 1.1: `nondeterministic`.
/// * 1.2: HTTP/2, and protocols other than HTTP.
/// * 1.3: `redacted`.
/// * 1.4: `left`.
pub const FORMAT: (u16, u16) = (1, 4);
