//! Hosts and arguments that do not let us capture say so, and say what to do.
#![allow(unsafe_code, reason = "dropping capabilities between fork and exec")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use regress_ebpf::{Capture, Error, Options};

use crate::harness::require_capture;

/// Set in the process that probes without privilege.
const UNPRIVILEGED: &str = "REGRESS_TEST_UNPRIVILEGED";

/// Runs a test of this binary again in a process that has no capabilities, and may not get any.
#[test]
fn an_unprivileged_probe_says_what_is_missing() {
    if std::env::var_os(UNPRIVILEGED).is_some() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "refusals::unprivileged_probe", "--ignored"]).env(UNPRIVILEGED, "1");
    // SAFETY: prctl is a plain system call, fit for the time between fork and exec. It fails for one who has no
    // capabilities to begin with, and then nothing needs to be dropped.
    unsafe {
        command.pre_exec(|| {
            for capability in 0..64 {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            Ok(())
        });
    }
    let output = command.output().expect("the test runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
#[ignore = "run by an_unprivileged_probe_says_what_is_missing, without capabilities"]
fn unprivileged_probe() {
    assert!(std::env::var_os(UNPRIVILEGED).is_some(), "only without capabilities");
    let probe = regress_ebpf::probe();
    let missing = probe.capabilities.expect_err("there are no capabilities");
    assert!(matches!(missing, Error::Permission { .. }), "{missing:?}");
    let refused = probe.socket_source.expect_err("BPF is refused");
    assert!(
        matches!(refused, Error::Permission { .. } | Error::NoBtf(_) | Error::OldKernel { .. } | Error::PidNamespace),
        "{refused:?}"
    );
    assert!(refused.hint().is_some());
}

#[test]
fn root_a_process_that_is_not_there() {
    require_capture!("root_a_process_that_is_not_there");
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let error = Capture::start(Options { pids: vec![gone.id()], buffer_bytes: Some(64 << 10), ..Options::default() })
        .err()
        .unwrap();
    assert!(matches!(error, Error::NoProcess { pid } if pid == gone.id()), "{error:?}");
    assert!(error.hint().is_some());
}

#[test]
fn an_impossible_buffer_is_refused_before_anything_else() {
    let error =
        Capture::start(Options { pids: Vec::new(), buffer_bytes: Some(100_000), ..Options::default() }).err().unwrap();
    assert!(matches!(error, Error::Buffer { bytes: 100_000, .. }), "{error:?}");
}
