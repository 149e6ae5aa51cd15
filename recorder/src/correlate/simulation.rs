//! Services of every shape, with the true owner of each call hidden from the rules: whatever is ruled certain and
//! not taken back must be right, and an entry that is not marked must have all its calls.

use std::collections::{HashMap, HashSet};

use proptest::{prelude::*, test_runner::RngSeed};
use regress_ebpf::{SocketId, Strand, Unit};

use super::{CallKey, Correlator, EntryKey, Fact, Moment, Patience, Ruling, Verdict};

/// How a service spreads its work over threads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// A thread works on one entry from its request to its response.
    ThreadPerRequest,
    /// One thread reads and writes everything, in any order.
    EventLoop,
    /// The same, and goes on with whatever it has read, but for so many percent of the times.
    ReadDriven(u32),
    /// Several loops; a connection stays on its loop, a call may be on another one than its entry.
    LoopsHandOver(u32),
    /// Any step on any of these threads, staying on one with this probability in percent.
    Hopping(u32, u32),
    /// Handlers wait for calls that pool workers make; workers are born in handlers.
    Executor(u32),
    /// Handlers give each call to a new thread that ends after it.
    ThreadPerCall,
    /// Most entries keep to their thread, some make their calls through shared loops.
    Mixed,
    /// A thread that waits for work it gave away does another entry's work meanwhile.
    Helping,
}

const SHAPES: [Shape; 14] = [
    Shape::ThreadPerRequest,
    Shape::EventLoop,
    Shape::ReadDriven(0),
    Shape::ReadDriven(1),
    Shape::ReadDriven(10),
    Shape::ReadDriven(50),
    Shape::LoopsHandOver(2),
    Shape::LoopsHandOver(8),
    Shape::Hopping(2, 80),
    Shape::Hopping(8, 50),
    Shape::Executor(6),
    Shape::ThreadPerCall,
    Shape::Mixed,
    Shape::Helping,
];

/// A small deterministic source of chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }
}

/// One entry's progress.
struct Running {
    entry: EntryKey,
    thread: u32,
    /// The thread that makes the call under way.
    caller: u32,
    call: Option<CallKey>,
    answered: bool,
    left: u32,
    phase: u32,
    strays: bool,
}

/// What its lines of execution are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Threads,
    /// Who started one is told when it calls, its end never.
    Goroutines,
    /// Each birth is told, no end. Entries are read by a task that does nothing else.
    Tasks,
}

mod hops;
mod ids;
mod pools;
mod transactions;
mod turns;

use ids::Passing;

struct World {
    shape: Shape,
    kind: Kind,
    chance: Chance,
    correlator: Correlator,
    mark: u64,
    next_thread: u32,
    workers: Vec<u32>,
    parents: HashMap<u32, u32>,
    busy: HashSet<u32>,
    free_threads: Vec<u32>,
    handlers: Vec<u32>,
    next_call: u64,
    /// Calls in the background that an event loop has not finished.
    polls: Vec<CallKey>,
    truth: HashMap<CallKey, Option<EntryKey>>,
    /// Entries that are open; calls that began while only one was.
    open: HashSet<EntryKey>,
    alone: HashSet<CallKey>,
    rulings: Vec<Ruling>,
    passing: Passing,
    stuck: HashMap<u32, u64>,
}

/// How the rulings came out.
#[derive(Debug, Default)]
struct Score {
    right: usize,
    wrong: Vec<(CallKey, EntryKey)>,
    unknown: usize,
    /// Calls that an unmarked entry lacks.
    missing: Vec<(CallKey, EntryKey)>,
    /// Calls that began while one entry was open.
    alone: HashSet<CallKey>,
}

/// A line of execution of the simulated process.
fn unit(kind: Kind, number: u32) -> Unit {
    let strand = match kind {
        Kind::Threads => Strand::Thread(number),
        Kind::Goroutines => Strand::Goroutine(number.into()),
        Kind::Tasks => Strand::Context(number.into()),
    };
    Unit { process: 1, strand }
}

impl World {
    fn new(shape: Shape, seed: u64) -> World {
        World {
            shape,
            kind: Kind::Threads,
            chance: Chance(seed),
            correlator: Correlator::new(Patience::default()),
            mark: 0,
            next_thread: 100,
            workers: Vec::new(),
            parents: HashMap::new(),
            busy: HashSet::new(),
            free_threads: Vec::new(),
            handlers: Vec::new(),
            next_call: 1,
            polls: Vec::new(),
            truth: HashMap::new(),
            open: HashSet::new(),
            alone: HashSet::new(),
            rulings: Vec::new(),
            passing: Passing::Nothing,
            stuck: HashMap::new(),
        }
    }

    fn of_goroutines(shape: Shape, seed: u64) -> World {
        World { kind: Kind::Goroutines, ..World::new(shape, seed) }
    }

    fn of_tasks(shape: Shape, seed: u64) -> World {
        World { kind: Kind::Tasks, ..World::new(shape, seed) }
    }

    fn fact(&mut self, thread: u32, fact: Fact) {
        match fact {
            Fact::EntryBegan { entry, .. } => drop(self.open.insert(entry)),
            Fact::EntryEnded { entry } => drop(self.open.remove(&entry)),
            _ => {}
        }
        if let Fact::EntryEnded { entry } = fact {
            self.entry_says(thread, entry, true);
        }
        match fact {
            Fact::Born { child: Unit { strand: Strand::Thread(child), .. } } if self.kind == Kind::Goroutines => {
                self.parents.insert(child, thread);
            }
            Fact::Born { child: Unit { strand: Strand::Thread(child), .. } } if self.kind == Kind::Tasks => {
                self.tell(thread, Fact::Born { child: unit(Kind::Tasks, child) });
            }
            Fact::Gone if self.kind != Kind::Threads => {}
            Fact::EntryRead { entry } => {
                self.tell(thread, fact);
                self.entry_says(thread, entry, false);
            }
            _ => self.tell(thread, fact),
        }
    }

    fn tell(&mut self, thread: u32, fact: Fact) {
        self.mark += 1;
        let at = self.mark * 100_000;
        self.correlator.fact(Moment { mark: self.mark, at, unit: Some(unit(self.kind, thread)) }, fact);
        self.correlator.advance(at);
        while let Some(ruling) = self.correlator.next() {
            self.rulings.push(ruling);
        }
    }

    fn fresh_thread(&mut self) -> u32 {
        self.next_thread += 1;
        self.next_thread
    }

    /// The thread on which an entry's next step happens.
    fn hop(&mut self, thread: u32) -> u32 {
        match self.shape {
            Shape::Hopping(threads, stays) if !self.chance.percent(stays) => {
                self.chance.below(u64::from(threads)) as u32
            }
            _ => thread,
        }
    }

    fn begin_entry(&mut self, number: u64) -> Running {
        let entry = EntryKey(number);
        let thread = match self.shape {
            Shape::EventLoop | Shape::ReadDriven(_) => 0,
            Shape::LoopsHandOver(loops) => (number % u64::from(loops)) as u32,
            Shape::Hopping(threads, _) => self.chance.below(u64::from(threads)) as u32,
            _ => match self.free_threads.iter().position(|thread| !self.busy.contains(thread)) {
                Some(free) => self.free_threads.swap_remove(free),
                None => {
                    let thread = self.fresh_thread();
                    self.fact(1, Fact::Born { child: unit(Kind::Threads, thread) });
                    thread
                }
            },
        };
        // A goroutine that is made for a connection serves no other; a loop serves all.
        let is_for_one = !matches!(
            self.shape,
            Shape::EventLoop | Shape::ReadDriven(_) | Shape::LoopsHandOver(_) | Shape::Hopping(..)
        );
        let connection = if self.kind != Kind::Threads && is_for_one { u64::from(thread) } else { number };
        let reader = if self.kind == Kind::Tasks { 1_000_000 + connection as u32 } else { thread };
        self.fact(reader, Fact::EntryBegan { entry, connection: SocketId(connection) });
        let thread = self.hop(thread);
        let reader = if self.kind == Kind::Tasks { reader } else { thread };
        self.fact(reader, Fact::EntryRead { entry });
        self.handlers.push(thread);
        let left = self.chance.below(4) as u32;
        let strays = self.shape == Shape::Mixed && self.chance.percent(30);
        Running { entry, thread, caller: thread, call: None, answered: false, left, phase: 0, strays }
    }

    /// One step of an entry; false when it is over.
    fn step(&mut self, run: &mut Running) -> bool {
        match (run.call, run.phase) {
            (None, _) if run.left > 0 => {
                if !self.choose_caller(run) {
                    return true;
                }
                run.left -= 1;
                let call = self.begin_call(run.caller, Some(run.entry));
                run.call = Some(call);
                run.phase = 0;
                true
            }
            (Some(call), 0) => {
                run.caller = self.hop(run.caller);
                self.fact(run.caller, Fact::CallAnswered { call });
                run.phase = 1;
                true
            }
            (Some(call), _) => {
                self.fact(run.caller, Fact::CallEnded { call, operation: 7, transaction: None });
                run.call = None;
                self.busy.remove(&run.caller);
                if self.shape == Shape::ThreadPerCall {
                    self.fact(run.caller, Fact::Gone);
                }
                true
            }
            // A thread finishes the work that it does for another entry first.
            (None, _) if self.shape == Shape::Helping && self.busy.contains(&run.thread) => true,
            (None, _) if !run.answered => {
                self.handlers.retain(|thread| *thread != run.thread);
                run.thread = self.hop(run.thread);
                let entry = run.entry;
                self.fact(run.thread, Fact::AnswerBegan { entry });
                self.fact(run.thread, Fact::EntryEnded { entry });
                run.answered = true;
                false
            }
            (None, _) => false,
        }
    }

    fn begin_call(&mut self, thread: u32, truth: Option<EntryKey>) -> CallKey {
        let call = CallKey(self.next_call);
        self.next_call += 1;
        self.truth.insert(call, truth);
        if self.open.len() == 1 {
            self.alone.insert(call);
        }
        let connection = SocketId(1_000_000 + call.0);
        if let (Kind::Goroutines, Some(&parent)) = (self.kind, self.parents.get(&thread)) {
            self.tell(parent, Fact::Born { child: unit(Kind::Goroutines, thread) });
        }
        self.fact(thread, Fact::CallBegan { call, connection, first: false, opaque: None });
        self.call_says(thread, call);
        call
    }

    /// Who makes the entry's next call; false when nobody is free.
    fn choose_caller(&mut self, run: &mut Running) -> bool {
        run.caller = match self.shape {
            Shape::ThreadPerRequest | Shape::EventLoop | Shape::ReadDriven(_) => run.thread,
            Shape::Hopping(..) => self.hop(run.thread),
            Shape::LoopsHandOver(loops) => self.chance.below(u64::from(loops)) as u32,
            Shape::Mixed if run.strays => 1 + self.chance.below(2) as u32,
            Shape::Mixed => run.thread,
            Shape::Helping => {
                let threads: Vec<u32> = self.free_threads.iter().chain(&self.handlers).copied().collect();
                let idle: Vec<u32> = threads.into_iter().filter(|thread| !self.busy.contains(thread)).collect();
                if idle.is_empty() {
                    return false;
                }
                idle[self.chance.below(idle.len() as u64) as usize]
            }
            Shape::ThreadPerCall => {
                let thread = self.fresh_thread();
                self.fact(run.thread, Fact::Born { child: unit(Kind::Threads, thread) });
                thread
            }
            Shape::Executor(most) => {
                let idle: Vec<u32> = self.workers.iter().copied().filter(|w| !self.busy.contains(w)).collect();
                if (self.workers.len() as u32) < most && (idle.is_empty() || self.chance.percent(20)) {
                    let worker = self.fresh_thread();
                    self.fact(run.thread, Fact::Born { child: unit(Kind::Threads, worker) });
                    self.workers.push(worker);
                    // The new worker is not always the one that takes this job.
                    if self.chance.percent(50) || idle.is_empty() { worker } else { idle[0] }
                } else if let Some(worker) = idle.first() {
                    *worker
                } else {
                    return false;
                }
            }
        };
        self.busy.insert(run.caller);
        true
    }

    fn background(&mut self) {
        if matches!(self.shape, Shape::ReadDriven(_)) {
            // The loop does it as well, and more meanwhile.
            match self.polls.pop() {
                Some(call) => {
                    self.fact(0, Fact::CallAnswered { call });
                    self.fact(0, Fact::CallEnded { call, operation: 99, transaction: None });
                }
                None => {
                    let call = self.begin_call(0, None);
                    self.polls.push(call);
                }
            }
            return;
        }
        let call = self.begin_call(99, None);
        self.fact(99, Fact::CallAnswered { call });
        self.fact(99, Fact::CallEnded { call, operation: 99, transaction: None });
    }

    fn run(mut self, entries: u64, concurrency: usize, timers: bool) -> Score {
        if timers {
            self.background();
        }
        let mut running: Vec<Running> = Vec::new();
        let mut number = 0;
        while number < entries || !running.is_empty() {
            if running.len() < concurrency && number < entries && (running.is_empty() || self.chance.percent(40)) {
                number += 1;
                let mut run = self.begin_entry(number);
                if !self.goes_on(&run) || self.work(&mut run) {
                    running.push(run);
                }
                continue;
            }
            if timers && self.chance.percent(3) {
                self.background();
            }
            let at = self.chance.below(running.len() as u64) as usize;
            let mut run = running.swap_remove(at);
            if self.work(&mut run) {
                running.push(run);
            } else if !matches!(
                self.shape,
                Shape::EventLoop | Shape::ReadDriven(_) | Shape::LoopsHandOver(_) | Shape::Hopping(..)
            ) {
                self.free_threads.push(run.thread);
            }
        }
        self.mark += 1;
        self.correlator.stop(self.mark, self.mark * 100_000);
        while let Some(ruling) = self.correlator.next() {
            self.rulings.push(ruling);
        }
        self.score()
    }

    /// One step, and all that follow at once; false when it is over.
    fn work(&mut self, run: &mut Running) -> bool {
        loop {
            if !self.step(run) {
                return false;
            }
            if !self.goes_on(run) {
                return true;
            }
        }
    }

    /// Whether the thread that has just read for this entry goes on with it.
    fn goes_on(&mut self, run: &Running) -> bool {
        let has_read = run.call.is_none() || run.phase == 1;
        matches!(self.shape, Shape::ReadDriven(strays) if has_read && !self.chance.percent(strays))
    }

    fn score(&self) -> Score {
        let mut marked: HashSet<EntryKey> = HashSet::new();
        let mut finished = 0;
        for ruling in &self.rulings {
            match ruling {
                Ruling::Finished { entry, ambiguous } => {
                    finished += 1;
                    if *ambiguous {
                        marked.insert(*entry);
                    }
                }
                Ruling::Doubt { entries } => {
                    marked.extend((0..1000).filter(|number| entries.contains(*number)).map(EntryKey));
                }
                Ruling::Call { .. } | Ruling::Passed { .. } => {}
            }
        }
        let mut score = Score { alone: self.alone.clone(), ..Score::default() };
        let mut ruled = HashSet::new();
        for ruling in &self.rulings {
            let Ruling::Call { call, verdict } = ruling else { continue };
            assert!(ruled.insert(*call), "{call:?} was ruled twice");
            let truth = self.truth[call];
            match verdict {
                Verdict::Owner { entry, .. } if marked.contains(entry) => score.unknown += 1,
                Verdict::Owner { entry, .. } if truth == Some(*entry) => score.right += 1,
                Verdict::Owner { entry, .. } => score.wrong.push((*call, *entry)),
                Verdict::Ambient | Verdict::Ambiguous { .. } => score.unknown += usize::from(truth.is_some()),
            }
            let owned = matches!(verdict, Verdict::Owner { entry, .. } if Some(*entry) == truth);
            if let Some(entry) = truth
                && !owned
                && !marked.contains(&entry)
            {
                score.missing.push((*call, entry));
            }
        }
        assert_eq!(ruled.len(), self.truth.len(), "every call is ruled");
        assert!(finished > 0);
        score
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_certain_owner_is_wrong(seed: u64, shape in 0..SHAPES.len(), concurrency in 1usize..12, timers: bool, entries in 1u64..120) {
        let score = World::new(SHAPES[shape], seed).run(entries, concurrency, timers);
        prop_assert!(score.wrong.is_empty(), "{:?}: {score:?}", SHAPES[shape]);
        prop_assert!(score.missing.is_empty(), "{:?}: {score:?}", SHAPES[shape]);
    }
}

/// Goroutines and tasks do not take up other work while they wait: [`Shape::Helping`] has no counterpart.
const SHAPES_OF_GOROUTINES: [Shape; 9] = [
    Shape::ThreadPerRequest,
    Shape::EventLoop,
    Shape::LoopsHandOver(2),
    Shape::LoopsHandOver(8),
    Shape::Hopping(2, 80),
    Shape::Hopping(8, 50),
    Shape::Executor(6),
    Shape::ThreadPerCall,
    Shape::Mixed,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_certain_owner_is_wrong_among_goroutines(seed: u64, shape in 0..SHAPES_OF_GOROUTINES.len(), concurrency in 1usize..40, timers: bool, entries in 1u64..200) {
        let shape = SHAPES_OF_GOROUTINES[shape];
        let score = World::of_goroutines(shape, seed).run(entries, concurrency, timers);
        prop_assert!(score.wrong.is_empty(), "{shape:?}: {score:?}");
        prop_assert!(score.missing.is_empty(), "{shape:?}: {score:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_certain_owner_is_wrong_among_tasks(seed: u64, shape in 0..SHAPES_OF_GOROUTINES.len(), concurrency in 1usize..40, timers: bool, entries in 1u64..200) {
        let shape = SHAPES_OF_GOROUTINES[shape];
        let score = World::of_tasks(shape, seed).run(entries, concurrency, timers);
        prop_assert!(score.wrong.is_empty(), "{shape:?}: {score:?}");
        prop_assert!(score.missing.is_empty(), "{shape:?}: {score:?}");
    }
}

/// Every owner, whatever is going on.
#[track_caller]
fn assert_all_known(world: fn(Shape, u64) -> World, shape: Shape) {
    for concurrency in [2, 16, 200] {
        let score = world(shape, 5).run(600, concurrency, false);
        assert!(score.wrong.is_empty() && score.missing.is_empty(), "{shape:?}, {concurrency} at once: {score:?}");
        assert_eq!(score.unknown, 0, "{shape:?}, {concurrency} at once");
        assert!(score.right > 600);
    }
}

#[test]
fn goroutines_are_perfect_also_when_all_are_busy() {
    assert_all_known(World::of_goroutines, Shape::ThreadPerRequest);
}

#[test]
fn goroutines_work_for_the_one_that_started_them_once_proved() {
    assert_all_known(World::of_goroutines, Shape::ThreadPerCall);
}

#[test]
fn tasks_are_perfect_once_proved() {
    assert_all_known(World::of_tasks, Shape::ThreadPerRequest);
    assert_all_known(World::of_tasks, Shape::ThreadPerCall);
}

#[test]
fn lazily_started_workers_are_not_believed() {
    for seed in 0..1500 {
        let mut chance = Chance(seed);
        let (entries, concurrency) = (2 + chance.below(60), 2 + chance.below(20) as usize);
        for world in [World::of_goroutines, World::of_tasks] {
            let score = world(Shape::Executor(6), seed).run(entries, concurrency, false);
            assert!(score.wrong.is_empty() && score.missing.is_empty(), "seed {seed}: {score:?}");
        }
    }
}

#[test]
fn goroutines_are_forgotten() {
    let mut world = World::of_goroutines(Shape::ThreadPerCall, 5);
    let entries: Vec<Running> = (1..=50).map(|number| world.begin_entry(number)).collect();
    let connections: Vec<u32> = entries.iter().map(|entry| entry.thread).collect();
    for mut running in entries {
        while world.step(&mut running) {}
    }
    for connection in connections {
        world.fact(connection, Fact::ConnectionGone { connection: SocketId(connection.into()) });
    }
    assert_eq!(world.correlator.threads.len(), 0);
}

#[test]
fn one_at_a_time_is_always_known() {
    for shape in SHAPES {
        if matches!(shape, Shape::Executor(_)) {
            // A worker born for the entry before may still be at its work.
            continue;
        }
        let score = World::new(shape, 11).run(50, 1, false);
        assert!(score.wrong.is_empty() && score.missing.is_empty(), "{shape:?}: {score:?}");
        assert_eq!(score.unknown, 0, "{shape:?}");
        assert!(score.right > 20, "{shape:?}");
    }
}

#[test]
fn threads_are_perfect_once_proved() {
    let score = World::new(Shape::ThreadPerRequest, 5).run(400, 16, true);
    assert!(score.wrong.is_empty() && score.missing.is_empty(), "{score:?}");
    // Only a background call makes the entries unknown that were open beside it.
    let quiet = World::new(Shape::ThreadPerRequest, 5).run(400, 16, false);
    assert_eq!((quiet.unknown, quiet.wrong.len()), (0, 0));
}

#[test]
fn an_event_loop_with_several_entries_open_is_unknown_not_guessed() {
    let score = World::new(Shape::EventLoop, 3).run(200, 10, false);
    assert!(score.wrong.is_empty(), "{score:?}");
    assert!(score.unknown > 100);
}

#[test]
fn a_loop_that_goes_on_with_what_it_has_read_is_perfect_once_proved() {
    assert_all_known(World::new, Shape::ReadDriven(0));
}

#[test]
fn short_recordings_of_handed_over_work_are_not_believed() {
    for shape in [
        Shape::LoopsHandOver(2),
        Shape::LoopsHandOver(3),
        Shape::Hopping(2, 90),
        Shape::Helping,
        Shape::Mixed,
        Shape::ReadDriven(1),
        Shape::ReadDriven(10),
        Shape::ReadDriven(40),
    ] {
        for seed in 0..1500 {
            let mut chance = Chance(seed);
            let (entries, concurrency) = (2 + chance.below(20), 2 + chance.below(4) as usize);
            let score = World::new(shape, seed).run(entries, concurrency, false);
            assert!(score.wrong.is_empty() && score.missing.is_empty(), "{shape:?}, seed {seed}: {score:?}");
        }
    }
}
