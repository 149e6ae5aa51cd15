//! Recordings on their way to the store: a folder on the recorder's disk, of bounded size, that outlives the recorder.
//!
//! `SPOOL/<recording>/` is a recording that goes on; `SPOOL/<recording>.cassettes.zst` one that has ended and is not in the
//! store yet. Whoever uses the folder next sends what is left. While a recording goes on, `<recording>.recording` is in the
//! store, so that whoever reads there knows of recordings that are not.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use object_store::{ObjectStoreExt as _, PutPayload};
use regress_cassettes::{PACK_SUFFIX, Store};
use tokio::{runtime::Runtime, task};

use crate::{Error, Location, Sent, location::MARK, send};

/// How often the size of the folder is looked at; less often where that takes long.
const LOOK: Duration = Duration::from_secs(1);
/// The part of the time that looking may take: one in so many.
const LOOKING: u32 = 20;
/// Between two tries to send what could not be sent.
const AGAIN: Duration = Duration::from_secs(2);

/// A recording's place in a spool.
pub struct Spool {
    root: PathBuf,
    recording: String,
    location: Location,
    /// Says that the recording goes on.
    _locked: File,
    is_full: Arc<AtomicBool>,
    watch: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    runtime: Runtime,
    earlier: task::JoinHandle<Vec<Earlier>>,
}

/// What became of a recording.
#[derive(Debug)]
pub struct Finished {
    /// Where it is now; `None` where nothing was recorded.
    pub sent: Option<Result<Sent, Kept>>,
    /// What earlier recorders had left in the spool.
    pub earlier: Vec<Earlier>,
}

/// A recording that is still in the spool.
#[derive(Debug)]
pub struct Kept {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub why: Error,
}

/// What became of what an earlier recorder had left.
pub type Earlier = Result<Sent, Kept>;

impl Spool {
    /// Begin a recording: its folder is made, and the store is told. Once the spool has more than `limit` bytes, it is full.
    ///
    /// # Errors
    /// When the folder cannot be made, or the store does not take what is written.
    pub fn begin(root: &Path, location: &Location, limit: u64) -> Result<Spool, Error> {
        let failed = |source| Error::Io { action: "make", path: root.to_owned(), source };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)?;
        let recording = name();
        let folder = root.join(&recording);
        fs::create_dir_all(&folder).map_err(failed)?;
        let locked = File::open(&folder).and_then(|file| file.lock().map(|()| file)).map_err(failed)?;
        let mark = location.path_of(&format!("{recording}{MARK}"));
        let put = location.store().put(&mark, PutPayload::from_static(b"docs/stores.md\n"));
        if let Err(error) = runtime.block_on(put) {
            let _ = fs::remove_dir(&folder);
            return Err(location.failed("write to", "")(error));
        }
        let is_full = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = mpsc::channel();
        let watched = (root.to_owned(), Arc::clone(&is_full));
        let watch = std::thread::spawn(move || watch(&watched.0, limit, &watched.1, &stopped));
        let earlier = runtime.spawn(send_earlier(root.to_owned(), location.clone()));
        Ok(Spool {
            root: root.to_owned(),
            recording,
            location: location.clone(),
            _locked: locked,
            is_full,
            watch: Some((stop, watch)),
            runtime,
            earlier,
        })
    }

    /// The folder for its cassettes.
    pub fn folder(&self) -> PathBuf {
        self.root.join(&self.recording)
    }

    /// Set while the spool has more bytes than it may.
    pub fn is_full(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_full)
    }

    /// The recording has ended: pack it and send it, for as long as `patience` lasts. What cannot be sent stays in the spool.
    pub fn finish(mut self, patience: Duration) -> Finished {
        drop(self.watch.take().map(|(stop, watch)| {
            drop(stop);
            watch.join()
        }));
        let until = Instant::now() + patience;
        let folder = self.folder();
        let sent = match pack(&folder) {
            Ok(Some(packed)) => Some(self.runtime.block_on(send_until(&packed, &self.location, until))),
            Ok(None) => None,
            Err(why) => Some(Err(Kept { path: folder, why })),
        };
        if sent.is_none() {
            self.runtime.block_on(forget(&self.location, &self.recording));
        }
        let rest = until.saturating_duration_since(Instant::now());
        let earlier = &mut self.earlier;
        let earlier = self.runtime.block_on(async { tokio::time::timeout(rest, earlier).await });
        Finished { sent, earlier: earlier.ok().and_then(Result::ok).unwrap_or_default() }
    }
}

impl Drop for Spool {
    /// Of a recording that could not begin nothing is left.
    fn drop(&mut self) {
        if self.watch.take().is_some() && fs::remove_dir(self.folder()).is_ok() {
            self.runtime.block_on(forget(&self.location, &self.recording));
        }
    }
}

/// When it began, on which host, and what no other has.
fn name() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    format!("{now}-{}-{random:08x}", host.trim_matches('-'))
}

/// The packed form of a recording's folder, beside it and in its place; `None` where nothing was recorded.
fn pack(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let store = Store::open(folder)?;
    let failed = |source| Error::Io { action: "remove", path: folder.to_owned(), source };
    let mut packed = folder.as_os_str().to_owned();
    packed.push(PACK_SUFFIX);
    let packed = PathBuf::from(packed);
    if store.walk().next().is_none() && store.ambient_file()?.is_none() {
        store.check_ended()?;
        fs::remove_dir_all(folder).map_err(failed)?;
        return Ok(None);
    }
    if packed.exists() {
        // Whoever packed it was killed before the folder was removed.
        fs::remove_file(&packed).map_err(failed)?;
    }
    regress_cassettes::pack(folder, &packed)?;
    fs::remove_dir_all(folder).map_err(failed)?;
    Ok(Some(packed))
}

/// Send a packed recording by its own name, and remove it here.
async fn send_until(packed: &Path, location: &Location, until: Instant) -> Result<Sent, Kept> {
    let name = packed.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(PACK_SUFFIX).unwrap_or(&name);
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        let why = match tokio::time::timeout(rest, send::send(packed, location, name, false)).await {
            Ok(Ok(sent)) => {
                let _ = fs::remove_file(packed);
                forget(location, name).await;
                return Ok(sent);
            }
            Ok(Err(why)) => why,
            Err(_) => location.failed("write", name)(object_store::Error::Generic {
                store: "the store",
                source: "it took too long".into(),
            }),
        };
        if Instant::now() + AGAIN >= until {
            return Err(Kept { path: packed.to_owned(), why });
        }
        tracing::warn!("{why}: tried again");
        tokio::time::sleep(AGAIN).await;
    }
}

/// The recording is in the store, or nowhere: its mark is of no use. One that stays does no harm.
async fn forget(location: &Location, recording: &str) {
    let mark = location.path_of(&format!("{recording}{MARK}"));
    let _ = tokio::time::timeout(AGAIN, location.store().delete(&mark)).await;
}

/// What recorders that have ended left in the spool.
async fn send_earlier(root: PathBuf, location: Location) -> Vec<Earlier> {
    let mut done = Vec::new();
    for path in left_in(&root) {
        let packed = match path.is_dir() {
            false => Ok(Some(path.clone())),
            true => pack(&path),
        };
        // One that cannot be sent now is sent by the next.
        let until = Instant::now() + AGAIN;
        match packed {
            Ok(Some(packed)) => done.push(send_until(&packed, &location, until).await),
            Ok(None) => {}
            Err(why) => done.push(Err(Kept { path, why })),
        }
    }
    done
}

/// The recordings in a spool that nobody is at work on.
fn left_in(root: &Path) -> Vec<PathBuf> {
    let is_left = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = path.is_dir() && !name.starts_with('.') || name.ends_with(PACK_SUFFIX);
        is_ours && !matches!(File::open(path).map(|file| file.try_lock()), Ok(Err(TryLockError::WouldBlock)))
    };
    let mut left: Vec<PathBuf> = fs::read_dir(root).into_iter().flatten().flatten().map(|found| found.path()).collect();
    left.retain(|path| is_left(path));
    left.sort();
    left
}

fn watch(root: &Path, limit: u64, is_full: &AtomicBool, stopped: &mpsc::Receiver<()>) {
    let mut pause = Duration::ZERO;
    while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
        let began = Instant::now();
        let was_full = is_full.swap(size_of(root) > limit, Ordering::Relaxed);
        if !was_full && is_full.load(Ordering::Relaxed) {
            tracing::warn!("{}: it is full, entries are left out until there is room", root.display());
        }
        pause = LOOK.max(began.elapsed() * LOOKING);
    }
}

/// Bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found
        .map(|found| match found.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&found.path()),
            Ok(kind) if kind.is_file() => found.metadata().map_or(0, |file| file.len()),
            _ => 0,
        })
        .sum()
}
