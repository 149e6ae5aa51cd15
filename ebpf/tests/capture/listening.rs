//! Who listens on a port: masters and workers, IPv6, MPTCP, network namespaces, nobody.
#![allow(unsafe_code, reason = "socket(2) for a protocol that nix does not name")]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{Backlog, SockaddrIn, bind, listen};
use regress_ebpf::{Capture, Error, Options, Role, listening_on};

use crate::harness::{MEDIUM, Recorded, id, require_capture, source, turn};

fn this() -> u32 {
    std::process::id()
}

/// A process that inherits the listener and does nothing with it.
struct Holder(Child);

impl Holder {
    fn of(listener: &TcpListener) -> Holder {
        let inherited: OwnedFd = listener.try_clone().expect("a descriptor more").into();
        Holder(Command::new("sleep").arg("600").stdin(Stdio::from(inherited)).spawn().expect("there is sleep"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn root_every_holder_of_the_listener_is_found() {
    require_capture!("root_every_holder_of_the_listener_is_found");
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listening_on(&[port]).unwrap(), [this()], "{address}");
        let worker = Holder::of(&listener);
        let mut both = vec![this(), worker.0.id()];
        both.sort_unstable();
        assert_eq!(listening_on(&[port]).unwrap(), both, "{address}");
        drop(listener);
        assert_eq!(listening_on(&[port]).unwrap(), [worker.0.id()], "{address}");
    }
}

#[test]
fn root_a_port_on_which_nobody_listens() {
    require_capture!("root_a_port_on_which_nobody_listens");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let other = connected.local_addr().unwrap().port();
    for ports in [vec![other], vec![port, other]] {
        let error = listening_on(&ports).unwrap_err();
        assert!(matches!(error, Error::NobodyListens { port } if port == other), "{error:?}");
        assert!(error.hint().is_some());
    }
}

fn mptcp_listener() -> Option<TcpListener> {
    // SAFETY: socket(2) takes three integers; a non-negative result is a descriptor that nobody else owns.
    let made = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_MPTCP) };
    if made < 0 {
        return None;
    }
    // SAFETY: see above.
    let socket = unsafe { OwnedFd::from_raw_fd(made) };
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).ok()?;
    listen(&socket, Backlog::new(8).ok()?).ok()?;
    Some(TcpListener::from(socket))
}

/// Go listens by MPTCP: its listeners are found, and the connections that they accepted before have the right role.
#[test]
fn root_an_mptcp_listener_and_its_old_connections() {
    require_capture!("root_an_mptcp_listener_and_its_old_connections");
    let Some(listener) = mptcp_listener() else {
        assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "this kernel has no MPTCP");
        println!("skipped: root_an_mptcp_listener_and_its_old_connections: this kernel has no MPTCP");
        return;
    };
    let address = listener.local_addr().unwrap();
    assert_eq!(listening_on(&[address.port()]).unwrap(), [this()]);
    let turn = turn();
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    let options =
        Options { pids: vec![this()], source: Some(source()), buffer_bytes: Some(MEDIUM), ..Options::default() };
    let mut capture = Capture::start(options).unwrap();
    let mut events = Vec::new();
    capture.drain(&mut events).unwrap();
    drop(turn);
    let recorded = Recorded::of(events);
    assert_eq!(recorded.socket(id(&client)).role(), Role::Client);
    assert_eq!(recorded.socket(id(&server)).role(), Role::Server);
    assert!(recorded.socket(id(&server)).joined());
}

/// What `listen_and_wait` prints before its port.
const LISTENING: &str = "listening on ";

/// This binary in a network namespace of its own, with a listener there.
fn holder_elsewhere() -> (Holder, u16) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "listening::listen_and_wait", "--ignored", "--nocapture"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    // SAFETY: unshare(2) is a plain system call, fit for the time between fork and exec.
    unsafe { command.pre_exec(|| Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?)) };
    let mut child = command.spawn().expect("this binary runs");
    let said = BufReader::new(child.stdout.take().expect("piped"));
    let port = said.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once(LISTENING)?;
        port.trim().parse().ok()
    });
    (Holder(child), port.expect("it prints its port"))
}

#[test]
#[ignore = "run by holder_elsewhere, in a network namespace"]
fn listen_and_wait() {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    println!("{LISTENING}{}", listener.local_addr().expect("bound").port());
    // Until whoever started this is gone.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn root_a_listener_in_another_network_namespace() {
    require_capture!("root_a_listener_in_another_network_namespace");
    let (holder, port) = holder_elsewhere();
    let found = listening_on(&[port]).unwrap();
    assert_eq!(found, [holder.0.id()]);
    let here = TcpListener::bind(("127.0.0.1", port));
    let Ok(here) = here else { return };
    let error = listening_on(&[port]).unwrap_err();
    let Error::SeveralListen { holders, .. } = &error else { panic!("{error:?}") };
    assert_eq!(holders.len(), 2);
    assert!(error.hint().unwrap().contains("--pid"));
    drop(here);
}
