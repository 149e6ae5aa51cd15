//! What the service does when this executable is the service.
#![allow(unsafe_code, reason = "a socket family that std does not know")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

pub fn run(scenario: &str, arguments: &[String]) -> ExitCode {
    match scenario {
        "connect" => arguments.iter().for_each(|address| connect(address)),
        "hold" => hold(&arguments[0], &arguments[1..]),
        "send" => arguments.iter().for_each(|address| send(address)),
        "own" => own_listeners(),
        "serve" => serve(&arguments[0]),
        "identity" => identity(),
        "resolve" => arguments.iter().for_each(|name| resolve(name)),
        "ask" => arguments.iter().for_each(|server| ask(server)),
        "become" => become_nobody(),
        "families" => families(),
        "unix" => arguments.iter().for_each(|path| unix(path)),
        "reuse" => reuse(&arguments[0]),
        "shout" => shout(),
        "wait" => wait(),
        "exit" => return ExitCode::from(arguments[0].parse::<u8>().unwrap()),
        other => panic!("no scenario {other}"),
    }
    ExitCode::SUCCESS
}

/// Prints what each address answers, and who the kernel says that was.
fn connect(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    match TcpStream::connect(address) {
        Ok(mut stream) => {
            assert_eq!(stream.peer_addr().unwrap(), address);
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            println!("{address}: {}", answer.lines().last().unwrap_or_default());
        }
        Err(error) => println!("{address}: {:?}", error.kind()),
    }
}

/// Takes one connection, and says on it that it holds one to each address, on which it says nothing.
fn hold(serves: &str, addresses: &[String]) {
    let listener = TcpListener::bind(serves).unwrap();
    let _ready = TcpStream::connect("10.1.1.1:1111");
    let (mut asks, _) = listener.accept().unwrap();
    let _held: Vec<TcpStream> = addresses.iter().map(|address| TcpStream::connect(address).unwrap()).collect();
    asks.write_all(b"held").unwrap();
    drop(asks.read(&mut [0]));
}

fn send(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).unwrap().send_to(b"hello", address).unwrap();
}

/// Talks to itself over TCP and UDP, on loopback and on an address of its own.
fn own_listeners() {
    for bind in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "10.9.8.7:0", "0.0.0.0:80"] {
        let listener = TcpListener::bind(bind).unwrap();
        let mut address = listener.local_addr().unwrap();
        if address.ip().is_unspecified() {
            address.set_ip("127.0.0.1".parse().unwrap());
        }
        let mut here = TcpStream::connect(address).unwrap();
        let (mut there, _) = listener.accept().unwrap();
        there.write_all(b"!").unwrap();
        here.read_exact(&mut [0]).unwrap();
    }
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let server = UdpSocket::bind(bind).unwrap();
        let client = UdpSocket::bind(bind).unwrap();
        client.send_to(b"?", server.local_addr().unwrap()).unwrap();
        let (_, from) = server.recv_from(&mut [0]).unwrap();
        server.send_to(b"!", from).unwrap();
        client.recv_from(&mut [0]).unwrap();
    }
    println!("all of my own");
}

/// Serves until it is killed; says hello to a downstream first, which tells the test that it is about to listen.
fn serve(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    let _ready = TcpStream::connect("10.1.1.1:1111");
    for stream in listener.incoming() {
        stream.unwrap().write_all(b"the service itself").unwrap();
    }
}

fn identity() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for line in status
        .lines()
        .filter(|line| ["Uid:", "CapEff:", "NoNewPrivs:", "SigBlk:"].iter().any(|key| line.starts_with(key)))
    {
        println!("{line}");
    }
    let open =
        fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| fs::read_link(entry.path()).unwrap_or_default());
    for path in open {
        println!("descriptor: {}", path.display());
    }
    println!("unmount: {:?}", nix::mount::umount("/etc/resolv.conf").unwrap_err());
    let flags = nix::sched::CloneFlags::CLONE_NEWUSER;
    nix::sched::unshare(flags).unwrap();
    println!("deeper: {:?}", nix::mount::umount("/etc/resolv.conf").unwrap_err());
}

fn resolve(name: &str) {
    match (name, 80).to_socket_addrs() {
        Ok(addresses) => {
            let mut addresses: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
            addresses.sort();
            addresses.dedup();
            println!("{name}: {}", addresses.join(" "));
        }
        Err(_) => println!("{name}: unknown"),
    }
}

/// Asks one server for the address of `db`, on a socket that takes an answer from anywhere.
fn ask(server: &str) {
    let server: SocketAddr = server.parse().unwrap();
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.send_to(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x02db\0\0\x01\0\x01", server).unwrap();
    let mut reply = [0; 512];
    let (length, from) = socket.recv_from(&mut reply).unwrap();
    assert_eq!(from, server);
    println!("{:?}", &reply[length - 4..length]);
}

fn become_nobody() {
    nix::unistd::setgroups(&[]).unwrap();
    nix::unistd::setgid(65534.into()).unwrap();
    nix::unistd::setuid(65534.into()).unwrap();
    println!("uid {}", nix::unistd::getuid());
}

fn families() {
    for family in [libc::AF_VSOCK, libc::AF_UNIX, libc::AF_NETLINK] {
        // SAFETY: socket(2) takes no pointer.
        let fd = unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) };
        println!(
            "family {family}: {}",
            if fd < 0 { std::io::Error::last_os_error().kind().to_string() } else { "ok".into() }
        );
    }
}

fn unix(path: &str) {
    match UnixStream::connect(path) {
        Ok(_) => println!("{path}: reached"),
        Err(error) => println!("{path}: {:?}", error.kind()),
    }
}

/// Two connections from one local port, the first closed by the other side: the port is in TIME_WAIT over there.
fn reuse(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    for _ in 0..2 {
        let socket = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::empty(),
            None,
        )
        .unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReuseAddr, &true).unwrap();
        let from = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 40_000);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        nix::sys::socket::bind(fd, &from).unwrap();
        nix::sys::socket::connect(fd, &nix::sys::socket::SockaddrStorage::from(address)).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        println!("{}", answer.lines().last().unwrap_or_default());
    }
    println!("repeated: {}", counter("TCPSynRetrans"));
}

/// A counter of `/proc/net/netstat`: a line of names, then a line of values.
fn counter(name: &str) -> String {
    let table = fs::read_to_string("/proc/self/net/netstat").unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let mut pairs = lines.chunks(2).flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')));
    pairs.find(|(known, _)| *known == name).unwrap().1.to_owned()
}

fn shout() {
    let mut out = std::io::stdout();
    for number in 0..20_000 {
        writeln!(out, "line {number}").unwrap();
    }
    eprintln!("the last words");
}

fn wait() {
    println!("waiting");
    let _ready = TcpStream::connect("10.1.1.1:1111");
    loop {
        std::thread::park();
    }
}
