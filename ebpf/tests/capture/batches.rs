//! iovec arrays of every length, and calls that move many messages.
#![allow(unsafe_code, reason = "the system calls themselves are what is tested")]

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::ptr;

use crate::harness::{MEDIUM, Recording, id, pair, random_bytes, require_capture};
use crate::transfers::{WAYS, count, header, receive_all, vector};

#[test]
fn root_iovec_arrays_of_every_length() {
    require_capture!("root_iovec_arrays_of_every_length");
    let recording = Recording::start(MEDIUM);
    let (client, server) = pair();
    let mut sent = Vec::new();
    for entries in [1, 2, 3, 7, 8, 9, 63, 64, 65, 255, 256, 511, 512, 1000, 1023, 1024] {
        // Uneven, some empty, about 60 KB in all so that the call fits into the socket buffer.
        let parts: Vec<Vec<u8>> =
            (0..entries).map(|i| random_bytes(60_000 / entries * (i % 3) / 2, (entries + i) as u64)).collect();
        let vectors: Vec<libc::iovec> = parts.iter().map(|part| vector(part)).collect();
        let whole = parts.concat();
        // SAFETY: each iovec is one of the parts.
        let moved = unsafe { libc::writev(client.as_raw_fd(), vectors.as_ptr(), i32::try_from(entries).unwrap()) };
        assert_eq!(count(moved), whole.len());
        if !whole.is_empty() {
            assert!(receive_all(&server, &WAYS[6], whole.len()) == whole);
        }
        sent.extend(whole);
    }
    let ids = (id(&client), id(&server));
    drop((client, server));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    assert!(recorded.socket(ids.0).sent.whole() == sent);
    assert!(recorded.socket(ids.1).received.whole() == sent);
}

/// Messages of two iovecs each, as one array for sendmmsg or recvmmsg.
struct Batch {
    parts: Vec<[Vec<u8>; 2]>,
}

impl Batch {
    fn new(messages: usize, length: usize, seed: u64) -> Batch {
        let part = |i: usize| random_bytes(length + i % 7, seed + i as u64);
        Batch { parts: (0..messages).map(|i| [part(2 * i), part(2 * i + 1)]).collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.parts.iter().flatten().flatten().copied().collect()
    }

    /// Calls with the whole array; gives the lengths of the messages that moved.
    fn call(&mut self, call: impl FnOnce(*mut libc::mmsghdr, u32) -> i32) -> Vec<usize> {
        let mut vectors: Vec<[libc::iovec; 2]> =
            self.parts.iter().map(|[first, second]| [vector(first), vector(second)]).collect();
        let mut messages: Vec<libc::mmsghdr> =
            vectors.iter_mut().map(|v| libc::mmsghdr { msg_hdr: header(v), msg_len: 0 }).collect();
        let moved = call(messages.as_mut_ptr(), u32::try_from(messages.len()).unwrap());
        let moved = usize::try_from(moved).unwrap_or(0);
        messages[..moved].iter().map(|m| m.msg_len as usize).collect()
    }
}

fn send(socket: &TcpStream, batch: &mut Batch, flags: i32) -> Vec<usize> {
    // SAFETY: the array holds that many messages, whose buffers the batch owns.
    batch.call(|messages, count| unsafe { libc::sendmmsg(socket.as_raw_fd(), messages, count, flags) })
}

fn receive(socket: &TcpStream, batch: &mut Batch, flags: i32) -> Vec<usize> {
    // SAFETY: the array holds that many messages, whose buffers the batch owns.
    batch.call(|messages, count| unsafe { libc::recvmmsg(socket.as_raw_fd(), messages, count, flags, ptr::null_mut()) })
}

#[test]
fn root_batches_of_many_messages() {
    require_capture!("root_batches_of_many_messages");
    let recording = Recording::start(MEDIUM);
    let (client, server) = pair();
    let mut sent = Vec::new();
    for (seed, messages) in [1, 2, 5, 64, 64, 5, 5].into_iter().enumerate() {
        let mut out = Batch::new(messages, 100, 1000 * seed as u64);
        assert_eq!(send(&client, &mut out, 0).len(), messages);
        let mut back = Batch::new(messages, 100, 77);
        assert_eq!(receive(&server, &mut back, libc::MSG_WAITALL).len(), messages);
        assert!(back.bytes() == out.bytes());
        sent.extend(out.bytes());
    }
    let ids = (id(&client), id(&server));
    drop((client, server));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    assert!(recorded.socket(ids.0).sent.whole() == sent);
    assert!(recorded.socket(ids.1).received.whole() == sent);
}

/// A batch that ends early is followed by one with the very same array: the count of messages starts anew.
#[test]
fn root_batches_that_end_early() {
    require_capture!("root_batches_that_end_early");
    let recording = Recording::start(MEDIUM);
    let (client, server) = pair();
    let mut sent = Vec::new();
    let mut out = Batch::new(40, 40_000, 5);
    let mut back = Batch::new(16, 30_000, 6);
    for _ in 0..6 {
        // The socket buffer fills up: in the middle of a message, or between two.
        let moved = send(&client, &mut out, libc::MSG_DONTWAIT);
        for ([first, second], length) in out.parts.iter().zip(&moved) {
            let message = [first.as_slice(), second].concat();
            sent.extend_from_slice(&message[..*length]);
        }
        // Empties what is there, and then gets an error.
        let mut drained = usize::MAX;
        while drained > 0 {
            drained = receive(&server, &mut back, libc::MSG_DONTWAIT).iter().sum();
        }
    }
    assert!(sent.len() > 100_000, "the batches moved something");
    let ids = (id(&client), id(&server));
    drop(client);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut &server, &mut rest).unwrap();
    drop(server);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    assert!(recorded.socket(ids.0).sent.whole() == sent);
    assert!(recorded.socket(ids.1).received.whole() == sent);
}
