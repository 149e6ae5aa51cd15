//! Connections that an entry leaves open unused. One is nothing: pools open some in advance, or one too many when two calls
//! want one at once. But a pool that has connections to spare opens no more. So such an entry is driven again and again in
//! a sandbox of its own, and what opens one more each time is a leak.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use regress_cassettes::route_slug;
use regress_mockserver::mock::Call;
use tokio::sync::OnceCell;

use super::{Driven, Worker, drivable};
use crate::{
    Error,
    drive::drive,
    judge::{self, End, Seen},
    plan::Planned,
    target::Target,
};

/// By how many connections a leak grows while it is looked for: more than pools have that grow one by one.
const LEAK: usize = 16;

/// Pairs of a route and a downstream that are looked into. Beyond them nothing is said of a leak.
const MOST: usize = 32;

/// For which routes and downstreams it is known whether an entry leaks, in all sandboxes of a run.
#[derive(Default)]
pub(super) struct Leaks(Mutex<HashMap<Pair, Answer>>);

/// A route, and the address of a downstream.
type Pair = (String, SocketAddr);

/// Whether it leaks, once that was looked into.
type Answer = Arc<OnceCell<bool>>;

impl Leaks {
    /// Where the answer is kept, as long as there is room for it.
    fn answer(&self, pair: Pair) -> Option<Answer> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&pair) {
            return None;
        }
        Some(Arc::clone(known.entry(pair).or_default()))
    }
}

impl Worker {
    /// The connections that the entry driven last left open unused, to where it does so each time; `elsewhere` are those
    /// that only cassettes know which this replay is not about.
    pub(super) async fn leaked(&self, driven: &Driven, elsewhere: Vec<Call>) -> Result<Vec<Call>, Error> {
        let mut unused = self.target.as_ref().map(Target::left_open).unwrap_or_default();
        let elsewhere = elsewhere.into_iter().filter(|call| !self.run.may_be_left_unused(call));
        unused.extend(elsewhere.map(Call::left_open));
        if unused.is_empty() || driven.exited.is_some() || !judge::doubts(&driven.planned.cassette).is_empty() {
            return Ok(Vec::new());
        }
        let destinations: BTreeSet<SocketAddr> = unused.iter().map(|call| call.destination).collect();
        let route = driven.planned.cassette.entry.as_ref().map(route_slug).unwrap_or_default();
        for destination in destinations {
            let leaks = match self.run.leaks.answer((route.clone(), destination)) {
                Some(answer) => *answer.get_or_try_init(|| self.leaks(&driven.planned, destination)).await?,
                None => false,
            };
            unused.retain(|call| leaks || call.destination != destination);
        }
        Ok(unused)
    }

    /// Whether each time that an entry is driven leaves one more connection to `destination` open unused.
    async fn leaks(&self, planned: &Planned, destination: SocketAddr) -> Result<bool, Error> {
        let mut target = Target::start(&self.run.launch, self.mode).await?;
        let leaks = self.grows(&mut target, planned, destination).await;
        target.stop().await;
        Ok(leaks)
    }

    async fn grows(&self, target: &mut Target, planned: &Planned, destination: SocketAddr) -> bool {
        let settings = &self.run.settings;
        let Some(entry) = drivable(planned, settings.entry_port) else { return false };
        let is_there = |call: &Call| call.destination == destination;
        // Where the cassettes of this replay know nobody, each is told once.
        let mut told = 0;
        let mut before = None;
        // One may be opened a moment after the answer, and is seen with the next one then.
        for more in 0..=LEAK + 1 {
            let Ok(mut stream) = target.connect(entry.at, settings.ready_timeout).await else { return false };
            target.enter(&planned.cassette);
            let (seen, _) = drive(&mut stream, &entry, settings.entry_timeout).await;
            if matches!(seen, Seen::Nothing { end: End::Hung(_) | End::Refused, .. }) {
                return false;
            }
            target.settle(&planned.cassette.id, settings.settle).await;
            target.take_journal();
            told += target.tell_silent().iter().filter(|call| is_there(call)).count();
            let unused = told + target.left_open().iter().filter(|call| is_there(call)).count();
            let before = *before.get_or_insert(unused);
            if target.exit().is_some() || unused + 1 < before + more {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pairs_are_looked_into_and_each_once() {
        let leaks = Leaks::default();
        let pair = |number: usize| (format!("get-{number}"), SocketAddr::from(([127, 0, 0, 1], 80)));
        for number in 0..MOST {
            assert!(leaks.answer(pair(number)).is_some_and(|answer| answer.set(number % 2 == 0).is_ok()), "{number}");
        }
        assert!(leaks.answer(pair(MOST)).is_none());
        assert_eq!(leaks.answer(pair(1)).and_then(|answer| answer.get().copied()), Some(false));
    }
}
