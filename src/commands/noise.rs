//! `regress noise`.

mod report;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use regress_replayer::{
    Outcome, Report, Selection, Settings, Verdict,
    noise::{self, Learned, Proposal},
    report::line,
};

use crate::{
    commands::{replay, review},
    config::{Config, Protos, rules_file},
    output::{self, Exit, Failure},
    redaction, sealing,
};

/// Arguments of `regress noise`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The folder of cassettes
    #[arg(value_name = "DIR")]
    store: PathBuf,
    /// How often to replay
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(2..=1000), env = "REGRESS_RUNS")]
    runs: u16,
    /// Write every proposed rule to the settings without asking
    #[arg(long)]
    accept: bool,
    /// Print what was learned as JSON (docs/noise.md), and ask nothing
    #[arg(long)]
    json: bool,
    /// How many sandboxes work side by side
    #[arg(long, value_name = "N", default_value = "1", env = "REGRESS_JOBS")]
    jobs: NonZeroUsize,
    /// Only entries whose route or id contains this, or matches it as a pattern with * and ?
    #[arg(long, value_name = "PATTERN", env = "REGRESS_FILTER")]
    filter: Option<String>,
    /// The port the service takes entries on, where it is not the recorded one
    #[arg(long, value_name = "PORT", env = "REGRESS_ENTRY_PORT")]
    entry_port: Option<u16>,
    #[command(flatten)]
    protos: Protos,
    /// The settings, which accepted rules are added to [default: regress.toml in DIR or in the current folder]
    #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    redact: redaction::KeyArgs,
    #[command(flatten)]
    identity: sealing::IdentityArgs,
    /// The command that starts the build that was recorded [default: the one in regress.toml]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXIT_CODES: &str = "Exit codes: 0 nothing varies beyond the rules, those accepted now included; 1 something varies \
                          and waits; 2 could not tell, also where the build does not do what was recorded.";

/// Run it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let config = Config::load(args.config.as_deref(), Some(&args.store))?;
    let command = replay::command(args.command, &config)?;
    let settings = Settings {
        jobs: args.jobs.get(),
        selection: Selection { filters: args.filter.into_iter().collect(), ..Selection::default() },
        entry_port: args.entry_port,
        ..replay::settings(
            (args.store.clone(), args.identity.keys()?),
            command,
            &config,
            &args.protos,
            config.redact.redactor(&args.redact)?,
        )?
    };
    let learned = watch(&settings, args.runs.into())?;
    let file = Config::rules_file(args.config.as_deref(), &args.store);
    let is_asked = !args.accept && !args.json && io::stdin().is_terminal() && io::stderr().is_terminal();
    if !args.json {
        output::data(report::text(&learned, replay::colour(&io::stdout())));
    }
    let accepted = match (args.accept, is_asked) {
        (true, _) => learned.proposals.iter().collect(),
        (false, true) => ask(&learned.proposals)?,
        (false, false) => Vec::new(),
    };
    let written = write(&file, &accepted)?;
    if args.json {
        output::data(report::json(&learned, &file, written));
    }
    let waiting = learned.proposals.len() - accepted.len();
    if waiting > 0 && !is_asked {
        output::say(format_args!(
            "{} proposed and not written; --accept writes to {}",
            report::count(waiting, "rule"),
            file.display()
        ));
    }
    Ok(exit(&learned, waiting))
}

fn exit(learned: &Learned, waiting: usize) -> Exit {
    if waiting > 0 || !learned.unruled.is_empty() {
        Exit::Different
    } else if learned.entries == 0 || !learned.changes.is_empty() || !learned.unjudged.is_empty() {
        Exit::CouldNotTell
    } else {
        Exit::Same
    }
}

/// Replay so many times, and learn.
fn watch(settings: &Settings, runs: usize) -> Result<Learned, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format_args!("cannot start the runtime: {error}")))?;
    let colour = replay::colour(&io::stderr());
    let progress = |outcome: &Outcome| {
        if outcome.verdict == Verdict::Inconclusive {
            output::say(line(outcome, colour));
        }
    };
    let told = |number: usize, report: &Report| {
        let summary = report.summary();
        output::say(format_args!(
            "run {number} of {runs}: {} as recorded, {} not, {} inconclusive",
            summary.same, summary.different, summary.inconclusive
        ));
    };
    let watched = runtime.block_on(async {
        tokio::select! {
            watched = noise::repeat(settings, runs, progress, told) => watched.map_err(review::failure),
            signal = replay::asked_to_end() => Err(Failure::new(format_args!("ended by {signal}"))),
        }
    })?;
    Ok(noise::learn(&watched))
}

/// Ask about each.
fn ask(proposals: &[Proposal]) -> Result<Vec<&Proposal>, Failure> {
    let colour = replay::colour(&io::stderr());
    let mut accepted = Vec::new();
    for (number, proposal) in proposals.iter().enumerate() {
        let described = report::described(proposal, colour);
        output::say(format_args!("\n{}/{}  {described}", number + 1, proposals.len()));
        match review::ask("[a]ccept, [s]kip, [q]uit?", "asq")? {
            'a' => accepted.push(proposal),
            's' => {}
            _ => break,
        }
    }
    Ok(accepted)
}

/// Add rules to the settings, and say so.
fn write(file: &Path, accepted: &[&Proposal]) -> Result<usize, Failure> {
    if accepted.is_empty() {
        return Ok(0);
    }
    let rules: Vec<_> = accepted.iter().map(|proposal| proposal.rule()).collect();
    let written = rules_file::append(file, &rules)?;
    output::say(format_args!("{} written to {}", report::count(written, "rule"), file.display()));
    Ok(written)
}
