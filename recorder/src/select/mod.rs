//! Which entries of a recording are kept. Pure: decisions from what was recorded and event times, no clock, no I/O.
//!
//! Everything is followed all the same, because the owner of a call is known only by all entries that are open; what is
//! decided here is which of them become cassettes. Whatever is left out is counted by its reason.

mod backoff;
mod bucket;
mod examples;
mod health;
mod left_out;
mod policy;
mod route;
mod selector;
mod shape;
mod size;

pub use backoff::{BackOff, Breaker};
pub(crate) use backoff::{Controller, Reading, Step};
pub use bucket::Rate;
pub use left_out::{LeftOut, Reason};
pub use policy::{Policy, Rule};
pub(crate) use route::template;
pub(crate) use selector::{Selector, Standing};
