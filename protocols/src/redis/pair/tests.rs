use super::*;
use crate::{
    PairEvent, Paired, PairedContent, Side,
    wire::{Fifo, Protocol},
};

fn told(pieces: &[(Side, &str)]) -> Vec<(String, Option<Value>)> {
    let mut fifo = Fifo::new(Protocol::Redis, 0, 1 << 20);
    for (side, bytes) in pieces {
        fifo.data(1, *side, bytes.as_bytes());
    }
    fifo.closed(2);
    let one = |paired: Paired| match paired.content {
        PairedContent::Wire { request, response, .. } => (Protocol::Redis.line(&request), response),
        other => panic!("{other:?}"),
    };
    let done = |event| if let PairEvent::Done(paired) = event { Some(one(*paired)) } else { None };
    std::iter::from_fn(|| fifo.next()).filter_map(done).collect()
}

use Side::{Client, Server};

#[test]
fn what_is_typed_is_a_request_too() {
    let all = told(&[(Client, "\r\nset  a 1\r\n"), (Server, "+OK\r\n")]);
    assert_eq!(all, [("SET a 1".to_owned(), Some(Value::map([("simple", Value::text("OK"))])))]);
}

#[test]
fn a_subscription_is_answered_until_another_request_is() {
    let all = told(&[
        (Client, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n"),
        (Server, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"),
        (Client, "*1\r\n$4\r\nPING\r\n"),
        (Server, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\ny\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
    ]);
    assert_eq!(all[0].1.as_ref().and_then(|told| told.get("stream")?.as_list()).map(<[Value]>::len), Some(3));
    assert_eq!(all[1], ("PING".to_owned(), Some(Value::List(vec![Value::text("pong"), Value::text("")]))));
}

#[test]
fn what_is_pushed_between_replies_is_an_exchange_of_its_own() {
    let all = told(&[
        (Client, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
        (Server, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nb\r\n$1\r\n1\r\n"),
    ]);
    assert!(all[0].1.as_ref().is_some_and(|pushed| pushed.get("push").is_some()), "{all:?}");
    assert_eq!(all[1], ("GET a".to_owned(), Some(Value::text("1"))));
}

#[test]
fn requests_without_a_reply_do_not_wait_for_one() {
    let all = told(&[
        (Client, "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"),
        (Client, "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n"),
        (Server, "+OK\r\n"),
        (Client, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
        (Server, "$-1\r\n"),
    ]);
    let replies: Vec<bool> = all.iter().map(|(_, reply)| reply.is_some()).collect();
    assert_eq!(replies, [false, false, true, true], "{all:?}");
}

#[test]
fn a_selected_database_is_part_of_what_is_asked() {
    let select = "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n";
    let mut conversation = Conversation::default();
    let mut ask = |said: &str| match conversation.client(said.as_bytes()) {
        Ok(Cut::Whole(_, Heard::Request(ask))) => ask,
        other => panic!("{other:?}"),
    };
    assert!(ask(select).setup);
    assert_eq!(ask("*2\r\n$3\r\nGET\r\n$1\r\na\r\n").value.get("db"), Some(&Value::number(3)));
    ask("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    assert_eq!(ask("*2\r\n$3\r\nGET\r\n$1\r\na\r\n").value.get("db"), None);
}

#[test]
fn of_a_connection_that_was_open_before_the_database_is_not_known_until_it_is_selected() {
    let mut fifo = Fifo::joined(Protocol::Redis, 0, 1 << 20);
    let get = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    for (said, told) in [(get, "$-1\r\n"), ("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", "+OK\r\n"), (get, "$-1\r\n")] {
        fifo.data(1, Client, said.as_bytes());
        fifo.data(2, Server, told.as_bytes());
    }
    fifo.closed(3);
    let done = std::iter::from_fn(|| fifo.next()).filter_map(|event| match event {
        PairEvent::Done(paired) => Some(paired.content),
        _ => None,
    });
    let asked: Vec<Value> = done
        .map(|content| match content {
            PairedContent::Wire { request, .. } => request,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked.iter().map(|asked| asked.get("db")).collect::<Vec<_>>(), [Some(&Value::Null), None, None]);
    assert_eq!(Protocol::Redis.unplaced(&asked[2]).as_ref(), Some(&asked[0]));
    assert_eq!(Protocol::Redis.unplaced(&asked[0]), None);
}
