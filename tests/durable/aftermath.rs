//! What has to hold of a folder after its writer was killed, or had a call that failed.

use std::path::{Path, PathBuf};

use regress_cassettes::{AMBIENT_FILE, Store, render, verify};

use super::writer::{
    Mode, Written, ambient, ambient_file, ambient_recorded, as_is, cassette, changed, entries_of_all, path_in,
    report_text,
};
use crate::harness::faults::Fault;

/// What was finished is whole, nothing else has a name of something finished, nothing failed in silence, and a further
/// recording goes on.
#[track_caller]
pub fn judge(written: Written) {
    let about = format!("{:?} {:?}\n{}\n{}", written.mode, written.fault, written.traced.stdout, written.traced.stderr);
    let is_killed = matches!(written.fault, Some((_, Fault::Kill)));
    assert_eq!(written.traced.code.is_none(), is_killed, "{about}");
    whole(&written.store(), &about);
    match written.mode {
        Mode::AtOnce | Mode::Later => finished(&written, &about),
        Mode::Recorder => recorded(&written, is_killed, &about),
    }
    goes_on(&written.store(), &about);
}

/// Every file has a name that says what it is, and is that.
fn whole(store: &Path, about: &str) {
    for file in files(store) {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        if name.ends_with(".cassette.json") || name.ends_with(".cassette.json.new") {
            let problems = verify(&file);
            assert!(problems.is_empty(), "{}: {problems:?}\n{about}", file.display());
        } else {
            let is_body = file.parent().is_some_and(|folder| folder.ends_with("bodies")) && name.len() == 64;
            let is_known = is_body || name.ends_with(".recording") || name.ends_with(".owners.gz");
            assert!(is_known || name.starts_with(".regress-"), "{} is what?\n{about}", file.display());
        }
    }
}

fn finished(written: &Written, about: &str) {
    let numbers = |kind| written.finished(kind).map(|number| number.parse::<u32>().expect("a number"));
    let text = |number| {
        let path = written.store().join(path_in(&Store::create(written.store()).expect("made"), &cassette(number)));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}\n{about}", path.display()))
    };
    for number in numbers("cassette") {
        let found = text(number);
        assert!([cassette(number), changed(number)].iter().any(|one| render(one) == found), "{number}\n{about}");
    }
    for number in numbers("accepted") {
        assert_eq!(text(number), render(&changed(number)), "{about}");
    }
    let ambients = numbers("ambient").count();
    if ambients > 0 {
        let found = regress_cassettes::read(&ambient_file(&written.store())).expect("it was finished");
        // One more may have been written, and the writer killed before it said so.
        assert!((ambients..=ambients + 1).contains(&found.downstream.len()), "{about}");
    }
    let report = std::fs::read_to_string(written.report()).ok();
    let last = numbers("report").max();
    let known = (0..entries_of_all()).find(|number| report.as_deref() == Some(&report_text(*number)));
    assert!(report.is_none() || known.is_some(), "half a report\n{about}");
    assert!(known >= last, "the last report is gone\n{about}");
    let kinds = ["cassette", "ambient", "accepted", "report"];
    let done: usize = kinds.iter().map(|kind| written.finished(kind).count()).sum();
    let failed = written.traced.stdout.lines().filter(|line| line.contains("failed ")).count();
    let entries = entries_of_all();
    let jobs = entries + entries.div_ceil(3) + (entries + 2) / 4 + entries;
    // Without a folder there is nothing more to try.
    let is_told = (done + failed) as u32 == jobs || (done, failed) == (0, 1);
    assert!(written.traced.code.is_none() || is_told, "something failed in silence\n{about}");
}

fn recorded(written: &Written, is_killed: bool, about: &str) {
    let store = Store::create(written.store()).expect("it can be made");
    let cassettes = store.list().expect("it can be listed").len();
    let is_ended = store.check_ended().is_ok();
    let told = written.finished("recording").next();
    match told {
        Some(entries) => {
            assert_eq!(entries, entries_of_all().to_string(), "{about}");
            assert_eq!(cassettes as u32, entries_of_all(), "{about}");
            let ambient = store.ambient().expect("it is whole").expect("there are exchanges of nobody");
            assert!(ambient.downstream.len() >= ambient_recorded(), "{about}");
            assert!(is_ended || is_killed, "{about}");
        }
        None => {
            assert!(is_killed || written.traced.stdout.contains("failed "), "it failed in silence\n{about}");
            // Killed behind the end of its mark, it has done all.
            assert!(cassettes == 0 || !is_ended || cassettes as u32 == entries_of_all(), "its mark is gone\n{about}");
        }
    }
}

/// A further writer removes what was left, and adds to what there is.
fn goes_on(folder: &Path, about: &str) {
    let store = Store::create(folder).expect("it can be made");
    let before = store.list().expect("it can be listed").len();
    store.remove_leftovers();
    let more = cassette(entries_of_all() + 1);
    store.write(&as_is(more)).unwrap_or_else(|error| panic!("{error}\n{about}"));
    store.write(&as_is(ambient())).unwrap_or_else(|error| panic!("{error}\n{about}"));
    assert_eq!(store.list().expect("it can be listed").len(), before + 1, "{about}");
    assert!(store.ambient().expect("it is whole").is_some(), "{about}");
    assert_eq!(store.temporary(), Vec::<PathBuf>::new(), "{about}");
    assert!(folder.join(AMBIENT_FILE).is_file());
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let found = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    found.filter(|entry| !entry.file_type().is_dir()).map(walkdir::DirEntry::into_path).collect()
}
