//! Any bytes are a sealed file's or refused, and nobody without a key opens them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_cassettes::seal::{Identities, Keys, Unopened};

/// A key that anybody may know.
const KEY: &str = include_str!("../../tests/keys/ssh");

fuzz_target!(|input: &[u8]| {
    let keys = Keys::new([Identities::parse(KEY, &mut || None).expect("it is a key")]);
    let with = keys.open(input).map(drop);
    match Keys::default().open(input).map(drop) {
        Ok(()) => panic!("nobody opened it"),
        Err(Unopened::NoIdentity) => {}
        // What has not the head of a sealed file has not with a key either.
        Err(why) => assert_eq!(with, Err(why)),
    }
});
