use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
};

use regress_cassettes::Confidence;
use tempfile::TempDir;

use crate::{
    harness::{
        Client, Corpus, Finished, Need, Process, Recording, cgroup_hierarchy, free_port, http, in_network_of, regress,
        require,
    },
    services::{python, source},
};

/// Connections that were open before: idle, in the middle of a request, in the middle of a response. What was under
/// way is no entry; everything after it is whole and has its owner.
#[test]
fn pools_opened_before_are_joined_at_the_next_message() {
    if !require("attach::pools", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let downstream = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = free_port();
    let service = relay(port, Some(downstream.local_addr().expect("bound").port()));
    let [mut idle, mut asking, mut answering] = [(); 3].map(|()| Wire::open(port, &downstream));
    for wire in [&mut idle, &mut asking, &mut answering] {
        wire.exchange("/before", "x");
    }
    asking.ask(b"POST /cut HTTP/1.1\r\nhost: relay\r\ncontent-length: 8\r\n\r\nhalf");
    answering.ask(b"GET /cut HTTP/1.1\r\nhost: relay\r\n\r\n");
    answering.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");

    let out = folder();
    let recording = Recording::start(out.path(), ["--via", "ebpf", "--pid", &service.id().to_string()], []);
    asking.ask(b"rest");
    asking.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    answering.answer(b"rest");
    let mut expected = Vec::new();
    for (name, wire) in [("idle", &mut idle), ("asking", &mut asking), ("answering", &mut answering)] {
        for round in 1..=2 {
            let target = format!("/{name}/{round}");
            wire.exchange(&target, name);
            expected.push(target);
        }
    }
    let finished = recording.stop();
    service.stop();

    let corpus = Corpus::read(out.path());
    let recorded: Vec<String> = corpus.replies().into_iter().map(|reply| reply.target).collect();
    expected.sort();
    assert_eq!(recorded, expected, "{}", finished.stderr);
    assert_whole_with_one_call_each(&corpus, &finished);
    finished.expect_code(0);
}

/// A service in PID, network and mount namespaces of its own, found by its port alone.
#[test]
fn a_service_in_a_container_is_found_by_its_port() {
    if !require("attach::container", &[Need::Python, Need::Ebpf, Need::Root]) {
        return;
    }
    let container = Container::start();
    let client = Client::new(container.port);
    let mut before = Vec::new();
    container.inside(|| before.push(client.get("/before")));
    assert_eq!(before[0].status, 200);

    let out = folder();
    let recording = Recording::start(out.path(), ["--via", "ebpf", "--port", &container.port.to_string()], []);
    let mut asked = Vec::new();
    container.inside(|| {
        // One connection was there before the recording, the other was not.
        asked.push(client.post("/old/1", "{}"));
        asked.push(client.get("/old/2"));
        asked.push(Client::new(container.port).post("/new", "[1]"));
    });
    let finished = recording.stop();
    let corpus = Corpus::read(out.path());
    asked.sort();
    assert_eq!(corpus.replies(), asked, "{}", finished.stderr);
    assert_whole_with_one_call_each(&corpus, &finished);
    finished.expect_code(0);
}

/// regress itself in a PID namespace: its numbers are the ones that count, also for a service one namespace deeper.
#[test]
fn regress_in_a_pid_namespace_of_its_own() {
    if !require("attach::pid_namespace", &[Need::Python, Need::Ebpf, Need::Root]) {
        return;
    }
    let downstream_port = free_port();
    let downstream = relay(downstream_port, None);
    for deeper in [false, true] {
        let (out, port) = (folder(), free_port());
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(env!("CARGO_BIN_EXE_regress"));
        command.args(["record", "--via", "ebpf", "--max-entries", "3", "-o"]).arg(out.path()).arg("--");
        if deeper {
            command.args(["unshare", "--pid", "--fork", "--kill-child"]);
        }
        command.args(relay_command(port, Some(downstream_port)));
        let recording = Process::start(&mut command);
        recording.wait_for_line("relay listens");
        let client = Client::new(port);
        let mut asked = vec![client.get("/1"), client.post("/2", "{}"), client.get("/3")];
        let finished = recording.finish();
        let corpus = Corpus::read(out.path());
        asked.sort();
        assert_eq!(corpus.replies(), asked, "{}", finished.stderr);
        assert_whole_with_one_call_each(&corpus, &finished);
        finished.expect_code(0);
    }
    downstream.stop();
}

/// The service is started in the cgroup after the recording began, the recorder sees the cgroup by the path that a
/// cgroup namespace shows; the recording ends with the cgroup.
#[test]
fn a_cgroup_seen_from_a_cgroup_namespace() {
    if !require("attach::cgroup", &[Need::Python, Need::Ebpf, Need::Cgroup]) {
        return;
    }
    let (cgroup, out) = (OwnCgroup::new(), folder());
    let (service_cgroup, mount) = (cgroup.0.join("box/service"), folder());
    fs::create_dir_all(&service_cgroup).expect("a cgroup of our own");
    let (port, downstream_port) = (free_port(), free_port());
    let downstream = relay(downstream_port, None);
    // The shell enters `box`, which becomes the namespace's root, and regress leaves it by mounting the hierarchy anew.
    let script = format!(
        "echo $$ >{}/cgroup.procs; exec unshare --cgroup --mount sh -c \
         'mount -t cgroup2 none {} && exec \"$0\" record --via ebpf --cgroup /service --max-entries 2 -o {}' \"$0\"",
        cgroup.0.join("box").display(),
        mount.path().display(),
        out.path().display(),
    );
    let recording = Process::start(Command::new("sh").args(["-c", &script]).arg(env!("CARGO_BIN_EXE_regress")));
    recording.wait_for_line("which no process is in yet");
    let mut service = Command::new("sh");
    service.args(["-c", "echo $$ >$0/cgroup.procs; exec \"$@\""]).arg(&service_cgroup);
    let service = Process::start(service.args(relay_command(port, Some(downstream_port))));
    service.wait_for_line("relay listens");
    let client = Client::new(port);
    let mut asked = vec![client.get("/1"), client.post("/2", "{}")];
    let finished = recording.finish();
    service.stop();
    downstream.stop();
    let corpus = Corpus::read(out.path());
    asked.sort();
    assert_eq!(corpus.replies(), asked, "{}", finished.stderr);
    assert_whole_with_one_call_each(&corpus, &finished);
    assert!(corpus.cassettes.iter().all(|cassette| cassette.recorded.service == "service"));
    finished.expect_code(0);
}

#[test]
fn a_recording_ends_with_its_cgroup() {
    if !require("attach::cgroup_removed", &[Need::Ebpf, Need::Cgroup]) {
        return;
    }
    let (cgroup, out) = (OwnCgroup::new(), folder());
    let arguments = ["--via", "ebpf", "--cgroup", &cgroup.0.display().to_string()];
    let mut command = regress();
    let recording = Process::start(command.arg("record").arg("-o").arg(out.path()).args(arguments));
    recording.wait_for_line("recording cgroup");
    fs::remove_dir(&cgroup.0).expect("it is empty");
    let finished = recording.finish();
    finished.expect_code(2);
    assert!(finished.stderr.contains("the recorded cgroup was removed"), "{}", finished.stderr);
}

#[test]
fn who_is_not_there_cannot_be_recorded() {
    if !require("attach::nobody", &[Need::Ebpf]) {
        return;
    }
    let out = folder();
    let port = free_port().to_string();
    let file = out.path().display().to_string();
    let rows: [(&[&str], &str, &str); 4] = [
        (&["--port", &port], "nobody listens on port", "-- COMMAND"),
        (&["--cgroup", "/no/such.slice"], "there is no cgroup /no/such.slice", "/proc/PID/cgroup"),
        (&["--cgroup", &file], "there is no cgroup", "/proc/PID/cgroup"),
        (&["--port", &port, "--via", "proxy"], "nothing to record", "a proxy cannot join"),
    ];
    for (arguments, what, hint) in rows {
        let finished = Process::start(regress().args(["record", "-o", "none"]).args(arguments)).finish();
        finished.expect_code(2);
        assert!(finished.stderr.starts_with("error: ") && finished.stderr.contains(what), "{}", finished.stderr);
        let hints = finished.stderr.split_once("\nhint: ").expect("a hint").1;
        assert!(hints.contains(hint), "{}", finished.stderr);
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is a temporary folder")
}

fn relay_command(port: u16, downstream_port: Option<u16>) -> Vec<String> {
    let mut command = vec![python(), source("relay.py"), port.to_string()];
    command.extend(downstream_port.map(|port| port.to_string()));
    command
}

fn relay(port: u16, downstream_port: Option<u16>) -> Process {
    let command = relay_command(port, downstream_port);
    let process = Process::start(Command::new(&command[0]).args(&command[1..]));
    process.wait_for_line("relay listens");
    process
}

/// Every entry is complete and has the one call that says the same as it; nothing was left over.
#[track_caller]
pub fn assert_whole_with_one_call_each(corpus: &Corpus, finished: &Finished) {
    for cassette in &corpus.cassettes {
        let entry = cassette.entry.as_ref().expect("not the ambient cassette");
        let [call] = &cassette.downstream[..] else { panic!("{cassette:#?}\n{}", finished.stderr) };
        assert_eq!((&entry.defects[..], &call.defects[..], &cassette.defects[..]), (&[][..], &[][..], &[][..]));
        assert_eq!(call.cause.as_ref().map(|cause| cause.confidence), Some(Confidence::Certain));
        assert_eq!(http(entry).request, http(call).request);
        assert_eq!(http(entry).response, http(call).response);
    }
}

/// A client's connection to the relay and the connection that the relay opened for it, both held by the test.
struct Wire {
    client: TcpStream,
    downstream: TcpStream,
}

impl Wire {
    fn open(port: u16, downstream: &TcpListener) -> Wire {
        let client = TcpStream::connect(("127.0.0.1", port)).expect("the relay listens");
        let (downstream, _) = downstream.accept().expect("the relay connects");
        Wire { client, downstream }
    }

    /// The client says it, and it has passed the relay.
    fn ask(&mut self, bytes: &[u8]) {
        pass(&mut self.client, &mut self.downstream, bytes);
    }

    /// The downstream says it, and it has passed the relay.
    fn answer(&mut self, bytes: &[u8]) {
        pass(&mut self.downstream, &mut self.client, bytes);
    }

    fn exchange(&mut self, target: &str, body: &str) {
        let length = body.len();
        self.ask(format!("POST {target} HTTP/1.1\r\nhost: relay\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes());
        self.answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes());
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).expect("the relay reads");
    let mut passed = vec![0; bytes.len()];
    to.read_exact(&mut passed).expect("the relay writes");
    assert_eq!(passed, bytes);
}

/// A relay with its downstream in namespaces of their own.
struct Container {
    process: Process,
    port: u16,
}

impl Container {
    fn start() -> Container {
        let port = free_port();
        let command = |port, downstream| relay_command(port, downstream).join(" ");
        let script =
            format!("ip link set lo up; {} & exec {}", command(port - 1, None), command(port, Some(port - 1)),);
        let process = Process::start(Command::new("unshare").args([
            "--pid",
            "--net",
            "--mount-proc",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            &script,
        ]));
        process.wait_for_line(&format!("listens on {port}"));
        process.wait_for_line(&format!("listens on {}", port - 1));
        Container { process, port }
    }

    /// Runs this in the container's network namespace.
    fn inside(&self, work: impl FnOnce() + Send) {
        in_network_of(self.process.id(), work);
    }
}

/// A cgroup of the test's own.
struct OwnCgroup(PathBuf);

impl OwnCgroup {
    fn new() -> OwnCgroup {
        let top = cgroup_hierarchy().expect("the test required it");
        let path = tempfile::Builder::new().prefix("regress-test-").tempdir_in(top).expect("the test required it");
        OwnCgroup(path.keep())
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        for below in ["box/service", "box", ""] {
            // Gone already, or still used by a process of a failed test.
            let _ = fs::remove_dir(self.0.join(below));
        }
    }
}
