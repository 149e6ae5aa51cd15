//! Certificates of our own: an authority for one run, leaves for every name, and the files that make a service trust it.

mod authority;
mod keystore;
mod trust;

pub use authority::{Authority, is_client_hello};
pub use trust::{SYSTEM_BUNDLES, TrustFiles};
