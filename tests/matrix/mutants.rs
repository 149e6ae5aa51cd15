//! Recordings altered in one place: the service under test is the same, and what was recorded is not. Each recorded call
//! and each recorded response is altered one field at a time; replay must find every one, at the right path.

use regress_cassettes::{
    Cassette, Content, Store,
    diff::{VOLATILE_REQUEST_HEADERS, VOLATILE_RESPONSE_HEADERS, is_volatile},
    redact::Redactor,
};
use regress_protocols::http1::Message;
use serde_json::{Value, json};

use super::expected::is_at;
use crate::{
    harness::{Corpus, Outcome},
    services::{PATIENT, RecordedShop},
};

/// How many mutants there were, and those that replay did not see at the right path.
pub struct Score {
    /// All of them.
    pub of: usize,
    /// What they are, and what replay said.
    pub survived: Vec<String>,
}

/// Replay the unchanged shop against every mutant of its recording. Entries are judged one by one, so that each replay
/// has one mutant of every cassette.
pub fn score(recorded: &RecordedShop, of: fn(&Cassette) -> Vec<Mutant>) -> Score {
    let corpus = Corpus::read(&recorded.cassettes());
    let mutants: Vec<Vec<Mutant>> = corpus.cassettes.iter().map(of).collect();
    let mut survived = Vec::new();
    for round in 0..mutants.iter().map(Vec::len).max().unwrap_or_default() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let store = Store::create(folder.path()).expect("a temporary folder can be written").sync_later();
        let ambient = recorded.cassettes().join("ambient.cassette.json");
        std::fs::copy(ambient, folder.path().join("ambient.cassette.json")).expect("the shop asks at its start");
        let now: Vec<&Mutant> = mutants.iter().filter_map(|of_one| of_one.get(round)).collect();
        for mutant in &now {
            store.write(&Redactor::off().cassette(mutant.cassette.clone())).expect("a mutant is a cassette");
        }
        let (_, report) = recorded.replay_from(folder.path(), "none", PATIENT, &["--no-pending", "--jobs", "4"]);
        let outcomes = report.map(|report| report.outcomes).unwrap_or_default();
        for mutant in now {
            let outcome = outcomes.iter().find(|outcome| outcome.cassette == mutant.cassette.id.0);
            if !outcome.is_some_and(|outcome| mutant.is_seen(outcome)) {
                survived.push(format!("{}: {outcome:?}", mutant.name));
            }
        }
    }
    Score { of: mutants.iter().map(Vec::len).sum(), survived }
}

/// A cassette with one alteration, and where replay must see it.
pub struct Mutant {
    /// What was altered, for example `value of downstream/0/request/body/quantity`.
    pub name: String,
    /// The altered cassette.
    pub cassette: Cassette,
    /// The path of a difference that replay must report.
    pub path: String,
}

impl Mutant {
    /// Replay says that it differs at the path; of a response nowhere else.
    fn is_seen(&self, outcome: &Outcome) -> bool {
        let mut paths = outcome.differences.iter().map(|difference| is_at(&difference.path, &self.path));
        let (in_response, found) = (self.path.starts_with("response"), paths.clone().any(|it| it));
        outcome.verdict == "different" && found && (!in_response || paths.all(|it| it))
    }
}

/// Every mutant of the recorded calls: method, path, query, each header and each leaf of the body altered and left out,
/// one more of each; the call left out, and there twice.
pub fn of_calls(cassette: &Cassette) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for (number, call) in cassette.downstream.iter().enumerate() {
        let Some(http) = call.http() else { continue };
        let place = format!("downstream/{number}");
        let mut add = |name: &str, path: String, alter: &dyn Fn(&mut Cassette)| {
            let mut altered = cassette.clone();
            alter(&mut altered);
            mutants.push(Mutant { name: format!("{name} of {path}"), cassette: altered, path });
        };
        for Altered { name, below, message } in requests(&http.request) {
            let path = if below.is_empty() { place.clone() } else { format!("{place}/request/{below}") };
            add(&name, path, &|altered| {
                if let Content::Http1(http) = &mut altered.downstream[number].content {
                    http.request = message.clone();
                }
            });
        }
        // What is not recorded is numbered on after what is.
        add("not recorded: place", format!("downstream/{}", cassette.downstream.len() - 1), &|altered| {
            altered.downstream.remove(number);
        });
        add("recorded twice: place", format!("downstream/{}", number + 1), &|altered| {
            altered.downstream.insert(number, altered.downstream[number].clone());
        });
    }
    mutants
}

/// Every mutant of the recorded response: status, each header and each leaf of the body altered and left out, one more of
/// each.
pub fn of_response(cassette: &Cassette) -> Vec<Mutant> {
    let response = cassette.entry.as_ref().and_then(|entry| entry.http()?.response.as_ref());
    let Some(response) = response else { return Vec::new() };
    let mutant = |Altered { name, below, message }: Altered| {
        let mut altered = cassette.clone();
        let content = altered.entry.as_mut().map(|entry| &mut entry.content);
        if let Some(Content::Http1(http)) = content {
            http.response = Some(message);
        }
        let path = format!("response/{below}");
        Mutant { name: format!("{name} of {path}"), cassette: altered, path }
    };
    responses(response).into_iter().map(mutant).collect()
}

/// A message with one alteration.
struct Altered {
    name: String,
    /// The altered field as reports name it; empty where the message is another operation.
    below: String,
    message: Message,
}

fn requests(request: &Message) -> Vec<Altered> {
    let (method, target) = (request.method(), request.target().into_owned());
    let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let build = |method: &str, target: &str, headers: &Headers, body: &[u8]| {
        Message::request(method, target, &borrowed(headers), body.to_vec())
    };
    let (headers, body) = (headers(request), &request.body[..]);
    let mut all = Vec::new();
    let mut add = |name: &str, below: &str, message: Message| {
        all.push(Altered { name: name.to_owned(), below: below.to_owned(), message });
    };
    add("method", "", build(if method == "PATCH" { "PUT" } else { "PATCH" }, &target, &headers, body));
    add("path", "", build(method, &target.replacen(path, &format!("{path}x"), 1), &headers, body));
    for (index, parameter) in query.into_iter().flat_map(|query| query.split('&').enumerate()) {
        let with = |other: Option<String>| {
            let parameters = query.unwrap_or_default().split('&').map(str::to_owned).enumerate();
            let kept = parameters.filter_map(|(n, it)| if n == index { other.clone() } else { Some(it) });
            let query = kept.collect::<Vec<_>>().join("&");
            build(method, &if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }, &headers, body)
        };
        add(&format!("value of {parameter}"), "target", with(Some(format!("{parameter}1"))));
        add(&format!("absence of {parameter}"), "target", with(None));
    }
    let longer = format!("{target}{}more=1", if query.is_some() { "&" } else { "?" });
    add("one parameter more", "target", build(method, &longer, &headers, body));
    all.extend(in_headers(&headers, VOLATILE_REQUEST_HEADERS, &|headers| build(method, &target, headers, body)));
    all.extend(in_body(body, &|body| build(method, &target, &headers, body)));
    all
}

fn responses(response: &Message) -> Vec<Altered> {
    let build = |status: u16, headers: &Headers, body: &[u8]| {
        Message::response(status, "Altered", &borrowed(headers), body.to_vec())
    };
    let (status, headers, body) = (response.status(), headers(response), &response.body[..]);
    let mut all = vec![Altered {
        name: "value".to_owned(),
        below: "status".to_owned(),
        message: build(if status == 299 { 298 } else { 299 }, &headers, body),
    }];
    all.extend(in_headers(&headers, VOLATILE_RESPONSE_HEADERS, &|headers| build(status, headers, body)));
    all.extend(in_body(body, &|body| build(status, &headers, body)));
    all
}

type Headers = Vec<(String, String)>;

fn borrowed(headers: &Headers) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// All but those that frame the body.
fn headers(message: &Message) -> Headers {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = message.fields().map(|(name, value)| (text(name), text(value)));
    fields.filter(|(name, _)| !["content-length", "transfer-encoding"].contains(&&*name.to_lowercase())).collect()
}

fn in_headers(headers: &Headers, volatile: &[&str], build: &dyn Fn(&Headers) -> Message) -> Vec<Altered> {
    let mut all = Vec::new();
    let named = headers.iter().enumerate().filter(|(_, (name, _))| !is_volatile(volatile, name.as_bytes()));
    for (index, (name, _)) in named {
        let below = format!("header/{}", name.to_lowercase());
        let mut other = headers.clone();
        other[index].1.push('x');
        all.push(Altered { name: "value".to_owned(), below: below.clone(), message: build(&other) });
        other.remove(index);
        all.push(Altered { name: "absence".to_owned(), below, message: build(&other) });
    }
    let more = [headers.as_slice(), &[("X-More".to_owned(), "1".to_owned())]].concat();
    all.push(Altered { name: "presence".to_owned(), below: "header/x-more".to_owned(), message: build(&more) });
    all
}

fn in_body(body: &[u8], build: &dyn Fn(&[u8]) -> Message) -> Vec<Altered> {
    let mut all = Vec::new();
    let mut add = |name: &str, pointer: &str, body: &[u8]| {
        all.push(Altered { name: name.to_owned(), below: format!("body{pointer}"), message: build(body) });
    };
    let Some(document) = serde_json::from_slice::<Value>(body).ok().filter(|it| it.is_object() || it.is_array()) else {
        add("presence of more", "", &[body, b"!"].concat());
        if !body.is_empty() {
            add("absence", "", b"");
        }
        return all;
    };
    for pointer in leaves(&document, "") {
        for (name, other) in others(document.pointer(&pointer).expect("a leaf is there")) {
            let mut altered = document.clone();
            *altered.pointer_mut(&pointer).expect("a leaf is there") = other;
            add(name, &pointer, altered.to_string().as_bytes());
        }
        if let Some((altered, at)) = without(&document, &pointer) {
            add("absence", &at, altered.to_string().as_bytes());
        }
    }
    if let Value::Object(mut members) = document {
        members.insert("more".to_owned(), json!(1));
        add("presence", "/more", Value::Object(members).to_string().as_bytes());
    }
    all
}

/// Another value of the same type, and one of another.
fn others(leaf: &Value) -> Vec<(&'static str, Value)> {
    let same_type = match leaf {
        Value::Null => json!(false),
        Value::Bool(value) => json!(!value),
        // Numbers are told apart by their text.
        Value::Number(number) => serde_json::from_str(&format!("1{number}").replace("1-", "-1")).unwrap_or(json!(17)),
        Value::String(text) => json!(format!("{text} ")),
        Value::Array(_) => json!([null]),
        Value::Object(_) => json!({"more": null}),
    };
    let other_type = match leaf {
        Value::String(text) => json!([text]),
        leaf => json!(leaf.to_string()),
    };
    vec![("value", same_type), ("type", other_type)]
}

/// The document without the leaf, and where that shows: what follows in an array moves up.
fn without(document: &Value, pointer: &str) -> Option<(Value, String)> {
    let (parent, last) = pointer.rsplit_once('/')?;
    let mut altered = document.clone();
    match altered.pointer_mut(parent)? {
        Value::Object(members) => {
            members.shift_remove(&last.replace("~1", "/").replace("~0", "~"))?;
            Some((altered, pointer.to_owned()))
        }
        Value::Array(items) => {
            items.remove(last.parse().ok()?);
            Some((altered, parent.to_owned()))
        }
        _ => None,
    }
}

/// The pointers of all values that hold no other, empty arrays and objects among them.
fn leaves(value: &Value, pointer: &str) -> Vec<String> {
    let below = |step: &str, value| leaves(value, &format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1")));
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().flat_map(|(name, value)| below(name, value)).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().flat_map(|(index, value)| below(&index.to_string(), value)).collect()
        }
        _ => vec![pointer.to_owned()],
    }
}
