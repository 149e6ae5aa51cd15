//! Who opened a connection, how it ended, and the addresses it had.
#![allow(unsafe_code, reason = "socket options and MPTCP sockets, which std does not have")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use regress_ebpf::{CloseCause, Direction, EventKind, Role, Unit};

use crate::harness::{MEDIUM, Recording, id, pair, pair_on, random_bytes, require_capture};

#[test]
fn root_roles_and_addresses() {
    require_capture!("root_roles_and_addresses");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"question").unwrap();
    server.read_exact(&mut [0; 8]).unwrap();
    let (near, far) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert_eq!(client.connecting, Some(far));
    assert_eq!(client.open, Some((Role::Client, near.into(), far.into(), false)));
    assert_eq!(server.connecting, None);
    assert_eq!(server.open, Some((Role::Server, far.into(), near.into(), false)));
}

/// Connecting and the first use are the acts of a thread; establishment is the kernel's own.
#[test]
fn root_units_are_the_acting_threads() {
    require_capture!("root_units_are_the_acting_threads");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    let ids = [id(&client), id(&server)];
    let (writer, server) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            client.write_all(b"x").unwrap();
            nix::unistd::gettid().as_raw().unsigned_abs()
        });
        let writer = writer.join().unwrap();
        server.read_exact(&mut [0]).unwrap();
        (writer, server)
    });
    drop((client, server));
    let recorded = recording.finish();
    let this = Unit::thread(std::process::id(), nix::unistd::gettid().as_raw().unsigned_abs());
    let thread = |wanted: &dyn Fn(&EventKind) -> bool| {
        let event = recorded.events.iter().find(|e| wanted(&e.kind)).expect("the event is there");
        event.unit
    };
    assert_eq!(thread(&|k| matches!(k, EventKind::Connecting { socket, .. } if *socket == ids[0])), Some(this));
    assert_eq!(thread(&|k| matches!(k, EventKind::Open { socket, .. } if *socket == ids[0])), None);
    assert_eq!(
        thread(&|k| matches!(k, EventKind::Data { socket, direction: Direction::Sent, .. } if *socket == ids[0])),
        Some(Unit::thread(std::process::id(), writer))
    );
    assert_eq!(thread(&|k| matches!(k, EventKind::Open { socket, .. } if *socket == ids[1])), Some(this));
}

#[test]
fn root_ipv6() {
    require_capture!("root_ipv6");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair_on("[::1]:0");
    let body = random_bytes(100_000, 3);
    std::thread::scope(|scope| {
        scope.spawn(|| client.write_all(&body).unwrap());
        server.read_exact(&mut vec![0; body.len()]).unwrap();
    });
    let (near, far) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert_eq!(client.open, Some((Role::Client, near.into(), far.into(), false)));
    assert_eq!(server.open, Some((Role::Server, far.into(), near.into(), false)));
    assert!(client.sent.whole() == body && server.received.whole() == body);
}

#[test]
fn root_mapped_addresses_are_ipv4() {
    require_capture!("root_mapped_addresses_are_ipv4");
    let recording = Recording::start(MEDIUM);
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mapped = Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]);
    let mut client = TcpStream::connect((mapped, port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let ids = [id(&client), id(&server)];
    let near = SocketAddr::from(([127, 0, 0, 1], client.local_addr().unwrap().port()));
    let far = SocketAddr::from(([127, 0, 0, 1], port));
    drop((client, server));
    let recorded = recording.finish();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert_eq!(client.connecting, Some(far));
    assert_eq!(client.open, Some((Role::Client, near.into(), far.into(), false)));
    assert_eq!(server.open, Some((Role::Server, far.into(), near.into(), false)));
}

#[test]
fn root_a_refused_connection() {
    require_capture!("root_a_refused_connection");
    let recording = Recording::start(MEDIUM);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = TcpStream::connect(nobody).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let recorded = recording.finish();
    let attempt = recorded.events.iter().find_map(|e| match e.kind {
        EventKind::Connecting { socket, peer } if peer == nobody => Some(socket),
        _ => None,
    });
    let socket = recorded.socket(attempt.expect("the attempt was recorded"));
    assert_eq!(socket.closed, Some(CloseCause::Refused));
    assert_eq!(socket.open, None);
}

/// An address that nobody answers: the service's own patience (TCP_USER_TIMEOUT) ends the attempt.
#[test]
fn root_a_connection_that_times_out() {
    require_capture!("root_a_connection_that_times_out");
    let recording = Recording::start(MEDIUM);
    // A listener whose queue is full drops further attempts.
    let listener = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::empty(),
        None,
    )
    .unwrap();
    // SAFETY: the descriptor is a fresh socket, which the listener now owns.
    let listener = unsafe { TcpListener::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(listener)) };
    let any = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 0);
    nix::sys::socket::bind(listener.as_raw_fd(), &any).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let full = TcpStream::connect(address).unwrap();
    let attempt = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::empty(),
        None,
    )
    .unwrap();
    let patience = 200u32;
    // SAFETY: the option's value is that integer.
    let set = unsafe {
        libc::setsockopt(
            attempt.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            (&raw const patience).cast(),
            4,
        )
    };
    assert_eq!(set, 0);
    let port = address.port();
    let error = nix::sys::socket::connect(attempt.as_raw_fd(), &nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, port));
    assert_eq!(error, Err(nix::errno::Errno::ETIMEDOUT));
    let attempt_id = id(&attempt);
    drop(full);
    let recorded = recording.finish();
    assert_eq!(recorded.socket(attempt_id).closed, Some(CloseCause::TimedOut));
}

#[test]
fn root_half_close_keeps_the_answer() {
    require_capture!("root_half_close_keeps_the_answer");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = Vec::new();
    server.read_to_end(&mut question).unwrap();
    let answer = random_bytes(50_000, 8);
    server.write_all(&answer).unwrap();
    let ids = [id(&client), id(&server)];
    // The server is gone and the connection has ended before the client reads.
    drop(server);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert!(read == answer);
    drop(client);
    let recorded = recording.finish();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert!(client.sent.whole() == b"question" && client.received.whole() == answer);
    assert!(server.received.whole() == b"question" && server.sent.whole() == answer);
    for socket in [client, server] {
        assert!(socket.sent.finished && socket.received.finished);
        assert_eq!(socket.closed, Some(CloseCause::Closed));
    }
}

#[test]
fn root_a_close_ends_both_sides() {
    require_capture!("root_a_close_ends_both_sides");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let ids = [id(&client), id(&server)];
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    let recorded = recording.finish();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert!(server.sent.finished && client.received.finished);
    assert_eq!([client.closed, server.closed], [Some(CloseCause::Closed); 2]);
}

/// Closing with unread data resets the connection (RFC 2525 section 2.17).
#[test]
fn root_a_reset_by_closing_early() {
    require_capture!("root_a_reset_by_closing_early");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"xy").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let ids = [id(&client), id(&server)];
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(client);
    let recorded = recording.finish();
    for id in ids {
        assert_eq!(recorded.socket(id).closed, Some(CloseCause::Reset));
    }
}

/// What came before a reset may still be read after it; the end is told afterwards.
#[test]
fn root_data_before_a_reset_is_kept() {
    require_capture!("root_data_before_a_reset_is_kept");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"xy").unwrap();
    server.read_exact(&mut [0]).unwrap();
    server.write_all(b"answer").unwrap();
    let ids = [id(&client), id(&server)];
    drop(server);
    let mut answer = [0; 6];
    let read = client.read_exact(&mut answer);
    drop(client);
    let recorded = recording.finish();
    let client = recorded.socket(ids[0]);
    assert_eq!(client.closed, Some(CloseCause::Reset));
    // Whether the reset still lets the answer through is the kernel's choice; the recording says what was read.
    let expected: &[u8] = if read.is_ok() { b"answer" } else { b"" };
    assert_eq!(client.received.whole(), expected);
}

/// On loopback the reset that answers a send is there before the send returns; its bytes were sent all the same.
#[test]
fn root_an_answer_to_nobody() {
    require_capture!("root_an_answer_to_nobody");
    let recording = Recording::start(MEDIUM);
    let (client, mut server) = pair();
    (&client).write_all(b"question").unwrap();
    server.read_exact(&mut [0; 8]).unwrap();
    let id = id(&server);
    drop(client);
    server.write_all(b"answer").unwrap();
    assert_eq!(server.read(&mut [0]).unwrap_or(0), 0);
    drop(server);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let server = recorded.socket(id);
    assert_eq!(server.sent.whole(), b"answer");
    assert_eq!(server.closed, Some(CloseCause::Reset));
}

#[test]
fn root_peeked_bytes_count_once() {
    require_capture!("root_peeked_bytes_count_once");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"peeked").unwrap();
    let mut seen = [0; 6];
    for _ in 0..3 {
        server.peek(&mut seen).unwrap();
    }
    server.read_exact(&mut seen).unwrap();
    let server_id = id(&server);
    drop((client, server));
    let recorded = recording.finish();
    assert_eq!(recorded.socket(server_id).received.whole(), b"peeked");
}

fn mptcp_listener() -> Option<TcpListener> {
    // SAFETY: integers only.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
    if socket < 0 {
        return None;
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let listener = unsafe { TcpListener::from_raw_fd(socket) };
    let any = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 0);
    nix::sys::socket::bind(socket, &any).ok()?;
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(8).ok()?).ok()?;
    Some(listener)
}

/// Go listens with MPTCP by default; a peer without it gets a plain TCP connection.
#[test]
fn root_plain_tcp_from_an_mptcp_listener() {
    require_capture!("root_plain_tcp_from_an_mptcp_listener");
    let Some(listener) = mptcp_listener() else {
        assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "no MPTCP");
        println!("skipped: root_plain_tcp_from_an_mptcp_listener: the kernel has no MPTCP");
        return;
    };
    let recording = Recording::start(MEDIUM);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"question").unwrap();
    server.read_exact(&mut [0; 8]).unwrap();
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    let ids = [id(&client), id(&server)];
    let near = client.local_addr().unwrap();
    let far = client.peer_addr().unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert_eq!(server.open, Some((Role::Server, far.into(), near.into(), false)));
    assert_eq!(server.received.whole(), b"question");
    assert_eq!(server.sent.whole(), b"answer");
    assert_eq!(client.received.whole(), b"answer");
    assert_eq!(server.closed, Some(CloseCause::Closed));
}

/// Both ends speak MPTCP: its own socket is the one that the service uses.
#[test]
fn root_mptcp_on_both_ends() {
    require_capture!("root_mptcp_on_both_ends");
    let Some(listener) = mptcp_listener() else {
        assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "no MPTCP");
        println!("skipped: root_mptcp_on_both_ends: the kernel has no MPTCP");
        return;
    };
    let recording = Recording::start(MEDIUM);
    let address = listener.local_addr().unwrap();
    // SAFETY: integers only; a fresh descriptor that nobody else owns.
    let mut client =
        unsafe { TcpStream::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)) };
    let target = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, address.port());
    nix::sys::socket::connect(client.as_raw_fd(), &target).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"question").unwrap();
    server.read_exact(&mut [0; 8]).unwrap();
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    let ids = [id(&client), id(&server)];
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert_eq!((client.role(), server.role()), (Role::Client, Role::Server));
    assert_eq!(server.received.whole(), b"question");
    assert_eq!(client.received.whole(), b"answer");
    // The TCP connections below are not the service's.
    assert_eq!(recorded.sockets().count(), 2);
}
