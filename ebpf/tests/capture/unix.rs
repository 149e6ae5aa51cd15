//! Unix stream sockets: their bytes, names and ends.
#![allow(unsafe_code, reason = "sendfile and splice, which std does not have")]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr as Name, UnixListener, UnixStream};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use regress_ebpf::{Address, CloseCause, Direction, EventKind, Role, SocketId, Source, UnixAddress};

use crate::harness::{
    LARGE, MEDIUM, Recorded, Recording, Socket, capture_self, id, random_bytes, require_capture, scaled, source, turn,
};
use crate::transfers::{WAYS, Way, receive_all, send_all};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection through a socket file: the connecting end and the accepted end.
fn pair() -> (UnixStream, UnixStream) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    pair_at(&folder.path().join("socket"))
}

fn pair_at(path: &Path) -> (UnixStream, UnixStream) {
    accepted(&UnixListener::bind(path).expect("a new socket file"), UnixStream::connect(path))
}

fn accepted(listener: &UnixListener, client: std::io::Result<UnixStream>) -> (UnixStream, UnixStream) {
    let client = client.expect("connects");
    let (server, _) = listener.accept().expect("accepts");
    (client, server)
}

fn address(name: &[u8], socket: &UnixStream) -> Address {
    let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("an open socket").ino();
    Address::Unix(UnixAddress { name: name.to_vec().into(), inode })
}

/// Whether the address has this name, of whichever socket.
fn is_named(address: &Address, name: &[u8]) -> bool {
    matches!(address, Address::Unix(unix) if unix.name == name)
}

/// Sends a body of each length each way, and compares both ends' recordings with it.
fn transfer(way: &Way, lengths: &[usize], buffer_bytes: u32) {
    let recording = Recording::start(buffer_bytes);
    let (client, server) = pair();
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    for &length in lengths {
        let request = random_bytes(length, 1 + length as u64);
        let response = random_bytes(length, 2 + length as u64);
        for (from, to, body) in [(&client, &server, &request), (&server, &client, &response)] {
            std::thread::scope(|scope| {
                scope.spawn(|| send_all(from, way, body));
                assert!(receive_all(to, way, body.len()) == *body);
            });
        }
        requests.extend(request);
        responses.extend(response);
    }
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert_eq!([client.role(), server.role()], [Role::Client, Role::Server], "{}", way.name);
    assert!(client.sent.whole() == requests && client.received.whole() == responses, "{}", way.name);
    assert!(server.received.whole() == requests && server.sent.whole() == responses, "{}", way.name);
    assert_eq!([client.closed, server.closed], [Some(CloseCause::Closed); 2], "{}", way.name);
}

#[test]
fn root_unix_every_call_and_size() {
    require_capture!("root_unix_every_call_and_size");
    for way in &WAYS {
        transfer(way, &[1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 300_000], MEDIUM);
    }
}

#[test]
fn root_unix_large_bodies() {
    require_capture!("root_unix_large_bodies");
    for way in [&WAYS[0], &WAYS[1], &WAYS[3]] {
        transfer(way, &[scaled(8 << 20)], LARGE);
    }
}

#[test]
fn root_unix_roles_and_names() {
    require_capture!("root_unix_roles_and_names");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("listens");
    let label = format!("regress-test-{}", std::process::id());
    let hidden = Name::from_abstract_name(&label).unwrap();
    let recording = Recording::start(MEDIUM);
    let listener = UnixListener::bind_addr(&hidden).unwrap();
    let pairs = [pair_at(&path), accepted(&listener, UnixStream::connect_addr(&hidden))];
    let names = [path.as_os_str().as_encoded_bytes().to_vec(), [b"\0", label.as_bytes()].concat()];
    let mut expected = Vec::new();
    for ((mut client, mut server), name) in pairs.into_iter().zip(names) {
        client.write_all(b"question").unwrap();
        server.read_exact(&mut [0; 8]).unwrap();
        let (unnamed, named) = (address(b"", &client), address(&name, &server));
        expected.push((id(&client), Role::Client, unnamed.clone(), named.clone()));
        expected.push((id(&server), Role::Server, named, unnamed));
    }
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    for (id, role, local, peer) in expected {
        assert_eq!(recorded.socket(id).open, Some((role, local, peer, false)));
    }
}

/// The longest path fills the kernel's field; a client may have a name as well, and one that nobody has accepted yet
/// has no inode at the other end.
#[test]
fn root_unix_uncommon_names() {
    require_capture!("root_unix_uncommon_names");
    let folder = tempfile::tempdir().unwrap();
    let room = 107 - folder.path().as_os_str().len() - 1;
    let long = folder.path().join("n".repeat(room));
    let ours = folder.path().join("ours");
    let recording = Recording::start(MEDIUM);
    let listener = UnixListener::bind(&long).unwrap();
    let mut unaccepted = UnixStream::connect(&long).unwrap();
    unaccepted.write_all(b"early").unwrap();
    let bound = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Unix,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::empty(),
        None,
    )
    .unwrap();
    nix::sys::socket::bind(bound.as_raw_fd(), &nix::sys::socket::UnixAddr::new(&ours).unwrap()).unwrap();
    nix::sys::socket::connect(bound.as_raw_fd(), &nix::sys::socket::UnixAddr::new(&long).unwrap()).unwrap();
    let mut bound = UnixStream::from(bound);
    bound.write_all(b"named").unwrap();
    let mut accepted = [listener.accept().unwrap().0, listener.accept().unwrap().0];
    for socket in &mut accepted {
        socket.read_exact(&mut [0; 5]).unwrap();
    }
    let clients = [id(&unaccepted), id(&bound)];
    let servers = [id(&accepted[0]), id(&accepted[1])];
    let recorded = recording.finish();
    let long = long.as_os_str().as_encoded_bytes();
    let (role, _, peer, _) = recorded.socket(clients[0]).open.as_ref().unwrap();
    let nobody = Address::Unix(UnixAddress { name: long.to_vec().into(), inode: 0 });
    assert_eq!((*role, peer), (Role::Client, &nobody));
    let (role, local, ..) = recorded.socket(clients[1]).open.as_ref().unwrap();
    assert!(*role == Role::Client && is_named(local, ours.as_os_str().as_encoded_bytes()), "{role:?} {local:?}");
    for server in servers {
        let (role, local, ..) = recorded.socket(server).open.as_ref().unwrap();
        assert!(*role == Role::Server && is_named(local, long), "{role:?} {local:?}");
    }
}

/// Neither end of a socketpair has a name: who speaks first is the client.
#[test]
fn root_a_socketpair() {
    require_capture!("root_a_socketpair");
    let recording = Recording::start(MEDIUM);
    let (mut one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"question").unwrap();
    one.read_exact(&mut [0; 8]).unwrap();
    one.write_all(b"answer").unwrap();
    other.read_exact(&mut [0; 6]).unwrap();
    let ends = [address(b"", &one), address(b"", &other)];
    let ids = [id(&one), id(&other)];
    drop((one, other));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [one, other] = ids.map(|id| recorded.socket(id));
    assert_eq!(one.open, Some((Role::Server, ends[0].clone(), ends[1].clone(), false)));
    assert_eq!(other.open, Some((Role::Client, ends[1].clone(), ends[0].clone(), false)));
    assert!(one.received.whole() == b"question" && one.sent.whole() == b"answer");
    assert!(other.sent.whole() == b"question" && other.received.whole() == b"answer");
}

#[test]
fn root_unix_half_close_keeps_the_answer() {
    require_capture!("root_unix_half_close_keeps_the_answer");
    let turn = turn();
    let mut capture = capture_self(MEDIUM);
    let mut events = Vec::new();
    let (mut client, mut server) = pair();
    client.write_all(b"question").unwrap();
    let ids = [id(&client), id(&server)];
    client.shutdown(Shutdown::Write).unwrap();
    until(&mut capture, &mut events, |kind| {
        *kind == EventKind::Finished { socket: ids[0], direction: Direction::Sent }
    });
    let mut question = Vec::new();
    server.read_to_end(&mut question).unwrap();
    let answer = random_bytes(50_000, 8);
    server.write_all(&answer).unwrap();
    // The server is gone before the client reads.
    drop(server);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert!(read == answer);
    drop(client);
    capture.drain(&mut events).unwrap();
    drop(turn);
    let recorded = Recorded::of(events);
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert!(client.sent.whole() == b"question" && client.received.whole() == answer);
    assert!(server.received.whole() == b"question" && server.sent.whole() == answer);
    let ends = |socket: &Socket| (socket.sent.finished, socket.received.finished, socket.closed);
    assert_eq!([ends(client), ends(server)], [(true, true, Some(CloseCause::Closed)); 2]);
}

/// Reads events until there is one that is wanted.
fn until(
    capture: &mut regress_ebpf::Capture,
    events: &mut Vec<regress_ebpf::Event>,
    wanted: impl Fn(&EventKind) -> bool,
) {
    let begun = Instant::now();
    while !events.iter().any(|event| wanted(&event.kind)) {
        assert!(begun.elapsed() < PATIENCE, "it does not come: {events:?}");
        capture.next_batch(Duration::from_millis(20), events).expect("the capture goes on");
    }
}

/// A connection ends with the last descriptor of its socket, and that is noticed although nothing else happens.
#[test]
fn root_unix_duplicated_descriptors() {
    require_capture!("root_unix_duplicated_descriptors");
    let turn = turn();
    let mut capture = capture_self(MEDIUM);
    let mut events = Vec::new();
    let (mut client, mut server) = pair();
    client.write_all(b"before").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    let ids = [id(&client), id(&server)];
    let mut duplicate = UnixStream::from(client.as_fd().try_clone_to_owned().unwrap());
    drop(client);
    // Another connection comes and goes meanwhile: its end is told, this one's is not.
    let (mut other, _accepted) = pair();
    other.write_all(b"x").unwrap();
    let other_id = id(&other);
    drop(other);
    until(&mut capture, &mut events, |kind| is_close(kind, other_id));
    assert!(!events.iter().any(|event| is_close(&event.kind, ids[0])), "{events:?}");
    duplicate.write_all(b"after").unwrap();
    drop(duplicate);
    until(&mut capture, &mut events, |kind| is_close(kind, ids[0]));
    assert_eq!(server.read(&mut [0; 9]).unwrap(), 5);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    capture.drain(&mut events).unwrap();
    drop(turn);
    let recorded = Recorded::of(events);
    assert_eq!(recorded.socket(ids[0]).sent.whole(), b"beforeafter");
    let server = recorded.socket(ids[1]);
    assert!(server.received.whole() == b"beforeafter" && server.received.finished);
    assert_eq!(server.closed, None);
}

fn is_close(kind: &EventKind, id: SocketId) -> bool {
    matches!(kind, EventKind::Close { socket, .. } if *socket == id)
}

/// Closing with unread data resets the connection.
#[test]
fn root_unix_reset_by_closing_early() {
    require_capture!("root_unix_reset_by_closing_early");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"xy").unwrap();
    server.read_exact(&mut [0]).unwrap();
    server.write_all(b"answer").unwrap();
    let ids = [id(&client), id(&server)];
    drop(server);
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(client);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let client = recorded.socket(ids[0]);
    assert_eq!((client.received.whole(), client.closed), (b"answer".to_vec(), Some(CloseCause::Reset)));
}

#[test]
fn root_unix_peeked_bytes_count_once() {
    require_capture!("root_unix_peeked_bytes_count_once");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    client.write_all(b"peeked").unwrap();
    let mut seen = [0; 6];
    for _ in 0..3 {
        assert_eq!(recv(server.as_raw_fd(), &mut seen, MsgFlags::MSG_PEEK), Ok(6));
    }
    server.read_exact(&mut seen).unwrap();
    let server = id(&server);
    assert_eq!(recording.finish().socket(server).received.whole(), b"peeked");
}

/// A file that is sent passes no memory of the process: the gap has its place and its length.
#[test]
fn root_unix_sent_files_are_gaps() {
    require_capture!("root_unix_sent_files_are_gaps");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    let body = random_bytes(40_000, 9);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&body).unwrap();
    server.write_all(b"head").unwrap();
    let mut offset = 0;
    while offset < 40_000 {
        let left = 40_000 - usize::try_from(offset).unwrap();
        // SAFETY: two descriptors, and an offset that outlives the call.
        let moved = unsafe { libc::sendfile(server.as_raw_fd(), file.as_raw_fd(), &raw mut offset, left) };
        assert!(moved > 0, "{}", std::io::Error::last_os_error());
    }
    server.write_all(b"tail").unwrap();
    let mut read = vec![0; 40_008];
    client.read_exact(&mut read).unwrap();
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert!(client.received.whole() == read);
    let pieces = [(0, b"head".to_vec()), (40_004, b"tail".to_vec())];
    assert_eq!((&server.sent.pieces[..], server.sent.missing), (&pieces[..], 40_000));
}

/// The same of what is spliced from a socket, where the kernel has a hook for it.
#[test]
fn root_unix_spliced_bytes() {
    require_capture!("root_unix_spliced_bytes");
    let recording = Recording::start(MEDIUM);
    let (mut client, mut server) = pair();
    let (reader, writer) = std::io::pipe().unwrap();
    server.write_all(b"spliced").unwrap();
    // SAFETY: two descriptors and no offsets.
    let moved = unsafe { libc::splice(client.as_raw_fd(), ptr::null_mut(), writer.as_raw_fd(), ptr::null_mut(), 7, 0) };
    assert_eq!(moved, 7, "{}", std::io::Error::last_os_error());
    drop((reader, writer));
    server.write_all(b"read").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    let client = id(&client);
    let recorded = recording.finish();
    let stream = &recorded.socket(client).received;
    let unseen = if source() == Source::Socket { 0 } else { 7 };
    assert_eq!((&stream.pieces[..], stream.missing), (&[(unseen, b"read".to_vec())][..], unseen));
}

/// What was said before belongs to nobody; the rest begins where it is seen.
#[test]
fn root_unix_connections_found_open() {
    require_capture!("root_unix_connections_found_open");
    let turn = turn();
    let (mut client, mut server) = pair();
    client.write_all(b"before").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    let recording = Recording::start_in(turn, MEDIUM);
    client.write_all(b"after").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    let ids = [id(&client), id(&server)];
    drop((client, server));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert!(client.joined() && server.joined());
    assert_eq!([client.role(), server.role()], [Role::Client, Role::Server]);
    assert_eq!((client.sent.whole(), server.received.whole()), (b"after".to_vec(), b"after".to_vec()));
    assert_eq!([client.closed, server.closed], [Some(CloseCause::Closed); 2]);
}

/// Sockets come and go at the same places in the kernel's memory, and are never taken for one another.
#[test]
fn root_unix_many_short_connections() {
    require_capture!("root_unix_many_short_connections");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let recording = Recording::start(MEDIUM);
    let listener = UnixListener::bind(&path).unwrap();
    let mut said = Vec::new();
    for number in 0..scaled(2000) {
        let (mut client, mut server) = accepted(&listener, UnixStream::connect(&path));
        let question = format!("question {number}").into_bytes();
        client.write_all(&question).unwrap();
        assert!(receive_all(&server, &WAYS[0], question.len()) == question);
        server.write_all(b"answer").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
        said.push((id(&client), id(&server), question));
    }
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    for (client, server, question) in said {
        let [client, server] = [client, server].map(|id| recorded.socket(id));
        assert!(client.sent.whole() == question && server.received.whole() == question);
        assert!(client.received.whole() == b"answer" && server.sent.whole() == b"answer");
        assert_eq!([client.closed, server.closed], [Some(CloseCause::Closed); 2]);
    }
}
