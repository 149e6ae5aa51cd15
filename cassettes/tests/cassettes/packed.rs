use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use regress_cassettes::{Cassette, CassetteId, Error, Pack, Store, pack, unpack};

use crate::{arbitrary, as_is, order};

/// A folder with entries on two routes, an ambient cassette, a body file and a recorder's log.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("shop");
    let store = Store::create(&root).unwrap();
    for number in 1..=3 {
        store
            .write(&as_is(&Cassette { id: CassetteId(format!("20261122T101502.123456Z-{number:04}")), ..order() }))
            .unwrap();
    }
    let mut big = Cassette { id: CassetteId("20261122T101503.000000Z-0001".to_owned()), ..order() };
    let Some(regress_cassettes::Content::Http1(http)) = big.entry.as_mut().map(|entry| &mut entry.content) else {
        panic!("an HTTP entry")
    };
    http.request.start = regress_protocols::http1::Line::new("GET /big HTTP/1.1");
    http.response.as_mut().unwrap().body = "x".repeat(300_000).into();
    store.write(&as_is(&big)).unwrap();
    store.write(&as_is(&Cassette { id: CassetteId(CassetteId::AMBIENT.to_owned()), entry: None, ..order() })).unwrap();
    fs::write(root.join("20261122T101502.123456Z.owners.gz"), b"any bytes").unwrap();
    (temporary, root)
}

/// Paths and contents.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let found = walkdir(root);
    found.into_iter().map(|path| (path.strip_prefix(root).unwrap().to_owned(), fs::read(path).unwrap())).collect()
}

fn walkdir(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap().map(|found| found.unwrap().path());
    found.flat_map(|path| if path.is_dir() { walkdir(&path) } else { vec![path] }).collect()
}

fn packed(root: &Path, name: &str) -> PathBuf {
    let file = root.with_file_name(format!("{name}.cassettes.zst"));
    pack(root, &file).unwrap();
    file
}

#[test]
fn pack_and_unpack_are_exact_inverses() {
    let (_temporary, root) = folder();
    let file = packed(&root, "one");
    let again = root.with_file_name("again");
    assert_eq!(unpack(&file, &again).unwrap(), 7);
    assert_eq!(files(&again), files(&root));
    assert_eq!(fs::read(packed(&again, "two")).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn a_packed_folder_is_read_like_the_folder() {
    let (_temporary, root) = folder();
    let (plain, packed) = (Store::open(&root).unwrap(), Store::open(packed(&root, "one")).unwrap());
    let (listed, there) = (plain.list().unwrap(), packed.list().unwrap());
    assert_eq!(listed.len(), 4);
    for (a, b) in listed.iter().zip(&there) {
        assert_eq!((&a.id, &a.route), (&b.id, &b.route));
        assert_eq!(plain.read(a).unwrap(), packed.read(b).unwrap());
        assert_eq!(plain.size_at(&a.path), packed.size_at(&b.path));
        assert_eq!(plain.verify_at(&a.path).len(), packed.verify_at(&b.path).len());
    }
    assert_eq!(there.len(), 4);
    assert_eq!(packed.ambient().unwrap(), plain.ambient().unwrap());
    assert!(packed.pending().unwrap().is_empty());
    for refused in [
        packed.write(&as_is(&order())).map(drop),
        packed.write(&as_is(&Cassette { entry: None, ..order() })).map(drop),
        packed.write_pending(&there[0].path, &as_is(&order())).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Packed { .. })), "{refused:?}");
    }
}

#[test]
fn what_is_no_file_of_a_folder_of_cassettes_is_left_out_by_name() {
    let (_temporary, root) = folder();
    fs::write(root.join("regress.toml"), "").unwrap();
    fs::write(root.join(".gitattributes"), "").unwrap();
    let done = pack(&root, &root.with_file_name("one.cassettes.zst")).unwrap();
    assert_eq!((done.files, done.left_out), (7, vec![root.join("regress.toml")]));
}

#[test]
fn nothing_is_lost_or_replaced() {
    let (_temporary, root) = folder();
    let store = Store::open(&root).unwrap();
    let file = packed(&root, "one");
    assert!(matches!(pack(&root, &file), Err(Error::Taken { .. })));
    assert!(matches!(unpack(&file, &root), Err(Error::Taken { .. })));
    let first = store.list().unwrap().remove(0);
    store.write_pending(&first.path, &as_is(&order())).unwrap();
    assert!(matches!(pack(&root, &root.with_file_name("two.cassettes.zst")), Err(Error::Waiting { .. })));
    assert_eq!(walkdir(root.parent().unwrap()).iter().filter(|path| !path.starts_with(&root)).count(), 1);
}

#[test]
fn a_cut_packed_folder_is_an_error_wherever_it_is_cut() {
    let (_temporary, root) = folder();
    let whole = fs::read(packed(&root, "one")).unwrap();
    let file = root.with_file_name("cut.cassettes.zst");
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(matches!(Pack::open(&file), Err(Error::Pack { .. })), "{length} of {}", whole.len());
    }
    fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
    assert!(matches!(Pack::open(&file), Err(Error::Pack { .. })));
}

#[test]
fn a_changed_byte_never_gives_another_cassette() {
    let (_temporary, root) = folder();
    let whole = fs::read(packed(&root, "one")).unwrap();
    let expected = files(&root);
    let file = root.with_file_name("changed.cassettes.zst");
    let to = root.with_file_name("unpacked");
    let mut unnoticed = 0;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        fs::write(&file, changed).unwrap();
        // Some bits of a frame say nothing of its content.
        if unpack(&file, &to).is_ok() {
            unnoticed += 1;
            assert_eq!(files(&to), expected, "byte {at}");
            fs::remove_dir_all(&to).unwrap();
        }
    }
    assert!(unnoticed < 8, "{unnoticed} of {}", whole.len());
    assert!(!to.exists());
}

#[test]
fn a_newer_form_is_refused_and_says_what_to_do() {
    let (_temporary, root) = folder();
    let file = packed(&root, "one");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(3).position(|three| three == b"1.0").unwrap();
    bytes[at] = b'2';
    fs::write(&file, bytes).unwrap();
    let error = Pack::open(&file).unwrap_err();
    assert!(matches!(error, Error::NewerPack { found: (2, 0), .. }) && error.hint().is_some(), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn any_cassettes_come_back(cassettes in proptest::collection::vec(arbitrary::cassette(), 1..8)) {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("any");
        let store = Store::create(&root).unwrap().sync_later();
        for (number, cassette) in cassettes.into_iter().enumerate() {
            if cassette.entry.is_some() {
                store.write(&as_is(&Cassette { id: CassetteId(format!("id-{number}")), ..cassette })).unwrap();
            }
        }
        let file = packed(&root, "one");
        let again = temporary.path().join("again");
        unpack(&file, &again).unwrap();
        prop_assert_eq!(files(&again), files(&root));
        prop_assert_eq!(fs::read(packed(&again, "two")).unwrap(), fs::read(&file).unwrap());
    }

    #[test]
    fn any_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("any.cassettes.zst");
        let start: &[u8] = if head { b"\x5c\x2a\x4d\x18\x16\0\0\0regress cassettes 1.0\n" } else { b"" };
        fs::write(&file, [start, &bytes].concat()).unwrap();
        let refused = matches!(Pack::open(&file), Err(Error::Pack { .. }));
        prop_assert!(refused);
    }
}
