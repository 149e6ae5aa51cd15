//! Replay cassettes in `cargo test`.
//!
//! ```no_run
//! #[test]
//! fn behaves_as_recorded() {
//!     regress_test::replay("tests/cassettes").command([env!("CARGO_PKG_NAME")]).assert();
//! }
//! ```
//!
//! The test runs `regress replay` and fails with its report when anything differs. Each entry that differs is a snapshot of
//! insta as well: `cargo insta review` accepts it as a known difference, which holds until the entry differs in another way.
//! To change the recording itself, use `regress review`.

mod report;

use std::{
    env,
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use report::{Outcome, Report};

/// A replay of a folder of cassettes. A path that is not absolute is one from the package's folder.
pub fn replay(cassettes: impl Into<PathBuf>) -> Replay {
    let cassettes = from_package(cassettes.into());
    let snapshots = cassettes.parent().unwrap_or(Path::new("")).join("snapshots");
    let regress = env::var_os("REGRESS_BIN").unwrap_or_else(|| "regress".into());
    Replay { cassettes, snapshots, regress, command: Vec::new(), arguments: Vec::new() }
}

fn from_package(path: PathBuf) -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env::current_dir().unwrap_or_default(), PathBuf::from);
    package.join(path)
}

/// What to replay against what.
#[derive(Clone, Debug)]
pub struct Replay {
    cassettes: PathBuf,
    snapshots: PathBuf,
    regress: OsString,
    command: Vec<OsString>,
    arguments: Vec<OsString>,
}

impl Replay {
    /// The command that starts the build under test, for example `[env!("CARGO_BIN_EXE_shop"), "--port", "8080"]`. Without
    /// one it is that of `regress.toml`.
    pub fn command<A: Into<OsString>>(mut self, command: impl IntoIterator<Item = A>) -> Replay {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// Further arguments of `regress replay`, for example `["--jobs", "4"]`.
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Replay {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The `regress` program. Without it: `REGRESS_BIN`, else the one in `PATH`.
    pub fn regress(mut self, program: impl Into<OsString>) -> Replay {
        self.regress = program.into();
        self
    }

    /// The folder of accepted differences. Without it: `snapshots` beside the folder of cassettes.
    pub fn snapshots(mut self, folder: impl Into<PathBuf>) -> Replay {
        self.snapshots = from_package(folder.into());
        self
    }

    /// Replay, and compare each entry with what was recorded, or with the difference that was accepted for it.
    ///
    /// # Panics
    /// With the text report, when an entry is different in a way that nobody accepted, when it is the same again though a
    /// difference is accepted for it, or when anything could not be told.
    pub fn assert(self) {
        let (output, report) = self.run();
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(report) = report else {
            panic!("regress replay could not begin:\n{}{text}", String::from_utf8_lossy(&output.stderr));
        };
        let mut wrong = Vec::new();
        for outcome in &report.outcomes {
            wrong.extend(self.compare(outcome));
        }
        if !report.startup.is_empty() || !report.unreadable.is_empty() {
            wrong.push("something could not be told".to_owned());
        }
        if report.outcomes.is_empty() {
            wrong.push("nothing was replayed".to_owned());
        }
        assert!(wrong.is_empty(), "{text}\n{}", wrong.join("\n"));
    }

    fn run(&self) -> (Output, Option<Report>) {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let json = folder.path().join("report.json");
        let mut command = Command::new(&self.regress);
        command.arg("replay").arg(&self.cassettes).args(["--report", "text=-", "--report"]);
        command.arg(format!("json={}", json.display())).args(&self.arguments);
        if !self.command.is_empty() {
            command.arg("--").args(&self.command);
        }
        let output = command.output().unwrap_or_else(|error| {
            panic!("cannot run {:?}: {error}; install regress, or name it in REGRESS_BIN", self.regress)
        });
        let report = json.exists().then(|| Report::read(&json));
        (output, report)
    }

    /// What is wrong with an entry, if anything is.
    fn compare(&self, outcome: &Outcome) -> Option<String> {
        let accepted = self.snapshots.join(format!("{}.snap", outcome.cassette));
        match outcome.verdict.as_str() {
            "same" if accepted.exists() => Some(format!(
                "{} is as recorded again; delete the difference that was accepted for it: {}",
                outcome.cassette,
                accepted.display()
            )),
            "same" => None,
            "different" => self.is_accepted(outcome).err(),
            _ => Some(format!("{}: it could not be told", outcome.cassette)),
        }
    }

    /// Whether the difference is the accepted one. If not, insta shows both and writes the new one where `cargo insta` finds it.
    fn is_accepted(&self, outcome: &Outcome) -> Result<(), String> {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&self.snapshots);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_description(outcome.entry.clone());
        let compared = catch_unwind(AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(outcome.cassette.as_str(), outcome.told()));
        }));
        compared.map_err(|_| {
            format!(
                "{} differs: `cargo insta review` accepts that, `regress review` changes the recording",
                outcome.cassette
            )
        })
    }
}
