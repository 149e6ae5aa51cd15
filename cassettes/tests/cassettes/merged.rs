use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use regress_cassettes::{
    Cassette, CassetteId, Content, Error, Merged, Recorded, Store, merge, pack,
    seal::{Identities, Keys, Recipients, Seal, Session},
    unpack,
};
use regress_protocols::http1::Message;

use crate::{as_is, order};

/// Ambient calls of the first connection, so late that they come in this order, with a body of its own.
fn ambient(hour: u32, body: &str) -> Cassette {
    let mut ambient = Cassette {
        id: CassetteId(CassetteId::AMBIENT.to_owned()),
        recorded: Recorded { at: format!("2026-11-22T{hour:02}:00:00.000000Z"), ..order().recorded },
        entry: None,
        ..order()
    };
    ambient.downstream.truncate(1);
    let call = &mut ambient.downstream[0];
    (call.cause, call.at, call.connection.id) = (None, 7, 0);
    let Content::Http1(http) = &mut call.content else { panic!("an HTTP call") };
    http.response = Some(Message::response(200, "OK", &[], body.to_owned()));
    ambient
}

/// A packed recording of one entry and, unless its body is empty, one ambient call.
fn recording(folder: &Path, hour: u32, body: &str, seal: Option<&str>) -> PathBuf {
    let seal = seal.map(|public| {
        let session = Session::new(&Recipients::parse([public]).unwrap()).unwrap();
        Seal { session: Arc::new(session), header: false }
    });
    let root = folder.join(format!("recording-{hour}"));
    let store = Store::create(&root).unwrap().recording(seal).unwrap();
    let id = CassetteId(format!("20261122T{hour:02}0000.000000Z-0001"));
    store.write(&as_is(&Cassette { id, ..order() })).unwrap();
    if !body.is_empty() {
        store.write(&as_is(&ambient(hour, body))).unwrap();
    }
    fs::write(root.join(format!("20261122T{hour:02}0000.000000Z-0000.owners.gz")), b"any bytes").unwrap();
    let packed = root.with_extension("cassettes.zst");
    pack(&root, &packed).unwrap();
    packed
}

fn bodies(ambient: &Cassette) -> Vec<usize> {
    let length = |content: &Content| match content {
        Content::Http1(http) => http.response.as_ref().map_or(0, |response| response.body.len()),
        _ => 0,
    };
    ambient.downstream.iter().map(|call| length(&call.content)).collect()
}

#[test]
fn recordings_become_one_folder_as_if_they_had_been_made_into_it() {
    let temporary = tempfile::tempdir().unwrap();
    // The second one's body is in a file of its own.
    let packs = [(10, "a".to_owned()), (11, "b".repeat(70_000)), (12, String::new()), (13, "ccc".to_owned())]
        .map(|(hour, body)| recording(temporary.path(), hour, &body, None));
    let to = temporary.path().join("merged");
    assert_eq!(merge(&packs, &to, &Keys::default()).unwrap(), Merged { files: 6, logs: 4 });
    let store = Store::open(&to).unwrap();
    let ids: Vec<String> = store.list().unwrap().iter().map(|located| located.id.to_string()).collect();
    assert_eq!(ids, [10, 11, 12, 13].map(|hour| format!("20261122T{hour}0000.000000Z-0001")));
    assert!(store.list().unwrap().iter().all(|located| store.verify_at(&located.path).is_empty()));
    let ambient = store.ambient().unwrap().unwrap();
    assert_eq!(bodies(&ambient), [1, 70_000, 3]);
    let hour = 3_600_000_000;
    let order: Vec<_> = ambient.downstream.iter().map(|call| (call.at, call.connection.id)).collect();
    assert_eq!(order, [(7, 0), (7 + hour, 1), (7 + 3 * hour, 2)]);
    assert!(!to.join("waiting").exists());
    assert!(matches!(merge(&packs, &to, &Keys::default()), Err(Error::Taken { .. })));
    // The same recording twice answers no more calls than once.
    let (again, twice) = (temporary.path().join("again"), [packs[0].clone(), packs[0].clone()]);
    merge(&twice, &again, &Keys::default()).unwrap();
    let store = Store::open(&again).unwrap();
    assert_eq!((store.list().unwrap().len(), bodies(&store.ambient().unwrap().unwrap())), (1, vec![1]));
}

#[test]
fn one_recording_alone_is_unpacked_as_it_is() {
    let temporary = tempfile::tempdir().unwrap();
    let packed = recording(temporary.path(), 10, "a", None);
    let (merged, unpacked) = (temporary.path().join("merged"), temporary.path().join("unpacked"));
    assert_eq!(merge(std::slice::from_ref(&packed), &merged, &Keys::default()).unwrap(), Merged { files: 3, logs: 0 });
    unpack(&packed, &unpacked).unwrap();
    for name in ["ambient.cassette.json", "20261122T100000.000000Z-0000.owners.gz"] {
        assert_eq!(fs::read(merged.join(name)).unwrap(), fs::read(unpacked.join(name)).unwrap());
    }
}

#[test]
fn two_versions_of_a_cassette_do_not_go_together() {
    let temporary = tempfile::tempdir().unwrap();
    let first = recording(temporary.path(), 10, "a", None);
    let elsewhere = temporary.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let second = recording(&elsewhere, 10, "a", None);
    let root = elsewhere.join("recording-10");
    let store = Store::open(&root).unwrap();
    let located = &store.list().unwrap()[0];
    let changed = Cassette { nondeterministic: vec!["it varies".to_owned()], ..store.read(located).unwrap() };
    store.write(&as_is(&changed)).unwrap();
    fs::remove_file(&second).unwrap();
    pack(&root, &second).unwrap();
    let to = temporary.path().join("merged");
    let Err(Error::Both { path, .. }) = merge(&[first, second], &to, &Keys::default()) else { panic!("they differ") };
    assert!(path.contains("20261122T100000"), "{path}");
    assert!(!to.exists(), "whole or not at all");
}

#[test]
fn sealed_recordings_of_different_keys_stay_sealed() {
    let (public, other) = (include_str!("../keys/ssh.pub"), include_str!("../keys/ssh-rsa.pub"));
    let keys = |identity: &str| Identities::parse(identity, &mut || None).unwrap();
    let ours = Keys::new([keys(include_str!("../keys/ssh"))]);
    let both = Keys::new([keys(include_str!("../keys/ssh")), keys(include_str!("../keys/ssh-rsa"))]);
    let temporary = tempfile::tempdir().unwrap();
    let packs = [(10, public), (11, other)].map(|(hour, to)| recording(temporary.path(), hour, "a", Some(to)));
    let to = temporary.path().join("merged");
    for keys in [Keys::default(), ours] {
        assert!(matches!(merge(&packs, &to, &keys), Err(Error::Sealed { .. })));
        assert!(!to.exists());
    }
    merge(&packs, &to, &both).unwrap();
    assert!(to.join("ambient.cassette.json.age").is_file() && !to.join("ambient.cassette.json").exists());
    let store = Store::open(&to).unwrap().with_keys(both);
    assert_eq!(bodies(&store.ambient().unwrap().unwrap()), [1, 1]);
    assert!(store.list().unwrap().iter().all(|located| store.read(located).is_ok()));
}
