//! `regress cassette seal`, `open` and `rekey`.

use std::{path::Path, sync::Arc};

use regress_cassettes::{
    Store,
    seal::{Keys, Seal, Session},
};

use super::{counted, failure};
use crate::output::{self, Exit, Failure};

pub fn seal(folder: &Path, keys: Keys, seal: &Seal) -> Result<Exit, Failure> {
    let store = store(folder, keys)?;
    store.check_keys().map_err(failure)?;
    let done = regress_cassettes::seal_folder(&store, seal).map_err(failure)?;
    say(done, "sealed");
    Ok(Exit::Same)
}

pub fn open(folder: &Path, keys: Keys) -> Result<Exit, Failure> {
    let store = store(folder, keys)?;
    store.check_keys().map_err(failure)?;
    say(regress_cassettes::open(&store).map_err(failure)?, "opened");
    Ok(Exit::Same)
}

pub fn rekey(folder: &Path, keys: Keys, session: &Arc<Session>) -> Result<Exit, Failure> {
    let store = store(folder, keys)?;
    store.check_keys().map_err(failure)?;
    say(regress_cassettes::rekey(&store, session).map_err(failure)?, "sealed for the new recipients");
    Ok(Exit::Same)
}

fn store(folder: &Path, keys: Keys) -> Result<Store, Failure> {
    Ok(Store::open(folder).map_err(failure)?.with_keys(keys))
}

fn say(done: usize, verb: &str) {
    output::say(format_args!("{} {verb}", counted(done, "cassette")));
}
