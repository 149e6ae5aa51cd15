//! Requests of which nobody saw for which database they were.

use regress_cassettes::{Content, Ended, Exchange, WireExchange};
use regress_protocols::{Request, Value, wire::Protocol};

use crate::{
    mock::{Match, Mode, Place, Policy, Rung},
    samples::{entered, exchange},
};

const STORE: &str = "10.0.0.6:6379";

/// `GET key`, for that database.
fn get(key: &str, database: Option<Value>) -> Value {
    let request = [("command", Value::text("GET")), ("args", Value::List(vec![Value::text(key)]))];
    Value::Map(
        request
            .into_iter()
            .chain(database.map(|number| ("db", number)))
            .map(|(name, value)| (name.into(), value))
            .collect(),
    )
}

fn recorded(protocol: Protocol, request: Value) -> Exchange {
    let wire = WireExchange { protocol, request, response: Some(Value::text("kept")) };
    exchange(STORE, false, Content::Wire(wire), Ended::Ok)
}

/// Exchange and rung that answer each request; `None` is a miss.
fn answers(max_rung: Rung, protocol: Protocol, kept: Vec<Value>, asked: Vec<Value>) -> Vec<Option<(usize, Rung)>> {
    let kept = kept.into_iter().map(|request| recorded(protocol, request)).collect();
    let mock = entered(kept, Vec::new(), Mode::Strict, Policy { max_rung, ..Policy::default() });
    let place = Place { destination: STORE.parse().unwrap(), tls: false };
    for request in &asked {
        mock.shared.judge(place, Request::Wire(protocol, request));
    }
    let found = mock.take_journal().into_iter().map(|call| match call.matched {
        Match::Hit { exchange, rung, .. } => Some((exchange, rung)),
        Match::Miss { .. } => None,
    });
    found.collect()
}

#[test]
fn they_answer_one_for_any_database_after_those_that_are_known() {
    let (unknown, two, three) = (Some(Value::Null), Some(Value::number(2)), Some(Value::number(3)));
    let kept = || vec![get("a", unknown.clone()), get("a", two.clone()), get("a", unknown.clone())];
    let asked = || {
        vec![get("a", two.clone()), get("a", None), get("b", None), get("a", three.clone()), get("a", three.clone())]
    };
    assert_eq!(
        answers(Rung::Bound, Protocol::Redis, kept(), asked()),
        [Some((1, Rung::Exact)), Some((0, Rung::Noise)), None, Some((2, Rung::Noise)), None]
    );
    assert_eq!(answers(Rung::Exact, Protocol::Redis, kept(), asked())[..2], [Some((1, Rung::Exact)), None]);
}

#[test]
fn a_known_database_is_never_another() {
    let kept = vec![get("a", Some(Value::number(2))), get("a", None)];
    assert_eq!(answers(Rung::Bound, Protocol::Redis, kept, vec![get("a", Some(Value::number(3)))]), [None]);
}

#[test]
fn values_made_anew_are_bound_in_them_as_well() {
    let kept = vec![get("order:0b7e6f9a-5f4c-4c5e-9a53-0d2f0f0c1a11", Some(Value::Null))];
    let asked = vec![get("order:5d1c1a64-33a7-4be1-8d2c-6f7f1f9be2d2", Some(Value::number(1)))];
    assert_eq!(answers(Rung::Bound, Protocol::Redis, kept, asked), [Some((0, Rung::Bound))]);
}

#[test]
fn in_postgresql_it_is_not_there() {
    let query = |database: &[(&'static str, Value)]| {
        let all = [("query", Value::text("SELECT 2"))].into_iter().chain(database.iter().cloned());
        Value::Map(all.map(|(name, value)| (name.into(), value)).collect())
    };
    let shop = || query(&[("db", Value::text("shop"))]);
    let asked = || vec![shop()];
    assert_eq!(answers(Rung::Bound, Protocol::Postgres, vec![query(&[])], asked()), [Some((0, Rung::Noise))]);
    let other = query(&[("db", Value::text("stock"))]);
    assert_eq!(answers(Rung::Bound, Protocol::Postgres, vec![other, shop()], asked()), [Some((1, Rung::Exact))]);
}
