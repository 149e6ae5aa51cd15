//! A request compared with recorded ones.

use std::sync::Arc;

use regress_cassettes::diff::{self, Difference, Lens};
use regress_protocols::Request;

use crate::{
    bound::{Attempt, Bindings, Drawing, Moment},
    journal::Rung,
    library::{Library, Shelf},
};

use super::Asked;

/// What a request is compared with, and how.
#[derive(Clone, Copy)]
pub(crate) struct Against<'a> {
    pub library: &'a Library,
    /// The cassette that has the recorded requests.
    pub shelf: &'a Shelf,
    /// What was bound before, while this cassette and the ambient one were played.
    pub before: [&'a Bindings; 2],
    /// The rung whose noise is noise.
    pub rung: Rung,
}

impl Against<'_> {
    /// Where a request differs from the recorded one of that number, which is noise or counts; and what would be bound if
    /// the one were taken for the other. `None` where that has no request.
    pub(crate) fn differences(&self, number: usize, asked: &Asked<'_>) -> Option<(Vec<Difference>, Bindings)> {
        let exchange = &self.shelf.cassette.downstream[number];
        let recorded = exchange.asked()?;
        // A database that nobody saw is none that differs.
        let unplaced = asked.unplaced().filter(|(protocol, _)| match recorded {
            Request::Wire(_, value) => self.rung >= Rung::Noise && protocol.unplaced(value).is_none(),
            Request::Http(_) => false,
        });
        let request = unplaced.as_ref().map_or(asked.request, |(protocol, value)| Request::Wire(*protocol, value));
        let mut lens = Lens::of(match self.rung >= Rung::Noise {
            true => self.shelf.rules_for(&asked.name, asked.request),
            false => self.library.rules().schemas().of_request(asked.request),
        });
        // Values that are drawn anew are compared as they are where none are bound.
        if self.rung < Rung::Bound {
            return Some((diff::requests(recorded, request, &lens), Bindings::default()));
        }
        let began = self.shelf.began();
        let attempt = Attempt {
            drawing: Drawing::new(self.before),
            given: [Some(self.shelf), self.library.ambient().map(Arc::as_ref)].map(|shelf| shelf.map(Shelf::given)),
            owners: self.library.owners(),
            cassette: &self.shelf.cassette.id,
            at: exchange.at,
            moment: Moment { recorded: began.unwrap_or_default().saturating_add(exchange.at), now: asked.now },
        };
        let same = |recorded: &str, actual: &str| attempt.same(recorded, actual);
        // Without a moment to compare it with nothing is known to have been made anew, unless a rule says so.
        lens.same = began.is_some().then_some(&same);
        lens.drawn = Some(&attempt);
        let differences = diff::requests(recorded, request, &lens);
        Some((differences, attempt.drawing.into_fresh()))
    }
}
