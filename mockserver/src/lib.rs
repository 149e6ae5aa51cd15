//! The sealed sandbox and the downstreams played inside it.

pub mod sandbox;
