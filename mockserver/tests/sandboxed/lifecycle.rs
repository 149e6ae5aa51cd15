//! How a service starts, who it is, and how it ends.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitCode, Stdio};

use regress_mockserver::Error;
use regress_mockserver::intercept::Intercepted;
use regress_mockserver::sandbox::{Sandbox, Spec};
use tokio::io::AsyncReadExt;

use crate::harness::{Ran, Running, Test, block_on, inside, spec};

pub const TESTS: &[Test] = &[
    ("a_command_that_cannot_run_is_an_error_with_a_hint", a_command_that_cannot_run_is_an_error_with_a_hint),
    ("the_service_is_its_user_without_rights", the_service_is_its_user_without_rights),
    ("a_service_of_root_can_change_its_user", a_service_of_root_can_change_its_user),
    ("the_end_of_the_output_is_kept", the_end_of_the_output_is_kept),
    ("the_exit_status_is_told", the_exit_status_is_told),
    ("stop_terminates_and_then_kills", stop_terminates_and_then_kills),
    ("environment_and_directory_are_given", environment_and_directory_are_given),
    ("nothing_outlives_a_killed_parent", nothing_outlives_a_killed_parent),
];

fn a_command_that_cannot_run_is_an_error_with_a_hint() -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    std::fs::write(&text, "no program\n").unwrap();
    block_on(async {
        let error = Sandbox::prepare(spec(vec!["no-such-program".into()])).await.unwrap_err();
        assert!(matches!(error, Error::CommandNotFound(_)), "{error:?}");
        assert!(error.hint().is_some());
        let error = Sandbox::prepare(spec(vec![text.clone().into()])).await.unwrap_err();
        assert!(matches!(error, Error::NotExecutable { .. }), "{error:?}");
        let in_no_directory = Spec { cwd: Some("/no/such/directory".into()), ..spec(vec!["true".into()]) };
        let error = Sandbox::prepare(in_no_directory).await.unwrap_err();
        assert!(matches!(error, Error::WorkingDirectory { .. }), "{error:?}");

        std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (mut sandbox, _listeners) = Sandbox::prepare(spec(vec![text.clone().into()])).await.unwrap();
        let error = sandbox.start().await.unwrap_err();
        assert!(matches!(error, Error::Program { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("#!/bin/sh"));
    });
    Ok(())
}

fn the_service_is_its_user_without_rights() -> Ran {
    block_on(async {
        let mut running = Running::start(inside("identity", &[]), &[]).await.unwrap();
        let output = running.output().await;
        let uid = nix::unistd::geteuid();
        assert!(output.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")), "{output}");
        assert!(output.contains("NoNewPrivs:\t1\n"), "{output}");
        assert!(uid.is_root() || output.contains("CapEff:\t0000000000000000\n"), "{output}");
        let open: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("descriptor: ")).collect();
        assert!(open.contains(&"/dev/null"), "{output}");
        assert_eq!(open.len(), 4, "three standard streams and the listing itself: {output}");
        assert!(output.contains("SigBlk:\t0000000000000000\n"), "{output}");
        for refused in ["unmount: E", "deeper: E"] {
            assert!(output.contains(refused), "{output}");
        }
    });
    Ok(())
}

fn a_service_of_root_can_change_its_user() -> Ran {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    block_on(async {
        let mut running = Running::start(inside("become", &[]), &[]).await.unwrap();
        assert_eq!(running.output().await, "uid 65534\n");
    });
    Ok(())
}

fn the_end_of_the_output_is_kept() -> Ran {
    block_on(async {
        let mut running = Running::start(inside("shout", &[]), &[]).await.unwrap();
        let output = running.output().await;
        assert_eq!(output.len(), 64 * 1024);
        assert!(output.ends_with("line 19999\nthe last words\n"));
    });
    Ok(())
}

fn the_exit_status_is_told() -> Ran {
    block_on(async {
        let mut running = Running::start(inside("exit", &["42"]), &[]).await.unwrap();
        assert_eq!(running.sandbox.exited().await.code(), Some(42));
        assert_eq!(running.sandbox.try_exited().unwrap().code(), Some(42));
        let mut running = Running::start(inside("wait", &[]), &[]).await.unwrap();
        running.next().await;
        assert_eq!(running.sandbox.try_exited(), None);
    });
    Ok(())
}

fn stop_terminates_and_then_kills() -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let alive = directory.path().join("alive");
    nix::unistd::mkfifo(&alive, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A shell that obeys, beside a child that ignores it.
    let script = format!(
        "trap 'echo terminated > {}; exit 0' TERM; (trap '' TERM; exec sleep 1000 > {}) & while :; do sleep 0.01; done",
        told.display(),
        alive.display()
    );
    block_on(async {
        let running = Running::start(spec(vec!["sh".into(), "-c".into(), script.into()]), &[]).await.unwrap();
        // Opens once the child writes to it, and ends with the child.
        let mut alive = tokio::fs::File::open(alive).await.unwrap();
        running.sandbox.stop().await;
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "terminated\n");
        assert_eq!(alive.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    });
    Ok(())
}

fn environment_and_directory_are_given() -> Ran {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut spec = spec(vec!["sh".into(), "-c".into(), "echo $GREETING; pwd; ls /run/regress 2>&1".into()]);
        spec.env.push(("GREETING".into(), "hello".into()));
        spec.cwd = Some(directory.path().into());
        let (mut sandbox, _listeners) = Sandbox::prepare(spec).await.unwrap();
        sandbox.start().await.unwrap();
        sandbox.exited().await;
        let output = sandbox.last_output();
        let here = std::fs::canonicalize(directory.path()).unwrap();
        assert!(output.starts_with(&format!("hello\n{}\n", here.display())), "{output}");
    });
    Ok(())
}

/// Holds a sandbox until it is killed; prints a line once the service runs.
pub fn hold() -> ExitCode {
    block_on(async {
        let mut running = Running::start(inside("wait", &[]), &[]).await.unwrap();
        assert!(matches!(running.next().await, Intercepted::Connection(_)));
        println!("holding");
        std::future::pending::<ExitCode>().await
    })
}

fn nothing_outlives_a_killed_parent() -> Ran {
    // The status pipe is held by the sandbox alone, and the service holds this one: its end is everybody's end.
    let (mut alive, alive_writer) = std::io::pipe().unwrap();
    let mut holder =
        Command::new("/proc/self/exe").arg("hold").stdout(Stdio::piped()).stderr(alive_writer).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "holding\n");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut alive, &mut rest).unwrap();
    assert_eq!(rest, "");
    Ok(())
}
