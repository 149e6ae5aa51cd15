use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use aya::{programs::ProgramError, sys::SyscallError};
use regress_cassettes::Store;

use crate::{
    harness::{Client, Need, Process, Recording, regress, require},
    services::{Language, Shop},
};

/// How many cassettes are there when the recorder is killed.
const MOMENTS: [usize; 8] = [0, 1, 2, 7, 20, 55, 120, 300];
const CLIENTS: u32 = 4;
/// A guard against waiting for ever, never a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// SIGKILL at any moment of a recording under load: the service goes on, what was written is whole, and nothing of the
/// recorder stays in the kernel.
#[test]
fn root_a_killed_recorder_leaves_whole_cassettes_and_no_program() {
    if !require("killed", &[Need::Python, Need::Ebpf]) {
        return;
    }
    let shop = Shop::new(Language::Python);
    let service = shop.run();
    for cassettes in MOMENTS {
        let out = tempfile::tempdir().expect("there is a temporary folder");
        let arguments = ["--pid", &service.id().to_string(), "--via", "ebpf"];
        let recording = Recording::start(out.path(), arguments, []);
        let programs = programs_of(recording.id());
        assert!(programs.len() >= 4, "{programs:?}");
        let over = AtomicBool::new(false);
        let port = shop.port;
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let over = &over;
                scope.spawn(move || {
                    let client = Client::new(port);
                    let mut number = 0;
                    while !over.load(Ordering::Relaxed) {
                        number += 1;
                        assert_eq!(client.get(&format!("/orders/{number}")).status, 200);
                    }
                });
            }
            wait(|| written(out.path()) >= cassettes, "cassettes");
            recording.kill();
            over.store(true, Ordering::Relaxed);
        });
        // The service answers, and the kernel is as it was.
        assert_eq!(Client::new(shop.port).get("/orders/7").status, 200);
        wait(|| programs.is_disjoint(&loaded()), "the kernel to drop the programs");
        let found = written(out.path());
        assert!(found >= cassettes);
        if found > 0 {
            let verify = || {
                let mut verify = regress();
                Process::start(verify.args(["cassette", "verify"]).arg(out.path())).finish()
            };
            let finished = verify();
            finished.expect_code(2);
            assert!(finished.stdout.contains("a recording into this folder did not end"), "{}", finished.stdout);
            let files = std::fs::read_dir(out.path()).expect("the recorder made the folder");
            for file in files.filter_map(|file| Some(file.ok()?.path())) {
                if file.extension().is_some_and(|extension| extension == "recording") {
                    std::fs::remove_file(file).expect("our own folder");
                }
            }
            verify().expect_code(0);
        }
    }
    service.stop();
}

/// Cassettes in the folder that have a name, the ambient one among them.
fn written(folder: &Path) -> usize {
    let store = Store::open(folder).expect("the recorder made the folder");
    // A folder may be made while it is walked.
    store.walk().filter(|found| found.is_ok()).count()
}

#[track_caller]
/// Waits until this holds; `what` says for what.
pub fn wait(until: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !until() {
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The kernel programs that a process holds, by its descriptors (proc_pid_fdinfo(5)).
fn programs_of(process: u32) -> BTreeSet<u32> {
    let folder = std::fs::read_dir(format!("/proc/{process}/fdinfo")).expect("the process runs");
    let texts = folder.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())).collect()
}

/// All programs that the kernel has. One may go while they are listed.
fn loaded() -> BTreeSet<u32> {
    let is_gone = |error: &ProgramError| {
        matches!(error, ProgramError::SyscallError(SyscallError { io_error, .. })
            if io_error.kind() == std::io::ErrorKind::NotFound)
    };
    let listed = aya::programs::loaded_programs().filter(|program| !program.as_ref().is_err_and(is_gone));
    listed.map(|program| program.expect("root may ask").id()).collect()
}
