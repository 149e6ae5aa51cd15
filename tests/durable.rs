//! A kill, a full disk, a failing one: at each call that changes files.

/// What has to hold afterwards.
mod aftermath;
/// Commands that change a folder of cassettes.
mod commands;
/// Names and links that somebody else has chosen.
mod names;
/// What a recorder is told.
#[path = "../recorder/tests/script/mod.rs"]
mod script;
/// Who writes, in a process of its own.
mod writer;

use nix::errno::Errno;

use crate::harness::{Need, faults::Fault, require};
use aftermath::judge;
use writer::{Mode, Written};

/// Whether everything is to be visited, of a larger work: thousands of points, in half an hour.
fn is_long() -> bool {
    std::env::var("REGRESS_TEST_SWEEP").is_ok_and(|value| value == "all")
}

/// The points that are visited, one in `every`.
fn sweep(points: usize, every: usize) -> impl Iterator<Item = usize> {
    let every = if is_long() { 1 } else { every };
    (0..points).step_by(every)
}

/// Run the writer with the fault at each point, and judge what it leaves.
fn each(mode: Mode, every: usize, fault: Fault) -> usize {
    if !require("durable::writer", &[Need::Trace]) {
        return usize::MAX;
    }
    let undisturbed = Written::by(mode, None);
    let points = undisturbed.traced.calls;
    judge(undisturbed);
    for point in sweep(points, every) {
        judge(Written::by(mode, Some((point, fault))));
    }
    points
}

#[test]
fn a_writer_that_is_killed_leaves_whole_files() {
    let points = each(Mode::AtOnce, 1, Fault::Kill);
    assert!(points > 100, "{points}");
}

#[test]
fn a_writer_that_does_not_wait_for_the_disk_and_is_killed_leaves_whole_files() {
    let points = each(Mode::Later, 1, Fault::Kill);
    assert!(points > 60, "{points}");
}

#[test]
fn a_recorder_that_is_killed_leaves_whole_files_and_its_mark() {
    let points = each(Mode::Recorder, 1, Fault::Kill);
    assert!(points > 40, "{points}");
}

#[test]
fn a_call_that_fails_is_told_and_leaves_whole_files() {
    for errno in [Errno::ENOSPC, Errno::EIO, Errno::EDQUOT, Errno::EROFS, Errno::EACCES] {
        each(Mode::AtOnce, 9, Fault::Fail(errno));
        each(Mode::Later, 9, Fault::Fail(errno));
    }
}

#[test]
fn a_disk_that_fills_up_is_told_and_leaves_whole_files() {
    each(Mode::AtOnce, 3, Fault::FailFromThen(Errno::ENOSPC));
    each(Mode::Later, 3, Fault::FailFromThen(Errno::ENOSPC));
    each(Mode::Recorder, 3, Fault::FailFromThen(Errno::ENOSPC));
}

#[test]
fn a_recorder_whose_call_fails_says_so_and_leaves_whole_files() {
    for errno in [Errno::ENOSPC, Errno::EIO] {
        each(Mode::Recorder, 3, Fault::Fail(errno));
    }
}

#[test]
fn a_write_that_is_cut_short_is_gone_on_with() {
    for mode in [Mode::AtOnce, Mode::Later, Mode::Recorder] {
        each(mode, 4, Fault::Short);
    }
}
