//! What cannot be read, and a buffer that overflows: never silently wrong.
#![allow(unsafe_code, reason = "the system calls themselves are what is tested")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::ptr;

use regress_ebpf::{CloseCause, LossKind};

use crate::harness::{
    MEDIUM, Recorded, Recording, TINY, capture_self, id, pair, random_bytes, require_capture, scaled, turn,
};
use crate::io_uring::Ring;
use crate::transfers::count;

#[test]
fn root_sendfile_is_missing_by_length() {
    require_capture!("root_sendfile_is_missing_by_length");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    let file = File::open("/proc/self/exe").unwrap();
    let length = 40_000;
    client.write_all(b"head").unwrap();
    // SAFETY: no offset.
    let sent = unsafe { libc::sendfile(client.as_raw_fd(), file.as_raw_fd(), ptr::null_mut(), length) };
    assert_eq!(count(sent), length);
    client.write_all(b"tail").unwrap();
    let mut read = vec![0; 8 + length];
    server.read_exact(&mut read).unwrap();
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let sent = &recorded.socket(ids[0]).sent;
    assert_eq!((sent.missing, sent.skipped), (length as u64, 0));
    assert_eq!(sent.pieces, [(0, b"head".to_vec()), (4 + length as u64, b"tail".to_vec())]);
    assert!(recorded.socket(ids[1]).received.whole() == read);
}

/// splice(2) from a socket passes no hook; TCP's own counters give it away.
#[test]
fn root_splice_is_missing_by_length() {
    require_capture!("root_splice_is_missing_by_length");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    let (pipe_end, pipe_start) = nix::unistd::pipe().unwrap();
    let splice = |from: &dyn AsRawFd, to: &dyn AsRawFd, length: usize| {
        // SAFETY: no offsets.
        let moved =
            unsafe { libc::splice(from.as_raw_fd(), ptr::null_mut(), to.as_raw_fd(), ptr::null_mut(), length, 0) };
        assert_eq!(count(moved), length);
    };
    client.write_all(b"0123456789").unwrap();
    server.read_exact(&mut [0; 2]).unwrap();
    splice(&server, &pipe_start, 3); // 234
    server.read_exact(&mut [0; 2]).unwrap();
    splice(&server, &pipe_start, 3); // 789, and nothing is read after it
    splice(&pipe_end, &server, 6);
    client.read_exact(&mut [0; 6]).unwrap();
    let ids = [id(&client), id(&server)];
    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop(server);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let server = recorded.socket(ids[1]);
    assert_eq!(server.received.pieces, [(0, b"01".to_vec()), (5, b"56".to_vec())]);
    assert_eq!((server.received.missing, server.received.skipped), (6, 0));
    assert_eq!((server.sent.missing, server.sent.skipped), (6, 0));
    assert_eq!(recorded.socket(ids[0]).received.whole(), b"234789");
}

#[test]
fn root_io_uring_is_missing_by_length() {
    require_capture!("root_io_uring_is_missing_by_length");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    let Some(mut ring) = Ring::new() else {
        assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "no io_uring");
        println!("skipped: root_io_uring_is_missing_by_length: the kernel has no io_uring for us");
        return;
    };
    client.write_all(b"plain").unwrap();
    assert_eq!(ring.send(client.as_raw_fd(), b"by ring"), 7);
    server.read_exact(&mut [0; 5]).unwrap();
    let mut rest = [0; 7];
    assert_eq!(ring.receive(server.as_raw_fd(), &mut rest), 7);
    assert_eq!(&rest, b"by ring");
    // A receive that waits is finished by this thread, in between, while it is in another call's read.
    let mut late = [0; 4];
    ring.submit_receive(server.as_raw_fd(), &mut late);
    let (mut pipe_end, mut pipe_start) = std::io::pipe().unwrap();
    let reader = nix::unistd::gettid();
    std::thread::scope(|scope| {
        let client = &client;
        scope.spawn(move || {
            wait_until_asleep(reader);
            { client }.write_all(b"late").unwrap();
            pipe_start.write_all(b"pipe").unwrap();
        });
        pipe_end.read_exact(&mut [0; 4]).unwrap();
    });
    assert_eq!(ring.complete(), 4);
    assert_eq!(&late, b"late");
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    let sent = &recorded.socket(ids[0]).sent;
    assert_eq!(sent.pieces, [(0, b"plain".to_vec()), (12, b"late".to_vec())]);
    assert_eq!((sent.missing, sent.skipped), (7, 0));
    let received = &recorded.socket(ids[1]).received;
    assert_eq!(received.pieces, [(0, b"plain".to_vec())]);
    assert_eq!((received.missing, received.skipped), (11, 0));
}

/// Until the thread waits in a system call (`S`, proc_pid_stat(5)).
fn wait_until_asleep(thread: nix::unistd::Pid) {
    let path = format!("/proc/self/task/{thread}/stat");
    while !std::fs::read_to_string(&path).unwrap().contains(") S ") {
        std::thread::yield_now();
    }
}

/// A 32-bit system call has other numbers and layouts.
#[test]
fn root_compat_calls_are_missing_by_length() {
    require_capture!("root_compat_calls_are_missing_by_length");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"wide").unwrap();
    let narrow = compat_write(client.as_raw_fd(), b"narrow");
    let ids = [id(&client), id(&server)];
    if narrow != 6 {
        assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "no 32-bit calls: {narrow}");
        println!("skipped: root_compat_calls_are_missing_by_length: the kernel has no 32-bit calls");
        return;
    }
    server.read_exact(&mut [0; 10]).unwrap();
    drop((client, server));
    let recorded = recording.finish();
    let sent = &recorded.socket(ids[0]).sent;
    assert_eq!(sent.pieces, [(0, b"wide".to_vec())]);
    assert_eq!((sent.missing, sent.skipped), (6, 0));
}

/// write(2) as a 32-bit program would call it.
fn compat_write(socket: i32, bytes: &[u8]) -> i32 {
    // SAFETY: a fresh page below 4 GiB, which is long enough for the few bytes copied there; `int 0x80` takes and
    // clobbers the registers named, and rbx is given back.
    unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        );
        assert_ne!(page, libc::MAP_FAILED);
        ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast(), bytes.len());
        let result: i32;
        std::arch::asm!(
            "xchg rbx, {socket}",
            "int 0x80",
            "xchg rbx, {socket}",
            socket = inout(reg) i64::from(socket) => _,
            inlateout("eax") 4 => result,
            in("ecx") page as u32,
            in("edx") u32::try_from(bytes.len()).unwrap(),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
        libc::munmap(page, 4096);
        result
    }
}

/// Nobody reads the buffer while far more than it holds moves.
#[test]
fn root_an_overflow_shows() {
    require_capture!("root_an_overflow_shows");
    let turn = turn();
    let mut capture = capture_self(TINY);
    let mut ends = Vec::new();
    for round in 0..3 {
        let (client, server) = pair();
        let request = random_bytes(1 << 20, round);
        let response = random_bytes(3000, 100 + round);
        std::thread::scope(|scope| {
            scope.spawn(|| (&client).write_all(&request).unwrap());
            let mut read = vec![0; request.len()];
            (&server).read_exact(&mut read).unwrap();
        });
        (&server).write_all(&response).unwrap();
        (&client).read_exact(&mut vec![0; response.len()]).unwrap();
        ends.push((id(&client), id(&server), request, response));
        drop(server);
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    }
    let mut events = Vec::new();
    capture.drain(&mut events).unwrap();
    drop(turn);
    let recorded = Recorded::of(events);
    let lost: u64 = recorded.losses.iter().map(|loss| loss.bytes).sum();
    assert!(recorded.losses.iter().all(|loss| loss.kind == LossKind::BufferFull), "{:?}", recorded.losses);
    let mut absent = 0;
    for (client, server, request, response) in &ends {
        let [client, server] = [client, server].map(|id| recorded.socket(*id));
        for (stream, body) in [
            (&client.sent, request),
            (&server.received, request),
            (&server.sent, response),
            (&client.received, response),
        ] {
            // The room kept for small records lets the end and what is missing before it be told.
            stream.assert_honest(body);
            absent += stream.missing + stream.skipped;
        }
        assert_eq!([client.closed, server.closed], [Some(CloseCause::Closed); 2]);
    }
    assert!(absent > 5 << 20, "{absent}");
    assert_eq!(absent, lost);
}

/// A reader that falls behind now and then: the recording has gaps, and everything else is right.
#[test]
fn root_an_overflow_while_reading_shows() {
    require_capture!("root_an_overflow_while_reading_shows");
    let recording = Recording::start(TINY);
    let (client, server) = pair();
    let body = random_bytes(scaled(32 << 20), 9);
    std::thread::scope(|scope| {
        scope.spawn(|| (&client).write_all(&body).unwrap());
        (&server).read_exact(&mut vec![0; body.len()]).unwrap();
    });
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    assert!(!recorded.losses.is_empty());
    recorded.socket(ids[0]).sent.assert_honest(&body);
    recorded.socket(ids[1]).received.assert_honest(&body);
}
