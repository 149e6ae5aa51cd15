//! A process whose calls that change files are counted, and one of which is its last, fails, or is cut short.
//!
//! By ptrace(2): the process stops at each system call. Between two calls that change files the disk looks the same, so
//! that a kill before each of them, one run after the other, visits every state in which a kill can leave it.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use nix::{
    errno::Errno,
    libc::{self, user_regs_struct},
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// What happens at a call that changes files.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The process is killed before it.
    Kill,
    /// It fails, and the process goes on.
    Fail(Errno),
    /// As `Fail`, and so do all that would make or lengthen files after it: a full disk stays full.
    FailFromThen(Errno),
    /// It writes half of what it should, where it writes; the rest is up to the process.
    Short,
}

/// How a traced process ended.
#[derive(Debug)]
pub struct Traced {
    /// How many calls changed files, or would have.
    pub calls: usize,
    /// The exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Run a command whose call of that number, from 0, has the fault. Without one it runs undisturbed.
pub fn run(command: &Command, fault: Option<(usize, Fault)>) -> Traced {
    // The shell waits to be traced; what it executes is counted.
    let mut stopped = Command::new("sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => stopped.env(name, value),
            None => stopped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        stopped.current_dir(folder);
    }
    let output = tempfile::tempdir().expect("there is a temporary folder");
    let file = |name: &str| File::create(output.path().join(name)).expect("a file in it");
    stopped.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).process_group(0);
    #[expect(clippy::zombie_processes, reason = "the tracer waits for it")]
    let child = stopped.spawn().expect("there is a shell");
    let pid = Pid::from_raw(child.id() as i32);
    let (calls, code) = Tracer { pid, fault, calls: 0, counting: false, failing: Vec::new() }.follow();
    let text = |name: &str| {
        let bytes = std::fs::read(output.path().join(name)).expect("the process had it open");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Traced { calls, code, stdout: text("stdout"), stderr: text("stderr") }
}

struct Tracer {
    pid: Pid,
    fault: Option<(usize, Fault)>,
    calls: usize,
    /// The program is executed.
    counting: bool,
    /// Threads whose call is to fail, and how.
    failing: Vec<(Pid, Errno)>,
}

impl Tracer {
    fn follow(mut self) -> (usize, Option<i32>) {
        // Children of other threads are those of other tests.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        waitpid(self.pid, Some(flags | WaitPidFlag::WUNTRACED)).expect("the shell stops itself");
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.pid, options).expect("a child may be traced");
        kill(self.pid, Signal::SIGCONT).expect("a child may be told to go on");
        loop {
            let status = match waitpid(Pid::from_raw(-1), Some(flags)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(error) => panic!("the traced process is gone: {error}"),
            };
            let (thread, signal) = match status {
                WaitStatus::Exited(pid, code) if pid == self.pid => return (self.calls, Some(code)),
                WaitStatus::Signaled(pid, ..) if pid == self.pid => return (self.calls, None),
                WaitStatus::PtraceSyscall(thread) => {
                    self.call(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.counting |= event == libc::PTRACE_EVENT_EXEC;
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            // A killed one is waited for in any case.
            let _ = ptrace::syscall(thread, signal);
        }
    }

    fn call(&mut self, thread: Pid) {
        let Ok(mut registers) = ptrace::getregs(thread) else { return };
        if let Some(at) = self.failing.iter().position(|(failing, _)| *failing == thread) {
            let (_, errno) = self.failing.swap_remove(at);
            registers.rax = (-i64::from(errno as i32)) as u64;
            let _ = ptrace::setregs(thread, registers);
            return;
        }
        let is_entry = registers.rax == (-i64::from(libc::ENOSYS)) as u64;
        let Some(change) = Change::of(&registers).filter(|_| is_entry && self.counting) else { return };
        let number = self.calls;
        self.calls += 1;
        match self.fault {
            Some((at, Fault::Kill)) if at == number => drop(kill(self.pid, Signal::SIGKILL)),
            Some((at, Fault::Fail(errno))) if at == number => self.fail(thread, registers, errno),
            Some((at, Fault::FailFromThen(errno))) if at <= number && change != Change::Frees => {
                self.fail(thread, registers, errno);
            }
            Some((at, Fault::Short)) if at == number && change == Change::Writes && registers.rdx > 1 => {
                registers.rdx /= 2;
                let _ = ptrace::setregs(thread, registers);
            }
            _ => {}
        }
    }

    /// A call of no number does nothing; what it returns is set when it does.
    fn fail(&mut self, thread: Pid, mut registers: user_regs_struct, errno: Errno) {
        registers.orig_rax = u64::MAX;
        if ptrace::setregs(thread, registers).is_ok() {
            self.failing.push((thread, errno));
        }
    }
}

/// What a system call does to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Its third argument is how many bytes.
    Writes,
    /// Makes, names, sizes, or makes last.
    Makes,
    /// Takes away.
    Frees,
}

impl Change {
    fn of(registers: &user_regs_struct) -> Option<Change> {
        // Standard output and error are the test's.
        let is_own = |descriptor: u64| descriptor > 2;
        let makes = |flags: u64| flags as i32 & (libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE) != 0;
        let makes = |flags: u64| makes(flags) && flags as i32 & libc::O_TMPFILE != libc::O_DIRECTORY;
        match registers.orig_rax as i64 {
            libc::SYS_write | libc::SYS_pwrite64 => is_own(registers.rdi).then_some(Change::Writes),
            libc::SYS_writev
            | libc::SYS_pwritev
            | libc::SYS_ftruncate
            | libc::SYS_fallocate
            | libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_fchmod => is_own(registers.rdi).then_some(Change::Makes),
            libc::SYS_open => makes(registers.rsi).then_some(Change::Makes),
            libc::SYS_openat => makes(registers.rdx).then_some(Change::Makes),
            libc::SYS_copy_file_range
            | libc::SYS_sendfile
            | libc::SYS_syncfs
            | libc::SYS_mkdir
            | libc::SYS_mkdirat
            | libc::SYS_rename
            | libc::SYS_renameat
            | libc::SYS_renameat2
            | libc::SYS_link
            | libc::SYS_linkat
            | libc::SYS_symlink
            | libc::SYS_symlinkat
            | libc::SYS_truncate
            | libc::SYS_chmod => Some(Change::Makes),
            libc::SYS_unlink | libc::SYS_unlinkat | libc::SYS_rmdir => Some(Change::Frees),
            _ => None,
        }
    }
}
