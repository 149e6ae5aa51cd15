//! A seccomp filter against the socket families that a network namespace does not contain (`seccomp(2)`).
#![allow(unsafe_code, reason = "installing a filter is a raw prctl")]

use std::io;

/// Families whose sockets reach the host or its hardware from any network namespace.
const OUTSIDE: [libc::c_int; 3] = [libc::AF_VSOCK, libc::AF_BLUETOOTH, AF_QIPCRTR];
const AF_QIPCRTR: libc::c_int = 42;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`; the low half of the first argument on a little-endian machine.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// Makes `socket()` fail with EAFNOSUPPORT for those families, in this process and all that it starts.
///
/// Needs `no_new_privs` or CAP_SYS_ADMIN.
pub(super) fn deny_outside_sockets() -> io::Result<()> {
    let mut filter = filter();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which is valid for the length given, before the call returns.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn filter() -> Vec<libc::sock_filter> {
    let families = OUTSIDE.len() as u8;
    let mut filter = vec![
        load(ARCH),
        unless(AUDIT_ARCH, families + 3),
        load(NUMBER),
        unless(libc::SYS_socket as u32, families + 1),
        load(FIRST_ARGUMENT),
    ];
    for (index, family) in OUTSIDE.iter().enumerate() {
        // Equal: to the refusal, which follows the remaining comparisons and the permission.
        let to_refusal = families - index as u8;
        filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_refusal, 0, *family as u32));
    }
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32));
    filter
}

fn load(offset: u32) -> libc::sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Skips `skip` steps when the loaded value is another.
fn unless(value: u32, skip: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skip, value)
}

fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would.
    fn run(arch: u32, number: u32, argument: u32) -> u32 {
        let filter = filter();
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = filter[at];
            at += 1;
            match u32::from(step.code) {
                0x20 => loaded = [number, arch, 0, 0, argument][step.k as usize / 4],
                0x15 if loaded == step.k => at += usize::from(step.jt),
                0x15 => at += usize::from(step.jf),
                _ => return step.k,
            }
        }
    }

    #[test]
    fn only_the_outside_families_of_socket_are_refused() {
        let socket = libc::SYS_socket as u32;
        let refusal = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
        for family in OUTSIDE {
            assert_eq!(run(AUDIT_ARCH, socket, family as u32), refusal);
            assert_eq!(run(AUDIT_ARCH, socket + 1, family as u32), libc::SECCOMP_RET_ALLOW);
            assert_eq!(run(0x4000_0003, socket, family as u32), libc::SECCOMP_RET_ALLOW);
        }
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            assert_eq!(run(AUDIT_ARCH, socket, family as u32), libc::SECCOMP_RET_ALLOW);
        }
    }
}
