//! Values at the places of `generated` rules replaced by those that they stand for, everything else as it was written.
//!
//! In the target, in header fields, in JSON and in values of other protocols than HTTP. What is inside of texts, forms, XML
//! and compressed bodies stays as it is: whoever compares asks what stands for it.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use regress_protocols::{
    Value,
    http1::{Line, Message},
};

use super::json::{self, Inside, Node};
use crate::diff::rules::{Applied, Place, Step};

/// The recorded value that one stands for, if it stands for one.
pub type Recorded<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A message with the recorded values in the places of those that stand for them. Its framing is still that of the body that
/// it had.
pub fn restored(message: &Message, rules: &Applied, recorded: Recorded<'_>) -> Message {
    let mut restored = message.clone();
    let root = rules.root();
    if !root.draws() {
        return restored;
    }
    if message.is_request()
        && let Some(target) = target(&message.target(), &root.step(Step::Name("target")), recorded)
    {
        let line = String::from_utf8_lossy(message.start.text()).replacen(&*message.target(), &target, 1);
        restored.start = Line::new(line);
    }
    let header = root.step(Step::Name("header"));
    restored.headers.iter_mut().for_each(|line| field(line, &header, recorded));
    if let Some(body) = document(&message.body, &root.step(Step::Name("body")), recorded) {
        restored.body = Bytes::from(body);
    }
    restored
}

/// The same for a value.
pub fn restored_value(value: &Value, rules: &Applied, recorded: Recorded<'_>) -> Value {
    member(value, &rules.root(), recorded)
}

fn member(value: &Value, place: &Place<'_>, recorded: Recorded<'_>) -> Value {
    if !place.draws() {
        return value.clone();
    }
    match value {
        Value::Text(text) if place.is_drawn() => recorded(text).map_or_else(|| value.clone(), Value::Text),
        Value::Number(text) if place.is_drawn() => {
            recorded(text).filter(|text| is_number(text)).map_or_else(|| value.clone(), Value::Number)
        }
        Value::List(items) => {
            let items = items.iter().enumerate();
            Value::List(items.map(|(index, item)| member(item, &place.item(index), recorded)).collect())
        }
        Value::Map(members) => {
            let restored = |(name, value): &(Cow<'static, str>, Value)| {
                (name.clone(), member(value, &place.step(Step::Name(name)), recorded))
            };
            Value::Map(members.iter().map(restored).collect())
        }
        value => value.clone(),
    }
}

/// The segments of a path and the parameters of a query; `None` where nothing is replaced.
fn target(target: &str, place: &Place<'_>, recorded: Recorded<'_>) -> Option<String> {
    let drawn = |place: Place<'_>, text: &str| recorded(text).filter(|_| place.is_drawn());
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let segments = place.step(Step::Name("path"));
    let path: Vec<Cow<'_, str>> = (path.split('/').enumerate())
        .map(|(index, segment)| drawn(segments.item(index), segment).map_or(Cow::Borrowed(segment), Cow::Owned))
        .collect();
    let parameters = place.step(Step::Name("query"));
    let parameter = |pair| match str::split_once(pair, '=') {
        Some((name, value)) => drawn(parameters.step(Step::Name(name)), value)
            .map_or(Cow::Borrowed(pair), |value| Cow::Owned(format!("{name}={value}"))),
        None => Cow::Borrowed(pair),
    };
    let query: Vec<Cow<'_, str>> = query
        .split('&')
        .enumerate()
        .map(|(index, pair)| match index {
            0 => pair.strip_prefix('?').map_or(Cow::Borrowed(pair), |pair| Cow::Owned(format!("?{}", parameter(pair)))),
            _ => parameter(pair),
        })
        .collect();
    let restored = format!("{}{}", path.join("/"), query.join("&"));
    (restored != target).then_some(restored)
}

/// The value of a header field.
fn field(line: &mut Line, place: &Place<'_>, recorded: Recorded<'_>) {
    let Some((name, value)) = std::str::from_utf8(line.text()).ok().and_then(|text| text.split_once(':')) else {
        return;
    };
    let place = place.step(Step::Name(&name.trim().to_ascii_lowercase()));
    if let Some(value) = recorded(value.trim()).filter(|_| place.is_drawn()) {
        *line = Line::new(format!("{name}: {value}"));
    }
}

/// Values in JSON; `None` where nothing is replaced.
fn document(body: &[u8], place: &Place<'_>, recorded: Recorded<'_>) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|_| place.draws())?;
    let mut replaced = Vec::new();
    literals(text, &json::parse(text)?, place, recorded, &mut replaced);
    let mut restored = String::with_capacity(text.len());
    let mut at = 0;
    for (span, literal) in &replaced {
        restored += &text[at..span.start];
        restored += literal;
        at = span.end;
    }
    (!replaced.is_empty()).then(|| restored + &text[at..])
}

/// Adds where a value is replaced, and what stands there then.
fn literals(
    text: &str,
    node: &Node,
    place: &Place<'_>,
    recorded: Recorded<'_>,
    replaced: &mut Vec<(Range<usize>, String)>,
) {
    if !place.draws() {
        return;
    }
    match &node.inside {
        Inside::Scalar if place.is_drawn() => {
            let literal = &text[node.span.clone()];
            let restored = match serde_json::from_str::<String>(literal) {
                Ok(said) => recorded(&said).and_then(|said| serde_json::to_string(&said).ok()),
                Err(_) => recorded(literal).filter(|said| is_number(literal) && is_number(said)),
            };
            replaced.extend(restored.map(|restored| (node.span.clone(), restored)));
        }
        Inside::Scalar => {}
        Inside::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                literals(text, &item.value, &place.item(index), recorded, replaced);
            }
        }
        Inside::Object(members) => {
            for member in members {
                literals(text, &member.value, &place.step(Step::Name(&member.name)), recorded, replaced);
            }
        }
    }
}

fn is_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{RuleText, Rules};

    fn applied(paths: &[&str]) -> Applied {
        let rule = |path: &&str| RuleText {
            path: format!("request/{path}"),
            effect: "generated".to_owned(),
            ..RuleText::default()
        };
        Rules::new(paths.iter().map(rule).collect()).unwrap().for_request(None, "x", "POST /a")
    }

    /// 812 stands for 17, `ab` for a text.
    fn recorded(actual: &str) -> Option<String> {
        [("812", "17"), ("ab", "a\"b"), ("true", "false")]
            .into_iter()
            .find(|(said, _)| *said == actual)
            .map(|(_, recorded)| recorded.to_owned())
    }

    #[test]
    fn only_places_of_the_rules_are_restored() {
        let body = r#"{ "n" : 812,"order": 812, "lines":[{"id":"812"}, {"id": "ab"}],"t":true,"ab":"812" }"#;
        let message = Message::request("POST", "/o/812/812?a=812&b=812", &[("X-Order", "812"), ("X", "812")], body);
        let rules =
            applied(&["body/order", "body/lines/*/id", "body/t", "target/path/2", "target/query/b", "header/x-order"]);
        let restored = restored(&message, &rules, &recorded);
        let expected = r#"{ "n" : 812,"order": 17, "lines":[{"id":"17"}, {"id": "a\"b"}],"t":true,"ab":"812" }"#;
        assert_eq!(restored.body, expected);
        assert_eq!(restored.target(), "/o/17/812?a=812&b=17");
        assert_eq!((restored.header("x-order"), restored.header("x")), (Some(&b"17"[..]), Some(&b"812"[..])));
        assert_eq!(super::restored(&message, &Applied::none(), &recorded), message);
        assert_eq!(super::restored(&message, &applied(&["body/none", "header/none"]), &recorded), message);
    }

    #[test]
    fn a_number_stays_a_number() {
        let message = Message::request("POST", "/", &[], r#"{"id":5}"#);
        let text = |_: &str| Some("text".to_owned());
        assert_eq!(restored(&message, &applied(&["body/id"]), &text), message);
        let value = Value::Map(vec![("id".into(), Value::number(5)), ("name".into(), Value::text("ab"))]);
        let expected = Value::Map(vec![("id".into(), Value::number(5)), ("name".into(), Value::text("text"))]);
        assert_eq!(restored_value(&value, &applied(&["**"]), &text), expected);
    }

    #[test]
    fn what_is_no_json_stays_as_it_is() {
        for body in ["812", "{", "{\"id\":\"\\ud800\"}", "id=812"] {
            let message = Message::request("POST", "/", &[], body);
            let restored = restored(&message, &applied(&["body/id", "body/*"]), &recorded);
            assert_eq!(restored.body, body);
        }
    }
}
