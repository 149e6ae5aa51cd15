use std::fs;

use regress_cassettes::{
    AMBIENT_FILE, Ambient, Cassette, CassetteId, Content, Defect, Error, Exchange, Store, read, redact::Redactor,
    verify,
};
use regress_protocols::http1::Message;

use crate::{as_is, call, entry, http, order};

fn numbered(number: u32) -> Cassette {
    Cassette { id: CassetteId(format!("20261122T101502.123456Z-{number:04}")), ..order() }
}

fn ambient(at: &str) -> Cassette {
    let mut cassette = order();
    cassette.id = CassetteId(CassetteId::AMBIENT.to_owned());
    cassette.entry = None;
    cassette.recorded.at = at.to_owned();
    cassette.downstream[0].cause = None;
    cassette
}

#[test]
fn what_was_written_is_listed_by_id_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path().join("new/cassettes")).unwrap();
    for number in [2, 1, 3] {
        let path = store.write(&as_is(&numbered(number))).unwrap();
        assert_eq!(path.parent().unwrap().file_name().unwrap(), "get-orders-id");
        assert_eq!(read(&path).unwrap(), numbered(number));
        assert!(verify(&path).is_empty(), "{:?}", verify(&path));
    }
    store.write(&as_is(&ambient("2026-11-22T10:15:02Z"))).unwrap();

    let store = Store::open(store.root()).unwrap();
    let listed = store.list().unwrap();
    assert_eq!(listed.iter().map(|located| store.read(located).unwrap()).collect::<Vec<_>>(), [1, 2, 3].map(numbered));
    assert!(listed.iter().all(|located| located.route == "get-orders-id"));
    assert_eq!(Store::open(store.root().join("get-orders-id")).unwrap().list().unwrap(), listed);
}

#[test]
fn a_missing_folder_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(folder.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, Error::NoStore { .. }));
    assert!(error.hint().is_some());
}

#[test]
fn a_later_recording_is_appended_to_the_ambient_cassette() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap();
    assert_eq!(store.ambient().unwrap(), None);
    let path = store.write(&as_is(&ambient("2026-11-22T10:15:02Z"))).unwrap();
    assert_eq!(path.file_name().unwrap(), AMBIENT_FILE);
    store.write(&as_is(&ambient("2026-11-22T10:15:03.000007Z"))).unwrap();

    let merged = store.ambient().unwrap().unwrap();
    let seen: Vec<_> = merged.downstream.iter().map(|exchange| (exchange.connection.id, exchange.at)).collect();
    assert_eq!(seen, [(2, 300), (5, 1_000_307)]);
    assert_eq!(merged.recorded.at, "2026-11-22T10:15:02Z");
}

#[test]
fn an_ambient_cassette_that_grew_is_the_one_that_was_written_whole() {
    let whole = |number: i64| {
        let mut cassette = ambient("2026-11-22T10:15:02Z");
        let exchange = cassette.downstream[0].clone();
        let at = |n: i64| Exchange { at: n * 7, ..exchange.clone() };
        cassette.downstream = (0..number).map(at).collect();
        cassette
    };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap().sync_later();
    let mut growing = Ambient::open(&store, &whole(0).recorded).unwrap();
    for number in 1..=5 {
        assert!(growing.push(Redactor::off().exchange(whole(number).downstream.pop().unwrap())).unwrap());
        let path = growing.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), regress_cassettes::render(&whole(number)));
        assert!(verify(&path).is_empty(), "{:?}", verify(&path));
    }
    for events in [3, 4] {
        growing.lacks(Defect::LostEvents { events, bytes: 10 });
        growing.lacks(Defect::AmbiguousOwner);
    }
    growing.publish().unwrap();
    store.sync().unwrap();
    let lost = vec![Defect::LostEvents { events: 7, bytes: 20 }, Defect::AmbiguousOwner];
    assert_eq!(store.ambient().unwrap().unwrap(), Cassette { defects: lost, ..whole(5) });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else stays");
}

#[test]
fn proposals_are_accepted_or_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap();
    let changed = |number| Cassette { downstream: vec![], ..numbered(number) };
    for number in [1, 2] {
        let original = store.write(&as_is(&numbered(number))).unwrap();
        let proposed = store.write_pending(&original, &as_is(&changed(number))).unwrap();
        assert_eq!(proposed.to_str().unwrap(), format!("{}.new", original.display()));
    }
    assert_eq!(store.list().unwrap().len(), 2, "a proposal is not a cassette");

    let pending = store.pending().unwrap();
    assert_eq!(pending.len(), 2);
    pending[0].accept().unwrap();
    pending[1].reject().unwrap();
    assert_eq!(store.pending().unwrap(), []);
    assert_eq!(read(&pending[0].original).unwrap(), changed(1));
    assert_eq!(read(&pending[1].original).unwrap(), numbered(2));
}

#[test]
fn a_big_body_is_a_file_shared_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap();
    let body = "0123456789abcdef".repeat(5000);
    let mut cassette = numbered(1);
    let big = http(Message::request("PUT", "/blob", &[], body.clone()), Message::response(200, "OK", &[], body));
    cassette.downstream = vec![call(Content::Http1(big))];
    let path = store.write(&as_is(&cassette)).unwrap();
    assert_eq!(read(&path).unwrap(), cassette);
    store.write(&as_is(&Cassette { id: numbered(2).id, ..cassette.clone() })).unwrap();
    let proposed = store.write_pending(&path, &as_is(&cassette)).unwrap();
    assert_eq!(read(&proposed).unwrap(), cassette);

    let mut bodies = fs::read_dir(folder.path().join("bodies")).unwrap();
    let file = bodies.next().unwrap().unwrap().path();
    assert!(bodies.next().is_none(), "one content, one file");

    let mut content = fs::read(&file).unwrap();
    content[1000] ^= 1;
    fs::write(&file, &content).unwrap();
    assert!(matches!(read(&path), Err(Error::BodyChanged { .. })));
    fs::write(&file, &content[1..]).unwrap();
    assert!(matches!(read(&path), Err(Error::BodyChanged { .. })));
    fs::remove_file(&file).unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, Error::BodyMissing { .. }) && error.hint().is_some());
    assert_eq!(verify(&path).len(), 2, "both references are reported");
}

#[test]
fn an_unsafe_id_never_becomes_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path().join("store")).unwrap();
    for id in ["../out", "", "ambient", ".hidden", "a/b", "a\0b", &"x".repeat(129)] {
        let error = store.write(&as_is(&Cassette { id: CassetteId(id.to_owned()), ..order() })).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{id:?}: {error}");
    }
    assert_eq!(fs::read_dir(store.root()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn routes_are_folders() {
    let long = format!("/{}", "long-segment/".repeat(20));
    let routes = [
        ("GET", "/", "get-root"),
        ("GET", "/orders/17?full=1", "get-orders-id"),
        ("DELETE", "/Users/6f9619ff-8b86-d011-b42d-00cf4fc964ff/keys", "delete-users-id-keys"),
        ("GET", "/blobs/deadbeef01", "get-blobs-id"),
        ("GET", "/facade/v2/feedback", "get-facade-v2-feedback"),
        ("GET", "/../..//etc/passwd", "get-etc-passwd"),
        ("GET", "http://shop/a%20b/%C3%A9", "get-a-20b-c3-a9"),
        ("GET", "/..bodies/.hidden", "get-bodies-hidden"),
        ("OPTIONS", "*", "options"),
    ];
    for (method, target, slug) in routes {
        let exchange = entry(Content::Http1(http(
            Message::request(method, target, &[], ""),
            Message::response(200, "OK", &[], ""),
        )));
        assert_eq!(regress_cassettes::route_slug(&exchange), slug, "{method} {target}");
    }
    let slug = |target: &str| {
        let messages = http(Message::request("GET", target, &[], ""), Message::response(200, "OK", &[], ""));
        regress_cassettes::route_slug(&entry(Content::Http1(messages)))
    };
    assert_eq!(slug(&long).len(), 80);
    assert_ne!(slug(&long), slug(&format!("{long}/more")), "long routes that begin alike stay apart");
    assert_eq!(regress_cassettes::route_slug(&entry(Content::Opaque(vec![]))), "opaque");
}
