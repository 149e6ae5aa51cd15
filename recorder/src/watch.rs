//! Looks after the host while a recording goes on: reads how loaded it is, and has less captured where the controller says so.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use crate::{
    Error, clock,
    pressure::Pressure,
    select::{BackOff, Breaker, Controller, Reading, Step},
    summary::Happened,
    vitals::Vitals,
    wall::Wall,
};

/// How often the host is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events that are told one by one.
const MOST_TOLD: usize = 100;

/// A watch over the host, until it is dropped.
pub(crate) struct Watch {
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begin to watch. `can_pause`: whether the capture can be taken away from the service.
    ///
    /// # Errors
    /// When the host does not tell how it is.
    pub(crate) fn start(limits: &BackOff, can_pause: bool, wall: Wall, vitals: Arc<Vitals>) -> Result<Watch, Error> {
        let is_named = limits.pressure != BackOff::default().pressure;
        let mut pressure = Pressure::from(&limits.pressure, is_named)?;
        let mut controller = Controller::new(limits.clone(), can_pause);
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let task = tokio::spawn(async move {
            let mut last = None;
            loop {
                ticks.tick().await;
                let Ok(at) = clock::monotonic() else { return };
                let is_off = vitals.is_off();
                let buffer = if is_off { 0.0 } else { 100.0 * vitals.fill() };
                let reading = Reading { at, cpu: pressure.read(at), buffer, is_off };
                count_pause(&vitals, &mut last, at);
                if let Some(step) = controller.read(reading) {
                    take(&vitals, step, controller.breaker(), reading, wall);
                }
            }
        });
        Ok(Watch { task })
    }
}

/// Add the time since the last reading where nothing was captured in it.
fn count_pause(vitals: &Vitals, last: &mut Option<u64>, at: u64) {
    let before = last.replace(at);
    if let Some(before) = before.filter(|_| vitals.is_off()) {
        vitals.told().summary.paused += Duration::from_nanos(at.saturating_sub(before));
    }
}

fn take(vitals: &Vitals, step: Step, breaker: Breaker, reading: Reading, wall: Wall) {
    let Reading { at, cpu, buffer, .. } = reading;
    let what = match step {
        Step::Thin(thinning) => {
            vitals.set_thinning(thinning);
            format!("keeping one entry of {}", 1_u32 << thinning)
        }
        Step::Pause => {
            vitals.set_paused(true);
            "the breaker opened: nothing is captured".to_owned()
        }
        Step::Resume => {
            vitals.set_paused(false);
            "the breaker is half open: capturing again, on trial".to_owned()
        }
        Step::Close => "the breaker closed".to_owned(),
    };
    tracing::warn!("back-off: {what} (processors {cpu:.0} %, buffer {buffer:.0} %)");
    let mut told = vitals.told();
    told.breaker = breaker;
    told.summary.opened += u64::from(step == Step::Pause);
    if let Step::Thin(thinning) = step {
        told.summary.thinnest = told.summary.thinnest.max(1 << thinning);
    }
    if told.summary.events.len() < MOST_TOLD {
        let happened = Happened { at: wall.rfc3339(at), what, cpu: cpu as u32, buffer: buffer as u32 };
        told.summary.events.push(happened);
    } else {
        told.summary.untold += 1;
    }
}
