//! The clocks of this machine.

use std::io;

use nix::time::{ClockId, clock_gettime};

use crate::{Error, wall::Wall};

fn nanoseconds(clock: ClockId) -> Result<i128, Error> {
    let time = clock_gettime(clock)
        .map_err(|errno| Error::System { action: "read the clock", source: io::Error::from(errno) })?;
    Ok(i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
}

/// `CLOCK_MONOTONIC` in nanoseconds: event time.
pub(crate) fn monotonic() -> Result<u64, Error> {
    nanoseconds(ClockId::CLOCK_MONOTONIC).map(|time| u64::try_from(time).unwrap_or(0))
}

/// What event time is on the wall, fixed now.
pub(crate) fn wall() -> Result<Wall, Error> {
    // The wall clock lies between two readings of the other one.
    let before = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
    let wall = nanoseconds(ClockId::CLOCK_REALTIME)?;
    let after = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
    Ok(Wall { offset: wall - (before + after) / 2 })
}
