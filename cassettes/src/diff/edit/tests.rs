use base64::{Engine, engine::general_purpose::STANDARD};
use regress_protocols::{Request, Value, http1::Message, wire::Protocol};

use super::*;
use crate::diff::{Lens, requests};

/// The body with what is taken, which has to be all that then differs no more.
fn taken(media_type: &str, old: &str, new: &str, paths: &[&str]) -> Option<String> {
    fn typed<'a>(content: &'a str, media_type: &'a str) -> Typed<'a> {
        Typed { content: content.as_bytes(), media_type: Some(media_type) }
    }
    let places = Places::new(paths.iter().copied());
    let edited = body(typed(old, media_type), typed(new, media_type), &places, Grain::Value)?;
    let edited = String::from_utf8(edited).unwrap();
    let message = |body: &str| Message::request("POST", "/", &[("Content-Type", media_type)], body.to_owned());
    let differ = |a: &str, b: &str| -> Vec<String> {
        requests(&message(a), &message(b), &Lens::exact()).into_iter().map(|found| found.path).collect()
    };
    let mut left = differ(old, new);
    left.retain(|path| !paths.iter().any(|taken| *path == format!("body{taken}")));
    assert_eq!(differ(&edited, new), left, "{edited}");
    Some(edited)
}

#[test]
fn forms() {
    let form = |old, new, paths: &[&str]| taken("application/x-www-form-urlencoded", old, new, paths).unwrap();
    let (old, new) = ("a=1&b=x%20y&c=1&c=2", "a=2&c=3&b=x+z&d=%C3%A9");
    assert_eq!(form(old, new, &["/a"]), "a=2&b=x%20y&c=1&c=2");
    assert_eq!(form(old, new, &["/d"]), "a=1&b=x%20y&c=1&c=2&d=%C3%A9");
    assert_eq!(form(new, old, &["/d"]), "a=2&c=3&b=x+z");
    let (old, new) = ("j=%7B%22x%22%3A1,%22y%22:1%7D", "j=%7B%22x%22%3A2%2C%22y%22%3A2%7D&k");
    assert_eq!(form(old, new, &["/j/x"]), "j=%7B%22x%22%3A2%2C%22y%22%3A1%7D");
}

#[test]
fn texts_in_json() {
    let json = |old: &str, new: &str, paths: &[&str]| taken("application/json", old, new, paths).unwrap();
    let token = |payload: &str| {
        format!(
            "{}.{}.c2ln",
            open::encode_base64(b"{\"alg\":\"x\"}", true, true),
            open::encode_base64(payload.as_bytes(), true, true)
        )
    };
    let (old, new) = (token("{\"sub\":\"a\",\"n\": 1}"), token("{\"sub\":\"b\",\"n\":2}"));
    let of = |text: &str| format!("{{\"t\": \"{text}\"}}");
    assert_eq!(json(&of(&old), &of(&new), &["/t/payload/sub"]), of(&token("{\"sub\":\"b\",\"n\": 1}")));
    let encoded = |text: &str| of(&STANDARD.encode(text));
    let (old, new) = ("{\"total\": 1, \"n\": 1}", "{\"total\":2,\"n\":2}");
    assert_eq!(json(&encoded(old), &encoded(new), &["/t/total"]), encoded("{\"total\": 2, \"n\": 1}"));
}

#[test]
fn streams() {
    let sse = |old: &str, new: &str, paths: &[&str]| taken("text/event-stream", old, new, paths).unwrap();
    let old = "id: 1\r\ndata: {\"p\": 1,\r\ndata: \"q\": 1}\r\n\r\n: ping\n\ndata:x\nid: 2\n\n";
    let new = "data: {\"p\":2,\"q\":2}\n\ndata: y\nid: 2\nevent: e\n\n";
    assert_eq!(sse(old, new, &["/0/data/p"]), old.replace("\"p\": 1", "\"p\": 2"));
    assert_eq!(sse(old, new, &["/0/id"]), old.replace("id: 1\r\n", ""));
    assert_eq!(sse(old, new, &["/1/data"]), old.replace("data:x", "data: y"));
    assert_eq!(sse(old, new, &["/1/event"]), old.replace("id: 2\n", "id: 2\nevent: e\n"));
    let (old, new) = ("{\"n\": 1}\n\n2\n", "{\"n\":2}\n3\n");
    assert_eq!(taken("application/x-ndjson", old, new, &["/0/n"]).unwrap(), "{\"n\": 2}\n\n2\n");
    assert_eq!(taken("application/x-ndjson", old, new, &["/1"]).unwrap(), "{\"n\": 1}\n\n3\n");
    let sequence = |n: u8| format!("\u{1e}{{\"n\": {n}, \"m\": {n}}}\n");
    assert_eq!(
        taken("application/json-seq", &sequence(1), &sequence(2), &["/0/n"]).unwrap(),
        "\u{1e}{\"n\": 2, \"m\": 1}\n"
    );
    assert_eq!(taken("text/plain", "a\nb\n", "x\ny\n", &["/1"]).unwrap(), "a\ny\n");
    assert_eq!(taken("text/plain", "a\nb\n", "x\ny\nz\n", &["/1"]), None);
}

#[test]
fn parts() {
    let part = |boundary: &str, name: &str, media_type: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {media_type}\r\n\r\n{text}\r\n"
        )
    };
    let whole = |boundary: &str, file: &str, media_type: &str, text: &str| {
        let parts = part(boundary, "meta", "application/json", file) + &part(boundary, "file", media_type, text);
        format!("{parts}--{boundary}--\r\n")
    };
    let old = whole("b", "{\"a\": 1, \"b\": 1}", "text/plain", "one");
    let new = whole("b", "{\"a\":2,\"b\":2}", "text/csv", "two");
    let form = |paths: &[&str]| taken("multipart/form-data; boundary=b", &old, &new, paths).unwrap();
    assert_eq!(form(&["/meta/body/a"]), whole("b", "{\"a\": 2, \"b\": 1}", "text/plain", "one"));
    assert_eq!(form(&["/file/body"]), whole("b", "{\"a\": 1, \"b\": 1}", "text/plain", "two"));
    assert_eq!(form(&["/file/header/content-type"]), whole("b", "{\"a\": 1, \"b\": 1}", "text/csv", "one"));
}

#[test]
fn leaves_of_xml() {
    let old = "<?xml version='1.0'?>\n<o  id = '1' n:k=\"a\" xmlns:n='u'>\n <i q=\">\">a &amp; b</i><i><![CDATA[<x>]]></i> <e/>\n</o>";
    let new = "<o id=\"2\" n:k=\"b\" xmlns:n='u'><i q=\"&lt;\">c</i><i>d</i><e>f</e></o>";
    let xml = |paths: &[&str]| taken("application/xml", old, new, paths);
    assert_eq!(xml(&["/o/@id"]).unwrap(), old.replace("'1' n", "'2' n"));
    assert_eq!(xml(&["/o/@{u}k"]).unwrap(), old.replace("\"a\"", "\"b\""));
    assert_eq!(xml(&["/o/#/0/i/#text"]).unwrap(), old.replace("a &amp; b", "c"));
    assert_eq!(
        xml(&["/o/#/0/i/@q", "/o/#/1/i/#text"]).unwrap(),
        old.replace("\">\"", "\"&lt;\"").replace("<![CDATA[<x>]]>", "d")
    );
    assert_eq!(xml(&["/o/#/2/e/#text"]), None, "there was no text");
}

#[test]
fn values_of_other_protocols() {
    let list = |items: [&str; 3]| Value::List(items.map(Value::text).into());
    let query = |sql: &str, params: Value| Value::map([("query", Value::text(sql)), ("params", params)]);
    let old = query("select $1", list(["a", "{\"x\": 1,\"y\":1}", "c"]));
    let new = query("select $2", list(["b", "{\"x\":2,\"y\":2}", "c"]));
    let expected = query("select $1", list(["b", "{\"x\": 2,\"y\":1}", "c"]));
    assert_eq!(value(&old, &new, &Places::new(["/params/0", "/params/1/x"])), Some(expected.clone()));
    let request = |value| {
        requests(Request::Wire(Protocol::Postgres, &expected), Request::Wire(Protocol::Postgres, value), &Lens::exact())
    };
    let left: Vec<String> = request(&new).into_iter().map(|found| found.path).collect();
    assert_eq!(left, ["params/1/y", "query"]);
    let longer = Value::map([("params", Value::List(vec![Value::Null]))]);
    assert_eq!(value(&old, &longer, &Places::new(["/params/0"])), None);
    assert_eq!(
        value(&old, &longer, &Places::new(["/query"])),
        Some(Value::map([("params", list(["a", "{\"x\": 1,\"y\":1}", "c"]))]))
    );
}
