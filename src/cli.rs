//! The command line: one subcommand a file under `commands/`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{commands, output};

/// Record what a service really did, from the kernel; prove in CI that a new build still does it.
#[derive(Debug, Parser)]
#[command(name = "regress", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 same (record: entries recorded, nothing lost), 1 different, 2 could not tell.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a running service, or run one, and write cassettes
    Record(Box<commands::record::Args>),
    /// Start a new build in a sealed sandbox, play its downstreams, judge what it does
    Replay(commands::replay::Args),
    /// Replay the recorded build against itself, and propose rules for what varies
    Noise(commands::noise::Args),
    /// Accept or reject the differences that a replay found
    Review(commands::review::Args),
    /// Look at cassettes
    Cassette(commands::cassette::Args),
    /// Capture for recorders that may not themselves, in containers and of users without privileges
    Server(commands::server::Args),
    /// What this host can do, what is missing, and what to do about it
    Doctor(commands::doctor::Args),
    /// Print a hook: a small program with which a service says what it works for (`record --hook`)
    Hook(commands::hook::Args),
    /// The whole tour on a built-in sample shop
    Demo(commands::demo::Args),
    /// The sample shop itself, one build of it
    #[command(hide = true)]
    SampleShop(commands::demo::ShopArgs),
}

/// Parse the arguments, run the command, render what went wrong.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    output::start_logging(matches!(cli.command, Command::Server(_)));
    let result = match cli.command {
        Command::Record(args) => commands::record::run(*args),
        Command::Replay(args) => commands::replay::run(args),
        Command::Noise(args) => commands::noise::run(args),
        Command::Review(args) => commands::review::run(args),
        Command::Cassette(args) => commands::cassette::run(args),
        Command::Server(args) => commands::server::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Hook(args) => commands::hook::run(args),
        Command::Demo(args) => commands::demo::run(args),
        Command::SampleShop(args) => commands::demo::run_shop(args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::report_failure(&failure);
            output::Exit::CouldNotTell.into()
        }
    }
}
