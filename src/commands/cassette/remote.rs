//! `regress cassette push`, `pull` and `prune`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use regress_cassettes::{PACK_SUFFIX, Store, seal::Keys};
use regress_remote::{Location, Retention};

use super::{counted, failure};
use crate::{
    output::{self, Exit, Failure},
    remote,
};

pub fn push(folder: &Path, url: &str, name: Option<String>, replace: bool) -> Result<Exit, Failure> {
    let location = Location::open(url).map_err(remote::failure)?;
    let name = match name {
        Some(name) => name,
        None => own_name(folder)?,
    };
    let sent = remote::block_on(regress_remote::push(folder, &location, &name, replace))?.map_err(remote::failure)?;
    for path in &sent.left_out {
        output::say(format_args!("warning: left out, as no file of a folder of cassettes: {}", path.display()));
    }
    output::say(remote::told(&sent));
    Ok(Exit::Same)
}

/// The folder's own name, also where it is written `.`.
fn own_name(folder: &Path) -> Result<String, Failure> {
    let whole = fs::canonicalize(folder)
        .map_err(|source| failure(regress_cassettes::Error::Io { action: "read", path: folder.to_owned(), source }))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    parse_name(name.strip_suffix(PACK_SUFFIX).unwrap_or(&name))
        .map_err(|what| Failure::new(format_args!("{name}: {what}")).hint("give another one with --name"))
}

/// What can be the name of a recording in a store.
pub fn parse_name(name: &str) -> Result<String, String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(is_fit) {
        return Err("a name is of letters, digits, - and _ and ., and does not begin with a dot".to_owned());
    }
    Ok(name.to_owned())
}

pub fn pull(url: &str, to: &Path, keys: &Keys) -> Result<Exit, Failure> {
    let location = Location::open(url).map_err(remote::failure)?;
    let pulled = remote::block_on(regress_remote::pull(&location, to, keys))?.map_err(remote::failure)?;
    let (fetched, merged) = pulled;
    remote::say_fetched(&fetched, &location);
    if merged.logs > 0 {
        let logs = counted(merged.logs, "owner log");
        output::say(format_args!("{logs} left out: one is of use beside its own recording alone"));
    }
    output::say(format_args!("{}: {}", to.display(), counted(merged.files, "file")));
    Ok(Exit::Same)
}

pub fn prune(place: &Path, keys: Keys, retention: Retention, dry_run: bool) -> Result<Exit, Failure> {
    let verb = if dry_run { "would remove" } else { "removed" };
    let gone: Vec<String> = match place.to_str().filter(|text| regress_remote::is_url(text)) {
        Some(url) => {
            let location = Location::open(url).map_err(remote::failure)?;
            let pruned = remote::block_on(location.prune(retention, dry_run))?.map_err(remote::failure)?;
            pruned.into_iter().map(|pruned| pruned.at).collect()
        }
        None => prune_folder(place, keys, retention, dry_run)?.iter().map(|path| path.display().to_string()).collect(),
    };
    let what = if gone.len() == 1 { "recording or cassette" } else { "recordings or cassettes" };
    gone.iter().for_each(|name| output::data(format_args!("{name}\n")));
    output::say(format_args!("{verb} {} {what}", gone.len()));
    Ok(Exit::Same)
}

/// Remove cassettes by the time in their ids, with their proposals, and then the bodies that nothing refers to.
fn prune_folder(folder: &Path, keys: Keys, retention: Retention, dry_run: bool) -> Result<Vec<PathBuf>, Failure> {
    let store = Store::open(folder).map_err(failure)?.with_keys(keys);
    // A body of a recording that goes on may wait for its cassette; which ones sealed cassettes need is sealed.
    store.check_ended().and_then(|()| store.check_keys()).map_err(failure)?;
    let now = jiff::Timestamp::now();
    // One whose id tells no time is not old.
    let dated: Vec<_> =
        store.list().map_err(failure)?.into_iter().filter_map(|one| Some((one.id.time()?, one.path))).collect();
    let age = |time: &jiff::Timestamp| Duration::try_from(now.duration_since(*time)).unwrap_or_default();
    let ages: Vec<Duration> = dated.iter().map(|(time, _)| age(time)).collect();
    let outdated = retention.outdated(&ages);
    let gone: Vec<PathBuf> =
        dated.into_iter().zip(outdated).filter(|(_, is_outdated)| *is_outdated).map(|((_, path), _)| path).collect();
    if !dry_run {
        for path in &gone {
            store.remove(path).map_err(failure)?;
        }
        store.remove_unused_bodies().map_err(failure)?;
    }
    Ok(gone)
}
