//! The shape of an entry: what remains when values are taken out.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use regress_cassettes::{
    Cassette, Content, Exchange,
    diff::{Applied, decoded_body, decoded_messages},
};
use regress_protocols::{Value, http1::Message};

use super::route::{path_template, stands_for_one};

/// The body of a message beyond this has no shape of its own: reading it would cost more than it tells.
const LONGEST_BODY: usize = 1 << 20;

/// A digest of a shape. Two entries have the same one when they are of one route, ended with the same status, said the
/// same kinds of things under the same names, and caused the same calls of the same shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Shape(pub u64);

impl Shape {
    /// Of a cassette from which nothing is missing: the entry, and how often each shape of call is in it. Calls of one
    /// shape count by powers of two, so that an order of five lines and one of six are alike.
    pub(crate) fn of(cassette: &Cassette) -> Shape {
        let mut calls: BTreeMap<u64, u32> = BTreeMap::new();
        for call in &cassette.downstream {
            *calls.entry(exchange(call)).or_default() += 1;
        }
        let calls: Vec<(u64, u32)> = calls.into_iter().map(|(shape, count)| (shape, count.ilog2())).collect();
        Shape(digest((cassette.entry.as_ref().map(exchange), calls)))
    }

    /// Of one that lacks something: route and status alone, because what is missing would be part of the rest.
    pub(crate) fn of_incomplete(cassette: &Cassette) -> Shape {
        let outline = cassette.entry.as_ref().map(|entry| (super::template(entry), status(entry)));
        Shape(digest(("incomplete", outline)))
    }
}

fn digest(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn status(exchange: &Exchange) -> Option<u16> {
    exchange.http()?.response.as_ref().map(Message::status)
}

fn exchange(exchange: &Exchange) -> u64 {
    let operation = exchange.request().map(|request| request.operation());
    let operation = operation.map(|operation| (operation.method, path_template(&operation.path)));
    let said = match &exchange.content {
        Content::Http1(http) => {
            let response = http.response.as_ref().map(|response| (response.status(), body(response)));
            let upgraded = !http.upgraded.is_empty();
            digest((query(&http.request), body(&http.request), response, upgraded))
        }
        Content::Wire(wire) => digest((wire.protocol.word(), value(&wire.request), wire.response.as_ref().map(value))),
        Content::Opaque(turns) => digest(turns.len()),
        Content::Nothing => 0,
    };
    digest((&exchange.downstream, operation, exchange.ended, said))
}

/// The names in a query.
fn query(request: &Message) -> BTreeSet<String> {
    let query = request.query().unwrap_or_default();
    let names = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
    names.map(str::to_owned).collect()
}

/// What a body is made of: its type, and the names and kinds in it.
fn body(message: &Message) -> u64 {
    let media = message.header_text("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if message.body.is_empty() || message.body.len() > LONGEST_BODY {
        return digest((media, message.body.is_empty()));
    }
    if media == "application/x-www-form-urlencoded" {
        let text = String::from_utf8_lossy(&message.body);
        let names: BTreeSet<&str> = text.split('&').filter_map(|pair| pair.split('=').next()).collect();
        return digest((media, names));
    }
    let messages = decoded_messages(message, &Applied::none());
    let parsed = match &messages {
        Some(messages) => serde_json::from_str(messages),
        None => serde_json::from_slice(&decoded_body(message)),
    };
    digest((media, parsed.ok().map(|parsed: serde_json::Value| json(&parsed))))
}

/// Names and kinds. Names that look like an id are one name; the items of an array are the set of their shapes.
fn json(json_value: &serde_json::Value) -> u64 {
    match json_value {
        serde_json::Value::Null => digest("null"),
        serde_json::Value::Bool(_) => digest("bool"),
        serde_json::Value::Number(_) => digest("number"),
        serde_json::Value::String(_) => digest("string"),
        serde_json::Value::Array(items) => digest(("array", items.iter().map(json).collect::<BTreeSet<u64>>())),
        serde_json::Value::Object(members) => {
            let name = |name: &str| if stands_for_one(name) { "{id}".to_owned() } else { name.to_owned() };
            let members: BTreeSet<(String, u64)> =
                members.iter().map(|(key, member)| (name(key), json(member))).collect();
            digest(("object", members))
        }
    }
}

/// The same for what other protocols say.
fn value(said: &Value) -> u64 {
    match said {
        Value::Null => digest("null"),
        Value::Bool(_) => digest("bool"),
        Value::Number(_) => digest("number"),
        Value::Text(_) | Value::Bytes(_) => digest("data"),
        Value::List(items) => digest(("list", items.iter().map(value).collect::<BTreeSet<u64>>())),
        Value::Map(members) => {
            let members: BTreeSet<(&str, u64)> =
                members.iter().map(|(name, member)| (&**name, value(member))).collect();
            digest(("map", members))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::selector::tests::cassette, *};

    fn shape(target: &str, status: u16, response: &str, calls: &[&str]) -> Shape {
        Shape::of(&cassette(1, target, &[], status, response, calls))
    }

    #[test]
    fn values_make_no_difference() {
        let one = shape("/orders/7?full=1", 200, r#"{"id": 7, "lines": [{"sku": "a"}]}"#, &["/stock/tea-1"]);
        let other = shape(
            "/orders/9812?full=0",
            200,
            r#"{"lines": [{"sku": "b"}, {"sku": "c"}], "id": 8}"#,
            &["/stock/rice-22"],
        );
        assert_eq!(one, other);
    }

    #[test]
    fn names_kinds_status_and_calls_do() {
        let one = shape("/orders/7", 200, r#"{"id": 7}"#, &["/stock/1"]);
        let others = [
            shape("/receipts/7", 200, r#"{"id": 7}"#, &["/stock/1"]),
            shape("/orders/7?full=1", 200, r#"{"id": 7}"#, &["/stock/1"]),
            shape("/orders/7", 201, r#"{"id": 7}"#, &["/stock/1"]),
            shape("/orders/7", 200, r#"{"id": "7"}"#, &["/stock/1"]),
            shape("/orders/7", 200, r#"{"id": null}"#, &["/stock/1"]),
            shape("/orders/7", 200, r#"{"id": 7, "note": 1}"#, &["/stock/1"]),
            shape("/orders/7", 200, r#"{"id": []}"#, &["/stock/1"]),
            shape("/orders/7", 200, "7", &["/stock/1"]),
            shape("/orders/7", 200, r#"{"id": 7}"#, &[]),
            shape("/orders/7", 200, r#"{"id": 7}"#, &["/stock/1", "/stock/2"]),
            shape("/orders/7", 200, r#"{"id": 7}"#, &["/price/1"]),
        ];
        let all: BTreeSet<Shape> = others.into_iter().chain([one]).collect();
        assert_eq!(all.len(), others.len() + 1);
    }

    #[test]
    fn many_calls_of_one_shape_count_by_powers_of_two() {
        let calls = |count: usize| shape("/orders/7", 200, "{}", &vec!["/stock/1"; count]);
        assert_eq!(calls(4), calls(7));
        assert_ne!(calls(3), calls(4));
        assert_ne!(calls(7), calls(8));
    }

    #[test]
    fn keys_that_are_ids_are_one_name() {
        let one = shape("/", 200, r#"{"1001": {"n": 1}, "1002": {"n": 2}}"#, &[]);
        assert_eq!(one, shape("/", 200, r#"{"77": {"n": 1}}"#, &[]));
    }
}
