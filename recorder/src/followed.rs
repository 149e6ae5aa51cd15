//! Which processes a recording follows, so that it can go on with them after a pause.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use regress_ebpf::{Event, EventKind, Unit};

/// Processes that are remembered; beyond them those that are gone are forgotten.
const MANY: usize = 4_096;

/// When a process began, by which it is told from a later one with the same number: field 22 of `/proc/PID/stat`, ticks since boot.
type Began = u64;

/// The processes that are followed, and those beside them that are not.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    processes: HashMap<u32, Began>,
    left_alone: HashSet<(u32, Began)>,
}

impl Followed {
    /// These, and their children where `with_children`; else the children that they have now are left alone.
    pub(crate) fn new(processes: &[u32], with_children: bool) -> Followed {
        let mut followed = Followed::default();
        processes.iter().for_each(|&process| followed.add(process));
        if !with_children {
            let is_other = |child: &u32| !processes.contains(child);
            let others = descendants(processes.to_vec()).into_iter().filter(is_other);
            followed.left_alone = others.filter_map(|child| Some((child, began(child)?))).collect();
        }
        followed
    }

    /// Take in what happened: the capture follows children that come.
    pub(crate) fn see(&mut self, events: &[Event]) {
        for event in events {
            match (&event.kind, event.unit) {
                (EventKind::Born { child }, Some(parent)) if child.process != parent.process => self.add(child.process),
                (EventKind::Gone, Some(unit)) if unit == Unit::thread(unit.process, unit.process) => {
                    self.processes.remove(&unit.process);
                }
                _ => {}
            }
        }
    }

    /// Those that are alive now, and the children that they have had meanwhile.
    pub(crate) fn alive(&mut self) -> Vec<u32> {
        self.processes.retain(|&process, &mut then| began(process) == Some(then));
        for child in descendants(self.processes.keys().copied().collect()) {
            let is_left_alone = |began| self.left_alone.contains(&(child, began));
            if began(child).is_some_and(|began| !is_left_alone(began)) {
                self.add(child);
            }
        }
        self.processes.keys().copied().collect()
    }

    fn add(&mut self, process: u32) {
        if self.processes.len() >= MANY {
            self.processes.retain(|&process, &mut then| began(process) == Some(then));
        }
        if let Some(began) = began(process) {
            self.processes.insert(process, began);
        }
    }
}

fn began(process: u32) -> Option<Began> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may have anything in it.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Their children and the children of these.
pub(crate) fn descendants(mut parents: Vec<u32>) -> Vec<u32> {
    let mut known: HashSet<u32> = parents.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        let new: Vec<u32> = children(parent).into_iter().filter(|&child| known.insert(child)).collect();
        parents.extend(&new);
        found.extend(new);
    }
    found
}

/// Children of all threads of a process; none where it is gone.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn child() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn children_that_were_left_alone_stay_so_and_those_that_come_are_followed() {
        let own = std::process::id();
        let (before, after);
        before = child();
        let mut followed = Followed::new(&[own], false);
        after = child();
        let alive = followed.alive();
        assert!(alive.contains(&own) && alive.contains(&after.id()) && !alive.contains(&before.id()), "{alive:?}");
        let gone = after.id();
        end(after);
        assert!(!followed.alive().contains(&gone));
        assert!(Followed::new(&[own], true).alive().contains(&before.id()));
        end(before);
    }

    #[test]
    fn births_and_ends_are_seen() {
        let one = child();
        let mut followed = Followed::default();
        let unit = Unit::thread(1, 1);
        let born = |child: u32| EventKind::Born { child: Unit::thread(child, child) };
        followed.see(&[Event { at: 1, unit: Some(unit), kind: born(one.id()) }]);
        assert_eq!(followed.alive(), [one.id()]);
        followed.see(&[Event { at: 2, unit: Some(Unit::thread(one.id(), one.id())), kind: EventKind::Gone }]);
        assert_eq!(followed.alive(), [0; 0]);
        end(one);
    }
}
