use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;

use crate::{
    harness::{Finished, Need, Process, Report, regress, require},
    services::{Language, PATIENT, RecordedShop, Source},
};

/// How many entries a tour through the shop has.
const ENTRIES: usize = 9;

#[test]
fn the_shards_of_a_corpus_are_all_of_it() {
    let Some(recorded) = recorded("select::shards") else { return };
    let whole = replay(&recorded, "value", &[]).1;
    let shards: Vec<Report> =
        (1..=3).map(|shard| replay(&recorded, "value", &["--shard", &format!("{shard}/3")]).1).collect();
    let told = |report: &Report| -> Vec<(String, String)> {
        report.outcomes.iter().map(|outcome| (outcome.cassette.clone(), outcome.verdict.clone())).collect()
    };
    let mut together: Vec<_> = shards.iter().flat_map(told).collect();
    together.sort();
    assert_eq!(together, told(&whole));

    // Of many shards of a few entries some are empty, which is as it should be.
    let empty = (1..=64)
        .map(|shard| replay(&recorded, "value", &["--shard", &format!("{shard}/64"), "--report", "text=-"]))
        .find(|(_, report)| report.summary.total == 0);
    let (finished, _) = empty.expect("so few entries are not in 64 shards");
    finished.expect_code(0);
    assert!(finished.stdout.starts_with("nothing to replay: none of the 9 is selected (shard "), "{}", finished.stdout);
}

#[test]
fn what_is_no_shard_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    for (shard, words) in [("0/4", "1/4 to 4/4"), ("5/4", "1/4 to 4/4"), ("a", "I/N"), ("1/0", "no shards in 0")] {
        let mut command = regress();
        let finished =
            Process::start(command.arg("replay").arg(folder.path()).args(["--shard", shard, "--", "true"])).finish();
        finished.expect_code(2);
        assert!(finished.stderr.contains("error:") && finished.stderr.contains(words), "{}", finished.stderr);
    }
}

#[test]
fn one_of_several_filters_selects() {
    let Some(recorded) = recorded("select::filters") else { return };
    let (finished, report) = replay(&recorded, "none", &["--filter", "health", "--filter", "get-report"]);
    finished.expect_code(0);
    assert_eq!(entries(&report), ["GET /health", "GET /report"]);
    let (finished, _) = recorded.replay("none", PATIENT, &["--filter", "nothing", "--filter", "*never*"]);
    finished.expect_code(2);
    assert!(finished.stderr.contains(r#"no entry matches the filter "nothing" or "*never*""#), "{}", finished.stderr);
}

#[test]
fn a_replay_that_stops_at_the_first_difference_says_what_it_left_out() {
    let Some(recorded) = recorded("select::fail_fast") else { return };
    let (finished, report) = replay(&recorded, "value", &["--fail-fast", "--report", "text=-"]);
    finished.expect_code(1);
    // The second entry is the first with an order in it.
    assert_eq!(entries(&report), ["GET /health", "GET /orders/7"]);
    assert_eq!(report.summary.different, 1);
    let all = report.outcomes.iter().map(|outcome| &outcome.cassette);
    let all: BTreeSet<&String> = all.chain(report.not_driven.iter().map(|one| &one.cassette)).collect();
    assert_eq!((report.not_driven.len(), all.len()), (ENTRIES - 2, ENTRIES));
    let says = format!("not driven, since the replay stopped at the first difference: {}", ENTRIES - 2);
    assert!(finished.stdout.contains(&says), "{}", finished.stdout);
    replay(&recorded, "none", &["--fail-fast"]).0.expect_code(0);
}

#[test]
fn only_what_changed_in_git_is_replayed() {
    if !require("select::changed", &[Need::Git]) {
        return;
    }
    let Some(recorded) = recorded("select::changed") else { return };
    let folder = recorded.cassettes();
    let repository = Repository::of(folder.parent().expect("it is in a folder of its own"));
    // The settings of a replay are there and committed.
    let (finished, _) = recorded.replay("none", PATIENT, &["--changed-only"]);
    finished.expect_code(2);
    assert!(finished.stderr.contains("git") && finished.stderr.contains("hint:"), "{}", finished.stderr);
    repository.init();
    let first = repository.commit();

    let changed = |arguments: &[&str]| {
        let (finished, report) = replay(&recorded, "none", arguments);
        finished.expect_code(0);
        entries(&report)
    };
    assert_eq!(changed(&["--changed-only"]), [""; 0]);
    let health = one_of(&folder, "get-health");
    touch(&health);
    assert_eq!(changed(&["--changed-only"]), ["GET /health"]);
    let report = one_of(&folder, "get-report");
    repository.git(&["rm", "--quiet", "--cached"], &report);
    assert_eq!(changed(&["--changed-only"]), ["GET /health", "GET /report"], "what git does not have counts");

    // On a branch, what it has besides the default branch.
    repository.commit();
    repository.git(&["checkout", "--quiet", "-b"], Path::new("work"));
    let broken = one_of(&folder, "get-broken");
    touch(&broken);
    repository.commit();
    assert_eq!(changed(&["--changed-only"]), ["GET /broken"]);
    assert_eq!(changed(&["--changed-only", "--filter", "health"]), [""; 0]);
    assert_eq!(changed(&[&format!("--changed-only={first}")]), ["GET /health", "GET /broken"]);
    assert_eq!(changed(&["--changed-only=HEAD"]), [""; 0]);

    // What concerns all entries.
    touch(&folder.join("ambient.cassette.json"));
    assert_eq!(changed(&["--changed-only=HEAD"]).len(), ENTRIES);
    // The replay writes its settings itself.
    std::fs::write(folder.with_file_name("replay.toml"), "# others\n").expect("a folder of our own");
    repository.commit();
    assert_eq!(changed(&["--changed-only=HEAD"]).len(), ENTRIES);

    let (finished, _) = recorded.replay("none", PATIENT, &["--changed-only=no-such-branch"]);
    finished.expect_code(2);
    assert!(finished.stderr.contains("no-such-branch") && finished.stderr.contains("hint:"), "{}", finished.stderr);
}

/// SIGKILL in the middle: what was known then is in the report, and everything else is driven.
#[test]
fn a_killed_replay_is_gone_on_with() {
    let Some(recorded) = recorded("select::resume") else { return };
    let kept = recorded.cassettes().join(".regress/replay.jsonl");
    // It never answers the fourth entry.
    let killed = recorded.begin_replay("hang", PATIENT, &[]);
    killed.wait_for_line("GET /orders/7");
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.finish().code, -1, "a signal ended it");
    let known = std::fs::read_to_string(&kept).expect("it kept what it knew").lines().count() - 1;
    assert!((2..=3).contains(&known), "{known}");

    let (finished, _) = recorded.replay("value", PATIENT, &["--resume", "--max-rung", "exact"]);
    finished.expect_code(2);
    assert!(finished.stderr.contains("with other settings"), "{}", finished.stderr);
    assert!(finished.stderr.contains("hint: begin anew"), "{}", finished.stderr);

    let (finished, report) = recorded.replay("value", PATIENT, &["--resume"]);
    finished.expect_code(1);
    let says = format!("going on: {known} known from before, {} left", ENTRIES - known);
    assert!(finished.stderr.contains(&says), "{}", finished.stderr);
    let report = report.expect("a replay that began has a report");
    let verdicts: Vec<(&str, &str)> =
        report.outcomes.iter().map(|outcome| (outcome.entry.as_str(), outcome.verdict.as_str())).collect();
    let expected = [
        ("GET /health", "same"),
        // As the build that was killed answered it.
        ("GET /orders/7", "same"),
        ("POST /orders", "same"),
        ("GET /report", "same"),
        ("GET /broken", "same"),
        ("GET /orders/9", "different"),
    ];
    assert_eq!(verdicts.len(), ENTRIES);
    assert_eq!(verdicts[..expected.len()], expected);
    assert!(!kept.exists(), "it is done");

    // There is nothing to go on with: it begins anew.
    let (finished, report) = recorded.replay("none", PATIENT, &["--resume"]);
    finished.expect_code(0);
    assert_eq!(report.expect("a replay that began has a report").summary.total, ENTRIES);
}

/// Without the history nobody knows what changed, and nothing must look as if nothing had.
#[test]
fn a_history_that_is_cut_off_is_told() {
    if !require("select::history", &[Need::Git]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let whole = folder.path().join("whole");
    std::fs::create_dir(&whole).expect("a folder of our own");
    let repository = Repository::of(&whole);
    repository.init();
    for (branch, file) in [("main", "a"), ("work", "b")] {
        std::fs::write(whole.join(file), file).expect("a folder of our own");
        repository.git(&["checkout", "--quiet", "-B"], Path::new(branch));
        repository.commit();
    }
    repository.git(&["checkout", "--quiet"], Path::new("main"));
    let from = format!("file://{}", whole.display());
    for (name, how) in [("one", "--single-branch"), ("all", "--no-single-branch")] {
        let clone = folder.path().join(name);
        Repository::of(folder.path()).git(&["clone", "--quiet", "--depth=1", how, "--branch=work", &from], &clone);
        let mut command = regress();
        let finished =
            Process::start(command.arg("replay").arg(&clone).args(["--changed-only", "--", "true"])).finish();
        finished.expect_code(2);
        assert!(finished.stderr.contains("hint: fetch the whole history"), "{name}: {}", finished.stderr);
    }
}

fn recorded(test: &str) -> Option<RecordedShop> {
    require(test, &[Need::Python, Need::Sandbox]).then(|| RecordedShop::record(Language::Python, Source::Proxy))
}

fn replay(recorded: &RecordedShop, change: &'static str, arguments: &[&str]) -> (Finished, Report) {
    let arguments = [&["--no-pending"], arguments].concat();
    let (finished, report) = recorded.replay(change, PATIENT, &arguments);
    let report = report.unwrap_or_else(|| panic!("no report: {}", finished.stderr));
    (finished, report)
}

fn entries(report: &Report) -> Vec<String> {
    report.outcomes.iter().map(|outcome| outcome.entry.clone()).collect()
}

/// The first cassette of a route.
fn one_of(folder: &Path, route: &str) -> PathBuf {
    let files = walkdir::WalkDir::new(folder.join(route)).into_iter().filter_map(Result::ok);
    let files: BTreeSet<PathBuf> =
        files.filter(|file| file.file_type().is_file()).map(|file| file.into_path()).collect();
    files.into_iter().next().unwrap_or_else(|| panic!("no cassette of {route}"))
}

/// Say another time of the recording, which changes the file and nothing that is replayed.
fn touch(file: &Path) {
    let text = std::fs::read_to_string(file).expect("a cassette is text");
    let (before, after) = text.split_once(r#""service": "shop""#).expect("it was recorded as the shop");
    std::fs::write(file, format!(r#"{before}"service": "store"{after}"#)).expect("a folder of our own");
}

/// A git repository.
struct Repository<'a>(&'a Path);

impl Repository<'_> {
    fn of(folder: &Path) -> Repository<'_> {
        Repository(folder)
    }

    fn init(&self) {
        self.git(&["init", "--quiet", "--initial-branch=main"], Path::new("."));
    }

    /// Commit everything, and give the commit.
    fn commit(&self) -> String {
        self.git(&["add", "--all"], Path::new("."));
        let who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com"];
        self.git(&[&who[..], &["commit", "--quiet", "--message"]].concat(), Path::new("change"));
        self.git(&["rev-parse"], Path::new("HEAD")).trim().to_owned()
    }

    fn git(&self, arguments: &[&str], last: &Path) -> String {
        let mut command = Command::new("git");
        let finished = Process::start(command.arg("-C").arg(self.0).args(arguments).arg(last)).finish();
        finished.expect_code(0);
        finished.stdout
    }
}
