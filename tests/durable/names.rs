//! Names and files that the service, its clients or another user of the host have chosen.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use regress_cassettes::{AMBIENT_FILE, Cassette, CassetteId, Content, Error, Store, Unended, route_slug, verify};
use regress_protocols::http1::Message;
use regress_recorder::record_events;

use super::{
    aftermath::files,
    script::{entries, settings},
    writer::{ambient, as_is, cassette, path_in},
};
use crate::harness::{Process, regress};

/// A cassette of an entry with this method and path.
fn of(number: u32, method: &str, path: &str) -> Cassette {
    let mut cassette = cassette(number);
    let entry = cassette.entry.as_mut().expect("an entry");
    if let Content::Http1(http) = &mut entry.content {
        http.request = Message::request(method, path, &[("Host", "../../etc/passwd\u{1b}[2J")], "");
    }
    cassette
}

#[test]
fn no_path_of_an_entry_leads_out_of_the_folder() {
    let long = format!("/{}", "a".repeat(3000));
    let deep = "/..".repeat(400);
    let paths = [
        "/../../../etc/cron.d/x",
        "/..",
        "/.",
        "/%2e%2e/%2e%2e/x",
        "/..%2f..%2fx",
        "..",
        "/a/../../b",
        "/\0/x",
        "/a\nb",
        "/a\\..\\..\\b",
        "/CON",
        "/con",
        "/Con",
        "//etc//passwd",
        "/~root",
        "/$(id)",
        "/-rf",
        "/.regress-abcdef",
        "/.git",
        "/bodies",
        "/\u{202e}txt",
        "/ＡＢ",
        "*",
        "",
        &long,
        &deep,
    ];
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let root = folder.path().join("deep/cassettes");
    let store = Store::create(&root).expect("it can be made");
    let mut written = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        for (more, method) in ["GET", "../../X", "bodies"].iter().enumerate() {
            let cassette = of((3 * number + more) as u32, method, path);
            let slug = route_slug(cassette.entry.as_ref().expect("an entry"));
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
            assert!(
                slug.len() <= 80 && slug.bytes().all(is_plain) && !slug.starts_with(['.', '-']),
                "{path:?}: {slug}"
            );
            written.push(store.write(&as_is(cassette)).unwrap_or_else(|error| panic!("{path:?}: {error}")));
        }
    }
    let number = written.len();
    written.sort();
    written.dedup();
    assert_eq!(written.len(), number, "each has a file of its own");
    let mut found = files(folder.path());
    found.sort();
    found.retain(|file| !file.parent().is_some_and(|folder| folder.ends_with("bodies")) || verify(file).is_empty());
    found.retain(|file| file.to_string_lossy().ends_with(".json"));
    assert_eq!(found, written, "and nothing is anywhere else");
    assert_eq!(store.list().expect("it can be listed").len(), number);
}

#[test]
fn an_id_that_is_no_file_name_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let store = Store::create(folder.path().join("cassettes")).expect("it can be made");
    for id in ["../x", "", ".", ".hidden", "a/b", "a\0b", "a\nb", &"9".repeat(300), "ambient"] {
        let cassette = Cassette { id: CassetteId(id.to_owned()), ..cassette(1) };
        assert!(matches!(store.write(&as_is(cassette)), Err(Error::Unwritable { .. })), "{id:?}");
    }
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

/// A store and a folder that nothing may be written to.
fn store_and_elsewhere() -> (tempfile::TempDir, Store, PathBuf) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a temporary folder");
    let store = Store::create(folder.path().join("cassettes")).expect("it can be made");
    (folder, store, elsewhere)
}

#[test]
fn nothing_is_written_through_a_link_in_the_folder() {
    let (_folder, store, elsewhere) = store_and_elsewhere();
    for store in [store.clone(), store.clone().sync_later()] {
        let big = cassette(2);
        let path = path_in(&store, &big);
        let route = path.parent().expect("a folder");
        symlink(&elsewhere, route).expect("a temporary folder");
        let refused = store.write(&as_is(cassette(2)));
        assert!(matches!(&refused, Err(Error::Link { .. })), "{refused:?}");
        fs::remove_file(route).expect("the link");
        let _ = fs::remove_dir_all(store.root().join("bodies"));
        symlink(&elsewhere, store.root().join("bodies")).expect("a temporary folder");
        let refused = store.write(&as_is(big));
        assert!(matches!(&refused, Err(Error::Link { .. })), "{refused:?}");
        fs::remove_file(store.root().join("bodies")).expect("the link");
        assert_eq!(files(&elsewhere), Vec::<PathBuf>::new());
    }
    // The user's own folder may be a link.
    let link = elsewhere.with_file_name("link");
    symlink(store.root(), &link).expect("a temporary folder");
    Store::open(link).expect("it is there").write(&as_is(cassette(2))).expect("it can be written");
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
    let (_folder, store, elsewhere) = store_and_elsewhere();
    let precious = elsewhere.join("precious");
    fs::write(&precious, "as it was").expect("a temporary folder");
    let path = path_in(&store, &cassette(1));
    fs::create_dir(path.parent().expect("a folder")).expect("a temporary folder");
    for place in [path, store.root().join("20261122T101502.000000Z-0000.recording")] {
        symlink(&precious, place).expect("a temporary folder");
    }
    store.write(&as_is(cassette(1))).expect("it can be written");
    drop(Unended::mark(&store, &CassetteId("20261122T101502.000000Z-0000".to_owned())).expect("it can be written"));
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "as it was");
    assert_eq!(store.read(&store.list().expect("listed")[0]).expect("it is whole"), cassette(1));
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let (_folder, store, _) = store_and_elsewhere();
    let pipe = |path: &Path| mkfifo(path, Mode::S_IRWXU).expect("a pipe");
    pipe(&store.root().join(AMBIENT_FILE));
    assert!(store.write(&as_is(ambient())).is_err());
    fs::remove_file(store.root().join(AMBIENT_FILE)).expect("the pipe");
    // The content of a body file is known to whoever sends it.
    let written = store.write(&as_is(cassette(2))).expect("it can be written");
    let bodies = files(&store.root().join("bodies"));
    for body in &bodies {
        fs::remove_file(body).expect("a body file");
        pipe(body);
    }
    assert!(store.read_at(&written).is_err());
    store.write(&as_is(cassette(2))).expect("the pipe is replaced");
    assert_eq!(store.read_at(&written).expect("it is whole"), cassette(2));
    pipe(&store.root().join(".regress-abcdef"));
    assert_eq!(store.remove_leftovers().len(), 1);
}

#[test]
fn what_a_run_at_work_has_open_is_not_removed() {
    let (_folder, store, _) = store_and_elsewhere();
    let leftover = store.root().join(".regress-AbC123");
    fs::write(&leftover, "half").expect("a temporary folder");
    fs::write(store.root().join(".regress-notes"), "by hand").expect("a temporary folder");
    fs::create_dir(store.root().join(".regress")).expect("a temporary folder");
    let file = fs::File::open(&leftover).expect("it is there");
    file.try_lock_shared().expect("nobody has it");
    assert_eq!(store.temporary(), std::slice::from_ref(&leftover));
    assert_eq!(store.remove_leftovers(), Vec::<PathBuf>::new());
    drop(file);
    assert_eq!(store.remove_leftovers(), [leftover]);
    assert_eq!(files(store.root()), [store.root().join(".regress-notes")]);
}

#[test]
fn what_was_left_is_told_by_verify_and_is_no_cassette() {
    let (_folder, store, _) = store_and_elsewhere();
    store.write(&as_is(cassette(1))).expect("it can be written");
    fs::write(store.root().join(".regress-AbC123"), "{").expect("a temporary folder");
    let mut verify = regress();
    let finished = Process::start(verify.args(["cassette", "verify"]).arg(store.root())).finish();
    finished.expect_code(0);
    assert!(finished.stderr.contains(".regress-AbC123: no cassette"), "{}", finished.stderr);
    let mark = Unended::mark(&store, &CassetteId("20261122T101502.000000Z-0000".to_owned())).expect("written");
    drop(mark);
    for arguments in [&["cassette", "verify"][..], &["cassette", "pack"], &["replay"]] {
        let finished = Process::start(
            regress()
                .args(arguments)
                .arg(store.root())
                .args(["--", "true"].into_iter().filter(|_| arguments == ["replay"])),
        )
        .finish();
        finished.expect_code(2);
        let said = [finished.stdout, finished.stderr].concat();
        assert!(said.contains("a recording into this folder did not end"), "{arguments:?}: {said}");
        assert!(said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_folder_that_is_removed_or_replaced_meanwhile_is_told() {
    for replaced in [false, true] {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let out = folder.path().join("cassettes");
        let remove = || {
            fs::rename(&out, folder.path().join("away")).expect("it was made");
            if replaced {
                fs::create_dir(&out).expect("a temporary folder");
            }
            Vec::new()
        };
        let batches = (0..3).map(|batch| if batch == 1 { remove() } else { entries(4, 0) });
        let error = record_events(&settings(&out), batches).expect_err("what was recorded is not there");
        assert!(error.hint().is_some(), "{error:?}");
    }
}

#[test]
fn permissions_of_a_file_that_is_replaced_stay() {
    let (_folder, store, _) = store_and_elsewhere();
    let path = store.write(&as_is(cassette(1))).expect("it can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
    store.write(&as_is(cassette(1))).expect("it can be written");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_report_is_written_into_what_is_no_file() {
    let (_folder, store, _) = store_and_elsewhere();
    let target = store.root().join("report.json");
    let link = store.root().join("link.json");
    fs::write(&target, "old").expect("a temporary folder");
    symlink(&target, &link).expect("a temporary folder");
    regress_cassettes::write_file(&link, b"new").expect("it can be written");
    assert!(link.is_symlink(), "a link stays one");
    assert_eq!(fs::read_to_string(&target).expect("it is there"), "new");
    regress_cassettes::write_file(Path::new("/dev/null"), b"gone").expect("it can be written");
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let (_folder, store, _) = store_and_elsewhere();
    let sparse = |path: &Path, size| fs::File::create(path).and_then(|file| file.set_len(size)).expect("a sparse file");
    sparse(&store.root().join(AMBIENT_FILE), (256 << 20) + 1);
    assert!(matches!(store.ambient(), Err(Error::TooLarge { .. })));
    let written = store.write(&as_is(cassette(2))).expect("it can be written");
    sparse(&files(&store.root().join("bodies"))[0], (1 << 30) + 1);
    assert!(matches!(store.read_at(&written), Err(Error::TooLarge { .. })));
}
