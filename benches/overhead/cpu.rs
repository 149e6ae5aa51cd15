//! Which CPU a process runs on, and how much of it a process used.

use std::{
    fs,
    process::{Child, Command},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Who runs where: the service has a CPU of its own.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    pub service: usize,
    pub load: usize,
    /// That of the load where there are only two.
    pub recorder: usize,
}

impl Cpus {
    /// From those that this process may use; `None` if it is one.
    pub fn choose() -> Option<Cpus> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let mut cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
        let (service, load) = (cpus.next()?, cpus.next()?);
        Some(Cpus { service, load, recorder: cpus.next().unwrap_or(load) })
    }
}

/// Keeps the calling thread, and what it starts, on one CPU.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("the kernel named this CPU");
    sched_setaffinity(Pid::from_raw(0), &set).expect("the CPU is allowed");
}

/// Starts the command on one CPU.
pub fn spawn_on(cpu: usize, command: &mut Command) -> std::io::Result<Child> {
    let here = sched_getaffinity(Pid::from_raw(0))?;
    pin(cpu);
    let child = command.spawn();
    sched_setaffinity(Pid::from_raw(0), &here)?;
    child
}

/// The process and all its descendants.
pub fn with_descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&of) = family.get(next) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| pid));
        next += 1;
    }
    family
}

/// proc_pid_stat(5): the second field after the name in parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whose CPU time counts.
#[derive(Clone, Debug)]
pub enum Spender {
    Process(u32),
    /// A thread of this process.
    Thread(u32),
}

/// Nanoseconds on a CPU so far, in user and kernel mode, of all threads that live.
pub fn used(spenders: &[Spender]) -> u64 {
    spenders
        .iter()
        .map(|spender| match spender {
            Spender::Thread(thread) => nanoseconds(&format!("/proc/self/task/{thread}")),
            Spender::Process(pid) => fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .filter_map(Result::ok)
                .map(|task| nanoseconds(&task.path().to_string_lossy()))
                .sum(),
        })
        .sum()
}

/// The first field of schedstat (Documentation/scheduler/sched-stats.rst); 0 for a thread that is gone.
fn nanoseconds(task: &str) -> u64 {
    let text = fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}
