use std::{fs, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use regress_cassettes::{Cassette, Content, Error, read, render, verify};
use regress_protocols::http1::Message;

use crate::{call, http, order};

const NAME: &str = "20261122T101502.123456Z-0001.cassette.json";

fn read_text(text: impl AsRef<[u8]>) -> Result<Cassette, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    fs::write(&path, text).unwrap();
    let result = read(&path);
    let problems = verify(&path);
    assert!(result.is_ok() || !problems.is_empty(), "what cannot be read does not verify");
    result
}

/// The order's file with one piece of text replaced.
fn edited(from: &str, to: &str) -> String {
    let text = render(&order());
    assert!(text.contains(from), "{from} is not in\n{text}");
    text.replacen(from, to, 1)
}

fn problem(text: &str) -> (usize, usize, String) {
    match read_text(text).unwrap_err() {
        Error::Syntax { line, column, what, .. } | Error::Format { line, column, what, .. } => (line, column, what),
        other => panic!("{other}"),
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_with_a_place_and_a_hint() {
    let whole = render(&order());
    for length in 0..whole.len() - 1 {
        let error = read_text(&whole[..length]).unwrap_err();
        assert!(matches!(error, Error::Syntax { .. }), "cut at {length}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("cut off")));
    }
    assert_eq!(read_text(&whole[..whole.len() - 1]).unwrap(), order(), "only the last newline is missing");
}

#[test]
fn the_place_of_a_problem_is_told() {
    let text = edited("\"ended\": \"ok\"", "\"ended\": \"done\"");
    let (line, column, what) = problem(&text);
    let told = text.lines().nth(line - 1).unwrap();
    assert_eq!(&told[column - 1..], "\"done\",");
    assert_eq!(what, "expected one of `ok`, `reset`, `refused`, `timeout`, `closed`, `unfinished`");

    let error = read_text(&text).unwrap_err().to_string();
    assert!(error.contains(&format!("{NAME}:{line}:{column}: expected one of")), "{error}");
}

#[test]
fn a_misspelt_field_is_refused() {
    let (_, _, what) = problem(&edited("\"took_us\"", "\"tooks_us\""));
    assert_eq!(what, "unknown field `tooks_us`");
}

#[test]
fn a_field_that_is_missing_or_there_twice_is_refused() {
    assert_eq!(problem(&edited("\"at_us\": 0,", "")).2, "the field `at_us` is missing");
    assert_eq!(problem(&edited("\"at_us\": 0,", "\"at_us\": 0, \"at_us\": 1,")).2, "the field `at_us` is there twice");
}

#[test]
fn a_newer_major_is_refused_and_says_what_to_do() {
    let error = read_text(edited("\"regress\": \"1.0\"", "\"regress\": \"2.0\", \"anything\": []")).unwrap_err();
    assert!(matches!(error, Error::Newer { found: (2, 0), .. }), "{error}");
    assert!(error.hint().unwrap().contains("upgrade regress"));
}

#[test]
fn a_newer_minor_is_read_and_what_it_adds_is_reported() {
    let text =
        edited("\"regress\": \"1.0\"", "\"regress\": \"1.7\", \"mood\": [1]").replace("\"rule\"", "\"x\":1,\"rule\"");
    assert_eq!(read_text(&text).unwrap(), order());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    fs::write(&path, text).unwrap();
    let problems: Vec<_> = verify(&path).iter().map(Error::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.ends_with("unknown field `mood`")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.ends_with("unknown field `x`")), "{problems:?}");
}

#[test]
fn versions_that_are_none_are_refused() {
    for version in ["0.9", "1", "1.", "1.0.0", "+1.0", "99999999.0", ""] {
        let text = edited("\"regress\": \"1.0\"", &format!("\"regress\": \"{version}\""));
        assert_eq!(problem(&text).2, "not a format version: expected MAJOR.MINOR", "{version}");
    }
    assert!(problem("{}").2.contains("this is not a cassette"));
    assert!(problem("[]").2.contains("expected an object"));
}

#[test]
fn body_files_are_named_by_hashes_only() {
    for name in ["../../../etc/passwd", "", &"A".repeat(64), &"a".repeat(63)] {
        let body = format!("\"file\": \"{name}\", \"size\": 3");
        let text = edited("\"json\": {", &format!("{body}, \"unused\": {{"));
        assert!(problem(&text).2.contains("not the SHA-256"), "{name}");
    }
}

#[test]
fn a_layout_that_does_not_fit_is_refused() {
    let layouts = [
        ("[\"3\"]", "the layout is too short for this body"),
        ("[\"99\"]", "the layout is too long for this body"),
        ("[\"99999999999999999999999\"]", "not a run of whitespace"),
        ("[\"x\"]", "not a run of whitespace"),
        ("\"indent 9\"", "not a layout"),
        ("\"indent 2 + newline + newline\"", "not a layout"),
        ("7", "expected a string"),
    ];
    for (layout, expected) in layouts {
        let what = problem(&edited("\"layout\": \"spaced\"", &format!("\"layout\": {layout}"))).2;
        assert!(what.starts_with(expected), "{layout}: {what}");
    }
}

#[test]
fn verify_reports_an_edited_body_whose_length_is_not_told() {
    let text = edited("\"total\": 10.50", "\"total\": 10.500");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    fs::write(&path, text).unwrap();
    let problems = verify(&path);
    assert!(matches!(&problems[..], [Error::Inconsistent { place, .. }] if place == "entry.response"), "{problems:?}");
    assert!(problems[0].hint().unwrap().contains("Content-Length"));
}

#[test]
fn verify_reports_a_file_that_regress_would_write_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    fs::write(&path, edited("\"via\": \"socket\"", "\"via\":\"socket\"")).unwrap();
    assert_eq!(read(&path).unwrap(), order());
    let problems = verify(&path);
    assert!(matches!(&problems[..], [Error::Format { line: 8, .. }]), "{problems:?}");
}

#[test]
fn verify_reports_a_file_with_the_name_of_another_cassette() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.cassette.json");
    fs::write(&path, render(&order())).unwrap();
    let problems = verify(&path);
    assert!(matches!(&problems[..], [Error::Misnamed { id, .. }] if *id == order().id.0), "{problems:?}");
}

#[test]
fn verify_reports_a_decoded_view_that_is_not_what_the_body_says() {
    let headers = [("Content-Encoding", "gzip")];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"true words").unwrap();
    let mut cassette = order();
    let response = Message::response(200, "OK", &headers, encoder.finish().unwrap());
    cassette.downstream = vec![call(Content::Http1(http(Message::request("GET", "/", &[], ""), response)))];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);

    fs::write(&path, render(&cassette)).unwrap();
    assert!(verify(&path).is_empty(), "{:?}", verify(&path));
    fs::write(&path, render(&cassette).replace("true words", "false words")).unwrap();
    assert_eq!(read(&path).unwrap(), cassette, "the raw body counts");
    let problems = verify(&path);
    assert!(matches!(&problems[..], [Error::Format { what, .. }] if what.contains("decoded view")), "{problems:?}");
}

#[test]
fn a_file_that_is_not_text_or_not_there_is_an_error() {
    let mut bytes = render(&order()).into_bytes();
    bytes[40] = 0xff;
    assert!(matches!(read_text(&bytes), Err(Error::Syntax { .. })));
    let error = read(Path::new("/nowhere/a.cassette.json")).unwrap_err();
    assert!(matches!(error, Error::Io { action: "read", .. }) && error.hint().is_some());
}

#[test]
fn brackets_without_end_do_not_exhaust_the_stack() {
    assert!(problem(&"[".repeat(1_000_000)).2.contains("nested deeper"));
    assert!(problem(&"{\"a\":".repeat(1_000_000)).2.contains("nested deeper"));
}

proptest! {
    #[test]
    fn damaged_files_never_panic(place in any::<prop::sample::Index>(), put in any::<Vec<u8>>(), remove in 0_usize..9) {
        let mut bytes = render(&order()).into_bytes();
        let at = place.index(bytes.len());
        let end = (at + remove).min(bytes.len());
        bytes.splice(at..end, put);
        // Reading and verifying are what is tested; most damage is refused, some leaves another valid cassette.
        let _ = read_text(&bytes);
    }
}
