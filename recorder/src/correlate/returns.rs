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
    pub(super) fn returned(&mut self, moment: Moment, connection: SocketId) {
        let (Some(&key), Some(task)) = (self.returns.0.get(&connection), moment.unit) else { return };
        let Some(mut call) = self.calls.remove(&key) else { return };
        let mut works_for_several = false;
        if call.back == Return::Awaited && call.answered && call.unit == call.answered_by {
            call.back = Return::Made;
            call.unit = Some(task);
            call.answered_by = Some(task);
            call.evidence = self.evidence(task);
            call.holder = self.threads.get(&task).and_then(|thread| thread.held()).filter(|held| {
                self.entries.get(held).is_some_and(|e| !e.pipelined && e.read.is_some_and(|read| read <= call.began))
            });
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
