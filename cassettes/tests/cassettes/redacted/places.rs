//! Every place of a message: how a text is put there, and what stands there, with all that hides it taken off.

use std::io::{Read, Write};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use regress_cassettes::{Cassette, Content, HttpExchange, Turn, WireExchange};
use regress_protocols::{
    Side, Value,
    http1::{Chunk, Framing, Line, Message},
    wire::Protocol,
};

use super::http;

pub struct Where {
    pub name: &'static str,
    pub put: fn(&str) -> Content,
    /// What stands in that place of the entry.
    pub reveal: fn(&Cassette) -> String,
}

pub const PLACES: &[Where] = &[
    Where {
        name: "a header",
        put: |text| ask(Message::request("GET", "/", &[("X-Note", &encoded_line(text))], "")),
        reveal: |c| header(asked(c), "x-note"),
    },
    Where {
        name: "a header of the response",
        put: |text| answer(Message::response(200, "OK", &[("X-Note", &encoded_line(text))], "")),
        reveal: |c| header(answered(c), "x-note"),
    },
    Where {
        name: "a location",
        put: |text| answer(Message::response(302, "Found", &[("Location", &format!("/next?a={}", percent(text)))], "")),
        reveal: |c| percent_decoded(&header(answered(c), "location")),
    },
    Where {
        name: "a cookie",
        put: |text| {
            ask(Message::request("GET", "/", &[("Cookie", &format!("theme=dark; note={}", percent(text)))], ""))
        },
        reveal: |c| percent_decoded(&header(asked(c), "cookie")),
    },
    Where {
        name: "a cookie that is set",
        put: |text| {
            answer(Message::response(200, "OK", &[("Set-Cookie", &format!("note={}; Path=/", percent(text)))], ""))
        },
        reveal: |c| percent_decoded(&header(answered(c), "set-cookie")),
    },
    Where {
        name: "the query",
        put: |text| ask(Message::request("GET", &format!("/a?b=c&note={}&d=e", percent(text)), &[], "")),
        reveal: |c| percent_decoded(&asked(c).target()),
    },
    Where {
        name: "the path",
        put: |text| ask(Message::request("GET", &format!("/bot/{}", percent_for_path(text)), &[], "")),
        reveal: |c| percent_decoded(&asked(c).target()),
    },
    Where {
        name: "JSON",
        put: |text| post("application/json", serde_json::json!({"a": [1, {"note": text}], "b": null}).to_string()),
        reveal: |c| json(&asked(c).body)["a"][1]["note"].as_str().unwrap().to_owned(),
    },
    Where {
        name: "JSON, spaced",
        put: |text| post("application/json", format!("{:#}\n", serde_json::json!({"note": text, "x": 1.50}))),
        reveal: |c| json(&asked(c).body)["note"].as_str().unwrap().to_owned(),
    },
    Where {
        name: "JSON with escapes",
        put: |text| {
            post(
                "application/json",
                format!(
                    "{{\"note\":\"{}\"}}",
                    text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>()
                ),
            )
        },
        reveal: |c| json(&asked(c).body)["note"].as_str().unwrap().to_owned(),
    },
    Where {
        name: "JSON in JSON",
        put: |text| {
            post(
                "application/json",
                serde_json::json!({"event": serde_json::json!({"note": text}).to_string()}).to_string(),
            )
        },
        reveal: |c| {
            json(json(&asked(c).body)["event"].as_str().unwrap().as_bytes())["note"].as_str().unwrap().to_owned()
        },
    },
    Where {
        name: "JSON of a response",
        put: |text| {
            answer(Message::response(
                200,
                "OK",
                &[("Content-Type", "application/json")],
                serde_json::json!([text]).to_string(),
            ))
        },
        reveal: |c| json(&answered(c).body)[0].as_str().unwrap().to_owned(),
    },
    Where {
        name: "JSON lines",
        put: |text| {
            post(
                "application/x-ndjson",
                format!("{}\n{}\n", serde_json::json!({"a": 1}), serde_json::json!({"note": text})),
            )
        },
        reveal: |c| {
            json(string(&asked(c).body).lines().nth(1).unwrap().as_bytes())["note"].as_str().unwrap().to_owned()
        },
    },
    Where {
        name: "a text in JSON",
        put: |text| post("application/json", serde_json::json!({"log": format!("sent {text} to them")}).to_string()),
        reveal: |c| json(&asked(c).body)["log"].as_str().unwrap().to_owned(),
    },
    Where {
        name: "a form",
        put: |text| post("application/x-www-form-urlencoded", format!("a=b+c&note={}", percent(text))),
        reveal: |c| percent_decoded(&string(&asked(c).body)),
    },
    Where {
        name: "parts",
        put: |text| post("multipart/form-data; boundary=xyz", parts("note", text)),
        reveal: |c| string(&asked(c).body),
    },
    Where {
        name: "XML",
        put: |text| {
            post(
                "application/xml",
                format!("<?xml version=\"1.0\"?><order a=\"b\"><note>{}</note></order>", text.replace('&', "&amp;")),
            )
        },
        reveal: |c| string(&asked(c).body).replace("&amp;", "&"),
    },
    Where {
        name: "text",
        put: |text| post("text/plain", format!("first line\nthis is {text}\nlast line")),
        reveal: |c| string(&asked(c).body),
    },
    Where {
        name: "HTML",
        put: |text| post("text/html", format!("<p>this is <b>{}</b></p>", text.replace('&', "&amp;"))),
        reveal: |c| string(&asked(c).body).replace("&amp;", "&"),
    },
    Where {
        name: "events",
        put: |text| {
            answer(Message::response(
                200,
                "OK",
                &[("Content-Type", "text/event-stream")],
                format!("data: {}\n\ndata: end\n\n", serde_json::json!({"note": text})),
            ))
        },
        reveal: |c| string(&answered(c).body),
    },
    Where {
        name: "base64 in JSON",
        put: |text| {
            post(
                "application/json",
                serde_json::json!({"data": STANDARD.encode(format!("the note is: {text}"))}).to_string(),
            )
        },
        reveal: |c| string(&STANDARD.decode(json(&asked(c).body)["data"].as_str().unwrap()).unwrap()),
    },
    Where {
        name: "base64 of JSON in a header",
        put: |text| {
            ask(Message::request(
                "GET",
                "/",
                &[("X-Context", &URL_SAFE_NO_PAD.encode(serde_json::json!({"note": text}).to_string()))],
                "",
            ))
        },
        reveal: |c| string(&URL_SAFE_NO_PAD.decode(header(asked(c), "x-context")).unwrap()),
    },
    Where {
        name: "gzip",
        put: |text| {
            answer(Message::response(
                200,
                "OK",
                &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
                gzip(&serde_json::json!({"note": text}).to_string()),
            ))
        },
        reveal: |c| string(&regress_cassettes::diff::decoded_body(answered(c))),
    },
    Where {
        name: "brotli",
        put: |text| {
            answer(Message::response(200, "OK", &[("Content-Encoding", "br")], brotli(&format!("this is {text}"))))
        },
        reveal: |c| unbrotli(&answered(c).body),
    },
    Where {
        name: "chunks",
        put: |text| answer(chunked(&format!("this is {text}"), "")),
        reveal: |c| string(&answered(c).body),
    },
    Where {
        name: "a trailer",
        put: |text| answer(chunked("body", &encoded_line(text))),
        reveal: |c| answered(c).trailers().map(|(_, value)| string(value)).collect(),
    },
    Where {
        name: "a field of gRPC",
        put: |text| Content::Http1(http(grpc(text), Message::response(200, "OK", &[], ""))),
        reveal: |c| string(&asked(c).body),
    },
    Where {
        name: "what came of a message",
        put: |text| ask(cut(text)),
        reveal: |c| string(asked(c).truncated.as_ref().unwrap()),
    },
    Where {
        name: "an argument of Redis",
        put: |text| {
            value(
                Protocol::Redis,
                Value::map([
                    ("command", Value::text("SET")),
                    ("args", Value::List(vec![Value::text("note:1"), Value::data(text.as_bytes())])),
                ]),
            )
        },
        reveal: |c| strings(&wire(c).request),
    },
    Where {
        name: "a key of Redis",
        put: |text| {
            value(
                Protocol::Redis,
                Value::map([
                    ("command", Value::text("GET")),
                    ("args", Value::List(vec![Value::data(format!("note:{text}").as_bytes())])),
                ]),
            )
        },
        reveal: |c| strings(&wire(c).request),
    },
    Where {
        name: "a reply of Redis",
        put: |text| replied(Protocol::Redis, Value::List(vec![Value::Null, Value::data(text.as_bytes())])),
        reveal: |c| strings(wire(c).response.as_ref().unwrap()),
    },
    Where {
        name: "a literal of SQL",
        put: |text| {
            value(
                Protocol::Postgres,
                Value::map([(
                    "query",
                    Value::text(format!("INSERT INTO notes VALUES (1, '{}')", text.replace('\'', "''"))),
                )]),
            )
        },
        reveal: |c| strings(&wire(c).request).replace("''", "'"),
    },
    Where {
        name: "a literal of MySQL",
        put: |text| {
            value(
                Protocol::Mysql,
                Value::map([
                    ("command", Value::text("query")),
                    ("sql", Value::text(format!("SELECT * FROM notes WHERE a = '{}'", text.replace('\'', "''")))),
                ]),
            )
        },
        reveal: |c| strings(&wire(c).request).replace("''", "'"),
    },
    Where {
        name: "a parameter of SQL",
        put: |text| {
            value(
                Protocol::Postgres,
                Value::map([
                    ("query", Value::text("SELECT $1")),
                    ("params", Value::List(vec![Value::data(text.as_bytes())])),
                ]),
            )
        },
        reveal: |c| strings(&wire(c).request),
    },
    Where {
        name: "a row",
        put: |text| {
            replied(
                Protocol::Postgres,
                Value::map([
                    ("columns", Value::List(vec![Value::map([("name", Value::text("note"))])])),
                    ("rows", Value::List(vec![Value::List(vec![Value::data(text.as_bytes())])])),
                ]),
            )
        },
        reveal: |c| strings(wire(c).response.as_ref().unwrap()),
    },
    Where {
        name: "a WebSocket",
        put: web_socket,
        reveal: |c| unmasked(&c.entry.as_ref().unwrap().http().unwrap().upgraded[0].bytes),
    },
    Where {
        name: "bytes of no protocol",
        put: |text| {
            Content::Opaque(vec![Turn {
                from: Side::Client,
                bytes: [b"\x00\x01say \"", text.as_bytes(), b"\"\xff"].concat().into(),
            }])
        },
        reveal: opaque,
    },
];

fn ask(request: Message) -> Content {
    Content::Http1(http(request, Message::response(204, "No Content", &[], "")))
}

fn answer(response: Message) -> Content {
    Content::Http1(http(Message::request("GET", "/", &[], ""), response))
}

fn post(content_type: &str, body: String) -> Content {
    ask(Message::request("POST", "/notes", &[("Content-Type", content_type)], body))
}

/// An exchange with only a request.
pub fn value(protocol: Protocol, request: Value) -> Content {
    Content::Wire(WireExchange { protocol, request, response: None })
}

fn replied(protocol: Protocol, response: Value) -> Content {
    let request = Value::map([("command", Value::text("LRANGE")), ("query", Value::text("SELECT 1"))]);
    Content::Wire(WireExchange { protocol, request, response: Some(response) })
}

fn exchange(cassette: &Cassette) -> &HttpExchange {
    cassette.entry.as_ref().unwrap().http().unwrap()
}

fn asked(cassette: &Cassette) -> &Message {
    &exchange(cassette).request
}

fn answered(cassette: &Cassette) -> &Message {
    exchange(cassette).response.as_ref().unwrap()
}

fn wire(cassette: &Cassette) -> &WireExchange {
    cassette.entry.as_ref().unwrap().wire().unwrap()
}

fn header(message: &Message, name: &str) -> String {
    message.header_text(name).unwrap().into_owned()
}

fn json(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap()
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What fits into a line.
fn encoded_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Where more stands for itself.
fn percent_for_path(text: &str) -> String {
    percent(text).replace("%3A", ":").replace("%2F", "/").replace("%40", "@")
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            decoded.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
            rest = &rest[2..];
        } else {
            decoded.push(*first);
        }
    }
    string(&decoded)
}

fn parts(name: &str, text: &str) -> String {
    let part =
        |name: &str, text: &str| format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    format!("{}{}--xyz--\r\n", part("a", "b"), part(name, text))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &str) -> Vec<u8> {
    let mut coded = Vec::new();
    brotli::CompressorWriter::new(&mut coded, 4096, 5, 22).write_all(text.as_bytes()).unwrap();
    coded
}

fn unbrotli(coded: &[u8]) -> String {
    let mut text = String::new();
    brotli::Decompressor::new(coded, 4096).read_to_string(&mut text).unwrap();
    text
}

/// A body in two chunks, the cut within its last word.
fn chunked(body: &str, trailer: &str) -> Message {
    let cut = body.len() - 2;
    let chunk = |size: usize| Chunk { line: Line::new(format!("{size:x}")), size: size as u64 };
    Message {
        framing: Framing::Chunked {
            chunks: vec![chunk(cut), chunk(2), chunk(0)],
            trailers: vec![Line::new(format!("X-Note: {trailer}"))],
            end: Line::default(),
        },
        ..Message::response(200, "OK", &[("Transfer-Encoding", "chunked")], body.to_owned())
    }
}

fn grpc(text: &str) -> Message {
    let field = |number: u8, content: &[u8]| {
        let length = content.len();
        let size =
            if length < 128 { vec![length as u8] } else { vec![(length & 127) as u8 | 128, (length >> 7) as u8] };
        [&[number << 3 | 2][..], &size, content].concat()
    };
    let message = [field(1, &[&field(1, text.as_bytes())[..], b"\x10\x05"].concat()), b"\x18\x01".to_vec()].concat();
    let body = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    Message::request("POST", "/shop.Stock/Get", &[("Content-Type", "application/grpc")], body)
}

fn cut(text: &str) -> Message {
    let mut message = Message::request("POST", "/", &[], "");
    message.truncated = Some(format!("X-Note: {text}").into_bytes().into());
    message
}

fn strings(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => string(bytes),
        Value::List(items) => items.iter().map(strings).collect::<Vec<_>>().join("\n"),
        Value::Map(members) => members.iter().map(|(_, member)| strings(member)).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

const MASK: [u8; 4] = [7, 99, 200, 31];

fn web_socket(text: &str) -> Content {
    let content = serde_json::json!({"note": text}).to_string();
    let masked = content.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let length = [&[0x81, 0x80 | 126][..], &(content.len() as u16).to_be_bytes(), &MASK].concat();
    let bytes: Vec<u8> = length.into_iter().chain(masked).collect();
    let request = Message::request("GET", "/", &[("Upgrade", "websocket"), ("Connection", "Upgrade")], "");
    let mut exchange = http(request, Message::response(101, "Switching Protocols", &[], ""));
    exchange.upgraded = vec![Turn { from: Side::Client, bytes: bytes.into() }];
    Content::Http1(exchange)
}

fn unmasked(frame: &[u8]) -> String {
    let (length, head) = match frame[1] & 127 {
        126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 8),
        length => (usize::from(length), 6),
    };
    assert_eq!(frame.len(), head + length, "the frame says how long it is");
    string(&frame[head..].iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect::<Vec<u8>>())
}

fn opaque(cassette: &Cassette) -> String {
    match &cassette.entry.as_ref().unwrap().content {
        Content::Opaque(turns) => string(&turns[0].bytes),
        _ => panic!("it is opaque"),
    }
}
