//! Cassettes in object stores: S3 and what speaks its protocol, Google Cloud Storage, Azure, or a mounted folder.
//!
//! A recording is one object, the packed form of its folder, named so that no two hosts write the same one. Whoever
//! reads takes what there is below a URL and merges it into one folder ([`regress_cassettes::merge`]).

mod error;
mod fetch;
mod location;
mod prune;
mod send;
mod spool;

pub use error::{Error, Refusal};
pub use fetch::{Fetched, cached, pull};
pub use location::{Location, is_url};
pub use prune::{Pruned, Retention};
pub use send::{Sent, push};
pub use spool::{Earlier, Finished, Kept, Spool};
