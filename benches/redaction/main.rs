//! What it takes to look a body through for secrets, beside copying it and parsing it.
//!
//! `cargo bench -p regress-cassettes --bench redaction` prints a table and writes `target/bench/redaction.json`: medians over several
//! rounds in which all take turns, in megabytes a second of CPU time. It fails where JSON is looked through more slowly than 200 MB/s.

#![allow(clippy::print_stdout, missing_docs)]

use std::{hint::black_box, path::Path, time::Duration};

use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};
use regress_cassettes::{
    Connection, Content, Ended, Exchange, HttpExchange,
    redact::{Key, Policy, Redactor},
};
use regress_protocols::http1::Message;
use serde_json::{Value, json};

const ROUNDS: usize = 21;

/// About so many bytes have the bodies.
const SIZE: usize = 4 << 20;

/// The least that is fast enough for JSON, in megabytes a second.
const LEAST: f64 = 200.0;

struct Case {
    name: &'static str,
    content_type: &'static str,
    body: Bytes,
    /// How many secrets there are.
    secrets: u64,
}

fn main() {
    let redactor = Redactor::new(Key::drawn().expect("there are random numbers"), Policy::default());
    let mut rows = Vec::new();
    let mut within = true;
    println!("{:<34} {:>12} {:>12} {:>12} {:>12}", "MB/s", "regress", "copy", "serde_json", "secrets");
    for case in cases() {
        let request = exchange(Message::request("POST", "/", &[], ""), &case);
        let mut times = [const { Vec::new() }; 3];
        let mut found = 0;
        for _ in 0..ROUNDS {
            let given = request.clone();
            let (time, redacted) = spent(|| redactor.exchange(given));
            found = redacted.replaced().total();
            times[0].push(time);
            times[1].push(spent(|| black_box(case.body.to_vec())).0);
            if case.content_type == "application/json" {
                times[2].push(spent(|| serde_json::from_slice::<Value>(&case.body).map(black_box).is_ok()).0);
            }
        }
        assert_eq!(found, case.secrets, "{}", case.name);
        let rate = |times: &mut Vec<Duration>| {
            times.sort();
            let median = times.get(times.len() / 2)?;
            Some(case.body.len() as f64 / 1e6 / median.as_secs_f64())
        };
        let rates = times.each_mut().map(rate);
        let shown = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.0}"));
        println!(
            "{:<34} {:>12} {:>12} {:>12} {:>12}",
            case.name,
            shown(rates[0]),
            shown(rates[1]),
            shown(rates[2]),
            found
        );
        let least = (case.content_type == "application/json").then_some(LEAST);
        let met = least.is_none_or(|least| rates[0].is_some_and(|rate| rate >= least));
        within &= met;
        for (by, rate, target) in
            [("regress", rates[0], least), ("copy", rates[1], None), ("serde_json", rates[2], None)]
        {
            rows.extend(rate.map(|rate| {
                json!({
                    "case": case.name, "metric": "median rate", "value": rate, "unit": "MB/s", "by": by, "target": target,
                    "met": target.map(|target| rate >= target),
                })
            }));
        }
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let text = format!("{:#}\n", json!({ "rows": rows }));
    match std::fs::create_dir_all(&path).and_then(|()| std::fs::write(path.join("redaction.json"), text)) {
        Ok(()) => println!("\nwrote {}", path.join("redaction.json").display()),
        Err(error) => println!("error: cannot write {}: {error}", path.display()),
    }
    std::process::exit(i32::from(!within));
}

fn cases() -> Vec<Case> {
    let many = |item: &dyn Fn(usize) -> Value| {
        let mut items = Vec::new();
        let mut size = 0;
        while size < SIZE {
            let item = item(items.len());
            size += item.to_string().len() + 1;
            items.push(item);
        }
        Value::Array(items)
    };
    let order = |number: usize| {
        json!({
            "id": number, "uuid": format!("9f8b6c1e-5d0a-4c3b-8e2f-{number:012x}"), "created_at": "2026-11-28T20:41:39.123456Z",
            "customer": {"name": "Ann Smith", "city": "Berlin", "zip": "10115"}, "total": 49.95, "currency": "EUR", "paid": true,
            "items": [{"sku": "tea-green-250", "count": 2, "price": 9.95}, {"sku": "milk-oat-1l", "count": 6, "price": 2.49}],
            "notes": "leave it at the door, please; the bell does not work", "etag": "33a64df551425fcc55e4d42a148795d9f25f89d4",
        })
    };
    let named = |number: usize| {
        json!({
            "key": format!("item-{number}"), "author": "ann", "token_type": "bearer", "next_page_token": "CAUQAA==",
            "session": "morning", "password_hint": "the usual one", "shipping": "express", "url": "https://example.org/items?key=1",
        })
    };
    let secret = |number: usize| {
        let mut order = order(number);
        if number.is_multiple_of(100) {
            order["password"] = json!(format!("h0rse-battery-{number}"));
        }
        order
    };
    let orders = many(&order);
    let (with_secrets, names) = (many(&secret), many(&named));
    let count = with_secrets.as_array().map_or(0, Vec::len).div_ceil(100) as u64;
    let case = |name, content_type, body: String, secrets| Case { name, content_type, body: body.into(), secrets };
    vec![
        case("orders", "application/json", orders.to_string(), 0),
        case("orders, indented", "application/json", format!("{orders:#}"), 0),
        case("names that are almost secrets", "application/json", names.to_string(), 0),
        case("a secret in each hundredth order", "application/json", with_secrets.to_string(), count),
        case(
            "lines of text",
            "text/plain",
            "2026-11-28 20:41:39 INFO  GET /orders/17 200 in 12 ms\n".repeat(SIZE / 54),
            0,
        ),
        case("bytes", "application/octet-stream", String::from_utf8_lossy(&[0, 1, 2, 200]).repeat(SIZE / 6), 0),
    ]
}

fn exchange(mut request: Message, case: &Case) -> Exchange {
    request.body = case.body.clone();
    request.framing = regress_protocols::http1::Framing::Close;
    request.headers.push(regress_protocols::http1::Line::new(format!("Content-Type: {}", case.content_type)));
    let http = HttpExchange::new(request, None);
    Exchange {
        downstream: None,
        connection: Connection { id: 1, local: None, peer: "127.0.0.1:80".parse().expect("an address"), tls: false },
        at: 0,
        took: None,
        content: Content::Http1(http),
        ended: Ended::Ok,
        cause: None,
        defects: Vec::new(),
    }
}

fn spent<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("there is a clock"));
    let before = now();
    let done = work();
    (now() - before, done)
}
