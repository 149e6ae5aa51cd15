//! `regress cassette`.

use crate::output::{Exit, Failure};

/// Arguments of `regress cassette`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Run it.
pub fn run(_args: Args) -> Result<Exit, Failure> {
    Err(Failure::new("not there yet"))
}
