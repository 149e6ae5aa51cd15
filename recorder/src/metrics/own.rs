//! What this process costs.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// Processor time in seconds and resident memory in bytes; 0 where the kernel does not say.
pub(super) fn costs() -> (f64, u64) {
    let ticks = unit(SysconfVar::CLK_TCK);
    let page = unit(SysconfVar::PAGE_SIZE);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    (processor_ticks(&stat) as f64 / ticks as f64, resident_pages(&stat) * page)
}

fn unit(name: SysconfVar) -> u64 {
    sysconf(name).ok().flatten().and_then(|unit| u64::try_from(unit).ok()).filter(|unit| *unit > 0).unwrap_or(1)
}

/// Fields 14 and 15 of proc_pid_stat(5): time in user and in kernel mode.
fn processor_ticks(stat: &str) -> u64 {
    field(stat, 14) + field(stat, 15)
}

/// Field 24.
fn resident_pages(stat: &str) -> u64 {
    field(stat, 24)
}

/// A field by its number, from 3 on: those are behind the name, which may have anything in it.
fn field(stat: &str, number: usize) -> u64 {
    let behind_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    behind_name.split_ascii_whitespace().nth(number - 3).and_then(|field| field.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_it() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 10 0 0 0 250 50 0 0 20 0 1 0 5 4096000 321 18446744073709551615";
        assert_eq!((processor_ticks(stat), resident_pages(stat)), (300, 321));
        assert_eq!((processor_ticks(""), resident_pages("1 (x) S")), (0, 0));
        assert!(costs().1 > 1 << 20);
    }
}
