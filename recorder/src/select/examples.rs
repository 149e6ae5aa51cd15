//! The examples of each shape that are kept.

use std::collections::HashMap;

use super::shape::Shape;
use crate::correlate::EntrySet;

/// Shapes that are remembered at most.
const MOST_SHAPES: usize = 10_000;
/// Of these, shapes of one route: one whose shape always varies must not take the room of all others.
const MOST_OF_A_ROUTE: usize = 256;

/// What the examples that there are say of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is room for it.
    Free,
    /// There are enough.
    Taken,
    /// The shape is new, and no more shapes are remembered.
    NoRoom,
}

/// The entries that are examples of their shape.
#[derive(Debug, Default)]
pub(super) struct Examples {
    shapes: HashMap<Shape, Vec<u64>>,
    /// How many shapes of each route there are.
    routes: HashMap<String, usize>,
}

impl Examples {
    /// Whether one more example of this shape is wanted, of which `most` are kept.
    pub(super) fn place(&self, route: &str, shape: Shape, most: u32) -> Place {
        match self.shapes.get(&shape) {
            Some(entries) if entries.len() < most as usize => Place::Free,
            Some(_) => Place::Taken,
            None if most == 0 => Place::Taken,
            None => {
                let of_route = self.routes.get(route).copied().unwrap_or(0);
                let is_full = self.shapes.len() >= MOST_SHAPES || of_route >= MOST_OF_A_ROUTE;
                if is_full { Place::NoRoom } else { Place::Free }
            }
        }
    }

    /// An entry is kept as an example, where there is a place for it.
    pub(super) fn add(&mut self, route: &str, shape: Shape, most: u32, entry: u64) {
        if self.place(route, shape, most) != Place::Free {
            return;
        }
        self.shapes
            .entry(shape)
            .or_insert_with(|| {
                *self.routes.entry(route.to_owned()).or_default() += 1;
                Vec::new()
            })
            .push(entry);
    }

    /// Some of the examples turned out to be uncertain: their places are free again.
    pub(super) fn doubt(&mut self, entries: &EntrySet) {
        for examples in self.shapes.values_mut() {
            examples.retain(|entry| !entries.contains(*entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::EntryKey;

    #[test]
    fn so_many_of_each_shape() {
        let mut examples = Examples::default();
        let shape = Shape(1);
        for entry in 1..=2 {
            assert_eq!(examples.place("GET /", shape, 2), Place::Free);
            examples.add("GET /", shape, 2, entry);
        }
        assert_eq!(examples.place("GET /", shape, 2), Place::Taken);
        assert_eq!(examples.place("GET /", Shape(2), 2), Place::Free);
        assert_eq!(examples.place("GET /", Shape(3), 0), Place::Taken);
    }

    #[test]
    fn what_turns_out_uncertain_gives_its_place_back() {
        let mut examples = Examples::default();
        examples.add("GET /", Shape(1), 1, 7);
        examples.doubt(&[EntryKey(6)].into_iter().collect());
        assert_eq!(examples.place("GET /", Shape(1), 1), Place::Taken);
        examples.doubt(&[EntryKey(7)].into_iter().collect());
        assert_eq!(examples.place("GET /", Shape(1), 1), Place::Free);
    }

    #[test]
    fn memory_is_bounded_in_all_and_for_each_route() {
        let mut examples = Examples::default();
        for shape in 0..2 * MOST_SHAPES as u64 {
            examples.add("GET /varies", Shape(shape), 1, shape);
        }
        assert_eq!(examples.shapes.len(), MOST_OF_A_ROUTE);
        assert_eq!(examples.place("GET /varies", Shape(u64::MAX), 1), Place::NoRoom);
        assert_eq!(examples.place("GET /other", Shape(u64::MAX), 1), Place::Free);
        for shape in 0..2 * MOST_SHAPES as u64 {
            examples.add(&format!("GET /{shape}"), Shape(1_000_000 + shape), 1, shape);
        }
        assert_eq!((examples.shapes.len(), examples.routes.len() <= MOST_SHAPES), (MOST_SHAPES, true));
        assert_eq!(examples.place("GET /new", Shape(u64::MAX), 1), Place::NoRoom);
    }
}
