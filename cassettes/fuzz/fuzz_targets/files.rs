//! Any bytes are read as a cassette or refused, and what is read is written so that it is read as the same.

#![no_main]

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use libfuzzer_sys::fuzz_target;
use regress_cassettes::{Cassette, read, render};

/// One of this process.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("regress-fuzz-{}.json", std::process::id())));

fuzz_target!(|input: &[u8]| {
    let Some(cassette) = cassette(&FILE, input) else { return };
    let text = render(&cassette);
    let again = self::cassette(&FILE, text.as_bytes()).expect("what is written can be read");
    assert_eq!(again, cassette);
    assert_eq!(render(&again), text);
});

fn cassette(file: &Path, text: &[u8]) -> Option<Cassette> {
    std::fs::write(file, text).expect("the temporary folder can be written");
    read(file).ok()
}
