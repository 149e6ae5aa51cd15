//! How fast both directions of a connection become exchanges, and how much memory that takes.
//!
//! `cargo bench -p regress-protocols --bench protocols` prints a table and writes `target/bench/protocols.json`: bytes of
//! both sides a second of CPU time (median, least and most of several rounds), and the most memory that was held at once, as a
//! multiple of the bytes said. What is said is given as a capture source gives it, in pieces, and each exchange is dropped once it
//! is done.

#![allow(clippy::print_stdout, missing_docs)]

mod conversations;

use std::{path::Path, time::Duration};

use conversations::Conversation;
use nix::time::{ClockId, clock_gettime};
use peak_alloc::PeakAlloc;
use regress_protocols::{Limits, PairEvent, Pairer};
use serde_json::json;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ROUNDS: usize = 9;

/// How often a conversation goes on in a round.
const TURNS: usize = 2000;

fn main() {
    let mut rows = Vec::new();
    println!(
        "{:<34} {:>10} {:>9} {:>21} {:>10} {:>12}",
        "case", "exchanges", "MiB", "MiB/s (least..most)", "ns each", "memory/said"
    );
    for conversation in conversations::all() {
        let said = (conversation.bytes() * TURNS) as f64;
        let mut exchanges = 0;
        let held = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let start = cpu_time();
                exchanges = std::hint::black_box(paired(&conversation));
                cpu_time() - start
            })
            .collect();
        // A connection is read in a window that moves on: all that was said would be a bound that says little.
        let memory = (MEMORY.peak_usage() - held) as f64 / conversation.bytes() as f64;
        times.sort_unstable();
        let rate = |time: Duration| said / (1 << 20) as f64 / time.as_secs_f64();
        let [least, median, most] = [times[ROUNDS - 1], times[ROUNDS / 2], times[0]];
        let each = median.as_nanos() as f64 / exchanges as f64;
        println!(
            "{:<34} {exchanges:>10} {:>9.1} {:>7.0} ({:>5.0}..{:>5.0}) {each:>10.0} {memory:>12.1}",
            conversation.name,
            said / (1 << 20) as f64,
            rate(median),
            rate(least),
            rate(most),
        );
        rows.push(
            json!({"case": conversation.name, "metric": "read", "value": rate(median), "unit": "MiB/s of CPU time"}),
        );
        rows.push(json!({"case": conversation.name, "metric": "peak memory", "value": memory, "unit": "bytes a byte of one turn"}));
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let text = format!("{:#}\n", json!({ "rows": rows }));
    match std::fs::create_dir_all(&path).and_then(|()| std::fs::write(path.join("protocols.json"), text)) {
        Ok(()) => println!("\nwrote {}", path.join("protocols.json").display()),
        Err(error) => println!("error: cannot write {}: {error}", path.display()),
    }
}

/// Reads a conversation that goes on and on; how many exchanges it has.
fn paired(conversation: &Conversation) -> usize {
    let mut pairer = Pairer::new(false, Limits::default());
    let mut exchanges = 0;
    let mut mark = 0;
    let mut say = |pairer: &mut Pairer, pieces: &[conversations::Piece]| {
        for (side, bytes) in pieces {
            mark += 1;
            pairer.data(mark, *side, bytes);
            while let Some(event) = pairer.next() {
                exchanges += usize::from(matches!(event, PairEvent::Done(_)));
            }
        }
    };
    say(&mut pairer, &conversation.opening);
    for _ in 0..TURNS {
        say(&mut pairer, &conversation.turn);
    }
    assert!(pairer.is_read() == Some(true), "{} is read", conversation.name);
    exchanges
}

/// The CPU time of this thread, which a busy machine changes little.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a thread has a clock").into()
}
