//! `regress replay`.

mod changed;
mod progress;

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use regress_cassettes::{Pack, Store, diff::Schemas, redact::Redactor, seal::Keys};
use regress_mockserver::mock::Policy;
use regress_replayer::{
    Keep, Report, Selection, Settings, Shard, Verdict,
    report::{self, Colour},
    review::Proposal,
};

use tokio::signal::unix::{SignalKind, signal};

use self::progress::Display;
use crate::{
    commands::review,
    config::{Config, MaxRung, Protos, ReusePolicy},
    output::{self, Exit, Failure},
    redaction, remote, sealing,
};

/// Arguments of `regress replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of cassettes, or a packed one (*.cassettes.zst) or the URL of an object store (s3://BUCKET/PREFIX), which take
    /// no proposals
    #[arg(value_name = "DIR")]
    store: PathBuf,
    /// Write a report: text, json, junit, html, markdown or github (a job's annotations and summary), to a file or to
    /// stdout (-); repeatable [default: text=-]
    #[arg(long = "report", value_name = "FORMAT=PATH")]
    reports: Vec<Destination>,
    #[command(flatten)]
    redact: redaction::KeyArgs,
    #[command(flatten)]
    identity: sealing::IdentityArgs,
    /// How many sandboxes work side by side
    #[arg(long, value_name = "N", default_value = "1", env = "REGRESS_JOBS")]
    jobs: NonZeroUsize,
    /// Only entries whose route or id contains this, or matches it as a pattern with * and ?; repeatable
    #[arg(long = "filter", value_name = "PATTERN", env = "REGRESS_FILTER")]
    filters: Vec<String>,
    /// Only one of N parts of the entries, the I-th; an entry stays in its part when others come or go
    #[arg(long, value_name = "I/N", env = "REGRESS_SHARD")]
    shard: Option<Shard>,
    /// Only entries whose cassette is another one than in this revision of git [default: where the branch left the
    /// default branch]; all, where the ambient cassette or regress.toml is
    #[arg(long, value_name = "REV", num_args = 0..=1, require_equals = true)]
    changed_only: Option<Option<String>>,
    /// Stop at the first entry that is different
    #[arg(long)]
    fail_fast: bool,
    /// Go on with the same replay where it was interrupted (a signal, a crash, a reboot)
    #[arg(long)]
    resume: bool,
    /// Accept every difference at once (the exit code still says what this replay found)
    #[arg(long, conflicts_with = "no_pending")]
    update: bool,
    /// Write no proposals (*.new) beside the cassettes
    #[arg(long)]
    no_pending: bool,
    /// The weakest way in which a recorded call may answer one that is made [default: bound]
    #[arg(long, value_name = "RUNG", env = "REGRESS_MAX_RUNG")]
    max_rung: Option<MaxRung>,
    /// What answers a call that is made more often than recorded [default: strict]
    #[arg(long, value_name = "POLICY", env = "REGRESS_REUSE")]
    reuse: Option<ReusePolicy>,
    /// The port the service takes entries on, where it is not the recorded one
    #[arg(long, value_name = "PORT", env = "REGRESS_ENTRY_PORT")]
    entry_port: Option<u16>,
    #[command(flatten)]
    protos: Protos,
    /// The settings [default: regress.toml in DIR or in the current folder]
    #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
    config: Option<PathBuf>,
    /// The command that starts the new build [default: the one in regress.toml]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A report's format and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    format: Format,
    /// `None` = stdout.
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Junit,
    Html,
    Markdown,
    Github,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        let (format, path) = text.split_once('=').unwrap_or((text, "-"));
        let format = match format {
            "text" => Format::Text,
            "json" => Format::Json,
            "junit" => Format::Junit,
            "html" => Format::Html,
            "markdown" => Format::Markdown,
            "github" => Format::Github,
            other => return Err(format!("{other:?} is not a format: text, json, junit, html, markdown, github")),
        };
        if path.is_empty() {
            return Err("the path is empty: FORMAT=PATH, or FORMAT=- for stdout".to_owned());
        }
        Ok(Destination { format, path: (path != "-").then(|| PathBuf::from(path)) })
    }
}

/// Run it.
pub fn run(mut args: Args) -> Result<Exit, Failure> {
    let keys = args.identity.keys()?;
    let local = remote::local(&args.store, &keys)?;
    if local.fetched.is_some() && args.update {
        return Err(Failure::new("--update: what is in an object store is not changed by a replay")
            .hint(format_args!("`regress cassette pull {} DIR` makes a folder of it", args.store.display())));
    }
    args.store.clone_from(&local.path);
    let config = Config::load(args.config.as_deref(), Some(&args.store))?;
    let command = command(args.command, &config)?;
    let changed = args.changed_only.map(|revision| {
        let mut settings = Config::places(args.config.as_deref(), Some(&args.store));
        settings.extend_from_slice(args.protos.files(&config));
        changed::since(&args.store, revision.as_deref(), &settings)
    });
    if args.update && Pack::is_at(&args.store) {
        return Err(review::failure(regress_cassettes::Error::Packed { path: args.store }.into()));
    }
    let redactor = config.redact.redactor(&args.redact)?;
    let of_file = settings((args.store.clone(), keys.clone()), command, &config, &args.protos, redactor)?;
    let settings = Settings {
        jobs: args.jobs.get(),
        selection: Selection { filters: args.filters, changed: changed.transpose()?, shard: args.shard },
        fail_fast: args.fail_fast,
        entry_port: args.entry_port,
        policy: Policy {
            max_rung: args.max_rung.map_or(of_file.policy.max_rung, Into::into),
            reuse: args.reuse.map_or(of_file.policy.reuse, Into::into),
        },
        keep: if args.resume { Keep::GoOn } else { Keep::Anew },
        propose: !args.no_pending && local.fetched.is_none(),
        ..of_file
    };
    let schemas = settings.rules.schemas().clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format_args!("cannot start the runtime: {error}")))?;
    let display = Display::new();
    // Ended by dropping the replay, which takes its sandboxes and files with it.
    let result = runtime.block_on(async {
        tokio::select! {
            report = regress_replayer::replay(settings, |progress| display.show(progress)) => report.map_err(review::failure),
            signal = asked_to_end() => Err(Failure::new(format_args!("ended by {signal}"))
                .hint("the same command with --resume goes on from here")),
        }
    });
    display.end();
    let report = result?;

    let destinations = match args.reports.is_empty() {
        true => vec![Destination { format: Format::Text, path: None }],
        false => args.reports,
    };
    for destination in &destinations {
        deliver(&report, destination)?;
    }
    for file in &report.unreadable {
        output::say(format_args!("warning: unreadable: {}", report::shown(&file.why)));
    }
    if let Some(why) = &report.not_proposed {
        output::say(format_args!("warning: no proposals (*.new) for review: {}", report::shown(why)));
    }
    if args.update {
        update(&args.store, keys, &report, &schemas)?;
    }
    Ok(match report.verdict() {
        Verdict::Same => Exit::Same,
        Verdict::Different => Exit::Different,
        Verdict::Inconclusive => Exit::CouldNotTell,
    })
}

/// The command that starts the service: the one given, else the one in the settings.
pub(crate) fn command(given: Vec<OsString>, config: &Config) -> Result<Vec<OsString>, Failure> {
    let command = if given.is_empty() { config.service.command.iter().map(OsString::from).collect() } else { given };
    if command.is_empty() {
        return Err(Failure::new("no command to start the service with")
            .hint("give it after --, or as `command` under [service] in regress.toml"));
    }
    Ok(command)
}

/// A replay of everything in a store, whose sealed files the keys open, as the settings file has it, that leaves nothing
/// behind.
pub(crate) fn settings(
    (store, keys): (PathBuf, Keys),
    command: Vec<OsString>,
    config: &Config,
    protos: &Protos,
    redactor: Arc<Redactor>,
) -> Result<Settings, Failure> {
    Ok(Settings {
        store,
        keys,
        command,
        env: config.service.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        cwd: None,
        jobs: 1,
        selection: Selection::default(),
        only: None,
        fail_fast: false,
        entry_port: None,
        ready_timeout: config.replay.ready_timeout(),
        entry_timeout: config.replay.entry_timeout(),
        settle: config.replay.settle(),
        policy: Policy {
            max_rung: config.replay.max_rung.map_or(Policy::default().max_rung, Into::into),
            reuse: config.replay.reuse.map_or(Policy::default().reuse, Into::into),
        },
        rules: config.rules.clone().with_schemas(protos.read(config)?),
        redactor,
        propose: false,
        keep: Keep::No,
        answer_misses: false,
        helper: PathBuf::from("/proc/self/exe"),
    })
}

/// The signal that asks this process to end, once one comes.
pub(crate) async fn asked_to_end() -> &'static str {
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        // Then the signal does what it does by default.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => "SIGINT",
        () = wait(SignalKind::terminate()) => "SIGTERM",
    }
}

fn deliver(report: &Report, to: &Destination) -> Result<(), Failure> {
    let colour = if to.path.is_none() { colour(&io::stdout()) } else { Colour::No };
    let text = match to.format {
        Format::Text => report::text(report, colour),
        Format::Json => report::json(report),
        Format::Junit => report::junit(report),
        Format::Html => report::html(report),
        Format::Markdown => report::markdown(report),
        Format::Github => {
            summarise(report)?;
            report::github(report, |cassette| fs::read_to_string(cassette).ok())
        }
    };
    match &to.path {
        None => output::data(text),
        Some(path) => write(path, &text)?,
    }
    Ok(())
}

/// Append the report to the summary of the GitHub Actions job, where this is one.
fn summarise(report: &Report) -> Result<(), Failure> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return Ok(()) };
    let file = fs::OpenOptions::new().append(true).create(true).open(&path);
    file.and_then(|mut file| file.write_all(report::markdown(report).as_bytes())).map_err(|error| {
        let path = Path::new(&path).display();
        Failure::new(format_args!("cannot write the job's summary {path}: {error}"))
            .hint("GITHUB_STEP_SUMMARY names it; unset it outside of GitHub Actions")
    })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    regress_cassettes::write_file(path, text.as_bytes()).map_err(|error| {
        let hint = "the report goes there: name a file in a folder that exists and can be written to";
        Failure::from_error(error).hint(hint)
    })
}

/// Accept the proposals of this replay.
fn update(store: &Path, keys: Keys, report: &Report, schemas: &Schemas) -> Result<(), Failure> {
    let store = Store::open(store).map_err(|error| review::failure(error.into()))?.with_keys(keys);
    for proposal in Proposal::all(&store, schemas).map_err(review::failure)? {
        if report.outcomes.iter().any(|outcome| outcome.pending.is_some() && outcome.cassette == *proposal.id()) {
            review::warn_of_unanswered(&proposal, |_| true);
            let id = proposal.id().clone();
            proposal.accept().map_err(review::failure)?;
            output::say(format_args!("accepted  {id}"));
        }
    }
    Ok(())
}

/// Colours for a terminal, unless `NO_COLOR` is set to anything (no-color.org).
pub(crate) fn colour(stream: &impl IsTerminal) -> Colour {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !unwanted { Colour::Yes } else { Colour::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_format_and_a_path() {
        let parsed = "junit=out/a=b.xml".parse::<Destination>().unwrap();
        assert_eq!(parsed, Destination { format: Format::Junit, path: Some("out/a=b.xml".into()) });
        assert_eq!("json=-".parse::<Destination>().unwrap(), Destination { format: Format::Json, path: None });
        let html = "html=x".parse::<Destination>().unwrap();
        assert_eq!(html, Destination { format: Format::Html, path: Some("x".into()) });
        assert!("pdf=x".parse::<Destination>().is_err());
        assert!("json=".parse::<Destination>().is_err());
    }
}
