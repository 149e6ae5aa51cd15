//! A queue between threads, bounded by the weight of what was put in and is not done with yet.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

/// The end that puts in. Dropping it ends the queue once it is empty.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// The end that takes out; several threads may have one.
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// Something that was taken out. It counts until it is dropped.
pub(crate) struct Taken<T> {
    pub(crate) item: T,
    _held: Held<T>,
}

struct Held<T> {
    weight: usize,
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    most: usize,
    state: Mutex<State<T>>,
    /// There is something to take out, or never will be.
    more: Condvar,
    /// There is room again, or never will be.
    room: Condvar,
}

struct State<T> {
    waiting: VecDeque<(T, usize)>,
    /// What waits or is worked on.
    items: usize,
    weight: usize,
    ended: bool,
    abandoned: bool,
    receivers: usize,
    /// Threads that wait at `more` and at `room`: a wake-up that nobody waits for would still be a system call.
    hungry: usize,
    stuck: usize,
}

/// A queue that takes in more while what it holds weighs at most `most`.
pub(crate) fn queue<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    let state = State {
        waiting: VecDeque::new(),
        items: 0,
        weight: 0,
        ended: false,
        abandoned: false,
        receivers: 1,
        hungry: 0,
        stuck: 0,
    };
    let shared = Arc::new(Shared { most, state: Mutex::new(state), more: Condvar::new(), room: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that is done under the lock leaves it half done.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Wait for room while it is `full`.
    fn wait_for_room(&self, full: impl Fn(&State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock();
        while !state.abandoned && full(&state) {
            state.stuck += 1;
            state = self.room.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
            state.stuck -= 1;
        }
        state
    }

    fn wait_for_more(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.ended && !state.abandoned {
            state.hungry += 1;
            state = self.more.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
            state.hungry -= 1;
        }
        state
    }
}

/// Nobody takes anything out any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

impl<T> Sender<T> {
    /// Put something in; waits while there is too much. Something that is too heavy by itself waits until it is alone.
    pub(crate) fn send(&self, item: T, weight: usize) -> Result<(), Abandoned> {
        let mut state = self.0.wait_for_room(|state| state.items > 0 && state.weight + weight > self.0.most);
        if state.abandoned {
            return Err(Abandoned);
        }
        state.items += 1;
        state.weight += weight;
        state.waiting.push_back((item, weight));
        let hungry = state.hungry > 0;
        drop(state);
        if hungry {
            self.0.more.notify_one();
        }
        Ok(())
    }

    /// Wait until everything that was put in is done with.
    pub(crate) fn settle(&self) -> Result<(), Abandoned> {
        let state = self.0.wait_for_room(|state| state.items > 0);
        if state.abandoned { Err(Abandoned) } else { Ok(()) }
    }
}

impl<T> Receiver<T> {
    /// Take the next one out; waits for it. `None` at the end.
    pub(crate) fn next(&self) -> Option<Taken<T>> {
        let mut state = self.0.wait_for_more();
        if state.abandoned {
            return None;
        }
        let (item, weight) = state.waiting.pop_front()?;
        Some(Taken { item, _held: Held { weight, shared: Arc::clone(&self.0) } })
    }

    /// End it for everybody: what waits is dropped, and no more is taken in.
    pub(crate) fn abandon(&self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
        self.0.more.notify_all();
        self.0.room.notify_all();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.0.lock().receivers += 1;
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.items -= 1;
        state.weight -= self.weight;
        // Who waits for room gets a good deal of it, not a place at a time.
        let room = state.stuck > 0 && (state.weight <= self.shared.most / 2 || state.items == 0);
        drop(state);
        if room {
            self.shared.room.notify_all();
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.more.notify_all();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receivers -= 1;
        let last = state.receivers == 0;
        drop(state);
        if last {
            self.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn everything_comes_out_once_and_the_weight_is_bounded() {
        let (sender, receiver) = queue::<usize>(10);
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let receiver = receiver.clone();
                    scope.spawn(move || {
                        let mut all = Vec::new();
                        while let Some(taken) = receiver.next() {
                            assert!(receiver.0.lock().weight <= 10 || taken.item > 10);
                            all.push(taken.item);
                        }
                        all
                    })
                })
                .collect();
            for item in 1..=200 {
                sender.send(item, if item == 50 { 99 } else { item % 7 }).unwrap();
            }
            drop(sender);
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=200).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_takes_more_only_when_something_is_done_with() {
        let (sender, receiver) = queue(1);
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for item in 0..3 {
                    sender.send(item, 1).unwrap();
                    tell.send(item).unwrap();
                }
                sender.settle().unwrap();
                tell.send(99).unwrap();
            });
            for item in 0..3 {
                assert_eq!(told.recv().unwrap(), item);
                let taken = receiver.next().unwrap();
                assert_eq!(taken.item, item);
                assert!(told.try_recv().is_err(), "what is taken out counts until it is dropped");
            }
            assert_eq!(told.recv().unwrap(), 99);
        });
    }

    #[test]
    fn nobody_waits_for_those_who_are_gone() {
        let (sender, receiver) = queue(1);
        sender.send(1, 1).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(move || sender.send(2, 1));
            drop(receiver);
            assert_eq!(waits.join().unwrap(), Err(Abandoned));
        });
        let (sender, receiver) = queue::<u8>(1);
        drop(sender);
        assert!(receiver.next().is_none());
    }
}
