use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    harness::{Need, require},
    services::{Language, PATIENT, RecordedShop, Source},
};

/// How the test inside is told what to replay.
const CASSETTES: &str = "RUST_TESTS_CASSETTES";
const COMMAND: &str = "RUST_TESTS_COMMAND";
const SETTINGS: &str = "RUST_TESTS_SETTINGS";

/// What a user of `regress-test` writes. The test below runs it in a process of its own.
#[test]
#[ignore = "what_differs_is_a_snapshot_of_insta runs it"]
fn inside() {
    let given = |name| env::var(name).unwrap_or_else(|_| panic!("{name} is not set: another test runs this one"));
    let (cassettes, command, settings) = (given(CASSETTES), given(COMMAND), given(SETTINGS));
    regress_test::replay(cassettes)
        .regress(env!("CARGO_BIN_EXE_regress"))
        .arguments(["--config", settings.as_str(), "--no-pending"])
        .command(command.split(' '))
        .assert();
}

#[test]
fn what_differs_is_a_snapshot_of_insta() {
    if !require("rust_tests::insta", &[Need::Go, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    let same = inner(&recorded, "none");
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    assert_eq!(snapshots(&recorded), Vec::<PathBuf>::new());

    let different = inner(&recorded, "value");
    let told = String::from_utf8_lossy(&different.stdout).into_owned() + &String::from_utf8_lossy(&different.stderr);
    assert!(!different.status.success());
    assert!(told.contains("cargo insta review") && told.contains("response/body/currency"), "{told}");
    let proposed = snapshots(&recorded);
    assert_eq!(proposed.len(), 2, "{told}");
    for file in proposed {
        // What `cargo insta accept` does.
        assert_eq!(file.extension(), Some("new".as_ref()));
        let text = std::fs::read_to_string(&file).expect("it can be read");
        assert!(text.contains("response/body/currency  changed\n  expected  \"EUR\"\n  actual    \"USD\""), "{text}");
        std::fs::rename(&file, file.with_extension("")).expect("it can be renamed");
    }
    assert!(inner(&recorded, "value").status.success(), "the difference was accepted");

    let again = inner(&recorded, "none");
    let told = String::from_utf8_lossy(&again.stdout).into_owned() + &String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && told.contains("as recorded again"), "{told}");
}

/// Run the test inside against the shop with a change.
fn inner(recorded: &RecordedShop, change: &'static str) -> Output {
    let mut command = Command::new(env::current_exe().expect("this is a program"));
    command.args(["--exact", "rust_tests::inside", "--ignored", "--nocapture"]);
    command.env(CASSETTES, recorded.cassettes()).env(COMMAND, recorded.shop.language.command().join(" "));
    command.env(SETTINGS, recorded.settings(change, PATIENT)).env("INSTA_UPDATE", "new").env_remove("CI");
    command.envs(recorded.shop.environment(change)).output().expect("it can be run")
}

/// The snapshots beside the cassettes, sorted.
fn snapshots(recorded: &RecordedShop) -> Vec<PathBuf> {
    let folder = recorded.cassettes().parent().map(|folder| folder.join("snapshots")).expect("it is in a folder");
    let Ok(files) = Path::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("the folder can be read").path()).collect();
    files.sort();
    files
}
