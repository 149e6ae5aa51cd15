//! Connections found open, forks, threads, attaching and detaching.
#![allow(unsafe_code, reason = "fork(2)")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use regress_ebpf::{Capture, CloseCause, EventKind, Options, Role, Unit};

use crate::harness::{
    LARGE, MEDIUM, Recorded, Recording, Socket, capture_self, id, pair, require_capture, scaled, source, turn,
};
use crate::shell::Shell;

#[test]
fn root_connections_found_open() {
    require_capture!("root_connections_found_open");
    let turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"before").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();

    let recording = Recording::start_in(turn, MEDIUM);
    client.write_all(b"after").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    let ids = [id(&client), id(&server)];
    let (near, far) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let [client, server] = ids.map(|id| recorded.socket(id));
    assert_eq!(client.open, Some((Role::Client, near.into(), far.into(), true)));
    assert_eq!(server.open, Some((Role::Server, far.into(), near.into(), true)));
    // Positions count from the first byte seen.
    assert_eq!(client.sent.whole(), b"after");
    assert_eq!(server.received.whole(), b"after");
    assert_eq!([client.closed, server.closed], [Some(CloseCause::Closed); 2]);
    let first = recorded.events.iter().take_while(|e| matches!(e.kind, EventKind::Open { joined: true, .. })).count();
    assert!(first >= 2, "found connections come first");
}

/// An idle connection that was there before, and that its peer ends without a further byte.
#[test]
fn root_the_end_of_a_found_connection() {
    require_capture!("root_the_end_of_a_found_connection");
    let turn = turn();
    let (client, server) = pair();
    let server_id = id(&server);
    let recording = Recording::start_in(turn, MEDIUM);
    nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })
        .unwrap();
    drop(client);
    let recorded = recording.finish();
    assert_eq!(recorded.socket(server_id).closed, Some(CloseCause::Reset));
    drop(server);
}

/// Connections come and go and are used all the time while the capture attaches: each is recorded honestly.
#[test]
fn root_attaching_under_load() {
    require_capture!("root_attaching_under_load");
    let turn = turn();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let recorded = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                let mut client = TcpStream::connect(address).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                for _ in 0..4 {
                    // Eight bytes that tell their place in the stream.
                    client.write_all(&number.to_be_bytes()).unwrap();
                    let mut got = [0; 8];
                    server.read_exact(&mut got).unwrap();
                    server.write_all(&got).unwrap();
                    client.read_exact(&mut got).unwrap();
                    number += 1;
                }
            }
        });
        for _ in 0..5 {
            drop(capture_self(MEDIUM));
        }
        let mut capture = capture_self(LARGE);
        let mut events = Vec::new();
        while events.len() < scaled(20_000) {
            capture.next_batch(Duration::from_secs(5), &mut events).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
        capture.drain(&mut events).unwrap();
        Recorded::of(events)
    });
    drop(turn);
    recorded.assert_nothing_lost();
    let mut whole = 0;
    for (_, socket) in recorded.sockets() {
        let Some((role, local, _, joined)) = &socket.open else { continue };
        assert_eq!(*role == Role::Server, *local == address.into(), "the role by the listener");
        let (sent, received) = (socket.sent.whole(), socket.received.whole());
        if !*joined && socket.closed.is_some() {
            assert_eq!((sent.len(), received.len()), (32, 32), "a connection of which all was seen");
            assert!(sent == received, "the echo");
            whole += 1;
        }
    }
    assert!(whole > scaled(100), "{whole}");
}

#[test]
fn root_threads_are_born_and_go() {
    require_capture!("root_threads_are_born_and_go");
    let recording = Recording::start(MEDIUM);
    let parent = nix::unistd::gettid().as_raw().unsigned_abs();
    let child = std::thread::spawn(|| nix::unistd::gettid().as_raw().unsigned_abs()).join().unwrap();
    // The thread's exit is recorded when it has left the kernel's table, which join does not wait for.
    while std::path::Path::new(&format!("/proc/self/task/{child}")).exists() {
        std::thread::yield_now();
    }
    let recorded = recording.finish();
    let process = std::process::id();
    let born = recorded.events.iter().position(|e| match e.kind {
        EventKind::Born { child: unit } => {
            unit == Unit::thread(process, child) && e.unit == Some(Unit::thread(process, parent))
        }
        _ => false,
    });
    let gone =
        recorded.events.iter().position(|e| e.kind == EventKind::Gone && e.unit == Some(Unit::thread(process, child)));
    assert!(born.expect("born") < gone.expect("gone"));
}

#[test]
fn root_a_forked_child_is_followed() {
    require_capture!("root_a_forked_child_is_followed");
    let recording = Recording::start(MEDIUM);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // SAFETY: the child only makes system calls through std's socket types and leaves by _exit.
    let child = match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let spoke = TcpStream::connect(address).and_then(|mut stream| stream.write_all(b"child"));
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(i32::from(spoke.is_err())) }
        }
        ForkResult::Parent { child } => child,
    };
    let (mut server, peer) = listener.accept().unwrap();
    let mut said = Vec::new();
    server.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"child");
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let child = child.as_raw().unsigned_abs();
    assert!(recorded.events.iter().any(|e| matches!(e.kind, EventKind::Born { child: unit } if unit.process == child)));
    assert!(recorded.events.iter().any(|e| e.kind == EventKind::Gone && e.unit.is_some_and(|u| u.process == child)));
    let (_, socket) = recorded
        .sockets()
        .find(|(_, s)| s.open.as_ref().is_some_and(|(role, local, ..)| *role == Role::Client && *local == peer.into()))
        .expect("the child's connection");
    assert_eq!(socket.sent.whole(), b"child");
}

/// A program started by the followed process is followed through its exec.
#[test]
fn root_a_started_program_is_followed() {
    require_capture!("root_a_started_program_is_followed");
    let recording = Recording::start(MEDIUM);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo question >&3; head -n1 <&3");
    let program = std::process::Command::new("bash").args(["-c", &script]).stdout(std::process::Stdio::piped()).spawn();
    let (mut server, peer) = listener.accept().unwrap();
    server.read_exact(&mut [0; 9]).unwrap();
    server.write_all(b"answer\n").unwrap();
    drop(server);
    let output = program.unwrap().wait_with_output().unwrap();
    assert_eq!(output.stdout, b"answer\n");
    let recorded = recording.finish();
    recorded.assert_nothing_lost();
    let (_, socket) = recorded
        .sockets()
        .find(|(_, s)| s.open.as_ref().is_some_and(|(role, local, ..)| *role == Role::Client && *local == peer.into()))
        .expect("the program's connection");
    assert_eq!(socket.sent.whole(), b"question\n");
    assert_eq!(socket.received.whole(), b"answer\n");
}

/// A followed process that becomes another program goes on being followed, connections and all.
#[test]
fn root_a_process_that_becomes_another_program() {
    require_capture!("root_a_process_that_becomes_another_program");
    let turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut shell = Shell::start();
    let mut end = shell.connect(3, &listener);
    let options =
        Options { pids: vec![shell.id()], source: Some(source()), buffer_bytes: Some(MEDIUM), ..Options::default() };
    let mut capture = Capture::start(options).expect("capture starts");
    shell.run("echo old >&3");
    shell.exec();
    shell.run("echo new >&3");
    let mut later = shell.connect(4, &listener);
    shell.run("(echo child >&4)");
    end.read_exact(&mut [0; 8]).unwrap();
    later.read_exact(&mut [0; 6]).unwrap();
    let mut events = Vec::new();
    capture.drain(&mut events).unwrap();
    drop(turn);
    let recorded = Recorded::of(events);
    recorded.assert_nothing_lost();
    let said = |peer: SocketAddr| {
        let of_peer = |(_, s): &(_, &Socket)| s.open.as_ref().is_some_and(|(_, local, ..)| *local == peer.into());
        recorded.sockets().find(of_peer).expect("recorded").1.sent.whole()
    };
    assert_eq!(said(end.peer_addr().unwrap()), b"old\nnew\n");
    assert_eq!(said(later.peer_addr().unwrap()), b"child\n");
}

/// A stranger's traffic is none of ours.
#[test]
fn root_other_processes_are_not_followed() {
    require_capture!("root_other_processes_are_not_followed");
    let turn = turn();
    let mut idle = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let mut capture = Capture::start(Options {
        pids: vec![idle.id()],
        source: Some(source()),
        buffer_bytes: Some(MEDIUM),
        ..Options::default()
    })
    .expect("capture starts");
    let (mut client, mut server) = pair();
    client.write_all(b"ours").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    drop((client, server));
    let mut events = Vec::new();
    capture.drain(&mut events).unwrap();
    drop(turn);
    assert_eq!(events, []);
    idle.kill().unwrap();
    idle.wait().unwrap();
}

#[test]
fn root_an_added_process_is_followed() {
    require_capture!("root_an_added_process_is_followed");
    let turn = turn();
    let (client, server) = pair();
    let mut capture = Capture::start(Options {
        pids: Vec::new(),
        source: Some(source()),
        buffer_bytes: Some(MEDIUM),
        ..Options::default()
    })
    .expect("capture starts");
    let mut events = Vec::new();
    capture.next_batch(Duration::ZERO, &mut events).unwrap();
    assert_eq!(events, []);
    capture.add_process(std::process::id()).unwrap();
    (&client).write_all(b"x").unwrap();
    capture.drain(&mut events).unwrap();
    drop(turn);
    let recorded = Recorded::of(events);
    assert!(recorded.socket(id(&client)).joined() && recorded.socket(id(&server)).joined());
    assert_eq!(recorded.socket(id(&client)).sent.whole(), b"x");
}

/// A connection accepted after the programs were there, and used before its process was followed.
#[test]
fn root_a_process_added_in_the_middle() {
    require_capture!("root_a_process_added_in_the_middle");
    let turn = turn();
    let mut capture = Capture::start(Options {
        pids: Vec::new(),
        source: Some(source()),
        buffer_bytes: Some(MEDIUM),
        ..Options::default()
    })
    .expect("capture starts");
    let (mut client, mut server) = pair();
    client.write_all(b"before").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    let (_idle_client, mut idle_server) = pair();
    capture.add_process(std::process::id()).unwrap();
    client.write_all(b"after").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    idle_server.write_all(b"first").unwrap();
    let mut events = Vec::new();
    capture.drain(&mut events).unwrap();
    drop(turn);
    let recorded = Recorded::of(events);
    let [client, server, idle] = [&client, &server, &idle_server].map(|socket| recorded.socket(id(socket)));
    assert!(client.joined() && server.joined());
    assert_eq!((client.role(), server.role()), (Role::Client, Role::Server));
    assert_eq!((client.sent.whole(), server.received.whole()), (b"after".to_vec(), b"after".to_vec()));
    assert!(!idle.joined(), "all of it was seen");
    assert_eq!(idle.sent.whole(), b"first");
}

#[test]
fn root_the_last_event_of_an_idle_service_arrives() {
    require_capture!("root_the_last_event_of_an_idle_service_arrives");
    let turn = turn();
    let mut capture = capture_self(MEDIUM);
    let (mut client, _server) = pair();
    let mut events = Vec::new();
    // Whatever comes, comes without anything further happening.
    client.write_all(b"x").unwrap();
    let sent = |events: &[regress_ebpf::Event]| {
        events.iter().any(|e| matches!(&e.kind, EventKind::Data { bytes, .. } if bytes[..] == *b"x"))
    };
    while !sent(&events) {
        let before = events.len();
        capture.next_batch(Duration::from_secs(10), &mut events).unwrap();
        assert!(events.len() > before, "nothing came");
    }
    drop(turn);
}

/// The letter of proc_pid_stat(5): `T` for a process that is stopped.
fn state(process: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// What the caller launched waits at each of its programs until that has been looked into; others are never stopped.
#[test]
fn root_a_launched_program_waits_until_it_is_known() {
    require_capture!("root_a_launched_program_waits_until_it_is_known");
    let _turn = turn();
    for is_launched in [true, false] {
        let mut shell = Shell::start();
        shell.run("true");
        let pid = shell.id();
        let launched = Some(pid).filter(|_| is_launched);
        let options = Options {
            pids: vec![pid],
            source: Some(source()),
            buffer_bytes: Some(MEDIUM),
            launched,
            ..Options::default()
        };
        let mut capture = Capture::start(options).expect("capture starts");
        let mut events = Vec::new();
        for _ in 0..2 {
            shell.exec();
            if is_launched {
                while state(pid) != Some('T') {
                    std::thread::yield_now();
                }
                while state(pid) == Some('T') {
                    capture.next_batch(Duration::from_millis(100), &mut events).expect("the capture goes on");
                }
            }
            // Its children are not held, whoever else looks at them.
            assert_eq!(shell.run("/bin/echo goes on"), "goes on\n");
        }
        capture.drain(&mut events).expect("the capture drains");
        Recorded::of(events).assert_nothing_lost();
    }
}
