//! `regress hook`.

use crate::{
    hook::Runtime,
    output::{self, Exit, Failure},
};

/// Arguments of `regress hook`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the service runs on
    #[arg(value_enum)]
    runtime: Runtime,
}

/// Run it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    output::file(args.runtime.file())?;
    Ok(Exit::Same)
}
