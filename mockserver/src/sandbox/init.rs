//! The first process of the sandbox's pid namespace: it confines itself, runs the service, and reaps.
#![allow(unsafe_code, reason = "signal handlers and prctl")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::namespaces;
use super::seccomp;
use super::wire::{AtStep, Failure, Instructions, Status, Step, frame};

/// `linux/close_range.h`.
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// Process id of the service, for the signal handler; 0 while there is none.
static SERVICE: AtomicI32 = AtomicI32::new(0);

/// Runs until every process of the sandbox has ended.
pub(super) fn run(instructions: &Instructions, mut status: File) {
    let mut report = |what: Status| {
        // Nobody is left to tell when the pipe is broken: the sandbox is about to be killed.
        let _ = frame(&what).and_then(|frame| status.write_all(&frame));
    };
    let service = match confine().and_then(|()| start(instructions)) {
        Ok(service) => service,
        Err(failure) => return report(Status::Failed(failure)),
    };
    report(Status::Running);
    loop {
        let mut ended = 0;
        // SAFETY: waitpid writes one int that outlives the call. The raw status is what is reported.
        let pid = unsafe { libc::waitpid(-1, &mut ended, 0) };
        if pid == service {
            SERVICE.store(0, Ordering::SeqCst);
            report(Status::Ended(ended));
        } else if pid < 0 && Errno::last() != Errno::EINTR {
            return;
        }
    }
}

fn confine() -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).step(Step::Confine)?;
    // Where parts of /proc are masked (containers), the kernel refuses a new one; the old one stays, with its own view
    // of /proc/self.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>);
    // A child namespace: the service is who it was, and owns nothing of the sandbox.
    namespaces::enter(CloneFlags::empty())?;
    // Again: the change of credentials resets it.
    prctl::set_pdeathsig(Signal::SIGKILL).step(Step::Confine)?;
    prctl::set_no_new_privs().step(Step::Confine)?;
    seccomp::deny_outside_sockets().step(Step::Confine)?;
    let forward = SigAction::new(SigHandler::Handler(forward_terminate), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler calls kill(2) alone, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGTERM, &forward) }.step(Step::Confine)?;
    Ok(())
}

extern "C" fn forward_terminate(_: libc::c_int) {
    let service = SERVICE.load(Ordering::SeqCst);
    if service > 0 {
        // SAFETY: kill(2) takes no pointer.
        unsafe { libc::kill(service, libc::SIGTERM) };
    }
}

fn start(instructions: &Instructions) -> Result<i32, Failure> {
    let (program, arguments) = instructions.command.split_first().ok_or(Errno::ENOENT).step(Step::Program)?;
    // What the caller left open for its children is not for the service. Kernels before 5.11 cannot say so at once.
    // SAFETY: sets a flag on descriptors, which closes none of them here.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    // Standard output of this process is the status pipe; the service writes both of its streams to our standard error.
    let output: OwnedFd = std::io::stderr().as_fd().try_clone_to_owned().step(Step::Program)?;
    let service = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(instructions.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&instructions.cwd)
        .stdin(Stdio::null())
        .stdout(output)
        .process_group(0)
        .spawn()
        .step(Step::Program)?;
    let pid = service.id() as i32;
    SERVICE.store(pid, Ordering::SeqCst);
    Ok(pid)
}
