//! The sandbox helper: this executable again, single-threaded, which builds the namespaces and then makes sockets in them.
//!
//! Standard input is the control socket, standard output the status pipe, standard error the service's output. The end
//! of the control socket ends the sandbox, so nothing outlives the process that asked for it.
#![allow(unsafe_code, reason = "fork")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, setsid};

use super::wire::{AtStep, Command, Failure, Instructions, Reply, Step, receive, send};
use super::{CAPTURE_PORT, init, mounts, namespaces, netlink, nftables, sockets};

/// First argument of a process that is a sandbox helper.
pub(super) const ARGUMENT: &str = "__regress-sandbox";

/// Runs the sandbox helper when this process was started as one; a binary that uses sandboxes calls it first, before
/// it starts any thread.
pub fn helper_main() -> Option<ExitCode> {
    if std::env::args_os().nth(1).as_deref() != Some(OsStr::new(ARGUMENT)) {
        return None;
    }
    Some(match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn serve() -> io::Result<()> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Neither signals of the terminal nor the terminal itself reach the sandbox. Fails only for a group leader.
    let _ = setsid();
    let (instructions, _) = receive::<Instructions>(&control)?;
    match build(&instructions) {
        Ok(listeners) => {
            let numbers: Vec<RawFd> = listeners.iter().map(AsRawFd::as_raw_fd).collect();
            send(&control, &Reply::Ok(()), &numbers)?;
        }
        Err(failure) => return send(&control, &Reply::Err(failure), &[]),
    }
    obey(control, &instructions)
}

/// Builds everything; what it returns are the listeners.
fn build(instructions: &Instructions) -> Result<Vec<OwnedFd>, Failure> {
    let path_sockets = mounts::path_sockets();
    namespaces::enter(
        CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )?;
    netlink::loopback_up().step(Step::Loopback)?;
    netlink::route_everything_here().step(Step::Routes)?;
    nftables::install(sockets::MARK, CAPTURE_PORT, &instructions.refused)?;
    let listeners = sockets::listeners().step(Step::Listeners)?;
    // The service has no capability here, and may want port 80. Read-only in some containers: then it stays at 1024.
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    mounts::arrange(instructions, &path_sockets)?;
    Ok(listeners)
}

fn obey(mut control: UnixStream, instructions: &Instructions) -> io::Result<()> {
    let mut first_process = None;
    let mut byte = [0];
    while matches!(control.read(&mut byte), Ok(1)) {
        match Command::from_byte(byte[0]) {
            Some(Command::Start) if first_process.is_some() => send(&control, &Reply::Ok(()), &[])?,
            // SAFETY: this process has one thread, so the child may do anything.
            Some(Command::Start) => match unsafe { fork() }.step(Step::Program) {
                Ok(ForkResult::Parent { child }) => {
                    first_process = Some(child);
                    send(&control, &Reply::Ok(()), &[])?;
                }
                Ok(ForkResult::Child) => {
                    // The control socket must be the helper's alone, or its end would not be seen.
                    drop(control);
                    if let Ok(status) = only_status() {
                        init::run(instructions, status);
                    }
                    // SAFETY: ends the child without running anything that belongs to the parent.
                    unsafe { libc::_exit(0) }
                }
                Err(failure) => send(&control, &Reply::Err(failure), &[])?,
            },
            Some(Command::Sockets { v6 }) => match sockets::entry_sockets(v6).step(Step::Socket) {
                Ok(sockets) => {
                    let numbers: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
                    send(&control, &Reply::Ok(()), &numbers)?;
                }
                Err(failure) => send(&control, &Reply::Err(failure), &[])?,
            },
            Some(Command::Terminate) => {
                if let Some(pid) = first_process {
                    // A service that has ended already needs no signal.
                    let _ = kill(pid, Signal::SIGTERM);
                }
                send(&control, &Reply::Ok(()), &[])?;
            }
            None => break,
        }
    }
    if let Some(pid) = first_process {
        // The pid namespace dies with its first process.
        let _ = kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, None);
    }
    Ok(())
}

/// Takes the status pipe from standard output and leaves nothing of ours on the standard streams but the service's output.
fn only_status() -> io::Result<File> {
    let status = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(status)
}
