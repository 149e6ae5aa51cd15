//! What a replay costs above the service's own time, and what it costs to load a big corpus.
//!
//! `cargo bench --bench replay [-- --entries N --rounds N --cassettes N]` makes its corpora in a temporary folder, needs no
//! network and what a sandbox needs. Entries: the same requests are sent to the same trivial service, bare and in a replay
//! with one worker, in turns; what is compared is the time from one entry's end to the next one's. Load: a process of its
//! own surveys the corpus as a replay does first. It prints a table and writes `target/bench/replay.json`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]

mod corpus;
mod driven;
mod load;
mod service;

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};

const USAGE: &str = "cargo bench --bench replay [-- --entries N --rounds N --cassettes N]";

/// The most that a replay may add to an entry, in microseconds.
const MOST_ADDED: f64 = 200.0;

/// The most that loading 100,000 cassettes may take, in seconds and in MiB.
const MOST_SECONDS: f64 = 3.0;
const MOST_MEMORY: f64 = 500.0;
const TARGET_CASSETTES: usize = 100_000;

struct Asked {
    entries: usize,
    rounds: usize,
    cassettes: usize,
}

fn main() -> ExitCode {
    if let Some(code) = regress_mockserver::sandbox::helper_main() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => return service::run(&arguments[1..]),
        Some("load") => return load::run(&arguments[1..]),
        _ => {}
    }
    let results = read(arguments.into_iter()).map_err(|wrong| (wrong, USAGE)).and_then(|asked| {
        let hint = "`regress doctor` tells what a sandbox needs";
        measure(&asked).and_then(|rows| write(&rows)).map_err(|why| (why, hint))
    });
    match results {
        Ok(()) => ExitCode::SUCCESS,
        Err((why, hint)) => {
            eprintln!("error: {why}\nhint: {hint}");
            ExitCode::from(2)
        }
    }
}

fn measure(asked: &Asked) -> Result<Vec<Value>, String> {
    let mut rows = Vec::new();
    println!("{} entries a round, {} rounds, one worker\n", asked.entries, asked.rounds);
    println!(
        "{:<24} {:>12} {:>12} {:>12} {:>20} {:>10}",
        "entries", "bare us", "replay us", "added us", "least..most", "CPU us"
    );
    for calls in [0, 1, 4] {
        let case = driven::Case::new(calls, asked.entries)?;
        let (mut bare, mut replayed, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..asked.rounds {
            bare.push(case.bare()?);
            let in_replay = case.replayed()?;
            replayed.push(in_replay.time);
            cpu.push(in_replay.cpu);
        }
        let added: Vec<f64> = replayed.iter().zip(&bare).map(|(replayed, bare)| replayed - bare).collect();
        let (least, most) =
            added.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), one| (one.min(least), one.max(most)));
        let (bare, replayed, added, cpu) = (median(bare), median(replayed), median(added), median(cpu));
        let name = format!("with {calls} calls");
        println!(
            "{name:<24} {bare:>12.0} {replayed:>12.0} {added:>12.0} {:>20} {cpu:>10.0}",
            format!("{least:.0}..{most:.0}")
        );
        rows.push(row(&name, "added to an entry", added, "us", json!(bare), Some(MOST_ADDED)));
        rows.push(row(&name, "CPU time of regress", cpu, "us", Value::Null, None));
    }
    println!("\n{:<24} {:>12} {:>12} {:>12} {:>12} {:>12}", "load", "cassettes", "MiB", "s", "CPU s", "peak MiB");
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let plain = folder.path().join("corpus");
    let packed = folder.path().join("corpus.cassettes.zst");
    let bytes = corpus::write(&plain, asked.cassettes, 1)?;
    let compressed = regress_cassettes::pack(&plain, &packed).map_err(|error| error.to_string())?.packed;
    for (form, path, bytes) in [("folder", plain, bytes), ("packed", packed, compressed)] {
        let mut loads = Vec::new();
        for _ in 0..asked.rounds {
            loads.push(load::measure(&path)?);
        }
        let middle = |of: fn(&load::Load) -> f64| median(loads.iter().map(of).collect());
        let (seconds, cpu, peak) = (middle(|load| load.seconds), middle(|load| load.cpu), middle(|load| load.peak));
        let megabytes = bytes as f64 / f64::from(1 << 20);
        println!("{form:<24} {:>12} {megabytes:>12.0} {seconds:>12.2} {cpu:>12.2} {peak:>12.0}", asked.cassettes);
        let case = format!("{} cassettes, {form}", asked.cassettes);
        let of_target = |target| (asked.cassettes == TARGET_CASSETTES).then_some(target);
        rows.push(row(&case, "load", seconds, "s", Value::Null, of_target(MOST_SECONDS)));
        rows.push(row(&case, "load, CPU time", cpu, "s", Value::Null, None));
        rows.push(row(&case, "load, peak memory", peak, "MiB", Value::Null, of_target(MOST_MEMORY)));
    }
    Ok(rows)
}

fn row(case: &str, metric: &str, value: f64, unit: &str, limit: Value, target: Option<f64>) -> Value {
    let met = target.map(|most| value <= most);
    json!({"case": case, "metric": metric, "value": value, "unit": unit, "limit": limit, "peers": {}, "target": target, "met": met})
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { entries: 2000, rounds: 5, cassettes: TARGET_CASSETTES };
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} wants a value"))?;
        let number: usize = value.parse().map_err(|_| format!("{argument} {value} is not understood"))?;
        match (argument.as_str(), number) {
            ("--entries", 2..) => asked.entries = number,
            ("--rounds", 1..) => asked.rounds = number,
            ("--cassettes", 1..) => asked.cassettes = number,
            _ => return Err(format!("{argument} {value} is not understood")),
        }
    }
    Ok(asked)
}

fn write(rows: &[Value]) -> Result<(), String> {
    // The binary under test lies in target/PROFILE.
    let target = Path::new(env!("CARGO_BIN_EXE_regress")).ancestors().nth(2).expect("target/PROFILE/regress");
    let folder = target.join("bench");
    let path = folder.join("replay.json");
    let text = format!("{:#}\n", json!({"rows": rows, "absent": []}));
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\nwrote {}", path.display());
    Ok(())
}
