//! What sealing costs the recorder: the same entries recorded as they are and sealed, in turns.
//!
//! `cargo bench -p regress-recorder --bench sealing [-- --entries N] [--rounds N]` prints CPU time an entry (user and system, all
//! threads of the recorder) and writes `target/bench/sealing.json`: medians, and the median and the quartiles of the ratios of pairs.
//! *recorder* is all of it, from the kernel's buffer to the files, while a service is asked; it fails where sealing adds
//! more than 5 % to that. *pipeline* is the part behind the capture alone, given events that were made up.

#![allow(clippy::print_stdout, missing_docs)]

mod events;
#[path = "../memory.rs"]
mod memory;
mod recorder;
mod service;

use std::{path::Path, process::ExitCode, time::Duration};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

/// The most that sealing may add.
const MOST: f64 = 0.05;

pub struct Case {
    pub name: &'static str,
    /// Bytes of a response's body.
    pub body: usize,
    /// Downstream calls of an entry.
    pub calls: u64,
    /// One entry of so many is recorded in a run.
    pub fewer: u64,
    pub recipients: usize,
}

const CASES: [Case; 4] = [
    Case { name: "1 KiB, no calls", body: 1 << 10, calls: 0, fewer: 1, recipients: 1 },
    Case { name: "1 KiB, 2 calls", body: 1 << 10, calls: 2, fewer: 1, recipients: 1 },
    Case { name: "1 KiB, 2 calls, 8 recipients", body: 1 << 10, calls: 2, fewer: 1, recipients: 8 },
    Case { name: "30 KiB, 2 calls", body: 30 << 10, calls: 2, fewer: 4, recipients: 1 },
];

struct Options {
    entries: u64,
    rounds: usize,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.peek().map(String::as_str) {
        Some(service::ROLE) => return service::main(arguments.skip(1)),
        Some(recorder::ROLE) => return recorder::main(arguments.skip(1)),
        _ => {}
    }
    let mut options = Options { entries: 600, rounds: 20 };
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<u32>().ok()).map(|number| number.max(1));
        let known = match argument.as_str() {
            "--entries" => number().map(|number| options.entries = number.into()),
            "--rounds" => number().map(|number| options.rounds = number as usize),
            // Cargo says so.
            "--bench" => Some(()),
            _ => None,
        };
        if known.is_none() {
            println!("error: {argument} is no argument with a number\nhint: --entries N, --rounds N");
            return ExitCode::from(2);
        }
    }
    println!("{:<9} {:<30} {:>12} {:>12} {:>9} {:>17}", "", "CPU an entry", "plain", "sealed", "more", "quartiles");
    let mut rows = Vec::new();
    let mut within = true;
    for case in &CASES {
        let entries = (options.entries / case.fewer).max(1);
        let events = events::events(case, entries);
        let pairs = in_turns(&options, entries, |is_sealed| Ok(events::record(case, is_sealed, entries, &events)));
        report("pipeline", case, pairs, None, &mut rows);
    }
    match regress_ebpf::best_source() {
        Ok(_) => {
            for case in &CASES {
                // What a recording costs once is spread over more of them.
                let entries = (options.entries * 5 / case.fewer).max(1);
                let pairs = in_turns(&options, entries, |is_sealed| recorder::record(case, is_sealed, entries));
                within &= report("recorder", case, pairs, Some(MOST), &mut rows);
            }
        }
        Err(error) => println!("recorder: left out: {error}"),
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let text = format!("{:#}\n", json!({ "rows": rows }));
    match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("sealing.json"), text)) {
        Ok(()) => println!("\nwrote {}", folder.join("sealing.json").display()),
        Err(error) => println!("error: cannot write {}: {error}", folder.join("sealing.json").display()),
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Microseconds an entry, plain and sealed, of each round.
fn in_turns(
    options: &Options,
    entries: u64,
    mut record: impl FnMut(bool) -> Result<Duration, String>,
) -> Result<Vec<[f64; 2]>, String> {
    let pair = |round: usize| {
        // Who begins is who ended.
        let order = if round.is_multiple_of(2) { [false, true] } else { [true, false] };
        let mut spent = [0.0; 2];
        for is_sealed in order {
            spent[usize::from(is_sealed)] = record(is_sealed)?.as_secs_f64() * 1e6 / entries as f64;
        }
        Ok(spent)
    };
    (0..options.rounds).map(pair).collect()
}

/// Print a row; gives whether it is within the limit, where it has one.
fn report(
    part: &str,
    case: &Case,
    pairs: Result<Vec<[f64; 2]>, String>,
    limit: Option<f64>,
    rows: &mut Vec<Value>,
) -> bool {
    let pairs = match pairs {
        Ok(pairs) => pairs,
        Err(error) => {
            println!("{part:<9} {:<30} {error}", case.name);
            return false;
        }
    };
    let of = |what: &dyn Fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(what).collect();
        values.sort_by(f64::total_cmp);
        [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
    };
    let (plain, sealed, more) = (of(&|pair| pair[0]), of(&|pair| pair[1]), of(&|pair| pair[1] / pair[0] - 1.0));
    println!(
        "{part:<9} {:<30} {:>9.1} µs {:>9.1} µs {:>7.1} % {:>7.1} to {:>4.1} %",
        case.name,
        plain[1],
        sealed[1],
        more[1] * 100.0,
        more[0] * 100.0,
        more[2] * 100.0
    );
    let case = format!("{part}: {}", case.name);
    for (metric, value) in [("plain", plain[1]), ("sealed", sealed[1])] {
        rows.push(json!({ "case": case, "metric": metric, "value": value, "unit": "µs" }));
    }
    let mut row =
        json!({ "case": case, "metric": "more", "value": more[1], "unit": "ratio", "quartiles": [more[0], more[2]] });
    let is_met = limit.is_none_or(|limit| more[1] <= limit);
    if let Some(limit) = limit {
        (row["limit"], row["target"], row["met"]) = (json!(limit), json!(limit), json!(is_met));
    }
    rows.push(row);
    is_met
}

/// CPU time of this process.
pub fn spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("there is a clock");
    let time = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}
