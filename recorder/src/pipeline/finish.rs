//! Entries that are over: what becomes of them.

use regress_cassettes::{Cassette, Defect};

use super::{Output, Pipeline};
use crate::{
    Lack,
    assemble::{self, Timed},
    correlate::{CallKey, EntryKey, Verdict},
};

impl Pipeline {
    /// The exchange of an entry is over. What is left out whatever it caused is not kept any longer.
    pub(super) fn answered(&mut self, entry: EntryKey, timed: Timed, weight: u64) {
        let Some(draft) = self.entries.get_mut(&entry) else { return };
        if draft.kept {
            self.selector.ended();
            if self.selector.answered(entry.0, &timed.exchange, &mut draft.standing).is_some() {
                draft.left_out = true;
                self.kept_begun -= 1;
                return;
            }
        }
        self.waiting += weight;
        draft.exchange = Some(timed);
    }

    pub(super) fn finished(&mut self, entry: EntryKey, ambiguous: bool) {
        let Some(mut draft) = self.entries.remove(&entry) else { return };
        // Of those that began at once (a pipeline) the first began first, whatever was decided first.
        draft.owned.sort_unstable();
        self.waiting -= draft.exchange.as_ref().map_or(0, |timed| assemble::weight(&timed.exchange));
        let mut downstream: Vec<Timed> = draft.owned.iter().filter_map(|call| self.owned(*call)).collect();
        if draft.left_out {
            return;
        }
        // The entry itself is not kept (another port, beyond the wanted number, or not HTTP).
        let Some(exchange) = draft.exchange.filter(|_| draft.kept) else {
            for mut timed in downstream {
                timed.exchange.cause = None;
                self.outputs.push_back(self.as_ambient(timed));
            }
            return;
        };
        downstream.sort_by_key(|timed| timed.began);
        let lost = draft.lost.map(|lost| *lost).unwrap_or_default();
        let mut defects = Vec::new();
        if !lost.lacks.is_empty() {
            defects.push(Defect::LostEvents { events: lost.events, bytes: lost.bytes });
        }
        if ambiguous {
            defects.push(Defect::AmbiguousOwner);
        }
        let mut cassette = Cassette {
            id: self.scope.wall.id(draft.began, entry.0),
            recorded: self.scope.recorded(draft.began),
            nondeterministic: Vec::new(),
            redacted: Default::default(),
            entry: Some(exchange.since(draft.began)),
            downstream: downstream.into_iter().map(|timed| timed.since(draft.began)).collect(),
            defects,
        };
        if draft.doubted {
            assemble::doubt(&mut cassette);
        }
        // Those that are uncertain are left out later, where only the others are wanted, and are no examples of anything.
        let goes_anyway = self.scope.only_certain && assemble::is_uncertain(&cassette);
        if !goes_anyway && self.selector.decide(entry.0, draft.began, &cassette, draft.standing.forced).is_some() {
            self.kept_begun -= 1;
            return;
        }
        self.ledger.touch_cassette(&cassette, lost.lacks);
        self.cut(&mut cassette);
        self.kept_finished += 1;
        self.outputs.push_back(Output::Cassette(Box::new(cassette)));
    }

    /// Take out bodies that are larger than wanted.
    fn cut(&mut self, cassette: &mut Cassette) {
        let (bodies, bytes) = self.selector.cut(cassette);
        if bodies > 0 {
            self.ledger.add(Lack::BodyCap, bodies, bytes);
            self.ledger.touch_cassette_by(Lack::BodyCap);
        }
    }

    /// A call for the cassette of its owner.
    fn owned(&mut self, call: CallKey) -> Option<Timed> {
        let draft = self.calls.remove(&call)?;
        let mut timed = match draft.exchange {
            Some(timed) => {
                self.waiting -= assemble::weight(&timed.exchange);
                timed
            }
            None => assemble::still_going(self.connections.get(&draft.socket)?, draft.began),
        };
        self.log_call(call, &timed);
        if let Some(Verdict::Owner { cause, .. }) = draft.verdict {
            timed.exchange.cause = Some(cause);
        }
        Some(timed)
    }
}
