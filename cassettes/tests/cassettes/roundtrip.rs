use std::fs;

use proptest::prelude::*;
use regress_cassettes::{Cassette, Content, Error, Store, read, render, verify};
use regress_protocols::http1::Message;

use crate::{arbitrary, as_is, call, http, order};

/// Write, read, compare; and the same once more from what was read.
fn survives(cassette: &Cassette) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path()).unwrap();
    let path = store.write(&as_is(cassette)).unwrap();
    let written = fs::read_to_string(&path).unwrap();
    let again = read(&path).unwrap();
    prop_assert_eq!(&again, cassette);
    prop_assert_eq!(render(&again), written);
    for problem in verify(&path) {
        // Messages made of anything need not be HTTP.
        prop_assert!(matches!(problem, Error::Inconsistent { .. }), "{}", problem);
    }
    Ok(())
}

/// An order whose inventory answered with this body.
fn answering(body: impl Into<bytes::Bytes>) -> Cassette {
    let messages = http(Message::request("GET", "/", &[], ""), Message::response(200, "OK", &[], body));
    Cassette { downstream: vec![call(Content::Http1(messages))], ..order() }
}

proptest! {
    #[test]
    fn any_cassette_survives(cassette in arbitrary::cassette()) {
        survives(&cassette)?;
    }

    #[test]
    fn any_body_survives(body in arbitrary::payload()) {
        survives(&answering(body))?;
    }

    #[test]
    fn json_of_the_usual_spacings_is_written_as_json(body in arbitrary::usual_json()) {
        let text = render(&answering(body));
        let file: serde_json::Value = match serde_json::from_str(&text) {
            Ok(file) => file,
            // Lone surrogates are legal JSON that this reader refuses.
            Err(_) => return Ok(()),
        };
        prop_assert!(file["downstream"][0]["response"]["body"].get("json").is_some(), "{text}");
    }
}

#[test]
fn a_cassette_is_a_document_for_ordinary_json_readers_however_deep_its_bodies() {
    for depth in [112, 113, 5000] {
        let cassette = answering("[".repeat(depth) + &"]".repeat(depth));
        survives(&cassette).unwrap();
        serde_json::from_str::<serde_json::Value>(&render(&cassette)).unwrap();
    }
}
