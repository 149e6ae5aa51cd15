//! The `regress` command: records what a service really did, proves that a new build still does it.

mod back_off;
mod cli;
mod commands;
mod config;
mod duration;
mod hook;
mod output;
mod passphrase;
mod redaction;
mod remote;
mod sealing;
mod selection;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = regress_mockserver::sandbox::helper_main() {
        return code;
    }
    cli::run()
}
