//! The `regress` command as a test runs it.

use std::{
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::{Finished, Process, wait_for_port};

/// The command, in an environment without settings of its own.
pub fn regress() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regress"));
    without_settings(&mut command);
    command
}

/// The command at a place where `nobody` may read it.
pub struct ForNobody(TempDir);

impl ForNobody {
    /// Copy it.
    pub fn copy() -> ForNobody {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        open_to_all(folder.path());
        std::fs::copy(env!("CARGO_BIN_EXE_regress"), folder.path().join("regress")).expect("the command can be copied");
        ForNobody(folder)
    }

    /// The command, run by `nobody`.
    pub fn regress(&self) -> Command {
        let mut command = Command::new("runuser");
        command.args(["-u", "nobody", "--"]).arg(self.0.path().join("regress"));
        without_settings(&mut command);
        command.current_dir("/");
        command
    }
}

/// Let every user read and write in a folder.
pub fn open_to_all(folder: &Path) {
    let everyone = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder, everyone).expect("a folder of our own");
}

/// Leave what a user has set out of it.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REGRESS_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    // The services are asked for their health as for anything else.
    command.env("REGRESS_KEEP_HEALTH_CHECKS", "true");
}

/// Where `REGRESS_TEST_SERVER` names the socket of a `regress server`, that captures what would be captured by eBPF.
fn by_whom<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    if let Some(server) = std::env::var_os("REGRESS_TEST_SERVER")
        && let Some(at) = arguments.windows(2).position(|pair| pair[0] == "--via" && pair[1] == "ebpf")
    {
        arguments.splice(at + 1..=at + 1, ["server".into(), "--server".into(), server]);
    }
    arguments
}

/// A running `regress record`.
pub struct Recording(Process);

impl Recording {
    /// Start `regress record -o out ...` and wait until it records.
    pub fn start<A: AsRef<OsStr>>(
        out: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Recording {
        let mut command = regress();
        command.arg("record").arg("-o").arg(out).args(by_whom(arguments)).envs(environment);
        let process = Process::start(&mut command);
        process.wait_for_line("recording");
        Recording(process)
    }

    /// Wait until the recorded command says this on its standard error.
    pub fn wait_for_line(&self, words: &str) {
        self.0.wait_for_line(words);
    }

    /// Wait until the recorded command says on its standard error that it listens, and a client can reach it: a proxy
    /// listens a moment later than the command.
    pub fn wait_for_service(&self, words: &str, port: u16) {
        self.0.wait_for_line(words);
        wait_for_port(port);
    }

    /// The process id of the recorder.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Send it a signal.
    pub fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }

    /// End the recorder in no order at all.
    pub fn kill(self) {
        self.0.signal(Signal::SIGKILL);
        assert_eq!(self.0.finish().code, -1, "a signal ended it");
    }

    /// Wait until the recorded command has ended by itself.
    pub fn finish(self) -> Finished {
        self.0.finish()
    }

    /// End the recording in good order.
    pub fn stop(self) -> Finished {
        self.0.signal(Signal::SIGINT);
        self.0.finish()
    }
}
