use super::*;
use crate::postgres::samples::*;

/// What a player says or wants to be judged, as types of messages: `1TZ`, `?` for what is to be judged.
fn step(player: &mut Player, said: &[u8]) -> Vec<Step> {
    player.hear(said);
    std::iter::from_fn(|| player.step()).collect()
}

fn tags(mut said: &[u8]) -> String {
    let mut tags = String::new();
    while let Some(tag) = said.first() {
        tags.push(*tag as char);
        let length = u32::from_be_bytes(said[1..5].try_into().unwrap());
        said = &said[1 + length as usize..];
    }
    tags
}

fn said(steps: &[Step]) -> Vec<u8> {
    match steps {
        [Step::Say(bytes)] => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

fn judged(steps: &[Step]) -> Value {
    match steps {
        [Step::Judge(request)] => request.clone(),
        other => panic!("{other:?}"),
    }
}

fn knowing(known: &[(Value, Value)]) -> Player {
    let mut handshakes = Handshakes::default();
    known.iter().for_each(|(request, response)| handshakes.learn(request, response));
    let mut player = Player::new(Arc::new(handshakes));
    let greeting = said(&step(&mut player, &startup()));
    assert!(tags(&greeting).starts_with("RS") && tags(&greeting).ends_with("KZ"));
    player
}

fn prepared(sql: &str) -> (Value, Value) {
    let request = Value::map([("prepare", Value::text(sql))]);
    let columns = vec![Column::computed("n", 23).value()];
    (request, Value::map([("parameters", Value::List(vec![Value::text("int4")])), ("columns", Value::List(columns))]))
}

fn result(value: &str, tag: &str, status: &str) -> Value {
    let result = Value::map([
        ("columns", Value::List(vec![Column::computed("n", 23).value()])),
        ("rows", Value::List(vec![Value::List(vec![Value::text(value)])])),
        ("tag", Value::text(tag)),
    ]);
    Value::map([("results", Value::List(vec![result])), ("status", Value::text(status))])
}

fn tagged(tag: &str, status: &str) -> Value {
    let result = Value::map([("tag", Value::text(tag))]);
    Value::map([("results", Value::List(vec![result])), ("status", Value::text(status))])
}

#[test]
fn everybody_is_let_in_as_the_recorded_server_did() {
    let mut player = Player::new(Arc::default());
    assert_eq!(said(&step(&mut player, b"\0\0\0\x08\x04\xd2\x16\x30")), b"N");
    assert_eq!(said(&step(&mut player, b"\0\0\0\x08\x04\xd2\x16\x2f")), b"N");
    assert_eq!(tags(&said(&step(&mut player, &startup()))), "RSSSSSSSSSSSKZ");

    let user = Value::List(vec![Value::text("user"), Value::text("regress")]);
    let request = Value::map([("startup", Value::List(vec![user])), ("version", Value::text("3.0"))]);
    let setting = Value::List(vec![Value::text("server_version"), Value::text("99")]);
    let response = Value::map([("settings", Value::List(vec![setting]))]);
    let tls = (Value::map([("encryption", Value::text("tls"))]), Value::map([("accepted", Value::Bool(true))]));
    let mut handshakes = Handshakes::default();
    handshakes.learn(&request, &response);
    handshakes.learn(&tls.0, &tls.1);
    let mut player = Player::new(Arc::new(handshakes));
    let secure = Step::Secure { say: b"S".to_vec(), heard: b"\x16".to_vec() };
    assert_eq!(step(&mut player, b"\0\0\0\x08\x04\xd2\x16\x2f\x16"), [secure]);
    let greeting = said(&step(&mut player, &startup()));
    assert_eq!(tags(&greeting), "RSKZ");
    assert!(greeting.windows(18).any(|part| part == b"server_version\x0099\0"));
    assert_eq!(step(&mut player, &message(b'X', b"")), [Step::Close]);
}

#[test]
fn a_server_that_was_joined_inside_tls_agrees_to_it() {
    let mut handshakes = Handshakes::default();
    handshakes.learn_tls();
    let mut player = Player::new(Arc::new(handshakes));
    assert_eq!(said(&step(&mut player, b"\0\0\0\x08\x04\xd2\x16\x30")), b"N");
    let secure = Step::Secure { say: b"S".to_vec(), heard: Vec::new() };
    assert_eq!(step(&mut player, b"\0\0\0\x08\x04\xd2\x16\x2f"), [secure]);
}

#[test]
fn a_database_of_which_nothing_was_recorded_is_refused() {
    let of = |database: &str| {
        let pair = |name: &str, value: &str| Value::List(vec![Value::text(name), Value::text(value)]);
        Value::map([("startup", Value::List(vec![pair("user", "regress"), pair("database", database)]))])
    };
    let mut handshakes = Handshakes::default();
    handshakes.learn(&of("shop"), &Value::map([]));
    let mut player = Player::new(Arc::new(handshakes.clone()));
    player.hear(&startup());
    let Some(Step::Judge(request)) = player.step() else { panic!() };
    assert_eq!(tags(&player.refuse(&request, "no")), "E");
    assert_eq!(player.step(), Some(Step::Close));
    handshakes.learn(&of("regress"), &Value::map([]));
    let mut player = Player::new(Arc::new(handshakes));
    assert!(tags(&said(&step(&mut player, &startup()))).starts_with("RS"));
}

#[test]
fn a_newer_version_is_negotiated_and_a_cancel_request_is_heard_out() {
    let mut player = Player::new(Arc::default());
    let greeting = said(&step(&mut player, b"\0\0\0\x19\0\x03\0\x02user\0a\0_pq_.x\0y\0\0"));
    assert_eq!(&greeting[..9], b"v\0\0\0\x13\0\0\0\0");
    let mut player = Player::new(Arc::default());
    assert_eq!(step(&mut player, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02"), [Step::Close]);
}

#[test]
fn what_concerns_the_connection_is_answered_at_once() {
    let mut player = knowing(&[]);
    for (sql, expected) in [
        ("", "IZ"),
        ("SELECT 1", "TDCZ"),
        ("SET extra_float_digits = 3", "CZ"),
        ("SET TIME ZONE 'UTC'", "CSZ"),
        ("DISCARD ALL", "CZ"),
    ] {
        assert_eq!(tags(&said(&step(&mut player, &query(sql)))), expected, "{sql}");
    }
    let alive =
        [parse("", "SELECT 1", &[]), bind("", "", &[], &[]), describe_portal(""), execute("", 0), sync()].concat();
    assert_eq!(tags(&said(&step(&mut player, &alive))), "12TDCZ");
    assert_eq!(tags(&said(&step(&mut player, &sync()))), "Z");
    assert_eq!(tags(&said(&step(&mut player, &[close_statement("x"), sync()].concat()))), "3Z");
    assert_eq!(tags(&said(&step(&mut player, &[parse("a", "SELECT 2", &[]), sync()].concat()))), "1Z");
}

#[test]
fn an_execution_is_judged_whether_its_statement_is_prepared_before_or_not() {
    let sql = "SELECT n FROM a WHERE id = $1";
    let mut player = knowing(&[prepared(sql)]);
    let described = said(&step(&mut player, &[parse("s", sql, &[]), describe_statement("s"), sync()].concat()));
    assert_eq!(tags(&described), "1tTZ");
    let binary = [bind_for("", "s", &[1], &[Some(b"\0\0\0\x07")], &[1]), execute("", 0), sync()].concat();
    let request = judged(&step(&mut player, &binary));
    assert_eq!(request.get("params"), Some(&Value::List(vec![Value::text("7")])));
    let answer = player.answer(&request, &result("5", "SELECT 1", "idle"));
    assert_eq!(tags(&answer), "2DCZ");
    assert!(answer.windows(8).any(|part| part == b"\0\0\0\x04\0\0\0\x05"), "{answer:?}");
    let at_once =
        [parse("", sql, &[]), bind("", "", &[], &[Some(b"7")]), describe_portal(""), execute("", 0), sync()].concat();
    assert_eq!(judged(&step(&mut player, &at_once)), request);
    assert_eq!(tags(&player.answer(&request, &result("5", "SELECT 1", "idle"))), "12TDCZ");
    let simple = [("query", Value::text("SELECT n")), ("db", Value::text("regress"))];
    assert_eq!(judged(&step(&mut player, &query("SELECT n"))), Value::map(simple));
    assert_eq!(tags(&player.answer(&Value::Null, &result("5", "SELECT 1", "idle"))), "TDCZ");
}

#[test]
fn a_statement_that_nobody_described_is_judged_and_refused() {
    let mut player = knowing(&[]);
    let request = judged(&step(&mut player, &[parse("s", "SELECT 2", &[]), describe_statement("s"), sync()].concat()));
    assert_eq!(request, Value::map([("prepare", Value::text("SELECT 2"))]));
    let refusal = player.refuse(&request, "no exchange\nthe nearest one");
    assert_eq!(tags(&refusal), "EZ");
    let text = String::from_utf8_lossy(&refusal).into_owned();
    assert!(text.contains("C58000\0Mregress: no exchange\0Dthe nearest one\0H"), "{text:?}");
}

#[test]
fn after_an_error_everything_is_passed_over_up_to_the_sync() {
    let mut player = knowing(&[]);
    let first = [parse("", "SELECT 2", &[]), bind("", "", &[], &[]), execute("", 0), bind("", "", &[], &[])].concat();
    let request = judged(&step(&mut player, &first));
    assert_eq!(tags(&player.refuse(&request, "no")), "E");
    let second = judged(&step(&mut player, &[execute("", 0), sync()].concat()));
    assert_eq!(tags(&player.answer(&second, &result("5", "SELECT 1", "idle"))), "Z");
    // What the recorded server passed over has no answer where nothing failed.
    let third = judged(&step(&mut player, &[bind("", "", &[], &[]), execute("", 0), sync()].concat()));
    assert_eq!(tags(&player.answer(&third, &Value::map([("skipped", Value::Bool(true))]))), "EZ");
}

#[test]
fn an_error_is_told_where_it_came_up() {
    let mut player = knowing(&[]);
    let batch =
        [parse("", "SELECT 2", &[]), bind("", "", &[], &[]), describe_portal(""), execute("", 0), sync()].concat();
    let error = || ("error", notice::error("22012", "no", "", ""));
    for (response, expected) in [
        (Value::map([error(), ("failed", Value::text("parse"))]), "EZ"),
        (Value::map([error(), ("failed", Value::text("bind"))]), "1EZ"),
        (Value::map([("results", Value::List(vec![Value::map([("cut", Value::Bool(true))])])), error()]), "12nEZ"),
        (Value::map([("results", Value::List(vec![Value::map([("tag", Value::text("DO"))])])), error()]), "12nCEZ"),
    ] {
        let request = judged(&step(&mut player, &batch));
        assert_eq!(tags(&player.answer(&request, &response)), expected);
    }
}

#[test]
fn the_state_of_the_transaction_is_that_of_this_connection() {
    let mut player = knowing(&[]);
    let mut after = |sql: &str, response: Option<Value>| {
        let request = judged(&step(&mut player, &query(sql)));
        let said = match response {
            Some(response) => player.answer(&request, &response),
            None => player.refuse(&request, "no"),
        };
        *said.last().unwrap() as char
    };
    assert_eq!(after("SELECT 2", Some(result("2", "SELECT 1", "transaction"))), 'I');
    assert_eq!(after("BEGIN", Some(tagged("BEGIN", "transaction"))), 'T');
    assert_eq!(after("SELECT 2", Some(result("2", "SELECT 1", "idle"))), 'T');
    assert_eq!(after("SELECT 3", None), 'E');
    assert_eq!(after("ROLLBACK TO a", Some(tagged("ROLLBACK", "transaction"))), 'T');
    assert_eq!(after("COMMIT AND CHAIN", Some(tagged("COMMIT", "transaction"))), 'T');
    assert_eq!(after("SELECT 3", None), 'E');
    assert_eq!(tags(&said(&step(&mut player, &query("SELECT 1")))), "EZ");
    let request = judged(&step(&mut player, &query("ROLLBACK")));
    assert!(player.answer(&request, &tagged("ROLLBACK", "idle")).ends_with(b"I"));
}

#[test]
fn data_are_taken_where_they_are_copied() {
    let mut player = knowing(&[]);
    let request = judged(&step(&mut player, &query("COPY a FROM STDIN")));
    let how = Value::map([("format", Value::text("text")), ("columns", Value::List(vec![Value::text("text")]))]);
    let into = Value::map([("results", Value::List(vec![Value::map([("copy-in", how)])]))]);
    assert_eq!(tags(&player.answer(&request, &into)), "G");
    let copied =
        judged(&step(&mut player, &[message(b'd', b"1\n"), message(b'd', b"2\n"), message(b'c', b"")].concat()));
    assert_eq!(copied.get("data"), Some(&Value::text("1\n2\n")));
    assert_eq!(tags(&player.answer(&copied, &tagged("COPY 2", "idle"))), "CZ");
    // It does not come to that, and data that came nevertheless are noted alone.
    player.hear(&[query("COPY a FROM STDIN"), message(b'd', b"1\n"), message(b'c', b"")].concat());
    let Some(Step::Judge(request)) = player.step() else { panic!() };
    assert_eq!(tags(&player.refuse(&request, "no")), "EZ");
    assert!(matches!(player.step(), Some(Step::Note(_))));
    assert_eq!(player.step(), None);
}

#[test]
fn a_format_that_cannot_be_made_is_refused() {
    let mut player = knowing(&[]);
    let cell = Value::map([("binary", Value::data(b"\x02\x20"))]);
    let inet = Value::map([
        ("columns", Value::List(vec![Column::computed("ip", 869).value()])),
        ("rows", Value::List(vec![Value::List(vec![cell])])),
        ("tag", Value::text("SELECT 1")),
    ]);
    let response = Value::map([("results", Value::List(vec![inet]))]);
    for (formats, expected) in [(&[1_i16][..], "12DCZ"), (&[], "12EZ")] {
        let batch = [parse("", "SELECT ip", &[]), bind_for("", "", &[], &[], formats), execute("", 0), sync()].concat();
        let request = judged(&step(&mut player, &batch));
        assert_eq!(tags(&player.answer(&request, &response)), expected);
    }
    // A simple query is told that it is binary.
    let request = judged(&step(&mut player, &query("SELECT ip")));
    assert_eq!(tags(&player.answer(&request, &response)), "TDCZ");
}

#[test]
fn what_is_no_message_ends_it() {
    let mut player = knowing(&[]);
    assert_eq!(step(&mut player, b"\0\0\0\0\0"), [Step::Garbage]);
    assert_eq!(step(&mut player, &query("SELECT 2")), []);
}
