//! Whatever comes over the socket of a server or an agent is understood or refused, and what is understood can be said again.

#![no_main]

use std::{io::Write, os::unix::net::UnixStream};

use libfuzzer_sys::fuzz_target;
use regress_recorder::wire::{FromAgent, FromServer, Hello, Kind, Receiver, events_of, put_event};

/// What a socket takes without anybody reading.
const MOST: usize = 64 << 10;

fuzz_target!(|input: &[u8]| {
    if let Ok(hello) = Hello::read(&mut &input[..]) {
        assert_eq!(Hello::read(&mut &hello.bytes()[..]).expect("what is understood can be said again"), hello);
    }
    if let Ok(events) = events_of(input) {
        let again = events.iter().fold(Vec::new(), |frame, event| put_event(event, frame).expect("there is memory"));
        assert_eq!(events_of(&again).expect("what is understood can be said again"), events);
    }
    let (one, mut other) = UnixStream::pair().expect("there are sockets");
    other.write_all(&input[..input.len().min(MOST)]).expect("it fits");
    drop(other);
    let mut receiver = Receiver::new(one);
    while let Ok(Some(received)) = receiver.receive() {
        if received.kind == Kind::Events {
            let _ = events_of(&received.body);
        } else {
            let _ = received.message::<FromAgent>();
            let _ = received.message::<FromServer>();
        }
    }
});
