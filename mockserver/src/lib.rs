//! The sealed sandbox and the downstreams played inside it.

pub mod bound;
pub mod dns;
mod error;
pub mod flow;
pub mod intercept;
mod journal;
pub mod library;
mod matching;
mod miss;
pub mod mock;
mod playback;
#[cfg(test)]
mod samples;
pub mod sandbox;
pub mod survey;
pub mod tls;
mod turns;

pub use error::Error;
