//! `regress cassette`: look at cassettes, and check them.

mod packing;
mod redact;
mod remote;
mod seal;
mod show;
mod tables;

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use regress_cassettes::{
    Cassette, Error, Pack, Store,
    seal::{Header, Keys},
};

use regress_recorder::Recorrelated;
use regress_remote::Retention;

use crate::{
    config::{Config, Protos},
    duration::parse_duration,
    output::{self, Exit, Failure},
    redaction, sealing,
};

/// Arguments of `regress cassette`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// What was recorded: the entry, its response, the calls with their owners, what is missing
    Show {
        /// Print the canonical documents instead
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        protos: Protos,
        /// The settings [default: regress.toml in the first DIR or in the current folder]
        #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
        config: Option<PathBuf>,
        #[command(flatten)]
        files: Files,
    },
    /// One line a cassette
    List {
        #[command(flatten)]
        files: Files,
    },
    /// Counts by route, by downstream and by defect
    Stats {
        #[command(flatten)]
        files: Files,
    },
    /// Every problem of the files; exit code 2 when there is any
    Verify {
        #[command(flatten)]
        files: Files,
    },
    /// Pack a folder of cassettes into one file, which replay, show, list, stats and verify read as it is
    Pack {
        /// The folder of cassettes
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The file to make [default: DIR.cassettes.zst]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make the folder again that was packed, byte for byte
    Unpack {
        /// The packed folder
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The folder to make [default: FILE without .cassettes.zst]
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Send a folder of cassettes to an object store, as one recording (docs/stores.md)
    Push {
        /// The recording's name there [default: that of the folder]
        #[arg(long, value_name = "NAME", value_parser = remote::parse_name)]
        name: Option<String>,
        /// Replace the recording of that name
        #[arg(long)]
        replace: bool,
        /// The folder of cassettes, or a packed one
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Where to: s3://BUCKET/PREFIX, gs://.., az://.. or file:///FOLDER
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Make a folder of all recordings at a URL of an object store
    Pull {
        #[command(flatten)]
        identity: sealing::IdentityArgs,
        /// Where from; one recording where it ends in .cassettes.zst
        #[arg(value_name = "URL")]
        url: String,
        /// The folder to make
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Remove what is old: recordings in an object store, or cassettes of a folder. What --older-than or --keep would keep
    /// stays
    Prune {
        #[command(flatten)]
        identity: sealing::IdentityArgs,
        /// Remove what is older, for example 12h or 30d
        #[arg(long, value_name = "TIME", value_parser = parse_duration, required_unless_present = "keep")]
        older_than: Option<Duration>,
        /// Keep as many as this, the newest ones
        #[arg(long, value_name = "N")]
        keep: Option<usize>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// The URL, or the folder
        #[arg(value_name = "URL|DIR")]
        place: PathBuf,
    },
    /// Take secrets out of the cassettes of a folder, in place (docs/redaction.md): for those recorded without redaction, or
    /// before a rule
    Redact {
        /// Only say what there is; exit code 1 when there is anything
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        key: redaction::KeyArgs,
        #[command(flatten)]
        identity: sealing::IdentityArgs,
        /// Settings file (default: regress.toml in the folder or here)
        #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
        config: Option<PathBuf>,
        /// The folder of cassettes
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Decide again which entry caused which call, by the rules of this version, where `record --owner-log` kept what that
    /// takes
    Recorrelate {
        /// Only say what would change; exit code 1 when anything would
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        identity: sealing::IdentityArgs,
        /// The folder of cassettes
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Seal the cassettes of a folder, in place (docs/sealing.md)
    Seal {
        #[command(flatten)]
        to: sealing::ToArgs,
        /// Have the cassettes tell everybody their routes, times and sizes
        #[arg(long)]
        header: bool,
        /// Settings file (default: regress.toml in the folder or here)
        #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
        config: Option<PathBuf>,
        #[command(flatten)]
        identity: sealing::IdentityArgs,
        /// The folder of cassettes
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Open the sealed cassettes of a folder, in place: they are as if they had never been sealed
    Open {
        #[command(flatten)]
        identity: sealing::IdentityArgs,
        /// The folder of cassettes
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Seal the sealed cassettes of a folder anew, in place, for other recipients
    Rekey {
        #[command(flatten)]
        to: sealing::ToArgs,
        /// Settings file (default: regress.toml in the folder or here)
        #[arg(long, value_name = "FILE", env = "REGRESS_CONFIG")]
        config: Option<PathBuf>,
        #[command(flatten)]
        identity: sealing::IdentityArgs,
        /// The folder of cassettes
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Files {
    #[command(flatten)]
    identity: sealing::IdentityArgs,
    /// Cassette folders, packed ones, cassette files, or URLs of an object store
    #[arg(required = true, value_name = "DIR|FILE|URL")]
    paths: Vec<PathBuf>,
    /// What the identities are: asking for a passphrase once is enough.
    #[arg(skip)]
    keys: OnceCell<Keys>,
    /// Copies that are in use.
    #[arg(skip)]
    _fetched: Vec<crate::remote::Local>,
}

/// A cassette with its file's size.
struct Read {
    /// In bytes.
    size: u64,
    cassette: Cassette,
}

/// Run it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    match args.action {
        Action::Show { json, protos, config, files } => {
            let files = files.local()?;
            let schemas = protos.read(&Config::load(config.as_deref(), files.paths.first().map(PathBuf::as_path))?)?;
            let shown = |read: &Read| match json {
                true => regress_cassettes::render(&read.cassette),
                false => show::summary(&read.cassette, &schemas),
            };
            let separator = if json { "" } else { "\n" };
            print(files, |read| read.iter().map(shown).collect::<Vec<_>>().join(separator))
        }
        Action::List { files } => list(&files.local()?),
        Action::Stats { files } => print(files.local()?, tables::stats),
        Action::Verify { files } => verify(&files.local()?),
        Action::Pack { folder, output } => packing::pack(&folder, output),
        Action::Unpack { file, output } => packing::unpack(&file, output),
        Action::Push { name, replace, folder, url } => remote::push(&folder, &url, name, replace),
        Action::Pull { identity, url, folder } => remote::pull(&url, &folder, &identity.keys()?),
        Action::Prune { identity, older_than, keep, dry_run, place } => {
            remote::prune(&place, identity.keys()?, Retention { younger_than: older_than, newest: keep }, dry_run)
        }
        Action::Redact { dry_run, key, identity, config, folder } => {
            let settings = Config::load(config.as_deref(), Some(&folder))?.redact;
            redact::redact(&folder, identity.keys()?, &*settings.redactor(&key)?, dry_run)
        }
        Action::Recorrelate { dry_run, identity, folder } => recorrelate(&folder, &identity.keys()?, dry_run),
        Action::Seal { to, header, config, identity, folder } => {
            let settings = Config::load(config.as_deref(), Some(&folder))?.seal;
            seal::seal(&folder, identity.keys()?, &settings.seal_to(&to, header)?)
        }
        Action::Open { identity, folder } => seal::open(&folder, identity.keys()?),
        Action::Rekey { to, config, identity, folder } => {
            let settings = Config::load(config.as_deref(), Some(&folder))?.seal;
            seal::rekey(&folder, identity.keys()?, &settings.seal_to(&to, false)?.session)
        }
    }
}

/// Print what `render` makes of the readable cassettes; the others are reported and end in 2.
fn print(files: Files, render: impl FnOnce(&[Read]) -> String) -> Result<Exit, Failure> {
    let mut exit = Exit::Same;
    let mut readable = Vec::new();
    for found in files.all(false)? {
        match found.read() {
            Ok(read) => readable.push(read),
            Err(failure) => {
                output::report_failure(&failure);
                exit = Exit::CouldNotTell;
            }
        }
    }
    output::data(render(&readable));
    Ok(exit)
}

/// Whoever has no identity is told what sealed cassettes tell everybody.
fn list(files: &Files) -> Result<Exit, Failure> {
    let mut exit = Exit::Same;
    let mut rows = Vec::new();
    for found in files.all(false)? {
        let row = match found.header() {
            Ok(Some(header)) => Ok(tables::Row::from(&header)),
            Ok(None) => found.read().map(|read| tables::Row::from(&read)),
            Err(failure) => Err(failure),
        };
        match row {
            Ok(row) => rows.push(row),
            Err(failure) => {
                output::report_failure(&failure);
                exit = Exit::CouldNotTell;
            }
        }
    }
    output::data(tables::list(rows));
    Ok(exit)
}

fn verify(files: &Files) -> Result<Exit, Failure> {
    let mut problems = Vec::new();
    for folder in files.paths.iter().filter(|path| path.is_dir()) {
        let store = Store::open(folder).map_err(failure)?;
        problems.extend(store.unended().map_err(failure)?);
        for left in store.temporary() {
            output::say(format_args!(
                "{}: no cassette, but what a run has not finished; `regress record` removes it if that was killed",
                left.display()
            ));
        }
    }
    let files = files.all(true)?;
    problems.extend(files.iter().flat_map(Found::verify));
    output::data(report(&problems));
    let cassettes = counted(files.len(), "cassette");
    match problems.len() {
        0 => output::say(format_args!("{cassettes} verified, no problem found")),
        count => output::say(format_args!("{} in {cassettes}", counted(count, "problem"))),
    }
    Ok(if problems.is_empty() { Exit::Same } else { Exit::CouldNotTell })
}

fn recorrelate(folder: &Path, keys: &Keys, dry_run: bool) -> Result<Exit, Failure> {
    let done = regress_recorder::recorrelate(folder, keys, !dry_run).map_err(|error| {
        let hint = error.hint();
        Failure::explained(error, hint)
    })?;
    let (given, taken, missing) = (done.given, done.taken, done.missing);
    output::data(format!(
        "entries      {:>8}\nnow certain  {:>8}\nno longer    {:>8}\ncalls given  {given:>8}\ncalls taken  {taken:>8}\n\
         calls absent {missing:>8}\n",
        done.entries, done.now_certain, done.now_uncertain
    ));
    let is_same = done == Recorrelated { entries: done.entries, missing, ..Recorrelated::default() };
    Ok(if dry_run && !is_same { Exit::Different } else { Exit::Same })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The problems one after the other, each with what to do about it.
fn report(problems: &[Error]) -> String {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&format!("{problem}\n"));
        let source = std::error::Error::source(problem).map(|source| format!("  caused by: {source}\n"));
        text.push_str(&source.unwrap_or_default());
        text.push_str(&problem.hint().map(|hint| format!("  hint: {hint}\n")).unwrap_or_default());
    }
    text
}

/// A cassette file.
struct Found {
    path: PathBuf,
    /// The store that it is in; `None` = it was named by itself.
    store: Option<Rc<Store>>,
    /// What opens it where it is sealed.
    keys: Keys,
}

impl Found {
    fn read(self) -> Result<Read, Failure> {
        let (cassette, size) = match &self.store {
            Some(store) => (store.read_at(&self.path), store.size_at(&self.path)),
            None => {
                let size = fs::metadata(&self.path).ok().map(|file| file.len());
                (regress_cassettes::read_with(&self.path, &self.keys), size)
            }
        };
        Ok(Read { size: size.unwrap_or_default(), cassette: cassette.map_err(failure)? })
    }

    fn verify(&self) -> Vec<Error> {
        match &self.store {
            Some(store) => store.verify_at(&self.path),
            None => regress_cassettes::verify_with(&self.path, &self.keys),
        }
    }

    /// What it tells everybody, where that is all there is to know of it.
    fn header(&self) -> Result<Option<Header>, Failure> {
        if !regress_cassettes::is_sealed(&self.path) || !self.keys.is_empty() {
            return Ok(None);
        }
        match &self.store {
            Some(store) => store.header_at(&self.path).map_err(failure),
            None => regress_cassettes::header(&self.path).map_err(failure),
        }
    }
}

fn failure(error: Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::from_error(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl Files {
    /// The same with copies in place of URLs.
    fn local(self) -> Result<Files, Failure> {
        let keys = self.keys()?;
        let fetched = self.paths.iter().map(|path| crate::remote::local(path, &keys)).collect::<Result<Vec<_>, _>>()?;
        Ok(Files { paths: fetched.iter().map(|local| local.path.clone()).collect(), _fetched: fetched, ..self })
    }

    fn keys(&self) -> Result<Keys, Failure> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys.clone());
        }
        let keys = self.identity.keys()?;
        Ok(self.keys.get_or_init(|| keys).clone())
    }

    /// The cassette files that are meant, each once: of a folder the ambient cassette, then the others by id, and
    /// last (if asked for) the proposals that wait for review.
    fn all(&self, with_pending: bool) -> Result<Vec<Found>, Failure> {
        let mut all = Vec::new();
        let keys = self.keys()?;
        for path in &self.paths {
            if path.is_dir() || Pack::is_at(path) {
                all.extend(in_store(path, &keys, with_pending).map_err(failure)?);
            } else {
                all.push(Found { path: path.clone(), store: None, keys: keys.clone() });
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|found| seen.insert(found.path.clone()));
        if all.is_empty() {
            let folders: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::new(format_args!("no cassettes in {}", folders.join(", ")))
                .hint("record some with `regress record -o DIR`"));
        }
        Ok(all)
    }
}

fn in_store(folder: &Path, keys: &Keys, with_pending: bool) -> Result<Vec<Found>, Error> {
    let store = Rc::new(Store::open(folder)?.with_keys(keys.clone()));
    let mut all: Vec<_> = store.ambient_file()?.into_iter().collect();
    all.extend(store.list()?.into_iter().map(|located| located.path));
    if with_pending {
        all.extend(store.pending()?.into_iter().map(|pending| pending.proposed));
    }
    Ok(all.into_iter().map(|path| Found { path, store: Some(Rc::clone(&store)), keys: keys.clone() }).collect())
}

#[cfg(test)]
mod tests;
