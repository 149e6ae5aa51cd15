//! What it takes to tell two bodies of 1 MiB apart, reading them included.
//!
//! `cargo bench -p regress-cassettes --bench diff` prints a table and writes `target/bench/diff.json`: medians of
//! the CPU time of several comparisons, with the least and the most. What `benches/install.sh` installed is measured beside it on the
//! same files: jsondiffpatch (npm) and DeepDiff (PyPI), each in a process of its own that reads, parses and compares; what
//! is not there is named.

#![allow(clippy::print_stdout, missing_docs)]

mod documents;
mod peers;
#[path = "../tools.rs"]
mod tools;

use std::{path::Path, time::Duration};

use documents::Pair;
use nix::time::{ClockId, clock_gettime};
use regress_cassettes::diff::{Lens, responses};
use regress_protocols::http1::Message;
use serde_json::json;

/// How often each pair is compared.
const ROUNDS: usize = 31;

/// What a comparison may take.
const LIMIT: Duration = Duration::from_millis(30);

/// The least, the median and the most of some times, and how many differences were found.
#[derive(Clone, Copy)]
pub struct Measured {
    pub times: [Duration; 3],
    pub found: usize,
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (peers, missing): (Vec<_>, Vec<_>) = peers::all().into_iter().partition(peers::Peer::is_there);
    let mut absent: Vec<(&str, String)> = Vec::new();
    let mut rows = Vec::new();
    let mut within = true;
    println!("{:<44} {:<22} {:>9} {:>19} {:>6}", "case", "by", "median", "least to most", "found");
    for pair in documents::all() {
        let regress = measure(&pair);
        let [_, median, _] = regress.times;
        let is_json = pair.content_type == "application/json";
        within &= !is_json || median <= LIMIT;
        let mut row = |by: &str, measured: Measured, target: serde_json::Value| {
            let [least, median, most] = measured.times.map(|time| time.as_secs_f64() * 1e3);
            println!(
                "{:<44} {by:<22} {median:>6.1} ms {least:>7.1} to {most:>6.1} ms {:>6}",
                pair.name, measured.found
            );
            rows.push(json!({
                "case": pair.name, "metric": "median CPU time", "value": median, "unit": "ms", "by": by, "target": target,
                "met": target.as_f64().map(|target| median <= target),
            }));
        };
        row("regress", regress, if is_json { json!(LIMIT.as_secs_f64() * 1e3) } else { json!(null) });
        for peer in peers.iter().filter(|_| is_json) {
            match peer.measure(&pair, folder.path()) {
                Ok(measured) => row(&peer.name, measured, json!(null)),
                Err(why) => absent.push((pair.name, format!("{}: {why}", peer.name))),
            }
        }
    }
    missing.iter().for_each(|peer| println!("absent: {}; benches/install.sh installs it", peer.name));
    absent.iter().for_each(|(case, why)| println!("not measured: {case}: {why}"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let text = format!("{:#}\n", json!({ "rows": rows }));
    match std::fs::create_dir_all(&path).and_then(|()| std::fs::write(path.join("diff.json"), text)) {
        Ok(()) => println!("\nwrote {}", path.join("diff.json").display()),
        Err(error) => println!("error: cannot write {}: {error}", path.display()),
    }
    std::process::exit(i32::from(!within));
}

fn measure(pair: &Pair) -> Measured {
    let message = |body: &str| Message::response(200, "OK", &[("Content-Type", pair.content_type)], body.to_owned());
    let (expected, actual) = (message(&pair.expected), message(&pair.actual));
    let mut found = 0;
    let times = (0..ROUNDS).map(|_| {
        let start = cpu_time();
        found = std::hint::black_box(responses(&expected, &actual, &Lens::exact())).len();
        cpu_time() - start
    });
    let times = summed_up(times.collect());
    Measured { times, found }
}

/// The CPU time of this thread, which a busy machine changes little.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a thread has a clock").into()
}

/// The least, the median and the most.
fn summed_up(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    [times[0], times[times.len() / 2], times[times.len() - 1]]
}
