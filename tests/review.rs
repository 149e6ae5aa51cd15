use std::path::{Path, PathBuf};

use crate::{
    harness::{Finished, Need, Process, Replay, Terminal, regress, require},
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

#[test]
fn a_cause_is_accepted_wherever_it_is() {
    let Some(recorded) = differing("review::group") else { return };
    let listed = review(&recorded.cassettes(), &["--list"]);
    listed.expect_code(0);
    let (group, rest) = listed.stdout.split_once("  ").expect("a group is told");
    assert!(
        rest.trim_start().starts_with("2 entries  response/body/currency  is now \"USD\", was \"EUR\"\n"),
        "{rest}"
    );
    let before = cassettes(&recorded.cassettes());
    review(&recorded.cassettes(), &["--accept-group", group]).expect_code(0);
    assert_eq!(proposals(&recorded.cassettes()), Vec::<PathBuf>::new());
    recorded.replay(CHANGE, PATIENT, &[]).0.expect_code(0);

    // One line of each cassette changed.
    let mut changed = 0;
    for (old, new) in before.iter().zip(cassettes(&recorded.cassettes())) {
        let lines: Vec<_> = old.lines().zip(new.lines()).filter(|(old, new)| old != new).collect();
        assert_eq!(old.lines().count(), new.lines().count());
        assert!(lines.iter().all(|(old, new)| old.contains("EUR") && new.contains("USD")), "{lines:?}");
        changed += lines.len();
    }
    assert_eq!(changed, 2);
}

#[test]
fn a_group_that_does_not_wait_is_an_error() {
    let Some(recorded) = differing("review::no_such_group") else { return };
    let finished = review(&recorded.cassettes(), &["--accept-group", "00000000"]);
    finished.expect_code(2);
    assert!(finished.stderr.contains("error: no group \"00000000\"") && finished.stderr.contains("hint:"));
    let both = ["--accept-group", CHANGED, "--reject-group", CHANGED];
    review(&recorded.cassettes(), &both).expect_code(2);
    assert_eq!(proposals(&recorded.cassettes()).len(), 2);
}

#[test]
fn what_is_noise_is_allowed_from_then_on() {
    let Some(recorded) = differing("review::noise") else { return };
    let settings = recorded.cassettes().join("rules.toml");
    let ours = format!("# Ours.\n[service]\nname = \"shop\"\nports = [{}]\n", recorded.shop.port);
    std::fs::write(&settings, &ours).expect("the folder can be written");
    let named = settings.display().to_string();
    let before = cassettes(&recorded.cassettes());
    review(&recorded.cassettes(), &["--noise", CHANGED, "--config", &named]).expect_code(0);
    assert_eq!(proposals(&recorded.cassettes()), Vec::<PathBuf>::new());
    assert_eq!(cassettes(&recorded.cassettes()), before);
    let written = std::fs::read_to_string(&settings).expect("the settings can be read");
    assert!(written.starts_with(&ours), "{written}");
    for line in ["[[rules]]", "path = \"response/body/currency\"", "as = \"type\""] {
        assert!(written.contains(line), "{line}: {written}");
    }
    let replay = Replay {
        cassettes: &recorded.cassettes(),
        settings: &settings,
        command: &recorded.shop.language.command(),
        environment: recorded.shop.environment(CHANGE),
        arguments: &[],
    };
    replay.run().0.expect_code(0);
}

#[test]
fn writes_in_another_order_are_accepted_or_allowed() {
    const REORDERED: &str = "writes-reordered";
    const ORDER: &str = "downstream/*/request/order";
    let recorded = |test| differing_by(test, REORDERED);
    for (test, by_path) in [("review::order", false), ("review::order_by_path", true)] {
        let Some(recorded) = recorded(test) else { return };
        let [proposal] = &proposals(&recorded.cassettes())[..] else { panic!("one entry is different") };
        let listed = review(&recorded.cassettes(), &["--list"]).stdout;
        assert!(listed.contains(ORDER) && listed.contains("the call is made in another order"), "{listed}");
        let path = format!("{}:downstream/1/request/order", id_of(proposal));
        let accept = if by_path { vec!["--accept", &path] } else { vec!["--accept-all"] };
        review(&recorded.cassettes(), &accept).expect_code(0);
        assert_eq!(proposals(&recorded.cassettes()), Vec::<PathBuf>::new());
        recorded.replay(REORDERED, PATIENT, &[]).0.expect_code(0);
        recorded.replay("none", PATIENT, &[]).0.expect_code(1);
    }
    let Some(recorded) = recorded("review::order_noise") else { return };
    let settings = recorded.settings("rules", PATIENT);
    let named = settings.display().to_string();
    review(&recorded.cassettes(), &["--noise", ORDER, "--config", &named]).expect_code(0);
    for (change, code) in [("none", 0), (REORDERED, 0), ("write-dropped", 1)] {
        let replay = Replay {
            cassettes: &recorded.cassettes(),
            settings: &settings,
            command: &recorded.shop.language.command(),
            environment: recorded.shop.environment(change),
            arguments: &["--no-pending"],
        };
        replay.run().0.expect_code(code);
    }
}

#[test]
fn a_proposal_for_another_version_of_its_cassette_is_refused() {
    let Some(recorded) = differing("review::stale") else { return };
    let waiting = proposals(&recorded.cassettes());
    let original = waiting[0].with_extension("");
    let text = std::fs::read_to_string(&original).expect("the cassette can be read");
    std::fs::write(&original, text.replacen("\"service\": \"shop\"", "\"service\": \"other\"", 1))
        .expect("it can be written");
    let finished = review(&recorded.cassettes(), &["--accept-all"]);
    finished.expect_code(2);
    assert!(finished.stderr.contains("another version") && finished.stderr.contains("hint:"), "{}", finished.stderr);
    assert_eq!(proposals(&recorded.cassettes()), waiting, "nothing is accepted by half");
    review(&recorded.cassettes(), &["--reject", id_of(&waiting[0])]).expect_code(0);
    review(&recorded.cassettes(), &["--accept-all"]).expect_code(0);
    assert_eq!(proposals(&recorded.cassettes()), Vec::<PathBuf>::new());
}

#[test]
fn a_terminal_is_asked_on() {
    let Some(recorded) = differing("review::terminal") else { return };
    let waiting = proposals(&recorded.cassettes());
    let folder = recorded.cassettes();
    let start = || Terminal::start(regress().arg("review").arg(&folder));
    let question = "by [p]ath, by [g]roup, [s]kip, [q]uit?";

    // Skip one, leave.
    let mut terminal = start();
    let shown = terminal.answer(question, "s");
    assert!(shown.contains("2 left") && shown.contains(id_of(&waiting[0])) && shown.contains(CHANGED), "{shown}");
    assert!(terminal.answer(question, "q").contains(id_of(&waiting[1])));
    assert_eq!(terminal.finish(), 0);
    assert_eq!(proposals(&folder), waiting);

    // Reject one, by path.
    let mut terminal = start();
    terminal.answer(question, "p");
    terminal.answer("[q]uit this one?", "r");
    terminal.answer(question, "q");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(proposals(&folder), waiting[1..]);

    // Accept a cause in all that is left; an unknown key is asked again.
    recorded.replay(CHANGE, PATIENT, &[]).0.expect_code(1);
    let mut terminal = start();
    terminal.answer(question, "x");
    terminal.answer(question, "g");
    let shown = terminal.answer("[a]ccept in all 2 entries", "a");
    assert!(shown.contains("is now \"USD\", was \"EUR\": 2 entries"), "{shown}");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(proposals(&folder), Vec::<PathBuf>::new());
    recorded.replay(CHANGE, PATIENT, &[]).0.expect_code(0);
}

/// A recording beside which the replay of a changed build left proposals.
fn differing(test: &str) -> Option<RecordedShop> {
    differing_by(test, CHANGE)
}

fn differing_by(test: &str, change: &'static str) -> Option<RecordedShop> {
    if !require(test, &[Need::Go, Need::Sandbox]) {
        return None;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    recorded.replay(change, PATIENT, &[]).0.expect_code(1);
    Some(recorded)
}

fn review(cassettes: &Path, arguments: &[&str]) -> Finished {
    Process::start(regress().arg("review").arg(cassettes).args(arguments)).finish()
}

/// The text of every cassette, sorted by file.
fn cassettes(folder: &Path) -> Vec<String> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let paths = files.map(|entry| entry.expect("the folder can be read").into_path());
    let cassettes = paths.filter(|path| path.to_string_lossy().ends_with(".cassette.json"));
    cassettes.map(|path| std::fs::read_to_string(path).expect("a cassette is text")).collect()
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
