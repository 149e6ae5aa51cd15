use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use regress_cassettes::{
    AMBIENT_FILE, Ambient, Cassette, CassetteId, Content, Error, Pack, Store, is_sealed, open, pack, read, read_with,
    rekey,
    seal::{Header, Identities, Keys, Recipients, SEALED_FOLDER, Seal, Session, Unopened},
    seal_folder, unpack, verify_with,
};
use regress_protocols::http1::{Line, Message};

use crate::{as_is, order};

const OURS: &str = include_str!("../keys/ssh");
const OURS_PUBLIC: &str = include_str!("../keys/ssh.pub");
const THEIRS: &str = include_str!("../keys/ssh-rsa");
const THEIRS_PUBLIC: &str = include_str!("../keys/ssh-rsa.pub");

/// What stands in the cassettes, in their bodies and in their routes.
const TELLING: [&str; 5] = ["inventory", "reserved", "a big body", "get-orders-id", "get-big"];

fn seal_to(public: &str, header: bool) -> Seal {
    let session = Session::new(&Recipients::parse([public]).unwrap()).unwrap();
    Seal { session: Arc::new(session), header }
}

fn keys(identity: &str) -> Keys {
    Keys::new([Identities::parse(identity, &mut || None).unwrap()])
}

fn numbered(number: u32) -> Cassette {
    Cassette { id: CassetteId(format!("20261122T101502.123456Z-{number:04}")), ..order() }
}

fn big() -> Cassette {
    let mut big = numbered(9);
    let Some(Content::Http1(http)) = big.entry.as_mut().map(|entry| &mut entry.content) else {
        panic!("an HTTP entry")
    };
    http.request.start = Line::new("GET /big HTTP/1.1");
    http.response = Some(Message::response(200, "OK", &[], "a big body ".repeat(30_000)));
    big
}

fn ambient() -> Cassette {
    let mut ambient = Cassette { id: CassetteId(CassetteId::AMBIENT.to_owned()), entry: None, ..order() };
    ambient.downstream[0].cause = None;
    ambient
}

/// Write three cassettes, one of them with a body file, and an ambient one.
fn fill(store: &Store) {
    for cassette in [numbered(1), numbered(2), big(), ambient()] {
        store.write(&as_is(&cassette)).unwrap();
    }
}

fn sealed(header: bool) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap().recording(Some(seal_to(OURS_PUBLIC, header))).unwrap();
    fill(&store);
    let opened = Store::open(folder.path()).unwrap().with_keys(keys(OURS));
    (folder, opened)
}

/// Paths and contents, without folders that are hidden.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for found in fs::read_dir(root).unwrap().map(|found| found.unwrap().path()) {
        let name = PathBuf::from(found.file_name().unwrap());
        if found.is_dir() {
            all.extend(files(&found).into_iter().map(|(path, content)| (name.join(path), content)));
        } else {
            all.insert(name, fs::read(found).unwrap());
        }
    }
    all
}

fn contains(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

fn assert_tells_nothing(root: &Path) {
    for (path, content) in files(root) {
        for telling in TELLING {
            assert!(!contains(&content, telling), "{telling} in {}", path.display());
            assert!(!path.to_string_lossy().contains(telling), "{telling} in {}", path.display());
        }
        assert!(is_sealed(&path), "{}", path.display());
    }
}

fn assert_whole(store: &Store) {
    let read: Vec<_> = store.list().unwrap().iter().map(|located| store.read(located).unwrap()).collect();
    assert_eq!(read, [numbered(1), numbered(2), big()]);
    assert_eq!(store.ambient().unwrap().unwrap(), ambient());
}

#[test]
fn what_is_sealed_is_read_back_and_nothing_on_disk_tells_of_it() {
    let (folder, store) = sealed(false);
    assert_tells_nothing(folder.path());
    assert_whole(&store);
    for located in store.list().unwrap() {
        assert_eq!((located.route.as_str(), located.is_route_hidden()), (SEALED_FOLDER, true));
        assert_eq!(store.verify_at(&located.path).len(), 0);
        assert_eq!(verify_with(&located.path, &keys(OURS)).len(), 0);
        assert!(!verify_with(&located.path, &keys(THEIRS)).is_empty());
    }
    let hash = "sha-256 of the body is nobody's business";
    assert!(!files(folder.path()).keys().any(|path| path.to_string_lossy().contains(hash)));
    let routes: Vec<_> = store.with_routes(store.list().unwrap()).into_iter().map(|located| located.route).collect();
    assert_eq!(routes, ["get-orders-id", "get-orders-id", "get-big"]);
    let blind = Store::open(folder.path()).unwrap().with_keys(keys(THEIRS));
    assert!(blind.with_routes(blind.list().unwrap()).iter().all(|located| located.is_route_hidden()));
}

#[test]
fn without_an_identity_cassettes_are_there_and_cannot_be_read() {
    let (folder, _) = sealed(false);
    let store = Store::open(folder.path()).unwrap();
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 3);
    for error in [
        store.check_keys().unwrap_err(),
        store.read(&listed[0]).unwrap_err(),
        store.ambient().unwrap_err(),
        read(&listed[0].path).unwrap_err(),
        store.write(&as_is(&numbered(7))).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Sealed { why: Unopened::NoIdentity, .. }), "{error}");
        assert!(error.hint().unwrap().contains("--identity"));
    }
    let other = read_with(&listed[0].path, &keys(THEIRS)).unwrap_err();
    assert!(matches!(other, Error::Sealed { why: Unopened::OtherIdentity, .. }), "{other}");
    assert_tells_nothing(folder.path());
}

#[test]
fn the_files_of_two_cassettes_cannot_be_swapped() {
    for header in [false, true] {
        let (_folder, store) = sealed(header);
        let listed = store.list().unwrap();
        let (one, two) = (fs::read(&listed[0].path).unwrap(), fs::read(&listed[1].path).unwrap());
        fs::write(&listed[0].path, two).unwrap();
        fs::write(&listed[1].path, one).unwrap();
        for located in &listed[..2] {
            let error = store.read(located).unwrap_err();
            assert!(matches!(error, Error::Misnamed { .. }), "{error}");
            assert!(matches!(store.verify_at(&located.path)[..], [Error::Misnamed { .. }]));
        }
    }
}

#[test]
fn a_body_that_is_another_one_is_noticed() {
    let (folder, store) = sealed(false);
    let located = store.list().unwrap().remove(2);
    let body = fs::read_dir(folder.path().join("bodies")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&body).unwrap();
    let other = store.seal().unwrap().unwrap().session.seal(None, &b"a big bodY ".repeat(30_000)).unwrap();
    fs::write(&body, other).unwrap();
    assert!(matches!(store.read(&located).unwrap_err(), Error::BodyChanged { .. }));
    fs::write(&body, &whole[..whole.len() - 65_552]).unwrap();
    assert!(matches!(store.read(&located).unwrap_err(), Error::Sealed { why: Unopened::Content, .. }));
    fs::remove_file(&body).unwrap();
    assert!(matches!(store.read(&located).unwrap_err(), Error::BodyMissing { .. }));
}

#[test]
fn a_header_tells_everybody_what_it_says_and_fits_the_content() {
    let (folder, store) = sealed(true);
    let located = store.list().unwrap().remove(0);
    assert_eq!(located.route, "get-orders-id");
    let header = Store::open(folder.path()).unwrap().header_at(&located.path).unwrap().unwrap();
    assert_eq!((&header.id, header.route.as_str()), (&located.id.0, "get-orders-id"));
    let bytes = regress_cassettes::render(&numbered(1)).len() as u64;
    assert_eq!((header.at.as_str(), header.bytes), ("2026-11-22T10:15:02.123456Z", bytes));
    assert_whole(&store);
    let ambient = store.header_at(&store.ambient_file().unwrap().unwrap()).unwrap().unwrap();
    assert_eq!(ambient.route, "ambient");

    // One that was sealed with it and does not fit.
    let text = regress_cassettes::render(&numbered(1));
    let forged = Header { route: "get-other".into(), ..header };
    let session = store.seal().unwrap().unwrap().session;
    fs::write(&located.path, session.seal(Some(&forged), text.as_bytes()).unwrap()).unwrap();
    let error = store.read(&located).unwrap_err();
    assert!(matches!(error, Error::Sealed { why: Unopened::Header, .. }), "{error}");
    assert_eq!(store.verify_at(&located.path).len(), 1);
}

#[test]
fn a_body_is_written_once_and_again_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap().recording(Some(seal_to(OURS_PUBLIC, false))).unwrap();
    let written = |number| store.write(&as_is(&Cassette { id: numbered(number).id, ..big() })).unwrap();
    let bodies = || files(&folder.path().join("bodies"));
    written(1);
    let first = bodies();
    assert_eq!(first.len(), 1);
    written(2);
    // Sealing it anew would give other bytes.
    assert!(bodies() == first);
    fs::remove_file(folder.path().join("bodies").join(first.keys().next().unwrap())).unwrap();
    let last = written(3);
    assert!(bodies().keys().eq(first.keys()) && bodies() != first);
    assert_eq!(read_with(&last, &keys(OURS)).unwrap().entry, big().entry);
}

#[test]
fn what_is_written_again_stays_sealed_for_the_same_recipients() {
    for header in [false, true] {
        let (folder, store) = sealed(header);
        let located = store.list().unwrap().remove(0);
        let mut changed = numbered(1);
        changed.nondeterministic.push("the inventory varies".into());
        assert_eq!(store.write(&as_is(&changed)).unwrap(), located.path);
        assert_eq!(store.replace(&located.path, &as_is(&changed)).unwrap(), located.path);
        assert_eq!(store.read(&located).unwrap(), changed);
        assert_eq!(store.header_at(&located.path).unwrap().is_some(), header);
        // A new one in a sealed folder is sealed as well.
        let new = store.write(&as_is(&numbered(5))).unwrap();
        assert!(is_sealed(&new), "{}", new.display());
        store.replace_ambient(&as_is(&ambient())).unwrap();
        if !header {
            assert_tells_nothing(folder.path());
        }
        assert_eq!(store.ambient().unwrap().unwrap(), ambient());
    }
}

#[test]
fn a_proposal_is_sealed_and_accepted_sealed() {
    for header in [false, true] {
        let (folder, store) = sealed(header);
        let located = store.list().unwrap().remove(0);
        let mut changed = numbered(1);
        changed.downstream.clear();
        let proposed = store.write_pending(&located.path, &as_is(&changed)).unwrap();
        assert!(proposed.to_string_lossy().ends_with(".cassette.json.age.new"));
        if !header {
            assert_tells_nothing(folder.path());
        }
        let pending = store.pending().unwrap().remove(0);
        assert_eq!((&pending.original, &pending.proposed), (&located.path, &proposed));
        assert_eq!(store.read_at(&proposed).unwrap(), changed);
        assert!(!pending.is_stale().unwrap());
        let blind = Store::open(folder.path()).unwrap();
        assert!(matches!(blind.pending().unwrap()[0].accept().unwrap_err(), Error::Sealed { .. }));
        pending.accept().unwrap();
        assert_eq!(store.read(&located).unwrap(), changed);
        assert!(store.pending().unwrap().is_empty());
        assert_eq!(store.verify_at(&located.path).len(), 0);
        if !header {
            assert_tells_nothing(folder.path());
        }
    }
}

#[test]
fn a_folder_is_sealed_and_opened_again_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap();
    fill(&store);
    let mut changed = numbered(1);
    changed.downstream.clear();
    store.write_pending(&store.list().unwrap()[0].path, &as_is(&changed)).unwrap();
    fs::write(folder.path().join("20261122T101502.123456Z-0000.owners.gz"), b"inventory").unwrap();
    fs::create_dir(folder.path().join(".regress")).unwrap();
    fs::write(folder.path().join(".regress/replay.jsonl"), b"inventory").unwrap();
    for header in [false, true] {
        let before: BTreeMap<_, _> =
            files(folder.path()).into_iter().filter(|(path, _)| !path.starts_with(".regress")).collect();
        assert_eq!(seal_folder(&store, &seal_to(OURS_PUBLIC, header)).unwrap(), 5);
        match header {
            false => assert_tells_nothing(folder.path()),
            true => assert!(files(folder.path()).keys().all(|path| is_sealed(path))),
        }
        let sealed = Store::open(folder.path()).unwrap().with_keys(keys(OURS));
        assert_whole(&sealed);
        assert_eq!(seal_folder(&sealed, &seal_to(OURS_PUBLIC, header)).unwrap(), 0);
        assert!(seal_folder(&Store::open(folder.path()).unwrap(), &seal_to(OURS_PUBLIC, header)).is_err());
        assert!(open(&Store::open(folder.path()).unwrap()).is_err());
        assert_eq!(open(&sealed).unwrap(), 5);
        assert_eq!(files(folder.path()), before);
    }
}

#[test]
fn sealing_that_was_interrupted_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap();
    fill(&store);
    let before = files(folder.path());
    seal_folder(&store, &seal_to(OURS_PUBLIC, false)).unwrap();
    // Everything was written, and nothing removed yet.
    for (path, content) in &before {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let both = Store::open(folder.path()).unwrap().with_keys(keys(OURS));
    assert!(matches!(both.ambient().unwrap_err(), Error::SealedTwice { .. }));
    seal_folder(&both, &seal_to(OURS_PUBLIC, false)).unwrap();
    assert_tells_nothing(folder.path());
    assert_whole(&both);
    // What says something else is not overwritten.
    let mut other = numbered(1);
    other.downstream.clear();
    fs::create_dir_all(folder.path().join("get-orders-id")).unwrap();
    let path = folder.path().join("get-orders-id/20261122T101502.123456Z-0001.cassette.json");
    fs::write(path, regress_cassettes::render(&other)).unwrap();
    assert!(matches!(seal_folder(&both, &seal_to(OURS_PUBLIC, false)).unwrap_err(), Error::Taken { .. }));
    assert_eq!(both.read(&both.list().unwrap()[1]).unwrap(), numbered(1));
}

#[test]
fn what_was_rekeyed_is_opened_by_the_new_recipients_alone() {
    for header in [false, true] {
        let (folder, store) = sealed(header);
        let before: Vec<_> = files(folder.path()).into_values().collect();
        assert_eq!(rekey(&store, &seal_to(THEIRS_PUBLIC, false).session).unwrap(), 4);
        assert_whole(&Store::open(folder.path()).unwrap().with_keys(keys(THEIRS)));
        let ours = Store::open(folder.path()).unwrap().with_keys(keys(OURS));
        for located in ours.list().unwrap() {
            let error = ours.read(&located).unwrap_err();
            assert!(matches!(error, Error::Sealed { why: Unopened::OtherIdentity, .. }), "{error}");
            assert_eq!(ours.header_at(&located.path).unwrap().is_some(), header);
        }
        let after: Vec<_> = files(folder.path()).into_values().collect();
        assert_eq!(after.len(), before.len());
        assert!(after.iter().all(|content| !before.contains(content)));
    }
}

#[test]
fn nothing_is_rekeyed_where_anything_cannot_be_opened() {
    let (folder, store) = sealed(false);
    let path = store.list().unwrap()[1].path.clone();
    let mut broken = fs::read(&path).unwrap();
    *broken.last_mut().unwrap() ^= 1;
    fs::write(&path, broken).unwrap();
    let before = files(folder.path());
    assert!(rekey(&store, &seal_to(THEIRS_PUBLIC, false).session).is_err());
    assert!(open(&store).is_err());
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_folder_is_sealed_or_it_is_not() {
    let (folder, _) = sealed(false);
    let store = || Store::open(folder.path()).unwrap();
    assert!(matches!(store().recording(None).unwrap_err(), Error::SealedStore { .. }));
    let ambient = store().recording(Some(seal_to(OURS_PUBLIC, false))).unwrap_err();
    assert!(matches!(ambient, Error::SealedAmbient { why: Unopened::NoIdentity, .. }), "{ambient}");
    assert!(store().with_keys(keys(OURS)).recording(Some(seal_to(THEIRS_PUBLIC, false))).is_ok());

    let plain = tempfile::tempdir().unwrap();
    fill(&Store::create(plain.path()).unwrap());
    let error = Store::open(plain.path()).unwrap().recording(Some(seal_to(OURS_PUBLIC, false))).unwrap_err();
    assert!(matches!(error, Error::PlainStore { .. }), "{error}");
    assert!(Store::open(plain.path()).unwrap().recording(None).is_ok());
}

#[test]
fn a_later_recording_is_added_to_the_ambient_cassette_by_who_can_open_it() {
    let (folder, store) = sealed(false);
    let later = seal_to(OURS_PUBLIC, false);
    let recording = Store::open(folder.path()).unwrap().with_keys(keys(OURS)).recording(Some(later)).unwrap();
    let mut big = ambient();
    big.downstream.clear();
    big.recorded.at = "2026-11-22T10:15:03.123456Z".into();
    let mut ambient = Ambient::open(&recording, &big.recorded).unwrap();
    for _ in 0..200 {
        ambient.push(regress_cassettes::redact::Redactor::off().exchange(order().downstream.remove(0))).unwrap();
    }
    let path = ambient.publish().unwrap();
    assert_eq!(path.file_name().unwrap().to_string_lossy(), format!("{AMBIENT_FILE}.age"));
    ambient.push(regress_cassettes::redact::Redactor::off().exchange(order().downstream.remove(0))).unwrap();
    ambient.publish().unwrap();
    assert_eq!(store.ambient().unwrap().unwrap().downstream.len(), 202);
    assert_tells_nothing(folder.path());
}

#[test]
fn a_sealed_folder_is_packed_and_read_as_it_is() {
    let (folder, store) = sealed(false);
    let file = folder.path().with_extension("cassettes.zst");
    pack(folder.path(), &file).unwrap();
    let packed = Store::open(&file).unwrap().with_keys(keys(OURS));
    assert_whole(&packed);
    let located = packed.list().unwrap().remove(0);
    assert_eq!(packed.verify_at(&located.path).len(), 0);
    assert_eq!(packed.header_at(&located.path).unwrap(), None);
    let blind = Store::open(&file).unwrap();
    assert!(matches!(blind.read(&located).unwrap_err(), Error::Sealed { why: Unopened::NoIdentity, .. }));
    assert!(matches!(open(&packed).unwrap_err(), Error::Packed { .. }));
    let again = folder.path().with_extension("again");
    unpack(&file, &again).unwrap();
    assert_eq!(files(&again), files(folder.path()));
    assert_whole(&Store::open(&again).unwrap().with_keys(keys(OURS)));
    assert!(contains(&fs::read(&file).unwrap()[..40], "regress cassettes 1.1\n"));
    assert!(Pack::open(&file).is_ok());
    drop(store);
    fs::remove_file(file).unwrap();
    fs::remove_dir_all(again).unwrap();
}

#[test]
fn bodies_that_nothing_refers_to_are_removed_and_no_others() {
    let (folder, store) = sealed(false);
    assert_eq!(store.remove_unused_bodies().unwrap(), 0);
    fs::remove_file(&store.list().unwrap()[2].path).unwrap();
    assert_eq!(store.remove_unused_bodies().unwrap(), 1);
    assert_eq!(fs::read_dir(folder.path().join("bodies")).unwrap().count(), 0);
}

#[test]
fn a_file_that_only_has_the_name_of_a_sealed_one_is_refused() {
    let (_folder, store) = sealed(false);
    let located = store.list().unwrap().remove(0);
    fs::write(&located.path, regress_cassettes::render(&numbered(1))).unwrap();
    let error = store.read(&located).unwrap_err();
    assert!(matches!(error, Error::Sealed { why: Unopened::NotSealed, .. }), "{error}");
}
