//! Any script of a connection whose protocol has to be found out becomes exchanges that each begin once and are done once. Each step is two
//! bytes, what happens and how many bytes of the input follow for it.

#![no_main]

mod exchanges;

use libfuzzer_sys::fuzz_target;
use regress_protocols::{Limits, Pairer, Side};

fuzz_target!(|input: &[u8]| {
    let [setting, script @ ..] = input else { return };
    let limits = if setting & 2 == 0 { Limits::default() } else { Limits { head: 64, body: 200 } };
    let mut pairer = Pairer::new(setting & 1 == 1, limits);
    let mut rest = script;
    let mut mark = 0;
    while let [what, length, after @ ..] = rest {
        mark += 1;
        let side = if what & 1 == 0 { Side::Client } else { Side::Server };
        rest = after;
        match what >> 1 & 7 {
            0..6 => {
                let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
                pairer.data(mark, side, bytes);
                rest = after;
            }
            6 => pairer.gap(mark, side, u64::from(*length)),
            _ if *length > 250 => pairer.reset(mark),
            _ => pairer.finished(mark, side),
        }
    }
    if setting & 4 == 0 {
        pairer.stop(mark)
    } else {
        pairer.closed(mark)
    }
    exchanges::each_is_done_once(|| pairer.next());
});
