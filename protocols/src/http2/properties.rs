//! Properties of pairing that hold for any conversation.

use loona_hpack::Encoder;
use proptest::prelude::*;

use super::{PREFACE, Pairer};
use crate::{
    Side,
    http1::Limits,
    pair::{PairEvent, Paired},
};

/// What happens on a connection of at most four streams.
#[derive(Clone, Debug)]
enum Act {
    Head { side: Side, stream: u8, name: u8, ends: bool },
    Data { side: Side, stream: u8, length: u8, ends: bool },
    Reset { side: Side, stream: u8 },
    Idle { side: Side },
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn act() -> impl Strategy<Value = Act> {
    let stream = 0_u8..4;
    prop_oneof![
        3 => (side(), stream.clone(), 0_u8..3, any::<bool>())
            .prop_map(|(side, stream, name, ends)| Act::Head { side, stream, name, ends }),
        3 => (side(), stream.clone(), any::<u8>(), any::<bool>())
            .prop_map(|(side, stream, length, ends)| Act::Data { side, stream, length, ends }),
        1 => (side(), stream).prop_map(|(side, stream)| Act::Reset { side, stream }),
        1 => side().prop_map(|side| Act::Idle { side }),
    ]
}

/// What each act puts on the wire, in order.
fn wire(acts: &[Act]) -> Vec<(Side, Vec<u8>)> {
    let mut encoders = [Encoder::new(), Encoder::new()];
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let stream = if kind == 6 { 0 } else { 1 + 2 * stream };
        [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let mut said = vec![(Side::Client, PREFACE.to_vec())];
    for act in acts {
        said.push(match act {
            Act::Head { side, stream, name, ends } => {
                let value = [b'v', *name];
                let fields: &[(&[u8], &[u8])] = match side {
                    Side::Client => &[(b":method", b"GET"), (b":path", b"/"), (b"x-name", &value)],
                    Side::Server => &[(b":status", if *name == 0 { b"100" } else { b"200" }), (b"x-name", &value)],
                };
                let block = encoders[*side as usize].encode(fields.iter().copied());
                (*side, frame(1, 4 | u8::from(*ends), *stream, &block))
            }
            Act::Data { side, stream, length, ends } => {
                (*side, frame(0, u8::from(*ends), *stream, &vec![b'd'; usize::from(*length)]))
            }
            Act::Reset { side, stream } => (*side, frame(3, 0, *stream, b"\0\0\0\x08")),
            Act::Idle { side } => (*side, frame(6, 0, 0, b"12345678")),
        });
    }
    said
}

/// All that was found out, but for when.
fn told(pairer: &mut Pairer) -> Vec<String> {
    let without_marks =
        |paired: Paired| format!("{} {:?} {:?} {:?}", paired.number, paired.content, paired.end, paired.problems);
    let tell = |event| match event {
        PairEvent::RequestContinued { .. } => String::new(),
        PairEvent::RequestBegan { number, .. } => format!("began {number}"),
        PairEvent::RequestComplete { number, .. } => format!("asked {number}"),
        PairEvent::ResponseBegan { number, .. } => format!("answers {number}"),
        PairEvent::ResponseComplete { number, .. } => format!("answered {number}"),
        PairEvent::Done(paired) => without_marks(*paired),
    };
    std::iter::from_fn(|| pairer.next()).map(tell).filter(|told| !told.is_empty()).collect()
}

fn check_numbers(told: &[String]) {
    let began = told.iter().filter(|line| line.starts_with("began")).count();
    let mut done: Vec<usize> =
        told.iter().filter_map(|line| line.split(' ').next().and_then(|number| number.parse().ok())).collect();
    done.sort_unstable();
    assert!(done.iter().copied().eq(0..began), "{told:#?}");
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_same_is_found(acts in prop::collection::vec(act(), 0..24), cuts in prop::collection::vec(1_usize..40, 1..40)) {
        let said = wire(&acts);
        let mut whole = Pairer::new(Limits::default());
        let mut cut = Pairer::new(Limits::default());
        let mut lengths = cuts.iter().copied().cycle();
        let mut mark = 0;
        for (side, bytes) in &said {
            mark += 1;
            whole.data(mark, *side, bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(lengths.next().unwrap_or(1).min(rest.len()));
                cut.data(mark, *side, piece);
                rest = after;
            }
        }
        whole.closed(mark);
        cut.closed(mark);
        let expected = told(&mut whole);
        check_numbers(&expected);
        prop_assert_eq!(told(&mut cut), expected);
    }

    #[test]
    fn losses_and_garbage_never_panic_and_end_everything(
        acts in prop::collection::vec(act(), 0..24),
        harm in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>()), 0..6),
        joined in any::<bool>(),
        small in any::<bool>(),
    ) {
        let mut said: Vec<(Side, Vec<u8>, u64)> = wire(&acts).into_iter().map(|(side, bytes)| (side, bytes, 0)).collect();
        for (index, what, value) in harm {
            let at = index.index(said.len());
            let (_, bytes, missing) = &mut said[at];
            let place = usize::from(value) % bytes.len().max(1);
            match what {
                0 => *missing += u64::from(value),
                1 => bytes.truncate(place),
                2 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= value),
                _ => bytes.insert(place, value),
            }
        }
        let limits = if small { Limits { head: 20, body: 100 } } else { Limits::default() };
        let mut pairer = if joined { Pairer::joined(0, limits) } else { Pairer::new(limits) };
        let mut mark = 0;
        for (side, bytes, missing) in &said {
            mark += 1;
            pairer.data(mark, *side, bytes);
            pairer.gap(mark, *side, *missing);
        }
        pairer.stop(mark);
        check_numbers(&told(&mut pairer));
    }

    #[test]
    fn any_bytes_never_panic(pieces in prop::collection::vec((side(), prop::collection::vec(any::<u8>(), 0..60)), 0..20), joined in any::<bool>()) {
        let mut pairer = if joined { Pairer::joined(0, Limits::default()) } else { Pairer::new(Limits::default()) };
        for (mark, (side, bytes)) in pieces.iter().enumerate() {
            pairer.data(mark as u64, *side, bytes);
        }
        pairer.reset(pieces.len() as u64);
        check_numbers(&told(&mut pairer));
    }
}
