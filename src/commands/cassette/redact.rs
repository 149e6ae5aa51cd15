//! `regress cassette redact`: takes secrets out of cassettes that have them.

use std::path::Path;

use regress_cassettes::{
    Cassette, Store,
    redact::{Redactor, Replaced},
    seal::Keys,
};

use super::{counted, failure};
use crate::output::{self, Exit, Failure};

/// Redact all cassettes of a folder, the ambient one too, in place. With `dry_run` nothing is written, and the exit code is 1 when
/// there are secrets.
pub fn redact(folder: &Path, keys: Keys, redactor: &Redactor, dry_run: bool) -> Result<Exit, Failure> {
    let store = Store::open(folder).map_err(failure)?.with_keys(keys);
    store.check_keys().map_err(failure)?;
    if store.is_packed() {
        return Err(failure(regress_cassettes::Error::Packed { path: folder.to_owned() }));
    }
    if !store.pending().map_err(failure)?.is_empty() {
        return Err(Failure::new("proposals wait in this folder, which are made of what the cassettes say now")
            .hint("settle them with `regress review`, then redact"));
    }
    if !dry_run {
        // What a run that was killed left may hold what it was redacting.
        store.remove_leftovers();
    }
    let mut replaced = Replaced::default();
    let mut changed = 0;
    if let Some(ambient) = store.ambient().map_err(failure)? {
        let redacted = redact_ambient(redactor, &ambient, &mut replaced);
        if redacted != ambient {
            changed += 1;
            if !dry_run {
                store.replace_ambient(&Redactor::from_files(redacted)).map_err(failure)?;
            }
        }
    }
    for located in store.list().map_err(failure)? {
        let before = store.read(&located).map_err(failure)?;
        let after = redactor.cassette(before.clone());
        replaced.add(after.replaced());
        if *after == before {
            continue;
        }
        changed += 1;
        if !dry_run {
            // A folder is named by the entry's path, in which there may have been a secret; by another name it is somebody's own.
            let is_ours = store.path_of(&before).map_err(failure)? == located.path;
            let written = if is_ours { store.write(&after) } else { store.replace(&located.path, &after) };
            let path = written.map_err(failure)?;
            if path != located.path {
                std::fs::remove_file(&located.path).map_err(|error| {
                    Failure::new(format_args!("cannot remove {}: {error}", located.path.display()))
                        .hint("its redacted form was written; remove it by hand")
                })?;
                // The folder's name may be the secret; others are still in it, or it goes with the last.
                let _ = located.path.parent().map(std::fs::remove_dir);
            }
        }
    }
    if !dry_run {
        let removed = store.remove_unused_bodies().map_err(failure)?;
        if removed > 0 {
            output::say(format_args!("{} removed that nothing refers to any more", counted(removed, "body file")));
        }
    }
    output::data(table(&replaced));
    let (cassettes, verb) = (counted(changed, "cassette"), if dry_run { "would be redacted" } else { "redacted" });
    output::say(format_args!("{cassettes} {verb}"));
    Ok(if dry_run && changed > 0 { Exit::Different } else { Exit::Same })
}

/// Exchanges that no entry caused belong to nothing else: each is redacted by itself, as when it is recorded.
fn redact_ambient(redactor: &Redactor, ambient: &Cassette, replaced: &mut Replaced) -> Cassette {
    let mut redacted = ambient.clone();
    let mut all = Replaced::default();
    for exchange in &mut redacted.downstream {
        let without = redactor.exchange(exchange.clone());
        all.add(without.replaced());
        *exchange = without.into_inside();
    }
    redacted.redacted.extend(all.kinds().map(|kind| kind.word().to_owned()));
    replaced.add(&all);
    redacted
}

/// How many of which kind at which places.
fn table(replaced: &Replaced) -> String {
    let mut text = String::new();
    for (kind, place, count) in replaced.rows() {
        text.push_str(&format!("{:15}  {:8}  {count:>8}\n", kind.word(), place.word()));
    }
    text
}
