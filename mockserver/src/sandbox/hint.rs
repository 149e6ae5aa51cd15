//! What to do when a host does not allow a sandbox.

use std::fs;
use std::io;
use std::path::Path;

use super::wire::Step;

/// The one thing to do about a step that failed for this reason, from what the host's settings say.
pub(crate) fn hint(step: &Step, source: &io::Error) -> Option<String> {
    hint_on(step, source, |setting| {
        fs::read_to_string(Path::new("/proc/sys").join(setting)).ok().map(|value| value.trim().to_owned())
    })
}

fn hint_on(step: &Step, source: &io::Error, setting: impl Fn(&str) -> Option<String>) -> Option<String> {
    let is = |name, value| setting(name).as_deref() == Some(value);
    let denied = matches!(source.raw_os_error(), Some(libc::EPERM | libc::EACCES));
    Some(match step {
        Step::Namespaces | Step::Identity if is("user/max_user_namespaces", "0") => {
            "user namespaces are off; as root: `sysctl -w user.max_user_namespaces=15000`".into()
        }
        Step::Namespaces | Step::Identity if is("kernel/unprivileged_userns_clone", "0") => {
            "unprivileged user namespaces are off; as root: `sysctl -w kernel.unprivileged_userns_clone=1`".into()
        }
        // AppArmor lets the namespace be made and then grants nothing in it.
        _ if denied && is("kernel/apparmor_restrict_unprivileged_userns", "1") => {
            "AppArmor restricts unprivileged user namespaces; as root: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, \
             or run regress as root"
                .into()
        }
        Step::Namespaces | Step::Identity if denied => {
            "a container's seccomp profile forbids namespaces; start it with `--security-opt seccomp=unconfined \
             --security-opt apparmor=unconfined`, or run regress outside the container"
                .into()
        }
        Step::Namespaces if source.raw_os_error() == Some(libc::EINVAL) => {
            "this kernel lacks one of CONFIG_USER_NS, CONFIG_NET_NS, CONFIG_PID_NS, CONFIG_IPC_NS, CONFIG_UTS_NS".into()
        }
        Step::Namespaces if source.raw_os_error() == Some(libc::ENOSPC) => {
            "too many namespaces are in use; as root, raise `user.max_user_namespaces` and `user.max_net_namespaces`".into()
        }
        Step::Nftables(part) if matches!(source.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT)) => {
            let module = match part.as_str() {
                "tproxy" => "nft_tproxy",
                "socket transparent" | "socket wildcard" => "nft_socket",
                "reject" => "nft_reject_inet",
                _ => "nf_tables",
            };
            format!("the kernel has no {module}; as root: `modprobe {module}`")
        }
        Step::Routes if matches!(source.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {
            "IPv6 is off in this kernel; boot without `ipv6.disable=1` (`net.ipv6.conf.all.disable_ipv6` may stay set)".into()
        }
        Step::Talk if source.kind() == io::ErrorKind::UnexpectedEof => {
            "the helper ended early; it must be an executable that calls `sandbox::helper_main` first, and the host must not \
             be out of memory or processes"
                .into()
        }
        _ if denied => {
            "the host's security policy refuses this inside a user namespace; run regress as root or outside the container".into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint_with(step: &Step, errno: i32, setting: &str, value: &str) -> Option<String> {
        let value = value.to_owned();
        hint_on(step, &io::Error::from_raw_os_error(errno), |name| (name == setting).then(|| value.clone()))
    }

    #[test]
    fn each_refusal_names_the_setting_or_module_behind_it() {
        for (step, errno, setting, value, expected) in [
            (Step::Namespaces, libc::ENOSPC, "user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
            (Step::Namespaces, libc::EPERM, "kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
            (Step::Loopback, libc::EPERM, "kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict"),
            (Step::Namespaces, libc::EPERM, "none", "", "seccomp"),
            (Step::Nftables("tproxy".into()), libc::ENOENT, "none", "", "modprobe nft_tproxy"),
            (Step::Nftables("socket wildcard".into()), libc::ENOENT, "none", "", "modprobe nft_socket"),
            (Step::Nftables("table".into()), libc::EPROTONOSUPPORT, "none", "", "modprobe nf_tables"),
        ] {
            let hint = hint_with(&step, errno, setting, value).unwrap();
            assert!(hint.contains(expected), "{step}: {hint}");
        }
        assert_eq!(hint_with(&Step::Listeners, libc::EADDRINUSE, "none", ""), None);
    }
}
