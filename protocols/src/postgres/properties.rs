//! What holds for all input.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Conversation, Player, samples::*};
use crate::{
    PairEvent, Side, Value,
    wire::{Cut, Dialect, Fifo, Handshakes, Protocol, Server, Step},
};

/// A request of a client, and what a server says to it.
fn exchange() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let text = "[a-z' ]{0,12}";
    let rows = prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..6)), 0..4);
    let table = move |rows: &[Option<Vec<u8>>], described: bool| {
        let mut said = if described { columns(&[("n", 25)], 0) } else { Vec::new() };
        rows.iter().for_each(|value| said.extend(row(&[value.as_deref()])));
        said.extend(done("SELECT"));
        said
    };
    prop_oneof![
        (text, rows.clone()).prop_map(move |(sql, rows)| (query(&sql), [table(&rows, true), ready()].concat())),
        (text, rows, any::<bool>()).prop_map(move |(sql, rows, prepared)| {
            let batch = [bind("", "s", &[], &[Some(b"1")]), execute("", 0), close_statement("other"), sync()].concat();
            let answer = [bound(), table(&rows, false), closed(), ready()].concat();
            if prepared {
                (batch, answer)
            } else {
                ([parse("s", &sql, &[23]), batch].concat(), [parsed(), answer].concat())
            }
        }),
        text.prop_map(|sql| {
            let client = [parse("s", &sql, &[]), describe_statement("s"), sync()].concat();
            (client, [parsed(), parameters(&[23]), columns(&[("n", 23)], 0), ready()].concat())
        }),
        text.prop_map(|sql| {
            let two =
                [bind("", "s", &[], &[]), execute("", 0), bind("", "s", &[], &[]), execute("", 0), sync()].concat();
            ([parse("s", &sql, &[]), two].concat(), [parsed(), error("22012", "no"), ready()].concat())
        }),
        Just(sync()).prop_map(|sync| (sync, ready())),
    ]
}

/// All that is found out of pieces, but when.
fn found(pieces: &[(Side, Vec<u8>)]) -> Vec<String> {
    let mut fifo = Fifo::new(Protocol::Postgres, 0, 1 << 20);
    for (side, bytes) in pieces {
        fifo.data(1, *side, bytes);
    }
    fifo.closed(1);
    let done = |event| {
        if let PairEvent::Done(paired) = event {
            Some(format!("{:?} {:?} {:?}", paired.content, paired.end, paired.problems))
        } else {
            None
        }
    };
    std::iter::from_fn(|| fifo.next()).filter_map(done).collect()
}

/// Bytes of one side, in pieces.
fn cut(side: Side, bytes: &[u8], at: &[prop::sample::Index]) -> Vec<(Side, Vec<u8>)> {
    let mut ends: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let mut from = 0;
    ends.into_iter().map(|end| (side, bytes[std::mem::replace(&mut from, end)..end].to_vec())).collect()
}

/// Parts of messages, whole ones, and noise.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let message =
        (prop::sample::select(&b"QPBDCESHFdcfpX123tTnDIsGVRKZENA"[..]), prop::collection::vec(any::<u8>(), 0..24))
            .prop_map(|(tag, body)| message(tag, &body));
    let part = prop_oneof![
        4 => exchange().prop_map(|(client, _)| client),
        4 => exchange().prop_map(|(_, server)| server),
        2 => message,
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_split_of_a_conversation_gives_the_same(
        exchanges in prop::collection::vec(exchange(), 1..6),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let (mut whole, mut split) = (vec![(Side::Client, startup()), (Side::Server, ready())], Vec::new());
        split.clone_from(&whole);
        for (client, server) in &exchanges {
            whole.extend([(Side::Client, client.clone()), (Side::Server, server.clone())]);
            split.extend(cut(Side::Client, client, &at));
            split.extend(cut(Side::Server, server, &at));
        }
        let all = found(&whole);
        prop_assert!(all.len() > exchanges.len() && all.iter().all(|one| one.contains("Wire") && one.ends_with("Complete []")), "{all:?}");
        prop_assert_eq!(found(&split), all);
    }

    #[test]
    fn noise_is_never_followed_without_end(pieces in prop::collection::vec((any::<bool>(), noise()), 0..12)) {
        let pieces: Vec<_> = pieces.into_iter().map(|(client, bytes)| (if client { Side::Client } else { Side::Server }, bytes)).collect();
        let began = [vec![(Side::Client, startup()), (Side::Server, ready())], pieces.clone()].concat();
        found(&began);
        found(&pieces);
    }

    #[test]
    fn a_cut_is_never_beyond_what_was_said(said in noise()) {
        for client in [true, false] {
            let mut conversation = Conversation::default();
            let mut rest = &said[..];
            for _ in 0..100 {
                if rest.is_empty() {
                    break;
                }
                let cut = if client {
                    conversation.client(rest).map(|cut| match cut { Cut::Partial(wanted) => Err(wanted), Cut::Whole(count, _) => Ok(count) })
                } else {
                    conversation.server(rest, false).map(|cut| match cut { Cut::Partial(wanted) => Err(wanted), Cut::Whole(count, _) => Ok(count) })
                };
                match cut {
                    Ok(Ok(count)) => rest = &rest[count..],
                    Ok(Err(wanted)) => {
                        prop_assert!(wanted > rest.len());
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }

    #[test]
    fn a_player_takes_anything(
        pieces in prop::collection::vec(noise(), 0..8),
        response in prop::sample::select(vec![
            Value::Null,
            Value::map([("skipped", Value::Bool(true))]),
            Value::map([("results", Value::List(vec![Value::Null, Value::map([("rows", Value::List(vec![Value::Null])), ("columns", Value::Null)])]))]),
            Value::map([("error", Value::Null), ("failed", Value::text("bind"))]),
            Value::map([("results", Value::List(vec![Value::map([("copy-in", Value::Null)])]))]),
        ]),
    ) {
        let mut player = Player::new(Arc::<Handshakes>::default());
        player.hear(&startup());
        for piece in pieces {
            player.hear(&piece);
            for _ in 0..1_000 {
                match player.step() {
                    Some(Step::Judge(request)) => drop(player.answer(&request, &response)),
                    Some(_) => {}
                    None => break,
                }
            }
            prop_assert_eq!(player.step(), None);
        }
    }
}
