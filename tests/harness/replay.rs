//! A replay, as a test asks for one.

use std::{path::Path, process::Command};

use super::{
    process::{Finished, Process},
    regress::regress,
    report::Report,
};

/// How often a recorded build is replayed that has to be the same each time: `REGRESS_TEST_REPEATS`, or three times.
pub fn repeats() -> u32 {
    let Ok(times) = std::env::var("REGRESS_TEST_REPEATS") else { return 3 };
    times.parse().expect("REGRESS_TEST_REPEATS is a number")
}

/// What to replay against what.
pub struct Replay<'a> {
    /// The folder of cassettes.
    pub cassettes: &'a Path,
    /// The settings file.
    pub settings: &'a Path,
    /// The new build.
    pub command: &'a [String],
    /// Its environment.
    pub environment: Vec<(&'static str, String)>,
    /// Further arguments of `regress replay`.
    pub arguments: &'a [&'a str],
}

impl Replay<'_> {
    /// Run it. The report is missing where replay could not begin.
    pub fn run(self) -> (Finished, Option<Report>) {
        let written = tempfile::tempdir().expect("there is a temporary folder");
        let report = written.path().join("report.json");
        let finished = Process::start(&mut self.prepare(&["--report", &format!("json={}", report.display())])).finish();
        let report = report.exists().then(|| Report::read(&report));
        (finished, report)
    }

    /// Begin it.
    pub fn start(self) -> Process {
        Process::start(&mut self.prepare(&[]))
    }

    fn prepare(&self, arguments: &[&str]) -> Command {
        let mut command = regress();
        command.arg("replay").arg(self.cassettes).arg("--config").arg(self.settings);
        command.args(arguments).args(self.arguments);
        command.arg("--").args(self.command).envs(self.environment.iter().cloned());
        command
    }
}
