//! The cassette format: its model, its files, the store they live in, and their verification.
//!
//! `FORMAT.md` beside this crate is the specification.

mod model;

pub use model::{
    Cassette, CassetteId, Cause, Confidence, Connection, Content, Defect, Ended, Exchange, HttpExchange, Micros,
    Recorded, Rule, Turn, Via,
};
