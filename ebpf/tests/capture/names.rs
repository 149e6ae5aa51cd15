//! DNS answers.

use std::net::UdpSocket;

use regress_ebpf::EventKind;

use crate::harness::{MEDIUM, Recording, require_capture};

/// A resolver on an address of its own, so that it is in nobody's way.
const RESOLVER: &str = "127.0.53.35:53";

fn answer(recorded: &crate::harness::Recorded) -> Vec<Vec<u8>> {
    let names = recorded.events.iter().filter_map(|e| match &e.kind {
        EventKind::Name { bytes } => Some(bytes.to_vec()),
        _ => None,
    });
    names.collect()
}

#[test]
fn root_answers_of_a_resolver() {
    require_capture!("root_answers_of_a_resolver");
    let recording = Recording::start(MEDIUM);
    let resolver = UdpSocket::bind(RESOLVER).expect("root may bind port 53");
    let mut buffer = [0; 2000];

    // As glibc and c-ares do: connected.
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(RESOLVER).unwrap();
    connected.send(b"question 1").unwrap();
    let (_, from) = resolver.recv_from(&mut buffer).unwrap();
    resolver.send_to(b"answer 1", from).unwrap();
    assert_eq!(connected.recv(&mut buffer).unwrap(), 8);

    // As musl does: not connected.
    let loose = UdpSocket::bind("127.0.0.1:0").unwrap();
    loose.send_to(b"question 2", RESOLVER).unwrap();
    let (_, from) = resolver.recv_from(&mut buffer).unwrap();
    let long = vec![7; 1400];
    resolver.send_to(&long, from).unwrap();
    assert_eq!(loose.recv_from(&mut buffer).unwrap().0, 1400);

    // Other datagrams are none of ours.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    loose.connect(other.local_addr().unwrap()).unwrap();
    other.send_to(b"news", loose.local_addr().unwrap()).unwrap();
    loose.recv(&mut buffer).unwrap();

    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    assert_eq!(answer(&recorded), [b"answer 1".to_vec(), long]);
}
