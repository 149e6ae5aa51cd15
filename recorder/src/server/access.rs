//! Whose processes an agent may have captured.
//!
//! Everything is what the kernel says of the agent and of the process, in the eyes of the server: the agent is known by the
//! credentials of its socket, processes by handles (`pidfd_open(2)`). An agent may have captured what it sees and could trace
//! by itself: what a user, or root in a container, can read of such a process anyhow.
#![allow(unsafe_code, reason = "NS_GET_PARENT has no safe wrapper in our dependencies")]

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

const CAP_SYS_PTRACE: u64 = 1 << 19;
/// `_IO(0xb7, 2)`, linux/nsfs.h.
const NS_GET_PARENT: libc::Ioctl = 0xb702;
/// Namespaces of processes may be nested so deep (MAX_PID_NS_LEVEL).
const LEVELS: usize = 33;

/// What the kernel says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Real, effective and saved.
    pub(crate) users: [u32; 3],
    groups: [u32; 3],
    /// Capabilities, as bits.
    permitted: u64,
    effective: u64,
    /// Whether others of its user may look into it (PR_SET_DUMPABLE).
    dumpable: bool,
    /// Its own first, then those above it, as far as this process may know them.
    pid_namespaces: Vec<u64>,
    user_namespace: u64,
    cgroup_namespace: u64,
    pub(crate) time_namespace: u64,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It is in a PID namespace that is neither the agent's nor below it.
    PidNamespace,
    /// The agent is in a container that sees the host's processes, and it is not in that container.
    Container,
    /// It is of another user, or has more rights than the agent.
    User,
}

impl Denied {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Denied::PidNamespace => "it is not in the agent's PID namespace, nor below it",
            Denied::Container => "it is not in the agent's container",
            Denied::User => "it is of another user, or has more rights than the agent",
        }
    }
}

impl Standing {
    /// Of a process, by its id in this process's PID namespace.
    ///
    /// # Errors
    /// When there is none, or this process may not know.
    pub(crate) fn of(pid: u32) -> io::Result<Standing> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let file = fs::metadata(format!("/proc/{pid}/environ"))?;
        let namespace = |name: &str| fs::metadata(format!("/proc/{pid}/ns/{name}")).map(|found| found.ino());
        let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "its status cannot be read");
        let users = numbers(&status, "Uid:").ok_or_else(unreadable)?;
        Ok(Standing {
            users,
            groups: numbers(&status, "Gid:").ok_or_else(unreadable)?,
            permitted: capabilities(&status, "CapPrm:").ok_or_else(unreadable)?,
            effective: capabilities(&status, "CapEff:").ok_or_else(unreadable)?,
            dumpable: file.uid() == users[1],
            pid_namespaces: pid_namespaces(pid)?,
            user_namespace: namespace("user")?,
            cgroup_namespace: namespace("cgroup")?,
            // Kernels that have none have one for all.
            time_namespace: namespace("time").unwrap_or_default(),
        })
    }

    /// Whether an agent may have this process captured by the server `own`.
    pub(crate) fn may_be_captured(&self, agent: &Standing, own: &Standing) -> Result<(), Denied> {
        let is_below = agent.pid_namespaces.first().is_some_and(|top| self.pid_namespaces.contains(top));
        if !is_below {
            return Err(Denied::PidNamespace);
        }
        let sees_host = agent.pid_namespaces.first() == own.pid_namespaces.first();
        let in_container = agent.cgroup_namespace != own.cgroup_namespace;
        if sees_host && in_container && self.cgroup_namespace != agent.cgroup_namespace {
            return Err(Denied::Container);
        }
        let rules_container = !sees_host && agent.users[1] == 0;
        if rules_container || self.may_be_traced(agent, own) {
            return Ok(());
        }
        Err(Denied::User)
    }

    /// `ptrace_may_access` in the kernel, for PTRACE_MODE_READ_FSCREDS, less what security modules add.
    fn may_be_traced(&self, agent: &Standing, own: &Standing) -> bool {
        let may_trace = agent.effective & CAP_SYS_PTRACE != 0
            && (agent.user_namespace == self.user_namespace || agent.user_namespace == own.user_namespace);
        let is_same = self.users.iter().all(|user| *user == agent.users[1])
            && self.groups.iter().all(|group| *group == agent.groups[1])
            && agent.user_namespace == self.user_namespace
            && self.permitted & !agent.effective == 0
            && self.dumpable;
        may_trace || is_same
    }
}

/// The first three numbers of a line of `/proc/PID/status`.
fn numbers(status: &str, name: &str) -> Option<[u32; 3]> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
}

fn capabilities(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn pid_namespaces(pid: u32) -> io::Result<Vec<u64>> {
    let mut namespace = OwnedFd::from(File::open(format!("/proc/{pid}/ns/pid"))?);
    let mut found = Vec::new();
    while found.len() < LEVELS {
        let file = File::from(namespace);
        found.push(file.metadata()?.ino());
        // SAFETY: the request takes no argument, and gives a new descriptor or an error.
        let parent = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_PARENT) };
        if parent < 0 {
            // EPERM: there is none above it, or none that this process may know.
            return Ok(found);
        }
        // SAFETY: the kernel has just made it for this process.
        namespace = unsafe { OwnedFd::from_raw_fd(parent) };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: u64 = 1;
    const CONTAINER: u64 = 2;
    const OTHER: u64 = 3;
    const NESTED: u64 = 4;
    const ALL: u64 = (1 << 41) - 1;
    /// What a container's root has by default: no CAP_SYS_PTRACE.
    const FEW: u64 = 0xa804_25fb;

    fn process(user: u32, capabilities: u64) -> Standing {
        Standing {
            users: [user; 3],
            groups: [user; 3],
            permitted: capabilities,
            effective: capabilities,
            dumpable: true,
            pid_namespaces: vec![HOST],
            user_namespace: HOST,
            cgroup_namespace: HOST,
            time_namespace: HOST,
        }
    }

    fn inside(pids: &[u64], cgroup: u64, process: Standing) -> Standing {
        Standing { pid_namespaces: pids.to_vec(), cgroup_namespace: cgroup, ..process }
    }

    #[test]
    fn who_may_have_what_captured() {
        let own = process(0, ALL);
        let contained = |user, capabilities| inside(&[CONTAINER, HOST], CONTAINER, process(user, capabilities));
        let host_pids = |user, capabilities| inside(&[HOST], CONTAINER, process(user, capabilities));
        let other = |user, capabilities| inside(&[OTHER, HOST], OTHER, process(user, capabilities));
        let nested = |user| inside(&[NESTED, CONTAINER, HOST], NESTED, process(user, 0));
        let rootless = |process: Standing| Standing { user_namespace: CONTAINER, ..process };
        let raised = Standing { users: [1000, 0, 0], ..process(1000, ALL) };
        let secret = Standing { dumpable: false, ..process(1000, 0) };
        let group = Standing { groups: [5; 3], ..process(1000, 0) };
        let cases = [
            ("root has everything", process(0, ALL), process(1000, 0), Ok(())),
            ("and what is in containers", process(0, ALL), contained(0, FEW), Ok(())),
            ("and in those of users", process(0, ALL), rootless(contained(100_000, ALL)), Ok(())),
            ("a user has what is the user's", process(1000, 0), process(1000, 0), Ok(())),
            ("also in a container without more rights", process(1000, 0), contained(1000, 0), Ok(())),
            ("and nothing of others", process(1000, 0), process(1001, 0), Err(Denied::User)),
            ("nor of root", process(1000, 0), process(0, ALL), Err(Denied::User)),
            ("nor what became root", process(1000, 0), raised, Err(Denied::User)),
            ("nor what has more rights", process(1000, 0), process(1000, 1 << 10), Err(Denied::User)),
            ("nor of another group", process(1000, 0), group, Err(Denied::User)),
            ("nor what keeps to itself", process(1000, 0), secret, Err(Denied::User)),
            ("root without rights is a user", process(0, 0), process(1000, 0), Err(Denied::User)),
            ("a container's root has the container", contained(0, FEW), contained(33, 0), Ok(())),
            ("and what is below it", contained(0, FEW), nested(33), Ok(())),
            ("not the host", contained(0, ALL), process(0, ALL), Err(Denied::PidNamespace)),
            ("nor other containers", contained(0, ALL), other(0, FEW), Err(Denied::PidNamespace)),
            ("the same user elsewhere is another", contained(1000, 0), process(1000, 0), Err(Denied::PidNamespace)),
            ("what is below does not see above", nested(1000), contained(1000, 0), Err(Denied::PidNamespace)),
            ("a user in it has its own", contained(1000, 0), contained(1000, 0), Ok(())),
            ("and no more", contained(1000, 0), contained(33, 0), Err(Denied::User)),
            ("who sees the host's numbers", host_pids(0, ALL), host_pids(0, FEW), Ok(())),
            ("has not its processes", host_pids(0, ALL), process(0, FEW), Err(Denied::Container)),
            ("nor other containers'", host_pids(0, ALL), other(0, FEW), Err(Denied::Container)),
            ("and is no root of it", host_pids(0, FEW), host_pids(33, 0), Err(Denied::User)),
            ("rootless root", rootless(contained(100_000, ALL)), rootless(contained(100_033, 0)), Ok(())),
            ("has not the host's", rootless(process(100_000, ALL)), process(100_000, 0), Err(Denied::User)),
        ];
        for (what, agent, target, expected) in cases {
            assert_eq!(target.may_be_captured(&agent, &own), expected, "{what}");
        }
    }

    #[test]
    fn the_kernel_says_who_a_process_is() {
        let own = Standing::of(std::process::id()).unwrap();
        assert_eq!(
            own.users,
            [nix::unistd::getuid(), nix::unistd::geteuid(), nix::unistd::geteuid()].map(|u| u.as_raw())
        );
        assert!(own.dumpable && !own.pid_namespaces.is_empty());
        assert_eq!(own.may_be_captured(&own, &own), Ok(()));
        assert_eq!(Standing::of(u32::MAX >> 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
