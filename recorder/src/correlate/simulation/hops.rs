//! Several services in one recording that ask each other.

use super::*;

/// How a process spreads its work.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spread {
    /// A thread of its own for each request.
    Threads,
    /// One thread, in any order.
    Loop,
    /// Any of two threads at each step.
    Hopping,
}

#[derive(Clone, Copy, Debug)]
struct Services {
    /// The first reads the entries, and each asks the next.
    spreads: [Spread; 3],
    /// How many of them there are.
    depth: usize,
    /// They are one process, which asks itself.
    in_one_process: bool,
    /// How often a request goes on to the next service instead of making a call, in percent.
    passes: u32,
    /// How often something is asked that nobody waits for.
    late: u32,
    /// How often it does not show which call a request is.
    unlinked: u32,
    /// How often one of them calls on its own.
    timer: u32,
    clients: usize,
}

/// A request at work.
struct Frame {
    root: EntryKey,
    entry: EntryKey,
    service: usize,
    thread: u32,
    left: u32,
    waits: Waits,
    /// The frame that waits for it, and the call that it is there.
    asked_by: Option<(usize, CallKey)>,
}

enum Waits {
    Not,
    /// For a call to be answered.
    Call(CallKey),
    /// For another service.
    Hop,
    /// It is answered, and calls once more.
    Late,
}

struct Hops {
    services: Services,
    chance: Chance,
    correlator: Correlator,
    mark: u64,
    next: u64,
    next_thread: u32,
    free: [Vec<u32>; 3],
    frames: Vec<Option<Frame>>,
    truth: HashMap<CallKey, Option<EntryKey>>,
    hops: HashSet<CallKey>,
    /// Entries that are not answered; calls that began when theirs was: nobody misses them there.
    open: HashSet<EntryKey>,
    after: HashSet<CallKey>,
    rulings: Vec<Ruling>,
}

impl Hops {
    fn new(services: Services, seed: u64) -> Hops {
        Hops {
            services,
            chance: Chance(seed),
            correlator: Correlator::new(Patience::default()),
            mark: 0,
            next: 0,
            next_thread: 100,
            free: Default::default(),
            frames: Vec::new(),
            truth: HashMap::new(),
            hops: HashSet::new(),
            open: HashSet::new(),
            after: HashSet::new(),
            rulings: Vec::new(),
        }
    }

    fn fact(&mut self, service: usize, thread: u32, fact: Fact) {
        self.mark += 1;
        let at = self.mark * 100_000;
        let process = if self.services.in_one_process { 1 } else { service as u32 + 1 };
        let unit = Some(Unit::thread(process, thread));
        self.correlator.fact(Moment { mark: self.mark, at, unit }, fact);
        self.correlator.advance(at);
        self.rulings.extend(std::iter::from_fn(|| self.correlator.next()));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The thread for a frame's next step.
    fn thread(&mut self, service: usize, own: u32) -> u32 {
        match self.services.spreads[service] {
            Spread::Threads => own,
            Spread::Loop => 1,
            Spread::Hopping => 1 + self.chance.below(2) as u32,
        }
    }

    fn begin(&mut self, service: usize, root: Option<EntryKey>, asked_by: Option<(usize, CallKey)>) {
        let entry = EntryKey(self.number());
        let own = match self.free[service].pop() {
            Some(thread) => thread,
            None => {
                self.next_thread += 1;
                self.next_thread
            }
        };
        let thread = self.thread(service, own);
        self.fact(service, thread, Fact::EntryBegan { entry, connection: SocketId(entry.0) });
        if root.is_some() {
            self.fact(service, thread, Fact::HopBegan { entry });
        }
        self.fact(service, thread, Fact::EntryRead { entry });
        let left = self.chance.below(4) as u32;
        let root = root.unwrap_or(entry);
        self.open.insert(root);
        let frame = Frame { root, entry, service, thread: own, left, waits: Waits::Not, asked_by };
        match self.frames.iter_mut().find(|frame| frame.is_none()) {
            Some(free) => *free = Some(frame),
            None => self.frames.push(Some(frame)),
        }
    }

    fn call(&mut self, service: usize, thread: u32, truth: Option<EntryKey>) -> CallKey {
        let call = CallKey(self.number());
        self.truth.insert(call, truth);
        if truth.is_some_and(|root| !self.open.contains(&root)) {
            self.after.insert(call);
        }
        let connection = SocketId(1_000_000 + call.0);
        self.fact(service, thread, Fact::CallBegan { call, connection, first: false, opaque: None });
        call
    }

    fn end_call(&mut self, service: usize, thread: u32, call: CallKey, operation: u64) {
        self.fact(service, thread, Fact::CallAnswered { call });
        self.fact(service, thread, Fact::CallEnded { call, operation, transaction: None });
    }

    fn step(&mut self, at: usize) {
        let Some(mut frame) = self.frames[at].take() else { return };
        let thread = self.thread(frame.service, frame.thread);
        match frame.waits {
            Waits::Hop => {}
            Waits::Call(call) => {
                self.end_call(frame.service, thread, call, 7);
                frame.waits = Waits::Not;
            }
            Waits::Not if frame.left > 0 => {
                frame.left -= 1;
                let passes = frame.service + 1 < self.services.depth && self.chance.percent(self.services.passes);
                let truth = Some(frame.root);
                let call = self.call(frame.service, thread, truth);
                if passes {
                    self.hops.insert(call);
                    frame.waits = Waits::Hop;
                    let (service, root) = (frame.service + 1, frame.root);
                    self.frames[at] = Some(frame);
                    return self.begin(service, Some(root), Some((at, call)));
                }
                frame.waits = Waits::Call(call);
            }
            Waits::Not => {
                let entry = frame.entry;
                self.fact(frame.service, thread, Fact::AnswerBegan { entry });
                self.fact(frame.service, thread, Fact::EntryEnded { entry });
                self.open.remove(&entry);
                if let Some((asker, call)) = frame.asked_by.take() {
                    self.answered(asker, call, entry);
                }
                if !self.chance.percent(self.services.late) {
                    self.free[frame.service].push(frame.thread);
                    return;
                }
                frame.waits = Waits::Late;
            }
            Waits::Late => {
                let call = self.call(frame.service, thread, Some(frame.root));
                self.end_call(frame.service, thread, call, 8);
                self.free[frame.service].push(frame.thread);
                return;
            }
        }
        self.frames[at] = Some(frame);
    }

    fn answered(&mut self, asker: usize, call: CallKey, entry: EntryKey) {
        let Some(frame) = &mut self.frames[asker] else { return };
        frame.waits = Waits::Not;
        let (service, own) = (frame.service, frame.thread);
        let thread = self.thread(service, own);
        if !self.chance.percent(self.services.unlinked) {
            self.fact(service, thread, Fact::HopIs { entry, call });
        }
        self.end_call(service, thread, call, 9);
    }

    fn run(mut self, entries: u64) -> Score {
        // That such calls are made without an entry has been seen.
        for operation in [8, 99] {
            let call = self.call(0, 99, None);
            self.end_call(0, 99, call, operation);
        }
        let mut begun = 0;
        loop {
            let busy: Vec<usize> = (0..self.frames.len()).filter(|at| self.frames[*at].is_some()).collect();
            let open = busy.iter().filter(|at| self.frames[**at].as_ref().is_some_and(|f| f.service == 0)).count();
            if begun == entries && busy.is_empty() {
                break;
            }
            if begun < entries && open < self.services.clients && (busy.is_empty() || self.chance.percent(20)) {
                begun += 1;
                self.begin(0, None, None);
                continue;
            }
            if self.chance.percent(self.services.timer) {
                let service = self.chance.below(self.services.depth as u64) as usize;
                let call = self.call(service, 99, None);
                self.end_call(service, 99, call, 99);
            }
            if !busy.is_empty() {
                let chosen = self.chance.below(busy.len() as u64) as usize;
                self.step(busy[chosen]);
            }
        }
        self.mark += 1;
        self.correlator.stop(self.mark, self.mark * 100_000);
        self.rulings.extend(std::iter::from_fn(|| self.correlator.next()));
        self.score()
    }

    fn score(&self) -> Score {
        let (mut of, mut marked, mut owners) = (HashMap::new(), HashSet::new(), HashMap::new());
        for ruling in &self.rulings {
            match ruling {
                Ruling::Passed { hop, of: verdict } => drop(of.insert(*hop, verdict.clone())),
                Ruling::Finished { entry, ambiguous: true } => drop(marked.insert(*entry)),
                Ruling::Finished { .. } => {}
                Ruling::Doubt { entries } => {
                    marked.extend((0..self.next + 1).filter(|number| entries.contains(*number)).map(EntryKey));
                }
                Ruling::Call { call, verdict } => {
                    assert!(owners.insert(*call, verdict.clone()).is_none(), "{call:?} was ruled twice");
                }
            }
        }
        assert_eq!(owners.len(), self.truth.len(), "every call is ruled");
        let mut score = Score::default();
        for (call, verdict) in owners.into_iter().filter(|(call, _)| !self.hops.contains(call)) {
            let mut verdict = verdict;
            while let Verdict::Owner { entry, .. } = &verdict
                && let Some(root) = of.get(entry)
            {
                verdict = root.clone();
            }
            let truth = self.truth[&call];
            let owner = if let Verdict::Owner { entry, .. } = verdict { Some(entry) } else { None };
            match owner {
                Some(entry) if marked.contains(&entry) => score.unknown += 1,
                Some(entry) if truth == Some(entry) => score.right += 1,
                Some(entry) => score.wrong.push((call, entry)),
                None => score.unknown += usize::from(truth.is_some()),
            }
            if let Some(entry) = truth
                && owner != truth
                && !self.after.contains(&call)
                && !marked.contains(&entry)
            {
                score.missing.push((call, entry));
            }
        }
        score
    }
}

fn services() -> impl Strategy<Value = Services> {
    let spread = || prop_oneof![3 => Just(Spread::Threads), 1 => Just(Spread::Loop), 1 => Just(Spread::Hopping)];
    let rarely = |percent: u32| prop_oneof![2 => Just(0), 1 => Just(percent)];
    let spreads = (spread(), spread(), spread()).prop_map(|(first, second, third)| [first, second, third]);
    let within = prop_oneof![3 => Just(false), 1 => Just(true)];
    (spreads, 2usize..4, within, 0u32..101, rarely(10), rarely(5), rarely(3), 1usize..12).prop_map(
        |(spreads, depth, in_one_process, passes, late, unlinked, timer, clients)| Services {
            spreads,
            depth,
            in_one_process,
            passes,
            late,
            unlinked,
            timer,
            clients,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_certain_owner_is_wrong_among_services(seed: u64, services in services(), entries in 1u64..150) {
        let score = Hops::new(services, seed).run(entries);
        prop_assert!(score.wrong.is_empty(), "{score:?}");
        prop_assert!(score.missing.is_empty(), "{score:?}");
    }
}

const QUIET: Services = Services {
    spreads: [Spread::Threads; 3],
    depth: 3,
    in_one_process: false,
    passes: 50,
    late: 0,
    unlinked: 0,
    timer: 0,
    clients: 1,
};

#[test]
fn services_that_ask_each_other_are_known_whatever_they_are_with_one_client() {
    for spread in [Spread::Threads, Spread::Loop] {
        let score = Hops::new(Services { spreads: [spread; 3], ..QUIET }, 3).run(200);
        assert_eq!((score.unknown, score.wrong.len(), score.missing.len()), (0, 0, 0), "{spread:?}");
        assert!(score.right > 200);
    }
}

#[test]
fn services_of_threads_are_known_once_proved() {
    for clients in [4, 16] {
        let score = Hops::new(Services { clients, ..QUIET }, 5).run(600);
        assert_eq!((score.unknown, score.wrong.len(), score.missing.len()), (0, 0, 0), "{clients} clients");
        assert!(score.right > 600);
    }
}
