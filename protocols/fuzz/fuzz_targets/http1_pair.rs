//! Any script of a connection becomes exchanges that each begin once and are done once, and hold no more than was
//! said. Each step is two bytes, what happens and how many bytes of the input follow for it.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use regress_protocols::{
    PairEvent, PairedContent, Side,
    http1::{Limits, Message, Pairer},
};

fuzz_target!(|input: &[u8]| {
    let [setting, script @ ..] = input else { return };
    let limits = if setting & 2 == 0 { Limits::default() } else { Limits { head: 64, body: 200 } };
    let mut pairer = Pairer::new(setting & 1 == 1, limits);
    let mut given = 0;
    let mut rest = script;
    let mut mark = 0;
    while let [what, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        mark += 1;
        let side = if what & 1 == 0 { Side::Client } else { Side::Server };
        match what >> 1 & 7 {
            0..5 => {
                given += bytes.len();
                pairer.data(mark, side, bytes);
                rest = after;
            }
            5 => pairer.gap(mark, side, u64::from(*length)),
            6 => pairer.finished(mark, side),
            _ if *length > 250 => pairer.reset(mark),
            _ => {}
        }
        if what >> 1 & 7 >= 5 {
            rest = &rest[2..];
        }
    }
    if setting & 4 == 0 {
        pairer.stop(mark)
    } else {
        pairer.closed(mark)
    }
    check(&mut pairer, given);
});

fn check(pairer: &mut Pairer, given: usize) {
    let (mut began, mut done, mut kept) = (0, Vec::new(), 0);
    while let Some(event) = pairer.next() {
        match event {
            PairEvent::RequestBegan { number, .. } => {
                assert_eq!(number, began);
                began += 1;
            }
            PairEvent::Done(paired) => {
                done.push(paired.number);
                kept += size(&paired.content);
            }
            _ => {}
        }
    }
    done.sort_unstable();
    assert!(done.iter().copied().eq(0..began));
    assert!(kept <= given);
}

fn size(content: &PairedContent) -> usize {
    let turns = |turns: &[(Side, Bytes)]| turns.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    match content {
        PairedContent::Opaque(opaque) => turns(opaque),
        PairedContent::Http1 { request, interim, response, upgraded, .. } => {
            let messages = interim.iter().chain(response).chain([request]);
            messages.map(|message: &Message| message.wire().len()).sum::<usize>() + turns(upgraded)
        }
        PairedContent::Wire { .. } => unreachable!("an HTTP/1 pairer"),
    }
}
