use crate::{
    harness::{Need, Outcome, Report, repeats, require},
    services::{Language, PATIENT, RecordedShop, Source},
};

#[test]
fn python_is_itself_every_time() {
    is_itself("stable::python", Language::Python);
}

#[test]
fn node_is_itself_every_time() {
    is_itself("stable::node", Language::Node);
}

#[test]
fn go_is_itself_every_time() {
    is_itself("stable::go", Language::Go);
}

fn is_itself(test: &str, language: Language) {
    if !require(test, &[language.need(), Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(language, Source::Ebpf);
    for _ in 0..repeats() {
        recorded.replay("none", PATIENT, &[]).0.expect_code(0);
    }
}

#[test]
fn four_jobs_say_what_one_says() {
    if !require("stable::jobs", &[Need::Go, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Ebpf);
    for (change, code) in [("none", 0), ("value", 1)] {
        let said = ["1", "4"].map(|jobs| {
            let (finished, report) = recorded.replay(change, PATIENT, &["--no-pending", "--jobs", jobs]);
            finished.expect_code(code);
            verdicts(&report.expect("a replay that began has a report"))
        });
        assert_eq!(said[0], said[1], "{change}");
    }
}

/// The verdict of each cassette, by id.
fn verdicts(report: &Report) -> Vec<(String, String)> {
    let of = |outcome: &Outcome| (outcome.cassette.clone(), outcome.verdict.clone());
    let mut verdicts: Vec<_> = report.outcomes.iter().map(of).collect();
    verdicts.sort_unstable();
    verdicts
}
