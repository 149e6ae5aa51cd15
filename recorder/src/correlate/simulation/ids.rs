//! Services whose requests carry ids, and which pass them on to what they call, or not.

use super::*;

/// What is done with ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Passing {
    /// There are none.
    Nothing,
    /// Each entry brings its own, and all calls have that of their entry.
    Everything,
    /// Whatever can happen to an id: entries without one, with one that others bring as well, or that is known late; calls
    /// without one, or with one that the service made.
    Anything,
    /// Each thread goes on with the id of the entry that it called for first.
    Sticks,
}

impl World {
    pub(super) fn passing(self, passing: Passing) -> World {
        World { passing, ..self }
    }

    /// Whether the entry's request becomes known only when it ends.
    fn is_read_late(&self, entry: EntryKey) -> bool {
        self.passing == Passing::Anything && entry.0 % 7 == 3
    }

    /// The ids that an entry brings.
    fn brings(&self, EntryKey(entry): EntryKey) -> Vec<u64> {
        let (own, of_three, again) = (1_000_000 + entry, 2_000_000 + entry / 3, 999_999 + entry);
        match (self.passing, entry % 10) {
            (Passing::Nothing, _) => Vec::new(),
            (Passing::Everything | Passing::Sticks, _) | (_, 0..4) => vec![own],
            (_, 4) => vec![own, of_three],
            (_, 5) => vec![of_three],
            // The one before is tried again.
            (_, 6) => vec![again],
            (_, 7) => vec![of_three, again],
            (_, _) => Vec::new(),
        }
    }

    /// The ids that a call carries.
    fn carries(&mut self, thread: u32, call: CallKey) -> Vec<u64> {
        let made = 3_000_000 + call.0;
        let truth = self.truth[&call].map(|entry| self.brings(entry));
        match (self.passing, truth) {
            (Passing::Nothing, _) => Vec::new(),
            (Passing::Sticks, truth) => match truth.and_then(|ids| ids.first().copied()) {
                Some(id) => vec![*self.stuck.entry(thread).or_insert(id)],
                None => Vec::new(),
            },
            (Passing::Everything, truth) => truth.unwrap_or_default(),
            (Passing::Anything, None) => vec![made],
            (Passing::Anything, Some(ids)) => match self.chance.below(10) {
                0 => Vec::new(),
                1 => vec![made],
                2 => ids.into_iter().take(1).collect(),
                _ => ids,
            },
        }
    }

    pub(super) fn entry_says(&mut self, thread: u32, entry: EntryKey, is_over: bool) {
        if self.passing != Passing::Nothing && (is_over || !self.is_read_late(entry)) {
            self.tell(thread, Fact::EntrySays { entry, ids: self.brings(entry), values: Vec::new() });
        }
    }

    pub(super) fn call_says(&mut self, thread: u32, call: CallKey) {
        let ids = self.carries(thread, call);
        if !ids.is_empty() {
            self.tell(thread, Fact::CallSays { call, ids, values: Vec::new() });
        }
    }
}

const WORLDS: [fn(Shape, u64) -> World; 3] = [World::new, World::of_goroutines, World::of_tasks];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_certain_owner_is_wrong_whatever_happens_to_ids(
        seed: u64,
        (world, shape) in prop_oneof![
            (Just(0), 0..SHAPES.len()).prop_map(|(world, shape)| (world, SHAPES[shape])),
            (1..3usize, 0..SHAPES_OF_GOROUTINES.len()).prop_map(|(world, shape)| (world, SHAPES_OF_GOROUTINES[shape])),
        ],
        concurrency in 1usize..30,
        timers: bool,
        entries in 1u64..160,
    ) {
        for passing in [Passing::Anything, Passing::Everything, Passing::Sticks] {
            let score = WORLDS[world](shape, seed).passing(passing).run(entries, concurrency, timers);
            prop_assert!(score.wrong.is_empty(), "{shape:?}, {passing:?}: {score:?}");
            prop_assert!(score.missing.is_empty(), "{shape:?}, {passing:?}: {score:?}");
        }
    }
}

#[test]
fn ids_that_are_passed_on_make_owners_known_in_every_shape() {
    for shape in SHAPES {
        for concurrency in [2, 16, 200] {
            let score = World::new(shape, 5).passing(Passing::Everything).run(600, concurrency, false);
            assert!(score.wrong.is_empty() && score.missing.is_empty(), "{shape:?}: {score:?}");
            let (known, all) = (score.right, score.right + score.unknown);
            // What threads or loops told until an id contradicted them is taken back, the more the later that was.
            let least = if shape == Shape::ReadDriven(1) { 70 } else { 90 };
            assert!(known * 100 >= all * least, "{shape:?}, {concurrency} at once: {known} of {all}");
        }
    }
}
