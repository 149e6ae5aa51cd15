//! Processes that are known to take one entry at a time, and such that are taken for them and do not.

use proptest::{prelude::*, test_runner::RngSeed};
use regress_ebpf::{SocketId, Unit};

use super::{CallKey, Chance, EntryKey, Fact, Moment, SHAPES, Score, Shape, World};

/// How a worker breaks what is known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Vice {
    None,
    /// It reads another entry before it has answered the first, and goes on with either.
    Interleaves,
    /// A second thread of the process reads and answers entries.
    SecondThread,
    /// Another thread answers what the first has read.
    PassesOn,
}

/// One process with one thread.
struct Worker {
    process: u32,
    vice: Vice,
    /// Entries that it has to answer, and the one whose response is written while it goes on with it.
    holds: Vec<EntryKey>,
    late: Option<EntryKey>,
    /// How many calls are still to begin for these.
    left: u32,
    /// Its calls under way, and whether their responses have begun.
    calls: Vec<(CallKey, bool)>,
}

struct Workers {
    world: World,
    next_entry: u64,
}

impl Workers {
    fn tell(&mut self, unit: Unit, fact: Fact) {
        match fact {
            Fact::EntryBegan { entry, .. } => drop(self.world.open.insert(entry)),
            Fact::EntryEnded { entry } => drop(self.world.open.remove(&entry)),
            _ => {}
        }
        self.world.mark += 1;
        let (mark, at) = (self.world.mark, self.world.mark * 100_000);
        self.world.correlator.fact(Moment { mark, at, unit: Some(unit) }, fact);
        self.world.correlator.advance(at);
        while let Some(ruling) = self.world.correlator.next() {
            self.world.rulings.push(ruling);
        }
    }

    fn chance(&mut self) -> &mut Chance {
        &mut self.world.chance
    }

    /// The thread that is at work for an entry.
    fn unit(worker: &Worker, entry: EntryKey) -> Unit {
        let is_second = worker.vice == Vice::SecondThread && entry.0 % 2 == 1;
        Unit::thread(worker.process, worker.process + u32::from(is_second))
    }

    fn read(&mut self, worker: &mut Worker) {
        // What is under way is left alone, and is over when it is found to be.
        worker.late = None;
        self.next_entry += 1;
        let entry = EntryKey(self.next_entry);
        let unit = Self::unit(worker, entry);
        self.tell(unit, Fact::EntryBegan { entry, connection: SocketId(entry.0) });
        if self.chance().percent(20) {
            // The script runs before the body is read.
            self.call(worker, entry);
        }
        self.tell(unit, Fact::EntryRead { entry });
        worker.holds.push(entry);
        worker.left = self.chance().below(5) as u32;
    }

    fn call(&mut self, worker: &mut Worker, entry: EntryKey) {
        let call = CallKey(self.world.next_call);
        self.world.next_call += 1;
        self.world.truth.insert(call, Some(entry));
        let connection = SocketId(1_000_000 + call.0);
        self.tell(Self::unit(worker, entry), Fact::CallBegan { call, connection, first: false, opaque: None });
        worker.calls.push((call, false));
    }

    fn answer(&mut self, worker: &mut Worker, entry: EntryKey) {
        let passes_on = worker.vice == Vice::PassesOn && self.chance().percent(30);
        let unit = Self::unit(worker, entry);
        let unit = if passes_on { Unit::thread(worker.process, worker.process + 1) } else { unit };
        self.tell(unit, Fact::AnswerBegan { entry });
        self.tell(unit, Fact::EntryEnded { entry });
        worker.holds.retain(|held| *held != entry);
        worker.late = Some(entry);
    }

    /// One step of a worker; false when there is nothing left to do.
    fn step(&mut self, worker: &mut Worker, goes_on: bool) -> bool {
        let entries: Vec<EntryKey> = worker.holds.iter().copied().chain(worker.late).collect();
        let entry = match entries.len() {
            0 => None,
            many => Some(entries[self.chance().below(many as u64) as usize]),
        };
        let may_read = worker.holds.is_empty()
            || (worker.vice == Vice::Interleaves && worker.holds.len() < 3 && self.chance().percent(30));
        if !worker.calls.is_empty() && self.chance().percent(50) {
            let at = self.chance().below(worker.calls.len() as u64) as usize;
            let (call, is_answered) = worker.calls[at];
            let unit = Unit::thread(worker.process, worker.process);
            if is_answered {
                self.tell(unit, Fact::CallEnded { call, operation: 7, transaction: None });
                worker.calls.swap_remove(at);
            } else {
                self.tell(unit, Fact::CallAnswered { call });
                worker.calls[at].1 = true;
            }
            return true;
        }
        match entry {
            Some(entry) if worker.left > 0 => {
                worker.left -= 1;
                self.call(worker, entry);
            }
            Some(entry) if worker.holds.contains(&entry) && !(may_read && goes_on) => self.answer(worker, entry),
            _ if may_read && goes_on => self.read(worker),
            _ if !worker.holds.is_empty() => self.answer(worker, worker.holds[0]),
            _ => return !worker.calls.is_empty(),
        }
        true
    }
}

/// So many entries among so many workers, of which the first has a vice.
fn run(seed: u64, entries: u64, workers: u32, vice: Vice) -> Score {
    let world = World::new(Shape::ThreadPerRequest, seed);
    let mut service = Workers { world, next_entry: 0 };
    let mut running: Vec<Worker> = (1..=workers)
        .map(|number| {
            let vice = if number == 1 { vice } else { Vice::None };
            Worker { process: number * 10, vice, holds: Vec::new(), late: None, left: 0, calls: Vec::new() }
        })
        .collect();
    for worker in &running {
        service.tell(Unit::thread(worker.process, worker.process), Fact::Serves { one_by_one: true });
    }
    while !running.is_empty() {
        let at = service.chance().below(running.len() as u64) as usize;
        let mut worker = running.swap_remove(at);
        let goes_on = service.next_entry < entries;
        if service.step(&mut worker, goes_on) {
            running.push(worker);
        } else {
            service.tell(Unit::thread(worker.process, worker.process), Fact::Gone);
        }
    }
    let mut world = service.world;
    world.mark += 1;
    world.correlator.stop(world.mark, world.mark * 100_000);
    while let Some(ruling) = world.correlator.next() {
        world.rulings.push(ruling);
    }
    world.score()
}

#[test]
fn one_at_a_time_is_believed_at_once_side_by_side_and_after_the_response() {
    for workers in [1, 2, 10, 100] {
        for entries in [1, 2, 20, 400] {
            let score = run(7 + entries, entries, workers, Vice::None);
            assert!(score.wrong.is_empty() && score.missing.is_empty(), "{workers} workers: {score:?}");
            assert_eq!(score.unknown, 0, "{workers} workers, {entries} entries");
        }
    }
    assert!(run(7, 400, 10, Vice::None).right > 600);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_does_not_keep_to_it_is_found_out(seed: u64, vice in 0usize..3, workers in 1u32..12, entries in 1u64..120) {
        let vice = [Vice::Interleaves, Vice::SecondThread, Vice::PassesOn][vice];
        let score = run(seed, entries, workers, vice);
        prop_assert!(score.wrong.is_empty(), "{vice:?}: {score:?}");
        prop_assert!(score.missing.is_empty(), "{vice:?}: {score:?}");
    }

    /// Services of every other shape of which it is said wrongly.
    #[test]
    fn no_other_shape_passes_for_it(seed: u64, shape in 0..SHAPES.len(), concurrency in 1usize..12, entries in 1u64..120) {
        let mut world = World::new(SHAPES[shape], seed);
        world.fact(1, Fact::Serves { one_by_one: true });
        let score = world.run(entries, concurrency, false);
        prop_assert!(score.wrong.is_empty(), "{:?}: {score:?}", SHAPES[shape]);
        prop_assert!(score.missing.is_empty(), "{:?}: {score:?}", SHAPES[shape]);
    }
}
