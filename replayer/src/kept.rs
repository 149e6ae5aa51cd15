//! What a replay has found out so far, kept in a file so that one that is interrupted can be gone on with.
//!
//! `.regress/replay.jsonl` in the folder of cassettes (`replay-2-of-4.jsonl` for a shard): a [`Header`] and then a
//! [`Line`] for each thing that is known, as JSON. It is only ever appended to, with one write a line, so that after a
//! SIGKILL at most the last line is torn. A replay holds a lock on it, and removes it when it is done. Of sealed cassettes
//! every line but the first, which has digests alone, is sealed.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use regress_cassettes::{Cassette, CassetteId, Located, Store, seal::Session};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{CallFinding, Outcome, Settings, plan::Plan};

/// The version of the file.
const VERSION: u32 = 1;

/// The longest line; what needs a longer one is not kept, and found out again.
const LINE: u64 = 8 << 20;

/// The most bytes of a file; what comes after that is not kept either.
const FILE: u64 = 1 << 30;

const FOLDER: &str = ".regress";

/// Whether a replay keeps what it finds out, and goes on with what was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It keeps nothing.
    No,
    /// It begins anew, and keeps what it finds out.
    Anew,
    /// It goes on with what an interrupted one kept, if there is one.
    GoOn,
}

/// Why an interrupted replay cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum NotResumed {
    /// It was about something else.
    #[error("it was a replay {0}")]
    Other(&'static str),
    /// A cassette has changed since.
    #[error("the cassette {0} was another one")]
    Cassette(CassetteId),
    /// Somebody is at it.
    #[error("another replay is at work there")]
    InUse,
    /// The file is not what a replay writes.
    #[error("line {0} of {path} cannot be read", path = .1.display())]
    Damaged(usize, PathBuf),
    /// The file cannot be used.
    #[error("cannot use {path}", path = .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Nothing can be kept sealed, as the cassettes are.
    #[error("what it is to be sealed for is not known")]
    Unsealed(#[source] regress_cassettes::Error),
}

/// What is known from before.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// By place in the plan.
    pub outcomes: BTreeMap<usize, Known>,
    /// Calls at start-up that nobody recorded.
    pub startup: Vec<CallFinding>,
}

/// What is known of an entry.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The digest of its cassette.
    pub cassette: String,
    /// The rules that are for its response and its calls.
    pub selected: Vec<usize>,
    /// Whether nothing recorded answered one of its calls.
    pub missed: bool,
    pub outcome: Outcome,
}

/// The file, open and locked.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    file: File,
    /// How many bytes it may still grow.
    room: u64,
    /// What lines are sealed in.
    session: Option<Arc<Session>>,
}

/// What the file is about. Everything that decides about outcomes, as digests, so that no secret gets there.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    regress_replay: u32,
    /// The version of the program.
    by: String,
    command: String,
    settings: String,
    /// The ids of the selected cassettes, and the ambient one.
    corpus: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Outcome(Box<Known>),
    Startup(CallFinding),
}

/// The same, to be written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Told<'a> {
    Outcome { cassette: &'a str, selected: &'a [usize], missed: bool, outcome: &'a Outcome },
    Startup(&'a CallFinding),
}

impl Kept {
    /// Begin to keep what a replay of `plan` finds out, and give what is known from before where it goes on.
    ///
    /// # Errors
    /// When the file is in use, cannot be used, or is about something else.
    pub(crate) fn begin(
        store: &Store,
        settings: &Settings,
        plan: &Plan,
        ambient: Option<&Cassette>,
    ) -> Result<(Kept, Before), NotResumed> {
        let path = place(store, settings);
        let session = store.seal().map_err(NotResumed::Unsealed)?.map(|seal| seal.session);
        let failed = |error| NotResumed::File(path.clone(), error);
        let mut file = open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NotResumed::InUse),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let header = Header::of(settings, plan, ambient);
        let (mut before, mut end) = (Before::default(), 0);
        if settings.keep == Keep::GoOn {
            (before, end) = read(&path, &file, &header, store, plan)?;
        }
        // What was torn is gone.
        file.set_len(end).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        let mut kept = Kept { path: path.clone(), file, room: FILE.saturating_sub(end), session };
        if end == 0 {
            let header = serde_json::to_vec(&header).map_err(|error| failed(error.into()))?;
            kept.append(header).map_err(failed)?;
        }
        Ok((kept, before))
    }

    /// Keep the outcome of a cassette of that digest, the rules that are for it, and whether a call missed.
    pub(crate) fn outcome(
        &mut self,
        cassette: &str,
        selected: &[usize],
        missed: bool,
        outcome: &Outcome,
    ) -> io::Result<()> {
        self.line(&Told::Outcome { cassette, selected, missed, outcome })
    }

    /// Keep a call at start-up that nobody recorded.
    pub(crate) fn startup(&mut self, call: &CallFinding) -> io::Result<()> {
        self.line(&Told::Startup(call))
    }

    /// The replay is done: there is nothing to go on with.
    pub(crate) fn remove(self) {
        // At worst the next replay with `--resume` finds all of it known.
        let _ = fs::remove_file(&self.path);
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(line)?;
        match &self.session {
            None => self.append(text),
            Some(session) => self.append(session.seal_line(&text)?.into_bytes()),
        }
    }

    fn append(&mut self, mut text: Vec<u8>) -> io::Result<()> {
        text.push(b'\n');
        let size = text.len() as u64;
        if size > LINE || size > self.room {
            return Ok(());
        }
        self.room -= size;
        self.file.write_all(&text)
    }
}

/// The file for a replay with these settings: one a shard, since shards may be replayed side by side. For a packed
/// folder it is beside it.
fn place(store: &Store, settings: &Settings) -> PathBuf {
    let shard = settings.selection.shard.map(|shard| format!("-{}", shard.to_string().replace('/', "-of-")));
    let name = format!("replay{}.jsonl", shard.unwrap_or_default());
    match (store.is_packed(), store.root().file_name()) {
        (true, Some(pack)) => store.root().with_file_name(FOLDER).join(format!("{}-{name}", pack.to_string_lossy())),
        _ => store.root().join(FOLDER).join(name),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        regress_cassettes::write_file(&ignore, b"*\n").map_err(io::Error::other)?;
    }
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// What a file says, and where its last whole line ends. A file without a whole first line says nothing.
fn read(path: &Path, file: &File, header: &Header, store: &Store, plan: &Plan) -> Result<(Before, u64), NotResumed> {
    let failed = |error| NotResumed::File(path.to_owned(), error);
    let places: HashMap<&CassetteId, usize> =
        plan.entries.iter().enumerate().map(|(number, located)| (&located.id, number)).collect();
    let mut reader = BufReader::new(file);
    let (mut before, mut end, mut text) = (Before::default(), 0, Vec::new());
    let is_sealed = store.is_sealed().map_err(NotResumed::Unsealed)?;
    for number in 1.. {
        text.clear();
        let size = reader.by_ref().take(LINE + 1).read_until(b'\n', &mut text).map_err(failed)? as u64;
        let damaged = || NotResumed::Damaged(number, path.to_owned());
        if size > LINE || end + size > FILE {
            return Err(damaged());
        }
        if text.pop() != Some(b'\n') {
            break;
        }
        if number == 1 {
            header.fits(&serde_json::from_slice(&text).map_err(|_| damaged())?)?;
        } else {
            if is_sealed {
                text = store.keys().open_line(&text).map_err(|_| damaged())?;
            }
            match serde_json::from_slice(&text).map_err(|_| damaged())? {
                Line::Startup(call) => before.startup.push(call),
                Line::Outcome(mut known) => {
                    let place = places.get(&known.outcome.cassette).ok_or_else(damaged)?;
                    let Located { id, path, .. } = &plan.entries[*place];
                    let is_as_it_was = store.read(&plan.entries[*place]).is_ok_and(|it| it.digest() == known.cassette);
                    if !is_as_it_was {
                        return Err(NotResumed::Cassette(id.clone()));
                    }
                    known.outcome.file.clone_from(path);
                    before.outcomes.insert(*place, *known);
                }
            }
        }
        end += size;
    }
    Ok((before, end))
}

impl Header {
    fn of(settings: &Settings, plan: &Plan, ambient: Option<&Cassette>) -> Header {
        let Settings { env, cwd, entry_port, ready_timeout, entry_timeout, settle, policy, rules, .. } = settings;
        let waits = (ready_timeout, entry_timeout, settle);
        let schemas = rules.schemas().digest();
        let rules = serde_json::to_string(rules).unwrap_or_default();
        let ids = plan.entries.iter().map(|located| located.id.0.as_bytes());
        let ambient = ambient.map(Cassette::digest).unwrap_or_default();
        Header {
            regress_replay: VERSION,
            by: env!("CARGO_PKG_VERSION").to_owned(),
            command: digest(command(settings).iter().map(Vec::as_slice)),
            settings: digest([
                format!("{env:?}{cwd:?}{entry_port:?}{waits:?}{policy:?}").as_bytes(),
                rules.as_bytes(),
                schemas,
            ]),
            corpus: digest(ids.chain([ambient.as_bytes()])),
        }
    }

    /// Whether a file with this header may be gone on with.
    fn fits(&self, found: &Header) -> Result<(), NotResumed> {
        let differs = [
            ((self.regress_replay, &self.by) != (found.regress_replay, &found.by), "by another version of regress"),
            (self.command != found.command, "of another command, or a file that it names has changed"),
            (self.settings != found.settings, "with other settings"),
            (self.corpus != found.corpus, "of other cassettes"),
        ];
        let differs = differs.into_iter().find(|(differs, _)| *differs);
        differs.map_or(Ok(()), |(_, what)| Err(NotResumed::Other(what)))
    }
}

/// The words of a command, and of each that names a file its size and when it last changed: another build is another
/// command.
fn command(settings: &Settings) -> Vec<Vec<u8>> {
    let folder = settings.cwd.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = |word: &OsStr| -> Vec<PathBuf> {
        let is_name = !word.as_bytes().contains(&b'/');
        if is_name { std::env::split_paths(&path).map(|folder| folder.join(word)).collect() } else { Vec::new() }
    };
    let mut parts = vec![folder.as_os_str().as_bytes().to_vec()];
    for (place, word) in settings.command.iter().enumerate() {
        parts.push(word.as_bytes().to_vec());
        let program = if place == 0 { programs(word) } else { Vec::new() };
        let candidates = program.into_iter().chain([folder.join(word)]);
        let found = candidates.filter_map(|path| fs::metadata(path).ok()).find(|found| found.is_file());
        if let Some(found) = found {
            parts.push(format!("{} {} {}", found.len(), found.mtime(), found.mtime_nsec()).into_bytes());
        }
    }
    parts
}

/// A digest of several texts, each with its length.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    format!("{:x}", digest.finalize())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regress_cassettes::redact::Redactor;

    use super::*;
    use crate::testing;

    /// A folder with two cassettes, and how it is replayed.
    struct Folder {
        folder: tempfile::TempDir,
        settings: Settings,
    }

    impl Folder {
        fn new() -> Folder {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::create(folder.path()).unwrap();
            for id in ["a", "b"] {
                store
                    .write(&Redactor::off().cassette(Cassette { id: CassetteId(id.to_owned()), ..testing::cassette() }))
                    .unwrap();
            }
            let settings = testing::settings(folder.path());
            Folder { folder, settings }
        }

        fn plan(&self) -> Plan {
            Plan::read(&self.store(), &self.settings.selection).unwrap()
        }

        fn store(&self) -> Store {
            Store::open(self.folder.path()).unwrap()
        }

        /// Keep an outcome of this entry.
        fn keep(&self, kept: &mut Kept, located: &Located, missed: bool, outcome: &Outcome) {
            let digest = self.store().read(located).unwrap().digest();
            kept.outcome(&digest, &[3], missed, outcome).unwrap();
        }

        fn begin(&self) -> Result<(Kept, Before), NotResumed> {
            Kept::begin(&self.store(), &self.settings, &self.plan(), None)
        }

        fn begin_with(&self, change: impl FnOnce(&mut Settings)) -> Result<(Kept, Before), NotResumed> {
            let mut settings = self.settings.clone();
            change(&mut settings);
            Kept::begin(&self.store(), &settings, &self.plan(), None)
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join(".regress/replay.jsonl")
        }

        /// The outcomes of both cassettes, and a call at start-up.
        fn interrupted() -> Folder {
            let folder = Folder::new();
            let (mut kept, before) = folder.begin().unwrap();
            assert!(before.outcomes.is_empty());
            for (planned, missed) in folder.plan().entries.iter().zip([false, true]) {
                folder.keep(&mut kept, planned, missed, &outcome(planned));
            }
            kept.startup(&testing::omitted()).unwrap();
            folder
        }
    }

    fn outcome(located: &Located) -> Outcome {
        testing::outcome(&located.id, &located.path)
    }

    #[test]
    fn what_was_kept_is_known() {
        let folder = Folder::interrupted();
        let (_kept, before) = folder.begin().unwrap();
        assert_eq!(before.startup, [testing::omitted()]);
        assert_eq!(before.outcomes.values().map(|known| known.missed).collect::<Vec<_>>(), [false, true]);
        for (planned, known) in folder.plan().entries.iter().zip(before.outcomes.values()) {
            assert_eq!(known.outcome, outcome(planned));
            assert_eq!(known.selected, [3]);
        }
    }

    #[test]
    fn nothing_is_known_where_nothing_was_interrupted_and_where_it_begins_anew() {
        let (kept, before) = Folder::new().begin().unwrap();
        assert!(before.outcomes.is_empty());
        kept.remove();
        let folder = Folder::interrupted();
        drop(folder.begin_with(|settings| settings.keep = Keep::Anew).unwrap());
        assert!(folder.begin().unwrap().1.outcomes.is_empty());
    }

    /// Wherever the file was cut by a SIGKILL: what came whole is known, and the rest is driven.
    #[test]
    fn a_torn_file_is_gone_on_with() {
        let whole = fs::read(Folder::interrupted().file()).unwrap();
        let folder = Folder::interrupted();
        let plan = folder.plan();
        for end in 0..=whole.len() {
            fs::write(folder.file(), &whole[..end]).unwrap();
            let (mut kept, before) = folder.begin().unwrap();
            let lines = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(before.outcomes.len() + before.startup.len(), lines.saturating_sub(1), "{end}");
            // What is written from now on is whole again.
            folder.keep(&mut kept, &plan.entries[1], true, &outcome(&plan.entries[1]));
            drop(kept);
            assert!(folder.begin().unwrap().1.outcomes.contains_key(&1), "{end}");
        }
    }

    #[test]
    fn another_replay_is_not_gone_on_with() {
        let folder = Folder::interrupted();
        let why = |result: Result<(Kept, Before), NotResumed>| result.unwrap_err().to_string();
        assert!(
            folder.begin_with(|settings| settings.jobs = 4).is_ok(),
            "how many sandboxes there are changes nothing"
        );
        let other = folder.begin_with(|settings| settings.command.push("--fast".into()));
        assert_eq!(why(other), "it was a replay of another command, or a file that it names has changed");
        for other in [
            folder.begin_with(|settings| settings.settle = Duration::from_secs(1)),
            folder.begin_with(|settings| settings.env.push(("A".into(), "B".into()))),
            folder.begin_with(|settings| settings.entry_port = Some(1)),
        ] {
            assert_eq!(why(other), "it was a replay with other settings");
        }
        let ambient = Cassette { entry: None, ..testing::cassette() };
        let other = Kept::begin(&folder.store(), &folder.settings, &folder.plan(), Some(&ambient));
        assert_eq!(why(other), "it was a replay of other cassettes");
        let other = folder.begin_with(|settings| settings.selection.shard = Some("1/2".parse().unwrap()));
        assert!(other.unwrap().1.outcomes.is_empty(), "a shard has a file of its own");

        let store = Store::open(folder.folder.path()).unwrap();
        let mut changed = Cassette { id: CassetteId("b".to_owned()), ..testing::cassette() };
        changed.recorded.service = "store".to_owned();
        store.write(&Redactor::off().cassette(changed.clone())).unwrap();
        assert_eq!(why(folder.begin()), "the cassette b was another one");
        store
            .write(&Redactor::off().cassette(Cassette { id: CassetteId("c".to_owned()), ..testing::cassette() }))
            .unwrap();
        assert_eq!(why(folder.begin()), "it was a replay of other cassettes");
    }

    #[test]
    fn a_new_build_is_another_command() {
        let mut folder = Folder::new();
        let build = folder.folder.path().join("shop");
        fs::write(&build, "1").unwrap();
        folder.settings.command = vec!["true".into(), build.clone().into()];
        drop(folder.begin().unwrap());
        drop(folder.begin().unwrap());
        fs::write(&build, "22").unwrap();
        assert!(matches!(folder.begin(), Err(NotResumed::Other(_))));
    }

    #[test]
    fn a_file_that_is_in_use_or_broken_is_refused() {
        let folder = Folder::interrupted();
        let (kept, _) = folder.begin().unwrap();
        assert!(matches!(folder.begin(), Err(NotResumed::InUse)));
        drop(kept);
        let whole = fs::read_to_string(folder.file()).unwrap();
        let (header, rest) = whole.split_once('\n').unwrap();
        for (line, text) in [
            (1, format!("{{}}\n{rest}")),
            (2, format!("{header}\n\0\0\n{rest}")),
            (2, format!("{header}\n{{\"outcome\": 1}}\n")),
            (
                2,
                format!(
                    "{header}\n{}\n",
                    rest.lines().next().unwrap().replace("\"cassette\":\"a\"", "\"cassette\":\"x\"")
                ),
            ),
        ] {
            fs::write(folder.file(), text).unwrap();
            assert!(matches!(folder.begin(), Err(NotResumed::Damaged(at, _)) if at == line), "{line}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let folder = Folder::new();
        let (mut kept, _) = folder.begin().unwrap();
        let plan = folder.plan();
        let long = Outcome { last_output: Some("x".repeat(LINE as usize)), ..outcome(&plan.entries[0]) };
        folder.keep(&mut kept, &plan.entries[0], false, &long);
        kept.room = 10;
        folder.keep(&mut kept, &plan.entries[0], false, &outcome(&plan.entries[0]));
        drop(kept);
        assert!(folder.begin().unwrap().1.outcomes.is_empty());
    }

    #[test]
    fn git_does_not_see_it() {
        let folder = Folder::interrupted();
        assert_eq!(fs::read_to_string(folder.folder.path().join(".regress/.gitignore")).unwrap(), "*\n");
        assert_eq!(folder.plan().entries.len(), 2);
    }
}
