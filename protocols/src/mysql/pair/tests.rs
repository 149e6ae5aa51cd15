use proptest::prelude::*;

use super::{
    super::{
        session::command::{PING, QUERY, STMT_PREPARE},
        tell::{self, Shape},
        testing::*,
    },
    *,
};
use crate::{
    PairEvent, PairedContent, Problem, Side,
    wire::{Fifo, Protocol},
};

fn fifo() -> Fifo {
    Fifo::new(Protocol::Mysql, 0, 64 << 20)
}

/// What a server of those capabilities says.
fn told(response: &Value, shape: Shape, capabilities: u64) -> Vec<u8> {
    let mut packets = super::super::packet::Packets::from(1);
    tell::response(response, shape, capabilities, &mut packets);
    packets.bytes
}

fn table() -> Value {
    rows(vec![column("a", "longlong")], vec![vec![Value::number(7)]])
}

fn texts() -> Value {
    rows(vec![column("a", "longlong")], vec![vec![Value::text("7")]])
}

fn prepared() -> Value {
    Value::map([
        ("params", Value::List(vec![column("?", "null")])),
        ("columns", Value::List(vec![column("a", "longlong")])),
    ])
}

#[test]
fn a_connection_that_is_joined_tells_its_formats_by_what_is_said() {
    for capabilities in [0, USUAL] {
        let only_params =
            Value::map([("params", Value::List(vec![column("?", "null")])), ("columns", Value::List(Vec::new()))]);
        let mut fifo = fifo();
        for (said, response, shape) in [
            (command(STMT_PREPARE, "INSERT INTO t VALUES (?)"), only_params, Shape::Prepared(8)),
            (command(STMT_PREPARE, "SELECT a FROM t WHERE a = ?"), prepared(), Shape::Prepared(9)),
            (execute(9, &[5], true), table(), Shape::Binary),
            (command(QUERY, "SELECT a FROM t"), texts(), Shape::Text),
            (execute(9, &[6], false), table(), Shape::Binary),
            (command(PING, ""), done(), Shape::Text),
        ] {
            fifo.data(1, Side::Client, &said);
            fifo.data(2, Side::Server, &told(&response, shape, capabilities));
        }
        fifo.closed(3);
        let all = recorded(&mut fifo);
        assert_eq!(all.len(), 6);
        assert_eq!(all[1].2, Some(prepared()));
        assert_eq!([&all[2].2, &all[3].2, &all[4].2], [&Some(table()), &Some(texts()), &Some(table())]);
        assert_eq!(all[4].0.get("params"), Some(&Value::List(vec![Value::number(6)])));
        assert_eq!(all[5].2, Some(done()));
    }
}

#[test]
fn a_statement_of_before_the_recording_is_said_to_be_unknown() {
    let mut fifo = fifo();
    fifo.data(1, Side::Client, &execute(3, &[5], false));
    fifo.data(2, Side::Server, &told(&table(), Shape::Binary, USUAL));
    fifo.closed(3);
    let (request, setup, response) = recorded(&mut fifo).remove(0);
    assert_eq!((request.get("statement"), request.get("sql"), setup), (Some(&Value::Null), None, false));
    assert_eq!(response, Some(table()));
}

#[test]
fn of_a_connection_that_was_open_before_the_schema_is_not_known_until_it_is_chosen() {
    let mut fifo = Fifo::joined(Protocol::Mysql, 0, 64 << 20);
    for said in ["SELECT a FROM t", "USE shop", "SELECT a FROM t"] {
        fifo.data(1, Side::Client, &command(QUERY, said));
        let response = if said == "USE shop" { done() } else { texts() };
        fifo.data(2, Side::Server, &told(&response, Shape::Text, USUAL));
    }
    fifo.closed(3);
    let all = recorded(&mut fifo);
    assert_eq!((all[0].0.get("db"), all[2].0.get("db")), (Some(&Value::Null), Some(&Value::text("shop"))));
    assert_eq!(Protocol::Mysql.unplaced(&all[2].0).as_ref(), Some(&all[0].0));
    let fetch = |of: &Value| Value::map([("command", Value::text("fetch")), ("of", of.clone())]);
    assert_eq!(Protocol::Mysql.unplaced(&fetch(&all[2].0)), Some(fetch(&all[0].0)));
    assert_eq!(Protocol::Mysql.unplaced(&fetch(&all[0].0)), None);
}

#[test]
fn commands_are_told_from_what_else_a_client_may_say() {
    let conversation = Conversation::default();
    assert!(conversation.resumes(&[command(QUERY, "SELECT 1"), command(PING, "")].concat()));
    assert!(!conversation.resumes(&command(QUERY, "SELECT 1")[..8]));
    assert_eq!(Protocol::detect_joined(&command(QUERY, "SELECT 1")), Some(Protocol::Mysql));
}

#[test]
fn after_bytes_that_were_not_seen_nothing_old_is_believed() {
    let mut fifo = fifo();
    fifo.data(1, Side::Client, &command(STMT_PREPARE, "SELECT a FROM t WHERE a = ?"));
    fifo.data(2, Side::Server, &told(&prepared(), Shape::Prepared(1), USUAL));
    fifo.data(3, Side::Client, &execute(1, &[5], true));
    fifo.gap(4, Side::Server, 20);
    fifo.data(5, Side::Client, &execute(1, &[6], false));
    fifo.data(6, Side::Server, &told(&table(), Shape::Binary, USUAL));
    fifo.data(7, Side::Client, &execute(1, &[7], true));
    fifo.data(8, Side::Server, &told(&table(), Shape::Binary, USUAL));
    fifo.closed(9);
    let mut params = Vec::new();
    while let Some(event) = fifo.next() {
        let PairEvent::Done(paired) = event else { continue };
        let PairedContent::Wire { request, .. } = paired.content else { panic!("{paired:?}") };
        params.extend(request.get("params").cloned());
    }
    assert_eq!(params[0], Value::List(vec![Value::number(5)]));
    assert!(params[1].get("raw").is_some(), "its types may be other ones: {params:?}");
    assert_eq!(params[2], Value::List(vec![Value::number(7)]));
}

#[test]
fn tls_ends_the_reading_and_what_is_inside_of_it_is_read_if_it_can_be_seen() {
    let asks = {
        let mut asks = ((USUAL | capability::SSL) as u32).to_le_bytes().to_vec();
        asks.resize(32, 0);
        framed(1, &asks)
    };
    let greeting = Greeting {
        version: b"8.0.36".to_vec(),
        capabilities: 0xffff_ffff,
        charset: 45,
        status: 2,
        plugin: b"caching_sha2_password".to_vec(),
    };
    let begin = || {
        let mut fifo = fifo();
        fifo.data(1, Side::Server, &framed(0, &greeting.write(1, b"abcdefghijklmnopqrst")));
        fifo.data(2, Side::Client, &asks);
        fifo
    };
    let mut sealed = begin();
    sealed.data(3, Side::Client, b"\x16\x03\x01\x02\x00secret");
    sealed.stop(4);
    let last = std::iter::from_fn(|| sealed.next()).last();
    assert!(matches!(last, Some(PairEvent::Done(paired)) if paired.problems == [Problem::Encrypted]));

    let mut seen = begin();
    seen.data(3, Side::Client, &framed(2, &login(USUAL, "caching_sha2_password")));
    seen.data(4, Side::Server, &[framed(3, b"\x01\x04")].concat());
    seen.data(5, Side::Client, &framed(4, b"PASSWORD\0"));
    seen.data(6, Side::Server, &framed(5, b"\0\0\0\x02\0\0\0"));
    seen.data(7, Side::Client, &command(QUERY, "SELECT a FROM t"));
    seen.data(8, Side::Server, &told(&texts(), Shape::Text, USUAL));
    seen.closed(9);
    let all = recorded(&mut seen);
    assert_eq!(all[0].2.as_ref().unwrap().get("tls"), Some(&Value::Bool(true)));
    assert_eq!(all[1].2, Some(texts()));
    assert!(!format!("{all:?}").contains("PASSWORD"));
}

#[test]
fn a_server_that_does_not_greet_says_why() {
    let mut fifo = fifo();
    fifo.data(1, Side::Server, &framed(0, b"\xff\x10\x04Too many connections"));
    fifo.closed(2);
    let (request, setup, response) = recorded(&mut fifo).remove(0);
    assert_eq!((request, setup), (Value::Null, true));
    assert_eq!(response.unwrap().get("error").unwrap().get("code"), Some(&Value::number(1040)));
}

#[test]
fn what_is_executed_before_it_has_a_number_is_what_was_prepared_last() {
    let mut fifo = fifo();
    let both = [command(STMT_PREPARE, "SELECT a FROM t WHERE a = ?"), execute(u32::MAX, &[5], true)].concat();
    fifo.data(1, Side::Client, &both);
    let answers = [told(&prepared(), Shape::Prepared(4), USUAL), told(&table(), Shape::Binary, USUAL)].concat();
    fifo.data(2, Side::Server, &answers);
    fifo.data(3, Side::Client, &execute(4, &[6], false));
    fifo.data(4, Side::Server, &told(&table(), Shape::Binary, USUAL));
    fifo.closed(5);
    let all = recorded(&mut fifo);
    assert_eq!(all[1].0.get("params"), Some(&Value::List(vec![Value::number(5)])));
    assert_eq!(all[2].0.get("params"), Some(&Value::List(vec![Value::number(6)])));
    assert_eq!(all[1].2, Some(table()));
}

#[test]
fn the_default_schema_is_part_of_what_is_asked() {
    let unknown = Value::map([("error", Value::map([("code", Value::number(1049)), ("message", Value::text("no"))]))]);
    let mut fifo = fifo();
    for (said, response) in [
        (command(QUERY, "SELECT 1"), texts()),
        (command(QUERY, "USE `shop`"), done()),
        (command(QUERY, "SELECT 1"), texts()),
        (command(2, "nosuch"), unknown),
        (command(QUERY, "SELECT 1"), texts()),
        (command(QUERY, "SELECT 1; USE other"), texts()),
        (command(QUERY, "SELECT DATABASE()"), texts()),
    ] {
        fifo.data(1, Side::Client, &said);
        fifo.data(2, Side::Server, &told(&response, Shape::Text, USUAL));
    }
    fifo.closed(3);
    let all = recorded(&mut fifo);
    let schemas: Vec<_> = [0, 2, 4].map(|number| all[number].0.get("db").cloned()).into();
    assert_eq!(schemas, [None, Some(Value::text("shop")), Some(Value::text("shop"))]);
    assert_eq!(
        [5, 6].map(|number| all[number].0.get("db").cloned()),
        ["shop", "other"].map(|name| Some(Value::text(name)))
    );
    assert_eq!([1, 3, 5, 6].map(|number| all[number].1), [true, true, false, true]);
}

#[test]
fn attributes_are_part_of_what_is_asked() {
    let capabilities = USUAL | capability::QUERY_ATTRIBUTES;
    let mut talk = Talk::new(Default::default());
    talk.say(&framed(1, &login(capabilities, "mysql_native_password")), |_| None);
    let attribute = b"\0\x01\xfe\0\x05trace\x02ab";
    talk.say(&framed(0, &[b"\x03\x01\x01", &attribute[..], b"SELECT 1"].concat()), |_| Some(texts()));
    talk.say(&framed(0, b"\x03\x00\x01SELECT 1"), |_| Some(texts()));
    talk.say(&command(STMT_PREPARE, "SELECT ?"), |_| None);
    // The count is there for statements with parameters, and where the flag says so.
    talk.say(&framed(0, b"\x17\x01\0\0\0\0\x01\0\0\0\x01\0\x01\x01\0\0\x05"), |_| Some(table()));
    talk.say(&framed(0, b"\x17\x01\0\0\0\x08\x01\0\0\0\x02\0\x01\x01\0\0\xfe\0\x05trace\x05\x02ab"), |_| Some(table()));
    let pair = Value::List(vec![Value::List(["trace", "ab"].map(Value::text).into())]);
    let attributes: Vec<_> = talk.judged.iter().map(|request| request.get("attributes").cloned()).collect();
    assert_eq!(attributes, [Some(pair.clone()), None, None, Some(pair)]);
    let five = Value::List(vec![Value::number(5)]);
    assert!(talk.judged[2..].iter().all(|request| request.get("params") == Some(&five)), "{:?}", talk.judged);
    assert!(talk.judged[..2].iter().all(|request| request.get("sql") == Some(&Value::text("SELECT 1"))));
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics_and_every_exchange_ends_once(
        pieces in prop::collection::vec((any::<bool>(), prop_oneof![
            prop::collection::vec(any::<u8>(), 0..30),
            (0u8..4, prop::collection::vec(any::<u8>(), 0..30)).prop_map(|(number, payload)| framed(number, &payload)),
            Just(command(QUERY, "SELECT a FROM t")),
            Just(command(STMT_PREPARE, "SELECT a FROM t WHERE a = ?")),
            Just(execute(1, &[5], true)),
            Just(told(&texts(), Shape::Text, 0)),
            Just(told(&prepared(), Shape::Prepared(1), USUAL)),
            Just(told(&table(), Shape::Binary, USUAL)),
        ], any::<bool>()), 0..30),
        joined: bool,
    ) {
        let mut fifo = fifo();
        if !joined {
            let mut talk = Talk::new(Default::default());
            talk.say(&framed(1, &login(USUAL, "mysql_native_password")), |_| None);
            fifo = talk.fifo;
        }
        for (is_client, bytes, is_gap) in pieces {
            let side = if is_client { Side::Client } else { Side::Server };
            if is_gap && bytes.len() % 5 == 0 {
                fifo.gap(1, side, bytes.len() as u64);
            } else {
                fifo.data(1, side, &bytes);
            }
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
        prop_assert_eq!(begun, ended);
    }
}
