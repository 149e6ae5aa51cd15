//! Runs tests one after another, as this user and as nobody, and what they share.

use std::any::Any;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use regress_mockserver::Error;
use regress_mockserver::dns::{Names, RecordedNames};
use regress_mockserver::intercept::{self, Intercepted, Interception};
use regress_mockserver::sandbox::{Sandbox, Spec, probe};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

/// Name and body; the body returns the reason when it has to be skipped.
pub type Test = (&'static str, fn() -> Ran);
pub type Ran = Result<(), String>;

/// A test that waits longer hangs.
const HANGS: Duration = Duration::from_secs(120);
const NOBODY: u32 = 65534;
const AS_NOBODY: &str = "REGRESS_TEST_AS_NOBODY";

pub fn run(arguments: &[String], suites: &[&[Test]]) -> ExitCode {
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let required = std::env::var("REGRESS_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let user = if nix::unistd::geteuid().is_root() { "root" } else { "user" };
    let impossible = probe().err().map(|error| format!("{error}: {:?}", error.hint()));
    let mut failed = 0;
    for (name, test) in suites.iter().flat_map(|suite| suite.iter()) {
        let name = format!("{name} as {user}");
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let ran = match &impossible {
            Some(reason) => Ok(Err(reason.clone())),
            None => catch_unwind(AssertUnwindSafe(test)),
        };
        match ran {
            Ok(Ok(())) => println!("test {name} ... ok"),
            Ok(Err(reason)) if !required => println!("skipped: {name}: {reason}"),
            Ok(Err(reason)) => {
                println!("test {name} ... FAILED: skipped: {reason}");
                failed += 1;
            }
            Err(panic) => {
                println!("test {name} ... FAILED: {}", message(&panic));
                failed += 1;
            }
        }
    }
    if user == "root" && !nobody_passes(arguments, required) {
        failed += 1;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn message(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}

/// The same tests again, by a user without any right.
fn nobody_passes(arguments: &[String], required: bool) -> bool {
    let status = Command::new("/proc/self/exe")
        .args(arguments)
        .env(AS_NOBODY, "1")
        .env("HOME", "/nonexistent")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            println!("skipped: everything as nobody: {error}");
            !required
        }
    }
}

/// A sandbox whose service is this executable at `inside scenario arguments`.
pub fn inside(scenario: &str, arguments: &[&str]) -> Spec {
    let mut command = vec![OsString::from("/proc/self/exe"), "inside".into(), scenario.into()];
    command.extend(arguments.iter().map(OsString::from));
    spec(command)
}

/// A sandbox for a command, that keeps output and resolves names.
pub fn spec(command: Vec<OsString>) -> Spec {
    Spec { command, keep_output: true, resolve: true, ..Spec::default() }
}

/// The first program of that name in `PATH` that this user can run, or why there is none.
pub fn find(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|directory| directory.join(program));
    let runnable = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    candidates.find(runnable).ok_or_else(|| format!("no {program}"))
}

/// Runs `test` to its end in a runtime of its own.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(HANGS, test).await.expect("the test hangs") })
}

/// A running service and what is seen of it.
pub struct Running {
    pub sandbox: Sandbox,
    pub seen: UnboundedReceiver<Intercepted>,
    pub interception: Interception,
}

impl Running {
    pub async fn start(spec: Spec, names: &[(&str, &str)]) -> Result<Self, Error> {
        let (mut sandbox, listeners) = Sandbox::prepare(spec).await?;
        let recorded: RecordedNames =
            names.iter().map(|(name, address)| (*name, address.parse::<IpAddr>().unwrap())).collect();
        let (interception, seen) = intercept::spawn(listeners, Names::Recorded(Arc::new(recorded))).unwrap();
        sandbox.start().await?;
        Ok(Self { sandbox, seen, interception })
    }

    /// The next thing that is no question of a name.
    pub async fn next(&mut self) -> Intercepted {
        loop {
            match self.seen.recv().await.expect("the interception runs") {
                Intercepted::Query(_) => {}
                other => return other,
            }
        }
    }

    /// Waits for the service's end; its output, when it ended well.
    pub async fn output(&mut self) -> String {
        let status = self.sandbox.exited().await;
        let output = self.sandbox.last_output();
        assert!(status.success(), "{status}: {output}");
        output
    }
}

/// Reads one request without a body and answers with the destination.
pub async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    destination: SocketAddr,
) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let body = format!("played for {destination}");
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(String::from_utf8_lossy(&request).into_owned())
}
