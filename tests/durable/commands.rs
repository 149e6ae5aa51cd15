//! Commands that change a folder of cassettes, killed or failed at each call that changes files: at no moment are old and
//! new both gone, and the same command run again does the rest.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use nix::errno::Errno;
use regress_cassettes::{AMBIENT_FILE, Defect, Store, redact::Redactor, render};
use regress_protocols::Request;
use regress_recorder::record_events;

use super::{
    aftermath::files,
    script::{entries, settings},
    sweep,
    writer::{ambient, as_is, cassette, changed, path_in},
};
use crate::harness::{
    Need, Process,
    faults::{self, Fault},
    http, regress, require,
};

const ENTRIES: u32 = 5;

/// Run `command` on what `prepare` makes, with each fault, and look at what it leaves: `judge` before it is run again, `done`
/// after that.
fn each_point(
    every: usize,
    prepare: impl Fn(&Path),
    command: impl Fn(&Path) -> Command,
    judge: impl Fn(&Path, &str),
    done: impl Fn(&Path, &str),
) {
    if !require("durable::commands", &[Need::Trace]) {
        return;
    }
    let run = |fault: Option<(usize, Fault)>| {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        prepare(folder.path());
        let traced = faults::run(&command(folder.path()), fault);
        let about = format!("{fault:?}\n{}{}", traced.stdout, traced.stderr);
        if fault.is_some_and(|(_, fault)| !matches!(fault, Fault::Kill)) && traced.code != Some(0) {
            assert_eq!(traced.code, Some(2), "{about}");
            assert!(traced.stderr.contains("error: "), "{about}");
        }
        assert!(fault.is_some() || traced.calls > 4, "{about}");
        judge(folder.path(), &about);
        if traced.code != Some(0) {
            Process::start(&mut command(folder.path())).finish();
        }
        done(folder.path(), &about);
        let left: Vec<PathBuf> = files(folder.path()).into_iter().filter(|file| is_temporary(file)).collect();
        assert!(left.is_empty() || traced.code != Some(0), "{left:?}\n{about}");
        traced.calls
    };
    let points = run(None);
    for point in sweep(points, 1) {
        run(Some((point, Fault::Kill)));
    }
    for point in sweep(points, every) {
        run(Some((point, Fault::Fail(Errno::ENOSPC))));
        run(Some((point, Fault::FailFromThen(Errno::EIO))));
        run(Some((point, Fault::Short)));
    }
}

fn is_temporary(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".regress-"))
}

fn corpus(folder: &Path) -> Store {
    let store = Store::create(folder.join("cassettes")).expect("a temporary folder can be written").sync_later();
    for number in 0..ENTRIES {
        store.write(&as_is(cassette(number))).expect("it can be written");
    }
    store.write(&as_is(ambient())).expect("it can be written");
    store
}

fn text(path: &Path, about: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}\n{about}", path.display()))
}

/// All files of a folder, with what they say, by their path in it.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let below = |file: &Path| file.strip_prefix(folder).expect("below it").to_path_buf();
    files(folder).into_iter().map(|file| (below(&file), std::fs::read(&file).expect("a file"))).collect()
}

#[test]
fn accepting_proposals() {
    let original =
        |folder: &Path, number| path_in(&Store::create(folder.join("cassettes")).expect("made"), &cassette(number));
    each_point(
        3,
        |folder| {
            let store = corpus(folder);
            for number in 0..ENTRIES {
                store.write_pending(&original(folder, number), &as_is(changed(number))).expect("it can be written");
            }
        },
        |folder| {
            let mut command = regress();
            command.args(["review", "--accept-all"]).arg(folder.join("cassettes"));
            command
        },
        |folder, about| {
            for number in 0..ENTRIES {
                let original = original(folder, number);
                let found = text(&original, about);
                if found != render(&changed(number)) {
                    assert_eq!(found, render(&cassette(number)), "{about}");
                    let proposed = original.with_extension("json.new");
                    let proposed =
                        regress_cassettes::read(&proposed).unwrap_or_else(|error| panic!("{error}\n{about}"));
                    assert_eq!(proposed, changed(number), "{about}");
                }
            }
        },
        |folder, about| {
            for number in 0..ENTRIES {
                assert_eq!(text(&original(folder, number), about), render(&changed(number)), "{about}");
            }
            let store = Store::open(folder.join("cassettes")).expect("it is there");
            assert_eq!(store.pending().expect("it can be listed"), [], "{about}");
        },
    );
}

#[test]
fn packing() {
    let pack = |folder: &Path| folder.join("cassettes.cassettes.zst");
    let whole = |folder: &Path, about: &str| {
        let again = folder.join("again");
        regress_cassettes::unpack(&pack(folder), &again).unwrap_or_else(|error| panic!("{error}\n{about}"));
        assert_eq!(contents(&again), contents(&folder.join("cassettes")), "{about}");
        std::fs::remove_dir_all(again).expect("our own folder");
    };
    each_point(
        2,
        |folder| drop(corpus(folder)),
        |folder| {
            let mut command = regress();
            command.args(["cassette", "pack"]).arg(folder.join("cassettes"));
            command
        },
        |folder, about| {
            if pack(folder).exists() {
                whole(folder, about);
            }
        },
        whole,
    );
}

#[test]
fn unpacking() {
    let judge = |folder: &Path, about: &str| {
        if folder.join("again").exists() {
            assert_eq!(contents(&folder.join("again")), contents(&folder.join("cassettes")), "{about}");
        }
    };
    each_point(
        2,
        |folder| {
            corpus(folder);
            regress_cassettes::pack(&folder.join("cassettes"), &folder.join("packed.cassettes.zst")).expect("packed");
        },
        |folder| {
            let mut command = regress();
            command.args(["cassette", "unpack"]).arg(folder.join("packed.cassettes.zst"));
            command.arg("-o").arg(folder.join("again"));
            command
        },
        judge,
        |folder, about| {
            assert!(folder.join("again").exists(), "{about}");
            judge(folder, about);
        },
    );
}

#[test]
fn redacting_in_place() {
    const SECRET: &str = "Bearer c2VjcmV0LW9mLXRoZS1zZXJ2aWNl";
    let secret = |number| {
        let mut cassette = cassette(number);
        let entry = cassette.entry.as_mut().expect("an entry");
        if let regress_cassettes::Content::Http1(http) = &mut entry.content {
            http.request = regress_protocols::http1::Message::request(
                "GET",
                &format!("/user/{number}"),
                &[("Host", "shop"), ("Authorization", SECRET)],
                "",
            );
        }
        cassette
    };
    let ids = |folder: &Path| -> Vec<String> {
        let listed = Store::open(folder.join("cassettes")).expect("it is there").list().expect("it can be listed");
        listed.iter().map(|located| located.id.to_string()).collect()
    };
    let expected: Vec<String> = (0..ENTRIES).map(|number| cassette(number).id.to_string()).collect();
    each_point(
        3,
        |folder| {
            let store = Store::create(folder.join("cassettes")).expect("made").sync_later();
            for number in 0..ENTRIES {
                store.write(&as_is(secret(number))).expect("it can be written");
            }
            std::fs::write(folder.join("key"), "a key of more than sixteen bytes").expect("a temporary folder");
        },
        |folder| {
            let mut command = regress();
            command.args(["cassette", "redact", "--redact-key-file"]).arg(folder.join("key"));
            command.arg(folder.join("cassettes"));
            command
        },
        |folder, about| {
            let found: BTreeSet<String> = ids(folder).into_iter().collect();
            assert_eq!(found, expected.iter().cloned().collect(), "{about}");
            let store = Store::open(folder.join("cassettes")).expect("it is there");
            for located in store.list().expect("it can be listed") {
                let cassette = store.read(&located).unwrap_or_else(|error| panic!("{error}\n{about}"));
                assert_eq!(cassette.id, located.id, "{about}");
            }
        },
        |folder, about| {
            assert_eq!(ids(folder), expected, "{about}");
            for (path, content) in contents(&folder.join("cassettes")) {
                let content = String::from_utf8_lossy(&content).into_owned();
                assert!(!content.contains(&SECRET[7..]), "{}\n{about}", path.display());
            }
        },
    );
}

#[test]
fn deciding_owners_again() {
    let store = |folder: &Path| Store::open(folder.join("cassettes")).expect("it is there");
    // What was called, wherever it stands.
    let calls = |folder: &Path, about: &str| -> BTreeSet<(u64, String)> {
        let store = store(folder);
        let listed = store.list().expect("it can be listed").into_iter();
        let cassettes = listed.map(|located| store.read(&located).unwrap_or_else(|error| panic!("{error}\n{about}")));
        let all = cassettes.chain(store.ambient().unwrap_or_else(|error| panic!("{error}\n{about}")));
        let calls = all.flat_map(|cassette| cassette.downstream);
        calls
            .filter_map(|call| match call.request() {
                Some(Request::Http(_)) => Some((call.connection.id, http(&call).request.target().into_owned())),
                _ => None,
            })
            .collect()
    };
    let template = tempfile::tempdir().expect("there is a temporary folder");
    record_events(&settings(&template.path().join("cassettes")), [entries(12, 0)]).expect("it can be recorded");
    let right = contents(template.path());
    let before = calls(template.path(), "");
    assert_eq!(before.len(), 36);
    // What another version might have decided: some calls of nobody.
    let confused = store(template.path());
    let mut ambient = confused.ambient().expect("whole").expect("there is one");
    for located in confused.list().expect("it can be listed").iter().step_by(2) {
        let mut cassette = confused.read(located).expect("whole");
        if cassette.downstream.is_empty() {
            continue;
        }
        let micros = |at: &str| at.parse::<jiff::Timestamp>().expect("a time").as_microsecond();
        let mut call = cassette.downstream.remove(0);
        call.at += micros(&cassette.recorded.at) - micros(&ambient.recorded.at);
        call.cause = None;
        call.defects.push(Defect::AmbiguousOwner);
        cassette.defects.push(Defect::AmbiguousOwner);
        ambient.downstream.push(call);
        confused.write(&Redactor::from_files(cassette)).expect("it can be written");
    }
    ambient.downstream.sort_by_key(|call| call.at);
    confused.replace_ambient(&Redactor::from_files(ambient)).expect("it can be written");
    let confused = contents(template.path());
    assert_ne!(confused, right);
    assert_eq!(calls(template.path(), ""), before);
    each_point(
        3,
        |folder| {
            for (path, content) in &confused {
                std::fs::create_dir_all(folder.join(path).parent().expect("a folder")).expect("a temporary folder");
                std::fs::write(folder.join(path), content).expect("a temporary folder");
            }
        },
        |folder| {
            let mut command = regress();
            command.args(["cassette", "recorrelate"]).arg(folder.join("cassettes"));
            command
        },
        |folder, about| assert!(calls(folder, about).is_superset(&before), "a call is gone\n{about}"),
        |folder, about| {
            let found: Vec<_> = contents(folder).into_iter().filter(|(path, _)| !is_temporary(path)).collect();
            let ambient = Path::new("cassettes").join(AMBIENT_FILE);
            for ((path, found), (_, right)) in found.iter().zip(&right) {
                assert!(found == right || *path == ambient, "{}\n{about}", path.display());
            }
            assert_eq!(found.len(), right.len(), "{about}");
            assert_eq!(calls(folder, about), before, "{about}");
        },
    );
}
