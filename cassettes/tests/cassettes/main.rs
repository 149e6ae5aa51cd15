//! The cassette format and the store, from outside.
//!
//! * `arbitrary`: cassettes with anything in every place
//! * `roundtrip`: nothing is lost between a cassette and its file
//! * `readable`: what files look like
//! * `golden`: files that must be readable for ever
//! * `corrupt`: files that are not what they should be
//! * `store`: folders of cassettes
//! * `packed`: their packed form
//! * `merged`: several of them in one folder
//! * `disk`: full disks
//! * `sealed`: folders of sealed cassettes
//! * `redacted`: secrets of many kinds in all places, and what is none

mod arbitrary;
mod corrupt;
mod disk;
mod golden;
mod merged;
mod packed;
mod readable;
mod redacted;
mod roundtrip;
mod sealed;
mod store;

use regress_cassettes::{
    Cassette, CassetteId, Cause, Confidence, Connection, Content, Ended, Exchange, HttpExchange, Recorded, Rule, Via,
    redact::{Redacted, Redactor},
};
use regress_protocols::http1::Message;

/// A cassette to be written as it is, secrets or not.
fn as_is(cassette: &Cassette) -> Redacted<Cassette> {
    Redactor::off().cassette(cassette.clone())
}

fn http(request: Message, response: Message) -> HttpExchange {
    HttpExchange {
        request,
        interim: vec![],
        response: Some(response),
        streamed: vec![],
        upgraded: vec![],
        reset: None,
        interleaved: vec![],
        left: false,
    }
}

fn entry(content: Content) -> Exchange {
    Exchange {
        downstream: None,
        connection: Connection {
            id: 1,
            local: Some("127.0.0.1:8000".parse().unwrap()),
            peer: "127.0.0.1:40000".parse().unwrap(),
            tls: false,
        },
        at: 0,
        took: Some(2500),
        content,
        ended: Ended::Ok,
        cause: None,
        defects: vec![],
    }
}

fn call(content: Content) -> Exchange {
    Exchange {
        downstream: Some("inventory:9000".to_owned()),
        connection: Connection {
            id: 2,
            local: Some("127.0.0.1:40001".parse().unwrap()),
            peer: "127.0.0.1:9000".parse().unwrap(),
            tls: false,
        },
        at: 300,
        took: Some(900),
        cause: Some(Cause { rule: Rule::LastRead, confidence: Confidence::Certain, after_response: false }),
        ..entry(content)
    }
}

/// `GET /orders/17`, answered after one call to the inventory.
fn order() -> Cassette {
    let call = call(Content::Http1(http(
        Message::request("POST", "/reserve", &[("Host", "inventory:9000")], r#"{"sku": "a-1", "count": 2}"#),
        Message::response(200, "OK", &[("Content-Type", "application/json")], "{\"reserved\":2}\n"),
    )));
    let entry = entry(Content::Http1(http(
        Message::request("GET", "/orders/17?full=1", &[("Host", "shop"), ("Accept", "*/*")], ""),
        Message::response(
            200,
            "OK",
            &[("Content-Type", "application/json")],
            "{\n  \"id\": 17,\n  \"total\": 10.50,\n  \"items\": [\n    \"a-1\",\n    \"b-2\"\n  ]\n}",
        ),
    )));
    Cassette {
        id: CassetteId("20261122T101502.123456Z-0001".to_owned()),
        recorded: Recorded {
            at: "2026-11-22T10:15:02.123456Z".to_owned(),
            service: "shop".to_owned(),
            by: "regress 0.1.0".to_owned(),
            via: Via::Socket,
            kernel: "6.8.0".to_owned(),
        },
        nondeterministic: vec![],
        redacted: Default::default(),
        entry: Some(entry),
        downstream: vec![call],
        defects: vec![],
    }
}
