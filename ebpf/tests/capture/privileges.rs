//! A process that becomes more than it was.

use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
    time::Duration,
};

use regress_ebpf::{Capture, LossKind, Options};

use crate::harness::{MEDIUM, Recorded, require_capture, source, turn};

const NOBODY: u32 = 65534;

/// A shell of `nobody`'s that says something, executes a set-user-id program, and says something again.
struct Raised {
    shell: Child,
    listener: TcpListener,
    _folder: tempfile::TempDir,
}

impl Raised {
    fn start() -> Raised {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our own");
        let raised = folder.path().join("raised");
        let bash = ["/bin/bash", "/usr/bin/bash"].into_iter().find(|bash| fs::exists(bash).is_ok_and(|there| there));
        fs::copy(bash.expect("there is bash"), &raised).expect("it can be copied");
        fs::set_permissions(&raised, Permissions::from_mode(0o4755)).expect("our own");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("bound").port();
        let say = |word: &str| format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf {word} >&3; exec 3>&-");
        let script =
            format!("read _; {}; exec {} -p -c '{}; id -u >/dev/null'", say("before"), raised.display(), say("raised"));
        let shell = Command::new("bash")
            .args(["--norc", "--noprofile", "-c", &script])
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::piped())
            .spawn()
            .expect("root may");
        Raised { shell, listener, _folder: folder }
    }

    fn record(mut self, without_gain: bool) -> Recorded {
        let options = Options {
            pids: vec![self.shell.id()],
            source: Some(source()),
            buffer_bytes: Some(MEDIUM),
            without_gain,
            ..Options::default()
        };
        let mut capture = Capture::start(options).expect("capture starts");
        writeln!(self.shell.stdin.take().expect("piped"), "go").expect("it reads");
        for word in ["before", "raised"] {
            let mut said = String::new();
            self.listener.accept().expect("it connects").0.read_to_string(&mut said).expect("it speaks");
            assert_eq!(said, word);
        }
        assert!(self.shell.wait().expect("it ends").success());
        let mut events = Vec::new();
        capture.next_batch(Duration::ZERO, &mut events).expect("the capture goes on");
        capture.drain(&mut events).expect("the capture drains");
        Recorded::of(events)
    }
}

fn said(recorded: &Recorded) -> Vec<Vec<u8>> {
    let mut said: Vec<Vec<u8>> = recorded.sockets().map(|(_, socket)| socket.sent.whole()).collect();
    said.sort();
    said
}

#[test]
fn root_a_process_that_gains_privileges_is_let_go_where_that_is_asked_for() {
    require_capture!("root_a_process_that_gains_privileges_is_let_go_where_that_is_asked_for");
    let _turn = turn();
    let recorded = Raised::start().record(true);
    assert_eq!(said(&recorded), [b"before"]);
    let losses: Vec<_> = recorded.losses.iter().map(|loss| (loss.kind, loss.events)).collect();
    assert_eq!(losses, [(LossKind::Privileged, 1)]);

    let recorded = Raised::start().record(false);
    assert_eq!(said(&recorded), [&b"before"[..], b"raised"]);
    recorded.assert_nothing_lost();
}
