//! Whole replays of a small service in real sandboxes, as this user and, started by root, as nobody as well.
#![allow(clippy::print_stdout, reason = "this is a test runner")]

mod shop;

use std::{
    cell::Cell,
    ffi::OsString,
    fs::Permissions,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use std::sync::Arc;

use regress_cassettes::{
    Content, Ended, Store,
    diff::{Number, RuleText, Rules, Schemas},
    redact::{Key, Policy, Redactor},
};
use regress_mockserver::sandbox;
use regress_replayer::{Keep, Progress, Report, Selection, Settings, Verdict, replay, review::Proposal};

/// The first argument when this executable is the service.
const SERVICE: &str = "--shop";
const NOBODY: u32 = 65534;

const TESTS: &[(&str, fn())] = &[
    ("the_recorded_build_is_the_same", the_recorded_build_is_the_same),
    ("what_a_rule_lets_pass_is_the_same_and_counted", what_a_rule_lets_pass_is_the_same_and_counted),
    ("a_replay_that_stops_names_what_it_did_not_drive", a_replay_that_stops_names_what_it_did_not_drive),
    ("an_interrupted_replay_goes_on_as_if_it_had_not_been", an_interrupted_replay_goes_on_as_if_it_had_not_been),
    ("changed_builds_are_different_where_they_changed", changed_builds_are_different_where_they_changed),
    ("what_any_cassette_knows_is_known_to_a_part_of_them", what_any_cassette_knows_is_known_to_a_part_of_them),
    ("what_was_accepted_is_the_same_from_then_on", what_was_accepted_is_the_same_from_then_on),
    ("a_service_that_cannot_answer_hides_no_other_entry", a_service_that_cannot_answer_hides_no_other_entry),
    ("a_service_that_takes_no_entry_is_inconclusive", a_service_that_takes_no_entry_is_inconclusive),
    ("what_cannot_be_told_is_never_the_same", what_cannot_be_told_is_never_the_same),
    ("a_proposal_that_no_longer_applies_is_removed", a_proposal_that_no_longer_applies_is_removed),
    ("a_packed_folder_replays_like_the_folder", a_packed_folder_replays_like_the_folder),
    ("a_missing_command_is_an_error", a_missing_command_is_an_error),
];

fn main() -> ExitCode {
    if let Some(code) = sandbox::helper_main() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, build] = &arguments[..]
        && first == SERVICE
    {
        return shop::serve(build);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    run(&arguments)
}

fn run(arguments: &[String]) -> ExitCode {
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let is_root = nix::unistd::geteuid().is_root();
    let user = if is_root { "root" } else { "user" };
    let impossible = sandbox::probe().err();
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str()))) {
        let passed = match &impossible {
            Some(why) => skipped(&format!("{name} as {user}"), &why.to_string()),
            None => catch_unwind(AssertUnwindSafe(test)).is_ok(),
        };
        println!("test {name} as {user} ... {}", if passed { "done" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    if is_root && !passes_as_nobody(arguments) {
        failed += 1;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes_as_nobody(arguments: &[String]) -> bool {
    let again = Command::new("/proc/self/exe").args(arguments).current_dir("/").uid(NOBODY).gid(NOBODY).status();
    again.map_or_else(|why| skipped("everything as nobody", &why.to_string()), |status| status.success())
}

/// Whether a test may be skipped.
fn skipped(name: &str, why: &str) -> bool {
    println!("skipped: {name}: {why}");
    std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|required| required != "all")
}

/// A folder of cassettes, and this executable where every user can run it.
struct Recorded {
    folder: tempfile::TempDir,
    store: Store,
}

impl Recorded {
    fn new(defect: bool) -> Recorded {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        std::fs::copy("/proc/self/exe", folder.path().join("shop")).unwrap();
        let store = Store::create(folder.path().join("cassettes")).unwrap();
        shop::record(&store, defect);
        Recorded { folder, store }
    }

    fn settings(&self, build: &str) -> Settings {
        Settings {
            keys: Default::default(),
            rules: Default::default(),
            redactor: Arc::new(Redactor::new(Key::drawn().unwrap(), Policy::default())),
            store: self.store.root().to_path_buf(),
            command: vec![self.folder.path().join("shop").into_os_string(), SERVICE.into(), build.into()],
            env: Vec::<(OsString, OsString)>::new(),
            cwd: None,
            jobs: 1,
            selection: Selection::default(),
            only: None,
            fail_fast: false,
            entry_port: None,
            ready_timeout: Duration::from_secs(if build == "elsewhere" { 1 } else { 60 }),
            entry_timeout: Duration::from_secs(if build == "hangs" { 1 } else { 60 }),
            settle: Duration::from_millis(200),
            policy: Default::default(),
            keep: Keep::Anew,
            propose: true,
            answer_misses: false,
            helper: PathBuf::from("/proc/self/exe"),
        }
    }

    fn replay(&self, build: &str) -> Report {
        run_replay(self.settings(build)).unwrap()
    }

    fn proposals(&self) -> Vec<Proposal> {
        Proposal::all(&self.store, &Schemas::none()).unwrap()
    }
}

fn run_replay(settings: Settings) -> Result<Report, regress_replayer::Error> {
    tokio::runtime::Runtime::new().unwrap().block_on(replay(settings, |_| {}))
}

/// What differs in the one entry that may; every other one has to be the same.
fn paths(report: &Report) -> Vec<String> {
    let mut paths = Vec::new();
    for outcome in &report.outcomes {
        if outcome.cassette == shop::changed() {
            paths = outcome.findings.iter().flat_map(|finding| finding.paths()).collect();
        } else {
            assert_eq!(outcome.verdict, Verdict::Same, "{outcome:#?}");
        }
    }
    paths
}

fn the_recorded_build_is_the_same() {
    let recorded = Recorded::new(false);
    for jobs in [1, 2, 9] {
        let report = run_replay(Settings { jobs, ..recorded.settings("recorded") }).unwrap();
        assert_eq!(report.verdict(), Verdict::Same, "{report:#?}");
        let ids: Vec<_> = report.outcomes.iter().map(|outcome| outcome.cassette.clone()).collect();
        assert_eq!(ids, (1..=shop::ORDERS).map(shop::id).collect::<Vec<_>>());
        assert!(report.outcomes.iter().all(|outcome| outcome.calls.len() == 2), "{report:#?}");
    }
    assert_eq!(recorded.proposals().len(), 0);
    let one = run_replay(Settings { selection: only("*-0003"), ..recorded.settings("recorded") }).unwrap();
    assert_eq!((one.summary().total, one.verdict()), (1, Verdict::Same));
}

fn what_a_rule_lets_pass_is_the_same_and_counted() {
    let recorded = Recorded::new(false);
    let rule = |path: &str, tolerance: &str| RuleText {
        path: path.to_owned(),
        effect: "tolerance".to_owned(),
        tolerance: Some(Number::Text(tolerance.to_owned())),
        ..RuleText::default()
    };
    let replay = |build: &str, rules: Vec<RuleText>| {
        run_replay(Settings { rules: Rules::new(rules).unwrap(), ..recorded.settings(build) }).unwrap()
    };
    let under = |rules| replay("rounds", rules);
    let report =
        under(vec![rule("response/body/total", "1"), rule("response/body/gone", "1"), rule("request/end", "1")]);
    assert_eq!((paths(&report), report.verdict()), (vec![], Verdict::Same), "{report:#?}");
    let uses: Vec<_> = report.rules.iter().map(|rule| (rule.fired, rule.selected > 0, rule.is_stale())).collect();
    assert_eq!(uses, [(1, true, false), (0, true, true), (0, true, true)]);
    assert_eq!(recorded.proposals().len(), 0, "nothing is proposed where all is noise");
    let report = replay("reserves-more", vec![rule("request/body/quantity", "1")]);
    assert_eq!((paths(&report), report.verdict()), (vec![], Verdict::Same), "the mock plays under them: {report:#?}");
    assert_eq!(report.rules[0].fired, 1);
    let report = under(vec![rule("response/body/total", "0.5")]);
    assert_eq!((paths(&report), report.verdict()), (strings(&["response/body/total"]), Verdict::Different));
}

fn only(filter: &str) -> Selection {
    Selection { filters: vec![filter.to_owned()], ..Selection::default() }
}

fn a_replay_that_stops_names_what_it_did_not_drive() {
    let recorded = Recorded::new(false);
    let settings = |build| Settings { fail_fast: true, ..recorded.settings(build) };
    let same = run_replay(settings("recorded")).unwrap();
    assert_eq!((same.summary().total, same.not_driven.len(), same.verdict()), (4, 0, Verdict::Same));
    for (build, proposed) in [("rounds", 1), ("reserves-more", 1), ("holds", 0)] {
        let report = run_replay(settings(build)).unwrap();
        assert_eq!(report.verdict(), Verdict::Different);
        let driven: Vec<_> =
            report.outcomes.iter().map(|outcome| (outcome.verdict, outcome.cassette.clone())).collect();
        let (last, before) = driven.split_last().unwrap();
        assert_eq!(last.0, Verdict::Different);
        assert!(before.iter().all(|(verdict, _)| *verdict == Verdict::Same), "{report:#?}");
        let driven = driven.into_iter().map(|(_, id)| id);
        let all: Vec<_> = driven.chain(report.not_driven.iter().map(|one| one.cassette.clone())).collect();
        assert_eq!(all, (1..=shop::ORDERS).map(shop::id).collect::<Vec<_>>());
        assert!(!report.not_driven.is_empty());
        assert_eq!(recorded.proposals().len(), proposed, "proposed is what was driven");
    }
}

fn an_interrupted_replay_goes_on_as_if_it_had_not_been() {
    for (build, verdict) in
        [("recorded", Verdict::Same), ("rounds", Verdict::Different), ("reserves-more", Verdict::Different)]
    {
        let recorded = Recorded::new(false);
        let whole = run_replay(recorded.settings(build)).unwrap();
        assert_eq!(whole.verdict(), verdict, "{build}");
        let expected = proposed(&recorded);
        recorded.proposals().into_iter().for_each(|proposal| proposal.reject().unwrap());

        interrupted(recorded.settings(build), 2);
        let known = Cell::new(0);
        let resumed = Settings { keep: Keep::GoOn, ..recorded.settings(build) };
        let resumed = replay(resumed, |progress| match progress {
            Progress::Begun { entries, known: from_before } => {
                assert_eq!(entries + from_before, shop::ORDERS as usize);
                known.set(from_before);
            }
            Progress::NotKept(why) => panic!("{why}"),
            _ => {}
        });
        let resumed = tokio::runtime::Runtime::new().unwrap().block_on(resumed).unwrap();
        assert!(known.get() >= 2, "{build}: {}", known.get());
        assert_eq!(timeless(resumed), timeless(whole), "{build}");
        assert_eq!(proposed(&recorded), expected, "{build}");
        assert!(!recorded.store.root().join(".regress/replay.jsonl").exists(), "{build}: it is done");
    }
}

/// What is proposed, in words.
fn proposed(recorded: &Recorded) -> Vec<String> {
    recorded.proposals().iter().map(|proposal| format!("{} {:?}", proposal.id(), proposal.changes())).collect()
}

/// Begin a replay, and give it up after some outcomes.
fn interrupted(settings: Settings, outcomes: usize) {
    let seen = Cell::new(0);
    let enough = tokio::sync::Notify::new();
    let replay = replay(settings, |progress| {
        if matches!(progress, Progress::Outcome(_)) {
            seen.set(seen.get() + 1);
            if seen.get() == outcomes {
                enough.notify_one();
            }
        }
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        tokio::select! {
            biased;
            () = enough.notified() => {}
            report = replay => panic!("it was not interrupted: {report:#?}"),
        }
    });
}

/// The report without what no two replays have in common.
fn timeless(mut report: Report) -> Report {
    report.outcomes.iter_mut().for_each(|outcome| {
        outcome.took = outcome.took.map(|_| Duration::ZERO);
        outcome.sides = None;
    });
    report
}

/// A changed build.
struct Change {
    build: &'static str,
    /// What differs.
    differs: &'static [&'static str],
    /// What differs with the misses answered, where there are some.
    if_answered: Option<&'static [&'static str]>,
    /// Whether there is anything to propose.
    proposed: bool,
}

const CHANGES: &[Change] = &[
    Change { build: "rounds", differs: &["response/body/total"], if_answered: None, proposed: true },
    Change { build: "knows-the-price", differs: &["downstream/1"], if_answered: None, proposed: true },
    Change {
        build: "reserves-more",
        differs: &[
            "response/status",
            "response/header/content-type",
            "response/body",
            "downstream/0/request/body/quantity",
            "downstream/1",
        ],
        if_answered: Some(&["downstream/0/request/body/quantity"]),
        proposed: true,
    },
    Change { build: "asks-more", differs: &["downstream/2"], if_answered: Some(&["downstream/2"]), proposed: true },
    Change { build: "holds", differs: &["downstream/2"], if_answered: Some(&["downstream/2"]), proposed: false },
    Change { build: "asks-others", differs: &["downstream/2"], if_answered: Some(&["downstream/2"]), proposed: false },
];

fn changed_builds_are_different_where_they_changed() {
    let recorded = Recorded::new(false);
    for Change { build, differs, if_answered, proposed } in CHANGES {
        let report = recorded.replay(build);
        assert_eq!((paths(&report), report.verdict()), (strings(differs), Verdict::Different), "{build}");
        let outcome = &report.outcomes[1];
        let left = outcome.if_answered.as_ref();
        let left = left.map(|left| left.iter().flat_map(|finding| finding.paths()).collect::<Vec<_>>());
        assert_eq!(left, if_answered.map(strings), "{build}");
        assert_eq!(outcome.pending.is_some(), *proposed, "{build}");
    }
}

fn what_any_cassette_knows_is_known_to_a_part_of_them() {
    let recorded = Recorded::new(false);
    let part = || run_replay(Settings { selection: only("*-0002"), ..recorded.settings("holds") }).unwrap();
    assert_eq!(paths(&part()), ["downstream/2"]);
    // One more each time is a leak, wherever it goes.
    shop::know_nowhere(&recorded.store, Content::Nothing, Ended::Timeout);
    assert_eq!(paths(&part()), ["downstream/2"]);
    assert_eq!(paths(&recorded.replay("holds")), ["downstream/2"]);
    // The recorded build left one unused as well.
    shop::know_nowhere(&recorded.store, Content::Opaque(Vec::new()), Ended::Unfinished);
    assert_eq!(part().verdict(), Verdict::Same);
    assert_eq!(recorded.replay("holds").outcomes[1].verdict, Verdict::Same);
}

fn strings(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn what_was_accepted_is_the_same_from_then_on() {
    for Change { build, .. } in CHANGES.iter().filter(|change| change.proposed) {
        let recorded = Recorded::new(false);
        recorded.replay(build);
        for proposal in recorded.proposals() {
            assert_eq!(proposal.id(), &shop::changed());
            let unanswered = proposal.changes().iter().any(|change| change.unanswered);
            assert_eq!(unanswered, *build == "asks-more");
            proposal.accept().unwrap();
        }
        assert_eq!(recorded.replay(build).verdict(), Verdict::Same, "{build}");
        assert_eq!(recorded.replay("recorded").verdict(), Verdict::Different, "{build}");
    }
}

fn a_service_that_cannot_answer_hides_no_other_entry() {
    for (build, expected) in [
        ("crashes", ["response", "process", "downstream/0", "downstream/1"].as_slice()),
        ("exits-after", &["process"]),
        ("exits-late", &["process"]),
        ("hangs", &["response", "downstream/0", "downstream/1"]),
    ] {
        let recorded = Recorded::new(false);
        let report = recorded.replay(build);
        assert_eq!((paths(&report), report.verdict()), (strings(expected), Verdict::Different), "{build}");
        let output = report.outcomes[1].last_output.as_deref().unwrap_or_default();
        assert!(output.contains(&format!("the build {build} listens")), "{output}");
        assert_eq!(recorded.proposals().len(), 0, "{build}: nothing to propose");
    }
}

fn a_service_that_takes_no_entry_is_inconclusive() {
    let recorded = Recorded::new(false);
    for (build, why) in [
        ("exits", "the service exited with status 3 before it took an entry"),
        ("elsewhere", "the service was not listening on 8080 within 1 s; it listens on 0.0.0.0:8081"),
    ] {
        let report = run_replay(Settings { jobs: 2, ..recorded.settings(build) }).unwrap();
        assert_eq!(report.verdict(), Verdict::Inconclusive);
        assert_eq!(report.outcomes.len(), shop::ORDERS as usize);
        assert!(report.outcomes.iter().all(|outcome| outcome.doubts == [why]), "{report:#?}");
    }
    let there = Settings { entry_port: Some(8081), ..recorded.settings("elsewhere") };
    assert_eq!(run_replay(there).unwrap().verdict(), Verdict::Same);
}

fn what_cannot_be_told_is_never_the_same() {
    let defective = Recorded::new(true).replay("recorded");
    assert_eq!(paths(&defective), Vec::<String>::new());
    assert_eq!(defective.verdict(), Verdict::Inconclusive);

    let recorded = Recorded::new(false);
    let asked = recorded.replay("asks-first");
    assert_eq!((paths(&asked), asked.verdict()), (vec![], Verdict::Inconclusive));
    assert_eq!(asked.startup.iter().map(|call| call.request.as_str()).collect::<Vec<_>>(), ["GET /flags"]);

    let file = &recorded.store.list().unwrap()[1].path;
    std::fs::write(file, "{").unwrap();
    let unreadable = recorded.replay("recorded");
    assert_eq!((unreadable.summary().same, unreadable.verdict()), (3, Verdict::Inconclusive));
    assert_eq!(unreadable.unreadable.iter().map(|one| one.file.as_path()).collect::<Vec<&Path>>(), [file]);
}

fn a_proposal_that_no_longer_applies_is_removed() {
    let recorded = Recorded::new(false);
    recorded.replay("rounds");
    assert_eq!(recorded.proposals().len(), 1);
    run_replay(Settings { propose: false, ..recorded.settings("recorded") }).unwrap();
    assert_eq!(recorded.proposals().len(), 1, "left alone when no proposals are wanted");
    recorded.replay("recorded");
    assert_eq!(recorded.proposals().len(), 0);
    recorded.replay("rounds");
    recorded.replay("crashes");
    assert_eq!(recorded.proposals().len(), 0, "a crash proposes nothing");
}

fn a_packed_folder_replays_like_the_folder() {
    let recorded = Recorded::new(false);
    let file = recorded.folder.path().join("cassettes.cassettes.zst");
    regress_cassettes::pack(recorded.store.root(), &file).unwrap();
    for (build, jobs) in [("recorded", 1), ("recorded", 3), ("rounds", 1), ("asks-more", 1)] {
        let folder = run_replay(Settings { propose: false, jobs, ..recorded.settings(build) }).unwrap();
        let packed = run_replay(Settings { store: file.clone(), jobs, ..recorded.settings(build) }).unwrap();
        assert_eq!((paths(&packed), packed.verdict()), (paths(&folder), folder.verdict()), "{build}");
        let differs = packed.verdict() == Verdict::Different;
        assert_eq!(packed.not_proposed.is_some_and(|why| why.contains("regress cassette unpack")), differs, "{build}");
    }
}

fn a_missing_command_is_an_error() {
    let recorded = Recorded::new(false);
    let error = run_replay(Settings { command: vec!["/no/such/build".into()], ..recorded.settings("") }).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains("/no/such/build") && error.hint().is_some(), "{error:?}");
}
