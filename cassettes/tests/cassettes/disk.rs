//! The disk is full: what a store looks like afterwards.
//!
//! A child runs `child_writes_until_the_disk_is_full` on a tiny file system, or under a limit of file sizes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use regress_cassettes::{Cassette, CassetteId, Content, Error, Store, verify};
use regress_protocols::http1::Message;

use crate::{as_is, call, http, order};

const FOLDER: &str = "REGRESS_TEST_FULL_DISK";
const CHILD: &str = "disk::child_writes_until_the_disk_is_full";

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn a_full_disk_leaves_nothing_half_written() {
    let mount = "mount -t tmpfs -o size=1m none \"$REGRESS_TEST_FULL_DISK\"";
    let possible = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success());
    if !possible {
        let required = env::var("REGRESS_TEST_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!required, "user and mount namespaces are not available");
        println!("skipped: a_full_disk_leaves_nothing_half_written: no user and mount namespaces");
        return;
    }
    run_child("unshare", &["-rm", "sh", "-c", &format!("{mount} && exec \"$0\" --exact {CHILD}")]);
}

#[test]
fn a_file_size_limit_leaves_nothing_half_written() {
    // 512-byte blocks; with the signal ignored the limit shows as an error of write(2).
    run_child("sh", &["-c", &format!("trap '' XFSZ; ulimit -f 300; exec \"$0\" --exact {CHILD}")]);
}

fn run_child(program: &str, args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new(program).args(args).arg(env::current_exe().unwrap()).env(FOLDER, folder.path()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn child_writes_until_the_disk_is_full() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = Store::create(folder.join("cassettes")).unwrap();
    // Every cassette has a route of its own and twice as many exchanges as the one before.
    let mut written = 0;
    let error = loop {
        match store.write(&as_is(&growing(written))) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Io { action: "write", .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("nothing half-written")), "{error:?}");

    let listed = store.list().unwrap();
    assert_eq!(listed.len(), written as usize);
    for located in &listed {
        assert!(verify(&located.path).is_empty());
    }
    let mut expected: Vec<_> = listed.iter().map(|located| located.path.clone()).collect();
    expected.sort();
    assert_eq!(files(store.root()), expected);
    assert_eq!(fs::read_dir(store.root()).unwrap().count(), written as usize, "no empty folder stays");

    // A body file is written before the cassette that does not fit any more.
    let body = "x".repeat(70_000);
    let big = http(Message::request("GET", "/big", &[], ""), Message::response(200, "OK", &[], body));
    let mut too_big = growing(written);
    too_big.downstream.push(call(Content::Http1(big)));
    store.write(&as_is(&too_big)).unwrap_err();
    assert_eq!(files(store.root()), expected);

    // An ambient cassette that cannot grow stays as it was.
    let ambient = |count| Cassette { entry: None, id: CassetteId(CassetteId::AMBIENT.to_owned()), ..growing(count) };
    if store.write(&as_is(&ambient(0))).is_ok() {
        store.write(&as_is(&ambient(written))).unwrap_err();
        assert_eq!(store.ambient().unwrap(), Some(ambient(0)));
    }
}

fn growing(number: u32) -> Cassette {
    let mut cassette = order();
    let path = format!("/route-{}", ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"][number as usize]);
    let messages = http(Message::request("GET", &path, &[], ""), Message::response(200, "OK", &[], ""));
    cassette.entry.as_mut().unwrap().content = Content::Http1(messages);
    cassette.downstream = vec![cassette.downstream[0].clone(); 1 << number];
    cassette
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|found| !found.file_type().is_dir())
        .map(walkdir::DirEntry::into_path)
        .collect();
    files.sort();
    files
}
