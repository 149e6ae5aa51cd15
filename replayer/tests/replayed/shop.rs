//! The service under test, which is this executable again, and the cassettes of its recorded build.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{ExitCode, abort, exit},
    thread,
    time::Duration,
};

use regress_cassettes::{
    Cassette, CassetteId, Cause, Confidence, Connection, Content, Defect, Ended, Exchange, HttpExchange, Recorded,
    Rule, Store, Via, redact::Redactor,
};
use regress_protocols::http1::{Limits, Message, RequestReader, ResponseReader};

/// How many entries are recorded: orders 1 to 4.
pub const ORDERS: u32 = 4;

/// The order that a changed build treats otherwise.
const CHANGED: u32 = 2;

const ENTRY_PORT: u16 = 8080;

/// Where the recorded build never went.
const NOWHERE: &str = "10.66.6.6:6666";

/// Serve orders the way `build` does.
pub fn serve(build: &str) -> ExitCode {
    match build {
        "exits" => return ExitCode::from(3),
        "asks-first" => drop(say("10.7.7.7:80", &get("/flags", "10.7.7.7"))),
        _ => {}
    }
    let port = if build == "elsewhere" { ENTRY_PORT + 1 } else { ENTRY_PORT };
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    println!("the build {build} listens");
    let mut poisoned = false;
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        if poisoned {
            exit(7);
        }
        if let Some(request) = receive(&mut stream) {
            let number = number(&request);
            stream.write_all(&order(build, number).wire()).unwrap();
            if build == "exits-after" && number == CHANGED {
                exit(7);
            }
            poisoned = build == "exits-late" && number == CHANGED;
        }
    }
    ExitCode::SUCCESS
}

fn order(build: &str, number: u32) -> Message {
    let build = if number == CHANGED { build } else { "recorded" };
    match build {
        "crashes" => {
            println!("about to crash");
            abort();
        }
        "hangs" => thread::sleep(Duration::from_secs(3600)),
        "asks-more" => drop(say("prices:9000", &get("/discount", "prices:9000"))),
        "asks-others" => drop(say("elsewhere.example:80", &get("/", "elsewhere.example"))),
        _ => {}
    }
    let quantity = if build == "reserves-more" { 3 } else { 2 };
    if say("inventory:80", &reserve(number, quantity)).is_none_or(|answer| answer.status() != 200) {
        return Message::response(500, "Internal Server Error", &[], "no stock");
    }
    let price = match build {
        "knows-the-price" => number * 10,
        _ => match say("prices:9000", &get(&format!("/sku/{number}"), "prices:9000")) {
            Some(answer) => number_in(&answer.body),
            None => return Message::response(500, "Internal Server Error", &[], "no price"),
        },
    };
    if build == "holds" {
        // The last thing before the answer, and open for ever.
        std::mem::forget(TcpStream::connect(NOWHERE).unwrap());
    }
    created(number, price * 2 + u32::from(build == "rounds"))
}

/// Let the recording of another order know the address to which a build holds a connection, as it ended with this content.
pub fn know_nowhere(store: &Store, content: Content, ended: Ended) {
    let located = store.list().unwrap().into_iter().find(|located| located.id == id(CHANGED + 1)).unwrap();
    let mut cassette = store.read(&located).unwrap();
    let mut tried = exchange(4, Some(NOWHERE), NOWHERE, get("/", NOWHERE), json(200, "OK", String::new()));
    (tried.content, tried.ended, tried.took) = (content, ended, None);
    cassette.downstream.push(tried);
    store.write(&Redactor::off().cassette(cassette.clone())).unwrap();
}

/// Write one cassette an order; with `defect` the second one lacks something.
pub fn record(store: &Store, defect: bool) {
    for number in 1..=ORDERS {
        let inventory = json(200, "OK", r#"{"reserved": true}"#.to_owned());
        let price = json(200, "OK", format!(r#"{{"price": {}}}"#, number * 10));
        let mut entry = exchange(1, None, "192.0.2.1:40000", place(number), created(number, number * 20));
        entry.connection.local = Some(std::net::SocketAddr::from(([10, 0, 0, 5], ENTRY_PORT)).into());
        if defect && number == CHANGED {
            entry.defects.push(Defect::Unfinished);
        }
        let sku = get(&format!("/sku/{number}"), "prices:9000");
        let cassette = Cassette {
            id: id(number),
            recorded: Recorded {
                at: format!("2026-11-22T10:15:02.{number:06}Z"),
                service: "shop".to_owned(),
                by: "regress 0.1.0".to_owned(),
                via: Via::Proxy,
                kernel: "6.18.0".to_owned(),
            },
            nondeterministic: Vec::new(),
            redacted: Default::default(),
            entry: Some(entry),
            downstream: vec![
                exchange(2, Some("inventory"), "10.9.0.1:80", reserve(number, 2), inventory),
                exchange(3, Some("prices:9000"), "10.9.0.2:9000", sku, price),
            ],
            defects: Vec::new(),
        };
        store.write(&Redactor::off().cassette(cassette.clone())).unwrap();
    }
}

/// The id of an order's cassette.
pub fn id(number: u32) -> CassetteId {
    CassetteId(format!("20261122T101502.{number:06}Z-{number:04}"))
}

/// The id of the cassette that a changed build differs in.
pub fn changed() -> CassetteId {
    id(CHANGED)
}

fn exchange(id: u64, downstream: Option<&str>, peer: &str, request: Message, response: Message) -> Exchange {
    let cause = Cause { rule: Rule::Alone, confidence: Confidence::Certain, after_response: false };
    Exchange {
        downstream: downstream.map(str::to_owned),
        connection: Connection { id, local: None, peer: peer.parse().unwrap(), tls: false },
        at: id as i64 * 100,
        took: Some(90),
        content: Content::Http1(HttpExchange::new(request, Some(response))),
        ended: Ended::Ok,
        cause: downstream.map(|_| cause),
        defects: Vec::new(),
    }
}

fn place(number: u32) -> Message {
    Message::request("POST", "/orders", &[("Host", "shop:8080")], format!(r#"{{"order": {number}}}"#))
}

fn created(number: u32, total: u32) -> Message {
    json(201, "Created", format!("{{\n  \"order\": {number},\n  \"total\": {total}\n}}"))
}

fn reserve(number: u32, quantity: u32) -> Message {
    let body = format!(r#"{{"sku": {number}, "quantity": {quantity}}}"#);
    Message::request("POST", "/reserve", &[("Host", "inventory"), ("Content-Type", "application/json")], body)
}

fn get(target: &str, host: &str) -> Message {
    Message::request("GET", target, &[("Host", host)], "")
}

fn json(status: u16, reason: &str, body: String) -> Message {
    Message::response(status, reason, &[("Content-Type", "application/json")], body)
}

fn receive(stream: &mut TcpStream) -> Option<Message> {
    let mut reader = RequestReader::new(Limits::default());
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        if let Some(request) = reader.feed(&buffer[..count]).ok()?.pop() {
            return Some(request);
        }
    }
}

/// Ask a downstream; nothing when it cannot be reached.
fn say(to: &str, request: &Message) -> Option<Message> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.write_all(&request.wire()).ok()?;
    let mut reader = ResponseReader::new(request.method(), Limits::default());
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        if let Some(response) = reader.feed(&buffer[..count]).ok()?.pop() {
            return Some(response);
        }
    }
}

fn number(request: &Message) -> u32 {
    number_in(&request.body)
}

/// The one number in a body.
fn number_in(body: &[u8]) -> u32 {
    body.iter().filter(|byte| byte.is_ascii_digit()).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}
