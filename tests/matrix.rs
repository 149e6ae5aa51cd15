//! The regression matrix: one recording of each service, replayed against the same build, against builds that changed
//! harmlessly and against builds with a seeded regression. A table for each says what replay must say of each change.

pub mod expected;
pub mod mutants;
pub mod nginx;
pub mod shop;
pub mod streams;
pub mod verdaccio;

use self::expected::Expected;
use crate::{
    harness::{Need, require},
    services::{
        Change, Language, PATIENT, RecordedShop, Source, nginx::Nginx, source, ticker::Ticker, verdaccio::Verdaccio,
    },
};

#[test]
fn shop_in_python() {
    hold("matrix::python", Language::Python, Source::Proxy);
}

#[test]
fn shop_in_node() {
    hold("matrix::node", Language::Node, Source::Ebpf);
}

#[test]
fn shop_in_go() {
    hold("matrix::go", Language::Go, Source::Ebpf);
}

#[test]
fn every_change_by_name_is_in_the_source_of_the_shop() {
    for (language, file) in [(Language::Python, "shop.py"), (Language::Node, "shop.mjs"), (Language::Go, "shop.go")] {
        let text = std::fs::read_to_string(source(file)).expect("the source is here");
        for row in shop::rows(language) {
            if let Change::Named(name) = row.change {
                assert!(name == "none" || text.contains(&format!("\"{name}\"")), "{file} does not know {name}");
            }
        }
    }
}

#[test]
fn nginx_in_front_of_httpbin() {
    if !require("matrix::nginx", &[Need::Nginx, Need::Httpbin, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let nginx = Nginx::record();
    let rows = nginx::ROWS.iter().map(|(name, server, expected)| {
        let (finished, report) = nginx.service.replay(&nginx.build(server));
        expected.hold(name, nginx::ENTRIES, &finished, report.as_ref())
    });
    all_hold(rows.collect());
}

#[test]
fn verdaccio_in_front_of_verdaccio() {
    if !require("matrix::verdaccio", &[Need::Node, Need::Verdaccio, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let verdaccio = Verdaccio::record();
    let rows = verdaccio::ROWS.iter().map(|(name, settings, expected)| {
        let (finished, report) = verdaccio.service.replay(&verdaccio.build(*settings));
        expected.hold(name, verdaccio::ENTRIES, &finished, report.as_ref())
    });
    all_hold(rows.collect());
}

#[test]
fn streams_in_python() {
    streams_hold("matrix::streams_in_python", Language::Python, Source::Proxy);
}

#[test]
fn streams_in_node() {
    streams_hold("matrix::streams_in_node", Language::Node, Source::Ebpf);
}

#[test]
fn streams_in_go() {
    streams_hold("matrix::streams_in_go", Language::Go, Source::Ebpf);
}

#[test]
fn every_altered_call_is_seen_at_its_path() {
    no_mutant_survives("matrix::calls", mutants::of_calls, 150);
}

#[test]
fn every_altered_response_is_seen_at_its_path() {
    no_mutant_survives("matrix::responses", mutants::of_response, 150);
}

fn no_mutant_survives(test: &str, of: fn(&regress_cassettes::Cassette) -> Vec<mutants::Mutant>, at_least: usize) {
    if !require(test, &[Need::Go, Need::Sandbox]) {
        return;
    }
    let score = mutants::score(&RecordedShop::record(Language::Go, Source::Proxy), of);
    assert!(score.of >= at_least, "only {} mutants", score.of);
    let survived = score.survived;
    assert!(survived.is_empty(), "{} of {} mutants survive\n{}", survived.len(), score.of, survived.join("\n"));
}

#[test]
fn what_the_recorded_service_leaked_is_no_difference() {
    for source in [Source::Ebpf, Source::Proxy] {
        if !can_run("matrix::leaked_before", Language::Python, source) {
            continue;
        }
        let recorded = RecordedShop::record_changed(Language::Python, source, "leaked-connection");
        let (finished, report) = recorded.replay("leaked-connection", PATIENT, &[]);
        let held = Expected::Same.hold(source.name(), shop::EVERY, &finished, report.as_ref());
        held.unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

#[test]
fn a_leak_ends_a_replay_that_fails_fast() {
    if !can_run("matrix::leak_fails_fast", Language::Python, Source::Proxy) {
        return;
    }
    let recorded = RecordedShop::record(Language::Python, Source::Proxy);
    let (finished, report) = recorded.replay("leaked-connection", PATIENT, &["--fail-fast"]);
    finished.expect_code(1);
    let outcomes = report.expect("there is a report").outcomes;
    let (last, before) = outcomes.split_last().expect("entries were driven");
    assert_eq!((&*last.entry, &*last.verdict), ("GET /receipts/7", "different"));
    assert!(before.iter().all(|outcome| outcome.verdict == "same"));
    assert!(outcomes.len() < shop::EVERY.len(), "what follows is not driven");
}

/// Whether a service in this language can be recorded so and replayed.
fn can_run(test: &str, language: Language, source: Source) -> bool {
    let mut needs = vec![language.need(), Need::Sandbox];
    if source == Source::Ebpf {
        needs.push(Need::Ebpf);
    }
    require(test, &needs)
}

/// Record the ticker once, replay it with every change, and report all rows that do not hold.
fn streams_hold(test: &str, language: Language, source: Source) {
    if !can_run(test, language, source) {
        return;
    }
    let ticker = Ticker::record(language, source);
    let rows = streams::ROWS.iter().map(|(change, expected)| {
        let (finished, report) = ticker.replay(change);
        expected.hold(change, streams::ENTRIES, &finished, report.as_ref())
    });
    all_hold(rows.collect());
}

/// Record the shop once, replay it with every change, and report all rows that do not hold.
fn hold(test: &str, language: Language, source: Source) {
    if !can_run(test, language, source) {
        return;
    }
    let regressions = shop::rows(language).filter(|row| row.expected.is_regression()).count();
    assert!(regressions >= 100, "only {regressions} regressions");
    let recorded = RecordedShop::record(language, source);
    all_hold(shop::rows(language).map(|row| row.hold(&recorded)).collect());
}

fn all_hold(rows: Vec<Result<(), String>>) {
    let count = rows.len();
    let broken: Vec<String> = rows.into_iter().filter_map(Result::err).collect();
    assert!(broken.is_empty(), "{} of {count} rows do not hold\n{}", broken.len(), broken.join("\n"));
}
