use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    path::PathBuf,
    process::Command,
};

use crate::{
    harness::{
        Client, Finished, ForNobody, Need, Process, Recording, Report, free_port, open_to_all, regress, require,
    },
    services::source,
};

#[test]
fn nothing_gets_out_as_root() {
    if require("sealed::root", &[Need::Python, Need::Sandbox, Need::Root]) {
        assert_sealed(regress());
    }
}

#[test]
fn nothing_gets_out_as_nobody() {
    if require("sealed::nobody", &[Need::Python, Need::Sandbox, Need::Nobody]) {
        let copy = ForNobody::copy();
        assert_sealed(copy.regress());
    }
}

/// Where the probe sends to, and who listens there on the host.
struct Outside {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    unix: UnixListener,
    abstract_name: String,
}

impl Outside {
    /// Listen on loopback, IPv4 and IPv6, and on the host's own address if it has one.
    fn listen() -> Outside {
        let mut addresses: Vec<IpAddr> = vec!["127.0.0.1".parse().expect("an address")];
        addresses.extend(own_address());
        addresses.extend(TcpListener::bind("[::1]:0").ok().map(|_| "::1".parse::<IpAddr>().expect("an address")));
        let tcp: Vec<_> = addresses.iter().map(|ip| TcpListener::bind((*ip, 0)).expect("a free port")).collect();
        let udp: Vec<_> = addresses.iter().map(|ip| UdpSocket::bind((*ip, 0)).expect("a free port")).collect();
        let abstract_name = format!("regress-test-{}-{}", std::process::id(), free_port());
        let name = UnixAddr::from_abstract_name(&abstract_name).expect("a short name");
        let unix = UnixListener::bind_addr(&name).expect("the name is new");
        tcp.iter().for_each(|listener| listener.set_nonblocking(true).expect("a socket of our own"));
        udp.iter().for_each(|socket| socket.set_nonblocking(true).expect("a socket of our own"));
        unix.set_nonblocking(true).expect("a socket of our own");
        Outside { tcp, udp, unix, abstract_name }
    }

    /// These and some that are far away, as the probe reads them.
    fn targets(&self) -> String {
        let pair = |address: SocketAddr| serde_json::json!([address.ip().to_string(), address.port()]);
        let local = |address: std::io::Result<SocketAddr>| pair(address.expect("a bound socket has an address"));
        let mut tcp: Vec<_> = self.tcp.iter().map(|listener| local(listener.local_addr())).collect();
        let mut udp: Vec<_> = self.udp.iter().map(|socket| local(socket.local_addr())).collect();
        for far in ["198.51.100.7:80", "10.9.8.7:8080", "169.254.169.254:80", "[2001:db8::7]:80"] {
            tcp.push(pair(far.parse().expect("an address")));
        }
        for far in ["198.51.100.7:9999", "10.9.8.7:53", "[2001:db8::7]:123", "224.0.0.251:5353"] {
            udp.push(pair(far.parse().expect("an address")));
        }
        serde_json::json!({ "tcp": tcp, "udp": udp, "abstract": self.abstract_name }).to_string()
    }

    fn assert_untouched(&self) {
        for listener in &self.tcp {
            let accepted = listener.accept().map(|(_, from)| from).map_err(|error| error.kind());
            assert_eq!(accepted, Err(ErrorKind::WouldBlock), "{listener:?}");
        }
        for socket in &self.udp {
            let received = socket.recv_from(&mut [0; 64]).map_err(|error| error.kind());
            assert_eq!(received, Err(ErrorKind::WouldBlock), "{socket:?}");
        }
        let accepted = self.unix.accept().map(drop).map_err(|error| error.kind());
        assert_eq!(accepted, Err(ErrorKind::WouldBlock), "the abstract socket");
    }
}

/// The address from which the host would send into the world; nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.7:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Record the probe at rest, replay it trying everything.
fn assert_sealed(replay: Command) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    open_to_all(folder.path());
    let in_folder = |name: &str| folder.path().join(name);
    let port = free_port();
    let outside = Outside::listen();
    let command = system_python(&in_folder("probe.py"));
    let cassettes = in_folder("cassettes");
    record_health(&cassettes, port, &command);
    every_file_readable(&cassettes);

    std::fs::write(in_folder("targets.json"), outside.targets()).expect("the folder can be written");
    let (finished, report) = replay_probe(replay, &in_folder, port, &command);
    assert_ne!(finished.code, 0, "calls that nobody recorded\n{}{}", finished.stdout, finished.stderr);
    outside.assert_untouched();

    let found = std::fs::read(in_folder("found.json")).unwrap_or_else(|error| panic!("{error}: {}", finished.stderr));
    let found: serde_json::Value = serde_json::from_slice(&found).expect("the probe writes JSON");
    assert_eq!(found["interfaces"], serde_json::json!(["lo"]), "{found:#}");
    for closed in ["raw", "packet"] {
        assert_eq!(found[closed], "PermissionError", "{found:#}");
    }
    assert_ne!(found["vsock"], "done", "{found:#}");
    assert_eq!(found["abstract"], "ConnectionRefusedError", "{found:#}");
    assert_eq!(found["dns"], "gaierror", "{found:#}");
    for (attempt, outcome) in found.as_object().expect("an object") {
        let answered = outcome.as_str().is_some_and(|outcome| outcome.starts_with("HTTP/"));
        assert!(!answered || outcome == "HTTP/1.1 502 Bad Gateway", "{attempt} got {outcome}");
    }
    // The journal tells about the attempts.
    let novel = report.outcomes.iter().flat_map(|outcome| &outcome.differences);
    let novel = novel.filter(|difference| difference.place == "downstream" && difference.kind == "novel").count();
    let tried = found.as_object().expect("an object").keys().filter(|name| name.starts_with("tcp ")).count();
    assert!(novel >= tried, "{novel} of at least {tried} attempts are reported: {report:#?}");
}

/// The probe by an interpreter, and at a place, that every user can reach.
fn system_python(copy: &std::path::Path) -> Vec<String> {
    std::fs::copy(source("probe.py"), copy).expect("the folder can be written");
    let interpreter =
        ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| PathBuf::from(path).exists());
    let interpreter = interpreter.map_or_else(crate::services::python, str::to_owned);
    vec![interpreter, copy.display().to_string()]
}

fn record_health(cassettes: &std::path::Path, port: u16, command: &[String]) {
    let mut arguments = vec!["--via".to_owned(), "proxy".into(), "--port".into(), port.to_string(), "--".into()];
    arguments.extend_from_slice(command);
    let recording = Recording::start(cassettes, arguments, [("PORT", port.to_string())]);
    recording.wait_for_service("probe listens", port);
    assert_eq!(Client::new(port).get("/health").response, "ok\n");
    recording.stop().expect_code(0);
}

fn every_file_readable(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.expect("the folder can be read");
        let mode = if entry.file_type().is_dir() { 0o777 } else { 0o666 };
        std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode)).expect("files of our own");
    }
}

fn replay_probe(
    mut replay: Command,
    in_folder: &dyn Fn(&str) -> PathBuf,
    port: u16,
    command: &[String],
) -> (Finished, Report) {
    let report = in_folder("report.json");
    replay.arg("replay").arg(in_folder("cassettes")).arg("--report").arg(format!("json={}", report.display()));
    replay.arg("--").args(command).env("PORT", port.to_string());
    replay.env("PROBE", in_folder("targets.json")).env("FOUND", in_folder("found.json"));
    let finished = Process::start(&mut replay).finish();
    assert!(report.exists(), "no report\n{}{}", finished.stdout, finished.stderr);
    (finished, Report::read(&report))
}
