//! Which sockets are served by one task of tokio alone, as those of a client's connections are, on behalf of others.

use std::collections::HashMap;

use crate::event::{SocketId, Unit};

/// Who uses sockets. A task that has connected one, or shares it with others as those do that lend each other connections,
/// writes for itself.
#[derive(Debug, Default)]
pub(crate) struct SocketUsers(HashMap<SocketId, Users>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    One(Unit),
    ConnectedBy(Unit),
    /// Several, or the one that has connected it.
    Others,
}

impl SocketUsers {
    /// The task begins to connect it.
    pub(crate) fn connects(&mut self, socket: SocketId, unit: Option<Unit>) {
        self.0.remove(&socket);
        if let Some(unit) = unit.filter(|unit| unit.is_of_tokio()) {
            self.0.insert(socket, Users::ConnectedBy(unit));
        }
    }

    /// The unit moved bytes on it.
    pub(crate) fn moves(&mut self, socket: SocketId, unit: Option<Unit>) {
        let known = self.0.get(&socket).copied();
        let users = match (unit.filter(|unit| unit.is_of_tokio()), known) {
            (Some(unit), None) => Users::One(unit),
            (Some(unit), Some(Users::ConnectedBy(other))) if unit != other => Users::One(unit),
            (Some(unit), Some(Users::One(one))) if unit == one => return,
            // Of others it is told where it matters.
            (None, None) => return,
            _ => Users::Others,
        };
        self.0.insert(socket, users);
    }

    /// Whether one task uses it for others, as far as can be seen.
    pub(crate) fn has_one(&self, socket: SocketId) -> bool {
        matches!(self.0.get(&socket), Some(Users::One(_)))
    }

    /// The socket is gone.
    pub(crate) fn forget(&mut self, socket: SocketId) {
        self.0.remove(&socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Strand;

    const SOCKET: SocketId = SocketId(1);

    fn task(number: u64) -> Option<Unit> {
        Some(Unit { process: 10, strand: Strand::Task(number) })
    }

    #[test]
    fn one_task_that_has_not_connected_it_uses_it_for_others() {
        let mut users = SocketUsers::default();
        assert!(!users.has_one(SOCKET));
        users.connects(SOCKET, task(1));
        assert!(!users.has_one(SOCKET));
        users.moves(SOCKET, task(2));
        users.moves(SOCKET, task(2));
        assert!(users.has_one(SOCKET));
        users.moves(SOCKET, task(3));
        assert!(!users.has_one(SOCKET));
        users.moves(SOCKET, task(2));
        assert!(!users.has_one(SOCKET), "for good");
        users.forget(SOCKET);
        users.moves(SOCKET, task(2));
        assert!(users.has_one(SOCKET));
        users.moves(SOCKET, Some(Unit::thread(10, 11)));
        assert!(!users.has_one(SOCKET), "a thread without a task");
    }

    #[test]
    fn who_has_connected_it_uses_it_for_itself() {
        let mut users = SocketUsers::default();
        users.connects(SOCKET, task(1));
        users.moves(SOCKET, task(1));
        users.moves(SOCKET, task(2));
        assert!(!users.has_one(SOCKET));
    }
}
