#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use regress_protocols::{
    PairEvent, Side, Value,
    wire::{Fifo, Handshakes, Protocol, Step},
};

// Pieces of a length of two bytes, whose high bit says whose it is: whatever both sides say, every exchange ends once. What the
// client says is heard by a played server, too.
fuzz_target!(|data: &[u8]| {
    let mut fifo = Fifo::new(Protocol::Mysql, 0, 1 << 20);
    let mut server = Protocol::Mysql.server(&Arc::new(Handshakes::default()));
    if data.first().is_some_and(|first| first & 1 == 1) {
        fifo.data(0, Side::Server, &server.greeting());
    }
    let mut rest = data.get(1..).unwrap_or_default();
    while let [low, high, behind @ ..] = rest {
        let length = usize::from(*low) | usize::from(high & 0x0f) << 8;
        let (piece, later) = behind.split_at(length.min(behind.len()));
        let side = if high & 0x80 == 0 { Side::Client } else { Side::Server };
        if high & 0x70 == 0x70 {
            fifo.gap(1, side, piece.len() as u64);
        } else {
            fifo.data(1, side, piece);
        }
        if side == Side::Client {
            server.hear(piece);
            while let Some(step) = server.step() {
                if let Step::Judge(request) = step {
                    let _ = Protocol::Mysql.operation(&request);
                    let _ = Protocol::Mysql.line(&request);
                    server.answer(&request, &Value::Null);
                }
            }
        }
        rest = later;
    }
    fifo.stop(2);
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    while let Some(event) = fifo.next() {
        match event {
            PairEvent::RequestBegan { number, .. } => begun.push(number),
            PairEvent::Done(paired) => ended.push(paired.number),
            _ => {}
        }
    }
    ended.sort_unstable();
    assert_eq!(begun, ended);
});
