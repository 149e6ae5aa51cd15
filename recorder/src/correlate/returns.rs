//! Calls that a task of tokio has another one make.
//!
//! A client's connection is served by a task of its own: it writes for whoever has woken it, reads the response, and wakes who
//! waits for it. Such a call is at first the connection's, which answers no entries, and becomes that of the task that
//! was woken, as if that had made it. Who waits for the result of a task shows when it asks for it, which may be when the task has
//! called already, or is done. On a connection with several calls at once nobody knows whose response it was.

use std::collections::HashMap;

use regress_ebpf::{SocketId, Unit};

use super::{Call, CallKey, Correlator, EntryKey, Moment};

/// The latest call on each connection that tasks of tokio write to.
#[derive(Default)]
pub(super) struct Returns(HashMap<SocketId, CallKey>);

/// What is known of a call's way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// The caller reads the response itself, as far as can be seen.
    None,
    /// Who it was made for is still to come.
    Awaited,
    /// It was made for this caller.
    Made,
    /// Its connection had another call at the same time.
    Shared,
}

impl Correlator {
    /// A call begins on a connection.
    pub(super) fn expect_return(&mut self, connection: SocketId, key: CallKey, call: &Call) -> Return {
        if !call.unit.is_some_and(|unit| unit.is_of_tokio()) {
            return Return::None;
        }
        let before = self.returns.0.insert(connection, key);
        let is_shared = before.and_then(|before| self.calls.get(&before)).is_some_and(|call| call.operation.is_none());
        if let Some(before) = before {
            self.no_return(before, if is_shared { Return::Shared } else { Return::None });
        }
        let serves = call.unit.and_then(|unit| self.threads.get(&unit)).is_some_and(|thread| thread.handles_entries);
        match (is_shared, serves) {
            (true, _) => Return::Shared,
            (false, true) => Return::None,
            (false, false) => Return::Awaited,
        }
    }

    /// Who read the latest response on the connection has woken the task that had the request written.
    pub(super) fn returned(&mut self, moment: Moment, connection: SocketId, connected: bool) {
        let (Some(&key), Some(task)) = (self.returns.0.get(&connection), moment.unit) else { return };
        let Some(mut call) = self.calls.remove(&key) else { return };
        let mut works_for_several = false;
        let holder = self.threads.get(&task).and_then(|thread| thread.held()).filter(|held| {
            self.entries.get(held).is_some_and(|e| !e.pipelined && e.read.is_some_and(|read| read <= call.began))
        });
        // A task that connected for another entry may have been woken by something else since.
        let is_same = !connected || holder.is_none() || holder == call.connected_for;
        if call.back == Return::Awaited && call.answered && call.unit == call.answered_by && is_same {
            call.back = Return::Made;
            call.unit = Some(task);
            call.answered_by = Some(task);
            call.evidence = self.evidence(task);
            call.holder = holder;
            works_for_several = self.ask_parent(&mut call);
        }
        self.wait(key, &call);
        self.calls.insert(key, call);
        if works_for_several {
            self.refute_children(task.process);
        }
        self.rule(key, false);
    }

    /// The connection is gone.
    pub(super) fn forget_return(&mut self, connection: SocketId) {
        if let Some(call) = self.returns.0.remove(&connection) {
            self.no_return(call, Return::None);
        }
    }

    /// Nobody will be told to have had the response.
    fn no_return(&mut self, key: CallKey, back: Return) {
        if let Some(call) =
            self.calls.get_mut(&key).filter(|call| call.back == Return::Awaited || back == Return::Shared)
        {
            call.back = back;
            self.rule(key, false);
        }
    }

    /// Whether nobody knows yet for whom it was made, or who waits for the task that made it.
    pub(super) fn awaits_return(&self, call: &Call) -> bool {
        let is_open = |entry: &EntryKey| self.entries.get(entry).is_some_and(|entry| entry.ended.is_none());
        let Some(unit) = call.unit.filter(|unit| unit.is_of_tokio()) else { return false };
        let serves = self.threads.get(&unit).is_some_and(|task| task.handles_entries);
        let may_be_awaited = !serves && call.back != Return::Shared && self.children.parent(unit).is_none();
        (call.back == Return::Awaited || may_be_awaited) && call.open.iter().any(is_open)
    }

    /// Another task waits for this one: that may be for what it has called already.
    pub(super) fn awaited(&mut self, task: Unit) {
        let mut made: Vec<CallKey> =
            self.calls.iter().filter(|(_, call)| call.unit == Some(task)).map(|(&key, _)| key).collect();
        made.sort();
        for key in made {
            let Some(mut call) = self.calls.remove(&key) else { continue };
            let works_for_several = call.holder.is_none() && self.ask_parent(&mut call);
            self.wait(key, &call);
            self.calls.insert(key, call);
            if works_for_several {
                self.refute_children(task.process);
            }
            self.rule(key, false);
        }
    }

    /// Whether a task of tokio had the response of its own call, where one called.
    pub(super) fn is_returned(call: &Call) -> bool {
        let Some(unit) = call.unit.filter(|unit| unit.is_of_tokio()) else { return true };
        call.back != Return::Shared && call.answered_by == Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use regress_ebpf::Strand;

    use super::*;
    use crate::correlate::{Fact, Patience, Ruling, Verdict};

    const ROUNDS: u64 = 30;

    fn task(number: u64) -> Unit {
        Unit { process: 1, strand: Strand::Task(number) }
    }

    /// A service in which two tasks serve a connection each and call once for each entry, by two others or a task of their own.
    struct Service {
        correlator: Correlator,
        mark: u64,
    }

    impl Service {
        fn new() -> Service {
            Service { correlator: Correlator::new(Patience::default()), mark: 0 }
        }

        fn fact(&mut self, unit: Unit, fact: Fact) {
            self.mark += 1;
            let moment = Moment { mark: self.mark, at: self.mark * 1000, unit: Some(unit) };
            self.correlator.fact(moment, fact);
        }

        /// Both read an entry, call, and answer. The calls are made on these connections; `part` has them return.
        fn round(&mut self, round: u64, callers: [Unit; 2], connections: [u64; 2], part: impl Fn(&mut Service, u64)) {
            self.begin(round);
            self.call(round, callers, connections, part);
        }

        fn begin(&mut self, round: u64) {
            for (server, key) in (1..).zip([2 * round, 2 * round + 1]) {
                let (unit, entry) = (task(server), EntryKey(key));
                self.fact(unit, Fact::EntryBegan { entry, connection: SocketId(server) });
                self.fact(unit, Fact::EntryRead { entry });
            }
        }

        fn call(&mut self, round: u64, callers: [Unit; 2], connections: [u64; 2], part: impl Fn(&mut Service, u64)) {
            let keys = [2 * round, 2 * round + 1];
            for ((caller, connection), key) in callers.into_iter().zip(connections).zip(keys) {
                let (call, connection) = (CallKey(key), SocketId(connection));
                let first = self.correlator.connected_for.contains_key(&connection);
                self.fact(caller, Fact::CallBegan { call, connection, first, opaque: None });
            }
            for ((caller, index), key) in callers.into_iter().zip(0..).zip(keys) {
                self.fact(caller, Fact::CallAnswered { call: CallKey(key) });
                self.fact(caller, Fact::CallEnded { call: CallKey(key), operation: 7, transaction: None });
                part(self, index);
            }
            for (server, key) in (1..).zip(keys) {
                self.fact(task(server), Fact::AnswerBegan { entry: EntryKey(key) });
                self.fact(task(server), Fact::EntryEnded { entry: EntryKey(key) });
            }
        }

        /// How many calls have a certain owner; each has to be the right one.
        fn known(mut self) -> u64 {
            self.correlator.stop(self.mark + 1, self.mark * 1000);
            let mut known = 0;
            while let Some(ruling) = self.correlator.next() {
                match ruling {
                    Ruling::Call { call, verdict: Verdict::Owner { entry, .. } } => {
                        assert_eq!(entry.0, call.0, "a wrong owner");
                        known += 1;
                    }
                    Ruling::Doubt { entries } => panic!("taken back: {entries:?}"),
                    Ruling::Call { .. } | Ruling::Passed { .. } | Ruling::Finished { .. } => {}
                }
            }
            known
        }
    }

    #[test]
    fn a_call_is_of_the_task_to_which_the_response_returns() {
        let mut service = Service::new();
        for round in 0..ROUNDS {
            service.round(round, [task(11), task(12)], [11, 12], |service, index| {
                service.fact(task(1 + index), Fact::Returned { connection: SocketId(11 + index), connected: false });
            });
        }
        assert_eq!(service.known(), 2 * ROUNDS);
    }

    /// How many calls are known where each task that serves connects so many rounds before the first call returns to it.
    fn known_by_connecting(rounds_ago: u64) -> u64 {
        let mut service = Service::new();
        let connections = |round: u64| [1000 + 2 * round, 1001 + 2 * round];
        for round in 0..ROUNDS {
            let prepare = |service: &mut Service, index: u64, round: u64| {
                let connection = SocketId(connections(round)[index as usize]);
                service.fact(task(1 + index), Fact::Connecting { connection });
            };
            service.begin(round);
            for index in 0..2 {
                prepare(&mut service, index, round + rounds_ago);
            }
            let callers = connections(round).map(task);
            service.call(round, callers, connections(round), |service, index| {
                let connection = SocketId(connections(round)[index as usize]);
                service.fact(task(1 + index), Fact::Returned { connection, connected: true });
            });
        }
        service.known()
    }

    #[test]
    fn who_connected_for_an_entry_has_its_first_call() {
        assert_eq!(known_by_connecting(0), 2 * ROUNDS);
        assert_eq!(known_by_connecting(1), 0, "for one that is over");
    }

    #[test]
    fn what_returns_to_nobody_is_nobodys() {
        let mut service = Service::new();
        for round in 0..ROUNDS {
            service.round(round, [task(11), task(12)], [11, 12], |_, _| {});
        }
        assert_eq!(service.known(), 0);
    }

    #[test]
    fn two_calls_at_once_on_one_connection_are_nobodys() {
        let mut service = Service::new();
        for round in 0..ROUNDS {
            // The response to the first returns to who made the second.
            service.round(round, [task(11), task(11)], [11, 11], |service, index| {
                service.fact(task(2 - index), Fact::Returned { connection: SocketId(11), connected: false });
            });
        }
        assert_eq!(service.known(), 0);
    }

    #[test]
    fn who_waits_for_a_task_may_show_when_it_has_called() {
        let mut service = Service::new();
        for round in 0..ROUNDS {
            let own = [task(1000 + 2 * round), task(1001 + 2 * round)];
            service.round(round, own, [1000 + 2 * round, 1001 + 2 * round], |service, index| {
                service.fact(task(1 + index), Fact::Born { child: task(1000 + 2 * round + index) });
            });
        }
        assert_eq!(service.known(), 2 * ROUNDS);
    }
}
