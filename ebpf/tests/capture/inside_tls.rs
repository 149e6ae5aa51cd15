//! The inside of TLS, by every source: OpenSSL's own program at both ends.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use regress_ebpf::{Address, Capture, EventKind, Options, Role};

use crate::harness::{LARGE, Recorded, require_capture, scaled, source, turn};

/// A process that ends with its test.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str], folder: &std::path::Path) -> Running {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("openssl runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Running { child, lines }
    }

    /// The next line that begins so.
    fn line_with(&mut self, start: &str) -> String {
        let mut line = String::new();
        while !line.starts_with(start) {
            line.clear();
            assert!(self.lines.read_line(&mut line).expect("a line of text") > 0, "ended before it said {start:?}");
        }
        line.trim_end().to_owned()
    }

    fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("piped")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether openssl is here; else says that the test is skipped, unless everything is required.
fn has_openssl(test: &str) -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    let required = std::env::var_os("REGRESS_TEST_REQUIRE").is_some_and(|value| value == "all");
    assert!(found || !required, "{test} cannot run: there is no openssl");
    if !found {
        println!("skipped: {test}: there is no openssl");
    }
    found
}

#[test]
fn root_openssl_with_tls_1_3() {
    require_capture!("root_openssl_with_tls_1_3");
    if has_openssl("root_openssl_with_tls_1_3") {
        lines_both_ways("-tls1_3");
    }
}

#[test]
fn root_openssl_with_tls_1_2() {
    require_capture!("root_openssl_with_tls_1_2");
    if has_openssl("root_openssl_with_tls_1_2") {
        lines_both_ways("-tls1_2");
    }
}

/// Lines go to a server and others come back; all of it is read at both ends.
fn lines_both_ways(version: &str) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    std::fs::write(folder.path().join("empty.cnf"), "[req]\ndistinguished_name = name\n[name]\n").unwrap();
    let certificate = "req -x509 -config empty.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
                       -keyout key.pem -out certificate.pem";
    let arguments: Vec<_> = certificate.split_whitespace().collect();
    assert!(Running::start(&arguments, folder.path()).child.wait().unwrap().success());

    let turn = turn();
    let server = ["s_server", version, "-accept", "127.0.0.1:0", "-cert", "certificate.pem", "-key", "key.pem"];
    let mut server = Running::start(&server, folder.path());
    let address = server.line_with("ACCEPT ").split_off("ACCEPT ".len());
    let mut capture = Capture::start(Options {
        pids: vec![server.child.id(), std::process::id()],
        source: Some(source()),
        buffer_bytes: Some(LARGE),
        inside_tls: true,
        ..Options::default()
    })
    .expect("capture starts");
    // A child of this process, and followed as such.
    let mut client = Running::start(&["s_client", version, "-quiet", "-connect", &address], folder.path());
    let mut events = Vec::new();
    let (mut asked, mut answered) = (String::new(), String::new());
    for number in 1..scaled(64) {
        let (question, answer) = ("abcdefgh".repeat(number * 7), "a".repeat(number * number));
        writeln!(client.input(), "{question}").expect("the client takes it");
        server.line_with(&question);
        writeln!(server.input(), "{answer}").expect("the server takes it");
        client.line_with(&answer);
        capture.next_batch(Duration::ZERO, &mut events).expect("the capture goes on");
        asked += &(question + "\n");
        answered += &(answer + "\n");
    }
    // One killed in the middle of a write would leave a gap. The server's command to quit ends both in good order.
    writeln!(server.input(), "Q").expect("the server takes it");
    for ended in [&mut server, &mut client] {
        ended.child.wait().expect("a child can be waited for");
    }
    capture.drain(&mut events).expect("the capture drains");
    drop(turn);

    let inside = events.iter().filter(|event| matches!(event.kind, EventKind::InsideTls { .. })).count();
    let recorded = Recorded::of(events);
    recorded.assert_nothing_lost();
    assert_eq!(inside, 2, "both ends");
    let address = Address::Inet(address.parse().expect("an address"));
    let ours = |(_, local, peer, _): &(_, _, _, _)| [local, peer].contains(&&address);
    let ends = recorded.sockets().filter(|(_, end)| end.open.as_ref().is_some_and(ours));
    for (_, end) in ends {
        let (question, answer) = match end.role() {
            Role::Client => (&end.sent, &end.received),
            Role::Server => (&end.received, &end.sent),
        };
        assert_eq!(String::from_utf8(question.whole()).unwrap(), asked);
        assert_eq!(String::from_utf8(answer.whole()).unwrap(), answered);
    }
}
