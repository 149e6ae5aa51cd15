//! What resolvers told the service.

use std::net::SocketAddr;

use regress_cassettes::Exchange;
use regress_protocols::{dns, wire::Protocol};

use super::Pipeline;
use crate::{assemble, correlate::Moment};

impl Pipeline {
    /// The name by which whoever connects knows the peer.
    pub(super) fn name_of(&mut self, now: Moment, peer: SocketAddr) -> Option<String> {
        self.names.of(now.unit.map(|unit| unit.process), peer.ip())
    }

    /// A process received an answer as a datagram. It is recorded where it says something new.
    pub(super) fn named(&mut self, now: Moment, reply: &[u8]) {
        let Some((question, response)) = dns::read_reply(reply) else { return };
        self.names.told(now.unit.map(|unit| unit.process), &question, &response);
        if self.names.is_news(&question, &response) {
            let number = self.number();
            let timed = assemble::told_by_datagram(number, now.at, question, response);
            self.outputs.push_back(self.as_ambient(timed));
        }
    }

    /// A process received an answer over TCP.
    pub(super) fn has_named(&mut self, process: Option<u32>, exchange: &Exchange) {
        if let Some(wire) = exchange.wire().filter(|wire| wire.protocol == Protocol::Dns)
            && let Some(response) = &wire.response
        {
            self.names.told(process, &wire.request, response);
        }
    }
}
