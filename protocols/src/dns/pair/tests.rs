use hickory_proto::{
    op::ResponseCode,
    rr::{RData, rdata::A},
};
use proptest::prelude::*;

use super::*;
use crate::{
    PairEvent, PairedContent, Side,
    dns::samples::{framed, query, reply},
    wire::{Fifo, Protocol},
};

fn address(last: u8) -> RData {
    RData::A(A::new(10, 0, 0, last))
}

/// What a connection gives when it is said in pieces of that size: names and addresses, and whether all of it was set aside as setup.
fn paired(client: &[u8], server: &[u8], piece: usize) -> Vec<(String, Option<String>)> {
    let mut fifo = Fifo::new(Protocol::Dns, 0, 1 << 20);
    client.chunks(piece).enumerate().for_each(|(at, bytes)| fifo.data(at as u64, Side::Client, bytes));
    server.chunks(piece).enumerate().for_each(|(at, bytes)| fifo.data(1000 + at as u64, Side::Server, bytes));
    fifo.closed(10_000);
    let mut found = Vec::new();
    while let Some(event) = fifo.next() {
        let PairEvent::Done(paired) = event else { continue };
        assert_eq!(paired.problems, []);
        let PairedContent::Wire { request, response, setup, .. } = paired.content else { panic!("{paired:?}") };
        assert!(setup);
        let data = response.as_ref().map(|response| {
            let data = response.get("answers").and_then(Value::as_list).and_then(|all| all[0].get("data"));
            data.and_then(Value::as_text).unwrap().to_owned()
        });
        found.push((crate::dns::line(&request), data));
    }
    found
}

#[test]
fn responses_in_any_order_answer_their_questions() {
    let queries = [1, 2, 3].map(|id| query(id, &format!("n{id}.test"), "A"));
    let name = |id: usize| format!("n{id}.test");
    let replies = [1, 2, 3]
        .map(|id| framed(&reply(&queries[id - 1], ResponseCode::NoError, vec![(&name(id), address(id as u8))])));
    let client = queries.iter().flat_map(|query| framed(query)).collect::<Vec<_>>();
    let expected: Vec<_> = [1, 2, 3].map(|id| (format!("A n{id}.test"), Some(format!("10.0.0.{id}")))).into();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let server = order.iter().flat_map(|at| replies[*at].clone()).collect::<Vec<_>>();
        for piece in [1, 7, 1000] {
            assert_eq!(paired(&client, &server, piece), expected, "{order:?} {piece}");
        }
    }
}

#[test]
fn a_response_that_nobody_asked_for_is_none() {
    let mut conversation = Conversation::default();
    let asked = query(1, "a.test", "A");
    assert!(matches!(conversation.client(&framed(&asked)), Ok(Cut::Whole(_, Heard::Request(_)))));
    let other = framed(&reply(&query(2, "a.test", "A"), ResponseCode::NoError, Vec::new()));
    assert_eq!(conversation.server(&other, true), Err(Unreadable::Garbage));
    assert_eq!(conversation.client(&framed(&query(3, "zone.test", "AXFR"))), Err(Unreadable::Garbage));
}

proptest! {
    #[test]
    fn no_bytes_break_it(client in prop::collection::vec(any::<u8>(), 0..200), server in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut conversation = Conversation::default();
        let asked = framed(&query(1, "a.test", "A"));
        prop_assert!(matches!(conversation.client(&asked), Ok(Cut::Whole(..))), "a query is read");
        let _ = conversation.client(&client);
        let _ = conversation.server(&server, true);
    }

    #[test]
    fn no_changed_reply_breaks_it(at in 0usize..60, to in any::<u8>()) {
        let asked = query(1, "a.test", "A");
        let mut told = framed(&reply(&asked, ResponseCode::NoError, vec![("a.test", address(1))]));
        let at = at % told.len();
        told[at] = to;
        let mut conversation = Conversation::default();
        let _ = conversation.client(&framed(&asked));
        let _ = conversation.server(&told, true);
    }
}
