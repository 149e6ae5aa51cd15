//! `[back_off]` in `regress.toml`: when less is recorded because the host is loaded.

use std::path::PathBuf;

use regress_recorder::select::BackOff;
use serde::Deserialize;

use crate::output::Failure;

/// The longest pause, in seconds.
const LONGEST: f64 = 3600.0;

/// `[back_off]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Percent of the time in which something waits for a processor.
    cpu: Option<u32>,
    /// Percent of the kernel's buffer that waits for regress.
    buffer: Option<u32>,
    /// Seconds in which nothing is captured.
    pause: Option<f64>,
    /// Where the pressure is read.
    pressure: Option<PathBuf>,
}

impl Settings {
    /// What they say.
    ///
    /// # Errors
    /// When that is nothing sensible.
    pub fn limits(&self) -> Result<BackOff, Failure> {
        let default = BackOff::default();
        let wrong =
            |what: &str| Failure::new(format_args!("[back_off] {what}")).hint("docs/selection.md says what it is");
        let percent = |name: &str, value: Option<u32>, default| match value {
            Some(value) if !(1..=100).contains(&value) => {
                Err(wrong(&format!("{name}: a share is from 1 to 100 percent")))
            }
            value => Ok(value.unwrap_or(default)),
        };
        let pause = match self.pause {
            Some(seconds) if !(0.1..=LONGEST).contains(&seconds) => {
                return Err(wrong("pause: it is from 0.1 to 3600 seconds"));
            }
            Some(seconds) => (seconds * 1000.0) as u64,
            None => default.pause,
        };
        Ok(BackOff {
            cpu: percent("cpu", self.cpu, default.cpu)?,
            buffer: percent("buffer", self.buffer, default.buffer)?,
            pause,
            pressure: self.pressure.clone().unwrap_or(default.pressure),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BackOff, Failure> {
        toml::from_str::<Settings>(text).expect("the keys are known").limits()
    }

    #[test]
    fn limits_are_read_and_checked() {
        let limits = read("cpu = 50\npause = 1.5\n").map_err(|failure| format!("{failure:?}")).unwrap();
        assert_eq!(limits, BackOff { cpu: 50, pause: 1500, ..BackOff::default() });
        for wrong in ["cpu = 0", "cpu = 101", "buffer = 200", "pause = 0.0", "pause = 1e9", "pause = nan"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
