//! Two directions of a connection, cut anyhow: exchanges begin and end one after the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regress_protocols::{
    Side,
    fastcgi::{Cutter, Turn},
};

fuzz_target!(|pieces: Vec<(bool, Vec<u8>)>| {
    let mut cutter = Cutter::default();
    for (mark, (client, bytes)) in (0..).zip(&pieces) {
        cutter.data(mark, if *client { Side::Client } else { Side::Server }, bytes);
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
