use proptest::prelude::*;

use super::{super::testing::*, *};
use crate::wire::Protocol;

fn query(sql: &str) -> Vec<u8> {
    command(command::QUERY, sql)
}

/// A talk in which a client of those capabilities is let in.
fn talk(known: Handshakes, capabilities: u64) -> Talk {
    let mut talk = Talk::new(known);
    let steps = talk.say(&framed(1, &login(capabilities, "mysql_native_password")), |_| None);
    assert!(matches!(&steps[..], [Step::Say(_)]), "{steps:?}");
    talk
}

fn known(exchanges: &[(Value, Value)]) -> Handshakes {
    let mut known = Handshakes::default();
    for (request, response) in exchanges {
        assert!(Protocol::Mysql.is_handshake(request));
        known.learn(request, response);
    }
    known
}

fn asks(command: &'static str, sql: &str) -> Value {
    Value::map([("command", Value::text(command)), ("sql", Value::text(sql))])
}

fn in_shop(request: Value) -> Value {
    let Value::Map(mut members) = request else { panic!() };
    members.push(("db".into(), Value::text("shop")));
    Value::Map(members)
}

#[test]
fn everybody_is_let_in_by_whatever_plugin() {
    for (plugin, told) in [
        ("mysql_native_password", &b"\x07\0\0\x02\0"[..]),
        ("client_ed25519", b"\x07\0\0\x02\0"),
        ("caching_sha2_password", b"\x02\0\0\x02\x01\x03\x07\0\0\x03\0"),
        ("sha256_password", b"\x2c\0\0\x02\xfemysql_native_password\0"),
    ] {
        let mut talk = Talk::new(Handshakes::default());
        talk.say(&framed(1, &login(USUAL, plugin)), |_| None);
        assert!(talk.told.starts_with(told), "{plugin}: {:?}", talk.told);
        if plugin == "sha256_password" {
            talk.say(&framed(3, b"another proof"), |_| None);
        }
        talk.say(&query("SELECT 1"), |_| Some(done()));
        assert_eq!(talk.judged, [in_shop(asks("query", "SELECT 1"))]);
        let all = talk.recorded();
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].1 && !format!("{all:?}").contains("SECRET") && !format!("{all:?}").contains("proof"));
    }
}

#[test]
fn it_introduces_itself_as_the_recorded_one() {
    let mut first = talk(Handshakes::default(), USUAL);
    let (request, _, response) = first.recorded().remove(0);
    let Some(Value::Map(mut members)) = response else { panic!() };
    let server = members.iter_mut().find(|(name, _)| name == "server").unwrap();
    let mut greeting = Greeting::of_value(&server.1).unwrap();
    greeting.version = b"10.11.6-MariaDB".to_vec();
    greeting.capabilities &= !capability::DEPRECATE_EOF;
    server.1 = greeting.to_value();
    let mut player = Player::new(&Arc::new(known(&[(request.clone(), Value::Map(members.clone()))])));
    let told = Greeting::read(&player.greeting()[4..]).unwrap();
    assert_eq!((&told.version[..], told.capabilities), (&b"10.11.6-MariaDB"[..], greeting.capabilities));
    assert_eq!(told.capabilities & WITHHELD, 0);
    members.push(("tls".into(), Value::Bool(true)));
    let mut player = Player::new(&Arc::new(known(&[(request, Value::Map(members))])));
    let told = Greeting::read(&player.greeting()[4..]).unwrap();
    assert_eq!(told.capabilities & WITHHELD, capability::SSL);
    let mut asks = ((USUAL | capability::SSL) as u32).to_le_bytes().to_vec();
    asks.resize(32, 0);
    player.hear(&[&framed(1, &asks)[..], b"\x16\x03\x01"].concat());
    let secure = Step::Secure { say: Vec::new(), heard: b"\x16\x03\x01".to_vec() };
    assert_eq!((player.step(), player.step()), (Some(secure), None));
    player.hear(&framed(2, &login(USUAL, "mysql_native_password")));
    assert!(matches!(player.step(), Some(Step::Say(_))));
}

#[test]
fn what_concerns_the_connection_is_answered() {
    let shown = rows(vec![column("@@sql_mode", "var_string")], vec![vec![Value::text("ANSI")]]);
    let unknown = Value::map([("code", Value::number(1049)), ("message", Value::text("no such schema"))]);
    let unknown = Value::map([("error", unknown)]);
    let recorded = [(asks("query", "SELECT @@sql_mode"), shown), (asks("query", "USE nosuch"), unknown)];
    let mut talk = talk(known(&recorded), USUAL);
    for said in [
        query("SET NAMES utf8mb4"),
        query("SET autocommit=0"),
        query("SELECT @@sql_mode"),
        query("SELECT @@autocommit AS a, DATABASE(), VERSION(), @@max_allowed_packet"),
        query("USE nosuch"),
        query("USE other"),
        command(command::INIT_DB, "third"),
        command(command::PING, ""),
        command(command::RESET_CONNECTION, ""),
        framed(0, b"\x1b\x00\x00"),
    ] {
        let steps = talk.say(&said, |_| None);
        assert!(matches!(&steps[..], [Step::Say(_)]), "{said:?} {steps:?}");
    }
    assert_eq!(talk.say(&command(command::QUIT, ""), |_| None), [Step::Close]);
    let all = talk.recorded();
    assert!(all.iter().all(|(_, setup, _)| *setup));
    let told = |number: usize| all[number].2.clone().unwrap();
    let list = |texts: &[&str]| Value::List(texts.iter().copied().map(Value::text).collect());
    assert_eq!(told(1).get("session").unwrap().as_list().unwrap().len(), 3);
    assert_eq!(told(2).get("session"), Some(&Value::List(vec![list(&["variable", "autocommit", "OFF"])])));
    assert_eq!(told(3).get("rows"), Some(&Value::List(vec![list(&["ANSI"])])));
    assert_eq!(told(4).get("rows"), Some(&Value::List(vec![list(&["1", "shop", "8.0.36", "67108864"])])));
    assert_eq!(told(5).get("error").unwrap().get("code"), Some(&Value::number(1049)));
    assert_eq!(told(7).get("session"), Some(&Value::List(vec![list(&["schema", "third"])])));
}

#[test]
fn what_nobody_knows_is_judged_and_refused() {
    let mut talk = talk(Handshakes::default(), USUAL);
    for sql in ["SHOW VARIABLES LIKE 'x'", "SELECT 1", "SET GLOBAL a = 1"] {
        let steps = talk.say(&query(sql), |_| None);
        assert!(matches!(&steps[..], [Step::Judge(_)]), "{sql}: {steps:?}");
    }
    let all = talk.recorded();
    let error = all[1].2.as_ref().unwrap().get("error").unwrap();
    assert_eq!(error.get("message"), Some(&Value::text("regress: nothing recorded")));
    assert_eq!((error.get("code"), error.get("state")), (Some(&Value::number(1105)), Some(&Value::text("HY000"))));
}

#[test]
fn statements_are_prepared_whether_they_were_recorded_or_not() {
    let sql = "SELECT a FROM t WHERE b = ? AND c = '?'";
    let prepared = Value::map([
        ("params", Value::List(vec![column("?", "null")])),
        ("columns", Value::List(vec![column("a", "long")])),
    ]);
    let elsewhere =
        Value::map([("command", Value::text("prepare")), ("sql", Value::text(sql)), ("db", Value::text("elsewhere"))]);
    let told = rows(vec![column("a", "long")], vec![vec![Value::number(7)], vec![Value::Null]]);
    for capabilities in [USUAL, USUAL & !capability::DEPRECATE_EOF] {
        for known in [known(&[(elsewhere.clone(), prepared.clone())]), Handshakes::default()] {
            let is_known = known != Handshakes::default();
            let mut talk = talk(known, capabilities);
            talk.say(&command(command::STMT_PREPARE, "SELECT 1"), |_| None);
            talk.say(&command(command::STMT_PREPARE, sql), |_| None);
            talk.say(&execute(2, &[5], true), |_| Some(told.clone()));
            talk.say(&execute(2, &[6], false), |_| Some(told.clone()));
            talk.say(&framed(0, b"\x19\x02\0\0\0"), |_| None);
            talk.say(&execute(2, &[6], false), |_| None);
            let params: Vec<_> = talk.judged.iter().map(|request| request.get("params").cloned().unwrap()).collect();
            assert_eq!(params[..2], [5, 6].map(|param| Value::List(vec![Value::number(param)])));
            assert_eq!(talk.judged[2].get("statement"), Some(&Value::Null));
            let all = talk.recorded();
            assert_eq!(all[2].2.as_ref().unwrap().get("columns") == prepared.get("columns"), is_known);
            assert_eq!(all[3].2.as_ref(), Some(&told));
        }
    }
}

#[test]
fn rows_are_fetched_as_they_were() {
    let mut opened = rows(vec![column("a", "long")], Vec::new());
    let Value::Map(members) = &mut opened else { panic!() };
    members.retain(|(name, _)| name != "status");
    members.push(("status".into(), Value::List(["autocommit", "cursor_exists"].map(Value::text).into())));
    let told = rows(vec![column("a", "long")], vec![vec![Value::number(7)], vec![Value::number(8)]]);
    for capabilities in [USUAL, USUAL & !capability::DEPRECATE_EOF] {
        let mut talk = talk(Handshakes::default(), capabilities);
        talk.say(&command(command::STMT_PREPARE, "SELECT a FROM t"), |_| None);
        talk.say(&framed(0, b"\x17\x01\0\0\0\x01\x01\0\0\0"), |_| Some(opened.clone()));
        for _ in 0..2 {
            talk.say(&framed(0, b"\x1c\x01\0\0\0\x02\0\0\0"), |_| Some(told.clone()));
        }
        assert_eq!(talk.judged[0].get("cursor"), Some(&Value::number(1)));
        let after: Vec<_> = talk.judged[1..].iter().map(|request| request.get("after").cloned().unwrap()).collect();
        assert_eq!(after, [Value::number(0), Value::number(2)]);
        assert_eq!(talk.judged[1].get("of"), Some(&talk.judged[0]));
        let all = talk.recorded();
        assert_eq!(
            [&all[2].2, &all[3].2, &all[4].2],
            [&Some(opened.clone()), &Some(told.clone()), &Some(told.clone())]
        );
    }
}

#[test]
fn a_file_is_asked_for_and_its_content_judged() {
    let mut talk = talk(Handshakes::default(), USUAL);
    let sql = "LOAD DATA LOCAL INFILE 'x.csv' INTO TABLE t";
    let answer = |request: &Value| match request.get("content") {
        None => Some(Value::map([("infile", Value::text("x.csv"))])),
        Some(_) => Some(done()),
    };
    talk.say(&query(sql), answer);
    assert!(talk.told.ends_with(b"\x06\0\0\x01\xfbx.csv"));
    talk.say(&framed(2, b"1,2\n"), answer);
    talk.say(&[framed(3, b"3,4\n"), framed(4, b"")].concat(), answer);
    assert!(talk.told.ends_with(b"\x07\0\0\x05\0\0\0\x02\0\0\0"));
    assert_eq!(talk.judged[1].get("content"), Some(&Value::text("1,2\n3,4\n")));
    assert_eq!(talk.judged[1].get("sql"), Some(&Value::text(sql)));
    talk.say(&query("SELECT 1"), answer);
    assert_eq!(talk.judged.len(), 3);
}

#[test]
fn what_is_not_of_the_protocol_is_told_once() {
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x01\0\0\x01\x0e", b"\x01\0\0\0\x0e"] {
        let mut player = Player::new(&Arc::default());
        player.greeting();
        player.hear(said);
        player.hear(&[0; 1 << 16]);
        let steps: Vec<Step> = std::iter::from_fn(|| player.step()).collect();
        assert!(matches!(&steps[..], [Step::Garbage] | []), "{steps:?}");
    }
    let mut talk = talk(Handshakes::default(), USUAL);
    assert_eq!(talk.say(&framed(0, b"\x12binlog"), |_| None), [Step::Garbage]);
}

fn value(kind: &'static str) -> BoxedStrategy<Value> {
    let some = match kind {
        "long" => any::<i32>().prop_map(Value::number).boxed(),
        "longlong" => any::<i64>().prop_map(Value::number).boxed(),
        "double" => any::<f64>()
            .prop_filter("JSON has no other numbers", |number| number.is_finite())
            .prop_map(|number| Value::Number(format!("{number:?}")))
            .boxed(),
        "datetime" => (0..9999u32, 0..1_000_000u32)
            .prop_map(|(year, part)| match part {
                0 => Value::text(format!("{year:04}-01-02 00:00:00")),
                part => Value::text(format!("{year:04}-01-02 03:04:05.{part:06}")),
            })
            .boxed(),
        _ => prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::data(&bytes)).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 4 => some].boxed()
}

fn table() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["long", "longlong", "double", "datetime", "var_string", "blob"]);
    prop::collection::vec(kind, 1..12).prop_flat_map(|kinds| {
        let columns: Vec<Value> = kinds.iter().map(|kind| column("c", kind)).collect();
        let row: Vec<_> = kinds.iter().map(|kind| value(kind)).collect();
        prop::collection::vec(row, 0..5).prop_map(move |told| rows(columns.clone(), told))
    })
}

/// Texts for a client that did not prepare what it asks.
fn as_text(told: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::Number(number) => Value::text(number),
        other => other.clone(),
    };
    let row = |row: &Value| row.as_list().unwrap().iter().map(text).collect();
    let told_rows = told.get("rows").unwrap().as_list().unwrap().iter().map(row).collect();
    rows(told.get("columns").unwrap().as_list().unwrap().to_vec(), told_rows)
}

proptest! {
    #[test]
    fn whatever_is_told_is_read_as_the_same(
        tables in prop::collection::vec(table(), 1..3),
        eof: bool,
        track: bool,
        prepared: bool,
        cuts in prop::collection::vec(1usize..50, 1..20),
    ) {
        let mut capabilities = USUAL;
        if eof { capabilities &= !capability::DEPRECATE_EOF }
        if !track { capabilities &= !capability::SESSION_TRACK }
        let mut results: Vec<Value> = if prepared { tables } else { tables.iter().map(as_text).collect() };
        results.push(done());
        let told = Value::map([("results", Value::List(results))]);
        let mut talk = talk(Handshakes::default(), capabilities);
        if prepared {
            talk.say(&command(command::STMT_PREPARE, "CALL p()"), |_| None);
        }
        let said = if prepared { execute(1, &[], true) } else { query("CALL p()") };
        talk.say(&said, |_| Some(told.clone()));
        let all = talk.recorded();
        prop_assert_eq!(all.last().unwrap().2.as_ref(), Some(&told));

        // The same in pieces.
        let mut fifo = crate::wire::Fifo::new(Protocol::Mysql, 0, 64 << 20);
        let mut other = Player::new(&Arc::default());
        fifo.data(1, crate::Side::Server, &other.greeting());
        let mut cuts = cuts.into_iter().cycle();
        let mut send = |fifo: &mut crate::wire::Fifo, side, mut bytes: &[u8]| {
            while !bytes.is_empty() {
                let (now, later) = bytes.split_at(cuts.next().unwrap_or(1).min(bytes.len()));
                fifo.data(1, side, now);
                bytes = later;
            }
        };
        let mut say = |said: &[u8]| {
            send(&mut fifo, crate::Side::Client, said);
            other.hear(said);
            while let Some(step) = other.step() {
                match step {
                    Step::Say(bytes) => send(&mut fifo, crate::Side::Server, &bytes),
                    Step::Judge(request) => send(&mut fifo, crate::Side::Server, &other.answer(&request, &told)),
                    other => panic!("{other:?}"),
                }
            }
        };
        say(&framed(1, &login(capabilities, "caching_sha2_password")));
        if prepared {
            say(&command(command::STMT_PREPARE, "CALL p()"));
        }
        say(&said);
        fifo.closed(2);
        let all = recorded(&mut fifo);
        prop_assert_eq!(all.last().unwrap().2.as_ref(), Some(&told));
    }

    #[test]
    fn whatever_a_client_says_nothing_panics(
        pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(first, rest)| framed(0, &[&[first % 0x20][..], &rest].concat())),
            Just(framed(1, &login(USUAL, "mysql_native_password"))),
            Just(command(command::STMT_PREPARE, "SELECT ?, ?")),
            Just(execute(1, &[1, 2], true)),
            Just(framed(0, b"\x18\x01\0\0\0\x01\0piece")),
            Just(query("LOAD DATA LOCAL INFILE 'x' INTO TABLE t")),
        ], 0..20),
    ) {
        let mut player = Player::new(&Arc::default());
        player.greeting();
        for piece in pieces {
            player.hear(&piece);
            while let Some(step) = player.step() {
                if let Step::Judge(request) = step {
                    let _ = (Protocol::Mysql.line(&request), Protocol::Mysql.operation(&request));
                    let infile = Value::map([("infile", Value::text("x"))]);
                    player.answer(&request, &infile);
                }
            }
        }
    }
}
