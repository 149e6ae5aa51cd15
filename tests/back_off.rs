use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread::Scope,
    time::{Duration, Instant},
};

use regress_cassettes::{Confidence, Defect, Exchange};
use serde_json::Value;

use crate::{
    harness::{CaptureServer, Client, Corpus, Need, Process, Recording, http, regress, require},
    services::{Language, Shop},
};

/// A loaded host: nothing is captured for a while, what was under way says so, and what comes later is whole.
#[test]
fn while_the_host_is_loaded_nothing_is_captured_and_nothing_hidden() {
    if !require("back_off::breaker", &[Need::Python, Need::Ebpf]) {
        return;
    }
    open_the_breaker(&["--via", "ebpf"]);
}

/// The same, where it is a server that captures.
#[test]
fn a_server_captures_nothing_either_while_the_host_is_loaded() {
    if !require("back_off::server", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let server = CaptureServer::start(&[]);
    open_the_breaker(&["--via", "server", "--server", &server.socket().display().to_string()]);
    server.stop().expect_code(0);
}

fn open_the_breaker(way: &[&str]) {
    let shop = Shop::new(Language::Python);
    let process = shop.run();
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (out, summary) = (folder.path().join("cassettes"), folder.path().join("summary.json"));
    let (pressure, settings) = (folder.path().join("pressure"), folder.path().join("settings.toml"));
    let text = format!("[back_off]\npause = 1.0\npressure = \"{}\"\n", pressure.display());
    std::fs::write(&settings, text).expect("a folder of our own");
    let is_loaded = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    let finished = std::thread::scope(|scope| {
        let _end = SetAtEnd(&done);
        tell_pressure(scope, pressure, &is_loaded, &done);
        let mut arguments: Vec<String> = way.iter().map(ToString::to_string).collect();
        arguments.extend(["--pid".into(), process.id().to_string()]);
        arguments.extend(["--config".into(), settings.display().to_string()]);
        arguments.extend(["--summary".into(), format!("json={}", summary.display())]);
        let recording = Recording::start(&out, arguments, []);
        let client = Client::new(shop.port);
        client.get("/orders/1");
        let mut cut = TcpStream::connect(("127.0.0.1", shop.port)).expect("the shop listens");
        let body = r#"{"id":"2","sku":"sku-2","quantity":2}"#;
        let head = format!(
            "POST /orders HTTP/1.1\r\nhost: shop\r\nx-regress-record: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        cut.write_all(head.as_bytes()).expect("the shop reads");

        is_loaded.store(true, Ordering::Relaxed);
        recording.wait_for_line("the capture is off");
        is_loaded.store(false, Ordering::Relaxed);
        recording.wait_for_line("the capture is on again");
        cut.write_all(body.as_bytes()).expect("the shop reads");
        let mut answer = String::new();
        cut.read_to_string(&mut answer).expect("the shop answers");
        assert!(answer.starts_with("HTTP/1.1 201"), "the service goes on as ever: {answer}");
        recording.wait_for_line("the breaker closed");
        let forced = client.get_with("x-regress-record", "1", "/orders/3");
        assert_eq!(forced.status, 200);
        recording.stop()
    });
    process.stop();

    finished.expect_code(2);
    assert!(finished.stderr.contains("nothing was captured 1 time"), "{}", finished.stderr);
    let summary = read(&summary);
    assert_eq!(summary["back_off"]["opened"], 1, "{summary:#}");
    assert!(summary["back_off"]["paused_seconds"].as_f64() > Some(0.5), "{summary:#}");
    assert_eq!(summary["ledger"]["paused"]["events"], 1, "{summary:#}");

    let corpus = Corpus::read(&out);
    let find = |target: &str| {
        let is_it = |entry| http(entry).request.target() == target;
        corpus.cassettes.iter().find(|cassette| cassette.entry.as_ref().is_some_and(is_it))
    };
    let cut = find("/orders").expect("an entry that was under way is kept");
    let is_lost = |defect: &Defect| matches!(defect, Defect::LostEvents { .. });
    assert!(cut.defects.iter().any(is_lost), "{cut:#?}");
    // What came before lacks nothing. What comes after is there; its owners may be unknown, because nobody saw for whom the
    // pool's connections worked meanwhile, and are never wrong.
    let before = find("/orders/1").unwrap_or_else(|| panic!("{}", finished.stderr));
    assert!(!before.has_defects() && before.downstream.len() == 2, "{before:#?}");
    let after = find("/orders/3").unwrap_or_else(|| panic!("{}", finished.stderr));
    assert!(!after.entry.as_ref().is_some_and(Exchange::has_defects), "{after:#?}");
    assert!(after.has_defects() || after.downstream.len() == 2, "what is missing is marked: {after:#?}");
    let is_certain =
        |call: &&Exchange| call.cause.as_ref().is_some_and(|cause| cause.confidence == Confidence::Certain);
    for call in after.downstream.iter().filter(is_certain) {
        assert_eq!(http(call).request.header_text("x-order").as_deref(), Some("3"), "{after:#?}");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let settings = folder.path().join("wrong.toml");
    for (text, words) in [
        ("cpu = 0", "[back_off] cpu: a share is from 1 to 100 percent"),
        ("pause = 0.0", "[back_off] pause: it is from 0.1 to 3600 seconds"),
        ("pressure = \"/no/such/file\"", "cannot read the pressure on processors from /no/such/file"),
        ("speed = 1", "speed"),
    ] {
        std::fs::write(&settings, format!("[back_off]\n{text}\n")).expect("a folder of our own");
        let mut command = regress();
        command.args(["record", "--via", "proxy", "-o"]).arg(folder.path().join("out")).arg("--config").arg(&settings);
        let finished = Process::start(command.args(["--", "true"])).finish();
        finished.expect_code(2);
        assert!(finished.stderr.contains(words) && finished.stderr.contains("hint:"), "{text}: {}", finished.stderr);
    }
}

/// Ends what the scope's threads do, also where the test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keep a file up that says what the kernel would: all the time something waits while the host is loaded, else nothing does.
fn tell_pressure<'scope>(
    scope: &'scope Scope<'scope, '_>,
    path: PathBuf,
    is_loaded: &'scope AtomicBool,
    done: &'scope AtomicBool,
) {
    let tell = move |waited: Duration| {
        // As a whole, as the kernel's file is read.
        let new = path.with_extension("new");
        std::fs::write(&new, format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={}\n", waited.as_micros()))
            .and_then(|()| std::fs::rename(&new, &path))
            .expect("a folder of our own");
    };
    tell(Duration::ZERO);
    scope.spawn(move || {
        let (mut waited, mut last) = (Duration::ZERO, Instant::now());
        while !done.load(Ordering::Relaxed) {
            let passed = last.elapsed();
            last += passed;
            if is_loaded.load(Ordering::Relaxed) {
                waited += passed;
            }
            tell(waited);
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the summary was written");
    serde_json::from_str(&text).expect("the summary is JSON")
}
