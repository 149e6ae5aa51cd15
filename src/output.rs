//! The only place that prints: data to stdout, everything else to stderr.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

use std::{error::Error, fmt, io::IsTerminal, process::ExitCode};

use tracing_subscriber::EnvFilter;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: same; record: entries recorded, nothing lost.
    Same,
    /// 1: different.
    Different,
    /// 2: could not tell.
    CouldNotTell,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Same => 0,
            Exit::Different => 1,
            Exit::CouldNotTell => 2,
        })
    }
}

/// Why a command could not do its work, and what the user can do about it.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl Failure {
    /// A failure without a cause below it.
    pub fn new(what: impl fmt::Display) -> Failure {
        Failure { error: what.to_string().into(), hint: None }
    }

    /// A failure that an error explains; its chain of sources is printed as causes.
    pub fn from_error(error: impl Error + Send + Sync + 'static) -> Failure {
        Failure { error: Box::new(error), hint: None }
    }

    /// The same, with what the error itself says to do about it.
    pub fn explained(error: impl Error + Send + Sync + 'static, hint: Option<String>) -> Failure {
        Failure { error: Box::new(error), hint }
    }

    /// Say what to do about it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }
}

/// Print `error:`, its causes and the hint.
pub fn report_failure(failure: &Failure) {
    eprintln!("error: {}", failure.error);
    let mut cause = failure.error.source();
    while let Some(error) = cause {
        eprintln!("  caused by: {error}");
        cause = error.source();
    }
    if let Some(hint) = &failure.hint {
        eprintln!("hint: {hint}");
    }
}

/// Print data: what the user asked for.
pub fn data(text: impl fmt::Display) {
    use std::io::Write;
    // A closed pipe (`| head`) ends the output, not the program.
    let _ = write!(std::io::stdout(), "{text}");
}

/// Print a file.
///
/// # Errors
/// When not all of it could be written, or whoever asked for it would see no text.
pub fn file(content: &[u8]) -> Result<(), Failure> {
    use std::io::{Write as _, stdout};
    if stdout().is_terminal() && std::str::from_utf8(content).is_err() {
        return Err(Failure::new("this is no text for a terminal").hint("write it to a file: >FILE"));
    }
    let written = stdout().write_all(content).and_then(|()| stdout().flush());
    written.map_err(|error| Failure::from_error(error).hint("what was written of it is of no use"))
}

/// Print a line about what is going on.
pub fn say(text: impl fmt::Display) {
    eprintln!("{text}");
}

/// Whether stderr may be coloured.
fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What the verifier of certificates logs stands in the error as well, once for each time that is tried.
const DEFAULT_FILTER: &str = "warn,rustls_platform_verifier=off";
/// The same for what runs for long and is asked afterwards who did what.
const INFO_FILTER: &str = "info,aya=warn,rustls_platform_verifier=off";

/// Send `tracing` to stderr; `REGRESS_LOG` sets the filter (default `warn`, or `info` for what `tells_more`).
pub fn start_logging(tells_more: bool) {
    let default = if tells_more { INFO_FILTER } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_env("REGRESS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour())
        .without_time()
        .try_init();
}
