//! Any bytes, cut in any way, are read as the same responses or refused alike, and come out as they went in.
//! The first byte chooses the method that is answered and into pieces of which size the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_protocols::http1::{Fault, Limits, Message, ResponseReader};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let method = ["GET", "HEAD", "CONNECT", "POST"][usize::from(choice % 4)];
    let whole = read(method, &[bytes]);
    let mut wire: Vec<u8> = whole.0.iter().flat_map(Message::wire).collect();
    wire.extend(&whole.2);
    assert!(bytes.starts_with(&wire));
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(choice / 4).max(1)).collect();
    assert_eq!(read(method, &pieces), whole);
});

fn read(method: &str, pieces: &[&[u8]]) -> (Vec<Message>, Option<Fault>, Vec<u8>) {
    let mut reader = ResponseReader::new(method, Limits::default());
    let mut messages = Vec::new();
    for piece in pieces.iter().chain([&&b""[..]]) {
        match reader.feed(piece) {
            Ok(more) => messages.extend(more),
            Err(error) => return (messages, Some(error.fault), Vec::new()),
        }
    }
    let after = reader.remaining().to_vec();
    messages.extend(reader.finish());
    (messages, None, after)
}
