//! `regress record`.

use crate::output::{Exit, Failure};

/// Arguments of `regress record`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Run it.
pub fn run(_args: Args) -> Result<Exit, Failure> {
    Err(Failure::new("not there yet"))
}
