//! Which entry caused which call: how many owners a recording knows, and whether any is wrong.
//!
//! `cargo bench --bench owners [-- --case NAME,... --clients N,... --ids | --values]` needs what recording by eBPF needs, and
//! names the runtimes that are absent. Services of several runtimes call a downstream, or ask a database, twice for each entry; entry and calls
//! carry the same number, which no rule of the recorder looks at. With `--ids` it is the request id as well, which services pass
//! on (all but those in PHP); with `--values` the recorder goes by the number where it knows nothing better. It prints
//! a table and writes `target/bench/owners.json`; any wrong owner makes it fail.
//!
//! Environment: REGRESS_BENCH_JAVA, the `java` to use (default: `java`); virtual threads take one of version 21 or later.
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

mod cell;
mod databases;
mod http;
mod services;
#[path = "../tools.rs"]
mod tools;

use std::{path::Path, process::ExitCode};

use cell::{Evidence, Owners};
use databases::Databases;
use serde_json::json;
use services::{CASES, Case};

const CLIENTS: [u32; 4] = [1, 10, 50, 200];
const USAGE: &str = "cargo bench --bench owners [-- --case NAME,... --clients N,... --ids | --values]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    // One of the services is this program.
    if arguments.next().as_deref() == Some("serve-tokio") {
        return services::tokio::serve(arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    }
    let Asked { cases, clients, evidence } = match read(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => return refuse(&wrong, USAGE),
    };
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return refuse(&format!("no temporary folder: {error}"), "free some disk, or set TMPDIR"),
    };
    let columns: Vec<String> = clients.iter().map(|clients| format!("{:>16}", format!("{clients} clients"))).collect();
    println!(
        "calls whose owner is known{}, of all, in percent; `!N`: N wrong owners\n\n{:32}{}",
        evidence.suffix(),
        "",
        columns.join("")
    );
    let databases = Databases::default();
    let (mut rows, mut absent, mut bad) = (Vec::new(), Vec::new(), false);
    for case in cases {
        let mut line = format!("{:32}", case.name);
        for &clients in &clients {
            match cell::measure(case, clients, evidence, &databases, folder.path()) {
                Ok(owners) => {
                    bad |= owners.wrong > 0;
                    line += &format!("{:>16}", print(&owners));
                    rows.extend(row(case, clients, evidence, &owners));
                }
                Err(reason) => {
                    bad |= !reason.is_absence();
                    absent.push(format!("{} with {clients} clients: {reason}", case.name));
                    line += &format!("{:>16}", "-");
                }
            }
        }
        println!("{line}");
    }
    absent.iter().for_each(|absent| println!("absent: {absent}"));
    let target = Path::new(env!("CARGO_BIN_EXE_regress")).ancestors().nth(2).expect("target/PROFILE/regress");
    let path = target.join("bench/owners.json");
    let text = format!("{:#}\n", json!({ "rows": rows, "absent": absent }));
    let written = std::fs::create_dir_all(target.join("bench")).and_then(|()| std::fs::write(&path, text));
    match written {
        Ok(()) => println!("\nwrote {}", path.display()),
        Err(error) => return refuse(&format!("the results cannot be written: {error}"), "is the target folder yours?"),
    }
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Asked {
    cases: Vec<&'static Case>,
    clients: Vec<u32>,
    evidence: Evidence,
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut cases, mut clients): (Vec<&Case>, Vec<u32>) = (CASES.iter().collect(), CLIENTS.to_vec());
    let mut evidence = Evidence::Nothing;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo says so.
            "--bench" => continue,
            "--ids" => {
                evidence = Evidence::Ids;
                continue;
            }
            "--values" => {
                evidence = Evidence::Values;
                continue;
            }
            _ => {}
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} is unknown, or takes a value"))?;
        match argument.as_str() {
            "--case" => {
                let case = |name| CASES.iter().find(|case| case.name == name).ok_or(format!("there is no case {name}"));
                cases = value.split(',').map(case).collect::<Result<_, _>>()?;
            }
            "--clients" => {
                let number = |text: &str| match text.parse() {
                    Ok(number @ 1..=1000) => Ok(number),
                    _ => Err(format!("{text} is no number of clients from 1 to 1000")),
                };
                clients = value.split(',').map(number).collect::<Result<_, _>>()?;
            }
            _ => return Err(format!("{argument} is unknown")),
        }
    }
    Ok(Asked { cases, clients, evidence })
}

fn refuse(what: &str, hint: &str) -> ExitCode {
    println!("error: {what}\nhint: {hint}");
    ExitCode::from(2)
}

fn print(owners: &Owners) -> String {
    let wrong = if owners.wrong > 0 { format!(" !{}", owners.wrong) } else { String::new() };
    format!("{:.1}{wrong}", 100.0 * owners.share(owners.right))
}

fn row(case: &Case, clients: u32, evidence: Evidence, owners: &Owners) -> Vec<serde_json::Value> {
    let metrics = [("owned", owners.right), ("unknown", owners.unknown), ("wrong", owners.wrong)];
    let rows = metrics.map(|(metric, count)| {
        let limit = match metric {
            "wrong" => json!(0),
            "owned" => json!(case.owned),
            _ => json!(null),
        };
        let met = match metric {
            "wrong" => json!(count == 0),
            "owned" => json!(100.0 * owners.share(count) >= case.owned),
            _ => json!(null),
        };
        json!({
            "case": format!("{}, {clients} clients{}", case.name, evidence.suffix()), "metric": metric, "unit": "percent of calls",
            "value": 100.0 * owners.share(count), "count": count, "of": owners.all(), "limit": limit, "met": met,
        })
    });
    rows.into()
}
