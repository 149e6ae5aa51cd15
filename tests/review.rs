use std::path::{Path, PathBuf};

use crate::{
    harness::{Finished, Need, Process, regress, require},
    services::{Language, PATIENT, RecordedShop, Source},
};

/// A change that shows in the two cassettes of one route, at one path.
const CHANGE: &str = "value";
const CHANGED: &str = "response/body/currency";

#[test]
fn what_is_accepted_becomes_the_recording() {
    let Some(recorded) = differing("review::accept") else { return };
    assert_eq!(proposals(&recorded.cassettes()).len(), 2);
    review(&recorded.cassettes(), &["--accept-all"]).expect_code(0);
    assert_eq!(proposals(&recorded.cassettes()), Vec::<PathBuf>::new());
    recorded.replay(CHANGE, PATIENT, &[]).0.expect_code(0);
    recorded.replay("none", PATIENT, &[]).0.expect_code(1);
}

#[test]
fn what_is_rejected_stays_different() {
    let Some(recorded) = differing("review::reject") else { return };
    review(&recorded.cassettes(), &["--reject-all"]).expect_code(0);
    assert_eq!(proposals(&recorded.cassettes()), Vec::<PathBuf>::new());
    recorded.replay("none", PATIENT, &[]).0.expect_code(0);
    recorded.replay(CHANGE, PATIENT, &[]).0.expect_code(1);
}

#[test]
fn what_is_accepted_by_path_is_accepted_alone() {
    let Some(recorded) = differing("review::path") else { return };
    let waiting = proposals(&recorded.cassettes());
    let accepted = format!("{}:{CHANGED}", id_of(&waiting[0]));
    review(&recorded.cassettes(), &["--accept", &accepted]).expect_code(0);
    assert_eq!(proposals(&recorded.cassettes()), waiting[1..]);

    let (finished, report) = recorded.replay(CHANGE, PATIENT, &[]);
    finished.expect_code(1);
    let report = report.expect("a replay that began has a report");
    let different = report.outcomes.iter().filter(|outcome| outcome.verdict == "different");
    let different: Vec<&str> = different.map(|outcome| outcome.cassette.as_str()).collect();
    assert_eq!(different, [id_of(&waiting[1])]);
}

#[test]
fn a_path_without_a_difference_is_an_error_that_changes_nothing() {
    let Some(recorded) = differing("review::no_such_path") else { return };
    let waiting = proposals(&recorded.cassettes());
    let wrong = format!("{}:response/body/colour", id_of(&waiting[0]));
    let finished = review(&recorded.cassettes(), &["--accept", &wrong]);
    finished.expect_code(2);
    assert!(finished.stderr.contains("error:") && finished.stderr.contains("hint:"), "{}", finished.stderr);
    assert_eq!(proposals(&recorded.cassettes()), waiting);
}

/// A recording beside which the replay of a changed build left proposals.
fn differing(test: &str) -> Option<RecordedShop> {
    if !require(test, &[Need::Go, Need::Sandbox]) {
        return None;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    recorded.replay(CHANGE, PATIENT, &[]).0.expect_code(1);
    Some(recorded)
}

fn review(cassettes: &Path, arguments: &[&str]) -> Finished {
    Process::start(regress().arg("review").arg(cassettes).args(arguments)).finish()
}

/// The files that wait for review, sorted.
fn proposals(cassettes: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(cassettes).sort_by_file_name().into_iter();
    let paths = files.map(|entry| entry.expect("the folder can be read").into_path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "new")).collect()
}

/// The id of the cassette that a proposal is about.
fn id_of(proposal: &Path) -> &str {
    let name = proposal.file_name().and_then(|name| name.to_str()).expect("names are ASCII");
    name.strip_suffix(".cassette.json.new").expect("a proposal is named after its cassette")
}
