use bytes::Bytes;

use super::*;
use crate::{
    Limits, PairEvent, PairedContent, Pairer, Problem, Side,
    postgres::{
        message::{write, write_count, write_value},
        samples::*,
    },
    wire::Protocol,
};

use Side::{Client, Server};

/// What became of a conversation: a line a request, with `(setup)` where it is one, and its response.
fn told(pieces: &[(Side, Vec<u8>)]) -> Vec<(String, Value)> {
    let mut pairer = Pairer::new(false, Limits::default());
    for (side, bytes) in pieces {
        pairer.data(1, *side, bytes);
    }
    pairer.closed(2);
    let mut all = Vec::new();
    while let Some(event) = pairer.next() {
        let PairEvent::Done(paired) = event else { continue };
        assert!(paired.problems.is_empty(), "{paired:?}");
        let PairedContent::Wire { protocol, request, response, setup } = paired.content else { panic!("bytes") };
        assert_eq!(protocol, Protocol::Postgres);
        let line = protocol.line(&request);
        all.push((if setup { format!("({line})") } else { line }, response.unwrap_or_default()));
    }
    all
}

/// The members of a response by their path, as `results.0.tag`.
fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, name| match name.parse::<usize>() {
        Ok(number) => &value.as_list().unwrap_or_else(|| panic!("{path}: {value:?}"))[number],
        Err(_) => value.get(name).unwrap_or_else(|| panic!("{path}: {value:?}")),
    })
}

fn lines(all: &[(String, Value)]) -> Vec<&str> {
    all.iter().map(|(line, _)| line.as_str()).collect()
}

#[test]
fn a_connection_is_set_up_and_nothing_of_a_password_is_kept() {
    let all = told(&[
        (Client, b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()),
        (Server, b"N".to_vec()),
        (Client, startup()),
        (Server, message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")),
        (Client, message(b'p', b"SCRAM-SHA-256\0\0\0\0\x06secret")),
        (Server, message(b'R', b"\0\0\0\x0br=salt")),
        (Client, message(b'p', b"secret")),
        (
            Server,
            [
                message(b'R', b"\0\0\0\x0cv=x"),
                message(b'R', b"\0\0\0\0"),
                setting("TimeZone", "UTC"),
                message(b'K', b"\0\0\0\x01keys"),
                ready(),
            ]
            .concat(),
        ),
    ]);
    assert_eq!(lines(&all), ["(encryption)", "(startup)"]);
    assert_eq!(at(&all[0].1, "accepted"), &Value::Bool(false));
    assert_eq!(at(&all[1].1, "settings.0"), &Value::List(vec![Value::text("TimeZone"), Value::text("UTC")]));
    assert_eq!(
        (at(&all[1].1, "authentication"), at(&all[1].1, "status")),
        (&Value::text("sasl"), &Value::text("idle"))
    );
    let shown = format!("{all:?}");
    assert!(!shown.contains("secret") && !shown.contains("keys") && !shown.contains("salt"), "{shown}");
}

#[test]
fn a_refused_start_is_answered_by_the_error() {
    let all = told(&[(Client, startup()), (Server, error("28P01", "no"))]);
    assert_eq!(at(&all[0].1, "error.code"), &Value::text("28P01"));
}

#[test]
fn a_query_inside_tls_is_read_where_the_plaintext_is_seen() {
    let begin = [(Client, b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()), (Server, b"S".to_vec())];
    let [ssl, yes] = begin;
    let all = told(&[ssl.clone(), yes.clone(), (Client, startup()), (Server, ready())]);
    assert_eq!(at(&all[0].1, "accepted"), &Value::Bool(true));
    assert_eq!(lines(&all), ["(encryption)", "(startup)"]);

    let mut pairer = Pairer::new(false, Limits::default());
    for (side, bytes) in [ssl, yes, (Client, b"\x16\x03\x01\x02\0".to_vec())] {
        pairer.data(1, side, &bytes);
    }
    pairer.closed(2);
    let problems = std::iter::from_fn(|| pairer.next()).filter_map(|event| match event {
        PairEvent::Done(paired) => Some(paired.problems),
        _ => None,
    });
    assert_eq!(problems.last(), Some(vec![Problem::Encrypted]));
}

#[test]
fn a_simple_query_is_answered_by_all_its_results() {
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Client, query("SELECT 2; UPDATE a SET b = 1")),
        (
            Server,
            [
                columns(&[("n", 23)], 0),
                row(&[Some(b"2")]),
                done("SELECT 1"),
                message(b'N', b"Mhey\0\0"),
                done("UPDATE 3"),
                ready(),
            ]
            .concat(),
        ),
    ]);
    assert_eq!(all[1].0, "SELECT 2; UPDATE a SET b = 1");
    assert_eq!(at(&all[1].1, "results.0.rows.0.0"), &Value::text("2"));
    assert_eq!(at(&all[1].1, "results.0.columns.0.name"), &Value::text("n"));
    assert_eq!(at(&all[1].1, "results.1"), &Value::map([("tag", Value::text("UPDATE 3"))]));
    assert_eq!(at(&all[1].1, "notices.0.message"), &Value::text("hey"));
}

#[test]
fn an_execution_says_what_was_prepared_before_and_is_the_same_in_either_way() {
    let sql = "SELECT name FROM a WHERE id = $1";
    let rows = || [row(&[Some(b"x")]), done("SELECT 1")].concat();
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        // Prepared and described first, then executed with a binary parameter.
        (Client, [parse("s1", sql, &[]), describe_statement("s1"), sync()].concat()),
        (Server, [parsed(), parameters(&[23]), columns(&[("name", 25)], 0), ready()].concat()),
        (Client, [bind("", "s1", &[1], &[Some(b"\0\0\0\x07")]), execute("", 0), sync()].concat()),
        (Server, [bound(), rows(), ready()].concat()),
        // In one go, with a parameter as text, executed twice.
        (Client, [parse("", sql, &[]), bind("", "", &[], &[Some(b"7")]), describe_portal(""), execute("", 0)].concat()),
        (Client, [bind("", "", &[], &[Some(b"8")]), execute("", 0), close_statement("s1"), sync()].concat()),
        (Server, [parsed(), bound(), columns(&[("name", 25)], 0), rows(), bound(), rows(), closed(), ready()].concat()),
    ]);
    assert_eq!(
        lines(&all)[1..],
        [
            "(prepare SELECT name FROM a WHERE id = $1)",
            "SELECT name FROM a WHERE id = $1 [7]",
            "SELECT name FROM a WHERE id = $1 [7]",
            "SELECT name FROM a WHERE id = $1 [8]"
        ]
    );
    assert_eq!(at(&all[1].1, "parameters.0"), &Value::text("int4"));
    for (_, response) in &all[2..] {
        assert_eq!(at(response, "results.0.columns.0.type"), &Value::text("text"));
        assert_eq!(at(response, "results.0.rows.0.0"), &Value::text("x"));
    }
    assert_eq!((all[2].1.get("status"), all[3].1.get("status")), (Some(&Value::text("idle")), None));
}

#[test]
fn what_follows_an_error_is_passed_over_up_to_the_sync() {
    let batch = [
        parse("", "SELECT 1/$1", &[]),
        bind("", "", &[], &[Some(b"0")]),
        execute("", 0),
        bind("", "", &[], &[Some(b"1")]),
        execute("", 0),
        sync(),
    ]
    .concat();
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Client, batch),
        (Server, [parsed(), error("22012", "division by zero"), ready()].concat()),
        (Client, query("SELECT 2")),
        (Server, [done("SELECT 0"), ready()].concat()),
    ]);
    assert_eq!((at(&all[1].1, "error.code"), at(&all[1].1, "failed")), (&Value::text("22012"), &Value::text("bind")));
    assert_eq!((at(&all[2].1, "skipped"), at(&all[2].1, "status")), (&Value::Bool(true), &Value::text("idle")));
    assert_eq!(all[3].0, "SELECT 2");
}

#[test]
fn an_error_of_the_commit_belongs_to_what_was_executed() {
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Client, [parse("", "INSERT INTO a VALUES (1)", &[]), bind("", "", &[], &[]), execute("", 0), sync()].concat()),
        (Server, [parsed(), bound(), done("INSERT 0 1"), error("23503", "deferred"), ready()].concat()),
    ]);
    assert_eq!(
        (at(&all[1].1, "results.0.tag"), at(&all[1].1, "error.code")),
        (&Value::text("INSERT 0 1"), &Value::text("23503"))
    );
}

#[test]
fn rows_that_are_taken_in_pieces_are_requests_of_their_own() {
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (
            Client,
            [parse("", "SELECT n", &[]), bind("p", "", &[], &[]), describe_portal("p"), execute("p", 1), sync()]
                .concat(),
        ),
        (
            Server,
            [parsed(), bound(), columns(&[("n", 23)], 0), row(&[Some(b"1")]), message(b's', b""), ready()].concat(),
        ),
        (Client, [execute("p", 1), sync()].concat()),
        (Server, [done("SELECT 0"), ready()].concat()),
    ]);
    assert_eq!(at(&all[1].1, "results.0.suspended"), &Value::Bool(true));
    assert_eq!(at(&all[2].1, "results.0.columns.0.name"), &Value::text("n"));
    assert_eq!(all[2].0, "SELECT n");
}

#[test]
fn data_that_are_copied_are_a_request() {
    let into = "COPY a FROM STDIN";
    let go = message(b'G', b"\0\0\x01\0\0");
    let data = || [message(b'd', b"1\n"), message(b'd', b"2\n"), message(b'c', b"")].concat();
    let end = || [done("COPY 2"), ready()].concat();
    let expected = ["COPY a FROM STDIN", "copy COPY a FROM STDIN"];
    for pieces in [
        // As the server takes them, and before anybody knows that it does.
        vec![(Client, query(into)), (Server, go.clone()), (Client, data()), (Server, end())],
        vec![(Client, query(into)), (Client, data()), (Server, go.clone()), (Server, end())],
    ] {
        let all = told(&[vec![(Client, startup()), (Server, ready())], pieces].concat());
        assert_eq!(lines(&all)[1..], expected);
        assert_eq!(at(&all[1].1, "results.0.copy-in.format"), &Value::text("text"));
        assert_eq!(at(&all[2].1, "results.0.tag"), &Value::text("COPY 2"));
    }
    let failing = [error("42P01", "no table"), ready()].concat();
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Client, query(into)),
        (Client, data()),
        (Server, failing),
        (Client, query("SELECT 2")),
        (Server, [done("SELECT 0"), ready()].concat()),
    ]);
    assert_eq!(lines(&all)[1..], ["COPY a FROM STDIN", "copy COPY a FROM STDIN", "SELECT 2"]);
    assert_eq!(at(&all[2].1, "skipped"), &Value::Bool(true));
    // The server gives up, and the client goes on with something else.
    let late = [error("22P02", "bad"), ready()].concat();
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Client, query(into)),
        (Server, go),
        (Client, message(b'd', b"x\n")),
        (Server, late),
        (Client, query("SELECT 2")),
        (Server, [done("SELECT 0"), ready()].concat()),
    ]);
    assert_eq!(lines(&all)[1..], ["COPY a FROM STDIN", "copy COPY a FROM STDIN", "SELECT 2"]);
    assert_eq!(at(&all[2].1, "error.code"), &Value::text("22P02"));
}

#[test]
fn data_that_are_copied_out_are_kept_in_their_pieces() {
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Client, query("COPY a TO STDOUT")),
        (
            Server,
            [
                message(b'H', b"\0\0\x01\0\0"),
                message(b'd', b"1\n"),
                message(b'd', b"2\n"),
                message(b'c', b""),
                done("COPY 2"),
                ready(),
            ]
            .concat(),
        ),
    ]);
    assert_eq!(at(&all[1].1, "results.0.data"), &Value::List(vec![Value::text("1\n"), Value::text("2\n")]));
}

#[test]
fn what_the_server_says_on_its_own_is_kept() {
    let note = message(b'A', b"\0\0\0\x07ch\0hello\0");
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Server, note.clone()),
        (Client, query("NOTIFY ch")),
        (Server, [done("NOTIFY"), note, ready()].concat()),
        (Server, error("57P01", "shut down")),
    ]);
    assert_eq!(at(&all[1].1, "notification.payload"), &Value::text("hello"));
    assert_eq!(at(&all[2].1, "notifications.0.channel"), &Value::text("ch"));
    assert_eq!(at(&all[3].1, "error.code"), &Value::text("57P01"));
}

#[test]
fn a_statement_that_nobody_saw_is_never_taken_for_another() {
    let mut pairer = Pairer::new(true, Limits::default());
    pairer.data(1, Client, &[bind("", "S_1", &[1], &[Some(b"\0\0\0\x07")]), execute("", 0), sync()].concat());
    pairer.data(2, Server, &[bound(), row(&[Some(b"x")]), done("SELECT 1"), ready()].concat());
    let paired = std::iter::from_fn(|| pairer.next())
        .find_map(|event| if let PairEvent::Done(paired) = event { Some(paired) } else { None });
    let PairedContent::Wire { request, response, .. } = paired.unwrap().content else { panic!() };
    assert_eq!((request.get("query"), request.get("statement")), (Some(&Value::Null), Some(&Value::text("S_1"))));
    assert_eq!(at(&request, "params.0.binary"), &Value::Bytes(Bytes::from_static(b"\0\0\0\x07")));
    assert_eq!(at(&response.unwrap(), "results.0.columns"), &Value::Null);
}

#[test]
fn names_mean_nothing_after_bytes_that_were_not_seen() {
    let mut conversation = Conversation::default();
    let mut ask = |said: Vec<u8>| match conversation.client(&said) {
        Ok(Cut::Whole(_, heard)) => heard,
        other => panic!("{other:?}"),
    };
    ask(startup());
    ask([parse("s", "SELECT 2", &[]), sync()].concat());
    conversation.lost();
    let mut ask = |said: Vec<u8>| conversation.client(&said);
    ask(bind("", "s", &[], &[])).unwrap();
    let Ok(Cut::Whole(_, Heard::Request(ask))) = ask([execute("", 0), sync()].concat()) else { panic!() };
    assert_eq!(ask.value.get("query"), Some(&Value::Null));
}

#[test]
fn a_function_is_called() {
    let call = |to: &mut Vec<u8>| {
        to.extend_from_slice(&957_u32.to_be_bytes());
        write_count(1, to);
        to.extend_from_slice(&1_i16.to_be_bytes());
        write_count(1, to);
        write_value(Some(b"\0\0\0\x01"), to);
        to.extend_from_slice(&1_i16.to_be_bytes());
    };
    let mut said = Vec::new();
    write(b'F', &mut said, call);
    let all = told(&[
        (Client, startup()),
        (Server, ready()),
        (Client, said),
        (Server, [message(b'V', b"\0\0\0\x02ok"), ready()].concat()),
    ]);
    assert_eq!(all[1].0, "function");
    assert_eq!(at(&all[1].1, "results.0.value"), &Value::text("ok"));
}

#[test]
fn a_request_says_which_database_it_is_for_where_the_start_was_seen() {
    let asked = |begins: &[(Side, Vec<u8>)]| {
        let mut pairer = Pairer::new(begins.is_empty(), Limits::default());
        let query = [(Client, message(b'Q', b"SELECT 2\0")), (Server, ready())];
        for (side, bytes) in begins.iter().chain(&query) {
            pairer.data(1, *side, bytes);
        }
        pairer.closed(2);
        let done = std::iter::from_fn(|| pairer.next()).filter_map(|event| match event {
            PairEvent::Done(paired) => Some(paired.content),
            _ => None,
        });
        match done.last() {
            Some(PairedContent::Wire { request, setup: false, .. }) => request,
            other => panic!("{other:?}"),
        }
    };
    let started = |settings: &[u8]| {
        let length = u32::try_from(settings.len() + 8).unwrap().to_be_bytes();
        asked(&[
            (Client, [&length[..], b"\0\x03\0\0", settings].concat()),
            (Server, [message(b'R', b"\0\0\0\0"), ready()].concat()),
        ])
    };
    assert_eq!(started(b"user\0me\0database\0shop\0\0").get("db"), Some(&Value::text("shop")));
    let own = started(b"user\0me\0\0");
    assert_eq!(own.get("db"), Some(&Value::text("me")), "the one that is named like the user");
    let joined = asked(&[]);
    assert_eq!(joined.get("db"), None);
    assert_eq!((Protocol::Postgres.unplaced(&own), Protocol::Postgres.unplaced(&joined)), (Some(joined.clone()), None));
}
