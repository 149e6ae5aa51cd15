use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::{
        fd::AsFd,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use regress_recorder::wire::{FromAgent, Hello, PROTOCOL, Sender, Target, Wanted};

use crate::{
    attach::assert_whole_with_one_call_each,
    harness::{
        CaptureServer, Client, Corpus, Finished, NOBODY, Need, Process, as_nobody, cgroup_hierarchy, children,
        free_port, in_network_of, open_to_all, python_for_all, regress, require, wait_for_port,
    },
    killed::wait,
    services::source,
};

const NEEDS: [Need; 4] = [Need::PythonForAll, Need::Ebpf, Need::Nobody, Need::Root];

static PYTHON: LazyLock<String> = LazyLock::new(|| python_for_all().expect("the test required it"));

/// A relay and its downstream, as whoever `becoming` starts.
struct Relay {
    service: Process,
    downstream: Process,
    port: u16,
    script: PathBuf,
}

impl Relay {
    fn start(server: &CaptureServer, becoming: &[String]) -> Relay {
        let script = server.copy(Path::new(&source("relay.py")));
        let (port, downstream) = (free_port(), free_port());
        let run = |ports: &[u16]| {
            let mut words = becoming.to_vec();
            words.extend(command(&script, ports));
            let process = Process::start(Command::new(&words[0]).args(&words[1..]).current_dir("/"));
            process.wait_for_line("listens on");
            process
        };
        let downstream_process = run(&[downstream]);
        Relay { service: run(&[port, downstream]), downstream: downstream_process, port, script }
    }

    fn stop(self) {
        self.service.stop();
        self.downstream.stop();
    }
}

fn command(script: &Path, ports: &[u16]) -> Vec<String> {
    let mut words = vec![PYTHON.clone(), script.display().to_string()];
    words.extend(ports.iter().map(u16::to_string));
    words
}

fn start(command: &mut Command) -> Process {
    let process = Process::start(command);
    process.wait_for_line("recording");
    process
}

fn interrupt(process: Process) -> Finished {
    process.signal(Signal::SIGINT);
    process.finish()
}

/// The same of what `nsenter` has started, which waits for it and passes nothing on.
fn interrupt_inside(process: Process) -> Finished {
    let [agent] = children(process.id())[..] else { panic!("an agent runs") };
    let agent = Pid::from_raw(i32::try_from(agent).expect("a process id"));
    kill(agent, Signal::SIGINT).expect("it runs");
    process.finish()
}

/// The targets that were recorded, sorted.
fn targets(out: &Path) -> Vec<String> {
    Corpus::read(out).replies().into_iter().map(|reply| reply.target).collect()
}

/// Who has no privileges records their own processes, by id with what was open before, by port, and what they start; whole, and with
/// every owner.
#[test]
fn root_nobody_records_by_way_of_a_server() {
    if !require("server::nobody", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&["--all-users"]);
    let relay = Relay::start(&server, &as_nobody());
    let kept = Client::new(relay.port);
    kept.get("/before");
    let pid = relay.service.id().to_string();
    let port = relay.port.to_string();
    let rows: [(&str, &[&str]); 3] =
        [("pid", &["--pid", &pid]), ("port", &["--port", &port]), ("auto", &["--via", "auto", "--pid", &pid])];
    for (name, arguments) in rows {
        let out = server.folder(name);
        let recording = start(&mut server.record(&as_nobody(), &out, arguments));
        kept.post("/kept", "{\"by\":1}");
        Client::new(relay.port).post("/new", "{\"by\":2}");
        let finished = interrupt(recording);
        finished.expect_code(0);
        assert!(finished.stderr.contains("captured by the server at"), "{}", finished.stderr);
        assert_eq!(targets(&out), ["/kept", "/new"]);
        assert_whole_with_one_call_each(&Corpus::read(&out), &finished);
    }

    let doctor = Process::start(server.regress(&as_nobody()).arg("doctor")).finish();
    assert!(doctor.stdout.contains("ok  server "), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("record works by the server, "), "{}", doctor.stdout);

    let (out, port) = (server.folder("command"), free_port());
    let downstream = Relay::start(&server, &as_nobody());
    let mut arguments = vec!["--".to_owned()];
    arguments.extend(command(&relay.script, &[port, downstream.port]));
    let recording = start(&mut server.record(&as_nobody(), &out, arguments));
    wait_for_port(port);
    Client::new(port).post("/started", "{}");
    let finished = interrupt(recording);
    finished.expect_code(0);
    assert_eq!(targets(&out), ["/started"]);
    assert_whole_with_one_call_each(&Corpus::read(&out), &finished);
    let own = walkdir::WalkDir::new(&out).min_depth(1).into_iter().map(|found| found.expect("it can be listed"));
    let users: Vec<u32> = own.map(|found| found.metadata().expect("it is there").uid()).collect();
    assert!(!users.is_empty() && users.iter().all(|user| *user == NOBODY), "the server writes none of it: {users:?}");
    server.stop().expect_code(0);
    relay.stop();
    downstream.stop();
}

/// Namespaces of its own for processes, the network, mounts and cgroups, in which a relay and its downstream run on ports that
/// other containers have too.
struct Container {
    _process: Process,
    port: u16,
    first: u32,
}

impl Drop for Container {
    /// Everything in it ends with its first process. What `unshare` would do at its own end is undone by becoming another user.
    fn drop(&mut self) {
        if let Ok(first) = i32::try_from(self.first) {
            let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
        }
    }
}

impl Container {
    fn start(server: &CaptureServer, port: u16) -> Container {
        let script = server.copy(Path::new(&source("relay.py")));
        let nobody = as_nobody().join(" ");
        let words = |ports: &[u16]| command(&script, ports).join(" ");
        let line =
            format!("ip link set lo up; {nobody} {} & exec {nobody} {}", words(&[port - 1]), words(&[port, port - 1]));
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--net", "--mount-proc", "--cgroup", "--fork", "--kill-child", "sh", "-c", &line]);
        let process = Process::start(unshare.current_dir("/"));
        process.wait_for_line(&format!("listens on {port}"));
        process.wait_for_line(&format!("listens on {}", port - 1));
        let [first] = children(process.id())[..] else { panic!("one process is the first in it") };
        Container { _process: process, port, first }
    }

    /// What starts a program in it.
    fn entering(&self) -> Vec<String> {
        let words = ["nsenter", "--target", &self.first.to_string(), "--pid", "--net", "--mount", "--cgroup", "--"];
        words.map(str::to_owned).to_vec()
    }

    /// Run this in its network.
    fn inside(&self, work: impl FnOnce() + Send) {
        in_network_of(self.first, work);
    }
}

/// Two agents at a time, in containers of their own that use the same ports and process ids: one as the container's root, the
/// other as the service's user. Each gets its own and nothing else.
#[test]
fn root_two_agents_in_containers_do_not_see_each_other() {
    if !require("server::containers", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&["--all-users"]);
    let port = free_port();
    let containers = [Container::start(&server, port), Container::start(&server, port)];
    let root = containers[0].entering();
    let user = [containers[1].entering(), as_nobody()].concat();
    let outs = [server.folder("first"), server.folder("second")];
    let port_text = port.to_string();
    let recordings: Vec<Process> = [(&root, &outs[0]), (&user, &outs[1])]
        .map(|(becoming, out)| start(&mut server.record(becoming, out, ["--port", &port_text])))
        .into();
    let sessions = server.sessions();
    assert_eq!(sessions.len(), 2, "a process for each");
    sessions.into_iter().for_each(assert_confined);
    for round in 0..3 {
        for (name, container) in ["first", "second"].iter().zip(&containers) {
            container.inside(|| {
                Client::new(container.port).post(&format!("/{name}/{round}"), &format!("{{\"secret\":\"of-{name}\"}}"));
            });
        }
    }
    for ((name, out), recording) in ["first", "second"].iter().zip(&outs).zip(recordings) {
        let finished = interrupt_inside(recording);
        finished.expect_code(0);
        assert_eq!(targets(out), [0, 1, 2].map(|round| format!("/{name}/{round}")));
        assert_whole_with_one_call_each(&Corpus::read(out), &finished);
        let other = if *name == "first" { "of-second" } else { "of-first" };
        assert!(!is_anywhere(out, other), "{name} has what is of the other");
    }
    server.stop().expect_code(0);
}

/// A process that serves an agent has what following processes takes, and a filter of system calls in each thread.
fn assert_confined(process: u32) {
    // CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF, CAP_CHECKPOINT_RESTORE.
    let needed: u64 = [2, 19, 21, 38, 39, 40].iter().map(|number| 1 << number).sum();
    for thread in fs::read_dir(format!("/proc/{process}/task")).expect("it runs") {
        let status = fs::read_to_string(thread.expect("it runs").path().join("status")).expect("it runs");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect("a field").trim();
        for name in ["CapEff:", "CapPrm:", "CapInh:"] {
            let held = u64::from_str_radix(field(name), 16).expect("bits");
            assert_eq!(held & !needed, 0, "{name} {held:x}");
        }
        assert_eq!((field("Seccomp:"), field("NoNewPrivs:")), ("2", "1"), "{status}");
    }
}

fn is_anywhere(folder: &Path, words: &str) -> bool {
    walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok).any(|entry| {
        fs::read(entry.path()).is_ok_and(|bytes| bytes.windows(words.len()).any(|part| part == words.as_bytes()))
    })
}

/// Processes of others, by whatever way they are named.
#[test]
fn root_what_is_not_the_agents_own_is_refused() {
    if !require("server::refused", &[&NEEDS[..], &[Need::Cgroup]].concat()) {
        return;
    }
    let server = CaptureServer::start(&["--all-users", "--buffer", "1M"]);
    let own = Relay::start(&server, &as_nobody());
    let of_root = Relay::start(&server, &["env".to_owned()]);
    let own_pid = own.service.id().to_string();
    let root_pid = of_root.service.id().to_string();
    // A container that sees the host's processes, some of them of the same user.
    let mut elsewhere: Vec<String> = ["unshare", "--cgroup", "--"].map(str::to_owned).to_vec();
    elsewhere.extend(as_nobody());
    let cgroups = cgroup_hierarchy().expect("the test required it").display().to_string();
    let other_user = "it is of another user, or has more rights than the agent";
    let rows: [(&[String], &[&str], &str, &str); 5] = [
        (&as_nobody(), &["--pid", &root_pid], other_user, "as the user and in the container of the service"),
        (&as_nobody(), &["--pid", &own_pid, "--pid", &root_pid], other_user, "as the user"),
        (&elsewhere, &["--pid", &own_pid], "it is not in the agent's container", "in the container of the service"),
        (&as_nobody(), &["--pid", &own_pid, "--buffer", "2M"], "is more than the server gives: 1048576", "--buffer"),
        (&as_nobody(), &["--cgroup", &cgroups], "a server records no cgroups", "--pid or --port"),
    ];
    for (becoming, arguments, what, hint) in rows {
        let out = server.folder("out");
        let finished = Process::start(&mut server.record(becoming, &out, arguments)).finish();
        finished.expect_code(2);
        assert!(finished.stderr.contains(what) && finished.stderr.contains(hint), "{arguments:?}: {}", finished.stderr);
        assert!(targets(&out).is_empty());
    }
    wait(|| server.sessions().is_empty(), "who was refused is not served");
    // Root may.
    let out = server.folder("root");
    let recording = start(&mut server.record(&["env".to_owned()], &out, ["--pid", &root_pid]));
    Client::new(of_root.port).get("/root");
    interrupt(recording).expect_code(0);
    assert_eq!(targets(&out), ["/root"]);
    server.stop().expect_code(0);
    own.stop();
    of_root.stop();
}

/// Who may not connect is told so, and what is no server is not believed.
#[test]
fn root_a_socket_is_for_whom_it_is_said_to_be() {
    if !require("server::socket", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&[]);
    let out = server.folder("out");
    let pid = std::process::id().to_string();
    let finished = Process::start(&mut server.record(&as_nobody(), &out, ["--pid", &pid])).finish();
    finished.expect_code(2);
    assert!(
        finished.stderr.contains("cannot reach the server") && finished.stderr.contains("--group"),
        "{}",
        finished.stderr
    );

    let none = server.folder("empty").join("socket").display().to_string();
    let root = ["env".to_owned()];
    let finished = Process::start(&mut server.record(&root, &out, ["--pid", &pid, "--server", &none])).finish();
    finished.expect_code(2);
    assert!(finished.stderr.contains("cannot reach the server at"), "{}", finished.stderr);
    assert!(finished.stderr.contains("`regress server`"), "{}", finished.stderr);

    let second = Process::start(regress().arg("server").arg("--socket").arg(server.socket())).finish();
    second.expect_code(2);
    assert!(second.stderr.contains("another server listens there"), "{}", second.stderr);
    server.stop().expect_code(0);

    let group = NOBODY.to_string();
    let server = CaptureServer::start(&["--group", &group]);
    let mode = fs::metadata(server.socket()).expect("it listens").permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
    let relay = Relay::start(&server, &as_nobody());
    let out = server.folder("out");
    let recording = start(&mut server.record(&as_nobody(), &out, ["--pid", &relay.service.id().to_string()]));
    Client::new(relay.port).get("/group");
    interrupt(recording).expect_code(0);
    relay.stop();
    let socket = server.socket();
    server.stop().expect_code(0);
    assert!(!socket.exists(), "it is removed");
}

/// Whatever comes over the socket, other agents are served.
#[test]
fn root_what_agents_say_is_not_believed() {
    if !require("server::hostile", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&["--all-users"]);
    let own = std::fs::File::open("/proc/self/exe").expect("this program");
    let wanted =
        |processes| Wanted { target: Target::Alone { processes }, programs: 0, buffer_bytes: None, inside_tls: false };
    type Say = Box<dyn Fn(&UnixStream)>;
    let hello = Hello::own().bytes();
    let later = Hello { protocol: PROTOCOL + 1, release: "99.0.0".into() }.bytes();
    let greeted = hello.clone();
    let send = move |message: FromAgent, handles: usize| -> Say {
        let (own, greeted) = (own.try_clone().expect("a descriptor"), greeted.clone());
        Box::new(move |mut stream| {
            stream.write_all(&greeted).expect("it reads");
            let handles = vec![own.as_fd(); handles];
            let mut sender = Sender::new(stream.try_clone().expect("a descriptor"));
            sender.send_with(&message, &handles).expect("it reads");
        })
    };
    let raw = |bytes: Vec<u8>| -> Say { Box::new(move |mut stream| stream.write_all(&bytes).expect("it reads")) };
    let cases: Vec<(Say, &str)> = vec![
        (raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()), "it does not speak as regress does"),
        (raw(later), "version 2 of the protocol (regress 99.0.0)"),
        (raw([&hello[..], &[0xff; 64]].concat()), "a frame"),
        (raw([&hello[..], &[0, 0, 0, 0, 1]].concat()), "not due"),
        (send(FromAgent::Pause, 0), "not due"),
        // What the server has not said to it.
        (send(FromAgent::Start { nonce: [0; 16], wanted: wanted(1) }, 1), "not due"),
    ];
    for (say, words) in cases {
        let stream = UnixStream::connect(server.socket()).expect("it listens");
        say(&stream);
        let mut said = Vec::new();
        // That it has not read everything is told as a reset behind its answer.
        let _ = (&stream).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains(words), "{words}: {said}");
    }

    // What is no server is not believed either.
    let folder = server.folder("foreign");
    let listener = UnixListener::bind(folder.join("socket")).expect("a folder of our own");
    let foreign = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("an agent connects");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
    });
    let socket = folder.join("socket").display().to_string();
    let pid = std::process::id().to_string();
    let mut command = regress();
    command.args(["record", "--via", "server", "--server", &socket, "--pid", &pid, "-o"]).arg(folder.join("out"));
    let finished = Process::start(&mut command).finish();
    foreign.join().expect("it answered");
    finished.expect_code(2);
    assert!(finished.stderr.contains("it does not speak as regress does"), "{}", finished.stderr);

    let relay = Relay::start(&server, &as_nobody());
    let out = server.folder("out");
    let recording = start(&mut server.record(&as_nobody(), &out, ["--pid", &relay.service.id().to_string()]));
    Client::new(relay.port).get("/after");
    interrupt(recording).expect_code(0);
    assert_eq!(targets(&out), ["/after"]);
    server.stop().expect_code(0);
    relay.stop();
}

/// The handle of a process of the host, in the hands of a container's root: it names what the container does not see.
#[test]
fn root_a_handle_that_was_let_into_a_container_is_refused() {
    if !require("server::handle", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&["--all-users"]);
    let outside = Relay::start(&server, &as_nobody());
    let script = server.copy(Path::new(&source("smuggler.py"))).display().to_string();
    let socket = server.socket().display().to_string();
    let smuggler = [PYTHON.as_str(), &script, &PROTOCOL.to_string(), &socket];
    let ask = |namespaces: &[&str]| {
        let mut command = Command::new(smuggler[0]);
        command.args(&smuggler[1..]).arg(outside.service.id().to_string()).arg("unshare").args(namespaces);
        Process::start(command.arg("--").args(smuggler).current_dir("/")).finish()
    };
    let inside = ask(&["--pid", "--fork", "--cgroup"]);
    inside.expect_code(0);
    assert!(inside.stdout.contains("not in the agent's PID namespace"), "{}", inside.stdout);
    // The same by root of the host is granted: what is refused is the container.
    let host = ask(&["--ipc"]);
    host.expect_code(0);
    assert_eq!(host.stdout, "started\n");
    server.stop().expect_code(0);
    outside.stop();
}

/// What a process becomes by a set-user-id program is not its user's, and that it is missing is told.
#[test]
fn root_what_becomes_more_than_the_agent_is_let_go() {
    if !require("server::raised", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&["--all-users"]);
    let raised = server.copy(Path::new("/bin/bash"));
    fs::set_permissions(&raised, fs::Permissions::from_mode(0o4755)).expect("a file of our own");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = listener.local_addr().expect("bound").port();
    let request = "GET /raised HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n";
    let say = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf \"{request}\" >&3; read _ <&3");
    let line = format!("{} -p -c '{say}'; exec sleep 1000", raised.display());
    let out = server.folder("out");
    let recording = start(&mut server.record(&as_nobody(), &out, ["--", "bash", "-c", &line]));
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut said = [0; 12];
    stream.read_exact(&mut said).expect("it speaks");
    assert_eq!(&said, b"GET /raised ");
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("it listens");
    drop(stream);
    let finished = interrupt(recording);
    finished.expect_code(2);
    assert!(finished.stderr.contains("processes that gained privileges: not followed"), "{}", finished.stderr);
    assert!(!is_anywhere(&out, "/raised"), "{}", finished.stderr);
    server.stop().expect_code(0);
}

/// However one of them ends, the others go on or say so, and what was recorded is kept.
#[test]
fn root_the_end_of_one_is_told_to_the_other() {
    if !require("server::ends", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&["--all-users"]);
    let relay = Relay::start(&server, &as_nobody());
    let pid = relay.service.id().to_string();
    let record = |name: &str| {
        let out = server.folder(name);
        let recording = start(&mut server.record(&as_nobody(), &out, ["--pid", &pid]));
        Client::new(relay.port).get(&format!("/{name}"));
        (out, recording)
    };
    let session = || {
        let sessions = server.sessions();
        let [session] = sessions[..] else { panic!("{sessions:?}") };
        session
    };

    // The agent: its capture ends with it.
    let (_, agent) = record("killed");
    let served_by = session();
    agent.signal(Signal::SIGKILL);
    agent.finish();
    server.wait_for_line(&format!("process {served_by} has served its agent"));
    wait(|| server.sessions().is_empty(), "nobody is served");

    // The process that captures.
    let (out, agent) = record("alone");
    wait(|| !targets(&out).is_empty(), "a cassette");
    let served_by = i32::try_from(session()).expect("a process id");
    kill(Pid::from_raw(served_by), Signal::SIGKILL).expect("it runs");
    let finished = agent.finish();
    finished.expect_code(2);
    assert!(finished.stderr.contains("no longer captures"), "{}", finished.stderr);
    assert_eq!(targets(&out), ["/alone"]);

    // The server, in good order. Its folder goes with it.
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    open_to_all(folder.path());
    let out = folder.path().join("out");
    let agent = start(&mut server.record(&as_nobody(), &out, ["--pid", &pid]));
    Client::new(relay.port).get("/stopped");
    server.stop().expect_code(0);
    let finished = agent.finish();
    finished.expect_code(2);
    assert!(finished.stderr.contains("the server was stopped"), "{}", finished.stderr);
    assert_eq!(targets(&out), ["/stopped"]);

    // The server, in no order at all: the same.
    let server = CaptureServer::start(&["--all-users"]);
    let out = folder.path().join("again");
    let agent = start(&mut server.record(&as_nobody(), &out, ["--pid", &pid]));
    Client::new(relay.port).get("/killed");
    drop(server);
    let finished = agent.finish();
    finished.expect_code(2);
    assert!(finished.stderr.contains("the server was stopped"), "{}", finished.stderr);
    assert_eq!(targets(&out), ["/killed"]);
    assert_eq!(Client::new(relay.port).get("/goes/on").status, 200, "the service goes on");
    relay.stop();
}

/// A server gives an agent what it is told to give, and what that does not hold is told.
#[test]
fn root_rates_and_numbers_are_bounded() {
    if !require("server::bounds", &NEEDS) {
        return;
    }
    let server = CaptureServer::start(&["--all-users", "--max-agents", "4", "--max-rate", "256K", "--buffer", "64K"]);
    let relay = Relay::start(&server, &as_nobody());
    let pid = relay.service.id().to_string();
    let out = server.folder("out");
    let recording = start(&mut server.record(&as_nobody(), &out, ["--pid", &pid]));
    let refused = Process::start(&mut server.record(&as_nobody(), &out, ["--pid", &pid])).finish();
    refused.expect_code(2);
    let stderr = &refused.stderr;
    assert!(stderr.contains("as many agents as it may have") && stderr.contains("--max-agents"), "{stderr}");
    let body = "x".repeat(8 << 20);
    assert_eq!(Client::new(relay.port).post("/large", &body).status, 200, "the service is not slowed down");
    let finished = interrupt(recording);
    finished.expect_code(2);
    assert!(finished.stderr.contains("events: the buffer was full"), "{}", finished.stderr);
    server.stop().expect_code(0);
    relay.stop();
}
