//! Cassettes of the trivial service: `GET /items/N` with a number of calls, each with an answer of 1 KiB.

use std::{fs, net::SocketAddr, path::Path};

use regress_cassettes::{
    Cassette, CassetteId, Cause, Confidence, Connection, Content, Ended, Exchange, HttpExchange, Recorded, Rule, Via,
    render,
};
use regress_protocols::http1::Message;

/// Where the service takes entries.
pub const ENTRY_PORT: u16 = 8080;

/// What it calls.
pub const DOWNSTREAM: &str = "10.0.0.5:80";
const NAME: &str = "prices";

/// Write so many cassettes into a folder, spread over a hundred routes; gives their bytes. (A store would read each of
/// them back.)
pub fn write(folder: &Path, cassettes: usize, calls: usize) -> Result<u64, String> {
    let mut bytes = 0;
    for item in 0..cassettes {
        let route = folder.join(format!("get-items-{:02}", item % 100));
        if item < 100 {
            fs::create_dir_all(&route).map_err(|error| error.to_string())?;
        }
        let cassette = cassette(item, calls);
        let text = render(&cassette);
        bytes += text.len() as u64;
        fs::write(route.join(format!("{}.cassette.json", cassette.id)), text).map_err(|error| error.to_string())?;
    }
    Ok(bytes)
}

/// The request of an entry.
pub fn entry(item: usize) -> Message {
    Message::request("GET", &format!("/items/{item}?currency=EUR"), &[("Host", "shop"), ("Accept", "*/*")], "")
}

/// The request of a call that the entry makes.
pub fn call(item: &str, call: usize) -> Message {
    let target = format!("/prices/{item}/{call}");
    Message::request("GET", &target, &[("Host", NAME), ("Accept", "application/json"), ("Connection", "close")], "")
}

/// An answer, the same from the service and from its downstream.
pub fn answer(item: &str) -> Message {
    let body = format!(r#"{{"item":"{item}","price":"19.90","in_stock":true,"text":"{}"}}"#, "x".repeat(960));
    Message::response(200, "OK", &[("Content-Type", "application/json"), ("X-Served-By", "prices-7")], body)
}

fn cassette(item: usize, calls: usize) -> Cassette {
    let number = item.to_string();
    let mut downstream = Vec::new();
    for number_of_call in 0..calls {
        let connection = number_of_call as u64 + 2;
        downstream.push(Exchange {
            downstream: Some(NAME.to_owned()),
            cause: Some(Cause { rule: Rule::LastRead, confidence: Confidence::Certain, after_response: false }),
            ..exchange(connection, DOWNSTREAM, call(&number, number_of_call), answer(&number))
        });
    }
    let mut entry = exchange(1, "192.0.2.7:40000", entry(item), answer(&number));
    entry.connection.local = Some(SocketAddr::from(([10, 0, 0, 9], ENTRY_PORT)).into());
    Cassette {
        id: CassetteId(format!("20261122T101502.{:06}Z-{item:06}", item % 1_000_000)),
        recorded: Recorded {
            at: "2026-11-22T10:15:02.123456Z".to_owned(),
            service: "bench".to_owned(),
            by: "regress".to_owned(),
            via: Via::Socket,
            kernel: "6.12.0".to_owned(),
        },
        nondeterministic: Vec::new(),
        redacted: Default::default(),
        entry: Some(entry),
        downstream,
        defects: Vec::new(),
    }
}

fn exchange(id: u64, peer: &str, request: Message, response: Message) -> Exchange {
    let http = HttpExchange::new(request, Some(response));
    Exchange {
        downstream: None,
        connection: Connection { id, local: None, peer: peer.parse().expect("an address"), tls: false },
        at: id as i64 * 100,
        took: Some(250),
        content: Content::Http1(http),
        ended: Ended::Ok,
        cause: None,
        defects: Vec::new(),
    }
}
