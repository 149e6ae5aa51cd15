//! Object stores on the command line: `record --upload`, URLs in place of folders, `cassette push`, `pull` and `prune`.

use std::{
    env,
    future::ready,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use regress_cassettes::seal::Keys;
use regress_remote::{Error, Fetched, Kept, Location, Sent, Spool};

use crate::{
    commands::replay::asked_to_end,
    config,
    duration::parse_duration,
    output::{self, Failure},
    selection::parse_bytes,
};

/// The variable that names the folder for copies of what is in object stores.
const CACHE_VARIABLE: &str = "REGRESS_STORE_CACHE";

/// What the spool holds at most, in bytes.
const SPOOL_LIMIT: u64 = 1 << 30;

/// Where recordings go.
#[derive(Debug, clap::Args)]
pub struct UploadArgs {
    /// When the recording ends, send it to an object store: s3://BUCKET/PREFIX, gs://.., az://.. or file:///FOLDER
    /// (docs/stores.md). The folder of --output is its spool then, and what could not be sent is sent by the next
    #[arg(long, value_name = "URL", env = "REGRESS_UPLOAD")]
    upload: Option<String>,
    /// What waits in the spool at most, for example 512M; beyond it entries are left out [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, env = "REGRESS_SPOOL_LIMIT")]
    spool_limit: Option<u64>,
    /// How long to try to send it
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "REGRESS_UPLOAD_WAIT", default_value = "5m")]
    upload_wait: Duration,
}

/// A recording that is sent when it ends.
pub struct Upload {
    spool: Spool,
    location: Location,
    patience: Duration,
}

impl UploadArgs {
    /// Begin a recording in the spool `root`; `None` where it stays on this host.
    pub fn begin(&self, settings: &config::Record, root: &Path) -> Result<Option<Upload>, Failure> {
        let Some(url) = self.upload.as_ref().or(settings.upload.as_ref()) else { return Ok(None) };
        let limit = match (self.spool_limit, &settings.spool_limit) {
            (Some(limit), _) => limit,
            (None, Some(size)) => parse_bytes(size).map_err(|what| {
                Failure::new(format_args!("[record] spool_limit: {what}")).hint("docs/configuration.md says what it is")
            })?,
            (None, None) => SPOOL_LIMIT,
        };
        let location = Location::open(url).map_err(failure)?;
        let spool = Spool::begin(root, &location, limit).map_err(failure)?;
        Ok(Some(Upload { spool, location, patience: self.upload_wait }))
    }
}

impl Upload {
    /// The recording's place in the spool.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Send the recording, and say what became of it. `false`: it is not in the store.
    pub fn finish(self) -> bool {
        let Upload { spool, location, patience } = self;
        let stop = async {
            let mut signal = pin!(asked_to_end());
            tokio::select! {
                biased;
                signal = &mut signal => return signal,
                () = ready(()) => output::say(format_args!("sending to {location}")),
            }
            signal.await
        };
        let finished = spool.finish(patience, stop);
        for earlier in &finished.earlier {
            match earlier {
                Ok(sent) => output::say(format_args!("an earlier recording was left: {}", told(sent))),
                Err(kept) => warn_of_kept(kept, &location),
            }
        }
        match &finished.sent {
            None => output::say("nothing was recorded, and nothing sent"),
            Some(Ok(sent)) => output::say(told(sent)),
            Some(Err(kept)) => warn_of_kept(kept, &location),
        }
        !matches!(finished.sent, Some(Err(_)))
    }
}

/// What was sent, in words.
pub fn told(sent: &Sent) -> String {
    let verb = if sent.was_there { "was there already" } else { "sent" };
    format!("{verb}: {}, {} bytes", sent.at, sent.bytes)
}

fn warn_of_kept(kept: &Kept, location: &Location) {
    let path = kept.path.display();
    output::say(format_args!("warning: not sent to {location}, and kept: {path}"));
    let mut cause: Option<&dyn std::error::Error> = Some(&kept.why);
    while let Some(error) = cause {
        output::say(format_args!("  caused by: {error}"));
        cause = error.source();
    }
    let hint = match &kept.why {
        Error::Cassettes(_) | Error::Foreign(_) => kept.why.hint().unwrap_or_default(),
        _ => format!("the next recording with this spool sends it, or `regress cassette push {path} {location}`"),
    };
    output::say(format_args!("  hint: {hint}"));
}

/// A folder of cassettes, or one that was fetched.
#[derive(Debug)]
pub struct Local {
    /// Where it is.
    pub path: PathBuf,
    /// Present where it is a copy. It is in use for as long as this is there.
    pub fetched: Option<Fetched>,
}

/// What an argument stands for: itself, or where it is a URL, a copy of what is there.
pub fn local(argument: &Path, keys: &Keys) -> Result<Local, Failure> {
    let Some(url) = argument.to_str().filter(|text| regress_remote::is_url(text)) else {
        return Ok(Local { path: argument.to_owned(), fetched: None });
    };
    let location = Location::open(url).map_err(failure)?;
    let fetched = block_on(regress_remote::cached(&location, &cache()?, keys))?.map_err(failure)?;
    say_fetched(&fetched, &location);
    Ok(Local { path: fetched.folder.clone(), fetched: Some(fetched) })
}

/// Say what came, and what did not.
pub fn say_fetched(fetched: &Fetched, location: &Location) {
    let recordings = if fetched.recordings == 1 { "recording" } else { "recordings" };
    output::say(format_args!("{} {recordings} at {location}, {} bytes fetched", fetched.recordings, fetched.bytes));
    for at in &fetched.unended {
        output::say(format_args!("not among them: {at}, which has not ended, or whose recorder was killed"));
    }
}

fn cache() -> Result<PathBuf, Failure> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named(CACHE_VARIABLE)
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("regress/stores")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/regress/stores")))
        .ok_or_else(|| {
            Failure::new("there is no folder for copies of what is in an object store")
                .hint(format_args!("name one in {CACHE_VARIABLE}"))
        })
}

/// Waits for the store.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Ok(runtime.map_err(Failure::from_error)?.block_on(future))
}

/// What an error says, with its hint.
pub fn failure(error: Error) -> Failure {
    let hint = error.hint();
    Failure::explained(error, hint)
}
