use std::path::{Path, PathBuf};

use regress_cassettes::diff::Schemas;

use super::{Files, Found, Read, report, show, tables};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cassettes/tests/golden/1.0")
}

/// With a cassette that has what format 1.1 added.
fn golden_1_1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cassettes/tests/golden/1.1")
}

fn files(paths: Vec<PathBuf>) -> Files {
    Files { identity: Default::default(), paths, keys: Default::default(), _fetched: Vec::new() }
}

fn read(paths: Vec<PathBuf>) -> Vec<Read> {
    files(paths).all(false).unwrap().into_iter().map(|found| found.read().unwrap()).collect()
}

fn cassettes() -> Vec<Read> {
    read(vec![golden(), golden(), golden_1_1()])
}

#[test]
fn shown() {
    let text: Vec<_> = cassettes().iter().map(|read| show::summary(&read.cassette, &Schemas::none())).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn listed() {
    insta::assert_snapshot!(tables::list(cassettes().iter().map(Into::into)));
}

#[test]
fn counted() {
    insta::assert_snapshot!(tables::stats(&cassettes()));
}

#[test]
fn problems_are_reported_with_hints() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(golden().join("ambient.cassette.json")).unwrap();
    std::fs::write(folder.path().join("ambient.cassette.json"), whole.replace("\"at_us\"", "\"at\"")).unwrap();
    std::fs::write(folder.path().join("cut.cassette.json"), &whole[..100]).unwrap();
    std::fs::write(folder.path().join("newer.cassette.json.new"), whole.replace("\"1.0\"", "\"2.0\"")).unwrap();

    let paths = files(vec![folder.path().to_owned()]).all(true).unwrap();
    let problems: Vec<_> = paths.iter().flat_map(Found::verify).collect();
    let text = report(&problems).replace(folder.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text);
}

#[test]
fn packed_cassettes_are_shown_like_those_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("golden.cassettes.zst");
    regress_cassettes::pack(&golden(), &file).unwrap();
    let packed = files(vec![file]).all(false).unwrap();
    assert!(packed.iter().all(|found| found.verify().is_empty()));
    let packed: Vec<_> = packed.into_iter().map(|found| found.read().unwrap()).collect();
    let plain = read(vec![golden()]);
    let listed = |all: &[Read]| tables::list(all.iter().map(Into::into));
    assert_eq!(listed(&packed), listed(&plain));
    let shown =
        |all: &[Read]| all.iter().map(|read| show::summary(&read.cassette, &Schemas::none())).collect::<Vec<_>>();
    assert_eq!(shown(&packed), shown(&plain));
}

#[test]
fn recorded_text_cannot_steer_the_terminal() {
    assert_eq!(show::plain("GET /\u{1b}[2J\r\n\u{9b}x é"), "GET /\\u{1b}[2J\\r\\n\\u{9b}x é");
}

#[test]
fn sizes_are_for_people() {
    let told = [0, 1023, 1024, 1536, 10 << 20, u64::MAX].map(show::size);
    assert_eq!(told, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10.0 MiB", "1677721.5 TiB"]);
}
