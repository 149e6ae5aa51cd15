//! iovec arrays of every length, and calls that move many messages.
#![allow(unsafe_code, reason = "the system calls themselves are what is tested")]

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::ptr;

use nix::sys::socket::{setsockopt, sockopt};

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

/// Messages of two iovecs each, as one array that stays in its place and is not cleared between calls.
struct Batch {
    parts: Vec<[Vec<u8>; 2]>,
    messages: Vec<libc::mmsghdr>,
    _vectors: Vec<[libc::iovec; 2]>,
}

// SAFETY: the pointers lead to memory that the batch owns.
unsafe impl Send for Batch {}

impl Batch {
    fn new(messages: usize, length: usize, seed: u64) -> Batch {
        let part = |i: usize| random_bytes(length + i % 7, seed + i as u64);
        let parts: Vec<[Vec<u8>; 2]> = (0..messages).map(|i| [part(2 * i), part(2 * i + 1)]).collect();
        let mut vectors: Vec<[libc::iovec; 2]> = parts.iter().map(|[a, b]| [vector(a), vector(b)]).collect();
        let messages = vectors.iter_mut().map(|v| libc::mmsghdr { msg_hdr: header(v), msg_len: 0 }).collect();
        Batch { parts, messages, _vectors: vectors }
    }

    fn bytes(&self) -> Vec<u8> {
        self.parts.iter().flatten().flatten().copied().collect()
    }

    /// Gives the lengths of the messages that moved.
    fn send(&mut self, socket: &TcpStream, flags: i32) -> Vec<usize> {
        let count = u32::try_from(self.messages.len()).unwrap();
        // SAFETY: the array holds that many messages, whose iovecs and buffers live in the batch.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr(), count, flags) };
        self.lengths(sent)
    }

    /// Gives the lengths of the messages that moved.
    fn receive(&mut self, socket: &TcpStream, flags: i32) -> Vec<usize> {
        let count = u32::try_from(self.messages.len()).unwrap();
        // SAFETY: the array holds that many messages, whose iovecs and buffers live in the batch and are its to write.
        let received =
            unsafe { libc::recvmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr(), count, flags, ptr::null_mut()) };
        self.lengths(received)
    }

    fn lengths(&self, moved: i32) -> Vec<usize> {
        let moved = usize::try_from(moved).unwrap_or(0);
        self.messages[..moved].iter().map(|m| m.msg_len as usize).collect()
    }
}

#[test]
fn root_batches_of_many_messages() {
    require_capture!("root_batches_of_many_messages");
    let recording = Recording::start(MEDIUM);
    let (client, server) = pair();
    let mut sent = Vec::new();
    for (seed, messages) in [1, 2, 5, 64, 64, 5, 5].into_iter().enumerate() {
        let mut out = Batch::new(messages, 100, 1000 * seed as u64);
        assert_eq!(out.send(&client, 0).len(), messages);
        let mut back = Batch::new(messages, 100, 77);
        assert_eq!(back.receive(&server, libc::MSG_WAITALL).len(), messages);
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

#[test]
fn root_batches_that_end_early() {
    require_capture!("root_batches_that_end_early");
    // Between two messages or in one: how much a socket takes differs between kernels.
    batches_that_end_early(40_000);
}

#[test]
fn root_batches_that_end_in_a_message() {
    require_capture!("root_batches_that_end_in_a_message");
    assert!(batches_that_end_early(400_000) > 0, "batches that end in the middle of a message");
}

/// A batch that ends early is followed by one with the very same array: the count of messages starts anew. Gives the
/// number of messages that were sent in part.
fn batches_that_end_early(length: usize) -> usize {
    let recording = Recording::start(MEDIUM);
    let (client, server) = pair();
    setsockopt(&client, sockopt::SndBuf, &150_000).unwrap();
    setsockopt(&server, sockopt::RcvBuf, &150_000).unwrap();
    let mut sent = Vec::new();
    let mut partial = 0;
    let mut out = Batch::new(40, length, 5);
    let mut back = Batch::new(16, 30_000, 6);
    for round in 0..6 {
        // The socket buffer fills up: in the middle of a message, or between two.
        let moved = out.send(&client, libc::MSG_DONTWAIT);
        for ([first, second], length) in out.parts.iter().zip(&moved) {
            let message = [first.as_slice(), second].concat();
            sent.extend_from_slice(&message[..*length]);
            partial += usize::from(*length < message.len());
        }
        // Empties what is there, until an error ends that batch; or lets another thread do it, so that this one's next
        // call is the very same again.
        let mut drain = || while back.receive(&server, libc::MSG_DONTWAIT).iter().sum::<usize>() > 0 {};
        if round % 2 == 0 {
            drain();
        } else {
            std::thread::scope(|scope| scope.spawn(&mut drain).join().unwrap());
        }
    }
    let ids = (id(&client), id(&server));
    drop(client);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut &server, &mut rest).unwrap();
    drop(server);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    assert!(recorded.socket(ids.0).sent.whole() == sent);
    assert!(recorded.socket(ids.1).received.whole() == sent);
    partial
}
