//! What a replay is told, and what it tells while it works.

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use regress_cassettes::{CassetteId, diff::Rules, redact::Redactor, seal::Keys};
use regress_mockserver::mock::Policy;

use crate::{Keep, Outcome, Selection};

/// What to replay, against what, and how long to wait.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of cassettes.
    pub store: PathBuf,
    /// What opens those that are sealed.
    pub keys: Keys,
    /// The command that starts the service.
    pub command: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// The folder the service starts in; `None` = the current one.
    pub cwd: Option<PathBuf>,
    /// How many sandboxes work side by side.
    pub jobs: usize,
    /// Which entries.
    pub selection: Selection,
    /// Which of them, by id; `None` = all.
    pub only: Option<BTreeSet<CassetteId>>,
    /// Whether to stop at the first entry that is different. Those under way in other sandboxes are still judged.
    pub fail_fast: bool,
    /// The port the service takes entries on, where it is another one than in the recording.
    pub entry_port: Option<u16>,
    /// How long the service may take until it accepts connections.
    pub ready_timeout: Duration,
    /// How long an entry may take.
    pub entry_timeout: Duration,
    /// How long to wait, after an answer, for recorded calls that were not made yet.
    pub settle: Duration,
    /// How far a call may be from the recorded one that answers it.
    pub policy: Policy,
    /// What is noise.
    pub rules: Rules,
    /// What takes secrets out of what the service says.
    pub redactor: Arc<Redactor>,
    /// Whether what is found out is kept for when this replay is interrupted.
    pub keep: Keep,
    /// Whether proposals (`*.new`) are written beside cassettes that differ.
    pub propose: bool,
    /// Whether a call that misses is answered by the nearest recorded exchange of its operation, where there is one. It
    /// stays a finding.
    pub answer_misses: bool,
    /// The program whose `main` calls `sandbox::helper_main` first.
    pub helper: PathBuf,
}

/// What a replay tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// It begins to drive entries.
    Begun {
        /// How many.
        entries: usize,
        /// Of how many more the outcome is known from before.
        known: usize,
    },
    /// The outcome of an entry, each once, as soon as it is known.
    Outcome(&'a Outcome),
    /// It drives so many entries once more, to see what to propose.
    Repeats(usize),
    /// One of them is done.
    Repeated,
    /// When it is interrupted it cannot be gone on with; why.
    NotKept(&'a str),
}
