//! Events to connections, exchanges, owners and cassettes.
//!
//! A capture source ([`regress_ebpf`], or the proxy here) emits events; a pure pipeline turns them into two byte
//! streams a connection, those into exchanges, decides which entry caused which downstream exchange, and hands out a
//! cassette as soon as its entry has settled. [`record()`] runs a source, the pipeline and the store together. Where this
//! process may not capture, a [`server`] does it for it.

mod agent;
mod assemble;
mod clock;
mod clues;
mod confine;
mod connections;
mod considerate;
mod correlate;
mod error;
mod followed;
mod held;
mod hold;
mod launch;
mod ledger;
mod metrics;
mod names;
mod owner_log;
mod pipeline;
mod pressure;
mod proxy;
mod queue;
mod record;
mod recorrelate;
pub mod select;
pub mod server;
mod settings;
mod silences;
mod sink;
mod source;
mod summary;
mod vitals;
mod wall;
mod watch;
#[doc(hidden)]
pub mod wire;
mod work;

pub use agent::Connected;
pub use confine::{Unconfined, confines};
pub use error::Error;
pub use ledger::{Lack, Ledger, Tally};
pub use record::{record, record_events};
pub use recorrelate::{Recorrelated, recorrelate};
pub use settings::{Fsync, Progress, Settings, Started, Stop, Target, ViaChoice};
pub use summary::{BackedOff, Counts, Happened, Summary};
