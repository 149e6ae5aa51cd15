//! Two directions of a connection, cut anyhow: exchanges begin and end one after the other. Each step is two bytes, who says
//! something and how many bytes of the input that is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_protocols::{
    Side,
    fastcgi::{Cutter, Turn},
};

fuzz_target!(|input: &[u8]| {
    let mut cutter = Cutter::default();
    let mut rest = input;
    let mut mark = 0;
    while let [who, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        mark += 1;
        cutter.data(mark, if who & 1 == 0 { Side::Client } else { Side::Server }, bytes);
        rest = after;
    }
    cutter.ended();
    let (mut began, mut done) = (0, 0);
    while let Some(turn) = cutter.next_turn() {
        began += u64::from(matches!(turn, Turn::RequestBegan { .. }));
        done += u64::from(matches!(turn, Turn::Done { .. }));
        assert!(done <= began && began <= done + 1);
    }
    assert_eq!(began, done);
});
