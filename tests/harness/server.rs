//! `regress server`, and recorders that go by way of it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    process::{Finished, Process},
    regress::{open_to_all, regress, without_settings},
};

/// The number of the user `nobody`, and of its group, wherever regress is tested.
pub const NOBODY: u32 = 65534;

/// A running `regress server`, at a place that everybody reaches, with a copy of the command that everybody may run.
pub struct CaptureServer {
    process: Process,
    folder: TempDir,
}

impl CaptureServer {
    /// Start it with these arguments, and wait until it serves.
    pub fn start(arguments: &[&str]) -> CaptureServer {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        open_to_all(folder.path());
        fs::copy(env!("CARGO_BIN_EXE_regress"), folder.path().join("regress")).expect("the command can be copied");
        let socket = folder.path().join("socket");
        let mut command = regress();
        command.arg("server").arg("--socket").arg(socket).args(arguments);
        let process = Process::start(&mut command);
        process.wait_for_line("serving recorders at");
        CaptureServer { process, folder }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// A folder of this name in which everybody may write.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder of our own");
        open_to_all(&folder);
        folder
    }

    /// A file that everybody may read.
    pub fn copy(&self, file: &Path) -> PathBuf {
        let copy = self.folder.path().join(file.file_name().expect("a file"));
        fs::copy(file, &copy).expect("it can be copied");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("a file of our own");
        copy
    }

    /// `regress` as whoever `becoming` starts, by way of this server.
    pub fn regress(&self, becoming: &[String]) -> Command {
        let mut words = becoming.to_vec();
        words.push(self.folder.path().join("regress").display().to_string());
        let mut command = Command::new(&words[0]);
        without_settings(&mut command);
        command.args(&words[1..]).env("REGRESS_SERVER", self.socket()).env("REGRESS_VIA", "server").current_dir("/");
        command
    }

    /// `regress record` by way of it, as whoever `becoming` starts.
    pub fn record<A: AsRef<OsStr>>(
        &self,
        becoming: &[String],
        out: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = self.regress(becoming);
        command.arg("record").arg("-o").arg(out).args(arguments);
        command
    }

    /// The processes that serve its agents.
    pub fn sessions(&self) -> Vec<u32> {
        children(self.process.id())
    }

    /// Wait until it says this.
    pub fn wait_for_line(&self, words: &str) {
        self.process.wait_for_line(words);
    }

    /// End it in good order.
    pub fn stop(self) -> Finished {
        self.process.stop()
    }
}

/// The processes that a process has started and that it has not waited for yet.
pub fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|ids| ids.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// What starts a program as `nobody`.
pub fn as_nobody() -> Vec<String> {
    let number = NOBODY.to_string();
    ["setpriv", "--reuid", &number, "--regid", &number, "--clear-groups", "--"].map(str::to_owned).to_vec()
}
