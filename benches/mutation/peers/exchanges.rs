//! The recording as other tools take it.

use std::net::SocketAddr;

use regress_cassettes::{Cassette, Exchange};
use regress_protocols::http1::Message;
use serde_json::{Map, Value, json};

use crate::{harness::Corpus, services::RecordedShop};

/// The recording of the shop.
pub struct Recording {
    /// What is asked of the shop and answered.
    pub entries: Vec<(Message, Message)>,
    /// What it asks of its downstreams, those at its start first.
    pub calls: Vec<Call>,
    /// Where stock is.
    pub inventory: SocketAddr,
    /// Where prices are.
    pub pricing: SocketAddr,
}

/// A recorded call.
pub struct Call {
    pub to: SocketAddr,
    pub request: Message,
    pub response: Message,
}

impl Recording {
    /// Everything that was recorded.
    pub fn of(recorded: &RecordedShop) -> Recording {
        let corpus = Corpus::read(&recorded.cassettes());
        let pair = |exchange: &Exchange| {
            let http = exchange.http()?;
            Some((http.request.clone(), http.response.clone()?))
        };
        let entry = |cassette: &Cassette| cassette.entry.as_ref().and_then(pair);
        let owned = corpus.cassettes.iter().flat_map(|cassette| &cassette.downstream);
        let call = |exchange: &Exchange| {
            let (request, response) = pair(exchange)?;
            Some(Call { to: exchange.connection.peer.inet()?, request, response })
        };
        Recording {
            entries: corpus.cassettes.iter().filter_map(entry).collect(),
            calls: corpus.ambient.iter().chain(owned).filter_map(call).collect(),
            inventory: recorded.shop.inventory.address,
            pricing: recorded.shop.pricing.address,
        }
    }
}

impl Call {
    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.to, self.request.target())
    }
}

/// The body as text: the shop says nothing else.
pub fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// Headers that the service chose, names to what `value` makes of their values: not those that its HTTP library adds.
pub fn headers(message: &Message, value: impl Fn(&str) -> Value) -> Map<String, Value> {
    const LIBRARY: &[&str] =
        &["host", "accept-encoding", "content-length", "transfer-encoding", "connection", "user-agent", "date"];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = message.fields().map(|(name, value)| (text(name), text(value)));
    let chosen = fields.filter(|(name, _)| !LIBRARY.contains(&&*name.to_lowercase()));
    chosen.map(|(name, said)| (name, value(&said))).collect()
}

/// The calls as JSON: `{method, url, headers, body, status, response_headers, response_body}`.
pub fn document(recording: &Recording) -> Value {
    let calls = recording.calls.iter().map(|call| {
        json!({
            "method": call.request.method(), "url": call.url(), "headers": headers(&call.request, |value| json!(value)),
            "body": text(&call.request), "status": call.response.status(),
            "response_headers": headers(&call.response, |value| json!(value)), "response_body": text(&call.response),
        })
    });
    calls.collect()
}
