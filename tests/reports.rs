use std::fs;

use crate::{
    harness::{Need, Replay, require},
    services::{Language, PATIENT, RecordedShop, Source},
};

/// A change that shows in two cassettes of one route, at one path.
const CHANGE: &str = "value";

#[test]
fn a_github_job_gets_annotations_and_a_summary() {
    if !require("reports::github", &[Need::Go, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let summary = folder.path().join("summary.md");
    fs::write(&summary, "from an earlier step\n").expect("the folder can be written");
    let mut environment = recorded.shop.environment(CHANGE);
    environment.push(("GITHUB_STEP_SUMMARY", summary.display().to_string()));
    let cassettes = recorded.cassettes();
    let replay = |environment, arguments| {
        Replay {
            cassettes: &cassettes,
            settings: &recorded.settings(CHANGE, PATIENT),
            command: &recorded.shop.language.command(),
            environment,
            arguments,
        }
        .run()
    };
    let arguments: &[&str] = &["--no-pending", "--report", "github=-"];
    let (finished, _) = replay(environment.clone(), arguments);
    finished.expect_code(1);

    // The line of the first cassette that has the field which differs.
    let command = finished.stdout.lines().next().expect("there is an annotation");
    let (at, message) = command.strip_prefix("::error file=").and_then(|rest| rest.split_once("::")).expect(command);
    assert!(message.starts_with("is now \"USD\", was \"EUR\": 2 entries"), "{command}");
    let mut at = at.split(',');
    let file = fs::read_to_string(at.next().expect("a file")).expect("the file is the cassette's");
    let line: usize = at.next().and_then(|line| line.strip_prefix("line=")?.parse().ok()).expect(command);
    let line = file.lines().nth(line - 1).expect("the file has it").trim();
    assert_eq!(line.trim_end_matches(','), "\"currency\": \"EUR\"");

    let written = fs::read_to_string(&summary).expect("it is there");
    assert!(written.starts_with("from an earlier step\n<!-- regress replay -->\n## regress replay: different\n"));

    // A summary that cannot be written is said, after the verdict was found.
    environment.pop();
    environment.push(("GITHUB_STEP_SUMMARY", folder.path().join("no/such").display().to_string()));
    let (finished, _) = replay(environment, arguments);
    finished.expect_code(2);
    assert!(finished.stderr.contains("error: cannot write the job's summary") && finished.stderr.contains("hint:"));
}
