//! Any bytes, cut in any way, are read as the same requests or refused alike, and come out as they went in.
//! The first byte says into pieces of which size the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_protocols::http1::{Fault, Limits, Message, RequestReader};

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else { return };
    let whole = read(&[bytes]);
    let wire: Vec<u8> = whole.0.iter().flat_map(Message::wire).collect();
    assert!(bytes.starts_with(&wire));
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(read(&pieces), whole);
});

fn read(pieces: &[&[u8]]) -> (Vec<Message>, Option<Fault>) {
    let mut reader = RequestReader::new(Limits::default());
    let mut messages = Vec::new();
    for piece in pieces {
        match reader.feed(piece) {
            Ok(more) => messages.extend(more),
            Err(error) => return (messages, Some(error.fault)),
        }
    }
    while !reader.remaining().is_empty() {
        match reader.feed(b"") {
            Ok(more) => messages.extend(more),
            Err(error) => return (messages, Some(error.fault)),
        }
    }
    match reader.finish() {
        Ok(cut) => messages.extend(cut),
        Err(error) => return (messages, Some(error.fault)),
    }
    (messages, None)
}
