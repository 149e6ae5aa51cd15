//! What parts of regress give up, so that whoever takes one over by what it reads has little.
//!
//! Threads that parse what a service said may write cassettes and nothing else ([`parser`]); the process that captures for an
//! agent keeps the privileges that following new processes takes ([`session`]).

use std::{collections::BTreeMap, io, path::Path};

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The newest rights of Landlock that are asked for; a kernel that knows fewer takes those.
const LANDLOCK: ABI = ABI::V5;

/// What nobody does who reads and writes files: begin programs, become another, look into others, change the system.
const NEVER: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
];

/// What a capture does and a parser does not.
const CAPTURES: &[libc::c_long] = &[libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_pidfd_getfd];

/// What changes files, beside opening them to write.
const CHANGES: &[libc::c_long] = &[
    libc::SYS_openat2,
    libc::SYS_truncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_pidfd_send_signal,
];

/// What following processes takes: the programs of the capture and their probes, looking into processes, and reading what they
/// execute.
const KEPT: [Capability; 5] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
    // Files that are mapped, by what is mapped and not by their names.
    Capability::CAP_CHECKPOINT_RESTORE,
];

/// What probes in programs take as well, where the kernel says so: since 6.16, and in later updates of older kernels (commit
/// ba677dbe77af, "perf: Revert to requiring CAP_SYS_ADMIN for uprobes").
const FOR_PROBES: [Capability; 1] = [Capability::CAP_SYS_ADMIN];

/// Threads that parse may do more than they have to.
#[derive(Debug, thiserror::Error)]
#[error("threads that parse may {0}")]
pub struct Unconfined(String);

/// Whether this kernel keeps threads that parse from all that they have no use for; tried on a thread of its own.
///
/// # Errors
/// With what they may.
pub fn confines() -> Result<(), Unconfined> {
    let lacking =
        std::thread::spawn(|| lacks(None)).join().unwrap_or_else(|_| vec!["do what this user may".to_owned()]);
    if lacking.is_empty() { Ok(()) } else { Err(Unconfined(lacking.join("; and "))) }
}

/// Keep the calling thread, and threads that it starts from now on, from everything that a parser has no use for: other programs,
/// the network, other processes, and files to write but below `writes`. What the kernel does not have is left out, and logged;
/// `regress doctor` tells it.
pub(crate) fn parser(writes: Option<&Path>) {
    for lacking in lacks(writes) {
        tracing::debug!("threads that parse may {lacking}");
    }
}

/// Confine the calling thread as far as it goes; gives what it still may.
fn lacks(writes: Option<&Path>) -> Vec<String> {
    let files = read_only(writes).map_err(|error| format!("write what this user may write: {error}"));
    let forbidden: Vec<_> = [NEVER, CAPTURES].concat();
    let calls = filter(&forbidden, false).and_then(|filter| seccompiler::apply_filter(&filter));
    let calls = calls.map_err(|error| format!("make every system call: {error}"));
    [files.err(), calls.err()].into_iter().flatten().collect()
}

/// Give up, in all threads of this process, what a capture that has begun does not need.
///
/// # Errors
/// When the kernel does not take privileges away.
pub(crate) fn session() -> io::Result<()> {
    let forbidden: Vec<_> = [NEVER, CHANGES].concat();
    let filter = filter(&forbidden, true).map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&filter).map_err(io::Error::other)
}

/// Give up, in the calling thread and those that it starts from now on, privileges that no capture needs. Before programs are loaded.
///
/// # Errors
/// When the kernel does not take privileges away.
pub(crate) fn capabilities() -> io::Result<()> {
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let keep = |wanted: &[Capability]| -> CapsHashSet {
        wanted.iter().copied().filter(|capability| held.contains(capability)).collect()
    };
    let mut kept = keep(&KEPT);
    caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)?;
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    if regress_ebpf::uprobes().is_err() {
        let without = kept.clone();
        kept.extend(keep(&FOR_PROBES));
        caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
        if regress_ebpf::uprobes().is_err() {
            // That was not why.
            kept = without;
        }
    }
    // In this order: what is effective is permitted.
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(io::Error::other)
}

fn read_only(writes: Option<&Path>) -> Result<(), Box<dyn std::error::Error>> {
    let changes = AccessFs::from_write(LANDLOCK);
    let rules = Ruleset::default().handle_access(changes | AccessFs::Execute)?.create()?;
    let rules = match writes {
        Some(folder) => rules.add_rule(PathBeneath::new(PathFd::new(folder)?, changes))?,
        None => rules,
    };
    match rules.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel has no Landlock".into()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Answers these calls with EPERM. `reads`: also each `openat` that is to write.
fn filter(forbidden: &[libc::c_long], reads: bool) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = forbidden.iter().map(|call| (*call, Vec::new())).collect();
    if reads {
        let flags = |mask: libc::c_int, value: libc::c_int| {
            let (mask, value) = (u64::from(mask.unsigned_abs()), u64::from(value.unsigned_abs()));
            SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
                .and_then(|condition| SeccompRule::new(vec![condition]))
        };
        let writing = [
            flags(libc::O_ACCMODE, libc::O_WRONLY)?,
            flags(libc::O_ACCMODE, libc::O_RDWR)?,
            flags(libc::O_CREAT, libc::O_CREAT)?,
            flags(libc::O_TRUNC, libc::O_TRUNC)?,
        ];
        rules.insert(libc::SYS_openat, writing.into());
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        net::{TcpListener, TcpStream},
        process::Command,
        thread,
    };

    use super::*;

    fn refused<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_thread_that_parses_writes_where_it_may_and_does_nothing_else() {
        let mine = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("old"), "old").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let has_landlock = thread::spawn(|| read_only(None).is_ok()).join().unwrap();
        thread::scope(|scope| {
            let confined = || {
                parser(Some(mine.path()));
                let below = mine.path().join("below");
                fs::create_dir(&below).unwrap();
                fs::write(mine.path().join("new"), "new").unwrap();
                fs::rename(mine.path().join("new"), below.join("moved")).unwrap();
                fs::remove_file(below.join("moved")).unwrap();
                assert_eq!(fs::read_to_string(other.path().join("old")).unwrap(), "old", "it may read");
                if has_landlock {
                    assert!(refused(fs::write(other.path().join("new"), "new")));
                    assert!(refused(fs::write(other.path().join("old"), "new")));
                    assert!(refused(fs::remove_file(other.path().join("old"))));
                }
                assert!(refused(Command::new("true").status()), "no program");
                assert!(refused(TcpStream::connect(address)), "no network");
                let inherited = scope.spawn(|| refused(TcpStream::connect(address)));
                assert!(inherited.join().unwrap(), "nor for threads of its own");
            };
            scope.spawn(confined).join().unwrap();
        });
        assert!(Command::new("true").status().unwrap().success(), "other threads are as they were");
        assert!(TcpStream::connect(address).is_ok());
    }

    #[test]
    fn what_the_kernel_lacks_is_told() {
        let has_landlock = thread::spawn(|| read_only(None).is_ok()).join().unwrap();
        assert_eq!(confines().is_ok(), has_landlock);
        thread::spawn(|| {
            // As in a kernel that has neither.
            let absent = [libc::SYS_landlock_create_ruleset, libc::SYS_seccomp];
            seccompiler::apply_filter(&filter(&absent, false).unwrap()).unwrap();
            let told = confines().unwrap_err().to_string();
            let [files, calls] =
                ["threads that parse may write what this user may write: ", "; and make every system call: "];
            assert!(told.starts_with(files) && told.contains(calls), "{told}");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_session_writes_no_file_and_becomes_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        thread::spawn(move || {
            let forbidden: Vec<_> = [NEVER, CHANGES].concat();
            seccompiler::apply_filter(&filter(&forbidden, true).unwrap()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "old");
            assert!(refused(fs::write(&file, "new")));
            assert!(refused(fs::OpenOptions::new().append(true).open(&file)));
            assert!(refused(fs::File::create(file.with_extension("new"))));
            assert!(refused(fs::remove_file(&file)));
            assert!(refused(fs::rename(&file, file.with_extension("moved"))));
            let mode = fs::metadata(&file).unwrap().permissions();
            assert!(refused(fs::File::open(&file).unwrap().set_permissions(mode.clone())), "nor what files are");
            assert!(refused(fs::set_permissions(&file, mode)));
            assert!(refused(Command::new("true").status()));
            assert!(refused(std::os::unix::net::UnixStream::connect("/nowhere")));
            assert!(refused(nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).map_err(io::Error::from)));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn capabilities_that_no_capture_needs_are_given_up() {
        thread::spawn(|| {
            capabilities().unwrap();
            let held = caps::read(None, CapSet::Effective).unwrap();
            let needed = |capability: &Capability| KEPT.contains(capability) || FOR_PROBES.contains(capability);
            assert!(held.iter().all(needed), "{held:?}");
            assert!(caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN).is_err());
        })
        .join()
        .unwrap();
    }
}
