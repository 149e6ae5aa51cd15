use bytes::Bytes;
use regress_protocols::http1::Message;

use super::{Stock, python};
use crate::{
    harness::{Client, Need, http, require},
    services::source,
    stores::{
        Expected::{Different, Same},
        Service,
    },
};

/// Asks for one price, all of them, and one of which there is none.
fn drive(client: &Client) {
    let asked = |id: u8| Bytes::from(vec![0, 0, 0, 0, 2, 8, id]);
    let price = client.post_as("application/grpc-web+proto", "/shop.Shop/Price", asked(7));
    assert_eq!(&price.response[..11], b"\0\0\0\0\x05\x08\x07\x10\xd2\x01\x80");
    client.post_as("application/grpc-web+proto", "/shop.Shop/Prices", asked(0));
    client.post_as("application/grpc-web-text", "/shop.Shop/Price", Bytes::from_static(b"AAAAAAIICA=="));
    let none = client.post_as("application/grpc-web+proto", "/shop.Shop/Price", asked(99));
    assert!(none.response.starts_with(b"\x80\0\0\0"), "{none:?}");
}

/// Bytes and base64 are compared field by field, by number and by name.
#[test]
fn browsers_call() {
    if !require("stores::grpc::web::browsers_call", &[Need::Grpc, Need::Ebpf, Need::Sandbox]) {
        return;
    }
    let stock = Stock::start(&[]);
    let service = Service::new(vec![python(), source("grpc_web.py")], "SHOP_CHANGE", "shop listens")
        .with("STOCK", format!("127.0.0.1:{}", stock.port));
    let corpus = service.record("ebpf", drive);
    stock.process.stop();
    let entries: Vec<&Message> = corpus
        .cassettes
        .iter()
        .filter_map(|cassette| cassette.entry.as_ref())
        .map(|entry| &http(entry).request)
        .collect();
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|request| !request.is_http2() && request.target().starts_with("/shop.Shop/")));
    service.expect(&[("none", Same), ("other-price", Different("changed response/body/0/2"))]);
    let (_, report) = service.replay("other-price");
    let mut outcomes: Vec<_> = report.outcomes.iter().collect();
    outcomes.sort_by_key(|outcome| &outcome.cassette);
    let changed =
        |entry: usize| -> Vec<&str> { outcomes[entry].differences.iter().map(|found| found.path.as_str()).collect() };
    assert_eq!(changed(0), ["response/body/0/2"]);
    assert_eq!(changed(2), ["response/body/0/2"], "in base64");
    assert_eq!([changed(1), changed(3)], [[""; 0], [""; 0]]);
    let service = service.with("REGRESS_PROTO", source("shop.binpb"));
    service.expect(&[("none", Same), ("other-price", Different("changed response/body/0/cents"))]);
}
