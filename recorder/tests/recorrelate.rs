//! Owners that are decided again from the log of a recording.

mod script;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use regress_cassettes::{Cassette, Defect, Store, redact::Redactor};
use regress_recorder::{Error, Recorrelated, Settings, record_events, recorrelate};

fn record(out: &Path, owner_log: bool, after: u64) {
    let settings = Settings { owner_log, ..script::settings(out) };
    record_events(&settings, [script::entries(30, after)]).unwrap();
}

/// Every cassette file, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let store = Store::open(folder).unwrap();
    let paths = store.list().unwrap().into_iter().map(|located| located.path);
    paths
        .chain([folder.join("ambient.cassette.json")])
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// What another version might have decided: some calls of nobody, and one of another entry.
fn confuse(folder: &Path) -> (u64, u64) {
    let store = Store::open(folder).unwrap();
    let mut ambient: Cassette = store.ambient().unwrap().expect("one of each round");
    // Connections of a second recording have numbers there that come after those of the first.
    const HALF_AN_HOUR: i64 = 1_800_000_000;
    let first = ambient.downstream.iter().filter(|call| call.at < HALF_AN_HOUR);
    let connections = first.map(|call| call.connection.id + 1).max().unwrap();
    let (mut given, mut taken) = (0, 0);
    let mut stray = None;
    for (index, located) in store.list().unwrap().iter().enumerate() {
        let mut cassette = store.read(located).unwrap();
        let start = micros(&cassette.recorded.at) - micros(&ambient.recorded.at);
        if index % 3 == 0 {
            let mut call = cassette.downstream.remove(0);
            call.at += start;
            call.connection.id += if start < HALF_AN_HOUR { 0 } else { connections };
            call.cause = None;
            call.defects.push(Defect::AmbiguousOwner);
            cassette.defects.push(Defect::AmbiguousOwner);
            ambient.downstream.push(call);
            given += 1;
        } else if index % 7 == 1 {
            // The next one gets it.
            let mut call = cassette.downstream.remove(0);
            call.at += start;
            stray = Some(call);
        } else if let Some(mut call) = stray.take() {
            call.at -= start;
            cassette.downstream.push(call);
            (given, taken) = (given + 1, taken + 1);
        }
        store.write(&Redactor::from_files(cassette.clone())).unwrap();
    }
    ambient.downstream.sort_by_key(|call| call.at);
    store.replace_ambient(&Redactor::from_files(ambient.clone())).unwrap();
    (given, taken)
}

fn micros(at: &str) -> i64 {
    at.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

#[test]
fn what_was_decided_otherwise_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    let right = files(folder.path());
    assert_eq!(right.len(), 61);
    let nothing = Recorrelated { entries: 60, ..Recorrelated::default() };
    assert_eq!(recorrelate(folder.path(), &Default::default(), true).unwrap(), nothing);
    assert_eq!(files(folder.path()), right);

    let (given, taken) = confuse(folder.path());
    let confused = files(folder.path());
    assert!(given > 20 && taken > 2 && confused != right);
    let counted = recorrelate(folder.path(), &Default::default(), false).unwrap();
    assert_eq!(counted, Recorrelated { now_certain: 20, given, taken, ..nothing });
    assert_eq!(files(folder.path()), confused, "it was only asked what would change");
    assert_eq!(recorrelate(folder.path(), &Default::default(), true).unwrap(), counted);
    assert_eq!(files(folder.path()), right);
}

#[test]
fn an_entry_whose_call_is_not_there_any_more_is_uncertain() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    let store = Store::open(folder.path()).unwrap();
    let located = store.list().unwrap().remove(4);
    let mut cassette = store.read(&located).unwrap();
    cassette.downstream.clear();
    store.write(&Redactor::from_files(cassette.clone())).unwrap();
    let counted = recorrelate(folder.path(), &Default::default(), true).unwrap();
    assert_eq!(counted, Recorrelated { entries: 60, now_uncertain: 1, missing: 1, ..Recorrelated::default() });
    assert_eq!(store.read(&located).unwrap().defects, [Defect::AmbiguousOwner]);
}

#[test]
fn calls_of_entries_that_have_no_cassette_stay_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    confuse(folder.path());
    let store = Store::open(folder.path()).unwrap();
    let ambient = fs::read_to_string(folder.path().join("ambient.cassette.json")).unwrap();
    store.list().unwrap().iter().for_each(|located| fs::remove_file(&located.path).unwrap());
    assert_eq!(recorrelate(folder.path(), &Default::default(), true).unwrap(), Recorrelated::default());
    assert_eq!(fs::read_to_string(folder.path().join("ambient.cassette.json")).unwrap(), ambient);
}

#[test]
fn calls_of_nobody_say_whether_they_may_be_somebodys() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    let right = files(folder.path());
    let store = Store::open(folder.path()).unwrap();
    let mut ambient = store.ambient().unwrap().unwrap();
    ambient.downstream[3].defects.push(Defect::AmbiguousOwner);
    store.replace_ambient(&Redactor::from_files(ambient.clone())).unwrap();
    recorrelate(folder.path(), &Default::default(), true).unwrap();
    assert_eq!(files(folder.path()), right);
}

#[test]
fn recordings_that_share_a_folder_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), true, 0);
    record(folder.path(), true, 3_600_000_000_000);
    let right = files(folder.path());
    assert_eq!(right.len(), 121);
    let (given, taken) = confuse(folder.path());
    let counted = recorrelate(folder.path(), &Default::default(), true).unwrap();
    assert_eq!((counted.entries, counted.given, counted.taken), (120, given, taken));
    assert_eq!(files(folder.path()), right);
}

#[test]
fn without_a_log_there_is_nothing_to_decide_from() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), false, 0);
    assert!(matches!(recorrelate(folder.path(), &Default::default(), true), Err(Error::NoOwnerLog { .. })));
    fs::write(folder.path().join("x.owners.gz"), "no log").unwrap();
    assert!(matches!(recorrelate(folder.path(), &Default::default(), true), Err(Error::OwnerLog { .. })));
}
