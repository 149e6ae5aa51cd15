//! The regression matrix, counted: false alarms, regressions caught and at the right path, altered recordings that are
//! seen, and what other tools see of the same changes.
//!
//! `cargo bench --bench mutation [-- --runs N --harmless-only --no-peers --no-mutants]` runs the tables of tests/matrix so many times (or
//! of them what must raise no alarm), each service recorded anew in each run, then alters recordings one field at a time, then gives the recording of the shop in Python to
//! WireMock, mitmproxy, Hoverfly and vcrpy (`benches/install.sh`), which stand in for the downstreams while the changed shop runs. It
//! prints tables and writes `target/bench/mutation.json`; anything that does not hold makes it fail.
//!
//! Environment: REGRESS_TEST_TOOLS and REGRESS_BENCH_TOOLS, where tests/install.sh and benches/install.sh put things.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

#[expect(dead_code, unused_imports, reason = "tests use more of it")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[expect(dead_code, reason = "tests use more of it")]
mod matrix;
mod options;
mod peers;
mod report;
#[expect(dead_code, reason = "tests use more of it")]
#[path = "../../tests/services/mod.rs"]
mod services;
mod tally;
#[path = "../tools.rs"]
mod tools;

use std::process::ExitCode;

use matrix::expected::Expected;
use options::{Options, USAGE};
use report::Results;
use tally::{SERVICES, Tally};

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => return refuse(&wrong, USAGE),
    };
    let mut results = Results::default();
    let mut present = Vec::new();
    for service in SERVICES {
        match service.absence() {
            None => present.push(service),
            Some(reason) => results.absent.push((service.name(), reason)),
        }
    }
    // Side by side: most of the time goes by while services start.
    std::thread::scope(|scope| {
        let running: Vec<_> = present
            .iter()
            .map(|service| {
                let runs = options.runs;
                let asked = if options.regressions { |_| true } else { Expected::is_harmless };
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    (0..runs).for_each(|_| service.run(asked, &mut tally));
                    tally
                })
            })
            .collect();
        for (service, running) in present.iter().zip(running) {
            let tally = running.join().expect("what does not hold is counted");
            results.tallies.push((service.name(), tally));
        }
    });
    if options.runs > 0 {
        results.print_tallies();
    }
    if options.mutants {
        for service in &present {
            results.scores.extend(service.alter().map(|scores| (service.name(), scores)));
        }
        results.print_scores();
    }
    if options.peers {
        results.peers = peers::compare(&mut results.absent);
        results.print_peers();
    }
    results.print_absent();
    match results.write() {
        Ok(path) => println!("\nwrote {}", path.display()),
        Err(error) => return refuse(&format!("the results cannot be written: {error}"), "is the target folder yours?"),
    }
    if results.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refuse(what: &str, hint: &str) -> ExitCode {
    println!("error: {what}\nhint: {hint}");
    ExitCode::from(2)
}
