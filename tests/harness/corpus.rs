//! What a recording wrote, read back.

use std::path::Path;

use regress_cassettes::{
    Address, Cassette, CassetteId, Content, Defect, Exchange, HttpExchange, Store, Via, seal::Keys,
};
use regress_protocols::http1::{Line, Message};

use super::{client::Reply, downstream::Served};

/// All cassettes of a folder.
#[derive(Debug)]
pub struct Corpus {
    /// Those with an entry, in the order of their ids.
    pub cassettes: Vec<Cassette>,
    /// The exchanges no entry caused, without connections on which nothing was said.
    pub ambient: Vec<Exchange>,
    /// Connections of no entry on which nothing was said: pools of busy services leave some unused now and then.
    pub silent: Vec<Exchange>,
}

impl Corpus {
    /// Read every cassette of the folder.
    pub fn read(folder: &Path) -> Corpus {
        Corpus::read_with(folder, Keys::default())
    }

    /// The same, where these open what is sealed.
    pub fn read_with(folder: &Path, keys: Keys) -> Corpus {
        let store = Store::open(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let store = store.with_keys(keys);
        let listed = store.list().expect("the store lists what it wrote");
        let cassettes = listed.iter().map(|located| store.read(located).expect("the store reads what it wrote"));
        let cassettes = cassettes.collect();
        let ambient = store.ambient().expect("the store reads what it wrote");
        let ambient = ambient.map(|cassette| cassette.downstream).unwrap_or_default();
        let (silent, ambient) = ambient.into_iter().partition(Exchange::is_silent);
        Corpus { cassettes, ambient, silent }
    }

    /// The entries as a client has them, sorted.
    pub fn replies(&self) -> Vec<Reply> {
        let entries = self.cassettes.iter().filter_map(|cassette| cassette.entry.as_ref());
        let mut replies: Vec<Reply> = entries
            .map(|entry| {
                let (request, response) = whole(entry);
                Reply {
                    method: request.method().to_owned(),
                    target: request.target().into_owned(),
                    request: request.body.clone(),
                    status: response.status(),
                    response: response.body.clone(),
                }
            })
            .collect();
        replies.sort();
        replies
    }

    /// The downstream exchanges of all entries and of none, as a downstream has them, sorted.
    pub fn served(&self) -> Vec<Served> {
        let owned = self.cassettes.iter().flat_map(|cassette| &cassette.downstream);
        let mut served: Vec<Served> = owned
            .chain(&self.ambient)
            .map(|exchange| {
                let (request, response) = whole(exchange);
                Served {
                    method: request.method().to_owned(),
                    target: request.target().into_owned(),
                    request: request.body.clone(),
                    status: response.status(),
                    response: response.body.clone(),
                }
            })
            .collect();
        served.sort();
        served
    }

    /// Everything that is said to be missing, other than an owner.
    pub fn losses(&self) -> Vec<&Defect> {
        let exchanges = self.cassettes.iter().flat_map(|cassette| cassette.entry.iter().chain(&cassette.downstream));
        let of_exchanges = exchanges.chain(&self.ambient).flat_map(|exchange| &exchange.defects);
        let of_cassettes = self.cassettes.iter().flat_map(|cassette| &cassette.defects);
        of_exchanges.chain(of_cassettes).filter(|defect| **defect != Defect::AmbiguousOwner).collect()
    }
}

/// The HTTP exchange in it.
#[track_caller]
pub fn http(exchange: &Exchange) -> &HttpExchange {
    match &exchange.content {
        Content::Http1(http) => http,
        other => panic!("not HTTP: {other:?}"),
    }
}

#[track_caller]
fn whole(exchange: &Exchange) -> (&Message, &Message) {
    let http = http(exchange);
    let response = http.response.as_ref();
    (&http.request, response.unwrap_or_else(|| panic!("no response: {exchange:?}")))
}

/// The cassette without what differs between two recordings of the same traffic by two sources: times, ids, the
/// source, owners' rules, ports that the kernel chose.
pub fn neutral(mut cassette: Cassette) -> Cassette {
    cassette.id = CassetteId(String::new());
    cassette.recorded.at.clear();
    cassette.recorded.via = Via::Socket;
    for exchange in cassette.entry.iter_mut().chain(&mut cassette.downstream) {
        exchange.connection.id = 0;
        exchange.connection.local = None;
        if exchange.downstream.is_none()
            && let Address::Inet(peer) = &mut exchange.connection.peer
        {
            peer.set_port(0);
        }
        exchange.at = 0;
        exchange.took = None;
        exchange.cause = None;
        if let Content::Http1(http) = &mut exchange.content {
            http.streamed.clear();
            for message in [Some(&mut http.request), http.response.as_mut()].into_iter().flatten() {
                message.headers.iter_mut().for_each(without_date);
            }
        }
    }
    cassette
}

fn without_date(line: &mut Line) {
    if line.0.to_ascii_lowercase().starts_with(b"date:") {
        line.0 = "date: some day".into();
    }
}
