use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;
use regress_protocols::http1::Message;
use serde_json::{Value, json};

use crate::diff::{Applied, Lens, canonical_request, requests};

fn typed(content_type: &str, body: impl AsRef<[u8]>) -> Message {
    Message::request("POST", "/", &[("Content-Type", content_type)], body.as_ref().to_vec())
}

/// `path kind expected -> actual` of each difference; nothing exactly when the canonical forms are equal.
fn told(expected: &Message, actual: &Message) -> Vec<String> {
    let found = requests(expected, actual, &Lens::exact());
    let canonical = |message| canonical_request(message, &Applied::none());
    assert_eq!(found.is_empty(), canonical(expected) == canonical(actual), "{found:?}");
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    found
        .iter()
        .map(|found| format!("{} {:?} {} -> {}", found.path, found.kind, value(&found.expected), value(&found.actual)))
        .collect()
}

fn told_of_bodies(content_type: &str, expected: &str, actual: &str) -> Vec<String> {
    told(&typed(content_type, expected), &typed(content_type, actual))
}

fn told_of_headers(name: &str, expected: &[&str], actual: &[&str]) -> Vec<String> {
    let message = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| (name, *value)).collect();
        Message::request("GET", "/", &headers, "")
    };
    told(&message(expected), &message(actual))
}

fn told_of_targets(expected: &str, actual: &str) -> Vec<String> {
    told(&Message::request("GET", expected, &[], ""), &Message::request("GET", actual, &[], ""))
}

const NOTHING: [&str; 0] = [];

#[test]
fn targets() {
    assert_eq!(told_of_targets("/a/b?x=1&y=2", "/a/b?y=2&x=1"), NOTHING);
    assert_eq!(told_of_targets("/a/b", "/a/c"), ["target/path/2 Changed b -> c"]);
    assert_eq!(told_of_targets("/a/b/c", "/a/c"), ["target/path/2 Removed b -> -"]);
    assert_eq!(told_of_targets("/a", "/a/"), ["target/path/2 Added - -> "]);
    assert_eq!(told_of_targets("/a?x=1", "/a?x=2"), ["target/query/x Changed 1 -> 2"]);
    assert_eq!(told_of_targets("/a?x=1&x=2", "/a?x=2&x=1"), ["target/query/x Moved at 0: 1 -> at 1: 1"]);
    assert_eq!(told_of_targets("/a?x=1&x=2", "/a?x=1"), ["target/query/x Removed 2 -> -"]);
    assert_eq!(told_of_targets("/a?x", "/a?x="), ["target/query/x Type null -> "]);
    assert_eq!(told_of_targets("/a", "/a?"), ["target/query Added - -> "]);
    assert_eq!(told_of_targets("/a?x=1", "/a?x=1&"), ["target/query/ Added - -> null"]);
    // As written: a server may tell them apart, and so may a signature.
    assert_eq!(told_of_targets("/a?x=%2F", "/a?x=%2f"), ["target/query/x Changed %2F -> %2f"]);
    assert_eq!(told_of_targets("/a?x=a+b", "/a?x=a%20b"), ["target/query/x Changed a+b -> a%20b"]);
}

#[test]
fn lists_and_cookies_in_headers() {
    assert_eq!(told_of_headers("Accept", &["a, b"], &["a", "b"]), NOTHING);
    assert_eq!(told_of_headers("Accept", &["a,b"], &["a , b"]), NOTHING);
    assert_eq!(told_of_headers("Accept", &["a, b"], &["a, c"]), ["header/accept/1 Changed b -> c"]);
    assert_eq!(told_of_headers("Accept", &["a, b"], &["b, a"]), ["header/accept/0 Moved at 0: a -> at 1: a"]);
    assert_eq!(
        told_of_headers("If-Match", &["\"a, b\""], &["\"a\", \"b\""]),
        ["header/if-match/0 Changed \"a, b\" -> \"a\"", "header/if-match/1 Added - -> \"b\""]
    );
    assert_eq!(told_of_headers("X-List", &["a, b"], &["a,b"]), ["header/x-list Changed a, b -> a,b"]);
    assert_eq!(told_of_headers("Cookie", &["a=1; b=2"], &["b=2; a=1"]), NOTHING);
    assert_eq!(told_of_headers("Cookie", &["a=1; b=2"], &["a=1; b=3"]), ["header/cookie/b Changed 2 -> 3"]);
    assert_eq!(told_of_headers("Set-Cookie", &["a=1; Path=/", "b=2"], &["b=2", "a=1; path=/"]), NOTHING);
    assert_eq!(
        told_of_headers("Set-Cookie", &["a=1; Path=/", "b=2; Secure"], &["a=2; Path=/", "b=2"]),
        ["header/set-cookie/a/value Changed 1 -> 2", "header/set-cookie/b/secure Removed null -> -"]
    );
    assert_eq!(told_of_headers("Set-Cookie", &["a"], &["b"]), ["header/set-cookie Changed a -> b"]);
}

#[test]
fn json_in_json() {
    let outer = |inner: &str| json!({ "a": inner }).to_string();
    let told = |a: &str, b: &str| told_of_bodies("application/json", &outer(a), &outer(b));
    assert_eq!(told(r#"{"x":1,"y":2}"#, r#"{ "y": 2, "x": 1 }"#), NOTHING);
    assert_eq!(told(r#"{"x":1}"#, r#"{"x":2}"#), ["body/a/x Changed 1 -> 2"]);
    assert_eq!(told(r#"{"x":1}"#, r#"{"x":"#), [r#"body/a Changed "{\"x\":1}" -> "{\"x\":""#]);
    assert_eq!(told("1", "1.0"), [r#"body/a Changed "1" -> "1.0""#]);
    let nested = |value: u8| outer(&outer(&outer(&format!("[{value}]"))));
    assert_eq!(told_of_bodies("", &nested(1), &nested(2)), ["body/a/a/a/0 Changed 1 -> 2"]);
}

#[test]
fn the_number_of_lines_and_fields_is_bounded() {
    for (content_type, separator) in
        [("text/plain", "\n"), ("application/x-www-form-urlencoded", "&"), ("text/event-stream", "\r")]
    {
        let text = separator.repeat(super::MOST);
        let found = told_of_bodies(content_type, &text, &format!("{text}x"));
        assert!(found.len() == 1 && found[0].starts_with("body Changed "), "{content_type}");
    }
}

#[test]
fn depth_in_depth_is_bounded() {
    let wrapped = |inner: &str, depth: usize| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let nested =
        |leaf: &str| (0..6).fold(wrapped(leaf, 190), |inner, _| wrapped(&serde_json::to_string(&inner).unwrap(), 190));
    let found = told_of_bodies("application/json", &nested("1"), &nested("2"));
    assert!(found.len() == 1 && found[0].starts_with("body/0/0/"), "{found:?}");
}

#[test]
fn base64_and_tokens() {
    let encoded = |text: &str| json!({ "a": STANDARD.encode(text) }).to_string();
    let told = |a: &str, b: &str| told_of_bodies("", a, b);
    assert_eq!(told(&encoded(r#"{"total":100}"#), &encoded(r#"{"total":200}"#)), ["body/a/total Changed 100 -> 200"]);
    assert_eq!(told(&encoded(r#"{"total":100}"#), &encoded(r#"{ "total":100 }"#)), NOTHING);
    assert_eq!(
        told(&encoded("a plain sentence"), &encoded("a plain question")),
        ["body/a Changed a plain sentence -> a plain question"]
    );
    let unpadded = json!({ "a": STANDARD.encode(r#"{"total":100}"#).trim_end_matches('=') }).to_string();
    assert_eq!(told(&encoded(r#"{"total":100}"#), &unpadded).len(), 1, "padding is a difference");

    let token = |subject: &str, signature: &str| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "HS256" }));
        format!("{header}.{}.{signature}", part(json!({ "sub": subject, "iat": 1 })))
    };
    let bearer = |scheme: &str, subject: &str, signature: &str| format!("{scheme} {}", token(subject, signature));
    assert_eq!(
        told_of_headers("Authorization", &[&bearer("Bearer", "ann", "s1")], &[&bearer("Bearer", "bob", "s2")]),
        [
            r#"header/authorization/payload/sub Changed "ann" -> "bob""#,
            "header/authorization/signature Changed s1 -> s2"
        ]
    );
    let other = told_of_headers("Authorization", &[&bearer("Bearer", "ann", "s")], &[&bearer("bearer", "ann", "s")]);
    assert_eq!(other.len(), 1, "{other:?}");
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert_eq!(
        told_of_headers("Authorization", &[&basic("user:password")], &[&basic("user:passw0rd")]),
        ["header/authorization Changed user:password -> user:passw0rd"]
    );
}

#[test]
fn forms() {
    let told = |a: &str, b: &str| told_of_bodies("application/x-www-form-urlencoded; charset=utf-8", a, b);
    assert_eq!(told("a=1&b=x+y", "b=x%20y&a=1"), NOTHING);
    assert_eq!(told("a=1&b=x", "a=1&b=y"), ["body/b Changed x -> y"]);
    assert_eq!(told("a=1&a=2", "a=1"), ["body/a Removed 2 -> -"]);
    assert_eq!(told("a", "a="), ["body/a Type null -> "]);
    assert_eq!(told("a=%7B%22x%22%3A1%7D", "a=%7B%22x%22%3A2%7D"), ["body/a/x Changed 1 -> 2"]);
    assert_eq!(told("a=%zz", "a=%zy"), ["body Changed a=%zz -> a=%zy"]);
}

#[test]
fn parts() {
    let told = |(one, a): (&str, &str), (other, b): (&str, &str)| {
        let message = |boundary: &str, body: &str| {
            typed(&format!("multipart/form-data; boundary={boundary}"), body.replace("BOUNDARY", boundary))
        };
        told(&message(one, a), &message(other, b))
    };
    let body = |note: &str, file: &str| {
        format!(
            "--BOUNDARY\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n{note}\r\n\
             --BOUNDARY\r\nContent-Disposition: form-data; name=file; filename=a.json\r\n\
             Content-Type: application/json\r\n\r\n{file}\r\n--BOUNDARY--\r\n"
        )
    };
    assert_eq!(told(("one", &body("x", "[1]")), ("other", &body("x", "[ 1 ]"))), NOTHING);
    assert_eq!(
        told(("one", &body("x", "[1]")), ("other", &body("y", "[2]"))),
        ["body/file/body/0 Changed 1 -> 2", "body/note/body Changed x -> y"]
    );
    assert_eq!(
        told(("one", &body("x", "[1]")), ("one", &body("x", "[1]").replace("a.json", "b.json"))),
        ["body/file/header/content-disposition Changed form-data; name=file; filename=a.json -> \
          form-data; name=file; filename=b.json"]
    );
    let unclosed = body("x", "[1]").replace("--BOUNDARY--\r\n", "");
    assert_eq!(told(("one", &body("x", "[1]")), ("one", &unclosed)).len(), 2);
    assert_eq!(told(("one", &unclosed), ("two", &unclosed)).len(), 3, "the boundary counts where it bounds nothing");
}

#[test]
fn xml() {
    let told = |a: &str, b: &str| told_of_bodies("application/xml", a, b);
    assert_eq!(told("<a x='1' y=\"2\"><b/> <c>t</c></a>", "<a y='2' x='1'>\n<b></b><c>t</c>\n</a>\n"), NOTHING);
    assert_eq!(told("<a>&lt;</a>", "<a><![CDATA[<]]></a>"), NOTHING);
    assert_eq!(told("<a x='1'/>", "<a x='2'/>"), ["body/a/@x Changed 1 -> 2"]);
    assert_eq!(told("<a><b>1</b><c>2</c></a>", "<a><b>1</b><c>3</c></a>"), ["body/a/#/1/c/#text Changed 2 -> 3"]);
    assert_eq!(
        told("<a><b>1</b><b>2</b></a>", "<a><b>0</b><b>1</b><b>2</b></a>"),
        [r##"body/a/#/0 Added - -> {"b":{"#text":"0"}}"##]
    );
    assert_eq!(told("<a> t</a>", "<a>t</a>"), ["body/a/#text Changed  t -> t"]);
    assert_eq!(told("<a>x <b/></a>", "<a>x<b/></a>"), ["body/a/#/0 Changed x  -> x"]);
    assert_eq!(told("<n:a xmlns:n='u'/>", "<a xmlns='u'/>"), NOTHING);
    assert_eq!(told("<a xmlns='u'/>", "<a xmlns='v'/>"), ["body/a/@xmlns Changed u -> v"]);
    assert_eq!(told("<a><!--x--></a>", "<a><!--y--></a>"), ["body/a/#/0/#comment Changed x -> y"]);
    assert_eq!(told("<a><b/><c/></a>", "<a><c/><b/></a>").len(), 1, "the order of elements counts");
    assert_eq!(told("<!DOCTYPE a><a/>", "<!DOCTYPE a><a />"), ["body Changed <!DOCTYPE a><a/> -> <!DOCTYPE a><a />"]);
    assert_eq!(
        told("<a xml:space='preserve'><b/> </a>", "<a xml:space='preserve'><b/></a>"),
        ["body/a/#/1 Removed   -> -"]
    );
    let html = |text: &str| typed("text/html", text);
    assert_eq!(requests(&html("<p><b/> <b/></p>"), &html("<p><b/><b/></p>"), &Lens::exact()).len(), 1);
    assert_eq!(
        told_of_bodies("", "<?xml version='1.0'?><a x='1'/>", "<?xml version='1.0'?><a x='2'/>"),
        ["body/a/@x Changed 1 -> 2"]
    );
    assert_eq!(told("<p>one<br>two", "<p>one<br>three"), ["body Changed <p>one<br>two -> <p>one<br>three"]);
}

#[test]
fn lines_and_json_lines() {
    let told = |a: &str, b: &str| told_of_bodies("text/html", a, b);
    assert_eq!(told("a\nb\nc\n", "a\nx\nc\n"), ["body/1 Changed b -> x"]);
    assert_eq!(told("a\nb\nc\n", "a\nnew\nb\nc\n"), ["body/1 Added - -> new"]);
    assert_eq!(told("a\nb\n", "a\r\nb\n"), ["body/0 Changed a -> a\r"]);
    assert_eq!(told("a\nb\n", "a\nb"), ["body/2 Removed  -> -"]);
    assert_eq!(told("{\"a\":1}\n{\"a\":2}\n", "{ \"a\":1}\n{\"a\":3}\n"), ["body/1/a Changed 2 -> 3"]);
    assert_eq!(told("{\"a\":1}\n[2]\n", "{\"a\":1}\n[2]").len(), 1, "the end of the last line counts");
    assert_eq!(told("[1]\n[2]\n\n", "[1]\n[2]\n\n\n").len(), 1);
}

#[test]
fn events() {
    let told = |a: &str, b: &str| told_of_bodies("text/event-stream", a, b);
    let stream = "event: add\nid: 1\ndata: {\"n\":1}\n\ndata: a\ndata: b\n\n";
    assert_eq!(told(stream, &stream.replace('\n', "\r\n").replace(": ", ":")), NOTHING);
    assert_eq!(told(stream, &format!(": ping\n\n{stream}")), NOTHING);
    assert_eq!(told(stream, &stream.replace("1}", "2}")), ["body/0/data/n Changed 1 -> 2"]);
    assert_eq!(told(stream, &stream.replace("id: 1", "id: 2")), ["body/0/id Changed 1 -> 2"]);
    assert_eq!(told(stream, &format!("data: new\n\n{stream}")), [r#"body/0 Added - -> {"data":"new"}"#]);
    assert_eq!(told(stream, stream.trim_end()).last().unwrap(), "body/1/unfinished Added - -> true");
    assert_eq!(told(stream, &stream[..stream.len() - 1]), ["body/1/unfinished Added - -> true"]);
}

#[test]
fn events_come_go_and_move() {
    let of = |numbers: &[u8]| -> String {
        numbers.iter().map(|n| format!("event: price\nid: {n}\ndata: {{\"price\":{n}}}\n\n")).collect()
    };
    let told = |a: &[u8], b: &[u8]| told_of_bodies("text/event-stream; charset=utf-8", &of(a), &of(b));
    let shown = |n: u8| format!(r#"{{"data":"{{\"price\":{n}}}","event":"price","id":"{n}"}}"#);
    assert_eq!(told(&[1, 2, 3], &[1, 3]), [format!("body/1 Removed {} -> -", shown(2))]);
    assert_eq!(told(&[1, 3], &[1, 2, 3]), [format!("body/1 Added - -> {}", shown(2))]);
    assert_eq!(told(&[1, 2, 3, 4], &[2, 3, 1, 4]), [format!("body/0 Moved at 0: {0} -> at 2: {0}", shown(1))]);
    let other = of(&[1, 2, 3]).replace("{\"price\":2}", "{\"price\":5}");
    assert_eq!(told_of_bodies("text/event-stream", &of(&[1, 2, 3]), &other), ["body/1/data/price Changed 2 -> 5"]);
    let retry = format!("retry: 500\n\n{}", of(&[1]));
    assert_eq!(told_of_bodies("text/event-stream", &of(&[1]), &retry), [r#"body/0 Added - -> {"retry":"500"}"#]);
}

#[test]
fn streams_of_json() {
    for content_type in ["application/x-ndjson", "application/jsonl; charset=utf-8", "application/json;stream=watch"] {
        let told = |a: &str, b: &str| told_of_bodies(content_type, a, b);
        assert_eq!(told("{\"n\":1}\n", "{ \"n\": 1 }\r\n\n"), NOTHING, "{content_type}");
        assert_eq!(told("{\"n\":1}\n", "{\"n\":2}\n"), ["body/0/n Changed 1 -> 2"], "one value is a stream too");
        assert_eq!(told("{\"n\":1}\n", "{\"n\":1}\n{\"n\":2}\n"), [r#"body/1 Added - -> {"n":2}"#]);
        assert_eq!(told("1\n\"a\"\nnull\n", "1\nnull\n\"a\"\n"), [r#"body/1 Moved at 1: "a" -> at 2: "a""#]);
        assert_eq!(told("{\"n\":1}\n", "{\"n\":1}"), ["body/1 Added - -> unfinished"]);
        assert_eq!(told("{\"n\":1}\n", "{\"n\":1}\nunfinished\n").len(), 1, "no stream of JSON");
        assert_eq!(told("1\n2\n", "1\n{\"n\":"), [r#"body/1 Type 2 -> {"cut":"{\"n\":"}"#]);
        assert_eq!(told("1\n{\"cut\":\"x\"}\n", "1\n{\"cut\":\"x\"}"), ["body/2 Added - -> unfinished"]);
        assert_eq!(told("{\n\"n\": 1\n}", "{\n\"n\": 2\n}"), ["body/n Changed 1 -> 2"], "a document all the same");
    }
    let sequence = "\u{1e}{\"n\":1}\n\u{1e}{\n\"n\":2}\n";
    let told = |a: &str, b: &str| told_of_bodies("application/geo+json-seq", a, b);
    assert_eq!(told(sequence, &sequence.replace("{\n", "{")), NOTHING);
    assert_eq!(told(sequence, &sequence.replace('2', "3")), ["body/1/n Changed 2 -> 3"]);
    assert_eq!(told(sequence, &sequence[..sequence.len() - 1]), ["body/2 Added - -> unfinished"]);
    assert_eq!(told(sequence, "{\"n\":1}\n").len(), 1, "nothing is before the first separator");
}

#[test]
fn where_events_end() {
    let ends = |content_type: &str, body: &str| {
        let response = Message::response(200, "OK", &[("Content-Type", content_type)], body.to_owned());
        crate::diff::event_ends(&response)
    };
    let stream = "\u{feff}data: é\r\n\r\n: ping\n\nid: 1\rdata\r\r\ndata: cut\n";
    let found = ends("text/event-stream", stream).unwrap();
    assert_eq!(found.iter().map(|end| &stream[..*end]).collect::<Vec<_>>(), [&stream[..15], &stream[..36]]);
    assert_eq!(ends("application/jsonl", "1\n\n22\n333"), Some(vec![2, 6]));
    assert_eq!(ends("application/json-seq", "\u{1e}1\n\u{1e}\n2\n\u{1e}3"), Some(vec![3, 7]));
    assert_eq!(ends("text/plain", "a\n\n"), None);
}

fn some_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~é]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~\"]{1,2}", inner, 1..4).prop_map(|all| all.into_iter().collect()),
        ]
    })
}

/// The JSON Pointers of all leaves.
fn leaves(value: &Value, at: &str, to: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{at}/{index}"), to))
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            leaves(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), to);
        }),
        _ => to.push(at.to_owned()),
    }
}

/// A message with the document in it, in each way that is opened up, and the path of the document.
fn carriers(document: &Value) -> Vec<(&'static str, Message)> {
    let text = document.to_string();
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let token = format!("{}.{}.sig", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(&text));
    let parts = format!("--b\r\nContent-Disposition: form-data; name=x\r\n\r\n{text}\r\n--b--");
    vec![
        ("body", typed("application/json", &text)),
        ("body/s", typed("application/json", json!({ "s": text }).to_string())),
        ("body/s/t", typed("application/json", json!({ "s": json!({ "t": text }).to_string() }).to_string())),
        ("body/s", typed("application/json", json!({ "s": STANDARD.encode(&text) }).to_string())),
        ("body/x", typed("application/x-www-form-urlencoded", format!("w=1&x={encoded}&y=2"))),
        ("body/x/body", typed("multipart/form-data; boundary=b", parts)),
        ("body/1", typed("application/x-ndjson", format!("{{}}\n{text}\n[]\n"))),
        ("body/0/data", typed("text/event-stream", format!("id: 1\ndata: {text}\n\n"))),
        ("body/1", typed("application/x-ndjson", format!("1\n{text}\n"))),
        (
            "header/authorization/payload",
            Message::request("GET", "/", &[("Authorization", &format!("Bearer {token}"))], ""),
        ),
    ]
}

proptest! {
    #[test]
    fn a_changed_leaf_is_found_at_its_own_path(document in some_value(), pick in any::<prop::sample::Index>()) {
        // Long enough to be taken for base64, and an object, as a token's payload must be one.
        let document = json!({ "document": document, "padding": "................" });
        let mut pointers = Vec::new();
        leaves(&document, "", &mut pointers);
        let pointer = pick.get(&pointers);
        let mut other = document.clone();
        *other.pointer_mut(pointer).unwrap() = json!("something else");
        for ((path, expected), (_, actual)) in carriers(&document).into_iter().zip(carriers(&other)) {
            prop_assert_eq!(told(&expected, &expected.clone()), NOTHING);
            let found = told(&expected, &actual);
            let at = format!("{path}{pointer} ");
            prop_assert!(found.len() == 1 && found[0].starts_with(&at), "{at} is not all of {found:?}");
        }
    }

    #[test]
    fn a_changed_text_or_attribute_of_xml_is_found(texts in prop::collection::vec("[a-z]{1,4}", 1..6), pick in any::<prop::sample::Index>()) {
        let document = |texts: &[String]| {
            let items: Vec<String> = texts.iter().map(|text| format!("<i k=\"{text}\">{text}</i>")).collect();
            typed("text/xml", format!("<list>{}</list>", items.join("\n")))
        };
        let at = pick.index(texts.len());
        let mut others = texts.clone();
        others[at] = "OTHER".to_owned();
        let found = told(&document(&texts), &document(&others));
        let place = format!("body/list/#/{at}/i/");
        // An only child has no number: the list is one element.
        prop_assert!(found.len() == 2 && found.iter().all(|one| one.starts_with(&place)), "{place} is not in {found:?}");
    }

    #[test]
    fn arbitrary_bytes_are_compared_as_well(
        content_type in prop::sample::select(vec![
            "", "application/json", "application/x-www-form-urlencoded", "text/event-stream", "application/xml",
            "application/x-ndjson", "application/json-seq",
            "multipart/mixed; boundary=b", "multipart/form-data", "multipart/form-data; boundary=\"", "text/plain",
        ]),
        a in any_body(), b in any_body(),
    ) {
        let (a, b) = (typed(content_type, &a), typed(content_type, &b));
        prop_assert_eq!(told(&a, &a.clone()), NOTHING);
        prop_assert_eq!(told(&a, &b).is_empty(), told(&b, &a).is_empty());
    }

    #[test]
    fn arbitrary_fields_are_compared_as_well(
        name in prop::sample::select(vec!["Set-Cookie", "Cookie", "Accept", "Authorization", "X"]),
        a in prop::collection::vec("[a-c=;, \"A.eyJ{}]{0,12}", 0..3), b in prop::collection::vec("[a-c=;, \"A.eyJ{}]{0,12}", 0..3),
    ) {
        let (old, new): (Vec<&str>, Vec<&str>) = (a.iter().map(String::as_str).collect(), b.iter().map(String::as_str).collect());
        prop_assert_eq!(told_of_headers(name, &old, &old), NOTHING);
        if a == b {
            prop_assert_eq!(told_of_headers(name, &old, &new), NOTHING);
        }
        told_of_headers(name, &old, &new);
    }

    #[test]
    fn arbitrary_targets_are_compared_as_well(a in "[a-b/?&=%.]{0,10}", b in "[a-b/?&=%.]{0,10}") {
        told_of_targets(&format!("/{a}"), &format!("/{b}"));
    }
}

/// Bytes at random, and texts made of what the formats are made of.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "--b",
        "--",
        "\r\n",
        "\n",
        "\r",
        "<a>",
        "</a>",
        "<a x='1'/>",
        "<!--",
        "-->",
        "{",
        "}",
        "[",
        "]",
        "\"a\"",
        ":",
        ",",
        "1",
        "a=1",
        "&",
        "%41",
        "%",
        "data: 1",
        "id",
        ": ",
        " ",
        "\u{feff}",
        "name=x",
        "Content-Disposition: form-data; name=x",
        "eyJhIjoxfQ",
        ".",
        "W10",
        "====",
        "null",
        "é",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

mod grpc {
    use regress_protocols::http2;

    use super::*;
    use crate::diff::responses;

    const SEVEN: &[u8] = b"\0\0\0\0\x0a\x08\x07\x12\x06pepper";
    const EIGHT: &[u8] = b"\0\0\0\0\x0a\x08\x08\x12\x06pepper";

    fn paths(content_type: &str, expected: &[u8], actual: &[u8]) -> Vec<String> {
        let response = |body: &[u8]| {
            http2::response(200, &[("content-type", content_type)], body.to_vec(), &[("grpc-status", "0")])
        };
        let found = responses(&response(expected), &response(actual), &Lens::exact());
        found.into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn messages_are_compared_by_their_fields() {
        assert_eq!(paths("application/grpc", SEVEN, EIGHT), ["body/0/1"]);
        assert_eq!(paths("application/grpc+proto", &[SEVEN, SEVEN].concat(), &[SEVEN, EIGHT].concat()), ["body/1/1"]);
        assert_eq!(paths("application/grpc-web+proto", SEVEN, EIGHT), ["body/0/1"]);
        assert_eq!(paths("application/grpc-web-text", b"AAAAAAIIBw==", b"AAAAAAIICA=="), ["body/0/1"]);
        assert_eq!(paths("application/x-protobuf", b"\x08\x07", b"\x08\x08"), ["body/1"]);
        assert_eq!(paths("application/grpc+json", b"\0\0\0\0\x07{\"a\":1}", b"\0\0\0\0\x07{\"a\":2}"), ["body/0/a"]);
        assert_eq!(paths("application/grpc", SEVEN, &[SEVEN, EIGHT].concat()), ["body/1"]);
        // Another protocol whose name begins so.
        assert_eq!(paths("application/grpcish", SEVEN, EIGHT), ["body/1"]);
    }

    #[test]
    fn compressed_messages_are_compared_by_what_they_say() {
        let compressed = |message: &[u8], level| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
            std::io::Write::write_all(&mut encoder, message).unwrap();
            let message = encoder.finish().unwrap();
            [&[1][..], &(message.len() as u32).to_be_bytes(), &message].concat()
        };
        assert_eq!(paths("application/grpc", &compressed(&SEVEN[5..], 0), &compressed(&EIGHT[5..], 9)), ["body/0/1"]);
        assert!(paths("application/grpc", &compressed(&SEVEN[5..], 0), &compressed(&SEVEN[5..], 9)).is_empty());
        assert_eq!(paths("application/grpc", &compressed(&SEVEN[5..], 0), SEVEN), ["body/0"]);
    }

    #[test]
    fn what_is_cut_or_no_message_is_told() {
        assert_eq!(paths("application/grpc", SEVEN, &SEVEN[..8]), ["body/0"]);
        assert_eq!(paths("application/grpc", b"\0\0\0\0\x01\xff", b"\0\0\0\0\x01\xfe"), ["body/0"]);
        assert_eq!(paths("application/grpc", b"\x05\0\0\0\0", b"\x06\0\0\0\0"), ["body"]);
    }

    #[test]
    fn versions_of_http_are_told_apart() {
        let old = Message::request("GET", "/", &[], "");
        let new = http2::request("GET", "/", &[], "");
        let found = requests(&old, &new, &Lens::exact());
        assert_eq!(found.iter().map(|difference| difference.path.as_str()).collect::<Vec<_>>(), ["protocol"]);
        assert!(requests(&new, &new.clone(), &Lens::exact()).is_empty());
    }
}
