//! Starting a service so that nothing of it is missed: it waits between fork and exec until it is watched.
#![allow(unsafe_code, reason = "a closure between fork and exec, and PR_SET_PDEATHSIG, have no safe wrapper")]

use std::{
    ffi::OsString,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use regress_cassettes::SECRET_VARIABLES;
use tokio::sync::oneshot;

use crate::Error;

/// A service that is started and waits before its first instruction.
pub(crate) struct Gate {
    pid: u32,
    program: OsString,
    /// Where it will be executed.
    folder: PathBuf,
    open: PipeWriter,
    /// Whether the program could be executed, then how it ended.
    executed: oneshot::Receiver<io::Result<()>>,
    exited: oneshot::Receiver<ExitStatus>,
}

/// A service that runs.
pub(crate) struct Service {
    pid: u32,
    exited: oneshot::Receiver<ExitStatus>,
}

impl Gate {
    /// The file that will be executed, as the search in `PATH` finds it; `None` where it finds none.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        let program = Path::new(&self.program);
        if program.components().count() > 1 {
            return Some(self.folder.join(program));
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
    }

    /// Fork; the child waits.
    pub(crate) fn close(
        command: &[OsString],
        env: &[(OsString, OsString)],
        cwd: Option<&PathBuf>,
    ) -> Result<Gate, Error> {
        let [program, arguments @ ..] = command else { return Err(Error::NoTarget) };
        let failed = |source| Error::Command { command: PathBuf::from(program), source };
        let (mut tells_pid, pid_writer) = io::pipe().map_err(failed)?;
        let (gate, open) = io::pipe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).envs(env.iter().map(|(name, value)| (name, value))).process_group(0);
        for name in SECRET_VARIABLES {
            command.env_remove(name);
        }
        if let Some(cwd) = cwd {
            command.current_dir(cwd);
        }
        let opener = open.as_raw_fd();
        // SAFETY: the closure runs in the forked child and makes only async-signal-safe system calls (getpid, write,
        // close, read, prctl) on descriptors that the child inherited; it allocates nothing.
        unsafe {
            command.pre_exec(move || wait_at_gate(&pid_writer, &gate, opener));
        }
        let (tell_executed, executed) = oneshot::channel();
        let (tell_exited, exited) = oneshot::channel();
        // `spawn` returns after exec, that is after the gate was opened, and the thread that called it has to live as
        // long as the child does (PR_SET_PDEATHSIG is about the thread).
        thread::Builder::new()
            .name("service".into())
            .spawn(move || match command.spawn() {
                Ok(mut child) => {
                    drop(command);
                    let _ = tell_executed.send(Ok(()));
                    if let Ok(status) = child.wait() {
                        let _ = tell_exited.send(status);
                    }
                }
                Err(error) => {
                    let _ = tell_executed.send(Err(error));
                }
            })
            .map_err(failed)?;
        let mut pid = [0; 4];
        tells_pid.read_exact(&mut pid).map_err(failed)?;
        let folder = cwd.cloned().unwrap_or_default();
        Ok(Gate { pid: u32::from_ne_bytes(pid), program: program.clone(), folder, open, executed, exited })
    }

    /// The child's process id; exec keeps it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Let the child go on.
    pub(crate) async fn open(mut self) -> Result<Service, Error> {
        let failed = |source| Error::Command { command: PathBuf::from(&self.program), source };
        self.open.write_all(&[1]).map_err(failed)?;
        match self.executed.await {
            Ok(Ok(())) => Ok(Service { pid: self.pid, exited: self.exited }),
            Ok(Err(source)) => Err(failed(source)),
            Err(_) => Err(failed(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Service {
    /// How it ended; does not return twice.
    pub(crate) async fn exited(&mut self) -> Option<ExitStatus> {
        (&mut self.exited).await.ok()
    }

    /// Send a signal to it and its children.
    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = killpg(Pid::from_raw(self.pid as i32), signal);
    }
}

/// In the child: say who we are, wait for one byte. Without it the recorder gave up.
fn wait_at_gate(mut pid_writer: &PipeWriter, mut gate: &PipeReader, opener: i32) -> io::Result<()> {
    // SAFETY: the child's own copy of the opener, which nothing in the child uses; with it open the read below would
    // never see that the recorder is gone.
    unsafe { libc::close(opener) };
    // SAFETY: sets one attribute of the calling process; exec of an ordinary program keeps it.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    pid_writer.write_all(&std::process::id().to_ne_bytes())?;
    let mut byte = [0];
    match gate.read(&mut byte)? {
        1 => Ok(()),
        _ => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[tokio::test]
    async fn nothing_of_the_service_runs_before_the_gate_opens() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("ran");
        let script = format!("echo \"$COLOUR\" $$ > {}; exit 3", trace.display());
        let env = [(OsString::from("COLOUR"), OsString::from("blue"))];
        let gate = Gate::close(&command(&["sh", "-c", &script]), &env, None).unwrap();
        let pid = gate.pid();
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert_eq!(program, std::env::current_exe().unwrap(), "it is still a copy of this process");
        assert!(!trace.exists());
        let mut service = gate.open().await.unwrap();
        assert_eq!(service.exited().await.unwrap().code(), Some(3));
        assert_eq!(std::fs::read_to_string(trace).unwrap(), format!("blue {pid}\n"), "exec keeps the process id");
    }

    #[tokio::test]
    async fn a_command_that_does_not_exist_is_an_error() {
        let gate = Gate::close(&command(&["no-such-program-here"]), &[], None).unwrap();
        let error = gate.open().await.err().unwrap();
        assert!(
            matches!(&error, Error::Command { source, .. } if source.kind() == io::ErrorKind::NotFound),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("PATH"));
    }

    #[tokio::test]
    async fn signals_reach_the_service() {
        let gate = Gate::close(&command(&["sleep", "1000"]), &[], None).unwrap();
        let mut service = gate.open().await.unwrap();
        service.signal(Signal::SIGTERM);
        assert!(service.exited().await.unwrap().to_string().contains("SIGTERM"));
    }
}
