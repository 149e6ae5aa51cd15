//! What an answer of the mock costs: requests a second of its own CPU time, beside a bare hyper server in the same sandbox
//! and beside other programs that play downstreams.
//!
//! `cargo bench --bench mock [-- --recorded N,... --rounds N --requests N --no-peers]` installs nothing;
//! `benches/install.sh` installs the peers, and what is absent is named. It needs what a sandbox needs. Each server is asked
//! for different things in turn, of which the mocks have N recorded with answers of 1 KiB. Servers take turns, round by
//! round; ratios are medians over rounds. It prints a table and writes `target/bench/mock.json`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]

#[expect(dead_code, reason = "shared with a bench that pins processes")]
#[path = "../overhead/cpu.rs"]
mod cpu;
mod load;
mod peers;
mod served;
#[path = "../tools.rs"]
mod tools;

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use peers::PEERS;
use serde_json::{Value, json};

const USAGE: &str = "cargo bench --bench mock [-- --recorded N,... --rounds N --requests N --no-peers]";

/// How much the mock may cost, as its share of hyper's requests a CPU-second; and how much less of it with the most
/// recorded exchanges than with one.
const LEAST_OF_HYPER: f64 = 0.6;
const LEAST_OF_ONE: f64 = 0.9;

struct Asked {
    recorded: Vec<usize>,
    rounds: usize,
    requests: usize,
    peers: bool,
}

fn main() -> ExitCode {
    if let Some(code) = regress_mockserver::sandbox::helper_main() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("load") => return load::run(&arguments[1..]),
        Some("serve") => return served::run(&arguments[1..]),
        _ => {}
    }
    let asked = match read(arguments.into_iter()) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("error: {wrong}\nhint: {USAGE}");
            return ExitCode::from(2);
        }
    };
    println!(
        "requests a second of the server's CPU time, {} requests a round, {} rounds\n",
        asked.requests, asked.rounds
    );
    println!("{:<10} {:>9} {:>12} {:>12} {:>22}", "server", "recorded", "requests/s", "us/request", "of hyper");
    let mut absent = BTreeMap::new();
    let mut rows = Vec::new();
    let mut first = None;
    for &recorded in &asked.recorded {
        let (mut hyper, mut mock) = (Vec::new(), Vec::new());
        let mut others: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for _ in 0..asked.rounds {
            match (
                served::measure("hyper", recorded, asked.requests),
                served::measure("mock", recorded, asked.requests),
            ) {
                (Ok(bare), Ok(ours)) => {
                    hyper.push(bare);
                    mock.push(ours);
                }
                (Err(why), _) | (_, Err(why)) => {
                    eprintln!("error: {why}\nhint: `regress doctor` tells what a sandbox needs");
                    return ExitCode::FAILURE;
                }
            }
            for peer in PEERS.iter().filter(|peer| asked.peers && recorded <= peer.most) {
                match peer.measure(recorded, asked.requests) {
                    Ok(rate) => others.entry(peer.name).or_default().push(rate),
                    Err(why) => drop(absent.insert(peer.name, why)),
                }
            }
        }
        let ratios: Vec<f64> = mock.iter().zip(&hyper).map(|(mock, hyper)| mock / hyper).collect();
        let bare = median(hyper);
        print("hyper", recorded, bare, None);
        let ours = median(mock);
        print("regress", recorded, ours, Some(&ratios));
        for (name, rates) in &others {
            let ratios: Vec<f64> = rates.iter().map(|rate| rate / bare).collect();
            print(name, recorded, median(rates.clone()), Some(&ratios));
        }
        let peers: Value = others.into_iter().map(|(name, rates)| (name.to_owned(), json!(median(rates)))).collect();
        let of_hyper = median(ratios);
        // By what hyper did in the same rounds: the machine is not the same from one minute to the next.
        let flat = of_hyper / *first.get_or_insert(of_hyper);
        let case = format!("{recorded} recorded");
        rows.push(row(&case, "requests per CPU-second", ours, "1/s", json!(bare), peers, None));
        rows.push(row(&case, "of hyper", of_hyper, "ratio", Value::Null, json!({}), Some(LEAST_OF_HYPER)));
        rows.push(row(
            &case,
            "of hyper, of that with one recorded",
            flat,
            "ratio",
            Value::Null,
            json!({}),
            Some(LEAST_OF_ONE),
        ));
    }
    for (name, why) in &absent {
        println!("absent: {name}: {why}");
    }
    let absent: Vec<Value> = absent.iter().map(|(name, why)| json!({"name": name, "reason": why})).collect();
    match write(&json!({"rows": rows, "absent": absent})) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the results cannot be written: {error}\nhint: is the target folder yours?");
            ExitCode::FAILURE
        }
    }
}

fn row(case: &str, metric: &str, value: f64, unit: &str, limit: Value, peers: Value, target: Option<f64>) -> Value {
    let met = target.map(|least| value >= least);
    json!({"case": case, "metric": metric, "value": value, "unit": unit, "limit": limit, "peers": peers, "target": target, "met": met})
}

fn print(server: &str, recorded: usize, rate: f64, of_hyper: Option<&[f64]>) {
    let spread = of_hyper.map_or_else(String::new, |ratios| {
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        format!("{:.3} [{least:.3}..{most:.3}]", median(ratios.to_vec()))
    });
    println!("{server:<10} {recorded:>9} {rate:>12.0} {:>12.1} {spread:>22}", 1e6 / rate);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { recorded: vec![1, 1000, 10_000, 100_000], rounds: 3, requests: 100_000, peers: true };
    while let Some(argument) = arguments.next() {
        if argument == "--no-peers" {
            asked.peers = false;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} wants a value"))?;
        let numbers: Option<Vec<usize>> =
            value.split(',').map(|number| number.parse().ok().filter(|number| *number > 0)).collect();
        match (argument.as_str(), numbers.as_deref()) {
            ("--recorded", Some(numbers)) => asked.recorded = numbers.to_vec(),
            ("--rounds", Some([rounds])) => asked.rounds = *rounds,
            ("--requests", Some([requests])) => asked.requests = *requests,
            _ => return Err(format!("{argument} {value} is not understood")),
        }
    }
    Ok(asked)
}

fn write(results: &Value) -> std::io::Result<()> {
    // The binary under test lies in target/PROFILE.
    let target = Path::new(env!("CARGO_BIN_EXE_regress")).ancestors().nth(2).expect("target/PROFILE/regress");
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("mock.json");
    std::fs::write(&path, format!("{results:#}\n"))?;
    println!("\nwrote {}", path.display());
    Ok(())
}
