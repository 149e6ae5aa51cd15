//! A script of a connection in one of the wire protocols: a byte for how it begins and ends, then steps of two bytes, what happens and
//! how many bytes of the input follow for it.

use std::sync::Arc;

use regress_protocols::{
    Side, Value,
    wire::{Fifo, Handshakes, Protocol, Server, Step},
};

use super::exchanges;

/// The longest message that is read.
const LIMIT: usize = 1 << 16;

/// It becomes exchanges that each begin once and are done once, and whoever plays the server understands what clients say, or says that
/// it does not.
pub fn holds(protocol: Protocol, input: &[u8]) {
    let [end, script @ ..] = input else { return };
    let mut fifo = Fifo::new(protocol, 0, LIMIT);
    let mut server = protocol.server(&Arc::new(Handshakes::default()));
    let greeting = server.greeting();
    if !greeting.is_empty() && end & 2 == 0 {
        fifo.data(0, Side::Server, &greeting);
    }
    let mut rest = script;
    let mut mark = 0;
    while let [what, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        mark += 1;
        let side = if what & 1 == 0 { Side::Client } else { Side::Server };
        rest = after;
        match what >> 1 & 7 {
            0..4 => fifo.data(mark, side, bytes),
            // What the client says is answered as the one who plays the server does.
            4 | 5 => {
                fifo.data(mark, Side::Client, bytes);
                let said = answered(server.as_mut(), bytes);
                fifo.data(mark, Side::Server, &said);
            }
            6 => fifo.gap(mark, side, u64::from(*length)),
            _ => fifo.finished(mark, side),
        }
    }
    if end & 1 == 0 {
        fifo.stop(mark)
    } else {
        fifo.closed(mark)
    }
    exchanges::each_is_done_once(|| fifo.next());
}

fn answered(server: &mut dyn Server, bytes: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    server.hear(bytes);
    while let Some(step) = server.step() {
        match step {
            Step::Say(bytes) | Step::Secure { say: bytes, .. } => said.extend(bytes),
            Step::Judge(request) if said.len() % 2 == 0 => said.extend(server.refuse(&request, "no reason")),
            Step::Judge(request) => said.extend(server.answer(&request, &Value::text("x"))),
            Step::Note(_) | Step::Close | Step::Garbage => {}
        }
    }
    said
}
