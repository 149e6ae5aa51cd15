//! Any script of an HTTP/2 connection becomes exchanges that each begin once and are done once. Each step is two bytes,
//! what happens and how many bytes of the input follow for it.

#![no_main]

mod exchanges;

use libfuzzer_sys::fuzz_target;
use regress_protocols::{
    Limits, Side,
    http2::{PREFACE, Pairer},
};

fuzz_target!(|input: &[u8]| {
    let [setting, script @ ..] = input else { return };
    let limits = if setting & 2 == 0 { Limits::default() } else { Limits { head: 64, body: 200 } };
    let mut pairer = if setting & 1 == 1 { Pairer::joined(0, limits) } else { Pairer::new(limits) };
    if setting & 4 == 0 {
        pairer.data(0, Side::Client, PREFACE);
    }
    let mut rest = script;
    let mut mark = 0;
    while let [what, length, after @ ..] = rest {
        mark += 1;
        let side = if what & 1 == 0 { Side::Client } else { Side::Server };
        rest = after;
        if what >> 1 & 7 == 7 {
            pairer.gap(mark, side, u64::from(*length));
        } else {
            let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
            pairer.data(mark, side, bytes);
            rest = after;
        }
    }
    match setting & 8 {
        0 => pairer.stop(mark),
        _ => pairer.closed(mark),
    }
    exchanges::each_is_done_once(|| pairer.next());
});
