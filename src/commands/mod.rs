//! One file a command.

pub mod cassette;
pub mod demo;
pub mod doctor;
pub mod hook;
pub mod noise;
pub mod record;
pub mod replay;
pub mod review;
pub mod server;
