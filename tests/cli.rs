use std::{fmt::Write, path::Path, process::Command};

use crate::{
    harness::{Finished, Need, Process, regress, require},
    services::{Language, PATIENT, RecordedShop, Source},
};

/// What changes from run to run, and what stands for it.
const VARIES: &[(&str, &str)] = &[
    (r"\d{8}T\d{6}\.\d{6}Z-\d{4}", "[ID]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[AT]"),
    // Groups of calls are named after the downstream as well, which has another port each time.
    (r"(entry|entries)( +)[0-9a-f]{8}\b", "$1$2[GROUP]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
    (r"\b\d+(\.\d+)? (ns|µs|us|ms|s)\b", "[TIME]"),
    (r"/tmp/\S*?/cassettes", "[CASSETTES]"),
    (r"regress \d+\.\d+\.\d+", "regress [VERSION]"),
    (r"kernel \d\S*", "kernel [KERNEL]"),
    // A port of four digits makes a cassette smaller than one of five, and the column narrower.
    (r" +\d+(\.\d+)? (B|KiB) ", " [SIZE] "),
];

/// Snapshot exit code, standard output and standard error.
macro_rules! assert_cli {
    ($name:expr, $finished:expr) => {
        insta::with_settings!({ filters => VARIES.to_vec(), omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, render($finished));
        });
    };
}

fn render(finished: &Finished) -> String {
    let mut text = String::new();
    let Finished { code, stdout, stderr } = finished;
    write!(text, "exit code: {code}\n----- stdout -----\n{stdout}\n----- stderr -----\n{stderr}").expect("a string");
    text
}

fn run(command: &mut Command) -> Finished {
    Process::start(command).finish()
}

#[test]
fn help_of_every_command() {
    let commands: &[&[&str]] = &[
        &[],
        &["record"],
        &["replay"],
        &["noise"],
        &["review"],
        &["server"],
        &["cassette"],
        &["cassette", "show"],
        &["cassette", "list"],
        &["cassette", "verify"],
        &["cassette", "pack"],
        &["cassette", "unpack"],
        &["cassette", "redact"],
        &["cassette", "recorrelate"],
        &["cassette", "seal"],
        &["cassette", "open"],
        &["cassette", "rekey"],
        &["doctor"],
        &["hook"],
        &["demo"],
    ];
    for command in commands {
        let finished = run(regress().args(*command).arg("--help"));
        let name = format!("help{}{}", if command.is_empty() { "" } else { "-" }, command.join("-"));
        assert_cli!(name, &finished);
    }
}

#[test]
fn arguments_that_do_not_fit() {
    assert_cli!("no-command", &run(&mut regress()));
    assert_cli!("unknown-command", &run(regress().arg("rewind")));
    assert_cli!("replay-without-folder", &run(regress().arg("replay")));
}

#[test]
fn reports_of_a_small_corpus() {
    if !require("cli::reports", &[Need::Go, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    for change in ["none", "value", "changed-argument", "omitted-call", "extra-call", "exits-early"] {
        let (finished, _) = recorded.replay(change, PATIENT, &["--no-pending", "--report", "text=-"]);
        assert_cli!(format!("replay-{change}"), &finished);
    }
    let cassettes = recorded.cassettes();
    assert_cli!("cassette-list", &cassette("list", &cassettes));
    assert_cli!("cassette-verify", &cassette("verify", &cassettes));
    assert_cli!("cassette-show-ambient", &cassette("show", &cassettes.join("ambient.cassette.json")));
}

fn cassette(what: &str, on: &Path) -> Finished {
    run(regress().arg("cassette").arg(what).arg(on))
}
