//! A connection to PostgreSQL: any split of what both sides say, and a player that hears it.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use regress_protocols::{
    Side, Value,
    wire::{Fifo, Handshakes, Protocol, Step},
};

const STARTUP: &[u8] = b"\0\0\0\x16\0\x03\0\0user\0regress\0\0";

/// The input is pieces: a byte with the side and the length, and so many bytes.
fn pieces(mut input: &[u8]) -> Vec<(Side, &[u8])> {
    let mut pieces = Vec::new();
    while let Some((head, rest)) = input.split_first() {
        let side = if head & 1 == 0 { Side::Client } else { Side::Server };
        let (piece, behind) = rest.split_at(usize::from(head >> 1).min(rest.len()));
        pieces.push((side, piece));
        input = behind;
    }
    pieces
}

fuzz_target!(|input: &[u8]| {
    let pieces = pieces(input);
    let mut fifo = Fifo::new(Protocol::Postgres, 0, 1 << 20);
    fifo.data(0, Side::Client, STARTUP);
    for (mark, (side, piece)) in pieces.iter().enumerate() {
        fifo.data(mark as u64, *side, piece);
        while fifo.next().is_some() {}
    }
    fifo.closed(u64::MAX);
    while fifo.next().is_some() {}

    let mut player = Protocol::Postgres.server(&Arc::<Handshakes>::default());
    player.hear(STARTUP);
    let response = Value::map([("skipped", Value::Bool(true))]);
    for (_, piece) in pieces.iter().filter(|(side, _)| *side == Side::Client) {
        player.hear(piece);
        while let Some(step) = player.step() {
            if let Step::Judge(request) = step {
                Protocol::Postgres.line(&request);
                Protocol::Postgres.operation(&request);
                player.answer(&request, &response);
            }
        }
    }
});
