//! Conversations in no recognised protocol: which connection is having which.

use std::{cmp::Reverse, sync::Arc};

use regress_cassettes::{Cassette, CassetteId};

use super::{Place, Reuse, Shared, State, prefix};
use crate::{
    journal::{Attempted, HitScope, Match, MissReason, NearMiss, Rung},
    library::{Shelf, canonical},
    turns::{Candidate, Following, Next},
};

/// A conversation that one connection alone is having.
pub(super) type Held = (CassetteId, usize);

/// A connection that follows recorded conversations, until this is dropped.
pub(crate) struct Follower<'s> {
    shared: &'s Shared,
    place: Place,
    following: Following,
    /// What no other connection may have meanwhile.
    held: Option<Held>,
    /// The client's first bytes.
    first: Vec<u8>,
    /// What it has had.
    played: Option<Candidate>,
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            self.shared.state().held.remove(held);
        }
    }
}

impl Follower<'_> {
    /// The client said this.
    pub(crate) fn hear(&mut self, said: &[u8]) {
        let room = super::PREFIX - self.first.len();
        self.first.extend_from_slice(&said[..said.len().min(room)]);
        self.following.hear(said);
    }

    /// The client says no more.
    pub(crate) fn finish(&mut self) {
        self.following.finish();
    }

    /// Whether the client has begun a turn and not ended it.
    pub(crate) fn is_amid(&self) -> bool {
        self.following.is_amid()
    }

    /// What is said now, and what follows that: [`Next::Hear`], [`Next::End`] or [`Next::Stray`]. An end and a miss are in the journal before
    /// the client can know of them.
    pub(crate) fn go_on(&mut self) -> (Vec<u8>, Next) {
        let mut state = self.shared.state();
        let mut said = Vec::new();
        let next = loop {
            match self.following.next(|candidate| state.is_free(candidate, self.held.as_ref())) {
                Next::Say(more) => said.extend_from_slice(&more),
                next => break next,
            }
        };
        let settled = self.following.settled(|candidate| state.is_free(candidate, self.held.as_ref())).cloned();
        match (&next, settled) {
            (Next::End(_), Some(played)) => {
                state.usage(played.whose).play_turns(played.number);
                let matched = Match::Hit {
                    cassette: played.cassette.id.clone(),
                    exchange: played.number,
                    scope: played.whose,
                    rung: Rung::Turns,
                    runner_up: None,
                    again: played.again,
                    bound: Vec::new(),
                };
                let downstream = played.cassette.downstream[played.number].downstream.clone();
                state.note_as(self.place, Attempted::Opaque(prefix(&self.first)), matched, downstream);
                self.played = Some(played);
            }
            (Next::Hear, Some(settled)) if !settled.again => {
                let key = (settled.cassette.id.clone(), settled.number);
                state.held.insert(key.clone());
                self.held = Some(key);
            }
            (Next::Stray, _) => {
                let nearest = self.following.nearest().cloned();
                let reason = match &nearest {
                    _ if self.following.is_exhausted() => MissReason::AllUsed,
                    Some(_) => MissReason::DifferentRequest,
                    None => self.shared.reason(&state, self.place),
                };
                self.miss(&mut state, &self.first, reason, nearest);
            }
            _ => {}
        }
        drop(state);
        self.shared.changed.notify_waiters();
        (said, next)
    }

    /// The client said more than was recorded.
    pub(crate) fn beyond(&self, said: &[u8]) {
        let nearest = self.played.as_ref().map(|played| played.beyond(said));
        self.miss(&mut self.shared.state(), said, MissReason::DifferentRequest, nearest);
    }

    fn miss(&self, state: &mut State, said: &[u8], reason: MissReason, nearest: Option<NearMiss>) {
        let cassette = nearest.as_ref().and_then(|near| self.shared.cassette(state, &near.cassette));
        let exchange = nearest.as_ref().and_then(|near| cassette.as_ref()?.downstream.get(near.exchange));
        let downstream = exchange.and_then(|exchange| exchange.downstream.clone());
        let matched = Match::Miss { reason, nearest: nearest.into_iter().collect() };
        state.note_as(self.place, Attempted::Opaque(prefix(said)), matched, downstream);
    }
}

impl Shared {
    /// A connection that has said nothing yet, and may be having any conversation that was recorded with its destination.
    pub(crate) fn follower(&self, place: Place) -> Follower<'_> {
        let following = Following::new(self.candidates(&self.state(), place));
        Follower { shared: self, place, following, held: None, first: Vec::new(), played: None }
    }

    /// What a connection that said this would be told in a recorded conversation; `None` where none was recorded there.
    pub(crate) fn in_turns(&self, place: Place, said: &[u8]) -> Option<Next> {
        let state = self.state();
        let candidates = self.candidates(&state, place);
        if candidates.is_empty() {
            return None;
        }
        let mut following = Following::new(candidates);
        following.hear(said);
        Some(following.next(|candidate| state.is_free(candidate, None)))
    }

    /// Whether the server speaks first there, in a conversation; also where all of them are over, so that no client is left waiting for it.
    pub(crate) fn greets(&self, place: Place) -> bool {
        let state = self.state();
        let candidates = self.candidates(&state, place);
        let shelves = self.shelves(&state);
        let speaks_first = |candidate: &Candidate| {
            let peer = candidate.cassette.downstream[candidate.number].connection.peer.inet().map(canonical);
            peer.is_some_and(|peer| {
                shelves.iter().any(|(_, shelf)| shelf.index().server_first.contains(&(peer, place.tls)))
            })
        };
        let greets = candidates.iter().any(speaks_first);
        let next = Following::new(candidates).next(|candidate| state.is_free(candidate, None));
        greets && matches!(next, Next::Say(_) | Next::Stray)
    }

    pub(super) fn candidates(&self, state: &State, place: Place) -> Vec<Candidate> {
        let destination = canonical(place.destination);
        let names = self.names_at(state, place);
        let mut candidates = Vec::new();
        for (whose, shelf) in self.shelves(state) {
            let (usage, reuse) = match whose {
                HitScope::Entry => (&state.entry, self.policy.reuse),
                HitScope::Ambient => (&state.ambient, Reuse::Last),
            };
            let numbers = shelf.index().conversations.get(&destination.port()).map_or(&[][..], Vec::as_slice);
            let is_there = |number: &usize| {
                let exchange = &shelf.cassette.downstream[*number];
                exchange.connection.tls == place.tls
                    && exchange.downstream.as_ref().is_some_and(|name| names.contains(name))
            };
            let mut there: Vec<usize> = numbers.iter().copied().filter(is_there).collect();
            match reuse {
                Reuse::Strict => {}
                Reuse::Last => there.sort_by_key(|number| usage.is_played(*number).then_some(Reverse(*number))),
                Reuse::Cycle => there.sort_by_key(|number| (usage.times(*number), *number)),
            }
            let candidate = |number: usize| {
                let again = reuse != Reuse::Strict && usage.is_played(number);
                Candidate::new(Arc::clone(&shelf.cassette), number, whose, again)
            };
            candidates.extend(there.into_iter().map(candidate));
        }
        candidates
    }

    fn cassette(&self, state: &State, id: &CassetteId) -> Option<Arc<Cassette>> {
        self.shelves(state)
            .into_iter()
            .map(|(_, shelf)| Arc::clone(&shelf.cassette))
            .find(|cassette| cassette.id == *id)
    }
}

impl State {
    /// Whether a connection may be having that conversation, which holds one or none.
    fn is_free(&self, candidate: &Candidate, held: Option<&Held>) -> bool {
        let (usage, is_current) = match candidate.whose {
            HitScope::Ambient => (&self.ambient, true),
            HitScope::Entry => {
                let is_it = |shelf: &Arc<Shelf>| Arc::ptr_eq(&shelf.cassette, &candidate.cassette);
                (&self.entry, self.shelf.as_ref().is_some_and(is_it))
            }
        };
        let key = (candidate.cassette.id.clone(), candidate.number);
        let is_free = candidate.again
            || (!usage.is_played(candidate.number) && (held == Some(&key) || !self.held.contains(&key)));
        is_current && is_free
    }
}
