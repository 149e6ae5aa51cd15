//! Loading a corpus, in a process of its own so that its peak memory is known.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use regress_cassettes::Store;
use regress_replayer::{Plan, Selection};

/// What loading took.
pub struct Load {
    pub seconds: f64,
    /// The CPU time of all threads.
    pub cpu: f64,
    /// The most memory that the process ever had, in MiB.
    pub peak: f64,
}

/// Load the corpus there in a process of its own.
pub fn measure(corpus: &Path) -> Result<Load, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).arg("load").arg(corpus).output().map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let numbers: Option<Vec<f64>> = printed.split_whitespace().map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[seconds, cpu, peak]) if output.status.success() => Ok(Load { seconds, cpu, peak }),
        _ => Err(format!("the load failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// `load CORPUS`: prints seconds, CPU seconds and peak MiB.
pub fn run(arguments: &[String]) -> ExitCode {
    let [corpus] = arguments else { return ExitCode::from(2) };
    let began = Instant::now();
    let plan = Store::open(corpus).map_err(|error| error.to_string()).and_then(|store| {
        let plan = Plan::read(&store, &Selection::default()).map_err(|error| error.to_string())?;
        plan.unreadable.first().map_or(Ok(()), |one| Err(one.why.clone()))
    });
    let seconds = began.elapsed().as_secs_f64();
    match plan.and_then(|()| peak().ok_or_else(|| "no VmHWM in /proc/self/status".to_owned())) {
        Ok(peak) => {
            println!("{seconds} {} {peak}", cpu());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The CPU time of all threads of this process so far, in seconds.
pub fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask how much it used");
    let seconds = |spent: TimeVal| spent.tv_sec() as f64 + spent.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn peak() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: f64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}
