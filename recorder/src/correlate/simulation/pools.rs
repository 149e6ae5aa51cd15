//! Pools of threads whose entries come from a reader, or from connections that a thread stays with.

use std::collections::VecDeque;

use super::*;

/// What a pool does otherwise than having each entry worked for by the thread that answers it, in so many percent of cases.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// Calls go through the queue to any thread, while the own one waits.
    Executor(u32),
    /// And a thread that waits takes such work up.
    Helping(u32),
    /// Before a call, the entry goes back into the queue.
    HandsOver(u32),
    /// Any thread answers.
    AnswersElsewhere(u32),
    /// Several entries at a time on one thread.
    Interleaves(u32),
    /// A call after the answer.
    Late(u32),
    /// A call of nobody while there is nothing to do.
    Timer(u32),
    /// The reader works as well.
    ReaderWorks(u32),
    /// Threads are born when they are needed, call at first, and end when they are not.
    WarmsUp(u32),
}

#[derive(Clone, Copy, Debug)]
struct Pool {
    flaw: Flaw,
    threads: usize,
    /// How often a thread stays with the connection that it has answered, in percent.
    stays: u32,
    /// Connections have a thread of their own.
    pinned: bool,
    /// Without a reader, threads read from whomever they find.
    has_reader: bool,
    /// How soon clients ask again, in percent.
    load: u32,
    clients: usize,
}

/// An entry at work.
struct Served {
    entry: EntryKey,
    client: usize,
    left: u32,
    /// A call of it is made by another thread.
    is_away: bool,
    /// It came from another thread, which has not called for it since.
    has_moved: bool,
}

enum Job {
    Entry(Served),
    Call(EntryKey),
}

struct Under {
    call: CallKey,
    is_answered: bool,
    /// The entry that waits for it.
    job: Option<EntryKey>,
}

#[derive(Default)]
struct Worker {
    thread: u32,
    serves: Vec<Served>,
    call: Option<Under>,
    /// Others that it has begun.
    more: Vec<Under>,
    waits_for: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Client {
    Idle,
    /// A thread waits for it.
    Awaited,
    Busy,
}

const READER: u32 = 50;

struct Running {
    world: World,
    pool: Pool,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    queue: VecDeque<Job>,
    /// Entries that are still to come, and the number of the latest.
    left: u64,
    number: u64,
}

impl Pool {
    fn run(self, seed: u64, entries: u64) -> Score {
        let mut running = Running {
            world: World::new(Shape::ThreadPerRequest, seed),
            pool: self,
            workers: (0..=self.threads as u32).map(|thread| Worker { thread, ..Worker::default() }).collect(),
            clients: vec![Client::Idle; self.clients],
            queue: VecDeque::new(),
            left: entries,
            number: 0,
        };
        running.workers[0].thread = READER;
        if matches!(self.flaw, Flaw::WarmsUp(_)) {
            running.workers.truncate(1);
        }
        while running.left > 0 || running.is_busy() {
            let at = running.world.chance.below(running.workers.len() as u64 + 1) as usize;
            if at == running.workers.len() { running.read() } else { running.step(at) }
        }
        let mut world = running.world;
        world.mark += 1;
        world.correlator.stop(world.mark, world.mark * 100_000);
        while let Some(ruling) = world.correlator.next() {
            world.rulings.push(ruling);
        }
        world.score()
    }
}

impl Running {
    fn is_busy(&self) -> bool {
        !self.queue.is_empty()
            || self
                .workers
                .iter()
                .any(|worker| worker.call.is_some() || !worker.more.is_empty() || !worker.serves.is_empty())
    }

    fn asks(&mut self) -> bool {
        self.left > 0 && self.world.chance.percent(self.pool.load)
    }

    fn entry(&mut self, reader: u32, client: usize) -> Served {
        self.left -= 1;
        self.number += 1;
        self.clients[client] = Client::Busy;
        let (entry, connection) = (EntryKey(self.number), SocketId(client as u64));
        self.world.fact(reader, Fact::EntryBegan { entry, connection });
        self.world.fact(reader, Fact::EntryRead { entry });
        Served { entry, client, left: self.world.chance.below(4) as u32, is_away: false, has_moved: false }
    }

    /// The reader reads from somebody.
    fn read(&mut self) {
        let client = self.world.chance.below(self.clients.len() as u64) as usize;
        if !self.pool.has_reader
            || !self.workers[0].serves.is_empty()
            || self.clients[client] != Client::Idle
            || !self.asks()
        {
            return;
        }
        let served = self.entry(READER, client);
        if matches!(self.pool.flaw, Flaw::ReaderWorks(often) if self.world.chance.percent(often)) {
            self.workers[0].serves.push(served);
            return;
        }
        self.queue.push_back(Job::Entry(served));
        let idle = self.workers.iter().skip(1).any(|worker| worker.serves.is_empty() && worker.waits_for.is_none());
        if let (Flaw::WarmsUp(often), false) = (self.pool.flaw, idle)
            && self.workers.len() <= self.pool.threads
        {
            let thread = self.world.fresh_thread();
            self.world.fact(READER, Fact::Born { child: unit(Kind::Threads, thread) });
            let warms_up = self.world.chance.percent(often);
            let call = warms_up.then(|| self.call(thread, None, None));
            self.workers.push(Worker { thread, call, ..Worker::default() });
        }
    }

    fn call(&mut self, thread: u32, truth: Option<EntryKey>, job: Option<EntryKey>) -> Under {
        Under { call: self.world.begin_call(thread, truth), is_answered: false, job }
    }

    /// Takes the first that this thread may take.
    fn take(&mut self, at: usize, only_calls: bool) -> Option<Job> {
        let (pinned, threads) = (self.pool.pinned, self.pool.threads);
        let may = |job: &Job| match job {
            Job::Entry(served) => !only_calls && (!pinned || served.client % threads + 1 == at),
            Job::Call(_) => true,
        };
        let first = self.queue.iter().position(may)?;
        self.queue.remove(first)
    }

    fn step(&mut self, at: usize) {
        let flaw = self.pool.flaw;
        let is_loop = matches!(flaw, Flaw::Interleaves(_));
        if is_loop && self.workers[at].call.is_some() && self.world.chance.percent(50) {
            // It goes on with another entry.
            let call = self.workers[at].call.take();
            self.workers[at].more.extend(call);
            return;
        }
        if self.workers[at].call.is_none() && self.world.chance.percent(50) {
            self.workers[at].call = self.workers[at].more.pop();
        }
        if let Some(mut call) = self.workers[at].call.take() {
            let (thread, key) = (self.workers[at].thread, call.call);
            if !call.is_answered {
                self.world.fact(thread, Fact::CallAnswered { call: key });
                call.is_answered = true;
                self.workers[at].call = Some(call);
                return;
            }
            self.world.fact(thread, Fact::CallEnded { call: key, operation: 7, transaction: None });
            for served in self.workers.iter_mut().flat_map(|worker| &mut worker.serves) {
                served.is_away &= call.job != Some(served.entry);
            }
            return;
        }
        if let Some(client) = self.workers[at].waits_for {
            if self.asks() {
                self.workers[at].waits_for = None;
                let served = self.entry(self.workers[at].thread, client);
                self.workers[at].serves.push(served);
            } else if self.left == 0 || self.world.chance.percent(2) {
                self.workers[at].waits_for = None;
                self.clients[client] = Client::Idle;
            }
            return;
        }
        let serves = self.workers[at].serves.len();
        let more = matches!(flaw, Flaw::Interleaves(often) if serves < 3 && self.world.chance.percent(often));
        if serves == 0 || more {
            if at > 0 {
                self.begin(at);
            }
            if serves == 0 || self.workers[at].call.is_some() {
                return;
            }
        }
        self.serve(at);
    }

    /// A thread has nothing to do, or does more.
    fn begin(&mut self, at: usize) {
        let thread = self.workers[at].thread;
        match self.take(at, false) {
            Some(Job::Entry(served)) => self.workers[at].serves.push(served),
            Some(Job::Call(entry)) => self.workers[at].call = Some(self.call(thread, Some(entry), Some(entry))),
            None if !self.pool.has_reader && self.world.chance.percent(80) => {
                let client = self.world.chance.below(self.clients.len() as u64) as usize;
                if self.clients[client] == Client::Idle && self.asks() {
                    let served = self.entry(thread, client);
                    self.workers[at].serves.push(served);
                }
            }
            None => match self.pool.flaw {
                Flaw::Timer(often) if self.left > 0 && self.world.chance.percent(often) => {
                    self.workers[at].call = Some(self.call(thread, None, None));
                }
                Flaw::WarmsUp(_) if self.world.chance.percent(5) => {
                    self.workers.swap_remove(at);
                    self.world.fact(thread, Fact::Gone);
                }
                _ => {}
            },
        }
    }

    fn serve(&mut self, at: usize) {
        let (flaw, thread) = (self.pool.flaw, self.workers[at].thread);
        let which = self.world.chance.below(self.workers[at].serves.len() as u64) as usize;
        let chance = self.world.chance.below(100) as u32;
        let served = &mut self.workers[at].serves[which];
        let entry = served.entry;
        if served.is_away {
            // Where all wait for each other, somebody has to.
            let all_wait = self.workers.iter().skip(1).all(|worker| !worker.serves.is_empty() && worker.call.is_none());
            let takes = all_wait || matches!(flaw, Flaw::Helping(_));
            if takes
                && !matches!(flaw, Flaw::Interleaves(_))
                && let Some(Job::Call(entry)) = self.take(at, true)
            {
                self.workers[at].call = Some(self.call(thread, Some(entry), Some(entry)));
            }
            return;
        }
        if served.left > 0 {
            match flaw {
                Flaw::HandsOver(often) if chance < often && !served.has_moved => {
                    served.has_moved = true;
                    let served = self.workers[at].serves.remove(which);
                    self.queue.push_back(Job::Entry(served));
                    return;
                }
                Flaw::Executor(often) | Flaw::Helping(often) if chance < often => {
                    served.is_away = true;
                    served.left -= 1;
                    self.queue.push_back(Job::Call(entry));
                    return;
                }
                _ => {}
            }
            served.left -= 1;
            served.has_moved = false;
            // A loop does not block.
            served.is_away = matches!(flaw, Flaw::Interleaves(_));
            let job = served.is_away.then_some(entry);
            self.workers[at].call = Some(self.call(thread, Some(entry), job));
            return;
        }
        let served = self.workers[at].serves.remove(which);
        let answers = match flaw {
            Flaw::AnswersElsewhere(often) if chance < often => {
                let other = self.world.chance.below(self.pool.threads as u64) as usize;
                self.workers[1 + other].thread
            }
            _ => thread,
        };
        self.world.fact(answers, Fact::AnswerBegan { entry });
        self.world.fact(answers, Fact::EntryEnded { entry });
        if matches!(flaw, Flaw::Late(often) if chance < often) {
            self.workers[at].call = Some(self.call(thread, None, None));
        }
        let stays = at > 0 && self.workers[at].waits_for.is_none() && self.world.chance.percent(self.pool.stays);
        self.clients[served.client] = if stays { Client::Awaited } else { Client::Idle };
        if stays {
            self.workers[at].waits_for = Some(served.client);
        }
    }
}

fn flaws(often: u32) -> [Flaw; 10] {
    [
        Flaw::None,
        Flaw::Executor(often),
        Flaw::Helping(often),
        Flaw::HandsOver(often),
        Flaw::AnswersElsewhere(often),
        Flaw::Interleaves(often),
        Flaw::Late(often),
        Flaw::Timer(often),
        Flaw::ReaderWorks(often),
        Flaw::WarmsUp(often),
    ]
}

/// A pool of some size and load, so many entries, and what came of them while several were open: that nothing else happens
/// while one is open is the assumption of another rule.
fn some_pool(seed: u64, flaw: Flaw, stays: u32) -> Score {
    let mut chance = Chance(seed);
    let pool = Pool {
        flaw,
        threads: 2 + chance.below(6) as usize,
        stays,
        has_reader: true,
        pinned: chance.percent(20) && !matches!(flaw, Flaw::WarmsUp(_)),
        load: [2, 10, 50, 100][chance.below(4) as usize],
        clients: 2 + chance.below(20) as usize,
    };
    let mut score = pool.run(seed, 10 + chance.below(190));
    score.wrong.retain(|(call, _)| !score.alone.contains(call));
    score.missing.retain(|(call, _)| !score.alone.contains(call));
    score
}

#[test]
fn flawed_pools_are_not_believed() {
    for often in [100, 30, 10, 3] {
        for flaw in flaws(often) {
            for stays in [0, 50, 90, 97] {
                for seed in 0..8 {
                    let score = some_pool(seed, flaw, stays);
                    let is_right = score.wrong.is_empty() && score.missing.is_empty();
                    assert!(is_right, "{flaw:?}, stays {stays}, seed {seed}: {score:?}");
                }
            }
        }
    }
}

#[test]
fn what_a_reader_passes_on_belongs_to_who_answers_it() {
    for (clients, load) in [(4, 10), (10, 100)] {
        let pool = Pool { flaw: Flaw::None, threads: 16, stays: 90, has_reader: true, pinned: false, load, clients };
        let score = pool.run(5, 900);
        assert!(score.wrong.is_empty() && score.missing.is_empty(), "{pool:?}: {score:?}");
        assert_eq!(score.unknown, 0, "{pool:?}");
        assert!(score.right > 900);
    }
}

#[test]
fn a_pool_that_is_always_full_shows_nothing() {
    let pool =
        Pool { flaw: Flaw::None, threads: 16, stays: 90, has_reader: true, pinned: false, load: 100, clients: 50 };
    let score = pool.run(5, 900);
    assert!(score.wrong.is_empty() && score.right == 0, "{score:?}");
}

#[test]
fn threads_that_read_nothing_themselves_are_not_believed() {
    // Work that goes on after an answer could not be told from that for the next entry.
    for flaw in [Flaw::None, Flaw::Late(100)] {
        let pool = Pool { flaw, threads: 4, stays: 0, has_reader: true, pinned: true, load: 100, clients: 8 };
        let score = pool.run(5, 900);
        assert!(score.wrong.is_empty() && score.unknown > 900, "{pool:?}: {score:?}");
    }
}
