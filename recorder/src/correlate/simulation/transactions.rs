//! Services whose entries, and a job that belongs to none, run transactions on pooled connections.

use proptest::{prelude::*, test_runner::RngSeed};
use regress_ebpf::SocketId;

use super::{CallKey, EntryKey, Fact, Score, Shape, World};
use crate::correlate::InTransaction;

const BEGIN: u64 = 1;
const COMMIT: u64 = 2;
const ROLLBACK: u64 = 3;

/// The kinds of what the job asks for, and how it goes about it.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// How many kinds it has, of which so many are those of entries as well.
    kinds: u64,
    shared: u64,
    /// How soon it begins, in percent of the steps.
    often: u32,
}

/// One transaction: what is asked in it, one after the other.
struct Work {
    entry: Option<EntryKey>,
    thread: u32,
    connection: SocketId,
    left: Vec<u64>,
    under_way: Option<(CallKey, u64)>,
}

struct Service {
    world: World,
    job: Job,
    /// Connections that nobody has.
    idle: Vec<SocketId>,
    number: u64,
}

impl Service {
    fn work(&mut self, entry: Option<EntryKey>, kinds: &[u64]) -> Work {
        let chance = &mut self.world.chance;
        let asked = (0..chance.below(4)).map(|_| kinds[chance.below(kinds.len() as u64) as usize]).collect::<Vec<_>>();
        let end = if chance.percent(20) { ROLLBACK } else { COMMIT };
        let left = [vec![end], asked, vec![BEGIN]].concat();
        let connection = self.idle.pop().unwrap_or(SocketId(1_000 + self.number));
        self.number += 1;
        // No thread keeps to an entry, so that being alone decides.
        let thread = chance.below(8) as u32;
        Work { entry, thread, connection, left, under_way: None }
    }

    /// One step; false when the transaction is over.
    fn step(&mut self, work: &mut Work) -> bool {
        if let Some((call, operation)) = work.under_way.take() {
            let frames = [BEGIN, COMMIT, ROLLBACK].contains(&operation);
            let goes_on = Some(!frames || operation == BEGIN);
            let drops = operation == ROLLBACK;
            let transaction = Some(InTransaction { begins: operation == BEGIN, frames, drops, goes_on });
            self.tell(work.thread, Fact::CallAnswered { call });
            self.tell(work.thread, Fact::CallEnded { call, operation, transaction });
            return !work.left.is_empty();
        }
        let Some(operation) = work.left.pop() else { return false };
        let call = CallKey(self.world.next_call);
        self.world.next_call += 1;
        self.world.truth.insert(call, work.entry);
        self.tell(work.thread, Fact::CallBegan { call, connection: work.connection, first: false, opaque: None });
        work.under_way = Some((call, operation));
        true
    }

    fn tell(&mut self, thread: u32, fact: Fact) {
        self.world.fact(thread, fact);
    }

    /// So many entries, so many of them at once.
    fn run(mut self, entries: u64, concurrency: usize) -> Score {
        let own: Vec<u64> = (10..13).collect();
        let jobs: Vec<u64> = (10..10 + self.job.shared).chain(20..20 + self.job.kinds - self.job.shared).collect();
        let mut running: Vec<Work> = Vec::new();
        let mut is_at_work = false;
        let mut begun = 0;
        // Before anything else, so that its kinds are known.
        for end in [COMMIT, ROLLBACK] {
            let mut first = self.work(None, &jobs);
            first.left = [vec![end], jobs.clone(), vec![BEGIN]].concat();
            while self.step(&mut first) {}
            self.idle.push(first.connection);
        }
        while begun < entries || !running.is_empty() {
            let open = running.iter().filter(|work| work.entry.is_some()).count();
            if begun < entries && open < concurrency && self.world.chance.percent(30) {
                begun += 1;
                let entry = EntryKey(begun);
                let work = self.work(Some(entry), &own);
                self.tell(work.thread, Fact::EntryBegan { entry, connection: SocketId(begun) });
                self.tell(work.thread, Fact::EntryRead { entry });
                running.push(work);
            } else if !is_at_work && self.world.chance.percent(self.job.often) {
                is_at_work = true;
                let work = self.work(None, &jobs);
                running.push(work);
            } else if !running.is_empty() {
                let at = self.world.chance.below(running.len() as u64) as usize;
                let mut work = running.swap_remove(at);
                if self.step(&mut work) {
                    running.push(work);
                    continue;
                }
                self.idle.push(work.connection);
                match work.entry {
                    Some(entry) => {
                        let answers = self.world.chance.below(8) as u32;
                        self.tell(answers, Fact::AnswerBegan { entry });
                        self.tell(answers, Fact::EntryEnded { entry });
                    }
                    None => is_at_work = false,
                }
            }
        }
        let world = &mut self.world;
        world.mark += 1;
        world.correlator.stop(world.mark, world.mark * 100_000);
        while let Some(ruling) = world.correlator.next() {
            world.rulings.push(ruling);
        }
        world.score()
    }
}

fn service(job: Job, seed: u64) -> Service {
    Service { world: World::new(Shape::EventLoop, seed), job, idle: Vec::new(), number: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_certain_owner_is_wrong_among_transactions(seed: u64, kinds in 1u64..4, shared in 0u64..4, often in 0u32..60, concurrency in 1usize..4, entries in 1u64..80) {
        let job = Job { kinds, shared: shared.min(kinds), often };
        let score = service(job, seed).run(entries, concurrency);
        prop_assert!(score.wrong.is_empty(), "{job:?}: {score:?}");
        prop_assert!(score.missing.is_empty(), "{job:?}: {score:?}");
    }
}

#[test]
fn frames_are_known_beside_a_job_that_asks_for_something_else() {
    // It has run once, before them: what it does meanwhile makes an entry uncertain by itself.
    let score = service(Job { kinds: 2, shared: 0, often: 0 }, 7).run(200, 1);
    assert!(score.wrong.is_empty() && score.missing.is_empty(), "{score:?}");
    // `ROLLBACK` is known as such, and of those without anything in them `BEGIN` and `COMMIT` are all that is known.
    assert!(score.right > 3 * score.unknown, "{score:?}");
}

#[test]
fn frames_are_unknown_beside_a_job_that_asks_for_the_same() {
    let score = service(Job { kinds: 3, shared: 3, often: 0 }, 7).run(200, 1);
    assert!(score.wrong.is_empty() && score.missing.is_empty(), "{score:?}");
    assert_eq!(score.right, 0, "{score:?}");
}
