//! What exchanges say of owners: ids that are passed on, and values.

use regress_cassettes::Exchange;
use regress_ebpf::SocketId;
use regress_protocols::{Mark, Request, http1::Message};

use super::{CallDraft, Pipeline};
use crate::{
    connections::Part,
    correlate::{Fact, Moment},
};

impl Pipeline {
    /// A request is complete: what it says of owners.
    pub(super) fn says(&mut self, socket: SocketId, number: u64, mark: Mark) {
        let Some((part, moment)) = self.part(socket, number, mark).filter(|_| self.scope.clues.is_wanted()) else {
            return;
        };
        let request = self.connections.get(&socket).and_then(|connection| connection.request(number));
        let request = request.and_then(Request::http);
        if let Some(fact) = request.and_then(|request| self.request_says(part, request)) {
            self.correlator.fact(moment, fact);
        }
    }

    fn request_says(&self, part: Part, request: &Message) -> Option<Fact> {
        if !request.has_whole_head() {
            return None;
        }
        let ids = self.scope.clues.ids(request);
        let is_hop = |draft: &CallDraft| draft.is_hop;
        let values = match part {
            Part::Call(call) if self.calls.get(&call).is_some_and(is_hop) => Vec::new(),
            _ => self.scope.clues.values(request),
        };
        match part {
            Part::Entry(entry) => Some(Fact::EntrySays { entry, ids, values }),
            Part::Call(call) => Some(Fact::CallSays { call, ids, values }),
            Part::Joined => None,
        }
    }

    /// An exchange is over: what it says, as far as that is not known yet.
    pub(super) fn has_said(&mut self, now: Moment, part: Part, exchange: &Exchange) {
        let Some(http) = exchange.http().filter(|_| self.scope.clues.is_wanted()) else { return };
        if let Some(fact) = self.request_says(part, &http.request) {
            self.correlator.fact(now, fact);
        }
        if let (Part::Call(call), Some(response)) = (part, &http.response) {
            let values = self.scope.clues.values_of_response(response);
            if !values.is_empty() {
                self.correlator.fact(now, Fact::CallHears { call, values });
            }
        }
    }
}
