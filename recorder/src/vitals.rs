//! What the parts of a recording tell each other about how the host is, and whether to go on. Written by one, read by others.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

use crate::{select::Breaker, summary::BackedOff};

/// Shared by the capture, the pipeline, the watch and the metrics.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// How much of the kernel's buffer waits, as the bits of a number from 0 to 1.
    fill: AtomicU64,
    thinning: AtomicU8,
    paused: AtomicBool,
    off: AtomicBool,
    told: Mutex<Told>,
}

/// What the watch has done.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub breaker: Breaker,
    pub summary: BackedOff,
}

impl Vitals {
    pub(crate) fn set_fill(&self, fill: f64) {
        self.fill.store(fill.to_bits(), Ordering::Relaxed);
    }

    /// How much of the kernel's buffer waits for the recorder, from 0 to 1.
    pub(crate) fn fill(&self) -> f64 {
        f64::from_bits(self.fill.load(Ordering::Relaxed))
    }

    pub(crate) fn set_thinning(&self, thinning: u8) {
        self.thinning.store(thinning, Ordering::Relaxed);
    }

    /// Of 2^n entries one is kept.
    pub(crate) fn thinning(&self) -> u8 {
        self.thinning.load(Ordering::Relaxed)
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// Whether nothing is to be captured.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    pub(crate) fn set_off(&self, off: bool) {
        self.off.store(off, Ordering::Release);
    }

    /// Whether nothing is captured: a while after that was wanted.
    pub(crate) fn is_off(&self) -> bool {
        self.off.load(Ordering::Acquire)
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        // Nothing that is done under the lock leaves it half done.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
