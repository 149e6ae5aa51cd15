//! Every system call that moves stream bytes, every size, both directions.
#![allow(unsafe_code, reason = "the system calls themselves are what is tested")]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use regress_ebpf::{Role, SocketId};

use crate::harness::{LARGE, MEDIUM, Recorded, Recording, id, pair, random_bytes, require_capture, scaled};

/// A system call that moves bytes of one buffer, as the ways that follow use it.
pub struct Way {
    pub name: &'static str,
    pub send: fn(RawFd, &[u8]) -> isize,
    pub receive: fn(RawFd, &mut [u8]) -> isize,
}

pub const WAYS: [Way; 7] = [
    Way { name: "write, read", send: write, receive: read },
    Way { name: "writev, readv", send: writev, receive: readv },
    Way { name: "sendto, recvfrom", send: sendto, receive: recvfrom },
    Way { name: "sendmsg, recvmsg", send: sendmsg, receive: recvmsg },
    Way { name: "sendmmsg, recvmmsg", send: sendmmsg, receive: recvmmsg },
    Way { name: "pwritev2, preadv2", send: pwritev2, receive: preadv2 },
    Way { name: "writev in pieces, readv in pieces", send: writev_pieces, receive: readv_pieces },
];

const SMALL_SIZES: [usize; 9] = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20];

pub fn send_all(socket: &impl AsRawFd, way: &Way, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let moved = count((way.send)(socket.as_raw_fd(), bytes));
        bytes = &bytes[moved..];
    }
}

pub fn receive_all(socket: &impl AsRawFd, way: &Way, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let moved = count((way.receive)(socket.as_raw_fd(), &mut bytes[filled..]));
        assert_ne!(moved, 0, "the peer ended early");
        filled += moved;
    }
    bytes
}

pub fn count(result: isize) -> usize {
    usize::try_from(result).unwrap_or_else(|_| panic!("the call failed: {}", io::Error::last_os_error()))
}

/// Sends a body of each length each way on a connection of its own, and compares both ends' recordings with it.
fn transfer(way: &Way, lengths: &[usize], buffer_bytes: u32) {
    let recording = Recording::start(buffer_bytes);
    let moved: Vec<_> = lengths.iter().map(|length| Moved::by(way, *length)).collect();
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    for moved in moved {
        moved.assert_recorded(&recorded, way);
    }
}

/// What went over one connection.
struct Moved {
    client: SocketId,
    server: SocketId,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Moved {
    fn by(way: &Way, length: usize) -> Moved {
        let (client, server) = pair();
        let request = random_bytes(length, 1 + length as u64);
        let response = random_bytes(length, 2 + length as u64);
        for (from, to, body) in [(&client, &server, &request), (&server, &client, &response)] {
            std::thread::scope(|scope| {
                scope.spawn(|| send_all(from, way, body));
                assert!(receive_all(to, way, length) == *body);
            });
        }
        if length == 0 {
            // A call that moves nothing is no event, and no end either.
            for socket in [&client, &server] {
                assert_eq!((way.send)(socket.as_raw_fd(), &[]), 0);
            }
        }
        Moved { client: id(&client), server: id(&server), request, response }
    }

    fn assert_recorded(&self, recorded: &Recorded, way: &Way) {
        let length = self.request.len();
        if length == 0 && recorded.find(self.server).is_none() {
            return;
        }
        let [client, server] = [self.client, self.server].map(|id| recorded.socket(id));
        assert_eq!((client.role(), server.role()), (Role::Client, Role::Server));
        for (sent, received, body) in
            [(&client.sent, &server.received, &self.request), (&server.sent, &client.received, &self.response)]
        {
            assert!(sent.whole() == *body && received.whole() == *body, "{}: {length} bytes", way.name);
        }
    }
}

macro_rules! ways {
    ($($small:ident, $large:ident: $index:literal;)*) => {$(
        #[test]
        fn $small() {
            require_capture!("$small");
            transfer(&WAYS[$index], &SMALL_SIZES, MEDIUM);
        }

        #[test]
        fn $large() {
            require_capture!("$large");
            transfer(&WAYS[$index], &[scaled(64 << 20)], LARGE);
        }
    )*};
}

ways! {
    root_write_and_read, root_write_and_read_64_mib: 0;
    root_writev_and_readv, root_writev_and_readv_64_mib: 1;
    root_sendto_and_recvfrom, root_sendto_and_recvfrom_64_mib: 2;
    root_sendmsg_and_recvmsg, root_sendmsg_and_recvmsg_64_mib: 3;
    root_sendmmsg_and_recvmmsg, root_sendmmsg_and_recvmmsg_64_mib: 4;
    root_pwritev2_and_preadv2, root_pwritev2_and_preadv2_64_mib: 5;
    root_writev_and_readv_in_pieces, root_writev_and_readv_in_pieces_64_mib: 6;
}

fn write(socket: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: the buffer is that long.
    unsafe { libc::write(socket, bytes.as_ptr().cast(), bytes.len()) }
}

fn read(socket: RawFd, bytes: &mut [u8]) -> isize {
    // SAFETY: the buffer is that long.
    unsafe { libc::read(socket, bytes.as_mut_ptr().cast(), bytes.len()) }
}

fn sendto(socket: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: the buffer is that long; no address.
    unsafe { libc::sendto(socket, bytes.as_ptr().cast(), bytes.len(), 0, ptr::null(), 0) }
}

fn recvfrom(socket: RawFd, bytes: &mut [u8]) -> isize {
    // SAFETY: the buffer is that long; no address.
    unsafe { libc::recvfrom(socket, bytes.as_mut_ptr().cast(), bytes.len(), 0, ptr::null_mut(), ptr::null_mut()) }
}

/// The buffer as one iovec. What is sent is only read, whatever the type says.
pub fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// The buffer as up to 1024 iovecs of uneven lengths, some of them empty.
pub fn vectors(bytes: &[u8]) -> Vec<libc::iovec> {
    let average = bytes.len() / 600 + 1;
    let mut rest = bytes;
    let mut vectors = Vec::new();
    for index in 0..1024 {
        let length = if index == 1023 { rest.len() } else { (index * 7 % 5) * average / 2 };
        let (piece, more) = rest.split_at(length.min(rest.len()));
        vectors.push(vector(piece));
        rest = more;
    }
    vectors
}

pub fn header(vectors: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: msghdr is plain data, for which zeroes are valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = vectors.as_mut_ptr();
    header.msg_iovlen = vectors.len();
    header
}

fn writev(socket: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: one iovec over the buffer.
    unsafe { libc::writev(socket, &vector(bytes), 1) }
}

fn readv(socket: RawFd, bytes: &mut [u8]) -> isize {
    // SAFETY: one iovec over the buffer, which is ours to write.
    unsafe { libc::readv(socket, &vector(bytes), 1) }
}

fn writev_pieces(socket: RawFd, bytes: &[u8]) -> isize {
    let vectors = vectors(bytes);
    // SAFETY: the iovecs lie within the buffer.
    unsafe { libc::writev(socket, vectors.as_ptr(), 1024) }
}

fn readv_pieces(socket: RawFd, bytes: &mut [u8]) -> isize {
    let vectors = vectors(bytes);
    // SAFETY: the iovecs lie within the buffer, which is ours to write.
    unsafe { libc::readv(socket, vectors.as_ptr(), 1024) }
}

fn pwritev2(socket: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: one iovec over the buffer; offset -1 means the file position, which sockets do not have.
    unsafe { libc::pwritev2(socket, &vector(bytes), 1, -1, 0) }
}

fn preadv2(socket: RawFd, bytes: &mut [u8]) -> isize {
    // SAFETY: one iovec over the buffer, which is ours to write; offset -1 means the file position.
    unsafe { libc::preadv2(socket, &vector(bytes), 1, -1, 0) }
}

fn sendmsg(socket: RawFd, bytes: &[u8]) -> isize {
    let mut vectors = [vector(bytes)];
    // SAFETY: one iovec over the buffer.
    unsafe { libc::sendmsg(socket, &header(&mut vectors), 0) }
}

fn recvmsg(socket: RawFd, bytes: &mut [u8]) -> isize {
    let mut vectors = [vector(bytes)];
    let mut header = header(&mut vectors);
    // SAFETY: one iovec over the buffer, which is ours to write.
    unsafe { libc::recvmsg(socket, &raw mut header, 0) }
}

/// The buffer as three messages. Gives the bytes moved.
fn sendmmsg(socket: RawFd, bytes: &[u8]) -> isize {
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let mut vectors = [[vector(first)], [vector(second)], [vector(third)]];
    let mut messages = vectors.each_mut().map(|v| libc::mmsghdr { msg_hdr: header(v), msg_len: 0 });
    // SAFETY: three messages of one iovec each, within the buffer.
    let sent = unsafe { libc::sendmmsg(socket, messages.as_mut_ptr(), 3, 0) };
    moved(sent, &messages)
}

fn recvmmsg(socket: RawFd, bytes: &mut [u8]) -> isize {
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let mut vectors = [[vector(first)], [vector(second)], [vector(third)]];
    let mut messages = vectors.each_mut().map(|v| libc::mmsghdr { msg_hdr: header(v), msg_len: 0 });
    // SAFETY: three messages of one iovec each, within the buffer, which is ours to write.
    let received = unsafe { libc::recvmmsg(socket, messages.as_mut_ptr(), 3, libc::MSG_WAITALL, ptr::null_mut()) };
    moved(received, &messages)
}

fn moved(messages: i32, headers: &[libc::mmsghdr]) -> isize {
    match usize::try_from(messages) {
        Ok(messages) => headers[..messages].iter().map(|m| m.msg_len as isize).sum(),
        Err(_) => -1,
    }
}
