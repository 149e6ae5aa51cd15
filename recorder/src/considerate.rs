//! Threads of the recorder beside a busy service.
//!
//! The threads that turn events into cassettes run as batch work (`SCHED_BATCH`, sched(7)): they get their fair share of
//! the processor, which they need to keep up, and never take it from the service the moment they wake. Where the service
//! is bound to some of the processors, they run on the others. The thread that empties the kernel's buffer keeps the
//! ordinary policy: what it does not take in time is lost.
#![allow(unsafe_code, reason = "sched_setscheduler has no safe wrapper in our dependencies")]

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Make the calling thread, and threads that it starts from now on, batch work. A kernel that refuses changes nothing.
pub(crate) fn become_batch_work() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one structure that outlives the call; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
}

/// Keep the calling thread, and threads that it starts from now on, off the processors that these processes are bound
/// to. Where they are not bound, or to all that this thread may use, nothing changes.
pub(crate) fn make_way_for(processes: &[u32]) {
    let Ok(own) = sched_getaffinity(Pid::from_raw(0)) else { return };
    let theirs: Vec<CpuSet> = processes
        .iter()
        .filter_map(|process| sched_getaffinity(Pid::from_raw(i32::try_from(*process).ok()?)).ok())
        .collect();
    if let Some(others) = others(&own, &theirs) {
        // The processors may have gone meanwhile; any will do then.
        let _ = sched_setaffinity(Pid::from_raw(0), &others);
    }
}

/// The processors of `own` that none of `theirs` has; `None` where there are none, or no difference.
fn others(own: &CpuSet, theirs: &[CpuSet]) -> Option<CpuSet> {
    let mut others = CpuSet::new();
    let (mut left, mut taken) = (0, 0);
    for processor in (0..CpuSet::count()).filter(|processor| own.is_set(*processor) == Ok(true)) {
        if theirs.iter().any(|set| set.is_set(processor) == Ok(true)) {
            taken += 1;
        } else {
            left += 1;
            others.set(processor).ok()?;
        }
    }
    (left > 0 && taken > 0).then_some(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        processors.iter().for_each(|processor| set.set(*processor).unwrap());
        set
    }

    #[test]
    fn a_bound_service_has_its_processors_for_itself() {
        let own = set(&[0, 1, 2, 3]);
        assert_eq!(others(&own, &[set(&[0]), set(&[2])]), Some(set(&[1, 3])));
        assert_eq!(others(&own, &[set(&[0, 1, 2, 3])]), None);
        assert_eq!(others(&own, &[set(&[7])]), None);
        assert_eq!(others(&own, &[]), None);
    }

    #[test]
    fn batch_work_is_inherited() {
        std::thread::spawn(|| {
            become_batch_work();
            let policy = std::thread::spawn(|| {
                // SAFETY: asks for the policy of the calling thread.
                unsafe { libc::sched_getscheduler(0) }
            });
            assert_eq!(policy.join().unwrap(), libc::SCHED_BATCH);
        })
        .join()
        .unwrap();
    }
}
