//! Recordings on their way to the store: a folder on the recorder's disk, of bounded size, that outlives the recorder.
//!
//! `SPOOL/<recording>/` is a recording that goes on; `SPOOL/<recording>.cassettes.zst` one that has ended and is not in the
//! store yet. Whoever uses the folder next sends what is left. While a recording goes on, `<recording>.recording` is in the
//! store, so that whoever reads there knows of recordings that are not.

use std::{
    fs::{self, File},
    future::ready,
    path::{Path, PathBuf},
    pin::pin,
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
        // It has its name once it is locked, so that nobody takes it for one that was left.
        let unnamed = root.join(format!(".{recording}"));
        fs::create_dir_all(&unnamed).map_err(failed)?;
        let locked = File::open(&unnamed).and_then(|file| file.lock().map(|()| file)).map_err(failed)?;
        fs::rename(&unnamed, &folder).map_err(failed)?;
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

    /// The recording has ended: pack it and send it, for as long as `patience` lasts, and until there is a `stop`. What was not
    /// sent stays in the spool.
    pub fn finish(mut self, patience: Duration, stop: impl Future<Output = &'static str>) -> Finished {
        drop(self.watch.take().map(|(stop, watch)| {
            drop(stop);
            watch.join()
        }));
        let until = Instant::now() + patience;
        let folder = self.folder();
        let (location, earlier) = (&self.location, &mut self.earlier);
        self.runtime.block_on(async {
            let mut stop = pin!(stop);
            // From now on it is listened for.
            let early = tokio::select! { biased; signal = &mut stop => Some(signal), () = ready(()) => None };
            let sent = match early.map_or_else(|| pack(&folder), |signal| Err(Error::Stopped(signal))) {
                Ok(Some(packed)) => Some(tokio::select! {
                    sent = send_until(&packed, location, until) => sent,
                    signal = &mut stop => Err(Kept { path: packed.clone(), why: Error::Stopped(signal) }),
                }),
                Ok(None) => None,
                Err(why) => Some(Err(Kept { path: folder, why })),
            };
            if sent.is_none() {
                forget(location, &self.recording).await;
            }
            let is_stopped = matches!(&sent, Some(Err(Kept { why: Error::Stopped(_), .. })));
            let earlier = tokio::select! {
                () = ready(()), if is_stopped => None,
                earlier = tokio::time::timeout_at(until.into(), earlier) => earlier.ok().and_then(Result::ok),
                _ = stop, if !is_stopped => None,
            };
            Finished { sent, earlier: earlier.unwrap_or_default() }
        })
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

/// Whether a file name is one that [`name`] gives: nothing else in a spool is touched.
fn is_name(name: &str) -> bool {
    let (Some((time, _)), Some((_, random))) = (name.split_once("Z-"), name.rsplit_once('-')) else { return false };
    let is_time = |time: &str| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", time).is_ok();
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    is_time(time) && random.len() == 8 && random.bytes().all(is_hex)
}

/// The packed form of a recording's folder, beside it and in its place; `None` where nothing was recorded. Whoever calls has the
/// folder locked.
fn pack(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let store = Store::open(folder)?;
    let failed = |source| Error::Io { action: "remove", path: folder.to_owned(), source };
    let mut packed = folder.as_os_str().to_owned();
    packed.push(PACK_SUFFIX);
    let packed = PathBuf::from(packed);
    if store.walk().next().is_none() && store.ambient_file()?.is_none() {
        store.check_ended()?;
        store.remove_leftovers();
        fs::remove_dir(folder).map_err(failed)?;
        return Ok(None);
    }
    if packed.exists() {
        // Whoever packed it was killed before the folder was removed.
        fs::remove_file(&packed).map_err(failed)?;
    }
    let done = regress_cassettes::pack(folder, &packed)?;
    if let Some(foreign) = done.left_out.into_iter().next() {
        let _ = fs::remove_file(&packed);
        return Err(Error::Foreign(foreign));
    }
    fs::remove_dir_all(folder).map_err(failed)?;
    Ok(Some(packed))
}

/// Send a packed recording by its own name, and remove it here.
async fn send_once(packed: &Path, location: &Location) -> Result<Sent, Kept> {
    let name = packed.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(PACK_SUFFIX).unwrap_or(&name);
    let kept = |why| Kept { path: packed.to_owned(), why };
    let sent = send::send(packed, location, name, false).await.map_err(kept)?;
    let _ = fs::remove_file(packed);
    forget(location, name).await;
    Ok(sent)
}

/// The same, again and again until that time.
async fn send_until(packed: &Path, location: &Location, until: Instant) -> Result<Sent, Kept> {
    loop {
        let kept = match tokio::time::timeout_at(until.into(), send_once(packed, location)).await {
            Ok(Err(kept)) => kept,
            Ok(Ok(sent)) => return Ok(sent),
            Err(_) => return Err(Kept { path: packed.to_owned(), why: Error::TimeOut(location.to_string()) }),
        };
        if Instant::now() + AGAIN >= until {
            return Err(kept);
        }
        tracing::warn!("{}: tried again", kept.why);
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
    for path in recordings_in(&root) {
        // Somebody is at work on it, or was sooner.
        let Ok(locked) = File::open(&path) else { continue };
        if locked.try_lock().is_err() {
            continue;
        }
        let packed = match path.is_dir() {
            false => Ok(Some(path.clone())),
            true => pack(&path),
        };
        match packed {
            Ok(Some(packed)) => done.push(send_once(&packed, &location).await),
            Ok(None) => {}
            Err(why) => done.push(Err(Kept { path, why })),
        }
    }
    done
}

/// The recordings in a spool, in order of time.
fn recordings_in(root: &Path) -> Vec<PathBuf> {
    let is_recording = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match name.strip_suffix(PACK_SUFFIX) {
            Some(name) => is_name(name) && path.is_file(),
            None => is_name(&name) && path.is_dir(),
        }
    };
    let found = fs::read_dir(root).into_iter().flatten().flatten().map(|found| found.path());
    let mut recordings: Vec<PathBuf> = found.filter(is_recording).collect();
    recordings.sort();
    recordings
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_spool_is_touched_but_recordings() {
        let spool = tempfile::tempdir().unwrap();
        let own = name();
        assert!(is_name(&own), "{own}");
        for folder in ["src", "get-orders", "20261130T041905Z-web", ".20261130T041905Z-web-0123abcd", &own] {
            fs::create_dir(spool.path().join(folder)).unwrap();
        }
        let packed = "20261130T041905Z-web-3-0123abcd.cassettes.zst";
        for file in ["golden.cassettes.zst", "20261130T041905Z-web-3-0123abcd", packed] {
            fs::write(spool.path().join(file), "x").unwrap();
        }
        let found = recordings_in(spool.path());
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_string_lossy()).collect();
        assert_eq!(names, [packed, &*own]);
    }

    #[test]
    fn what_is_no_part_of_a_recording_is_not_removed_with_it() {
        let spool = tempfile::tempdir().unwrap();
        let folder = spool.path().join(name());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("notes"), "mine").unwrap();
        assert!(matches!(pack(&folder), Err(Error::Io { .. })), "nothing was recorded");
        fs::create_dir(folder.join("get-a")).unwrap();
        fs::write(folder.join("get-a/20261130T041905.000000Z-0001.cassette.json"), "{}").unwrap();
        assert!(matches!(pack(&folder), Err(Error::Foreign(path)) if path.ends_with("notes")));
        assert!(folder.join("notes").is_file() && folder.join("get-a").is_dir());
        fs::remove_file(folder.join("notes")).unwrap();
        let packed = pack(&folder).unwrap().unwrap();
        assert!(packed.is_file() && !folder.exists());
    }

    #[test]
    fn a_spool_is_as_large_as_its_files() {
        let spool = tempfile::tempdir().unwrap();
        fs::create_dir_all(spool.path().join("a/b")).unwrap();
        fs::write(spool.path().join("a/b/c"), [0; 5]).unwrap();
        fs::write(spool.path().join("d"), [0; 7]).unwrap();
        std::os::unix::fs::symlink("/", spool.path().join("a/link")).unwrap();
        assert_eq!(size_of(spool.path()), 12);
    }
}
