//! What the tests share.

mod authority;
mod browser;
mod client;
mod corpus;
mod downstream;
#[cfg(target_arch = "x86_64")]
pub mod faults;
mod object_store;
mod process;
mod regress;
mod replay;
mod report;
mod require;
mod server;
mod terminal;

pub use authority::Authority;
pub use browser::Browser;
pub use client::{Client, Reply};
pub use corpus::{Corpus, http, neutral};
pub use downstream::{Answer, Downstream};
pub use object_store::{Fault, ObjectStore, nobody};
pub use process::{Finished, Process, free_port, in_network_of, wait_for_port};
pub use regress::{ForNobody, Recording, open_to_all, regress};
pub use replay::{Replay, repeats};
pub use report::{Difference, Outcome, Report};
pub use require::{Need, cgroup_hierarchy, php_fpm, postgres_programs, python_for_all, require, tools};
pub use server::{CaptureServer, NOBODY, as_nobody, children};
pub use terminal::Terminal;
