//! What recording costs the service: its CPU time a request, without and with a recorder, in turns on one CPU of its own.
//!
//! `cargo bench --bench overhead [-- OPTION...]` (options.rs has them) installs nothing; `benches/install.sh` installs the
//! services and peers that it compares with, and what is absent is named. It needs root, two CPUs and a quiet machine. It
//! prints a table and writes `target/bench/overhead.json`. Ratios are medians over pairs, with the least and the most.
//!
//! A service that is recorded works together with the load and the recorder on a machine of two CPUs: those two share
//! one, and the throughput says how they got on. The service's own CPU time does not depend on that.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

mod cases;
mod cpu;
mod floor;
mod load;
#[path = "../memory.rs"]
mod memory;
mod options;
mod pairs;
mod recorders;
mod report;
mod services;
#[path = "../tools.rs"]
mod tools;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use cases::Case;
use cpu::Cpus;
use options::Options;
use report::Results;
use services::Service;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => return refuse(&wrong, options::USAGE),
    };
    let Some(cpus) = Cpus::choose() else {
        return refuse("there is one CPU only", "the service needs one of its own");
    };
    let folder = match memory::folder() {
        Ok(folder) => folder,
        Err(error) => return refuse(&format!("no temporary folder: {error}"), "free some memory, or set TMPDIR"),
    };
    let sources: Vec<&str> = options.sources.iter().map(|source| source.name()).collect();
    println!(
        "service on CPU {}, load on {}, recorder on {}; sources: {}; files in {}",
        cpus.service,
        cpus.load,
        cpus.recorder,
        sources.join(", "),
        folder.path().display()
    );
    let mut absent = BTreeMap::new();
    let results: Vec<Results> =
        options.cases().into_iter().map(|case| run(case, &options, cpus, folder.path(), &mut absent)).collect();
    let absent: Vec<(String, String)> = absent.into_iter().collect();
    if !absent.is_empty() {
        println!();
    }
    for (name, reason) in &absent {
        println!("absent: {name}: {reason}");
    }
    match write(&report::json(&results, &absent)) {
        Ok(path) => println!("\nwrote {}", path.display()),
        Err(error) => return refuse(&format!("the results cannot be written: {error}"), "is the target folder yours?"),
    }
    let failed = results.iter().flat_map(|results| &results.costs).any(|(_, cost)| cost.is_err());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn refuse(what: &str, hint: &str) -> ExitCode {
    println!("error: {what}\nhint: {hint}");
    ExitCode::from(2)
}

fn run(case: Case, options: &Options, cpus: Cpus, folder: &Path, absent: &mut BTreeMap<String, String>) -> Results {
    let mut costs = Vec::new();
    let service = match Service::start(case.program, folder, cpus.service) {
        Ok(service) => service,
        Err(reason) => {
            absent.insert(case.name.to_owned(), reason);
            return Results { case, costs };
        }
    };
    for method in options.methods(&case) {
        if let Some(reason) = method.absence() {
            absent.insert(method.to_string(), reason);
            continue;
        }
        let rhythm = options.rhythm(&case, method);
        let cost = pairs::measure(&case, method, &service, rhythm, cpus, folder, options.buffer);
        match &cost {
            Ok(cost) => {
                if !costs.iter().any(|(_, cost): &(_, Result<_, _>)| cost.is_ok()) {
                    report::print_case(&case, cost);
                }
                report::print_cost(&case, method, cost);
            }
            Err(error) => println!("{}: {method} failed: {error}", case.name),
        }
        costs.push((method, cost));
    }
    Results { case, costs }
}

fn write(results: &serde_json::Value) -> std::io::Result<PathBuf> {
    // The binary under test lies in target/PROFILE.
    let target = Path::new(env!("CARGO_BIN_EXE_regress")).ancestors().nth(2).expect("target/PROFILE/regress");
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("overhead.json");
    std::fs::write(&path, format!("{results:#}\n"))?;
    Ok(path)
}
