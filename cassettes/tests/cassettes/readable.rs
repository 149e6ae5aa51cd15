//! What a body looks like in a cassette.

use regress_cassettes::{Cassette, Content, render};
use regress_protocols::http1::Message;
use serde_json::{Value, json};

use crate::{call, http, order};

/// The `body` that a response with these bytes has in the file.
fn written(body: &[u8]) -> Value {
    let messages = http(Message::request("GET", "/", &[], ""), Message::response(200, "OK", &[], body.to_vec()));
    let cassette = Cassette { downstream: vec![call(Content::Http1(messages))], ..order() };
    let file: Value = serde_json::from_str(&render(&cassette)).unwrap();
    file["downstream"][0]["response"]["body"].clone()
}

#[test]
fn json_is_json_whatever_its_spacing() {
    let a1 = json!({"a": [1, {}]});
    let cases = [
        ("{\"a\":[1,{}]}", json!({"json": a1})),
        ("{\"a\":[1,{}]}\n", json!({"json": a1, "layout": "compact + newline"})),
        ("{\"a\": [1, {}]}", json!({"json": a1, "layout": "spaced"})),
        ("{\"a\": [1, {}]}\n", json!({"json": a1, "layout": "spaced + newline"})),
        ("{\n  \"a\": [\n    1,\n    {}\n  ]\n}", json!({"json": a1, "layout": "indent 2"})),
        ("{\n    \"a\": [\n        1,\n        {}\n    ]\n}\n", json!({"json": a1, "layout": "indent 4 + newline"})),
        ("{\n\t\"a\": [\n\t\t1,\n\t\t{}\n\t]\n}", json!({"json": a1, "layout": "indent tab"})),
        // Jackson's printer.
        ("{\n  \"a\" : [ 1, { } ]\n}", json!({"json": a1, "layout": ["", "\n  ", "3 ", "", "3 ", "\n", ""]})),
        ("[1,2]\n\n", json!({"json": [1, 2], "layout": ["5", "\n\n"]})),
        (
            "{ \"id\": 17,\"tags\":[ ] }",
            json!({"json": {"id": 17, "tags": []}, "layout": ["", " ", "", " ", "4", "2 ", ""]}),
        ),
        ("[]", json!({"json": []})),
        ("7\n", json!({"json": 7, "layout": "compact + newline"})),
        ("\"a\"", json!({"json": "a"})),
    ];
    for (body, expected) in cases {
        assert_eq!(written(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn what_is_not_json_is_text_or_base64() {
    let cases: [(&[u8], Value); 8] = [
        (b"plain", json!({"text": "plain"})),
        (b"plain\n", json!({"text": "plain\n"})),
        (b"a\r\nb\n", json!({"text": ["a\r\n", "b\n"]})),
        (b"{\"a\":1}\n{\"a\":2}\n", json!({"text": ["{\"a\":1}\n", "{\"a\":2}\n"]})),
        (b"{\"a\":01}", json!({"text": "{\"a\":01}"})),
        ("\u{feff}{}".as_bytes(), json!({"text": "\u{feff}{}"})),
        (b"[\"\t\"]", json!({"text": "[\"\t\"]"})),
        (b"\"\xff\"", json!({"base64": "Iv8i"})),
    ];
    for (body, expected) in cases {
        assert_eq!(written(body), expected, "{body:?}");
    }
}

#[test]
fn a_changed_value_is_a_change_of_one_line() {
    let mut changed = order();
    let Some(Content::Http1(http)) = changed.entry.as_mut().map(|entry| &mut entry.content) else { unreachable!() };
    let body = String::from_utf8(http.response.as_ref().unwrap().body.to_vec()).unwrap();
    http.response.as_mut().unwrap().body = body.replace("10.50", "11.50").into();
    let (before, after) = (render(&order()), render(&changed));
    let lines: Vec<_> = before.lines().zip(after.lines()).filter(|(before, after)| before != after).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].1.trim(), "\"total\": 11.50,");
}
